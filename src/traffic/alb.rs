//! The access log of AWS Application Load Balancers: fields behind spaces, texts in quotes. The
//! fields and their order are those of the AWS documentation ("Access log entry").
//!
//! Must not: know what a request is.

use super::record::{Asked, Format, Mismatch, Record, TimeIs};
use super::time::{Dates, Unit, duration_ns};
use super::values::{given, number, without_port};

/// Fields up to the creation time of the request. Newer load balancers write more behind it.
const FIELDS: usize = 22;

/// Fields of which there must be at least so many: the oldest notation ends behind the user agent.
const FEWEST: usize = 14;

/// Its reader.
#[derive(Default)]
pub(super) struct Alb {
    dates: Dates,
}

impl Format for Alb {
    fn name(&self) -> &str {
        "alb"
    }

    fn fields(&self) -> usize {
        FIELDS
    }

    fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        let (fields, count) = fields(line);
        let field = |n: usize| fields[n - 1];
        let known_type = [&b"http"[..], b"https", b"h2", b"grpcs", b"ws", b"wss"].contains(&field(1));
        if count < FEWEST || !known_type || !line.contains(&b'"') {
            return Err(Mismatch::Shape);
        }
        let took = [6, 7, 8].map(|n| duration_ns(field(n), Unit::Seconds));
        let duration_ns = took.iter().flatten().copied().reduce(u64::saturating_add);
        // The creation time is when the load balancer received the request; field 2 is when it had
        // sent the response.
        let created = if count >= FIELDS { self.dates.iso8601(field(22)) } else { None };
        let (time, time_is) = match created {
            Some(at) => (at, TimeIs::Start),
            None => (self.dates.iso8601(field(2)).ok_or(Mismatch::Time)?, TimeIs::End),
        };
        Ok(Record {
            time_is,
            duration_ns,
            status: number(field(9))?.and_then(|n| u16::try_from(n).ok()),
            bytes: number(field(12))?,
            client: given(field(4)).map(without_port),
            user_agent: given(field(14)),
            ..Record::new(time, Asked::Line(field(13)))
        })
    }
}

/// The first fields of a line, and how many there are; one between quotes may hold spaces.
fn fields(line: &[u8]) -> ([&[u8]; FIELDS], usize) {
    let mut out = [&b""[..]; FIELDS];
    let (mut rest, mut count) = (line, 0);
    for field in &mut out {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            break;
        }
        let (text, after) = match rest.strip_prefix(b"\"") {
            Some(quoted) => {
                // A quote ends a field only where a space or nothing follows: agents hold quotes.
                let end = memchr::memmem::find(quoted, b"\" ").unwrap_or_else(|| quoted.len().saturating_sub(1));
                (&quoted[..end], quoted.get(end + 1..).unwrap_or_default())
            }
            None => rest.split_at(memchr::memchr(b' ', rest).unwrap_or(rest.len())),
        };
        (*field, rest, count) = (text, after, count + 1);
    }
    (out, count)
}
