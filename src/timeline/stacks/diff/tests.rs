//! Tests of the comparison: what is divided by what, and how often chance is taken for a change.

use super::super::tests::batch;
use super::*;
use crate::model::{At, CaptureNews, CaptureState, Event, Interval, Span, Stacks};
use proptest::prelude::*;
use std::collections::HashMap;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// Samples to come: (time, stack, weight).
type Samples = Vec<(u64, String, u64)>;

/// A session with `per_tick` requests completed in each tick, and captures: from, to, samples, lost.
fn session(per_tick: impl Fn(u64) -> u64, ticks: u64, captures: &[(u64, u64, Samples, u64)]) -> Timeline {
    let mut t = Timeline::new();
    for tick in 0..ticks {
        let span = Span { from: At(tick * Interval::TICK_NS), to: At((tick + 1) * Interval::TICK_NS) };
        t.apply(&Event::Interval(Interval { span, completed: per_tick(tick), ..Interval::default() }));
    }
    for (n, (from, to, samples, lost)) in (1..).zip(captures) {
        let given: Vec<_> = samples.iter().map(|(at, stack, w)| (*at, 1, "web", stack.as_str(), *w)).collect();
        t.apply(&Event::Stacks(Stacks { lost: *lost, ..batch(n, "ns", &given) }));
        let span = Span { from: At(*from), to: At(*to) };
        let state = CaptureState::Done { span, samples: given.len() as u64, lost: *lost, notes: vec![] };
        t.apply(&Event::Capture(CaptureNews { at: At(to + 1), id: CaptureId(n), state }));
    }
    t
}

fn side(t: &Timeline) -> Side<'_> {
    Side { timeline: t, filter: StackFilter::default() }
}

fn capture(t: &Timeline, n: u32) -> Side<'_> {
    Side { timeline: t, filter: StackFilter::of(CaptureId(n)) }
}

/// A profile of two CPUs at 99 Hz: each sample is of function n with the n-th probability, else the
/// CPU idles. `burst_ns`: for so long at a time all work is of one function, when above 0.
fn sampled(seed: u64, from: u64, to: u64, shares: &[f64], burst_ns: u64) -> Samples {
    let mut random = fastrand::Rng::with_seed(seed);
    let period = S / 99;
    let mut pick = |at: u64, busy_with: &mut (u64, usize)| {
        if burst_ns > 0 && at >= busy_with.0 {
            let draw = draw(&mut random, shares);
            *busy_with = (at + 1 + random.u64(..burst_ns * 2), draw);
        }
        if burst_ns > 0 { busy_with.1 } else { draw(&mut random, shares) }
    };
    let mut samples = Vec::new();
    for cpu in 0..2 {
        let mut busy_with = (0, 0);
        let mut at = from + cpu * period / 2;
        while at < to {
            let n = pick(at, &mut busy_with);
            if n < shares.len() {
                samples.push((at, format!("main;serve;f{n}"), period));
            }
            at += period;
        }
    }
    samples.sort();
    samples
}

fn draw(random: &mut fastrand::Rng, shares: &[f64]) -> usize {
    let (drawn, mut sum) = (random.f64(), 0.0);
    let is_it = |share: &f64| {
        sum += share;
        drawn < sum
    };
    shares.iter().position(is_it).unwrap_or(shares.len())
}

fn told(c: &Comparison<'_>) -> Vec<String> {
    c.rows().into_iter().filter(|r| !r.own.is_noise).map(|r| r.symbol.to_string()).collect()
}

fn of<'r>(rows: &'r [DiffRow], symbol: &str) -> &'r DiffRow {
    rows.iter().find(|r| &*r.symbol == symbol).unwrap()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn requests_are_those_of_exactly_the_stretches_whose_samples_count() {
    // The load is slow while the capture lasts, and a hundred times as fast in the slots at whose
    // edges the capture begins and ends.
    let per_tick = |tick: u64| if (16..20).contains(&tick) { 20 } else { 2000 };
    let samples: Samples = (0..100).map(|n| (3050 * MS + n * 10 * MS, "main;work".into(), 10 * MS)).collect();
    let t = session(per_tick, 40, &[(3050 * MS, 4050 * MS, samples, 0)]);
    let costs = costs(&side(&t), None).unwrap();
    assert_eq!(costs.per, Per::Request);
    let cut = Span { from: At(3200 * MS), to: At(4000 * MS) };
    assert_eq!(costs.side.stretches.iter().map(|s| s.span).collect::<Vec<_>>(), [cut]);
    assert_eq!((costs.side.requests, costs.side.samples, costs.side.outside), (80.0, 80, 20));
    assert!(near(costs.side.seconds, 0.8) && near(costs.whole, 10.0 * MS as f64), "{costs:?}");
    // Per second nothing needs to be cut.
    let costs = super::costs(&side(&t), Some(Per::Second)).unwrap();
    assert_eq!((costs.side.samples, costs.side.outside), (100, 0));
    assert!(near(costs.side.seconds, 1.0) && near(costs.whole, S as f64), "{costs:?}");
    let told: Vec<_> = costs.rows.iter().map(|r| (&*r.symbol, r.own.round(), r.total.round())).collect();
    assert_eq!(told, [("work", S as f64, S as f64), ("main", 0.0, S as f64)]);
}

#[test]
fn a_range_counts_the_time_in_it_that_was_observed_and_not_the_rest() {
    let at = |n: u64| (n * 10 * MS, "main;work".to_string(), 10 * MS);
    let t = session(
        |tick| tick,
        100,
        &[(S, 2 * S, (100..200).map(at).collect(), 0), (4 * S, 6 * S, (400..600).map(at).collect(), 0)],
    );
    // Half of the first capture, nothing, half of the second.
    let span = Some(Span { from: At(1500 * MS), to: At(5 * S) });
    let half = Side { filter: StackFilter { span, ..StackFilter::default() }, ..side(&t) };
    let c = costs(&half, Some(Per::Second)).unwrap();
    assert!(near(c.side.seconds, 1.5) && near(c.whole, S as f64) && c.side.samples == 150, "{c:?}");
    let c = costs(&half, Some(Per::Request)).unwrap();
    let requests: u64 = (8..10).chain(20..25).sum();
    assert!(near(c.side.requests, requests as f64) && near(c.side.seconds, 1.4), "{c:?}");
    assert!(near(c.whole, 1.4 * S as f64 / requests as f64));
    assert_eq!(c.side.stretches.len(), 2);
}

#[test]
fn a_side_is_no_different_from_itself() {
    let t = session(|_| 100, 100, &[(S, 11 * S, sampled(1, S, 11 * S, &[0.3, 0.2, 0.1], 0), 0)]);
    for per in [Per::Request, Per::Second, Per::Whole] {
        let c = Comparison::new(&side(&t), &side(&t), Some(per)).unwrap();
        assert!(c.is_judged());
        let rows = c.rows();
        assert_eq!(rows.len(), 5);
        let flame = c.flame(Which::After, Order::Name, true);
        assert_eq!((flame.changes.len(), flame.graph.nodes.len()), (7, 7));
        let all = rows.iter().flat_map(|r| [r.own, r.total]).chain(flame.changes).chain([c.whole()]);
        for change in all {
            assert!(change.is_noise && change.delta() == 0.0 && change.p.is_none_or(|p| p == 1.0), "{change:?}");
        }
    }
}

#[test]
fn half_the_sampling_rate_changes_nothing() {
    let full = sampled(3, S, 21 * S, &[0.3, 0.2, 0.1, 0.05, 0.01], 0);
    let half: Samples = full.iter().step_by(2).map(|(at, s, w)| (*at, s.clone(), w * 2)).collect();
    let (a, b) = (session(|_| 100, 120, &[(S, 21 * S, full, 0)]), session(|_| 100, 120, &[(S, 21 * S, half, 0)]));
    let c = Comparison::new(&side(&a), &side(&b), None).unwrap();
    assert_eq!((c.per(), told(&c)), (Per::Request, vec![]));
    assert!(c.whole().is_noise && (c.whole().ratio().unwrap() - 1.0).abs() < 0.01, "{:?}", c.whole());
}

#[test]
fn what_was_lost_is_made_up_for() {
    let full = sampled(4, S, 21 * S, &[0.3, 0.2], 0);
    let kept: Samples = full.iter().step_by(2).cloned().collect();
    let lost = (full.len() - kept.len()) as u64;
    let (a, b) = (session(|_| 100, 120, &[(S, 21 * S, full, 0)]), session(|_| 100, 120, &[(S, 21 * S, kept, lost)]));
    let c = Comparison::new(&side(&a), &side(&b), None).unwrap();
    assert_eq!((told(&c), c.sides()[1].lost), (vec![], lost));
    assert!(near(c.whole().ratio().unwrap(), 1.0), "{:?}", c.whole());
}

#[test]
fn a_planted_difference_is_found_and_sized_whatever_rate_length_and_load() {
    let before = sampled(5, S, 21 * S, &[0.30, 0.20, 0.10], 0);
    // f1 is gone, f3 is new; half as long, half the rate, half the requests.
    let after = sampled(6, S, 11 * S, &[0.30, 0.00, 0.10, 0.15], 0);
    let after: Samples = after.into_iter().step_by(2).map(|(at, s, w)| (at, s, w * 2)).collect();
    let a = session(|_| 100, 120, &[(S, 21 * S, before, 0)]);
    let b = session(|_| 100, 60, &[(S, 11 * S, after, 0)]);
    let c = Comparison::new(&side(&a), &side(&b), None).unwrap();
    let (mut found, rows) = (told(&c), c.rows());
    found.sort();
    assert_eq!(found, ["f1", "f3"], "{rows:#?}");
    // 0.2 of two CPUs at 500 requests a second: 0.8 ms each.
    let f1 = of(&rows, "f1").own;
    assert!((f1.before / 0.8e6 - 1.0).abs() < 0.15 && f1.after == 0.0 && f1.ratio() == Some(0.0), "{f1:?}");
    let f3 = of(&rows, "f3").own;
    assert!((f3.after / 0.6e6 - 1.0).abs() < 0.2 && f3.ratio().is_none() && f3.p.unwrap() < 1e-4, "{f3:?}");
    assert_eq!(rows.iter().position(|r| r.own.is_noise), Some(2), "what changed comes first");
    let f0 = of(&rows, "f0").own;
    assert!((f0.ratio().unwrap() - 1.0).abs() < 0.2, "{f0:?}");
    // The same numbers stand in the tree and in a sum over a pattern.
    let flame = c.flame(Which::After, Order::Weight, false);
    let step = |s: &str| super::super::Step { symbol: s.into(), kind: FrameKind::User };
    let at = |name: &str| {
        let id = flame.graph.find(&[step("main"), step("serve"), step(name)]).unwrap();
        (flame.graph.node(id).total, flame.changes[id.0 as usize])
    };
    assert!(at("f1").0 == 0 && !at("f1").1.is_noise && near(at("f1").1.before, f1.before));
    assert!(at("f3").0 > 0 && !at("f3").1.is_noise && near(at("f3").1.after, f3.after));
    let wide_before = c.flame(Which::Before, Order::Weight, false);
    assert!(wide_before.graph.weights.total > flame.graph.weights.total);
    let sums = c.sums(&[Pattern::new("f1|f3|serve"), Pattern::new("f3"), Pattern::new("f0")]);
    assert!(near(sums[0].before, c.whole().before) && near(sums[0].after, c.whole().after));
    assert!(!sums[1].is_noise && near(sums[1].after, f3.after) && sums[2].is_noise);
}

/// How many of so many pairs of sessions of one kind have a function told to differ.
fn told_falsely(trials: u64, shares: &[f64], burst_ns: u64) -> usize {
    let one = |seed: u64| {
        // The load swings too, as real ones do.
        let load = |tick: u64| 80 + (tick * 7 + seed) % 40;
        session(load, 60, &[(S, 11 * S, sampled(seed, S, 11 * S, shares, burst_ns), 0)])
    };
    let differs = |n: &u64| {
        let (a, b) = (one(n * 2), one(n * 2 + 1));
        let c = Comparison::new(&side(&a), &side(&b), None).unwrap();
        assert!(c.is_judged());
        !told(&c).is_empty()
    };
    (0..trials).filter(differs).count()
}

#[test]
fn chance_is_seldom_taken_for_a_change() {
    let shares = [0.2, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.02, 0.02, 0.02, 0.01, 0.01, 0.005, 0.005, 0.005];
    // At most 5 % of the trials, and three standard deviations of that many trials: 200 × 5 % ± 9.
    let independent = told_falsely(200, &shares, 0);
    let in_bursts = told_falsely(200, &shares, 40 * MS);
    println!("told falsely: {independent} and {in_bursts} of 200");
    assert!(independent <= 10, "{independent} of 200");
    assert!(in_bursts <= 10, "{in_bursts} of 200");
}

#[test]
fn a_few_samples_are_not_judged_nor_is_a_moment() {
    let few = |n: u64| -> Samples { (0..n).map(|i| (S + i * 900 * MS, "main;rare".into(), 10 * MS)).collect() };
    let (a, b) = (session(|_| 9, 80, &[(S, 11 * S, few(9), 0)]), session(|_| 9, 80, &[(S, 11 * S, vec![], 0)]));
    assert_eq!(Comparison::new(&side(&a), &side(&b), None).unwrap_err(), DiffError::NoSamples { which: Which::After });
    let b = session(|_| 9, 80, &[(S, 11 * S, few(0).into_iter().chain([(S, "main".into(), 10 * MS)]).collect(), 0)]);
    let c = Comparison::new(&side(&a), &side(&b), None).unwrap();
    let rare = of(&c.rows(), "rare").own;
    assert!(rare.p.is_none() && rare.is_noise && rare.delta() < 0.0, "{rare:?}");
    let moment = session(|_| 9, 80, &[(S, 1400 * MS, sampled(1, S, 1400 * MS, &[0.9], 0), 0)]);
    let c = Comparison::new(&side(&moment), &side(&a), None).unwrap();
    assert!(!c.is_judged() && c.rows().iter().all(|r| r.own.p.is_none() && r.own.is_noise));
}

#[test]
fn sides_that_measure_different_things_are_refused() {
    let mut t = session(|_| 9, 80, &[(S, 3 * S, sampled(1, S, 3 * S, &[0.5], 0), 0)]);
    t.apply(&Event::Stacks(batch(2, "cycles", &[(4 * S, 1, "x", "a", 5), (5 * S, 1, "x", "a", 5)])));
    t.apply(&Event::Stacks(batch(3, "alloc_space", &[(4 * S, 1, "x", "a", 5), (5 * S, 1, "x", "a", 5)])));
    let refused = |a, b| Comparison::new(&a, &b, None).unwrap_err();
    assert!(matches!(refused(capture(&t, 1), capture(&t, 2)), DiffError::Different { .. }));
    let text = refused(side(&t), capture(&t, 1)).to_string();
    assert!(text.starts_with("A holds") && text.contains("cpu-clock (ns) and cycles (cycles)"), "{text}");
    assert!(matches!(refused(capture(&t, 1), side(&t)), DiffError::Mixed { which: Which::After, .. }));
    let of_bytes = Side {
        filter: StackFilter {
            event: Some("alloc_space".into()),
            capture: Some(CaptureId(3)),
            ..StackFilter::default()
        },
        ..side(&t)
    };
    assert!(matches!(refused(capture(&t, 1), of_bytes.clone()), DiffError::Different { .. }));
    assert!(Comparison::new(&of_bytes, &of_bytes, None).is_ok());
    let nothing = session(|_| 0, 80, &[(S, 3 * S, sampled(1, S, 3 * S, &[0.5], 0), 0)]);
    let none = Comparison::new(&side(&nothing), &capture(&t, 1), Some(Per::Request)).unwrap_err();
    assert_eq!(none, DiffError::NoRequests { which: Which::Before });
    assert_eq!(Comparison::new(&side(&nothing), &capture(&t, 1), None).unwrap().per(), Per::Second);
}

#[test]
fn a_profile_without_times_is_compared_by_its_counts() {
    // What a profile from elsewhere says: 10 s, 10 ms a sample, no times.
    let profile =
        |hot: u64| -> Samples { vec![(S, "main;hot".into(), hot * 10 * MS), (S, "main;same".into(), 400 * 10 * MS)] };
    let of = |hot| session(|_| 100, 80, &[(S, 11 * S, profile(hot), 0)]);
    let (a, b) = (of(101), of(303));
    let c = Comparison::new(&side(&a), &side(&b), None).unwrap();
    assert!(!c.sides()[0].is_timed && c.per() == Per::Request);
    assert_eq!(told(&c), ["hot"]);
    assert!(near(c.sides()[0].requests, 5000.0), "{:?}", c.sides()[0]);
    let none = of(102);
    assert!(told(&Comparison::new(&side(&a), &side(&none), None).unwrap()).is_empty());
}

/// (time, thread, stack, weight) of any samples.
fn any_side() -> impl Strategy<Value = Samples> {
    let stack = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 0..5).prop_map(|v| v.join(";"));
    prop::collection::vec((S..3 * S, stack, 1u64..1000), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn any_two_sides_add_up_in_every_form(x in any_side(), y in any_side(), by_thread: bool) {
        let (a, b) = (session(|_| 5, 20, &[(S, 3 * S, x, 0)]), session(|_| 9, 20, &[(S, 3 * S, y, 0)]));
        let c = Comparison::new(&side(&a), &side(&b), Some(Per::Second)).unwrap();
        let (rows, whole) = (c.rows(), c.whole());
        for (n, half) in c.sides().into_iter().enumerate() {
            let pick = |change: &Change| if n == 0 { change.before } else { change.after };
            prop_assert!(near(pick(&whole), half.weight / half.divisor));
            let flame = c.flame(if n == 0 { Which::Before } else { Which::After }, Order::Name, by_thread);
            prop_assert_eq!(flame.graph.nodes[0].total as f64, half.weight);
            for (node, change) in flame.graph.nodes.iter().zip(&flame.changes) {
                prop_assert!(near(node.total as f64 / half.divisor, pick(change)));
            }
            let plain = side(if n == 0 { &a } else { &b }).timeline.profile();
            let hot: HashMap<_, _> =
                plain.hot(&StackFilter::default()).into_iter().map(|h| (h.symbol.clone(), h)).collect();
            for r in &rows {
                let (own, total) = hot.get(&r.symbol).map_or((0, 0), |h| (h.self_weight, h.total));
                prop_assert!(near(pick(&r.own) * half.divisor, own as f64), "{r:?}");
                prop_assert!(near(pick(&r.total) * half.divisor, total as f64), "{r:?}");
            }
        }
        // Backwards it is the same with the sides exchanged.
        let back = Comparison::new(&side(&b), &side(&a), Some(Per::Second)).unwrap();
        for r in back.rows() {
            let there = rows.iter().find(|x| x.symbol == r.symbol).unwrap();
            prop_assert!(near(there.own.delta(), -r.own.delta()) && there.own.is_noise == r.own.is_noise);
        }
    }
}
