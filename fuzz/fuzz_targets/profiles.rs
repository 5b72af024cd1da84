//! Profiles of others: a format's name or none on the first line, then the file. What is read is the same
//! when it comes packed, and all of its weight is there again after it was written as pprof and read back.
//!
//! Must not: run perf.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::model::Event;
use perfbench::profile::import::{IMPORTERS, Imported, Input, import};
use perfbench::report::export::{Chosen, EXPORTS};
use perfbench::timeline::Timeline;
use perfbench::timeline::stacks::StackFilter;
use perfbench_fuzz::{first_line, one_line};
use std::collections::BTreeMap;
use std::io::Write as _;

fuzz_target!(|input: &[u8]| {
    let (name, file) = first_line(input);
    let format = IMPORTERS.iter().map(|i| i.name()).find(|n| *n == name);
    let read = |bytes: Vec<u8>| -> Result<Imported, String> {
        let input = Input::of_bytes("fuzz", bytes).map_err(one_line)?;
        let (imported, guess) = import(input, format).map_err(one_line)?;
        one_line(&guess.why);
        Ok(imported)
    };
    let plain = read(file.to_vec());
    if !file.starts_with(b"\x1f\x8b") && !file.starts_with(b"\x28\xb5\x2f\xfd") {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(file).unwrap();
        assert_eq!(plain, read(packed.finish().unwrap()), "packed or not");
    }
    let Ok(imported) = plain else { return };
    imported.notes.iter().for_each(|n| drop(one_line(perfbench::model::clean(n, 5000))));
    let mut t = Timeline::new();
    for stacks in &imported.stacks {
        assert!(stacks.samples.is_sorted_by_key(|s| s.at), "in time order");
        for s in &stacks.samples {
            assert!(s.stack.is_none_or(|k| stacks.table.walk(k).count() > 0), "a stack has frames");
        }
        t.apply(&Event::Stacks(stacks.clone()));
    }
    let all = StackFilter { idle: true, ..StackFilter::default() };
    let pprof = EXPORTS.iter().find(|e| e.name() == "pprof").unwrap();
    // Weights of more than 63 bits are refused.
    let Ok(written) = pprof.write(&Chosen { timeline: &t, filter: &all }) else { return };
    let (again, _) = import(Input::of_bytes("again", written).unwrap(), Some("pprof")).expect("our own is read");
    assert_eq!(sums(&imported), sums(&again), "the weight of every type");
});

fn sums(p: &Imported) -> BTreeMap<(String, String), u128> {
    let mut sums = BTreeMap::new();
    for s in p.stacks.iter().filter(|s| !s.samples.is_empty()) {
        let sum: u128 = s.samples.iter().map(|s| u128::from(s.weight)).sum();
        if sum > 0 {
            *sums.entry((s.event.to_string(), s.unit.to_string())).or_default() += sum;
        }
    }
    sums
}
