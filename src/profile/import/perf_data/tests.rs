//! Recordings put together by hand, as the kernel and perf do; those of real programs are in
//! tests/perf_data.rs.
//!
//! Must not: name anything of this machine.

use super::*;
use crate::model::Frame;
use crate::profile::import::{Input, import};

const CHAIN: [u64; 6] = [(-512i64) as u64, 0x1004, 0x1010, 0x3008, (-128i64) as u64, 0x5000];
/// IP, TID, TIME, CALLCHAIN, CPU, PERIOD.
const TYPE: u64 = 1 | 2 | 4 | 0x20 | 0x80 | 0x100;

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn pair(a: u32, b: u32) -> u64 {
    u64::from(a) | u64::from(b) << 32
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize((bytes.len() / 8 + 1) * 8, 0);
    bytes
}

fn record(kind: u32, misc: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(misc.to_le_bytes());
    bytes.extend((body.len() as u16 + 8).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// Behind every record but samples: pid and tid, time, CPU.
fn trailer(time_ns: u64) -> Vec<u8> {
    words(&[pair(7, 7), time_ns, 0])
}

fn sample(pid: u32, time_ns: u64, chain: &[u64]) -> Vec<u8> {
    let head = [0x1004, pair(pid, pid), time_ns, 1, 1_001_001, chain.len() as u64];
    record(9, 2, &[words(&head), words(chain)])
}

/// A recording of one event with these records, and what stands behind them.
fn recording(sample_type: u64, records: &[u8], features: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut attr = words(&[pair(1, 128), 0, 999, sample_type, 0, 1 << 10 | 1 << 18]);
    attr.resize(128, 0);
    let attrs_at = 104u64;
    let data_at = attrs_at + 128 + 16;
    let bits = features.iter().fold(0u64, |bits, (bit, _)| bits | 1 << bit);
    let mut bytes = b"PERFILE2".to_vec();
    bytes.extend(words(&[104, 144, attrs_at, 144, data_at, records.len() as u64, 0, 0, bits, 0, 0, 0]));
    bytes.extend(attr);
    bytes.extend(words(&[0, 0]));
    bytes.extend(records);
    let mut at = data_at + (records.len() + 16 * features.len()) as u64;
    for (_, body) in features {
        bytes.extend(words(&[at, body.len() as u64]));
        at += body.len() as u64;
    }
    features.iter().for_each(|(_, body)| bytes.extend(body));
    bytes
}

fn comm(tid: u32, name: &str, time_ns: u64) -> Vec<u8> {
    record(3, 0, &[words(&[pair(tid, tid)]), text(name), trailer(time_ns)])
}

fn map(kind: u32, start: u64, path: &str) -> Vec<u8> {
    let place = if kind == 10 { words(&[pair(8, 1), 3, 0, pair(5, 2)]) } else { Vec::new() };
    record(kind, 2, &[words(&[pair(7, 7), start, 0x1000, 0]), place, text(path), trailer(1)])
}

/// Two rounds whose samples are out of order; a process that begins after the first of them.
fn usual() -> Vec<u8> {
    let fork = record(7, 0, &[words(&[pair(8, 7), pair(8, 7), 75]), trailer(75)]);
    let round = record(68, 0, &[]);
    [
        comm(7, "worker", 2),
        map(10, 0x1000, "/nonexistent/app"),
        map(1, 0x3000, "//anon"),
        sample(7, 90, &CHAIN),
        sample(7, 70, &CHAIN),
        round.clone(),
        comm(7, "renamed", 85),
        fork,
        sample(8, 80, &CHAIN),
        record(2, 0, &[words(&[1, 5]), trailer(81)]),
        record(13, 0, &[words(&[6]), trailer(0)]),
        round,
    ]
    .concat()
}

fn host() -> (u32, Vec<u8>) {
    (3, [8u32.to_le_bytes().to_vec(), b"another\0".to_vec()].concat())
}

fn read(bytes: Vec<u8>) -> Result<Imported, String> {
    import(Input::of_bytes("x", bytes).unwrap(), None).map(|(i, _)| i).map_err(|o| o.what)
}

#[test]
fn records_count_in_the_order_of_their_times() {
    let got = read(recording(TYPE, &usual(), &[host()])).unwrap();
    let stacks = &got.stacks[0];
    let rows: Vec<_> = stacks.samples.iter().map(|s| (s.at.0, s.cpu, s.pid, &*s.comm, s.weight)).collect();
    let w = 1_001_001;
    assert_eq!(rows, [(0, 1, 7, "worker", w), (10, 1, 8, "worker", w), (20, 1, 7, "renamed", w)]);
    assert_eq!((&*stacks.event, &*stacks.unit, stacks.lost, got.hz), ("cpu-clock", "ns", 6, Some(999)));
    let shown = |f: &Frame| format!("{} {} {}", f.symbol, f.module, f.kind.name());
    for s in &stacks.samples {
        let frames: Vec<String> =
            stacks.table.walk(s.stack.unwrap()).map(|f| shown(&stacks.table.frames[f.0 as usize])).collect();
        let jit = "[perf-7.map] perf-7.map jit";
        assert_eq!(frames, ["[app] app user", "[app] app user", jit, "[unknown]  user"]);
    }
    let notes = got.notes.join("\n");
    assert!(notes.contains("without names: app: not here"), "{notes}");
    assert!(notes.contains("compiled code has no names: it was recorded on another machine"), "{notes}");
}

#[test]
fn rubbish_that_looks_like_a_mark_ends_a_chain() {
    let chain = [(-512i64) as u64, 0x1004, u64::MAX, 0x1010];
    let records = [map(10, 0x1000, "/nonexistent/app"), sample(7, 9, &chain)].concat();
    let got = read(recording(TYPE, &records, &[])).unwrap();
    let stacks = &got.stacks[0];
    assert_eq!(stacks.table.walk(stacks.samples[0].stack.unwrap()).count(), 1);
    assert_eq!(&*stacks.samples[0].comm, ":7");
}

#[test]
fn what_is_perfs_to_read_says_why() {
    let dwarf = recording(TYPE | 1 << 13, &usual(), &[]);
    let compressed = recording(TYPE, &record(81, 0, &[words(&[1])]), &[]);
    let piped = [b"PERFILE2".to_vec(), words(&[16])].concat();
    let other = b"2ELIFREP\0\0\0\0\0\0\0h".to_vec();
    for (bytes, why) in [(dwarf, "copies"), (compressed, "compressed"), (piped, "a pipe"), (other, "other order")] {
        let bytes = [bytes, vec![0; 200]].concat();
        let said = read(bytes).unwrap_err();
        assert!(said.contains(why) && said.contains("give its path"), "{said}");
    }
}

#[test]
fn what_is_cut_off_is_refused_and_what_was_broken_off_is_read() {
    let whole = recording(TYPE, &usual(), &[]);
    for n in 8..whole.len() {
        let said = read(whole[..n].to_vec()).unwrap_err();
        assert!(said.contains("cut off"), "{n}: {said}");
    }
    // perf writes how much there is when it ends.
    let mut broken = whole.clone();
    broken[48..56].fill(0);
    broken.truncate(whole.len() - 100);
    let got = read(broken).unwrap();
    assert!(got.samples() > 0 && got.notes.iter().any(|n| n.contains("broken off")), "{:?}", got.notes);
}

#[test]
fn no_bytes_make_it_panic() {
    let whole = recording(TYPE, &usual(), &[host(), (12, words(&[pair(1, 8), 0, 0])), (2, usual())]);
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random.usize(..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = if random.bool() { random.u8(..) } else { [0, 0xff, 0x80, 1][random.usize(..4)] };
        }
        // A kernel's mapping begins to read this machine's names, which takes its time.
        let _ = read(bytes).map_err(|said| assert!(!said.contains('\n') && said.len() < 600, "{said}"));
    }
}

#[test]
fn a_family_that_copies_its_mappings_is_bounded() {
    let mut records = Vec::new();
    for n in 0..500u64 {
        records.extend(map(10, 0x10_0000 + n * 0x2000, "/x"));
    }
    for n in 0..200u32 {
        records.extend(record(7, 0, &[words(&[pair(100 + n, 7), pair(100 + n, 7), 2]), trailer(2)]));
        let pid = words(&[pair(100 + n, 100 + n), 0, 0x1000, 0]);
        records.extend(record(1, 2, &[pid, text("/y"), trailer(2)]));
    }
    assert!(read(recording(TYPE, &records, &[])).unwrap_err().contains("mappings"));
    // Who has ended makes room for others.
    let mut records = Vec::new();
    for n in 0..500u64 {
        records.extend(map(10, 0x10_0000 + n * 0x2000, "/x"));
    }
    for n in 0..400u32 {
        let task = words(&[pair(100 + n, 7), pair(100 + n, 7), 2]);
        records.extend(record(7, 0, &[task.clone(), trailer(2)]));
        let pid = words(&[pair(100 + n, 100 + n), 0, 0x1000, 0]);
        records.extend(record(1, 2, &[pid, text("/y"), trailer(2)]));
        records.extend(record(4, 0, &[task, trailer(2)]));
    }
    records.extend(sample(7, 9, &CHAIN));
    assert_eq!(read(recording(TYPE, &records, &[])).unwrap().samples(), 1);
}
