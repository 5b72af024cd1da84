//! The status a request was answered with when it was recorded, and which status a replay of it
//! can get.
//!
//! Must not: know what was sent, but for the names of its header fields.

/// The status of a recorded answer, as something to compare a live one with.
///
/// Not every recorded status can come back. An access log says that a browser got 304, and not
/// the `If-None-Match` it had sent: the replay asks without it and rightly gets 200. Such answers
/// are no mismatch, everything else still is: a 404 where there was a 304.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedStatus {
    status: u16,
    instead: Option<Instead>,
}

/// What may come instead of a recorded status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    /// Any 2xx: the answer without the condition or range that is not sent.
    Success,
    /// Anything: the client got no answer from the target, so it is not known what that had been.
    Anything,
}

/// Fields that make a GET conditional, and fields that a precondition is in (RFC 9110 section 13.1).
const CONDITIONS: &[&str] = &["if-none-match", "if-modified-since"];
const PRECONDITIONS: &[&str] = &["if-match", "if-unmodified-since", "if-none-match"];
const RANGE: &[&str] = &["range"];
const NONE: &[&str] = &[];

/// Recorded statuses that a replay can't get back, unless one of the header fields named is sent;
/// and what comes instead. docs/findings.md has the same table.
fn not_again(status: u16) -> Option<(&'static [&'static str], Instead)> {
    Some(match status {
        304 => (CONDITIONS, Instead::Success),
        206 | 416 => (RANGE, Instead::Success),
        412 => (PRECONDITIONS, Instead::Success),
        // The client was too slow with its request.
        408 => (NONE, Instead::Anything),
        // nginx closed the connection without an answer (`return 444`).
        444 => (NONE, Instead::Anything),
        // AWS load balancers: the client closed the connection.
        460 => (NONE, Instead::Anything),
        // nginx, Traefik, Caddy: the client closed the connection.
        499 => (NONE, Instead::Anything),
        _ => return None,
    })
}

impl RecordedStatus {
    /// The status of a request; `sends`: whether a header field of a name in lower case goes with
    /// it when it is replayed.
    pub fn of(status: u16, sends: impl Fn(&str) -> bool) -> RecordedStatus {
        let row = not_again(status).filter(|(unless, _)| !unless.iter().any(|name| sends(name)));
        RecordedStatus { status, instead: row.map(|(_, instead)| instead) }
    }

    /// Whether another status than this can, or must, come of a replay.
    pub fn is_not_to_come_again(self) -> bool {
        self.instead.is_some()
    }

    /// Whether an answer with a status is like the recorded one, as far as a replay can tell.
    pub fn is_met_by(self, status: u16) -> bool {
        status == self.status
            || match self.instead {
                None => false,
                Some(Instead::Success) => (200..300).contains(&status),
                Some(Instead::Anything) => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_conditional_is_answered_in_full() {
        let unconditional = RecordedStatus::of(304, |_| false);
        assert!(unconditional.is_not_to_come_again());
        let met = |r: RecordedStatus| [200, 204, 304, 301, 404, 500].map(|s| r.is_met_by(s));
        assert_eq!(met(unconditional), [true, true, true, false, false, false]);
        for name in ["if-none-match", "if-modified-since"] {
            assert_eq!(
                met(RecordedStatus::of(304, |n| n == name)),
                [false, false, true, false, false, false],
                "{name}"
            );
        }
        for status in [206, 416] {
            assert!(RecordedStatus::of(status, |n| n == "if-none-match").is_met_by(200));
            assert!(!RecordedStatus::of(status, |n| n == "range").is_met_by(200));
        }
        assert!(
            RecordedStatus::of(412, |_| false).is_met_by(200)
                && !RecordedStatus::of(412, |n| n == "if-match").is_met_by(200)
        );
    }

    #[test]
    fn what_was_never_answered_may_be_answered_with_anything() {
        for status in [408, 444, 460, 499] {
            assert!(
                [200, 302, 404, 503].iter().all(|s| RecordedStatus::of(status, |_| true).is_met_by(*s)),
                "{status}"
            );
        }
        for status in [200, 204, 301, 400, 401, 403, 404, 429, 500, 502, 503, 504] {
            let r = RecordedStatus::of(status, |_| false);
            assert!(r.is_met_by(status) && !r.is_met_by(418) && !r.is_not_to_come_again(), "{status}");
        }
    }
}
