//! Stacks written for other tools: what is written and read again is the same, and Go's own tool reads it.
//!
//! Must not: connect anywhere.

#[macro_use]
mod screen_support;

use screen_support::material::needed;
use screen_support::{Demo, Folder, has};
use serde_json::Value;
use std::process::Command;

const TYPES: [&str; 4] = ["alloc_space", "alloc_objects", "inuse_space", "inuse_objects"];

fn profile(folder: &Folder, session: &str, sample_type: &str) -> Value {
    folder.run(&["profile", session, "--json", "--sample-type", sample_type]).fine().json()
}

#[test]
fn pprof_comes_back_as_it_was_and_go_reads_it() {
    let Some(original) = needed("profiles/go-allocs.pb.gz") else { return };
    let folder = Folder::new();
    let (first, exported, second) = (folder.word("a"), folder.word("a.pb.gz"), folder.word("b"));
    folder.run(&["import", original.to_str().unwrap(), "-o", &first]).fine();
    folder.run(&["export", &first, "--format", "pprof", "-o", &exported]).fine();
    folder.run(&["import", &exported, "-o", &second]).fine();
    for sample_type in TYPES {
        assert_eq!(
            profile(&folder, &first, sample_type)["functions"],
            profile(&folder, &second, sample_type)["functions"]
        );
        let lines =
            |s: &str| folder.run(&["profile", s, "--json", "--by", "line", "--sample-type", sample_type]).fine().json();
        assert_eq!(lines(&first)["lines"], lines(&second)["lines"]);
    }
    if !has("go") {
        skip!("go");
    }
    for sample_type in TYPES {
        let top = |file: &str| {
            let mut go = Command::new("go");
            go.args(["tool", "pprof", "-top", "-unit=B", "-nodecount=100000", "-nodefraction=0", "-edgefraction=0"]);
            let said = go.args([&format!("-sample_index={sample_type}"), file]).output().unwrap();
            let text = String::from_utf8(said.stdout).unwrap();
            let rows = text.lines().skip_while(|l| !l.contains("flat%")).skip(1);
            // Functions that cost the same stand in no order.
            let mut rows: Vec<Vec<String>> = rows.map(row).collect();
            rows.sort();
            assert!(rows.len() > 100, "{text}");
            rows
        };
        assert_eq!(top(&exported), top(original.to_str().unwrap()), "{sample_type}");
    }
}

/// Flat, cumulative and name of a line of `-top`; the sums between depend on the order.
fn row(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let name: Vec<&str> = words[5..].iter().copied().filter(|w| !w.ends_with("inline)") && *w != "(inline)").collect();
    vec![words[0].into(), words[3].into(), name.join(" ")]
}

#[test]
fn every_format_has_all_of_the_weight() {
    let Some(original) = needed("profiles/go-cpu.pb.gz") else { return };
    let folder = Folder::new();
    let session = folder.word("cpu.perfbench");
    folder.run(&["import", original.to_str().unwrap(), "-o", &session]).fine();
    let total = profile(&folder, &session, "cpu")["total"].as_u64().unwrap();
    assert_eq!(total, 480_000_000);
    let write = |format: &str| folder.run(&["export", &session, "--format", format, "-o", "-"]).fine().stdout;

    let speedscope = folder.file("x.json", write("speedscope"));
    folder.run(&["import", speedscope.to_str().unwrap(), "-o", &folder.word("s")]).fine();
    assert_eq!(profile(&folder, &folder.word("s"), "time")["total"], total);

    let folded = folder.file("x.folded", write("folded"));
    folder.run(&["import", folded.to_str().unwrap(), "-o", &folder.word("f")]).fine();
    assert_eq!(profile(&folder, &folder.word("f"), "samples")["total"], total);

    let firefox: Value = serde_json::from_str(&write("firefox")).unwrap();
    let weights =
        |t: &Value| t["samples"]["weight"].as_array().map(|w| w.iter().map(|w| w.as_f64().unwrap()).sum::<f64>());
    let ms: f64 = firefox["threads"].as_array().unwrap().iter().filter_map(weights).sum();
    assert!((ms - total as f64 / 1e6).abs() < 1e-6, "{ms}");

    assert!(write("svg").contains("<title>syscall.Syscall ("));
    let said = folder.run(&["export", &session, "--format", "svg"]).fine();
    assert!(said.stderr.starts_with("svg: ") && folder.path("cpu.svg").exists(), "{said:?}");
    let itself = folder.run(&["export", &session, "--format", "folded", "-o", &session]).refused(2);
    assert!(itself.contains("is the session itself"), "{itself}");
    assert!(
        folder
            .run(&["export", &session, "--format", "pprof", "--cpu", "9"])
            .refused(1)
            .contains("no sample is of CPU 9; most are of ")
    );
}

#[test]
fn a_recorded_run_is_a_firefox_profile_with_tracks_and_markers() {
    if let Some(lacks) = screen_support::perf_lacks() {
        skip!(lacks);
    }
    let folder = Folder::new();
    let demo = Demo::start(&folder);
    let log = folder.file("access.log", r#"192.0.2.1 - - [10/Oct/2025:13:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#);
    let session = folder.word("s.perfbench");
    let words = [&*demo.url, "--replay", log.to_str().unwrap(), "--record", &session, "--json"];
    let report = folder
        .run(&[&words[..], &["--rate", "300", "--duration", "3s", "--capture", "500ms,2s"]].concat())
        .fine()
        .json();
    let text = folder.run(&["export", &session, "--format", "firefox", "-o", "-"]).fine().stdout;
    let file: Value = serde_json::from_str(&text).unwrap();
    let counters: Vec<&str> =
        file["counters"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    for name in ["QPS", "p99", "TIME_WAIT"] {
        assert!(counters.contains(&name), "{counters:?}");
    }
    assert!(counters.iter().any(|c| c.starts_with("ports to 127.0.0.1")), "{counters:?}");
    // The track's steps add up to what was completed in a tick, at the rate that was offered.
    let qps = file["counters"].as_array().unwrap().iter().find(|c| c["name"] == "QPS").unwrap();
    let mut level = 0.0;
    let levels: Vec<f64> = qps["samples"]["count"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            level += s.as_f64().unwrap();
            level
        })
        .collect();
    let peak = levels.iter().cloned().fold(0.0, f64::max);
    assert!((200.0..500.0).contains(&peak), "{levels:?}; {}", report["requests"]);
    let threads = file["threads"].as_array().unwrap();
    let samples: usize = threads.iter().map(|t| t["samples"]["stack"].as_array().unwrap().len()).sum();
    assert!(samples > 0 && threads.len() > 1);
    let strings = file["shared"]["stringArray"].as_array().unwrap();
    let names: Vec<&str> = threads[0]["markers"]["name"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| strings[n.as_u64().unwrap() as usize].as_str().unwrap())
        .collect();
    assert!(names.contains(&"slow request") && names.contains(&"capture"), "{names:?}");
}
