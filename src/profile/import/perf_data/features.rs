//! What stands behind the records of a recording: names of events, build ids, which machine it was.
//!
//! tools/perf/util/header.c. All of it may be missing: a recording that was broken off has none, and
//! `perf record -B` takes no build ids. What is damaged counts as missing.
//!
//! Must not: decide what is named by what.

use super::bytes::{Bytes, until_zero};
use super::header::Header;
use crate::model::FastMap;

/// `HEADER_*` bits.
mod feature {
    pub(super) const BUILD_ID: u32 = 2;
    pub(super) const HOSTNAME: u32 = 3;
    pub(super) const OSRELEASE: u32 = 4;
    pub(super) const ARCH: u32 = 6;
    pub(super) const EVENT_DESC: u32 = 12;
    pub(super) const CLOCK_DATA: u32 = 29;
}
/// `PERF_RECORD_MISC_BUILD_ID_SIZE`: the build id's length stands behind it.
const MISC_SIZE: u16 = 1 << 15;
/// Files with build ids that are kept.
const MOST_FILES: usize = 1 << 16;

/// See the top of the file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Features {
    /// Names of the events by their number, as perf was asked for them.
    pub(super) events: Vec<String>,
    /// Build ids by the path of the file.
    pub(super) build_ids: FastMap<Box<[u8]>, Box<[u8]>>,
    pub(super) host: Option<String>,
    pub(super) release: Option<String>,
    pub(super) arch: Option<String>,
    /// Wall time and time of the recording's clock at the same moment, both in ns.
    pub(super) wall: Option<(u64, u64)>,
}

impl Features {
    /// Reads them from all that stands behind the records.
    pub(super) fn read(header: &Header, back: &[u8]) -> Features {
        let mut features = Features::default();
        let start = header.data_at.saturating_add(header.data_size.unwrap_or(0));
        let mut table = Bytes(back);
        for &bit in &header.features {
            let (Some(at), Some(size)) = (table.u64(), table.u64()) else { break };
            if let Some(bytes) = at.checked_sub(start).and_then(|at| super::bytes::part(back, at, size)) {
                features.one(bit, bytes);
            }
        }
        features
    }

    fn one(&mut self, bit: u32, bytes: &[u8]) {
        let text = || Bytes(bytes).text().filter(|t| !t.is_empty());
        match bit {
            feature::BUILD_ID => self.read_build_ids(bytes),
            feature::HOSTNAME => self.host = text(),
            feature::OSRELEASE => self.release = text(),
            feature::ARCH => self.arch = text(),
            feature::EVENT_DESC => self.events = event_names(bytes).unwrap_or_default(),
            feature::CLOCK_DATA => self.wall = wall(bytes),
            _ => {}
        }
    }

    /// A row of records: header, process, 20 bytes and 4 of padding, the path.
    fn read_build_ids(&mut self, bytes: &[u8]) {
        let mut rest = Bytes(bytes);
        while self.build_ids.len() < MOST_FILES {
            let (Some(_kind), Some(misc), Some(size)) = (rest.u32(), rest.u16(), rest.u16()) else { break };
            let Some(body) = usize::from(size).checked_sub(8).and_then(|n| rest.take(n)) else { break };
            let (Some(id), Some(path)) = (body.get(4..24), body.get(28..)) else { break };
            let len = if misc & MISC_SIZE != 0 { usize::from(body[24]).min(id.len()) } else { id.len() };
            self.build_ids.insert(until_zero(path).into(), id[..len].into());
        }
    }
}

/// Count, size of an attribute, and per event: the attribute, its identifiers' count, its name, they.
fn event_names(bytes: &[u8]) -> Option<Vec<String>> {
    let mut b = Bytes(bytes);
    let (count, attr) = (b.u32()?, b.u32()?);
    let mut names = Vec::new();
    for _ in 0..count {
        b.take(usize::try_from(attr).ok()?)?;
        let ids = b.u32()?;
        names.push(b.text()?);
        b.pass(usize::try_from(ids).ok()?)?;
    }
    Some(names)
}

/// Version, clock, wall time, time by the clock.
fn wall(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut b = Bytes(bytes);
    (b.u32()? == 1).then_some(())?;
    b.u32()?;
    Some((b.u64()?, b.u64()?))
}

/// What perf calls an event that has no name in the recording (tools/perf/util/evsel.c).
pub(super) fn event_name((kind, config): (u32, u64)) -> String {
    const HARDWARE: [&str; 10] = [
        "cycles",
        "instructions",
        "cache-references",
        "cache-misses",
        "branches",
        "branch-misses",
        "bus-cycles",
        "stalled-cycles-frontend",
        "stalled-cycles-backend",
        "ref-cycles",
    ];
    const SOFTWARE: [&str; 11] = [
        "cpu-clock",
        "task-clock",
        "page-faults",
        "context-switches",
        "cpu-migrations",
        "minor-faults",
        "major-faults",
        "alignment-faults",
        "emulation-faults",
        "dummy",
        "bpf-output",
    ];
    let of = |names: &[&str]| usize::try_from(config).ok().and_then(|n| names.get(n).map(|n| (*n).to_owned()));
    let known = match kind {
        0 => of(&HARDWARE),
        1 => of(&SOFTWARE),
        _ => None,
    };
    known.unwrap_or_else(|| format!("event {kind}:0x{config:x}"))
}
