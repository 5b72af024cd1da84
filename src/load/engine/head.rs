//! The head of an HTTP/1.x response: what it says of the bytes behind it.
//!
//! Sources: RFC 9112 sections 2 to 6; RFC 9110 section 7.6.1 (Connection).
//!
//! Must not: do I/O, or know what was asked.

use super::response::{Bad, Limits};
use crate::model::Flaw;

/// Longest head that is remembered, bytes.
const REMEMBERED: usize = 1024;

/// What the head of a response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of it, the empty line included.
    pub(super) length: usize,
    pub(super) status: u16,
    /// HTTP/1.1, not 1.0.
    pub(super) is_1_1: bool,
    pub(super) content_length: Option<u64>,
    /// Whether chunked is the last of the transfer codings, if there are any.
    pub(super) is_chunked: Option<bool>,
    /// Whether the connection stays open, as far as it says.
    pub(super) connection: Option<bool>,
}

/// The head read last. Servers answer request after request alike within a second, and to see
/// that a head is the same costs a tenth of reading it.
#[derive(Debug, Default)]
pub struct Heads {
    bytes: Vec<u8>,
    said: Option<Head>,
}

impl Heads {
    /// Reads a head; None when it is not complete yet.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<Head>, Bad> {
        if self.said.is_some() && bytes.starts_with(&self.bytes) {
            return Ok(self.said);
        }
        let read = Head::parse(bytes)?;
        if let Some(head) = read.filter(|head| head.length <= REMEMBERED) {
            self.bytes.clear();
            self.bytes.reserve(REMEMBERED); // once
            self.bytes.extend_from_slice(&bytes[..head.length]);
            self.said = read;
        }
        Ok(read)
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Option<Head>, Bad> {
        let mut fields = [const { std::mem::MaybeUninit::uninit() }; Limits::FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let mut config = httparse::ParserConfig::default();
        // A user agent takes a folded line for spaces (RFC 9112 section 5.2).
        config.allow_obsolete_multiline_headers_in_responses(true);
        let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
            Ok(httparse::Status::Complete(n)) => n,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Bad::TooLarge),
            Err(httparse::Error::Version | httparse::Error::Status) => return Err(Bad::Malformed(Flaw::StatusLine)),
            Err(_) => return Err(Bad::Malformed(Flaw::Head)),
        };
        let (Some(status @ 100..=999), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(Bad::Malformed(Flaw::StatusLine));
        };
        let mut head =
            Head { length, status, is_1_1: minor == 1, content_length: None, is_chunked: None, connection: None };
        if head.is_interim() {
            return Ok(Some(head)); // whatever it says of content, it has none
        }
        for f in parsed.headers.iter() {
            if f.name.eq_ignore_ascii_case("content-length") {
                for value in f.value.split(|b| *b == b',') {
                    let n = decimal(value).ok_or(Bad::Malformed(Flaw::Length))?;
                    if head.content_length.is_some_and(|was| was != n) {
                        return Err(Bad::Malformed(Flaw::Length));
                    }
                    head.content_length = Some(n);
                }
            } else if f.name.eq_ignore_ascii_case("transfer-encoding") {
                let last = f.value.rsplit(|b| *b == b',').next().unwrap_or_default();
                head.is_chunked = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
            } else if f.name.eq_ignore_ascii_case("connection") {
                for option in f.value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        head.connection = Some(false);
                    } else if option.eq_ignore_ascii_case(b"keep-alive") && head.connection.is_none() {
                        head.connection = Some(true);
                    }
                }
            }
        }
        Ok(Some(head))
    }

    /// Another head follows (1xx); not so behind 101, which ends HTTP on this connection.
    pub(super) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    (!text.is_empty() && text.iter().all(u8::is_ascii_digit)).then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";

    #[test]
    fn a_head_is_known_again_and_one_that_goes_on_otherwise_is_not() {
        let mut heads = Heads::default();
        let read = |heads: &mut Heads, wire: &[u8]| heads.read(wire).unwrap().map(|h| (h.length, h.content_length));
        assert_eq!(read(&mut heads, &HEAD[..20]), None);
        assert_eq!(read(&mut heads, HEAD), Some((HEAD.len(), Some(3))));
        assert_eq!(read(&mut heads, &[HEAD, b"abc"].concat()), Some((HEAD.len(), Some(3))));
        assert_eq!(read(&mut heads, &HEAD[..HEAD.len() - 1]), None);
        let other = b"HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n";
        assert_eq!(read(&mut heads, other), Some((other.len(), Some(31))));
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 * REMEMBERED));
        assert_eq!(read(&mut heads, long.as_bytes()), Some((long.len(), None)));
        assert_eq!(read(&mut heads, other), Some((other.len(), Some(31))));
    }

    proptest! {
        /// What is remembered changes nothing.
        #[test]
        fn reading_with_a_memory_is_reading(wires in prop::collection::vec(
            ("HTTP/1\\.[01] (100|200|204|304|500) O", "(\r\nContent-Length: [0-9]|\r\nConnection: (close|keep-alive)|\r\n x|:){0,2}", "\r\n\r\n[ab]{0,2}", 0usize..60), 1..12)) {
            let mut heads = Heads::default();
            for (line, fields, end, cut) in wires {
                let wire = format!("{line}{fields}{end}");
                let wire = &wire.as_bytes()[..wire.len().saturating_sub(if cut < 10 { cut } else { 0 })];
                prop_assert_eq!(heads.read(wire), Head::parse(wire));
            }
        }
    }
}
