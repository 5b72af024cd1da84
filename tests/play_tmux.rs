//! Recorded sessions on the screen: played from their start, scrubbed, and followed while
//! another perfbench still records them.
//!
//! Must not: know how panes are drawn; what the window shows is looked at, and no more.

#[macro_use]
mod screen_support;

use perfbench::model::Event;
use perfbench::session::Reader;
use perfbench::workbench::Playback;
use rustix::process::Signal;
use screen_support::tmux::{clock, number_after};
use screen_support::{Demo, Folder, Running, Tmux, captures, events, perf_lacks, within};
use std::time::{Duration, Instant};

/// How long the screen may take to show what is there.
const SOON: Duration = Duration::from_secs(10);

/// Records a run of four seconds against the demo target, with a capture where that can be.
fn recorded(folder: &Folder) -> String {
    let demo = Demo::start(folder);
    let log = log(folder);
    let session = folder.word("run.perfbench");
    let mut words = vec![&*demo.url, "--replay", &log, "--rate", "300", "--duration", "4s", "--record", &session];
    if perf_lacks().is_none() {
        words.extend(["--capture", "1s,1s"]);
    }
    folder.run(&words).fine();
    session
}

/// A small log of pages that the demo target has.
fn log(folder: &Folder) -> String {
    let line = |n: usize| {
        let path = ["/", "/product/7", "/search?q=shoe", "/nothing"][n % 4];
        format!("192.0.2.1 - - [10/Oct/2025:13:00:{:02} +0000] \"GET {path} HTTP/1.1\" 200 5 \"-\" \"-\"\n", n % 60)
    };
    folder.file("small.log", (0..60).map(line).collect::<String>()).display().to_string()
}

fn play<'a>(folder: &'a Folder, session: &str, more: &str) -> Option<Tmux<'a>> {
    let tmux = Tmux::open(folder, 120, 36)?;
    tmux.line(&format!("$PB play {session} {more}"));
    tmux.shows("─ throughput");
    Some(tmux)
}

fn leave(tmux: &Tmux<'_>) {
    tmux.keys("q");
    let end = tmux.prompt();
    assert!(!end.contains("session:") && !end.contains("panicked"), "{end}");
    tmux.is_given_back();
}

#[test]
fn a_session_plays_and_can_be_scrubbed() {
    let folder = Folder::new();
    if !screen_support::has("tmux") {
        skip!("tmux");
    }
    let session = recorded(&folder);
    let before = std::fs::read(&session).unwrap();
    let end = Playback::load(session.as_ref()).unwrap().timeline().end().secs();
    assert!((4.0..20.0).contains(&end), "{end} s");

    let Some(tmux) = play(&folder, &session, "") else { skip!("tmux") };
    // It plays from the start, at the recorded speed.
    let first = tmux.until("playing", SOON, |s| s.contains("▶ play 1×"));
    let (began, from) = (Instant::now(), clock(&first).unwrap());
    assert!(from < 3.0, "{first}");
    std::thread::sleep(Duration::from_millis(1000));
    let later = tmux.screen();
    let (passed, moved) = (began.elapsed().as_secs_f64(), clock(&later).unwrap() - from);
    assert!((moved - passed).abs() < 0.6, "{moved} s of session in {passed} s:\n{later}");

    // Space holds it, space goes on.
    tmux.keys("Space");
    let held = tmux.shows("❚❚ held");
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(clock(&tmux.screen()), clock(&held));
    tmux.keys("Space");
    tmux.until("playing on", SOON, |s| s.contains("▶") && clock(s) > clock(&held));

    // To its end, where it stops by itself and says so.
    let ended = tmux.until("the end", SOON, |s| s.lines().next().is_some_and(|l| l.contains("■")));
    let at = clock(&ended).unwrap();
    assert!((at - end).abs() <= 0.1, "at {at} s, the session ends at {end} s:\n{ended}");
    // The same panes as live, over the same values.
    for part in ["─ response time", "─ cpu %", "─ sockets by TCP state", "─ hot symbols", "─ findings", "⣿"]
    {
        assert!(ended.contains(part), "no {part}:\n{ended}");
    }
    for word in ["p50 ", "p99 ", " us ", "ESTAB "] {
        assert!(number_after(&ended, word).is_some_and(|n| n > 0.0), "no {word}:\n{ended}");
    }

    // The clock goes where the keys send it.
    tmux.keys("Home");
    tmux.until("the start", SOON, |s| clock(s) == Some(0.0));
    tmux.keys("End");
    tmux.until("the end", SOON, |s| clock(s).is_some_and(|c| (c - end).abs() <= 0.1));
    let mut at = end;
    for _ in 0..2 {
        tmux.keys("Left");
        let screen = tmux.until("an earlier instant", SOON, |s| clock(s).is_some_and(|c| c < at - 0.1));
        at = clock(&screen).unwrap();
        assert!(at > 0.0, "two steps are not the whole session:\n{screen}");
    }
    tmux.keys("Right");
    tmux.until("a later instant", SOON, |s| clock(s).is_some_and(|c| c > at + 0.1));
    // Half a window each, of at least ten seconds.
    tmux.keys("PPage PPage PPage PPage");
    tmux.until("pages back", SOON, |s| clock(s) == Some(0.0));
    tmux.keys("NPage NPage NPage NPage");
    tmux.until("pages on", SOON, |s| clock(s).is_some_and(|c| (c - end).abs() <= 0.1));
    // All views, over a session.
    for (key, pane) in [("2", "─ routes"), ("3", "─ processes"), ("4", "─ local ports"), ("6", "─ findings")] {
        tmux.keys(key);
        tmux.shows(pane);
    }
    tmux.keys("2");
    tmux.shows("/product/{}");
    tmux.keys("5");
    let profile = tmux.shows("─ flame graph");
    match perf_lacks() {
        None => assert!(profile.contains("─ captures 1") && profile.contains(" samples"), "{profile}"),
        Some(_) => assert!(profile.contains("─ captures 0"), "{profile}"),
    }
    // What only a run can do is refused, not done.
    tmux.keys("c");
    tmux.keys("m");
    leave(&tmux);
    drop(tmux);

    let Some(tmux) = play(&folder, &session, "--at 2s") else { skip!("tmux") };
    let screen = tmux.until("playing", SOON, |s| s.contains("▶ play"));
    assert!(clock(&screen).is_some_and(|c| c >= 2.0), "{screen}");
    leave(&tmux);
    drop(tmux);

    let Some(tmux) = play(&folder, &session, "--speed 4") else { skip!("tmux") };
    let began = Instant::now();
    tmux.until("playing fast", SOON, |s| s.contains("▶ play 4×"));
    tmux.until("the end", SOON, |s| s.lines().next().is_some_and(|l| l.contains("■")));
    let took = began.elapsed().as_secs_f64();
    assert!(took < end / 2.0, "{end} s of session at speed 4 took {took} s");
    leave(&tmux);
    drop(tmux);

    assert!(std::fs::read(&session).unwrap() == before, "playing has changed the file");
    folder.left_clean(SOON);
}

#[test]
fn a_session_that_is_being_recorded_is_followed() {
    let folder = Folder::new();
    if !screen_support::has("tmux") {
        skip!("tmux");
    }
    let demo = Demo::start(&folder);
    let (log, session) = (log(&folder), folder.word("live.perfbench"));
    let words = [&*demo.url, "--replay", &log, "--rate", "200", "--duration", "30s", "--record", &session];
    let mut run = Running::start(folder.perfbench(&words));
    assert!(within(SOON, || Reader::open(session.as_ref()).is_ok_and(|r| r.last_at().secs() > 1.0)));

    let Some(tmux) = play(&folder, &session, "") else { skip!("tmux") };
    // It plays from the start; End goes to where the run is.
    tmux.keys("End");
    let screen = tmux.shows("● being recorded");
    let then = clock(&screen).unwrap();
    let on = tmux.until("the clock going on", SOON, |s| clock(s).is_some_and(|now| now >= then + 2.0));
    assert!(on.contains("● being recorded") && number_after(&on, "done").is_some_and(|n| n > 0.0), "{on}");
    // What is shown is not far behind the run.
    let behind = Reader::open(session.as_ref()).unwrap().last_at().secs() - clock(&tmux.screen()).unwrap();
    assert!(behind < 2.0, "{behind} s behind");

    // The run ends, and the screen says so.
    assert!(run.lives());
    run.signal(Signal::INT);
    let ended = run.end().fine();
    assert!(ended.stderr.contains("session: "), "{}", ended.stderr);
    tmux.until("the end", SOON, |s| s.lines().next().is_some_and(|l| l.contains("■")));
    leave(&tmux);
    drop(tmux);
    let all = events(session.as_ref());
    assert!(matches!(all.last(), Some(Event::Closing(_))) && captures(&all).is_empty());
    drop(demo);
    folder.left_clean(SOON);
}

#[test]
fn a_recording_that_is_killed_ends_for_those_who_follow_it() {
    let folder = Folder::new();
    if !screen_support::has("tmux") {
        skip!("tmux");
    }
    let demo = Demo::start(&folder);
    let (log, session) = (log(&folder), folder.word("killed.perfbench"));
    let words = [&*demo.url, "--replay", &log, "--rate", "200", "--duration", "30s", "--record", &session];
    let run = Running::start(folder.perfbench(&words));
    assert!(within(SOON, || Reader::open(session.as_ref()).is_ok_and(|r| r.last_at().secs() > 1.0)));
    let Some(tmux) = play(&folder, &session, "") else { skip!("tmux") };
    tmux.keys("End");
    tmux.shows("● being recorded");
    run.signal(Signal::KILL);
    assert!(!run.end().status.success());
    tmux.until("the end", SOON, |s| s.lines().next().is_some_and(|l| l.contains("■")));
    tmux.keys("6");
    tmux.shows("the recording ended without being");
    leave(&tmux);
    drop((tmux, demo));
    folder.left_clean(SOON);
}
