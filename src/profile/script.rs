//! The text of `perf script`, read line by line into samples and a stack table.
//!
//! The text is what perf 5 and newer print for
//! `perf script --ns --show-lost-events -F comm,pid,tid,cpu,time,event,period,ip,sym,dso`
//! (perf-script(1); tools/perf/builtin-script.c): per sample a head line, one line per frame
//! from the innermost to the outermost, a blank line.
//!
//! ```text
//! nginx: worker p  812/812   [001]  1200.562159244:   10101010 cpu-clock:
//!         55d0c1a2b3c4 ngx_http_parse_request_line (/usr/sbin/nginx)
//! ```
//!
//! Nothing in it can be trusted: names of threads, functions and files come from whatever
//! runs on the machine.
//!
//! Must not: start a process, read a clock, recurse over a stack, or panic on any bytes.

use crate::model::{At, FastMap, Frame, FrameId, FrameKind, Sample, StackTable};
use std::sync::Arc;

/// A thread's name is at most 15 bytes (TASK_COMM_LEN, linux/sched.h): the longest text that a
/// line break inside one can push onto lines of its own.
const COMM_BYTES: usize = 15;
/// Frames kept of one stack; the kernel's limit is 127 by default (perf_event_max_stack).
const DEEPEST: usize = 1 << 16;

/// Reads the text; holds one sample at a time besides those already read.
#[derive(Debug)]
pub struct Script {
    origin_ns: u64,
    current: Current,
    frames: Vec<FrameId>,
    broken_comm: Option<String>,
    comms: FastMap<Box<str>, Arc<str>>,
    seen: [FastMap<Box<[u8]>, FrameId>; 2],
    table: StackTable,
    samples: Vec<Sample>,
    counts: Counts,
}

/// What the text said besides samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples read and kept.
    pub samples: u64,
    /// The event sampled, without its modifiers (`cpu-clock` for `cpu-clock:u`); of several,
    /// the first.
    pub event: Option<Arc<str>>,
    /// The unit of the weights: `ns` for clocks, `cycles`, else the event's name.
    pub unit: Arc<str>,
    /// Samples of events with another unit, which cannot be added up: not kept.
    pub other_units: u64,
    /// The first of those events.
    pub other_event: Option<String>,
    /// Sum of PERF_RECORD_LOST: records the kernel had no room for.
    pub lost: u64,
    /// Sum of PERF_RECORD_LOST_SAMPLES, which newer perf prints too; partly the same ones.
    pub lost_samples: u64,
    /// Lines that were neither.
    pub unreadable: u64,
    /// Samples kept that came without a stack.
    pub without_stack: u64,
    /// Samples whose innermost frame is in the kernel.
    pub in_kernel: u64,
    /// Of those, samples whose innermost frame has no name.
    pub in_kernel_unnamed: u64,
    /// Samples whose innermost frame is in user space and has no name.
    pub in_user_unnamed: u64,
}

/// Samples read so far, with the table their stacks are in.
#[derive(Debug, Default)]
pub struct Batch {
    /// The frames and stacks.
    pub table: StackTable,
    /// The samples in time order.
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
enum Current {
    None,
    /// A sample whose frames follow.
    Kept(Sample),
    /// A sample that is not kept: its frames are passed over.
    Passed,
}

impl Script {
    /// A reader for time stamps of CLOCK_MONOTONIC, of which `origin_ns` is [`At::START`].
    pub fn new(origin_ns: u64) -> Script {
        Script {
            origin_ns,
            current: Current::None,
            frames: Vec::new(),
            broken_comm: None,
            comms: FastMap::default(),
            seen: Default::default(),
            table: StackTable::default(),
            samples: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Takes one line, with or without its line break. Bytes that are no UTF-8 become U+FFFD.
    pub fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let inside = !matches!(self.current, Current::None);
        if line.is_empty() {
            if inside {
                self.close();
            } else if let Some(comm) = self.broken_comm.as_mut().filter(|c| c.len() < COMM_BYTES) {
                comm.push('\n');
            }
            return;
        }
        if inside && line[0] == b'\t' {
            match frame_parts(line) {
                Some(parts) => self.frame(parts),
                None => self.counts.unreadable += 1,
            }
            return;
        }
        let text = String::from_utf8_lossy(line);
        match head(&text) {
            Some(head) => {
                self.close();
                self.open(head);
            }
            None => {
                self.close();
                self.stray(&text);
            }
        }
    }

    /// How many samples wait to be taken.
    pub fn waiting(&self) -> usize {
        self.samples.len()
    }

    /// What the text said so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes the samples read so far; the one whose frames are still being read stays.
    pub fn take(&mut self) -> Batch {
        let mut open = None;
        if let Current::Kept(_) = self.current {
            // The frames of the open sample are ids of the table that goes away.
            open = Some(self.frames.iter().map(|f| self.table.frames[f.0 as usize].clone()).collect::<Vec<_>>());
        }
        let mut batch = Batch { table: std::mem::take(&mut self.table), samples: std::mem::take(&mut self.samples) };
        batch.samples.sort_by_key(|s| s.at);
        self.seen = Default::default();
        if let Some(open) = open {
            self.frames = open.into_iter().map(|f| self.table.frame(f)).collect();
        }
        batch
    }

    /// Ends the text (a last sample needs no blank line behind it) and takes what is left.
    pub fn finish(mut self) -> (Batch, Counts) {
        self.close();
        let batch = self.take();
        (batch, self.counts)
    }

    fn open(&mut self, head: Head<'_>) {
        let broken = self.broken_comm.take();
        let (period, event, rest) = match head.what {
            What::Lost(n) => {
                self.counts.lost = self.counts.lost.saturating_add(n);
                return;
            }
            What::LostSamples(n) => {
                self.counts.lost_samples = self.counts.lost_samples.saturating_add(n);
                return;
            }
            What::Other => return,
            What::Sample { period, event, rest } => (period, event, rest),
        };
        let name = event_name(event);
        let unit = unit_of(name);
        match &self.counts.event {
            None => {
                self.counts.event = Some(name.into());
                self.counts.unit = unit.into();
            }
            Some(first) if **first != *name && *self.counts.unit != *unit => {
                self.counts.other_units += 1;
                self.counts.other_event.get_or_insert_with(|| name.to_string());
                self.current = Current::Passed;
                return;
            }
            Some(_) => {}
        }
        let comm = match broken {
            Some(first) => self.comm(&format!("{first}{}", head.comm)),
            None => self.comm(head.comm),
        };
        self.current = Current::Kept(Sample {
            at: At(head.time_ns.saturating_sub(self.origin_ns)),
            cpu: head.cpu,
            pid: head.pid,
            tid: head.tid,
            comm,
            stack: None,
            weight: period,
        });
        // Without a call chain perf puts the one frame on the head line.
        if let Some(parts) = frame_parts(rest.as_bytes()) {
            self.frame(parts);
        }
    }

    /// A line that is no head where one is due: the beginning of a thread name with a line
    /// break in it, or rubbish.
    fn stray(&mut self, text: &str) {
        let mut comm = self.broken_comm.take().unwrap_or_default();
        if comm.len() + text.len() <= COMM_BYTES {
            comm.push_str(text);
            comm.push('\n');
            self.broken_comm = Some(comm);
        } else {
            self.counts.unreadable += 1;
        }
    }

    fn comm(&mut self, comm: &str) -> Arc<str> {
        if let Some(known) = self.comms.get(comm) {
            return known.clone();
        }
        let shared: Arc<str> = comm.into();
        self.comms.insert(comm.into(), shared.clone());
        shared
    }

    fn frame(&mut self, (address, rest): (u64, &[u8])) {
        if matches!(self.current, Current::Passed) || self.frames.len() >= DEEPEST {
            return;
        }
        let upper = address >> 63 == 1;
        let seen = &mut self.seen[usize::from(upper)];
        let id = match seen.get(rest) {
            Some(&id) => id,
            None => {
                let id = self.table.frame(frame(&String::from_utf8_lossy(rest), upper));
                seen.insert(rest.into(), id);
                id
            }
        };
        self.frames.push(id);
    }

    fn close(&mut self) {
        if let Current::Kept(mut sample) = std::mem::replace(&mut self.current, Current::None) {
            match self.frames.first() {
                None => self.counts.without_stack += 1,
                Some(innermost) => {
                    let frame = &self.table.frames[innermost.0 as usize];
                    let unnamed = frame.symbol.starts_with('[');
                    self.counts.in_kernel += u64::from(frame.kind.is_kernel());
                    self.counts.in_kernel_unnamed += u64::from(frame.kind.is_kernel() && unnamed);
                    self.counts.in_user_unnamed += u64::from(!frame.kind.is_kernel() && unnamed);
                }
            }
            for &frame in self.frames.iter().rev() {
                sample.stack = Some(self.table.push(sample.stack, frame));
            }
            self.counts.samples += 1;
            self.samples.push(sample);
        }
        self.frames.clear();
    }
}

#[derive(Debug, PartialEq)]
struct Head<'a> {
    comm: &'a str,
    pid: u32,
    tid: u32,
    cpu: u32,
    time_ns: u64,
    what: What<'a>,
}

#[derive(Debug, PartialEq)]
enum What<'a> {
    Sample {
        period: u64,
        event: &'a str,
        rest: &'a str,
    },
    Lost(u64),
    LostSamples(u64),
    /// Another PERF_RECORD_…
    Other,
}

/// `comm pid/tid [cpu] seconds.nanoseconds: period event: `.
///
/// A thread's name may hold anything, so the head is found by what follows the name. The
/// leftmost match is the true one: with nine digits of nanoseconds the pattern is longer than
/// a name can be.
fn head(line: &str) -> Option<Head<'_>> {
    memchr::memchr_iter(b'/', line.as_bytes()).find_map(|slash| head_at(line, slash))
}

fn head_at(line: &str, slash: usize) -> Option<Head<'_>> {
    let before = &line[..slash];
    let comm = before.trim_end_matches(|c: char| c.is_ascii_digit());
    let (comm, pid) = match comm.strip_suffix('-') {
        // perf prints -1 when it does not know the process.
        Some(comm) => (comm, u32::MAX),
        None => (comm, before[comm.len()..].parse().ok()?),
    };
    if !(comm.is_empty() || comm.ends_with(' ')) {
        return None;
    }
    let (tid, rest) = digits(line[slash + 1..].trim_start_matches('-'))?;
    let rest = rest.strip_prefix(' ')?.trim_start_matches(' ');
    let (cpu, rest) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (cpu, rest) = digits(rest)?;
            (cpu.parse().ok()?, rest.strip_prefix("] ")?.trim_start_matches(' '))
        }
        None => (0, rest),
    };
    let (seconds, rest) = digits(rest)?;
    let (nanos, rest) = digits(rest.strip_prefix('.')?)?;
    if nanos.len() != 9 {
        return None;
    }
    let rest = rest.strip_prefix(':')?.trim_start_matches(' ');
    let time_ns = seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos.parse().ok()?)?;
    let what = match rest.strip_prefix("PERF_RECORD_") {
        Some(record) => match (record.strip_prefix("LOST lost "), record.strip_prefix("LOST_SAMPLES lost ")) {
            (Some(n), _) => What::Lost(n.trim().parse().ok()?),
            (_, Some(n)) => What::LostSamples(n.trim().parse().ok()?),
            _ => What::Other,
        },
        None => {
            let (period, rest) = digits(rest)?;
            let rest = rest.strip_prefix(' ')?.trim_start_matches(' ');
            let (event, rest) = match rest.find(": ") {
                Some(end) => (&rest[..end], &rest[end + 2..]),
                None => (rest.strip_suffix(':')?, ""),
            };
            What::Sample { period: period.parse().ok()?, event, rest }
        }
    };
    Some(Head { comm: comm.trim_matches(' '), pid, tid: tid.parse().ok()?, cpu, time_ns, what })
}

fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// `cpu-clock` of `cpu-clock:u`; a PMU's event such as `cpu_core/cycles/u` stays whole.
pub(super) fn event_name(event: &str) -> &str {
    match event.rsplit_once(':') {
        Some((name, modifiers)) if !name.is_empty() && modifiers.bytes().all(|b| b.is_ascii_alphabetic()) => name,
        _ => event,
    }
}

pub(super) fn unit_of(event: &str) -> &str {
    if event.contains("clock") {
        "ns"
    } else if event.contains("cycles") {
        "cycles"
    } else {
        event
    }
}

/// The address of a frame line, and the rest: `symbol (dso)`.
fn frame_parts(line: &[u8]) -> Option<(u64, &[u8])> {
    let line = line.trim_ascii();
    let end = memchr::memchr(b' ', line)?;
    let address = u64::from_str_radix(std::str::from_utf8(&line[..end]).ok()?, 16).ok()?;
    Some((address, line[end..].trim_ascii_start()))
}

/// A frame from `symbol (dso)`. `upper`: the address is in the upper half, which is the
/// kernel's on the 64-bit machines perf runs on (x86-64, arm64, riscv64, ppc64).
fn frame(text: &str, upper: bool) -> Frame {
    let (symbol, dso) = split_dso(text);
    let kernel = dso != "[vsyscall]" && (upper || is_kernel(dso));
    let module = module_of(dso);
    let symbol = without_offset(symbol.trim());
    let symbol: Arc<str> = match symbol {
        "" | "[unknown]" if module.is_empty() => "[unknown]".into(),
        "" | "[unknown]" if module.starts_with('[') => module.into(),
        "" | "[unknown]" => format!("[{module}]").into(),
        name => name.into(),
    };
    let kind = match () {
        () if kernel => FrameKind::Kernel,
        () if dso == "inlined" => FrameKind::Inlined,
        () if is_perf_map(dso) => FrameKind::Jit,
        () => FrameKind::User,
    };
    Frame::new(symbol, module, kind)
}

/// Splits `operator()(int) (/usr/lib/x (y).so)` before the parenthesis that the last one
/// closes; where they are not in pairs, before the last ` (`.
fn split_dso(text: &str) -> (&str, &str) {
    let Some(inner) = text.strip_suffix(')') else { return (text, "") };
    let bytes = inner.as_bytes();
    let mut depth = 0usize;
    let mut open = None;
    for i in (0..bytes.len()).rev() {
        match bytes[i] {
            b')' => depth += 1,
            b'(' if depth > 0 => depth -= 1,
            b'(' => {
                open = (i == 0 || bytes[i - 1] == b' ').then_some(i);
                break;
            }
            _ => {}
        }
    }
    match open.or_else(|| inner.rfind(" (").map(|i| i + 1)) {
        Some(i) => (&inner[..i], &inner[i + 1..]),
        None => (text, ""),
    }
}

pub(super) fn module_of(dso: &str) -> &str {
    let dso = dso.strip_suffix(" (deleted)").unwrap_or(dso);
    match dso {
        // What perf writes where it has nothing to write.
        "[unknown]" | "inlined" => "",
        _ if dso.starts_with('[') => dso,
        _ => dso.rsplit('/').next().unwrap_or(dso),
    }
}

/// Whether perf's name for a mapping is one of the kernel's: `[kernel.kallsyms]`, a file of a
/// module, or a module's name in brackets (tools/perf/util/dso.c). What the kernel maps into
/// processes has names in brackets too (proc_pid_maps(5)).
pub(super) fn is_kernel(dso: &str) -> bool {
    if let Some(name) = dso.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
        let user = ["vdso", "vdso32", "vdsox32", "vsyscall", "heap", "stack", "anon", "unknown", "vvar", "vectors"];
        let user_prefix = ["stack:", "anon:", "anon_", "vvar_", "sigpage", "uprobes"];
        return !user.contains(&name) && !user_prefix.iter().any(|p| name.starts_with(p));
    }
    let file = dso.rsplit('/').next().unwrap_or(dso);
    [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().any(|end| file.ends_with(end)) || file.starts_with("vmlinux")
}

/// Whether a mapping's name is that of a map of compiled code, which `perf` writes in a mapping's
/// place where symbols came from one: `/tmp/perf-123.map`, `[JIT] tid 7`, a `jitted-…so` file.
pub(super) fn is_perf_map(dso: &str) -> bool {
    let file = dso.rsplit('/').next().unwrap_or(dso);
    (file.starts_with("perf-") && file.ends_with(".map"))
        || dso.starts_with("[JIT]")
        || (file.starts_with("jitted-") && file.ends_with(".so"))
}

/// `name` of `name+0x1f`.
fn without_offset(symbol: &str) -> &str {
    match symbol.rsplit_once("+0x") {
        Some((name, hex)) if !name.is_empty() && !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()) => name,
        _ => symbol,
    }
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
