//! Profiles of others through the finished program: what `perfbench import` makes of them, against
//! what the tools say that wrote them.
//!
//! Must not: need more permissions than any user has.

#[macro_use]
mod screen_support;

use screen_support::material::needed;
use screen_support::{Folder, has};
use std::collections::BTreeMap;
use std::process::Command;

/// Functions by name: self and total.
type Costs = BTreeMap<String, (u64, u64)>;

/// The functions of a session, of one sample type, with the total.
fn costs(folder: &Folder, session: &str, sample_type: &str) -> (u64, Costs) {
    let json = folder.run(&["profile", session, "--json", "--sample-type", sample_type]).fine().json();
    let functions = json["functions"].as_array().unwrap();
    let cost = |f: &serde_json::Value| (f["self"].as_u64().unwrap(), f["total"].as_u64().unwrap());
    let mut all = Costs::new();
    for f in functions {
        let name = f["symbol"].as_str().unwrap().to_owned();
        assert!(all.insert(name, cost(f)).is_none(), "{f} stands twice");
    }
    (json["total"].as_u64().unwrap(), all)
}

#[test]
fn the_shared_profiles_come_to_what_go_tool_pprof_says_of_them() {
    let (Some(_), Some(_)) = (needed("profiles/go-cpu.pb.gz"), needed("profiles/go-allocs.pb.gz")) else { return };
    let folder = Folder::new();
    let mut session = String::new();
    let mut found = (0, Costs::new());
    let mut checked = 0;
    for line in include_str!("profiles/go-top.txt").lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(row) = line.strip_prefix("  ") {
            let mut row = row.splitn(3, ' ');
            let mut number = || row.next().unwrap().parse::<u64>().unwrap();
            let cost = (number(), number());
            let name = row.next().unwrap();
            assert_eq!(found.1.get(name), Some(&cost), "{name}");
            checked += 1;
            continue;
        }
        let (file, sample_type, total, functions) = (words[0], words[1], words[3], words[4]);
        session = folder.word(&format!("{file}.perfbench"));
        if !folder.path(&format!("{file}.perfbench")).exists() {
            let profile = needed(&format!("profiles/{file}.pb.gz")).unwrap();
            let ended = folder.run(&["import", profile.to_str().unwrap(), "-o", &session]).fine();
            assert!(ended.stderr.contains("pprof, because it begins with sample types"), "{}", ended.stderr);
        }
        found = costs(&folder, &session, sample_type);
        assert_eq!((found.0.to_string(), found.1.len().to_string()), (total.into(), functions.into()), "{line}");
    }
    assert_eq!(checked, 60);
    // What a session is for.
    for words in [&["report", &session][..], &["flamegraph", &session, "--folded"]] {
        assert!(!folder.run(words).fine().stdout.is_empty());
    }
}

/// Every function as `go tool pprof` has it, of a profile in whatever form it reads.
fn go_top(profile: &str, sample_type: &str, unit: &str) -> Costs {
    let mut go = Command::new("go");
    go.args(["tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0", "-edgefraction=0"]);
    go.args([&format!("-sample_index={sample_type}"), &format!("-unit={unit}"), profile]);
    let said = go.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let mut all = Costs::new();
    for line in String::from_utf8(said.stdout).unwrap().lines().skip_while(|l| !l.contains("flat%")).skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| words[n].trim_end_matches(char::is_alphabetic).parse::<u64>().unwrap();
        let mut rest = line;
        for word in &words[..5] {
            rest = rest.trim_start().strip_prefix(word).unwrap();
        }
        let name = rest.trim().trim_end_matches(" (inline)").trim_end_matches(" (partial-inline)");
        all.insert(name.into(), (number(0), number(3)));
    }
    all
}

#[test]
fn every_function_of_the_shared_profiles_is_as_in_go() {
    if !has("go") {
        skip!("go");
    }
    let folder = Folder::new();
    for (file, types) in
        [("go-cpu", &[("cpu", "ns")][..]), ("go-allocs", &[("alloc_space", "B"), ("inuse_space", "B")])]
    {
        let Some(profile) = needed(&format!("profiles/{file}.pb.gz")) else { return };
        let (profile, session) = (profile.to_str().unwrap().to_owned(), folder.word(file));
        folder.run(&["import", &profile, "-o", &session]).fine();
        for (sample_type, unit) in types {
            let (ours, theirs) = (costs(&folder, &session, sample_type).1, go_top(&profile, sample_type, unit));
            let differ: Vec<_> = theirs.iter().filter(|(name, cost)| ours.get(*name) != Some(cost)).collect();
            assert!(differ.is_empty() && theirs.len() == ours.len(), "{file} {sample_type}: {differ:?}");
        }
    }
}

#[test]
fn a_session_is_made_beside_the_profile_and_never_replaced_unasked() {
    let folder = Folder::new();
    let file = folder.file("a.folded", "main;work 3\nmain;work;hot 4\nmain 1\n");
    let file = file.to_str().unwrap();
    let ended = folder.run(&["import", file]).fine();
    assert!(ended.stdout.contains("8 count of samples in 3 samples"), "{ended:?}");
    let line = folder.run(&["import", file]).refused(2);
    assert!(line.contains("a.folded.perfbench"), "{line}");
    folder.run(&["import", file, "--overwrite"]).fine();
    let session = format!("{file}.perfbench");
    let text = folder.run(&["profile", &session, "--top", "2"]).fine().stdout;
    let rows: Vec<Vec<&str>> =
        text.lines().skip_while(|l| !l.contains("self %")).skip(1).map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["4", "50.00", "50.00", "4", "50.00", "hot"]);
    assert_eq!(rows[1], ["3", "37.50", "87.50", "7", "87.50", "work"]);
    let line = folder.run(&["profile", &session, "--sample-type", "cpu"]).refused(2);
    assert!(line.ends_with("there are no samples of `cpu`; there are samples"), "{line}");
    let sum = folder.run(&["profile", &session, "--sum", "hot|work"]).fine().stdout;
    assert!(sum.starts_with("7 count of 8 count, 87.50 %"), "{sum}");
    for (words, why) in [
        (["profile", &session, "--cpu", "3"], "no sample is of CPU 3; most are of CPU 0"),
        (["profile", &session, "--process", "1"], "no sample is of process 1; most are of "),
        (["profile", &session, "--thread", "web"], "no sample is of a thread named web; most are of "),
    ] {
        let line = folder.run(&words).refused(1);
        assert!(line.contains(why), "{line}");
    }
    assert!(folder.run(&["import", &session]).refused(2).contains("no profile of a format known"));
}

#[test]
fn several_profiles_are_captures_of_one_session() {
    let folder = Folder::new();
    let a = folder.file("a.folded", "main;a 3\n");
    let script = "x 7/8 [003] 100.000001: 5 cpu-clock: \n\t55d0 main (/x)\n\nx 7/8 [003] 101.000001: 5 cpu-clock: \n\t55d0 main (/x)\n\n";
    let b = folder.file("b.txt", script);
    let session = folder.word("s.perfbench");
    let ended = folder.run(&["import", a.to_str().unwrap(), b.to_str().unwrap(), "-o", &session]).fine();
    assert!(ended.stderr.contains("folded, because") && ended.stderr.contains("perf-script, because"), "{ended:?}");
    let json = |words: &[&str]| folder.run(&[&["profile", &session, "--json"], words].concat()).fine().json();
    // Time on a CPU is the default; nothing else is added to it.
    assert_eq!(json(&[])["total"], 10);
    assert_eq!(json(&["--sample-type", "samples"])["total"], 3);
    assert_eq!(json(&["--capture", "2", "--thread", "8", "--ring", "user"])["total"], 10);
}

#[test]
fn a_recording_of_perf_is_read_with_and_without_perf() {
    if let Some(lacks) = screen_support::perf_lacks() {
        skip!(lacks);
    }
    let folder = Folder::new();
    let data = folder.word("perf.data");
    let mut record = folder.program("perf");
    record.args(["record", "-q", "-g", "-F", "999", "-e", "cpu-clock", "-o", &data, "--", "sh", "-c"]);
    record.arg("i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done");
    assert!(record.output().unwrap().status.success());
    let session = folder.word("s.perfbench");
    let ended = folder.run(&["import", &data, "-o", &session]).fine();
    assert!(ended.stderr.contains("perf-data, because"), "{ended:?}");
    let ours = folder.run(&["profile", &session, "--json"]).fine().json();
    // The same through the text that perf prints by itself.
    let mut script = folder.program("perf");
    let text = script.args(["script", "-i", &data]).output().unwrap().stdout;
    let text = folder.file("script.txt", text);
    let second = folder.word("t.perfbench");
    folder.run(&["import", text.to_str().unwrap(), "-o", &second]).fine();
    let theirs = folder.run(&["profile", &second, "--json"]).fine().json();
    assert!(ours["samples"].as_u64().unwrap() > 10, "{ours}");
    assert_eq!(
        (&ours["total"], &ours["samples"], &ours["events"]),
        (&theirs["total"], &theirs["samples"], &theirs["events"])
    );
    let without = |data: &str, session: &str| {
        let mut c = folder.perfbench(&["import", data, "-o", &folder.word(session)]);
        c.env("PATH", "/nonexistent");
        screen_support::Running::start(c).end()
    };
    let ended = without(&data, "u.perfbench").fine();
    assert!(ended.stderr.contains("read here, not by perf"), "{ended:?}");
    let alone = folder.run(&["profile", &folder.word("u.perfbench"), "--json"]).fine().json();
    assert_eq!((&alone["total"], &alone["samples"]), (&ours["total"], &ours["samples"]));
    // What only perf can unwind.
    let mut record = folder.program("perf");
    record.args(["record", "-q", "--call-graph", "dwarf", "-e", "cpu-clock", "-o", &data, "--", "ls"]);
    assert!(record.output().unwrap().status.success());
    let line = without(&data, "v.perfbench").refused(2);
    assert!(line.contains("it is read by perf, since its stacks") && line.contains("apt"), "{line}");
}
