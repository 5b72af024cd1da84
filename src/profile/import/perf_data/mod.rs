//! perf's own recording: read here, and by perf only where that is not possible exactly.
//!
//! ```text
//! header    which events, how laid out     layout   samples by their type
//! order     records in order of time       tasks    who had what mapped then
//! read      all of it -> sites             names    sites -> frames
//! stacks    the whole as events            recorded_file  the very file that was mapped
//! features  what stands at the end         through_perf   `perf script`, with the reason why
//! ```
//!
//! Which of the two it was, and why it was perf, is the first note of what was read.
//!
//! Must not: take names from a file that is not the one that was recorded.

mod bytes;
mod features;
mod header;
mod layout;
mod names;
mod order;
mod read;
mod recorded_file;
mod stacks;
mod tasks;
mod through_perf;

use super::{Head, Imported, Importer, Input, Obstacle};

/// See the top of the file.
pub(super) struct PerfData;

/// Why a recording is not read on here.
#[derive(Debug)]
enum Stop {
    /// It is not as its format has it.
    Wrong(Obstacle),
    /// It is perf's to read: why.
    Perf(String),
}

impl Stop {
    fn wrong(what: impl AsRef<str>) -> Stop {
        Stop::Wrong(super::wrong(what))
    }

    fn perf(why: impl Into<String>) -> Stop {
        Stop::Perf(why.into())
    }

    fn cut(place: impl AsRef<str>) -> Stop {
        Stop::wrong(format!("it ends in the middle, {}: it was cut off", place.as_ref()))
    }
}

impl Importer for PerfData {
    fn name(&self) -> &'static str {
        "perf-data"
    }

    fn about(&self) -> &'static str {
        "recording of `perf record` (perf.data); what can't be read here goes through `perf script`"
    }

    fn recognises(&self, head: &Head<'_>) -> Option<String> {
        // tools/perf/util/header.c: the magic of version 2, in either order of bytes.
        let magic = [&b"PERFILE2"[..], b"2ELIFREP", b"PERFFILE"];
        magic.iter().any(|m| head.bytes.starts_with(m)).then(|| "it begins as perf.data does".to_owned())
    }

    fn read(&self, input: Input) -> Result<Imported, Obstacle> {
        let path = input.path().map(std::path::Path::to_owned);
        match read::read(input).and_then(stacks::named) {
            Ok(imported) => Ok(imported),
            Err(Stop::Wrong(wrong)) => Err(wrong),
            Err(Stop::Perf(why)) => {
                let mut imported = through_perf::read(path.as_deref(), &why)?;
                imported.notes.insert(0, format!("read through perf script, since {why}"));
                Ok(imported)
            }
        }
    }
}

#[cfg(test)]
mod tests;
