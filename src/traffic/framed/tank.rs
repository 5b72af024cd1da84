//! Ammo of Yandex Tank: `uri` (lines), `uripost` (sized bodies), `phantom` (sized raw requests).
//!
//! In `uri` and `uripost` a line `[Name: value]` sets a header field of all requests behind it. A
//! tag behind the URI is a label for Tank's own statistics and is passed over. Ammo has no times.
//!
//! Must not: trust a size that the text behind it contradicts.

use super::super::ledger::Reason;
use super::super::record::Fields;
use super::http1::Raw;
use super::{Framing, MAX_RECORD_BYTES, Message, NO_TIME, Resync, Step, line, looks_like_method};
use super::{looks_like_target, next_line_that};
use std::path::Path;

/// Header fields that hold from their line on.
#[derive(Default)]
struct Sticky(Vec<(Vec<u8>, Vec<u8>)>);

/// Most of them; ammo is not trusted.
const MAX_STICKY: usize = 200;

impl Sticky {
    /// Takes a line `[Name: value]`; a name that was set before is set anew.
    fn set(&mut self, l: &[u8]) -> bool {
        let Some((name, value)) = setting(l) else { return false };
        let is_full = self.0.len() >= MAX_STICKY;
        match self.0.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value.to_vec(),
            None if !is_full => self.0.push((name.to_vec(), value.to_vec())),
            None => return false,
        }
        true
    }

    fn put(&self, fields: &mut Fields) {
        self.0.iter().for_each(|(name, value)| fields.push(name, value));
    }
}

/// Name and value of a line `[Name: value]`.
fn setting(l: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = l.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
    let colon = memchr::memchr(b':', inner)?;
    let (name, value) = (inner[..colon].trim_ascii(), inner[colon + 1..].trim_ascii());
    (!name.is_empty()).then_some((name, value))
}

/// The first word of a line and what follows it.
fn first_word(l: &[u8]) -> (&[u8], &[u8]) {
    let end = l.iter().position(u8::is_ascii_whitespace).unwrap_or(l.len());
    (&l[..end], l[end..].trim_ascii_start())
}

/// A size at the beginning of a line, and what follows it.
fn sized(l: &[u8]) -> Option<(usize, &[u8])> {
    let (digits, rest) = first_word(l);
    let fits = (1..=10).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let size = std::str::from_utf8(digits).ok().filter(|_| fits)?.parse().ok()?;
    Some((size, rest))
}

/// `uri` ammo being read.
#[derive(Default)]
pub(in crate::traffic) struct Uri {
    sticky: Sticky,
    message: Message,
}

impl Uri {
    /// At its start.
    pub(in crate::traffic) fn start(_: Option<&Path>) -> Box<dyn Framing> {
        Box::new(Uri::default())
    }
}

impl Framing for Uri {
    fn step<'a>(&'a mut self, text: &'a [u8], at_end: bool) -> Step<'a> {
        let Some((l, used)) = line(text, at_end) else { return Step::More };
        if l.trim_ascii().is_empty() || self.sticky.set(l) {
            return Step::Pass(used);
        }
        let (target, _) = first_word(l);
        if !looks_like_target(target) {
            return Step::Bad(used, Reason::NoMatch);
        }
        self.message.begin(b"GET", target);
        self.sticky.put(&mut self.message.fields);
        Step::Record(used, self.message.record(NO_TIME))
    }

    fn resync(&mut self, text: &[u8], at_end: bool) -> Resync {
        next_line_that(text, at_end, |_| true)
    }
}

/// `uripost` ammo being read.
#[derive(Default)]
pub(in crate::traffic) struct Uripost {
    sticky: Sticky,
    message: Message,
}

impl Uripost {
    /// At its start.
    pub(in crate::traffic) fn start(_: Option<&Path>) -> Box<dyn Framing> {
        Box::new(Uripost::default())
    }
}

/// Whether a line can begin a record of `uripost`.
fn begins_uripost(l: &[u8]) -> bool {
    setting(l).is_some() || sized(l).is_some_and(|(_, rest)| looks_like_target(first_word(rest).0))
}

impl Framing for Uripost {
    fn step<'a>(&'a mut self, text: &'a [u8], at_end: bool) -> Step<'a> {
        let Some((l, used)) = line(text, at_end) else { return Step::More };
        if l.trim_ascii().is_empty() || self.sticky.set(l) {
            return Step::Pass(used);
        }
        if !begins_uripost(l) {
            return Step::Lost(Reason::NoMatch);
        }
        let Some((size, rest)) = sized(l) else { return Step::Lost(Reason::NoMatch) };
        let body = match cut(text, used, size, at_end, begins_uripost) {
            Ok(body) => body,
            Err(not) => return not.step(text),
        };
        self.message.begin(b"POST", first_word(rest).0);
        self.sticky.put(&mut self.message.fields);
        self.message.body.extend_from_slice(body);
        Step::Record(used + size, self.message.record(NO_TIME))
    }

    fn resync(&mut self, text: &[u8], at_end: bool) -> Resync {
        next_line_that(text, at_end, begins_uripost)
    }
}

/// `phantom` ammo being read.
#[derive(Default)]
pub(in crate::traffic) struct Phantom {
    raw: Raw,
}

impl Phantom {
    /// At its start.
    pub(in crate::traffic) fn start(_: Option<&Path>) -> Box<dyn Framing> {
        Box::new(Phantom::default())
    }
}

/// Whether a line can begin a record of `phantom`: a size, alone or with a tag of one word.
fn begins_phantom(l: &[u8]) -> bool {
    sized(l).is_some_and(|(_, tag)| !tag.trim_ascii_end().contains(&b' '))
}

impl Framing for Phantom {
    fn step<'a>(&'a mut self, text: &'a [u8], at_end: bool) -> Step<'a> {
        let Some((l, used)) = line(text, at_end) else { return Step::More };
        if l.trim_ascii().is_empty() {
            return Step::Pass(used);
        }
        let Some((size, _)) = sized(l).filter(|_| begins_phantom(l)) else { return Step::Lost(Reason::NoMatch) };
        if size == 0 {
            return Step::Pass(used); // how some generators end a file
        }
        let Some((request_line, _)) = line(&text[used..], at_end) else { return Step::More };
        if !looks_like_method(first_word(request_line).0) {
            return Step::Lost(Reason::NoMatch);
        }
        let message = match cut(text, used, size, at_end, begins_phantom) {
            Ok(message) => message,
            Err(not) => return not.step(text),
        };
        let has_head = [&b"\n\r\n"[..], b"\n\n"].iter().any(|end| memchr::memmem::find(message, end).is_some());
        if !has_head {
            return Step::Lost(Reason::WrongSize);
        }
        match self.raw.read(message, NO_TIME) {
            Ok(record) => Step::Record(used + size, record),
            Err(reason) => Step::Bad(used + size, reason),
        }
    }

    fn resync(&mut self, text: &[u8], at_end: bool) -> Resync {
        next_line_that(text, at_end, begins_phantom)
    }
}

/// Why [`cut`] gives no content.
enum NotCut {
    /// It is not whole yet.
    More,
    /// The size is none that can be.
    Lost(Reason),
    /// The text ends inside it.
    Rest,
}

impl NotCut {
    fn step(self, text: &[u8]) -> Step<'static> {
        match self {
            NotCut::More => Step::More,
            NotCut::Lost(reason) => Step::Lost(reason),
            NotCut::Rest => Step::Bad(text.len(), Reason::CutShort),
        }
    }
}

/// The `size` bytes behind the first `head` of `text`, if what follows them is an end of line, the
/// end, or the next record.
fn cut(text: &[u8], head: usize, size: usize, at_end: bool, begins: fn(&[u8]) -> bool) -> Result<&[u8], NotCut> {
    if size > MAX_RECORD_BYTES - head.min(MAX_RECORD_BYTES) {
        return Err(NotCut::Lost(Reason::RecordTooLong));
    }
    let Some((content, rest)) = text[head..].split_at_checked(size) else {
        if !at_end {
            return Err(NotCut::More);
        }
        // Too large a size reaches over records that are whole.
        return Err(match next_line_that(&text[head..], true, begins) {
            Resync::At(_) => NotCut::Lost(Reason::WrongSize),
            Resync::Drop(_) => NotCut::Rest,
        });
    };
    // A size may or may not count the newline behind the content.
    if content.ends_with(b"\n") || rest.starts_with(b"\n") || rest.starts_with(b"\r\n") || (at_end && rest.is_empty()) {
        return Ok(content);
    }
    match line(rest, at_end) {
        Some((l, _)) if begins(l) => Ok(content),
        Some(_) => Err(NotCut::Lost(Reason::WrongSize)),
        None => Err(NotCut::More),
    }
}
