//! The load client's own ledger: what perfbench itself took for the requests it made, and how
//! late it was with them.
//!
//! Must not: judge. Whether the client limits a run is for diagnosis to say.

use super::{LoadSum, Timeline};
use crate::model::{At, Mark, MarkKind, Metric, Quantiles, Span};

/// A load thread over a stretch.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadUse {
    /// Its name: `load-0`.
    pub name: String,
    /// Share of one core it used, per cent.
    pub cpu_percent: f64,
    /// Share of the time in which it was ready to run and had no CPU, per cent.
    pub wait_percent: f64,
    /// The highest share of one core between two readings, per cent.
    pub peak_percent: f64,
    /// Seconds between readings that found it using at least [`FULL_PERCENT`] of a core.
    pub full_s: f64,
}

/// A thread that uses this much of a core has no room left, per cent: what is missing to 100 are
/// the ticks that other tasks and interrupts of its CPU take, and readings a little apart.
pub const FULL_PERCENT: f64 = 95.0;

/// The ledger of a stretch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientUse {
    /// What the readings of the load threads cover: not exactly the stretch asked for.
    pub span: Span,
    /// Requests that ended in it.
    pub ended: u64,
    /// The load threads, by number.
    pub threads: Vec<ThreadUse>,
    /// CPU time of the load threads, ns.
    pub load_cpu_ns: u64,
    /// Time the load threads were ready to run and had no CPU, ns.
    pub run_wait_ns: u64,
    /// Times they gave up the CPU to wait, and times they were preempted.
    pub switches: (u64, u64),
    /// CPU time of the whole process in the same stretch, ns; to 1/[`ticks_per_s`] s.
    ///
    /// [`ticks_per_s`]: crate::model::HostFacts::ticks_per_s
    pub process_cpu_ns: Option<u64>,
    /// Time that a CPU quota kept the process off the CPUs, ns.
    pub throttled_ns: u64,
    /// Resident memory at the stretch's end, bytes.
    pub memory: Option<u64>,
    /// Most resident memory until then, bytes.
    pub memory_peak: Option<u64>,
    /// The memory it may use: the tighter of its control group's limit and the host's memory, bytes.
    pub memory_limit: Option<u64>,
    /// Open file descriptors at the stretch's end.
    pub fds: Option<u64>,
    /// Its soft limit of open files.
    pub fd_limit: Option<u64>,
}

impl ClientUse {
    /// CPU time of the load threads per request, µs; `None` without a request or a reading.
    pub fn load_cpu_us_per_request(&self) -> Option<f64> {
        self.per_request_us(Some(self.load_cpu_ns).filter(|_| !self.threads.is_empty()))
    }

    /// CPU time of the whole process per request, µs.
    pub fn process_cpu_us_per_request(&self) -> Option<f64> {
        self.per_request_us(self.process_cpu_ns)
    }

    /// Time the load threads waited for a CPU per request, µs.
    pub fn run_wait_us_per_request(&self) -> Option<f64> {
        self.per_request_us(Some(self.run_wait_ns).filter(|_| !self.threads.is_empty()))
    }

    /// Share of the load threads' time in which they were ready to run and had no CPU, per cent.
    pub fn run_wait_percent(&self) -> Option<f64> {
        let time = self.span.len_ns() as f64 * self.threads.len() as f64;
        (time > 0.0).then(|| 100.0 * self.run_wait_ns as f64 / time)
    }

    /// The load thread that used most of its core.
    pub fn busiest(&self) -> Option<&ThreadUse> {
        self.threads.iter().max_by(|a, b| a.cpu_percent.total_cmp(&b.cpu_percent))
    }

    fn per_request_us(&self, ns: Option<u64>) -> Option<f64> {
        (self.ended > 0).then_some(ns? as f64 / self.ended as f64 / 1e3)
    }
}

/// How late the client was, and what it gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClientLateness {
    /// Send lag, ns; empty in a closed loop.
    pub lag: Quantiles,
    /// Requests that fell due.
    pub offered: u64,
    /// Of them, those given up unsent.
    pub dropped: u64,
    /// Requests the plan's rate makes due in the stretch; `None` when it has none that is constant.
    pub scheduled: Option<f64>,
}

/// Send lag that an idle core keeps at 20 000/s, ns, and the part of the requests that may be missing: what
/// is worse is told.
pub const ON_TIME_P50_NS: u64 = 50_000;
/// See [`ON_TIME_P50_NS`].
pub const ON_TIME_P99_NS: u64 = 200_000;
/// See [`ON_TIME_P50_NS`].
pub const ON_TIME_MISSING: f64 = 0.001;

impl ClientLateness {
    /// What the load of a stretch and the plan of its session say.
    pub fn of(t: &Timeline, sum: &LoadSum) -> ClientLateness {
        let plan = &t.opening().load;
        let changes = |m: &Mark| matches!(m.kind, MarkKind::Rate | MarkKind::Pause);
        let is_steady = plan.mode == "rate" && sum.slots > 0 && !t.marks().iter().any(changes);
        // What is waited for after the end of a run was not scheduled.
        let began = t.load().span().from;
        let ends = plan.duration_ns.map_or(sum.span.to, |ns| sum.span.to.min(At(began.0.saturating_add(ns))));
        let seconds = ends.since_ns(sum.span.from) as f64 / 1e9;
        let scheduled = plan.rate_per_s.filter(|_| is_steady).map(|per_s| per_s * seconds);
        ClientLateness { lag: sum.lag, offered: sum.offered, dropped: sum.dropped, scheduled }
    }

    /// Whether requests left when they fell due, as they do on an idle core; `None` in a closed loop.
    pub fn is_on_time(&self) -> Option<bool> {
        // One more or less is where the stretch was cut.
        let is_whole = self.scheduled.is_none_or(|n| (n - self.offered as f64).abs() <= 1.0 + n * ON_TIME_MISSING);
        let is_prompt = self.lag.p50 < ON_TIME_P50_NS && self.lag.p99 < ON_TIME_P99_NS;
        (self.lag.count > 0).then_some(is_whole && is_prompt && self.dropped == 0)
    }

    /// By how much less was offered than scheduled, per cent; negative when it was more.
    pub fn short_percent(&self) -> Option<f64> {
        let scheduled = self.scheduled.filter(|n| *n > 0.0)?;
        Some(100.0 * (scheduled - self.offered as f64) / scheduled)
    }
}

impl Timeline {
    /// The client's ledger over a stretch. Without readings of load threads (old sessions, a run
    /// too short) what is known of the process is told all the same.
    pub fn client(&self, span: Span) -> ClientUse {
        let mut ledger = ClientUse::default();
        for (name, run) in self.instances(Metric::ThreadRun) {
            let Some(rate) = run.rate(span).filter(|r| r.span.to >= span.from) else { continue };
            let mut thread = ThreadUse {
                name: name.to_string(),
                cpu_percent: rate.per_s() / 1e7,
                wait_percent: 0.0,
                peak_percent: 0.0,
                full_s: 0.0,
            };
            let mut before = rate.span.from;
            for (at, per_s) in run.rates(Span { from: At(before.0.saturating_add(1)), to: rate.span.to }) {
                let percent = per_s / 1e7;
                thread.peak_percent = thread.peak_percent.max(percent);
                if percent >= FULL_PERCENT {
                    thread.full_s += at.since_ns(before) as f64 / 1e9;
                }
                before = at;
            }
            let count = |metric| self.series(metric, name).and_then(|s| s.rate(span)).map_or(0, |r| unsigned(r.delta));
            let wait_ns = count(Metric::ThreadRunWait);
            thread.wait_percent = 100.0 * wait_ns as f64 / rate.span.len_ns() as f64;
            ledger.span = match ledger.threads.is_empty() {
                true => rate.span,
                false => Span { from: ledger.span.from.min(rate.span.from), to: ledger.span.to.max(rate.span.to) },
            };
            ledger.load_cpu_ns = ledger.load_cpu_ns.saturating_add(unsigned(rate.delta));
            ledger.run_wait_ns = ledger.run_wait_ns.saturating_add(wait_ns);
            ledger.switches.0 = ledger.switches.0.saturating_add(count(Metric::ThreadVoluntary));
            ledger.switches.1 = ledger.switches.1.saturating_add(count(Metric::ThreadInvoluntary));
            ledger.threads.push(thread);
        }
        ledger.threads.sort_by_key(|t| (number_of(&t.name), t.name.clone()));
        let covered = if ledger.threads.is_empty() { span } else { ledger.span };
        ledger.span = covered;
        ledger.ended = self.ended_in(covered);
        ledger.process_cpu_ns = self.own_cpu_ns(covered);
        let own = |metric| self.series(metric, "self");
        let throttled = own(Metric::ProcThrottled).and_then(|s| s.rate(covered)).map_or(0, |r| unsigned(r.delta));
        ledger.throttled_ns = throttled.saturating_mul(1000);
        let last = |metric| own(metric).and_then(|s| s.last_at(span.to)).map(|(_, v)| unsigned(v));
        ledger.memory = last(Metric::ProcRss);
        // Sessions of before the kernel's own peak was read have the readings.
        let seen = own(Metric::ProcRss).and_then(|s| s.peak(Span { from: At::START, to: span.to })).map(unsigned);
        ledger.memory_peak = last(Metric::ProcRssPeak).max(seen);
        let physical = Some(self.opening().host.memory_bytes).filter(|n| *n > 0);
        ledger.memory_limit = last(Metric::ProcMemLimit).into_iter().chain(physical).min();
        (ledger.fds, ledger.fd_limit) = (last(Metric::ProcFds), last(Metric::ProcFdLimit));
        ledger
    }

    /// Requests that ended in a stretch: slots that lie partly in it count in part.
    fn ended_in(&self, span: Span) -> u64 {
        let part = |(of, slot): (Span, &super::Slot)| {
            let overlap = of.to.min(span.to).since_ns(of.from.max(span.from)) as f64 / of.len_ns() as f64;
            slot.completed.saturating_add(slot.failed) as f64 * overlap
        };
        self.load().slots(span).map(part).sum::<f64>() as u64
    }

    fn own_cpu_ns(&self, span: Span) -> Option<u64> {
        let per_s = |metric| Some(self.series(metric, "self")?.rate(span)?.per_s());
        let ticks = per_s(Metric::ProcUser)? + per_s(Metric::ProcSystem)?;
        let ticks_per_s = f64::from(self.opening().host.ticks_per_s.max(1));
        // Of its own readings, which lie a little beside those of the threads.
        Some((ticks / ticks_per_s * span.len_ns() as f64) as u64)
    }
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn number_of(name: &str) -> u64 {
    name.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::interval;
    use super::*;
    use crate::model::{Event, HostFacts, LoadPlan, Opening, Reading, Readings};

    const SECOND: u64 = 1_000_000_000;

    fn at(s: u64, values: &[(Metric, &str, i64)]) -> Event {
        let value = |(metric, i, value): &(Metric, &str, i64)| Reading {
            metric: *metric,
            instance: (*i).into(),
            value: *value,
        };
        let values = values.iter().map(value).collect();
        Event::Readings(Readings { at: At(s * SECOND), sampler: "client".into(), took_ns: 1, values })
    }

    fn opened() -> Timeline {
        let mut t = Timeline::new();
        let host = HostFacts { ticks_per_s: 100, memory_bytes: 8 << 30, ..Default::default() };
        let load = LoadPlan { mode: "rate".into(), rate_per_s: Some(5.0), ..Default::default() };
        t.apply(&Event::from(Opening { host, load, ..Default::default() }));
        for n in 1..=50 {
            t.apply(&Event::Interval(interval(0, n * 200, &[1])));
        }
        t
    }

    #[test]
    fn what_a_request_costs_is_of_the_stretch_that_was_read() {
        let mut t = opened();
        let all = t.load().sum(t.whole());
        let each = (all.completed + all.failed) / 50;
        for s in [2, 4, 6] {
            let ns = |percent: i64| percent * 10_000_000 * (s as i64 - 2);
            t.apply(&at(
                s,
                &[
                    (Metric::ThreadRun, "load-0", ns(50)),
                    (Metric::ThreadRun, "load-1", ns(if s == 6 { 98 } else { 96 })),
                    (Metric::ThreadRunWait, "load-0", ns(10)),
                    (Metric::ThreadRunWait, "load-1", 0),
                    (Metric::ThreadVoluntary, "load-0", 7 * s as i64),
                    (Metric::ProcUser, "self", 100 * s as i64),
                    (Metric::ProcSystem, "self", 50 * s as i64),
                    (Metric::ProcRss, "self", 1000),
                    (Metric::ProcRssPeak, "self", 3000),
                ],
            ));
        }
        let c = t.client(t.whole());
        assert_eq!(c.span, Span { from: At(2 * SECOND), to: At(6 * SECOND) });
        assert_eq!(c.ended, 20 * each);
        assert_eq!(c.load_cpu_ns, 2 * SECOND + 98 * SECOND / 100 * 4);
        assert_eq!(c.process_cpu_ns, Some(6 * SECOND));
        let per_request = c.load_cpu_us_per_request().unwrap();
        assert!((per_request - c.load_cpu_ns as f64 / 1e3 / (20 * each) as f64).abs() < 1e-6);
        assert_eq!(c.busiest().map(|t| (t.name.as_str(), t.cpu_percent.round())), Some(("load-1", 98.0)));
        assert_eq!((c.threads[0].wait_percent, c.threads[0].full_s, c.threads[1].full_s), (10.0, 0.0, 4.0));
        assert_eq!(c.run_wait_percent(), Some(5.0));
        assert_eq!((c.switches, c.memory, c.memory_peak), ((28, 0), Some(1000), Some(3000)));
        assert_eq!(c.memory_limit, Some(8 << 30), "without a limit of its own there is the host's memory");
    }

    #[test]
    fn without_readings_nothing_is_made_up() {
        let t = opened();
        let c = t.client(t.whole());
        assert!(c.threads.is_empty() && c.ended > 0);
        assert_eq!(
            (c.load_cpu_us_per_request(), c.process_cpu_us_per_request(), c.run_wait_percent()),
            (None, None, None)
        );
        let empty = Timeline::new();
        assert_eq!(empty.client(empty.whole()), ClientUse::default());
    }

    #[test]
    fn what_was_scheduled_is_known_of_a_rate_that_nobody_changed() {
        let mut t = opened();
        let late = ClientLateness::of(&t, &t.load().sum(t.whole()));
        assert_eq!(late.scheduled.map(f64::round), Some(50.0));
        let lag = |p50, p99, count| Quantiles { p50, p99, count, ..Quantiles::default() };
        let on_time = |lag, dropped| ClientLateness { lag, dropped, offered: 50, scheduled: Some(50.0) }.is_on_time();
        assert_eq!(on_time(lag(49_999, 199_999, 9), 0), Some(true));
        for (lag, dropped) in [(lag(50_000, 60_000, 9), 0), (lag(1, 200_000, 9), 0), (lag(1, 2, 9), 1)] {
            assert_eq!(on_time(lag, dropped), Some(false));
        }
        let few = ClientLateness { lag: lag(1, 2, 9), dropped: 0, offered: 48, scheduled: Some(50.0) };
        assert_eq!((few.is_on_time(), on_time(lag(0, 0, 0), 0)), (Some(false), None));
        assert_eq!(late.short_percent().map(f64::round), Some((100.0 * (50.0 - late.offered as f64) / 50.0).round()));
        t.apply(&Event::Mark(Mark { at: At(SECOND), kind: MarkKind::Rate, label: "rate".into() }));
        assert_eq!(ClientLateness::of(&t, &t.load().sum(t.whole())).scheduled, None);
    }

    #[test]
    fn counts_no_host_has_are_taken() {
        let mut t = opened();
        for (s, v) in [(1, i64::MIN), (2, i64::MAX), (3, 0), (3, -7)] {
            t.apply(&at(s, &METRICS.map(|m| (m, "load-0", v))));
            t.apply(&at(s, &METRICS.map(|m| (m, "self", v))));
        }
        let _ = t.client(t.whole());
        let _ = t.client(Span { from: At(0), to: At(u64::MAX) });
    }

    const METRICS: [Metric; 9] = [
        Metric::ThreadRun,
        Metric::ThreadRunWait,
        Metric::ThreadVoluntary,
        Metric::ProcUser,
        Metric::ProcSystem,
        Metric::ProcRss,
        Metric::ProcRssPeak,
        Metric::ProcMemLimit,
        Metric::ProcThrottled,
    ];
}
