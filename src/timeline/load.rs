//! Load over time: the workers' intervals folded into slots of one tick, which become slots of
//! a second when an hour has passed, so that a day of load stays in memory.
//!
//! Must not: average percentiles (distributions are merged), or trust counts: sums saturate,
//! since a session file may hold anything.

use super::routes::{RouteSum, RouteTrack};
use super::view::Band;
use crate::model::{
    At, Exemplar, Interval, Latency, OutcomeCount, PerPhase, Phase, PhaseTimes, Quantiles, Remarks, RouteInterval,
    Span, new_histogram,
};
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

/// All load of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadTrack {
    /// By number: slot n ends at (n + 1) ticks. A map, so that a file with an instant years
    /// ahead costs one slot.
    slots: BTreeMap<u64, Slot>,
    /// The first slot that is not old enough to be merged.
    unmerged: u64,
    /// The first whole tick of the load, as it was known when slots were merged first.
    first: u64,
    /// Slots in which something was marked.
    marked: BTreeSet<u64>,
    routes: RouteTrack,
    /// By the tick they fell due in, the slowest first.
    exemplars: BTreeMap<u64, Vec<Exemplar>>,
    in_flight: BTreeMap<u16, (u64, u64)>,
    /// Over how many slots long intervals were spread.
    spread: u64,
    /// From the start of the first interval to the end of the last.
    span: Span,
}

/// What all workers handed over for one tick, or for the second that ended with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slot {
    /// Ticks that were merged into it, besides its own.
    merged: u64,
    /// The most that was under way at the end of one of those.
    in_flight_before: u64,
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
    /// What was odd about whole responses.
    pub remarks: Remarks,
    /// Bytes read.
    pub received_bytes: u64,
    /// Bytes written.
    pub sent_bytes: u64,
    /// Nanoseconds the longest interval in the slot covers; of ticks that were merged, the sum.
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

    /// The most requests that were under way at the end of a tick of it.
    pub fn most_in_flight(&self) -> u64 {
        self.in_flight.max(self.in_flight_before)
    }

    /// Whether a request fell due or ended in it.
    pub fn is_busy(&self) -> bool {
        self.offered > 0 || self.completed > 0 || self.failed > 0 || self.dropped > 0
    }

    /// Whether nothing ended in it although requests were under way: a rule may ask for how long.
    fn is_silent(&self) -> bool {
        self.completed == 0 && self.failed == 0 && self.in_flight > 0
    }

    /// Its distributions, to be merged with those of others.
    fn latencies(&mut self) -> impl Iterator<Item = &mut Latency> {
        [&mut self.response, &mut self.service, &mut self.lag].into_iter().chain(self.phases.iter_mut().map(|(_, l)| l))
    }

    /// Takes in the slots of the ticks before it. `dense` is empty, and is left so.
    fn merge(&mut self, before: &mut [Slot], dense: &mut Histogram<u64>) {
        let mut merged: Vec<(Vec<Latency>, Latency)> = Vec::new();
        let mut columns: Vec<Vec<Latency>> = self.latencies().map(|l| vec![l.clone()]).collect();
        // Until when there was something to do, if there was.
        let busy = before.iter().filter(|s| s.is_busy()).map(|s| s.until).max();
        self.until = busy.filter(|_| !self.is_busy()).unwrap_or(self.until);
        for s in before {
            self.remarks.add(s.remarks);
            for (sum, count) in self.counts().into_iter().zip(s.counts()) {
                *sum = sum.saturating_add(*count);
            }
            self.merged = self.merged.saturating_add(1 + s.merged);
            self.covers_ns = self.covers_ns.saturating_add(s.covers_ns);
            self.in_flight_before = self.in_flight_before.max(s.most_in_flight());
            add_outcomes(&mut self.outcomes, s.outcomes.drain(..));
            columns.iter_mut().zip(s.latencies()).for_each(|(all, l)| all.push(std::mem::take(l)));
        }
        for (kept, all) in self.latencies().zip(columns) {
            // Most are of one kind with another: response and service time in a closed loop.
            let known = merged.iter().find(|(of, _)| *of == all).map(|(_, sum)| sum.clone());
            *kept = known.unwrap_or_else(|| {
                all.iter().for_each(|l| l.add_to(dense));
                let sum = Latency::encode(dense);
                dense.reset();
                merged.push((all, sum.clone()));
                sum
            });
        }
    }

    /// What adds up.
    fn counts(&mut self) -> [&mut u64; 10] {
        [
            &mut self.offered,
            &mut self.sent,
            &mut self.completed,
            &mut self.failed,
            &mut self.dropped,
            &mut self.retried,
            &mut self.connections_opened,
            &mut self.grown,
            &mut self.received_bytes,
            &mut self.sent_bytes,
        ]
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
        let counts = [
            i.offered,
            i.sent,
            i.completed,
            i.failed,
            i.dropped,
            i.retried,
            i.connections_opened,
            i.grown,
            i.received_bytes,
            i.sent_bytes,
        ];
        for n in 0..of {
            let number = last + 1 - of + n;
            let place = self.place(number);
            let is_new = !self.slots.contains_key(&place);
            let s = self.slots.entry(place).or_default();
            for (sum, count) in s.counts().into_iter().zip(counts) {
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
                s.remarks.add(i.remarks);
                merge(&mut s.response, &i.response_time);
                merge(&mut s.service, &i.service_time);
                merge(&mut s.lag, &i.send_lag);
                s.phases.iter_mut().for_each(|(phase, time)| merge(time, &i.phases[phase]));
                s.share();
            }
        }
        // Of a slot later than that another worker has told: with what this one had under way before.
        let next = self.place(last).saturating_add(1);
        for (_, s) in self.slots.range_mut(next..).take(2) {
            s.in_flight = s.in_flight.saturating_sub(was.0).saturating_add(i.in_flight);
            s.queued = s.queued.saturating_sub(was.1).saturating_add(i.queued);
        }
        self.routes.apply(i, last);
        i.exemplars.iter().for_each(|e| self.keep(e));
        let old = last.saturating_sub(KEPT);
        if old.saturating_sub(self.unmerged) >= AT_ONCE {
            self.merge_until(old);
        }
    }

    /// Something was marked: what was before and what came after stays apart.
    pub(super) fn mark(&mut self, at: At) {
        self.marked.insert(at.0 / Interval::TICK_NS);
    }

    /// The first whole tick of the load, from which on seconds are counted; the same for good once
    /// slots were merged.
    pub(super) fn first_tick(&self) -> u64 {
        if self.unmerged > 0 { self.first } else { self.span.from.0.div_ceil(Interval::TICK_NS) }
    }

    /// What of a stretch is in whole slots; empty if nothing is.
    pub(super) fn whole_slots_of(&self, span: Span) -> Span {
        let tick = Interval::TICK_NS;
        let mut whole =
            Span { from: At(span.from.0.div_ceil(tick).saturating_mul(tick)), to: At(span.to.0 / tick * tick) };
        // Slots of a second may begin before, or end after.
        let cut = self.slots(whole).next().filter(|(of, _)| of.from < whole.from).map(|(of, _)| of.to);
        whole.from = cut.unwrap_or(whole.from);
        let cut = self.slots(whole).next_back().filter(|(of, _)| of.to > whole.to).map(|(of, _)| of.from);
        whole.to = cut.unwrap_or(whole.to).max(whole.from);
        whole
    }

    /// The slots of the second that slot `n` lies in, counted from [`LoadTrack::first_tick`].
    fn second(&self, n: u64) -> RangeInclusive<u64> {
        let behind = (n % SECOND + SECOND - self.first_tick() % SECOND) % SECOND;
        n.saturating_sub(behind)..=n.saturating_add(SECOND - 1 - behind)
    }

    /// Where what belongs to slot `n` is kept.
    fn place(&self, n: u64) -> u64 {
        let last = *self.second(n).end();
        if n < self.unmerged && self.slots.get(&last).is_some_and(|s| s.merged > 0) { last } else { n }
    }

    /// Merges what lies before slot `old` by seconds. A second stays as it came if load is known of a
    /// part of it only, if something was marked in it, or if nothing was answered in a part of it.
    fn merge_until(&mut self, old: u64) {
        self.first = self.first_tick();
        let mut dense = new_histogram();
        let mut ends: Vec<u64> = self.slots.range(self.unmerged..old).map(|(n, _)| *self.second(*n).end()).collect();
        ends.dedup();
        // Of the latest a part may not be old yet.
        ends.retain(|end| *end < old);
        self.unmerged = ends.last().map_or(old, |end| end + 1);
        for end in ends {
            let second = self.second(end);
            let is_silent: Vec<bool> = self.slots.range(second.clone()).map(|(_, s)| s.is_silent()).collect();
            let is_whole = is_silent.len() as u64 == SECOND;
            let is_even = is_silent.iter().all(|s| *s == is_silent[0]);
            if !is_whole || !is_even || self.marked.range(second.clone()).next().is_some() {
                continue;
            }
            let mut slots: Vec<Slot> = second.clone().filter_map(|n| self.slots.remove(&n)).collect();
            let Some(mut latest) = slots.pop() else { continue };
            latest.merge(&mut slots, &mut dense);
            self.slots.insert(end, latest);
            let exemplars: Vec<Exemplar> = second.filter_map(|n| self.exemplars.remove(&n)).flatten().collect();
            exemplars.iter().for_each(|e| self.keep(e));
        }
    }

    /// From the instant the load began to the last it is known of.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The slots that a stretch touches, with what each one is of: a tick, or a second an hour after.
    pub fn slots(&self, span: Span) -> impl DoubleEndedIterator<Item = (Span, &Slot)> {
        let slots = self.slots.range(self.places(span)).map(|(n, s)| (stretch(*n, s), s));
        slots.filter(move |(of, _)| of.from < span.to)
    }

    /// The numbers among which those of the slots are that a stretch touches.
    fn places(&self, span: Span) -> Range<u64> {
        let Range { start, end } = slots_of(span);
        // What was merged lies where its last tick was.
        start..if start < end && end < self.unmerged { end.saturating_add(SECOND - 1) } else { end }
    }

    /// How many requests had fallen due at an instant, to a whole slot.
    pub fn offered_until(&self, at: At) -> u64 {
        let slots = self.slots(Span { from: At::START, to: at });
        slots.fold(0, |sum, (_, s)| sum.saturating_add(s.offered))
    }

    /// The end of the last slot there is: until there load is known.
    pub fn known_until(&self) -> At {
        self.slots.last_key_value().map_or(At::START, |(n, _)| end_of(*n))
    }

    /// Everything of a stretch added up, to whole slots.
    pub fn sum(&self, span: Span) -> LoadSum {
        let slots: Vec<&Slot> = self.slots(span).map(|(_, s)| s).collect();
        let mut dense = None;
        let response = quantiles(&slots, |s| &s.response, &mut dense);
        // Most often the same ([`Slot::share`]), which pointers tell.
        let is_one = slots.iter().all(|s| s.service == s.response);
        let service = if is_one { response } else { quantiles(&slots, |s| &s.service, &mut dense) };
        let lag = quantiles(&slots, |s| &s.lag, &mut dense);
        let phases = PerPhase::of(|phase| match phase {
            Phase::FirstByte if slots.iter().all(|s| s.phases[phase] == s.service) => service,
            _ => quantiles(&slots, |s| &s.phases[phase], &mut dense),
        });
        LoadSum { response, service, lag, phases, ..self.counts(span) }
    }

    /// The same without distributions, which are most of the work.
    pub fn counts(&self, span: Span) -> LoadSum {
        let mut sum = LoadSum::default();
        for (of, s) in self.slots(span) {
            sum.offered = sum.offered.saturating_add(s.offered);
            sum.sent = sum.sent.saturating_add(s.sent);
            sum.completed = sum.completed.saturating_add(s.completed);
            sum.failed = sum.failed.saturating_add(s.failed);
            sum.dropped = sum.dropped.saturating_add(s.dropped);
            sum.retried = sum.retried.saturating_add(s.retried);
            sum.connections_opened = sum.connections_opened.saturating_add(s.connections_opened);
            sum.grown = sum.grown.saturating_add(s.grown);
            sum.remarks.add(s.remarks);
            sum.received_bytes = sum.received_bytes.saturating_add(s.received_bytes);
            sum.sent_bytes = sum.sent_bytes.saturating_add(s.sent_bytes);
            (sum.in_flight, sum.queued) = (s.in_flight, s.queued);
            add_outcomes(&mut sum.outcomes, s.outcomes.iter().copied());
            sum.span = if sum.slots == 0 { of } else { Span { to: of.to, ..sum.span } };
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
        let slots = self.exemplars.range(self.places(span)).flat_map(|(_, all)| all);
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
        for (of, slot) in self.slots(span) {
            let (mut there, mut shortest) = (0u64, u64::MAX);
            // Checked when it came in, so a failure here leaves what could be read.
            let _ = slot.response.for_each(|ns, n| {
                if band.contains(ns) {
                    there = there.saturating_add(n);
                    shortest = shortest.min(ns);
                }
            });
            // A worker hands over a little after a tick: what ended at its end may be in the next slot.
            let (first, last) = (of.from.0 / Interval::TICK_NS, of.to.0 / Interval::TICK_NS);
            let mut told = 0;
            for (_, n) in known.range_mut(first.saturating_sub(1)..=last) {
                let spent = (*n).min(there - told);
                (*n, told) = (*n - spent, told + spent);
            }
            if there > told {
                let from = At(of.from.0.saturating_sub(shortest));
                stretches.push(Span { from, to: of.to });
            }
        }
        Span::joined(stretches)
    }

    fn keep(&mut self, e: &Exemplar) {
        let place = self.place(e.due.0 / Interval::TICK_NS);
        let ticks = self.slots.get(&place).map_or(1, |s| 1 + s.merged);
        let most = EXEMPLARS * usize::try_from(ticks).unwrap_or(1);
        let slot = self.exemplars.entry(place).or_default();
        let n = slot.partition_point(|k| k.response_ns >= e.response_ns);
        if n < most {
            slot.insert(n, e.clone());
            slot.truncate(most);
        }
    }
}

/// Slots that stay as they came: an hour.
const KEPT: u64 = 18_000;
/// Slots that are merged into one then: a second.
const SECOND: u64 = 5;
/// Slots that are looked at together for that: a minute.
const AT_ONCE: u64 = 300;

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

/// What one of their distributions comes to over slots. `dense` is room for that, made when there are values and left
/// empty.
fn quantiles(slots: &[&Slot], which: impl Fn(&Slot) -> &Latency, dense: &mut Option<Histogram<u64>>) -> Quantiles {
    let mut with_values = slots.iter().map(|s| which(s)).filter(|l| !l.is_empty()).peekable();
    if with_values.peek().is_none() {
        return Quantiles::default();
    }
    let dense = dense.get_or_insert_with(new_histogram);
    with_values.for_each(|l| l.add_to(dense));
    let quantiles = Quantiles::from(&*dense);
    dense.reset();
    quantiles
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

/// What a slot is of.
fn stretch(number: u64, slot: &Slot) -> Span {
    let from = (number + 1).saturating_sub(1 + slot.merged).saturating_mul(Interval::TICK_NS);
    Span { from: At(from), to: end_of(number) }
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
    /// What was odd about whole responses.
    pub remarks: Remarks,
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
pub(super) mod tests;
