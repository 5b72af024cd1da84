//! The raw values of one metric of one instance over time, and rates between them.
//!
//! Must not: know what the values mean.

use super::block::Block;
use crate::model::{At, Span};
use std::sync::Arc;

/// Raw values in time order. The latest lie as they came, those before in blocks.
#[derive(Clone, Debug, Default)]
pub struct Series {
    blocks: Vec<Block>,
    /// Readings in the blocks.
    in_blocks: usize,
    at: Vec<At>,
    value: Vec<i64>,
    /// Who read the values, when it is known.
    sampler: Option<Arc<str>>,
}

/// A block ends with a minute, so that the metrics of one sampler share their instants ...
const BLOCK_NS: u64 = 60_000_000_000;
/// ... unless it would have fewer readings than are worth a block, ...
const FEWEST: usize = 32;
/// ... which fewer are if their instants are shared, ...
const FEW: usize = 4;
/// ... or more than are quickly looked through.
const MOST: usize = 512;

/// How a counter moved over a stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// By how much.
    pub delta: i64,
    /// Between which readings: never exactly the stretch asked for.
    pub span: Span,
}

impl Rate {
    /// Per second.
    pub fn per_s(self) -> f64 {
        self.delta as f64 / self.span.secs()
    }
}

impl Series {
    /// Appends a value; one that comes late is sorted in.
    pub fn push(&mut self, at: At, value: i64) {
        self.push_alike(at, value, None);
    }

    /// The same of a value that is read with others, whose instants are [`Series::last_times`].
    pub(super) fn push_alike(&mut self, at: At, value: i64, alike: Option<&Arc<[At]>>) {
        let minute = |at: At| at.0 / BLOCK_NS;
        let is_over = self.at.last().is_some_and(|last| minute(*last) < minute(at)) && self.at.len() >= FEWEST;
        // Its sampler's block has just ended with the same reading: from now on they share their instants.
        let is_shared = alike.is_some_and(|a| a.last() == self.at.last()) && self.at.len() >= FEW;
        if is_over || is_shared || self.at.len() >= MOST {
            self.in_blocks += self.at.len();
            self.blocks.extend(Block::new(&self.at, &self.value, alike));
            self.at.clear();
            self.value.clear();
        }
        if self.blocks.last().is_some_and(|b| at < b.ends()) {
            return self.push_late(at, value);
        }
        let i = self.at.partition_point(|a| *a <= at);
        self.at.insert(i, at);
        self.value.insert(i, value);
    }

    /// Sorts a value in among those in blocks.
    fn push_late(&mut self, at: At, value: i64) {
        let n = self.blocks.partition_point(|b| b.begins() <= at).saturating_sub(1);
        let Some(block) = self.blocks.get(n) else { return };
        let (times, values): (Vec<At>, Vec<i64>) = block.with(at, value).into_iter().unzip();
        // A file made to do harm must not cost the unpacking of all it holds for each reading.
        let half = if times.len() > MOST { times.len() / 2 } else { times.len() };
        let parts =
            [Block::new(&times[..half], &values[..half], None), Block::new(&times[half..], &values[half..], None)];
        self.blocks.splice(n..=n, parts.into_iter().flatten());
        self.in_blocks += 1;
    }

    /// The instants of the block that ended last.
    pub(super) fn last_times(&self) -> Option<Arc<[At]>> {
        self.blocks.last().map(|b| b.times().clone())
    }

    /// Says by which sampler the values are read.
    pub(super) fn set_sampler(&mut self, name: &Arc<str>) {
        if self.sampler.as_ref() != Some(name) {
            self.sampler = Some(name.clone());
        }
    }

    /// The sampler that read the latest value.
    pub(super) fn sampler(&self) -> Option<&Arc<str>> {
        self.sampler.as_ref()
    }

    /// How many values.
    pub fn len(&self) -> usize {
        self.in_blocks + self.at.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last reading at or before `at`.
    pub fn last_at(&self, at: At) -> Option<(At, i64)> {
        self.last_where(|a| a <= at)
    }

    /// The last reading whose instant is as asked, which no later one's is when an earlier one's is not.
    fn last_where(&self, is_before: impl Fn(At) -> bool) -> Option<(At, i64)> {
        if let Some(i) = self.at.partition_point(|a| is_before(*a)).checked_sub(1) {
            return Some((self.at[i], self.value[i]));
        }
        let block = &self.blocks[self.blocks.partition_point(|b| is_before(b.begins())).checked_sub(1)?];
        let i = block.times().partition_point(|a| is_before(*a)).checked_sub(1)?;
        block.readings().nth(i)
    }

    /// The first reading of all.
    pub fn first(&self) -> Option<(At, i64)> {
        self.readings_from(At::START).next()
    }

    /// A gauge's value at `at`, if a reading not older than `max_age_ns` is there.
    pub fn gauge(&self, at: At, max_age_ns: u64) -> Option<i64> {
        self.last_at(at).filter(|(read, _)| at.since_ns(*read) <= max_age_ns).map(|(_, v)| v)
    }

    /// The readings of a stretch, both ends included.
    pub fn window(&self, span: Span) -> impl Iterator<Item = (At, i64)> + '_ {
        self.readings_from(span.from).take_while(move |(at, _)| *at <= span.to)
    }

    /// The readings from an instant on.
    fn readings_from(&self, from: At) -> impl Iterator<Item = (At, i64)> + '_ {
        let first = self.blocks.partition_point(|b| b.ends() < from);
        let packed = self.blocks[first..].iter().flat_map(Block::readings).skip_while(move |(at, _)| *at < from);
        let i = self.at.partition_point(|a| *a < from);
        packed.chain(self.at[i..].iter().copied().zip(self.value[i..].iter().copied()))
    }

    /// The highest value of a stretch.
    pub fn peak(&self, span: Span) -> Option<i64> {
        self.window(span).map(|(_, v)| v).max()
    }

    /// How a counter moved over a stretch: between the last readings at or before its two
    /// ends, at least between two neighbours. `None` when there are none, when the counter
    /// fell (reset, or a CPU that came back), or when no reading of the stretch is left
    /// because the series ended before it.
    pub fn rate(&self, span: Span) -> Option<Rate> {
        let last = self.last_at(span.to)?;
        let before = self.last_at(span.from).or_else(|| self.first()).filter(|first| first.0 < last.0);
        let first = before.or_else(|| self.last_where(|at| at < last.0))?;
        if last.0 < span.from && span.from.since_ns(last.0) > STALE_NS {
            return None;
        }
        let delta = last.1.checked_sub(first.1).filter(|d| *d >= 0)?;
        Some(Rate { delta, span: Span { from: first.0, to: last.0 } })
    }

    /// The rate between each two neighbours whose later one lies in the stretch.
    pub fn rates(&self, span: Span) -> impl Iterator<Item = (At, f64)> + '_ {
        let mut before = self.last_where(|at| at < span.from);
        self.window(span).filter_map(move |now| {
            let (at, value) = before.replace(now)?;
            let seconds = now.0.since_ns(at) as f64 / 1e9;
            let delta = now.1.checked_sub(value).filter(|d| *d >= 0)?;
            (seconds > 0.0).then(|| (now.0, delta as f64 / seconds))
        })
    }
}

/// Series are equal that hold the same, whatever they have packed.
impl PartialEq for Series {
    fn eq(&self, other: &Series) -> bool {
        self.sampler == other.sampler
            && self.len() == other.len()
            && self.readings_from(At::START).eq(other.readings_from(At::START))
    }
}

/// A reading older than this says nothing about now, ns, even when its sampler has not read
/// again: where the host's tables are long, periods stretch to tens of seconds.
pub(super) const STALE_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, nothing packed: what the words above each function say, in the plainest way.
    struct Plain(Vec<(At, i64)>);

    impl Plain {
        fn of(points: &[(u64, i64)]) -> Plain {
            let mut all: Vec<(At, i64)> = points.iter().map(|(at, v)| (At(*at), *v)).collect();
            all.sort_by_key(|(at, _)| *at);
            Plain(all)
        }

        fn window(&self, span: Span) -> Vec<(At, i64)> {
            self.0.iter().copied().filter(|(at, _)| (span.from..=span.to).contains(at)).collect()
        }

        fn last(&self, is_before: impl Fn(At) -> bool) -> Option<(At, i64)> {
            self.0.iter().copied().rfind(|(at, _)| is_before(*at))
        }

        fn rate(&self, span: Span) -> Option<Rate> {
            let last = self.last(|at| at <= span.to)?;
            let before = self.last(|at| at <= span.from).or(self.0.first().copied()).filter(|r| r.0 < last.0);
            let first = before.or_else(|| self.last(|at| at < last.0))?;
            let is_old = last.0 < span.from && span.from.since_ns(last.0) > STALE_NS;
            let span = Span { from: first.0, to: last.0 };
            (!is_old && last.1 >= first.1).then_some(Rate { delta: last.1 - first.1, span })
        }

        fn rates(&self, span: Span) -> Vec<(At, f64)> {
            let pairs = self.0.windows(2).filter(|p| (span.from..=span.to).contains(&p[1].0) && p[0].0 < p[1].0);
            let per_s = |p: &[(At, i64)]| (p[1].1 - p[0].1) as f64 / (p[1].0.since_ns(p[0].0) as f64 / 1e9);
            pairs.filter(|p| p[1].1 >= p[0].1).map(|p| (p[1].0, per_s(p))).collect()
        }
    }

    proptest! {
        #[test]
        fn packing_changes_no_answer(
            steps in prop::collection::vec((0u64..900, 0u64..20_000, -5i64..1000), 0..900),
            asked in prop::collection::vec((0u64..400_000, 0u64..90_000), 8),
        ) {
            // The clock goes on; one in ten readings is late by up to two seconds, half of them stand still.
            let (mut clock, mut value) = (2000, 0);
            let mut taken = std::collections::BTreeSet::new();
            let mut read = |(on, late, moved): &(u64, u64, i64)| {
                clock += on;
                value += if *moved > 500 { 0 } else { *moved };
                let ms = clock - if *late < 2000 { *late } else { 0 };
                taken.insert(ms).then_some((ms * 1_000_000, value))
            };
            let points: Vec<(u64, i64)> = steps.iter().filter_map(&mut read).collect();
            let (s, plain) = (series(&points), Plain::of(&points));
            prop_assert_eq!(s.len(), points.len());
            prop_assert!(points.len() < 400 || !s.blocks.is_empty());
            prop_assert_eq!(s.first(), plain.0.first().copied());
            for (from, long) in asked {
                let span = Span { from: At(from * 1_000_000), to: At((from + long) * 1_000_000) };
                prop_assert_eq!(s.window(span).collect::<Vec<_>>(), plain.window(span));
                prop_assert_eq!(s.last_at(span.to), plain.last(|at| at <= span.to));
                prop_assert_eq!(s.peak(span), plain.window(span).iter().map(|r| r.1).max());
                prop_assert_eq!(s.rates(span).collect::<Vec<_>>(), plain.rates(span));
                prop_assert_eq!(s.rate(span), plain.rate(span));
            }
            // However it is packed, it is the same.
            let mut sorted = points.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&series(&sorted), &s);
        }
    }

    #[test]
    fn a_series_that_begins_later_comes_to_share_the_instants_of_its_sampler() {
        // Every three seconds: a minute has too few for a block.
        let (mut all, mut later) = (Series::default(), Series::default());
        for n in 0..200u64 {
            let at = At(n * 3_000_000_000);
            all.push(at, 1);
            if n > 27 {
                later.push_alike(at, 2, all.last_times().as_ref());
            }
        }
        assert!(later.blocks.len() > 2 && all.blocks.len() > 2);
        assert!(Arc::ptr_eq(&all.last_times().unwrap(), &later.last_times().unwrap()));
    }

    #[test]
    fn readings_in_the_worst_order_stay_in_small_blocks() {
        let points: Vec<(u64, i64)> = (0..20_000u64).rev().map(|n| (n * 1_000_000_000, n as i64)).collect();
        let s = series(&points);
        assert_eq!(s.window(Span { from: At::START, to: At(u64::MAX) }).map(|(_, v)| v).sum::<i64>(), 19_999 * 10_000);
        assert!(s.blocks.iter().all(|b| b.times().len() <= MOST + 1));
    }

    fn series(points: &[(u64, i64)]) -> Series {
        let mut s = Series::default();
        points.iter().for_each(|(at, v)| s.push(At(*at), *v));
        s
    }

    #[test]
    fn a_rate_lies_between_the_readings_around_the_stretch() {
        let s = series(&[(0, 0), (1_000_000_000, 100), (2_000_000_000, 300)]);
        let r = s.rate(Span { from: At(900_000_000), to: At(2_000_000_000) }).unwrap();
        assert_eq!((r.delta, r.per_s()), (300, 150.0));
        // A stretch between two readings falls back to the last two neighbours.
        let r = s.rate(Span { from: At(2_100_000_000), to: At(2_200_000_000) }).unwrap();
        assert_eq!(r.delta, 200);
    }

    #[test]
    fn a_counter_that_fell_has_no_rate_there() {
        let s = series(&[(0, 500), (1_000_000_000, 3), (2_000_000_000, 5)]);
        assert_eq!(s.rate(Span { from: At(0), to: At(1_000_000_000) }), None);
        let all: Vec<_> = s.rates(Span { from: At(0), to: At(9_000_000_000) }).collect();
        assert_eq!(all, [(At(2_000_000_000), 2.0)]);
    }

    #[test]
    fn late_values_are_sorted_in_and_old_gauges_expire() {
        let s = series(&[(10, 1), (30, 3), (20, 2)]);
        assert_eq!(s.window(Span { from: At(0), to: At(99) }).map(|(_, v)| v).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(s.gauge(At(25), 10), Some(2));
        assert_eq!(s.gauge(At(50), 10), None);
        assert_eq!(s.gauge(At(5), 10), None);
    }

    #[test]
    fn an_empty_series_answers_nothing() {
        let s = Series::default();
        let all = Span { from: At(0), to: At(9) };
        assert_eq!((s.rate(all), s.peak(all), s.last_at(At(9))), (None, None, None));
        assert_eq!(s.rates(all).count(), 0);
    }
}
