//! How many different texts there were, counted in bounded memory.
//!
//! Must not: keep the texts.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};

/// Different texts that are told apart; from there on the count is a lower bound.
const LIMIT: usize = 65_536;

/// Counts different texts by 64-bit hash: of 65 536 texts two share one with probability 1e-10.
#[derive(Default)]
pub(super) struct Distinct {
    seen: HashSet<u64>,
    last: u64,
    overflowed: bool,
}

impl Distinct {
    /// Notes one text.
    pub(super) fn note(&mut self, text: &[u8]) {
        let mut hasher = DefaultHasher::new();
        hasher.write(text);
        let hash = hasher.finish();
        if hash == self.last && !self.seen.is_empty() {
            return;
        }
        self.last = hash;
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
            d.note(&(n % LIMIT).to_le_bytes());
        }
        assert_eq!((d.count(), d.overflowed()), (LIMIT as u64, false));
        d.note(b"one more");
        assert_eq!((d.count(), d.overflowed()), (LIMIT as u64, true));
    }
}
