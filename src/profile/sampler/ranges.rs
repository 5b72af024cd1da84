//! Values by ranges of addresses, the later one wins where two overlap.
//!
//! Must not: know what the values are.

use std::collections::BTreeMap;

/// Ranges that never overlap.
#[derive(Clone, Debug)]
pub(in crate::profile) struct Ranges<V> {
    by_start: BTreeMap<u64, (u64, V)>,
}

impl<V> Default for Ranges<V> {
    fn default() -> Self {
        Ranges { by_start: BTreeMap::new() }
    }
}

impl<V: Clone> Ranges<V> {
    /// Puts a value at `start..end`; what was there before keeps what lies outside.
    pub(in crate::profile) fn insert(&mut self, start: u64, end: u64, value: V) {
        if end <= start {
            return;
        }
        while let Some((&old_start, (old_end, _))) = self.by_start.range(..end).next_back() {
            if *old_end <= start {
                break;
            }
            let Some((old_end, old)) = self.by_start.remove(&old_start) else { break };
            if old_end > end {
                self.by_start.insert(end, (old_end, old.clone()));
            }
            if old_start < start {
                self.by_start.insert(old_start, (start, old));
            }
        }
        self.by_start.insert(start, (end, value));
    }

    /// The value at an address.
    pub(in crate::profile) fn get(&self, at: u64) -> Option<&V> {
        let (_, (end, value)) = self.by_start.range(..=at).next_back()?;
        (at < *end).then_some(value)
    }

    /// All values, by address.
    pub(in crate::profile) fn values(&self) -> impl Iterator<Item = &V> {
        self.by_start.values().map(|(_, value)| value)
    }

    pub(in crate::profile) fn len(&self) -> usize {
        self.by_start.len()
    }

    pub(in crate::profile) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_later_range_cuts_a_hole() {
        let mut r = Ranges::default();
        r.insert(10, 50, 'a');
        r.insert(20, 30, 'b');
        assert_eq!([9, 10, 19, 20, 29, 30, 49, 50].map(|at| r.get(at).copied()), {
            let (a, b) = (Some('a'), Some('b'));
            [None, a, a, b, b, a, a, None]
        });
        r.insert(0, 100, 'c');
        assert_eq!((r.len(), r.get(99)), (1, Some(&'c')));
        r.insert(5, 5, 'd');
        assert_eq!(r.get(5), Some(&'c'));
        r.insert(u64::MAX - 1, u64::MAX, 'e');
        assert_eq!(r.values().collect::<String>(), "ce");
    }

    proptest! {
        #[test]
        fn it_is_what_painting_one_by_one_gives(ranges in prop::collection::vec((0u64..40, 0u64..40), 0..30)) {
            let (mut r, mut painted) = (Ranges::default(), [None; 80]);
            for (n, &(start, len)) in ranges.iter().enumerate() {
                r.insert(start, start + len, n);
                (start..start + len).for_each(|at| painted[at as usize] = Some(n));
            }
            for (at, value) in painted.iter().enumerate() {
                prop_assert_eq!(r.get(at as u64), value.as_ref());
            }
        }
    }
}
