//! What stands around the lines of a log that came through something else: a container runtime, a
//! log collector, syslog. Taken off, any format may be inside.
//!
//! Must not: know a log format.

use serde::Deserialize;
use std::borrow::Cow;

/// Takes envelopes off lines.
#[derive(Default)]
pub(super) struct Envelope {
    scratch: Vec<u8>,
}

/// What Docker's json-file driver writes.
#[derive(Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(default, borrow, rename = "stream")]
    _stream: Option<Cow<'a, str>>,
}

impl Envelope {
    /// The name of the envelope that `line` is in, and what is inside; `None` when there is none.
    pub(super) fn open<'a>(&'a mut self, line: &'a [u8]) -> Option<(&'static str, &'a [u8])> {
        match line.first()? {
            b'{' => self.docker(line).map(|inner| ("docker json-file", inner)),
            b'[' => kubectl(line).map(|inner| ("kubectl prefix", inner)),
            b'<' => {
                let end = memchr::memchr(b'>', line.get(..6)?)?;
                line[1..end].iter().all(u8::is_ascii_digit).then_some(())?;
                syslog(&line[end + 1..]).map(|inner| ("syslog", inner))
            }
            _ => container(line)
                .map(|inner| ("container runtime prefix", inner))
                .or_else(|| timestamped(line).map(|inner| ("time before each line", inner)))
                .or_else(|| syslog(line).map(|inner| ("syslog", inner)))
                .or_else(|| compose(line).map(|inner| ("docker compose prefix", inner)))
                .or_else(|| stern(line).map(|inner| ("stern prefix", inner))),
        }
    }

    /// `{"log":"...\n","stream":"stdout","time":"..."}`
    fn docker<'a>(&'a mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        memchr::memmem::find(line, b"\"log\"")?;
        let inner: DockerLine<'a> = serde_json::from_slice(line).ok()?;
        let inner = match inner.log {
            Cow::Borrowed(text) => text.as_bytes(),
            Cow::Owned(text) => {
                self.scratch.clear();
                self.scratch.extend_from_slice(text.as_bytes());
                &self.scratch
            }
        };
        Some(inner.strip_suffix(b"\n").unwrap_or(inner).trim_ascii_end())
    }
}

/// `2016-10-06T00:17:09.669794202Z stdout F ...`: the Container Runtime Interface's log format. Pieces
/// of a line that was cut (`P`) cannot be read one by one.
fn container(line: &[u8]) -> Option<&[u8]> {
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..] = line else { return None };
    let (_, rest) = word(line)?;
    let rest = rest.strip_prefix(b"stdout ").or_else(|| rest.strip_prefix(b"stderr "))?;
    rest.strip_prefix(b"F ")
}

/// `2016-10-06T00:17:09.669794202Z ...`: `docker logs --timestamps`, `kubectl logs --timestamps`.
fn timestamped(line: &[u8]) -> Option<&[u8]> {
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..] = line else { return None };
    let (time, rest) = word(line)?;
    // A piece of a cut line is in no envelope that could be taken off.
    let is_cut = rest.starts_with(b"stdout P ") || rest.starts_with(b"stderr P ");
    (time.contains(&b'.') && time.ends_with(b"Z") && !is_cut).then_some(rest)
}

/// `[pod/shop-7f9/nginx] ...`: `kubectl logs --prefix`.
fn kubectl(line: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = word(line)?;
    (prefix.starts_with(b"[pod/") && prefix.ends_with(b"]")).then_some(rest)
}

/// `web-1  | ...`: `docker compose logs`.
fn compose(line: &[u8]) -> Option<&[u8]> {
    let (name, rest) = word(line)?;
    is_name(name).then(|| rest.trim_ascii_start().strip_prefix(b"| "))?
}

/// `shop-7f9 nginx {...}`: stern; only before a JSON object, since names are words like any other.
fn stern(line: &[u8]) -> Option<&[u8]> {
    let (pod, rest) = word(line)?;
    let (name, rest) = word(rest)?;
    (is_name(pod) && is_name(name) && rest.starts_with(b"{")).then_some(rest)
}

/// Behind the priority: RFC 3164 `Oct 11 22:14:15 host nginx[12]: ...`, the same with an RFC 3339 time,
/// as rsyslog and journalctl write it, and RFC 5424 `1 2003-10-11T22:14:15Z host nginx 12 - - ...`.
fn syslog(line: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = line.strip_prefix(b"1 ")
        && is_rfc3339(word(rest)?.0)
    {
        let mut rest = rest;
        for _ in 0..5 {
            rest = word(rest)?.1;
        }
        let rest = match rest.first()? {
            b'-' => rest.strip_prefix(b"- ")?,
            b'[' => &rest[memchr::memmem::find(rest, b"] ")? + 2..],
            _ => return None,
        };
        return Some(rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest));
    }
    let rest = match word(line)? {
        (time, rest) if is_rfc3339(time) => rest,
        _ => {
            // `Oct 11 22:14:15 `, where the day may be a space and a digit.
            let [m1, m2, m3, b' ', _, _, b' ', _, _, b':', _, _, b':', _, _, b' ', rest @ ..] = line else {
                return None;
            };
            let month = m1.is_ascii_uppercase() && m2.is_ascii_lowercase() && m3.is_ascii_lowercase();
            month.then_some(rest)?
        }
    };
    let (first, after) = word(rest)?;
    // Some senders leave the host out: then the tag comes at once.
    let (tag, inner) = if first.ends_with(b":") { (first, after) } else { word(after)? };
    tag.ends_with(b":").then_some(inner)
}

fn is_rfc3339(word: &[u8]) -> bool {
    matches!(word, [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..])
}

/// The text before the first space, and what follows it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b' ', text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// A name as containers have them; no address is one.
fn is_name(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_alphabetic)
        && word.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_envelope_is_taken_off() {
        let inner = r#"192.0.2.7 - - [x] "GET / HTTP/1.1""#;
        for (name, before) in [
            ("container runtime prefix", "2016-10-06T00:17:09.669794202Z stdout F "),
            ("kubectl prefix", "[pod/shop-7f9/nginx] "),
            ("docker compose prefix", "web-1  | "),
            ("syslog", "<190>Oct 11 22:14:15 host nginx: "),
            ("syslog", "Oct  1 22:14:15 host haproxy[12]: "),
            ("syslog", "<190>Oct 11 22:14:15 nginx: "),
            ("syslog", "2016-10-06T00:17:09+02:00 host nginx[1]: "),
            ("syslog", "<165>1 2003-10-11T22:14:15.003Z host nginx 12 - - "),
            ("syslog", "<165>1 2003-10-11T22:14:15.003Z host nginx 12 ID47 [a@1 b=\"c\"] "),
        ] {
            let line = format!("{before}{inner}");
            assert_eq!(Envelope::default().open(line.as_bytes()), Some((name, inner.as_bytes())), "{line}");
        }
        let docker = serde_json::json!({"log": format!("{inner}\n"), "stream": "stdout", "time": "x"}).to_string();
        assert_eq!(Envelope::default().open(docker.as_bytes()), Some(("docker json-file", inner.as_bytes())));
        assert_eq!(Envelope::default().open(b"pod-1 web {\"a\":1}"), Some(("stern prefix", &b"{\"a\":1}"[..])));
    }

    #[test]
    fn a_bare_line_is_in_none() {
        for line in [
            "",
            r#"192.0.2.7 - - [17/May/2015:08:05:32 +0000] "GET / HTTP/1.1" 200 5"#,
            r#"fe80::1 - - [17/May/2015:08:05:32 +0000] "GET / HTTP/1.1" 200 5"#,
            r#"{"request":"GET / HTTP/1.1","log":5}"#,
            r#"[2016-04-15T20:17:00.310Z] "POST / HTTP/2" 204"#,
            "2016-10-06T00:17:09.669794202Z stdout P half a line",
            "web-1 |no",
        ] {
            assert_eq!(Envelope::default().open(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_opened_without_panic(
            head in r#"(<13>|1 |\{"log":"|\[pod/|[a-z]+ |[A-Z][a-z]{2} +[0-9]+ )?"#,
            tail in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let _ = Envelope::default().open(&[head.as_bytes(), &tail].concat());
        }
    }
}
