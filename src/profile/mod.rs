//! The profile room.
