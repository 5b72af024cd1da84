//! What an error of reqwest, hyper, h2 or rustls comes to: an outcome under the same names that
//! the h1 engine gives.
//!
//! Must not: judge a whole response.

use super::client::Unresolved;
use crate::model::{Flaw, Outcome, Phase, Reached};
use h2::Reason;
use std::error::Error;
use std::io::{self, ErrorKind};

/// How a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    /// It surely was not looked at: it may be sent again whatever it does (RFC 9113 section 8.7).
    pub(super) refused: bool,
    /// The reason, where an outcome's name doesn't say enough.
    pub(super) why: Option<String>,
}

impl From<Outcome> for Failed {
    fn from(outcome: Outcome) -> Failed {
        Failed { outcome, refused: false, why: None }
    }
}

impl Failed {
    /// The same where the head of the response had come. Before it nobody tells how much of it had.
    pub(super) fn behind_the_head(self, reached: Reached) -> Failed {
        Failed { outcome: self.outcome.placed(reached), ..self }
    }
}

/// What `e` comes to. `phase`: how far the connection got that was made last; `broken`: how the one
/// failed that failed last; `answered`: the response had begun.
pub(super) fn failed(e: &::reqwest::Error, phase: Phase, broken: Option<Failed>, answered: bool) -> Failed {
    let connecting = e.is_connect();
    if connecting && e.is_timeout() && errno(e).is_none() {
        return Outcome::Timeout(phase).into();
    }
    // hyper-util tells this in words only (`client/legacy/pool.rs`, `CheckoutNoLongerWanted`).
    let is_canceled = |e: &(dyn Error + 'static)| e.to_string() == "request was canceled";
    if let Some(broken) = broken.filter(|_| connecting && chain(e).any(is_canceled)) {
        // It waited for the connection that another request had begun to make.
        return broken;
    }
    if let Some(found) = by_causes(e, connecting, phase) {
        return found;
    }
    let text = in_words(e);
    if e.is_builder() || e.is_request() && !connecting && !answered && text.contains("invalid") {
        return Failed { outcome: Outcome::Errno(UNSENDABLE), refused: false, why: Some(text) };
    }
    match (connecting, answered) {
        (true, _) => Failed { outcome: Outcome::ClosedEarly, refused: false, why: Some(text) },
        (false, _) => Outcome::ClosedEarly.into(),
    }
}

/// How the making of a connection failed.
pub(super) fn not_connected(e: &(dyn Error + 'static), phase: Phase) -> Failed {
    let words = || Failed { why: Some(in_words(e)), ..Outcome::ClosedEarly.into() };
    by_causes(e, true, phase).unwrap_or_else(words)
}

fn by_causes(e: &(dyn Error + 'static), connecting: bool, phase: Phase) -> Option<Failed> {
    // From the cause outwards: what is nearest to the socket knows best.
    let causes: Vec<&(dyn Error + 'static)> = chain(e).collect();
    let found = causes.iter().rev().find_map(|cause| known(*cause, connecting, phase));
    if found.is_some() {
        return found;
    }
    let text = in_words(e);
    let of_proxy = ["tunnel error", "SOCKS error", "socks proxy"].iter().any(|words| text.contains(words));
    of_proxy.then_some(Failed { outcome: Outcome::Proxy, refused: false, why: Some(text) })
}

/// EINVAL: what a request that can't be put into words is counted under.
pub(super) const UNSENDABLE: i32 = 22;

fn known(cause: &(dyn Error + 'static), connecting: bool, phase: Phase) -> Option<Failed> {
    if cause.is::<Unresolved>() {
        return Some(Outcome::Unresolved.into());
    }
    if let Some(e) = cause.downcast_ref::<rustls::Error>() {
        return Some(tls(e));
    }
    if let Some(e) = cause.downcast_ref::<io::Error>() {
        return of_io(e, connecting, phase);
    }
    if let Some(e) = cause.downcast_ref::<h2::Error>() {
        return of_h2(e);
    }
    let e = cause.downcast_ref::<hyper::Error>()?;
    if e.is_parse() {
        // hyper tells them apart in words only (`hyper/src/error.rs`, `Parse`).
        let text = e.to_string();
        let outcome = match () {
            () if text.contains("too large") => Outcome::HeadTooLarge,
            () if text.contains("version") || text.contains("status-code") => Outcome::Flawed(Flaw::StatusLine),
            () if text.contains("header") => Outcome::Flawed(Flaw::Head),
            () if text.contains("content-length") => Outcome::Flawed(Flaw::Length),
            () => Outcome::Malformed,
        };
        return Some(outcome.into());
    }
    // A request that the client had not begun to write when its connection was closed.
    (e.is_incomplete_message() || e.is_closed() || e.is_canceled())
        .then(|| Failed { refused: e.is_canceled(), ..Outcome::ClosedEarly.into() })
}

fn of_io(e: &io::Error, connecting: bool, phase: Phase) -> Option<Failed> {
    if let Some(n) = e.raw_os_error() {
        return Some(Outcome::Errno(n).into());
    }
    // source() leaves out what an io::Error holds, and it may hold another.
    if let Some(inner) = e.get_ref() {
        if let Some(found) = inner.downcast_ref::<io::Error>().and_then(|inner| of_io(inner, connecting, phase)) {
            return Some(found);
        }
        if let Some(inner) = inner.downcast_ref::<rustls::Error>() {
            return Some(tls(inner));
        }
    }
    match e.kind() {
        ErrorKind::UnexpectedEof if connecting && phase == Phase::Tls => {
            let why = Some("the target closed the connection during the handshake".into());
            Some(Failed { outcome: Outcome::Tls, refused: false, why })
        }
        ErrorKind::TimedOut if connecting => Some(Outcome::Timeout(phase).into()),
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => Some(Outcome::ClosedEarly.into()),
        // hyper's way of saying that chunks are not what they should be.
        ErrorKind::InvalidData | ErrorKind::InvalidInput => Some(Outcome::Flawed(Flaw::Chunks).into()),
        _ => None,
    }
}

fn of_h2(e: &h2::Error) -> Option<Failed> {
    if e.is_io() {
        return e.get_io().and_then(|e| of_io(e, false, Phase::FirstByte)).or(Some(Outcome::ClosedEarly.into()));
    }
    let reason = e.reason();
    let refused = reason == Some(Reason::REFUSED_STREAM) || (e.is_go_away() && reason == Some(Reason::NO_ERROR));
    let why = reason.map(|r| r.to_string());
    let outcome = match (e.is_remote(), e.is_reset()) {
        (true, true) => Outcome::StreamReset,
        (true, false) => Outcome::ClosedEarly,
        // We found fault with what came.
        (false, _) => Outcome::Malformed,
    };
    Some(Failed { outcome, refused, why })
}

fn tls(e: &rustls::Error) -> Failed {
    Failed { outcome: Outcome::Tls, refused: false, why: Some(crate::load::tls::in_words(e)) }
}

fn errno(e: &(dyn Error + 'static)) -> Option<i32> {
    chain(e).find_map(|e| e.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error))
}

/// An error and its causes; no more than anybody could mean.
fn chain<'a>(e: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(e), |e: &&'a (dyn Error + 'static)| (*e).source()).take(32)
}

/// An error with its causes in one line.
pub(super) fn in_words(e: &(dyn Error + 'static)) -> String {
    let all: Vec<String> = chain(e).skip(1).map(ToString::to_string).collect();
    let text = if all.is_empty() { e.to_string() } else { all.join(": ") };
    crate::model::clean(&text, 300)
}
