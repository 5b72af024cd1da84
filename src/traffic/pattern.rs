//! Log formats that are a pattern: literals and fields, in the notation of nginx's `log_format`
//! or of Apache's `LogFormat`. Compiled once, then run over every line.
//!
//! Must not: allocate per line (but to grow the scratch buffer of escaped fields).

use super::literal::{Absent, Literal, Usual};
use super::record::{Asked, Fields, Format, Mismatch, Record, TimeIs, unescape_into, unescape_json_into};
use super::strftime::PiecedTime;
use super::time::{Dates, Stamp, duration_ns, unix_time};
use super::values::{client_name, forwarded_for, given, host_name, near, number};
use super::variables::{Escapes, Piece, Pieces, Slot, nginx};
use memchr::{memchr, memchr2};
use std::ops::Range;

/// A field and the literal that ends it.
struct Field {
    slot: Slot,
    /// Between double quotes, inside which a backslash protects the next byte.
    quoted: bool,
    /// What follows it; empty only for a field at the pattern's end.
    until: Literal,
    /// Whether `until` is the first byte of the next field: a path begins with its slash.
    keeps: bool,
    /// Whether no field follows.
    is_last: bool,
    /// Spaces that it holds itself, where one ends it.
    spaces: u8,
    /// Whether [`Field::soon`] may find its end: it has one, a word tells it (of the last field a byte), and nothing
    /// else does.
    is_simple: bool,
    /// How it looks when it has as many bytes as it mostly has, if that is known.
    usual: Option<Usual>,
    /// How it, and what follows it, look when the line does not say what they are.
    absent: Option<Absent>,
    /// Whether [`Dates::local_at`] may find its end: no time holds the first byte of what ends it.
    is_time: bool,
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
    lead: Literal,
    fields: Vec<Field>,
    dates: Dates,
    pieced: Option<PiecedTime>,
    /// Names of the header fields among its fields.
    headers: Vec<String>,
    recorded: Fields,
    scratch: Vec<u8>,
    /// How many of its fields mean something.
    known: usize,
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
                    (before.until, before.keeps) = (Literal::new(b"/".to_vec()), true);
                }
                Some(before) => before.until = Literal::new(std::mem::take(&mut literal)),
            }
            fields.push(Field {
                slot,
                quoted,
                until: Literal::default(),
                keeps: false,
                is_last: false,
                spaces: 0,
                is_simple: false,
                usual: None,
                absent: None,
                is_time: false,
            });
        }
        let Some(last) = fields.last_mut() else { return Err("it has no field: no $variable, no %directive".into()) };
        (last.until, last.is_last) = (Literal::new(literal), true);
        for f in &mut fields {
            f.quoted &= f.until.bytes.first() == Some(&b'"');
            f.spaces = match (f.until.bytes.first(), f.slot) {
                // `17/May/2015:08:05:32 +0000`, `GET / HTTP/1.1`.
                (Some(b' '), Slot::TimeLocal) => 1,
                (Some(b' '), Slot::Request) => 2,
                _ => 0,
            };
            let is_told = if f.is_last { f.until.bytes.len() == 1 } else { f.until.is_word };
            f.is_simple = is_told && !f.keeps && f.spaces == 0;
            if f.is_simple && !f.is_last {
                f.usual = Usual::new(usual(f.slot), &f.until);
                f.is_time = f.slot == Slot::TimeLocal && Dates::is_never_in_local(f.until.first);
            }
        }
        let is_optional = |slot| {
            matches!(slot, Slot::Ignored | Slot::Referer | Slot::UserAgent | Slot::ForwardedFor | Slot::Header(_))
        };
        for n in 0..fields.len() {
            let optional = fields[n..].iter().take_while(|f| f.is_simple && !f.is_last && is_optional(f.slot));
            fields[n].absent = Absent::new(optional.map(|f| &f.until));
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
        let lead = Literal::new(lead);
        let headers = parts.headers;
        let known = fields.iter().filter(|f| f.slot != Slot::Ignored).count();
        Ok(Pattern { name, manner, lead, fields, dates, pieced, headers, recorded, scratch, known })
    }
}

/// How many bytes most texts of a field have; 0 where they differ. Such an end need not be waited for:
/// that it is where it mostly is can be checked while what follows is read.
fn usual(slot: Slot) -> usize {
    if slot == Slot::Status { 3 } else { 0 }
}

impl Field {
    /// Where it ends in `rest`, if it does so where it mostly does, or where the first byte of what ends it is first.
    #[inline(always)]
    fn soon(&self, extra: bool, rest: &[u8]) -> Option<usize> {
        if let Some(usual) = &self.usual
            && usual.begins(rest)
        {
            return Some(usual.length);
        }
        let end = near(self.until.first, rest)?;
        let is_there = match rest.get(end + 1..)? {
            behind if self.is_last => behind.is_empty() || (extra && behind[0] == b' '),
            _ => self.until.begins_near(rest.get(end..)?),
        };
        is_there.then_some(end)
    }

    /// Where it ends in `rest`, and where what follows it begins. `escaped` is whether the line holds
    /// a backslash at all.
    #[inline(always)]
    fn bounds(&self, escaped: bool, extra: bool, rest: &[u8]) -> Option<(usize, usize)> {
        let soon = if self.is_simple && !(escaped && self.quoted) { self.soon(extra, rest) } else { None };
        match soon {
            Some(end) => Some((end, end + self.until.bytes.len())),
            None => self.end(escaped, extra, rest),
        }
    }

    /// The same of any field, by a search.
    #[inline(never)]
    fn end(&self, escaped: bool, extra: bool, rest: &[u8]) -> Option<(usize, usize)> {
        let Some(first) = self.until.bytes.first() else {
            let end = if extra { memchr(b' ', rest).unwrap_or(rest.len()) } else { rest.len() };
            return Some((end, end));
        };
        let mut from = 0;
        for _ in 0..self.spaces {
            from += memchr(b' ', &rest[from..])? + 1;
        }
        loop {
            let behind = &rest[from..];
            let i = from + if escaped && self.quoted { memchr2(*first, b'\\', behind) } else { near(*first, behind) }?;
            if escaped && self.quoted && rest[i] == b'\\' {
                from = (i + 2).min(rest.len());
                continue;
            }
            if self.until.bytes.len() == 1 || self.until.begins(&rest[i..]) {
                let next = i + self.until.bytes.len();
                // A quote that does not end the line although it should stands inside the field.
                if !self.is_last || next == rest.len() || (extra && rest[next] == b' ') {
                    return Some((i, if self.keeps { i } else { next }));
                }
            }
            from = i + 1;
        }
    }
}

/// Undoes the escapes in the texts of a line, if it is `escaped`, and joins target and query, in `scratch`.
fn finish<'a>(escapes: Escapes, escaped: bool, scratch: &'a mut Vec<u8>, texts: &mut [Option<&'a [u8]>; TEXTS]) {
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
        self.known
    }

    fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        if self.manner.escapes != Escapes::None && memchr(b'\\', line).is_some() {
            return self.read::<true>(line);
        }
        self.read::<false>(line)
    }

    fn parse_plain<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        self.read::<false>(line)
    }
}

impl Pattern {
    /// Reads a line; `ESCAPED` unless it is known to hold no backslash, or none that means anything.
    fn read<'a, const ESCAPED: bool>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        if !self.lead.begins(line) {
            return Err(Mismatch::Shape);
        }
        let Pattern { manner, lead, fields, dates, pieced, headers, recorded, scratch, .. } = self;
        let mut texts = [None; TEXTS];
        let (mut time, mut host, mut fraction) = (None, None::<(u8, &[u8])>, None);
        let mut record = Record::new(Stamp { unix_ns: 0, whole_second: false }, Asked::Line(b""));
        record.time_is = manner.time_is;
        recorded.clear();
        if let Some(pieced) = pieced {
            pieced.begin();
        }
        let mut rest = line.get(lead.bytes.len()..).ok_or(Mismatch::Shape)?;
        let mut n = 0;
        while let Some(field) = fields.get(n) {
            if let Some(absent) = &field.absent
                && absent.begins(rest)
            {
                rest = rest.get(absent.length..).ok_or(Mismatch::Shape)?;
                n += absent.fields;
                continue;
            }
            n += 1;
            if field.is_time
                && let Some((at, behind)) = dates.local_at(rest)
                && field.until.begins_near(behind)
            {
                time = finer(time, Some(at));
                rest = behind.get(field.until.bytes.len()..).ok_or(Mismatch::Shape)?;
                continue;
            }
            let (end, next) = field.bounds(ESCAPED, manner.extra, rest).ok_or(Mismatch::Shape)?;
            let text = rest.get(..end).ok_or(Mismatch::Shape)?;
            rest = rest.get(next..).ok_or(Mismatch::Shape)?;
            match field.slot {
                Slot::Client => record.client = record.client.or(client_name(text)?),
                Slot::ForwardedFor => record.client = forwarded_for(text).or(record.client),
                Slot::TimeLocal => time = finer(time, dates.local(text)),
                Slot::TimeIso8601 => time = finer(time, dates.iso8601(text)),
                Slot::TimeUnix(unit) => time = finer(time, unix_time(text, unit)),
                Slot::TimePiece => {
                    if let Some(pieced) = pieced {
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
                Slot::Port => record.port = number(text)?.and_then(|n| u16::try_from(n).ok()),
                Slot::Status => record.status = number(text)?.and_then(|n| u16::try_from(n).ok()),
                Slot::Bytes => record.bytes = number(text)?,
                Slot::Referer => texts[REFERER] = Some(text),
                Slot::UserAgent => texts[AGENT] = Some(text),
                Slot::Duration(unit) => record.duration_ns = duration_ns(text, unit).or(record.duration_ns),
                Slot::Header(n) => {
                    if let (Some(name), Some(value)) = (headers.get(usize::from(n)), given(text)) {
                        scratch.clear();
                        unescape(manner.escapes, value, scratch);
                        recorded.push(name.as_bytes(), scratch);
                    }
                }
                Slot::Ignored => {}
            }
        }
        if let Some(pieced) = pieced {
            time = finer(time, pieced.end());
        }
        let mut time = time.ok_or(Mismatch::Time)?;
        if let Some(ns) = fraction.filter(|ns| time.whole_second && *ns < 1_000_000_000) {
            time = Stamp { unix_ns: time.unix_ns + i64::try_from(ns).unwrap_or(0), whole_second: false };
        }
        finish(manner.escapes, ESCAPED, scratch, &mut texts);
        record.asked = match (texts[REQUEST], texts[METHOD], texts[TARGET]) {
            (Some(line), _, _) => Asked::Line(line),
            (None, Some(method), Some(target)) => Asked::Parts { method, target },
            _ => return Err(Mismatch::Shape),
        };
        (record.time, record.host, record.fields) = (time, host.map(|(_, h)| h), recorded);
        (record.referer, record.user_agent) = (texts[REFERER].and_then(given), texts[AGENT].and_then(given));
        Ok(record)
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

    /// The same pattern, every end of every field found by a search.
    fn searching(pattern: &str, extra: bool) -> Pattern {
        let mut p = compile(pattern, extra);
        for f in &mut p.fields {
            (f.is_simple, f.is_time, f.usual, f.absent) = (false, false, None, None);
        }
        p
    }

    /// Reads lines one after another, as a log is read, by all ways there are.
    fn is_read_alike(pattern: &str, extra: bool, lines: &[Vec<u8>]) {
        let (mut quick, mut plain, mut slow) =
            (compile(pattern, extra), compile(pattern, extra), searching(pattern, extra));
        for line in lines {
            let expected = slow.read::<true>(line);
            assert_eq!(quick.parse(line), expected, "{pattern} {}", line.escape_ascii());
            if !line.contains(&b'\\') {
                assert_eq!(plain.parse_plain(line), expected, "{pattern} {}", line.escape_ascii());
            }
        }
    }

    /// Patterns whose fields may end soon in every way: absent ones in a row, such as begin with what
    /// ends others, a time before each kind of text, a status first.
    const QUICK: &[&str] = &[
        COMBINED,
        r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for""#,
        r#"$status $remote_logname-$body_bytes_sent $time_local "$request" "$http_referer" "$http_user_agent" $request_time"#,
        r#"[$time_local] $status "$http_referer""$http_cookie" $request_method $request_uri $host"#,
        r#"$a $b $c|$d|$e "$http_referer" $time_local|$request|$status"#,
    ];

    proptest! {
        #[test]
        fn fields_end_where_a_search_says_whatever_the_line(
            n in 0..QUICK.len(),
            extra: bool,
            lines in prop::collection::vec((
                prop::collection::vec(prop_oneof![
                    4 => Just("-".to_owned()), 3 => "[0-9]{3}", 2 => "[0-9a-f.:]{1,20}", 2 => "[ -~]{0,40}",
                    1 => r#"[-" |\\\]\[]{0,6}"#, 1 => "\\PC{0,10}",
                    6 => "17/May/2015:08:0[56]:[0-6][0-9] [+]0000", 2 => "GET /[a-z\"?]{0,30} HTTP/1.1",
                ], 12),
                prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 0..3),
            ), 1..6),
        ) {
            let pieces = nginx(QUICK[n]).unwrap().pieces;
            let lines: Vec<Vec<u8>> = lines.into_iter().map(|(texts, damages)| {
                let mut texts = texts.into_iter().cycle();
                let mut line = Vec::new();
                for piece in &pieces {
                    match piece {
                        Piece::Text(text) => line.extend_from_slice(text),
                        Piece::Field(Slot::TimeLocal, _) => {
                            let time = texts.by_ref().take(12).find(|t| t.starts_with("17/"));
                            line.extend(time.unwrap_or_else(|| "17/May/2015:08:05:32 +0000".into()).into_bytes());
                        }
                        Piece::Field(..) => line.extend(texts.next().unwrap_or_default().into_bytes()),
                    }
                }
                for (at, byte, kind) in damages {
                    let at = at.index(line.len() + 1);
                    match kind {
                        0 => line.truncate(at),
                        1 => line.insert(at, byte),
                        _ => drop(line.splice(at..(at + 1).min(line.len()), [byte])),
                    }
                }
                line
            }).collect();
            is_read_alike(QUICK[n], extra, &lines);
        }

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
