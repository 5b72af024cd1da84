//! Recordings whose records are not one line each: whole requests framed by marks, sizes, blank
//! lines or JSON, with their header fields and bodies; and lists of requests without times.
//!
//! A [`Framing`] is shown the text that lies before it and says what it begins with. It never
//! reads, so that one place ([`Frames`]) bounds what is held, and damage ends no recording: what
//! cannot be understood is counted, and reading resumes at the next plausible record.
//!
//! ```text
//! frames    a growing window of text, at most 16 MiB        http1   head and body of a raw request
//! gor  har  vegeta  tank  curl (shell: words)  urls         one parser each
//! ```
//!
//! Must not: hold more of a recording than one record.

mod curl;
mod frames;
mod gor;
mod har;
mod http1;
mod shell;
mod tank;
mod urls;
mod vegeta;

pub(super) use curl::Curl;
pub(super) use frames::{Filled, Frames, MAX_RECORD_BYTES};
pub(super) use gor::Gor;
pub(super) use har::Har;
pub(super) use tank::{Phantom, Uri, Uripost};
pub(super) use urls::Urls;
pub(super) use vegeta::{VegetaJson, VegetaText};

use super::ledger::Reason;
use super::record::{Asked, Fields, Format, Mismatch, Record, TimeIs};
use super::time::Stamp;
use std::path::{Path, PathBuf};

/// What a text begins with. Every count of bytes is above 0 and at most the text's length.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Something that is not whole: show more of it.
    More,
    /// So many bytes that are no record and no fault: comments, settings for what follows.
    Pass(usize),
    /// A record of so many bytes.
    Record(usize, Record<'a>),
    /// So many bytes that are the response, with this status, to the record of [`Framing::id`].
    Response(usize, Option<u16>),
    /// So many bytes that are no record, for this reason.
    Bad(usize, Reason),
    /// Something that is no record and nobody knows how long: [`Framing::resync`] finds its end.
    Lost(Reason),
}

/// Where reading can resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resync {
    /// A plausible record begins behind so many bytes.
    At(usize),
    /// Not in here: drop so many bytes, and show the rest with what follows.
    Drop(usize),
}

/// One recording of a framed format being read.
pub(super) trait Framing: Send {
    /// What `text`, never empty, begins with. `at_end`: nothing follows it.
    fn step<'a>(&'a mut self, text: &'a [u8], at_end: bool) -> Step<'a>;

    /// Where a record begins in `text` behind its first byte, after [`Step::Lost`] or after a
    /// record longer than [`MAX_RECORD_BYTES`]. Called again with what follows until it finds one.
    fn resync(&mut self, text: &[u8], at_end: bool) -> Resync;

    /// What ties a response to its request: a hash, of the record or response shown last; 0 where
    /// there are no responses.
    fn id(&self) -> u64 {
        0
    }

    /// What its records are called where counting lines says nothing: a document of one line.
    fn record_word(&self) -> Option<&'static str> {
        None
    }
}

/// Makes a framing for one recording; the folder is where the files lie that it refers to.
type Make = fn(Option<&Path>) -> Box<dyn Framing>;

/// A framed format, as a row of the table of formats.
pub(super) struct Framed {
    /// What `--format` takes.
    pub(super) name: &'static str,
    /// Which instant its time stamps are.
    pub(super) time: TimeIs,
    /// Among formats that explain a recording equally well, the one with the most is taken.
    pub(super) weight: usize,
    /// Makes its framing.
    pub(super) make: Make,
}

impl Format for Framed {
    fn name(&self) -> &str {
        self.name
    }

    fn is_timed(&self) -> bool {
        self.time != TimeIs::Absent
    }

    fn fields(&self) -> usize {
        self.weight
    }

    fn parse<'a>(&'a mut self, _: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        Err(Mismatch::Shape)
    }

    fn framing(&self, folder: Option<&Path>) -> Option<Box<dyn Framing>> {
        Some((self.make)(folder))
    }
}

/// What a framing makes of the head of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Records, and what else was counted.
    pub(super) records: u64,
    /// How many of these are records.
    pub(super) good: u64,
    /// Lines with something on them, but for a record that goes on behind the head.
    pub(super) lines: u64,
    /// How many of these lie in records, or in what belongs between them.
    pub(super) good_lines: u64,
}

/// Runs `framing` over the head of a recording. `see` is shown every record.
pub(super) fn survey(framing: &mut dyn Framing, head: &[u8], ended: bool, mut see: impl FnMut(&Record<'_>)) -> Survey {
    let mut s = Survey::default();
    let mut rest = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let mut pending_lines = 0;
    let lines = |text: &[u8]| text.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()).count() as u64;
    while !rest.is_empty() {
        let (used, good) = match framing.step(rest, ended) {
            Step::More if !ended => break,
            Step::More => (rest.len(), None),
            Step::Pass(n) => {
                // Settings without a record that they are for explain nothing.
                pending_lines += lines(&rest[..n.clamp(1, rest.len())]);
                rest = &rest[n.clamp(1, rest.len())..];
                continue;
            }
            Step::Record(n, record) => {
                see(&record);
                (n, Some(()))
            }
            // What a capture holds besides requests speaks for it, too.
            Step::Response(n, _) => (n, Some(())),
            Step::Bad(n, _) => (n, None),
            Step::Lost(_) => match framing.resync(rest, ended) {
                Resync::At(n) => (n, None),
                Resync::Drop(_) => (rest.len(), None),
            },
        };
        let (record, after) = rest.split_at(used.clamp(1, rest.len()));
        let n = lines(record);
        s.records += 1;
        s.lines += n + pending_lines;
        if good.is_some() {
            s.good += 1;
            s.good_lines += n + pending_lines;
        }
        (rest, pending_lines) = (after, 0);
    }
    s.lines += pending_lines;
    s.good_lines += if s.good > 0 { pending_lines } else { 0 };
    s
}

/// A request put together from a recording, its memory reused.
#[derive(Debug, Default)]
struct Message {
    method: Vec<u8>,
    target: Vec<u8>,
    fields: Fields,
    body: Vec<u8>,
}

impl Message {
    /// Empties it, and gives it a method and a target; a fragment is the browser's and never sent
    /// (RFC 9110 section 7.1).
    fn begin(&mut self, method: &[u8], target: &[u8]) {
        self.fields.clear();
        self.body.clear();
        self.method.clear();
        self.method.extend_from_slice(method);
        self.target.clear();
        self.target.extend_from_slice(without_fragment(target));
    }

    fn record(&self, time: Stamp) -> Record<'_> {
        let asked = Asked::Parts { method: &self.method, target: &self.target };
        Record { fields: &self.fields, body: &self.body, ..Record::new(time, asked) }
    }
}

/// The time of a record of a format without times, which nobody looks at.
const NO_TIME: Stamp = Stamp { unix_ns: 0, whole_second: false };

fn without_fragment(target: &[u8]) -> &[u8] {
    memchr::memchr(b'#', target).map_or(target, |n| &target[..n])
}

/// The first line of `text` without its end, and how many bytes it takes with it. `None`: it goes on.
fn line(text: &[u8], at_end: bool) -> Option<(&[u8], usize)> {
    let (line, used) = match memchr::memchr(b'\n', text) {
        Some(n) => (&text[..n], n + 1),
        None if at_end => (text, text.len()),
        None => return None,
    };
    Some((line.strip_suffix(b"\r").unwrap_or(line), used))
}

/// Where the first line behind the first byte of `text` begins that `fits`.
fn next_line_that(text: &[u8], at_end: bool, fits: impl Fn(&[u8]) -> bool) -> Resync {
    let mut at = 0;
    while let Some(n) = memchr::memchr(b'\n', &text[at..]) {
        at += n + 1;
        match line(&text[at..], at_end) {
            Some((l, _)) if fits(l) => return Resync::At(at),
            Some(_) => {}
            None => break,
        }
    }
    // The last line may go on: it is shown again, with the newline that begins it.
    Resync::Drop(if at == 0 { text.len() } else { at - 1 })
}

/// Whether `text` looks like the name of a method: capitals only, as every registered one is.
fn looks_like_method(text: &[u8]) -> bool {
    (3..=24).contains(&text.len()) && text.iter().all(u8::is_ascii_uppercase)
}

/// Whether `text` looks like what a request can ask for: a path, or an http URL.
fn looks_like_target(text: &[u8]) -> bool {
    let scheme = |s: &[u8]| text.len() > s.len() && text[..s.len()].eq_ignore_ascii_case(s);
    let plain = !text.iter().any(|b| *b <= b' ' || *b == 0x7f);
    plain && (text.first() == Some(&b'/') || scheme(b"http://") || scheme(b"https://"))
}

/// A file that a list refers to.
struct Referred {
    folder: Option<PathBuf>,
    /// The last one read: lists send the same file again and again.
    last: Option<(PathBuf, Vec<u8>)>,
}

impl Referred {
    fn new(folder: Option<&Path>) -> Referred {
        Referred { folder: folder.map(Path::to_owned), last: None }
    }

    /// The content of `name`, taken relative to the list's folder. A file that is missing, larger
    /// than a record may be, or no regular file is refused.
    fn read(&mut self, name: &[u8]) -> Result<&[u8], Reason> {
        let name = Path::new(std::str::from_utf8(name).map_err(|_| Reason::BodyFile)?);
        let path = self.folder.as_deref().map_or_else(|| name.to_owned(), |f| f.join(name));
        if self.last.as_ref().is_none_or(|(p, _)| *p != path) {
            let fits = |m: std::fs::Metadata| m.is_file() && m.len() <= MAX_RECORD_BYTES as u64;
            if !path.metadata().is_ok_and(fits) {
                return Err(Reason::BodyFile);
            }
            let content = std::fs::read(&path).map_err(|_| Reason::BodyFile)?;
            self.last = Some((path, content));
        }
        self.last.as_ref().map(|(_, content)| &content[..]).ok_or(Reason::BodyFile)
    }
}

/// Appends the bytes that a Base64 text (RFC 4648 section 4, padding as it likes) stands for.
fn push_base64(text: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    use base64::Engine as _;
    use base64::alphabet::STANDARD;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    LENIENT.decode_vec(text, out).map_err(|_| Reason::BadBody)
}
