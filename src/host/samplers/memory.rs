//! Memory and swap: /proc/meminfo, read by the procfs crate.
//!
//! Must not: explain where memory went; that is a reader's business.

use crate::host::procfile::ProcFile;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::model::Metric;
use procfs::{FromRead, Meminfo};

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Memory { file: ProcFile::new(&setup.root, "proc/meminfo") })
}

struct Memory {
    file: ProcFile,
}

impl Sampler for Memory {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        let read = Meminfo::from_read(self.file.read()?);
        let m = read.map_err(|e| HostError::Shape { path: self.file.path().into(), what: e.to_string() })?;
        out.put_host(Metric::MemTotal, m.mem_total);
        // Since Linux 3.14.
        if let Some(available) = m.mem_available {
            out.put_host(Metric::MemAvailable, available);
        }
        out.put_host(Metric::MemFree, m.mem_free);
        out.put_host(Metric::MemCached, m.cached.saturating_add(m.buffers));
        out.put_host(Metric::MemDirty, m.dirty.saturating_add(m.writeback));
        out.put_host(Metric::MemSlab, m.slab);
        out.put_host(Metric::SwapUsed, m.swap_total.saturating_sub(m.swap_free));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_memory_and_a_broken_file_is_an_error() {
        let mut setup = Setup::of_host(None, None, crate::clock::Clock::manual());
        let mut out = Batch::default();
        open(&setup).sample(&mut out).unwrap();
        let of = |m| out.values.iter().find(|r| r.metric == m).map_or(0, |r| r.value);
        assert!(of(Metric::MemTotal) > of(Metric::MemFree) && of(Metric::MemFree) > 0);
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/meminfo"), b"MemTotal: \xff kB\n").unwrap();
        setup.root = dir.path().into();
        assert!(open(&setup).sample(&mut Batch::default()).is_err());
    }
}
