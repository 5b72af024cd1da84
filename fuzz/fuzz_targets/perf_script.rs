//! The text of `perf script`. What is taken while it is read and what is taken at its end is the
//! same samples.
//!
//! Must not: run perf.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::profile::script::{Batch, Counts, Script};

/// A sample with the names of its frames, comparable between tables.
type Plain = (u64, [u32; 3], String, u64, Vec<(String, String, bool)>);

fuzz_target!(|text: &[u8]| {
    let (all, counts) = read(text, usize::MAX);
    assert_eq!(all.len() as u64, counts.samples, "every sample is given");
    assert!(counts.in_kernel_unnamed <= counts.in_kernel && counts.in_kernel <= counts.samples, "{counts:?}");
    assert_eq!((all, counts), read(text, 3), "however often samples are taken");
});

/// Takes the samples every so many lines.
fn read(text: &[u8], every: usize) -> (Vec<Plain>, Counts) {
    let mut script = Script::new(1_000_000_000);
    let mut all = Vec::new();
    for (n, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
        script.line(line);
        if n % every == every - 1 {
            plain(&script.take(), &mut all);
        }
    }
    let (batch, counts) = script.finish();
    plain(&batch, &mut all);
    all.sort();
    (all, counts)
}

fn plain(batch: &Batch, into: &mut Vec<Plain>) {
    assert!(batch.samples.is_sorted_by_key(|s| s.at), "in time order");
    for s in &batch.samples {
        let frame = |f: perfbench::model::FrameId| {
            let frame = &batch.table.frames[f.0 as usize];
            (frame.symbol.to_string(), frame.module.to_string(), frame.kind.is_kernel())
        };
        let frames = s.stack.map(|stack| batch.table.walk(stack).map(frame).collect()).unwrap_or_default();
        into.push((s.at.0, [s.cpu, s.pid, s.tid], s.comm.to_string(), s.weight, frames));
    }
}
