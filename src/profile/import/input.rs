//! The bytes of a profile: a file or standard input, plain or packed, told apart by their first
//! bytes, and never more of them than a bound.
//!
//! Must not: know what the bytes mean.

use super::{Obstacle, wrong};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

/// Bytes that are looked at to guess a format.
const HEAD: u64 = 64 << 10;
/// Unpacked bytes of a format that is read whole. The largest real ones are a tenth of it.
const WHOLE: u64 = 256 << 20;
/// Unpacked bytes of a format that is read line by line.
const LINES: u64 = 16 << 30;
/// Bytes of a line that are read; the rest of a longer one is passed over.
const LINE: u64 = 1 << 20;

/// The beginning of a profile, unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Whether there are no more.
    pub whole: bool,
}

impl Head<'_> {
    /// Its first lines; one that may go on is not among them.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let end = match memchr::memrchr(b'\n', self.bytes) {
            _ if self.whole => self.bytes.len(),
            Some(last) => last,
            None => 0,
        };
        self.bytes[..end].split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l))
    }
}

/// A profile that can be read once.
pub struct Input {
    name: String,
    path: Option<PathBuf>,
    head: Vec<u8>,
    ended: bool,
    rest: Box<dyn Read + Send>,
    /// What was met while the head was read.
    error: Option<io::Error>,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Input {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// When it can't be read, in one line.
    pub fn open(path: &Path) -> Result<Input, Obstacle> {
        if path.as_os_str() == "-" {
            return Input::new("stdin".into(), None, Box::new(io::stdin()));
        }
        let name = crate::model::clean(&path.display().to_string(), 300);
        let unreadable = |e: &io::Error| wrong(format!("{name} can't be read: {e}"));
        let file = File::open(path).map_err(|e| unreadable(&e))?;
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(wrong(format!("{name} is a folder: give a file")));
        }
        Input::new(name.clone(), Some(path.to_owned()), Box::new(file))
    }

    /// Bytes that are there already, under a name for messages.
    ///
    /// # Errors
    /// When they are packed in a way that is not understood.
    pub fn of_bytes(name: &str, bytes: Vec<u8>) -> Result<Input, Obstacle> {
        Input::new(crate::model::clean(name, 300), None, Box::new(Cursor::new(bytes)))
    }

    fn new(name: String, path: Option<PathBuf>, mut raw: Box<dyn Read + Send>) -> Result<Input, Obstacle> {
        let mut magic = Vec::with_capacity(8);
        raw.by_ref().take(8).read_to_end(&mut magic).map_err(|e| wrong(format!("{name} can't be read: {e}")))?;
        // gzip: RFC 1952 section 2.3.1; zstd: RFC 8878 section 3.1.
        let kind = match magic[..] {
            [0x1f, 0x8b, ..] => "gzip",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
            _ => "",
        };
        let whole = Cursor::new(magic).chain(raw);
        let mut bytes: Box<dyn Read + Send> = match kind {
            "gzip" => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(64 << 10, whole))),
            "zstd" => {
                let unpacked = zstd::stream::read::Decoder::new(whole);
                Box::new(unpacked.map_err(|e| wrong(format!("{name} can't be unpacked: {e}")))?)
            }
            _ => Box::new(whole),
        };
        let mut head = Vec::new();
        let read = bytes.by_ref().take(HEAD).read_to_end(&mut head);
        let error = read.err();
        let ended = error.is_none() && (head.len() as u64) < HEAD;
        Ok(Input { name, path, head, ended, rest: bytes, error })
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, unless it came another way.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Its beginning.
    pub fn head(&self) -> Head<'_> {
        Head { bytes: &self.head, whole: self.ended }
    }

    /// All of it.
    ///
    /// # Errors
    /// When it is damaged, or more than is read whole.
    pub(super) fn whole(self) -> Result<Vec<u8>, Obstacle> {
        if let Some(e) = self.error {
            return Err(cut(&e));
        }
        let mut bytes = self.head;
        self.rest.take(WHOLE + 1 - bytes.len() as u64).read_to_end(&mut bytes).map_err(|e| cut(&e))?;
        if bytes.len() as u64 > WHOLE {
            return Err(wrong(format!("it is more than {} MB unpacked, which is no profile", WHOLE >> 20)));
        }
        Ok(bytes)
    }

    /// All of it in order, never more than is read by the line.
    ///
    /// # Errors
    /// When its beginning could not be read.
    pub(super) fn stream(self) -> Result<Box<dyn BufRead>, Obstacle> {
        if let Some(e) = self.error {
            return Err(cut(&e));
        }
        Ok(Box::new(BufReader::with_capacity(256 << 10, Cursor::new(self.head).chain(self.rest).take(LINES))))
    }

    /// Its lines.
    pub(super) fn lines(self) -> Lines {
        let rest: Box<dyn Read + Send> = match self.error {
            None => self.rest,
            Some(_) => Box::new(io::empty()),
        };
        let from = BufReader::with_capacity(64 << 10, Cursor::new(self.head).chain(rest).take(LINES));
        Lines { from: Box::new(from), line: Vec::new(), read: 0, error: self.error }
    }
}

pub(super) fn cut(e: &io::Error) -> Obstacle {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => wrong("it ends in the middle: it was cut off"),
        _ => wrong(format!("it can't be unpacked: {e}")),
    }
}

/// Lines of a text, one at a time.
pub(super) struct Lines {
    from: Box<dyn BufRead>,
    line: Vec<u8>,
    read: u64,
    error: Option<io::Error>,
}

impl Lines {
    /// Lines of whatever is read from.
    pub(super) fn of(from: impl BufRead + 'static) -> Lines {
        Lines { from: Box::new(from), line: Vec::new(), read: 0, error: None }
    }

    /// The next line without its end; `None` at the end of the text. Of a line without end its
    /// first 1 MiB.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Obstacle> {
        self.line.clear();
        let n = self.from.by_ref().take(LINE).read_until(b'\n', &mut self.line).map_err(|e| cut(&e))?;
        self.read += n as u64;
        if n == 0 {
            return match self.error.take() {
                Some(e) => Err(cut(&e)),
                None if self.read >= LINES => Err(wrong("it is more than 16 GB unpacked, which is no profile")),
                None => Ok(None),
            };
        }
        if !self.line.ends_with(b"\n") && n as u64 == LINE {
            loop {
                let rest = self.from.fill_buf().map_err(|e| cut(&e))?;
                let end = memchr::memchr(b'\n', rest);
                let n = end.map_or(rest.len(), |e| e + 1);
                self.from.consume(n);
                self.read += n as u64;
                if end.is_some() || n == 0 {
                    break;
                }
            }
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }
}
