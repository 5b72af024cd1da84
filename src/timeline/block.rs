//! A minute or so of readings as they are kept once it is over: the instants shared with all
//! metrics that were read with them, the values as differences, of mostly one or two bytes.
//!
//! Nothing is lost: what was read comes out again as it went in.
//!
//! Must not: know what the values mean.

use crate::model::At;
use std::sync::Arc;

/// Readings in time order, one at least.
#[derive(Clone, Debug)]
pub(super) struct Block {
    times: Arc<[At]>,
    first: i64,
    /// From each value to the next, zigzag and seven bits a byte, the lowest first; nothing when
    /// all are equal.
    steps: Box<[u8]>,
}

impl Block {
    /// Keeps readings, `None` without any. `times` are taken from `alike` where that has the same.
    pub(super) fn new(times: &[At], values: &[i64], alike: Option<&Arc<[At]>>) -> Option<Block> {
        let first = *values.first()?;
        let mut steps = Vec::new();
        if values.iter().any(|v| *v != first) {
            steps.reserve(2 * values.len());
            values.windows(2).for_each(|pair| write(pair[1].wrapping_sub(pair[0]), &mut steps));
        }
        let times = alike.filter(|known| ***known == *times).cloned().unwrap_or_else(|| times.into());
        Some(Block { times, first, steps: steps.into() })
    }

    /// When its readings were read, in order.
    pub(super) fn times(&self) -> &Arc<[At]> {
        &self.times
    }

    /// The instant of the first one.
    pub(super) fn begins(&self) -> At {
        self.times.first().copied().unwrap_or_default()
    }

    /// The instant of the last one.
    pub(super) fn ends(&self) -> At {
        self.times.last().copied().unwrap_or_default()
    }

    /// Its readings, in order.
    pub(super) fn readings(&self) -> impl Iterator<Item = (At, i64)> + '_ {
        let (mut value, mut rest) = (self.first, &*self.steps);
        self.times.iter().enumerate().map(move |(n, at)| {
            if n > 0 {
                value = value.wrapping_add(read(&mut rest));
            }
            (*at, value)
        })
    }

    /// The same with one reading more, which goes behind those of its instant.
    pub(super) fn with(&self, at: At, value: i64) -> Vec<(At, i64)> {
        let mut all: Vec<(At, i64)> = self.readings().collect();
        all.insert(self.times.partition_point(|a| *a <= at), (at, value));
        all
    }
}

fn write(step: i64, into: &mut Vec<u8>) {
    let mut left = ((step << 1) ^ (step >> 63)).cast_unsigned();
    while left >= 0x80 {
        into.push(left as u8 | 0x80);
        left >>= 7;
    }
    into.push(left as u8);
}

/// What [`write`] wrote first; 0 when nothing is left.
fn read(from: &mut &[u8]) -> i64 {
    let (mut step, mut shift) = (0u64, 0);
    while let Some((byte, rest)) = from.split_first() {
        *from = rest;
        step |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (step >> 1).cast_signed() ^ -(step & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_read_comes_out_again(values in prop::collection::vec(any::<i64>(), 1..50)) {
            let times: Vec<At> = (0..values.len() as u64).map(|n| At(n * 7)).collect();
            let block = Block::new(&times, &values, None).unwrap();
            let read: Vec<(At, i64)> = block.readings().collect();
            prop_assert_eq!(read, times.into_iter().zip(values).collect::<Vec<_>>());
        }
    }

    #[test]
    fn values_that_stand_still_take_nothing_and_instants_are_shared() {
        let times: Vec<At> = (0..120).map(|n| At(n * 500_000_123)).collect();
        let still = Block::new(&times, &[42; 120], None).unwrap();
        let climbing: Vec<i64> = (0..120).map(|n| 1_000_000 + n * 4000).collect();
        let climbing = Block::new(&times, &climbing, Some(still.times())).unwrap();
        assert_eq!((still.steps.len(), climbing.steps.len()), (0, 2 * 119));
        assert!(Arc::ptr_eq(still.times(), climbing.times()));
        assert_eq!(climbing.readings().last(), Some((times[119], 1_000_000 + 119 * 4000)));
        assert!(Block::new(&[], &[], None).is_none());
    }
}
