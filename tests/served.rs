//! Profiles that a target serves: a real Go program under load, its allocations, locks and CPU time
//! fetched while a capture is taken, and told by function and line.
//!
//! Must not: connect beyond loopback.

#[macro_use]
mod screen_support;

use screen_support::{Folder, Running, has};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const SOURCE: &str = "tests/served/main.go";
/// What `render` allocates for one request.
const REPORT_BYTES: u64 = 64 << 10;

/// The Go program under way; it ends with its standard input.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start() -> Service {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program: PathBuf = folder.join("served");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&program).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE));
        build.env("GO111MODULE", "off").env("GOCACHE", folder.join("go-cache")).env("GOFLAGS", "");
        let built = build.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let mut child = Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Service { child, address: address.trim().to_owned() }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The line of the source that says so, from 1.
fn line_of(text: &str) -> u64 {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE)).unwrap();
    source.lines().position(|l| l.contains(text)).unwrap() as u64 + 1
}

#[test]
fn which_function_of_a_go_program_allocated_how_much_on_which_line() {
    if !has("go") {
        skip!("go");
    }
    let service = Service::start();
    let folder = Folder::new();
    let log =
        folder.file("access.log", r#"192.0.2.1 - - [10/Oct/2025:13:00:00 +0000] "GET /work HTTP/1.1" 200 5 "-" "-""#);
    let (target, session) = (format!("http://{}", service.address), folder.word("s.perfbench"));
    let words =
        [&*target, "--replay", log.to_str().unwrap(), "--record", &session, "--rate", "200", "--duration", "6s"];
    // Not uniform: requests each 5 ms and a CPU profiler that looks at each 4th tick of the kernel keep step, and
    // the profiler then sees the same few instants of a request over and over.
    let more = ["--arrivals", "poisson", "--connections", "8", "--capture", "1s,3s", "--pprof", &target, "--json"];
    let report = folder.run(&[&words[..], &more].concat()).fine().json();
    let profile =
        |words: &[&str]| -> Value { folder.run(&[&["profile", &session, "--json"], words].concat()).fine().json() };
    let types: Vec<String> = profile(&["--sample-type", "alloc_space"])["sample_types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["event"].as_str().unwrap().to_owned())
        .collect();
    for name in ["cpu", "alloc_space", "alloc_objects", "inuse_space", "mutex_delay", "block_delay", "goroutine"] {
        assert!(types.iter().any(|t| t == name), "no {name} in {types:?}; {}", report["faults"]);
    }

    // Of what was allocated in those three seconds, render has nearly all, on its one line.
    let lines = profile(&["--sample-type", "alloc_space", "--by", "line"]);
    let first = &lines["lines"][0];
    assert_eq!((&first["symbol"], &first["line"]), (&"main.render".into(), &line_of("the line that allocates").into()));
    assert!(first["file"].as_str().unwrap().ends_with("main.go"), "{first}");
    let bytes = first["self"].as_u64().unwrap();
    let expected = 200 * 3 * REPORT_BYTES;
    assert!(bytes.abs_diff(expected) < expected / 4, "{bytes} of {expected}");
    assert!(bytes * 10 > lines["total"].as_u64().unwrap() * 8, "{lines}");

    // Who asked for it.
    let peek = profile(&["--sample-type", "alloc_space", "--peek", "main.render"]);
    assert_eq!(peek["callers"][0]["symbol"], "main.work", "{peek}");
    // Whose lock was waited for.
    let waits = profile(&["--sample-type", "mutex_delay", "--cumulative"]);
    assert!(waits["functions"].as_array().unwrap().iter().any(|f| f["symbol"] == "main.store"), "{waits}");
    // Where the process worked: 200 000 rounds a request.
    let cpu = profile(&["--sample-type", "cpu"]);
    assert!(cpu["functions"].as_array().unwrap().iter().any(|f| f["symbol"] == "main.burn"), "{cpu}");

    // It is said how they came.
    let text = folder.run(&["report", &session]).fine().stdout;
    assert!(text.contains("fetched from http://127.0.0.1") && text.contains("the difference over 3 s"), "{text}");
    // Back to Go: the same in its own tool.
    let exported = folder.word("allocs.pb.gz");
    folder.run(&["export", &session, "--format", "pprof", "--sample-type", "alloc_space", "-o", &exported]).fine();
    let top =
        Command::new("go").args(["tool", "pprof", "-top", "-unit=B", "-nodecount=5", &exported]).output().unwrap();
    let top = String::from_utf8_lossy(&top.stdout).into_owned();
    assert!(top.contains(&format!("{bytes}B")) && top.contains("main.render"), "{top}");
}

#[test]
fn a_target_without_profiles_is_told_and_the_run_goes_on() {
    let folder = Folder::new();
    let demo = screen_support::Demo::start(&folder);
    let log = folder.file("access.log", r#"192.0.2.1 - - [10/Oct/2025:13:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#);
    let session = folder.word("s.perfbench");
    let run = |pprof: &str| {
        let words = [&*demo.url, "--replay", log.to_str().unwrap(), "--record", &session, "--overwrite", "--json"];
        let more = ["--rate", "50", "--duration", "2s", "--capture", "300ms,500ms", "--pprof", pprof];
        let report = Running::start(folder.perfbench(&[&words[..], &more].concat())).end().fine().json();
        let faults = report["faults"].as_array().unwrap().clone();
        faults
            .iter()
            .filter(|f| f["place"] == "profile/pprof")
            .map(|f| f["what"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // Nobody listens there: said once, not for each profile.
    let nobody = run("http://127.0.0.1:1");
    assert_eq!(nobody.len(), 1, "{nobody:?}");
    assert!(nobody[0].contains("http://127.0.0.1:1/debug/pprof/: it can't be reached"), "{nobody:?}");
    // Whatever the demo target answers there, it is no profile.
    let no_profiles = run(&demo.url);
    assert!(!no_profiles.is_empty() && no_profiles.iter().all(|f| !f.contains('\n')), "{no_profiles:?}");
    let words = ["http://127.0.0.1:1", "--replay", log.to_str().unwrap(), "--record", &session];
    for (more, why) in [
        (&["--pprof", "http://127.0.0.1:1"][..], "--pprof fetches with captures"),
        (&["--off-cpu", "--no-profile"], "--off-cpu with --no-profile"),
    ] {
        let line = folder.run(&[&words[..], more].concat()).refused(2);
        assert!(line.contains(why) && line.contains("--capture AT,FOR"), "{line}");
    }
    let wrong = folder.run(&[
        "http://127.0.0.1:1",
        "--replay",
        log.to_str().unwrap(),
        "--record",
        &session,
        "--pprof",
        "nowhere",
    ]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}
