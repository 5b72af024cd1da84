//! The difference of two selections of samples: what costs more, what less, and what is chance.
//!
//! Each side is brought to one measure: its weights, with lost samples made up for, divided by the requests
//! that were completed while they were taken, or by the seconds of that. Weights are time or work
//! already, so the rate of sampling is in them. How requests and samples are counted over the same
//! stretches, and how chance is told, is described in docs/diff.md for users; in short:
//!
//! - The samples of a side are added up in slices of its time (`half`). How much a function's sums
//!   differ from slice to slice tells how much its rate varies, bursts included, since samples of one
//!   burst fall into one slice. A variance below that of independent samples is taken for luck.
//! - Two rates differ when Student's t of Welch's test is too large for chance, of all functions
//!   together with at most [`LEVEL`] of those told expected to be chance (Benjamini and Hochberg).
//! - Of fewer than [`FEWEST_SAMPLES`] samples nothing is said.
//!
//! Must not: add up different units, judge runs by one run each (what differs from run to run
//! is not in one of them), or recurse.

mod half;
#[cfg(test)]
mod tests;

use super::flame::Tree;
use super::odds::{believed, student};
use super::{
    FlameGraph, FlameNode, Function, Name, Numbered, Order, Pattern, SampleType, Shortfall, StackFilter, Stretch,
    Weights,
};
use crate::model::{CaptureId, FrameKind, StackId};
use crate::timeline::Timeline;
use half::{Half, Known};
use std::sync::Arc;

/// Of the differences that are told, how many may be chance.
pub const LEVEL: f64 = 0.05;
/// Samples on both sides together that a function needs to be judged.
pub const FEWEST_SAMPLES: f64 = 10.0;

/// One side of a comparison.
#[derive(Clone, Debug)]
pub struct Side<'a> {
    /// The session.
    pub timeline: &'a Timeline,
    /// Which of its samples.
    pub filter: StackFilter,
}

/// Which of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// A, the one before.
    Before,
    /// B, the one after.
    After,
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Which::Before => "A",
            Which::After => "B",
        })
    }
}

/// What weights are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    /// Requests completed in the stretches looked at, which are cut to whole slots of load.
    Request,
    /// Seconds of the stretches looked at.
    Second,
    /// Nothing: the sums are compared, as for memory in use.
    Whole,
}

impl Per {
    /// Its name in options and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Per::Request => "request",
            Per::Second => "second",
            Per::Whole => "whole",
        }
    }
}

/// Why two sides can't be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// No capture lies in the selection.
    #[error("no samples were taken in what {which} selects")]
    NoSamples {
        /// Which side.
        which: Which,
    },
    /// Nothing to divide by.
    #[error("{which} has no request that was completed while samples were taken; compare per second")]
    NoRequests {
        /// Which side.
        which: Which,
    },
    /// Weights of a side that can't be added up.
    #[error("{which} holds samples that can't be added up: {}; select one capture or one event", names(types))]
    Mixed {
        /// Which side.
        which: Which,
        /// What was sampled.
        types: Vec<SampleType>,
    },
    /// Weights of two sides that can't be compared.
    #[error("A was sampled by {} and B by {}: these are different things; select one event of both", names(std::slice::from_ref(&types.0)), names(std::slice::from_ref(&types.1)))]
    Different {
        /// What was sampled on each side.
        types: Box<(SampleType, SampleType)>,
    },
}

fn names(types: &[SampleType]) -> String {
    let one = |t: &SampleType| format!("{} ({})", crate::model::clean(&t.event, 60), crate::model::clean(&t.unit, 30));
    types.iter().map(one).collect::<Vec<_>>().join(" and ")
}

impl SampleType {
    /// Whether weights of the two measure the same in the same unit: any clock's time on a CPU is.
    fn is_like(&self, other: &SampleType) -> bool {
        self.unit == other.unit && (self.event == other.event || (self.is_on_cpu() && other.is_on_cpu()))
    }
}

/// What a side consists of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SideSum {
    /// The stretches whose samples are counted.
    pub stretches: Vec<Stretch>,
    /// Their length together, s. Two captures at one time count twice.
    pub seconds: f64,
    /// Requests completed in them.
    pub requests: f64,
    /// What weights are divided by.
    pub divisor: f64,
    /// Samples counted.
    pub samples: u64,
    /// Samples that were lost in their captures.
    pub lost: u64,
    /// Samples selected that are not counted: they lie outside of the stretches, as those of a
    /// slot of load that a capture only touches.
    pub outside: u64,
    /// Weight of the samples, lost ones made up for.
    pub weight: f64,
    /// Slices its time was divided into to see how much it varies.
    pub slices: usize,
    /// Whether its samples have times.
    pub is_timed: bool,
    /// The captures, each with its samples per second and CPU and how it was taken, where it told.
    pub captures: Vec<(CaptureId, Option<(u32, String)>)>,
    /// The CPUs whose samples don't account for the time they worked.
    pub shortfalls: Vec<Shortfall>,
}

/// What one thing cost before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// Weight per what it is divided by, on side A.
    pub before: f64,
    /// The same on side B.
    pub after: f64,
    /// How likely a difference like this is by chance, taken by itself. `None`: not judged, since there are
    /// too few samples or too little time.
    pub p: Option<f64>,
    /// Whether the difference is to be taken for chance: it is not judged, or of all that were judged
    /// together it is not among those told.
    pub is_noise: bool,
}

impl Change {
    /// After less before; 0 where they differ by no more than the order of adding up makes.
    pub fn delta(&self) -> f64 {
        let delta = self.after - self.before;
        if delta.abs() <= 1e-9 * self.before.abs().max(self.after.abs()) { 0.0 } else { delta }
    }

    /// After as a multiple of before; `None` where there was nothing before.
    pub fn ratio(&self) -> Option<f64> {
        (self.before > 0.0).then(|| self.after / self.before)
    }
}

/// A function before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffRow {
    /// Its name (untrusted).
    pub symbol: Arc<str>,
    /// Binary, library or kernel module; empty when unknown.
    pub module: Arc<str>,
    /// What kind of code it is.
    pub kind: FrameKind,
    /// In itself.
    pub own: Change,
    /// In itself or in what it called.
    pub total: Change,
}

/// A flame graph with what changed.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffFlame {
    /// The boxes of both sides, as wide as on one of them: those that only the other has are of no width.
    pub graph: FlameGraph,
    /// By node of the graph: what it and what stands on it cost.
    pub changes: Vec<Change>,
}

/// Two sides, added up and ready to be looked at in several ways.
#[derive(Debug)]
pub struct Comparison<'a> {
    per: Per,
    a: Half<'a>,
    b: Half<'a>,
}

/// Weights by node of a tree of both sides: those of A's slices, then those of B's.
struct Grown {
    tree: Tree,
    width: usize,
    own: Vec<f64>,
}

impl Grown {
    fn row(&self, rows: &[f64], n: usize) -> std::ops::Range<usize> {
        debug_assert!(rows.len() >= (n + 1) * self.width);
        n * self.width..(n + 1) * self.width
    }

    /// The own weights of every node and of what stands on it.
    fn totals(&self) -> Vec<f64> {
        let mut totals = self.own.clone();
        for n in (1..self.tree.len()).rev() {
            let (from, into) = (n * self.width, self.tree.parent(n) * self.width);
            for i in 0..self.width {
                totals[into + i] += totals[from + i];
            }
        }
        totals
    }
}

impl<'a> Comparison<'a> {
    /// Adds up both sides. `per`: what they are divided by; `None` for requests when both have some, else
    /// seconds, and nothing for what is in use at an instant.
    ///
    /// # Errors
    /// When there is nothing to compare, or nothing to divide by, or what was sampled differs.
    pub fn new(a: &Side<'a>, b: &Side<'a>, per: Option<Per>) -> Result<Comparison<'a>, DiffError> {
        let per = per.unwrap_or_else(|| usual(&[a, b]));
        let (a, b) = (Half::new(a, Which::Before, per)?, Half::new(b, Which::After, per)?);
        if !a.sample_type.is_like(&b.sample_type) {
            return Err(DiffError::Different { types: Box::new((a.sample_type, b.sample_type)) });
        }
        Ok(Comparison { per, a, b })
    }

    /// What the sides are divided by.
    pub fn per(&self) -> Per {
        self.per
    }

    /// What was sampled, on each side.
    pub fn sample_types(&self) -> [&SampleType; 2] {
        [&self.a.sample_type, &self.b.sample_type]
    }

    /// What each side consists of.
    pub fn sides(&self) -> [&SideSum; 2] {
        [&self.a.sum, &self.b.sum]
    }

    /// Whether anything can be told from chance; else every change is taken for it.
    pub fn is_judged(&self) -> bool {
        self.a.known != Known::Nothing && self.b.known != Known::Nothing
    }

    /// Everything together.
    pub fn whole(&self) -> Change {
        let sum = |half: &Half<'_>| {
            let mut slices = vec![0.0; half.exposure.len()];
            half.cells.values().for_each(|cell| slices.iter_mut().zip(cell).for_each(|(s, w)| *s += w));
            slices
        };
        judged(vec![self.test(&sum(&self.a), &sum(&self.b))])[0]
    }

    /// The stacks that hold a function that matches, each counted once, for each pattern.
    pub fn sums(&self, patterns: &[Pattern]) -> Vec<Change> {
        let sum = |half: &Half<'_>, pattern: &Pattern| {
            let hit = half.profile.stacks_with(pattern);
            let mut slices = vec![0.0; half.exposure.len()];
            for ((_, stack), cell) in &half.cells {
                if stack.is_some_and(|s| hit[s.0 as usize]) {
                    slices.iter_mut().zip(cell).for_each(|(s, w)| *s += w);
                }
            }
            slices
        };
        judged(patterns.iter().map(|p| self.test(&sum(&self.a, p), &sum(&self.b, p))).collect())
    }

    /// The functions of both sides: what certainly changed first, the largest change first; then the
    /// rest, the most expensive first.
    pub fn rows(&self) -> Vec<DiffRow> {
        let mut functions: Numbered<Function> = Numbered::default();
        let numbers = |half: &Half<'_>, functions: &mut Numbered<Function>| -> Vec<u32> {
            half.profile.functions.values.iter().map(|f| functions.number(f)).collect()
        };
        let maps = [numbers(&self.a, &mut functions), numbers(&self.b, &mut functions)];
        let grown = self.grow(|_, _| None, |side, half, frame| maps[side][half.profile.function_of[frame] as usize]);
        let totals = grown.totals();
        let width = grown.width;
        let mut by = vec![(vec![0.0; width], vec![0.0; width]); functions.values.len()];
        let mut is_met = vec![false; functions.values.len()];
        grown.tree.visit(|n, function, is_first| {
            let range = grown.row(&totals, n as usize);
            let (own, total) = &mut by[function as usize];
            is_met[function as usize] = true;
            own.iter_mut().zip(&grown.own[range.clone()]).for_each(|(s, w)| *s += w);
            if is_first {
                total.iter_mut().zip(&totals[range]).for_each(|(s, w)| *s += w);
            }
        });
        let at = self.a.exposure.len();
        let test = |slices: &Vec<f64>| self.test(&slices[..at], &slices[at..]);
        let met = || by.iter().zip(&is_met).filter(|(_, met)| **met).map(|(sums, _)| sums);
        let own = judged(met().map(|(own, _)| test(own)).collect());
        let total = judged(met().map(|(_, total)| test(total)).collect());
        let names = functions.values.into_iter().zip(&is_met).filter(|(_, met)| **met).map(|(f, _)| f);
        let mut rows: Vec<DiffRow> = names
            .zip(own.into_iter().zip(total))
            .map(|(Function { symbol, module, kind }, (own, total))| DiffRow { symbol, module, kind, own, total })
            .collect();
        rows.sort_by(|x, y| {
            order(&x.own, &y.own).then_with(|| (&x.symbol, &x.module, x.kind).cmp(&(&y.symbol, &y.module, y.kind)))
        });
        rows
    }

    /// The flame graph of both sides. `wide`: the side that gives the boxes their width. `by_thread`:
    /// the first level is the thread's name.
    pub fn flame(&self, wide: Which, order: Order, by_thread: bool) -> DiffFlame {
        let mut names: Numbered<Name> = Numbered::default();
        let mut comms: Numbered<Arc<str>> = Numbered::default();
        let maps = [&self.a, &self.b].map(|half| {
            let names: Vec<u32> = half.profile.names.values.iter().map(|n| names.number(n)).collect();
            let comms: Vec<u32> = half.profile.comms.values.iter().map(|c| comms.number(c)).collect();
            (names, comms)
        });
        // Keys: thread names from the top down, function names from the bottom up.
        let mut grown = self.grow(
            |side, comm| by_thread.then(|| u32::MAX - maps[side].1[comm as usize]),
            |side, half, frame| maps[side].0[half.profile.name_of[frame] as usize],
        );
        let totals = grown.totals();
        let at = self.a.exposure.len();
        let tests = (0..grown.tree.len()).map(|n| {
            let slices = &totals[grown.row(&totals, n)];
            self.test(&slices[..at], &slices[at..])
        });
        let changes = judged(tests.collect());
        let half = if wide == Which::Before { &self.a } else { &self.b };
        for n in 0..grown.tree.len() {
            let slices = &grown.own[grown.row(&grown.own, n)];
            let slices = if wide == Which::Before { &slices[..at] } else { &slices[at..] };
            grown.tree.weigh(n as u32, slices.iter().sum::<f64>().round() as u64);
        }
        let threads = u32::MAX - u32::try_from(comms.values.len()).unwrap_or(u32::MAX);
        let weights = Weights { samples: half.sum.samples, unit: half.sample_type.unit.clone(), ..Weights::default() };
        let (mut graph, numbers) = grown.tree.graph(order, weights, |key| match names.values.get(key as usize) {
            Some(name) if key < threads => (name.symbol.clone(), name.kind, false),
            _ => (comms.values[(u32::MAX - key) as usize].clone(), FrameKind::User, true),
        });
        graph.weights.total = graph.nodes.first().map_or(0, |root: &FlameNode| root.total);
        DiffFlame { graph, changes: numbers.into_iter().map(|n| changes[n as usize]).collect() }
    }

    /// One tree of both sides' stacks. `root`: the key of a thread's name, when they make a level;
    /// `key`: that of a frame. Both are of a side (0 or 1).
    fn grow(&self, root: impl Fn(usize, u32) -> Option<u32>, key: impl Fn(usize, &Half<'_>, usize) -> u32) -> Grown {
        let width = self.a.exposure.len() + self.b.exposure.len();
        let mut grown = Grown { tree: Tree::default(), width, own: vec![0.0; width] };
        for (side, half) in [&self.a, &self.b].into_iter().enumerate() {
            let first = if side == 0 { 0 } else { self.a.exposure.len() };
            grown.tree.change_table();
            for (&(comm, stack), slices) in &half.cells {
                let below = root(side, comm).map_or(Tree::ROOT, |key| grown.tree.child(Tree::ROOT, key));
                let n = grown.tree.place(below, stack, |id: StackId| {
                    let (caller, frame) = half.profile.table.nodes[id.0 as usize];
                    (caller, key(side, half, frame.0 as usize))
                });
                grown.own.resize(grown.tree.len() * width, 0.0);
                let at = n as usize * width + first;
                grown.own[at..at + slices.len()].iter_mut().zip(slices).for_each(|(s, w)| *s += w);
            }
        }
        grown
    }

    /// The change from A's slices to B's, not compared with others yet: Welch's test (Biometrika 34,
    /// 1947) of the two rates.
    fn test(&self, before: &[f64], after: &[f64]) -> Change {
        let (a, b) = (&self.a, &self.b);
        let (sum_a, sum_b): (f64, f64) = (before.iter().sum(), after.iter().sum());
        let rate = |sum: f64, half: &Half<'_>| if half.sum.divisor > 0.0 { sum / half.sum.divisor } else { 0.0 };
        let mut change = Change { before: rate(sum_a, a), after: rate(sum_b, b), p: None, is_noise: true };
        let count = |sum: f64, half: &Half<'_>| if half.grain > 0.0 { sum / half.grain } else { 0.0 };
        if !self.is_judged() || count(sum_a, a) + count(sum_b, b) < FEWEST_SAMPLES {
            return change;
        }
        // If nothing changed, both have this rate, and independent samples vary by it.
        let common = (sum_a + sum_b) / (a.sum.divisor + b.sum.divisor);
        let variance = |slices: &[f64], half: &Half<'_>| {
            let grain = if half.grain > 0.0 { half.grain } else { a.grain.max(b.grain) };
            half.observed_variance(slices).max(grain * common / half.sum.divisor)
        };
        let (of_a, of_b) = (variance(before, a), variance(after, b));
        let freedom = |half: &Half<'_>| match half.known {
            Known::Slices => half.exposure.len() as f64 - 1.0,
            Known::Counts | Known::Nothing => 1e6,
        };
        let both = of_a + of_b;
        let t = if change.delta() == 0.0 { 0.0 } else { change.delta() / both.sqrt() };
        let welch = both * both / (of_a * of_a / freedom(a) + of_b * of_b / freedom(b));
        change.p = Some(student(t, welch));
        change
    }
}

/// Tells of many changes which are to be believed.
fn judged(mut changes: Vec<Change>) -> Vec<Change> {
    let tests: Vec<Option<f64>> = changes.iter().map(|c| c.p).collect();
    for (change, is_believed) in changes.iter_mut().zip(believed(&tests, LEVEL)) {
        change.is_noise = !is_believed;
    }
    changes
}

/// What certainly changed first, the largest change first; then the rest, the most expensive first.
pub fn order(x: &Change, y: &Change) -> std::cmp::Ordering {
    let size = |c: &Change| if c.is_noise { c.before.max(c.after) } else { c.delta().abs() };
    x.is_noise.cmp(&y.is_noise).then_with(|| size(y).total_cmp(&size(x)))
}

/// What weights are divided by when nobody says.
fn usual(sides: &[&Side<'_>]) -> Per {
    let has_requests = |side: &&Side<'_>| {
        let stretches = side.timeline.observed(&side.filter);
        let whole: Vec<Stretch> = stretches.iter().filter_map(|s| s.in_whole_slots(side.timeline.load())).collect();
        half::requests(side, &whole) > 0.0
    };
    let is_instant = |side: &&Side<'_>| side.filter.event.as_deref().is_some_and(|e| e.starts_with("inuse"));
    match sides {
        _ if sides.iter().any(is_instant) => Per::Whole,
        _ if sides.iter().all(has_requests) => Per::Request,
        _ => Per::Second,
    }
}

/// A function with what it costs per what is divided by.
#[derive(Clone, Debug, PartialEq)]
pub struct CostRow {
    /// Its name (untrusted).
    pub symbol: Arc<str>,
    /// Binary, library or kernel module; empty when unknown.
    pub module: Arc<str>,
    /// What kind of code it is.
    pub kind: FrameKind,
    /// Weight in itself.
    pub own: f64,
    /// Weight in itself or in what it called.
    pub total: f64,
}

/// What functions cost, of one selection.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// What weights are divided by.
    pub per: Per,
    /// What was sampled.
    pub sample_type: SampleType,
    /// What it consists of.
    pub side: SideSum,
    /// Everything together.
    pub whole: f64,
    /// The functions, the one with the most weight of its own first.
    pub rows: Vec<CostRow>,
}

/// What functions cost per completed request, or as [`Comparison::new`] has `per`: CPU time in ns a
/// request when CPU time was sampled, lost samples made up for.
///
/// # Errors
/// As [`Comparison::new`].
pub fn costs(side: &Side<'_>, per: Option<Per>) -> Result<Costs, DiffError> {
    // A comparison with itself holds all of it.
    let c = Comparison::new(side, side, per)?;
    let row = |r: DiffRow| CostRow {
        symbol: r.symbol,
        module: r.module,
        kind: r.kind,
        own: r.own.after,
        total: r.total.after,
    };
    let whole = c.whole().after;
    let rows = c.rows().into_iter().map(row);
    let mut rows: Vec<CostRow> = rows.collect();
    rows.sort_by(|x, y| {
        y.own.total_cmp(&x.own).then(y.total.total_cmp(&x.total)).then_with(|| x.symbol.cmp(&y.symbol))
    });
    Ok(Costs { per: c.per, sample_type: c.b.sample_type, side: c.b.sum, whole, rows })
}
