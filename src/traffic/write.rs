//! Writing requests to a file, so that a large recording is prepared once.
//!
//! The file appears whole or not at all: it is written under another name beside its place.
//!
//! Must not: replace a file unasked; leave a part of one behind.

use super::error::shown_path;
use super::notation::{Notation, PARTS, Pen};
use crate::model::Request;
use flate2::write::GzEncoder;
use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use thiserror::Error;

/// Bytes that are handed on at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Why requests cannot be written. Each message is one line: where, what, what to do.
#[derive(Debug, Error)]
pub enum WriteError {
    /// There is such a file.
    #[error("{path}: exists already; give another name, or --overwrite to replace it")]
    Exists {
        /// The file.
        path: String,
    },
    /// What is there is no file that could be replaced.
    #[error("{path}: is no regular file; name a file, or - for standard output")]
    NotAFile {
        /// What is there.
        path: String,
    },
    /// There is no folder to put it in.
    #[error("{path}: there is no folder {folder}; create it (mkdir -p)")]
    NoFolder {
        /// The file.
        path: String,
        /// The folder.
        folder: String,
    },
    /// The name asks for a compression that is not written here.
    #[error("{path}: {ending} is not written here; use .gz, .zst or neither")]
    Compression {
        /// The file.
        path: String,
        /// The end of its name.
        ending: &'static str,
    },
    /// The system refused.
    #[error("{path}: cannot be written: {why}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        why: String,
    },
    /// Who was to read standard output has gone.
    #[error("-: nobody reads standard output any more")]
    ReaderGone,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Name of the notation.
    pub notation: &'static str,
    /// Requests in it.
    pub requests: u64,
    /// Its size, bytes; compressed if it is.
    pub bytes: u64,
    /// Requests that are not in it, by the reason.
    pub left_out: Vec<(&'static str, u64)>,
    /// Parts of requests that are not in it: which, and in how many requests.
    pub lost: Vec<(&'static str, u64)>,
}

/// Writes requests to a file or to standard output.
pub struct Writer {
    notation: &'static Notation,
    path: PathBuf,
    overwrite: bool,
    /// The file under its other name; none on standard output.
    file: Option<NamedTempFile>,
    out: Encoder,
    pen: Pen,
    written: Written,
}

/// The way to the file.
enum Encoder {
    Plain(BufWriter<Counted>),
    Gzip(Box<GzEncoder<BufWriter<Counted>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, BufWriter<Counted>>>),
}

/// Counts what goes through.
struct Counted {
    to: Box<dyn Write + Send>,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.to.write(buf)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Encoder {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Plain(w) => w.write_all(bytes),
            Encoder::Gzip(w) => w.write_all(bytes),
            Encoder::Zstd(w) => w.write_all(bytes),
        }
    }

    /// Ends the stream; how many bytes it came to.
    fn finish(self) -> io::Result<u64> {
        let mut out = match self {
            Encoder::Plain(w) => w,
            Encoder::Gzip(w) => w.finish()?,
            Encoder::Zstd(w) => w.finish()?,
        };
        out.flush()?;
        Ok(out.get_ref().bytes)
    }
}

impl Writer {
    /// Begins a file, or standard output for `-`. `.gz` and `.zst` at the end of the name compress.
    /// `default_host` stands in where a notation needs a host and a request has none.
    ///
    /// # Errors
    /// All of [`WriteError`] but `ReaderGone`; nothing is left behind.
    pub fn create(
        path: &Path,
        notation: &'static Notation,
        default_host: Option<String>,
        overwrite: bool,
    ) -> Result<Writer, WriteError> {
        let fail = |e: io::Error| WriteError::Io { path: shown_path(path), why: e.to_string() };
        let name = path.to_string_lossy().to_lowercase();
        if let Some(ending) = [".xz", ".bz2", ".zip", ".lz4", ".br"].into_iter().find(|e| name.ends_with(e)) {
            return Err(WriteError::Compression { path: shown_path(path), ending });
        }
        let is_stdout = path.as_os_str() == "-";
        let mut place = path.to_owned();
        if !is_stdout && let Ok(there) = std::fs::metadata(path) {
            if !there.is_file() {
                return Err(WriteError::NotAFile { path: shown_path(path) });
            }
            if !overwrite {
                return Err(WriteError::Exists { path: shown_path(path) });
            }
            // What a link points to is replaced, not the link.
            place = std::fs::canonicalize(path).map_err(fail)?;
        }
        let (file, to): (_, Box<dyn Write + Send>) = if is_stdout {
            (None, Box::new(io::stdout()))
        } else {
            let folder = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() {
                return Err(WriteError::NoFolder { path: shown_path(path), folder: shown_path(folder) });
            }
            // As any new file: the umask takes from it.
            let file = tempfile::Builder::new()
                .prefix(".perfbench-")
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(folder)
                .map_err(fail)?;
            let to = file.reopen().map_err(fail)?;
            (Some(file), Box::new(to))
        };
        let to = BufWriter::with_capacity(CHUNK_BYTES, Counted { to, bytes: 0 });
        let out = if name.ends_with(".gz") {
            Encoder::Gzip(Box::new(GzEncoder::new(to, flate2::Compression::default())))
        } else if name.ends_with(".zst") {
            let mut zstd = zstd::stream::write::Encoder::new(to, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(fail)?;
            zstd.include_checksum(true).map_err(fail)?;
            Encoder::Zstd(Box::new(zstd))
        } else {
            Encoder::Plain(to)
        };
        let written = Written {
            path: path.to_owned(),
            notation: notation.name,
            requests: 0,
            bytes: 0,
            left_out: Vec::new(),
            lost: Vec::new(),
        };
        Ok(Writer { notation, path: place, overwrite, file, out, pen: Pen::new(default_host), written })
    }

    /// The file while it has its other name; whoever ends the program early removes it.
    pub fn unfinished(&self) -> Option<&Path> {
        self.file.as_ref().map(NamedTempFile::path)
    }

    /// Writes a request, or counts why it is not.
    ///
    /// # Errors
    /// `Io` and `ReaderGone`.
    pub fn write(&mut self, request: &Request) -> Result<(), WriteError> {
        match (self.notation.put)(&mut self.pen, request) {
            Ok(()) => self.written.requests += 1,
            Err(reason) => {
                count(&mut self.written.left_out, reason);
                return Ok(());
            }
        }
        for (part, name, has) in PARTS {
            if self.notation.lacks.contains(part) && has(request) {
                count(&mut self.written.lost, name);
            }
        }
        if self.pen.out.len() >= CHUNK_BYTES { self.hand_on() } else { Ok(()) }
    }

    fn hand_on(&mut self) -> Result<(), WriteError> {
        let done = self.out.write_all(&self.pen.out);
        self.pen.out.clear();
        done.map_err(|e| io_error(&self.path, &e))
    }

    /// Ends the file and puts it in its place.
    ///
    /// # Errors
    /// `Exists` when somebody else has made such a file meanwhile; `Io` and `ReaderGone`.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        self.hand_on()?;
        let fail = |e: io::Error| io_error(&self.path, &e);
        self.written.bytes = self.out.finish().map_err(fail)?;
        if let Some(file) = self.file {
            file.as_file().sync_all().map_err(fail)?;
            if self.overwrite {
                file.persist(&self.path).map_err(|e| fail(e.error))?;
            } else {
                file.persist_noclobber(&self.path).map_err(|e| match e.error.kind() {
                    io::ErrorKind::AlreadyExists => WriteError::Exists { path: shown_path(&self.path) },
                    _ => fail(e.error),
                })?;
            }
        }
        Ok(self.written)
    }
}

fn io_error(path: &Path, e: &io::Error) -> WriteError {
    match e.kind() {
        io::ErrorKind::BrokenPipe => WriteError::ReaderGone,
        _ => WriteError::Io { path: shown_path(path), why: e.to_string() },
    }
}

fn count(counts: &mut Vec<(&'static str, u64)>, name: &'static str) {
    match counts.iter_mut().find(|(n, _)| *n == name) {
        Some((_, n)) => *n += 1,
        None => counts.push((name, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::NOTATIONS;
    use super::super::reader::Reader;
    use super::*;
    use std::io::Read as _;

    fn write(path: &Path, overwrite: bool, requests: usize) -> Result<Written, WriteError> {
        let mut w = Writer::create(path, &NOTATIONS[0], None, overwrite)?;
        (0..requests).try_for_each(|_| w.write(&Reader::blank()))?;
        w.finish()
    }

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_is_whole_and_packed_as_its_name_says() {
        let folder = tempfile::tempdir().unwrap();
        let texts = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"].map(|name| {
            let path = folder.path().join(name);
            let written = write(&path, false, 5000).unwrap();
            assert_eq!((written.requests, written.bytes), (5000, std::fs::metadata(&path).unwrap().len()));
            let file = std::fs::File::open(&path).unwrap();
            let mut text = String::new();
            match name.rsplit('.').next() {
                Some("gz") => flate2::read::GzDecoder::new(file).read_to_string(&mut text),
                Some("zst") => zstd::stream::read::Decoder::new(file).unwrap().read_to_string(&mut text),
                _ => (&file).read_to_string(&mut text),
            }
            .unwrap();
            text
        });
        assert!(texts[0].lines().count() == 5000 && texts.iter().all(|t| *t == texts[0]));
        assert_eq!(files(folder.path()), 3);
    }

    #[test]
    fn nothing_is_replaced_unasked_and_nothing_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        drop(Writer::create(&path, &NOTATIONS[0], None, false).unwrap());
        assert_eq!(files(folder.path()), 0);
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(write(&path, false, 1), Err(WriteError::Exists { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        assert_eq!(write(&path, true, 1).unwrap().requests, 1);
        assert!(matches!(write(folder.path(), true, 1), Err(WriteError::NotAFile { .. })));
        assert!(matches!(write(&folder.path().join("a.xz"), true, 1), Err(WriteError::Compression { .. })));
        assert!(matches!(write(&folder.path().join("no/a"), true, 1), Err(WriteError::NoFolder { .. })));
        // Made by somebody else while it was written.
        let late = folder.path().join("late");
        let mut w = Writer::create(&late, &NOTATIONS[0], None, false).unwrap();
        w.write(&Reader::blank()).unwrap();
        std::fs::write(&late, "theirs").unwrap();
        assert!(matches!(w.finish(), Err(WriteError::Exists { .. })));
        assert_eq!((std::fs::read(&late).unwrap(), files(folder.path())), (b"theirs".to_vec(), 2));
    }

    #[test]
    fn what_a_notation_has_no_place_for_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let uri = NOTATIONS.iter().find(|n| n.name == "uri").unwrap();
        let mut w = Writer::create(&folder.path().join("a"), uri, None, false).unwrap();
        let mut r = Reader::blank();
        w.write(&r).unwrap();
        r.recorded_status = Some(200);
        w.write(&r).unwrap();
        r.method = crate::model::Method::Head;
        w.write(&r).unwrap();
        let written = w.finish().unwrap();
        assert_eq!((written.requests, written.left_out), (2, vec![("methods but GET", 1)]));
        assert_eq!(written.lost, [("times", 2), ("recorded statuses", 1)]);
    }
}
