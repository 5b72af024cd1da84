//! Time lost waiting for CPU, memory, disks and to interrupts: /proc/pressure.
//!
//! The procfs crate's reader wants both lines of each file; `cpu` has one before Linux 5.13
//! and `irq` (since 6.1) has one always, so the one field wanted is read here.
//!
//! Must not: give the kernel's averages; the totals are exact over any stretch.

use crate::host::fields::{lines, number, words};
use crate::host::procfile::ProcFile;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::model::Metric;

/// Files and lines with a metric (Documentation/accounting/psi.rst).
const LINES: [(usize, &[u8], Metric); 6] = [
    (0, b"some", Metric::PressureCpuSome),
    (1, b"some", Metric::PressureMemorySome),
    (1, b"full", Metric::PressureMemoryFull),
    (2, b"some", Metric::PressureIoSome),
    (2, b"full", Metric::PressureIoFull),
    (3, b"full", Metric::PressureIrqFull),
];

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    let files = ["cpu", "memory", "io", "irq"].map(|name| ProcFile::new(&setup.root, &format!("proc/pressure/{name}")));
    Box::new(Pressure { files })
}

struct Pressure {
    files: [ProcFile; 4],
}

impl Sampler for Pressure {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        for (n, file) in self.files.iter_mut().enumerate() {
            // Absent before Linux 4.20, without CONFIG_PSI and without psi=1: `doctor` says so.
            let Some(bytes) = file.read_if_there()? else { continue };
            for (_, key, metric) in LINES.iter().filter(|(of, _, _)| *of == n) {
                if let Some(total) = total(bytes, key) {
                    out.put_host(*metric, total);
                }
            }
        }
        Ok(())
    }
}

/// Microseconds in total on the line `key`.
fn total(bytes: &[u8], key: &[u8]) -> Option<u64> {
    let line = lines(bytes).find(|l| words(l).next() == Some(key))?;
    words(line).find_map(|w| w.strip_prefix(b"total=")).and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_line_and_two_lines_are_read() {
        let two = b"some avg10=4.50 avg60=0.91 avg300=0.00 total=681245\nfull avg10=2.10 avg60=0.12 avg300=0.00 total=391926\n";
        assert_eq!((total(two, b"some"), total(two, b"full")), (Some(681245), Some(391926)));
        assert_eq!(total(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n", b"full"), None);
    }

    #[test]
    fn a_kernel_without_pressure_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let mut setup = Setup::of_host(None, None, crate::clock::Clock::manual());
        setup.root = dir.path().into();
        let mut out = Batch::default();
        open(&setup).sample(&mut out).unwrap();
        assert!(out.values.is_empty() && out.faults.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            total(&bytes, b"some");
        }
    }
}
