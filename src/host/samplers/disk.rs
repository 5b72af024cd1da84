//! Throughput, wait and use of whole disks: /proc/diskstats, its lines read by the procfs crate.
//!
//! Must not: show partitions (their disk counts them already), loop or ram devices.

use crate::host::procfile::ProcFile;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::model::{Instance, Metric, clean};
use procfs::DiskStat;
use std::collections::HashMap;
use std::path::PathBuf;

/// A sector of /proc/diskstats is always this long, whatever the device's own sectors are
/// (Documentation/admin-guide/iostats.rst, Documentation/block/stat.rst).
const SECTOR_BYTES: u64 = 512;

/// Longer than any disk name (DISK_NAME_LEN is 32).
const NAME_CHARS: usize = 40;

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Disk {
        file: ProcFile::new(&setup.root, "proc/diskstats"),
        block: setup.root.join("sys/block"),
        known: HashMap::new(),
    })
}

struct Disk {
    file: ProcFile,
    block: PathBuf,
    /// By device name, the instance of a whole disk, or `None` for what is left out.
    known: HashMap<String, Option<Instance>>,
}

impl Sampler for Disk {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        let bytes = self.file.read()?;
        if self.known.len() > 4096 {
            self.known.clear(); // devices with ever new names come and go
        }
        for line in String::from_utf8_lossy(bytes).lines() {
            let Ok(d) = DiskStat::from_line(line) else {
                out.fault(format!("a line of /proc/diskstats is not of a known shape: {}", clean(line, 80)), None);
                continue;
            };
            let block = &self.block;
            let instance = self.known.entry(d.name).or_insert_with_key(|name| {
                // /sys/block lists whole devices only; a slash in a name is a `!` there.
                let whole = block.join(name.replace('/', "!")).exists();
                let memory = ["loop", "ram"].iter().any(|kind| is_numbered(name, kind));
                (whole && !memory).then(|| Instance::from(clean(name, NAME_CHARS)))
            });
            let Some(n) = instance else { continue };
            out.put(Metric::DiskReadBytes, n, d.sectors_read.saturating_mul(SECTOR_BYTES));
            out.put(Metric::DiskWriteBytes, n, d.sectors_written.saturating_mul(SECTOR_BYTES));
            out.put(Metric::DiskReads, n, d.reads);
            out.put(Metric::DiskWrites, n, d.writes);
            out.put(Metric::DiskReadMillis, n, d.time_reading);
            out.put(Metric::DiskWriteMillis, n, d.time_writing);
            out.put(Metric::DiskBusyMillis, n, d.time_in_progress);
            out.put(Metric::DiskInFlight, n, d.in_progress);
        }
        Ok(())
    }
}

fn is_numbered(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_disks_are_read_whatever_the_kernel_adds_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["proc", "sys/block/vda", "sys/block/loop0", "sys/block/cciss!c0d0", "sys/block/ram0"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        // 14 fields (before 4.18), 18 (discards) and 20 (flushes, 5.5).
        let text = " 254 0 vda 10 0 8 30 40 0 16 60 2 80 90 1 1 1 1 1 1\n 254 1 vda1 1 1 1 1 1 1 1 1 1 1 1\n \
            7 0 loop0 1 1 1 1 1 1 1 1 1 1 1\n 1 0 ram0 0 0 0 0 0 0 0 0 0 0 0\n \
            104 0 cciss/c0d0 1 0 2 3 4 0 5 6 0 7 8 0 0 0 0\nnonsense\n";
        std::fs::write(dir.path().join("proc/diskstats"), text).unwrap();
        let mut setup = Setup::of_host(None, None, crate::clock::Clock::manual());
        setup.root = dir.path().into();
        let mut out = Batch::default();
        open(&setup).sample(&mut out).unwrap();
        let of = |m, i: &str| out.values.iter().find(|r| r.metric == m && &*r.instance == i).map(|r| r.value);
        assert_eq!(out.values.len(), 16);
        assert_eq!(out.faults.len(), 1);
        assert_eq!(of(Metric::DiskReadBytes, "vda"), Some(8 * 512));
        assert_eq!(of(Metric::DiskWriteMillis, "vda"), Some(60));
        assert_eq!(of(Metric::DiskInFlight, "vda"), Some(2));
        assert_eq!(of(Metric::DiskBusyMillis, "cciss/c0d0"), Some(7));
    }
}
