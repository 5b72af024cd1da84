//! A disk that fills up in the middle of a run: recording stops and says so, the load does not.
//!
//! Must not: fill a disk of the machine; the full one is a few hundred kilobytes of memory,
//! mounted where only the test sees it.

#[macro_use]
mod screen_support;

use perfbench::session::Reader;
use screen_support::{Demo, Folder, Running, adds_up, count};
use std::process::{Command, Stdio};

/// The words that give a program mounts of its own, if that is permitted here.
fn unshare() -> Option<Vec<&'static str>> {
    let ways = [vec!["--mount"], vec!["--map-root-user", "--mount"]];
    ways.into_iter().find(|way| {
        let mut probe = Command::new("unshare");
        probe.args(way).args(["sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]);
        probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    })
}

#[test]
fn a_full_disk_stops_the_recording_and_not_the_load() {
    let Some(unshare) = unshare() else { skip!("root, or a user namespace, to mount a small disk") };
    let folder = Folder::new();
    let demo = Demo::start(&folder);
    std::fs::create_dir(folder.path("disk")).unwrap();
    // Recorded on the small disk, and copied from it before it goes with its namespace.
    let script = r#"
        mount -t tmpfs -o size=400k none disk || exit 90
        "$PB" "$TARGET" --replay log --rate 300 --duration 5s --json --record disk/s.perfbench
        echo $? >code
        df -k disk >df
        "$PB" report disk/s.perfbench --format json >kept.json 2>kept.err
        echo $? >kept.code
        cp disk/* copy/
    "#;
    std::fs::create_dir(folder.path("copy")).unwrap();
    folder.file("log", "192.0.2.1 - - [10/Oct/2025:13:00:00 +0000] \"GET /product/7 HTTP/1.1\" 200 5 \"-\" \"-\"\n");
    let mut command = folder.program("unshare");
    command.args(unshare).args(["sh", "-c", script]);
    command.env("PB", env!("CARGO_BIN_EXE_perfbench")).env("TARGET", &demo.url);
    let ended = Running::start(command).end();
    let read = |name: &str| std::fs::read_to_string(folder.path(name)).unwrap().trim().to_owned();

    // The load went on to its end.
    let report = ended.json();
    adds_up(&report);
    assert!(count(&report, "offered").abs_diff(1500) <= 1, "{}", report["requests"]);
    assert_eq!(count(&report, "completed"), count(&report, "offered"), "{}", report["outcomes"]);
    // What happened is in the report, on stderr and in the exit code.
    let faults = report["faults"].as_array().unwrap();
    let told = faults.iter().filter(|f| f["what"].as_str().unwrap().contains("the disk is full")).count();
    assert_eq!(told, 1, "{faults:?}");
    assert!(
        ended.stderr.contains("recording has stopped") && ended.stderr.contains("disk is full"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("df -h"), "it says what to do: {}", ended.stderr);
    let claimed = ended.stderr.lines().any(|l| l.starts_with("session: "));
    assert!(!claimed, "no whole session is claimed: {}", ended.stderr);
    assert_eq!(read("code"), "1", "{}", ended.stderr);

    // What was kept opens: there on the full disk, where it lies, and elsewhere.
    let full = format!("on the full disk: {}; {}", read("kept.err"), read("df"));
    assert_eq!(read("kept.code"), "0", "{full}");
    let kept: serde_json::Value = serde_json::from_str(&read("kept.json")).unwrap();
    let copy = folder.word("copy/s.perfbench");
    assert_eq!(folder.run(&["report", &copy, "--format", "json"]).fine().json(), kept);
    let kept = count(&kept, "completed");
    assert!((1..count(&report, "completed")).contains(&kept), "{kept} requests were kept");
    assert!(!Reader::open(copy.as_ref()).unwrap().is_closed());
    drop(demo);
    folder.left_clean(std::time::Duration::from_secs(5));
}
