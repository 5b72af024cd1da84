//! Log formats that are one JSON object per line. Which key is what is a table, read from a file
//! of `assets/formats` or from `--field`; keys are names or dotted paths into nested objects.
//!
//! Must not: build a tree of a line; keep anything of it for the next one.

use super::framed::MAX_RECORD_BYTES;
use super::input::MAX_LINE_BYTES;
use super::json_keys::{Keys, Leaf, Node, Part};
use super::pattern::finer;
use super::record::{Asked, Fields, Format, Mismatch, Record, TimeIs};
use super::time::{Dates, Stamp, any_time, duration_ns, duration_of_any_unit};
use super::values::{forwarded_for, given, host_name, whole_number, without_port};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{DeserializeSeed, Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::ops::Range;

/// Objects within objects that are looked into.
const MAX_DEPTH: usize = 8;

/// What proxies write in place of a secret (Caddy without `log_credentials`, Traefik's
/// `fields.headers`).
const REDACTED: &[u8] = b"REDACTED";

/// A format of JSON lines.
pub(super) struct JsonLines {
    name: String,
    keys: Keys,
    dates: Dates,
    /// The line again, when its bytes are not UTF-8.
    mended: String,
    /// Texts without their escapes.
    scratch: Vec<u8>,
    headers: Fields,
    body: Vec<u8>,
}

/// A text of a line: where it lies in the JSON, or in the scratch buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    Line(Range<usize>),
    Scratch(Range<usize>),
}

/// What a line was found to hold.
#[derive(Default)]
struct Found {
    texts: [Option<(u16, Text)>; Part::TEXTS],
    time: Option<(u16, Stamp, TimeIs)>,
    bad_time: bool,
    duration_ns: Option<(u16, u64)>,
    /// How many keys had the value that the format demands.
    marks: usize,
}

impl JsonLines {
    /// The format of that name and these keys.
    pub(super) fn new(name: &str, keys: Keys) -> JsonLines {
        let name = name.to_owned();
        let (dates, mended, headers) = (Dates::default(), String::new(), Fields::default());
        JsonLines { name, keys, dates, mended, scratch: Vec::new(), headers, body: Vec::new() }
    }
}

impl Format for JsonLines {
    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> usize {
        self.keys.weight
    }

    fn longest_line(&self) -> usize {
        if self.keys.literal { MAX_RECORD_BYTES } else { MAX_LINE_BYTES }
    }

    fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        if !line.trim_ascii_start().starts_with(b"{") {
            return Err(Mismatch::Shape);
        }
        let JsonLines { keys, dates, mended, scratch, headers, body, .. } = self;
        let json = match std::str::from_utf8(line) {
            Ok(json) => json,
            // nginx's escape=json passes bytes above ASCII through as they came.
            Err(_) => {
                mend(line, mended);
                mended
            }
        };
        scratch.clear();
        headers.clear();
        let mut walk = Walk { json, literal: keys.literal, dates, scratch, headers, found: Found::default() };
        walk.object(json, &keys.root, 0).map_err(|_| Mismatch::Shape)?;
        walk.join_query();
        let found = walk.found;
        if found.marks < keys.marks {
            return Err(Mismatch::Shape);
        }
        let scratch = &*scratch;
        let text = |part: Part| found.texts[part.text()?].as_ref().map(|(_, t)| t.bytes(json, scratch));
        let number = |part: Part| text(part).and_then(whole_number);
        let small = |part: Part| number(part).and_then(|n| u16::try_from(n).ok());
        let asked = match (text(Part::Request), text(Part::Method), text(Part::Uri)) {
            (Some(line), _, _) if line.contains(&b' ') => Asked::Line(line),
            (_, Some(method), Some(target)) => Asked::Parts { method, target },
            (Some(line), ..) => Asked::Line(line),
            // Whoever says where the target is may leave the method out.
            (None, None, Some(target)) if keys.assume_get => Asked::Parts { method: b"GET", target },
            _ => return Err(Mismatch::Shape),
        };
        let Some((_, time, time_is)) = found.time else {
            return Err(if found.bad_time { Mismatch::Time } else { Mismatch::Shape });
        };
        // A client that is a hash already, as perfbench writes it, stays the same one.
        let hash = text(Part::ClientHash).and_then(|h| u64::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        let body = match (text(Part::Body), text(Part::BodyBase64)) {
            (Some(text), _) => text,
            (None, Some(encoded)) => {
                body.clear();
                BASE64.decode_vec(encoded, body).map_err(|_| Mismatch::Shape)?;
                &body[..]
            }
            (None, None) => &[],
        };
        Ok(Record {
            time_is,
            duration_ns: found.duration_ns.map(|(_, ns)| ns),
            host: text(Part::Host).and_then(|h| host_name(h).ok().flatten()),
            port: small(Part::Port),
            status: small(Part::Status),
            bytes: number(Part::Bytes),
            client: text(Part::Client).and_then(forwarded_for).map(without_port),
            referer: text(Part::Referer),
            user_agent: text(Part::UserAgent),
            client_hash: hash,
            fields: headers,
            body,
            ..Record::new(time, asked)
        })
    }
}

impl Text {
    fn bytes<'t>(&self, json: &'t str, scratch: &'t [u8]) -> &'t [u8] {
        match self {
            Text::Line(range) => json.as_bytes().get(range.clone()),
            Text::Scratch(range) => scratch.get(range.clone()),
        }
        .unwrap_or_default()
    }
}

/// One line being read.
struct Walk<'w, 's> {
    json: &'w str,
    /// Nothing stands for none or for a secret.
    literal: bool,
    dates: &'s mut Dates,
    scratch: &'s mut Vec<u8>,
    headers: &'s mut Fields,
    found: Found,
}

impl<'w> Walk<'w, '_> {
    /// Reads the object that `json`, a part of the line, is.
    fn object(&mut self, json: &'w str, node: &Node, depth: usize) -> Result<(), serde_json::Error> {
        let mut from = serde_json::Deserializer::from_str(json);
        from.deserialize_map(Members { walk: self, node, depth })?;
        from.end()
    }

    /// Takes the value of a key that means something.
    fn value(&mut self, raw: &'w str, node: &Node, depth: usize) -> Result<(), serde_json::Error> {
        match raw.as_bytes().first() {
            Some(b'{') if depth < MAX_DEPTH => self.object(raw, node, depth + 1),
            Some(b'{' | b'[' | b'n') | None => Ok(()),
            Some(_) => {
                if let Some((leaf, text)) = node.leaf.as_ref().and_then(|l| Some((l, self.scalar(raw)?))) {
                    self.take(leaf, text);
                }
                Ok(())
            }
        }
    }

    /// A string without its quotes and escapes, or a number, `true`, `false` as they are.
    fn scalar(&mut self, raw: &'w str) -> Option<Text> {
        let start = raw.as_ptr().addr().checked_sub(self.json.as_ptr().addr())?;
        if !raw.starts_with('"') {
            return Some(Text::Line(start..start + raw.len()));
        }
        if !raw.contains('\\') {
            return Some(Text::Line(start + 1..(start + raw.len()).checked_sub(1)?));
        }
        let from = self.scratch.len();
        serde_json::Deserializer::from_str(raw).deserialize_str(Unescaped(self.scratch)).ok()?;
        Some(Text::Scratch(from..self.scratch.len()))
    }

    /// Notes a value, unless an alias that ranks higher was seen already.
    fn take(&mut self, leaf: &Leaf, text: Text) {
        let bytes = text.bytes(self.json, self.scratch);
        let literal = self.literal || leaf.part == Part::Body;
        let Some(bytes) = (if literal { Some(bytes) } else { given(bytes) }) else { return };
        if bytes == REDACTED && !literal {
            return;
        }
        match &leaf.part {
            Part::Time(is) => {
                let Some(at) = any_time(self.dates, bytes) else {
                    self.found.bad_time = true;
                    return;
                };
                let better = self.found.time.is_none_or(|(rank, before, _)| {
                    let (first, second) = if leaf.rank < rank { (at, before) } else { (before, at) };
                    finer(Some(first), Some(second)) == Some(at)
                });
                if better {
                    self.found.time = Some((leaf.rank, at, *is));
                }
            }
            Part::Duration(unit) => {
                let ns = unit.and_then(|unit| duration_ns(bytes, unit)).or_else(|| duration_of_any_unit(bytes));
                if let Some(ns) = ns.filter(|_| self.found.duration_ns.is_none_or(|(rank, _)| leaf.rank < rank)) {
                    self.found.duration_ns = Some((leaf.rank, ns));
                }
            }
            Part::Mark(expected) => self.found.marks += usize::from(expected.as_bytes() == bytes),
            part => {
                let Some(n) = part.text() else { return };
                if self.found.texts[n].as_ref().is_none_or(|(rank, _)| leaf.rank < *rank) {
                    self.found.texts[n] = Some((leaf.rank, text));
                }
            }
        }
    }

    /// Makes one text of a path and a query that stand under keys of their own.
    fn join_query(&mut self) {
        let (uri, query) = (Part::Uri.text().unwrap_or(0), Part::Query.text().unwrap_or(0));
        let (Some((rank, path)), Some((_, query))) = (&self.found.texts[uri], &self.found.texts[query]) else { return };
        let (path, query) = (path.bytes(self.json, self.scratch), query.bytes(self.json, self.scratch));
        let query = query.strip_prefix(b"?").unwrap_or(query);
        if path.contains(&b'?') || query.is_empty() {
            return;
        }
        let (whole, rank, from) = ([path, b"?", query].concat(), *rank, self.scratch.len());
        self.scratch.extend_from_slice(&whole);
        self.found.texts[uri] = Some((rank, Text::Scratch(from..self.scratch.len())));
    }

    /// Takes the value of a header field: a string, or a list of them.
    fn header(&mut self, name: &Text, raw: &'w str) {
        if raw.starts_with('[') {
            // What is wrong with one value of a list is no reason to lose the line.
            let _ = serde_json::Deserializer::from_str(raw).deserialize_seq(HeaderValues { walk: self, name });
        } else if !raw.starts_with(['{', 'n'])
            && let Some(value) = self.scalar(raw)
        {
            let value = value.bytes(self.json, self.scratch);
            if value != REDACTED || self.literal {
                self.headers.push(name.bytes(self.json, self.scratch), value);
            }
        }
    }
}

/// The members of an object, by a node of the table of keys.
struct Members<'m, 'w, 's> {
    walk: &'m mut Walk<'w, 's>,
    node: &'m Node,
    depth: usize,
}

impl<'w> Visitor<'w> for Members<'_, 'w, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'w>>(self, mut members: A) -> Result<(), A::Error> {
        let Members { walk, node, depth } = self;
        while let Some(key) = members.next_key_seed(KeyOf { node, scratch: walk.scratch })? {
            let known = match key {
                Key::Unknown => {
                    members.next_value::<IgnoredAny>()?;
                    continue;
                }
                known => known,
            };
            let raw: &'w RawValue = members.next_value()?;
            match known {
                Key::Node(node) => walk.value(raw.get(), node, depth).map_err(A::Error::custom)?,
                Key::Header(name) => walk.header(&Text::Scratch(name), raw.get()),
                Key::Unknown => {}
            }
        }
        Ok(())
    }
}

/// What a key means.
enum Key<'n> {
    Node(&'n Node),
    /// It is the name of a header field, which lies in the scratch buffer.
    Header(Range<usize>),
    Unknown,
}

struct KeyOf<'n, 's> {
    node: &'n Node,
    scratch: &'s mut Vec<u8>,
}

impl<'de, 'n> DeserializeSeed<'de> for KeyOf<'n, '_> {
    type Value = Key<'n>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Key<'n>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for KeyOf<'n, '_> {
    type Value = Key<'n>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'n>, E> {
        if let Some(node) = self.node.child(key) {
            return Ok(Key::Node(node));
        }
        let header = self.node.header_prefix.as_deref().and_then(|prefix| key.strip_prefix(prefix));
        Ok(match header.filter(|name| !name.is_empty()) {
            Some(name) => {
                let from = self.scratch.len();
                self.scratch.extend_from_slice(name.as_bytes());
                Key::Header(from..self.scratch.len())
            }
            None => Key::Unknown,
        })
    }
}

/// The values of one header field.
struct HeaderValues<'m, 'w, 's> {
    walk: &'m mut Walk<'w, 's>,
    name: &'m Text,
}

impl<'w> Visitor<'w> for HeaderValues<'_, 'w, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_seq<A: SeqAccess<'w>>(self, mut values: A) -> Result<(), A::Error> {
        while let Some(raw) = values.next_element::<&'w RawValue>()? {
            if raw.get().starts_with('"') {
                self.walk.header(self.name, raw.get());
            }
        }
        Ok(())
    }
}

/// Takes a string without its escapes.
struct Unescaped<'s>(&'s mut Vec<u8>);

impl Visitor<'_> for Unescaped<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Makes text of bytes that are not: each that is none is percent-encoded, as it would be in a path.
fn mend(line: &[u8], into: &mut String) {
    use std::fmt::Write as _;
    into.clear();
    for chunk in line.utf8_chunks() {
        into.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|b| {
            let _ = write!(into, "%{b:02X}");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::formats::of_json_keys;
    use super::*;
    use proptest::prelude::*;

    fn keys(fields: &[(&str, &str)]) -> JsonLines {
        of_json_keys(&fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn own_keys_reach_into_objects_and_outrank_the_known_ones() {
        let mut f = keys(&[("time", "when.ts"), ("uri", "req.path")]);
        let line = br#"{"time":"2020-01-01T00:00:00Z","when":{"ts":1431849932},"req":{"path":"/a?b","x":[1,{"y":2}]},"uri":"/no"}"#;
        let r = f.parse(line).unwrap();
        assert_eq!(
            (r.time.unix_ns, r.asked),
            (1_431_849_932_000_000_000, Asked::Parts { method: b"GET", target: b"/a?b" })
        );
        let flat = br#"{"when.ts":1431849932.5,"method":"PUT","req.path":"/\u00e4\n"}"#;
        let r = f.parse(flat).unwrap();
        assert_eq!((r.time.whole_second, r.asked), (false, Asked::Parts { method: b"PUT", target: "/ä\n".as_bytes() }));
    }

    #[test]
    fn quoted_numbers_and_every_kind_of_time_are_read() {
        let mut f = keys(&[]);
        for time in [
            "1431849932.5",
            "\"1431849932.5\"",
            "1431849932500",
            "1431849932500000",
            "1431849932500000000",
            "1.4318499325e9",
            "\"2015-05-17T10:05:32.5+02:00\"",
            "\"2015-05-17 08:05:32,500\"",
            "\"17/May/2015:08:05:32.5 +0000\"",
            "\"2015/05/17 08:05:32.500\"",
        ] {
            let line = format!(r#"{{"ts":{time},"request":"GET / HTTP/1.1","status":"200","request_time":"0.25"}}"#);
            let r = f.parse(line.as_bytes()).unwrap();
            assert_eq!((r.time.unix_ns, r.status), (1_431_849_932_500_000_000, Some(200)), "{time}");
            assert_eq!(r.duration_ns, Some(250_000_000));
        }
        let line = br#"{"ts":"soon","request":"GET / HTTP/1.1"}"#;
        assert_eq!(f.parse(line), Err(Mismatch::Time));
    }

    #[test]
    fn lines_that_are_no_access_log_are_not_in_the_format() {
        let mut f = keys(&[]);
        for line in ["", "{", "{}", "[]", "5", r#"{"ts":1431849932}"#, r#"{"ts":1,"uri":"/"}"#, r#"{"a":1} x"#] {
            assert_eq!(f.parse(line.as_bytes()), Err(Mismatch::Shape), "{line}");
        }
        let deep = format!("{}1{}", r#"{"request":"#.repeat(500), "}".repeat(500));
        assert_eq!(f.parse(deep.as_bytes()), Err(Mismatch::Shape));
    }

    #[test]
    fn bytes_that_are_no_text_are_percent_encoded() {
        let mut f = keys(&[]);
        let line = b"{\"ts\":1431849932,\"request\":\"GET /\xff\xc3\xa4 HTTP/1.1\"}";
        assert_eq!(f.parse(line).unwrap().asked, Asked::Line("GET /%FFä HTTP/1.1".as_bytes()));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(tail in prop::collection::vec(any::<u8>(), 0..80), json in r#"(\{"(request|headers|ts|uri|method)":){1,3}["0-9a-z\\{}\[\],:]{0,40}"#) {
            let mut f = keys(&[]);
            let _ = f.parse(&[b"{", &tail[..]].concat());
            let _ = f.parse(json.as_bytes());
        }
    }
}
