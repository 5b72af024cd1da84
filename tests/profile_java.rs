//! A Java service under load, profiled without perf: its methods have names, what is scattered over
//! the flame graph is summed up by a pattern, two sessions are compared per request, and a pause of the
//! whole program is found behind the slow requests.
//!
//! Must not: need anything of the network.

#[macro_use]
mod support;

use perfbench::model::At;
use perfbench::timeline::stacks::{Pattern, StackFilter};
use perfbench::timeline::{Band, Cursor, Selection, Timeline, View};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::{Bench, Running, has};

/// What the three bottlenecks of the service are called wherever they stand on a stack.
const THREE: [(&str, &str); 3] = [
    ("exceptions", "Throwable|Refused|Credentials"),
    ("user agents", "UserAgentParser|regex"),
    ("routes", "RouteScan|String.split"),
];

/// The service, ended with the test.
struct Service {
    child: Child,
    port: u16,
}

impl Service {
    /// `None` where there is no JDK.
    fn start(bench: &Bench, more: &[&str]) -> Option<Service> {
        let classes = bench.path("classes");
        if !classes.exists() {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java/Service.java");
            let made = Command::new("javac").arg("-d").arg(&classes).arg(source).status().ok()?;
            assert!(made.success(), "Service.java does not compile");
        }
        let mut command = Command::new("java");
        // Frame pointers, as the hint of a capture says; one collector that stops the world with one thread.
        command.args(["-XX:+PreserveFramePointer", "-XX:+UseSerialGC", "-Xmx2g", "-cp"]).arg(&classes);
        command.args(["Service", "0"]).args(more);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let port = said.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("`{said}`")).parse().unwrap();
        Some(Service { child, port })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Paths that lie all over the list of routes.
fn paths(bench: &Bench) -> PathBuf {
    let lines = (0..2000u32).map(|n| format!("/api/v1/resource{}/{n}/part/x\n", n.wrapping_mul(2_654_435_761) % 1500));
    bench.file("paths.txt", lines.collect::<String>())
}

/// Loads the service and gives back the session.
fn load(bench: &Bench, service: &Service, name: &str, more: &[&str]) -> PathBuf {
    let session = bench.path(name);
    let target = format!("http://127.0.0.1:{}", service.port);
    let log = paths(bench);
    let words = ["--replay", log.to_str().unwrap(), "--record", session.to_str().unwrap(), "--connections", "4"];
    let agent = ["-H", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0"];
    let words = [&[target.as_str()][..], &words, &agent, more].concat();
    let ended = Running::start(bench.command(&words)).end();
    assert!(ended.status.success(), "{}", ended.stderr);
    session
}

fn json(bench: &Bench, words: &[&str]) -> Value {
    let ended = Running::start(bench.command(words)).end();
    assert!(ended.status.success(), "{words:?}: {}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn timeline(session: &Path) -> Timeline {
    let mut reader = perfbench::session::Reader::open(session).unwrap();
    let mut t = Timeline::new();
    loop {
        let batch = reader.next_batch(1000).unwrap();
        if batch.is_empty() {
            return t;
        }
        batch.iter().for_each(|e| t.apply(e));
    }
}

/// What keeps the flight recorder from sampling here, if something does.
fn recorder_lacks(t: &Timeline) -> Option<String> {
    t.recorder().iter().find_map(|n| match &n.state {
        perfbench::model::CaptureState::Failed { what, .. } => Some(what.clone()),
        _ => None,
    })
}

#[test]
fn methods_have_names_sums_are_told_and_the_fix_is_proved_per_request() {
    if !has("java") || !has("javac") {
        skip!("a JDK");
    }
    let bench = Bench::new();
    let length = ["--duration", "12s", "--capture", "7s,4s"];
    let before = {
        let service = Service::start(&bench, &[]).unwrap();
        load(&bench, &service, "before.perfbench", &length)
    };
    if let Some(lacks) = recorder_lacks(&timeline(&before)) {
        skip!(lacks);
    }
    let after = {
        let service = Service::start(&bench, &["--no-exceptions"]).unwrap();
        load(&bench, &service, "after.perfbench", &length)
    };
    let (before, after) = (before.to_str().unwrap(), after.to_str().unwrap());

    // Methods by name, compiled ones marked as such; each of the three is a real part of the time.
    let t = timeline(Path::new(before));
    let hot = t.profile().hot(&StackFilter { capture: Some(perfbench::model::CaptureId(1)), ..StackFilter::default() });
    let named = |part: &str| hot.iter().find(|h| h.symbol.contains(part));
    for part in ["RouteScan.find", "UserAgentParser.parse", "Login.handle"] {
        let h = named(part).unwrap_or_else(|| panic!("no {part} among {} functions", hot.len()));
        assert_eq!(h.kind, perfbench::model::FrameKind::Jit, "{h:?}");
    }
    for (what, pattern) in THREE {
        let sum = json(&bench, &["profile", before, "--capture", "1", "--sum", pattern, "--json"]);
        assert!(sum["share"].as_f64().unwrap() > 0.03, "{what}: {sum}");
    }

    // Without the exceptions a request costs less, and that is no chance; the routes cost what they did.
    let words = ["diff", before, after, "--a-capture", "1", "--b-capture", "1", "--json"];
    let sums: Vec<&str> = THREE.iter().flat_map(|(_, pattern)| ["--sum", pattern]).collect();
    let diff = json(&bench, &[&words[..], &sums].concat());
    assert_eq!(diff["per"], "request", "{}", diff["per"]);
    let exceptions = &diff["sums"][0];
    let (was, is) = (exceptions["before"].as_f64().unwrap(), exceptions["after"].as_f64().unwrap());
    assert!(was > 3.0 * is, "{exceptions}");
    assert_eq!(exceptions["noise"], false, "{exceptions}");
}

#[test]
fn a_pause_of_the_whole_program_is_found_behind_the_slow_requests() {
    if !has("java") || !has("javac") {
        skip!("a JDK");
    }
    let bench = Bench::new();
    let service = Service::start(&bench, &["--pause-after", "6"]).unwrap();
    let session = load(&bench, &service, "pause.perfbench", &["--rate", "200", "--duration", "14s"]);
    let t = timeline(&session);
    if let Some(lacks) = recorder_lacks(&t) {
        skip!(lacks);
    }
    // The second half: filling the heap makes pauses of its own before.
    let half = perfbench::model::Span { from: At(4_000_000_000), to: t.end() };
    let slowest = t.load().slowest(half, 1)[0].response_ns;
    let band = Band { low_ns: slowest / 10 * 3, high_ns: u64::MAX };
    let selection = Selection { span: Some(half), band: Some(band), ..Selection::default() };
    let view = View { timeline: &t, cursor: Cursor::Follow, selection: &selection, window_ns: 60_000_000_000 };
    let collector = Pattern::new("MarkSweep|GenCollectedHeap|VM_GenCollect|VM_Operation");
    let share = |rest: bool| {
        let filter = StackFilter { pid: Some(service.child.id()), ..view.stack_filter(None, rest) };
        let all = t.profile().weights(&filter).total;
        assert!(all > 0, "no samples: {filter:?}");
        t.profile().matched(&filter, &collector) as f64 / all as f64
    };
    // While the slowest requests were under way the service collected (and then caught up: how much of the
    // time that is depends on the machine); else hardly ever.
    let (slow, rest) = (share(false), share(true));
    assert!(slow > 0.1 && slow > 3.0 * rest, "{slow} of the slow time, {rest} of the rest");
}
