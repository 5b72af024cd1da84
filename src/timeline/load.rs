//! Load over time: the workers' intervals folded into slots of one tick.
//!
//! Must not: average percentiles (distributions are merged), or trust counts: sums saturate,
//! since a session file may hold anything.

use crate::model::{
    At, Exemplar, Interval, Latency, OutcomeCount, Quantiles, RouteInterval, Span, new_histogram, new_route_histogram,
};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All load of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadTrack {
    /// By number: slot n ends at (n + 1) ticks. A map, so that a file with an instant years
    /// ahead costs one slot.
    slots: BTreeMap<u64, Slot>,
    routes: Vec<(At, Arc<[RouteInterval]>)>,
    exemplars: Vec<Exemplar>,
    in_flight: BTreeMap<u16, (u64, u64)>,
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
    /// Bytes read.
    pub received_bytes: u64,
    /// Bytes written.
    pub sent_bytes: u64,
    /// Nanoseconds the longest interval in the slot covers: a tick, or more when a worker's
    /// channel had been full.
    pub covers_ns: u64,
    /// How requests ended, by outcome.
    pub outcomes: Vec<OutcomeCount>,
    /// Response time, ns.
    pub response: Latency,
    /// Service time, ns.
    pub service: Latency,
    /// Send lag, ns.
    pub lag: Latency,
    /// Time to connect, ns.
    pub connect: Latency,
    /// Quantiles of the response time, kept because every chart asks for them.
    pub response_quantiles: Quantiles,
}

impl LoadTrack {
    /// Folds one interval into the slot whose end is nearest to its own: workers hand over a
    /// little after each tick, and what they count lies before it.
    pub(super) fn apply(&mut self, i: &Interval) {
        let n = nearest_slot(i.span.to);
        self.in_flight.insert(i.worker, (i.in_flight, i.queued));
        self.span = match self.span.is_empty() {
            true => i.span,
            false => Span { from: self.span.from.min(i.span.from), to: self.span.to.max(i.span.to) },
        };
        let s = self.slots.entry(n).or_default();
        s.offered = s.offered.saturating_add(i.offered);
        s.sent = s.sent.saturating_add(i.sent);
        s.completed = s.completed.saturating_add(i.completed);
        s.failed = s.failed.saturating_add(i.failed);
        s.dropped = s.dropped.saturating_add(i.dropped);
        s.retried = s.retried.saturating_add(i.retried);
        s.connections_opened = s.connections_opened.saturating_add(i.connections_opened);
        s.received_bytes = s.received_bytes.saturating_add(i.received_bytes);
        s.sent_bytes = s.sent_bytes.saturating_add(i.sent_bytes);
        s.covers_ns = s.covers_ns.max(i.span.len_ns());
        s.in_flight = self.in_flight.values().fold(0, |n, g| n.saturating_add(g.0));
        s.queued = self.in_flight.values().fold(0, |n, g| n.saturating_add(g.1));
        add_outcomes(&mut s.outcomes, &i.outcomes);
        merge(&mut s.response, &i.response_time);
        s.response_quantiles = quantiles(&s.response);
        merge(&mut s.service, &i.service_time);
        merge(&mut s.lag, &i.send_lag);
        merge(&mut s.connect, &i.connect_time);
        if !i.routes.is_empty() {
            // Workers hand over at the same tick, one a little before the other.
            let n = self.routes.partition_point(|(at, _)| *at <= i.span.to);
            self.routes.insert(n, (i.span.to, i.routes.as_slice().into()));
        }
        self.exemplars.extend(i.exemplars.iter().cloned());
    }

    /// From the instant the load began to the last it is known of.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The slots that end in a stretch, with the instant each one ends.
    pub fn slots(&self, span: Span) -> impl DoubleEndedIterator<Item = (At, &Slot)> {
        let first = span.from.0 / Interval::TICK_NS;
        let past = span.to.0.div_ceil(Interval::TICK_NS).max(first);
        self.slots.range(first..past).map(|(n, s)| (end_of(*n), s))
    }

    /// The last slot that began before an instant.
    pub fn slot_at(&self, at: At) -> Option<&Slot> {
        self.slots.range(..=slot_of(at)).next_back().map(|(_, s)| s)
    }

    /// The end of the last slot there is: until there load is known.
    pub fn known_until(&self) -> At {
        self.slots.last_key_value().map_or(At::START, |(n, _)| end_of(*n))
    }

    /// Everything of a stretch added up, to whole slots.
    pub fn sum(&self, span: Span) -> LoadSum {
        let mut sum = LoadSum::default();
        let [mut response, mut service, mut lag, mut connect] = std::array::from_fn(|_| new_histogram());
        for (at, s) in self.slots(span) {
            sum.offered = sum.offered.saturating_add(s.offered);
            sum.sent = sum.sent.saturating_add(s.sent);
            sum.completed = sum.completed.saturating_add(s.completed);
            sum.failed = sum.failed.saturating_add(s.failed);
            sum.dropped = sum.dropped.saturating_add(s.dropped);
            sum.retried = sum.retried.saturating_add(s.retried);
            sum.connections_opened = sum.connections_opened.saturating_add(s.connections_opened);
            sum.received_bytes = sum.received_bytes.saturating_add(s.received_bytes);
            sum.sent_bytes = sum.sent_bytes.saturating_add(s.sent_bytes);
            (sum.in_flight, sum.queued) = (s.in_flight, s.queued);
            add_outcomes(&mut sum.outcomes, &s.outcomes);
            s.response.add_to(&mut response);
            s.service.add_to(&mut service);
            s.lag.add_to(&mut lag);
            s.connect.add_to(&mut connect);
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
        sum.response = (&response).into();
        sum.service = (&service).into();
        sum.lag = (&lag).into();
        sum.connect = (&connect).into();
        sum
    }

    /// The response-time distribution of a stretch.
    pub fn response(&self, span: Span) -> Histogram<u64> {
        let mut dense = new_histogram();
        self.slots(span).for_each(|(_, s)| s.response.add_to(&mut dense));
        dense
    }

    /// The load of a stretch by route, most requests first; to whole seconds.
    pub fn routes(&self, span: Span) -> Vec<RouteSum> {
        let mut by_name: BTreeMap<&Arc<str>, (RouteSum, Histogram<u64>)> = BTreeMap::new();
        let first = self.routes.partition_point(|(at, _)| *at <= span.from);
        for (_, batch) in self.routes[first..].iter().take_while(|(at, _)| *at <= span.to) {
            for r in batch.iter() {
                let (sum, dense) = by_name.entry(&r.route).or_insert_with(|| {
                    (RouteSum { route: r.route.clone(), ..RouteSum::default() }, new_route_histogram())
                });
                sum.requests = sum.requests.saturating_add(r.requests);
                sum.failed = sum.failed.saturating_add(r.failed);
                sum.server_errors = sum.server_errors.saturating_add(r.server_errors);
                r.response_time.add_to(dense);
            }
        }
        let mut all: Vec<RouteSum> =
            by_name.into_values().map(|(sum, dense)| RouteSum { response: (&dense).into(), ..sum }).collect();
        all.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.route.cmp(&b.route)));
        all
    }

    /// What one route did, a batch each worker and second, with the instant each batch ends.
    pub fn route<'a>(&'a self, span: Span, route: &'a str) -> impl Iterator<Item = (At, &'a RouteInterval)> {
        let first = self.routes.partition_point(|(at, _)| *at <= span.from);
        let batches = self.routes[first..].iter().take_while(move |(at, _)| *at <= span.to);
        batches.filter_map(move |(at, batch)| {
            let n = batch.binary_search_by(|r| (*r.route).cmp(route)).ok()?;
            Some((*at, &batch[n]))
        })
    }

    /// The slowest requests that fell due in a stretch, slowest first.
    pub fn slowest(&self, span: Span, most: usize) -> Vec<&Exemplar> {
        let mut found: Vec<&Exemplar> = self.exemplars.iter().filter(|e| span.contains(e.due)).collect();
        found.sort_by(|a, b| b.response_ns.cmp(&a.response_ns).then(a.due.cmp(&b.due)));
        found.truncate(most);
        found
    }
}

/// The number of the slot that an instant belongs to as an end.
fn slot_of(end: At) -> u64 {
    end.0.saturating_sub(1) / Interval::TICK_NS
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
    /// Time to connect.
    pub connect: Quantiles,
}

impl LoadSum {
    /// A count of this sum per second of its stretch.
    pub fn per_s(&self, count: u64) -> f64 {
        if self.span.is_empty() { 0.0 } else { count as f64 / self.span.secs() }
    }

    /// Responses with a 5xx status.
    pub fn server_errors(&self) -> u64 {
        self.outcomes.iter().filter(|o| o.outcome.is_server_error()).map(|o| o.count).sum()
    }
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
    /// Response time.
    pub response: Quantiles,
}

fn add_outcomes(into: &mut Vec<OutcomeCount>, more: &[OutcomeCount]) {
    for o in more {
        match into.binary_search_by_key(&o.outcome, |x| x.outcome) {
            Ok(i) => into[i].count = into[i].count.saturating_add(o.count),
            Err(i) => into.insert(i, *o),
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

fn quantiles(of: &Latency) -> Quantiles {
    let mut dense = new_histogram();
    of.add_to(&mut dense);
    (&dense).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;

    fn interval(worker: u16, end_ms: u64, values_us: &[u64]) -> Interval {
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
            received_bytes: 10 * n,
            sent_bytes: n,
            response_time: Latency::encode(&dense),
            service_time: Latency::encode(&dense),
            send_lag: Latency::default(),
            connect_time: Latency::default(),
            outcomes: vec![OutcomeCount { outcome: Outcome::Status(200), count: n }],
            routes: vec![],
            exemplars: vec![],
        }
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
        assert_eq!(first.response_quantiles.count, 100);
        assert!(first.response_quantiles.p99.abs_diff(100_000) < 1_000, "{:?}", first.response_quantiles);
        assert!(first.response_quantiles.max.abs_diff(9_000_000) < 10_000);
        assert_eq!(all.per_s(all.completed).round(), (101.0f64 / 0.6).round());
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
