//! The profile room.
pub mod script;
