//! perf's own recording, read by perf itself: `perf script` with the fields that are kept here.
//!
//! Must not: read the recording; its format is perf's, and so are the symbols on this machine.

use crate::profile::Obstacle;
use crate::profile::import::input::Lines;
use crate::profile::import::{Imported, script, wrong};
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

/// Has perf read it; `why` is why it is not read here.
///
/// # Errors
/// What is in the way, with that reason.
pub(super) fn read(path: Option<&Path>, why: &str) -> Result<Imported, Obstacle> {
    let Some(path) = path else {
        return Err(wrong(format!("it is read by perf, since {why}, and perf reads from a file: give its path")));
    };
    let perf = inspect(&Surroundings::here())
        .perf
        .map_err(|o| Obstacle::new(format!("it is read by perf, since {why}, and {}", o.what), o.mend))?
        .ok_or_else(|| wrong(format!("it is read by perf, since {why}, which was not looked for")))?;
    let mut first = None;
    for fields in FIELDS {
        match read_fields(&perf, path, fields) {
            Ok(imported) => return Ok(imported),
            Err(o) => first = first.or(Some(o)),
        }
    }
    Err(first.unwrap_or_else(|| wrong("perf read nothing")))
}

/// A perf that does not outlive its reader.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_fields(perf: &Path, path: &Path, fields: &str) -> Result<Imported, Obstacle> {
    let mut command = Command::new(perf);
    command.env("LC_ALL", "C").env("PERF_CONFIG", "/dev/null").env_remove("DEBUGINFOD_URLS");
    command.args(["script", "--force", "--ns", "--no-inline", "--show-lost-events", "-F", fields, "-i"]).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|e| wrong(format!("{} does not start: {e}", perf.display())))?;
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
        Err(_) => Err(wrong(format!("perf script could not read it: {said}"))),
    }
}
