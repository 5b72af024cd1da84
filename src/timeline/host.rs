//! What the readings say about the host at an instant or over a stretch: CPU split, ports,
//! interfaces, disks, processes. One small struct per question a pane or a rule asks.
//!
//! Must not: judge. Thresholds belong to diagnosis.

use super::series::STALE_NS;
use super::{Rate, Series, Timeline};
use crate::model::{At, Metric, Scope, Span};

/// Shares of CPU time, per cent of the CPU or CPUs it is of; they sum to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuSplit {
    /// User code.
    pub us: f64,
    /// Kernel for processes.
    pub sy: f64,
    /// Niced user code.
    pub ni: f64,
    /// Soft interrupts.
    pub si: f64,
    /// Hardware interrupts.
    pub hi: f64,
    /// Idle while waiting for a disk.
    pub wa: f64,
    /// Stolen by the hypervisor.
    pub st: f64,
    /// Idle.
    pub id: f64,
}

impl CpuSplit {
    /// Everything but idle and wait for a disk.
    pub fn busy(&self) -> f64 {
        self.us + self.sy + self.ni + self.si + self.hi + self.st
    }
}

/// The CPU metrics in the order of [`CpuSplit`]'s fields.
const CPU: [Metric; 8] = [
    Metric::CpuUser,
    Metric::CpuSystem,
    Metric::CpuNice,
    Metric::CpuSoftirq,
    Metric::CpuIrq,
    Metric::CpuIowait,
    Metric::CpuSteal,
    Metric::CpuIdle,
];

fn split(ticks: [f64; 8]) -> Option<CpuSplit> {
    let total: f64 = ticks.iter().sum();
    let [us, sy, ni, si, hi, wa, st, id] = ticks.map(|t| 100.0 * t / total);
    (total > 0.0).then_some(CpuSplit { us, sy, ni, si, hi, wa, st, id })
}

/// Local ports in use to the target, against what there is.
#[derive(Clone, Debug, PartialEq)]
pub struct PortUse {
    /// The destination.
    pub destination: String,
    /// Local ports of the range in use to it.
    pub used: u64,
    /// Local ports there are for it.
    pub budget: u64,
    /// Sockets to it that are established.
    pub established: u64,
    /// Sockets to it in SYN_SENT.
    pub syn_sent: u64,
    /// Sockets to it in TIME_WAIT.
    pub time_wait: u64,
    /// Ports per second by which the use grew over the last seconds; negative when it falls.
    pub growth_per_s: f64,
}

impl PortUse {
    /// Share of the budget in use, per cent.
    pub fn percent(&self) -> f64 {
        if self.budget == 0 { 0.0 } else { 100.0 * self.used as f64 / self.budget as f64 }
    }

    /// Seconds until no port is left at the present growth; `None` when it does not grow.
    pub fn full_in_s(&self) -> Option<f64> {
        let left = self.budget.saturating_sub(self.used) as f64;
        (self.growth_per_s >= 1.0).then(|| left / self.growth_per_s)
    }
}

/// A counter that moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// Which.
    pub metric: Metric,
    /// By how much in the stretch.
    pub delta: i64,
    /// Per second.
    pub per_s: f64,
}

/// Use of a network interface.
#[derive(Clone, Debug, PartialEq)]
pub struct InterfaceUse {
    /// Its name.
    pub name: String,
    /// Bytes received per second.
    pub rx_bytes_per_s: f64,
    /// Bytes sent per second.
    pub tx_bytes_per_s: f64,
    /// Packets received per second.
    pub rx_packets_per_s: f64,
    /// Packets sent per second.
    pub tx_packets_per_s: f64,
    /// Packets dropped, both ways, in the stretch.
    pub dropped: i64,
    /// Errors, both ways, in the stretch.
    pub errors: i64,
    /// Link speed in bytes per second, when known.
    pub link_bytes_per_s: Option<f64>,
}

/// Use of a disk.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskUse {
    /// Its name.
    pub name: String,
    /// Bytes read per second.
    pub read_bytes_per_s: f64,
    /// Bytes written per second.
    pub write_bytes_per_s: f64,
    /// Requests completed per second.
    pub requests_per_s: f64,
    /// Mean time a request took, ms; `None` when there was none.
    pub wait_ms: Option<f64>,
    /// Share of time with requests in flight, per cent.
    pub busy_percent: f64,
}

/// Memory at an instant, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemoryUse {
    /// Physical memory.
    pub total: u64,
    /// To be had without swapping.
    pub available: u64,
    /// Page cache.
    pub cached: u64,
    /// Waiting to be written.
    pub dirty: u64,
    /// Kernel objects.
    pub slab: u64,
    /// Swap in use.
    pub swap_used: u64,
}

/// A process over a stretch.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessUse {
    /// `self` for perfbench, else `PID name`.
    pub instance: String,
    /// User code, per cent of one CPU.
    pub us: f64,
    /// Kernel, per cent of one CPU.
    pub sy: f64,
    /// Resident memory, bytes.
    pub rss: u64,
    /// Threads.
    pub threads: u64,
    /// Open files, when permitted to count.
    pub fds: Option<u64>,
    /// Soft limit of open files.
    pub fd_limit: Option<u64>,
}

impl ProcessUse {
    /// Whether it is perfbench itself.
    pub fn is_self(&self) -> bool {
        self.instance == "self"
    }
}

impl Timeline {
    /// A gauge at an instant; `None` when it was not read lately, or its sampler has read since
    /// without finding it.
    pub fn gauge(&self, metric: Metric, instance: &str, at: At) -> Option<i64> {
        self.standing(self.series(metric, instance)?, Span { from: at, to: at })
    }

    /// A counter's rate per second over a stretch; `None` when it ended before.
    pub fn per_s(&self, metric: Metric, instance: &str, span: Span) -> Option<f64> {
        Some(self.rate(self.series(metric, instance)?, span)?.per_s())
    }

    /// A counter's movement over a stretch; `None` when it ended before.
    pub fn delta(&self, metric: Metric, instance: &str, span: Span) -> Option<i64> {
        Some(self.rate(self.series(metric, instance)?, span)?.delta)
    }

    fn rate(&self, s: &Series, span: Span) -> Option<Rate> {
        self.standing(s, span)?;
        s.rate(span)
    }

    /// The last value in or before a stretch, unless it speaks of what was gone when the stretch
    /// began: its sampler had read again without that instance. An age alone does not tell,
    /// since samplers read more rarely where reading is dear.
    fn standing(&self, s: &Series, span: Span) -> Option<i64> {
        let (read, value) = s.last_at(span.to)?;
        let sampler = s.sampler().and_then(|name| self.sampling_cost().get(name));
        let gone = || sampler.and_then(|all| all.last_at(span.to)).is_some_and(|(later, _)| later > read);
        let is_old = span.to.since_ns(read) > STALE_NS || gone();
        (read >= span.from || !is_old).then_some(value)
    }

    /// The CPU split of each CPU over a stretch, by CPU number. A CPU that stood still or
    /// vanished is absent.
    pub fn cpus(&self, span: Span) -> Vec<(u32, CpuSplit)> {
        self.cpu_ticks(span).into_iter().filter_map(|(n, t)| Some((n, split(t)?))).collect()
    }

    /// The CPU split of all CPUs together over a stretch: per-CPU differences summed.
    pub fn cpu_total(&self, span: Span) -> Option<CpuSplit> {
        let mut sum = [0.0; 8];
        for (_, ticks) in self.cpu_ticks(span) {
            sum.iter_mut().zip(ticks).for_each(|(s, t)| *s += t);
        }
        split(sum)
    }

    fn cpu_ticks(&self, span: Span) -> Vec<(u32, [f64; 8])> {
        let ticks = |i: &str| CPU.map(|m| self.delta(m, i, span).unwrap_or(0) as f64);
        self.instances(Metric::CpuIdle).into_iter().filter_map(|(i, _)| Some((i.parse().ok()?, ticks(i)))).collect()
    }

    /// Sockets by TCP state at an instant, most first; states without sockets are left out.
    pub fn tcp_states(&self, at: At) -> Vec<(String, u64)> {
        let mut states: Vec<(String, u64)> = self
            .instances(Metric::TcpState)
            .into_iter()
            .filter_map(|(i, s)| {
                Some((i.to_string(), u64::try_from(self.standing(s, Span { from: at, to: at })?).ok()?))
            })
            .filter(|(_, n)| *n > 0)
            .collect();
        states.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        states
    }

    /// Local ports per destination at an instant.
    pub fn ports(&self, at: At) -> Vec<PortUse> {
        let count = |m, i: &str| u64::try_from(self.gauge(m, i, at).unwrap_or(0)).unwrap_or(0);
        self.instances(Metric::PortsUsed)
            .into_iter()
            .filter_map(|(i, s)| {
                let used = u64::try_from(self.standing(s, Span { from: at, to: at })?).ok()?;
                Some(PortUse {
                    destination: i.to_string(),
                    used,
                    budget: count(Metric::PortsBudget, i),
                    established: count(Metric::DestEstablished, i),
                    syn_sent: count(Metric::DestSynSent, i),
                    time_wait: count(Metric::DestTimeWait, i),
                    growth_per_s: growth(s, at),
                })
            })
            .collect()
    }

    /// TCP counters that moved in a stretch, in the order of the metric table. Traffic
    /// itself (segments, opens) is left out: it always moves.
    pub fn tcp_moved(&self, span: Span) -> Vec<Moved> {
        let traffic = [Metric::TcpInSegs, Metric::TcpOutSegs, Metric::TcpActiveOpens, Metric::TcpPassiveOpens];
        self.moved(span, |m| m.name().starts_with("tcp") && !traffic.contains(&m))
    }

    /// Host-wide counters chosen by `which` that moved in a stretch.
    pub fn moved(&self, span: Span, which: impl Fn(Metric) -> bool) -> Vec<Moved> {
        Metric::ALL
            .iter()
            .copied()
            .filter(|m| m.scope() == Scope::Host && m.kind() == crate::model::Kind::Counter && which(*m))
            .filter_map(|metric| {
                let rate = self.rate(self.series(metric, "")?, span)?;
                (rate.delta > 0).then_some(Moved { metric, delta: rate.delta, per_s: rate.per_s() })
            })
            .collect()
    }

    /// The network interfaces over a stretch.
    pub fn interfaces(&self, span: Span) -> Vec<InterfaceUse> {
        self.instances(Metric::NetRxBytes)
            .into_iter()
            .filter_map(|(i, s)| {
                let per_s = |m| self.per_s(m, i, span).unwrap_or(0.0);
                let delta = |m| self.delta(m, i, span).unwrap_or(0);
                Some(InterfaceUse {
                    name: i.to_string(),
                    rx_bytes_per_s: self.rate(s, span)?.per_s(),
                    tx_bytes_per_s: per_s(Metric::NetTxBytes),
                    rx_packets_per_s: per_s(Metric::NetRxPackets),
                    tx_packets_per_s: per_s(Metric::NetTxPackets),
                    dropped: delta(Metric::NetRxDropped).saturating_add(delta(Metric::NetTxDropped)),
                    errors: delta(Metric::NetErrors),
                    link_bytes_per_s: self
                        .gauge(Metric::NetSpeed, i, span.to)
                        .filter(|mbit| *mbit > 0)
                        .map(|mbit| mbit as f64 * 125_000.0),
                })
            })
            .collect()
    }

    /// The disks over a stretch.
    pub fn disks(&self, span: Span) -> Vec<DiskUse> {
        self.instances(Metric::DiskReadBytes)
            .into_iter()
            .filter_map(|(i, s)| {
                let per_s = |m| self.per_s(m, i, span).unwrap_or(0.0);
                let requests_per_s = per_s(Metric::DiskReads) + per_s(Metric::DiskWrites);
                let waited_ms_per_s = per_s(Metric::DiskReadMillis) + per_s(Metric::DiskWriteMillis);
                Some(DiskUse {
                    name: i.to_string(),
                    read_bytes_per_s: self.rate(s, span)?.per_s(),
                    write_bytes_per_s: per_s(Metric::DiskWriteBytes),
                    requests_per_s,
                    wait_ms: (requests_per_s > 0.0).then(|| waited_ms_per_s / requests_per_s),
                    busy_percent: (per_s(Metric::DiskBusyMillis) / 10.0).min(100.0),
                })
            })
            .collect()
    }

    /// Memory at an instant.
    pub fn memory(&self, at: At) -> Option<MemoryUse> {
        let bytes = |m| self.gauge(m, "", at).and_then(|v| u64::try_from(v).ok());
        Some(MemoryUse {
            total: bytes(Metric::MemTotal)?,
            available: bytes(Metric::MemAvailable)?,
            cached: bytes(Metric::MemCached).unwrap_or(0),
            dirty: bytes(Metric::MemDirty).unwrap_or(0),
            slab: bytes(Metric::MemSlab).unwrap_or(0),
            swap_used: bytes(Metric::SwapUsed).unwrap_or(0),
        })
    }

    /// Pressure over a stretch: name of the stall and the share of time it held, per cent.
    pub fn pressure(&self, span: Span) -> Vec<(&'static str, f64)> {
        let micros = |m| self.per_s(m, "", span);
        [
            ("cpu some", Metric::PressureCpuSome),
            ("memory some", Metric::PressureMemorySome),
            ("memory full", Metric::PressureMemoryFull),
            ("io some", Metric::PressureIoSome),
            ("io full", Metric::PressureIoFull),
            ("irq full", Metric::PressureIrqFull),
        ]
        .into_iter()
        .filter_map(|(name, m)| Some((name, micros(m)? / 10_000.0)))
        .collect()
    }

    /// perfbench itself and the target's processes over a stretch, perfbench first, then
    /// the busiest.
    pub fn processes(&self, span: Span) -> Vec<ProcessUse> {
        let ticks_per_s = f64::from(self.opening().host.ticks_per_s.max(1));
        let mut all: Vec<ProcessUse> = self
            .instances(Metric::ProcUser)
            .into_iter()
            .filter_map(|(i, s)| {
                self.standing(s, span)?;
                let percent = |m| 100.0 * self.per_s(m, i, span).unwrap_or(0.0) / ticks_per_s;
                let gauge = |m| u64::try_from(self.standing(self.series(m, i)?, span)?).ok();
                Some(ProcessUse {
                    instance: i.to_string(),
                    us: percent(Metric::ProcUser),
                    sy: percent(Metric::ProcSystem),
                    rss: gauge(Metric::ProcRss).unwrap_or(0),
                    threads: gauge(Metric::ProcThreads).unwrap_or(0),
                    fds: gauge(Metric::ProcFds),
                    fd_limit: gauge(Metric::ProcFdLimit),
                })
            })
            .collect();
        all.sort_by(|a, b| {
            b.is_self()
                .cmp(&a.is_self())
                .then((b.us + b.sy).total_cmp(&(a.us + a.sy)))
                .then(a.instance.cmp(&b.instance))
        });
        all
    }
}

/// Growth per second of a gauge over the ten seconds before `at`; 0 while fewer than three of
/// them are known: a run that has just opened its connections does not go on like that.
fn growth(s: &Series, at: At) -> f64 {
    let window: Vec<(At, i64)> = s.window(Span::ending(at, 10_000_000_000)).collect();
    match (window.first(), window.last()) {
        (Some((a, v)), Some((b, w))) if b.since_ns(*a) >= 3_000_000_000 => {
            w.saturating_sub(*v) as f64 / (b.since_ns(*a) as f64 / 1e9)
        }
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, HostFacts, Opening, Reading, Readings};

    fn readings(at_s: u64, values: &[(Metric, &str, i64)]) -> Event {
        let values =
            values.iter().map(|(metric, i, value)| Reading { metric: *metric, instance: (*i).into(), value: *value });
        Event::Readings(Readings {
            at: At(at_s * 1_000_000_000),
            sampler: "test".into(),
            took_ns: 1,
            values: values.collect(),
        })
    }

    fn seconds(from: u64, to: u64) -> Span {
        Span { from: At(from * 1_000_000_000), to: At(to * 1_000_000_000) }
    }

    #[test]
    fn cpu_shares_are_of_the_time_that_passed_per_cpu_and_summed() {
        use Metric::{CpuIdle, CpuSoftirq, CpuUser};
        let mut t = Timeline::new();
        t.apply(&readings(0, &[(CpuUser, "0", 10), (CpuIdle, "0", 0), (CpuSoftirq, "1", 5), (CpuIdle, "1", 0)]));
        t.apply(&readings(1, &[(CpuUser, "0", 60), (CpuIdle, "0", 50), (CpuSoftirq, "1", 105), (CpuIdle, "1", 0)]));
        let per_cpu = t.cpus(seconds(0, 1));
        assert_eq!(per_cpu.len(), 2);
        assert_eq!((per_cpu[0].1.us, per_cpu[0].1.id, per_cpu[1].1.si), (50.0, 50.0, 100.0));
        let all = t.cpu_total(seconds(0, 1)).unwrap();
        assert_eq!((all.us, all.si, all.id, all.busy()), (25.0, 50.0, 25.0, 75.0));
        assert_eq!(t.cpu_total(seconds(70, 71)), None, "nothing was read then");
    }

    #[test]
    fn ports_tell_their_share_and_when_they_are_full() {
        let mut t = Timeline::new();
        for s in 0..=10 {
            let used = 1000 * s as i64;
            t.apply(&readings(
                s,
                &[(Metric::PortsUsed, "10.0.0.7:80", used), (Metric::PortsBudget, "10.0.0.7:80", 28_000)],
            ));
        }
        let p = &t.ports(At(10_000_000_000))[0];
        assert_eq!((p.used, p.budget, p.growth_per_s), (10_000, 28_000, 1000.0));
        assert_eq!(p.full_in_s(), Some(18.0));
    }

    #[test]
    fn a_process_is_measured_in_per_cent_of_one_cpu() {
        let mut t = Timeline::new();
        t.apply(&Event::from(Opening {
            host: HostFacts { ticks_per_s: 100, ..Default::default() },
            ..Default::default()
        }));
        t.apply(&readings(0, &[(Metric::ProcUser, "7 nginx", 0), (Metric::ProcUser, "self", 0)]));
        t.apply(&readings(2, &[(Metric::ProcUser, "7 nginx", 300), (Metric::ProcUser, "self", 100)]));
        let all = t.processes(seconds(0, 2));
        assert_eq!((all[0].is_self(), all[0].us, all[1].us), (true, 50.0, 150.0));
    }

    #[test]
    fn what_its_sampler_no_longer_finds_is_gone_and_what_is_read_rarely_is_not() {
        let (user, rss) = (Metric::ProcUser, Metric::ProcRss);
        let mut t = Timeline::new();
        for s in 0..3 {
            t.apply(&readings(s, &[(user, "self", 0), (user, "7 sh", 0), (rss, "7 sh", 4096)]));
        }
        // It became another program, and nothing else was read.
        t.apply(&readings(4, &[(user, "self", 0), (user, "7 nginx", 1)]));
        let names =
            |span| t.processes(span).iter().map(|p| (p.instance.clone(), p.rss)).collect::<Vec<(String, u64)>>();
        let named = |names: &[(&str, u64)]| names.iter().map(|(n, b)| (n.to_string(), *b)).collect::<Vec<_>>();
        assert_eq!(names(seconds(3, 4)), named(&[("self", 0), ("7 nginx", 0)]));
        assert_eq!(names(seconds(2, 3)), named(&[("self", 0), ("7 sh", 4096)]), "as it was then");
        assert_eq!(names(seconds(0, 4)).len(), 3, "it did live in that stretch");
        assert_eq!(t.gauge(rss, "7 sh", At(3_900_000_000)), Some(4096));
        assert_eq!(t.gauge(rss, "7 sh", At(4_000_000_000)), None);
        // The sampler's next reading is far away: this is the latest that is known.
        assert_eq!(names(seconds(39, 40)).len(), 2);
        assert!(names(seconds(99, 100)).is_empty());
    }

    #[test]
    fn sums_of_counts_no_host_has_do_not_overflow() {
        let mut t = Timeline::new();
        for (s, v) in [(0, 0), (1, i64::MAX)] {
            let all = [Metric::NetRxBytes, Metric::NetRxDropped, Metric::NetTxDropped].map(|m| (m, "eth0", v));
            t.apply(&readings(s, &all));
        }
        assert_eq!(t.interfaces(seconds(0, 1))[0].dropped, i64::MAX);
        for (s, v) in [(2, i64::MIN), (6, i64::MAX)] {
            t.apply(&readings(s, &[(Metric::PortsUsed, "10.0.0.7:80", v)]));
        }
        assert!(t.ports(At(6_000_000_000))[0].growth_per_s > 0.0);
    }
}
