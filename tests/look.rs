//! Looking at recorded traffic, choosing from it, changing it and writing it down: the room's
//! promises from outside, and the command as a user runs it.
//!
//! Must not: send anything; rely on material of others when it is not there.

#[macro_use]
mod screen_support;

use perfbench::model::{Body, Method, Request};
use perfbench::traffic::{Filter, MethodFilter, Moment, NOTATIONS, Options, Reader, Rewrite, Sieve, Source, Writer};
use proptest::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use screen_support::{Demo, Ended, Folder, adds_up, count, needed, within};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::process::Stdio;

/// A small log: two hours, four clients, six paths, three methods, five statuses; a pure function
/// of the number of the line.
fn line(n: u64) -> String {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let path = ["/", "/product/17?ref=mail", "/product/4", "/users/anna/orders/9", "/health", "/a?utm_id=1&q=2"];
    let path = path[(mixed % 6) as usize];
    let method = ["GET", "GET", "GET", "HEAD", "POST"][(mixed / 6 % 5) as usize];
    let status = [200, 200, 304, 404, 503][(mixed / 30 % 5) as usize];
    let (client, second) = (mixed / 150 % 4, n * 7 % 7200);
    format!(
        "192.0.2.{client} - - [10/Oct/2025:{:02}:{:02}:{:02} +0000] \"{method} {path} HTTP/1.1\" {status} 5 \"-\" \"old/1\"\n",
        13 + second / 3600,
        second / 60 % 60,
        second % 60
    )
}

fn log(lines: u64) -> String {
    (0..lines).map(line).collect()
}

fn read(text: &str, options: Options) -> (Vec<Request>, Reader) {
    let source = Source::Stream { name: "log".into(), stream: Box::new(Cursor::new(text.as_bytes().to_vec())) };
    let mut reader = Reader::open_sources(vec![source], options).unwrap();
    let (mut request, mut all) = (Reader::blank(), Vec::new());
    // Nothing left is an error of its own and no matter here.
    while reader.next(&mut request).unwrap_or(false) {
        all.push(request.clone());
    }
    let counts = reader.counts();
    let skipped: u64 = counts.skipped.iter().map(|s| s.count).sum();
    assert_eq!((counts.lines, counts.requests), (text.lines().count() as u64, all.len() as u64));
    assert_eq!(counts.lines, counts.requests + skipped, "{counts:?}");
    (all, reader)
}

fn everything() -> Options {
    Options { methods: MethodFilter::All, window_ns: 7_200_000_000_000, ..Options::default() }
}

/// What a request is, without the moment in its second.
fn content(r: &Request) -> String {
    let second = r.recorded_unix_ns.div_euclid(1_000_000_000);
    format!("{second} {} {} {:?} {}", r.method, r.path, r.recorded_status, r.client)
}

/// A filter and what it means, written another way.
type Meaning = (&'static str, fn(&Request) -> bool);

const FILTERS: &[Meaning] = &[
    ("method=get", |r| r.method.as_str() == "GET"),
    ("method=POST,HEAD", |r| r.method.as_str() != "GET"),
    ("status=2xx", |r| r.recorded_status.is_some_and(|s| s / 100 == 2)),
    ("status=404,500-599", |r| r.recorded_status.is_some_and(|s| s == 404 || s >= 500)),
    ("route=/product/{}", |r| r.path.starts_with("/product/")),
    ("route=/users/**", |r| r.path.starts_with("/users/")),
    (r"path=\?.*q=\d$", |r| r.path.ends_with("q=2")),
    ("path=^/$", |r| r.path == "/"),
    ("host=none", |_| true),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_sieve_keeps_exactly_what_it_says(
        only in prop::collection::vec(0..FILTERS.len(), 0..4),
        skip in prop::collection::vec(0..FILTERS.len() - 1, 0..3),
        from in prop::option::of(0i64..7200),
        to in prop::option::of(0i64..7200),
    ) {
        let text = log(300);
        let (all, _) = read(&text, everything());
        let start = 1_760_101_200; // date -u -d '2025-10-10 13:00:00' +%s
        let filters = only.iter().map(|n| Filter::only(FILTERS[*n].0).unwrap());
        let filters = filters.chain(skip.iter().map(|n| Filter::skip(FILTERS[*n].0).unwrap())).collect();
        let from_moment = from.map(|s| format!("+{s}s").parse().unwrap());
        let to_moment = to.map(|s| Moment::At((start + s) * 1_000_000_000));
        let sieve = Sieve { filters, from: from_moment, to: to_moment, sample: None };
        let (kept, _) = read(&text, Options { sieve, ..everything() });
        let key = |n: usize| FILTERS[n].0.split('=').next().unwrap();
        let passes = |r: &&Request| {
            let second = r.recorded_unix_ns.div_euclid(1_000_000_000) - start;
            let one_of_each_key = only.iter().all(|n| only.iter().any(|m| key(*m) == key(*n) && FILTERS[*m].1(r)));
            one_of_each_key
                && !skip.iter().any(|n| FILTERS[*n].1(r))
                && from.is_none_or(|f| second >= f)
                && to.is_none_or(|t| second < t)
        };
        let expected: Vec<String> = all.iter().filter(passes).map(content).collect();
        prop_assert_eq!(kept.iter().map(content).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_sample_keeps_all_requests_of_a_client_or_none_and_the_same_again() {
    let clients = |requests: &[Request]| requests.iter().map(|r| r.client).collect::<HashSet<u64>>();
    let mut text = String::new();
    for n in 0..2000 {
        let _ = writeln!(
            text,
            "10.0.{}.{} - - [10/Oct/2025:13:00:{:02} +0000] \"GET /{n} HTTP/1.1\" 200 5 \"-\" \"-\"",
            n % 400 / 200,
            n % 200,
            n / 40
        );
    }
    let (all, _) = read(&text, Options::default());
    let sampled = |seed| {
        let sieve = Sieve { sample: Some("25%".parse().unwrap()), ..Sieve::default() };
        read(&text, Options { sieve, seed, ..Options::default() })
    };
    let (some, reader) = sampled(1);
    let (chosen, everyone) = (clients(&some), clients(&all));
    // Of 400 clients 100 are expected, standard deviation 8.7.
    assert!(everyone.len() == 400 && (60..140).contains(&chosen.len()), "{}", chosen.len());
    assert_eq!(some.len(), all.iter().filter(|r| chosen.contains(&r.client)).count());
    assert_eq!(&*reader.counts().skipped[0].reason, "left out by --sample 25%");
    assert_eq!(some, sampled(1).0);
    assert_ne!(chosen, clients(&sampled(2).0));
}

#[test]
fn a_repeated_recording_is_chosen_and_changed_alike() {
    let folder = Folder::new();
    // Without clients the sample is by request: that too must come out the same.
    let text: String = (0..50).map(|n| format!("-{}", &line(n)["192.0.2.1".len()..])).collect();
    let path = folder.file("a.log", text);
    let sieve = Sieve { sample: Some("50%".parse().unwrap()), ..Sieve::default() };
    let rewrite = Rewrite { prefixes: vec!["/=/shop/".parse().unwrap()], ..Rewrite::default() };
    let mut reader = Reader::open(&[path], Options { sieve, rewrite, ..everything() }).unwrap();
    let mut pass = || {
        let (mut request, mut all) = (Reader::blank(), Vec::new());
        while reader.next(&mut request).unwrap() {
            all.push(request.clone());
        }
        let counts = reader.counts();
        reader.reopen().unwrap();
        (all, counts.lines, counts.requests, counts.skipped)
    };
    let first = pass();
    assert!(first.0.iter().all(|r| r.client == 0 && r.path.starts_with("/shop/")));
    assert!(!first.0.is_empty() && first.0.len() < 50);
    assert_eq!(pass(), first);
}

#[test]
fn what_another_notation_holds_comes_back_from_it() {
    let folder = Folder::new();
    let full = |n: i64| Request {
        recorded_unix_ns: 1_760_101_200_000_000_000 + n * 1_500_000_007,
        method: if n % 3 == 0 { Method::Post } else { Method::Get },
        path: format!("/item/{n}?q=%22{n}"),
        host: Some(format!("h{}.example:8080", n % 2)),
        headers: vec![("X-N".into(), n.to_string()), ("Accept".into(), "a, b".into())],
        body: Body(if n % 3 == 0 { format!("line\r\n\r\n{n}").into_bytes() } else { Vec::new() }),
        ..Reader::blank()
    };
    let requests: Vec<Request> = (0..40).map(full).collect();
    for (name, format, is_timed, is_whole, only_get) in [
        ("gor", "goreplay", true, true, false),
        ("vegeta-json", "vegeta_json", false, true, false),
        ("uri", "tank_uri", false, false, true),
        ("urls", "urls", false, false, false),
    ] {
        let notation = NOTATIONS.iter().find(|n| n.name == name).unwrap();
        let path = folder.path(name);
        let mut writer = Writer::create(&path, notation, None, false).unwrap();
        requests.iter().for_each(|r| writer.write(r).unwrap());
        let written = writer.finish().unwrap();
        let mut reader = Reader::open(&[path], everything()).unwrap();
        assert_eq!(reader.choices()[0].format, format);
        let expected: Vec<&Request> = requests.iter().filter(|r| !only_get || r.method == Method::Get).collect();
        assert_eq!(written.requests, expected.len() as u64);
        let mut found = Reader::blank();
        for r in expected {
            assert!(reader.next(&mut found).unwrap(), "{name}");
            assert_eq!((&found.method, &found.path, &found.host), (&r.method, &r.path, &r.host), "{name}");
            assert_eq!(reader.has_time(), is_timed);
            assert!(!is_timed || found.recorded_unix_ns == r.recorded_unix_ns, "{name}");
            if is_whole {
                let mut fields = found.headers.clone();
                fields.sort_by_key(|(name, _)| std::cmp::Reverse(name.clone()));
                assert_eq!((&fields, &found.body), (&r.headers, &r.body), "{name}");
            }
        }
        assert!(!reader.next(&mut found).unwrap(), "{name}");
    }
}

/// The figures of a look as `--json` has them.
fn look(folder: &Folder, words: &[&str]) -> Value {
    let found = folder.run(&[&["traffic", "--json"], words].concat()).fine().json();
    let skipped: u64 = found["skipped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(found["lines"].as_u64().unwrap(), found["requests"].as_u64().unwrap() + skipped, "{found}");
    found
}

#[track_caller]
fn fits(ended: &Ended, columns: usize) {
    let wide = ended.stdout.lines().find(|l| l.chars().count() > columns);
    assert!(wide.is_none(), "{wide:?} in {}", ended.stdout);
}

#[test]
fn what_is_asked_for_is_what_is_shown_and_written() {
    let folder = Folder::new();
    let log = folder.file("a.log", log(500));
    let log = log.to_str().unwrap();
    let plain = look(&folder, &[log]);
    assert!(plain["requests"].as_u64().unwrap() > 100 && plain["skipped"]["method POST not replayed"].is_u64());
    let words = [
        log,
        "--methods",
        "all",
        "--only",
        "status=200",
        "--skip",
        "path=^/health",
        "--rewrite-path",
        "/product/=/item/",
        "--drop-query",
        "utm_*",
        "--set-query",
        "test=1",
        "--route",
        "/users/{}/**",
        "--speed",
        "2",
    ];
    let found = look(&folder, &words);
    let replay = &found["replay"];
    assert_eq!(replay["statuses"], json!({ "200": found["requests"] }), "{replay}");
    let mut routes: Vec<&str> = replay["routes"].as_object().unwrap().keys().map(|k| k.as_str()).collect();
    routes.sort_unstable();
    assert_eq!(routes, ["/", "/a", "/item/{}", "/users/{}/**"], "{replay}");
    assert!(found["skipped"]["not --only status=200"].is_u64() && found["skipped"]["--skip path=^/health"].is_u64());
    assert_eq!(replay["duration_s"].as_f64().unwrap() * 2.0, replay["span_s"].as_f64().unwrap());
    let bins: u64 = found["rate"]["bins"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(bins, found["requests"].as_u64().unwrap());

    // Written, and read again without any of it: the same requests.
    for name in ["b.log", "b.log.gz", "b.log.zst"] {
        let file = folder.word(name);
        let write = [&words[..], &["--write", &file, "--write-format", "combined"]].concat();
        let written = look(&folder, &write)["written"].clone();
        assert_eq!((&written["requests"], &written["left_out"]), (&found["requests"], &json!({})), "{written}");
        let again = look(&folder, &[&file, "--methods", "all", "--route", "/users/{}/**"]);
        for key in ["methods", "statuses", "routes", "clients"] {
            assert_eq!(again["replay"][key], replay[key], "{key}");
        }
        assert_eq!((&again["skipped"], &again["out_of_order"]), (&json!({}), &json!(0)));
        assert_eq!(again["rate"]["peak_per_s"], found["rate"]["peak_per_s"]);
        // Not a second time unless asked for.
        let refused = folder.run(&[&["traffic"], &write[..]].concat()).refused(2);
        assert!(refused.contains("exists already") && refused.contains("--overwrite"), "{refused}");
        folder.run(&[&["traffic"], &write[..], &["--overwrite"]].concat()).fine();
    }
}

#[test]
fn requests_go_to_standard_output_alone() {
    let folder = Folder::new();
    let log = folder.file("a.log", log(50));
    let ended = folder.run(&["traffic", log.to_str().unwrap(), "--write", "-"]).fine();
    let lines: Vec<Value> = ended.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(lines.iter().all(|l| l["v"] == "perfbench-1" && l["uri"].is_string() && l["client"].is_string()));
    assert!(ended.stdout.starts_with("{\"v\":\"perfbench-1\",\"time\":17601"), "{}", ended.stdout);
    assert!(
        ended.stderr.starts_with(&format!("wrote {} requests to standard output", lines.len())),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_look_is_readable_in_any_width_and_alphabet() {
    let folder = Folder::new();
    let mut text = log(200);
    for n in 0..300 {
        let word: String = format!("{n:03}").bytes().map(|b| char::from(b - b'0' + b'a')).collect();
        let _ = writeln!(
            text,
            "192.0.2.9 - - [10/Oct/2025:14:00:00 +0000] \"GET /{}x{word}/y HTTP/1.1\" 200 5 \"-\" \"-\"",
            "long-".repeat(n % 30)
        );
    }
    text += "junk\n";
    let log = folder.file("a.log", text);
    let log = log.to_str().unwrap();
    for (columns, ascii) in [("80", false), ("80", true), ("100", false), ("60", true)] {
        let mut words = vec!["traffic", log];
        words.extend(ascii.then_some("--ascii"));
        let mut command = folder.perfbench(&words);
        command.env("COLUMNS", columns);
        let ended = screen_support::Running::start(command).end().fine();
        // The first line is the file's name, as long as that is.
        let rest = Ended { stdout: ended.stdout.lines().skip(1).map(|l| format!("{l}\n")).collect(), ..ended };
        fits(&rest, columns.parse().unwrap());
        assert!(!ascii || rest.stdout.is_ascii(), "{}", rest.stdout);
        for part in
            ["to replay, of 501 lines", "requests per second", "more routes", "(other routes) are", "--max-routes"]
        {
            assert!(rest.stdout.replace('\n', " ").contains(part), "no {part} in {}", rest.stdout);
        }
        for part in
            ["not in the log format", "first at line 501", "missing for a faithful replay", "fractions of seconds"]
        {
            assert!(rest.stdout.contains(part), "no {part} in {}", rest.stdout);
        }
    }
}

#[test]
fn a_run_chooses_and_changes_as_the_look_does() {
    let folder = Folder::new();
    let log = folder.file("a.log", log(200));
    let log = log.to_str().unwrap();
    let choice = ["--only", "status=200", "--skip", "route=/health", "--sample", "60%", "--route", "/item/**"];
    let change = ["--rewrite-path", "/product/=/item/", "--seed", "3"];
    let found = look(&folder, &[&[log][..], &choice, &change].concat());
    let demo = Demo::start(&folder);
    let session = folder.word("s.perfbench");
    let words = [&*demo.url, "--replay", log, "--json", "--record", &session];
    let report = folder.run(&[&words[..], &choice, &change].concat()).fine().json();
    adds_up(&report);
    assert_eq!(count(&report, "sent"), found["requests"].as_u64().unwrap());
    assert_eq!(report["traffic"]["skipped"], found["skipped"], "{}", report["traffic"]);
    let routes: Vec<&str> = report["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["route"].as_str().or(r["name"].as_str()).unwrap())
        .collect();
    let expected = found["replay"]["routes"].as_object().unwrap();
    assert!(routes.contains(&"/item/**") && routes.len() == expected.len(), "{routes:?} {expected:?}");
}

#[test]
fn an_end_in_the_middle_leaves_no_part_of_a_file() {
    let folder = Folder::new();
    let file = folder.path("out/b.jsonl");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let parts = || std::fs::read_dir(file.parent().unwrap()).unwrap().count();
    // It reads from a pipe that stays open: without the signal it would not end.
    let mut command = folder.perfbench(&["traffic", "-", "--write", file.to_str().unwrap()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(log(20_000).as_bytes()).unwrap();
    assert!(within(screen_support::PATIENCE, || parts() == 1), "nothing is being written");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = within(screen_support::PATIENCE, || child.try_wait().unwrap().is_some());
    if !ended {
        child.kill().unwrap();
    }
    assert!(ended && !child.wait().unwrap().success());
    assert_eq!(parts(), 0);
    drop(pipe);
}

#[test]
fn contradictions_are_told_in_one_line() {
    let folder = Folder::new();
    let log = folder.file("a.log", log(20));
    let log = log.to_str().unwrap();
    for (words, part) in [
        (&["--only", "method=POST"][..], "add --methods POST"),
        (&["--from", "+5m", "--to", "+1m"], "--to is not after --from"),
        (&["--write", "x.xz"], ".xz is not written here"),
        (&["--write", "/dev/null", "--overwrite"], "no regular file"),
    ] {
        let refused = folder.run(&[&["traffic", log], words].concat()).refused(2);
        assert!(refused.contains(part), "{refused}");
    }
    // What was held back is shown, and that nothing is left is told.
    let nothing = folder.run(&["traffic", log, "--only", "path=^/nothing"]);
    assert_eq!((nothing.status.code(), nothing.stderr.lines().count()), (Some(2), 1), "{nothing:?}");
    assert!(
        nothing.stderr.contains("not one request in 20 lines") && !nothing.stderr.contains("--methods"),
        "{nothing:?}"
    );
    assert!(nothing.stdout.contains("17  not --only path=^/nothing  first at line 1"), "{nothing:?}");
    for words in [&["--only", "status=9"][..], &["--sample", "0%"], &["--from", "noon"], &["--overwrite"]] {
        let ended = folder.run(&[&["traffic", log], words].concat());
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    }
    assert!(!folder.path("x.xz").exists());
}

#[test]
fn the_real_log_written_and_read_again_is_the_same() {
    let Some(log) = needed("logs/nginx-combined.log.gz") else { return };
    let folder = Folder::new();
    let file = folder.word("b.gz");
    let found = look(&folder, &[log.to_str().unwrap(), "--write", &file, "--write-format", "combined"]);
    assert_eq!(found["replay"]["methods"], json!({ "GET": 51_379, "HEAD": 83 }));
    let statuses = json!({ "200": 4028, "206": 186, "304": 13_330, "403": 38, "404": 33_876, "416": 4 });
    assert_eq!(found["replay"]["statuses"], statuses);
    let routes = json!({ "/downloads/product_1": 30_285, "/downloads/product_2": 21_104, "/downloads/product_3": 73 });
    assert_eq!(found["replay"]["routes"], routes);
    assert_eq!(found["rate"]["peak_per_s"], 10);
    let again = look(&folder, &[&file]);
    for key in ["methods", "statuses", "routes", "clients", "header_fields"] {
        assert_eq!(again["replay"][key], found["replay"][key], "{key}");
    }
    assert_eq!((&again["first"], &again["last"]), (&found["first"], &found["last"]));
    // Independently counted: zcat | awk '{n[$9]++; r[$7]++}' gives the figures above, and by the second
    // awk '{s[$4]++} END {for (t in s) if (s[t] > m) m = s[t]; print m}' the peak.
}
