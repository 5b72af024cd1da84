//! The profiler `perf`: `perf record` into a private folder, then `perf script`.
//!
//! perf is given a workload that does nothing: it says a word when it is let loose, which perf
//! does right after it switches sampling on, and ends when its standard input closes. So the
//! true start is known, perfbench decides on the end, and perf ends by itself when perfbench
//! is killed.
//!
//! Must not: read the stacks' text itself (`script`), or decide what is permitted
//! (`preflight`).

use super::capture::{CallGraph, CaptureRequest, GLANCE, Stage, cancelled, nothing_sampled};
use super::preflight::{Plan, Scope, Surroundings, inspect, install};
use super::script::{Batch, Counts, Script};
use super::tool::Tool;
use super::{Done, Obstacle, Profiler, Source};
use crate::model::{At, CaptureState, Event, Span, Stacks};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::time::Duration;

/// Samples sent together at the most.
const BATCH: usize = 20_000;
/// Bytes of a line that are read; the rest of a longer one is passed over.
const LINE: u64 = 1 << 16;
/// Bytes of stack copied with each sample for DWARF call graphs: perf's own default, and what a
/// sample's size allows with room to spare (perf-record(1)).
const DWARF_BYTES: u32 = 8192;
/// How long perf may take to look at all processes before it samples: it reads the maps of
/// each, and a host may have tens of thousands.
const SETTING_UP: Duration = Duration::from_secs(60);

/// `perf record` and `perf script` of Linux's tools, version 5 or newer.
pub(super) struct Perf;

impl Profiler for Perf {
    fn source(&self) -> Source {
        Source::Perf
    }

    fn check(&self, request: &CaptureRequest) -> Result<Plan, Obstacle> {
        inspect(&request.around).plan(&request.around, &request.pids, request.want)
    }

    fn run(&self, plan: Plan, request: &CaptureRequest, stage: &Stage) -> Result<Done, Obstacle> {
        let temp = &request.around.temp;
        let folder = tempfile::Builder::new().prefix("perfbench-").tempdir_in(temp).map_err(|e| {
            let what = format!("no folder for perf's recording in {}: {e}", temp.display());
            Obstacle::new(what, Some("export TMPDIR=<a folder on a disk with space>".into()))
        })?;
        let data = folder.path().join("perf.data");
        let mut taken = record(&plan, request, stage, &data)?;
        let read = read(&plan, request, stage, &data)?;
        taken.lost = taken.lost.max(read.counts.lost).max(read.counts.lost_samples).max(read.lost);
        if read.counts.samples == 0 {
            return Err(nothing_sampled(&plan.scope, taken.span, taken.lost, taken.ended_early));
        }
        let mut notes = plan.notes.clone();
        if request.call_graph == CallGraph::Dwarf {
            notes.push(format!(
                "call graphs by DWARF: {DWARF_BYTES} bytes of stack were copied with each sample and unwound afterwards; frames of deeper stacks are missing"
            ));
        }
        notes.extend(taken.notes(&plan));
        notes.extend(read.notes(&plan));
        if let Some(batch) = read.last {
            send(stage, request, &read.counts, batch, taken.lost);
        }
        // perf's own start and end lie a little outside of what its workload saw of them.
        let from = read.first_at.unwrap_or(taken.span.from).min(taken.span.from);
        let to = taken.span.to.max(At(read.last_at.map_or(0, |at| at.0.saturating_add(1))));
        Ok(Done { span: Span { from, to }, samples: read.counts.samples, lost: taken.lost, notes })
    }
}

/// How perf is to find callers.
fn call_graph(request: &CaptureRequest) -> String {
    match request.call_graph {
        CallGraph::FramePointers => "fp".into(),
        CallGraph::Dwarf => format!("dwarf,{DWARF_BYTES}"),
    }
}

/// What sampling came to.
struct Taken {
    span: Span,
    /// The target ended before the time was over.
    ended_early: bool,
    lost: u64,
}

impl Taken {
    fn notes(&self, plan: &Plan) -> Vec<String> {
        let mut notes = Vec::new();
        if self.ended_early {
            let who = if plan.scope == Scope::AllCpus { "perf".into() } else { plan.scope.shown() };
            notes.push(format!("{who} ended after {:.1} s of the capture", self.span.secs()));
        }
        if self.lost > 0 {
            notes.push(format!(
                "{} samples were lost: perf's buffers were full before they were written; sample less often (--capture-hz 49), or let perf have more memory: sudo sysctl -w kernel.perf_event_mlock_kb=8192",
                self.lost
            ));
        }
        notes
    }
}

/// Runs `perf record` for the time asked.
fn record(plan: &Plan, request: &CaptureRequest, stage: &Stage, data: &Path) -> Result<Taken, Obstacle> {
    let mut command = perf(plan)?;
    let event = match plan.scope {
        Scope::Processes { user_only: true, .. } => format!("{}:u", plan.event),
        _ => plan.event.to_string(),
    };
    command.args([
        "record",
        "-k",
        "CLOCK_MONOTONIC",
        "--call-graph",
        &call_graph(request),
        "--sample-cpu",
        "--no-buildid-cache",
    ]);
    command.args(["-F", &request.hz.to_string(), "-e", &event]).arg("-o").arg(data);
    match &plan.scope {
        Scope::AllCpus => command.arg("-a"),
        Scope::Processes { pids, .. } => {
            command.arg("-p").arg(pids.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
        }
    };
    command.args(["--", "sh", "-c", "echo sampling; exec cat >/dev/null"]);

    let mut tool = Tool::start(command, stage)?;
    let (say, heard) = mpsc::channel();
    let stdout = tool.stdout();
    let listener = std::thread::Builder::new().name("profile-start".into()).spawn(move || {
        let mut word = [0; 64];
        let Some(mut stdout) = stdout else { return };
        while stdout.read(&mut word).is_ok_and(|n| n > 0) {
            if say.send(()).is_err() {
                return;
            }
        }
    });
    listener.map_err(|e| Obstacle::new(format!("no thread for the capture: {e}"), None))?;

    let mut waited = Duration::ZERO;
    loop {
        if stage.cancelled() {
            return Err(cancelled());
        }
        match heard.recv_timeout(GLANCE) {
            Ok(()) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            // Its output is closed: it is about to end.
            Err(mpsc::RecvTimeoutError::Disconnected) => stage.pause(GLANCE),
        }
        if let Some(status) = tool.ended() {
            return Err(died("perf record", status, &tool.words(), &request.around));
        }
        waited += GLANCE;
        if waited > SETTING_UP {
            let secs = SETTING_UP.as_secs();
            return Err(Obstacle::new(
                format!("perf record did not begin to sample within {secs} s and was killed"),
                None,
            ));
        }
    }
    let from = stage.now();
    let for_ns = u64::try_from(request.length.as_nanos()).unwrap_or(u64::MAX);
    let how = format!("perf, {}, {event}", plan.scope.shown());
    stage.news(CaptureState::Sampling { for_ns, hz: request.hz, how });

    let due = At(from.0.saturating_add(for_ns));
    let mut ended = None;
    while ended.is_none() && stage.now() < due && !stage.stopped() {
        stage.pause(GLANCE.min(Duration::from_nanos(due.since_ns(stage.now()).max(1))));
        ended = tool.ended();
    }
    let to = stage.now();
    let ended_early = ended.is_some();
    tool.close_stdin();
    // Not after perf has ended: giving the counters back takes it up to a second.
    if !stage.cancelled() {
        stage.news(CaptureState::Reading);
    }
    let mut status = tool.ends_within(request.grace);
    if status.is_none() && !stage.cancelled() {
        tool.interrupt();
        status = tool.ends_within(request.grace);
    }
    if stage.cancelled() {
        return Err(cancelled());
    }
    let Some(status) = status else {
        tool.kill();
        let what = format!(
            "perf record did not end within {} s of being told to and was killed: {}",
            2 * request.grace.as_secs(),
            reason(&tool.words()).unwrap_or_else(|| "it said nothing".into())
        );
        return Err(Obstacle::new(what, None));
    };
    let words = tool.words();
    // perf gives itself the signal that ended it; its recording is whole then.
    if !status.success() && !matches!(status.signal(), Some(2 | 15)) {
        return Err(died("perf record", status, &words, &request.around));
    }
    Ok(Taken { span: Span { from, to }, ended_early, lost: lost_by_words(&words) })
}

/// What reading came to.
struct Readout {
    counts: Counts,
    last: Option<Batch>,
    first_at: Option<At>,
    last_at: Option<At>,
    lost: u64,
    broke_off: Option<String>,
}

impl Readout {
    fn notes(&self, plan: &Plan) -> Vec<String> {
        let c = &self.counts;
        let mut notes = Vec::new();
        let event = c.event.as_deref().unwrap_or_default();
        if event != plan.event {
            notes.push(format!("perf sampled by {event}: there is no {} here", plan.event));
        }
        if c.other_units > 0 {
            let other = c.other_event.as_deref().unwrap_or_default();
            notes.push(format!("{} samples of {other} left out: only those of {event} are added up", c.other_units));
        }
        let share = |n: u64, of: u64| n as f64 * 100.0 / of.max(1) as f64;
        if c.without_stack > 0 && share(c.without_stack, c.samples) >= 1.0 {
            notes.push(format!("{:.0} % of the samples came without a stack", share(c.without_stack, c.samples)));
        }
        let in_user = c.samples - c.in_kernel.min(c.samples);
        if share(c.in_user_unnamed, in_user) >= 10.0 {
            notes.push(format!(
                "{:.0} % of the samples in user space are in functions without a name: install debug symbols, or for a JIT its /tmp/perf-PID.map",
                share(c.in_user_unnamed, in_user)
            ));
        }
        if c.in_kernel > 0 && share(c.in_kernel_unnamed, c.in_kernel) >= 10.0 {
            let share = share(c.in_kernel_unnamed, c.in_kernel);
            notes.push(format!("{share:.0} % of the samples in the kernel are in functions without a name"));
        }
        if c.unreadable > 0 {
            notes.push(format!("{} lines of perf script were not understood", c.unreadable));
        }
        notes.extend(self.broke_off.clone());
        notes
    }
}

/// Runs `perf script`, sending the stacks as they come; the last batch stays with the caller,
/// who knows what was lost.
fn read(plan: &Plan, request: &CaptureRequest, stage: &Stage, data: &Path) -> Result<Readout, Obstacle> {
    let mut command = perf(plan)?;
    // --no-inline: resolving inlined functions takes minutes where this takes a second.
    command.args(["script", "--force", "--ns", "--no-inline", "--show-lost-events"]);
    command.args(["-F", "comm,pid,tid,cpu,time,event,period,ip,sym,dso"]).arg("-i").arg(data);
    let mut tool = Tool::start(command, stage)?;
    tool.close_stdin();

    let mut script = Script::new(stage.origin_ns());
    let (mut first_at, mut last_at) = (None::<At>, None::<At>);
    let mut look = |batch: &Batch| {
        if let (Some(first), Some(last)) = (batch.samples.first(), batch.samples.last()) {
            first_at = Some(first_at.map_or(first.at, |at| at.min(first.at)));
            last_at = Some(last_at.map_or(last.at, |at| at.max(last.at)));
        }
    };
    let mut failed = None;
    if let Some(stdout) = tool.stdout() {
        let mut lines = BufReader::with_capacity(1 << 16, stdout);
        let mut line = Vec::new();
        loop {
            match bounded_line(&mut lines, &mut line) {
                Ok(true) => script.line(&line),
                Ok(false) => break,
                Err(e) => {
                    failed = Some(e.to_string());
                    break;
                }
            }
            if stage.cancelled() {
                return Err(cancelled());
            }
            if script.waiting() >= BATCH {
                let batch = script.take();
                look(&batch);
                send(stage, request, script.counts(), batch, 0);
            }
        }
    }
    let status = tool.ends_within(request.grace);
    if stage.cancelled() {
        return Err(cancelled());
    }
    tool.kill();
    let words = tool.words();
    let (batch, counts) = script.finish();
    look(&batch);
    let broke_off = match status {
        Some(status) if status.success() && failed.is_none() => None,
        Some(status) if counts.samples == 0 => return Err(died("perf script", status, &words, &request.around)),
        _ => {
            let why = failed.or_else(|| reason(&words)).unwrap_or_else(|| "it said nothing".into());
            Some(crate::model::clean(&format!("perf script broke off, stacks may be missing: {why}"), 300))
        }
    };
    let last = (!batch.samples.is_empty()).then_some(batch);
    Ok(Readout { counts, last, first_at, last_at, lost: lost_by_words(&words), broke_off })
}

fn send(stage: &Stage, request: &CaptureRequest, counts: &Counts, batch: Batch, lost: u64) {
    stage.emit(Event::Stacks(Stacks {
        at: stage.now(),
        capture: request.id,
        event: counts.event.clone().unwrap_or_else(|| "".into()),
        unit: counts.unit.clone(),
        table: batch.table,
        samples: batch.samples,
        lost,
    }));
}

/// perf, free of what a user's settings would change in its output or its speed.
fn perf(plan: &Plan) -> Result<Command, Obstacle> {
    let binary = plan.perf.as_ref().ok_or_else(|| Obstacle::new("no perf was looked for", None))?;
    let mut command = Command::new(binary);
    command.env("LC_ALL", "C").env("PERF_CONFIG", "/dev/null").env_remove("PERF_RECORD_OPTS");
    // With it set, perf asks servers on the network for symbols.
    command.env_remove("DEBUGINFOD_URLS");
    Ok(command)
}

/// Why perf ended with an error, from what it said. The words are those of perf 4 to 6
/// (tools/perf/builtin-record.c, util/evsel.c, util/record.c).
fn died(tool: &str, status: ExitStatus, words: &str, around: &Surroundings) -> Obstacle {
    let said = |part: &str| words.contains(part);
    let os_release = || {
        let text = std::fs::read_to_string(around.root.join("etc/os-release"));
        install(&text.unwrap_or_default())
    };
    if said("perf not found for kernel") {
        let what = "the perf in PATH is a wrapper without a perf for this kernel";
        return Obstacle::new(what, Some(os_release()));
    }
    if said("No space left on device") {
        let what = format!("the disk of {} is full: perf could not write its recording", around.temp.display());
        return Obstacle::new(what, Some("export TMPDIR=<a folder on a disk with space>".into()));
    }
    if said("No such process") {
        return Obstacle::new("the target's process ended before it could be sampled", None);
    }
    if said("Too many open files") {
        let what = "perf ran out of file descriptors: it opens one per thread and CPU";
        return Obstacle::new(what, Some("ulimit -n $(ulimit -Hn)".into()));
    }
    if said("perf_event_mlock_kb") {
        let what = "perf got no memory for its buffers: they are limited per user";
        return Obstacle::new(what, Some("sudo sysctl -w kernel.perf_event_mlock_kb=4096".into()));
    }
    if said("perf_event_paranoid") || said("o permission") || said("ermission denied") || said("not permitted") {
        let what = "perf may not sample here: the kernel refused (perf_event_paranoid, a container's seccomp profile, or a security module)";
        let mend = "sudo sysctl -w kernel.perf_event_paranoid=0";
        return Obstacle::new(what, Some(mend.into()));
    }
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        _ => "ended".into(),
    };
    Obstacle::new(format!("{tool} {end}: {}", reason(words).unwrap_or_else(|| "it said nothing".into())), None)
}

/// The line of perf's words that says most: the first of a usage message, else the last.
fn reason(words: &str) -> Option<String> {
    let telling = |l: &&str| !l.is_empty() && !l.starts_with("[ perf record") && *l != "Error:" && *l != "Warning:";
    let mut lines = words.lines().map(str::trim).filter(telling);
    let line = if words.contains("Usage:") { lines.next() } else { lines.next_back() };
    line.map(|l| crate::model::clean(l, 200))
}

/// The count in "Processed 10523 samples and lost 82.35%!": perf says so from 5 % on, and
/// counts what the kernel could not even tell in the recording (PERF_FORMAT_LOST).
fn lost_by_words(words: &str) -> u64 {
    let line = |l: &str| -> Option<u64> {
        let (samples, rest) = l.strip_prefix("Processed ")?.split_once(" samples and lost ")?;
        let share: f64 = rest.split('%').next()?.parse().ok()?;
        Some((samples.parse::<u64>().ok()? as f64 * share / 100.0).round() as u64)
    };
    words.lines().filter_map(line).max().unwrap_or(0)
}

/// Reads the next line, its first [`LINE`] bytes at the most; false at the end.
fn bounded_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    if from.by_ref().take(LINE).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if !line.ends_with(b"\n") && line.len() as u64 == LINE {
        loop {
            let rest = from.fill_buf()?;
            let end = memchr::memchr(b'\n', rest);
            let n = end.map_or(rest.len(), |e| e + 1);
            from.consume(n);
            if end.is_some() || n == 0 {
                break;
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
#[path = "perf_tests.rs"]
mod tests;
