//! Sessions whose writer was killed, ran out of disk, or lie where nothing can be written.
//!
//! The child processes are this test binary itself, started with [`ROLE`] set.
//!
//! Must not: end any process but its own children.

use perfbench::model::*;
use perfbench::session::{Reader, SessionError, Writer};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Environment variable that makes the test `child` act: as what, for the file in [`FILE`].
const ROLE: &str = "PERFBENCH_TEST_ROLE";
const FILE: &str = "PERFBENCH_TEST_FILE";
/// Event time from one event of a child to its next.
const STEP_NS: u64 = 20_000_000;
/// An id that owns nothing: `nobody` on Linux.
const NOBODY: u32 = 65534;

macro_rules! skip {
    ($needs:expr) => {{
        assert!(std::env::var_os("PERFBENCH_NO_SKIP").is_none(), "needs {}", $needs);
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: needs {}\n", $needs).as_bytes());
        return;
    }};
}

/// The `n`th event of a child.
fn event(n: u64) -> Event {
    let at = At(n * STEP_NS);
    match n % 4 {
        0 => Event::Mark(Mark { at, kind: Default::default(), label: format!("mark {n}") }),
        1 => Event::Fault(Fault { at, place: "test".into(), what: "x".repeat((n % 300) as usize), mend: None }),
        _ => Event::Readings(Readings {
            at,
            sampler: "test".into(),
            took_ns: n,
            values: (0..50)
                .map(|i| Reading {
                    metric: Metric::ALL[(i + n as usize) % Metric::ALL.len()],
                    instance: i.to_string().into(),
                    value: n as i64,
                })
                .collect(),
        }),
    }
}

fn start(role: &str, file: &Path) -> Command {
    start_from(&std::env::current_exe().unwrap(), role, file)
}

fn start_from(program: &Path, role: &str, file: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(ROLE, role).env(FILE, file);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a child process does; nothing in a test run.
#[test]
fn child() {
    let (Ok(role), Some(file)) = (std::env::var(ROLE), std::env::var_os(FILE).map(PathBuf::from)) else { return };
    match role.as_str() {
        "write for ever" => {
            let mut writer = Writer::create(&file, true).unwrap();
            for n in 0.. {
                writer.write(&event(n)).unwrap();
                println!("wrote {n}");
            }
        }
        "write until the limit" => {
            let limit = rustix::process::Rlimit { current: Some(400_000), maximum: None };
            rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
            // The system sends SIGXFSZ too; taken, the write itself fails with EFBIG.
            let taken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), taken).unwrap();
            let mut writer = Writer::create(&file, false).unwrap();
            let (n, e) = (0..).find_map(|n| writer.write(&event(n)).err().map(|e| (n, e))).unwrap();
            assert_eq!(writer.write(&event(0)), Err(e.clone()));
            println!("stopped {n}");
            println!("because {e}");
        }
        "read" => match Reader::open(&file) {
            Ok(mut reader) => println!("read {}", reader.next_batch(60_000).unwrap().len()),
            Err(e) => println!("because {e}"),
        },
        other => panic!("no role {other}"),
    }
}

/// The number after the last `word ` at the start of a line.
fn said(lines: &[String], word: &str) -> Option<u64> {
    lines.iter().rev().find_map(|line| line.split_once(word)?.1.trim().parse().ok())
}

fn output(mut command: Command) -> Vec<String> {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}

fn read_all(path: &Path) -> (Vec<Event>, Reader) {
    let mut reader = Reader::open(path).unwrap();
    let mut events = Vec::new();
    loop {
        let batch = reader.next_batch(1000).unwrap();
        if batch.is_empty() {
            return (events, reader);
        }
        events.extend(batch);
    }
}

#[test]
fn a_killed_writer_loses_less_than_its_last_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.perfbench");
    let mut in_all = 0;
    for round in 0..20u64 {
        // The same file again and again: a crashed session can be overwritten as any other.
        let mut child = start("write for ever", &path).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = Vec::new();
        while said(&lines, "wrote ").is_none() {
            lines.push(out.next().expect("the child ended").unwrap());
            assert!(lines.len() < 20, "{lines:?}");
        }
        let follower = (round % 4 == 0).then(|| Reader::open(&path).unwrap());
        if let Some(reader) = &follower {
            assert!(reader.is_being_recorded());
        }
        // Rounds end at different points of commits and checkpoints.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(round * 17 % 200));
                child.kill().unwrap();
            });
            lines.extend(out.map_while(Result::ok));
        });
        child.wait().unwrap();
        let last = said(&lines, "wrote ").unwrap();
        drop(follower);

        let (events, reader) = read_all(&path);
        assert!(!reader.is_being_recorded() && !reader.is_closed());
        assert!(events.iter().zip(0..).all(|(read, n)| *read == event(n)), "other events than were written");
        let kept = events.len() as u64;
        assert!((last - kept.min(last)) * STEP_NS <= 1_000_000_000, "{kept} of {last} events");
        assert_eq!(reader.unread().events, 0);
        in_all += last;
    }
    assert!(in_all > 1000, "killed too early to mean anything: {in_all} events in all");
}

#[test]
fn a_write_that_the_system_refuses_stops_recording_and_loses_nothing_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("limited.perfbench");
    let lines = output(start("write until the limit", &path));
    let stopped = said(&lines, "stopped ").unwrap();
    let why = lines.iter().find(|line| line.contains("because ")).unwrap();
    assert!(why.contains("limited.perfbench") && why.contains("space and quota"), "{why}");
    let (events, reader) = read_all(&path);
    assert!(events.iter().zip(0..).all(|(read, n)| *read == event(n)));
    assert!(!events.is_empty() && stopped - events.len() as u64 <= 50, "{} of {stopped}", events.len());
    assert!(!reader.is_closed());
}

/// A folder that nobody but us can write, and a copy of this program that everybody can start.
fn read_only_stage(folder: &Path) -> PathBuf {
    let program = folder.join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let locked = folder.join("locked");
    std::fs::create_dir(&locked).unwrap();
    for open in [folder, &program, &locked] {
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    program
}

#[test]
fn a_finished_session_opens_where_nothing_can_be_written_and_a_crashed_one_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let program = read_only_stage(folder.path());
    let locked = folder.path().join("locked");
    let finished = locked.join("fin ished?100%.perfbench");
    let mut writer = Writer::create(&finished, false).unwrap();
    (0..10).for_each(|n| writer.write(&event(n)).unwrap());
    writer.finish().unwrap();

    // Finished while a reader followed: still in WAL mode, without companions.
    let followed = locked.join("fol?lowed#.perfbench");
    let mut writer = Writer::create(&followed, false).unwrap();
    let reader = Reader::open(&followed).unwrap();
    (0..10).for_each(|n| writer.write(&event(n)).unwrap());
    writer.finish().unwrap();
    drop(reader);

    let crashed = locked.join("crashed.perfbench");
    let mut child = start("write for ever", &crashed).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let far = |line: &String| said(std::slice::from_ref(line), "wrote ").is_some_and(|n| n > 100);
    assert!(out.by_ref().map_while(Result::ok).any(|line| far(&line)));
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(locked.join("crashed.perfbench-shm")).unwrap();
    for entry in std::fs::read_dir(&locked).unwrap() {
        std::fs::set_permissions(entry.unwrap().path(), std::fs::Permissions::from_mode(0o444)).unwrap();
    }
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();

    let as_reader = |file: &Path| {
        let mut command = start_from(&program, "read", file);
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    };
    if as_reader(&finished).output().is_err() {
        skip!("to start a program as another user");
    }
    assert_eq!(said(&output(as_reader(&finished)), "read "), Some(10));
    assert_eq!(said(&output(as_reader(&followed)), "read "), Some(10));
    let lines = output(as_reader(&crashed));
    assert!(lines.iter().any(|l| l.contains("because ") && l.contains("copy ") && l.contains("-wal")), "{lines:?}");

    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o755)).unwrap();
    for suffix in ["", "-wal"] {
        let (from, to) = (format!("crashed.perfbench{suffix}"), format!("copy{suffix}"));
        std::fs::copy(locked.join(from), folder.path().join(&to)).unwrap();
        std::fs::set_permissions(folder.path().join(to), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let copy = folder.path().join("copy");
    assert!(read_all(&copy).0.len() > 80);
    assert!(!folder.path().join("copy-wal").exists(), "the log was not folded in");
    assert!(read_all(&copy).0.len() > 80);
}

#[test]
fn a_writer_dropped_without_an_end_leaves_everything_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dropped.perfbench");
    let mut writer = Writer::create(&path, false).unwrap();
    (0..7).for_each(|n| writer.write(&event(n)).unwrap());
    drop(writer);
    let (events, reader) = read_all(&path);
    assert_eq!(events.len(), 7);
    assert!(!reader.is_closed() && !reader.is_being_recorded());
}

#[test]
fn damage_in_the_middle_is_an_error_after_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hurt.perfbench");
    let mut writer = Writer::create(&path, false).unwrap();
    (0..2000).for_each(|n| writer.write(&event(n)).unwrap());
    writer.finish().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2 / 4096 * 4096;
    std::fs::write(folder.path().join("cut.perfbench"), &bytes[..half]).unwrap();
    let cut = Reader::open(&folder.path().join("cut.perfbench")).map(drop);
    assert!(matches!(cut, Err(SessionError::Corrupt { .. })), "{cut:?}");

    bytes[half..].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    let mut given = Vec::new();
    let e = loop {
        match reader.next_batch(100) {
            Ok(batch) if batch.is_empty() => panic!("the damage was not noticed"),
            Ok(batch) => given.extend(batch),
            Err(e) => break e,
        }
    };
    assert!(matches!(e, SessionError::Corrupt { .. }), "{e}");
    assert_eq!(reader.next_batch(100), Err(e));
    assert!(given.len() > 200 && given.iter().zip(0..).all(|(read, n)| *read == event(n)), "{}", given.len());
}
