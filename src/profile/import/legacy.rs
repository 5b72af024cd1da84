//! The CPU profile that gperftools writes (and Go wrote before 1.9): words of the machine with
//! addresses, and behind them the text of /proc/self/maps (gperftools, docs/cpuprofile-fileformat).
//!
//! ```text
//! 0 3 0 period_us 0        header
//! count depth pc...        a record, the innermost address first
//! 0 1 0                    trailer
//! ```
//!
//! There are no names in it, only places in files: see `addresses`.
//!
//! Must not: open the files that were mapped.

use super::addresses::{self, Mapping};
use super::fold::{Fold, Thread, Type};
use super::{Head, Imported, Importer, Input, Obstacle, UNKNOWN, wrong};
use std::collections::HashMap;

/// Frames of a record at the most; gperftools keeps 254.
const DEEPEST: u64 = 1 << 16;

/// See the top of the file.
pub(super) struct LegacyCpu;

/// How a machine writes a word.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Word {
    bytes: usize,
    big: bool,
}

impl Word {
    const ALL: [Word; 4] = [
        Word { bytes: 8, big: false },
        Word { bytes: 4, big: false },
        Word { bytes: 8, big: true },
        Word { bytes: 4, big: true },
    ];

    fn take(self, bytes: &mut &[u8]) -> Option<u64> {
        let (word, rest) = bytes.split_at_checked(self.bytes)?;
        *bytes = rest;
        let digit = |sum: u64, b: &u8| sum << 8 | u64::from(*b);
        Some(if self.big { word.iter().fold(0, digit) } else { word.iter().rev().fold(0, digit) })
    }

    /// The header: the period, µs.
    fn header(self, bytes: &mut &[u8]) -> Option<u64> {
        let head: Vec<u64> = (0..5).map_while(|_| self.take(bytes)).collect();
        match head[..] {
            [0, 3, 0, period, 0] if period > 0 && period < 1 << 32 => Some(period),
            _ => None,
        }
    }

    fn of(bytes: &[u8]) -> Option<Word> {
        Word::ALL.into_iter().find(|w| w.header(&mut &*bytes).is_some())
    }
}

impl Importer for LegacyCpu {
    fn name(&self) -> &'static str {
        "pprof-legacy"
    }

    fn about(&self) -> &'static str {
        "legacy CPU profile of gperftools (CPUPROFILE=...): addresses and /proc/self/maps"
    }

    fn recognises(&self, head: &Head<'_>) -> Option<String> {
        let Word { bytes, big } = Word::of(head.bytes)?;
        let order = if big { "big-endian " } else { "" };
        Some(format!("it begins with the header of a legacy CPU profile in {order}words of {bytes} bytes"))
    }

    fn read(&self, input: Input) -> Result<Imported, Obstacle> {
        let all = input.whole()?;
        let word = Word::of(&all).ok_or_else(|| wrong("it has no header of a legacy CPU profile"))?;
        let mut rest = &all[..];
        let period_us = word.header(&mut rest).unwrap_or(1);
        let mut records = Vec::new();
        let mut ended = false;
        while let (Some(count), Some(depth)) = (word.take(&mut rest), word.take(&mut rest)) {
            if depth == 0 || depth > DEEPEST {
                return Err(wrong(format!("record {} has {depth} frames: it is damaged", records.len() + 1)));
            }
            let from = all.len() - rest.len();
            let Some(after) = (depth as usize).checked_mul(word.bytes).and_then(|n| rest.get(n..)) else { break };
            rest = after;
            let record = &all[from..all.len() - rest.len()];
            if (count, depth) == (0, 1) && record.iter().all(|b| *b == 0) {
                ended = true;
                break;
            }
            records.push((count, record));
        }
        if !ended {
            return Err(wrong("it has no end: it was cut off"));
        }
        fold(word, period_us, &records, &addresses::of_maps(rest))
    }
}

fn fold(word: Word, period_us: u64, records: &[(u64, &[u8])], mappings: &[Mapping]) -> Result<Imported, Obstacle> {
    let t = |event: &str, unit: &str| Type { event: event.into(), unit: unit.into() };
    let mut fold = Fold::new(vec![t("samples", "count"), t("cpu", "ns")]);
    let program = mappings.iter().find(|m| m.file.starts_with('/')).map(|m| m.module.clone()).unwrap_or_default();
    let thread = fold.thread(Thread { comm: program.clone(), pid: UNKNOWN, tid: UNKNOWN });
    let mut known = HashMap::new();
    let mut path = Vec::new();
    for (n, &(count, mut record)) in records.iter().enumerate() {
        path.clear();
        while let Some(address) = word.take(&mut record) {
            // Of a caller the record has where the call returns to, which is the next instruction.
            let address = if path.is_empty() { address } else { address.wrapping_sub(1) };
            let frame = *known.entry(address).or_insert_with(|| {
                let frame =
                    addresses::at(mappings, address).map_or_else(|| addresses::nowhere(address), |m| m.frame(address));
                fold.table.frame(frame)
            });
            path.push(frame);
        }
        path.reverse();
        let stack = fold.stack(&path)?;
        let time = period_us.checked_mul(1000).and_then(|ns| ns.checked_mul(count));
        let time = time.ok_or_else(|| wrong(format!("record {} stands for more than 64 bits of ns", n + 1)))?;
        fold.add(thread, stack, [count, time].into_iter())?;
    }
    let mut notes = vec!["it has addresses without names: they are shown as places in the files mapped".to_owned()];
    if mappings.is_empty() {
        notes.push("the list of mapped files behind the samples is missing".into());
    }
    let hz = u32::try_from(1_000_000 / period_us).ok().filter(|&hz| hz > 0);
    Ok(Imported { stacks: fold.finish(&[1, 0])?, hz, program: program.to_string(), notes, ..Imported::default() })
}
