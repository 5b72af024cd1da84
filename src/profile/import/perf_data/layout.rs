//! Samples and what stands behind other records, as the event's sample type lays them out:
//! perf_event_open(2), `PERF_RECORD_SAMPLE` and `struct sample_id`.
//!
//! Must not: allocate, or panic on any bytes.

use super::bytes::Bytes;
use super::header::{Event, Header, TRAILER, sample};
use crate::profile::sampler::record::Chain;

/// A sample down to its call chain; zero is what it does not tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) ip: u64,
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) time_ns: u64,
    pub(super) cpu: u32,
    pub(super) period: u64,
    /// `None` when call chains were not recorded.
    pub(super) chain: Option<Chain<'a>>,
}

/// The event a sample is of; `None` when no event has its identifier.
pub(super) fn event_of(header: &Header, body: &[u8]) -> Option<u32> {
    let first = header.events.first()?.sample_type;
    if header.events.len() == 1 {
        return Some(0);
    }
    let before = if first & sample::IDENTIFIER != 0 {
        0
    } else {
        (first & (sample::IP | sample::TID | sample::TIME | sample::ADDR)).count_ones() as usize
    };
    let mut b = Bytes(body);
    b.pass(before)?;
    match b.u64()? {
        // What is not of an event has this identifier, and is the first one's.
        0 => Some(0),
        id => header.ids.get(&id).copied(),
    }
}

/// Reads a sample; `None` when it is shorter than its type says.
pub(super) fn sample<'a>(event: &Event, body: &'a [u8]) -> Option<Sample<'a>> {
    let mut b = Bytes(body);
    let has = |bit: u64| event.sample_type & bit != 0;
    let mut s = Sample { ip: 0, pid: 0, tid: 0, time_ns: 0, cpu: 0, period: event.period.unwrap_or(1), chain: None };
    b.pass(usize::from(has(sample::IDENTIFIER)))?;
    if has(sample::IP) {
        s.ip = b.u64()?;
    }
    if has(sample::TID) {
        (s.pid, s.tid) = (b.u32()?, b.u32()?);
    }
    if has(sample::TIME) {
        s.time_ns = b.u64()?;
    }
    b.pass([sample::ADDR, sample::ID, sample::STREAM_ID].iter().filter(|bit| has(**bit)).count())?;
    if has(sample::CPU) {
        (s.cpu, _) = (b.u32()?, b.u32()?);
    }
    if has(sample::PERIOD) {
        s.period = b.u64()?;
    }
    if has(sample::READ) {
        pass_read(&mut b, event.read_format)?;
    }
    if has(sample::CALLCHAIN) {
        let words = usize::try_from(b.u64()?).ok()?;
        s.chain = Some(Chain::of(b.take(words.checked_mul(8)?)?));
    }
    Some(s)
}

/// Passes over the values of counters (`struct read_format`).
fn pass_read(b: &mut Bytes<'_>, format: u64) -> Option<()> {
    let has = |bit: u32| usize::from(format >> bit & 1 == 1);
    let (enabled, running, id, group, lost) = (has(0), has(1), has(2), has(3), has(4));
    let values = if group == 1 { usize::try_from(b.u64()?).ok()? } else { 1 };
    b.pass(enabled + running)?;
    b.pass(values.checked_mul(1 + id + lost)?)
}

/// Bytes behind every record that is no sample.
pub(super) fn trailer(event: &Event) -> usize {
    if event.id_all { 8 * (event.sample_type & TRAILER).count_ones() as usize } else { 0 }
}

/// When a record was made: of a sample, or by what stands behind it. `None` when it does not tell.
pub(super) fn time(event: &Event, kind: u32, body: &[u8]) -> Option<u64> {
    let has = |bit: u64| usize::from(event.sample_type & bit != 0);
    if has(sample::TIME) == 0 {
        return None;
    }
    let mut b = match kind {
        9 => {
            let mut b = Bytes(body);
            b.pass(has(sample::IDENTIFIER) + has(sample::IP) + has(sample::TID))?;
            b
        }
        _ => {
            let at = body.len().checked_sub(trailer(event)).filter(|_| event.id_all)?;
            let mut b = Bytes(&body[at..]);
            b.pass(has(sample::TID))?;
            b
        }
    };
    // Records that perf makes up of what was there before have none.
    b.u64().filter(|t| *t != 0 && *t != u64::MAX)
}
