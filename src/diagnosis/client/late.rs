//! Requests that leave late: because the client did not get to them, or because no connection was
//! free to carry them, which is the target's doing or the plan's.
//!
//! Must not: speak up in a closed loop, which has no schedule to be late for.

use crate::diagnosis::Focused;
use crate::model::{Evidence, Finding, Severity};

/// Send lag below this is nobody's problem, ns.
const NOT_WORTH_SAYING_NS: u64 = 1_000_000;

/// See the top of the file.
pub(in crate::diagnosis) fn check(view: &Focused<'_>) -> Option<Finding> {
    let s = view.load();
    if s.lag.count == 0 || s.lag.p99 < NOT_WORTH_SAYING_NS || s.lag.p99 * 2 < s.response.p99 {
        return None;
    }
    let ms = |ns: u64| ns as f64 / 1e6;
    let connections = u64::from(view.timeline.opening().load.connections);
    let most_in_flight =
        view.timeline.load().slots(view.focus()).map(|(_, slot)| slot.most_in_flight()).max().unwrap_or(0);
    let all_busy = connections > 0 && most_in_flight * 10 >= connections * 9;
    let mut evidence = vec![
        format!("send lag p99 {:.1} ms of a response time p99 of {:.1} ms", ms(s.lag.p99), ms(s.response.p99)),
        format!("at most {most_in_flight} of {connections} connections in use"),
    ];
    if s.service.count > 0 {
        evidence.insert(1, format!("service time p99 {:.1} ms", ms(s.service.p99)));
    }
    Some(Finding {
        rule: if all_busy { "load.connections" } else { "client.late" },
        severity: Severity::Warning,
        title: format!("requests leave up to {:.1} ms late (p99)", ms(s.lag.p99)),
        span: view.focus(),
        evidence: evidence.into_iter().map(|text| Evidence { text, series: None }).collect(),
        advice: if all_busy {
            "all connections were busy: the target stalled or is too slow for this rate, or give more --connections"
        } else {
            "connections were free: perfbench did not get the CPU; give it more, or load from another host"
        }
        .into(),
    })
}
