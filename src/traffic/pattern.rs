//! Log formats that are a pattern: literals and `$variables`, the notation of nginx's
//! `log_format`. Compiled once, then run over every line.
//!
//! Must not: allocate per line (but to grow the scratch buffer of escaped fields).

use super::record::{Asked, Format, Mismatch, Record, TimeIs, unescape_into};
use super::time::{Dates, Stamp, duration_ns, unix_seconds};
use memchr::{memchr, memchr2};
use std::ops::Range;

/// What a variable of a pattern is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Client,
    TimeLocal,
    TimeIso8601,
    TimeUnix,
    Request,
    Method,
    Target,
    Host,
    Port,
    Status,
    Bytes,
    Referer,
    UserAgent,
    Seconds,
    Milliseconds,
    Microseconds,
    /// Matched and passed over.
    Ignored,
}

/// The variables that mean something here; all others are matched and passed over. The names
/// are nginx's where nginx has one.
const VARIABLES: &[(&str, Slot)] = &[
    ("remote_addr", Slot::Client),
    ("time_local", Slot::TimeLocal),
    ("time_iso8601", Slot::TimeIso8601),
    ("msec", Slot::TimeUnix),
    ("request", Slot::Request),
    ("request_method", Slot::Method),
    ("request_uri", Slot::Target),
    ("http_host", Slot::Host),
    ("host", Slot::Host),
    ("server_name", Slot::Host),
    ("server_port", Slot::Port),
    ("status", Slot::Status),
    ("body_bytes_sent", Slot::Bytes),
    ("bytes_sent", Slot::Bytes),
    ("http_referer", Slot::Referer),
    ("http_user_agent", Slot::UserAgent),
    ("request_time", Slot::Seconds),
    ("request_time_ms", Slot::Milliseconds),
    ("request_time_us", Slot::Microseconds),
];

/// A variable and the literal that ends it.
struct Field {
    slot: Slot,
    /// Between double quotes, inside which a backslash protects the next byte.
    quoted: bool,
    /// What follows it; empty only for a variable at the pattern's end.
    until: Vec<u8>,
}

/// A compiled pattern.
pub(super) struct Pattern {
    name: String,
    time_is: TimeIs,
    /// Whether more fields may follow, behind a space.
    extra: bool,
    lead: Vec<u8>,
    fields: Vec<Field>,
    dates: Dates,
    scratch: Vec<u8>,
}

impl Pattern {
    /// Compiles `pattern`. It must hold a time and a request; the error says what is wrong.
    pub(super) fn compile(name: &str, pattern: &str, time_is: TimeIs, extra: bool) -> Result<Pattern, String> {
        let mut fields: Vec<Field> = Vec::new();
        let mut literal = Vec::new();
        let mut lead = Vec::new();
        let mut rest = pattern;
        while let Some(c) = rest.chars().next() {
            if c != '$' {
                let mut utf8 = [0; 4];
                literal.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
                rest = &rest[c.len_utf8()..];
                continue;
            }
            let (variable, after) = variable(&rest[1..]).ok_or_else(|| format!("a $ without a name at: {rest}"))?;
            let quoted = literal.last() == Some(&b'"');
            match fields.last_mut() {
                None => lead = std::mem::take(&mut literal),
                Some(_) if literal.is_empty() => {
                    return Err(format!("nothing stands between ${variable} and the variable before it"));
                }
                Some(before) => before.until = std::mem::take(&mut literal),
            }
            let slot = VARIABLES.iter().find(|(n, _)| *n == variable).map_or(Slot::Ignored, |(_, s)| *s);
            fields.push(Field { slot, quoted, until: Vec::new() });
            rest = after;
        }
        let Some(last) = fields.last_mut() else { return Err("it has no $variable".into()) };
        last.until = literal;
        for f in &mut fields {
            f.quoted &= f.until.first() == Some(&b'"');
        }
        let has = |slots: &[Slot]| fields.iter().any(|f| slots.contains(&f.slot));
        if !has(&[Slot::TimeLocal, Slot::TimeIso8601, Slot::TimeUnix]) {
            return Err("it has no time: $time_local, $time_iso8601 or $msec".into());
        }
        let has_request = has(&[Slot::Request]) || (has(&[Slot::Method]) && has(&[Slot::Target]));
        if !has_request {
            return Err("it has no request: $request, or $request_method and $request_uri".into());
        }
        let name = name.to_owned();
        Ok(Pattern { name, time_is, extra, lead, fields, dates: Dates::default(), scratch: Vec::new() })
    }

    /// Where `field` ends in `rest`, and where what follows it begins.
    fn end(&self, field: &Field, is_last: bool, rest: &[u8]) -> Option<(usize, usize)> {
        if field.until.is_empty() {
            let end = if self.extra { memchr(b' ', rest).unwrap_or(rest.len()) } else { rest.len() };
            return Some((end, end));
        }
        let first = field.until[0];
        let mut from = 0;
        loop {
            let i =
                from + if field.quoted { memchr2(first, b'\\', &rest[from..])? } else { memchr(first, &rest[from..])? };
            if field.quoted && rest[i] == b'\\' {
                from = (i + 2).min(rest.len());
                continue;
            }
            let after = &rest[i..];
            if after.starts_with(&field.until) {
                let next = i + field.until.len();
                // A quote that does not end the line although it should stands inside the field.
                let fits = !is_last || next == rest.len() || (self.extra && rest[next] == b' ');
                if fits {
                    return Some((i, next));
                }
            }
            from = i + 1;
        }
    }
}

/// The name behind a `$`, with or without braces, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, after) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => text.split_at(text.find(|c| !part(c)).unwrap_or(text.len())),
    };
    (!name.is_empty() && name.chars().all(part)).then_some((name, after))
}

/// The fields that may hold escapes, in the order [`Pattern::parse`] keeps them.
const TEXTS: usize = 5;

impl Format for Pattern {
    fn name(&self) -> &str {
        &self.name
    }

    fn time_is(&self) -> TimeIs {
        self.time_is
    }

    fn fields(&self) -> usize {
        self.fields.iter().filter(|f| f.slot != Slot::Ignored).count()
    }

    fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        let mut rest = line.strip_prefix(&self.lead[..]).ok_or(Mismatch::Shape)?;
        let [mut request, mut method, mut target, mut referer, mut user_agent] = [None; TEXTS];
        let (mut time, mut client, mut host, mut port) = (None, None, None, None);
        let (mut status, mut bytes, mut duration) = (None, None, None);
        for (n, field) in self.fields.iter().enumerate() {
            let (end, next) = self.end(field, n + 1 == self.fields.len(), rest).ok_or(Mismatch::Shape)?;
            let text = &rest[..end];
            rest = &rest[next..];
            match field.slot {
                Slot::Client => client = client_name(text)?,
                Slot::TimeLocal => time = finer(time, self.dates.local(text)),
                Slot::TimeIso8601 => time = finer(time, self.dates.iso8601(text)),
                Slot::TimeUnix => time = finer(time, unix_seconds(text)),
                Slot::Request => request = Some(text),
                Slot::Method => method = Some(text),
                Slot::Target => target = Some(text),
                Slot::Host => host = host_name(text)?.or(host),
                Slot::Port => port = number(text)?.and_then(|n| u16::try_from(n).ok()),
                Slot::Status => status = number(text)?.and_then(|n| u16::try_from(n).ok()),
                Slot::Bytes => bytes = number(text)?,
                Slot::Referer => referer = Some(text),
                Slot::UserAgent => user_agent = Some(text),
                Slot::Seconds => duration = duration_ns(text, 1_000_000_000),
                Slot::Milliseconds => duration = duration_ns(text, 1_000_000),
                Slot::Microseconds => duration = duration_ns(text, 1_000),
                Slot::Ignored => {}
            }
        }
        let time = time.ok_or(Mismatch::Time)?;
        let mut texts = [request, method, target, referer, user_agent];
        if memchr(b'\\', line).is_some() {
            self.scratch.clear();
            let mut unescaped: [Option<Range<usize>>; TEXTS] = Default::default();
            for (text, range) in texts.iter().zip(&mut unescaped) {
                if let Some(text) = text.filter(|t| memchr(b'\\', t).is_some()) {
                    let from = self.scratch.len();
                    unescape_into(text, &mut self.scratch);
                    *range = Some(from..self.scratch.len());
                }
            }
            for (text, range) in texts.iter_mut().zip(unescaped) {
                if let Some(range) = range {
                    *text = Some(&self.scratch[range]);
                }
            }
        }
        let [request, method, target, referer, user_agent] = texts;
        let asked = match (request, method, target) {
            (Some(line), _, _) => Asked::Line(line),
            (None, Some(method), Some(target)) => Asked::Parts { method, target },
            _ => return Err(Mismatch::Shape),
        };
        let (referer, user_agent) = (referer.and_then(given), user_agent.and_then(given));
        let more = Record::new(time, asked);
        Ok(Record { duration_ns: duration, host, port, status, bytes, client, referer, user_agent, ..more })
    }
}

/// Of two times of one line the one that tells more.
fn finer(a: Option<Stamp>, b: Option<Stamp>) -> Option<Stamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if a.whole_second && !b.whole_second { b } else { a }),
        _ => a.or(b),
    }
}

fn given(text: &[u8]) -> Option<&[u8]> {
    (!matches!(text, b"" | b"-")).then_some(text)
}

/// A client's address or name; `unix:` is nginx's for a local socket.
fn client_name(text: &[u8]) -> Result<Option<&[u8]>, Mismatch> {
    let Some(text) = given(text) else { return Ok(None) };
    let ok = if memchr(b':', text).is_some() {
        text == b"unix:" || std::str::from_utf8(text).is_ok_and(|t| t.parse::<std::net::Ipv6Addr>().is_ok())
    } else {
        text.iter().all(|b| b.is_ascii_graphic())
    };
    if ok { Ok(Some(text)) } else { Err(Mismatch::Shape) }
}

/// A virtual host; its characters are checked so that a log of another shape does not match.
fn host_name(text: &[u8]) -> Result<Option<&[u8]>, Mismatch> {
    let Some(text) = given(text) else { return Ok(None) };
    if text.iter().all(|b| b.is_ascii_alphanumeric() || b"._-:[]*".contains(b)) {
        Ok(Some(text))
    } else {
        Err(Mismatch::Shape)
    }
}

/// A whole number, or `-` for none.
fn number(text: &[u8]) -> Result<Option<u64>, Mismatch> {
    if text == b"-" {
        return Ok(None);
    }
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return Err(Mismatch::Shape);
    }
    Ok(Some(text.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMBINED: &str = r#"$remote_addr $remote_logname $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

    fn compile(pattern: &str, extra: bool) -> Pattern {
        Pattern::compile("x", pattern, TimeIs::End, extra).unwrap()
    }

    #[test]
    fn a_pattern_without_what_is_needed_says_what_it_lacks() {
        let error = |p| Pattern::compile("x", p, TimeIs::End, false).err().unwrap();
        assert!(error("plain").contains("no $variable"));
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
            let _ = Pattern::compile("x", &pattern, TimeIs::End, true);
        }
    }
}
