//! The timeline room.
