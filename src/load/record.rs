//! A worker's own count between two ticks, and its hand-over as an [`Interval`].
//!
//! Must not: allocate per request, or block.

use crate::model::{
    At, CheckKind, Event, Exemplar, Fault, Interval, Latency, Outcome, OutcomeCount, PerPhase, Phase, PhaseTimes,
    RecordedStatus, Remarks, Route, RouteInterval, Span, new_histogram, new_route_histogram,
};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

/// How often the share of each route is handed over, ns.
const ROUTES_EVERY_NS: u64 = 1_000_000_000;
/// Slow requests kept per interval.
const EXEMPLARS: usize = 3;
/// Statuses counted in a flat table; anything else goes through the short list.
const STATUSES: usize = 600;

/// What a worker has counted since its last hand-over.
pub(crate) struct Recorder {
    worker: u16,
    from: At,
    routes_told: At,
    pub(crate) offered: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) retried: u64,
    pub(crate) in_flight: u64,
    pub(crate) connections_opened: u64,
    pub(crate) grown: u64,
    pub(crate) remarks: Remarks,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    completed: u64,
    failed: u64,
    response_time: Histogram<u64>,
    service_time: Histogram<u64>,
    send_lag: Histogram<u64>,
    phases: PerPhase<Histogram<u64>>,
    /// Times that are response time, service time and time to the first byte all at once: of
    /// requests sent when they fell due whose response came in one piece. Most are, and one
    /// place to count them instead of three stays in the cache. Added to the three at a hand-over.
    all_the_same: Histogram<u64>,
    /// Responses that came in one piece: there was no time between their first byte and their last.
    in_one_piece: u64,
    statuses: Box<[u64; STATUSES]>,
    others: Vec<OutcomeCount>,
    routes: Vec<Option<RouteCount>>,
    slowest: Vec<Slow>,
    out: SyncSender<Event>,
}

struct RouteCount {
    name: Arc<str>,
    requests: u64,
    failed: u64,
    server_errors: u64,
    mismatched: u64,
    response_time: Histogram<u64>,
}

#[derive(Clone)]
struct Slow {
    due: At,
    response_ns: u64,
    service_ns: u64,
    route: Arc<str>,
    outcome: Outcome,
}

/// The instants of one ended request.
pub(crate) struct Ended<'a> {
    pub(crate) outcome: Outcome,
    /// When it fell due.
    pub(crate) due: At,
    /// When its first byte was sent, if it came to that.
    pub(crate) sent: Option<At>,
    /// When the first bytes of a response had come, if any did.
    pub(crate) answered: Option<At>,
    /// When it ended.
    pub(crate) end: At,
    pub(crate) route: &'a Route,
    /// The status it was answered with when it was recorded.
    pub(crate) recorded_status: Option<RecordedStatus>,
}

impl Recorder {
    pub(crate) fn new(worker: u16, start: At, out: SyncSender<Event>) -> Recorder {
        Recorder {
            worker,
            from: start,
            routes_told: start,
            offered: 0,
            sent: 0,
            dropped: 0,
            retried: 0,
            in_flight: 0,
            connections_opened: 0,
            grown: 0,
            remarks: Remarks::default(),
            received_bytes: 0,
            sent_bytes: 0,
            completed: 0,
            failed: 0,
            response_time: new_histogram(),
            service_time: new_histogram(),
            send_lag: new_histogram(),
            phases: PerPhase::of(|_| new_histogram()),
            all_the_same: new_histogram(),
            in_one_piece: 0,
            statuses: Box::new([0; STATUSES]),
            others: Vec::with_capacity(16),
            routes: Vec::new(),
            slowest: Vec::with_capacity(EXEMPLARS + 1),
            out,
        }
    }

    /// A request was begun, `lag_ns` after it fell due; a closed loop has no schedule to
    /// lag behind.
    pub(crate) fn begun(&mut self, lag_ns: Option<u64>) {
        self.in_flight += 1;
        if let Some(ns) = lag_ns {
            self.send_lag.saturating_record(ns);
        }
    }

    /// A connection was established in `ns`.
    pub(crate) fn connected(&mut self, ns: u64) {
        self.connections_opened += 1;
        self.phase(Phase::Connect, ns);
    }

    /// A connection has spent `ns` in one of the phases before its first request.
    pub(crate) fn phase(&mut self, phase: Phase, ns: u64) {
        self.phases[phase].saturating_record(ns);
    }

    /// Tells what a count can't: in words, and only when there is room.
    pub(crate) fn tell_fault(&self, at: At, what: String) {
        let what = crate::model::clean(&what, 300);
        let place = format!("load/worker {}", self.worker);
        let _ = self.out.try_send(Event::Fault(Fault { at, place, what, mend: None }));
    }

    /// A request ended.
    pub(crate) fn ended(&mut self, e: &Ended<'_>) {
        self.in_flight -= 1;
        let response_ns = e.end.since_ns(e.due);
        let service_ns = e.sent.map_or(0, |sent| e.end.since_ns(sent));
        match (e.sent, e.answered) {
            (Some(sent), Some(answered)) if sent == e.due && answered == e.end => {
                self.all_the_same.saturating_record(response_ns);
                self.in_one_piece += 1;
            }
            (sent, answered) => {
                self.response_time.saturating_record(response_ns);
                if sent.is_some() {
                    self.service_time.saturating_record(service_ns);
                }
                if let (Some(sent), Some(answered)) = (sent, answered) {
                    self.phase(Phase::FirstByte, answered.since_ns(sent));
                    match e.end.since_ns(answered) {
                        0 => self.in_one_piece += 1,
                        ns => self.phase(Phase::Body, ns),
                    }
                }
            }
        }
        let failed = !e.outcome.is_completed();
        if failed {
            self.failed += 1
        } else {
            self.completed += 1
        }
        match e.outcome {
            Outcome::Status(code) if usize::from(code) < STATUSES => self.statuses[usize::from(code)] += 1,
            outcome => match self.others.iter_mut().find(|o| o.outcome == outcome) {
                Some(o) => o.count += 1,
                None => self.others.push(OutcomeCount { outcome, count: 1 }),
            },
        }
        let id = e.route.id as usize;
        if id >= self.routes.len() {
            self.routes.resize_with(id + 1, || None);
        }
        let route = self.routes[id].get_or_insert_with(|| RouteCount {
            name: e.route.name.clone(),
            requests: 0,
            failed: 0,
            server_errors: 0,
            mismatched: 0,
            response_time: new_route_histogram(),
        });
        route.requests += 1;
        route.failed += u64::from(failed);
        route.server_errors += u64::from(e.outcome.is_server_error());
        route.mismatched += match (e.recorded_status, e.outcome) {
            (Some(was), Outcome::Status(is)) => u64::from(!was.is_met_by(is)),
            // Compared, and refused for it.
            (_, Outcome::Check(CheckKind::Recorded)) => 1,
            _ => 0,
        };
        route.response_time.saturating_record(response_ns);
        if self.slowest.len() < EXEMPLARS || self.slowest.last().is_some_and(|s| s.response_ns < response_ns) {
            let n = self.slowest.partition_point(|s| s.response_ns >= response_ns);
            let (due, route, outcome) = (e.due, e.route.name.clone(), e.outcome);
            self.slowest.insert(n, Slow { due, response_ns, service_ns, route, outcome });
            self.slowest.truncate(EXEMPLARS);
        }
    }

    /// Hands over what was counted until `now`. When the channel is full everything stays
    /// and goes with the next interval. The last hand-over waits for room instead.
    pub(crate) fn hand_over(&mut self, now: At, queued: u64, last: bool) {
        self.unite();
        let with_routes = last || now.since_ns(self.routes_told) + Interval::TICK_NS / 2 >= ROUTES_EVERY_NS;
        let event = Event::Interval(self.interval(now, queued, with_routes));
        let sent = if last {
            self.out.send(event).map_err(|e| TrySendError::Disconnected(e.0))
        } else {
            self.out.try_send(event)
        };
        if !matches!(sent, Err(TrySendError::Full(_))) {
            self.reset(now, with_routes);
        }
    }

    /// Puts what was counted once into each of the distributions that it belongs to.
    fn unite(&mut self) {
        if !self.all_the_same.is_empty() {
            let first_byte = &mut self.phases[Phase::FirstByte];
            for h in [&mut self.response_time, &mut self.service_time, first_byte] {
                // They have the same bounds, and without resizing that is all that can go wrong.
                let _ = h.add(&self.all_the_same);
            }
            self.all_the_same.reset();
        }
        self.phases[Phase::Body].saturating_record_n(0, std::mem::take(&mut self.in_one_piece));
    }

    fn interval(&self, to: At, queued: u64, with_routes: bool) -> Interval {
        let statuses = self.statuses.iter().enumerate().filter(|(_, n)| **n > 0);
        let mut outcomes: Vec<OutcomeCount> = statuses
            .map(|(code, count)| OutcomeCount { outcome: Outcome::Status(code as u16), count: *count })
            .chain(self.others.iter().copied().filter(|o| o.count > 0))
            .collect();
        outcomes.sort_by_key(|o| o.outcome);
        let mut routes: Vec<RouteInterval> = self
            .routes
            .iter()
            .flatten()
            .filter(|r| with_routes && r.requests > 0)
            .map(|r| RouteInterval {
                route: r.name.clone(),
                requests: r.requests,
                failed: r.failed,
                server_errors: r.server_errors,
                mismatched: r.mismatched,
                response_time: Latency::encode(&r.response_time),
            })
            .collect();
        routes.sort_by(|a, b| a.route.cmp(&b.route));
        Interval {
            worker: self.worker,
            span: Span { from: self.from, to: to.max(self.from) },
            offered: self.offered,
            sent: self.sent,
            completed: self.completed,
            failed: self.failed,
            dropped: self.dropped,
            retried: self.retried,
            in_flight: self.in_flight,
            queued,
            connections_opened: self.connections_opened,
            grown: self.grown,
            remarks: self.remarks,
            received_bytes: self.received_bytes,
            sent_bytes: self.sent_bytes,
            response_time: Latency::encode(&self.response_time),
            service_time: Latency::encode(&self.service_time),
            send_lag: Latency::encode(&self.send_lag),
            phases: PhaseTimes::of(|p| Latency::encode(&self.phases[p])),
            outcomes,
            routes,
            exemplars: self
                .slowest
                .iter()
                .cloned()
                .map(|s| Exemplar {
                    due: s.due,
                    response_ns: s.response_ns,
                    service_ns: s.service_ns,
                    route: s.route,
                    outcome: s.outcome,
                })
                .collect(),
        }
    }

    /// Empties everything but the gauges.
    fn reset(&mut self, now: At, with_routes: bool) {
        self.from = now;
        self.remarks = Remarks::default();
        for count in [
            &mut self.offered,
            &mut self.sent,
            &mut self.dropped,
            &mut self.retried,
            &mut self.connections_opened,
            &mut self.grown,
            &mut self.received_bytes,
            &mut self.sent_bytes,
            &mut self.completed,
            &mut self.failed,
        ] {
            *count = 0;
        }
        let phases = self.phases.iter_mut().map(|(_, h)| h);
        for h in [&mut self.response_time, &mut self.service_time, &mut self.send_lag].into_iter().chain(phases) {
            if !h.is_empty() {
                h.reset();
            }
        }
        self.statuses.fill(0);
        self.others.iter_mut().for_each(|o| o.count = 0);
        if with_routes {
            self.routes_told = now;
            for r in self.routes.iter_mut().flatten().filter(|r| r.requests > 0) {
                (r.requests, r.failed, r.server_errors, r.mismatched) = (0, 0, 0, 0);
                r.response_time.reset();
            }
        }
        self.slowest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    fn end(r: &mut Recorder, outcome: Outcome, due: u64, end: u64) {
        r.offered += 1;
        r.begun(Some(0));
        let route = Route { id: 1, name: "/a".into() };
        let (due, end) = (At(due), At(end));
        let (sent, answered) = (Some(due.moved(10)), Some(end.moved(-1000)));
        r.ended(&Ended {
            outcome,
            due,
            sent,
            answered,
            end,
            route: &route,
            recorded_status: Some(RecordedStatus::of(200, |_| false)),
        });
    }

    #[test]
    fn a_full_channel_merges_into_the_next_interval() {
        let (out, events) = sync_channel(1);
        let mut r = Recorder::new(0, At(0), out);
        end(&mut r, Outcome::Status(200), 0, 5_000_000);
        r.hand_over(At(200_000_000), 0, false);
        end(&mut r, Outcome::Status(200), 0, 6_000_000);
        r.hand_over(At(400_000_000), 0, false); // full: nothing is lost
        end(&mut r, Outcome::Errno(104), 0, 7_000_000);
        let Ok(Event::Interval(first)) = events.recv() else { panic!("an interval") };
        r.hand_over(At(600_000_000), 7, true);
        let Ok(Event::Interval(second)) = events.recv() else { panic!("an interval") };
        assert_eq!((first.completed, second.completed, second.failed), (1, 1, 1));
        assert_eq!(second.span, Span { from: At(200_000_000), to: At(600_000_000) });
        assert_eq!((second.response_time.count(), second.queued), (2, 7));
        let by_route: u64 = [&first, &second].iter().flat_map(|i| &i.routes).map(|r| r.requests).sum();
        assert_eq!(by_route, 3);
        assert_eq!(second.outcomes.iter().map(|o| o.count).sum::<u64>(), second.completed + second.failed);
    }

    #[test]
    fn the_slowest_few_are_kept() {
        let (out, _events) = sync_channel(1);
        let mut r = Recorder::new(0, At(0), out);
        for ms in [3, 9, 1, 7, 8] {
            end(&mut r, Outcome::Status(200), 0, ms * 1_000_000);
        }
        let kept: Vec<u64> = r.interval(At(1), 0, true).exemplars.iter().map(|e| e.response_ns / 1_000_000).collect();
        assert_eq!(kept, [9, 8, 7]);
    }
}
