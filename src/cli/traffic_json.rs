//! What `perfbench traffic --json` prints; `docs/formats.md` describes it.
//!
//! Must not: leave a key out because it is empty.

use super::traffic::Found;
use crate::traffic::Written;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Most bins of the rates.
const BINS: usize = 256;

/// All of it. Stable: keys are added, none is renamed.
pub(super) fn object(f: &Found) -> Value {
    let (c, s, look, rates) = (&f.counts, &f.summary, &f.look, &f.look.rates);
    let coarse = rates.at_most(BINS);
    let (peak, peak_second) = rates.peak();
    let timed = !rates.is_empty();
    let span_s = rates.span_ns() as f64 / 1e9;
    json!({
        "files": f.choices.iter().map(|c| json!({
            "file": c.source, "format": c.format, "named": c.named, "matched": c.matched, "looked_at": c.looked_at,
            "unit": c.unit, "timed": c.timed, "inside": c.envelope, "why": c.why(),
        })).collect::<Vec<_>>(),
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
        "more_clients": s.more_clients,
        "methods": map(s.methods.iter().map(|(m, n)| (m.as_str(), *n))),
        "statuses": s.statuses.iter().map(|(k, n)| (k.to_string(), (*n).into())).collect::<Map<String, Value>>(),
        "skipped": map(c.skipped.iter().map(|k| (&*k.reason, k.count))),
        "first_skipped": c.skipped.iter().map(|k| (k.reason.to_string(), k.first.clone().into()))
            .collect::<Map<String, Value>>(),
        "slice": { "from": f.slice.0.map(|t| time(Some(t))), "to": f.slice.1.map(|t| time(Some(t))) },
        "replay": {
            "first": timed.then(|| time(Some(rates.first_unix_ns()))),
            "last": timed.then(|| time(Some(rates.last_unix_ns()))),
            "span_s": timed.then_some(span_s),
            "speed": f.speed,
            "duration_s": timed.then_some(span_s / f.speed),
            "methods": map(look.methods()),
            "statuses": look.statuses().map(|(k, n)| (k.map_or("unknown".into(), |k| k.to_string()), n.into()))
                .collect::<Map<String, Value>>(),
            "hosts": map(look.hosts()),
            "without_host": look.without_host,
            "routes": map(look.routes()),
            "clients": look.clients().0,
            "more_clients": look.clients().1,
            "header_fields": map(look.fields()),
            "bodies": look.bodies,
            "body_bytes": look.body_bytes,
        },
        "folded_routes": {
            "routes": s.folded_routes,
            "at_least": s.more_folded_routes,
            "requests": s.folded_requests,
            "most_frequent": s.top_folded.iter().map(|t| json!({
                "route": t.name, "requests_at_most": t.count, "requests_at_least": t.count - t.too_high_by,
            })).collect::<Vec<_>>(),
        },
        "rate": {
            "mean_per_s": rates.mean_per_s(),
            "peak_per_s": peak,
            "peak_at": timed.then(|| time(peak_second.checked_mul(1_000_000_000))),
            "bin_s": coarse.width_ns() as f64 / 1e9,
            "bins": coarse.bins(),
        },
        "missing": f.missing.iter().map(|m| json!({
            "what": m.what, "count": m.count, "of": m.of, "consequence": m.consequence,
        })).collect::<Vec<_>>(),
        "written": f.written.as_ref().map(written),
    })
}

fn written(w: &Written) -> Value {
    json!({
        "file": w.path.to_string_lossy(),
        "format": w.notation,
        "requests": w.requests,
        "bytes": w.bytes,
        "left_out": map(w.left_out.iter().copied()),
        "lost": map(w.lost.iter().copied()),
    })
}

fn map<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> Map<String, Value> {
    counts.into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect()
}

fn time(unix_ns: Option<i64>) -> String {
    let at = unix_ns.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok());
    at.map_or("?".into(), |t| t.to_string())
}
