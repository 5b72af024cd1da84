//! What a session comes to, for reading and for other programs. One file and one row of
//! [`REPORTS`] per form.
//!
//! Must not: print, or judge; it reads the timeline and lays out.

mod json;
pub mod svg;
mod text;

pub use json::SCHEMA;

use crate::timeline::Timeline;

/// Lays a session out.
pub type Form = fn(&Timeline) -> String;

/// Every form of report by the name given to `--format`; the first is the default.
pub static REPORTS: &[(&str, Form)] = &[("text", text::render), ("json", json::render)];
