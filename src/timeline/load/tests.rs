//! Tests of the load over time, and an interval for those of others.

use super::*;
use crate::model::Outcome;

pub(in crate::timeline) fn interval(worker: u16, end_ms: u64, values_us: &[u64]) -> Interval {
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
        remarks: Default::default(),
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
    // Years in one interval cost one slot, and no count is too large. The five before are old then.
    let years = Span { from: At(0), to: At(u64::MAX) };
    t.apply(&Interval { span: years, sent: u64::MAX, ..interval(2, 200, &[]) });
    assert_eq!((t.slots.len(), t.sum(years).sent), (2, u64::MAX));
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
        t.slots(Span { from: At(200_000_000), to: At(600_000_000) }).map(|(of, _)| of.to.0 / 1_000_000).collect();
    assert_eq!(ends, [400, 600]);
    assert_eq!(t.slots(Span { from: At(u64::MAX - 1), to: At(u64::MAX) }).count(), 0);
}

/// Sixty-eight minutes of load from 0.3 s on, a few requests a tick, in order. What `seen` gets
/// to look at is what is known some seconds after each second.
fn long_run(mut seen: impl FnMut(Span, &LoadTrack)) -> LoadTrack {
    let kinds: Vec<Interval> = (1..=7).map(|n| interval(0, 200, &[n * 100, n * n * 1000])).collect();
    let mut t = LoadTrack::default();
    for n in 0..(68 * 60 * SECOND) {
        let from = At(300_000_000 + n * Interval::TICK_NS);
        let mut i =
            Interval { span: Span { from, to: At(from.0 + Interval::TICK_NS) }, ..kinds[n as usize % 7].clone() };
        i.exemplars = vec![Exemplar {
            due: from,
            response_ns: 1000 + n % 90,
            service_ns: 9,
            route: "/".into(),
            outcome: Outcome::Status(200),
        }];
        i.in_flight = 3 + n % 11;
        if n == 1001 {
            (i.completed, i.failed) = (0, 0);
        }
        t.apply(&i);
        if n == 2001 {
            t.mark(from);
        }
        if n >= 50 && n % SECOND == 0 {
            let from = At(400_000_000 + (n / SECOND - 10) * 1_000_000_000);
            seen(Span { from, to: At(from.0 + 1_000_000_000) }, &t);
        }
    }
    t
}

#[test]
fn after_an_hour_seconds_are_kept_that_say_the_same() {
    let mut known = Vec::new();
    let t = long_run(|second, t| {
        if known.len() < 450 {
            let most = t.slots(second).map(|(_, s)| s.most_in_flight()).max();
            let slowest: Vec<Exemplar> = t.slowest(second, 9).into_iter().cloned().collect();
            known.push((second, t.sum(second), slowest, most));
        }
    });
    // Eight minutes are old; what was silent for a tick or marked is kept by ticks.
    assert_eq!(t.unmerged % SECOND, t.first % SECOND);
    let kept_by_ticks: Vec<u64> = t.slots.range(..t.unmerged).filter(|(_, s)| s.merged == 0).map(|(n, _)| *n).collect();
    assert_eq!(kept_by_ticks.len(), 10, "{kept_by_ticks:?}");
    assert!(t.slots.len() < (60 + 2) * 300 + 7 * 60, "{}", t.slots.len());
    assert_eq!(t.exemplars.values().map(Vec::len).max(), Some(EXEMPLARS));
    for (second, sum, slowest, most) in known {
        let now = t.sum(second);
        assert_eq!(LoadSum { slots: sum.slots, ..now }, sum, "{second:?}");
        assert!(t.slowest(second, 9).into_iter().eq(&slowest), "{second:?}");
        assert_eq!(t.slots(second).map(|(_, s)| s.most_in_flight()).max(), most, "{second:?}");
    }
    let ticks = |from, to| Span { from: At(from * Interval::TICK_NS), to: At(to * Interval::TICK_NS) };
    assert_eq!(t.slots(ticks(14, 14)).count(), 0);
    // Seconds end with the slots 6, 11, 16, ...
    assert_eq!((t.whole_slots_of(ticks(3, 20)), t.whole_slots_of(ticks(8, 11)).is_empty()), (ticks(7, 17), true));
    let whole = t.sum(t.span());
    assert_eq!((whole.completed, whole.response.count), (68 * 300 * 2 - 2, 68 * 300 * 2));
    // A stretch that begins or ends in a second takes the whole of it, and says so.
    let part = Span { from: At(2_500_000_000), to: At(3_100_000_000) };
    assert_eq!(t.counts(part).span, Span { from: At(2_400_000_000), to: At(3_400_000_000) });
}

#[test]
fn what_comes_an_hour_late_counts_in_its_second() {
    let mut t = long_run(|_, _| {});
    let (second, slots) = (Span { from: At(20_400_000_000), to: At(21_400_000_000) }, t.slots.len());
    let before = t.sum(second);
    t.apply(&interval(1, 20_800, &[1, 2, 3]));
    let after = t.sum(second);
    assert_eq!(
        (t.slots.len(), after.completed, after.response.count),
        (slots, before.completed + 3, before.response.count + 3)
    );
    assert_eq!(t.slots(second).count(), 1);
}
