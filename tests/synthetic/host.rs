//! The readings of the made-up host: CPUs, sockets, and what else is sampled.
//!
//! Must not: use the network, the host or a clock.

use super::Synthetic;
use perfbench::model::*;

impl Synthetic {
    fn count(&mut self, metric: Metric, instance: &str, by: f64) -> Reading {
        let sum = self.counters.entry((metric, instance.to_string())).or_default();
        *sum += by;
        Reading { metric, instance: instance.into(), value: *sum as i64 }
    }

    pub(super) fn readings(&mut self) -> Vec<Event> {
        let at = self.now();
        let t = at.secs();
        let (stall, length) = self.plan.stall;
        let stalled = t >= stall && t < stall + length;
        let gauge =
            |metric, instance: &str, value: f64| Reading { metric, instance: instance.into(), value: value as i64 };
        let mut cpu = vec![];
        for n in 0..self.plan.cpus {
            let name = n.to_string();
            let busy = if stalled {
                0.1
            } else {
                [0.92, 0.55, 0.75, 0.3][n as usize % 4] + 0.06 * (t / 3.0 + f64::from(n)).sin()
            };
            let si = if n == 0 { 0.28 } else { 0.04 };
            let shares = [
                (Metric::CpuUser, busy * 0.45),
                (Metric::CpuSystem, busy * (0.53 - si)),
                (Metric::CpuSoftirq, busy * si),
                (Metric::CpuNice, 0.0),
                (Metric::CpuIrq, busy * 0.02),
                (Metric::CpuIowait, if stalled { 0.3 } else { 0.01 }),
                (Metric::CpuSteal, 0.012),
            ];
            let used: f64 = shares.iter().map(|(_, s)| s).sum();
            for (m, s) in shares {
                cpu.push(self.count(m, &name, s * 100.0));
            }
            cpu.push(self.count(Metric::CpuIdle, &name, (1.0 - used).max(0.0) * 100.0));
            for (m, rate) in [
                (Metric::SoftirqNetRx, if n == 0 { 41_000.0 } else { 900.0 }),
                (Metric::SoftirqNetTx, 12.0),
                (Metric::SoftirqTimer, 250.0),
                (Metric::SoftirqSched, 410.0),
                (Metric::SoftirqRcu, 180.0),
                (Metric::SoftirqBlock, 3.0),
                (Metric::SoftnetProcessed, if n == 0 { 62_000.0 } else { 400.0 }),
                (Metric::SoftnetDropped, if n == 0 && t > 70.0 { 2.0 } else { 0.0 }),
                (Metric::SoftnetSqueezed, if n == 0 { 4.0 } else { 0.0 }),
            ] {
                cpu.push(self.count(m, &name, rate));
            }
        }
        cpu.push(self.count(Metric::ContextSwitches, "", 48_200.0));
        cpu.push(self.count(Metric::Interrupts, "", 21_300.0));
        cpu.push(gauge(Metric::ProcsRunning, "", 5.0));
        let used = (t * 270.0).min(27_800.0);
        let dest = "10.0.0.7:8081";
        let mut sockets = vec![
            gauge(Metric::TcpTimeWait, "", used * 0.97),
            gauge(Metric::TcpCurrEstab, "", 71.0),
            gauge(Metric::TcpState, "ESTAB", 71.0),
            gauge(Metric::TcpState, "TIME_WAIT", used * 0.97),
            gauge(Metric::TcpState, "SYN_SENT", if stalled { 31.0 } else { 2.0 }),
            gauge(Metric::TcpState, "LISTEN", 9.0),
            gauge(Metric::TcpState, "FIN_WAIT2", 3.0),
            gauge(Metric::PortsUsed, dest, used),
            gauge(Metric::PortsBudget, dest, 28_232.0),
            gauge(Metric::DestEstablished, dest, 64.0),
            gauge(Metric::DestSynSent, dest, if stalled { 31.0 } else { 2.0 }),
            gauge(Metric::DestTimeWait, dest, used - 66.0),
            gauge(Metric::PortsUsed, "10.0.0.9:5432", 12.0),
            gauge(Metric::PortsBudget, "10.0.0.9:5432", 28_232.0),
            gauge(Metric::DestEstablished, "10.0.0.9:5432", 12.0),
            gauge(Metric::ListenQueue, dest, if stalled { 511.0 } else { 0.0 }),
            gauge(Metric::ListenBacklog, dest, 511.0),
        ];
        for (m, rate) in [
            (Metric::TcpInSegs, 61_000.0),
            (Metric::TcpOutSegs, 60_000.0),
            (Metric::TcpActiveOpens, 620.0),
            (Metric::TcpAttemptFails, if t > 70.0 { 120.0 } else { 0.0 }),
            (Metric::TcpRetransSegs, if stalled { 44.0 } else { 0.4 }),
            (Metric::TcpTw, 310.0),
            (Metric::TcpTwRecycled, 14.0),
            (Metric::TcpSynRetrans, if stalled { 31.0 } else { 0.0 }),
            (Metric::TcpListenOverflows, if stalled { 90.0 } else { 0.0 }),
            (Metric::TcpListenDrops, if stalled { 90.0 } else { 0.0 }),
        ] {
            sockets.push(self.count(m, "", rate));
        }
        let mut rest = vec![
            gauge(Metric::MemTotal, "", 16.0e9),
            gauge(Metric::MemAvailable, "", 9.2e9 - t * 2e6),
            gauge(Metric::MemCached, "", 4.1e9),
            gauge(Metric::MemDirty, "", 21.0e6),
            gauge(Metric::MemSlab, "", 380.0e6),
            gauge(Metric::SwapUsed, "", 0.0),
            gauge(Metric::NetSpeed, "eth0", 1000.0),
            gauge(Metric::ProcRss, "self", 84.0e6),
            gauge(Metric::ProcRssPeak, "self", 91.0e6),
            gauge(Metric::ProcMemLimit, "self", 4.0e9),
            gauge(Metric::ProcThreads, "self", 6.0),
            gauge(Metric::ProcFds, "self", 91.0),
            gauge(Metric::ProcFdLimit, "self", 1024.0),
        ];
        for (m, i, rate) in [
            (Metric::NetRxBytes, "eth0", 46.2e6),
            (Metric::NetTxBytes, "eth0", 2.3e6),
            (Metric::NetRxPackets, "eth0", 41_000.0),
            (Metric::NetTxPackets, "eth0", 30_500.0),
            (Metric::NetRxDropped, "eth0", 0.0),
            (Metric::NetErrors, "eth0", 0.0),
            (Metric::NetRxBytes, "lo", 1200.0),
            (Metric::NetTxBytes, "lo", 1200.0),
            (Metric::NetRxPackets, "lo", 8.0),
            (Metric::NetTxPackets, "lo", 8.0),
            (Metric::DiskReadBytes, "vda", 0.0),
            (Metric::DiskWriteBytes, "vda", 3.1e6),
            (Metric::DiskReads, "vda", 0.0),
            (Metric::DiskWrites, "vda", 61.0),
            (Metric::DiskWriteMillis, "vda", 140.0),
            (Metric::DiskBusyMillis, "vda", if stalled { 940.0 } else { 55.0 }),
            (Metric::PressureCpuSome, "", 210_000.0),
            (Metric::PressureMemorySome, "", 0.0),
            (Metric::PressureMemoryFull, "", 0.0),
            (Metric::PressureIoSome, "", if stalled { 600_000.0 } else { 9_000.0 }),
            (Metric::PressureIoFull, "", 2_000.0),
            (Metric::PressureIrqFull, "", 31_000.0),
            (Metric::ProcUser, "self", 51.0),
            (Metric::ProcSystem, "self", 94.0),
            (Metric::ThreadRun, "load-0", if t > 62.0 { 985e6 } else { 440e6 }),
            (Metric::ThreadRun, "load-1", 410e6),
            (Metric::ThreadRunWait, "load-0", 6.1e6),
            (Metric::ThreadRunWait, "load-1", 4.3e6),
            (Metric::ThreadVoluntary, "load-0", 5100.0),
            (Metric::ThreadVoluntary, "load-1", 5300.0),
            (Metric::ThreadInvoluntary, "load-0", 12.0),
            (Metric::ThreadInvoluntary, "load-1", 9.0),
        ] {
            rest.push(self.count(m, i, rate));
        }
        let names =
            if self.plan.hostile { ["4711 \x1b]0;x\x07evil", "4712 日本語"] } else { ["4711 nginx", "4712 nginx"] };
        for (n, name) in names.into_iter().enumerate() {
            rest.push(self.count(Metric::ProcUser, name, if stalled { 1.0 } else { 38.0 - 9.0 * n as f64 }));
            rest.push(self.count(Metric::ProcSystem, name, if stalled { 2.0 } else { 41.0 - 8.0 * n as f64 }));
            rest.push(gauge(Metric::ProcRss, name, 22.0e6));
            rest.push(gauge(Metric::ProcThreads, name, 1.0));
        }
        [("cpu", 310_000, cpu), ("sockets", 2_900_000, sockets), ("rest", 520_000, rest)]
            .into_iter()
            .map(|(sampler, took_ns, values)| {
                Event::Readings(Readings { at, sampler: sampler.into(), took_ns, values })
            })
            .collect()
    }
}
