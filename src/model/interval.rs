//! What the load engine hands over: one [`Interval`] per worker per tick, never an event
//! per request.
//!
//! Must not: compute rates or percentiles; those are derived when read.

use super::{At, CheckKind, Latency, Span};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One worker's bucket of load between two ticks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    /// Number of the worker thread, from 0.
    pub worker: u16,
    /// The stretch it covers; longer than a tick when the channel was full at the last one.
    pub span: Span,
    /// Requests that fell due (in a closed loop: that a free connection took).
    pub offered: u64,
    /// Requests whose first byte was written; a retry on a fresh connection counts once.
    pub sent: u64,
    /// Requests whose response was read to its last byte, whatever its status, and refused by no check.
    pub completed: u64,
    /// Requests that ended without a whole response, or with one that a check refused.
    pub failed: u64,
    /// Requests that fell due and were given up unsent.
    pub dropped: u64,
    /// Requests sent a second time because a keep-alive connection was closed under them.
    pub retried: u64,
    /// Requests sent and not ended at the end of the interval (a gauge).
    pub in_flight: u64,
    /// Requests due and not sent at the end of the interval (a gauge).
    pub queued: u64,
    /// Connections opened.
    pub connections_opened: u64,
    /// Of them, those opened beyond the plan because a request fell due and none was free.
    pub grown: u64,
    /// What was odd about whole responses.
    pub remarks: Remarks,
    /// Bytes read from sockets: heads and bodies.
    pub received_bytes: u64,
    /// Bytes written to sockets.
    pub sent_bytes: u64,
    /// From the instant a request was DUE to the last byte of its response, ns; failed
    /// requests count with the time until they failed.
    pub response_time: Latency,
    /// From the first byte sent to the last byte of the response, ns.
    pub service_time: Latency,
    /// From due to begun, ns: its first byte sent, or a connection for it asked for. The load
    /// client's own lateness, and that of too few connections; what the target takes to accept
    /// a connection is [`Phase::Connect`]. Empty in a closed loop, which has no schedule.
    pub send_lag: Latency,
    /// Time spent in each phase, ns: once a connection for the first three, once a request for
    /// the others.
    pub phases: PhaseTimes,
    /// How requests ended. Sums to `completed + failed`. Sorted by outcome.
    pub outcomes: Vec<OutcomeCount>,
    /// The same by route, since this worker's last interval that had routes: they come once
    /// a second and with the last interval, because a histogram per route and tick would be
    /// most of a session. Sorted by route name.
    pub routes: Vec<RouteInterval>,
    /// A few of the slowest requests of the interval, slowest first.
    pub exemplars: Vec<Exemplar>,
}

impl Interval {
    /// How often a worker hands over an interval, ns.
    pub const TICK_NS: u64 = 200_000_000;
}

/// How many requests ended one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeCount {
    /// The way they ended.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// What was odd about whole responses and made none of them a failure. One response may count in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Those with bytes behind them that answer nothing; their connection was closed.
    pub surplus_bytes: u64,
    /// Those that came in chunks and told a length besides (RFC 9112 section 6.3, item 3); their
    /// connection was closed.
    pub length_and_chunks: u64,
    /// Those with interim ones (1xx) before them.
    pub interim_responses: u64,
}

impl Remarks {
    /// All counts, to be changed.
    pub fn all_mut(&mut self) -> [&mut u64; 3] {
        [&mut self.surplus_bytes, &mut self.length_and_chunks, &mut self.interim_responses]
    }

    /// All counts with their names, which are what sessions and JSON hold.
    pub fn named(&self) -> [(&'static str, u64); 3] {
        let Remarks { surplus_bytes, length_and_chunks, interim_responses } = *self;
        [
            ("surplus_bytes", surplus_bytes),
            ("length_and_chunks", length_and_chunks),
            ("interim_responses", interim_responses),
        ]
    }

    /// Adds others.
    pub fn add(&mut self, others: Remarks) {
        let others = others.named().map(|(_, n)| n);
        self.all_mut().into_iter().zip(others).for_each(|(sum, n)| *sum = sum.saturating_add(n));
    }
}

/// One route's share of an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteInterval {
    /// The normalised path the requests count under.
    pub route: Arc<str>,
    /// Requests that ended.
    pub requests: u64,
    /// Of them, those without a whole response, or with one that a check refused.
    pub failed: u64,
    /// Of them, those answered with a 5xx status.
    pub server_errors: u64,
    /// Of them, those answered with another status than when they were recorded, unless that can't
    /// come back ([`RecordedStatus`](super::RecordedStatus)).
    pub mismatched: u64,
    /// Response times, ns, two significant digits.
    pub response_time: Latency,
}

/// One slow request, kept to be looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// When it fell due.
    pub due: At,
    /// From due to its end, ns.
    pub response_ns: u64,
    /// From its first byte sent to its end, ns.
    pub service_ns: u64,
    /// Its route.
    pub route: Arc<str>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A part of a request's life: what its time is divided into, and where it was when it ran out
/// of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// While the target's name was being resolved.
    Dns,
    /// While the connection was being established: to the end of the TCP handshake.
    Connect,
    /// While the TLS handshake was under way.
    Tls,
    /// From the first byte of the request sent to the first byte of the response.
    FirstByte,
    /// From the first byte of the response to the last.
    Body,
}

impl Phase {
    /// Every phase, in the order a request goes through them.
    pub const ALL: [Phase; 5] = [Phase::Dns, Phase::Connect, Phase::Tls, Phase::FirstByte, Phase::Body];

    /// Its name in sessions and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Dns => "dns",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::FirstByte => "first_byte",
            Phase::Body => "body",
        }
    }

    /// The phase of that name.
    pub fn named(name: &str) -> Option<Phase> {
        Phase::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// A value for each [`Phase`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerPhase<T>([T; Phase::ALL.len()]);

/// A distribution of times for each phase, ns; empty for what did not happen.
pub type PhaseTimes = PerPhase<Latency>;

impl<T> PerPhase<T> {
    /// A value for each phase, made by `make`.
    pub fn of(make: impl FnMut(Phase) -> T) -> PerPhase<T> {
        PerPhase(Phase::ALL.map(make))
    }

    /// All of them, in the order of [`Phase::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Phase, &T)> {
        Phase::ALL.into_iter().zip(&self.0)
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Phase, &mut T)> {
        Phase::ALL.into_iter().zip(&mut self.0)
    }
}

impl<T> std::ops::Index<Phase> for PerPhase<T> {
    type Output = T;

    fn index(&self, phase: Phase) -> &T {
        &self.0[phase as usize]
    }
}

impl<T> std::ops::IndexMut<Phase> for PerPhase<T> {
    fn index_mut(&mut self, phase: Phase) -> &mut T {
        &mut self.0[phase as usize]
    }
}

/// How far a response had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reached {
    /// The request was not sent: TLS was being agreed on.
    Handshake,
    /// No byte of it.
    BeforeHead,
    /// Part of its head, or of interim responses (1xx) before it.
    Head,
    /// Its head.
    Body,
    /// Its head, by which its body comes in chunks (RFC 9112 section 7.1).
    Chunks,
}

/// What of a response is not HTTP/1.x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// The line that begins it (RFC 9112 section 4).
    StatusLine,
    /// A header field (section 5).
    Head,
    /// What it says of its length (section 6.2).
    Length,
    /// Its chunks (section 7.1).
    Chunks,
    /// Interim responses (RFC 9110 section 15.2) without end.
    Interim,
}

/// How a request ended: a status, or a kind of failure named by errno or phase.
///
/// Its text form ([`fmt::Display`], [`FromStr`]) is what sessions and JSON hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A whole response with this status, 100 to 999.
    Status(u16),
    /// A socket call failed with this errno (Linux numbering).
    Errno(i32),
    /// Out of time in this phase.
    Timeout(Phase),
    /// Out of time when the head of the response had begun.
    TimeoutHead,
    /// Out of time in a body of which no length was announced and 256 KiB had come: nothing says that it
    /// would have ended.
    EndlessBody,
    /// The response is not HTTP/1.x, or its framing contradicts itself; where, is not known.
    Malformed,
    /// The same, and known where.
    Flawed(Flaw),
    /// The head of the response is longer than the engine's bound.
    HeadTooLarge,
    /// The connection was closed before the response was whole; how much of it had come is not known.
    ClosedEarly,
    /// The same, and known how far it had come.
    Closed(Reached),
    /// The connection was reset (ECONNRESET) when a response was awaited that had come so far.
    Reset(Reached),
    /// The target's name could not be resolved.
    Unresolved,
    /// The TLS handshake failed, or the stream was broken: no common version, a certificate that
    /// is not trusted, a record that does not decrypt.
    Tls,
    /// A proxy on the way gave no connection to the target: it refused, could not, or wanted to
    /// know who we are.
    Proxy,
    /// The target gave the request up with RST_STREAM (RFC 9113 section 6.4).
    StreamReset,
    /// A whole response came and was not the expected one.
    Check(CheckKind),
}

impl Outcome {
    /// Whether a whole response was read and no check refused it.
    pub fn is_completed(self) -> bool {
        matches!(self, Outcome::Status(_))
    }

    /// The same with how far the response had come, of a connection that was closed or reset; [`Outcome::general`]
    /// takes it away again.
    pub fn placed(self, reached: Reached) -> Outcome {
        match self {
            // A connection that is closed is seen first by who writes.
            Outcome::ClosedEarly | Outcome::Errno(EPIPE) => Outcome::Closed(reached),
            Outcome::Errno(ECONNRESET) => Outcome::Reset(reached),
            other => other,
        }
    }

    /// What names of the same fault in different places have in common, as engines that don't know the place
    /// call it.
    pub fn general(self) -> Outcome {
        match self {
            Outcome::Closed(_) => Outcome::ClosedEarly,
            Outcome::Reset(_) => Outcome::Errno(ECONNRESET),
            Outcome::Flawed(_) => Outcome::Malformed,
            Outcome::TimeoutHead | Outcome::EndlessBody => Outcome::Timeout(Phase::Body),
            other => other,
        }
    }

    /// Whether the target answered with a 5xx status.
    pub fn is_server_error(self) -> bool {
        matches!(self, Outcome::Status(500..=599))
    }
}

const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;

/// The errno values that socket calls of a client give, with their names.
/// Source: Linux `include/uapi/asm-generic/errno{,-base}.h`.
const ERRNO: &[(i32, &str)] = &[
    (1, "EPERM"),
    (4, "EINTR"),
    (5, "EIO"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (24, "EMFILE"),
    (EPIPE, "EPIPE"),
    (71, "EPROTO"),
    (97, "EAFNOSUPPORT"),
    (98, "EADDRINUSE"),
    (99, "EADDRNOTAVAIL"),
    (100, "ENETDOWN"),
    (101, "ENETUNREACH"),
    (103, "ECONNABORTED"),
    (ECONNRESET, "ECONNRESET"),
    (105, "ENOBUFS"),
    (107, "ENOTCONN"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (112, "EHOSTDOWN"),
    (113, "EHOSTUNREACH"),
];

/// The outcomes that are neither a status nor an errno, with their names.
const NAMED: &[(Outcome, &str)] = &[
    (Outcome::Timeout(Phase::Dns), "timeout_dns"),
    (Outcome::Timeout(Phase::Connect), "timeout_connect"),
    (Outcome::Timeout(Phase::Tls), "timeout_tls"),
    (Outcome::Timeout(Phase::FirstByte), "timeout_first_byte"),
    (Outcome::Timeout(Phase::Body), "timeout_body"),
    (Outcome::TimeoutHead, "timeout_head"),
    (Outcome::EndlessBody, "endless_body"),
    (Outcome::Malformed, "malformed_response"),
    (Outcome::Flawed(Flaw::StatusLine), "malformed_status_line"),
    (Outcome::Flawed(Flaw::Head), "malformed_head"),
    (Outcome::Flawed(Flaw::Length), "malformed_length"),
    (Outcome::Flawed(Flaw::Chunks), "malformed_chunks"),
    (Outcome::Flawed(Flaw::Interim), "endless_interim"),
    (Outcome::HeadTooLarge, "head_too_large"),
    (Outcome::ClosedEarly, "closed_early"),
    (Outcome::Closed(Reached::Handshake), "closed_in_handshake"),
    (Outcome::Closed(Reached::BeforeHead), "closed_before_head"),
    (Outcome::Closed(Reached::Head), "closed_in_head"),
    (Outcome::Closed(Reached::Body), "closed_in_body"),
    (Outcome::Closed(Reached::Chunks), "closed_in_chunks"),
    (Outcome::Reset(Reached::Handshake), "reset_in_handshake"),
    (Outcome::Reset(Reached::BeforeHead), "reset_before_head"),
    (Outcome::Reset(Reached::Head), "reset_in_head"),
    (Outcome::Reset(Reached::Body), "reset_in_body"),
    (Outcome::Reset(Reached::Chunks), "reset_in_chunks"),
    (Outcome::Unresolved, "unresolved"),
    (Outcome::Tls, "tls_failed"),
    (Outcome::Proxy, "proxy_failed"),
    (Outcome::StreamReset, "stream_reset"),
    (Outcome::Check(CheckKind::Status), "check_status"),
    (Outcome::Check(CheckKind::Recorded), "check_recorded_status"),
    (Outcome::Check(CheckKind::Header), "check_header"),
    (Outcome::Check(CheckKind::Body), "check_body"),
    (Outcome::Check(CheckKind::Json), "check_json"),
    (Outcome::Check(CheckKind::Cut), "check_body_too_long"),
    (Outcome::Check(CheckKind::Capture), "capture_failed"),
];

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Status(code) => write!(f, "{code}"),
            Outcome::Errno(n) => match ERRNO.iter().find(|(v, _)| v == n) {
                Some((_, name)) => f.write_str(name),
                None => write!(f, "errno_{n}"),
            },
            other => f.write_str(NAMED.iter().find(|(o, _)| o == other).map_or("unknown", |(_, name)| name)),
        }
    }
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(s: &str) -> Result<Outcome, String> {
        if let Ok(code) = s.parse::<u16>() {
            return Ok(Outcome::Status(code));
        }
        if let Some((outcome, _)) = NAMED.iter().find(|(_, name)| *name == s) {
            return Ok(*outcome);
        }
        if let Some((n, _)) = ERRNO.iter().find(|(_, name)| *name == s) {
            return Ok(Outcome::Errno(*n));
        }
        s.strip_prefix("errno_")
            .and_then(|n| n.parse().ok())
            .map(Outcome::Errno)
            .ok_or_else(|| format!("`{s}` is not the name of an outcome"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_name_that_reads_back() {
        let mut all: Vec<Outcome> = NAMED.iter().map(|(o, _)| *o).collect();
        all.extend(ERRNO.iter().map(|(n, _)| Outcome::Errno(*n)));
        all.extend([Outcome::Status(200), Outcome::Status(999), Outcome::Errno(4095)]);
        for o in all {
            assert_eq!(o.to_string().parse::<Outcome>().unwrap(), o);
        }
        assert!("nonsense".parse::<Outcome>().is_err());
    }
}
