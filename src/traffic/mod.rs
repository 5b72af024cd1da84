//! The traffic room.
