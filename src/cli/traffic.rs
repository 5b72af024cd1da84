//! `perfbench traffic FILE...`: what recorded traffic holds, without sending anything.
//!
//! Must not: open a socket.

use super::args::TrafficArgs;
use super::{Failure, print, usage};
use crate::model::{TrafficCounts, clean};
use crate::traffic::{Reader, Summary, formats};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Reads it all and prints what it holds.
pub(super) fn traffic(args: &TrafficArgs) -> Result<(), Failure> {
    if args.formats {
        let mut out = String::new();
        formats().iter().for_each(|f| {
            let _ = writeln!(out, "{:<16} {}", f.name, f.description);
        });
        return print(&out);
    }
    let mut reader = Reader::open(&args.files, args.source.options()).map_err(usage)?;
    let mut request = Reader::blank();
    while reader.next(&mut request).map_err(usage)? {}
    let (counts, summary) = (reader.counts(), reader.summary());
    if args.json {
        return print(&(serde_json::to_string_pretty(&object(&counts, &summary)).unwrap_or_default() + "\n"));
    }
    let mut out = String::new();
    for c in reader.choices() {
        let how =
            if c.named { "as named".into() } else { format!("{} of {} {} match", c.matched, c.looked_at, c.unit) };
        let how = if c.timed { how } else { format!("{how}; no times: an order of requests") };
        let _ = writeln!(out, "{}: format {} ({how})", clean(&c.source, 200), c.format);
    }
    let _ = writeln!(out, "{} lines, {} requests to replay", counts.lines, counts.requests);
    let _ = writeln!(out, "from {} to {}", time(summary.first_unix_ns), time(summary.last_unix_ns));
    let _ = writeln!(
        out,
        "{} out of order, {} of them outside the reorder window",
        counts.out_of_order, counts.outside_window
    );
    let _ = writeln!(
        out,
        "{} response bytes; lines of IPv4 clients {}, of IPv6 clients {}",
        summary.response_bytes, summary.ipv4_lines, summary.ipv6_lines
    );
    let list = |pairs: Vec<String>| pairs.join("  ");
    let _ = writeln!(out, "methods   {}", list(summary.methods.iter().map(|(m, n)| format!("{m} {n}")).collect()));
    let _ = writeln!(out, "statuses  {}", list(summary.statuses.iter().map(|(s, n)| format!("{s} {n}")).collect()));
    for s in &counts.skipped {
        let _ = writeln!(out, "skipped {:>8}  {} (first: {})", s.count, clean(&s.reason, 80), clean(&s.first, 200));
    }
    print(&out)
}

fn time(unix_ns: Option<i64>) -> String {
    let at = unix_ns.and_then(|ns| jiff::Timestamp::from_nanosecond(i128::from(ns)).ok());
    at.map_or("?".into(), |t| t.to_string())
}

fn object(c: &TrafficCounts, s: &Summary) -> Value {
    json!({
        "format": c.format,
        "lines": c.lines,
        "requests": c.requests,
        "first": time(s.first_unix_ns),
        "last": time(s.last_unix_ns),
        "out_of_order": c.out_of_order,
        "outside_window": c.outside_window,
        "response_bytes": s.response_bytes,
        "ipv4_lines": s.ipv4_lines,
        "ipv6_lines": s.ipv6_lines,
        "clients": s.clients,
        "methods": s.methods.iter().map(|(m, n)| (m.clone(), (*n).into())).collect::<Map<String, Value>>(),
        "statuses": s.statuses.iter().map(|(k, n)| (k.to_string(), (*n).into())).collect::<Map<String, Value>>(),
        "skipped": c.skipped.iter().map(|k| (k.reason.to_string(), k.count.into())).collect::<Map<String, Value>>(),
        "first_skipped": c.skipped.iter().map(|k| (k.reason.to_string(), k.first.clone().into()))
            .collect::<Map<String, Value>>(),
    })
}
