//! What a recording lacks for a faithful replay, in words.
//!
//! Must not: repeat what a recording holds.

use super::look::Look;
use super::summary::Summary;

/// Something that requests lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What, in one word. Stable: `--json` holds it.
    pub what: &'static str,
    /// How many requests (lines, for times and durations) lack it.
    pub count: u64,
    /// Of how many.
    pub of: u64,
    /// What follows from that.
    pub consequence: &'static str,
}

/// Everything that is missing, what changes the load most first.
pub fn missing(look: &Look, summary: &Summary) -> Vec<Missing> {
    let (requests, lines) = (look.requests, summary.records);
    let named = |r: (&str, u64)| !["referer", "user-agent"].iter().any(|n| r.0.eq_ignore_ascii_case(n));
    let has_fields = look.fields().into_iter().any(named);
    let statuses: u64 = look.statuses().filter(|(s, _)| s.is_none()).map(|(_, n)| n).sum();
    let all = [
        (
            "times",
            summary.untimed_lines,
            "an order of requests, for a closed loop or --rate; where times are written they are 1 ms apart",
        ),
        ("bodies", look.without_body, "POST, PUT and PATCH requests without one are sent empty"),
        ("hosts", look.without_host, "the target's own name is sent, unless --host gives another"),
        (
            "fractions of seconds",
            summary.whole_second_lines,
            "requests are spread over their second at random, the same way for the same --seed",
        ),
        (
            "durations",
            summary.end_only_lines,
            "the time is when a request ended: it is replayed later than it was made by as long as it took",
        ),
        (
            "other header fields",
            if has_fields { 0 } else { requests },
            "nothing but Referer and User-Agent is sent: no cookies, no Accept-Encoding, nothing conditional; add some with -H",
        ),
        (
            "conditions",
            look.not_again,
            "recorded with 304, 206, 499 or the like, which can't come back: another answer is no mismatch (docs/findings.md)",
        ),
        ("clients", look.without_client, "a sample goes by request, and sessions cannot be told apart"),
        ("statuses", statuses, "the responses cannot be compared with the recorded ones"),
    ];
    all.into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(what, count, consequence)| {
            let of = if ["times", "fractions of seconds", "durations"].contains(&what) { lines } else { requests };
            Missing { what, count, of, consequence }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;
    use crate::model::{Body, Method, Request};

    #[test]
    fn what_is_there_is_not_missing() {
        let full = Request {
            method: Method::Post,
            host: Some("h".into()),
            headers: vec![("Accept".into(), "*/*".into())],
            body: Body(b"x".to_vec()),
            client: 1,
            recorded_status: Some(200),
            ..Reader::blank()
        };
        let summary = Summary { records: 1, duration_lines: 1, ..Summary::default() };
        let mut look = Look::default();
        look.note(&full, true);
        assert_eq!(missing(&look, &summary), []);
        look.note(&Request { method: Method::Post, ..Reader::blank() }, true);
        let summary = Summary { records: 2, whole_second_lines: 2, end_only_lines: 1, ..Summary::default() };
        let found: Vec<_> = missing(&look, &summary).into_iter().map(|m| (m.what, m.count, m.of)).collect();
        let expected = [
            ("bodies", 1, 2),
            ("hosts", 1, 2),
            ("fractions of seconds", 2, 2),
            ("durations", 1, 2),
            ("clients", 1, 2),
            ("statuses", 1, 2),
        ];
        assert_eq!(found, expected);
    }
}
