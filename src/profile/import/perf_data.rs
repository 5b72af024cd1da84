//! perf's own recording, read by perf itself: `perf script` with the fields that are kept here.
//!
//! Must not: read the recording; its format is perf's, and so are the symbols on this machine.

use super::input::Lines;
use super::{Head, Imported, Importer, Input, Obstacle, script};
use crate::profile::preflight::{Surroundings, inspect};
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Bytes of perf's complaints that are kept.
const WORDS: u64 = 16 << 10;
/// How `perf script` is asked, the first that the recording has the fields for.
const FIELDS: [&str; 3] = [
    "comm,pid,tid,cpu,time,event,period,ip,sym,dso",
    "comm,pid,tid,time,event,period,ip,sym,dso",
    "comm,pid,tid,event,ip,sym,dso",
];

/// See the top of the file.
pub(super) struct PerfData;

impl Importer for PerfData {
    fn name(&self) -> &'static str {
        "perf-data"
    }

    fn about(&self) -> &'static str {
        "recording of `perf record` (perf.data), read through the perf binary"
    }

    fn recognises(&self, head: &Head<'_>) -> Option<String> {
        // tools/perf/util/header.c: the magic of version 2, in either order of bytes.
        let magic = [&b"PERFILE2"[..], b"2ELIFREP", b"PERFFILE"];
        magic.iter().any(|m| head.bytes.starts_with(m)).then(|| "it begins as perf.data does".to_owned())
    }

    fn read(&self, input: Input) -> Result<Imported, Obstacle> {
        let Some(path) = input.path() else {
            return Err(super::wrong("perf reads its recording from a file: give its path"));
        };
        let perf = inspect(&Surroundings::here())
            .perf
            .map_err(|o| Obstacle::new(format!("perf.data is read by perf, and {}", o.what), o.mend))?
            .ok_or_else(|| super::wrong("perf.data is read by perf, which was not looked for"))?;
        let mut first = None;
        for fields in FIELDS {
            match read(&perf, path, fields) {
                Ok(imported) => return Ok(imported),
                Err(o) => first = first.or(Some(o)),
            }
        }
        Err(first.unwrap_or_else(|| super::wrong("perf read nothing")))
    }
}

/// A perf that does not outlive its reader.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read(perf: &Path, path: &Path, fields: &str) -> Result<Imported, Obstacle> {
    let mut command = Command::new(perf);
    command.env("LC_ALL", "C").env("PERF_CONFIG", "/dev/null").env_remove("DEBUGINFOD_URLS");
    command.args(["script", "--force", "--ns", "--no-inline", "--show-lost-events", "-F", fields, "-i"]).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|e| super::wrong(format!("{} does not start: {e}", perf.display())))?;
    let mut perf = Reaped(child);
    let stderr = perf.0.stderr.take();
    let words = std::thread::Builder::new().name("import-stderr".into()).spawn(move || {
        let mut words = Vec::new();
        let Some(mut stderr) = stderr else { return words };
        // What is beyond the bound is read all the same: perf must not wait for it.
        let _ = stderr.by_ref().take(WORDS).read_to_end(&mut words);
        let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        words
    });
    let mut reader = script::Reader::new();
    if let Some(stdout) = perf.0.stdout.take() {
        let mut lines = Lines::of(BufReader::with_capacity(64 << 10, stdout));
        while let Some(line) = lines.next()? {
            reader.line(line)?;
        }
    }
    let status = perf.0.wait();
    let words = words.ok().and_then(|w| w.join().ok()).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).into_owned();
    let ended_well = status.is_ok_and(|s| s.success());
    let said = words.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or("it said nothing").to_owned();
    match reader.finish() {
        Ok(mut imported) => {
            if !ended_well {
                imported.notes.push(format!("perf script broke off, stacks may be missing: {said}"));
            }
            Ok(imported)
        }
        Err(none) if ended_well => Err(none),
        Err(_) => Err(super::wrong(format!("perf script could not read it: {said}"))),
    }
}
