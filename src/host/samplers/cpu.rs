//! CPU time by mode and CPU, and the host's scheduling counters: /proc/stat.
//!
//! Must not: sum CPUs up; the `cpu` line is left out because readers sum per-CPU differences.

use crate::host::fields::{lines, number, words};
use crate::host::procfile::ProcFile;
use crate::host::sampler::{Batch, CpuNames, HostError, Sampler, Setup};
use crate::model::Metric;

/// The columns after `cpuN`, in the order of fs/proc/stat.c. guest and guest_nice follow and
/// are left out: user and nice hold them already.
const COLUMNS: [Metric; 8] = [
    Metric::CpuUser,
    Metric::CpuNice,
    Metric::CpuSystem,
    Metric::CpuIdle,
    Metric::CpuIowait,
    Metric::CpuIrq,
    Metric::CpuSoftirq,
    Metric::CpuSteal,
];

/// The lines of one number each.
const SINGLES: [(&[u8], Metric); 5] = [
    (b"ctxt", Metric::ContextSwitches),
    (b"intr", Metric::Interrupts),
    (b"procs_running", Metric::ProcsRunning),
    (b"procs_blocked", Metric::ProcsBlocked),
    (b"processes", Metric::Forks),
];

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Cpu { file: ProcFile::new(&setup.root, "proc/stat"), stat: Stat::default(), names: CpuNames::default() })
}

struct Cpu {
    file: ProcFile,
    stat: Stat,
    names: CpuNames,
}

impl Sampler for Cpu {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        self.stat.parse(self.file.read()?);
        if self.stat.cpus.is_empty() {
            return Err(HostError::Shape { path: self.file.path().into(), what: "no line begins with cpu0".into() });
        }
        for cpu in &self.stat.cpus {
            let name = self.names.get(cpu.number);
            for (metric, ticks) in COLUMNS.iter().zip(cpu.ticks).take(cpu.columns) {
                out.put(*metric, &name, ticks);
            }
        }
        for ((_, metric), value) in SINGLES.iter().zip(self.stat.singles) {
            if let Some(value) = value {
                out.put_host(*metric, value);
            }
        }
        Ok(())
    }
}

/// What /proc/stat says; its vector is used again.
#[derive(Debug, Default, PartialEq)]
struct Stat {
    cpus: Vec<CpuTicks>,
    singles: [Option<u64>; SINGLES.len()],
}

/// One CPU's line. Kernels before 2.6.11 have fewer columns.
#[derive(Debug, Default, PartialEq)]
struct CpuTicks {
    number: u32,
    ticks: [u64; COLUMNS.len()],
    columns: usize,
}

impl Stat {
    fn parse(&mut self, bytes: &[u8]) {
        self.cpus.clear();
        self.singles = [None; SINGLES.len()];
        for line in lines(bytes) {
            let mut words = words(line);
            let Some(key) = words.next() else { continue };
            if let Some(digits) = key.strip_prefix(b"cpu") {
                let Some(number) = number(digits).and_then(|n| u32::try_from(n).ok()) else { continue };
                let mut cpu = CpuTicks { number, ..CpuTicks::default() };
                for (slot, word) in cpu.ticks.iter_mut().zip(words) {
                    let Some(ticks) = self::number(word) else { break };
                    *slot = ticks;
                    cpu.columns += 1;
                }
                self.cpus.push(cpu);
            } else if let Some(n) = SINGLES.iter().position(|(name, _)| *name == key) {
                // Of `intr` only the first number, the total, is wanted: hundreds follow.
                if let (Some(slot), Some(word)) = (self.singles.get_mut(n), words.next()) {
                    *slot = number(word);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Stat {
        let mut stat = Stat::default();
        stat.parse(text.as_bytes());
        stat
    }

    #[test]
    fn a_hole_left_by_a_cpu_that_was_taken_away_keeps_the_numbers_right() {
        let s = parse(
            "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 7 8 1 0\ncpu3 11 12 13 14 15 16 17 18 0 0\n\
             intr 500 1 2 3 0 0\nctxt 900\nbtime 1700000000\nprocesses 77\nprocs_running 2\nprocs_blocked 1\n\
             softirq 5 1 1 1 1 1\n",
        );
        assert_eq!(s.cpus.iter().map(|c| c.number).collect::<Vec<_>>(), [0, 3]);
        assert_eq!((s.cpus[1].ticks, s.cpus[1].columns), ([11, 12, 13, 14, 15, 16, 17, 18], 8));
        assert_eq!(s.singles, [Some(900), Some(500), Some(2), Some(1), Some(77)]);
    }

    #[test]
    fn a_kernel_without_steal_has_no_steal_and_not_zero() {
        let s = parse("cpu0 1 2 3 4 5 6 7\n");
        assert_eq!(s.cpus[0].columns, 7);
        assert_eq!(s.singles, [None; 5]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, tail in "cpu[0-9]{0,30} [0-9 ]{0,60}") {
            let mut stat = Stat::default();
            stat.parse(&bytes);
            stat.parse(tail.as_bytes());
        }
    }
}
