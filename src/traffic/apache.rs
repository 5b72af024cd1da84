//! The notation of Apache's `LogFormat` (mod_log_config, mod_logio): what its `%directives` mean here.
//!
//! Must not: read a line; know another server's notation.

use super::record::TimeIs;
use super::time::Unit;
use super::variables::{Pieces, Slot};

/// The directives of one letter that mean something here; all others are matched and passed over.
const LETTERS: &[(char, Slot)] = &[
    ('h', Slot::Client),
    ('a', Slot::Client),
    ('r', Slot::Request),
    ('m', Slot::Method),
    ('U', Slot::Path),
    ('q', Slot::Query),
    ('v', Slot::Host(2)),
    ('V', Slot::Host(1)),
    ('p', Slot::Port),
    ('s', Slot::Status),
    ('b', Slot::Bytes),
    ('B', Slot::Bytes),
    ('O', Slot::Bytes),
    ('T', Slot::Duration(Unit::Seconds)),
    ('D', Slot::Duration(Unit::Microseconds)),
];

/// The letters that Apache knows and that are passed over.
const PASSED_OVER: &str = "AfHIikLlnoPRSuXeC^";

/// Takes a `LogFormat` string apart, and says which instant its time is: `%t` is the start, only
/// `%{end:...}t` the end. The error says what is wrong with it.
pub(super) fn apache(format: &str) -> Result<(Pieces, TimeIs), String> {
    let mut out = Pieces::default();
    let mut time_is = TimeIs::Start;
    let mut rest = format;
    while let Some(at) = rest.find(['%', '\\']) {
        out.text(&rest.as_bytes()[..at]);
        let here = &rest[at..];
        if let Some(escaped) = here.strip_prefix('\\') {
            let mut letters = escaped.chars();
            let text = match letters.next() {
                Some('t') => "\t",
                Some('n') => "\n",
                Some('r') => "\r",
                // As it stands in httpd.conf, where the whole is between quotes.
                Some('"') => "\"",
                Some('\\') => "\\",
                _ => {
                    out.text(b"\\");
                    rest = escaped;
                    continue;
                }
            };
            out.text(text.as_bytes());
            rest = letters.as_str();
            continue;
        }
        let directive = Directive::read(&here[1..]).ok_or_else(|| format!("an unfinished % at: {here}"))?;
        rest = directive.after;
        add(&directive, &mut out, &mut time_is)?;
    }
    out.text(rest.as_bytes());
    Ok((out, time_is))
}

/// `%>s`, `%!200,304{Referer}i`, `%{ms}T`.
struct Directive<'a> {
    /// Between braces.
    argument: Option<&'a str>,
    letter: char,
    /// What follows it.
    after: &'a str,
    /// As it is written.
    text: &'a str,
}

impl<'a> Directive<'a> {
    /// `text` begins behind the percent sign.
    fn read(text: &'a str) -> Option<Directive<'a>> {
        // Which of several internal requests is meant, and at which statuses the field is filled in.
        let mut rest = text.trim_start_matches(|c: char| "<>!,".contains(c) || c.is_ascii_digit());
        let mut argument = None;
        if let Some(braced) = rest.strip_prefix('{') {
            let (inside, after) = braced.split_once('}')?;
            (argument, rest) = (Some(inside), after.trim_start_matches(['<', '>']));
        }
        let letter = rest.chars().next()?;
        let letter_bytes = if letter == '^' { rest.get(..3)?.len() } else { letter.len_utf8() };
        let after = &rest[letter_bytes..];
        Some(Directive { argument, letter, after, text: &text[..text.len() - after.len()] })
    }
}

fn add(d: &Directive<'_>, out: &mut Pieces, time_is: &mut TimeIs) -> Result<(), String> {
    let name = format!("%{}", d.text);
    let slot = match (d.letter, d.argument) {
        ('%', _) => {
            out.text(b"%");
            return Ok(());
        }
        ('t', None) => {
            out.text(b"[");
            out.field(Slot::TimeLocal, name);
            out.text(b"]");
            return Ok(());
        }
        ('t', Some(format)) => {
            let (is, format) = match (format.strip_prefix("begin:"), format.strip_prefix("end:")) {
                (Some(format), _) => (TimeIs::Start, format),
                (_, Some(format)) => (TimeIs::End, format),
                _ => (TimeIs::Start, format),
            };
            *time_is = is;
            time(format, out)
        }
        ('T', Some(unit)) => Slot::Duration(match unit {
            "s" => Unit::Seconds,
            "ms" => Unit::Milliseconds,
            "us" => Unit::Microseconds,
            _ => return Err(format!("{name}: its unit is s, ms or us")),
        }),
        ('i', Some(header)) => out.header(header),
        // The address of the connection, a proxy's perhaps, outranks nothing.
        ('a' | 'p', Some(_)) => Slot::Ignored,
        // mod_ssl's variables of a connection.
        ('x' | 'c', Some(_)) => Slot::Ignored,
        (letter, _) => match LETTERS.iter().find(|(l, _)| *l == letter) {
            Some((_, slot)) => *slot,
            None if PASSED_OVER.contains(letter) => Slot::Ignored,
            None => return Err(format!("{name} is no directive of Apache's LogFormat")),
        },
    };
    out.field(slot, name);
    Ok(())
}

/// The field of a `%{format}t`.
fn time(format: &str, out: &mut Pieces) -> Slot {
    match format {
        "sec" => Slot::TimeUnix(Unit::Seconds),
        "msec" => Slot::TimeUnix(Unit::Milliseconds),
        "usec" => Slot::TimeUnix(Unit::Microseconds),
        "msec_frac" => Slot::Fraction(Unit::Milliseconds),
        "usec_frac" => Slot::Fraction(Unit::Microseconds),
        _ => {
            out.times.push(format.to_owned());
            Slot::TimePiece
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::{Manner, Pattern};
    use super::super::record::{Asked, Format as _};
    use super::super::variables::Escapes;
    use super::*;

    fn compile(format: &str) -> Result<Pattern, String> {
        let (pieces, time_is) = apache(format)?;
        Pattern::of_pieces("x", pieces, Manner { time_is, extra: false, escapes: Escapes::Default })
    }

    #[test]
    fn the_directives_of_the_manual_are_read() {
        let mut p =
            compile(r#"%v:%p %h %l %u %t \"%r\" %>s %O %D "%{Referer}i" "%!200{User-Agent}i" %{ms}T %X%%"#).unwrap();
        let line = br#"a.example:8080 192.0.2.7 - - [17/May/2015:08:05:32 +0000] "GET /a HTTP/1.1" 200 53 1500 "-" "an \"agent\"" 2 +%"#;
        let r = p.parse(line).unwrap();
        assert_eq!((r.host, r.port, r.client), (Some(&b"a.example"[..]), Some(8080), Some(&b"192.0.2.7"[..])));
        assert_eq!(
            (r.time.unix_ns, r.time_is, r.asked),
            (1_431_849_932_000_000_000, TimeIs::Start, Asked::Line(b"GET /a HTTP/1.1"))
        );
        assert_eq!((r.status, r.bytes, r.duration_ns), (Some(200), Some(53), Some(2_000_000)));
        assert_eq!((r.referer, r.user_agent), (None, Some(&br#"an "agent""#[..])));
    }

    #[test]
    fn a_time_in_pieces_keeps_its_milliseconds_and_a_target_in_parts_is_whole() {
        let time = "[%{%d/%b/%Y:%T}t.%{msec_frac}t %{%z}t]";
        let asked = Asked::Parts { method: b"GET", target: b"/a?b=c" };
        for (format, line) in [("%m %U%q %H", "GET /a?b=c HTTP/1.1"), ("%m %U %H \"%q\"", "GET /a HTTP/1.1 \"?b=c\"")] {
            let mut p = compile(&format!("{time} {format}")).unwrap();
            let line = format!("[17/May/2015:10:05:32.250 +0200] {line}");
            let r = p.parse(line.as_bytes()).unwrap();
            assert_eq!((r.time.unix_ns, r.time.whole_second), (1_431_849_932_250_000_000, false));
            assert_eq!(r.asked, asked);
        }
        let mut p = compile("%{end:msec}t %r").unwrap();
        let r = p.parse(b"1431849932250 GET / HTTP/1.1").unwrap();
        assert_eq!((r.time.unix_ns, r.time_is), (1_431_849_932_250_000_000, TimeIs::End));
    }

    #[test]
    fn what_is_no_directive_is_named() {
        assert!(compile("%t %h %{SSL_PROTOCOL}x %{SSL_CIPHER}x \"%r\" %b").is_ok());
        assert!(compile("%t %y").err().unwrap().contains("%y is no directive"));
        assert!(compile("%t \"%r\" %").err().unwrap().contains("unfinished"));
        assert!(compile("%t %{Referer").err().unwrap().contains("unfinished"));
        assert!(compile("%t %{min}T %r").err().unwrap().contains("s, ms or us"));
        assert!(compile("%h %r").err().unwrap().contains("no time"));
    }
}
