//! Phases, arrivals, gaps, objectives, the search for the highest rate, and a rate changed in
//! mid-run: what was planned is what is offered, and what was judged is what is reported.
//!
//! Must not: depend on how fast the machine is, beyond that it gets a turn now and then.

#[macro_use]
mod support;

use perfbench::clock::Clock;
use perfbench::host;
use perfbench::load::{Plan, RequestSource, Run, Schedule, SourceError};
use perfbench::model::*;
use perfbench::timeline::steer::{Steered, Target};
use perfbench::traffic::{Options, Reader, Source};
use perfbench::workbench::{Command, Control, Feed, FeedState, Live, LiveParts, Profiling, Workbench};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Bench, Do, Report, Running, Server, gets, line, ok};

/// Runs with words that may hold blanks.
fn run(server: &Server, log: &str, words: &[&str]) -> Report {
    let bench = Bench::new();
    let log = bench.file("access.log", log);
    let mut all = bench.words(&server.url(), &log, "");
    all.extend(words.iter().map(|w| (*w).to_owned()));
    Running::start(bench.command(&all)).report()
}

/// The marks of a kind: when, s, and the label.
fn marks(report: &Report, kind: &str) -> Vec<(f64, String)> {
    let all = report.json["marks"].as_array().unwrap().iter().filter(|m| m["kind"] == kind);
    all.map(|m| (m["at_s"].as_f64().unwrap(), m["label"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn phases_offer_what_they_say_when_they_say_it() {
    for threads in ["1", "2"] {
        let server = Server::answering();
        let load = "const(100,500ms) pause(500ms) line(0,200,1s) step(20,60,20,500ms)";
        let report = run(&server, &gets(3), &["--load", load, "--threads", threads]);
        // 50, none, 100, then 10, 20 and 30.
        assert_eq!((report.n("offered"), report.n("completed")), (210, 210));
        assert_eq!(report.text("ended"), "duration reached");
        assert_eq!((&report.json["load"]["mode"], &report.json["load"]["phases"]), (&"phases".into(), &load.into()));
        let marks = marks(&report, "phase");
        let labels: Vec<&str> = marks.iter().map(|m| m.1.as_str()).collect();
        assert_eq!(
            labels,
            ["const(100,500ms)", "pause(500ms)", "line(0,200,1s)", "step 20/s", "step 40/s", "step 60/s"]
        );
        let after: Vec<f64> = marks.iter().map(|m| ((m.0 - marks[0].0) * 1e3).round()).collect();
        assert_eq!(after, [0.0, 500.0, 1000.0, 2000.0, 2500.0, 3000.0]);
    }
}

#[test]
fn random_arrivals_are_the_same_with_the_same_seed() {
    let offered = |seed: &str| {
        let server = Server::answering();
        let words = ["--rate", "300", "--arrivals", "poisson", "--duration", "1s", "--threads", "2", "--seed", seed];
        let report = run(&server, &gets(3), &words);
        assert_eq!(report.json["load"]["arrivals"], "poisson");
        report.n("offered")
    };
    let first = offered("1");
    assert_eq!(first, offered("1"));
    // 300 expected, standard deviation 17.
    assert!(first.abs_diff(300) < 90 && [2, 3, 4].iter().any(|n| offered(&n.to_string()) != first), "{first}");
}

#[test]
fn long_gaps_of_a_recording_are_cut() {
    // An hour without a request: at ten times the speed six minutes, longer than a test may take.
    let log: String = [0, 1, 3600, 3601].iter().map(|s| line(*s, "GET", &format!("/s{s}"))).collect();
    let server = Server::answering();
    let report = run(&server, &log, &["--speed", "10", "--max-gap", "300ms"]);
    assert_eq!((report.n("offered"), report.n("completed")), (4, 4), "{:?}", report.json["requests"]);
    let asked = server.asked();
    assert_eq!(asked.iter().map(|a| a.path()).collect::<Vec<_>>(), ["/s0", "/s1", "/s3600", "/s3601"]);
    assert!((asked[2].at - asked[0].at).as_secs_f64() > 0.2, "the gap is cut, not left out");
}

#[test]
fn a_recordings_own_rate_is_scaled_to_a_peak() {
    // Seconds with 4, 0 and 8 requests: its peak is 8/s.
    let log: String = [(0, 4), (2, 8)]
        .iter()
        .flat_map(|(s, n)| (0..*n).map(move |i| line(*s, "GET", &format!("/s{s}/{i}"))))
        .collect();
    for (words, offered) in [
        (&["--scale-to", "40"][..], 60),
        (&["--scale-to", "80", "--speed", "2"], 60),
        (&["--scale-to", "4"], 6),
        (&["--scale-to", "40", "--max-gap", "100ms"], 60),
    ] {
        let server = Server::answering();
        let report = run(&server, &log, words);
        // The recording's bins begin with its first request, which is spread within its second.
        assert!(report.n("offered").abs_diff(offered) <= offered / 2, "{words:?}: {}", report.n("offered"));
        assert_eq!(report.json["load"]["mode"], "scale");
        assert_eq!(server.asked()[..2].iter().map(|a| a.path().len()).collect::<Vec<_>>(), [5, 5]);
    }
}

#[test]
fn a_recording_that_can_be_read_once_has_no_curve_to_scale() {
    let server = Server::answering();
    let bench = Bench::new();
    let words = bench.words(&server.url(), std::path::Path::new("-"), "--scale-to 5");
    let ended = Running::start(bench.command(&words)).end();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_broken_objective_fails_the_run_and_says_what_was_measured() {
    // One in four answers is a 500.
    let server = Server::start(|asked| match asked.nth % 4 {
        0 => vec![Do::send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")],
        _ => ok(),
    });
    let words = ["--requests", "100", "--fail-if", "errors>5%,dropped>0", "--fail-if", "lag.p99>1ms"];
    let report = run(&server, &gets(3), &words);
    assert_eq!(report.ended.status.code(), Some(1));
    let of = |n: usize| -> &Value { &report.json["objectives"][n] };
    assert_eq!((&of(0)["held"], &of(0)["value"], &of(0)["unit"]), (&false.into(), &0.25.into(), &"share".into()));
    assert_eq!((&of(1)["held"], &of(1)["value"]), (&true.into(), &0.0.into()));
    assert_eq!(of(2)["held"], Value::Null, "a closed loop has no lag: not measured, so not kept");
    let line = report.ended.stderr.lines().last().unwrap();
    assert!(line.contains("errors>5% (errors 25.00 %)") && line.contains("dropped>0 (dropped 0)"), "{line}");
    assert!(line.contains("lag.p99>1ms (lag.p99 not measured)"), "{line}");

    let fine = run(&server, &gets(3), &["--requests", "100", "--fail-if", "errors>50%"]);
    assert_eq!((fine.ended.status.code(), &fine.json["objectives"][0]["held"]), (Some(0), &true.into()));
}

#[test]
fn a_condition_that_lasts_ends_the_run() {
    let server = Server::start(|_| vec![Do::send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")]);
    let report = run(&server, &gets(3), &["--rate", "100", "--duration", "10m", "--stop-if", "errors>5% for 1s"]);
    assert!(report.text("ended").starts_with("ended by errors>5% for 1s: errors 100.00 %"), "{}", report.text("ended"));
    assert_eq!(report.ended.status.code(), Some(0), "it did what it was asked");
    let verdicts = marks(&report, "verdict");
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0].1, report.text("ended"));
}

#[test]
fn the_highest_rate_is_searched_for_in_probes_that_are_recorded() {
    // Answers 503 to what goes beyond 60 in the last half second.
    let recent: Mutex<VecDeque<Instant>> = Mutex::default();
    let server = Server::start(move |asked| {
        let mut recent = recent.lock().unwrap();
        while recent.front().is_some_and(|t| asked.at.saturating_duration_since(*t) > Duration::from_millis(500)) {
            recent.pop_front();
        }
        if recent.len() >= 60 {
            return vec![Do::send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")];
        }
        recent.push_back(asked.at);
        ok()
    });
    let words = ["--find-max", "errors<5%,p99<10s", "--rate", "60", "--find-max-probe", "1s"];
    let words = [&words[..], &["--find-max-precision", "50%"]].concat();
    let bench = Bench::new();
    let report = bench.run(&server.url(), &gets(3), &words.join(" "));
    let found = &report.json["find_max"];
    let probes = found["probes"].as_array().unwrap();
    assert!(probes.len() >= 2, "{found}");
    // 120/s are let through: 240/s can't keep it, and a machine that is busy may keep less.
    let rates = |verdict: fn(&str) -> bool| {
        let fits = probes.iter().filter(|p| verdict(p["verdict"].as_str().unwrap()));
        fits.map(|p| p["rate_per_s"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert!(rates(|v| v == "kept").iter().all(|r| *r < 200.0), "{found}");
    assert!(!rates(|v| v != "kept").is_empty(), "{found}");
    assert_eq!(report.ended.status.code(), Some(i32::from(found["rate_per_s"].is_null())));
    assert_eq!(found["result"].as_str().unwrap(), report.text("ended"));
    assert_eq!(marks(&report, "phase").len(), probes.len());
    assert_eq!(marks(&report, "verdict").len(), probes.len());
    // What a probe was judged by is told with it: whole ticks of its second but for the first fifth.
    for p in probes {
        let [at, from, to] = ["at_s", "judged_from_s", "judged_to_s"].map(|name| p[name].as_f64().unwrap());
        assert!(from >= at + 0.199 && to <= at + 1.001 && to - from > 0.55, "{p}");
        let ended = p["completed"].as_u64().unwrap() + p["failed"].as_u64().unwrap();
        assert_eq!(p["response_time_us"]["count"], ended, "{p}");
        if p["verdict"] == "kept" {
            assert!(ended as f64 > p["rate_per_s"].as_f64().unwrap() * (to - from) * 0.5, "{p}");
        }
    }
    let session = bench.path("s.perfbench").display().to_string();
    let text = Running::start(bench.command(&["report", &session])).end().stdout;
    let at_found = found["rate_per_s"].as_f64().map(|rate| format!("\nat {rate}/s, from "));
    assert_eq!(text.matches("\nresponse time ").count(), 1 + usize::from(at_found.is_some()), "{text}");
    assert!(at_found.is_none_or(|title| text.contains(&title)) && text.contains("\nat all rates that were tried\n"));
}

/// An own log as a source of requests.
struct Log(Reader);

impl RequestSource for Log {
    fn next(&mut self, into: &mut Request) -> Result<bool, SourceError> {
        self.0.next(into).map_err(|e| e.to_string())
    }

    fn restart(&mut self) -> Result<bool, SourceError> {
        Ok(false)
    }

    fn counts(&self, at: At) -> TrafficCounts {
        TrafficCounts { at, ..self.0.counts() }
    }
}

/// A live feed over a run of this schedule, without end.
fn live(server: &Server, schedule: Schedule) -> Live {
    let stream = Box::new(std::io::Cursor::new(gets(20)));
    let source = Source::Stream { name: "own".into(), stream };
    let log = Log(Reader::open_sources(vec![source], Options::default()).unwrap());
    let address: std::net::SocketAddr = server.url()["http://".len()..].parse().unwrap();
    let clock = Clock::start();
    let channel = Live::channel();
    let config = host::Config { target: Some(address), pid: None, period: Duration::from_millis(500) };
    let watch = host::Watch::start(config, clock.clone(), channel.0.clone());
    let plan = Plan {
        schedule: Arc::new(schedule),
        repeat: true,
        connections: 4,
        threads: 2,
        timeout: Duration::from_secs(5),
        ..Plan::to(address)
    };
    let run = Run::start(plan, Box::new(log), &clock, &channel.0).unwrap();
    Live::new(LiveParts { clock, run, watch, profiling: Profiling::default(), control: Control::none() }, channel)
}

/// Feeds until so many requests were answered, or something else is so.
fn until(feed: &mut Live, w: &mut Workbench, is_so: impl Fn(&Workbench, u64) -> bool) {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < Duration::from_secs(20), "it never came to it");
        assert_ne!(feed.feed(w, Duration::from_millis(20)), FeedState::Ended);
        let t = w.timeline();
        if is_so(w, t.load().counts(t.whole()).completed) {
            return;
        }
    }
}

/// Whether a whole tick after the last mark had nothing due, waiting or under way.
fn is_quiet(w: &Workbench) -> bool {
    let t = w.timeline();
    let Some((of, slot)) = t.load().slots(t.whole()).next_back() else { return false };
    let since = t.marks().last().map_or(At::START, |m| m.at);
    of.to.since_ns(since) > 2 * Interval::TICK_NS && slot.offered + slot.in_flight + slot.queued == 0
}

#[test]
fn a_rate_is_changed_and_paused_in_mid_run() {
    let server = Server::answering();
    let mut feed = live(&server, Schedule::rate(100.0));
    let mut w = Workbench::new();
    let load = LoadPlan { mode: "rate".into(), rate_per_s: Some(100.0), ..LoadPlan::default() };
    w.ingest(Event::from(Opening { target: server.url(), load, ..Opening::default() }));
    until(&mut feed, &mut w, |_, done| done > 20);
    feed.command(Command::Rate { factor: 2.0 }).unwrap();
    until(&mut feed, &mut w, |w, _| w.timeline().marks().len() == 1);
    let before = server.requests();
    until(&mut feed, &mut w, |_, done| done > before + 40);
    feed.command(Command::Pause).unwrap();
    until(&mut feed, &mut w, |w, _| w.timeline().marks().len() == 2);
    let paused_at = w.timeline().marks()[1].at;
    // What was due before the pause is still answered; then nothing more is sent.
    until(&mut feed, &mut w, |w, _| is_quiet(w));
    let sent = server.requests();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.requests(), sent, "nothing is sent in a pause");
    feed.command(Command::Pause).unwrap();
    until(&mut feed, &mut w, |_, _| server.requests() > sent + 10);
    feed.command(Command::Stop).unwrap();
    while feed.feed(&mut w, Duration::from_millis(20)) != FeedState::Ended {}
    let t = w.timeline();
    let marks: Vec<(MarkKind, &str)> = t.marks().iter().map(|m| (m.kind, m.label.as_str())).collect();
    assert_eq!(marks, [(MarkKind::Rate, "rate 200/s"), (MarkKind::Pause, "paused"), (MarkKind::Pause, "going on")]);
    let then = Steered::at(t, paused_at);
    assert_eq!((then.target, then.paused), (Some(Target::Rate(200.0)), true));
    // What is offered is what the curve says, whatever the machine was doing: a hundred a second
    // until the first mark, two hundred until the pause, nothing in it.
    let s = |n: usize| t.marks()[n].at.secs();
    let sum = t.load().counts(t.whole());
    let began = t.load().span().from.secs();
    let ended = t.load().known_until().secs();
    let most = (s(0) - began) * 100.0 + (s(1) - s(0)) * 200.0 + (ended - s(2)) * 200.0;
    assert!(sum.offered as f64 <= most + 5.0, "{} of {most}", sum.offered);
    assert!(sum.offered as f64 >= (s(0) - began) * 100.0 + (s(1) - s(0)) * 200.0 - 5.0, "{}", sum.offered);
}

#[test]
fn a_closed_loop_can_be_paused_and_has_no_rate() {
    let server = Server::start(|_| vec![Do::wait_ms(2), Do::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    let mut feed = live(&server, Schedule::closed());
    let mut w = Workbench::new();
    until(&mut feed, &mut w, |_, done| done > 20);
    let refused = feed.command(Command::Rate { factor: 1.1 }).unwrap_err();
    assert!(refused.contains("closed loop has no rate"), "{refused}");
    feed.command(Command::Pause).unwrap();
    until(&mut feed, &mut w, |w, _| w.timeline().marks().len() == 1);
    until(&mut feed, &mut w, |w, _| is_quiet(w));
    let sent = server.requests();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.requests(), sent, "nothing is sent in a pause");
    feed.command(Command::Pause).unwrap();
    until(&mut feed, &mut w, |_, _| server.requests() > sent + 20);
    feed.command(Command::Stop).unwrap();
    while feed.feed(&mut w, Duration::from_millis(20)) != FeedState::Ended {}
}
