//! The W3C Extended Log File Format (<https://www.w3.org/TR/WD-logfile>): a `#Fields:` line names the
//! columns of the lines behind it, in any order, and may come again with others. IIS writes it with
//! spaces between columns, CloudFront with tabs and percent-encoded values.
//!
//! Must not: know what a request is.

use super::record::{Asked, Fields, Format, Mismatch, Record, TimeIs, hex};
use super::time::{Dates, Stamp, Unit, duration_ns, unix_time};
use super::values::{forwarded_for, given, host_name, number};
use std::ops::Range;

/// Who writes the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// IIS and all others.
    Iis,
    /// AWS CloudFront standard logs.
    CloudFront,
}

/// The columns of IIS by default, for a piece of a log whose head is missing.
const IIS_FIELDS: &str = "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) \
                          cs(Referer) sc-status sc-substatus sc-win32-status time-taken";

/// The columns of CloudFront standard logs, which a user cannot choose.
const CLOUDFRONT_FIELDS: &str = "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) \
     cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken \
     x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status \
     fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len \
     sc-range-start sc-range-end";

/// More columns than any server has.
const MAX_COLUMNS: usize = 200;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    Date,
    Time,
    /// Milliseconds since the Unix epoch: CloudFront's `timestamp(ms)`.
    UnixMs,
    Method,
    Stem,
    Query,
    /// A whole URI or target.
    Uri,
    /// The Host that the client sent, or a name of the server; a lower number is nearer to the client.
    Host(u8),
    Port,
    Status,
    Bytes,
    Client,
    Referer,
    UserAgent,
    Taken,
    /// Another header field of the request.
    Header(String),
    Ignored,
}

fn column(name: &str) -> Column {
    match &*name.to_ascii_lowercase() {
        "date" => Column::Date,
        "time" => Column::Time,
        "timestamp(ms)" => Column::UnixMs,
        "cs-method" => Column::Method,
        "cs-uri-stem" => Column::Stem,
        "cs-uri-query" => Column::Query,
        "cs-uri" => Column::Uri,
        "x-host-header" => Column::Host(0),
        "cs-host" | "cs(host)" => Column::Host(1),
        "s-port" => Column::Port,
        "sc-status" => Column::Status,
        "sc-bytes" => Column::Bytes,
        "c-ip" => Column::Client,
        "cs(referer)" => Column::Referer,
        "cs(user-agent)" => Column::UserAgent,
        "time-taken" => Column::Taken,
        "cs(x-forwarded-for)" | "x-forwarded-for" => Column::Ignored,
        lower => match lower.strip_prefix("cs(").and_then(|h| h.strip_suffix(')')) {
            Some(header) => Column::Header(name.get(3..3 + header.len()).unwrap_or_default().to_owned()),
            None => Column::Ignored,
        },
    }
}

/// Its reader.
pub(super) struct W3c {
    dialect: Dialect,
    columns: Vec<Column>,
    /// The columns that the first `#Fields:` line named: those of lines before it, whose own head is
    /// in the file rotated away.
    first: Option<Vec<Column>>,
    /// From `#Date:`, for logs whose lines have only a time of day.
    date: String,
    /// What `time-taken` counts; the standard and CloudFront say seconds, IIS milliseconds.
    taken: Unit,
    dates: Dates,
    recorded: Fields,
    scratch: Vec<u8>,
}

impl W3c {
    /// A reader of that dialect.
    pub(super) fn new(dialect: Dialect) -> W3c {
        let mut made = W3c {
            dialect,
            columns: Vec::new(),
            first: None,
            date: String::new(),
            taken: Unit::Seconds,
            dates: Dates::default(),
            recorded: Fields::default(),
            scratch: Vec::new(),
        };
        made.rewind();
        made
    }

    /// Takes a line that begins with `#`. A `#Fields:` line that is not of this dialect is refused.
    fn directive(&mut self, line: &str) -> Mismatch {
        if let Some(names) = line.strip_prefix("#Fields:") {
            let is_cloudfront = names.contains("x-edge-") || names.contains("timestamp(ms)");
            if is_cloudfront != (self.dialect == Dialect::CloudFront) {
                return Mismatch::Shape;
            }
            self.columns = names.split_ascii_whitespace().take(MAX_COLUMNS).map(column).collect();
            self.first.get_or_insert_with(|| self.columns.clone());
            if names.contains("sc-win32-status") || names.contains("sc-substatus") {
                self.taken = Unit::Milliseconds;
            }
        } else if let Some(date) = line.strip_prefix("#Date:") {
            self.date = date.trim().get(..10).unwrap_or_default().to_owned();
        } else if line.starts_with("#Software: Microsoft") {
            self.taken = Unit::Milliseconds;
        }
        Mismatch::Comment
    }

    /// The time of a line: its columns, or the date of the head.
    fn time(&mut self, date: Option<&[u8]>, time: Option<&[u8]>) -> Option<Stamp> {
        let date = date.unwrap_or(self.date.as_bytes());
        // `2024-03-12T15:22:28`, without an allocation.
        let mut text = [0u8; 40];
        let time = time?;
        let length = date.len() + 1 + time.len();
        let into = text.get_mut(..length)?;
        into[..date.len()].copy_from_slice(date);
        into[date.len()] = b'T';
        into[date.len() + 1..].copy_from_slice(time);
        self.dates.iso8601_or_utc(&text[..length])
    }

    /// Appends a header value as it was: IIS writes `+` for a space, CloudFront percent-encodes.
    fn decode(&mut self, text: &[u8]) -> Range<usize> {
        let from = self.scratch.len();
        match self.dialect {
            Dialect::CloudFront => percent_decode_into(text, &mut self.scratch),
            Dialect::Iis => {
                let mut bytes = text.iter().peekable();
                while let Some(b) = bytes.next() {
                    match b {
                        // Of two, the second was one: `;++http://` in the name of a robot.
                        b'+' if bytes.next_if_eq(&&b'+').is_some() => self.scratch.extend_from_slice(b" +"),
                        b'+' => self.scratch.push(b' '),
                        b => self.scratch.push(*b),
                    }
                }
            }
        }
        from..self.scratch.len()
    }
}

impl Format for W3c {
    fn name(&self) -> &str {
        match self.dialect {
            Dialect::Iis => "w3c",
            Dialect::CloudFront => "cloudfront",
        }
    }

    fn fields(&self) -> usize {
        self.columns.iter().filter(|c| **c != Column::Ignored).count()
    }

    fn rewind(&mut self) {
        let default = match self.dialect {
            Dialect::Iis => IIS_FIELDS,
            Dialect::CloudFront => CLOUDFRONT_FIELDS,
        };
        self.columns = self.first.clone().unwrap_or_else(|| default.split_ascii_whitespace().map(column).collect());
        if self.first.is_none() && self.dialect == Dialect::Iis {
            self.taken = Unit::Milliseconds;
        }
    }

    fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        if line.first() == Some(&b'#') {
            let text = std::str::from_utf8(line).map_err(|_| Mismatch::Shape)?;
            return Err(self.directive(text));
        }
        let separator = if self.dialect == Dialect::CloudFront { b'\t' } else { b' ' };
        // Some writers of the standard use tabs, and nothing else in the line may hold one.
        let separator = if memchr::memchr(b'\t', line).is_some() { b'\t' } else { separator };
        let (mut date, mut time, mut unix) = (None, None, None);
        let (mut method, mut stem, mut query, mut uri) = (None, None, None, None);
        let (mut host, mut port, mut status, mut bytes) = (None::<(u8, &[u8])>, None, None, None);
        let (mut client, mut taken, mut referer, mut user_agent) = (None, None, None, None);
        self.recorded.clear();
        self.scratch.clear();
        let columns = std::mem::take(&mut self.columns);
        let mut values = line.split(|b| *b == separator);
        let mut count = 0;
        let mut wrong = false;
        for column in &columns {
            // A line that was cut has fewer columns; what a request needs may be among those there.
            let Some(text) = values.next() else { break };
            count += 1;
            let Some(text) = given(text) else { continue };
            match column {
                Column::Date => date = Some(text),
                Column::Time => time = Some(text),
                Column::UnixMs => unix = unix_time(text, Unit::Milliseconds),
                Column::Method => method = Some(text),
                Column::Stem => stem = Some(text),
                Column::Query => query = Some(text),
                Column::Uri => uri = Some(text),
                Column::Host(rank) if host.is_none_or(|(r, _)| *rank < r) => {
                    host = host_name(text).ok().flatten().map(|h| (*rank, h)).or(host);
                }
                Column::Port => port = number(text).ok().flatten().and_then(|n| u16::try_from(n).ok()),
                Column::Status => match number(text) {
                    Ok(n) => status = n.and_then(|n| u16::try_from(n).ok()),
                    Err(_) => wrong = true,
                },
                Column::Bytes => bytes = number(text).ok().flatten(),
                Column::Client => client = forwarded_for(text),
                Column::Taken => taken = duration_ns(text, self.taken),
                Column::Referer => referer = Some(self.decode(text)),
                Column::UserAgent => user_agent = Some(self.decode(text)),
                Column::Header(name) => {
                    let range = self.decode(text);
                    self.recorded.push(name.as_bytes(), &self.scratch[range]);
                }
                Column::Host(_) | Column::Ignored => {}
            }
        }
        let too_many = values.next().is_some_and(|_| self.dialect == Dialect::Iis);
        let few = count < columns.len().min(4);
        self.columns = columns;
        if wrong || too_many || few {
            return Err(Mismatch::Shape);
        }
        let stem = stem.or(uri).ok_or(Mismatch::Shape)?;
        let target = match query.filter(|_| memchr::memchr(b'?', stem).is_none()) {
            None => None,
            Some(query) => {
                let from = self.scratch.len();
                [stem, b"?", query.strip_prefix(b"?").unwrap_or(query)]
                    .iter()
                    .for_each(|part| self.scratch.extend_from_slice(part));
                Some(from..self.scratch.len())
            }
        };
        let method = method.ok_or(Mismatch::Shape)?;
        let clock = self.time(date, time);
        let time =
            unix.or(clock).ok_or(if date.is_some() && time.is_some() { Mismatch::Time } else { Mismatch::Shape })?;
        let text = |range: Option<Range<usize>>| range.map(|r| &self.scratch[r]);
        Ok(Record {
            // Both write a line when the response has been sent.
            time_is: TimeIs::End,
            duration_ns: taken,
            host: host.map(|(_, h)| h),
            port,
            status,
            bytes,
            client,
            referer: text(referer),
            user_agent: text(user_agent),
            fields: &self.recorded,
            ..Record::new(time, Asked::Parts { method, target: text(target).unwrap_or(stem) })
        })
    }
}

fn percent_decode_into(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        match rest[at..] {
            [_, h1, h2, ..] if h1.is_ascii_hexdigit() && h2.is_ascii_hexdigit() => {
                out.push(hex(h1) << 4 | hex(h2));
                rest = &rest[at + 3..];
            }
            _ => {
                out.push(b'%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(r: &Record<'_>) -> String {
        match r.asked {
            Asked::Parts { method, target } => format!("{} {}", method.escape_ascii(), target.escape_ascii()),
            Asked::Line(_) => String::new(),
        }
    }

    #[test]
    fn columns_may_change_in_the_middle_and_be_missing_at_the_head() {
        let mut f = W3c::new(Dialect::Iis);
        let first =
            b"2015-05-17 08:05:32 192.0.2.1 GET /a b=c 8080 - 192.0.2.7 Mozilla/5.0+(X;++http://b) - 200 0 0 1500";
        let r = f.parse(first).unwrap();
        assert_eq!((path(&r), r.port, r.duration_ns), ("GET /a?b=c".into(), Some(8080), Some(1_500_000_000)));
        assert_eq!(r.user_agent, Some(&b"Mozilla/5.0 (X; +http://b)"[..]));
        let head = [
            "#Software: Microsoft Internet Information Services 10.0",
            "#Date: 2015-05-18 00:00:01",
            "#Fields: time cs-uri-stem cs-method cs-host cs(X-Key)",
        ];
        assert!(head.iter().all(|line| f.parse(line.as_bytes()) == Err(Mismatch::Comment)));
        let r = f.parse(b"08:05:32 /b HEAD a.example:81 k+1").unwrap();
        assert_eq!(
            (path(&r), r.host, r.time.unix_ns),
            ("HEAD /b".into(), Some(&b"a.example:81"[..]), 1_431_936_332_000_000_000)
        );
        assert_eq!(r.fields.iter().collect::<Vec<_>>(), [(&b"X-Key"[..], &b"k 1"[..])]);
        assert_eq!(f.parse(first), Err(Mismatch::Shape), "more columns than were named");
        f.rewind();
        assert!(f.parse(b"08:05:33 /c GET - -").is_ok(), "the head is known by now");
    }

    #[test]
    fn a_dialect_does_not_take_the_other_ones_head() {
        let cloudfront = b"#Fields: date time x-edge-location c-ip cs-method cs(Host) cs-uri-stem";
        assert_eq!(W3c::new(Dialect::Iis).parse(cloudfront), Err(Mismatch::Shape));
        let mut f = W3c::new(Dialect::CloudFront);
        assert_eq!(f.parse(cloudfront), Err(Mismatch::Comment));
        let r = f.parse(b"2015-05-17\t08:05:32\tX\t192.0.2.7\tGET\td.example\t/a%2520").unwrap();
        assert_eq!((path(&r), r.client), ("GET /a%2520".into(), Some(&b"192.0.2.7"[..])));
        let mut decoded = Vec::new();
        percent_decode_into(b"a%20b%2g%", &mut decoded);
        assert_eq!(decoded, b"a b%2g%");
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(lines in prop::collection::vec("(#Fields: )?[a-z0-9()#: %+\t-]{0,60}", 0..5)) {
            for mut f in [W3c::new(Dialect::Iis), W3c::new(Dialect::CloudFront)] {
                for line in &lines {
                    let _ = f.parse(line.as_bytes());
                }
            }
        }
    }
}
