//! `perfbench traffic FILE...`: what recorded traffic holds, without sending anything; and the
//! same requests written to a file.
//!
//! Must not: open a socket.

use super::args::TrafficArgs;
use super::{Failure, failed, print, traffic_json, traffic_text, usage};
use crate::clock::Clock;
use crate::model::{At, TrafficCounts};
use crate::traffic::{
    Choice, Look, Missing, NOTATIONS, Options, Reader, Summary, TrafficError, WriteError, Writer, Written,
};
use crate::traffic::{formats, missing};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// Requests between two looks at the clock.
const PROGRESS_EVERY: u64 = 1 << 14;
/// Between two lines of progress, ns.
const REDRAW_EVERY_NS: u64 = 200_000_000;

/// What a look at recorded traffic has found.
pub(super) struct Found {
    pub(super) choices: Vec<Choice>,
    pub(super) counts: TrafficCounts,
    pub(super) summary: Summary,
    pub(super) look: Look,
    pub(super) missing: Vec<Missing>,
    /// The slice of time, ns since the Unix epoch.
    pub(super) slice: (Option<i64>, Option<i64>),
    pub(super) speed: f64,
    pub(super) written: Option<Written>,
}

/// Reads it all and prints what it holds.
pub(super) fn traffic(args: &TrafficArgs) -> Result<(), Failure> {
    if args.formats {
        let mut out = String::new();
        formats().iter().for_each(|f| {
            let _ = writeln!(out, "{:<16} {}", f.name, f.description);
        });
        return print(&out);
    }
    args.source.select.check(&args.source.methods).map_err(usage)?;
    let options = Options { seed: args.seed, ..args.source.options() };
    let mut reader = Reader::open(&args.files, options).map_err(usage)?;
    let mut writer = args.write.as_ref().map(|path| begin(args, path)).transpose()?;
    let mut look = Look::default();
    // What was skipped and where is worth a look just when there is nothing else.
    let nothing = match read(&mut reader, &mut look, writer.as_mut()) {
        Err(Stopped::ReaderGone) => return Ok(()),
        Err(Stopped::Failed(e)) => return Err(e),
        Err(Stopped::Nothing(e)) if writer.is_some() => return Err(e),
        Err(Stopped::Nothing(e)) => Some(e),
        Ok(()) => None,
    };
    let written = match writer.map(Writer::finish).transpose() {
        Err(WriteError::ReaderGone) => return Ok(()),
        written => written.map_err(write_failure)?,
    };
    let is_stdout = written.as_ref().is_some_and(|w| w.path.as_os_str() == "-");
    let summary = reader.summary();
    let found = Found {
        choices: reader.choices().to_vec(),
        counts: reader.counts(),
        missing: missing(&look, &summary),
        summary,
        look,
        slice: reader.slice(),
        speed: args.speed,
        written,
    };
    if is_stdout {
        // Standard output is the requests; what is not among them is worth a word all the same.
        let lines = found.written.as_ref().map(traffic_text::note).unwrap_or_default();
        lines.iter().for_each(|line| say_err!("{line}"));
        return Ok(());
    }
    if args.json {
        print(&(serde_json::to_string_pretty(&traffic_json::object(&found)).unwrap_or_default() + "\n"))?;
    } else {
        print(&traffic_text::render(&found, args.top, columns(), args.ascii))?;
    }
    nothing.map_or(Ok(()), Err)
}

/// Why reading ended before the end.
enum Stopped {
    /// Nobody wants what is written.
    ReaderGone,
    /// There is no request.
    Nothing(Failure),
    Failed(Failure),
}

fn read(reader: &mut Reader, look: &mut Look, mut writer: Option<&mut Writer>) -> Result<(), Stopped> {
    let mut request = Reader::blank();
    let mut progress = Progress::new();
    let ended = loop {
        match reader.next(&mut request) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(e @ TrafficError::NoRequest { .. }) => break Err(Stopped::Nothing(usage(e))),
            Err(e) => break Err(Stopped::Failed(usage(e))),
        }
        look.note(&request, reader.has_time());
        match writer.as_deref_mut().map_or(Ok(()), |w| w.write(&request)) {
            Ok(()) => {}
            Err(WriteError::ReaderGone) => break Err(Stopped::ReaderGone),
            Err(e) => break Err(Stopped::Failed(write_failure(e))),
        }
        progress.show(reader);
    };
    progress.clear();
    ended
}

/// Opens the file to write, and sees to it that a signal leaves no part of it behind.
fn begin(args: &TrafficArgs, path: &Path) -> Result<Writer, Failure> {
    let notation = NOTATIONS.iter().find(|n| n.name == args.write_format).unwrap_or(&NOTATIONS[0]);
    let writer = Writer::create(path, notation, args.write_host.clone(), args.overwrite).map_err(write_failure)?;
    if let Some(unfinished) = writer.unfinished().map(PathBuf::from) {
        // Reading may hang on a pipe, so the end does not wait for it.
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
        let watch = move || {
            for signal in signals.forever() {
                let _ = std::fs::remove_file(&unfinished);
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(failed)?;
    }
    Ok(writer)
}

/// A name that cannot be written to is wrong use; a disk that is full is a failure.
fn write_failure(e: WriteError) -> Failure {
    match e {
        WriteError::Io { .. } => failed(e),
        e => usage(e),
    }
}

/// Columns of the terminal; 80 when the output goes elsewhere.
fn columns() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    if !std::io::stdout().is_terminal() {
        return told.unwrap_or(80);
    }
    crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns)).filter(|c| *c > 0).or(told).unwrap_or(80)
}

/// How far the reading is, on a terminal.
struct Progress {
    clock: Option<Clock>,
    requests: u64,
    last: At,
    shown: bool,
}

impl Progress {
    fn new() -> Progress {
        let clock = std::io::stderr().is_terminal().then(Clock::start);
        Progress { clock, requests: 0, last: At::START, shown: false }
    }

    fn show(&mut self, reader: &Reader) {
        self.requests += 1;
        let Some(clock) = self.clock.as_ref().filter(|_| self.requests.is_multiple_of(PROGRESS_EVERY)) else { return };
        let now = clock.now();
        if now.since_ns(self.last) >= REDRAW_EVERY_NS {
            (self.last, self.shown) = (now, true);
            let line = traffic_text::reading(reader.counts().lines);
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }

    /// Leaves a clean line behind.
    fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
