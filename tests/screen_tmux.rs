//! The live screen as a user meets it: the built program in a real terminal.
//!
//! Must not: know how panes are drawn; what the window shows is looked at, and no more.

#[macro_use]
mod screen_support;

use perfbench::model::Event;
use perfbench::session::Reader;
use perfbench::workbench::Playback;
use rustix::process::{Signal, kill_process};
use screen_support::tmux::{clock, number_after};
use screen_support::{Folder, Tmux, captures, events, perf_lacks, within};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long perfbench may take to start, and to leave.
const SOON: Duration = Duration::from_secs(10);

/// What of the overview does not show live values yet.
fn not_live(screen: &str) -> Vec<&'static str> {
    let number = |word| number_after(screen, word).unwrap_or(-1.0);
    let ports = || -> Option<(u64, u64)> {
        let line = screen.lines().find_map(|l| Some(l.split_once("ports →")?.1))?;
        let (used, budget) = line.split_whitespace().nth(1)?.split_once('/')?;
        Some((used.parse().ok()?, budget.parse().ok()?))
    };
    let checks = [
        ("offered", number("offered") > 0.0),
        ("done", number("done") > 0.0),
        ("the clock", clock(screen).is_some()),
        ("p50", number("p50 ") > 0.0),
        ("p99", number("p99 ") > 0.0),
        ("us and sy", number(" us ") >= 0.0 && number(" sy ") >= 0.0 && number(" us ") + number(" sy ") > 0.0),
        ("context switches", number("ctxt ") > 0.0),
        // The demo opens connections as it needs them, and both ends of them are here.
        ("ESTAB", number("ESTAB ") >= 2.0),
        ("ports", ports().is_some_and(|(used, budget)| used >= 1 && budget > used)),
        ("a chart of throughput", screen.contains('⣿')),
        ("hot symbols", screen.contains("─ hot symbols")),
        ("sockets", screen.contains("─ sockets by TCP state")),
        ("routes, where there is room for them", !screen.contains("none yet") || !screen.contains("─ routes 0")),
    ];
    checks.into_iter().filter(|(_, there)| !there).map(|(what, _)| what).collect()
}

/// Starts the demo and waits until all of its overview lives.
fn demo<'a>(folder: &'a Folder, size: (u16, u16), words: &str) -> Option<Tmux<'a>> {
    let tmux = Tmux::open(folder, size.0, size.1)?;
    tmux.line(&format!("$PB {words}"));
    // How soon that is depends on who else is busy here; SOON is what a newcomer waits at the most.
    tmux.until("an overview with live values", SOON, |s| not_live(s).is_empty());
    Some(tmux)
}

/// The path that perfbench has told at its end.
fn told_session(screen: &str) -> PathBuf {
    // A long path goes on in the next row.
    let rows: String = screen.lines().collect();
    let (_, after) = rows.split_once("session: ").unwrap_or_else(|| panic!("no session is told: {screen}"));
    let (path, _) = after.split_once(".perfbench").unwrap_or_else(|| panic!("no path is told: {screen}"));
    PathBuf::from(format!("{path}.perfbench"))
}

/// A session that was ended in good order, with some load.
fn is_whole(folder: &Folder, session: &Path) -> Vec<Event> {
    assert!(Reader::open(session).unwrap().is_closed(), "{} is not closed", session.display());
    let all = events(session);
    assert!(matches!(all.first(), Some(Event::Opening(_))) && matches!(all.last(), Some(Event::Closing(_))));
    let completed: u64 = all.iter().map(|e| if let Event::Interval(i) = e { i.completed } else { 0 }).sum();
    assert!(completed > 0, "no request in {} events", all.len());
    let report = folder.run(&["report", session.to_str().unwrap()]).fine();
    assert!(report.stdout.contains("completed") && !report.stdout.contains("not closed"), "{}", report.stdout);
    all
}

/// The demo is looked at from end to end in a window of some size.
fn tour(columns: u16, rows: u16) {
    let folder = Folder::new();
    let Some(tmux) = demo(&folder, (columns, rows), "") else { skip!("tmux") };
    let overview = tmux.screen();
    let footer = overview.trim_end().lines().last().unwrap();
    assert!(footer.contains("? help") && footer.contains("q quit"), "{overview}");
    if columns >= 120 {
        assert!(overview.contains("─ findings"), "{overview}");
    }
    // The key, a pane of its view, and what that shows of the run.
    let views: [(&str, &str, &[&str]); 6] = [
        ("2", "─ routes", &["/product/{}", "─ where a request's time goes", "─ response time"]),
        ("3", "─ cpu %", &["─ processes", "perfbench (this)", "─ memory", "─ network"]),
        ("4", "─ local ports per destination", &["─ sockets by TCP state", "ESTAB", "127.0.0.1:"]),
        ("5", "─ flame graph", &["─ hot symbols", "self %", " samples"]),
        ("6", "─ findings", &[]),
        ("1", "─ throughput", &["─ response time", "─ cpu %", "─ sockets by TCP state", "─ hot symbols"]),
    ];
    for (key, pane, parts) in views {
        tmux.keys(key);
        tmux.shows(pane);
        for part in parts {
            tmux.until(&format!("{part} in view {key} at {columns} × {rows}"), SOON, |s| s.contains(part));
        }
        let screen = tmux.screen();
        assert!(clock(&screen).is_some() && number_after(&screen, "done").is_some(), "{screen}");
    }
    tmux.keys("?");
    for part in ["a dense profile of the seconds before and after", "scrub", "quit", "ctrl-l", "1–6", "/"] {
        tmux.until(&format!("{part} in the help at {columns} × {rows}"), SOON, |s| s.contains(part));
    }
    tmux.keys("Escape");
    tmux.until("the overview after help", SOON, |s| not_live(s).is_empty());
    tmux.keys("q");
    let end = tmux.prompt();
    let session = told_session(&end);
    assert_eq!(folder.sessions(), std::slice::from_ref(&session));
    tmux.is_given_back();
    folder.left_clean(SOON);
    is_whole(&folder, &session);
}

#[test]
fn a_small_window_shows_everything_live() {
    tour(80, 24);
}

#[test]
fn a_middle_window_shows_everything_live() {
    tour(120, 36);
}

#[test]
fn a_large_window_shows_everything_live() {
    tour(200, 60);
}

#[test]
fn the_window_may_change_while_it_runs() {
    let folder = Folder::new();
    let Some(tmux) = demo(&folder, (120, 36), "--no-session") else { skip!("tmux") };
    tmux.resize(50, 10);
    let small = tmux.until("a word on the window's size", SOON, |s| s.contains("needs 60 × 16"));
    assert!(!small.contains("throughput"), "{small}");
    for (columns, rows) in [(200, 60), (80, 24), (61, 17), (120, 36)] {
        tmux.resize(columns, rows);
        let whole = |s: &str| {
            let lines: Vec<&str> = s.lines().collect();
            lines.len() == rows as usize
                && lines[0].contains("done")
                && lines[rows as usize - 1].contains("q quit")
                && lines[1].chars().count() == columns as usize
                && lines[1].contains("─ throughput")
        };
        let screen = tmux.until(&format!("the screen at {columns} × {rows}"), SOON, whole);
        assert!(!screen.contains("needs 60"), "{screen}");
    }
    tmux.until("live values", SOON, |s| not_live(s).is_empty());
    tmux.keys("q");
    let end = tmux.prompt();
    assert!(!end.contains("session:"), "{end}");
    assert_eq!(folder.sessions(), Vec::<PathBuf>::new());
    tmux.is_given_back();
    folder.left_clean(SOON);
}

#[test]
fn it_can_be_stopped_and_continued() {
    let folder = Folder::new();
    let Some(tmux) = demo(&folder, (100, 30), "") else { skip!("tmux") };
    for how in ["the key", "the signal"] {
        match how {
            "the key" => tmux.keys("C-z"),
            _ => kill_process(folder.perfbench_pid(), Signal::TSTP).unwrap(),
        }
        let stopped = tmux.prompt();
        assert!(!stopped.contains("─ throughput"), "by {how}: {stopped}");
        tmux.is_given_back();
        tmux.line("fg");
        let back = tmux.until("live values after fg", SOON, |s| not_live(s).is_empty());
        assert!(back.lines().count() == 30 && back.contains("q quit"), "by {how}: {back}");
        assert_eq!(tmux.is("#{alternate_on} #{cursor_flag}"), "1 0", "by {how}");
        // It lives: the clock goes on.
        let then = clock(&back).unwrap();
        tmux.until("the clock going on", SOON, |s| clock(s).is_some_and(|now| now > then));
    }
    tmux.keys("q");
    let session = told_session(&tmux.prompt());
    tmux.is_given_back();
    folder.left_clean(SOON);
    let all = is_whole(&folder, &session);
    let stops = all.iter().filter(|e| matches!(e, Event::Mark(m) if m.label.starts_with("perfbench was stopped for ")));
    assert_eq!(stops.count(), 2, "a mark for each time it stood still");
}

#[test]
fn signals_give_the_terminal_back_and_close_the_session() {
    let folder = Folder::new();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let Some(tmux) = demo(&folder, (80, 24), "") else { skip!("tmux") };
        let sent = Instant::now();
        kill_process(folder.perfbench_pid(), signal).unwrap();
        let session = told_session(&tmux.prompt());
        assert!(sent.elapsed() < Duration::from_secs(5), "{signal:?} took {:?}", sent.elapsed());
        tmux.line("echo ended with $?");
        tmux.shows(&format!("ended with {}", 128 + signal.as_raw()));
        tmux.is_given_back();
        folder.left_clean(SOON);
        is_whole(&folder, &session);
    }
}

#[test]
fn nothing_is_left_when_the_terminal_goes() {
    let folder = Folder::new();
    let Some(tmux) = demo(&folder, (120, 36), "") else { skip!("tmux") };
    assert_eq!(folder.ours().len(), 2, "perfbench and its demo target: {:?}", folder.ours());
    tmux.gone();
    folder.left_clean(Duration::from_secs(3));
    let sessions = folder.sessions();
    assert_eq!(sessions.len(), 1);
    is_whole(&folder, &sessions[0]);
}

#[test]
fn looking_back_stops_neither_the_run_nor_its_recording() {
    let folder = Folder::new();
    let Some(tmux) = demo(&folder, (120, 36), "") else { skip!("tmux") };
    tmux.until("five seconds of run", SOON, |s| clock(s).is_some_and(|c| c >= 5.0));
    tmux.keys("Left Left");
    let held = tmux.shows("held, still running");
    let at = clock(&held).unwrap();
    assert!(!held.contains("● live"), "{held}");
    let session = folder.sessions().pop().unwrap();
    let kept = || Reader::open(&session).unwrap().last_at().secs();
    let then = kept();
    assert!(within(SOON, || kept() > then + 1.5), "recording has stopped at {then} s");
    assert_eq!(clock(&tmux.screen()), Some(at), "a held clock stands still");
    tmux.keys("Left");
    tmux.until("an earlier instant", SOON, |s| clock(s).is_some_and(|c| c < at));
    tmux.keys("Home");
    tmux.until("the start", SOON, |s| clock(s) == Some(0.0) && s.contains("held"));
    tmux.keys("End");
    let live = tmux.until("following again", SOON, |s| s.contains("● live") && !s.contains("held"));
    let back = clock(&live).unwrap();
    assert!(back >= at + 1.0, "{back} s after {at} s");
    // The space bar holds, and lets go.
    tmux.keys("Space");
    tmux.shows("held, still running");
    tmux.keys("Space");
    tmux.until("following again", SOON, |s| s.contains("● live"));
    tmux.keys("m");
    tmux.shows("mark 1 at");
    tmux.keys("q");
    let session = told_session(&tmux.prompt());
    is_whole(&folder, &session);
    let timeline = Playback::load(&session).unwrap();
    let timeline = timeline.timeline();
    assert!(timeline.end().secs() >= back, "{} ends before {back} s", timeline.end());
    assert_eq!(timeline.marks().len(), 1);
    // Ten intervals a second at the least, without a hole while the screen was held.
    let mut ends: Vec<u64> = vec![0];
    ends.extend(events(&session).iter().filter(|e| matches!(e, Event::Interval(_))).map(|e| e.at().0));
    ends.sort_unstable();
    let gap = ends.windows(2).map(|w| w[1] - w[0]).max().unwrap();
    assert!(gap < 1_500_000_000, "a hole of {gap} ns between intervals");
    folder.left_clean(SOON);
}

#[test]
fn a_key_takes_a_profile() {
    if let Some(lacks) = perf_lacks() {
        skip!(lacks);
    }
    let folder = Folder::new();
    let Some(tmux) = demo(&folder, (120, 36), "") else { skip!("tmux") };
    tmux.keys("c");
    tmux.shows("sampling");
    tmux.keys("5");
    let screen = tmux.until("samples in the pane of captures", Duration::from_secs(30), |s| {
        s.contains("─ captures 1") && s.contains(" samples") && !s.contains("s left")
    });
    assert!(screen.contains("─ flame graph") && !screen.contains("no profile yet"), "{screen}");
    let (_, symbols) = screen.split_once("self %").unwrap_or_else(|| panic!("no hot symbols: {screen}"));
    let first: Vec<&str> = symbols.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(first[1].parse::<f64>().unwrap() > 0.0, "{screen}");
    tmux.keys("1");
    let overview = tmux.shows("self %");
    assert!(overview.contains("─ hot symbols") && !overview.contains("no profile yet"), "{overview}");
    tmux.keys("q");
    let session = told_session(&tmux.prompt());
    let all = is_whole(&folder, &session);
    let taken = captures(&all);
    assert!(matches!(taken[..], [Ok(n)] if n > 0), "{taken:?}");
    // Both the load and its target were at work.
    let comms: HashSet<&str> = all
        .iter()
        .filter_map(|e| if let Event::Stacks(s) = e { Some(s) } else { None })
        .flat_map(|s| s.samples.iter().map(|s| &*s.comm))
        .collect();
    assert!(comms.contains("load-0") && comms.contains("perfbench"), "{comms:?}");
    folder.left_clean(SOON);
}

#[test]
fn leaving_during_a_profile_keeps_what_was_sampled() {
    if let Some(lacks) = perf_lacks() {
        skip!(lacks);
    }
    let folder = Folder::new();
    let Some(tmux) = demo(&folder, (120, 36), "") else { skip!("tmux") };
    tmux.keys("c");
    tmux.shows("sampling");
    std::thread::sleep(Duration::from_millis(500));
    tmux.keys("q");
    let session = told_session(&tmux.until("the session's name", Duration::from_secs(20), |s| s.contains("session: ")));
    let taken = captures(&is_whole(&folder, &session));
    assert_eq!(taken.len(), 1, "{taken:?}");
    folder.left_clean(SOON);
}

#[test]
fn without_perf_the_key_says_what_mends_it() {
    let folder = Folder::new();
    // Named wrongly; then none in PATH, where the demo's shell needs nothing either.
    for (before, what, mend) in [
        ("PERFBENCH_PERF=/nonexistent ", "PERFBENCH_PERF names /nonexistent", "unset PERFBENCH_PERF"),
        ("PATH=/nonexistent ", "there is no perf in PATH", "perf"),
    ] {
        let Some(tmux) = Tmux::open(&folder, 120, 36) else { skip!("tmux") };
        tmux.line(&format!("{before}$PB --no-session --no-profile --profiler perf"));
        tmux.until("live values", SOON, |s| not_live(s).is_empty());
        tmux.keys("c");
        let footer = tmux.shows(what);
        assert!(footer.trim_end().lines().last().unwrap().contains(what), "{footer}");
        tmux.keys("5");
        let screen = tmux.until("the failed capture", SOON, |s| s.contains("failed: ") && s.contains("mend: "));
        let (_, after) = screen.split_once("mend: ").unwrap();
        assert!(after.lines().next().unwrap().contains(mend), "{screen}");
        tmux.keys("q");
        tmux.prompt();
    }
    folder.left_clean(SOON);
}

#[test]
fn without_a_terminal_it_names_the_way_without_one() {
    let folder = Folder::new();
    let line = folder.run(&[] as &[&str]).refused(2);
    assert!(line.contains("--record"), "{line}");
    let line = folder.run(&["http://127.0.0.1:1", "--rate", "5"]).refused(2);
    assert!(line.contains("--record"), "{line}");
    let line = folder.run(&["play", "/nonexistent"]).refused(2);
    assert!(line.contains("no such session file"), "{line}");
    assert_eq!(folder.sessions(), Vec::<PathBuf>::new());
    folder.left_clean(SOON);
}
