//! The text of `perf script` as people have it: with whatever fields were asked for. Head lines are
//! brought to the one form that [`profile::script`](crate::profile::script) reads, which reads the
//! rest; every event has a reader of its own, so that nothing is added up that is of different kinds.
//!
//! ```text
//! swapper     0 [000] 12345.678901:     250000 cpu-clock:pppH:       perf script
//! nginx 812/813 12345.678901234: cycles:                             -F comm,pid,tid,time,event,ip,sym
//! java 25607/25608 ...                                               -F comm,pid,tid,ip,sym
//! ```
//!
//! Must not: know what a frame's line looks like.

use super::{Head, Imported, Importer, Input, MOST_SAMPLES, Obstacle, UNKNOWN, wrong};
use crate::model::{At, CaptureId, Stacks};
use crate::profile::script::{Batch, Script};
use regex::Regex;

/// Lines of the head that are looked at.
const LOOKED_AT: usize = 400;
/// Samples that are given together.
const BATCH: usize = 20_000;
/// Events told apart.
const MOST_EVENTS: usize = 64;

/// See the top of the file.
pub(super) struct PerfScript;

impl Importer for PerfScript {
    fn name(&self) -> &'static str {
        "perf-script"
    }

    fn about(&self) -> &'static str {
        "text of `perf script`, with its default fields or any others that have the stacks"
    }

    fn recognises(&self, head: &Head<'_>) -> Option<String> {
        let form = HeadForm::new();
        let mut sample = None;
        for line in head.lines().take(LOOKED_AT) {
            if sample.is_some() && is_frame(line) {
                return sample.map(|l| format!("`{l}` and the frames below are `perf script`'s"));
            }
            let text = String::from_utf8_lossy(line);
            let found = form.read(&text).filter(|h| h.event.is_some());
            sample = found.map(|_| crate::model::clean(text.trim(), 60));
        }
        None
    }

    fn read(&self, input: Input) -> Result<Imported, Obstacle> {
        let mut lines = input.lines();
        let mut reader = Reader::new();
        while let Some(line) = lines.next()? {
            reader.line(line)?;
        }
        reader.finish()
    }
}

/// Whether a line is a frame's: blanks, an address, something else.
fn is_frame(line: &[u8]) -> bool {
    let text = line.trim_ascii_start();
    let digits = text.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    text.len() < line.len() && (1..=16).contains(&digits) && text.get(digits) == Some(&b' ')
}

/// The head of a sample, as far as it is there.
#[derive(Debug, PartialEq)]
struct HeadLine<'a> {
    comm: &'a str,
    pid: Option<&'a str>,
    tid: &'a str,
    cpu: Option<&'a str>,
    /// Seconds and their fraction.
    time: Option<(&'a str, &'a str)>,
    period: Option<&'a str>,
    event: Option<&'a str>,
    rest: &'a str,
}

/// What heads look like.
struct HeadForm {
    /// With the event, or a record of what was lost.
    full: Regex,
    /// Down to a name and a number.
    short: Regex,
}

impl HeadForm {
    fn new() -> HeadForm {
        // The name, of 15 bytes at the most, may hold anything, so the leftmost number after a blank that all else follows is meant.
        let who = r"^\s*(?P<comm>\S.{0,15}?|)\s+(?:(?P<pid>-?\d+)/\s*)?(?P<tid>-?\d+)(?:\s+\[(?P<cpu>\d+)\])?(?:\s+[.dnNpPhHsxXD0-9]{4,8})??(?:\s+(?P<s>\d+)\.(?P<f>\d{1,9}):)?";
        let what = r"(?:\s+(?P<period>\d+))?\s+(?:(?P<event>[A-Za-z_{][^\s]*?|[A-Za-z_]+[^\s]*/[^\s]*/[^\s]*):|(?P<record>PERF_RECORD_\w+ .*))(?:\s+(?P<rest>.*))?$";
        let regex = |text: String| Regex::new(&text).unwrap_or_else(|e| unreachable!("the form of a head: {e}"));
        HeadForm { full: regex(format!("{who}{what}")), short: regex(format!(r"{who}\s*$")) }
    }

    fn read<'a>(&self, line: &'a str) -> Option<HeadLine<'a>> {
        let found = self.full.captures(line).or_else(|| self.short.captures(line))?;
        let of = |name: &str| found.name(name).map(|m| m.as_str());
        Some(HeadLine {
            comm: of("comm").unwrap_or_default(),
            pid: of("pid"),
            tid: of("tid")?,
            cpu: of("cpu"),
            time: of("s").zip(of("f")),
            period: of("period"),
            event: of("event").or(of("record")),
            rest: of("rest").unwrap_or_default(),
        })
    }
}

/// One event's samples.
struct OfEvent {
    event: String,
    script: Script,
    /// Whether heads have periods; without, each sample counts one.
    periods: bool,
}

pub(super) struct Reader {
    form: HeadForm,
    events: Vec<OfEvent>,
    /// The event whose frames come now.
    current: Option<usize>,
    batches: Vec<(usize, Batch)>,
    kept: usize,
    /// Lines between frames: source lines, branches, registers.
    between: u64,
    unreadable: u64,
    without_time: u64,
    without_pid: u64,
    with_cpu: bool,
    /// Sums of LOST and of LOST_SAMPLES, which newer perf prints too: it sums up the same ones.
    lost: [u64; 2],
    /// The head in the one form.
    line: Vec<u8>,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader {
            form: HeadForm::new(),
            events: Vec::new(),
            current: None,
            batches: Vec::new(),
            kept: 0,
            between: 0,
            unreadable: 0,
            without_time: 0,
            without_pid: 0,
            with_cpu: false,
            lost: [0; 2],
            line: Vec::new(),
        }
    }

    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Obstacle> {
        if line.trim_ascii().is_empty() {
            self.give(b"\n");
            self.current = None;
            return Ok(());
        }
        if line.starts_with(b"#") && self.current.is_none() {
            return Ok(()); // perf script --header
        }
        if self.current.is_some() && is_frame(line) {
            let mut tabbed = std::mem::take(&mut self.line);
            tabbed.clear();
            tabbed.push(b'\t');
            tabbed.extend_from_slice(line.trim_ascii_start());
            self.give(&tabbed);
            self.line = tabbed;
            return Ok(());
        }
        let text = String::from_utf8_lossy(line);
        match self.form.read(&text) {
            Some(head) => self.head_line(&head, &text),
            None if self.current.is_some() && line[0].is_ascii_whitespace() => {
                self.between += 1;
                Ok(())
            }
            None => {
                self.unreadable += 1;
                Ok(())
            }
        }
    }

    fn give(&mut self, line: &[u8]) {
        if let Some(n) = self.current {
            self.events[n].script.line(line);
        }
    }

    /// Puts a head into the one form and before the reader of its event.
    fn head_line(&mut self, head: &HeadLine<'_>, whole: &str) -> Result<(), Obstacle> {
        if let Some(record) = head.event.filter(|e| e.starts_with("PERF_RECORD_")) {
            for (lost, of) in self.lost.iter_mut().zip(["PERF_RECORD_LOST lost ", "PERF_RECORD_LOST_SAMPLES lost "]) {
                let n = record.strip_prefix(of).and_then(|n| n.trim().parse().ok()).unwrap_or(0);
                *lost = lost.saturating_add(n);
            }
            return Ok(());
        }
        if head.event.is_none() && whole.starts_with(['\t', ' ']) {
            self.between += 1;
            return Ok(());
        }
        let event = head.event.unwrap_or("samples");
        let n = match self.events.iter().position(|e| e.event == event) {
            Some(n) => n,
            None if self.events.len() >= MOST_EVENTS => {
                return Err(wrong(format!("it has more than {MOST_EVENTS} different events")));
            }
            None => {
                let periods = head.period.is_some();
                self.events.push(OfEvent { event: event.to_owned(), script: Script::new(0), periods });
                self.events.len() - 1
            }
        };
        self.kept += 1;
        if self.kept > MOST_SAMPLES {
            return Err(wrong(format!("it has more than {MOST_SAMPLES} samples")));
        }
        self.without_time += u64::from(head.time.is_none());
        self.without_pid += u64::from(head.pid.is_none());
        self.with_cpu |= head.cpu.is_some();
        let (s, f) = head.time.unwrap_or(("0", "0"));
        let of = &mut self.events[n];
        let period = if of.periods { head.period.unwrap_or("1") } else { "1" };
        let number = |text: &str| text.parse::<u32>().unwrap_or(UNKNOWN);
        let tid = number(head.tid);
        // Without a process's number the idle tasks are still known by theirs.
        let pid = head.pid.map_or(if tid == 0 { 0 } else { UNKNOWN }, number);
        let cpu = head.cpu.unwrap_or("0");
        // The last part of `cpu-clock:pppH` are modifiers; the reader takes a colon and a blank for the end.
        let line =
            format!("{} {pid}/{tid} [{cpu}] {s}.{f:0<9}: {period} {event}: {}\n", head.comm, head.rest_of_frame());
        of.script.line(line.as_bytes());
        if of.script.waiting() >= BATCH {
            let batch = of.script.take();
            self.batches.push((n, batch));
        }
        self.current = Some(n);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Imported, Obstacle> {
        let mut batches = self.batches;
        let mut types = Vec::new();
        let (mut unreadable, mut without_stack, mut read) = (self.unreadable, 0, 0);
        for (n, of) in self.events.into_iter().enumerate() {
            let (batch, counts) = of.script.finish();
            batches.push((n, batch));
            unreadable += counts.unreadable;
            without_stack += counts.without_stack;
            read += counts.samples;
            let unit = if of.periods { counts.unit.clone() } else { "count".into() };
            types.push((counts.event.clone().unwrap_or_else(|| of.event.as_str().into()), unit));
        }
        if read == 0 {
            return Err(wrong("there is not one sample in it"));
        }
        batches.sort_by_key(|(n, _)| *n);
        let timed = self.without_time < read;
        let first = batches.iter().flat_map(|(_, b)| b.samples.first()).map(|s| s.at).min().unwrap_or(At::START);
        let mut stacks = Vec::with_capacity(batches.len());
        for (n, mut batch) in batches {
            batch.samples.iter_mut().for_each(|s| s.at = At(s.at.since_ns(first)));
            let (event, unit) = types[n].clone();
            let (table, samples) = (batch.table, batch.samples);
            stacks.push(Stacks { at: At::START, capture: CaptureId(1), event, unit, table, samples, lost: 0 });
        }
        if let Some(first) = stacks.first_mut() {
            first.lost = self.lost[0].max(self.lost[1]);
        }
        let mut notes = Vec::new();
        let mut note = |n: u64, what: &str| {
            if n > 0 {
                notes.push(format!("{n} {what}"));
            }
        };
        note(unreadable, "lines were not understood");
        note(self.between, "lines between frames (source lines, registers) were not kept");
        note(without_stack, "samples came without a stack");
        note(if timed { 0 } else { read }, "samples have no time: all stand at the start; -F +time gives them one");
        note(self.without_pid, "samples do not tell their process: -F +pid");
        note(if self.with_cpu { 0 } else { read }, "samples do not tell their CPU and are shown on CPU 0: -F +cpu");
        let length_ns = Imported::length_of(&stacks);
        let monotonic_ns = timed.then_some(first.0);
        Ok(Imported { stacks, length_ns, monotonic_ns, notes, ..Imported::default() })
    }
}

impl<'a> HeadLine<'a> {
    /// What stands behind the event, when it is the one frame of a sample without a call chain: an
    /// address. What a tracepoint tells is none.
    fn rest_of_frame(&self) -> &'a str {
        let digits = self.rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let is_frame = (4..=16).contains(&digits) && self.rest[digits..].starts_with(' ');
        if is_frame { self.rest } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_with_whatever_fields_they_have() {
        let form = HeadForm::new();
        let shown = |line: &str| {
            let h = form.read(line).unwrap_or_else(|| panic!("{line}"));
            let time = h.time.map(|(s, f)| format!("{s}.{f}")).unwrap_or_default();
            let of = |o: Option<&str>| o.unwrap_or("-").to_owned();
            [h.comm.into(), of(h.pid), h.tid.into(), of(h.cpu), time, of(h.period), of(h.event), h.rest.into()]
                .join("|")
        };
        for (line, want) in [
            (
                "swapper     0 [000] 12345.678901:     250000 cpu-clock:pppH: ",
                "swapper|-|0|000|12345.678901|250000|cpu-clock:pppH|",
            ),
            (
                "nginx: worker p  812/813   [001]  1200.562159244:   10101010 cpu-clock: ",
                "nginx: worker p|812|813|001|1200.562159244|10101010|cpu-clock|",
            ),
            ("java 25607 4794564.109216: cycles: ", "java|-|25607|-|4794564.109216|-|cycles|"),
            ("java 25607/25608 4794564.109216: 1 cycles:u: ", "java|25607|25608|-|4794564.109216|1|cycles:u|"),
            ("java 25607/25608 ", "java|25607|25608|-||-|-|"),
            (
                "    perf  1234 [003] 9.000001: 1 cycles:  ffffffff81000000 x ([kernel.kallsyms])",
                "perf|-|1234|003|9.000001|1|cycles|ffffffff81000000 x ([kernel.kallsyms])",
            ),
            (
                "a b 7 [003] d..2. 9.000001: sched:sched_switch: prev_comm=a prev_pid=7 ==> next_comm=b",
                "a b|-|7|003|9.000001|-|sched:sched_switch|prev_comm=a prev_pid=7 ==> next_comm=b",
            ),
            ("x 7/8 [0] 2.000000000:  1 cpu_core/cycles/u: ", "x|7|8|0|2.000000000|1|cpu_core/cycles/u|"),
            ("x 7 cycles: ", "x|-|7|-||-|cycles|"),
            ("V8 Worker 3 7 9.000001: 5 cycles: ", "V8 Worker 3|-|7|-|9.000001|5|cycles|"),
            ("a 0/1 [001] 2.5000000: PERF_RECORD_LOST lost 12", "a|0|1|001|2.5000000|-|PERF_RECORD_LOST lost 12|"),
        ] {
            assert_eq!(shown(line), want, "{line}");
        }
        assert_eq!(form.read("Lorem ipsum dolor sit amet"), None);
    }
}
