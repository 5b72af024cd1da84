//! The diagnosis room.
