//! Log formats that are a pattern: literals and fields, in the notation of nginx's `log_format`
//! or of Apache's `LogFormat`. Compiled once, then run over every line.
//!
//! Must not: allocate per line (but to grow the scratch buffer of escaped fields).

use super::record::{Asked, Fields, Format, Mismatch, Record, TimeIs, unescape_into, unescape_json_into};
use super::strftime::PiecedTime;
use super::time::{Dates, Stamp, duration_ns, unix_time};
use super::values::{client_name, forwarded_for, given, host_name, near, number};
use super::variables::{Escapes, Piece, Pieces, Slot, nginx};
use memchr::memchr;
use std::ops::Range;

/// A field and the literal that ends it.
struct Field {
    slot: Slot,
    /// Between double quotes, inside which a backslash protects the next byte.
    quoted: bool,
    /// What follows it; empty only for a field at the pattern's end.
    until: Vec<u8>,
    /// Whether `until` is the first byte of the next field: a path begins with its slash.
    keeps: bool,
}

/// How the lines of a pattern are read, besides the pattern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Which instant the time is.
    pub(super) time_is: TimeIs,
    /// Whether more fields may follow, behind a space.
    pub(super) extra: bool,
    /// How characters inside fields are protected.
    pub(super) escapes: Escapes,
}

/// A compiled pattern.
pub(super) struct Pattern {
    name: String,
    manner: Manner,
    lead: Vec<u8>,
    fields: Vec<Field>,
    dates: Dates,
    pieced: Option<PiecedTime>,
    /// Names of the header fields among its fields.
    headers: Vec<String>,
    recorded: Fields,
    scratch: Vec<u8>,
}

impl Pattern {
    /// Compiles `pattern`, in nginx's notation. It must hold a time and a request; the error says
    /// what is wrong.
    pub(super) fn compile(name: &str, pattern: &str, manner: Manner) -> Result<Pattern, String> {
        Pattern::of_pieces(name, nginx(pattern)?, manner)
    }

    /// The same of a pattern that has been taken apart.
    pub(super) fn of_pieces(name: &str, parts: Pieces, manner: Manner) -> Result<Pattern, String> {
        let mut fields: Vec<Field> = Vec::new();
        let mut literal = Vec::new();
        let mut lead = Vec::new();
        for piece in parts.pieces {
            let (slot, field_name) = match piece {
                Piece::Text(text) => {
                    literal.extend_from_slice(&text);
                    continue;
                }
                Piece::Field(slot, name) => (slot, name),
            };
            let quoted = literal.last() == Some(&b'"') && manner.escapes != Escapes::None;
            match fields.last_mut() {
                None => lead = std::mem::take(&mut literal),
                Some(before) if literal.is_empty() => {
                    if !matches!(slot, Slot::Target | Slot::Path) {
                        return Err(format!("nothing stands between {field_name} and the field before it"));
                    }
                    (before.until, before.keeps) = (b"/".to_vec(), true);
                }
                Some(before) => before.until = std::mem::take(&mut literal),
            }
            fields.push(Field { slot, quoted, until: Vec::new(), keeps: false });
        }
        let Some(last) = fields.last_mut() else { return Err("it has no field: no $variable, no %directive".into()) };
        last.until = literal;
        for f in &mut fields {
            f.quoted &= f.until.first() == Some(&b'"');
        }
        let has = |is: &dyn Fn(&Slot) -> bool| fields.iter().any(|f| is(&f.slot));
        let time = |s: &Slot| matches!(s, Slot::TimeLocal | Slot::TimeIso8601 | Slot::TimeUnix(_) | Slot::TimePiece);
        if !has(&time) {
            return Err("it has no time: $time_local, $time_iso8601 or $msec; %t in Apache's notation".into());
        }
        let target = |s: &Slot| matches!(s, Slot::Target | Slot::Path);
        let has_request = has(&|s| *s == Slot::Request) || (has(&|s| *s == Slot::Method) && has(&target));
        if !has_request {
            return Err("it has no request: $request, or $request_method and $request_uri; \
                        %r, or %m and %U%q, in Apache's notation"
                .into());
        }
        let pieced = if parts.times.is_empty() { None } else { Some(PiecedTime::compile(&parts.times)?) };
        let name = name.to_owned();
        let (dates, recorded, scratch) = (Dates::default(), Fields::default(), Vec::new());
        Ok(Pattern { name, manner, lead, fields, dates, pieced, headers: parts.headers, recorded, scratch })
    }

    /// Where `field` ends in `rest`, and where what follows it begins.
    fn end(&self, field: &Field, is_last: bool, rest: &[u8]) -> Option<(usize, usize)> {
        if field.until.is_empty() {
            let end = if self.manner.extra { memchr(b' ', rest).unwrap_or(rest.len()) } else { rest.len() };
            return Some((end, end));
        }
        let [first, behind @ ..] = &field.until[..] else { return None };
        let mut from = 0;
        loop {
            let i = from + near(*first, if field.quoted { b'\\' } else { *first }, &rest[from..])?;
            if field.quoted && rest[i] == b'\\' {
                from = (i + 2).min(rest.len());
                continue;
            }
            // Byte by byte: literals between fields are too short for a call to compare them.
            let next = i + field.until.len();
            if rest.len() >= next && behind.iter().zip(&rest[i + 1..]).all(|(a, b)| a == b) {
                // A quote that does not end the line although it should stands inside the field.
                let fits = !is_last || next == rest.len() || (self.manner.extra && rest[next] == b' ');
                if fits {
                    return Some((i, if field.keeps { i } else { next }));
                }
            }
            from = i + 1;
        }
    }
}

/// Undoes the escapes in the texts of `line` and joins target and query, in `scratch`.
fn finish<'a>(escapes: Escapes, line: &[u8], scratch: &'a mut Vec<u8>, texts: &mut [Option<&'a [u8]>; TEXTS]) {
    let escaped = escapes != Escapes::None && memchr(b'\\', line).is_some();
    if !escaped && texts[QUERY].is_none() {
        return;
    }
    scratch.clear();
    let mut ready: [Option<Range<usize>>; TEXTS] = Default::default();
    for (n, range) in ready.iter_mut().enumerate() {
        let query = texts[QUERY].filter(|q| n == TARGET && !matches!(*q, b"" | b"-" | b"?"));
        let Some(text) = texts[n].filter(|t| query.is_some() || (escaped && memchr(b'\\', t).is_some())) else {
            continue;
        };
        let from = scratch.len();
        unescape(escapes, text, scratch);
        if let Some(query) = query.filter(|_| memchr(b'?', text).is_none()) {
            scratch.push(b'?');
            unescape(escapes, query.strip_prefix(b"?").unwrap_or(query), scratch);
        }
        *range = Some(from..scratch.len());
    }
    let scratch = &*scratch;
    for (text, range) in texts.iter_mut().zip(ready) {
        if let Some(range) = range {
            *text = Some(&scratch[range]);
        }
    }
}

fn unescape(escapes: Escapes, text: &[u8], out: &mut Vec<u8>) {
    match escapes {
        Escapes::Default => unescape_into(text, out),
        Escapes::Json => unescape_json_into(text, out),
        Escapes::None => out.extend_from_slice(text),
    }
}

/// The fields that may hold escapes, in the order [`Pattern::parse`] keeps them.
const TEXTS: usize = 6;
const REQUEST: usize = 0;
const METHOD: usize = 1;
const TARGET: usize = 2;
const QUERY: usize = 3;
const REFERER: usize = 4;
const AGENT: usize = 5;

impl Format for Pattern {
    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> usize {
        self.fields.iter().filter(|f| f.slot != Slot::Ignored).count()
    }

    fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        let mut rest = line.strip_prefix(&self.lead[..]).ok_or(Mismatch::Shape)?;
        let mut texts = [None; TEXTS];
        let (mut time, mut client, mut host, mut port) = (None, None, None::<(u8, &[u8])>, None);
        let (mut status, mut bytes, mut duration, mut fraction) = (None, None, None, None);
        self.recorded.clear();
        if let Some(pieced) = &mut self.pieced {
            pieced.begin();
        }
        for (n, field) in self.fields.iter().enumerate() {
            let (end, next) = self.end(field, n + 1 == self.fields.len(), rest).ok_or(Mismatch::Shape)?;
            let text = &rest[..end];
            rest = &rest[next..];
            match field.slot {
                Slot::Client => client = client.or(client_name(text)?),
                Slot::ForwardedFor => client = forwarded_for(text).or(client),
                Slot::TimeLocal => time = finer(time, self.dates.local(text)),
                Slot::TimeIso8601 => time = finer(time, self.dates.iso8601(text)),
                Slot::TimeUnix(unit) => time = finer(time, unix_time(text, unit)),
                Slot::TimePiece => {
                    if let Some(pieced) = &mut self.pieced {
                        pieced.add(text);
                    }
                }
                Slot::Fraction(unit) => fraction = duration_ns(text, unit),
                Slot::Request => texts[REQUEST] = Some(text),
                Slot::Method => texts[METHOD] = Some(text),
                Slot::Target => texts[TARGET] = Some(text),
                Slot::Path => texts[TARGET] = texts[TARGET].or(Some(text)),
                Slot::Query => texts[QUERY] = Some(text),
                Slot::Host(rank) => {
                    let named = host_name(text)?.map(|h| (rank, h));
                    host = host.filter(|(before, _)| *before <= rank).or(named).or(host);
                }
                Slot::Port => port = number(text)?.and_then(|n| u16::try_from(n).ok()),
                Slot::Status => status = number(text)?.and_then(|n| u16::try_from(n).ok()),
                Slot::Bytes => bytes = number(text)?,
                Slot::Referer => texts[REFERER] = Some(text),
                Slot::UserAgent => texts[AGENT] = Some(text),
                Slot::Duration(unit) => duration = duration_ns(text, unit).or(duration),
                Slot::Header(n) => {
                    if let (Some(name), Some(value)) = (self.headers.get(usize::from(n)), given(text)) {
                        self.scratch.clear();
                        unescape(self.manner.escapes, value, &mut self.scratch);
                        self.recorded.push(name.as_bytes(), &self.scratch);
                    }
                }
                Slot::Ignored => {}
            }
        }
        if let Some(pieced) = &mut self.pieced {
            time = finer(time, pieced.end());
        }
        let mut time = time.ok_or(Mismatch::Time)?;
        if let Some(ns) = fraction.filter(|ns| time.whole_second && *ns < 1_000_000_000) {
            time = Stamp { unix_ns: time.unix_ns + i64::try_from(ns).unwrap_or(0), whole_second: false };
        }
        let (time_is, host) = (self.manner.time_is, host.map(|(_, h)| h));
        finish(self.manner.escapes, line, &mut self.scratch, &mut texts);
        let asked = match (texts[REQUEST], texts[METHOD], texts[TARGET]) {
            (Some(line), _, _) => Asked::Line(line),
            (None, Some(method), Some(target)) => Asked::Parts { method, target },
            _ => return Err(Mismatch::Shape),
        };
        let (referer, user_agent) = (texts[REFERER].and_then(given), texts[AGENT].and_then(given));
        let more = Record { time_is, duration_ns: duration, fields: &self.recorded, ..Record::new(time, asked) };
        Ok(Record { host, port, status, bytes, client, referer, user_agent, ..more })
    }
}

/// Of two times of one line the one that tells more.
pub(super) fn finer(a: Option<Stamp>, b: Option<Stamp>) -> Option<Stamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if a.whole_second && !b.whole_second { b } else { a }),
        _ => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMBINED: &str = r#"$remote_addr $remote_logname $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

    fn manner(extra: bool) -> Manner {
        Manner { time_is: TimeIs::End, extra, escapes: Escapes::Default }
    }

    fn compile(pattern: &str, extra: bool) -> Pattern {
        Pattern::compile("x", pattern, manner(extra)).unwrap()
    }

    #[test]
    fn a_pattern_without_what_is_needed_says_what_it_lacks() {
        let error = |p| Pattern::compile("x", p, manner(false)).err().unwrap();
        assert!(error("plain").contains("no field"));
        assert!(error("$request").contains("no time"));
        assert!(error("$time_local $request_method").contains("no request"));
        assert!(error("$time_local$request").contains("between $request"));
        assert!(error("$time_local ${request").contains("without a name"));
    }

    #[test]
    fn parts_braces_and_units_are_understood() {
        let mut p = compile("${msec}|$request_method|$request_uri|$host|$request_time|$whatever", false);
        let r = p.parse(b"1431849932.120|GET|/a b|example.net|0.250|x y").unwrap();
        assert_eq!(r.time.unix_ns, 1_431_849_932_120_000_000);
        assert_eq!(r.asked, Asked::Parts { method: b"GET", target: b"/a b" });
        assert_eq!((r.host, r.duration_ns), (Some(&b"example.net"[..]), Some(250_000_000)));
    }

    #[test]
    fn quotes_inside_a_field_do_not_end_it() {
        let mut p = compile(COMBINED, true);
        let line =
            br#"::1 - a b [17/May/2015:08:05:32 +0000] "GET /?q="x"&r=\" HTTP/1.1" 200 5 "-" "a \"b\" \\" extra "1""#;
        let r = p.parse(line).unwrap();
        assert_eq!(r.asked, Asked::Line(br#"GET /?q="x"&r=" HTTP/1.1"#));
        assert_eq!((r.referer, r.user_agent), (None, Some(&br#"a "b" \"#[..])));
        assert_eq!((r.status, r.bytes, r.client), (Some(200), Some(5), Some(&b"::1"[..])));
    }

    #[test]
    fn more_fields_are_taken_only_where_the_format_says_so() {
        let line = br#"192.0.2.1 - - [17/May/2015:08:05:32 +0000] "GET / HTTP/1.1" 200 5 "-" "-" 0.1"#;
        assert!(compile(COMBINED, true).parse(line).is_ok());
        assert_eq!(compile(COMBINED, false).parse(line), Err(Mismatch::Shape));
    }

    #[test]
    fn a_bad_time_is_told_from_a_bad_shape() {
        let mut p = compile(COMBINED, true);
        let line = br#"192.0.2.1 - - [99/May/2015:08:05:32 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#;
        assert_eq!(p.parse(line), Err(Mismatch::Time));
        assert_eq!(p.parse(b"hello"), Err(Mismatch::Shape));
        assert_eq!(p.parse(b""), Err(Mismatch::Shape));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = compile(COMBINED, true).parse(&bytes);
            let _ = compile(COMBINED, false).parse(&bytes);
        }

        #[test]
        fn nearly_right_lines_are_read_without_panic(line in r#"[0-9a-f:. -]{0,20} - - \[17/May/2015:08:05:3[0-9]( \+0000)?\] "[GETPOS /x"\\]{0,20} HTTP/1.1" [0-9-]{1,22} [0-9-]{1,22} "\PC{0,20}" "\PC{0,20}""#) {
            let _ = compile(COMBINED, true).parse(line.as_bytes());
        }

        #[test]
        fn any_pattern_compiles_or_says_why(pattern in r#"[$a-z_{}"\[\] ]{0,60}"#) {
            let _ = Pattern::compile("x", &pattern, manner(true));
        }
    }
}
