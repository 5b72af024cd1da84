//! perfbench killed at any moment of a recording: what was recorded opens, plays and lacks no
//! more than the last second, and nothing that it started lives on.
//!
//! Must not: kill a process that it has not started.

#[macro_use]
mod screen_support;

use perfbench::model::{At, Event};
use perfbench::session::Reader;
use perfbench::workbench::Playback;
use rustix::process::Signal;
use screen_support::{Ended, Folder, Running, events, perf_lacks, within};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a kill may cost, s, with what a busy machine may take to schedule.
const LOST_S: f64 = 1.5;
/// Recordings under way at once.
const AT_ONCE: usize = 4;
/// How soon all that perfbench has started must be gone after it.
const SOON: Duration = Duration::from_secs(5);

/// Starts a recorded run against a demo target of its own.
fn start(folder: &Folder, session: &str, more: &[&str]) -> Running {
    let mut words = vec!["--rate", "200", "--connections", "8", "--duration", "20s", "--record", session];
    words.extend(more);
    Running::start(folder.perfbench(&words))
}

/// Kills it and says when, ns since the Unix epoch.
fn kill(run: Running) -> i64 {
    // Before, not after: nothing can have been recorded later.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    run.signal(Signal::KILL);
    let ended: Ended = run.end();
    assert!(ended.status.code().is_none(), "it had ended by itself: {ended:?}");
    i64::try_from(now).unwrap()
}

/// Opens what a killed perfbench has left, in every way there is.
fn opens(folder: &Folder, session: &str, killed_unix_ns: i64) -> f64 {
    let json = folder.run(&["report", session, "--format", "json"]).fine().json();
    let faults = json["faults"].as_array().unwrap();
    let said = faults.iter().any(|f| f["what"].as_str().unwrap().contains("ended without being closed"));
    assert!(said, "{session}: {faults:?}");
    assert!(json["ended"].is_null(), "{}", json["ended"]);
    folder.run(&["report", session]).fine();

    let workbench = Playback::load(session.as_ref()).unwrap();
    let timeline = workbench.timeline();
    let started = timeline.opening().started_unix_ns;
    let lived = (killed_unix_ns - started) as f64 / 1e9;
    let kept = events(session.as_ref()).iter().map(Event::at).max().unwrap_or(At::START).secs();
    assert!(kept > lived - LOST_S, "{session}: {kept} s are kept of {lived} s");
    assert!(kept < lived + 0.1, "{session}: {kept} s are kept of {lived} s");
    if lived > LOST_S + 0.5 {
        assert!(json["requests"]["completed"].as_u64().unwrap() > 0, "{session}: {}", json["requests"]);
    }
    lived - kept
}

#[test]
fn killed_at_twenty_moments_every_session_opens() {
    const KILLS: usize = 20;
    // The same moments in every run; what the machine does meanwhile differs anyway.
    let mut dice = fastrand::Rng::with_seed(20);
    let moments: Vec<Duration> = (0..KILLS).map(|_| Duration::from_millis(dice.u64(0..3000))).collect();
    let folder = Folder::new();
    let mut lost = Vec::new();
    for (round, moments) in moments.chunks(AT_ONCE).enumerate() {
        let ends: Vec<Option<f64>> = std::thread::scope(|scope| {
            let runs: Vec<_> = moments
                .iter()
                .enumerate()
                .map(|(n, moment)| {
                    let (folder, session) = (&folder, folder.word(&format!("{round}-{n}.perfbench")));
                    scope.spawn(move || {
                        let run = start(folder, &session, &[]);
                        // The moment counts from the file's being there: before, nothing is recorded.
                        assert!(within(SOON, || Path::new(&session).exists()), "no {session}");
                        std::thread::sleep(*moment);
                        let killed = kill(run);
                        // Too early even for the tables to be there is no session yet.
                        let begun = Reader::open(session.as_ref()).is_ok_and(|r| r.opening().is_ok());
                        assert!(begun || *moment < Duration::from_millis(250), "{session}: nothing after {moment:?}");
                        begun.then(|| opens(folder, &session, killed))
                    })
                })
                .collect();
            runs.into_iter().map(|r| r.join().unwrap()).collect()
        });
        lost.extend(ends);
        folder.left_clean(SOON);
    }
    let opened: Vec<f64> = lost.into_iter().flatten().collect();
    assert!(opened.len() >= KILLS - 2, "only {} of {KILLS} had begun", opened.len());
    println!("lost: {:.3} s at the most", opened.iter().copied().fold(0.0, f64::max));
}

#[test]
fn killed_in_a_capture_neither_perf_nor_the_demo_lives_on() {
    if let Some(lacks) = perf_lacks() {
        skip!(lacks);
    }
    let folder = Folder::new();
    let session = folder.word("s.perfbench");
    let run = start(&folder, &session, &["--capture", "0s,10s", "--no-profile", "--profiler", "perf"]);
    let perf = |folder: &Folder| folder.ours().iter().filter(|(_, w)| w[0].ends_with("perf")).count();
    assert!(within(SOON, || perf(&folder) > 0), "no perf: {:?}", folder.ours());
    std::thread::sleep(Duration::from_millis(700));
    let killed = kill(run);
    // Its recording can't be taken along by a kill, the processes must be.
    assert!(within(SOON, || folder.ours().is_empty()), "still there: {:?}", folder.ours());
    opens(&folder, &session, killed);
    let none = folder.run(&["flamegraph", &session, "--folded"]);
    assert!(none.refused(1).contains("capture"));
}

#[test]
fn a_killed_session_can_be_overwritten_and_a_living_one_cannot() {
    let folder = Folder::new();
    let session = folder.word("s.perfbench");
    let run = start(&folder, &session, &[]);
    assert!(within(SOON, || Reader::open(session.as_ref()).is_ok_and(|r| r.last_at().secs() > 0.5)));
    let words = ["--rate", "50", "--duration", "1s", "--record", &session, "--overwrite"];
    let line = folder.run(&words).refused(2);
    assert!(line.contains("is being recorded by process"), "{line}");
    let killed = kill(run);
    let line = folder.run(&words[..6]).refused(2);
    assert!(line.contains("--overwrite"), "{line}");
    opens(&folder, &session, killed);
    folder.run(&words).fine();
    assert!(Reader::open(session.as_ref()).unwrap().is_closed());
    folder.left_clean(SOON);
}

#[test]
fn sqlite3_reads_along_while_it_records() {
    if !screen_support::has("sqlite3") {
        skip!("sqlite3");
    }
    let folder = Folder::new();
    let session = folder.word("s.perfbench");
    let run = start(&folder, &session, &[]);
    assert!(within(SOON, || Reader::open(session.as_ref()).is_ok_and(|r| r.last_at() > At::START)));
    let mut counts = Vec::new();
    for _ in 0..20 {
        let output = Command::new("sqlite3").args([&session, "select count(*) from intervals"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        counts.push(String::from_utf8_lossy(&output.stdout).trim().parse::<u64>().unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(counts.is_sorted() && counts[19] > counts[0], "{counts:?}");
    let check = Command::new("sqlite3").args([&session, "pragma integrity_check"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&check.stdout).trim(), "ok");
    // Asked to end it ends in good order, whoever has read.
    run.signal(Signal::TERM);
    let ended = run.end().fine();
    assert!(!ended.stderr.contains("recording has stopped"), "{}", ended.stderr);
    assert!(Reader::open(session.as_ref()).unwrap().is_closed());
    folder.left_clean(SOON);
}
