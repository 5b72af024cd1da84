//! A listener on this host takes connections more slowly than they come.
//! Source: tcp(7), /proc/net/netstat ListenOverflows, which counts every repeated SYN.
//!
//! Must not: speak of listeners on other hosts.

use super::Focused;
use crate::model::{Evidence, Finding, Metric, Severity};

/// See the top of the file.
pub(super) fn check(view: &Focused<'_>) -> Option<Finding> {
    let moved = |m| view.timeline.delta(m, "", view.focus()).filter(|n| *n > 0);
    let overflows = moved(Metric::TcpListenOverflows)?;
    let mut evidence = vec![Evidence {
        text: format!("{overflows} SYNs or ACKs found an accept queue full"),
        series: Some((Metric::TcpListenOverflows, "".into())),
    }];
    if let Some(n) = moved(Metric::TcpSynRetrans) {
        let series = Some((Metric::TcpSynRetrans, "".into()));
        evidence.push(Evidence { text: format!("{n} SYNs sent again"), series });
    }
    Some(Finding {
        rule: "accept.overflow",
        severity: Severity::Warning,
        title: format!("an accept queue on this host overflowed {overflows} times"),
        span: view.focus(),
        evidence,
        advice: "raise the listener's backlog and net.core.somaxconn, or accept faster".into(),
    })
}
