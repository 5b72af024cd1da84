//! How many different texts there were, counted in bounded memory.
//!
//! Must not: keep the texts.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Different texts that are told apart; from there on the count is a lower bound.
const LIMIT: usize = 65_536;

/// Hashes that need no search: most texts come again soon.
const RECENT: usize = 256;

/// A 64-bit number for a text, never 0: the same for the same text in every run, on every machine
/// and in every version, so that what is chosen by it stays chosen. Words of eight bytes, the first
/// of them the length, are mixed in by multiplication; the end is the finaliser of MurmurHash3.
pub(super) fn stable_hash(text: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |h: u64, word: u64| (h.rotate_left(29) ^ word).wrapping_mul(ODD);
    let (words, rest) = text.as_chunks::<8>();
    let h = words.iter().fold(mix(0, text.len() as u64), |h, w| mix(h, u64::from_le_bytes(*w)));
    // What is left over fills the upper end of the last eight bytes, where there are as many.
    let last = match text.last_chunk::<8>() {
        Some(_) if rest.is_empty() => 0,
        Some(end) => u64::from_le_bytes(*end) >> (64 - 8 * rest.len()),
        None => rest.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b)),
    };
    let h = mix(h, last);
    let h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (h ^ (h >> 33)).max(1)
}

/// What is a hash already needs no other.
#[derive(Clone, Copy, Debug, Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = stable_hash(bytes);
    }
}

/// Counts different texts by 64-bit hash: of 65 536 texts two share one with probability 1e-10.
#[derive(Clone, Debug, Default)]
pub(super) struct Distinct {
    seen: HashSet<u64, BuildHasherDefault<Itself>>,
    /// Hashes noted of late, by their last digits; 0 for none.
    recent: Vec<u64>,
    overflowed: bool,
}

impl Distinct {
    /// Notes one text by its [`stable_hash`].
    pub(super) fn note(&mut self, hash: u64) {
        if self.recent.is_empty() {
            self.recent.resize(RECENT, 0);
        }
        let recent = &mut self.recent[hash as usize % RECENT];
        if *recent == hash && hash != 0 {
            return;
        }
        *recent = hash;
        if self.seen.len() < LIMIT {
            self.seen.insert(hash);
        } else if !self.overflowed {
            self.overflowed = !self.seen.contains(&hash);
        }
    }

    /// How many different ones there were, at least.
    pub(super) fn count(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Whether there were more than were told apart.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_exact_up_to_its_limit_and_says_when_it_is_not() {
        let mut d = Distinct::default();
        for n in 0..LIMIT * 2 {
            d.note(stable_hash(&(n % LIMIT).to_le_bytes()));
        }
        assert_eq!((d.count(), d.overflowed()), (LIMIT as u64, false));
        d.note(stable_hash(b"one more"));
        assert_eq!((d.count(), d.overflowed()), (LIMIT as u64, true));
    }

    #[test]
    fn the_hash_of_a_text_never_changes() {
        assert_eq!(stable_hash(b""), 0x0000_0000_0000_0001);
        assert_eq!(stable_hash(b"192.0.2.7"), 0x0896_6f8b_9805_8e19);
        assert_eq!(stable_hash(b"2001:db8::9"), 0x1517_b3c0_21f8_f4d3);
        assert_eq!(stable_hash(b"0123456789abcdefXYZ"), 0xf3ad_674f_6043_d76c);
        assert_eq!(stable_hash(b"0123456789abcdef"), 0x8466_30ae_ca8b_fbaa);
        assert_ne!(stable_hash(b"a"), stable_hash(b"a\0"));
    }
}
