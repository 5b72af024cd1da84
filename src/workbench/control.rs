//! What steers a run while it is under way: marks where phases begin, ends it when a condition
//! has come true, searches for the highest rate that keeps an objective.
//!
//! Sees the load as the timeline has it and says what is to be done; the live feed does it.
//!
//! Must not: read clocks, or reach into a run.

use super::search::Search;
use crate::load::Change;
use crate::model::{At, Interval, Mark, MarkKind, Span};
use crate::timeline::objective::{Lasting, Met, Objective};
use crate::timeline::steer::{Found, Probe, Verdict};
use crate::timeline::{LoadSum, LoadTrack, Timeline};

/// How long after its end the load of a stretch may still be coming in: workers hand over every
/// 200 ms, and one that is busy a little later.
const LATE_NS: u64 = 700_000_000;
/// How long after the first worker the others have handed over too, unless they are that busy.
const SOON_NS: u64 = 100_000_000;
/// Pause after a probe that was not kept, ns: at least, and at most while requests are under way.
const DRAIN_NS: (u64, u64) = (500_000_000, 10_000_000_000);
/// Share of its requests that a client may fall short by and still have offered a rate.
const SHORT: f64 = 0.01;
/// What a tick's end may be off, s: a worker hands over a little after it.
const TICK_SLACK_S: f64 = 0.03;

/// The search for the highest rate, as asked for.
#[derive(Clone, Debug)]
pub struct FindMax {
    /// What must be kept.
    pub objective: Objective,
    /// Where to begin, requests per second.
    pub start_per_s: f64,
    /// How near the lowest rate that does not keep it must be to the highest that does, as a
    /// share: 0.05 is 5 %.
    pub precision: f64,
    /// Length of one probe, ns.
    pub probe_ns: u64,
    /// Connections of the run.
    pub connections: u32,
    /// Whether arrivals are random: then so is their number.
    pub random: bool,
}

/// What a run is to be steered by.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Phases that are to be marked: when after the load's start, ns, and as what. In order.
    pub phases: Vec<(u64, String)>,
    /// Conditions that end the run.
    pub stop_if: Vec<Lasting>,
    /// Conditions that take a profile.
    pub triggers: Vec<Trigger>,
    /// How many profiles they may still take, together.
    pub captures_left: u32,
    /// A search, if one is made.
    pub search: Option<Searching>,
    /// Phases marked so far.
    marked: usize,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Keep a mark.
    Mark(Mark),
    /// Change what is offered.
    Change(Change),
    /// Take a profile of what is going on, and keep this mark of why when it is taken.
    Capture(Mark),
    /// End the run, for this reason.
    Stop(String),
}

/// A condition that takes a profile each time it becomes true.
#[derive(Clone, Debug)]
pub struct Trigger {
    condition: Lasting,
    /// Whether it was false since it last took one.
    armed: bool,
}

impl Trigger {
    /// One that has not been true yet.
    pub fn new(condition: Lasting) -> Trigger {
        Trigger { condition, armed: true }
    }

    /// What was measured when it became true in the load since it was last looked at.
    fn look(&mut self, load: &LoadTrack, known: At) -> Option<Met> {
        let mut fired = None;
        while let Some(met) = self.condition.look(load, known) {
            if std::mem::take(&mut self.armed) {
                fired = Some(met);
            }
        }
        self.armed |= !self.condition.is_true();
        fired
    }
}

impl Control {
    /// A control that does nothing.
    pub fn none() -> Control {
        Control::default()
    }

    /// What is to be done at an instant; `start`: when the load began, once it has.
    pub fn step(&mut self, now: At, start: Option<At>, t: &Timeline) -> Vec<Order> {
        let mut orders = Vec::new();
        let Some(start) = start else { return orders };
        while let Some((after_ns, label)) = self.phases.get(self.marked) {
            let at = At(start.0.saturating_add(*after_ns));
            if at > now {
                break;
            }
            orders.push(Order::Mark(Mark { at, kind: MarkKind::Phase, label: label.clone() }));
            self.marked += 1;
        }
        let known = known(t.load(), now);
        for condition in &mut self.stop_if {
            if let Some(met) = condition.look(t.load(), known) {
                let label = format!("ended by {}: {}", condition.condition(), met.shown);
                orders.push(Order::Mark(Mark { at: met.at, kind: MarkKind::Verdict, label: label.clone() }));
                orders.push(Order::Stop(label));
                self.stop_if.clear();
                return orders;
            }
        }
        for trigger in &mut self.triggers {
            let Some(met) = trigger.look(t.load(), known).filter(|_| self.captures_left > 0) else { continue };
            let label = format!("capture by {}: {}", trigger.condition.condition(), met.shown);
            orders.push(Order::Capture(Mark { at: met.at, kind: MarkKind::Trigger, label }));
        }
        if let Some(search) = &mut self.search {
            search.step(now, t, &mut orders);
        }
        orders
    }

    /// Whether the rate is the search's and nobody else's to change.
    pub fn is_searching(&self) -> bool {
        self.search.is_some()
    }
}

/// Until when the load is known by now, from all workers: the first to hand over a tick is not
/// waited for alone, and the last not for ever.
fn known(load: &LoadTrack, now: At) -> At {
    let before = |ns: u64| At(now.0.saturating_sub(ns));
    load.known_until().min(before(SOON_NS)).max(before(LATE_NS))
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Searching {
    plan: FindMax,
    search: Search,
    state: State,
    /// The probes that have a verdict.
    tried: Vec<Probe>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nothing was tried yet.
    New,
    /// A rate is being tried since then.
    Probing { since: At, per_s: f64 },
    /// Nothing is offered since then, so that what piled up can drain.
    Draining { since: At },
    /// Over.
    Ended,
}

impl Searching {
    /// A search that has not begun.
    pub fn new(plan: FindMax) -> Searching {
        let search = Search::new(plan.start_per_s, plan.precision);
        Searching { search, plan, state: State::New, tried: Vec::new() }
    }

    /// The factor on a schedule of one request per second that the run is to begin with.
    pub fn first_per_s(&self) -> f64 {
        self.search.next().unwrap_or(1.0)
    }

    fn step(&mut self, now: At, t: &Timeline, orders: &mut Vec<Order>) {
        match self.state {
            State::New => self.begin(now, orders),
            State::Probing { since, per_s } => {
                let end = At(since.0.saturating_add(self.plan.probe_ns));
                if known(t.load(), now) < end {
                    return;
                }
                let (verdict, why) = self.judge(since, per_s, t.load());
                let number = self.number();
                let label = Probe::verdict_label(number, per_s, &verdict, &why);
                orders.push(Order::Mark(Mark { at: now, kind: MarkKind::Verdict, label }));
                let kept = verdict == Verdict::Kept;
                let span = Span { from: since, to: now };
                self.tried.push(Probe { number, per_s, span, verdict: Some((verdict, why)) });
                self.search.judged(kept);
                if kept || self.search.next().is_none() {
                    self.begin(now, orders);
                } else {
                    orders.push(Order::Change(Change::Pause));
                    self.state = State::Draining { since: now };
                }
            }
            State::Draining { since } => {
                let passed = now.since_ns(since);
                let after = Span { from: At(since.0 + Interval::TICK_NS), to: now };
                let is_empty = t.load().slots(after).next_back().is_some_and(|(_, s)| s.in_flight + s.queued == 0);
                if passed >= DRAIN_NS.0 && is_empty || passed >= DRAIN_NS.1 {
                    self.begin(now, orders);
                }
            }
            State::Ended => {}
        }
    }

    /// The number of the probe under way, or of the next one.
    fn number(&self) -> u32 {
        u32::try_from(self.tried.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Begins the next probe, or ends the search.
    fn begin(&mut self, now: At, orders: &mut Vec<Order>) {
        let Some(per_s) = self.search.next() else {
            self.state = State::Ended;
            let line = Found::of(&self.tried).line(&self.plan.objective.to_string());
            orders.push(Order::Stop(line));
            return;
        };
        orders.push(Order::Change(Change::Factor(per_s)));
        orders.push(Order::Change(Change::Resume));
        let label = Probe::label(self.number(), per_s);
        orders.push(Order::Mark(Mark { at: now, kind: MarkKind::Phase, label }));
        self.state = State::Probing { since: now, per_s };
    }

    fn judge(&self, since: At, per_s: f64, load: &LoadTrack) -> (Verdict, String) {
        let span = Probe::judged(since, self.plan.probe_ns);
        let busy = mean_in_flight(load, span) >= 0.9 * f64::from(self.plan.connections);
        judge(&self.plan, per_s, span, &load.sum(span), busy)
    }
}

/// Requests under way at the ends of the ticks of a stretch, in the mean.
fn mean_in_flight(load: &LoadTrack, span: Span) -> f64 {
    let (sum, n) = load.slots(span).fold((0.0, 0u32), |(sum, n), (_, s)| (sum + s.in_flight as f64, n + 1));
    if n == 0 { 0.0 } else { sum / f64::from(n) }
}

/// Whether a probe kept the objective, and what was measured. `busy`: all connections were.
fn judge(plan: &FindMax, per_s: f64, span: Span, sum: &LoadSum, busy: bool) -> (Verdict, String) {
    let conditions = plan.objective.conditions();
    let values: Vec<Option<f64>> = conditions.iter().map(|c| c.measure(sum)).collect();
    let measured: Vec<String> = conditions.iter().zip(&values).map(|(c, v)| c.shown(*v)).collect();
    let measured = measured.join(", ");
    let seconds = span.secs();
    let planned = per_s * seconds;
    let chance = if plan.random { 4.0 * planned.sqrt() } else { 0.0 };
    let slack = planned * SHORT + per_s * TICK_SLACK_S + chance + 1.0;
    let offered = sum.offered as f64;
    if offered < planned - slack && !busy {
        let why = format!("it offered {:.0}/s of {per_s}/s; {measured}", offered / seconds.max(1e-9));
        return (Verdict::ByClient, why);
    }
    let broken = conditions.iter().zip(&values).find(|(c, v)| !v.is_some_and(|v| c.is_true_of(v)));
    if let Some((condition, _)) = broken {
        // Late although connections were free: its own doing.
        let late = sum.lag.p99 as f64 > 0.5 * sum.response.p99 as f64 && sum.lag.count > 0;
        if condition.is_of_response_time() && late && !busy {
            return (
                Verdict::ByClient,
                format!("it sent late, lag p99 {:.2} ms; {measured}", sum.lag.p99 as f64 / 1e6),
            );
        }
        let waited =
            if late { format!("; requests waited for one of {} connections", plan.connections) } else { String::new() };
        return (Verdict::Broken, format!("{measured}{waited}"));
    }
    // An objective of errors alone would be kept by a target that answers ever later.
    let ended = (sum.completed + sum.failed) as f64;
    // What is under way at its end is no more than there are connections, if it keeps up.
    if ended < offered * (1.0 - SHORT) - f64::from(plan.connections) || sum.dropped as f64 > offered * SHORT {
        let rate = ended / seconds.max(1e-9);
        return (Verdict::Broken, format!("{rate:.0}/s of {per_s}/s were answered; {measured}"));
    }
    (Verdict::Kept, measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, Latency, Outcome, OutcomeCount, new_histogram};

    const TICK: u64 = Interval::TICK_NS;

    /// A tick of load.
    fn tick(end: u64, offered: u64, ended: u64, response_us: u64, lag_us: u64, in_flight: u64) -> Event {
        let of = |us: u64, n: u64| {
            let mut dense = new_histogram();
            dense.record_n(us * 1000, n).unwrap();
            Latency::encode(&dense)
        };
        Event::Interval(Interval {
            span: Span { from: At(end - TICK), to: At(end) },
            offered,
            sent: offered,
            completed: ended,
            in_flight,
            response_time: of(response_us, ended),
            service_time: of(response_us, ended),
            send_lag: of(lag_us, ended),
            outcomes: vec![OutcomeCount { outcome: Outcome::Status(200), count: ended }],
            ..Interval::default()
        })
    }

    fn plan(objective: &str) -> FindMax {
        FindMax {
            objective: objective.parse().unwrap(),
            start_per_s: 100.0,
            precision: 0.05,
            probe_ns: 2_000_000_000,
            connections: 50,
            random: false,
        }
    }

    /// Runs a search against a target that answers up to `limit` a second, and below in 1 ms; a
    /// client that offers at most `most`.
    fn simulate(objective: &str, limit: f64, most: f64) -> (Timeline, String) {
        let mut control = Control { search: Some(Searching::new(plan(objective))), ..Control::default() };
        let mut t = Timeline::new();
        let (mut rate, mut paused, mut backlog, mut owed) = (0.0, false, 0.0f64, 0.0f64);
        for n in 1..200_000u64 {
            let now = At(n * TICK);
            for order in control.step(now, Some(At::START), &t) {
                match order {
                    Order::Mark(m) => t.apply(&Event::Mark(m)),
                    Order::Change(Change::Factor(to)) => rate = to,
                    Order::Change(Change::Pause) => paused = true,
                    Order::Change(_) => paused = false,
                    Order::Capture(_) => panic!("nothing asked for one"),
                    Order::Stop(why) => return (t, why),
                }
            }
            owed += if paused { 0.0 } else { f64::min(rate, most) / 5.0 };
            let offered = owed.floor();
            owed -= offered;
            backlog += offered;
            let ended = backlog.min(limit / 5.0).floor();
            backlog -= ended;
            let waits_us = (1_000.0 + backlog / limit * 1e6) as u64;
            let busy = if backlog > 50.0 { 50 } else { backlog as u64 };
            t.apply(&tick(now.0 + TICK, offered as u64, ended as u64, waits_us, waits_us - 1_000, busy));
        }
        panic!("no end");
    }

    #[test]
    fn a_search_finds_what_the_target_can_do() {
        for objective in ["p99<20ms,errors<1%", "errors<1%"] {
            let (t, why) = simulate(objective, 7_000.0, 1e9);
            let probes = Probe::all(&t);
            let found = Found::of(&probes);
            assert!((6_500.0..=7_200.0).contains(&found.per_s.unwrap()), "{why}");
            assert!(!found.by_client && why.starts_with("highest rate that keeps"), "{why}");
            assert!(found.not_at.unwrap() <= found.per_s.unwrap() * 1.05, "{why}");
            assert!(probes.iter().all(|p| p.verdict.is_some()) && probes.len() > 6);
        }
    }

    #[test]
    fn a_client_that_can_not_offer_it_is_said_to_be_the_limit() {
        let (t, why) = simulate("p99<20ms", 1e6, 3_000.0);
        let found = Found::of(&Probe::all(&t));
        assert!(found.by_client && why.ends_with("limited by the client, not by the target"), "{why}");
        assert!((2_800.0..=3_100.0).contains(&found.per_s.unwrap()), "{why}");
    }

    #[test]
    fn nothing_keeps_an_objective_that_can_not_be_kept_or_measured() {
        for objective in ["p99<10us", "service.p99.9<1ns"] {
            let (_, why) = simulate(objective, 7_000.0, 1e9);
            assert!(why.starts_with("no rate was found that keeps"), "{why}");
        }
    }

    #[test]
    fn a_trigger_takes_a_profile_each_time_it_becomes_true_and_no_more_than_it_may() {
        let trigger = Trigger::new(Lasting::new("p99>1ms".parse().unwrap()));
        let mut control = Control { triggers: vec![trigger], captures_left: 2, ..Control::default() };
        let mut t = Timeline::new();
        let mut taken = Vec::new();
        // Seconds with slow answers: 2 to 4, 6, 8.
        for second in 0..10u64 {
            let us = if [2, 3, 4, 6, 8].contains(&second) { 5_000 } else { 100 };
            (1..=5).for_each(|n| t.apply(&tick((second * 5 + n) * TICK, 10, 10, us, 0, 0)));
            for order in control.step(At((second + 2) * 1_000_000_000), Some(At(0)), &t) {
                match order {
                    Order::Capture(m) => {
                        control.captures_left -= 1;
                        taken.push((second, m.kind, m.label));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let label = "capture by p99>1ms: p99 5.00 ms".to_owned();
        assert_eq!(taken, [(2, MarkKind::Trigger, label.clone()), (6, MarkKind::Trigger, label)]);
    }

    #[test]
    fn phases_are_marked_at_their_instants_and_conditions_end_the_run() {
        let mut control = Control {
            phases: vec![(0, "const(1,1s)".into()), (1_000_000_000, "pause(1s)".into())],
            stop_if: vec![Lasting::new("p99>1ms for 2s".parse().unwrap())],
            ..Control::default()
        };
        let mut t = Timeline::new();
        assert_eq!(control.step(At(9), None, &t), []);
        let first = control.step(At(9), Some(At(7)), &t);
        let mark = |at, label: &str| Order::Mark(Mark { at: At(at), kind: MarkKind::Phase, label: label.into() });
        assert_eq!(first, [mark(7, "const(1,1s)")]);
        (1..=15).for_each(|n| t.apply(&tick(n * TICK, 10, 10, 5_000, 0, 0)));
        let next = control.step(At(1_500_000_000), Some(At(7)), &t);
        assert_eq!(next, [mark(1_000_000_007, "pause(1s)")]);
        let last = control.step(At(3_100_000_000), Some(At(7)), &t);
        assert!(
            matches!(&last[..], [Order::Mark(m), Order::Stop(why)]
            if m.at == At(2_000_000_000) && m.label == *why && why == "ended by p99>1ms for 2s: p99 5.00 ms"),
            "{last:?}"
        );
        assert_eq!(control.step(At(4_000_000_000), Some(At(7)), &t), []);
    }
}
