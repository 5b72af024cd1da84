//! Local ports to one destination run out: from half of the range on connect() is slow, at
//! its end it fails (`__inet_hash_connect` looks at one parity of ports first).
//!
//! Must not: blame the target.

use super::Focused;
use crate::model::{Evidence, Finding, Metric, Phase, Severity};

/// Connecting on one machine takes some ten µs; from here on (p99) the search for a port shows, ns.
const SLOW_NS: u64 = 1_000_000;
/// errno(3): no local port is left.
const EADDRNOTAVAIL: i32 = 99;

/// See the top of the file.
pub(super) fn check(view: &Focused<'_>) -> Option<Finding> {
    let ports = view.timeline.ports(view.instant()).into_iter().max_by(|a, b| a.percent().total_cmp(&b.percent()))?;
    let percent = ports.percent();
    if percent < 50.0 {
        return None;
    }
    let of = |metric: Metric| Some((metric, ports.destination.as_str().into()));
    let mut evidence = vec![
        Evidence { text: format!("{} of {} ports in use", ports.used, ports.budget), series: of(Metric::PortsUsed) },
        Evidence { text: format!("{} of them in TIME_WAIT", ports.time_wait), series: of(Metric::DestTimeWait) },
    ];
    let connect = view.load().phases[Phase::Connect];
    if connect.count > 0 {
        evidence.push(Evidence { text: format!("connect p99 {:.2} ms", connect.p99 as f64 / 1e6), series: None });
    }
    // Ports of connections in TIME_WAIT are given out again (ip-sysctl, tcp_tw_reuse): as long as that is quick, none lacks.
    let again = view.timeline.delta(Metric::TcpTwRecycled, "", view.focus()).unwrap_or(0);
    let is_quick = again > 0 && connect.p99 < SLOW_NS && view.errnos(&[EADDRNOTAVAIL]) == 0;
    if is_quick {
        evidence.push(Evidence {
            text: format!("{again} ports were taken again out of TIME_WAIT, and connecting is quick"),
            series: Some((Metric::TcpTwRecycled, "".into())),
        });
    }
    if let Some(s) = ports.full_in_s().filter(|_| ports.used < ports.budget) {
        evidence.push(Evidence { text: format!("at this growth full in {s:.0} s"), series: None });
    }
    Some(Finding {
        rule: "ports.cliff",
        severity: match (is_quick, percent >= 95.0) {
            (true, _) => Severity::Note,
            (false, true) => Severity::Critical,
            (false, false) => Severity::Warning,
        },
        title: format!("local ports to {}: {percent:.0} % in use, past the cliff at 50 %", ports.destination),
        span: view.focus(),
        evidence,
        advice: "keep connections open, or widen the range: \
                 sudo sysctl -w net.ipv4.ip_local_port_range='1024 65535'"
            .into(),
    })
}
