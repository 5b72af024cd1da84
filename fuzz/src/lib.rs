//! What the fuzz targets have in common: reading a recording to its end, and the laws that hold
//! for everything read, whatever the bytes were.
//!
//! Must not: know why a law holds; `model::Request` and `traffic::Reader` say that.

use perfbench::model::{Request, TrafficCounts};
use perfbench::traffic::{Look, Options, Reader, Source, chart, missing};
use std::fmt::Display;
use std::io::Read;

/// How compressed recordings begin: gzip, zstd.
const PACKED: [&[u8]; 2] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd"];

/// What became of a recording.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// Its requests in order, and what was counted.
    Requests(Vec<Request>, TrafficCounts),
    /// Why there are none.
    Refused(String),
}

/// Bytes that arrive `step` at a time, as from a pipe.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.step.min(into.len()).min(self.bytes.len() - self.at);
        into[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Reads a recording to its end, however its bytes arrive, and holds it to the laws.
///
/// # Panics
/// When a law is broken.
pub fn read(recording: &[u8], options: &Options) -> Outcome {
    let at_once = read_in_pieces(recording, options, usize::MAX);
    let in_pieces = read_in_pieces(recording, options, 7);
    // How many bytes a decoder gives before it meets damage depends on how many it was given.
    if !PACKED.iter().any(|magic| recording.starts_with(magic)) {
        assert_eq!(at_once, in_pieces, "what arrives in pieces is the same");
    }
    at_once
}

fn read_in_pieces(recording: &[u8], options: &Options, step: usize) -> Outcome {
    let stream = Box::new(Pieces { bytes: recording.to_vec(), at: 0, step });
    let source = Source::Stream { name: "fuzz".to_owned(), stream };
    let mut reader = match Reader::open_sources(vec![source], options.clone()) {
        Ok(reader) => reader,
        Err(e) => return Outcome::Refused(one_line(e)),
    };
    for choice in reader.choices() {
        one_line(choice.why());
        assert!(choice.matched <= choice.looked_at, "{choice:?}");
    }
    let mut look = Look::default();
    let mut all: Vec<Request> = Vec::new();
    let mut request = Reader::blank();
    loop {
        match reader.next(&mut request) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                one_line(e.to_string());
                counted(&reader.counts(), 0);
                return Outcome::Refused(one_line(e));
            }
        }
        sendable(&request);
        let last_ns = all.last().map_or(i64::MIN, |r| r.recorded_unix_ns);
        assert!(last_ns <= request.recorded_unix_ns, "time never goes backwards");
        look.note(&request, reader.has_time());
        all.push(request.clone());
    }
    let counts = reader.counts();
    counted(&counts, all.len() as u64);
    for m in missing(&look, &reader.summary()) {
        one_line(format!("{m:?}"));
    }
    for ascii in [true, false] {
        chart(&look.rates, 80, ascii).into_iter().for_each(|line| drop(one_line(line)));
    }
    Outcome::Requests(all, counts)
}

fn counted(counts: &TrafficCounts, handed_out: u64) {
    let skipped: u64 = counts.skipped.iter().map(|s| s.count).sum();
    assert_eq!(counts.lines, counts.requests + skipped, "every line is a request or skipped: {counts:?}");
    assert_eq!(counts.requests, handed_out, "every request is handed out: {counts:?}");
}

/// What may be put on the wire as it is: nothing in it can end a line or a field.
///
/// # Panics
/// When something can.
pub fn sendable(r: &Request) {
    let plain = |text: &str| text.bytes().all(|b| b > b' ' && b != 0x7f);
    assert!(r.path.starts_with('/') && plain(&r.path), "path {:?}", r.path);
    assert!(!r.method.as_str().is_empty() && plain(r.method.as_str()), "method {:?}", r.method);
    assert!(r.host.as_deref().is_none_or(|h| !h.is_empty() && plain(h)), "host {:?}", r.host);
    for (name, value) in &r.headers {
        assert!(!name.is_empty() && plain(name) && !name.contains(':'), "field {name:?}");
        assert!(!value.contains(['\r', '\n', '\0']), "value {value:?} of {name}");
    }
    assert!(!r.route.name.is_empty());
}

/// What is shown to a person: a line that no terminal obeys.
///
/// # Panics
/// When it is more than that.
pub fn one_line(what: impl Display) -> String {
    let text = what.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() < 10_000, "{} bytes of message", text.len());
    text
}

/// The first line, and what stands behind it.
pub fn first_line(input: &[u8]) -> (&str, &[u8]) {
    let (line, rest) = split_at(input, b"\n");
    (std::str::from_utf8(line).unwrap_or("").trim_end(), rest)
}

/// What stands before `mark` and behind it; everything and nothing when it is not there.
pub fn split_at<'a>(input: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    match input.windows(mark.len()).position(|w| w == mark) {
        Some(n) => (&input[..n], &input[n + mark.len()..]),
        None => (input, &[]),
    }
}
