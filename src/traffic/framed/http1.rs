//! A raw HTTP/1 request, as it lay on the wire (RFC 9112): head and body.
//!
//! Must not: judge the request line; that is done alike for all formats.

use super::super::ledger::Reason;
use super::super::record::{Asked, Fields, Record};
use super::super::time::Stamp;
use super::line;

/// The fields and the body of the last raw request read.
#[derive(Debug, Default)]
pub(super) struct Raw {
    fields: Fields,
    decoded: Vec<u8>,
}

impl Raw {
    /// Reads one request out of `message`, which holds nothing else.
    ///
    /// A body that is shorter than its Content-Length is what was recorded and all there is; bytes
    /// behind it are no part of it. Without Content-Length and chunks there is none (section 6.3).
    pub(super) fn read<'a>(&'a mut self, message: &'a [u8], time: Stamp) -> Result<Record<'a>, Reason> {
        self.fields.clear();
        let (request_line, mut at) = line(message, true).ok_or(Reason::BadHead)?;
        let (mut length, mut chunked) = (None, false);
        loop {
            // A head without its empty line was cut off: what is lost may have mattered.
            let (field, used) = line(&message[at..], false).ok_or(Reason::BadHead)?;
            at += used;
            if field.is_empty() {
                break;
            }
            let colon = memchr::memchr(b':', field).ok_or(Reason::BadHead)?;
            let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                length = std::str::from_utf8(value).ok().and_then(|v| v.parse::<usize>().ok());
            }
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                chunked = value.len() >= 7 && value[value.len() - 7..].eq_ignore_ascii_case(b"chunked");
            }
            self.fields.push(name, value);
        }
        let rest = &message[at..];
        let body = if chunked {
            self.decoded.clear();
            dechunk(rest, &mut self.decoded)?;
            &self.decoded
        } else {
            &rest[..length.unwrap_or(0).min(rest.len())]
        };
        Ok(Record { fields: &self.fields, body, ..Record::new(time, Asked::Line(request_line)) })
    }
}

/// Appends what a chunked body holds (RFC 9112 section 7.1); trailers are passed over.
fn dechunk(mut text: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    loop {
        let (head, used) = line(text, false).ok_or(Reason::BadBody)?;
        let digits = head.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let digits = std::str::from_utf8(digits).map_err(|_| Reason::BadBody)?;
        if digits.starts_with('+') {
            return Err(Reason::BadBody);
        }
        let size = usize::from_str_radix(digits, 16).map_err(|_| Reason::BadBody)?;
        if size == 0 {
            return Ok(());
        }
        let (chunk, rest) = text[used..].split_at_checked(size).ok_or(Reason::BadBody)?;
        out.extend_from_slice(chunk);
        text = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n")).ok_or(Reason::BadBody)?;
    }
}

#[cfg(test)]
mod tests {
    use super::super::NO_TIME;
    use super::*;

    fn body(message: &str) -> Result<String, Reason> {
        let mut raw = Raw::default();
        let record = raw.read(message.as_bytes(), NO_TIME)?;
        Ok(String::from_utf8_lossy(record.body).into_owned())
    }

    #[test]
    fn a_body_is_as_long_as_its_frame_says_and_no_longer_than_it_is() {
        assert_eq!(body("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcdef"), Ok("abc".into()));
        assert_eq!(body("POST / HTTP/1.1\ncontent-length: 99\n\nabc"), Ok("abc".into()));
        assert_eq!(body("POST / HTTP/1.1\r\n\r\nabc"), Ok("".into()));
        let chunks = "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
        assert_eq!(
            body(&format!("{chunks}3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n")),
            Ok("abc0123456789".into())
        );
        for broken in
            ["", "3\r\nab", "3\r\nabcd\r\n0\r\n\r\n", "zz\r\n", "-1\r\n", "+1\r\na\r\n0\r\n", "ffffffffffffffffff\r\n"]
        {
            assert_eq!(body(&format!("{chunks}{broken}")), Err(Reason::BadBody), "{broken}");
        }
    }

    #[test]
    fn a_head_that_breaks_off_is_no_request() {
        for broken in [
            "",
            "GET / HTTP/1.1",
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n",
            "GET / HTTP/1.1\r\nfolded\r\n\r\n",
        ] {
            assert_eq!(body(broken), Err(Reason::BadHead), "{broken}");
        }
    }
}
