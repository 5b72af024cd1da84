//! The profile of a session: every sample of every capture over one table of stacks, and the
//! read side of it: flame graph, hot symbols, folded lines, search.
//!
//! Samples are first added up by stack, then stacks by their tree, always with the ids of the
//! table and never by recursion: a stack may be thousands of frames deep. Which samples are
//! meant is said by a [`StackFilter`] alone, so that one selection (time, CPU, process, symbol)
//! gives the same total in every form.
//!
//! Must not: know perf, SVG or a terminal, or keep what a filter gave.

pub mod diff;
mod flame;
mod heat;
mod lines;
mod observed;
mod odds;
mod pattern;
mod peek;
mod rows;
mod samples;
mod shortfall;

pub use flame::{FlameGraph, FlameNode, NodeId, Order, Search, Step};
pub use heat::Subsecond;
pub use lines::HotLine;
pub use observed::Stretch;
pub use pattern::Pattern;
pub use peek::{Edge, Peek};
pub use samples::Taken;
pub use shortfall::Shortfall;

use crate::model::{
    At, CaptureId, FastMap, Frame, FrameId, FrameKind, OFF_CPU, Sample, Span, StackId, StackTable, Stacks, is_idle,
    is_on_cpu,
};
use flame::Tree;
use rows::{Row, Rows, Source, Thread};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// All samples of a session, in time order, over one table of frames and stacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    table: StackTable,
    /// By frame: the number of its name, which frames of several modules may share.
    name_of: Vec<u32>,
    names: Numbered<Name>,
    /// By frame: the number of its function, which frames of several source lines share.
    function_of: Vec<u32>,
    functions: Numbered<Function>,
    comms: Numbered<Arc<str>>,
    types: Numbered<SampleType>,
    rows: Rows,
    captures: BTreeMap<(CaptureId, u32), CaptureSum>,
    /// The stretches that captures told when they were done: several where several sources served one.
    done: BTreeMap<CaptureId, Vec<Span>>,
}

/// What the weights of samples measure: `cpu-clock` in `ns`, `alloc_space` in `bytes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleType {
    /// The event sampled.
    pub event: Arc<str>,
    /// The unit of the weights.
    pub unit: Arc<str>,
}

impl SampleType {
    /// Whether it is time or work on a CPU.
    pub fn is_on_cpu(&self) -> bool {
        is_on_cpu(&self.event)
    }

    /// Whether it is sampled on CPUs by the kernel, and not by a language's own profiler in its
    /// process, which pprof calls `cpu`: both stand for the same time.
    pub fn is_of_machine(&self) -> bool {
        self.is_on_cpu() && &*self.event != "cpu"
    }

    /// What it has in common with others that stand for the same time, or for parts of it.
    fn family(&self) -> &str {
        match () {
            () if self.is_of_machine() => "on-cpu",
            () if self.event.starts_with(OFF_CPU) => OFF_CPU,
            () => &self.event,
        }
    }
}

/// What a capture brought of one sample type, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureSum {
    /// What was sampled.
    pub sample_type: SampleType,
    /// Samples, idle ones included.
    pub samples: u64,
    /// Sum of their weights.
    pub weight: u64,
    /// Samples that were lost.
    pub lost: u64,
    /// From the first sample to the last.
    pub span: Span,
    /// Samples that are not idle, and the sum of their weights.
    pub busy: (u64, u64),
}

impl CaptureSum {
    /// What weights are multiplied by to make up for lost samples, which are taken to have been like the others.
    /// A lost sample stands for what a busy one does: idle ones come joined, one for many.
    fn made_up(&self) -> f64 {
        let (samples, weight) = if self.busy.1 > 0 { self.busy } else { (self.samples, self.weight) };
        let one = weight as f64 / samples.max(1) as f64;
        // Of waits records were lost, not samples.
        let lost = if self.sample_type.is_on_cpu() { self.lost as f64 * one } else { 0.0 };
        if self.weight == 0 { 1.0 } else { 1.0 + lost / self.weight as f64 }
    }
}

/// Which samples are meant. The default: those on a CPU, of all time, except idle CPUs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StackFilter {
    /// Of this event. `None`: on a CPU (by the kernel, when both it and a language's profiler took
    /// samples), or the first event there is when nothing was sampled on a CPU. Weights of different events are never added up.
    pub event: Option<Arc<str>>,
    /// Taken in this stretch.
    pub span: Option<Span>,
    /// Taken in one of these stretches (in order, without overlaps), as when slow requests were
    /// under way; with [`StackFilter::outside`], in none of them.
    pub within: Option<Arc<[Span]>>,
    /// Turns [`StackFilter::within`] into its complement.
    pub outside: bool,
    /// On this CPU.
    pub cpu: Option<u32>,
    /// Of this process.
    pub pid: Option<u32>,
    /// Of this thread.
    pub tid: Option<u32>,
    /// Of threads with exactly this name.
    pub comm: Option<String>,
    /// Of this capture. `None`: of any, but of the flight recorder only where no capture was being
    /// taken: those samples stand for the same time.
    pub capture: Option<CaptureId>,
    /// With the innermost frame in the kernel, or in user space.
    pub ring: Option<Ring>,
    /// With a frame whose symbol matches.
    pub symbol: Option<Pattern>,
    /// Those with nothing to do too ([`is_idle`]): idle CPUs, which a clock event samples as often as
    /// those that work, and threads that wait for work.
    pub idle: bool,
}

impl StackFilter {
    /// Of this capture.
    pub fn of(capture: CaptureId) -> StackFilter {
        StackFilter { capture: Some(capture), ..StackFilter::default() }
    }
}

/// Where the innermost frame of a stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ring {
    /// In the kernel.
    Kernel,
    /// In user space.
    User,
}

/// A function with what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hot {
    /// Its name (untrusted).
    pub symbol: Arc<str>,
    /// Binary, library or kernel module; empty when unknown.
    pub module: Arc<str>,
    /// What kind of code it is.
    pub kind: FrameKind,
    /// Weight of samples in the function itself.
    pub self_weight: u64,
    /// Weight of samples in it or in what it called; a stack that holds it twice counts once.
    pub total: u64,
}

/// Weights of the samples a filter lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Their sum.
    pub total: u64,
    /// How many samples.
    pub samples: u64,
    /// Weight of idle samples that were left out, for "idle … not shown".
    pub idle: u64,
    /// Samples lost in the captures these are of.
    pub lost: u64,
    /// The event sampled, when it is one.
    pub event: Option<Arc<str>>,
    /// The unit: that of the captures, or `samples` when captures with different units are
    /// looked at together and samples are counted instead.
    pub unit: Arc<str>,
}

/// What a flame graph calls one frame: functions of one name are one box.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    symbol: Arc<str>,
    kind: FrameKind,
}

/// What a list of functions calls one function: lines of its source are not told apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Function {
    symbol: Arc<str>,
    module: Arc<str>,
    kind: FrameKind,
}

/// Distinct values with their numbers.
#[derive(Clone, Debug, PartialEq)]
struct Numbered<T: Eq + std::hash::Hash> {
    values: Vec<T>,
    index: FastMap<T, u32>,
}

impl<T: Eq + std::hash::Hash> Default for Numbered<T> {
    fn default() -> Self {
        Numbered { values: Vec::new(), index: FastMap::default() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    fn number(&mut self, value: &T) -> u32 {
        if let Some(&n) = self.index.get(value) {
            return n;
        }
        let n = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.index.insert(value.clone(), n);
        n
    }

    fn find<Q: ?Sized + Eq + std::hash::Hash>(&self, value: &Q) -> Option<u32>
    where
        T: std::borrow::Borrow<Q>,
    {
        self.index.get(value).copied()
    }
}

/// Weight by (thread name, stack).
type Sums = FastMap<(u32, Option<StackId>), u64>;

impl Profile {
    /// A source of a capture tells in which stretch it sampled.
    pub(super) fn told(&mut self, capture: CaptureId, span: Span) {
        self.done.entry(capture).or_default().push(span);
    }

    /// The stretch in which the source sampled whose samples for a capture lie in `samples`: of those told
    /// the shortest that holds them all, which may be another source's where this one's samples happen to lie
    /// in both. None where none does.
    fn own_stretch(&self, capture: CaptureId, samples: Span) -> Option<Span> {
        // Samples without times all stand where their stretch begins or ends.
        let is_instant = samples.len_ns() <= 1;
        let holds = |s: &&Span| s.from <= samples.from && (samples.to <= s.to || is_instant && samples.from <= s.to);
        self.done.get(&capture)?.iter().filter(|s| !s.is_empty()).filter(holds).min_by_key(|s| s.len_ns()).copied()
    }

    /// Merges a batch of samples. A damaged table (ids out of range, a callee before its
    /// caller) costs those frames, nothing else.
    pub fn apply(&mut self, stacks: &Stacks) {
        let sample_type = SampleType { event: stacks.event.clone(), unit: stacks.unit.clone() };
        let number = self.types.number(&sample_type);
        let sum = self
            .captures
            .entry((stacks.capture, number))
            .or_insert_with(|| CaptureSum { sample_type, ..CaptureSum::default() });
        sum.lost = sum.lost.saturating_add(stacks.lost);
        for sample in &stacks.samples {
            sum.span = match sum.samples {
                0 => Span { from: sample.at, to: At(sample.at.0.saturating_add(1)) },
                _ => {
                    Span { from: sum.span.from.min(sample.at), to: sum.span.to.max(At(sample.at.0.saturating_add(1))) }
                }
            };
            sum.samples += 1;
            sum.weight = sum.weight.saturating_add(sample.weight);
        }
        let mut known = vec![None; stacks.table.nodes.len()];
        let mut rows = Vec::with_capacity(stacks.samples.len());
        for sample in &stacks.samples {
            // In the samples' order, so that the outcome does not depend on how a batch numbered its frames.
            let stack = sample.stack.and_then(|s| self.table.adopt(&stacks.table, &mut known, s));
            for frame in &self.table.frames[self.name_of.len()..] {
                let name = Name { symbol: frame.symbol.clone(), kind: frame.kind };
                self.name_of.push(self.names.number(&name));
                let Frame { symbol, module, kind, .. } = frame.clone();
                // What was inlined of a function and what was called is one function.
                let kind = if kind == FrameKind::Inlined { FrameKind::User } else { kind };
                self.function_of.push(self.functions.number(&Function { symbol, module, kind }));
            }
            let Sample { at, cpu, pid, tid, weight, .. } = *sample;
            let thread = Thread { pid, tid, comm: self.comms.number(&sample.comm) };
            let idle = is_idle(&stacks.event, pid, self.innermost(stack));
            if !idle && let Some(sum) = self.captures.get_mut(&(stacks.capture, number)) {
                sum.busy = (sum.busy.0 + 1, sum.busy.1.saturating_add(weight));
            }
            let source = Source { capture: stacks.capture, sample_type: number, idle };
            rows.push(Row { at, weight, stack, cpu, thread, source });
        }
        self.rows.extend(rows);
    }

    /// The name of the innermost function.
    fn innermost(&self, stack: Option<StackId>) -> Option<&str> {
        let &(_, frame) = self.table.nodes.get(stack?.0 as usize)?;
        Some(&self.frame(frame).symbol)
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// Whether a function of that name was sampled at all.
    pub fn has(&self, pattern: &Pattern) -> bool {
        self.names.values.iter().any(|n| pattern.matches(&n.symbol))
    }

    /// Whether there are samples of the flight recorder: then it is known of any time what ran.
    pub fn is_recorded_throughout(&self) -> bool {
        self.captures.keys().any(|(id, _)| *id == CaptureId::RECORDER)
    }

    /// How many samples there are, idle ones included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// From the first sample to the last, when there is one.
    pub fn span(&self) -> Option<Span> {
        self.rows.span()
    }

    /// What each capture brought, by sample type.
    pub fn captures(&self) -> impl Iterator<Item = (CaptureId, &CaptureSum)> {
        self.captures.iter().map(|((id, _), sum)| (*id, sum))
    }

    /// How many samples a capture brought, of all types, and how many it lost.
    pub fn counts(&self, capture: CaptureId) -> (u64, u64) {
        let sums = self.captures.range((capture, 0)..=(capture, u32::MAX));
        sums.fold((0, 0), |(n, lost), (_, s)| (n + s.samples, lost.saturating_add(s.lost)))
    }

    /// What was sampled, those on a CPU first, else in the order in which they came.
    pub fn sample_types(&self) -> Vec<&SampleType> {
        let mut types: Vec<&SampleType> = self.types.values.iter().collect();
        types.sort_by_key(|t| !t.is_on_cpu());
        types
    }

    /// The weights a filter lets through, in total.
    pub fn weights(&self, filter: &StackFilter) -> Weights {
        self.select(filter).1
    }

    /// The flame graph of the samples a filter lets through. `by_thread`: the first level is
    /// the thread's name, as `perf script | stackcollapse` has it; else the outermost frame.
    pub fn flame(&self, filter: &StackFilter, order: Order, by_thread: bool) -> FlameGraph {
        let (sums, weights) = self.select(filter);
        let mut tree = Tree::default();
        // Keys: thread names from the top down, function names from the bottom up.
        for (&(comm, stack), &weight) in &sums {
            let root = if by_thread { tree.child(Tree::ROOT, u32::MAX - comm) } else { Tree::ROOT };
            tree.add(root, stack, weight, |id| {
                let (caller, frame) = self.table.nodes[id.0 as usize];
                (caller, self.name_of[frame.0 as usize])
            });
        }
        let threads = u32::MAX - u32::try_from(self.comms.values.len()).unwrap_or(u32::MAX);
        tree.into_graph(order, weights, |key| match self.names.values.get(key as usize) {
            Some(name) if key < threads => (name.symbol.clone(), name.kind, false),
            _ => (self.comms.values[(u32::MAX - key) as usize].clone(), FrameKind::User, true),
        })
    }

    /// The functions by what they cost, the one with the most weight of its own first. A function's
    /// lines count together, and so do its calls and what was inlined of it.
    pub fn hot(&self, filter: &StackFilter) -> Vec<Hot> {
        let costs = self.costs(filter, |frame| self.function_of[frame.0 as usize]);
        let mut hot: Vec<Hot> = costs
            .into_iter()
            .map(|(function, (self_weight, total))| {
                let Function { symbol, module, kind } = self.functions.values[function as usize].clone();
                Hot { symbol, module, kind, self_weight, total }
            })
            .collect();
        hot.sort_by(|a, b| {
            let by = |h: &Hot| std::cmp::Reverse((h.self_weight, h.total));
            by(a).cmp(&by(b)).then_with(|| (&a.symbol, &a.module, a.kind).cmp(&(&b.symbol, &b.module, b.kind)))
        });
        hot
    }

    /// Own weight and total of the samples a filter lets through, by what `key` makes of a frame;
    /// a stack that holds a key twice counts once in its total.
    fn costs(&self, filter: &StackFilter, key: impl Fn(FrameId) -> u32) -> HashMap<u32, (u64, u64)> {
        let mut tree = Tree::default();
        for (&(_, stack), &weight) in &self.select(filter).0 {
            tree.add(Tree::ROOT, stack, weight, |id| {
                let (caller, frame) = self.table.nodes[id.0 as usize];
                (caller, key(frame))
            });
        }
        let mut costs: HashMap<u32, (u64, u64)> = HashMap::new();
        tree.once_per_stack(|key, own, total| {
            let sum = costs.entry(key).or_default();
            *sum = (sum.0.saturating_add(own), sum.1.saturating_add(total));
        });
        costs
    }

    /// The samples as folded lines, `thread;outermost;…;innermost weight`, sorted. In names `;`
    /// becomes `:` and a control character `·`. `mark` adds `_[k]` to kernel frames,
    /// `_[j]` to compiled and `_[i]` to inlined ones, by which flame graph tools colour them.
    pub fn folded(&self, filter: &StackFilter, mark: bool) -> Vec<String> {
        let (sums, _) = self.select(filter);
        let shown: Vec<String> = self
            .names
            .values
            .iter()
            .map(|n| format!("{}{}", foldable(&n.symbol), if mark { n.kind.suffix() } else { "" }))
            .collect();
        let comms: Vec<String> = self.comms.values.iter().map(|c| foldable(c)).collect();
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for (&(comm, stack), &weight) in &sums {
            let mut frames: Vec<&str> = stack
                .into_iter()
                .flat_map(|s| self.table.walk(s))
                .map(|f| shown[self.name_of[f.0 as usize] as usize].as_str())
                .collect();
            frames.push(&comms[comm as usize]);
            frames.reverse();
            let sum = lines.entry(frames.join(";")).or_default();
            *sum = sum.saturating_add(weight);
        }
        lines.into_iter().map(|(stack, weight)| format!("{stack} {weight}")).collect()
    }

    /// Weight of the stacks with a frame that matches; each counts once, however many of its
    /// frames match. Thread names are not looked at.
    pub fn matched(&self, filter: &StackFilter, pattern: &Pattern) -> u64 {
        let hit = self.stacks_with(pattern);
        let (sums, _) = self.select(filter);
        let weights = sums.iter().filter(|((_, stack), _)| stack.is_some_and(|s| hit[s.0 as usize]));
        weights.fold(0, |sum, (_, &weight)| sum.saturating_add(weight))
    }

    /// The same for several patterns at once.
    pub fn sums(&self, filter: &StackFilter, patterns: &[Pattern]) -> Vec<u64> {
        let (sums, _) = self.select(filter);
        let sum = |pattern: &Pattern| {
            let hit = self.stacks_with(pattern);
            let weights = sums.iter().filter(|((_, stack), _)| stack.is_some_and(|s| hit[s.0 as usize]));
            weights.fold(0u64, |sum, (_, &weight)| sum.saturating_add(weight))
        };
        patterns.iter().map(sum).collect()
    }

    /// By stack: whether one of its frames matches.
    fn stacks_with(&self, pattern: &Pattern) -> Vec<bool> {
        let names: Vec<bool> = self.names.values.iter().map(|n| pattern.matches(&n.symbol)).collect();
        let mut hit = Vec::with_capacity(self.table.nodes.len());
        for &(caller, frame) in &self.table.nodes {
            let above = caller.is_some_and(|c| hit[c.0 as usize]);
            hit.push(above || names[self.name_of[frame.0 as usize] as usize]);
        }
        hit
    }

    /// The samples a filter lets through, idle ones whatever it says of them.
    fn passing<'a, 'f>(&'a self, filter: &'f StackFilter) -> impl Iterator<Item = Row> + use<'a, 'f> {
        let comm = filter.comm.as_deref().map(|c| self.comms.find(c));
        let hit = filter.symbol.as_ref().map(|p| self.stacks_with(p));
        let types = self.types_meant(filter.event.as_deref());
        let covered = if filter.capture.is_none() { self.covered(&types) } else { Vec::new() };
        let is_thread = move |t: &Thread| {
            filter.pid.is_none_or(|pid| t.pid == pid)
                && filter.tid.is_none_or(|tid| t.tid == tid)
                && comm.is_none_or(|comm| Some(t.comm) == comm)
        };
        let is_source =
            move |s: &Source| types[s.sample_type as usize] && filter.capture.is_none_or(|c| s.capture == c);
        self.rows.select(filter.span, (is_thread, is_source)).filter(move |row| {
            filter.within.as_deref().is_none_or(|spans| is_within(spans, row.at) != filter.outside)
                && (row.source.capture != CaptureId::RECORDER || !is_within(&covered, row.at))
                && filter.cpu.is_none_or(|cpu| row.cpu == cpu)
                && filter.ring.is_none_or(|ring| self.ring(row.stack) == Some(ring))
                && hit.as_ref().is_none_or(|hit| row.stack.is_some_and(|s| hit[s.0 as usize]))
        })
    }

    /// Adds up the samples a filter lets through.
    fn select(&self, filter: &StackFilter) -> (Sums, Weights) {
        let mut weights = Weights::default();
        let mut sums: FastMap<(u32, Option<StackId>), (u64, u64)> = FastMap::default();
        let (mut units, mut idle) = (Vec::new(), (0u64, 0u64));
        for row in self.passing(filter) {
            if !units.contains(&row.source.sample_type) {
                units.push(row.source.sample_type);
            }
            let is_left_out = row.source.idle && !filter.idle;
            let sum = if is_left_out { &mut idle } else { sums.entry((row.thread.comm, row.stack)).or_default() };
            *sum = (sum.0.saturating_add(row.weight), sum.1 + 1);
        }
        let unit = |n: &u32| self.types.values[*n as usize].unit.clone();
        let mixed = units.iter().any(|n| unit(n) != unit(&units[0]));
        let pick = |sum: (u64, u64)| if mixed { sum.1 } else { sum.0 };
        weights.unit = match units.first() {
            Some(n) if !mixed => unit(n),
            _ => "samples".into(),
        };
        weights.event = match units[..] {
            [only] => Some(self.types.values[only as usize].event.clone()),
            _ => None,
        };
        let of = self.captures.iter().filter(|((id, number), sum)| {
            units.contains(number)
                && filter.capture.is_none_or(|c| c == *id)
                && filter.span.is_none_or(|s| s.from < sum.span.to && sum.span.from < s.to)
        });
        weights.lost = of.fold(0, |n, (_, sum)| n.saturating_add(sum.lost));
        weights.idle = pick(idle);
        weights.samples = sums.values().map(|s| s.1).sum();
        let sums: Sums = sums.into_iter().map(|(key, sum)| (key, pick(sum))).collect();
        weights.total = sums.values().fold(0, |total, &w| total.saturating_add(w));
        (sums, weights)
    }

    /// By number of a sample type: whether it is meant.
    fn types_meant(&self, event: Option<&str>) -> Vec<bool> {
        let types = &self.types.values;
        match event {
            Some(event) => types.iter().map(|t| *t.event == *event).collect(),
            // A language's own profiler counts the time of its process once more.
            None if types.iter().any(SampleType::is_of_machine) => {
                types.iter().map(SampleType::is_of_machine).collect()
            }
            None if types.iter().any(SampleType::is_on_cpu) => types.iter().map(SampleType::is_on_cpu).collect(),
            None => (0..types.len()).map(|n| n == 0).collect(),
        }
    }

    /// The stretches of captures in which the flight recorder's samples of the types that are meant
    /// would count the same time once more; in order, without overlaps.
    fn covered(&self, meant: &[bool]) -> Vec<Span> {
        let types = self.types.values.iter().zip(meant).filter(|(_, meant)| **meant);
        let families: Vec<&str> = types.map(|(t, _)| t.family()).collect();
        let taken = self.captures.iter().filter(|((id, _), sum)| {
            *id != CaptureId::RECORDER && sum.samples > 0 && families.contains(&sum.sample_type.family())
        });
        let stretches = taken.map(|((id, _), sum)| self.own_stretch(*id, sum.span).unwrap_or(sum.span));
        Span::joined(stretches.collect())
    }

    fn ring(&self, stack: Option<StackId>) -> Option<Ring> {
        let &(_, frame) = self.table.nodes.get(stack?.0 as usize)?;
        Some(if self.frame(frame).kind.is_kernel() { Ring::Kernel } else { Ring::User })
    }

    fn frame(&self, id: FrameId) -> &Frame {
        &self.table.frames[id.0 as usize]
    }
}

/// Whether an instant lies in one of these stretches, which are in order and apart.
fn is_within(spans: &[Span], at: At) -> bool {
    let n = spans.partition_point(|s| s.from <= at);
    n > 0 && at < spans[n - 1].to
}

/// A name without what separates names and lines in the folded form.
fn foldable(name: &str) -> String {
    if name.is_empty() {
        return "[unnamed]".into();
    }
    crate::model::clean(&name.replace(';', ":"), usize::MAX / 8)
}

#[cfg(test)]
mod tests;
