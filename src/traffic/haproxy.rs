//! The HTTP log of HAProxy (`option httplog`), bare or behind a syslog prefix. Its fields are those of
//! the configuration manual, section 8.2.3.
//!
//! Must not: know what a request is.

use super::record::{Asked, Format, Mismatch, Record};
use super::time::{Dates, Unit, duration_ns};
use super::values::{given, number, without_port};

/// Its reader.
#[derive(Default)]
pub(super) struct Haproxy {
    dates: Dates,
}

impl Format for Haproxy {
    fn name(&self) -> &str {
        "haproxy"
    }

    fn fields(&self) -> usize {
        9
    }

    /// `192.0.2.7:33317 [06/Feb/2009:12:14:14.655] in static/srv1 10/0/30/69/109 200 2750 - - ----
    /// 1/1/1/1/0 0/0 {request|headers} {response} "GET /index.html HTTP/1.1"`
    fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        // Behind a tag and a process: `haproxy[14389]: `.
        let start = match memchr::memmem::find(line, b"]: ") {
            Some(at) if line[..at].iter().all(|b| *b != b'"' && *b != b' ') => at + 3,
            _ => 0,
        };
        let mut rest = &line[start..];
        let mut word = || {
            let at = memchr::memchr(b' ', rest).ok_or(Mismatch::Shape)?;
            let (word, after) = (&rest[..at], &rest[at + 1..]);
            rest = after;
            Ok(word)
        };
        let client = word()?;
        let date = word()?.strip_prefix(b"[").and_then(|d| d.strip_suffix(b"]")).ok_or(Mismatch::Shape)?;
        let (_frontend, server, timers) = (word()?, word()?, word()?);
        let (status, bytes) = (word()?, word()?);
        let (_cookie, _set_cookie, state) = (word()?, word()?, word()?);
        let (connections, queues) = (word()?, word()?);
        let counts = |text: &[u8], n: usize| text.iter().filter(|b| **b == b'/').count() == n;
        let shape = counts(timers, 4) && counts(connections, 4) && counts(queues, 1);
        if !shape || !server.contains(&b'/') || state.len() != 4 {
            return Err(Mismatch::Shape);
        }
        // Captured headers between braces hold anything; the request comes last, or before what
        // `option httpslog` adds. Syslog may have cut its end off.
        let request = rest;
        let open = memchr::memchr(b'"', request).ok_or(Mismatch::Shape)?;
        let request = &request[open + 1..];
        let request = match memchr::memrchr(b'"', request) {
            Some(end) => &request[..end],
            None => request,
        };
        let time = self.dates.local_without_zone(date).ok_or(Mismatch::Time)?;
        let total = timers.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let unsigned = |text: &'a [u8]| text.strip_prefix(b"+").unwrap_or(text);
        // -1 stands where there was none.
        let status = if status == b"-1" { None } else { number(status)? };
        Ok(Record {
            duration_ns: duration_ns(unsigned(total), Unit::Milliseconds),
            status: status.and_then(|n| u16::try_from(n).ok()),
            bytes: number(unsigned(bytes))?,
            client: given(client).map(without_last_port),
            ..Record::new(time, Asked::Line(request))
        })
    }
}

/// Here every address has a port behind it, an IPv6 one without brackets, too.
fn without_last_port(client: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', client) {
        Some(at) => without_port(&client[..at]),
        None => client,
    }
}
