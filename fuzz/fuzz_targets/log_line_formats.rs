//! Logs of one request a line. The first line of the input names a format, or the format is
//! guessed; the rest is the log.
//!
//! Must not: judge what is read; the laws are in the library.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::traffic::{MethodFilter, Options, formats};
use perfbench_fuzz::{first_line, read};

fuzz_target!(|input: &[u8]| {
    let (name, log) = first_line(input);
    let format = formats().into_iter().map(|row| row.name).find(|known| known == name);
    // A window of a second in little memory, so that small logs come out of order too.
    let (window_ns, window_bytes) = if log.len() % 2 == 0 { (90_000_000_000, 64 << 20) } else { (1_000_000_000, 4096) };
    read(log, &Options { format, window_ns, window_bytes, methods: MethodFilter::All, ..Options::default() });
});
