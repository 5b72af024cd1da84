//! Load over time: the workers' intervals folded into slots of one tick.
//!
//! Must not: average percentiles (distributions are merged), or trust counts: sums saturate,
//! since a session file may hold anything.

use super::routes::{RouteSum, RouteTrack};
use super::view::Band;
use crate::model::{
    At, Exemplar, Interval, Latency, OutcomeCount, PerPhase, Phase, PhaseTimes, Quantiles, RouteInterval, Span,
    new_histogram,
};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::ops::Range;

/// All load of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadTrack {
    /// By number: slot n ends at (n + 1) ticks. A map, so that a file with an instant years
    /// ahead costs one slot.
    slots: BTreeMap<u64, Slot>,
    routes: RouteTrack,
    /// By the tick they fell due in, the slowest first.
    exemplars: BTreeMap<u64, Vec<Exemplar>>,
    in_flight: BTreeMap<u16, (u64, u64)>,
    /// Over how many slots long intervals were spread.
    spread: u64,
    /// From the start of the first interval to the end of the last.
    span: Span,
}

/// What all workers handed over for one tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slot {
    /// Requests that fell due.
    pub offered: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests with a whole response.
    pub completed: u64,
    /// Requests without one.
    pub failed: u64,
    /// Requests given up unsent.
    pub dropped: u64,
    /// Requests sent twice.
    pub retried: u64,
    /// Requests under way at the end of the slot, all workers.
    pub in_flight: u64,
    /// Requests due and unsent at the end of the slot, all workers.
    pub queued: u64,
    /// Connections opened.
    pub connections_opened: u64,
    /// Of them, those opened beyond the plan.
    pub grown: u64,
    /// Bytes read.
    pub received_bytes: u64,
    /// Bytes written.
    pub sent_bytes: u64,
    /// Nanoseconds the longest interval in the slot covers.
    pub covers_ns: u64,
    /// End of the latest interval that counts in it: up to half a tick before or after its own.
    pub until: At,
    /// How requests ended, by outcome.
    pub outcomes: Vec<OutcomeCount>,
    /// Response time, ns.
    pub response: Latency,
    /// Service time, ns.
    pub service: Latency,
    /// Send lag, ns.
    pub lag: Latency,
    /// Time in each phase, ns.
    pub phases: PhaseTimes,
}

impl Slot {
    /// Keeps once what is the same: in a closed loop a request falls due when it is sent, and most
    /// answers come in one piece. Distributions are most of what a session is in memory.
    fn share(&mut self) {
        self.service.share_with(&self.response);
        self.phases[Phase::FirstByte].share_with(&self.service);
    }
}

impl LoadTrack {
    /// Folds one interval into the slot whose end is nearest to its own: workers hand over a
    /// little after each tick, and what they count lies before it. What a worker could not hand
    /// over for some ticks is spread evenly over their slots, except distributions, which cannot
    /// be divided and count in the last.
    pub(super) fn apply(&mut self, i: &Interval) {
        let last = nearest_slot(i.span.to);
        let began = i.span.from.0.saturating_add(Interval::TICK_NS / 2) / Interval::TICK_NS;
        let of = match (last + 1).saturating_sub(began) {
            n if n <= FEW => n.max(1),
            n if n <= MOST_SPREAD && self.spread < ALL_SPREAD => {
                self.spread += n;
                n
            }
            _ => 1,
        };
        let was = self.in_flight.insert(i.worker, (i.in_flight, i.queued)).unwrap_or_default();
        self.span = match self.span.is_empty() {
            true => i.span,
            false => Span { from: self.span.from.min(i.span.from), to: self.span.to.max(i.span.to) },
        };
        let gauge = |of: fn(&(u64, u64)) -> u64| self.in_flight.values().fold(0u64, |n, g| n.saturating_add(of(g)));
        let (in_flight, queued) = (gauge(|g| g.0), gauge(|g| g.1));
        let covers_ns = if of == 1 { i.span.len_ns() } else { Interval::TICK_NS };
        for n in 0..of {
            let number = last + 1 - of + n;
            let is_new = !self.slots.contains_key(&number);
            let s = self.slots.entry(number).or_default();
            for (sum, count) in [
                (&mut s.offered, i.offered),
                (&mut s.sent, i.sent),
                (&mut s.completed, i.completed),
                (&mut s.failed, i.failed),
                (&mut s.dropped, i.dropped),
                (&mut s.retried, i.retried),
                (&mut s.connections_opened, i.connections_opened),
                (&mut s.grown, i.grown),
                (&mut s.received_bytes, i.received_bytes),
                (&mut s.sent_bytes, i.sent_bytes),
            ] {
                *sum = sum.saturating_add(share(count, n, of));
            }
            s.covers_ns = s.covers_ns.max(covers_ns);
            s.until = s.until.max(if number == last { i.span.to } else { end_of(number) });
            let shares = i.outcomes.iter().map(|o| OutcomeCount { count: share(o.count, n, of), ..*o });
            add_outcomes(&mut s.outcomes, shares.filter(|o| of == 1 || o.count > 0));
            // The other workers may have told what was under way then.
            if is_new || number == last {
                (s.in_flight, s.queued) = (in_flight, queued);
            }
            if number == last {
                merge(&mut s.response, &i.response_time);
                merge(&mut s.service, &i.service_time);
                merge(&mut s.lag, &i.send_lag);
                s.phases.iter_mut().for_each(|(phase, time)| merge(time, &i.phases[phase]));
                s.share();
            }
        }
        // Of a slot later than that another worker has told: with what this one had under way before.
        for (_, s) in self.slots.range_mut(last.saturating_add(1)..).take(2) {
            s.in_flight = s.in_flight.saturating_sub(was.0).saturating_add(i.in_flight);
            s.queued = s.queued.saturating_sub(was.1).saturating_add(i.queued);
        }
        self.routes.apply(i, last);
        i.exemplars.iter().for_each(|e| self.keep(e));
    }

    /// From the instant the load began to the last it is known of.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The slots that end in a stretch, with the instant each one ends.
    pub fn slots(&self, span: Span) -> impl DoubleEndedIterator<Item = (At, &Slot)> {
        self.slots.range(slots_of(span)).map(|(n, s)| (end_of(*n), s))
    }

    /// The end of the last slot there is: until there load is known.
    pub fn known_until(&self) -> At {
        self.slots.last_key_value().map_or(At::START, |(n, _)| end_of(*n))
    }

    /// Everything of a stretch added up, to whole slots.
    pub fn sum(&self, span: Span) -> LoadSum {
        let [mut response, mut service, mut lag] = std::array::from_fn(|_| new_histogram());
        let mut phases = PerPhase::of(|_| new_histogram());
        for (_, s) in self.slots(span) {
            s.response.add_to(&mut response);
            s.service.add_to(&mut service);
            s.lag.add_to(&mut lag);
            phases.iter_mut().for_each(|(phase, time)| s.phases[phase].add_to(time));
        }
        LoadSum {
            response: (&response).into(),
            service: (&service).into(),
            lag: (&lag).into(),
            phases: PerPhase::of(|phase| (&phases[phase]).into()),
            ..self.counts(span)
        }
    }

    /// The same without distributions, which are most of the work.
    pub fn counts(&self, span: Span) -> LoadSum {
        let mut sum = LoadSum::default();
        for (at, s) in self.slots(span) {
            sum.offered = sum.offered.saturating_add(s.offered);
            sum.sent = sum.sent.saturating_add(s.sent);
            sum.completed = sum.completed.saturating_add(s.completed);
            sum.failed = sum.failed.saturating_add(s.failed);
            sum.dropped = sum.dropped.saturating_add(s.dropped);
            sum.retried = sum.retried.saturating_add(s.retried);
            sum.connections_opened = sum.connections_opened.saturating_add(s.connections_opened);
            sum.grown = sum.grown.saturating_add(s.grown);
            sum.received_bytes = sum.received_bytes.saturating_add(s.received_bytes);
            sum.sent_bytes = sum.sent_bytes.saturating_add(s.sent_bytes);
            (sum.in_flight, sum.queued) = (s.in_flight, s.queued);
            add_outcomes(&mut sum.outcomes, s.outcomes.iter().copied());
            let from = At(at.0 - Interval::TICK_NS);
            sum.span = if sum.slots == 0 { Span { from, to: at } } else { Span { to: at, ..sum.span } };
            sum.slots = sum.slots.saturating_add(1);
        }
        // The first and the last slot are rarely whole: what rates are over is the load itself.
        if sum.slots > 0 {
            let is_last = sum.span.to == self.known_until();
            let to = if is_last { self.span.to } else { sum.span.to.min(self.span.to) };
            sum.span = Span { from: sum.span.from.max(self.span.from).min(to), to };
        }
        sum
    }

    /// The response-time distribution of a stretch.
    pub fn response(&self, span: Span) -> Histogram<u64> {
        let mut dense = new_histogram();
        self.slots(span).for_each(|(_, s)| s.response.add_to(&mut dense));
        dense
    }

    /// The load of a stretch by route, most requests first: what was handed over in it, which
    /// is of [`LoadTrack::routes_span`].
    pub fn routes(&self, span: Span) -> Vec<RouteSum> {
        self.routes.sums(span)
    }

    /// The stretch that [`LoadTrack::routes`] of a stretch are of: workers hand routes over about
    /// once a second (older ones are kept by ten seconds), so it begins before and ends before.
    /// Empty when none were handed over.
    pub fn routes_span(&self, span: Span) -> Span {
        self.routes.span(span)
    }

    /// Until when the routes are known. A worker that answered nothing for a while told nothing.
    pub fn routes_known_until(&self) -> At {
        const LATEST_NS: u64 = 1_400_000_000;
        self.routes.known_until().max(At(self.known_until().0.saturating_sub(LATEST_NS)))
    }

    /// What one route did, with the stretch each batch covers, for the batches that end in a
    /// stretch: one each worker and second, or one for ten seconds when it is long ago.
    pub fn route<'a>(&'a self, span: Span, route: &'a str) -> impl Iterator<Item = (Span, &'a RouteInterval)> {
        self.routes.one(span, route)
    }

    /// The slowest requests that fell due in a stretch, slowest first; of each tick the slowest
    /// few are known.
    pub fn slowest(&self, span: Span, most: usize) -> Vec<&Exemplar> {
        let slots = self.exemplars.range(slots_of(span)).flat_map(|(_, all)| all);
        let mut found: Vec<&Exemplar> = slots.filter(|e| span.contains(e.due)).collect();
        found.sort_by(|a, b| b.response_ns.cmp(&a.response_ns).then(a.due.cmp(&b.due)));
        found.truncate(most);
        found
    }

    /// When requests with such response times that were answered or fell due in a stretch were under
    /// way, in order and apart: exactly where the requests themselves are known, which the slowest of
    /// each tick are; else from the shortest of these times before their tick to its end.
    pub fn under_way(&self, span: Span, band: Band) -> Vec<Span> {
        let mut stretches: Vec<Span> = Vec::new();
        let mut known: BTreeMap<u64, u64> = BTreeMap::new();
        for e in self.slowest(span, usize::MAX).into_iter().filter(|e| band.contains(e.response_ns)) {
            let to = At(e.due.0.saturating_add(e.response_ns));
            stretches.push(Span { from: e.due, to });
            *known.entry(to.0 / Interval::TICK_NS).or_default() += 1;
        }
        for (end, slot) in self.slots(span) {
            let (mut there, mut shortest) = (0u64, u64::MAX);
            // Checked when it came in, so a failure here leaves what could be read.
            let _ = slot.response.for_each(|ns, n| {
                if band.contains(ns) {
                    there = there.saturating_add(n);
                    shortest = shortest.min(ns);
                }
            });
            // A worker hands over a little after a tick: what ended at its end may be in the next slot.
            let tick = end.0 / Interval::TICK_NS;
            let mut told = 0;
            for (_, n) in known.range_mut(tick.saturating_sub(2)..=tick) {
                let spent = (*n).min(there - told);
                (*n, told) = (*n - spent, told + spent);
            }
            if there > told {
                let from = At(end.0.saturating_sub(Interval::TICK_NS).saturating_sub(shortest));
                stretches.push(Span { from, to: end });
            }
        }
        Span::joined(stretches)
    }

    fn keep(&mut self, e: &Exemplar) {
        let slot = self.exemplars.entry(e.due.0 / Interval::TICK_NS).or_default();
        let n = slot.partition_point(|k| k.response_ns >= e.response_ns);
        if n < EXEMPLARS {
            slot.insert(n, e.clone());
            slot.truncate(EXEMPLARS);
        }
    }
}

/// Slow requests that are kept of a tick.
const EXEMPLARS: usize = 5;
/// Ticks that one interval is spread over at most, ten minutes: a longer one was never handed
/// over by a worker, and must not cost a slot for each of its ticks.
const MOST_SPREAD: u64 = 3000;

/// Ticks that any interval is spread over.
const FEW: u64 = 5;
/// Slots that all intervals longer than [`FEW`] are spread over at most: a file made to do
/// harm must not cost thousands of slots for each of its rows.
const ALL_SPREAD: u64 = 200_000;

/// The numbers of the slots that a stretch touches.
pub(super) fn slots_of(span: Span) -> Range<u64> {
    let first = span.from.0 / Interval::TICK_NS;
    first..span.to.0.div_ceil(Interval::TICK_NS).max(first)
}

/// The share of slot `n` of `of` in a count; the shares add up to it.
fn share(count: u64, n: u64, of: u64) -> u64 {
    let upto = |n: u64| u128::from(count) * u128::from(n) / u128::from(of.max(1));
    u64::try_from(upto(n + 1) - upto(n)).unwrap_or(u64::MAX)
}

/// The number of the slot whose end is nearest to an instant.
fn nearest_slot(end: At) -> u64 {
    end.0.saturating_sub(Interval::TICK_NS / 2) / Interval::TICK_NS
}

fn end_of(slot: u64) -> At {
    At((slot + 1).saturating_mul(Interval::TICK_NS))
}

/// Load of a stretch, added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadSum {
    /// What it covers: whole slots, cut to where there was load.
    pub span: Span,
    /// How many slots.
    pub slots: u64,
    /// Requests that fell due.
    pub offered: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests with a whole response.
    pub completed: u64,
    /// Requests without one.
    pub failed: u64,
    /// Requests given up unsent.
    pub dropped: u64,
    /// Requests sent twice.
    pub retried: u64,
    /// Requests under way at its end.
    pub in_flight: u64,
    /// Requests due and unsent at its end.
    pub queued: u64,
    /// Connections opened.
    pub connections_opened: u64,
    /// Of them, those opened beyond the plan.
    pub grown: u64,
    /// Bytes read.
    pub received_bytes: u64,
    /// Bytes written.
    pub sent_bytes: u64,
    /// How requests ended, by outcome.
    pub outcomes: Vec<OutcomeCount>,
    /// Response time.
    pub response: Quantiles,
    /// Service time.
    pub service: Quantiles,
    /// Send lag.
    pub lag: Quantiles,
    /// Time in each phase.
    pub phases: PerPhase<Quantiles>,
}

impl LoadSum {
    /// A count of this sum per second of its stretch.
    pub fn per_s(&self, count: u64) -> f64 {
        if self.span.is_empty() { 0.0 } else { count as f64 / self.span.secs() }
    }

    /// Responses with a 5xx status.
    pub fn server_errors(&self) -> u64 {
        self.outcomes.iter().filter(|o| o.outcome.is_server_error()).fold(0, |n, o| n.saturating_add(o.count))
    }
}

fn add_outcomes(into: &mut Vec<OutcomeCount>, more: impl Iterator<Item = OutcomeCount>) {
    for o in more {
        match into.binary_search_by_key(&o.outcome, |x| x.outcome) {
            Ok(i) => into[i].count = into[i].count.saturating_add(o.count),
            Err(i) => into.insert(i, o),
        }
    }
}

/// Adds `more` to `kept`.
fn merge(kept: &mut Latency, more: &Latency) {
    if kept.is_empty() {
        *kept = more.clone();
    } else if !more.is_empty() {
        let mut dense = new_histogram();
        kept.add_to(&mut dense);
        more.add_to(&mut dense);
        *kept = Latency::encode(&dense);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::Outcome;

    pub(in super::super) fn interval(worker: u16, end_ms: u64, values_us: &[u64]) -> Interval {
        let mut dense = new_histogram();
        values_us.iter().for_each(|us| dense.record(us * 1000).unwrap());
        let n = values_us.len() as u64;
        Interval {
            worker,
            span: Span { from: At((end_ms - 200) * 1_000_000), to: At(end_ms * 1_000_000) },
            offered: n,
            sent: n,
            completed: n,
            failed: 0,
            dropped: 0,
            retried: 0,
            in_flight: 3,
            queued: 0,
            connections_opened: 0,
            grown: 0,
            received_bytes: 10 * n,
            sent_bytes: n,
            response_time: Latency::encode(&dense),
            service_time: Latency::encode(&dense),
            send_lag: Latency::default(),
            phases: PhaseTimes::default(),
            outcomes: vec![OutcomeCount { outcome: Outcome::Status(200), count: n }],
            routes: vec![],
            exemplars: vec![],
        }
    }

    #[test]
    fn distributions_that_are_the_same_are_kept_once() {
        let mut t = LoadTrack::default();
        let told = interval(0, 200, &[5, 7]);
        let mut alike = told.clone();
        alike.service_time = Latency::from_bytes(told.response_time.bytes()).unwrap();
        alike.phases[Phase::FirstByte] = Latency::from_bytes(told.response_time.bytes()).unwrap();
        t.apply(&alike);
        t.apply(&Interval { worker: 1, ..alike.clone() });
        let tick = Span { from: At(0), to: At(Interval::TICK_NS) };
        let places = |t: &LoadTrack| {
            let (_, s) = t.slots(tick).next().unwrap();
            [&s.response, &s.service, &s.phases[Phase::FirstByte]].map(|l| l.bytes().as_ptr())
        };
        assert!(places(&t).windows(2).all(|p| p[0] == p[1]));
        assert_eq!(t.sum(tick).service.count, 4);
        t.apply(&Interval { worker: 2, service_time: interval(0, 200, &[9]).response_time, ..alike });
        assert!(places(&t)[0] != places(&t)[1]);
        let sum = t.sum(tick);
        assert_eq!([sum.response.count, sum.service.count, sum.phases[Phase::FirstByte].count], [6, 5, 6]);
    }

    #[test]
    fn workers_of_one_tick_share_a_slot_and_distributions_merge() {
        let mut t = LoadTrack::default();
        t.apply(&interval(0, 200, &[100; 99]));
        t.apply(&interval(1, 200, &[9_000]));
        t.apply(&interval(0, 600, &[50]));
        let all = t.sum(Span { from: At(0), to: At(600_000_000) });
        assert_eq!((all.completed, all.slots, all.in_flight), (101, 2, 6));
        assert_eq!(all.outcomes, [OutcomeCount { outcome: Outcome::Status(200), count: 101 }]);
        let first = t.slots(Span { from: At(0), to: At(200_000_000) }).next().unwrap().1;
        let q = t.sum(Span { from: At(0), to: At(200_000_000) }).response;
        assert_eq!((q.count, first.response.count()), (100, 100));
        assert!(q.p99.abs_diff(100_000) < 1_000 && q.max.abs_diff(9_000_000) < 10_000, "{q:?}");
        assert_eq!(all.per_s(all.completed).round(), (101.0f64 / 0.6).round());
    }

    #[test]
    fn slow_requests_were_under_way_from_when_they_were_due() {
        use crate::model::Exemplar;
        let mut t = LoadTrack::default();
        let ms = |n: u64| At(n * 1_000_000);
        let slow = Exemplar {
            due: ms(450),
            response_ns: 120_000_000,
            service_ns: 120_000_000,
            route: "/a".into(),
            outcome: Outcome::Status(200),
        };
        t.apply(&interval(0, 200, &[100; 99]));
        t.apply(&interval(0, 400, &[100, 100]));
        t.apply(&Interval { exemplars: vec![slow], ..interval(0, 600, &[100, 120_000]) });
        t.apply(&interval(0, 2000, &[100, 150_000, 250_000]));
        let whole = Span { from: At(0), to: ms(2000) };
        let band = Band { low_ns: 50_000_000, high_ns: u64::MAX };
        let found = t.under_way(whole, band);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], Span { from: ms(450), to: ms(570) });
        // Of the others the tick is known and the time it took.
        assert!(found[1].to == ms(2000) && found[1].from.0.abs_diff(ms(1650).0) < 1_000_000, "{found:?}");
        assert_eq!(t.under_way(whole, Band { low_ns: 1_000_000_000, high_ns: u64::MAX }), []);
        assert!(t.under_way(whole, Band { low_ns: 0, high_ns: 200_000 }).len() < 3);
    }

    #[test]
    fn at_the_end_nothing_is_under_way_whichever_worker_tells_it_first() {
        let end = |worker, ms: u64| {
            let span = Span { from: At(200_000_000), to: At(ms * 1_000_000) };
            Interval { span, in_flight: 0, queued: 0, ..interval(worker, 200, &[1]) }
        };
        // The two ends are an instant apart and in different slots.
        for ends in [[end(0, 299), end(1, 301)], [end(1, 301), end(0, 299)]] {
            let mut t = LoadTrack::default();
            t.apply(&Interval { queued: 5, ..interval(0, 200, &[]) });
            t.apply(&interval(1, 200, &[]));
            ends.iter().for_each(|i| t.apply(i));
            let all = t.sum(Span { from: At(0), to: At(400_000_000) });
            assert_eq!((all.in_flight, all.queued, all.slots), (0, 0, 2));
        }
    }

    #[test]
    fn what_is_handed_over_late_counts_where_it_happened() {
        let mut t = LoadTrack::default();
        let spans = [(50, 201), (201, 403), (403, 450)]; // ticks, handed over a little late, and an end
        for (from, to) in spans {
            let span = Span { from: At(from * 1_000_000), to: At(to * 1_000_000) };
            t.apply(&Interval { span, ..interval(0, 200, &[1]) });
        }
        assert_eq!(t.slots.values().map(|s| s.completed).collect::<Vec<_>>(), [1, 2]);
        let all = t.sum(Span { from: At(0), to: At(450_000_000) });
        assert_eq!((all.completed, all.span), (3, Span { from: At(50_000_000), to: At(450_000_000) }));
        let first = t.sum(Span { from: At(0), to: At(200_000_000) });
        assert_eq!((first.completed, first.span), (1, Span { from: At(50_000_000), to: At(200_000_000) }));
    }

    #[test]
    fn what_could_not_be_handed_over_for_some_ticks_is_spread_over_them() {
        let mut t = LoadTrack::default();
        t.apply(&interval(0, 200, &[1; 10]));
        t.apply(&interval(1, 400, &[1; 2]));
        let span = Span { from: At(201_000_000), to: At(1_003_000_000) };
        t.apply(&Interval { span, in_flight: 9, ..interval(0, 1000, &[1; 42]) });
        let done: Vec<_> = t.slots.values().map(|s| s.completed).collect();
        assert_eq!(done, [10, 2 + 10, 11, 10, 11]);
        assert_eq!(t.slots.values().map(|s| s.outcomes[0].count).collect::<Vec<_>>(), done);
        assert_eq!(t.slots.values().map(|s| s.response.count()).collect::<Vec<_>>(), [10, 2, 0, 0, 42]);
        assert_eq!(t.slots.values().map(|s| s.in_flight).collect::<Vec<_>>(), [3, 6, 12, 12, 12]);
        // Years in one interval cost one slot, and no count is too large.
        let years = Span { from: At(0), to: At(u64::MAX) };
        t.apply(&Interval { span: years, sent: u64::MAX, ..interval(2, 200, &[]) });
        assert_eq!((t.slots.len(), t.sum(years).sent), (6, u64::MAX));
        for n in 0..1000 {
            let span = Span { from: At(n << 40), to: At((n << 40) + 500_000_000_000) };
            t.apply(&Interval { span, ..interval(3, 200, &[]) });
        }
        assert!(t.slots.len() < 205_000, "{}", t.slots.len());
        assert_eq!((0..7).map(|n| share(u64::MAX, n, 7)).sum::<u64>(), u64::MAX);
    }

    #[test]
    fn the_slowest_few_of_a_tick_are_kept() {
        let mut t = LoadTrack::default();
        let slow = |ns: u64| Exemplar {
            due: At(10_000_000 + ns),
            response_ns: ns,
            service_ns: ns,
            route: "/".into(),
            outcome: Outcome::Status(200),
        };
        for worker in 0..3 {
            let exemplars = (1..=5).map(|n| slow(n * 10 + u64::from(worker))).collect();
            t.apply(&Interval { exemplars, ..interval(worker, 200, &[1]) });
        }
        let found = t.slowest(Span { from: At(0), to: At(200_000_000) }, 100);
        assert_eq!(found.iter().map(|e| e.response_ns).collect::<Vec<_>>(), [52, 51, 50, 42, 41]);
        assert_eq!(t.slowest(Span { from: At(0), to: At(10_000_042) }, 100).len(), 1);
    }

    #[test]
    fn a_stretch_takes_the_slots_it_touches() {
        let mut t = LoadTrack::default();
        for n in 1..=5 {
            t.apply(&interval(0, n * 200, &[n]));
        }
        let ends: Vec<u64> =
            t.slots(Span { from: At(200_000_000), to: At(600_000_000) }).map(|(a, _)| a.0 / 1_000_000).collect();
        assert_eq!(ends, [400, 600]);
        assert_eq!(t.slots(Span { from: At(u64::MAX - 1), to: At(u64::MAX) }).count(), 0);
    }
}
