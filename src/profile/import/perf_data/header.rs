//! The beginning of a recording: which events were recorded, and how their records are laid out.
//!
//! tools/perf/Documentation/perf.data-file-format.txt, tools/perf/util/header.h and
//! include/uapi/linux/perf_event.h (`struct perf_event_attr`).
//!
//! Must not: read records, or know names.

use super::Stop;
use super::bytes::{Bytes, part};
use crate::model::FastMap;

/// Bytes of `struct perf_file_header`.
pub(super) const SIZE: u64 = 104;
/// Bytes of the header that a recording has which went through a pipe.
const PIPED: u64 = 16;
/// Events of a recording at the most: one per kind of event and, of old ones, CPU.
const MOST_EVENTS: u64 = 4096;

/// `PERF_SAMPLE_*`: what samples hold, in this order but for the last.
pub(super) mod sample {
    pub(in super::super) const IP: u64 = 1;
    pub(in super::super) const TID: u64 = 1 << 1;
    pub(in super::super) const TIME: u64 = 1 << 2;
    pub(in super::super) const ADDR: u64 = 1 << 3;
    pub(in super::super) const READ: u64 = 1 << 4;
    pub(in super::super) const CALLCHAIN: u64 = 1 << 5;
    pub(in super::super) const ID: u64 = 1 << 6;
    pub(in super::super) const CPU: u64 = 1 << 7;
    pub(in super::super) const PERIOD: u64 = 1 << 8;
    pub(in super::super) const STREAM_ID: u64 = 1 << 9;
    pub(in super::super) const BRANCH_STACK: u64 = 1 << 11;
    pub(in super::super) const STACK_USER: u64 = 1 << 13;
    pub(in super::super) const IDENTIFIER: u64 = 1 << 16;
}
/// `PERF_SAMPLE_BRANCH_CALL_STACK`: branches stand for the call chain.
const BRANCH_CALL_STACK: u64 = 1 << 11;
/// What stands before the identifier of an event in its samples.
const BEFORE_ID: u64 = sample::IP | sample::TID | sample::TIME | sample::ADDR;
/// What records besides samples have behind them.
pub(super) const TRAILER: u64 =
    sample::TID | sample::TIME | sample::ID | sample::STREAM_ID | sample::CPU | sample::IDENTIFIER;

/// Bits of the features (`HEADER_*`) that decide how a recording is read.
mod feature {
    pub(super) const AUXTRACE: u32 = 18;
    pub(super) const DIR_FORMAT: u32 = 24;
    pub(super) const COMPRESSED: u32 = 27;
}

/// One event that was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// `type` and `config` of `struct perf_event_attr`.
    pub(super) kind: (u32, u64),
    pub(super) sample_type: u64,
    pub(super) read_format: u64,
    /// What every sample stands for, where that is fixed.
    pub(super) period: Option<u64>,
    /// Samples per second that were asked for.
    pub(super) hz: Option<u64>,
    /// Whether all records tell when they were made.
    pub(super) id_all: bool,
    /// `perf_event_attr.clockid`, when one was asked for.
    pub(super) clock: Option<i32>,
    branches: u64,
}

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) events: Vec<Event>,
    /// Numbers of events by the kernel's identifiers.
    pub(super) ids: FastMap<u64, u32>,
    /// Where records begin, and how many bytes of them there are; `None` when the recording was not
    /// ended properly.
    pub(super) data_at: u64,
    pub(super) data_size: Option<u64>,
    /// The features that stand behind the records, in their order there.
    pub(super) features: Vec<u32>,
}

impl Header {
    /// Whether the first 16 bytes are of a recording that is read here.
    pub(super) fn is_known(start: &[u8]) -> Result<(), Stop> {
        match start {
            [b'2', b'E', ..] => return Err(Stop::perf("its bytes are in the other order")),
            [b'P', b'E', b'R', b'F', b'F', ..] => return Err(Stop::perf("it is of perf's first format")),
            [b'P', b'E', b'R', b'F', b'I', b'L', b'E', b'2', ..] => {}
            _ => return Err(Stop::wrong("it does not begin as perf.data does: PERFILE2")),
        }
        match Bytes(start.get(8..).unwrap_or_default()).u64() {
            Some(SIZE) => Ok(()),
            Some(PIPED) => Err(Stop::perf("it went through a pipe")),
            Some(n) => Err(Stop::perf(format!("its header has {n} bytes"))),
            None => Err(Stop::cut("in its header")),
        }
    }

    /// Where records begin: what stands in front of them is wanted whole.
    pub(super) fn records_at(header: &[u8]) -> Result<u64, Stop> {
        part(header, 40, 8).and_then(|p| Bytes(p).u64()).ok_or_else(|| Stop::cut("in its header"))
    }

    /// Reads what stands in front of the records.
    pub(super) fn read(front: &[u8]) -> Result<Header, Stop> {
        let mut b = Bytes(front);
        let mut words = [0u64; 13];
        for word in &mut words {
            *word = b.u64().ok_or_else(|| Stop::cut("in its header"))?;
        }
        let [_, _, attr_size, attrs_at, attrs_size, data_at, data_size, _, _, flags @ ..] = words;
        let features = (0..256u32).filter(|f| flags[(f / 64) as usize] >> (f % 64) & 1 == 1).collect();
        let mut header =
            Header { data_at, data_size: Some(data_size).filter(|s| *s > 0), features, ..Header::default() };
        let count = attrs_size.checked_div(attr_size).unwrap_or(0);
        if count == 0 || count > MOST_EVENTS || attr_size < 64 + 16 {
            return Err(Stop::wrong(format!("its header tells of {count} events of {attr_size} bytes each")));
        }
        let attrs = part(front, attrs_at, attrs_size).ok_or_else(|| Stop::wrong("its list of events is not in it"))?;
        for attr in attrs.chunks_exact(usize::try_from(attr_size).unwrap_or(usize::MAX)) {
            header.event(attr, front)?;
        }
        header.is_ours()?;
        Ok(header)
    }

    fn event(&mut self, attr: &[u8], front: &[u8]) -> Result<(), Stop> {
        let (attr, ids) = attr.split_at(attr.len() - 16);
        let number = self.events.len() as u32;
        let event = of_attr(attr).ok_or_else(|| Stop::wrong(format!("its event {number} is too short")))?;
        self.events.push(event);
        let mut ids = Bytes(ids);
        let (at, size) = (ids.u64().unwrap_or(0), ids.u64().unwrap_or(0));
        let ids = part(front, at, size)
            .ok_or_else(|| Stop::wrong(format!("the identifiers of its event {number} are not in it")))?;
        let ids = ids.chunks_exact(8).filter_map(|id| Bytes(id).u64());
        self.ids.extend(ids.map(|id| (id, number)));
        Ok(())
    }

    /// What can't be read here exactly is perf's.
    fn is_ours(&self) -> Result<(), Stop> {
        let has = |bit| self.features.contains(&bit);
        let any = |bits: u64| self.events.iter().any(|e| e.sample_type & bits == bits);
        let mut reasons = [
            (has(feature::COMPRESSED), "it is compressed"),
            (has(feature::AUXTRACE), "it holds a trace of the CPU, which perf makes samples of"),
            (has(feature::DIR_FORMAT), "it is one of several files"),
            (
                any(sample::CALLCHAIN | sample::STACK_USER),
                "its stacks are copies that perf unwinds (--call-graph dwarf)",
            ),
            (
                self.events
                    .iter()
                    .any(|e| e.sample_type & sample::BRANCH_STACK != 0 && e.branches & BRANCH_CALL_STACK != 0),
                "its stacks are branches that the CPU recorded (--call-graph lbr)",
            ),
            (!self.tells_events(), "its events are told apart in a way that only perf knows"),
        ];
        match reasons.iter_mut().find(|(holds, _)| *holds) {
            Some((_, why)) => Err(Stop::perf(*why)),
            None => Ok(()),
        }
    }

    /// Whether every record tells in the same place which event it is of.
    fn tells_events(&self) -> bool {
        let first = self.events.first().map_or(0, |e| e.sample_type);
        let all = |bits: u64| self.events.iter().all(|e| e.sample_type & bits == first & bits);
        let ids = self.events.iter().all(|e| e.sample_type & sample::IDENTIFIER != 0)
            || (first & sample::ID != 0 && all(BEFORE_ID | sample::ID));
        (self.events.len() == 1 || ids) && all(TRAILER) && self.events.iter().all(|e| e.id_all == self.events[0].id_all)
    }
}

fn of_attr(attr: &[u8]) -> Option<Event> {
    let mut b = Bytes(attr);
    let (kind, _size, config) = (b.u32()?, b.u32()?, b.u64()?);
    let (period, sample_type, read_format, flags) = (b.u64()?, b.u64()?, b.u64()?, b.u64()?);
    let bit = |n: u32| flags >> n & 1 == 1;
    // What older versions of the structure do not have is zero.
    let later = |at: usize, len: usize| attr.get(at..at + len).unwrap_or(&[0, 0, 0, 0, 0, 0, 0, 0]);
    let clock = Bytes(later(92, 4)).u32()?;
    Some(Event {
        kind: (kind, config),
        sample_type,
        read_format,
        // `freq`: the number is a rate.
        period: (!bit(10)).then_some(period),
        hz: bit(10).then_some(period),
        id_all: bit(18),
        clock: bit(25).then_some(clock as i32),
        branches: Bytes(later(72, 8)).u64()?,
    })
}
