//! One side of a comparison: its samples by stack and slice of time, and what they are divided by.
//!
//! Must not: compare.

use super::{DiffError, Per, Side, SideSum, Which};
use crate::model::{CaptureId, CaptureState, Span, StackId};
use crate::timeline::stacks::{Profile, Row, SampleType, Stretch};
use std::collections::{BTreeMap, HashMap};

/// Shorter slices than this would tear apart what belongs together: a burst, a pause.
const SLICE_NS: u64 = 100_000_000;
/// Slices of a side at most.
const MOST_SLICES: u64 = 30;
/// With fewer slices nothing can be said about how much a side varies.
pub(super) const FEWEST_SLICES: usize = 5;

/// A side with its samples added up.
#[derive(Debug)]
pub(super) struct Half<'a> {
    pub profile: &'a Profile,
    pub sum: SideSum,
    pub sample_type: SampleType,
    /// What each slice is divided by: seconds, requests, or its share of the whole.
    pub exposure: Vec<f64>,
    /// Weight by (thread name, stack), then slice; lost samples made up for.
    pub cells: BTreeMap<(u32, Option<StackId>), Vec<f64>>,
    /// The mean weight of a sample, each by its weight: how much one sample more or less changes.
    pub grain: f64,
    /// How much of its variation is known.
    pub known: Known,
}

/// What is known of how much a side varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was observed, in slices.
    Slices,
    /// Its samples have no times; they are taken for independent.
    Counts,
    /// Nothing: the stretch is too short, or its samples stand for unknown numbers of events.
    Nothing,
}

/// Where the stretches of a capture lie on the axis of observed time, which has no gaps.
struct Axis {
    /// The stretch, where it begins here, and whether its samples have times.
    by_capture: HashMap<CaptureId, Vec<(Span, u64, bool)>>,
    len_ns: u64,
    slices: usize,
}

impl Axis {
    fn of(stretches: &[Stretch]) -> Axis {
        let mut by_capture: HashMap<CaptureId, Vec<(Span, u64, bool)>> = HashMap::new();
        let mut len_ns = 0u64;
        for s in stretches {
            by_capture.entry(s.capture).or_default().push((s.span, len_ns, s.is_timed));
            len_ns = len_ns.saturating_add(s.span.len_ns());
        }
        let slices = match stretches.iter().all(|s| s.is_timed) {
            true => (len_ns / SLICE_NS).clamp(1, MOST_SLICES),
            false => 1,
        };
        Axis { by_capture, len_ns, slices: slices as usize }
    }

    /// Which slice a sample falls into; none when it was taken outside of what was observed.
    fn slice(&self, row: &Row) -> Option<usize> {
        let spans = self.by_capture.get(&row.source.capture)?;
        let n = spans.partition_point(|(s, ..)| s.from <= row.at).checked_sub(1)?;
        let (span, before, is_timed) = spans[n];
        // A profile from elsewhere may have all its samples at its very end.
        let is_in = row.at < span.to || (!is_timed && row.at == span.to);
        is_in.then(|| self.at(before + row.at.since_ns(span.from)))
    }

    fn at(&self, ns: u64) -> usize {
        let n = u128::from(ns) * self.slices as u128 / u128::from(self.len_ns.max(1));
        (n as usize).min(self.slices - 1)
    }

    /// Spreads an amount evenly over a stretch of the axis.
    fn spread(&self, into: &mut [f64], from: u64, to: u64, amount: f64) {
        let width = self.len_ns as f64 / self.slices as f64;
        let (first, last) = (self.at(from), self.at(to.saturating_sub(1).max(from)));
        for (n, cell) in into.iter_mut().enumerate().take(last + 1).skip(first) {
            let edge = |n: usize| (n as f64 * width).clamp(from as f64, to as f64);
            *cell += amount * (edge(n + 1) - edge(n)) / to.saturating_sub(from).max(1) as f64;
        }
    }
}

/// Requests completed in a stretch, given to `each` with where in the stretch they were, ns: slot by
/// slot, of a slot that lies in it partly the part. Whole slots are exact.
fn completed(side: &Side<'_>, stretch: &Stretch, mut each: impl FnMut(u64, u64, f64)) {
    let span = stretch.span;
    for (of, slot) in side.timeline.load().slots(span) {
        let (from, to) = (of.from.0.max(span.from.0), of.to.0.min(span.to.0));
        if from < to {
            let part = (to - from) as f64 / of.len_ns() as f64;
            each(from - span.from.0, to - span.from.0, slot.completed as f64 * part);
        }
    }
}

/// How many requests were completed in these stretches.
pub(super) fn requests(side: &Side<'_>, stretches: &[Stretch]) -> f64 {
    let mut sum = 0.0;
    stretches.iter().for_each(|s| completed(side, s, |_, _, n| sum += n));
    sum
}

impl<'a> Half<'a> {
    pub fn new(side: &Side<'a>, which: Which, per: Per) -> Result<Half<'a>, DiffError> {
        let profile = side.timeline.profile();
        let all = side.timeline.observed(&side.filter);
        let sample_type = one_type(side, which, &all)?;
        let stretches: Vec<Stretch> = match per {
            Per::Request => all.iter().filter_map(|s| s.in_whole_slots(side.timeline.load())).collect(),
            Per::Second | Per::Whole => all,
        };
        let axis = Axis::of(&stretches);
        let mut exposure = vec![0.0; axis.slices];
        let mut before = 0;
        for s in &stretches {
            let len = s.span.len_ns();
            match per {
                Per::Request => completed(side, s, |from, to, n| {
                    axis.spread(&mut exposure, before + from, before + to, n);
                }),
                Per::Second => axis.spread(&mut exposure, before, before + len, s.span.secs()),
                Per::Whole => axis.spread(&mut exposure, before, before + len, len as f64 / axis.len_ns.max(1) as f64),
            }
            before = before.saturating_add(len);
        }
        let divisor: f64 = exposure.iter().sum();
        if per == Per::Request && divisor <= 0.0 {
            return Err(DiffError::NoRequests { which });
        }
        let seconds = stretches.iter().map(|s| s.span.secs()).sum();
        let mut half = Half {
            profile,
            sum: SideSum { seconds, divisor, slices: axis.slices, ..SideSum::default() },
            sample_type,
            exposure,
            cells: BTreeMap::new(),
            grain: 0.0,
            known: Known::Nothing,
        };
        half.gather(side, &axis);
        half.sum.requests = requests(side, &stretches);
        half.sum.captures = captures(side, &stretches);
        half.sum.is_timed = stretches.iter().all(|s| s.is_timed);
        half.sum.shortfalls = side.timeline.shortfalls(&side.filter);
        half.sum.stretches = stretches;
        Ok(half)
    }

    /// Adds up the samples.
    fn gather(&mut self, side: &Side<'_>, axis: &Axis) {
        let (mut square, mut divisor_of_all) = (0.0, 0u64);
        let mut lost_of: BTreeMap<(CaptureId, u32), u64> = BTreeMap::new();
        for row in self.profile.passing(&side.filter).filter(|r| side.filter.idle || !r.source.idle) {
            let Some(slice) = axis.slice(&row) else {
                self.sum.outside += 1;
                continue;
            };
            let of = (row.source.capture, row.source.sample_type);
            let sum = &self.profile.captures[&of];
            lost_of.insert(of, sum.lost);
            let weight = row.weight as f64 * sum.made_up();
            let cell = self.cells.entry((row.thread.comm, row.stack)).or_insert_with(|| vec![0.0; axis.slices]);
            cell[slice] += weight;
            self.sum.samples += 1;
            self.sum.weight += weight;
            square += weight * weight;
            divisor_of_all = common_divisor(divisor_of_all, row.weight);
        }
        self.sum.lost = lost_of.values().fold(0, |n, &l| n.saturating_add(l));
        let is_timed = axis.slices > 1;
        // Without times a row stands for many samples; of CPU time each is one period long.
        (self.known, self.grain) = match (is_timed, &*self.sample_type.unit) {
            (true, _) if axis.slices >= FEWEST_SLICES => (Known::Slices, square / self.sum.weight.max(1.0)),
            (false, "ns") if divisor_of_all > 0 && axis.len_ns >= SLICE_NS * 2 => {
                (Known::Counts, divisor_of_all as f64)
            }
            _ => (Known::Nothing, square / self.sum.weight.max(1.0)),
        };
    }

    /// How much a sum over slices, divided by all exposure, varies by what was observed: that of a ratio of
    /// sums over batches (Cochran, Sampling Techniques, 1977, section 6.3).
    pub fn observed_variance(&self, slices: &[f64]) -> f64 {
        let (of, all) = (slices.len() as f64, self.sum.divisor);
        if self.known != Known::Slices || of < 2.0 || all <= 0.0 {
            return 0.0;
        }
        let rate = slices.iter().sum::<f64>() / all;
        let residue: f64 = slices.iter().zip(&self.exposure).map(|(y, e)| (y - rate * e).powi(2)).sum();
        of / (of - 1.0) * residue / (all * all)
    }
}

/// What a side measures: one event and unit, or an error.
fn one_type(side: &Side<'_>, which: Which, stretches: &[Stretch]) -> Result<SampleType, DiffError> {
    let profile = side.timeline.profile();
    let meant = profile.types_meant(side.filter.event.as_deref());
    let mut found: Vec<&SampleType> = Vec::new();
    for ((capture, number), sum) in &profile.captures {
        let is_in = stretches.iter().any(|s| s.capture == *capture);
        if meant[*number as usize] && is_in && sum.samples > 0 && !found.contains(&&sum.sample_type) {
            found.push(&sum.sample_type);
        }
    }
    match found[..] {
        [] => Err(DiffError::NoSamples { which }),
        [first, ..] if found.iter().all(|t| t.is_like(first)) => Ok(first.clone()),
        _ => Err(DiffError::Mixed { which, types: found.into_iter().cloned().collect() }),
    }
}

/// How the captures of these stretches were taken.
fn captures(side: &Side<'_>, stretches: &[Stretch]) -> Vec<(CaptureId, Option<(u32, String)>)> {
    let mut ids: Vec<CaptureId> = stretches.iter().map(|s| s.capture).collect();
    ids.dedup();
    let how = |id: CaptureId| {
        let news = match id {
            CaptureId::RECORDER => side.timeline.recorder(),
            _ => side.timeline.captures().find(|(known, _)| *known == id)?.1,
        };
        news.iter().rev().find_map(|n| match &n.state {
            CaptureState::Sampling { hz, how, .. } => Some((*hz, how.clone())),
            _ => None,
        })
    };
    ids.into_iter().map(|id| (id, how(id))).collect()
}

fn common_divisor(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
