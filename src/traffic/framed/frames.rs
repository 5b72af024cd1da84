//! The text of a framed recording: a window over a stream that grows to the size of one record and
//! no further.
//!
//! Must not: know what a record is.

use super::super::input::Compression;
use std::io::{self, Read};

/// Longest record that is looked at, bytes.
pub(in crate::traffic) const MAX_RECORD_BYTES: usize = 16 << 20;

/// Size of the window as long as records are small, bytes.
const FIRST_BYTES: usize = 128 << 10;

/// What [`Frames::fill`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::traffic) enum Filled {
    /// There is more text.
    Read,
    /// The window is as large as it may be, and full.
    Full,
    /// The stream is at its end.
    End,
    /// Reading failed here, and goes no further.
    Broken,
}

/// A window over the text of one recording.
pub(in crate::traffic) struct Frames {
    stream: Box<dyn Read + Send>,
    compression: Compression,
    buffer: Vec<u8>,
    /// What is read and not yet consumed: `buffer[start..end]`.
    start: usize,
    end: usize,
    ended: bool,
    begun: bool,
    line: u64,
    /// Whether a record's end has to be searched for.
    pub(in crate::traffic) lost: bool,
    /// Records met so far, good and bad.
    pub(in crate::traffic) records: u64,
}

impl Frames {
    /// A window at the start of `stream`.
    pub(in crate::traffic) fn new(stream: Box<dyn Read + Send>, compression: Compression) -> Frames {
        let buffer = vec![0; FIRST_BYTES];
        Frames {
            stream,
            compression,
            buffer,
            start: 0,
            end: 0,
            ended: false,
            begun: false,
            line: 1,
            lost: false,
            records: 0,
        }
    }

    /// What lies before us, and whether nothing follows it.
    pub(in crate::traffic) fn text(&self) -> (&[u8], bool) {
        (&self.buffer[self.start..self.end], self.ended)
    }

    /// Number of the line that the text begins on, from 1.
    pub(in crate::traffic) fn line(&self) -> u64 {
        self.line
    }

    /// Whether it is decompressed on the way.
    pub(in crate::traffic) fn is_compressed(&self) -> bool {
        self.compression != Compression::Plain
    }

    /// Passes over the first `n` bytes of the text.
    pub(in crate::traffic) fn consume(&mut self, n: usize) {
        let to = (self.start + n).min(self.end);
        self.line += memchr::memchr_iter(b'\n', &self.buffer[self.start..to]).count() as u64;
        self.start = to;
    }

    /// Reads on.
    pub(in crate::traffic) fn fill(&mut self) -> Filled {
        if self.ended {
            return Filled::End;
        }
        let held = self.end - self.start;
        if held == self.buffer.len() {
            if held >= MAX_RECORD_BYTES {
                return Filled::Full;
            }
            self.buffer.resize((held * 2).min(MAX_RECORD_BYTES), 0);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
        }
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    return Filled::End;
                }
                Ok(n) => {
                    self.end += n;
                    // A byte order mark may come in pieces; no record is that short.
                    if !self.begun && self.end >= 3 {
                        self.begun = true;
                        self.start = if self.buffer.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
                    }
                    return Filled::Read;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // What is cut short by the damage is worth nothing.
                    (self.start, self.end, self.ended) = (0, 0, true);
                    return Filled::Broken;
                }
            }
        }
    }
}
