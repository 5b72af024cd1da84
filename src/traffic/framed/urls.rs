//! Plain lists: one URL or path per line, with or without a method before it; `#` comments.
//!
//! Must not: take a line with anything more on it.

use super::super::ledger::Reason;
use super::{Framing, Message, NO_TIME, Resync, Step, line, looks_like_method, looks_like_target, next_line_that};
use std::path::Path;

/// A list being read.
#[derive(Default)]
pub(in crate::traffic) struct Urls {
    message: Message,
}

impl Urls {
    /// At its start.
    pub(in crate::traffic) fn start(_: Option<&Path>) -> Box<dyn Framing> {
        Box::new(Urls::default())
    }
}

impl Framing for Urls {
    fn step<'a>(&'a mut self, text: &'a [u8], at_end: bool) -> Step<'a> {
        let Some((l, used)) = line(text, at_end) else { return Step::More };
        match l.trim_ascii() {
            b"" | [b'#', ..] => return Step::Pass(used),
            l => match request(l) {
                Some((method, target)) => self.message.begin(method, target),
                None => return Step::Bad(used, Reason::NoMatch),
            },
        }
        Step::Record(used, self.message.record(NO_TIME))
    }

    fn resync(&mut self, text: &[u8], at_end: bool) -> Resync {
        next_line_that(text, at_end, |_| true)
    }
}

/// Method and target of a line: `/path`, `http://host/path`, `METHOD /path`, `METHOD http://host/path`.
pub(super) fn request(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (method, target) = match memchr::memchr2(b' ', b'\t', line) {
        None => (&b"GET"[..], line),
        Some(n) => (&line[..n], line[n..].trim_ascii_start()),
    };
    (looks_like_method(method) && looks_like_target(target)).then_some((method, target))
}
