//! The commands beside a run: what they print, how they refuse, and that nothing from outside
//! reaches the terminal as a control sequence.
//!
//! Must not: need a terminal or more permissions than any user has.

#[macro_use]
mod screen_support;

use screen_support::{Demo, Ended, Folder, Running, adds_up, count, needed};
use std::path::Path;
use std::process::Command;

/// Fails when an output could move a terminal's cursor, colour it, or turn its text around.
#[track_caller]
fn is_plain(ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        let turns = |c: char| ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
        let raw = text.chars().find(|c| (c.is_control() && *c != '\n') || turns(*c));
        assert!(raw.is_none(), "{raw:?} in {text:?}");
    }
}

#[test]
fn doctor_tells_what_bites_and_what_mends_it() {
    let folder = Folder::new();
    let checks = folder.run(&["doctor", "--json"]).fine().json();
    let checks = checks.as_array().unwrap();
    let text = folder.run(&["doctor"]).fine();
    is_plain(&text);
    let names: Vec<&str> = checks.iter().map(|c| c["name"].as_str().unwrap()).collect();
    for name in [
        "perf",
        "kernel.perf_event_paranoid",
        "kernel.kptr_restrict",
        "open files",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_tw_reuse",
        "net.ipv4.tcp_timestamps",
        "net.core.somaxconn",
    ] {
        assert!(names.contains(&name), "no {name} in {names:?}");
        assert!(text.stdout.lines().any(|l| l.split_once(' ').unwrap().1.trim().starts_with(name)), "{}", text.stdout);
    }
    for check in checks {
        let word = |key: &str| check[key].as_str().unwrap();
        assert!(!word("value").is_empty() && !word("why").is_empty(), "{check}");
        match word("verdict") {
            "bites" => assert!(check["mend"].is_null() || text.stdout.contains(word("mend")), "{check}"),
            "good" => assert!(check["mend"].is_null(), "{check}"),
            other => assert_eq!(other, "unknown", "{check}"),
        }
    }
    let bites = checks.iter().filter(|c| c["verdict"] == "bites").count();
    assert!(text.stdout.trim_end().ends_with(&format!("{bites} of {} will bite", checks.len())), "{}", text.stdout);
    // It looks at this host, not at a constant.
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    let told = checks.iter().find(|c| c["name"] == "kernel.perf_event_paranoid").unwrap();
    if let Ok(paranoid) = paranoid {
        assert_eq!(told["value"].as_str().unwrap(), paranoid.trim());
    }
    // Without perf it says how to get it.
    let mut command = folder.perfbench(&["doctor", "--json"]);
    command.env("PATH", "/nonexistent");
    let without = Running::start(command).end().fine().json();
    let perf = without.as_array().unwrap().iter().find(|c| c["name"] == "perf").unwrap().clone();
    assert_eq!(perf["verdict"], "bites", "{perf}");
    assert!(perf["mend"].as_str().unwrap().contains("perf"), "{perf}");
}

#[test]
fn the_recorded_log_comes_to_its_figures() {
    let Some(log) = needed("logs/nginx-combined.log.gz") else { return };
    let folder = Folder::new();
    let found = folder.run(&["traffic", "--json", log.to_str().unwrap()]).fine().json();
    let expected = serde_json::json!({
        "format": "combined", "lines": 51_462, "requests": 51_462,
        "first": "2015-05-17T08:05:00Z", "last": "2015-06-04T07:06:52Z",
        "response_bytes": 33_939_678_630_u64,
        "methods": { "GET": 51_379, "HEAD": 83 },
        "statuses": { "200": 4028, "206": 186, "304": 13_330, "403": 38, "404": 33_876, "416": 4 },
        "skipped": {}, "outside_window": 0,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key}");
    }
    let text = folder.run(&["traffic", log.to_str().unwrap()]).fine();
    is_plain(&text);
    assert!(text.stdout.contains("51 462 to replay, of 51 462 lines"), "{}", text.stdout);
}

#[test]
fn junk_is_told_by_reason_and_place_and_sent_nowhere() {
    let Some(log) = needed("logs/nginx-malformed.log") else { return };
    let folder = Folder::new();
    let log = log.to_str().unwrap();
    let ended = folder.run(&["traffic", log]);
    is_plain(&ended);
    // What there was is shown all the same, with the place of the first of each kind.
    for part in ["0 to replay, of 12 lines", "TLS bytes           first at line 8"] {
        assert!(ended.stdout.contains(part), "no {part}: {}", ended.stdout);
    }
    let line = ended.stderr.trim_end();
    assert_eq!((ended.status.code(), line.lines().count()), (Some(2), 1), "{line}");
    let json = folder.run(&["traffic", "--json", log]);
    assert_eq!((json.status.code(), json.json()["requests"].as_u64()), (Some(2), Some(0)));
    for part in ["not one request in 12 lines", "1 TLS bytes", "combined", "the first line: 1.2.3.4"] {
        assert!(line.contains(part), "no {part}: {line}");
    }
    // Among requests the run goes on, and junk is counted with the place of its first.
    let good =
        folder.file("good.log", "1.2.3.4 - - [10/Oct/2025:13:00:00 +0000] \"GET /ok HTTP/1.1\" 200 5 \"-\" \"-\"\n");
    let found = folder.run(&["traffic", "--json", good.to_str().unwrap(), log]).fine().json();
    assert_eq!((&found["lines"], &found["requests"]), (&13.into(), &1.into()), "{found}");
    assert!(found["first_skipped"]["TLS bytes"].as_str().unwrap().ends_with("nginx-malformed.log:8"), "{found}");
    let demo = Demo::start(&folder);
    let session = folder.word("s.perfbench");
    let words = [&*demo.url, "--replay", good.to_str().unwrap(), log, "--json", "--record", &session];
    let report = folder.run(&words).fine().json();
    adds_up(&report);
    assert_eq!((count(&report, "offered"), count(&report, "sent")), (1, 1));
    assert_eq!(report["traffic"]["skipped"]["TLS bytes"], 1, "{}", report["traffic"]);
}

#[test]
fn what_is_no_session_is_refused_in_one_line() {
    let folder = Folder::new();
    let other = folder.path("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("create table t(x); insert into t values (1)").unwrap();
    let text = folder.file("notes.txt", "not a database, but longer than the header of one: ".repeat(20));
    let empty = folder.file("empty", "");
    let place = folder.path("state");
    let hostile = folder.file("a\u{1b}[31mb\u{9b}2J\nc", "x");
    let missing = folder.path("missing");
    for (file, what) in [
        (&missing, "no such session file"),
        (&other, "another program's SQLite file"),
        (&text, "is no SQLite file"),
        (&empty, "is empty"),
        (&place, "is no regular file"),
        (&hostile, "is no SQLite file"),
    ] {
        let before = std::fs::read(file).ok();
        let file = file.to_str().unwrap();
        for command in
            [&["report"][..], &["report", "--format", "json"], &["flamegraph"], &["flamegraph", "--folded"], &["play"]]
        {
            let ended = folder.run(&[command, &[file]].concat());
            is_plain(&ended);
            let line = ended.refused(2);
            assert!(line.contains(what), "{command:?}: {line}");
        }
        // Nor is it overwritten, whatever the user says.
        if Path::new(file).exists() && file != empty.to_str().unwrap() {
            let words = ["--requests", "1", "--record", file, "--overwrite"];
            let ended = folder.run(&words);
            is_plain(&ended);
            ended.refused(2);
        }
        assert_eq!(std::fs::read(file).ok(), before, "{file} was changed");
    }
    assert!(!folder.path("notes.svg").exists());
}

#[test]
fn wrong_use_is_told_in_a_line_and_starts_nothing() {
    let folder = Folder::new();
    let log = folder.file("a.log", "1.2.3.4 - - [10/Oct/2025:13:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"\n");
    let (log, session) = (log.to_str().unwrap(), folder.word("s.perfbench"));
    let record = ["--record", &*session];
    for (words, code, what) in [
        (&["ftp://127.0.0.1", "--replay", log][..], 2, "no target"),
        (&["http://127.0.0.1:1", "--replay", log], 1, "can't be reached"),
        (&["http://127.0.0.1:1", "--replay", "/nonexistent.log"], 2, "no such file"),
        (&["http://127.0.0.1:1", "--replay", log, "--format", "nonsense"], 2, "nonsense"),
        (&["http://127.0.0.1:1", "--replay", log, "--methods", "POST"], 2, "not one request"),
    ] {
        let line = folder.run(&[words, &record].concat()).refused(code);
        assert!(line.contains(what), "{words:?}: {line}");
        assert!(!Path::new(&session).exists(), "{words:?} has left a session");
    }
    // What clap refuses too.
    for words in [
        &["--rate", "0"][..],
        &["--rate", "5", "--speed", "2"],
        &["--connections", "0"],
        &["--duration", "soon"],
        &["--capture", "3s"],
        &["--nonsense"],
        &["report"],
        &["traffic"],
        &["doctor", "--nonsense"],
    ] {
        let line = folder.run(words).refused(2);
        assert!(line.ends_with("; --help says what there is") && !line.contains("panicked"), "{line}");
    }
    folder.left_clean(std::time::Duration::from_secs(1));
}

#[test]
fn help_names_every_command_and_fits() {
    let folder = Folder::new();
    // As wide as it wants to be.
    let help = |words: &[&str]| {
        let mut command = folder.perfbench(words);
        command.env("COLUMNS", "400");
        Running::start(command).end().fine()
    };
    let all = help(&["--help"]);
    for name in ["play", "report", "flamegraph", "diff", "doctor", "traffic"] {
        assert!(all.stdout.lines().any(|l| l.trim_start().starts_with(name)), "no {name} in {}", all.stdout);
        for short in ["--help", "-h"] {
            let one = help(&[name, short]);
            is_plain(&one);
            assert!(one.stdout.contains("Usage: perfbench ") && one.stdout.contains(name), "{}", one.stdout);
            let wide = one.stdout.lines().find(|l| l.chars().count() > 100);
            assert!(wide.is_none(), "{name} {short}: {wide:?}");
        }
    }
    for short in ["--help", "-h"] {
        let shown = help(&[short]);
        is_plain(&shown);
        assert!(shown.stdout.lines().all(|l| l.chars().count() <= 100), "{}", shown.stdout);
        for option in ["--replay", "--record", "--rate", "--speed", "--loop", "--duration", "--capture", "--no-session"]
        {
            assert!(shown.stdout.contains(option), "no {option} in {short}");
        }
    }
    let version = help(&["--version"]);
    assert_eq!(version.stdout.trim(), format!("perfbench {}", env!("CARGO_PKG_VERSION")));
    assert!(help(&["traffic", "--formats"]).stdout.contains("combined"));
}

#[test]
fn what_comes_from_outside_never_reaches_the_terminal_raw() {
    let folder = Folder::new();
    let line = |request: &str, agent: &str| {
        format!("1.2.3.4 - - [10/Oct/2025:13:00:00 +0000] \"{request}\" 200 5 \"-\" \"{agent}\"\n")
    };
    let log = [
        line("GET /product/7 HTTP/1.1", "-"),
        // Raw, as a careless server writes it; escaped, as nginx does; as C1 and as bidi controls.
        line("GET /product/7 HTTP/1.1", "\u{1b}]0;title\u{7}"),
        line("GET /raw\u{1b}[31mred HTTP/1.1", "-"),
        line("GET /escaped\\x1b[31mred HTTP/1.1", "\\x1B[2J"),
        line("GET /c1\u{9b}31mred HTTP/1.1", "\u{9b}2J"),
        line("GET /bidi\u{202e}der HTTP/1.1", "\u{202e}der"),
        line("GET /percent%1b%5b31m?\\x1b[31m HTTP/1.1", "-"),
        line("\u{1b}[2J\u{1b}[H HTTP/1.1", "-"),
        line("PUT\u{1b}[31m /x HTTP/1.1", "-"),
        line("BREW\u{1b} /x HTTP/1.1", "-"),
        "\u{1b}[31m not a log line at all \u{1b}[0m\n".into(),
    ];
    let log = folder.file("h\u{1b}[31mx.log", log.concat());
    let log = log.to_str().unwrap();
    for words in [&["traffic", log][..], &["traffic", "--json", log], &["traffic", "--format", "\u{1b}[31m", log]] {
        let ended = folder.run(words);
        is_plain(&ended);
    }
    let demo = Demo::start(&folder);
    let session = folder.word("s\u{1b}[31m.perfbench");
    let words = [&*demo.url, "--replay", log, "--requests", "60", "--rate", "100", "--record", &session];
    let ended = folder.run(&words).fine();
    is_plain(&ended);
    assert!(ended.stdout.contains("/product/{}") || ended.stdout.contains("/product/"), "{}", ended.stdout);
    for words in [
        &["report", &*session][..],
        &["report", &session, "--format", "json"],
        &["flamegraph", &session],
        &["play", &session],
        &["\u{1b}[31m", "--record", "x.perfbench"],
        &["http://\u{1b}[31m", "--record", "x.perfbench"],
    ] {
        is_plain(&folder.run(words));
    }
    // A log of nothing else: the first line is quoted.
    let junk = folder.file("junk.log", "\u{1b}[31m\u{9b}2J\u{202e} junk\n".repeat(20));
    let ended = folder.run(&["traffic", junk.to_str().unwrap()]);
    is_plain(&ended);
    assert!(ended.refused(2).contains("the first line"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let folder = Folder::new();
    let demo = Demo::start(&folder);
    let log = folder.file("a.log", "1.2.3.4 - - [10/Oct/2025:13:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"\n");
    let session = folder.word("s.perfbench");
    folder.run(&[&*demo.url, "--replay", log.to_str().unwrap(), "--requests", "20", "--record", &session]).fine();
    for command in ["report s.perfbench", "report s.perfbench --format json", "doctor", "traffic --json a.log"] {
        let mut sh: Command = folder.program("sh");
        sh.env("PB", env!("CARGO_BIN_EXE_perfbench"));
        sh.args(["-c", &format!("\"$PB\" {command} | true; \"$PB\" {command} | head -n 1 >/dev/null")]);
        let ended = Running::start(sh).end().fine();
        assert_eq!(ended.stderr, "", "{command}");
    }
    // A place that cannot be written is said in one line.
    let line = folder.run(&["report", "s.perfbench", "--format", "html"]);
    assert_eq!(line.status.code(), Some(2));
}
