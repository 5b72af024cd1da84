//! `perfbench import FILE...`: profiles that others took, as a session.
//!
//! Every file is a capture. The session begins when the first of them was begun, as far as they
//! say so, and each stands at its own time; a profile whose samples have no times (pprof, folded)
//! stands at its start with all of them.
//!
//! Must not: know a format.

use super::{Failure, failed, print, tell, usage};
use crate::model::{At, CaptureId, CaptureNews, CaptureState, Closing, Event, HostFacts, Opening, Span, clean};
use crate::profile::import::{Guess, IMPORTERS, Imported, Input};
use crate::session::Writer;
use crate::workbench::{Recorder, Workbench};
use anyhow::anyhow;
use clap::builder::PossibleValuesParser;
use std::path::{Path, PathBuf};

/// Captures further apart than this are laid one after the other: a session is one stretch of time.
const APART_NS: i64 = 24 * 3600 * 1_000_000_000;

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// Profiles, plain or packed with gzip or zstd; - for stdin
    #[arg(required_unless_present = "formats")]
    files: Vec<PathBuf>,
    /// The session; by default beside the first FILE, with .perfbench behind its name
    #[arg(short, long, value_name = "SESSION")]
    output: Option<PathBuf>,
    /// Format of the files instead of guessing it
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(IMPORTERS.iter().map(|i| i.name())))]
    format: Option<String>,
    /// Replace the session if it exists
    #[arg(long, alias = "force")]
    overwrite: bool,
    /// List the formats
    #[arg(long)]
    formats: bool,
}

/// Makes a session of profiles.
pub(super) fn import(args: &ImportArgs) -> Result<(), Failure> {
    if args.formats {
        let width = IMPORTERS.iter().map(|i| i.name().len()).max().unwrap_or(0);
        let list = IMPORTERS.iter().map(|i| format!("{:width$}  {}\n", i.name(), i.about()));
        return print(&list.collect::<String>());
    }
    let mut read = Vec::new();
    for file in &args.files {
        let (imported, guess) = read_one(file, args.format.as_deref())?;
        if imported.samples() == 0 {
            let name = clean(&file.display().to_string(), 300);
            return Err(usage(anyhow!("{name} is an empty profile ({}): there is not one sample in it", guess.format)));
        }
        read.push((file.clone(), imported, guess));
    }
    let output = args.output.clone().unwrap_or_else(|| beside(&args.files[0]));
    if args.files.iter().any(|f| same(f, &output)) {
        return Err(usage(anyhow!("{} is a profile itself; give -o SESSION", output.display())));
    }
    let writer = Writer::create(&output, args.overwrite).map_err(|e| match &args.output {
        Some(_) => usage(e),
        None => usage(anyhow!("{e}; -o SESSION names another place")),
    })?;
    for (file, imported, guess) in &read {
        let name = clean(&file.display().to_string(), 300);
        say_err!("{name}: {}, because {}", guess.format, guess.why);
        imported.notes.iter().for_each(|note| say_err!("{name}: {}", clean(note, 300)));
    }
    let mut workbench = Workbench::recording(Recorder::start(writer).map_err(failed)?);
    events(read, &mut |event| workbench.ingest(event));
    match workbench.finish() {
        Ok(Some(path)) => {
            print(&summary(&workbench))?;
            tell("session", &path);
            Ok(())
        }
        Ok(None) => Err(failed(anyhow!("the session could not be written whole"))),
        Err(why) => Err(failed(anyhow!(why))),
    }
}

fn read_one(file: &Path, format: Option<&str>) -> Result<(Imported, Guess), Failure> {
    let with_mend = |o: crate::profile::Obstacle| match o.mend {
        Some(mend) => usage(anyhow!("{}; {mend}", o.what)),
        None => usage(anyhow!("{}", o.what)),
    };
    let input = Input::open(file).map_err(with_mend)?;
    crate::profile::import::import(input, format).map_err(with_mend)
}

/// A session's name for a profile's.
fn beside(file: &Path) -> PathBuf {
    let mut name = if file.as_os_str() == "-" { "stdin".into() } else { file.as_os_str().to_owned() };
    name.push(".perfbench");
    name.into()
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// What was read as the events of a session.
fn events(read: Vec<(PathBuf, Imported, Guess)>, ingest: &mut dyn FnMut(Event)) {
    // A profile without a time of its own was taken before its file was last written.
    let written_ns = |path: &Path| {
        let time = path.metadata().ok()?.modified().ok()?;
        i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos()).ok()
    };
    let began = |path: &Path, p: &Imported| {
        let length = i64::try_from(p.length_ns).unwrap_or(0);
        p.started_unix_ns.or_else(|| Some(written_ns(path)?.saturating_sub(length)))
    };
    let times: Vec<Option<i64>> = read.iter().map(|(path, p, _)| began(path, p)).collect();
    let first = times.iter().flatten().min().copied().unwrap_or(0);
    // On one machine's monotonic clock captures are in order to the nanosecond.
    let monotonic: Option<Vec<u64>> = read.iter().map(|(_, p, _)| p.monotonic_ns).collect();
    let monotonic_first = monotonic.iter().flatten().min().copied().unwrap_or(0);
    let together = times.iter().flatten().all(|t| t.saturating_sub(first) <= APART_NS);
    let names: Vec<String> = read.iter().map(|(path, ..)| shown(path)).collect();
    ingest(Event::from(Opening {
        perfbench: env!("CARGO_PKG_VERSION").into(),
        started_unix_ns: first,
        monotonic_ns: monotonic_first,
        target: format!("import of {}", names.join(", ")).chars().take(300).collect(),
        traffic: Vec::new(),
        host: HostFacts::default(),
        ..Opening::default()
    }));
    let mut end = At::START;
    for (n, (_, imported, guess)) in read.into_iter().enumerate() {
        let offset = match &monotonic {
            Some(all) if together => all[n] - monotonic_first,
            _ if together => times[n].map_or(0, |t| u64::try_from(t.saturating_sub(first)).unwrap_or(0)),
            _ => end.0,
        };
        let id = CaptureId(u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1));
        let moved = |at: At| At(at.0.saturating_add(offset));
        let span = Span { from: At(offset), to: moved(At(imported.length_ns)) };
        let how = [guess.format, &imported.program].join(" ");
        let sampling = CaptureState::Sampling {
            for_ns: imported.length_ns,
            hz: imported.hz.unwrap_or(0),
            how: clean(how.trim(), 200),
        };
        let (samples, lost) = (imported.samples(), imported.lost());
        ingest(Event::Capture(CaptureNews { at: span.from, id, state: sampling }));
        for mut stacks in imported.stacks {
            stacks.at = span.to;
            stacks.capture = id;
            stacks.samples.iter_mut().for_each(|s| s.at = moved(s.at));
            ingest(Event::Stacks(stacks));
        }
        let notes = std::iter::once(format!("{}: {}", guess.format, guess.why)).chain(imported.notes).collect();
        let done = CaptureState::Done { span, samples, lost, notes };
        ingest(Event::Capture(CaptureNews { at: span.to, id, state: done }));
        end = end.max(span.to);
    }
    ingest(Event::Closing(Closing { at: end, why: "imported".into() }));
}

fn shown(path: &Path) -> String {
    clean(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy(), 100)
}

/// What the session holds: samples and weights by type.
fn summary(workbench: &Workbench) -> String {
    let mut text = String::new();
    for (id, sum) in workbench.timeline().profile().captures() {
        let t = &sum.sample_type;
        text += &format!(
            "capture {}: {} {} of {} in {} samples{}\n",
            id.0,
            sum.weight,
            clean(&t.unit, 40),
            clean(&t.event, 60),
            sum.samples,
            if sum.lost > 0 { format!(", {} lost", sum.lost) } else { String::new() }
        );
    }
    text
}
