//! Why recorded traffic cannot be used at all. What is wrong with single lines is a
//! [`super::Reason`] and ends nothing.
//!
//! Must not: carry text from a file that `model::clean` has not been through.

use crate::model::clean;
use std::io;
use std::path::Path;
use thiserror::Error;

/// Why recorded traffic cannot be used. Each message is one line: where, what, what to do.
#[derive(Debug, Error)]
pub enum TrafficError {
    /// No file was given.
    #[error("no recording given; name a log file, or - for standard input")]
    NoFiles,
    /// Standard input was named more than once.
    #[error("-: standard input can be read only once; name it once")]
    StdinTwice,
    /// The file does not exist.
    #[error("{path}: no such file; check the name")]
    Missing {
        /// The file.
        path: String,
    },
    /// It is a directory.
    #[error("{path}: is a directory; name the log files in it, as in {path}/*.log")]
    Directory {
        /// The directory.
        path: String,
    },
    /// It could not be opened or read.
    #[error("{path}: cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        why: String,
    },
    /// It is compressed in a way that is not read here.
    #[error("{path}: is {kind}-compressed, which is not read here; use `{command} {path} | perfbench ... --replay -`")]
    Compression {
        /// The file.
        path: String,
        /// The compression.
        kind: &'static str,
        /// What decompresses it to standard output.
        command: &'static str,
    },
    /// Its compressed content breaks off or is damaged before the first whole line.
    #[error("{path}: damaged {kind} data before the first whole line ({why}); test it with `{command} {path}`")]
    Damaged {
        /// The file.
        path: String,
        /// The compression.
        kind: &'static str,
        /// What the decoder said.
        why: String,
        /// What tests such a file.
        command: &'static str,
    },
    /// There is not one line in it.
    #[error("{paths}: empty; there is nothing to replay")]
    Empty {
        /// The files.
        paths: String,
    },
    /// No format has this name.
    #[error("no log format is called '{name}'; known: {known}; or give a pattern with --log-format")]
    UnknownFormat {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A pattern of `$variables` cannot be compiled.
    #[error("log format pattern: {why}")]
    Pattern {
        /// What is wrong with it, and where.
        why: String,
    },
    /// A field of JSON lines is none, or its key is none.
    #[error("field of JSON lines: {why}")]
    Field {
        /// What is wrong with it.
        why: String,
    },
    /// None of the first lines is in any of the formats.
    #[error(
        "{path}: none of the first {looked_at} lines is in a known format (tried: {tried}); the first line: {line}"
    )]
    NoFormat {
        /// The file.
        path: String,
        /// How many lines were looked at.
        looked_at: u64,
        /// Names of the formats tried.
        tried: String,
        /// The first line, cleaned and cut.
        line: String,
    },
    /// The recording was read to its end and held no request.
    #[error(
        "{paths}: not one request in {lines} lines, skipped are {reasons}; the first line: {line} (format: {formats}){mend}"
    )]
    NoRequest {
        /// The files.
        paths: String,
        /// How many lines were read.
        lines: u64,
        /// The formats chosen, and those they were chosen from.
        formats: String,
        /// What would have some replayed, if that is known.
        mend: &'static str,
        /// Why lines were skipped, most frequent first.
        reasons: String,
        /// The first line, cleaned and cut.
        line: String,
    },
    /// It came from a pipe and cannot be read a second time.
    #[error("{path}: a pipe cannot be read again; save it to a file to repeat it")]
    CannotReopen {
        /// What cannot be read again.
        path: String,
    },
}

impl TrafficError {
    /// The error of opening or reading `path`.
    pub(super) fn from_io(path: &Path, e: &io::Error) -> TrafficError {
        let path = shown_path(path);
        match e.kind() {
            io::ErrorKind::NotFound => TrafficError::Missing { path },
            io::ErrorKind::IsADirectory => TrafficError::Directory { path },
            _ => TrafficError::Unreadable { path, why: e.to_string() },
        }
    }
}

/// A path as messages show it.
pub(super) fn shown_path(path: &Path) -> String {
    clean(&path.to_string_lossy(), 200)
}

/// A line of a recording as messages show it: up to the first word behind which secrets stand.
pub(super) fn shown_line(line: &[u8]) -> String {
    const SECRET: [&str; 5] = ["authorization", "cookie", " -u", " --user", " -b"];
    // Cut before decoding: a line may be 64 KiB long and only its head is shown.
    let head = &line[..line.len().min(600)];
    let lower = head.to_ascii_lowercase();
    let ends = SECRET.iter().filter_map(|s| Some(memchr::memmem::find(&lower, s.as_bytes())? + s.len()));
    match ends.min() {
        Some(end) => clean(&String::from_utf8_lossy(&head[..end]), 110) + " …",
        None => clean(&String::from_utf8_lossy(head), 120),
    }
}
