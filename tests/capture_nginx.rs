//! The whole job on a real target: load with a capture against nginx, then the report and the
//! flame graph of the session.
//!
//! Must not: need anything of the network.

#[macro_use]
mod screen_support;

use perfbench::model::Event;
use quick_xml::Reader as Xml;
use quick_xml::events::Event as Node;
use screen_support::{Demo, Folder, Nginx, adds_up, captures, count, events, perf_lacks, there};
use std::time::Duration;

/// The recorded log beside the project, or the demo's own.
fn log() -> String {
    let own = || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/access.log.gz");
    there("logs/nginx-combined.log.gz").unwrap_or_else(own).display().to_string()
}

/// The weights of folded stacks together.
fn sum(folded: &str) -> u64 {
    folded.lines().map(|l| l.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

/// The names of a flame graph's frames. Fails unless it is well-formed XML without scripts of
/// other places.
fn frames(svg: &str) -> Vec<String> {
    let mut xml = Xml::from_str(svg);
    let (mut names, mut in_title) = (Vec::new(), false);
    loop {
        match xml.read_event().unwrap_or_else(|e| panic!("at byte {}: {e}", xml.error_position())) {
            Node::Start(e) => in_title = e.name().as_ref() == b"title",
            Node::End(_) => in_title = false,
            Node::Text(t) if in_title => names.push(String::from_utf8_lossy(t.as_ref()).into_owned()),
            Node::Eof => return names,
            _ => {}
        }
    }
}

#[test]
fn a_run_with_a_capture_against_nginx_adds_up_and_shows_its_frames() {
    if let Some(lacks) = perf_lacks() {
        skip!(lacks);
    }
    let folder = Folder::new();
    let Some(nginx) = Nginx::start(&folder) else { skip!("nginx") };
    let (log, session) = (log(), folder.word("s.perfbench"));
    let words = [
        &*nginx.url,
        "--replay",
        &log,
        "--duration",
        "6s",
        "--capture",
        "1s,3s",
        "--no-profile",
        "--profiler",
        "perf",
        "--record",
        &session,
    ];
    folder.run(&words).fine();

    let report = folder.run(&["report", &session, "--format", "json"]).fine().json();
    adds_up(&report);
    assert_eq!((count(&report, "failed"), count(&report, "in_flight")), (0, 0), "{}", report["outcomes"]);
    assert!(count(&report, "completed") > 1000, "{}", report["requests"]);
    assert_eq!(nginx.logged(count(&report, "completed")), count(&report, "completed"));
    let taken = &report["captures"][0];
    assert!((taken["at_s"].as_f64().unwrap() - 1.0).abs() < 1.5, "{taken}");
    assert!((2.5..4.5).contains(&taken["for_s"].as_f64().unwrap()), "{taken}");
    let samples = taken["samples"].as_u64().unwrap();
    // 99 a second and CPU for three seconds, of which a busy one has most.
    assert!(samples > 150, "{taken}");
    let all = events(session.as_ref());
    assert_eq!(captures(&all), [Ok(samples)]);
    let text = folder.run(&["report", &session]).fine().stdout;
    assert!(text.contains(&format!("capture 1: {samples} samples")), "{text}");
    assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");

    // Folded: every sample once.
    let stacks = |e: &Event| if let Event::Stacks(s) = e { s.samples.iter().map(|s| s.weight).sum() } else { 0 };
    let weight: u64 = all.iter().map(stacks).sum();
    let folded = |more: &[&str]| {
        let words = [&["flamegraph", &session, "--folded"], more].concat();
        folder.run(&words).fine().stdout
    };
    let everything = folded(&["--idle"]);
    assert_eq!(sum(&everything), weight);
    let busy = sum(&folded(&[]));
    assert!(busy > 0 && busy <= weight, "{busy} of {weight}");
    assert!(everything.lines().any(|l| l.starts_with("nginx;")), "no stack of nginx:\n{everything}");

    // A part of the time is a part of the samples, and two parts are the whole.
    let at = taken["at_s"].as_f64().unwrap() + taken["for_s"].as_f64().unwrap() / 2.0;
    let (first, second) =
        (folded(&["--idle", "--to", &at.to_string()]), folded(&["--idle", "--from", &at.to_string()]));
    assert!(sum(&first) > 0 && sum(&second) > 0);
    assert_eq!(sum(&first) + sum(&second), weight);
    let line = folder.run(&["flamegraph", &session, "--from", "50", "--to", "60"]).refused(1);
    assert!(line.contains("no stacks in that stretch") && line.contains("from 0:0"), "{line}");
    let line = folder.run(&["flamegraph", &session, "--from", "3", "--to", "2"]).refused(2);
    assert!(line.contains("--to"), "{line}");

    // Drawn: well-formed, with nginx's frames and the kernel's.
    let svg = folder.word("x.svg");
    let said = folder.run(&["flamegraph", &session, "-o", &svg]).fine();
    assert!(said.stdout.is_empty() && said.stderr.contains(&svg), "{said:?}");
    let drawn = std::fs::read_to_string(&svg).unwrap();
    let names = frames(&drawn);
    let shows = |part: &str| names.iter().any(|n| n.contains(part));
    assert!(shows("nginx"), "no nginx in {names:?}");
    assert!(shows("tcp_sendmsg") || shows("sock_sendmsg") || shows("do_syscall_64"), "no kernel in {names:?}");
    assert!(shows("load-0"), "the load is not shown: {names:?}");
    assert!(!drawn.contains("href=\"http"), "it loads something from elsewhere");
    // Without -o it goes beside the session.
    folder.run(&["flamegraph", &session]).fine();
    assert!(folder.path("s.svg").exists());
    folder.left_clean(Duration::from_secs(5));
}

#[test]
fn a_session_without_a_capture_says_how_to_take_one() {
    let folder = Folder::new();
    let demo = Demo::start(&folder);
    let session = folder.word("none.perfbench");
    folder.run(&[&*demo.url, "--replay", &log(), "--requests", "50", "--no-profile", "--record", &session]).fine();
    for more in [&[][..], &["--folded"], &["--from", "1"]] {
        let line = folder.run(&[&["flamegraph", &session], more].concat()).refused(1);
        assert!(line.contains("without the flight recorder") && line.contains("--capture AT,FOR"), "{line}");
    }
    assert!(!folder.path("none.svg").exists());
}

#[test]
fn a_capture_that_could_not_be_taken_says_why_and_what_mends_it() {
    let folder = Folder::new();
    let demo = Demo::start(&folder);
    let session = folder.word("failed.perfbench");
    let words = [
        &*demo.url,
        "--replay",
        &log(),
        "--rate",
        "50",
        "--duration",
        "1s",
        "--capture",
        "0s,1s",
        "--no-profile",
        "--profiler",
        "perf",
    ];
    let mut command = folder.perfbench(&[&words[..], &["--record", &session]].concat());
    command.env("PERFBENCH_PERF", "/nonexistent/perf");
    // The run itself is a good one.
    let ended = screen_support::Running::start(command).end().fine();
    assert!(
        ended.stdout.contains("capture 1 failed") && ended.stdout.contains("mend: unset PERFBENCH_PERF"),
        "{ended:?}"
    );
    let json = folder.run(&["report", &session, "--format", "json"]).fine().json();
    assert_eq!(json["captures"][0]["mend"], "unset PERFBENCH_PERF", "{json}");
    let line = folder.run(&["flamegraph", &session]).refused(1);
    assert!(line.contains("/nonexistent/perf") && line.contains("unset PERFBENCH_PERF"), "{line}");
}
