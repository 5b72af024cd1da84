//! The load client as the suspect: rules that say when perfbench itself, and not the target,
//! limits a run. Their names begin with `client.`, which is what report and screen go by.
//!
//! Must not: take a client that is busy for one that limits: with a schedule it does only when
//! requests leave late or not at all.

pub(super) mod cpu;
pub(super) mod descriptors;
pub(super) mod late;
pub(super) mod memory;
pub(super) mod runqueue;
pub(super) mod throttled;

use super::Focused;
use crate::model::{Evidence, Severity};
use crate::timeline::ClientLateness;

/// Send lag (p99) from which a client with a schedule is late, ns: a millisecond is what a
/// careless timer costs, and twenty times what this client takes on an idle core.
const LATE_NS: u64 = 1_000_000;

fn lateness(view: &Focused<'_>) -> ClientLateness {
    ClientLateness::of(view.timeline, view.load())
}

/// How grave a lack of CPU is. Without a schedule every microsecond of it is a request that was
/// not sent, so the client limits the run. With one, the schedule tells: as long as requests leave
/// in time and none is given up, it is worth knowing and no more.
fn gravity(late: &ClientLateness) -> Severity {
    match late.lag.count {
        0 => Severity::Warning,
        _ if late.dropped > 0 => Severity::Critical,
        _ if late.lag.p99 >= LATE_NS => Severity::Warning,
        _ => Severity::Note,
    }
}

/// What the schedule says, as evidence.
fn schedule(late: &ClientLateness) -> Vec<Evidence> {
    if late.lag.count == 0 {
        return vec![said("a closed loop: the next request waits for this one, so what the client lacks is not sent")];
    }
    let mut all = vec![said(format!("send lag p99 {:.2} ms", late.lag.p99 as f64 / 1e6))];
    if late.dropped > 0 {
        all.push(said(format!("{} of {} requests were given up unsent", late.dropped, late.offered)));
    }
    all
}

/// Evidence that is no series.
fn said(text: impl Into<String>) -> Evidence {
    Evidence { text: text.into(), series: None }
}

/// Bytes as people read them.
fn bytes(n: u64) -> String {
    match n as f64 {
        n if n < 1e6 => format!("{:.0} kB", n / 1e3),
        n if n < 1e9 => format!("{:.0} MB", n / 1e6),
        n => format!("{:.2} GB", n / 1e9),
    }
}
