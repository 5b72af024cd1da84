//! Recordings whose records are not lines: captures, HAR, ammo, targets, command lines. The first
//! line of the input names the format, the rest is the recording.
//!
//! Must not: judge what is read; the laws are in the library.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::traffic::{MethodFilter, Options};
use perfbench_fuzz::{first_line, read};

const FRAMED: &[&str] =
    &["goreplay", "har", "vegeta", "vegeta_json", "tank_uri", "tank_uripost", "tank_phantom", "urls", "curl"];

fuzz_target!(|input: &[u8]| {
    let (name, recording) = first_line(input);
    // An unknown name stands for one of them too: no input is wasted.
    let other = || FRAMED[usize::from(input.first().copied().unwrap_or(0)) % FRAMED.len()];
    let format = FRAMED.iter().find(|known| **known == name).copied().unwrap_or_else(other);
    let format = Some(format.to_owned());
    read(recording, &Options { format, methods: MethodFilter::All, ..Options::default() });
});
