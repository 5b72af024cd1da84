//! Where lines come from: files, standard input, plain or compressed, told apart by their
//! first bytes and never by their names.
//!
//! Must not: hold a line longer than the format's longest ([`MAX_LINE_BYTES`] in a log), or know what
//! a line means.

use super::error::{TrafficError, shown_path};
use super::framed::{Frames, MAX_RECORD_BYTES};
use memchr::{memchr, memchr2};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

/// Longest line of a log that is looked at; nginx and Apache bound a request line at 8 KiB each.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// Bytes and lines that are looked at to guess a format.
const SNIFF_BYTES: usize = 256 << 10;
const SNIFF_LINES: usize = 200;

/// One recording.
pub enum Source {
    /// A file; only while it is being read is it kept open.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// Bytes that come with the program.
    Bytes {
        /// What messages call it.
        name: &'static str,
        /// The content, plain or compressed.
        bytes: &'static [u8],
    },
    /// Anything else that can be read once.
    Stream {
        /// What messages call it.
        name: String,
        /// The content, plain or compressed.
        stream: Box<dyn Read + Send>,
    },
}

impl Source {
    /// What a user's argument names: `-` is standard input, everything else a file.
    pub fn named(path: &Path) -> Source {
        if path.as_os_str() == "-" { Source::Stdin } else { Source::File(path.to_owned()) }
    }

    /// What messages call it.
    pub fn name(&self) -> String {
        match self {
            Source::File(path) => shown_path(path),
            Source::Stdin => "stdin".to_owned(),
            Source::Bytes { name, .. } => (*name).to_owned(),
            Source::Stream { name, .. } => shown_path(Path::new(name)),
        }
    }

    /// Whether it can be opened more than once: a regular file or bytes of our own. A FIFO,
    /// as the shell's `<(...)` makes, cannot.
    pub fn can_reopen(&self) -> bool {
        match self {
            Source::File(path) => path.metadata().is_ok_and(|m| m.is_file()),
            Source::Bytes { .. } => true,
            Source::Stdin | Source::Stream { .. } => false,
        }
    }

    /// The folder that it lies in, for what it refers to; of standard input the current one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Source::File(path) => path.parent(),
            Source::Stdin | Source::Bytes { .. } | Source::Stream { .. } => None,
        }
    }

    /// Starts to read it from its beginning. A [`Source::Stream`] is empty the second time.
    pub(super) fn open(&mut self) -> Result<Opened, TrafficError> {
        let path = self.name();
        let raw: Box<dyn Read + Send> = match self {
            Source::File(file_path) => {
                let file = File::open(&*file_path).map_err(|e| TrafficError::from_io(file_path, &e))?;
                if file.metadata().is_ok_and(|m| m.is_dir()) {
                    return Err(TrafficError::Directory { path });
                }
                Box::new(file)
            }
            Source::Stdin => Box::new(io::stdin()),
            Source::Bytes { bytes, .. } => Box::new(*bytes),
            Source::Stream { stream, .. } => std::mem::replace(stream, Box::new(io::empty())),
        };
        Opened::new(path, raw)
    }
}

/// A compression, told by the first bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

/// Decompressed bytes of one recording.
pub(super) struct Opened {
    path: String,
    compression: Compression,
    bytes: Box<dyn Read + Send>,
}

impl Opened {
    fn new(path: String, mut raw: Box<dyn Read + Send>) -> Result<Opened, TrafficError> {
        let mut magic = Vec::with_capacity(8);
        let unreadable = |e: io::Error| TrafficError::from_io(Path::new(&path), &e);
        // A pipe may give its first bytes one by one; `take` reads until it has them.
        raw.by_ref().take(8).read_to_end(&mut magic).map_err(unreadable)?;
        // gzip: RFC 1952 section 2.3.1. zstd, and its skippable frames: RFC 8878 section 3.1.
        let compression = match magic[..] {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                return Err(TrafficError::Compression { path, kind: "xz", command: "xz -dc" });
            }
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => {
                return Err(TrafficError::Compression { path, kind: "bzip2", command: "bzip2 -dc" });
            }
            [b'P', b'K', 3, 4, ..] => {
                return Err(TrafficError::Compression { path, kind: "zip", command: "unzip -p" });
            }
            _ => Compression::Plain,
        };
        let whole = Cursor::new(magic).chain(raw);
        let bytes: Box<dyn Read + Send> = match compression {
            Compression::Plain => Box::new(whole),
            Compression::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, whole)))
            }
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(whole).map_err(unreadable)?),
        };
        Ok(Opened { path, compression, bytes })
    }

    /// Reads the first lines for a guess. [`Sniffed::into_lines`] gives the whole again.
    pub(super) fn sniff(self) -> Result<Sniffed, TrafficError> {
        let mut sniffed = Sniffed { opened: self, head: Vec::new(), newlines: 0, ended: false, error: None };
        sniffed.read(SNIFF_BYTES, SNIFF_LINES);
        if let Some(e) = &sniffed.error
            && sniffed.newlines == 0
        {
            let (path, why) = (sniffed.opened.path, e.to_string());
            return Err(match sniffed.opened.compression {
                Compression::Plain => TrafficError::from_io(Path::new(&path), e),
                Compression::Gzip => TrafficError::Damaged { path, kind: "gzip", why, command: "gzip -t" },
                Compression::Zstd => TrafficError::Damaged { path, kind: "zstd", why, command: "zstd -t" },
            });
        }
        Ok(sniffed)
    }

    /// Its lines; those longer than `longest` bytes are passed over.
    pub(super) fn into_lines(self, longest: usize) -> Lines {
        Lines::new(self.bytes, self.compression, longest)
    }

    /// Its text, for records that are not lines.
    pub(super) fn into_frames(self) -> Frames {
        Frames::new(self.bytes, self.compression)
    }
}

/// The beginning of a recording, read.
pub(super) struct Sniffed {
    opened: Opened,
    head: Vec<u8>,
    newlines: usize,
    ended: bool,
    error: Option<io::Error>,
}

impl Sniffed {
    /// Reads on until there are `most` bytes or `most_lines` lines.
    fn read(&mut self, most: usize, most_lines: usize) {
        let mut piece = vec![0; 32 << 10];
        while self.newlines <= most_lines && self.head.len() < most && !self.ended && self.error.is_none() {
            match self.opened.bytes.read(&mut piece) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    self.newlines += memchr::memchr_iter(b'\n', &piece[..n]).count();
                    self.head.extend_from_slice(&piece[..n]);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => self.error = Some(e),
            }
        }
    }

    /// Reads enough for a first record of any size. Whether there was more, or it is known now that
    /// there is none: then a last line without a newline is whole.
    pub(super) fn read_more(&mut self) -> bool {
        let before = (self.head.len(), self.ended);
        self.read(MAX_RECORD_BYTES, usize::MAX);
        (self.head.len(), self.ended) != before
    }

    /// The text so far, and whether it is all there is.
    pub(super) fn head(&self) -> (&[u8], bool) {
        (&self.head, self.ended)
    }

    /// The first non-empty lines; one that may go on after what was read is not among them.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let whole = match memchr::memrchr(b'\n', &self.head) {
            _ if self.ended => &self.head[..],
            Some(last) => &self.head[..last],
            None => &[],
        };
        without_bom(whole).split(|b| *b == b'\n').map(without_cr).filter(|l| !l.is_empty()).take(SNIFF_LINES)
    }

    /// All lines from the first one on, for what cannot be opened again.
    pub(super) fn into_lines(self, longest: usize) -> Lines {
        self.whole().into_lines(longest)
    }

    /// The same for records that are not lines.
    pub(super) fn into_frames(self) -> Frames {
        self.whole().into_frames()
    }

    fn whole(self) -> Opened {
        let rest: Box<dyn Read + Send> = match self.error {
            None => self.opened.bytes,
            Some(e) => Box::new(Failing(Some(e))),
        };
        Opened { bytes: Box::new(Cursor::new(self.head).chain(rest)), ..self.opened }
    }
}

/// Gives back the error that the sniffer met, at the place where it met it.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What [`Lines::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line without its end.
    Line {
        /// The line.
        bytes: &'a [u8],
        /// False for a last line that no newline ends: it may be cut short.
        whole: bool,
        /// Whether a backslash is in it: most lines have none, and are read without looking for one again.
        escaped: bool,
    },
    /// A line that is too long; it was passed over.
    TooLong,
    /// Reading failed here, and goes no further.
    Broken,
    /// There are no more.
    End,
}

/// What is known of a line before it is looked at.
struct Shape {
    whole: bool,
    too_long: bool,
    escaped: bool,
}

/// Lines of bounded length out of a stream, in one buffer that grows to the longest of them.
pub(super) struct Lines {
    stream: Box<dyn Read + Send>,
    compression: Compression,
    buffer: Vec<u8>,
    longest: usize,
    /// What is read and not yet handed out: `buffer[start..end]`.
    start: usize,
    end: usize,
    ended: bool,
    number: u64,
}

impl Lines {
    fn new(stream: Box<dyn Read + Send>, compression: Compression, longest: usize) -> Lines {
        let buffer = vec![0; 2 * MAX_LINE_BYTES];
        Lines { stream, compression, buffer, longest, start: 0, end: 0, ended: false, number: 0 }
    }

    /// Number of the line handed out last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is decompressed on the way.
    pub(super) fn is_compressed(&self) -> bool {
        self.compression != Compression::Plain
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Next<'_> {
        // Most lines lie in the buffer whole and hold no backslash.
        let rest = &self.buffer[self.start..self.end];
        match memchr2(b'\n', b'\\', rest) {
            Some(i) if rest[i] == b'\n' && self.number > 0 && i <= self.longest => {
                let from = self.start;
                self.start += i + 1;
                self.number += 1;
                let bytes = without_cr(&self.buffer[from..from + i]);
                Next::Line { bytes, whole: true, escaped: false }
            }
            _ => self.next_of_any(),
        }
    }

    /// The same, whatever it is.
    fn next_of_any(&mut self) -> Next<'_> {
        let mut searched = 0;
        let (mut too_long, mut escaped) = (false, false);
        loop {
            let rest = &self.buffer[self.start + searched..self.end];
            let found = if escaped { memchr(b'\n', rest) } else { memchr2(b'\n', b'\\', rest) };
            if let Some(i) = found {
                if rest[i] == b'\\' {
                    escaped = true;
                    searched += i + 1;
                    continue;
                }
                let (from, to) = (self.start, self.start + searched + i);
                self.start = to + 1;
                return self.line(from, to, Shape { whole: true, too_long, escaped });
            }
            if self.end - self.start > self.longest {
                // Forgotten as it is read, so that a file without newlines costs no memory.
                too_long = true;
                self.start = self.end;
            }
            searched = self.end - self.start;
            if self.ended {
                if searched == 0 && !too_long {
                    return Next::End;
                }
                let (from, to) = (self.start, self.end);
                self.start = self.end;
                return self.line(from, to, Shape { whole: false, too_long, escaped });
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, searched);
            if self.end == self.buffer.len() {
                self.buffer.resize((2 * searched).min(self.longest + MAX_LINE_BYTES), 0);
            }
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(n) => self.end += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // The torn line before the damage is worth nothing: it is the broken line.
                    (self.start, self.end, self.ended) = (0, 0, true);
                    self.number += 1;
                    return Next::Broken;
                }
            }
        }
    }

    fn line(&mut self, from: usize, to: usize, shape: Shape) -> Next<'_> {
        let Shape { whole, too_long, escaped } = shape;
        self.number += 1;
        let mut bytes = without_cr(&self.buffer[from..to]);
        if self.number == 1 {
            bytes = without_bom(bytes);
        }
        if too_long || bytes.len() > self.longest { Next::TooLong } else { Next::Line { bytes, whole, escaped } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// Gives its bytes in pieces of `step`, as a pipe may.
    struct Trickle(Vec<u8>, usize, usize);

    impl Read for Trickle {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.2.min(into.len()).min(self.0.len() - self.1);
            into[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
            self.1 += n;
            Ok(n)
        }
    }

    fn stream(bytes: &[u8], step: usize) -> Opened {
        Opened::new("x".into(), Box::new(Trickle(bytes.to_vec(), 0, step))).unwrap()
    }

    fn all(mut lines: Lines) -> Vec<String> {
        let mut out = Vec::new();
        loop {
            out.push(match lines.next() {
                Next::Line { bytes, whole, .. } => {
                    format!("{}{}", String::from_utf8_lossy(bytes), if whole { "" } else { "~" })
                }
                Next::TooLong => "TOO LONG".into(),
                Next::Broken => "BROKEN".into(),
                Next::End => return out,
            });
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut z = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        z.write_all(bytes).unwrap();
        z.finish().unwrap()
    }

    proptest! {
        #[test]
        fn a_line_is_known_to_hold_a_backslash_or_none(text in r"[a\\\n]{0,60}", step in 1usize..40) {
            let mut lines = stream(text.as_bytes(), step).into_lines(MAX_LINE_BYTES);
            while let Next::Line { bytes, escaped, .. } = lines.next() {
                prop_assert_eq!(escaped, bytes.contains(&b'\\'));
            }
        }
    }

    #[test]
    fn lines_are_the_same_however_they_are_packed_and_however_they_arrive() {
        let text = b"\xef\xbb\xbfone\r\n\ntwo\nthree";
        let mut two_members = gzip(&text[..9]);
        two_members.extend(gzip(&text[9..]));
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        for packed in [text.to_vec(), gzip(text), two_members, zstd] {
            for step in [1, 3, 1000] {
                let expected = ["one", "", "two", "three~"];
                assert_eq!(all(stream(&packed, step).into_lines(MAX_LINE_BYTES)), expected);
                let sniffed = stream(&packed, step).sniff().unwrap();
                assert_eq!(sniffed.lines().collect::<Vec<_>>(), [&b"one"[..], b"two", b"three"]);
                assert_eq!(all(sniffed.into_lines(MAX_LINE_BYTES)), expected);
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_without_being_held() {
        let mut text = b"a\n".to_vec();
        text.extend(vec![b'x'; MAX_LINE_BYTES]);
        text.extend(b"\n");
        text.extend(vec![b'y'; MAX_LINE_BYTES + 1]);
        text.extend(b"\nb\n");
        text.extend(vec![b'z'; 5 * MAX_LINE_BYTES]);
        let lines = all(stream(&text, 7777).into_lines(MAX_LINE_BYTES));
        assert_eq!(lines[1].len(), MAX_LINE_BYTES);
        assert_eq!((&*lines[0], &lines[2..]), ("a", &["TOO LONG".to_owned(), "b".into(), "TOO LONG".into()][..]));
    }

    #[test]
    fn a_last_line_behind_many_is_seen_in_whatever_pieces_it_comes() {
        let text = [vec![b'\n'; SNIFF_LINES + 50], b"last".to_vec()].concat();
        for step in [7, 100, 10_000] {
            let mut sniffed = stream(&text, step).sniff().unwrap();
            assert_eq!(sniffed.lines().count(), 0, "{step}");
            assert!(sniffed.read_more(), "{step}");
            assert_eq!(sniffed.lines().collect::<Vec<_>>(), [b"last"], "{step}");
            assert!(!sniffed.read_more(), "{step}");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_is_asked_for() {
        for (length, longest) in [(300_000, 300_000), (300_001, 300_000), (MAX_LINE_BYTES, MAX_LINE_BYTES)] {
            let text = [b"a\n".to_vec(), vec![b'x'; length], b"\nb\n".to_vec()].concat();
            let lines = all(stream(&text, 50_000).into_lines(longest));
            let long = if length > longest { "TOO LONG".to_owned() } else { "x".repeat(length) };
            assert!(lines == ["a".to_owned(), long, "b".to_owned()], "{length} {longest}");
        }
    }

    #[test]
    fn damage_after_good_lines_is_met_where_it_is() {
        let text: Vec<u8> =
            (0..20_000u32).flat_map(|i| format!("line {}\n", i.wrapping_mul(2654435761)).into_bytes()).collect();
        let mut packed = gzip(&text);
        packed.truncate(packed.len() / 2);
        let lines = all(stream(&packed, 4096).into_lines(MAX_LINE_BYTES));
        assert_eq!(lines.last().unwrap(), "BROKEN");
        assert!(lines.len() > 5000 && lines[0] == "line 0", "{} lines", lines.len());
        assert_eq!(all(stream(&packed, 4096).sniff().unwrap().into_lines(MAX_LINE_BYTES)), lines);

        let error = stream(&gzip(&text)[..12], 4096).sniff().err().unwrap().to_string();
        assert!(error.starts_with("x: damaged gzip data"), "{error}");
    }

    #[test]
    fn what_is_no_log_file_says_so_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let error = |p: &Path| Source::named(p).open().err().unwrap().to_string();
        assert!(error(&dir.path().join("none.log")).contains("no such file"));
        assert!(error(dir.path()).contains("is a directory"));
        let xz = dir.path().join("a.log");
        std::fs::write(&xz, b"\xfd7zXZ\0\0\0").unwrap();
        assert!(error(&xz).contains("xz -dc"));
        assert!(!error(&xz).contains('\n'));
    }

    proptest! {
        #[test]
        fn splitting_agrees_with_the_library_for_any_bytes(parts in prop::collection::vec("[a\r\n\\x00]{0,9}", 0..40), step in 1usize..50) {
            let text = parts.concat().into_bytes();
            let mut expected: Vec<Vec<u8>> = text.split(|b| *b == b'\n').map(|l| without_cr(l).to_vec()).collect();
            if text.is_empty() || text.ends_with(b"\n") { expected.pop(); }
            let mut lines = stream(&text, step).into_lines(MAX_LINE_BYTES);
            let mut got = Vec::new();
            while let Next::Line { bytes, .. } = lines.next() { got.push(bytes.to_vec()); }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(lines.next(), Next::End);
        }
    }
}
