//! Load by route over time: batches as the workers handed them over, about one a second; old
//! ones merged, so that a run of days stays in memory.
//!
//! Must not: average percentiles, or trust counts, names or instants.

use super::load::slots_of;
use crate::model::{At, Interval, Latency, Quantiles, RouteInterval, Span, new_route_histogram};
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Slots that are merged into one batch: ten seconds.
const CHUNK: u64 = 50;
/// Slots that stay as they came: ten minutes.
const KEPT: u64 = 3000;
/// A worker decides at each hand-over whether the routes go along, which they do when about a
/// second has passed: before its interval began, less than that can have been held back.
const HELD_BACK_NS: u64 = 1_000_000_000;
/// What is held back when all hand-overs come at their ticks.
const USUALLY_NS: u64 = 4 * Interval::TICK_NS;

/// What was handed over at one slot, or all that was in ten seconds.
#[derive(Clone, Debug, PartialEq)]
struct Batch {
    /// The slot it ends in, the last one of those merged.
    slot: u64,
    /// The stretch it covers.
    span: Span,
    /// Sorted by name.
    routes: Box<[RouteInterval]>,
}

/// All routes of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RouteTrack {
    /// Merged, by chunk.
    old: BTreeMap<u64, Batch>,
    /// By slot, in the order they came.
    recent: VecDeque<Batch>,
    /// Until when each worker has told its routes.
    told: BTreeMap<u16, At>,
    latest: u64,
    /// The first chunk that is not merged.
    unmerged: u64,
}

/// One route's load of a stretch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteSum {
    /// The normalised path.
    pub route: Arc<str>,
    /// Requests that ended.
    pub requests: u64,
    /// Of them, those without a whole response.
    pub failed: u64,
    /// Of them, those with a 5xx status.
    pub server_errors: u64,
    /// Of them, those with another status than when they were recorded.
    pub mismatched: u64,
    /// Response time.
    pub response: Quantiles,
}

impl RouteTrack {
    /// Takes the routes of an interval that belongs to `slot`.
    pub(super) fn apply(&mut self, i: &Interval, slot: u64) {
        let told = self.told.entry(i.worker).or_insert(i.span.from);
        if i.routes.is_empty() {
            return;
        }
        // A worker that had nothing to tell for a while told nothing then.
        let was_silent = i.span.from.since_ns(*told) > HELD_BACK_NS;
        let from = if was_silent { At(i.span.from.0.saturating_sub(USUALLY_NS)) } else { *told };
        let from = if from < i.span.to { from } else { i.span.from };
        *told = i.span.to.max(*told);
        let batch = Batch { slot, span: Span { from, to: i.span.to }, routes: i.routes.as_slice().into() };
        if slot / CHUNK < self.unmerged {
            return self.merge(slot / CHUNK, vec![batch]);
        }
        // Workers hand over at the same tick, one a little before the other.
        let n = self.recent.partition_point(|b| b.slot <= slot);
        self.recent.insert(n, batch);
        self.latest = self.latest.max(slot);
        let unmerged = self.latest.saturating_sub(KEPT) / CHUNK;
        if unmerged > self.unmerged {
            self.unmerged = unmerged;
            while let Some(chunk) = self.recent.front().map(|b| b.slot / CHUNK).filter(|c| *c < unmerged) {
                let past = self.recent.partition_point(|b| b.slot / CHUNK <= chunk);
                let batches = self.recent.drain(..past).collect();
                self.merge(chunk, batches);
            }
        }
    }

    fn merge(&mut self, chunk: u64, mut batches: Vec<Batch>) {
        batches.extend(self.old.remove(&chunk));
        let mut by_name: BTreeMap<&Arc<str>, Vec<&RouteInterval>> = BTreeMap::new();
        for r in batches.iter().flat_map(|b| &b.routes) {
            by_name.entry(&r.route).or_default().push(r);
        }
        let mut dense = new_route_histogram();
        let routes = by_name.into_iter().map(|(route, all)| {
            dense.reset();
            all.iter().for_each(|r| r.response_time.add_to(&mut dense));
            let sum = |of: fn(&RouteInterval) -> u64| all.iter().fold(0u64, |n, r| n.saturating_add(of(r)));
            RouteInterval {
                route: route.clone(),
                requests: sum(|r| r.requests),
                failed: sum(|r| r.failed),
                server_errors: sum(|r| r.server_errors),
                mismatched: sum(|r| r.mismatched),
                response_time: Latency::encode(&dense),
            }
        });
        let routes = routes.collect();
        let slot = batches.iter().map(|b| b.slot).max().unwrap_or(0);
        self.old.insert(chunk, Batch { slot, span: cover(batches.iter()), routes });
    }

    /// The batches that end in the slots of a stretch.
    fn batches(&self, span: Span) -> impl Iterator<Item = &Batch> {
        let slots = slots_of(span);
        let first = self.recent.partition_point(|b| b.slot < slots.start);
        let past = self.recent.partition_point(|b| b.slot < slots.end).max(first);
        let old = self.old.range(slots.start / CHUNK..slots.end.div_ceil(CHUNK).max(slots.start / CHUNK));
        old.map(|(_, b)| b).filter(move |b| slots.contains(&b.slot)).chain(self.recent.range(first..past))
    }

    /// What the batches that end in a stretch cover.
    pub(super) fn span(&self, span: Span) -> Span {
        cover(self.batches(span))
    }

    /// Until when the routes are told by the worker that told last.
    pub(super) fn known_until(&self) -> At {
        let old = self.old.last_key_value().map(|(_, b)| b);
        self.recent.back().or(old).map_or(At::START, |b| b.span.to)
    }

    /// The sums by route, most requests first.
    pub(super) fn sums(&self, span: Span) -> Vec<RouteSum> {
        let mut by_name: BTreeMap<&Arc<str>, (RouteSum, Histogram<u64>)> = BTreeMap::new();
        for r in self.batches(span).flat_map(|b| &b.routes) {
            let (sum, dense) = by_name
                .entry(&r.route)
                .or_insert_with(|| (RouteSum { route: r.route.clone(), ..RouteSum::default() }, new_route_histogram()));
            sum.requests = sum.requests.saturating_add(r.requests);
            sum.failed = sum.failed.saturating_add(r.failed);
            sum.server_errors = sum.server_errors.saturating_add(r.server_errors);
            sum.mismatched = sum.mismatched.saturating_add(r.mismatched);
            r.response_time.add_to(dense);
        }
        let mut all: Vec<RouteSum> =
            by_name.into_values().map(|(sum, dense)| RouteSum { response: (&dense).into(), ..sum }).collect();
        all.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.route.cmp(&b.route)));
        all
    }

    /// One route's batches, with the stretch each covers.
    pub(super) fn one<'a>(&'a self, span: Span, route: &'a str) -> impl Iterator<Item = (Span, &'a RouteInterval)> {
        self.batches(span).filter_map(move |b| {
            let n = b.routes.binary_search_by(|r| (*r.route).cmp(route)).ok()?;
            Some((b.span, &b.routes[n]))
        })
    }
}

/// From where the first begins to where the last ends.
fn cover<'a>(batches: impl Iterator<Item = &'a Batch>) -> Span {
    let both = |a: Span, b: Span| Span { from: a.from.min(b.from), to: a.to.max(b.to) };
    batches.map(|b| b.span).reduce(both).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::interval;
    use super::super::{LoadTrack, Timeline};
    use super::*;
    use crate::model::{Event, new_route_histogram};

    fn told(worker: u16, from_ms: u64, to_ms: u64, route: &str, requests: u64) -> Interval {
        let mut dense = new_route_histogram();
        dense.record_n(1_000_000, requests).unwrap();
        let response_time = Latency::encode(&dense);
        let r =
            RouteInterval { route: route.into(), requests, failed: 1, server_errors: 0, mismatched: 0, response_time };
        let span = Span { from: At(from_ms * 1_000_000), to: At(to_ms * 1_000_000) };
        Interval { span, routes: vec![r], ..interval(worker, to_ms, &[1]) }
    }

    fn ms(from: u64, to: u64) -> Span {
        Span { from: At(from * 1_000_000), to: At(to * 1_000_000) }
    }

    #[test]
    fn a_batch_covers_what_its_worker_had_not_told_before() {
        let mut t = LoadTrack::default();
        for n in 0..5 {
            t.apply(&interval(0, 200 * (n + 1), &[1]));
        }
        t.apply(&told(0, 1000, 1200, "/a", 120));
        t.apply(&interval(1, 1200, &[1]));
        t.apply(&told(0, 1200, 2000, "/a", 80));
        t.apply(&told(1, 1800, 2000, "/a", 10));
        t.apply(&told(0, 8800, 9000, "/a", 7));
        let all: Vec<_> = t.route(ms(0, 9000), "/a").map(|(s, r)| (s, r.requests)).collect();
        assert_eq!(all, [(ms(0, 1200), 120), (ms(1200, 2000), 80), (ms(1000, 2000), 10), (ms(8000, 9000), 7)]);
        assert_eq!(t.routes(ms(1200, 2000))[0].requests, 90);
        assert_eq!(t.routes_span(ms(1200, 2000)), ms(1000, 2000));
        assert!(t.routes(ms(1200, 1800)).is_empty() && t.routes_span(ms(1200, 1800)).is_empty());
    }

    #[test]
    fn what_is_old_is_merged_and_nothing_is_lost() {
        let mut t = Timeline::new();
        for s in 1..=1000 {
            for worker in 0..2 {
                let route = if s % 2 == 0 { "/a" } else { "/b" };
                t.apply(&Event::Interval(told(worker, s * 1000 - 200, s * 1000, route, 10)));
            }
        }
        t.apply(&Event::Interval(told(3, 4_800, 5_000, "/late", 1)));
        let load = t.load();
        let sums = load.routes(t.whole());
        let counts: Vec<_> = sums.iter().map(|r| (&*r.route, r.requests, r.failed, r.response.count)).collect();
        assert_eq!(counts, [("/a", 10_000, 1000, 10_000), ("/b", 10_000, 1000, 10_000), ("/late", 1, 1, 1)]);
        assert_eq!(load.routes_span(ms(0, 10_000)), ms(800, 10_000));
        assert_eq!(
            load.route(ms(0, 10_000), "/a").map(|(s, r)| (s, r.requests)).collect::<Vec<_>>(),
            [(ms(800, 10_000), 100)]
        );
        // Ten minutes stay as they came.
        assert!(load.route(ms(0, 1_000_000), "/a").count() < 2 * 310 + 50);
        assert_eq!(load.route(ms(900_000, 910_000), "/a").count(), 10);
    }

    #[test]
    fn instants_of_any_kind_are_taken() {
        let mut t = LoadTrack::default();
        for end in [u64::MAX / 2_000_000, 400, 1 << 40, 600, u64::MAX / 1_000_000] {
            t.apply(&told(0, end - 200, end, "/a", 1));
        }
        assert_eq!(t.routes(Span { from: At(0), to: At(u64::MAX) })[0].requests, 5);
    }
}
