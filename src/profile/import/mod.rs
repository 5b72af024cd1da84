//! Profiles that others took, read into stacks: one file and one row of [`IMPORTERS`] per format.
//!
//! The format is guessed from the content, never from the name of a file, and the guess says why.
//! Nothing in such a file can be trusted: every reader bounds what it unpacks and what it keeps,
//! and ends with one line on anything that is not as the format has it.
//!
//! Must not: know sessions, read a clock, or decide what a profile is shown as.

mod addresses;
mod fold;
mod folded;
mod input;
mod legacy;
mod perf_data;
mod pprof;
mod script;
mod speedscope;
mod subtract;

pub use input::{Head, Input};
pub use subtract::{MISSING, minus};

use super::Obstacle;
use crate::model::{Sample, Stacks};

/// A process or thread that a profile does not tell.
pub const UNKNOWN: u32 = u32::MAX;
/// Samples that are kept of one file at the most: 1.5 GB of them.
pub(super) const MOST_SAMPLES: usize = 20_000_000;

/// A format that can be read.
pub trait Importer: Sync {
    /// Its name, as `--format` takes it.
    fn name(&self) -> &'static str;

    /// What it is, for a list.
    fn about(&self) -> &'static str;

    /// By what the beginning of a file shows that it is of this format; `None` when it does not.
    fn recognises(&self, head: &Head<'_>) -> Option<String>;

    /// Reads it whole.
    ///
    /// # Errors
    /// What is wrong with it and where, in one line.
    fn read(&self, input: Input) -> Result<Imported, Obstacle>;
}

/// The formats, the surest signs first.
pub static IMPORTERS: &[&dyn Importer] = &[
    &perf_data::PerfData,
    &legacy::LegacyCpu,
    &speedscope::Speedscope,
    &pprof::Pprof,
    &script::PerfScript,
    &folded::Folded,
];

/// A profile that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// Its samples: of every sample type one batch or more, those of the default type first. Times
    /// count from the profile's own start; the capture is for the caller to number.
    pub stacks: Vec<Stacks>,
    /// How long it was taken, ns; 0 when nothing says so.
    pub length_ns: u64,
    /// Wall time of its start, ns since the Unix epoch, when the file says so.
    pub started_unix_ns: Option<i64>,
    /// CLOCK_MONOTONIC at its start, ns, when the file says so.
    pub monotonic_ns: Option<u64>,
    /// Samples per second, when the file says so.
    pub hz: Option<u32>,
    /// What it is of: the program's name, empty when unknown (untrusted).
    pub program: String,
    /// What the reader should know: what was left out, what could not be told.
    pub notes: Vec<String>,
}

impl Imported {
    /// Samples, of all types.
    pub fn samples(&self) -> u64 {
        self.stacks.iter().map(|s| s.samples.len() as u64).sum()
    }

    /// Samples that were lost when it was taken.
    pub fn lost(&self) -> u64 {
        self.stacks.iter().fold(0, |sum, s| sum.saturating_add(s.lost))
    }

    /// From the first sample to the last, ns, when the file gives no length.
    fn length_of(stacks: &[Stacks]) -> u64 {
        let at = |s: &Sample| s.at.0;
        stacks.iter().flat_map(|s| s.samples.iter().map(at)).max().unwrap_or(0)
    }
}

/// Which format a file was taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The format's name.
    pub format: &'static str,
    /// By what, in words.
    pub why: String,
}

/// Reads a profile of the format that was named, or else guessed.
///
/// # Errors
/// When it is of no format known, or not as its format has it.
pub fn import(input: Input, format: Option<&str>) -> Result<(Imported, Guess), Obstacle> {
    let (importer, why) = match format {
        Some(named) => (
            IMPORTERS.iter().find(|i| i.name() == named).ok_or_else(|| {
                let names: Vec<&str> = IMPORTERS.iter().map(|i| i.name()).collect();
                Obstacle::new(format!("there is no format `{named}`; there are {}", names.join(", ")), None)
            })?,
            "as --format says".to_owned(),
        ),
        None => {
            let head = input.head();
            let found = IMPORTERS.iter().find_map(|i| Some((i, i.recognises(&head)?)));
            found.ok_or_else(|| unknown(&input))?
        }
    };
    let guess = Guess { format: importer.name(), why: crate::model::clean(&why, 200) };
    let name = input.name().to_owned();
    let imported = importer.read(input).map_err(|o| Obstacle::new(format!("{name}: {}", o.what), o.mend))?;
    Ok((imported, guess))
}

fn unknown(input: &Input) -> Obstacle {
    let head = input.head();
    let name = input.name();
    if head.bytes.is_empty() {
        return Obstacle::new(format!("{name} is empty: there is no profile in it"), None);
    }
    let names: Vec<&str> = IMPORTERS.iter().map(|i| i.name()).collect();
    Obstacle::new(
        format!("{name} is no profile of a format known; give --format if it is one of {}", names.join(", ")),
        None,
    )
}

/// An obstacle without a mend.
fn wrong(what: impl AsRef<str>) -> Obstacle {
    Obstacle::new(what, None)
}

/// At most 4096 characters of a name; what is longer is no name.
fn name(bytes: &[u8]) -> String {
    const LONGEST: usize = 4096;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LONGEST)]);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// The last part of a path.
fn base_name(path: &str) -> &str {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    if path.starts_with('[') { path } else { path.rsplit('/').next().unwrap_or(path) }
}

#[cfg(test)]
mod tests;
