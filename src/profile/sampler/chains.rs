//! Call chains with each address resolved to where it lay, every distinct one kept once.
//!
//! Must not: name a function.

use super::processes::{Processes, Site};
use super::record::{CONTEXT_KERNEL, CONTEXT_MAX, CONTEXT_USER, SampleRecord};
use std::collections::HashSet;
use std::sync::Arc;

/// Frames in a row at the same address that are kept when the chain goes on like that to its cut
/// end: recursion without end in sight, or a frame pointer that points at itself.
const REPEATS: usize = 8;

/// Sites from the innermost to the outermost.
pub(in crate::profile) type Chain = Arc<[Site]>;

/// The chains in use.
#[derive(Debug)]
pub(in crate::profile) struct Chains {
    known: HashSet<Chain>,
    /// When so many are known, those that nobody holds are dropped.
    sweep_at: usize,
    deepest: usize,
    user: Vec<u64>,
    sites: Vec<Site>,
}

const FIRST_SWEEP: usize = 16_384;

impl Chains {
    /// `deepest`: frames the kernel copies at the most (kernel.perf_event_max_stack).
    pub(in crate::profile) fn new(deepest: usize) -> Chains {
        Chains { known: HashSet::new(), sweep_at: FIRST_SWEEP, deepest, user: Vec::new(), sites: Vec::new() }
    }

    /// Resolves a sample's chain with what is mapped at present.
    pub(in crate::profile) fn resolve(&mut self, sample: &SampleRecord<'_>, processes: &mut Processes) -> Chain {
        self.sites.clear();
        self.user.clear();
        let (mut frames, mut ring) = (0, 0);
        for word in sample.chain.iter() {
            if word >= CONTEXT_MAX {
                ring = word;
                continue;
            }
            frames += 1;
            match ring {
                CONTEXT_KERNEL => {
                    let address = if self.sites.is_empty() { word } else { word.wrapping_sub(1) };
                    self.sites.push(Site::Kernel(address));
                }
                CONTEXT_USER => self.user.push(word),
                // A hypervisor's or a guest's: nothing here can tell more.
                _ => self.sites.push(Site::Unknown),
            }
        }
        if frames == 0 {
            // No chain at all: where it was is known still. The upper half is the kernel's.
            match sample.ip >> 63 {
                1 => self.sites.push(Site::Kernel(sample.ip)),
                _ => self.user.push(sample.ip),
            }
        }
        let truncated = frames >= self.deepest;
        if truncated {
            cut_repeats(&mut self.user);
        }
        if !self.user.is_empty() {
            processes.sites(sample.pid, &self.user, &mut self.sites);
        }
        if truncated && self.sites.last() != Some(&Site::NoFramePointers) {
            self.sites.push(Site::Truncated);
        }
        self.intern()
    }

    fn intern(&mut self) -> Chain {
        if let Some(chain) = self.known.get(&self.sites[..]) {
            return chain.clone();
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|chain| Arc::strong_count(chain) > 1);
            self.sweep_at = FIRST_SWEEP.max(self.known.len() * 2);
        }
        let chain: Chain = self.sites[..].into();
        self.known.insert(chain.clone());
        chain
    }
}

/// Leaves [`REPEATS`] of the one address that fills a chain's outermost end.
fn cut_repeats(user: &mut Vec<u64>) {
    let Some(&last) = user.last() else { return };
    let same = user.iter().rev().take_while(|&&a| a == last).count();
    user.truncate(user.len() - same.saturating_sub(REPEATS));
}

#[cfg(test)]
mod tests {
    use super::super::record::{Raw, Record};
    use super::*;

    /// A sample of process 7 with these words, through the decoder.
    fn resolve(chains: &mut Chains, processes: &mut Processes, ip: u64, words: &[u64]) -> Chain {
        let mut body = Vec::new();
        body.extend(ip.to_ne_bytes());
        body.extend([7u32, 7].iter().flat_map(|v| v.to_ne_bytes()));
        body.extend([1u64, 0, 1, words.len() as u64].iter().flat_map(|v| v.to_ne_bytes()));
        body.extend(words.iter().flat_map(|v| v.to_ne_bytes()));
        let Some(Record::Sample(sample)) = (Raw { kind: 9, misc: 0, body: &body }).record() else { panic!() };
        chains.resolve(&sample, processes)
    }

    fn machine() -> (tempfile::TempDir, Processes) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/7")).unwrap();
        std::fs::write(root.path().join("proc/7/maps"), "1000-2000 r-xp 00000000 08:01 3 /bin/x\n").unwrap();
        let processes = Processes::new(root.path());
        (root, processes)
    }

    fn file(offset: u64) -> Site {
        Site::File { number: 0, offset }
    }

    #[test]
    fn kernel_and_user_parts_are_told_apart() {
        let (_root, mut p) = machine();
        let mut chains = Chains::new(127);
        let kernel = 0xffff_ffff_8100_0010;
        let words = [CONTEXT_KERNEL, kernel, kernel + 16, CONTEXT_USER, 0x1004, 0x1008];
        let chain = resolve(&mut chains, &mut p, kernel, &words);
        assert_eq!(*chain, [Site::Kernel(kernel), Site::Kernel(kernel + 15), file(4), file(7)]);
        let again = resolve(&mut chains, &mut p, kernel, &words);
        assert!(Arc::ptr_eq(&chain, &again));
        assert_eq!(*resolve(&mut chains, &mut p, kernel, &[]), [Site::Kernel(kernel)]);
        assert_eq!(*resolve(&mut chains, &mut p, 0x1004, &[]), [file(4)]);
    }

    #[test]
    fn a_full_chain_is_marked_where_callers_are_missing() {
        let (_root, mut p) = machine();
        let mut chains = Chains::new(12);
        let words: Vec<u64> = std::iter::once(CONTEXT_USER).chain((0..12).map(|n| 0x1010 + n)).collect();
        let chain = resolve(&mut chains, &mut p, 0x1010, &words);
        assert_eq!((chain.len(), chain[12]), (13, Site::Truncated));
        let mut same = vec![CONTEXT_USER, 0x1010];
        same.extend([0x1020; 11]);
        let chain = resolve(&mut chains, &mut p, 0x1010, &same);
        assert_eq!((chain.len(), chain[9]), (1 + REPEATS + 1, Site::Truncated));
        // Rubbish behind the first caller: the cut is because of that.
        let mut rubbish = vec![CONTEXT_USER, 0x1010, 0x1020];
        rubbish.extend([0x9999; 10]);
        let chain = resolve(&mut chains, &mut p, 0x1010, &rubbish);
        assert_eq!(chain[1..], [file(0x1f), Site::NoFramePointers]);
    }

    #[test]
    fn chains_nobody_holds_are_dropped() {
        let (_root, mut p) = machine();
        let mut chains = Chains::new(127);
        let held = resolve(&mut chains, &mut p, 0, &[CONTEXT_KERNEL, 1]);
        for n in 2..3 * FIRST_SWEEP as u64 {
            resolve(&mut chains, &mut p, 0, &[CONTEXT_KERNEL, n]);
        }
        assert!(chains.known.len() <= FIRST_SWEEP && chains.known.contains(&held));
    }
}
