//! What tests of captures share: a program that burns, a folder that tells a test's processes from
//! others, and what a capture told.
//!
//! Must not: leave a process behind.

#![allow(dead_code)] // each test crate that includes this uses a part of it

use perfbench::clock::Clock;
use perfbench::model::{At, CaptureId, CaptureState, Event, Sample, Span, Stacks};
use perfbench::profile::{CaptureRequest, Source, start};
use perfbench::timeline::stacks::{Profile, StackFilter};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

const BURN: &str = r#"
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
volatile unsigned long sink;
__attribute__((noinline)) void burn_inner(void) { for (unsigned long i = 0; i < 100000; i++) sink += i * i; }
__attribute__((noinline)) void burn_outer(long until) { while (time(0) < until) { burn_inner(); sink++; } }
int main(int count, char **argument) {
    prctl(PR_SET_NAME, "burn: (x) [y/1]");
    prctl(PR_SET_PDEATHSIG, 9);
    if (count > 1 && !strcmp(argument[1], "sleep")) { sleep(30); return 0; }
    burn_outer(time(0) + (count > 1 ? argument[1][0] - '0' : 9));
    return 0;
}
"#;

/// Says that a test cannot run here; where it must run, that is a failure.
pub fn skip(needs: &str) {
    assert!(std::env::var_os("PERFBENCH_NO_SKIP").is_none(), "skipped: needs {needs}, and PERFBENCH_NO_SKIP is set");
    // Not eprintln, which the test runner keeps to itself when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: needs {needs}");
}

/// A folder with the burning program in it; its path tells this test's processes from others.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Place {
        let place = Place(tempfile::Builder::new().prefix("perfbench-test-").tempdir().unwrap());
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        place
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn burner(&self) -> PathBuf {
        let (source, program) = (self.path().join("burn.c"), self.path().join("burn"));
        std::fs::write(&source, BURN).unwrap();
        let cc = Command::new("cc").args(["-O0", "-fno-omit-frame-pointer", "-o"]).args([&program, &source]).status();
        assert!(cc.is_ok_and(|s| s.success()), "cc builds the program to be sampled");
        program
    }

    pub fn burn(&self, how: &str) -> Running {
        Running(Command::new(self.burner()).arg(how).spawn().unwrap())
    }

    /// A stand-in for perf: a shell script.
    pub fn stand_in(&self, script: &str) -> PathBuf {
        let path = self.path().join("perf");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn request(&self, millis: u64, pids: Vec<u32>) -> CaptureRequest {
        let mut request = CaptureRequest::new(CaptureId(3), Duration::from_millis(millis), pids);
        (request.around.temp, request.source) = (self.path().into(), Source::Perf);
        request
    }

    /// Processes that were started with a path below this place, but for `burn` itself.
    pub fn processes(&self) -> Vec<String> {
        let mark = format!("{}/perfbench-", self.path().display());
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = pids.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
        lines.map(|l| String::from_utf8_lossy(&l).replace('\0', " ")).filter(|l| l.contains(&mark)).collect()
    }

    pub fn is_clean(&self) {
        for _ in 0..100 {
            if self.processes().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.processes(), Vec::<String>::new(), "processes left behind");
        let folders = std::fs::read_dir(self.path()).unwrap().flatten();
        let left: Vec<_> =
            folders.map(|f| f.file_name()).filter(|n| n.to_string_lossy().starts_with("perfbench-")).collect();
        assert!(left.is_empty(), "folders left behind: {left:?}");
    }
}

pub struct Running(pub Child);

impl Running {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Debug, Default)]
pub struct Told {
    pub states: Vec<(At, CaptureState)>,
    pub stacks: Vec<Stacks>,
}

impl Told {
    pub fn of(out: Receiver<Event>) -> Told {
        let mut told = Told::default();
        for event in out {
            match event {
                Event::Capture(news) => {
                    assert_eq!(news.id, CaptureId(3));
                    told.states.push((news.at, news.state));
                }
                Event::Stacks(stacks) => told.stacks.push(stacks),
                other => panic!("{other:?}"),
            }
        }
        told
    }

    pub fn by(request: CaptureRequest, clock: &Clock) -> Told {
        let (send, receive) = sync_channel(4);
        let capture = start(request, clock.clone(), send);
        let told = Told::of(receive);
        capture.wait();
        told
    }

    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.stacks.iter().flat_map(|s| &s.samples)
    }

    pub fn profile(&self) -> Profile {
        let mut profile = Profile::default();
        self.stacks.iter().for_each(|s| profile.apply(s));
        profile
    }

    pub fn done(&self) -> (Span, u64, u64, &[String]) {
        match self.states.last() {
            Some((_, CaptureState::Done { span, samples, lost, notes })) => (*span, *samples, *lost, notes),
            other => panic!("{other:?}"),
        }
    }

    pub fn failed(&self) -> (&str, Option<&str>) {
        assert!(self.stacks.is_empty());
        match self.states.last() {
            Some((_, CaptureState::Failed { what, mend })) => (what, mend.as_deref()),
            other => panic!("{other:?}"),
        }
    }

    pub fn how(&self) -> &str {
        self.states
            .iter()
            .find_map(|(_, s)| if let CaptureState::Sampling { how, .. } = s { Some(&**how) } else { None })
            .unwrap()
    }
}

/// At least 80 % of the process's weight lies in the function it spends its time in.
pub fn burns(told: &Told, pid: u32) {
    let profile = told.profile();
    let filter = StackFilter { pid: Some(pid), ..StackFilter::default() };
    let total = profile.weights(&filter).total;
    let hot = profile.hot(&filter);
    let inner = hot.iter().find(|h| &*h.symbol == "burn_inner").map_or(0, |h| h.total);
    let outer = hot.iter().find(|h| &*h.symbol == "burn_outer").map_or(0, |h| h.total);
    assert!(total > 0 && inner * 10 >= total * 8 && outer >= inner, "{inner} and {outer} of {total}: {hot:?}");
}

pub fn user_id() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|l| l.strip_prefix("Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()).unwrap()
}
