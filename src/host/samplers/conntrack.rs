//! The connection tracking table: nf_conntrack_count, nf_conntrack_max and its per-CPU counters.
//!
//! Must not: complain when the module is not loaded; then there is nothing to read.

use crate::host::fields::{hex, lines, number, words};
use crate::host::procfile::ProcFile;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::model::Metric;

/// Columns of /proc/net/stat/nf_conntrack by header name
/// (net/netfilter/nf_conntrack_standalone.c ct_cpu_seq_show), each with its metric.
const COLUMNS: [(&[u8], Metric); 5] = [
    (b"drop", Metric::ConntrackDrops),
    (b"early_drop", Metric::ConntrackDrops),
    (b"insert_failed", Metric::ConntrackInsertFailed),
    (b"clashres", Metric::ConntrackClashes),
    (b"search_restart", Metric::ConntrackSearchRestarts),
];

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Conntrack {
        count: ProcFile::new(&setup.root, "proc/sys/net/netfilter/nf_conntrack_count"),
        max: ProcFile::new(&setup.root, "proc/sys/net/netfilter/nf_conntrack_max"),
        stat: ProcFile::new(&setup.root, "proc/net/stat/nf_conntrack"),
    })
}

struct Conntrack {
    count: ProcFile,
    max: ProcFile,
    stat: ProcFile,
}

impl Sampler for Conntrack {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        for (file, metric) in [(&mut self.count, Metric::ConntrackCount), (&mut self.max, Metric::ConntrackMax)] {
            let Some(bytes) = file.read_if_there()? else { return Ok(()) };
            if let Some(value) = number(bytes.trim_ascii()) {
                out.put_host(metric, value);
            }
        }
        if let Some(bytes) = self.stat.read_if_there()? {
            let sums = parse(bytes);
            let sum = |wanted| {
                let of = COLUMNS.iter().zip(sums).filter(|((_, metric), _)| *metric == wanted);
                of.filter_map(|(_, sum)| sum).reduce(u64::saturating_add)
            };
            for metric in [
                Metric::ConntrackDrops,
                Metric::ConntrackInsertFailed,
                Metric::ConntrackClashes,
                Metric::ConntrackSearchRestarts,
            ] {
                if let Some(value) = sum(metric) {
                    out.put_host(metric, value);
                }
            }
        }
        Ok(())
    }
}

/// The sum over all CPUs of each of [`COLUMNS`]; `None` where the header has no such name.
fn parse(bytes: &[u8]) -> [Option<u64>; COLUMNS.len()] {
    let mut sums = [None; COLUMNS.len()];
    let mut lines = lines(bytes);
    let header = lines.next().unwrap_or_default();
    for line in lines {
        for (name, word) in words(header).zip(words(line)) {
            let Some(n) = COLUMNS.iter().position(|(wanted, _)| *wanted == name) else { continue };
            if let (Some(slot), Some(value)) = (sums.get_mut(n), hex(word)) {
                *slot = Some(slot.unwrap_or(0u64).saturating_add(value));
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_are_found_by_header_and_summed_over_cpus() {
        let text = b"entries  searched found insert_failed drop early_drop search_restart\n\
            0000000f  00000001 00000002 00000003 00000010 00000001 00000005\n\
            0000000f  00000001 00000002 00000001 00000010 00000001 00000005\n";
        // An old kernel: no clashres.
        assert_eq!(parse(text), [Some(32), Some(2), Some(4), None, Some(10)]);
        assert_eq!(parse(b"\n"), [None; 5]);
    }

    #[test]
    fn not_loaded_means_nothing_and_no_fault() {
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
            parse(&bytes);
        }
    }
}
