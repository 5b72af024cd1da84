//! GoReplay captures: `type id unix_ns [latency_ns]`, a newline, the raw message, and a line of
//! three monkeys.
//!
//! Type 1 is a request, 2 its response, 3 the response of a replay; the time of a request is its
//! start.
//!
//! Must not: replay a response.

use super::super::distinct::stable_hash;
use super::super::ledger::Reason;
use super::super::time::Stamp;
use super::http1::Raw;
use super::{Framing, Resync, Step, line};
use memchr::memmem;
use std::path::Path;

/// What ends a message: a newline, three monkeys, a newline.
const MARK: &[u8] = "\n🐵🙈🙉\n".as_bytes();

/// A capture being read.
pub(in crate::traffic) struct Gor {
    mark: memmem::Finder<'static>,
    raw: Raw,
    id: u64,
}

impl Gor {
    /// At its start.
    pub(in crate::traffic) fn start(_: Option<&Path>) -> Box<dyn Framing> {
        Box::new(Gor { mark: memmem::Finder::new(MARK), raw: Raw::default(), id: 0 })
    }
}

impl Framing for Gor {
    fn step<'a>(&'a mut self, text: &'a [u8], at_end: bool) -> Step<'a> {
        let blank = text.iter().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        if blank > 0 {
            return Step::Pass(blank);
        }
        let (message, used, whole) = match self.mark.find(text) {
            Some(n) => (&text[..n], n + MARK.len(), true),
            None if at_end => {
                let bare = &MARK[..MARK.len() - 1];
                let ends = text.ends_with(bare);
                (text.strip_suffix(bare).unwrap_or(text), text.len(), ends)
            }
            None => return Step::More,
        };
        let Some((head, body_at)) = line(message, false) else { return Step::Bad(used, Reason::NoMatch) };
        let Some(Header { kind, id, time }) = header(head) else { return Step::Bad(used, Reason::NoMatch) };
        self.id = stable_hash(id);
        match kind {
            b'1' => {}
            b'2' => return Step::Response(used, status(&message[body_at..])),
            _ => return Step::Bad(used, Reason::Response),
        }
        match self.raw.read(&message[body_at..], time) {
            Ok(record) => Step::Record(used, record),
            Err(_) if !whole => Step::Bad(used, Reason::CutShort),
            Err(reason) => Step::Bad(used, reason),
        }
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn resync(&mut self, text: &[u8], _: bool) -> Resync {
        match self.mark.find(text) {
            Some(n) => Resync::At(n + MARK.len()),
            // The mark may begin in the last bytes.
            None => Resync::Drop(text.len().saturating_sub(MARK.len() - 1)),
        }
    }
}

/// The line before a message.
struct Header<'a> {
    kind: u8,
    id: &'a [u8],
    time: Stamp,
}

/// Reads it. Nanoseconds have 19 digits since 2001 and until 2286.
fn header(head: &[u8]) -> Option<Header<'_>> {
    let mut words = head.split(|b| *b == b' ');
    let [kind @ b'1'..=b'3'] = words.next()? else { return None };
    let id = words.next()?;
    let time = std::str::from_utf8(words.next()?).ok()?;
    if id.is_empty() || time.len() > 19 || !time.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Header { kind: *kind, id, time: Stamp { unix_ns: time.parse().ok()?, whole_second: false } })
}

/// The status of a raw response (RFC 9112 section 4).
fn status(message: &[u8]) -> Option<u16> {
    let code = message.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(code).ok()?.parse().ok().filter(|s| (100..1000).contains(s))
}
