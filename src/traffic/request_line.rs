//! From what a log says was asked for to what can be asked again: method, path, host.
//!
//! Must not: let a byte into a path that [`crate::model::Request`] does not allow.

use super::ledger::Reason;
use super::record::Asked;
use super::values::{is_graphic, near};

/// A request that can be replayed, as far as its first line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine<'a> {
    /// The method token, checked.
    pub(super) method: &'a [u8],
    /// Whether that is GET, as it mostly is.
    pub(super) is_get: bool,
    /// Path and query as recorded; goes through [`push_path`].
    path: &'a [u8],
    /// Put before `path` when it is not empty and has no slash of its own.
    rooted: bool,
    /// Whether `path` can be sent as it is.
    plain: bool,
    /// The host of an absolute target, checked.
    pub(super) host: Option<&'a [u8]>,
}

/// What `asked` asks for, or why it cannot be asked again.
pub(super) fn understand(asked: Asked<'_>) -> Result<RequestLine<'_>, Reason> {
    let (method, target) = match asked {
        Asked::Line(line) => split(line)?,
        Asked::Parts { method: b"" | b"-", .. } => return Err(Reason::NoRequest),
        Asked::Parts { method, target } => (method, target),
    };
    let is_get = method == b"GET";
    if !is_get {
        check_method(method)?;
        if method == b"-" {
            // A token, and what every log writes for none.
            return Err(Reason::BadMethod);
        }
    }
    let (host, path) = match target {
        [b'/', ..] => (None, target),
        b"*" => return Err(Reason::Asterisk),
        _ => {
            let (host, path) = absolute(target)?;
            (Some(host), path)
        }
    };
    let plain = is_graphic(path);
    if !plain && path.iter().any(|b| *b < b' ' || *b == 0x7f) {
        return Err(Reason::BadTarget);
    }
    Ok(RequestLine { method, is_get, path, rooted: path.first() == Some(&b'/'), plain, host })
}

/// Splits `METHOD target PROTOCOL`. The target may hold spaces: scanners send them, and nginx
/// and Apache log the line as it came.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    match line {
        b"" => return Err(Reason::EmptyRequest),
        b"-" => return Err(Reason::NoRequest),
        // A TLS record of type handshake, version 3.x (RFC 8446 section 5.1), on a plain port.
        [0x16, 0x03, ..] => return Err(Reason::Tls),
        _ => {}
    }
    let (method, rest) = match line.starts_with(b"GET ") {
        true => line.split_at(b"GET".len()),
        false => split_method(line)?,
    };
    // As nearly all lines end, told without a search for the last space.
    if let Some((before, version)) = rest.split_last_chunk::<8>()
        && (version == b"HTTP/1.1" || version == b"HTTP/1.0")
        && let Some(target @ [_, ..]) = before.strip_suffix(b" ").map(trimmed)
    {
        return Ok((method, target));
    }
    let rest = rest.trim_ascii();
    let (target, protocol) = match rest.iter().rposition(|b| *b == b' ') {
        Some(i) => (rest[..i].trim_ascii_end(), &rest[i + 1..]),
        None => (rest, &b""[..]),
    };
    match protocol {
        [b'H', b'T', b'T', b'P', b'/', version @ ..] if is_version(version) => Ok((method, target)),
        _ => {
            check_method(method)?;
            let has_version = protocol.iter().position(|b| *b == b'/').is_some_and(|i| {
                i > 0 && protocol[..i].iter().all(u8::is_ascii_uppercase) && is_version(&protocol[i + 1..])
            });
            Err(if has_version || protocol.starts_with(b"HTTP") { Reason::BadProtocol } else { Reason::NoProtocol })
        }
    }
}

/// Without white space at its ends, of which most targets have only the space before them.
#[inline]
fn trimmed(target: &[u8]) -> &[u8] {
    match target {
        [b' ', rest @ ..] if matches!((rest.first(), rest.last()), (Some(b'!'..), Some(b'!'..))) => rest,
        _ => target.trim_ascii(),
    }
}

/// Splits what comes before the first space from the rest of a request line.
fn split_method(line: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let Some(space) = near(b' ', line) else {
        return Err(if is_graphic(line) { Reason::NotARequestLine } else { Reason::Binary });
    };
    let (method, rest) = line.split_at(space);
    if is_graphic(method) { Ok((method, rest)) } else { Err(Reason::Binary) }
}

/// `1.1`, `2`, `2.0`.
fn is_version(text: &[u8]) -> bool {
    match text {
        [a] => a.is_ascii_digit(),
        [a, b'.', b] => a.is_ascii_digit() && b.is_ascii_digit(),
        _ => false,
    }
}

/// Methods are tokens (RFC 9110 section 5.6.2) of at most 24 bytes, as `model::Method` takes them.
fn check_method(method: &[u8]) -> Result<(), Reason> {
    match method {
        b"GET" | b"HEAD" | b"POST" => Ok(()),
        b"CONNECT" => Err(Reason::Connect),
        b"PRI" => Err(Reason::Preface),
        _ => {
            if is_token(method) && method.len() <= 24 {
                Ok(())
            } else {
                Err(Reason::BadMethod)
            }
        }
    }
}

/// Whether `text` is a token (RFC 9110 section 5.6.2), as methods and names of header fields are.
pub(super) fn is_token(text: &[u8]) -> bool {
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(token)
}

/// Host and path of `http://host/path` (RFC 9112 section 3.2.2), without user and password.
fn absolute(target: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let after = |scheme: &[u8]| {
        target.split_at_checked(scheme.len()).filter(|(s, _)| s.eq_ignore_ascii_case(scheme)).map(|(_, rest)| rest)
    };
    let (rest, own_port) = match (after(b"http://"), after(b"https://")) {
        (Some(rest), _) => (rest, &b":80"[..]),
        (_, Some(rest)) => (rest, &b":443"[..]),
        _ => return Err(Reason::BadTarget),
    };
    let end = rest.iter().position(|b| b"/?#".contains(b)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = memchr::memrchr(b'@', authority).map_or(authority, |i| &authority[i + 1..]);
    // Load balancers log the port that a client leaves out (RFC 9110 section 4.2.3).
    let host = host.strip_suffix(own_port).unwrap_or(host);
    if is_host(host) { Ok((host, path)) } else { Err(Reason::BadTarget) }
}

/// Whether `text` can stand in a Host field: a name, an address, with or without a port.
pub(super) fn is_host(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text[0] != b':'
        && text.iter().all(|b| b.is_ascii_alphanumeric() || b"._-:[]".contains(b))
}

impl RequestLine<'_> {
    /// Appends path and query in origin form: spaces and bytes above ASCII percent-encoded, all
    /// else as recorded.
    #[inline]
    pub(super) fn push_path(&self, out: &mut Vec<u8>) {
        if self.plain && self.rooted {
            out.extend_from_slice(self.path);
        } else {
            self.push_other_path(out);
        }
    }

    fn push_other_path(&self, out: &mut Vec<u8>) {
        if !self.rooted {
            out.push(b'/');
        }
        for b in self.path {
            if b.is_ascii_graphic() {
                out.push(*b);
            } else {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.extend_from_slice(&[b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(line: &[u8]) -> Result<(String, String, String), Reason> {
        let r = understand(Asked::Line(line))?;
        let mut path = Vec::new();
        r.push_path(&mut path);
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        Ok((text(r.method), text(&path), text(r.host.unwrap_or(b""))))
    }

    #[test]
    fn requests_become_method_path_and_host() {
        let ok = |line: &[u8], m: &str, p: &str, h: &str| assert_eq!(seen(line), Ok((m.into(), p.into(), h.into())));
        ok(b"GET /a?b=c HTTP/1.1", "GET", "/a?b=c", "");
        ok(b"GET /a HTTP/2", "GET", "/a", "");
        ok(b"GET  /a  HTTP/1.0", "GET", "/a", "");
        ok(b"GET /a b\"c HTTP/1.1", "GET", "/a%20b\"c", "");
        ok("GET /ä HTTP/1.1".as_bytes(), "GET", "/%C3%A4", "");
        ok(b"GET /\xff HTTP/1.1", "GET", "/%FF", "");
        ok(b"HEAD http://u:p@example.net:81/x HTTP/1.1", "HEAD", "/x", "example.net:81");
        ok(b"GET HTTPS://[2001:db8::1]?q HTTP/1.1", "GET", "/?q", "[2001:db8::1]");
        ok(b"GET http://example.net HTTP/1.1", "GET", "/", "example.net");
        ok(b"GET https://example.net:443/a HTTP/1.1", "GET", "/a", "example.net");
        ok(b"GET https://example.net:80/a HTTP/1.1", "GET", "/a", "example.net:80");
        ok(b"PROPFIND / HTTP/1.1", "PROPFIND", "/", "");
    }

    #[test]
    fn what_is_no_request_has_its_own_reason() {
        for (line, reason) in [
            (&b""[..], Reason::EmptyRequest),
            (b"-", Reason::NoRequest),
            (b"\x16\x03\x01\x00t", Reason::Tls),
            (b"\x01\x82 x", Reason::Binary),
            (b"\xbd\xff", Reason::Binary),
            (b"batman", Reason::NotARequestLine),
            (b"- / HTTP/1.1", Reason::BadMethod),
            (b"CONNECT example.net:443 HTTP/1.1", Reason::Connect),
            (b"PRI * HTTP/2.0", Reason::Preface),
            (b"OPTIONS * HTTP/1.1", Reason::Asterisk),
            (b"GET / ", Reason::NoProtocol),
            (b"GET /a b", Reason::NoProtocol),
            (b"GET / HTTP/one", Reason::BadProtocol),
            (b"OPTIONS / RTSP/1.0", Reason::BadProtocol),
            (b"a=b / HTTP/1.1", Reason::BadMethod),
            (b"GET a HTTP/1.1", Reason::BadTarget),
            (b"GET HTTP/1.1", Reason::NoProtocol),
            (b"GET /a\x00b HTTP/1.1", Reason::BadTarget),
            (b"GET /a\rb HTTP/1.1", Reason::BadTarget),
            (b"GET ftp://x/ HTTP/1.1", Reason::BadTarget),
            (b"GET http:///x HTTP/1.1", Reason::BadTarget),
            (b"GET http://a b/x HTTP/1.1", Reason::BadTarget),
        ] {
            assert_eq!(seen(line), Err(reason), "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn a_path_keeps_what_a_request_promises(bytes in prop::collection::vec(any::<u8>(), 0..60), framed: bool, whole: bool) {
            let start = if whole { &b"GET /"[..] } else { b"GET http://h" };
            let line = if framed { [start, &bytes, b" HTTP/1.1"].concat() } else { bytes };
            if let Ok((method, path, host)) = seen(&line) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(path.bytes().all(|b| (0x21..0x7f).contains(&b)));
                prop_assert!(crate::model::Method::parse(method.as_bytes()).is_some());
                prop_assert!(host.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
