//! Recordings of the machine's own perf, read here and through `perf script`: the same samples, the same
//! stacks, the same weights.
//!
//! Must not: sample for long, or leave a process behind.

mod screen_support;

use perfbench::model::{Frame, Sample};
use perfbench::profile::import::{Imported, Input, import};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything of a sample, its stack from the innermost frame.
fn rows(imported: &Imported) -> Vec<(&Sample, &str, Vec<&Frame>)> {
    let mut all = Vec::new();
    for stacks in &imported.stacks {
        for s in &stacks.samples {
            let frames = s.stack.map(|id| stacks.table.walk(id).map(|f| &stacks.table.frames[f.0 as usize]).collect());
            all.push((s, &*stacks.event, frames.unwrap_or_default()));
        }
    }
    all.sort_by_key(|(s, ..)| (s.at, s.cpu, s.tid));
    all
}

#[test]
#[ignore]
fn compare() {
    let data = std::env::var("PD").unwrap();
    let text = std::env::var("PT").unwrap();
    let t = std::time::Instant::now();
    let (ours, _) = import(Input::open(Path::new(&data)).unwrap(), None).unwrap();
    eprintln!("{:?} {:?}", t.elapsed(), ours.notes);
    let (theirs, _) = import(Input::open(Path::new(&text)).unwrap(), None).unwrap();
    eprintln!("{:?}", theirs.notes);
    eprintln!("{} {} lost {} {}", ours.samples(), theirs.samples(), ours.lost(), theirs.lost());
    let (a, b) = (rows(&ours), rows(&theirs));
    let mut differ: BTreeMap<String, usize> = BTreeMap::new();
    let mut say = |what: String| *differ.entry(what).or_default() += 1;
    for ((s, e, f), (t, g, h)) in a.iter().zip(&b) {
        if (s.at, s.cpu, s.pid, s.tid, &s.comm, s.weight, e) != (t.at, t.cpu, t.pid, t.tid, &t.comm, t.weight, g) {
            say(format!("HEAD {s:?} {e} {t:?} {g}"));
        }
        if f.len() != h.len() {
            say(format!("DEPTH {} {} {:?} {:?}", f.len(), h.len(), f.last(), h.last()));
        }
        for (x, y) in f.iter().zip(h) {
            if x != y {
                say(format!("{} ({}) {:?} | {} ({}) {:?}", x.symbol, x.module, x.kind, y.symbol, y.module, y.kind));
            }
        }
    }
    let mut differ: Vec<_> = differ.into_iter().collect();
    differ.sort_by_key(|d| std::cmp::Reverse(d.1));
    for (what, n) in differ.iter().take(60) {
        eprintln!("{n:6} {what}");
    }
}
