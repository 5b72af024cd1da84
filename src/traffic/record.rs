//! One understood line: its fields, unescaped, borrowed from the line or from the parser.
//!
//! Must not: decide whether the line is a request that can be replayed.

use super::framed::Framing;
use super::input::MAX_LINE_BYTES;
use super::time::Stamp;
use std::path::Path;

/// Which instant a recording's time stamps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeIs {
    /// When the request began: Apache, Envoy, Traefik.
    Start,
    /// When it ended and the line was written: nginx, Caddy.
    End,
    /// None: the recording is an order of requests and nothing more.
    Absent,
}

/// The request itself, as the format holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// A whole request line: `GET /x HTTP/1.1`.
    Line(&'a [u8]),
    /// Its parts. A format without a protocol gives none.
    Parts {
        /// The method.
        method: &'a [u8],
        /// The request target.
        target: &'a [u8],
    },
}

/// Header fields of a record in their order. A parser keeps one and fills it anew for each record,
/// so that its memory is reused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    bytes: Vec<u8>,
    /// Where each name and its value end in `bytes`.
    ends: Vec<(usize, usize)>,
}

/// What a record without header fields refers to.
pub(super) static NO_FIELDS: Fields = Fields { bytes: Vec::new(), ends: Vec::new() };

impl Fields {
    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends a field. Name and value may be anything: what cannot be sent is left out later.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(name);
        let end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((end, self.bytes.len()));
    }

    /// Bytes of all names and values.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Names and values in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut from = 0;
        self.ends.iter().map(move |(name, value)| {
            let field = (&self.bytes[from..*name], &self.bytes[*name..*value]);
            from = *value;
            field
        })
    }
}

/// One understood line. Absent fields, and those that are `-`, are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The time stamp.
    pub(super) time: Stamp,
    /// Which instant that is.
    pub(super) time_is: TimeIs,
    /// How long the request took, ns.
    pub(super) duration_ns: Option<u64>,
    /// What was asked for.
    pub(super) asked: Asked<'a>,
    /// The virtual host, without port.
    pub(super) host: Option<&'a [u8]>,
    /// The port of the virtual host.
    pub(super) port: Option<u16>,
    /// Status of the response.
    pub(super) status: Option<u16>,
    /// Size of the response as the log counts it (nginx and Apache `%b`: the body; `%O`: all).
    pub(super) bytes: Option<u64>,
    /// Address or name of the client.
    pub(super) client: Option<&'a [u8]>,
    /// The hash of the client, where the recording holds that instead of an address.
    pub(super) client_hash: Option<u64>,
    /// The Referer header.
    pub(super) referer: Option<&'a [u8]>,
    /// The User-Agent header.
    pub(super) user_agent: Option<&'a [u8]>,
    /// All other header fields, as recorded; a Host among them names the virtual host.
    pub(super) fields: &'a Fields,
    /// The body, whole and decoded: fields that say how it was framed are not sent.
    pub(super) body: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record that knows nothing but when it began and what was asked for.
    pub(super) fn new(time: Stamp, asked: Asked<'a>) -> Record<'a> {
        Record {
            time,
            time_is: TimeIs::Start,
            duration_ns: None,
            asked,
            host: None,
            port: None,
            status: None,
            bytes: None,
            client: None,
            client_hash: None,
            referer: None,
            user_agent: None,
            fields: &NO_FIELDS,
            body: &[],
        }
    }
}

/// Why a line is not a record of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// Its shape is another.
    Shape,
    /// The shape is right, the time is none.
    Time,
    /// A line that belongs to the format and is no record: a header or a comment.
    Comment,
}

/// One log format: makes records of lines.
pub(super) trait Format: Send {
    /// The name users give to `--format`.
    fn name(&self) -> &str;

    /// How many fields it knows; between formats that match the same lines the one that knows
    /// more wins.
    fn fields(&self) -> usize;

    /// Whether its records have times at all; those without any are an order.
    fn is_timed(&self) -> bool {
        true
    }

    /// Longest line that it has, bytes; longer ones are passed over.
    fn longest_line(&self) -> usize {
        MAX_LINE_BYTES
    }

    /// Goes back to what it was before the first line, for a format whose lines say how the ones
    /// behind them are to be read.
    fn rewind(&mut self) {}

    /// Reads one line. It may be anything.
    fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch>;

    /// The same of a line that is known to hold no backslash.
    fn parse_plain<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        self.parse(line)
    }

    /// What cuts a recording into records, where they are not its lines: then these are never
    /// parsed. `folder` is where the files lie that the recording refers to.
    fn framing(&self, _folder: Option<&Path>) -> Option<Box<dyn Framing>> {
        None
    }
}

/// Appends `text` to `out` with the escapes of nginx (`ngx_http_log_escape`: `\xHH`) and Apache
/// (`ap_escape_logitem`: also `\n`, `\t`, `\"`, `\\` and their kin) undone. A backslash that begins
/// none of them stays.
pub(super) fn unescape_into(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(i) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..i]);
        let (byte, used) = match &rest[i..] {
            [_, b'x' | b'X', h1, h2, ..] if h1.is_ascii_hexdigit() && h2.is_ascii_hexdigit() => {
                (hex(*h1) << 4 | hex(*h2), 4)
            }
            [_, c @ (b'"' | b'\\' | b'\''), ..] => (*c, 2),
            [_, b'n', ..] => (b'\n', 2),
            [_, b'r', ..] => (b'\r', 2),
            [_, b't', ..] => (b'\t', 2),
            [_, b'b', ..] => (8, 2),
            [_, b'v', ..] => (11, 2),
            [_, b'f', ..] => (12, 2),
            _ => (b'\\', 1),
        };
        out.push(byte);
        rest = &rest[i + used..];
    }
    out.extend_from_slice(rest);
}

/// Appends `text` to `out` with the escapes of a JSON string undone as nginx writes them with
/// `escape=json` (`ngx_escape_json`: `\u00XX` for control characters, and the two-letter ones).
pub(super) fn unescape_json_into(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(i) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..i]);
        let (byte, used) = match &rest[i..] {
            [_, b'u', b'0', b'0', h1, h2, ..] if h1.is_ascii_hexdigit() && h2.is_ascii_hexdigit() => {
                (hex(*h1) << 4 | hex(*h2), 6)
            }
            [_, c @ (b'"' | b'\\' | b'/'), ..] => (*c, 2),
            [_, b'n', ..] => (b'\n', 2),
            [_, b'r', ..] => (b'\r', 2),
            [_, b't', ..] => (b'\t', 2),
            [_, b'b', ..] => (8, 2),
            [_, b'f', ..] => (12, 2),
            _ => (b'\\', 1),
        };
        out.push(byte);
        rest = &rest[i + used..];
    }
    out.extend_from_slice(rest);
}

/// The value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_both_servers_are_undone() {
        let undo = |text: &[u8]| {
            let mut out = Vec::new();
            unescape_into(text, &mut out);
            out
        };
        assert_eq!(undo(br"\x16\x03\X0A"), [0x16, 3, 10]);
        assert_eq!(undo(br#"a\"b\\c\n\tq"#), b"a\"b\\c\n\tq");
        assert_eq!(undo(br"\xZZ\q\"), br"\xZZ\q\");
        assert_eq!(undo(br"\x5Cx41"), br"\x41");
        assert_eq!(undo(b"\xc3\xa4"), b"\xc3\xa4");
        let mut out = Vec::new();
        unescape_json_into(br#"\u001f\"a\\\n\u12\q\"#, &mut out);
        assert_eq!(out, b"\x1f\"a\\\n\\u12\\q\\");
    }
}
