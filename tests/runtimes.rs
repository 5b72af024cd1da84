//! Compiled code of real runtimes has its functions' names: Java asked at capture time, Node by the map
//! it writes itself.
//!
//! Must not: leave a process or a map behind.

mod profiling;

use perfbench::clock::Clock;
use perfbench::model::{CaptureId, CaptureState, Event, FrameKind};
use perfbench::profile::{CaptureRequest, RecorderRequest, Source, Surroundings, Want, inspect_built_in, record};
use perfbench::timeline::stacks::{Pattern, Profile, StackFilter};
use profiling::{Place, Running, Told, skip};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

const JAVA: &str = r#"
public class Burn {
    static double sink;
    static double compiledMethod(int n) { double x = 0; for (int i = 1; i < n; i++) x += Math.sqrt(i) / (i + x); return x; }
    public static void main(String[] a) throws Exception {
        long end = System.nanoTime() + 60_000_000_000L;
        System.out.println("up");
        while (System.nanoTime() < end) sink += compiledMethod(10000);
    }
}
"#;

const NODE: &str = r#"
function compiledFunction(n) { let x = 0; for (let i = 1; i < n; i++) x += Math.sqrt(i) / (i + x); return x; }
console.log("up"); let sink = 0; const end = Date.now() + 60000;
// Called too seldom to be compiled into its caller.
function step() { sink += compiledFunction(10000000); if (Date.now() < end) setImmediate(step); }
step();
"#;

fn permits() -> bool {
    let around = Surroundings::here();
    let plan = inspect_built_in(&around).plan(&around, &[std::process::id()], Want::Processes);
    plan.map_err(|o| skip(&format!("a kernel that lets us sample ({o})"))).is_ok()
}

/// Its map of compiled code, removed at the end.
struct Map(PathBuf);

impl Drop for Map {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn map_of(running: &Running) -> Map {
    Map(PathBuf::from(format!("/tmp/perf-{}.map", running.pid())))
}

/// Starts a runtime and waits for its first word; `None` where there is none.
fn start(place: &Place, program: &str, arguments: &[&str]) -> Option<Running> {
    // In the test's folder: Node writes a log besides.
    let mut command = Command::new(program);
    let child = command.args(arguments).current_dir(place.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = child else {
        skip(program);
        return None;
    };
    let mut word = [0; 2];
    let mut stdout = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut stdout, &mut word).unwrap();
    // Time to be compiled.
    std::thread::sleep(Duration::from_millis(1500));
    Some(Running(child))
}

/// At least `share` of a process's weight is in compiled functions that match.
fn has(profile: &Profile, pid: u32, name: &str, share: f64) {
    let filter = StackFilter { pid: Some(pid), ..StackFilter::default() };
    let total = profile.weights(&filter).total;
    let matched = profile.matched(&filter, &Pattern::new(name));
    let hot = profile.hot(&filter);
    assert!(
        total > 0 && matched as f64 >= share * total as f64,
        "{matched} of {total}: {:?}",
        &hot[..hot.len().min(12)]
    );
    assert!(hot.iter().any(|h| h.symbol.contains(name) && h.kind == FrameKind::Jit), "{hot:?}");
}

#[test]
fn java_writes_its_map_when_it_is_sampled_by_a_capture_and_by_the_recorder() {
    if !permits() {
        return;
    }
    if Command::new("jcmd").arg("-h").output().is_err() {
        return skip("a JDK");
    }
    let place = Place::new();
    let source = place.path().join("Burn.java");
    std::fs::write(&source, JAVA).unwrap();
    let Some(java) = start(&place, "java", &["-XX:+PreserveFramePointer", source.to_str().unwrap()]) else { return };
    let map = map_of(&java);
    let request =
        CaptureRequest { source: Source::BuiltIn, want: Want::Processes, ..place.request(1000, vec![java.pid()]) };
    let told = Told::by(request, &Clock::start());
    let (.., notes) = told.done();
    assert!(notes.iter().all(|n| !n.contains("no names of compiled methods")), "{notes:?}");
    has(&told.profile(), java.pid(), "Burn.compiledMethod", 0.7);
    assert!(told.profile().matched(&StackFilter::default(), &Pattern::new("Interpreter|Burn.main")) > 0, "its caller");

    std::fs::remove_file(&map.0).unwrap();
    let (send, events) = sync_channel(1024);
    let recorder = record(RecorderRequest::new(vec![java.pid()]), Clock::start(), send);
    // On a machine that is busy with Java alone the first names take a while.
    let asked = Instant::now();
    while !recorder.is_sampling() {
        assert!(asked.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(1500));
    recorder.capture(CaptureId(1), Duration::from_secs(1), Duration::from_millis(100));
    let began = Instant::now();
    while recorder.has_capture_under_way() {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut profile = Profile::default();
    for event in events.try_iter() {
        match event {
            Event::Stacks(s) if s.capture == CaptureId(1) => profile.apply(&s),
            Event::Capture(n) => assert!(!matches!(n.state, CaptureState::Failed { .. }), "{n:?}"),
            _ => {}
        }
    }
    has(&profile, java.pid(), "Burn.compiledMethod", 0.7);
}

#[test]
fn node_has_names_when_it_writes_a_map_and_a_hint_when_not() {
    if !permits() {
        return;
    }
    let place = Place::new();
    let source = place.path().join("burn.js");
    std::fs::write(&source, NODE).unwrap();
    let script = source.to_str().unwrap();
    let capture = |running: &Running| {
        let request = place.request(800, vec![running.pid()]);
        Told::by(CaptureRequest { source: Source::BuiltIn, want: Want::Processes, ..request }, &Clock::start())
    };
    let Some(node) = start(&place, "node", &["--perf-basic-prof", "--interpreted-frames-native-stack", script]) else {
        return;
    };
    let _map = map_of(&node);
    has(&capture(&node).profile(), node.pid(), "compiledFunction", 0.7);
    drop(node);
    let Some(node) = start(&place, "node", &[script]) else { return };
    let told = capture(&node);
    let (.., notes) = told.done();
    assert!(notes.iter().any(|n| n.contains("(node)") && n.contains("--perf-basic-prof")), "{notes:?}");
}
