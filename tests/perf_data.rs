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

/// Whether two names are of one function: ours has a C++ function's arguments, what it returns and what was
/// cloned of it, perf's has the version of a symbol.
fn is_same(ours: &str, theirs: &str) -> bool {
    ours == theirs || bare(ours) == bare(theirs)
}

/// A function's name without arguments, template arguments, what it returns, versions and clones.
fn bare(name: &str) -> String {
    let name = name.replace("(anonymous namespace)", "{anonymous}").replace("operator()", "operator{}");
    let name = name.replace("->", "{arrow}").replace("operator<", "operator{less}");
    let name = name.split(" [clone").next().unwrap_or_default();
    let name = if name.ends_with("@plt") { name } else { name.split('@').next().unwrap_or_default() };
    let mut plain = String::new();
    let mut depth = 0;
    for c in name.chars() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let plain = plain.trim_end_matches(" const").rsplit(' ').next().unwrap_or_default();
    let end =
        [".constprop", ".isra", ".part", ".cold", ".llvm", ".lto_priv"].iter().filter_map(|e| plain.find(e)).min();
    // Of several names of one address each takes another: of libc's, `__GI___libc_write` is `write`.
    let plain = plain[..end.unwrap_or(plain.len())].trim_start_matches('_');
    let plain = plain.trim_start_matches("GI_").trim_start_matches('_').trim_start_matches("libc_");
    plain.trim_start_matches("vdso_").to_owned()
}

/// How two readings of a recording differ, and how often.
fn differences(ours: &Imported, theirs: &Imported) -> BTreeMap<String, usize> {
    let mut differ: BTreeMap<String, usize> = BTreeMap::new();
    let mut say = |what: String| *differ.entry(what).or_default() += 1;
    if ours.lost() != theirs.lost() || ours.samples() != theirs.samples() {
        say(format!("{} samples and {} lost, {} and {}", ours.samples(), ours.lost(), theirs.samples(), theirs.lost()));
    }
    for ((s, event, mine), (t, other, perfs)) in rows(ours).iter().zip(&rows(theirs)) {
        if (s.at, s.cpu, s.pid, s.tid, &s.comm, s.weight, event)
            != (t.at, t.cpu, t.pid, t.tid, &t.comm, t.weight, other)
        {
            say(format!("sample {s:?} {event}, {t:?} {other}"));
        }
        // perf gives a whole chain up when there is rubbish in it that looks like a mark.
        if perfs.is_empty() && !mine.is_empty() {
            continue;
        }
        if mine.len() != perfs.len() {
            say(format!("{} frames, {}: {:?}, {:?}", mine.len(), perfs.len(), mine.last(), perfs.last()));
        }
        for (x, y) in mine.iter().zip(perfs) {
            let same = is_same(&x.symbol, &y.symbol) && x.module == y.module && x.kind == y.kind;
            if !same {
                say(format!("{} ({}) {:?} | {} ({}) {:?}", x.symbol, x.module, x.kind, y.symbol, y.module, y.kind));
            }
        }
    }
    differ
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
    let differ = differences(&ours, &theirs);
    let mut differ: Vec<_> = differ.into_iter().collect();
    differ.sort_by_key(|d| std::cmp::Reverse(d.1));
    for (what, n) in differ.iter().take(60) {
        eprintln!("{n:6} {what}");
    }
}
