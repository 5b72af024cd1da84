//! Every way to say what is sent and when, seen from the target's side.
//!
//! Must not: depend on how fast the machine is, beyond that it gets a turn now and then.

#[macro_use]
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use support::server::Asked;
use support::{Bench, Do, Report, Running, Server, feed, gets, line, ok};

/// Runs `log` against a server that answers at once.
fn replay(log: &str, more: &str) -> (Report, Vec<Asked>) {
    let server = Server::answering();
    let report = Bench::new().run(&server.url(), log, more);
    assert_eq!(report.n("completed"), report.n("offered"), "{:?}, {} dropped", report.outcomes(), report.n("dropped"));
    (report, server.asked())
}

/// Seconds from the first request to each.
fn offsets(asked: &[Asked]) -> Vec<f64> {
    let first = asked.iter().map(|a| a.at).min().unwrap();
    asked.iter().map(|a| (a.at - first).as_secs_f64()).collect()
}

fn paths(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(Asked::path).collect()
}

#[test]
fn as_many_requests_as_asked_for_are_sent() {
    for threads in [1, 2] {
        for (n, connections, in_log) in [(1, 50, 3), (7, 50, 3), (7, 50, 100), (250, 5, 3), (60, 1, 60)] {
            let more = format!("--requests {n} --connections {connections} --threads {threads}");
            let (report, asked) = replay(&gets(in_log), &more);
            assert_eq!((report.n("completed"), asked.len()), (n, n as usize), "{more}, {in_log} in the log");
            let different: BTreeSet<&str> = asked.iter().map(Asked::path).collect();
            assert_eq!(different.len(), in_log.min(n as usize), "{more}: repeated only when at its end");
        }
    }
}

#[test]
fn a_log_is_replayed_once_and_in_order_unless_told_otherwise() {
    let (report, asked) = replay(&gets(300), "--connections 1");
    let wanted: Vec<String> = (0..300).map(|i| format!("/r{i}")).collect();
    assert_eq!(paths(&asked), wanted);
    assert_eq!((report.json["traffic"]["repeats"].as_u64(), report.text("ended")), (Some(0), "recording ended"));
}

#[test]
fn a_closed_loop_ends_when_its_time_is_up_and_drains() {
    let server = Server::start(|_| [vec![Do::wait_ms(30)], ok()].concat());
    let report = Bench::new().run(&server.url(), &gets(5), "--duration 1s --connections 4 --threads 2");
    assert_eq!((report.n("failed"), report.n("in_flight"), server.requests()), (0, 0, report.n("completed")));
    assert!(report.n("completed") <= 4 * 34, "four connections, 30 ms each: {}", report.n("completed"));
    let offsets = offsets(&server.asked());
    assert!(offsets.last().unwrap() > &0.7 && offsets.iter().all(|s| *s < 1.5), "{:?}", offsets.last());
    assert!(report.ended.took < Duration::from_secs(3), "{:?}", report.ended.took);
}

#[test]
fn a_rate_is_kept_evenly_whatever_the_log_and_the_threads() {
    // Logs whose length is no multiple of the threads: each pass goes on in turn.
    for (threads, in_log) in [(1, 7), (2, 1), (2, 7), (2, 400)] {
        let more = format!("--rate 200 --duration 1s --threads {threads} --connections 20");
        let (report, asked) = replay(&gets(in_log), &more);
        assert!(report.n("offered").abs_diff(200) <= 1, "{more}: {}", report.n("offered"));
        let offsets = offsets(&asked);
        for quarter in 0..4 {
            let from = f64::from(quarter) / 4.0;
            let n = offsets.iter().filter(|s| (from..from + 0.25).contains(*s)).count();
            assert!((35..=65).contains(&n), "{n} in quarter {quarter}, {more}, {in_log} in the log");
        }
        // What a machine that was stopped for a while has at the end comes later, and the rate is over that too.
        let per_s = report.json["throughput"]["completed_per_s"].as_f64().unwrap();
        let duration_s = report.json["duration_s"].as_f64().unwrap();
        let of = report.n("completed") as f64;
        assert!((of - 200.0).abs() <= 1.0 && duration_s >= 0.99, "{of} in {duration_s} s");
        assert!((per_s * duration_s / of - 1.0).abs() < 0.02, "{per_s} done per second, {of} in {duration_s} s");
        assert!(report.ms("send_lag_us", "p50") < 20.0, "{}", report.json["send_lag_us"]);
    }
}

#[test]
fn a_rate_for_a_number_of_requests_ends_on_time() {
    let (report, asked) = replay(&gets(2), "--rate 100 --requests 51 --threads 2 --connections 10");
    assert_eq!(report.n("offered"), 51);
    let last = offsets(&asked).into_iter().fold(0.0, f64::max);
    assert!((0.4..0.8).contains(&last), "the last one is due at 0.5 s, came at {last}");
}

#[test]
fn a_rate_beyond_the_machine_still_ends_and_still_sends() {
    let server = Server::answering();
    let more = "--rate 1000000000 --duration 500ms --connections 4 --queue 100";
    let report = Bench::new().run(&server.url(), &gets(5), more);
    assert!(report.n("completed") > 0 && report.n("dropped") > 0);
    assert!(report.ended.took < Duration::from_secs(6), "{:?}", report.ended.took);
}

#[test]
fn a_stall_shows_in_response_time_and_not_in_service_time() {
    let server = Server::answering();
    let (bench, url) = (Bench::new(), server.url());
    let log = bench.file("access.log", gets(10));
    let more = "--rate 200 --duration 3s --connections 4 --threads 1";
    let running = Running::start(bench.command(&bench.words(&url, &log, more)));
    server.wait_for(100);
    server.stall(true);
    std::thread::sleep(Duration::from_secs(1));
    server.stall(false);
    let report = running.report();
    assert!(report.n("offered").abs_diff(600) <= 1, "offered goes on: {}", report.n("offered"));
    assert_eq!(report.n("completed"), report.n("offered"));
    assert!((700.0..1800.0).contains(&report.ms("response_time_us", "p99")), "{}", report.json["response_time_us"]);
    assert!(report.ms("service_time_us", "p50") < 50.0, "{}", report.json["service_time_us"]);
    // Only the four under way were served slowly; everyone else waited to be sent.
    assert!(report.ms("service_time_us", "p90") < 300.0, "{}", report.json["service_time_us"]);
    assert!(report.ms("send_lag_us", "p99") > 500.0, "{}", report.json["send_lag_us"]);
}

#[test]
fn recorded_times_are_kept_at_any_speed() {
    // Requests in seconds 0, 1, 3 and 6 of the recording; within a second they are spread.
    let log: String =
        [0, 1, 3, 6].iter().flat_map(|s| (0..5).map(move |i| line(*s, "GET", &format!("/s{s}/{i}")))).collect();
    let mut schedules = Vec::new();
    for (speed, threads) in [(10.0, 1), (10.0, 2), (5.0, 1)] {
        let (report, asked) = replay(&log, &format!("--speed {speed} --seed 7 --threads {threads}"));
        assert_eq!(report.n("completed"), 20);
        let first = asked.iter().map(|a| a.at).min().unwrap();
        let mut schedule: Vec<(String, f64)> = Vec::new();
        for a in &asked {
            let at = (a.at - first).as_secs_f64() * speed;
            let second: f64 = a.path()[2..3].parse().unwrap();
            // The first request of the recording may lie up to a second into it.
            let late = 0.15 * speed;
            assert!((second - 1.0..second + 1.0 + late).contains(&at), "{} at {at}, speed {speed}", a.path());
            schedule.push((a.path().to_owned(), at));
        }
        schedule.sort_by(|a, b| a.0.cmp(&b.0));
        schedules.push(schedule);
    }
    // The same seed gives the same schedule.
    for other in &schedules[1..] {
        for (a, b) in schedules[0].iter().zip(other) {
            assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1.5, "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_repeat_of_recorded_times_follows_the_pass_before_it() {
    let log: String = [0, 1, 2, 3].iter().map(|s| line(*s, "GET", &format!("/s{s}"))).collect();
    for threads in [1, 2] {
        let (report, asked) = replay(&log, &format!("--speed 10 --loop --requests 10 --threads {threads}"));
        assert_eq!(report.json["traffic"]["repeats"], 2);
        assert_eq!(paths(&asked), ["/s0", "/s1", "/s2", "/s3", "/s0", "/s1", "/s2", "/s3", "/s0", "/s1"]);
        let offsets = offsets(&asked);
        // Three mean gaps a pass and one between two: the period is four thirds of the length.
        let length = offsets[3];
        for pass in [1, 2] {
            let began = offsets[4 * pass];
            assert!((began - pass as f64 * length * 4.0 / 3.0).abs() < 0.15, "{offsets:?}");
        }
    }
}

#[test]
fn a_speed_that_puts_requests_beyond_all_time_offers_what_fell_due() {
    let log = line(0, "GET", "/now") + &line(3000, "GET", "/never");
    let server = Server::answering();
    let report = Bench::new().run(&server.url(), &log, "--speed 0.000000001 --duration 300ms");
    assert_eq!((report.n("offered"), report.n("completed")), (1, 1));
}

#[test]
fn a_full_queue_drops_and_counts() {
    let server = Server::start(|_| vec![Do::Hang]);
    let more = "--rate 100 --duration 1s --connections 2 --threads 1 --queue 10 --timeout 10s";
    let report = Bench::new().run(&server.url(), &gets(5), more);
    // Two under way, ten waiting until the end, all others dropped as they fell due.
    assert!(report.n("offered").abs_diff(100) <= 1);
    assert_eq!((report.n("in_flight"), report.n("dropped")), (2, report.n("offered") - 2));
    assert_eq!(report.n("sent"), 2, "sent is what the target was sent, answered or not");
    assert_eq!(server.requests(), 2);
}

#[test]
fn only_the_methods_asked_for_are_sent() {
    let log: String = ["GET", "HEAD", "POST", "DELETE", "GET"].iter().map(|m| line(0, m, "/m")).collect();
    let (report, asked) = replay(&log, "--connections 1");
    assert_eq!(asked.iter().map(Asked::method).collect::<Vec<_>>().len(), 3);
    let traffic = &report.json["traffic"];
    assert_eq!((traffic["lines"].as_u64(), traffic["requests"].as_u64()), (Some(5), Some(3)));
    assert_eq!(traffic["skipped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 2);
    let (_, asked) = replay(&log, "--connections 1 --methods all");
    assert_eq!(asked.iter().map(Asked::method).collect::<BTreeSet<_>>(), ["DELETE", "GET", "HEAD", "POST"].into());
    assert_eq!(asked.iter().find(|a| a.method() == "POST").unwrap().field("content-length"), ["0"]);
}

#[test]
fn routes_beyond_the_bound_are_named_at_the_end() {
    let log: String = ["a", "b", "c", "d", "c"].iter().map(|p| line(0, "GET", &format!("/{p}"))).collect();
    let (report, _) = replay(&log, "--max-routes 2 --loop --requests 50");
    let said = "traffic: (other routes) are 2 routes with 3 requests; most frequent among them /c 2";
    assert!(report.faults().contains(said), "{}", report.faults());
    let (report, _) = replay(&log, "--max-routes 4");
    assert_eq!(report.faults(), "");
}

#[test]
fn headers_host_and_base_path_are_as_the_user_says() {
    let server = Server::answering();
    let bench = Bench::new();
    let log = bench.file("access.log", gets(2));
    let mut words = bench.words(&(server.url() + "/v2/"), &log, "--host shop.example:81 -H X-Run:7");
    words.extend(["-H".into(), "user-agent: mine/2".into()]);
    Running::start(bench.command(&words)).report();
    for asked in server.asked() {
        assert!(asked.path().starts_with("/v2/r"), "{}", asked.path());
        assert_eq!(asked.field("host"), ["shop.example:81"]);
        assert_eq!((asked.field("user-agent"), asked.field("x-run")), (vec!["mine/2"], vec!["7"]));
    }
    let (_, asked) = replay(&gets(1), "");
    assert_eq!(asked[0].field("user-agent"), ["old/1"], "the recorded one, unless told otherwise");
    assert!(asked[0].field("host")[0].starts_with("127.0.0.1:") && asked[0].field("connection").is_empty());
}

#[test]
fn several_files_are_merged_by_time() {
    let (bench, server) = (Bench::new(), Server::answering());
    let even: String = (0..10).map(|i| line(2 * i, "GET", &format!("/{}", 2 * i))).collect();
    let odd: String = (0..10).map(|i| line(2 * i + 1, "GET", &format!("/{}", 2 * i + 1))).collect();
    let (even, odd) = (bench.file("even.log", even), bench.file("odd.log", odd));
    let mut words = bench.words(&server.url(), &even, "--connections 1");
    words.insert(3, odd.display().to_string());
    let report = Running::start(bench.command(&words)).report();
    assert_eq!(paths(&server.asked()), (0..20).map(|i| format!("/{i}")).collect::<Vec<_>>());
    assert_eq!(report.json["traffic"]["files"].as_array().unwrap().len(), 2);
}

#[test]
fn packed_logs_and_stdin_are_read_alike() {
    use std::io::Write as _;
    let (bench, server) = (Bench::new(), Server::answering());
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(gets(20).as_bytes()).unwrap();
    let packed = bench.file("log", gz.finish().unwrap()); // told by its content, not by its name
    let report = Running::start(bench.command(&bench.words(&server.url(), &packed, ""))).report();
    assert_eq!(report.n("completed"), 20);

    let mut running = Running::start(bench.command(&bench.words(&server.url(), Path::new("-"), "--requests 50")));
    let mut stdin = running.stdin();
    feed(&mut stdin, &gets(20));
    drop(stdin);
    assert_eq!(running.report().n("completed"), 50, "what came through a pipe is kept for repeats");
}

#[test]
fn a_pipe_that_stays_open_does_not_keep_a_run_from_ending() {
    let (bench, server) = (Bench::new(), Server::answering());
    let more = "--duration 500ms --connections 2";
    let mut running = Running::start(bench.command(&bench.words(&server.url(), Path::new("-"), more)));
    let mut stdin = running.stdin();
    // Longer than the window in which lines are put in order, or none would be sent.
    feed(&mut stdin, &(0..10_000).map(|i| line(i / 5, "GET", "/r")).collect::<String>());
    let report = running.report(); // the pipe is still open
    assert!(report.n("completed") > 0);
    assert!(report.ended.took < Duration::from_secs(8), "{:?}", report.ended.took);
    drop(stdin);
}

#[test]
fn connections_are_kept_or_not_as_asked() {
    let server = Server::start(|asked| {
        let close = if asked.field("connection") == ["close"] { vec![Do::Close] } else { vec![] };
        [ok(), close].concat()
    });
    let report = Bench::new().run(&server.url(), &gets(5), "--requests 60 --connections 8 --connection close");
    assert_eq!((report.n("completed"), server.connections()), (60, 60));
    assert!(server.asked().iter().all(|a| a.field("connection") == ["close"]));
    assert_eq!(report.json["phases_us"]["connect"]["count"], 60);

    let server = Server::answering();
    let report = Bench::new().run(&server.url(), &gets(5), "--requests 200 --connections 8 --threads 2");
    assert!(server.connections() <= 8, "{}", server.connections());
    assert_eq!(report.json["phases_us"]["connect"]["count"], server.connections());
}

#[test]
fn a_busy_watch_does_not_keep_a_run_from_ending() {
    let (report, _) = replay(&gets(5), "--period 10ms");
    assert!(report.ended.took < Duration::from_secs(10), "{:?}", report.ended.took);
}

#[test]
fn a_capture_that_the_run_did_not_live_to_see_is_said() {
    let (report, _) = replay(&gets(5), "--capture 60s,1s");
    assert!(report.faults().contains("the capture at 60 s was not taken"), "{}", report.faults());
}

#[test]
fn without_a_target_the_demo_is_one() {
    let (bench, started) = (Bench::new(), Instant::now());
    let words = ["--record", "demo.perfbench", "--json", "--duration", "1s"];
    let report = Running::start(bench.command(&words)).report();
    assert!(report.n("completed") > 100, "{:?} after {:?}", report.outcomes(), started.elapsed());
    assert_eq!(report.json["load"]["mode"], "rate");
}

/// What is printed to someone who used it wrongly.
fn complaint(bench: &Bench, words: &[&str], code: i32) -> String {
    let started = Instant::now();
    let ended = Running::start(bench.command(words)).end();
    assert_eq!(ended.status.code(), Some(code), "{words:?}: {}", ended.stderr);
    assert_eq!(ended.stdout, "", "{words:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.len() == 1 && lines[0].starts_with("perfbench: "), "{words:?}: {}", ended.stderr);
    assert!(started.elapsed() < Duration::from_secs(10));
    ended.stderr
}

#[test]
fn wrong_input_is_one_line_and_exit_code_2() {
    let (bench, server) = (Bench::new(), Server::answering());
    let url = server.url();
    let fine = bench.file("fine.log", gets(2)).display().to_string();
    let text = bench.file("text", "no log\nat all\n").display().to_string();
    let empty = bench.file("empty", "").display().to_string();
    let posts = bench.file("posts", line(0, "POST", "/p")).display().to_string();
    let folder = bench.path("").display().to_string();
    let there = bench.file("there.perfbench", "x").display().to_string();
    let binary = bench.file("binary", [0x1f, 0x8b, 0x08, 0x00, 0xff, 0xff]).display().to_string();
    for (says, words) in [
        ("nowhere.log", vec![&*url, "--replay", "nowhere.log", "--record", "s"]),
        ("directory", vec![&url, "--replay", &folder, "--record", "s"]),
        ("empty", vec![&url, "--replay", &empty, "--record", "s"]),
        ("no log", vec![&url, "--replay", &text, "--record", "s"]),
        ("request", vec![&url, "--replay", &posts, "--record", "s"]),
        ("binary", vec![&url, "--replay", &binary, "--record", "s"]),
        ("closed loop", vec![&url, "--replay", &fine, "--record", "s", "--think", "1ms", "--rate", "5"]),
        ("closed loop", vec![&url, "--replay", &fine, "--record", "s", "--think", "1ms", "--speed", "5"]),
        ("closed loop", vec![&url, "--replay", &fine, "--record", "s", "--think", "1ms", "--load", "const(5,1s)"]),
        ("closed loop", vec![&url, "--replay", &fine, "--record", "s", "--think", "1ms", "--scale-to", "5"]),
        ("closed loop", vec![&url, "--replay", &fine, "--record", "s", "--think", "1ms", "--find-max", "p99<1s"]),
        ("nonsense", vec![&url, "--replay", &fine, "--format", "nonsense", "--record", "s"]),
        ("no target", vec!["ftp://127.0.0.1", "--replay", &fine, "--record", "s"]),
        ("port", vec!["http://127.0.0.1:0", "--replay", &fine, "--record", "s"]),
        ("there.perfbench", vec![&url, "--replay", &fine, "--record", &there]),
        ("nowhere/s", vec![&url, "--replay", &fine, "--record", "nowhere/s"]),
        ("no terminal", vec![&url, "--replay", &fine]),
        ("nowhere", vec!["report", "nowhere"]),
        ("there.perfbench", vec!["report", &there]),
    ] {
        let line = complaint(&bench, &words, 2);
        assert!(line.contains(says), "{words:?}: {line}");
    }
    assert_eq!(server.requests(), 0, "nothing is sent when the input is wrong");
    assert_eq!(std::fs::read(&there).unwrap(), b"x", "what was there is still there");
}

#[test]
fn wrong_words_are_explained_with_exit_code_2() {
    let bench = Bench::new();
    for words in [
        &["http://h", "--json"][..],
        &["http://h", "--rate", "0"],
        &["http://h", "--rate", "1", "--speed", "1"],
        &["http://h", "--requests", "0"],
        &["http://h", "--duration", "soon"],
        &["http://h", "--connections", "0"],
        &["http://h", "-H", "no colon"],
        &["http://h", "--nonsense"],
        &["report"],
    ] {
        let ended = Running::start(bench.command(words)).end();
        assert_eq!((ended.status.code(), &*ended.stdout), (Some(2), ""), "{words:?}");
        assert!(
            ended.stderr.starts_with("perfbench: ")
                && ended.stderr.lines().count() == 1
                && !ended.stderr.contains("panicked"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_target_that_is_not_there_is_one_line_and_exit_code_1() {
    let bench = Bench::new();
    let fine = bench.file("fine.log", gets(2)).display().to_string();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let line = complaint(&bench, &[&format!("http://{free}"), "--replay", &fine, "--record", "s"], 1);
    assert!(line.contains("can't be reached"), "{line}");
    let line = complaint(&bench, &["http://no-such-host.invalid", "--replay", &fine, "--record", "s"], 1);
    assert!(line.contains("no-such-host.invalid"), "{line}");
    assert!(!bench.path("s").exists(), "no session of a run that never began");
}
