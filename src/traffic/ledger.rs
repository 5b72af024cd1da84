//! What became of every line: it is a request, or it was skipped for a [`Reason`].
//!
//! Must not: grow with the log; hold a line.

use crate::model::Skipped;
use std::sync::Arc;

/// Why a line is not replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nothing on the line.
    EmptyLine,
    /// Longer than [`super::MAX_LINE_BYTES`].
    LineTooLong,
    /// Not of the format's shape.
    NoMatch,
    /// The last line, without a newline and not of the format's shape.
    CutShort,
    /// Compressed data is damaged or breaks off here; what follows is lost.
    Damaged,
    /// The file could not be read past here.
    Unreadable,
    /// A line of the format that says something about the lines behind it: `#Fields:`.
    Comment,
    /// The time is none.
    BadTime,
    /// The request field is empty: a connection closed without a request.
    EmptyRequest,
    /// The request field is `-`: a connection that timed out or was refused.
    NoRequest,
    /// TLS spoken to a plain port.
    Tls,
    /// Bytes that are no text where the method should be.
    Binary,
    /// A word, not a request line.
    NotARequestLine,
    /// The method is no token.
    BadMethod,
    /// CONNECT asks a proxy, not a server.
    Connect,
    /// PRI begins HTTP/2 and asks for nothing.
    Preface,
    /// `*` asks about the server as a whole and has no path.
    Asterisk,
    /// The target is neither a path nor an http URL, or holds control characters.
    BadTarget,
    /// Without a protocol, as in HTTP/0.9.
    NoProtocol,
    /// A protocol that is not HTTP, or a version that is none.
    BadProtocol,
    /// A record longer than 16 MiB.
    RecordTooLong,
    /// A record's size is another than it says.
    WrongSize,
    /// A response in a capture.
    Response,
    /// The head of a raw request is malformed or breaks off.
    BadHead,
    /// A body whose chunks or Base64 are broken.
    BadBody,
    /// A body that the recording does not hold.
    NoBody,
    /// A file that a list refers to is missing, no file, or larger than 16 MiB.
    BodyFile,
    /// An option of curl that changes the request in a way that is not understood.
    CurlOption,
    /// More than one URL in one curl command.
    CurlUrls,
}

/// All reasons with the words they are counted under. Stable: sessions and JSON hold them.
const WORDS: &[(Reason, &str)] = &[
    (Reason::EmptyLine, "empty line"),
    (Reason::LineTooLong, "line longer than 64 KiB"),
    (Reason::NoMatch, "not in the log format"),
    (Reason::CutShort, "last line cut short"),
    (Reason::Damaged, "compressed data damaged, rest not read"),
    (Reason::Unreadable, "read error, rest not read"),
    (Reason::Comment, "header or comment line"),
    (Reason::BadTime, "bad time"),
    (Reason::EmptyRequest, "empty request"),
    (Reason::NoRequest, "no request (-)"),
    (Reason::Tls, "TLS bytes"),
    (Reason::Binary, "binary bytes"),
    (Reason::NotARequestLine, "not a request line"),
    (Reason::BadMethod, "bad method"),
    (Reason::Connect, "CONNECT"),
    (Reason::Preface, "PRI (HTTP/2 preface)"),
    (Reason::Asterisk, "target * has no path"),
    (Reason::BadTarget, "bad target"),
    (Reason::NoProtocol, "no protocol (HTTP/0.9)"),
    (Reason::BadProtocol, "bad protocol"),
    (Reason::RecordTooLong, "record longer than 16 MiB"),
    (Reason::WrongSize, "wrong size of a record"),
    (Reason::Response, "recorded response"),
    (Reason::BadHead, "bad request head"),
    (Reason::BadBody, "bad body (chunks or Base64)"),
    (Reason::NoBody, "body not recorded"),
    (Reason::BodyFile, "body file missing or too large"),
    (Reason::CurlOption, "curl option not understood"),
    (Reason::CurlUrls, "several URLs in one curl command"),
];

impl Reason {
    /// All reasons.
    pub fn all() -> impl Iterator<Item = Reason> {
        WORDS.iter().map(|(r, _)| *r)
    }

    /// The words it is counted under.
    pub fn as_str(self) -> &'static str {
        WORDS[self as usize].1
    }
}

/// Methods that have a count of their own.
const MAX_METHODS: usize = 16;

/// A count and the place of the first.
struct Tally {
    count: u64,
    first: String,
}

/// The book of one recording. At any time `lines == requests + all skipped`.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) lines: u64,
    pub(super) requests: u64,
    pub(super) out_of_order: u64,
    pub(super) outside_window: u64,
    reasons: [Option<Tally>; WORDS.len()],
    methods: Vec<(Box<str>, Tally)>,
    other_methods: Option<Tally>,
    /// By the number of the label; the sieve has few.
    sifted: Vec<(usize, Box<str>, Tally)>,
}

impl Ledger {
    /// Counts a line skipped for `reason`; `place` is asked only for the first.
    pub(super) fn skip(&mut self, reason: Reason, place: impl FnOnce() -> String) {
        count(&mut self.reasons[reason as usize], place);
    }

    /// Counts a line skipped because `method`, a token, is not replayed.
    pub(super) fn skip_method(&mut self, method: &[u8], place: impl FnOnce() -> String) {
        if let Some((_, tally)) = self.methods.iter_mut().find(|(m, _)| m.as_bytes() == method) {
            tally.count += 1;
        } else if self.methods.len() < MAX_METHODS {
            let name = String::from_utf8_lossy(method).into_owned();
            self.methods.push((name.into(), Tally { count: 1, first: place() }));
        } else {
            count(&mut self.other_methods, place);
        }
    }

    /// Counts a request that a sieve leaves out, under its label number `n`.
    pub(super) fn skip_sifted(&mut self, n: usize, label: &str, place: impl FnOnce() -> String) {
        match self.sifted.iter_mut().find(|(other, ..)| *other == n) {
            Some((.., tally)) => tally.count += 1,
            None => self.sifted.push((n, label.into(), Tally { count: 1, first: place() })),
        }
    }

    /// Everything skipped, the most frequent first.
    pub(super) fn skipped(&self) -> Vec<Skipped> {
        let one = |reason: Arc<str>, t: &Tally| Skipped { reason, count: t.count, first: t.first.clone() };
        let reasons = WORDS.iter().zip(&self.reasons).filter_map(|((_, w), t)| Some(one((*w).into(), t.as_ref()?)));
        let methods = self.methods.iter().map(|(m, t)| one(format!("method {m} not replayed").into(), t));
        let others = self.other_methods.iter().map(|t| one("other methods not replayed".into(), t));
        let sifted = self.sifted.iter().map(|(_, label, t)| one((&**label).into(), t));
        let mut all: Vec<Skipped> = reasons.chain(methods).chain(others).chain(sifted).collect();
        all.sort_by_key(|s| std::cmp::Reverse(s.count));
        all
    }
}

fn count(tally: &mut Option<Tally>, place: impl FnOnce() -> String) {
    match tally {
        Some(t) => t.count += 1,
        None => *tally = Some(Tally { count: 1, first: place() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_finds_its_own_words() {
        for (n, (reason, _)) in WORDS.iter().enumerate() {
            assert_eq!(*reason as usize, n);
        }
    }

    #[test]
    fn the_first_place_is_kept_and_methods_are_bounded() {
        let mut l = Ledger::default();
        l.skip(Reason::Tls, || "a:1".into());
        l.skip(Reason::Tls, || panic!("only the first place is asked for"));
        for n in 0..100 {
            l.skip_method(format!("M{n}").as_bytes(), || format!("a:{n}"));
        }
        let skipped = l.skipped();
        assert_eq!(skipped.len(), MAX_METHODS + 2);
        assert_eq!((&*skipped[0].reason, skipped[0].count), ("other methods not replayed", 84));
        assert_eq!((&*skipped[1].reason, skipped[1].count, &*skipped[1].first), ("TLS bytes", 2, "a:1"));
        assert_eq!(&*skipped[2].reason, "method M0 not replayed");
    }
}
