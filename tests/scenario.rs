//! Scenarios and checks against a small bank on loopback: who sends what, what is taken from
//! answers, and that a failure inside a 200 counts.
//!
//! Must not: depend on how fast the machine is.

#[macro_use]
mod support;

use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use support::server::Asked;
use support::{Bench, Do, Ended, Report, Running, Server, gets, line, ok};

/// An answer with a JSON body.
fn json(status: &str, fields: &str, body: &str) -> Vec<Do> {
    vec![Do::send(format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()))]
}

/// A bank: every tenth transfer is rolled back, and says so in a 200.
fn bank() -> Server {
    Server::start(|asked| {
        let transfer: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!((asked.method(), asked.path()), ("POST", "/transfers"));
        assert_eq!(asked.field("content-type"), ["application/json"]);
        assert!(transfer["key"].as_str().is_some_and(|k| k.len() == 36));
        match asked.nth % 10 {
            // In chunks, the verdict cut in two: it is the content that is judged.
            9 => vec![Do::send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"ok\": \r\n6\r\nfalse}\r\n0\r\n\r\n",
            )],
            _ => json("200 OK", "", "{\"ok\": true}"),
        }
    })
}

fn run(bench: &Bench, server: &Server, scenario: &str, more: &str) -> Report {
    Running::start(bench.command(&words(bench, server, scenario, more))).report()
}

fn refused(bench: &Bench, server: &Server, scenario: &str, more: &str) -> Ended {
    let ended = Running::start(bench.command(&words(bench, server, scenario, more))).end();
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert_eq!(server.requests(), 0);
    ended
}

fn words(bench: &Bench, server: &Server, scenario: &str, more: &str) -> Vec<String> {
    let session = bench.path("s.perfbench").display().to_string();
    let words = [server.url(), "--scenario".into(), scenario.into(), "--record".into(), session];
    let rest = "--overwrite --json --threads 1";
    words.into_iter().chain(rest.split(' ').chain(more.split_whitespace()).map(str::to_owned)).collect()
}

#[test]
fn the_two_loads_of_hot_accounts_reach_a_bank_and_rolled_back_transfers_count() {
    for (name, spread) in [("example:transfers-random", true), ("example:transfers-point-to-point", false)] {
        let server = bank();
        let report = run(&Bench::new(), &server, name, "--requests 400");
        assert_eq!((report.n("offered"), report.n("sent"), server.requests()), (400, 400, 400));
        assert_eq!((report.outcome("200"), report.outcome("check_json")), (360, 40), "{:?}", report.outcomes());
        assert_eq!((report.n("failed"), report.n("retried")), (40, 0), "a failed check closes no connection");
        assert_eq!(report.ended.status.code(), Some(0), "{}", report.ended.stderr);
        assert_eq!(report.json["routes"][0]["route"], "/transfers");
        let asked = server.asked();
        let pair = |a: &Asked| {
            let transfer: Value = serde_json::from_slice(&a.body).unwrap();
            (transfer["from"].as_u64().unwrap(), transfer["to"].as_u64().unwrap())
        };
        let pairs: HashSet<_> = asked.iter().map(pair).collect();
        assert_eq!(pairs.len() > 300, spread, "{} pairs", pairs.len());
        assert_eq!(pairs.contains(&(1, 2)), !spread);
        let keys: HashSet<_> = asked.iter().map(|a| a.body.clone()).collect();
        assert_eq!(keys.len(), 400, "no transfer is sent twice");
        assert_eq!(server.connections(), 100, "a connection per user");
    }
}

#[test]
fn a_run_in_which_every_answer_fails_its_check_has_failed() {
    let server = Server::start(|_| json("200 OK", "", "<html>"));
    let report = run(&Bench::new(), &server, "example:transfers-random", "--users 3 --requests 30");
    assert_eq!((report.outcome("check_json"), report.n("completed")), (30, 0));
    assert_eq!(report.ended.status.code(), Some(1));
    assert!(report.ended.stderr.contains("30 of 30 ended in check_json"), "{}", report.ended.stderr);
    assert_eq!(server.connections(), 3);
}

#[test]
fn users_log_in_once_and_use_the_token_that_is_theirs() {
    let tokens: Mutex<HashMap<String, usize>> = Mutex::default();
    let server = Server::start(move |asked| {
        if asked.path() == "/login" {
            let who: Value = serde_json::from_slice(&asked.body).unwrap();
            if asked.on_connection == 0 && who["user"] == "user2" {
                return json("200 OK", "", "{\"sorry\": 1}"); // no token: it has to ask again
            }
            let token = format!("t\u{e4}{}", who["user"].as_str().unwrap());
            tokens.lock().unwrap().insert(token.clone(), asked.connection);
            return json("200 OK", "", &format!("{{\"token\": \"{token}\"}}"));
        }
        let token = asked.field("authorization")[0].strip_prefix("Bearer ").unwrap().to_owned();
        assert_eq!(tokens.lock().unwrap()[&token], asked.connection, "a token belongs to one user");
        match (asked.method(), asked.path()) {
            ("POST", "/orders") => {
                assert_eq!(asked.field("if-match"), ["\"7\""]);
                json("201 Created", "", "{}")
            }
            (_, path) if path.starts_with("/items?near=") => json("200 OK", "", "{\"items\": [{\"id\": 1}]}"),
            (_, path) => {
                let id = path.strip_prefix("/items/").unwrap();
                json("200 OK", "ETag: \"7\"\r\n", &format!("{{\"id\": {id}}}"))
            }
        }
    });
    let bench = Bench::new();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/scenarios/login.toml")).unwrap();
    let text = text.replace("ramp = \"2s\"", "ramp = \"50ms\"\nrepeat = 3").replace("exp(100ms)", "exp(2ms)");
    bench.file("login.toml", text);
    let report = run(&bench, &server, "login.toml", "--users 4");
    let routes: BTreeMap<String, u64> =
        report.json["routes"].as_array().unwrap().iter().fold(BTreeMap::new(), |mut all, r| {
            *all.entry(r["route"].as_str().unwrap().into()).or_default() += r["requests"].as_u64().unwrap();
            all
        });
    let wanted = [("/items", 12), ("/items/{}", 12), ("/login", 5), ("buy", 12)];
    assert_eq!(routes, wanted.map(|(r, n)| (r.to_owned(), n)).into());
    assert_eq!((report.outcome("capture_failed"), report.n("failed")), (1, 1), "{:?}", report.outcomes());
    assert_eq!((server.connections(), report.ended.status.code()), (4, Some(0)));
}

#[test]
fn arrivals_go_through_their_flow_on_a_connection_of_their_own() {
    let server = Server::start(|asked| match asked.path() {
        "/first" => json("200 OK", &format!("Set-Cookie: sid=s{}; Path=/\r\n", asked.nth), ""),
        _ => ok(),
    });
    let bench = Bench::new();
    bench.file(
        "s.toml",
        "arrivals = \"100/s\"\n[[step]]\nrequest = \"GET /first\"\nthink = \"5ms\"\ncapture = { sid = { cookie = \"sid\" } }\n\
         [[step]]\nrequest = \"GET /second\"\nheaders = { Cookie = \"sid={{sid}}\" }\n",
    );
    let report = run(&bench, &server, "s.toml", "--requests 50 --connections 5");
    assert_eq!((report.n("offered"), report.n("completed"), report.n("dropped")), (100, 100, 0), "two requests each");
    let asked = server.asked();
    for second in asked.iter().filter(|a| a.path() == "/second") {
        let first: usize = second.field("cookie")[0].strip_prefix("sid=s").unwrap().parse().unwrap();
        assert_eq!(asked[first].connection, second.connection);
        assert_eq!(asked[first].on_connection + 1, second.on_connection);
    }
    assert_eq!(report.json["load"]["mode"], "rate");
}

#[test]
fn a_flow_that_fails_does_not_end_the_run_or_spin() {
    let bench = Bench::new();
    bench.file(
        "s.toml",
        "[[step]]\nrequest = \"GET /a\"\ncapture = { t = { json = \"t\" } }\n[[step]]\nrequest = \"GET /b/{{t}}\"\nrepeat = 100000\n",
    );
    for more in ["--users 2 --duration 400ms", "--rate 200 --duration 400ms --connections 2"] {
        let server = Server::start(|asked| match asked.nth {
            0..20 => json("200 OK", "", "{\"t\": 1}"),
            _ => vec![Do::StopListening, Do::Close],
        });
        let report = run(&bench, &server, "s.toml", more);
        assert!(report.n("failed") > 0 && report.n("sent") < 2000, "{more}: {:?}", report.outcomes());
    }
}

#[test]
fn recorded_traffic_is_judged_by_the_checks_of_the_command_line() {
    let answer = |asked: &Asked| match asked.nth % 5 {
        0 => json("200 OK", "X-Shard: 7\r\n", "{\"ok\": true, \"n\": 1}"),
        1 => json("200 OK", "X-Shard: 7\r\n", "{\"ok\": false}"),
        2 => json("404 Not Found", "", "{\"ok\": true}"),
        3 => json("200 OK", "", "{\"ok\": true}"),
        _ => json("200 OK", "X-Shard: 7\r\n", "{\"ok\": tru"),
    };
    let counts = |more: &str| {
        let server = Server::start(answer);
        let report = Bench::new().run(&server.url(), &gets(10), &format!("--requests 50 --connections 1 {more}"));
        assert_eq!(report.n("offered"), 50);
        let names = ["200", "404", "check_status", "check_recorded_status", "check_header", "check_body", "check_json"];
        names.map(|name| report.outcome(name))
    };
    assert_eq!(counts(""), [40, 10, 0, 0, 0, 0, 0]);
    assert_eq!(counts("--check-status 2xx"), [40, 0, 10, 0, 0, 0, 0]);
    assert_eq!(counts("--check-status recorded"), [40, 0, 0, 10, 0, 0, 0]);
    assert_eq!(counts("--check-json ok=true"), [20, 10, 0, 0, 0, 0, 20]);
    assert_eq!(counts("--check-body true --check-header X-Shard"), [10, 0, 0, 0, 20, 20, 0]);
    assert_eq!(counts("--check-body-matches \"n\":.[0-9]"), [10, 0, 0, 0, 0, 40, 0]);
    assert_eq!(counts("--check-status 200,404 --check-json n=1"), [10, 0, 0, 0, 0, 0, 40]);
}

#[test]
fn a_recorded_status_that_a_replay_cannot_get_back_is_no_mismatch() {
    // Recorded with a status each; what the server answers with is the path.
    let log: String = [(304, 200), (206, 200), (499, 503), (0, 200), (304, 404), (200, 404), (404, 404)]
        .iter()
        .map(|(was, is)| line(0, "GET", &format!("/{was}/{is}")).replace("\" 200 ", &format!("\" {was:03} ")))
        .collect();
    let answer = |asked: &Asked| json(&(asked.path()[5..].to_owned() + " So"), "", "{}");
    for (more, differ) in [("", 2), ("-H If-None-Match:x", 3), ("-H Range:bytes=0-9", 3)] {
        let server = Server::start(answer);
        let report = Bench::new().run(&server.url(), &log, &format!("--connections 1 {more}"));
        let routes = report.json["routes"].as_array().unwrap();
        assert_eq!(routes.iter().map(|r| r["mismatched"].as_u64().unwrap()).sum::<u64>(), differ, "{more}: {routes:?}");
        let server = Server::start(answer);
        let more = format!("--connections 1 --check-status recorded {more}");
        let report = Bench::new().run(&server.url(), &log, &more);
        assert_eq!(report.outcome("check_recorded_status"), differ, "{more}: {:?}", report.outcomes());
    }
}

#[test]
fn who_arrives_by_phases_is_as_many_as_they_say() {
    let server = Server::answering();
    let bench = Bench::new();
    bench.file("s.toml", "[[step]]\nrequest = \"GET /{{user}}\"\nrepeat = 2\n");
    let mut words = words(&bench, &server, "s.toml", "");
    words.extend(["--load".into(), "const(100,200ms) pause(100ms) line(50,150,200ms)".into()]);
    let report = Running::start(bench.command(&words)).report();
    // 20 by the constant rate, 20 by the line. What a busy machine had no time left for is dropped,
    // and a flow that the end of the run cuts short is not gone on with.
    let mut sent: HashMap<String, u64> = HashMap::new();
    for asked in server.asked() {
        *sent.entry(asked.path().to_owned()).or_default() += 1;
    }
    let arrived = sent.len() as u64 + report.n("dropped");
    assert!(arrived.abs_diff(40) <= 2 && !sent.is_empty(), "{arrived}: {sent:?}");
    assert!(sent.values().all(|n| *n <= 2), "each arrival is a user of its own: {sent:?}");
}

#[test]
fn a_body_longer_than_is_kept_is_not_taken_for_good() {
    let long = format!("{{\"ok\": true, \"rest\": \"{}\"}}", "x".repeat(200_000));
    let server = Server::start(move |_| json("200 OK", "", &long));
    let bench = Bench::new();
    for (bound, outcome) in [("64KiB", "check_body_too_long"), ("1MiB", "200")] {
        let text = "[[step]]\nrequest = \"GET /\"\nexpect = { json = { ok = true } }\n";
        bench.file("s.toml", format!("body_bound = \"{bound}\"\n{text}"));
        let report = run(&bench, &server, "s.toml", "--requests 10");
        assert_eq!(report.outcome(outcome), 10, "{:?}", report.outcomes());
    }
}

#[test]
fn what_is_wrong_is_told_in_one_line_before_anything_is_sent() {
    let server = Server::answering();
    let bench = Bench::new();
    bench.file("s.toml", "[[step]]\nrequest = \"GET /{{nobody}}\"\n");
    let e = refused(&bench, &server, "s.toml", "--requests 1").stderr;
    assert!(e.contains("s.toml:2:19: nothing is called 'nobody'") && e.lines().count() == 1, "{e}");
    assert!(refused(&bench, &server, "example:x", "--requests 1").stderr.contains("there are: minimal"));
    assert!(refused(&bench, &server, "example:minimal", "").stderr.contains("--duration"));
    assert!(refused(&bench, &server, "example:minimal", "--requests 1 --check-status 2x").stderr.contains("2xx"));
    refused(&bench, &server, "example:minimal", "--requests 1 --users 0");
}

#[test]
fn a_scenario_is_looked_at_without_a_target() {
    let bench = Bench::new();
    let look = |args: &[&str]| {
        let ended = Running::start(bench.command(&[&["scenario"], args].concat())).end();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        ended.stdout
    };
    let list = look(&[]);
    assert!(list.contains("example:transfers-random") && list.lines().count() == 5, "{list}");
    let login = look(&["example:login", "--user", "3", "--show", "4"]);
    for line in
        ["closed loop, 20 users", "POST /login", "\"user\": \"user3\"", "Authorization: Bearer token", "POST /orders"]
    {
        assert!(login.contains(line), "{line}: {login}");
    }
    let file = look(&["--example", "minimal"]);
    bench.file("mine.toml", file);
    assert!(look(&["mine.toml"]).contains("GET /"));
}
