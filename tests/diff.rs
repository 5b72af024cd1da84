//! `perfbench diff` over sessions made here: figures known beforehand, wrong use, hostile names.
//!
//! Must not: sample or load anything.

mod screen_support;

use perfbench::model::*;
use perfbench::session::Writer;
use screen_support::Folder;
use serde_json::Value;

const MS: u64 = 1_000_000;
const S: u64 = 1000 * MS;

/// A capture: from, to, event and unit, and stacks with how many samples of 10 ms each has a second.
type Taken<'a> = (u64, u64, (&'a str, &'a str), &'a [(&'a str, u64)]);

/// Writes a session of 40 s with `per_tick` requests completed in each tick.
fn session(folder: &Folder, name: &str, per_tick: impl Fn(u64) -> u64, captures: &[Taken<'_>]) -> String {
    let path = folder.word(name);
    let mut writer = Writer::create(std::path::Path::new(&path), true).unwrap();
    let mut write = |event: Event| writer.write(&event).unwrap();
    write(Event::from(Opening::default()));
    for tick in 0..200 {
        let span = Span { from: At(tick * Interval::TICK_NS), to: At((tick + 1) * Interval::TICK_NS) };
        let completed = per_tick(tick);
        let outcomes = vec![OutcomeCount { outcome: Outcome::Status(200), count: completed }];
        write(Event::Interval(Interval { span, completed, outcomes, ..Interval::default() }));
    }
    for (n, &(from, to, (event, unit), stacks)) in (1..).zip(captures) {
        let mut table = StackTable::default();
        let mut samples = Vec::new();
        for &(stack, per_s) in stacks {
            let mut id = None;
            for symbol in stack.split(';') {
                let frame = table.frame(Frame::new(symbol, "app", FrameKind::User));
                id = Some(table.push(id, frame));
            }
            let count = per_s * (to - from) / S;
            samples.extend((0..count).map(|n| {
                let at = At(from + (to - from) * n / count);
                Sample { at, cpu: 0, pid: 7, tid: 7, comm: "web".into(), stack: id, weight: 10 * MS }
            }));
        }
        samples.sort_by_key(|s| s.at);
        let (id, span, count) = (CaptureId(n), Span { from: At(from), to: At(to) }, samples.len() as u64);
        let sampling = CaptureState::Sampling { for_ns: to - from, hz: 99, how: format!("perf, all CPUs, {event}") };
        write(Event::Capture(CaptureNews { at: At(from), id, state: sampling }));
        let (event, unit) = (event.into(), unit.into());
        write(Event::Stacks(Stacks { at: At(to), capture: id, event, unit, table, samples, lost: 0 }));
        let state = CaptureState::Done { span, samples: count, lost: 0, notes: vec![] };
        write(Event::Capture(CaptureNews { at: At(to + 1), id, state }));
    }
    writer.finish().unwrap();
    path
}

const CLOCK: (&str, &str) = ("cpu-clock", "ns");
const THROWS: &[(&str, u64)] = &[("main;serve;fill_in_stack_trace", 40), ("main;serve;route", 30), ("main;log", 20)];
const FIXED: &[(&str, u64)] = &[("main;serve;route", 30), ("main;log", 20), ("main;cache", 10)];

fn json(folder: &Folder, words: &[&str]) -> Value {
    let words = [&["diff"], words, &["--json"]].concat();
    serde_json::from_str(&folder.run(&words).fine().stdout).unwrap()
}

fn near(value: &Value, want: f64) -> bool {
    (value.as_f64().unwrap() - want).abs() <= 1e-6 * want.abs().max(1.0)
}

fn changed(json: &Value) -> Vec<&str> {
    let rows = json["functions"].as_array().unwrap().iter();
    rows.filter(|r| r["self"]["noise"] == false).map(|r| r["symbol"].as_str().unwrap()).collect()
}

#[test]
fn two_sessions_are_compared_per_request() {
    let folder = Folder::new();
    // B runs at twice the load, and both slow down outside of their captures.
    let a = session(
        &folder,
        "a.perfbench",
        |t| if (25..75).contains(&t) { 20 } else { 1 },
        &[(5 * S, 15 * S, CLOCK, THROWS)],
    );
    let b = session(
        &folder,
        "b.perfbench",
        |t| if (50..100).contains(&t) { 40 } else { 1 },
        &[(10 * S, 20 * S, CLOCK, FIXED)],
    );
    let told = json(&folder, &[&a, &b, "--sum", "stack_trace|LOG"]);
    assert_eq!((told["per"].as_str(), told["unit"].as_str()), (Some("request"), Some("ns")));
    assert!(near(&told["a"]["requests"], 1000.0) && near(&told["b"]["requests"], 2000.0), "{told}");
    assert_eq!(changed(&told), ["fill_in_stack_trace", "route", "log", "cache"]);
    let first = &told["functions"][0]["self"];
    // 400 samples of 10 ms over 1000 requests.
    assert!(near(&first["before"], 4e6) && first["after"] == 0.0 && near(&first["delta"], -4e6), "{first}");
    assert!(near(&told["functions"][1]["self"]["ratio"], 0.5) && near(&told["whole"]["after"], 3e6), "{told}");
    assert!(near(&told["sums"][0]["before"], 4e6) && told["sums"][0]["pattern"] == "stack_trace|LOG", "{told}");
    // Per second the load's doubling is not in it.
    let told = json(&folder, &[&a, &b, "--per", "second"]);
    assert_eq!(changed(&told), ["fill_in_stack_trace", "cache"]);

    let text = folder.run(&["diff", &a, &b, "--top", "2"]).fine().stdout;
    for part in ["1000 requests completed", "2000 requests completed", "Divided by completed requests", "µs/request"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let line = |what: &str| {
        let line = text.lines().find(|l| l.contains(what)).unwrap_or_else(|| panic!("{what} in {text}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("fill_in_stack_trace (app)")[..4], ["4000.0", "0", "-4000.0", "0.00×"]);
    assert!(text.contains("2 more, 2 of them changed"), "{text}");

    let svg = folder.word("d.svg");
    let ended = folder.run(&["diff", &a, &b, "--svg", &svg, "--widths", "a", "--by-thread"]).fine();
    assert!(ended.stderr.contains("difference flame graph: "), "{ended:?}");
    let svg = std::fs::read_to_string(svg).unwrap();
    for name in ["web", "fill_in_stack_trace", "route"] {
        assert!(svg.contains(&format!("data-n=\"{name}\"")), "{name}");
    }
    assert!(svg.contains("<title>fill_in_stack_trace: 4000.0 to 0 µs/request, -4000.0, 0.00×, p "), "{svg}");
}

#[test]
fn two_parts_of_one_session_are_compared() {
    let folder = Folder::new();
    let taken = [(2 * S, 12 * S, CLOCK, THROWS), (20 * S, 30 * S, CLOCK, FIXED)];
    let file = session(&folder, "s.perfbench", |_| 10, &taken);
    let by_capture = json(&folder, &[&file, "--a-capture", "1", "--b-capture", "2"]);
    assert_eq!(changed(&by_capture), ["fill_in_stack_trace", "cache"]);
    let by_range = json(&folder, &[&file, "--a", "-12.1s", "--b", "15s-"]);
    assert_eq!(by_range["functions"], by_capture["functions"]);
    // The same kind of time in both halves of one capture.
    let halves = json(&folder, &[&file, "--a", "2s-7s", "--b", "7s-12s"]);
    assert_eq!(changed(&halves), Vec::<&str>::new());
    assert!(near(&halves["a"]["seconds"], 5.0) && near(&halves["b"]["requests"], 250.0), "{halves}");
    // One stretch against the rest of its session.
    let rest = json(&folder, &[&file, "--b", "2s-7s"]);
    assert!(near(&rest["a"]["seconds"], 15.0) && near(&rest["b"]["seconds"], 5.0), "{rest}");
    let one = json(&folder, &[&file, "--a-capture", "1", "--b-capture", "2", "--symbol", "LOG|log", "--process", "7"]);
    assert_eq!(one["functions"].as_array().unwrap().len(), 2, "{one}");
}

#[test]
fn what_can_not_be_compared_is_told_in_a_line() {
    let folder = Folder::new();
    let cycles = ("cycles", "cycles");
    let taken = [(2 * S, 12 * S, CLOCK, THROWS), (20 * S, 30 * S, cycles, FIXED)];
    let file = session(&folder, "s.perfbench", |_| 10, &taken);
    let none = session(&folder, "none.perfbench", |_| 10, &[]);
    let idle = session(&folder, "idle.perfbench", |_| 0, &[(2 * S, 12 * S, CLOCK, THROWS)]);
    let file = &*file;
    for (words, code, what) in [
        (&[file][..], 2, "are the same samples"),
        (&[file, file], 2, "are the same samples"),
        (&[file, "--a", "2s-6s", "--b", "5s-12s"], 2, "have 0:05.0 to 0:06.0 in common"),
        (&[file, "--a-capture", "1"], 2, "both sides have samples of capture 1: give --b-capture"),
        (&[file, "--a", "2s-6s", "--b-capture", "1"], 2, "both sides have samples of capture 1: give --a-capture"),
        (
            &[file, "--a", "0s-100s", "--event", "cpu-clock"],
            1,
            "nothing is left of the session's samples (0:02.0 to 0:29.9) outside of that stretch",
        ),
        (
            &[file, "--event", "cycles", "--a-capture", "1", "--b-capture", "2"],
            1,
            "no capture 1 with such samples, but 2",
        ),
        (&[file, "missing.perfbench"], 2, "missing.perfbench"),
        (&[file, &none, "--a-capture", "1"], 1, "no samples were taken in what B selects: the session has no stacks"),
        (&[file, "--a-capture", "1", "--b-capture", "2"], 2, "cpu-clock (ns) and B by cycles (cycles)"),
        (&[file, &idle], 2, "A holds samples that can't be added up"),
        (&[file, &idle, "--a-capture", "1", "--per", "request"], 1, "B has no request that was completed"),
        (&[file, &idle, "--a-capture", "9"], 1, "no capture 9 with such samples, but 1, 2"),
        (&[file, &idle, "--event", "bytes"], 1, "nothing was sampled by bytes, but by cpu-clock, cycles"),
        (&[file, "--a", "13s-14s", "--b", "2s-12s"], 1, "no stacks in that stretch"),
        (&[file, "--a", "2s-6s", "--b", "6s-12s", "--thread", "db"], 1, "of the --thread given"),
        (&[file, "--a", "2s-6s", "--b", "6s-12s", "--svg", file], 2, "is a session itself"),
    ] {
        let line = folder.run(&[&["diff"], words].concat()).refused(code);
        assert!(line.contains(what), "{words:?}: {line}");
    }
    for words in [
        &["diff"][..],
        &["diff", file, "--a", "soon"],
        &["diff", file, "--widths", "a"],
        &["diff", file, "--per", "day"],
    ] {
        folder.run(words).refused(2);
    }
    // Without requests on one side seconds are what is common to both.
    let told = json(&folder, &[file, &idle, "--a-capture", "1"]);
    assert_eq!((told["per"].as_str(), changed(&told)), (Some("second"), vec![]));
}

#[test]
fn hostile_names_stay_names() {
    let folder = Folder::new();
    let evil = "\u{1b}[31m<b>\u{9b}2J\u{202e}&\"'";
    let (a, b) = ([(evil, 40)], [(evil, 80)]);
    let file = session(&folder, "s.perfbench", |_| 10, &[(S, 11 * S, CLOCK, &a), (12 * S, 22 * S, CLOCK, &b)]);
    let svg = folder.word("d.svg");
    let words = ["diff", &file, "--a-capture", "1", "--b-capture", "2", "--svg", &svg, "--sum", evil];
    for more in [&[][..], &["--json"]] {
        let ended = folder.run(&[&words[..], more].concat()).fine();
        for text in [&ended.stdout, &ended.stderr, &std::fs::read_to_string(&svg).unwrap()] {
            assert!(!text.chars().any(|c| c != '\n' && is_obeyed(c)), "{text:?}");
        }
    }
    assert!(!std::fs::read_to_string(&svg).unwrap().contains("<b>"));
}
