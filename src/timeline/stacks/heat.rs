//! The sub-second heat map: when within each second samples were taken. Work that comes in bursts, pauses
//! of the whole process and anything that beats shows as a pattern that no sum over seconds has.
//! The idea is FlameScope's (Martin Spier and Brendan Gregg, Netflix, 2018).
//!
//! Must not: draw, or hold a cell for a second without samples: a file may say any time.

use super::{Profile, StackFilter};
use crate::model::{At, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Weight by second and part of a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subsecond {
    /// Into how many parts a second is divided, 1 to 1000.
    pub rows: u32,
    /// The seconds with samples, in order, each with its weight by part, from the second's beginning
    /// on. A second that is missing had no sample; whether any was taken is not known here.
    pub columns: Vec<(u64, Vec<u64>)>,
    /// The heaviest cell.
    pub most: u64,
    /// The unit of the weights: that of the samples, or `samples` when samples of several units
    /// are counted.
    pub unit: Arc<str>,
}

impl Subsecond {
    /// The stretch of a cell, for a selection; empty for a row there is not.
    pub fn span(&self, second: u64, row: u32) -> Span {
        const SECOND_NS: u64 = 1_000_000_000;
        let edge = |row: u32| {
            let part = (SECOND_NS * u64::from(row.min(self.rows))).div_ceil(u64::from(self.rows.max(1)));
            At(second.saturating_mul(SECOND_NS).saturating_add(part))
        };
        Span { from: edge(row), to: edge(row.saturating_add(1)) }
    }

    /// The weight of a cell.
    pub fn weight(&self, second: u64, row: u32) -> u64 {
        let column = self.columns.binary_search_by_key(&second, |c| c.0).ok();
        column.and_then(|n| self.columns[n].1.get(row as usize)).copied().unwrap_or(0)
    }
}

impl Profile {
    /// The samples a filter lets through by second and part of a second. `rows`: into how many parts a
    /// second is divided; FlameScope takes 50.
    pub fn subsecond(&self, filter: &StackFilter, rows: u32) -> Subsecond {
        let rows = rows.clamp(1, 1000);
        let unit = self.select(filter).1.unit;
        let is_counted = &*unit == "samples";
        let mut columns: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for row in self.passing(filter).filter(|r| filter.idle || !r.source.idle) {
            let (second, ns) = (row.at.0 / 1_000_000_000, row.at.0 % 1_000_000_000);
            let part = ns * u64::from(rows) / 1_000_000_000;
            let cell = &mut columns.entry(second).or_insert_with(|| vec![0; rows as usize])[part as usize];
            *cell = cell.saturating_add(if is_counted { 1 } else { row.weight });
        }
        let most = columns.values().flatten().copied().max().unwrap_or(0);
        Subsecond { rows, columns: columns.into_iter().collect(), most, unit }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, profile};
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn samples_fall_into_their_part_of_their_second() {
        let (edge, last) = (2000 * MS + 20 * MS, u64::MAX);
        let p = profile(&[
            (1_999 * MS, 1, "x", "a", 3),
            (2_000 * MS, 1, "x", "a", 5),
            (edge - 1, 1, "x", "b", 7),
            (edge, 0, "x", "a", 1),
            (edge, 0, "swapper", "k_x;do_idle", 90),
            (last, 1, "x", "a", 2),
        ]);
        let heat = p.subsecond(&StackFilter::default(), 50);
        let filled = |c: &(u64, Vec<u64>)| {
            let cells = c.1.iter().enumerate().filter(|(_, w)| **w > 0);
            (c.0, cells.map(|(n, w)| (n, *w)).collect::<Vec<_>>())
        };
        let want = [(1, vec![(49, 3)]), (2, vec![(0, 12), (1, 1)]), (last / 1_000_000_000, vec![(35, 2)])];
        assert_eq!(heat.columns.iter().map(filled).collect::<Vec<_>>(), want);
        assert_eq!((heat.most, heat.weight(2, 0), heat.weight(3, 0), &*heat.unit), (12, 12, 0, "ns"));
        assert_eq!(heat.span(2, 1), Span { from: At(edge), to: At(edge + 20 * MS) });
        assert!(heat.span(2, 50).is_empty() && heat.span(u64::MAX, 0).is_empty());
        let mut two = profile(&[(1, 1, "x", "a", 500)]);
        two.apply(&batch(2, "cycles", &[(2, 1, "x", "a", 7)]));
        assert_eq!(two.subsecond(&StackFilter::default(), 0).columns, [(0, vec![2])], "counted in samples");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn every_cell_holds_what_its_stretch_selects(
            times in prop::collection::vec((0u64..4000, 0u64..9), 1..30), rows in 1u32..60
        ) {
            let samples: Vec<_> = times.iter().map(|&(at, w)| (at * 997_001, 1, "x", "a", w)).collect();
            let p = profile(&samples);
            let heat = p.subsecond(&StackFilter::default(), rows);
            for (second, cells) in &heat.columns {
                for (row, &weight) in (0..).zip(cells) {
                    let span = Some(heat.span(*second, row));
                    prop_assert_eq!(p.weights(&StackFilter { span, ..StackFilter::default() }).total, weight);
                }
            }
            let all: u64 = heat.columns.iter().flat_map(|c| &c.1).sum();
            prop_assert_eq!(all, p.weights(&StackFilter::default()).total);
        }
    }
}
