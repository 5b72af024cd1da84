//! The client runs out of file descriptors: connections it cannot open.
//! Source: errno(3) EMFILE (this process's limit) and ENFILE (the host's), getrlimit(2).
//!
//! Must not: count what the target refused.

use super::said;
use crate::diagnosis::Focused;
use crate::model::{Evidence, Finding, Metric, Severity};

/// See the top of the file.
pub(in crate::diagnosis) fn check(view: &Focused<'_>) -> Option<Finding> {
    // One is enough: each is a request that failed here, and more connections are not to be had.
    let (own, host) = (view.errnos(&[24]), view.errnos(&[23]));
    let failed = own.saturating_add(host);
    if failed == 0 {
        return None;
    }
    let ledger = view.timeline.client(view.focus());
    let mut evidence = vec![said(format!("{own} ended in EMFILE, {host} in ENFILE"))];
    if let (Some(fds), Some(limit)) = (ledger.fds, ledger.fd_limit) {
        let series = Some((Metric::ProcFds, "self".into()));
        evidence.push(Evidence { text: format!("{fds} of {limit} descriptors open"), series });
    }
    Some(Finding {
        rule: "client.descriptors",
        severity: Severity::Critical,
        title: format!("{failed} requests failed because perfbench had no file descriptor left"),
        span: view.focus(),
        evidence,
        advice: match own >= host {
            true => "raise the limit (ulimit -n, as root or in limits.conf), or give fewer --connections",
            false => "raise the host's limit: sudo sysctl -w fs.file-max=2000000",
        }
        .into(),
    })
}
