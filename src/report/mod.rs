//! What a session comes to, for reading and for other programs. One file and one row of
//! [`REPORTS`] per form.
//!
//! Must not: print, or judge; it reads the timeline and lays out what others found.

mod client;
pub mod diff;
pub mod diff_svg;
pub mod export;
mod json;
pub mod svg;
mod text;

pub use json::SCHEMA;

use crate::model::{At, Finding, Span};
use crate::timeline::Timeline;

/// Lays a session out, with what was found over the whole of it.
pub type Form = fn(&Timeline, &[Finding]) -> String;

/// Every form of report by the name given to `--format`; the first is the default.
pub static REPORTS: &[(&str, Form)] = &[("text", text::render), ("json", json::render)];

/// The stretch a run's rates are over: from the start of the load to the end of the duration
/// it was given, or to its last request that fell due or ended when that is later; not to the
/// end of captures or of the wait for an answer that never came. The whole session when there
/// was no load.
pub fn run_span(t: &Timeline) -> Span {
    let all = t.load().span();
    match t.load().slots(all).rev().find(|(_, s)| s.is_busy()) {
        Some((_, last)) => {
            let given = t.opening().load.duration_ns.map_or(all.from, |ns| At(all.from.0.saturating_add(ns)));
            Span { from: all.from, to: last.until.max(given).min(all.to) }
        }
        None => t.whole(),
    }
}
