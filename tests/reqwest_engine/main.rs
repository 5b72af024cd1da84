//! The reqwest engine against real servers: redirects, cookies, the names of what goes wrong, and
//! what holds as for h1. HTTP/2 and proxies are in files of their own.
//!
//! Must not: connect beyond loopback, or depend on how fast the machine is.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
mod http2;
mod proxies;

use http2::Http2;
use std::io::{Read as _, Write as _};
use std::time::Duration;
use support::nginx::Nginx;
use support::{Bench, Do, Report, Running, Server, gets, has, line, ok};

/// `n` requests by one worker; all of them are answered.
fn answered(target: &str, n: usize, more: &str) -> Report {
    let report = Bench::new().run(target, &gets(n), &format!("--threads 1 {more}"));
    assert_eq!(report.n("completed"), n as u64, "{target} {more}: {} {}", report.json["outcomes"], report.faults());
    assert_eq!(report.json["load"]["engine"], "reqwest");
    report
}

fn count(report: &Report, phase: &str) -> u64 {
    report.json["phases_us"][phase]["count"].as_u64().unwrap_or(0)
}

#[test]
fn redirects_are_followed_within_the_target_and_no_further() {
    let server = Server::start(|asked| {
        // As nginx does it: the Host that was asked for, the port it listens on.
        if let Some(port) = asked.path().strip_prefix("/home/") {
            let to = format!("Location: http://shop.example:{port}/r2\r\nContent-Length: 0\r\n\r\n");
            return vec![Do::send(format!("HTTP/1.1 302 Found\r\n{to}"))];
        }
        let to = match asked.path() {
            "/r0" => "/r1",
            "/r1" => "/r2",
            "/r2" => return ok(),
            "/away" => "http://192.0.2.1/",
            _ => "/loop",
        };
        vec![Do::send(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"))]
    });
    let get = |path: &str| line(0, "GET", path);
    let run = |log: &str, more: &str| Bench::new().run(&server.url(), log, &format!("--connections 1 {more}"));
    let report = run(&get("/r0"), "--redirects 5");
    assert_eq!((report.outcome("200"), server.requests(), report.n("completed")), (1, 3, 1));
    assert_eq!(run(&get("/r0"), "--redirects 1").outcome("302"), 1);
    assert_eq!(server.requests(), 5);
    assert_eq!(run(&get("/loop"), "--redirects 7").outcome("302"), 1);
    assert_eq!(server.requests(), 13, "a loop ends after as many as were allowed");
    assert_eq!(run(&get("/away"), "--redirects 7").outcome("302"), 1);
    let home = get(&format!("/home/{}", server.url().rsplit(':').next().unwrap()));
    assert_eq!(run(&home, "--redirects 7 --host shop.example").outcome("200"), 1);
    assert_eq!(run(&home, "--redirects 7").outcome("302"), 1);
    assert_eq!(run(&get("/r0"), "--engine reqwest").outcome("302"), 1);
}

#[test]
fn cookies_are_kept_by_each_connection_and_sent_back() {
    let server = Server::start(|asked| {
        let fields = asked.field("cookie");
        let set =
            if fields.is_empty() { format!("Set-Cookie: c={}; Path=/\r\n", asked.connection) } else { String::new() };
        vec![Do::send(format!("HTTP/1.1 200 OK\r\n{set}Content-Length: 0\r\n\r\n"))]
    });
    answered(&server.url(), 40, "--cookies --connections 4");
    let mut with = 0;
    for asked in server.asked() {
        let sent = asked.field("cookie");
        assert!(sent.is_empty() || sent == [format!("c={}", asked.connection)], "{sent:?}");
        with += sent.len();
    }
    assert_eq!(with + server.connections(), 40);
    let server = Server::start(|_| vec![Do::send("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")]);
    answered(&server.url(), 10, "--redirects 1");
    assert!(server.asked().iter().all(|a| a.field("cookie").is_empty()));
}

#[test]
fn what_goes_wrong_has_the_names_that_h1_gives() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let rows: Vec<(Vec<Do>, &str, &[&str])> = vec![
        (vec![Do::Reset], "", &["ECONNRESET"]),
        (vec![Do::Close], "", &["closed_early"]),
        (vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Do::Close], "", &["closed_in_body"]),
        (
            vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Do::wait_ms(50), Do::Reset],
            "",
            &["reset_in_body"],
        ),
        (vec![Do::send("rubbish\r\n\r\n"), Do::Close], "", &["malformed_status_line"]),
        (vec![Do::send("HTTP/1.1 200 OK\r\n: a\r\n\r\n"), Do::Close], "", &["malformed_head"]),
        (vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), Do::Close], "", &["malformed_length"]),
        (
            vec![Do::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), Do::Close],
            "",
            &["malformed_chunks"],
        ),
        (vec![Do::send(long), Do::Hang], "--timeout 5s", &["head_too_large"]),
        (vec![Do::Hang], "--timeout 300ms", &["timeout_first_byte"]),
        (
            vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Do::Hang],
            "--timeout 300ms",
            &["timeout_body"],
        ),
        (
            vec![Do::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"), Do::Close],
            "",
            &["closed_in_chunks"],
        ),
        (vec![Do::send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")], "", &["200"]),
        (vec![Do::send("HTTP/1.1 200 OK\r\n\r\nuntil the end"), Do::Close], "", &["200"]),
    ];
    for (does, more, names) in rows {
        let shown = format!("{does:.100?}");
        let server = Server::start(move |_| does.clone());
        let report = Bench::new().run(&server.url(), &gets(3), &format!("--engine reqwest --connections 3 {more}"));
        let all: Vec<&str> = report.outcomes().into_keys().collect();
        assert_eq!(all, names, "{}: {}", &shown[..shown.len().min(120)], report.faults());
        assert_eq!(report.n("sent"), 3);
    }
    // Gone after the first request.
    let server = Server::start(|asked| {
        let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        if asked.nth == 0 { vec![Do::StopListening, Do::wait_ms(100), Do::send(last), Do::Close] } else { ok() }
    });
    let report = Bench::new().run(&server.url(), &gets(4), "--engine reqwest --connections 1");
    // One may have got into the accept queue of who was about to leave.
    let (refused, reset) = (report.outcome("ECONNREFUSED"), report.outcome("ECONNRESET"));
    assert_eq!((report.outcome("200"), refused + reset, server.requests()), (1, 3, 1), "{:?}", report.outcomes());
    assert!(refused >= 2);
}

#[test]
fn a_connection_closed_while_idle_is_no_failure() {
    let server = Server::start(|asked| match asked.on_connection {
        0 => ok(),
        _ => vec![Do::Close],
    });
    let report = answered(&server.url(), 20, "--engine reqwest --connections 1");
    assert_eq!((report.n("retried"), report.n("sent"), server.requests()), (19, 20, 39));
}

#[test]
fn pace_stop_and_sums_hold_as_for_h1() {
    let server = Server::answering();
    let report = answered(&server.url(), 50, "--engine reqwest --rate 100 --connections 10");
    assert_eq!((report.n("offered"), report.n("dropped")), (50, 0));
    let report = Bench::new().run(&server.url(), &gets(7), "--engine reqwest --rate 200 --duration 1s --threads 2");
    assert_eq!(report.n("offered"), 200, "a schedule is the same for every engine");
    assert_eq!(report.text("ended"), "duration reached");
    let report =
        Bench::new().run(&server.url(), &gets(7), "--engine reqwest --requests 500 --connections 8 --threads 2");
    assert_eq!((report.n("completed"), report.n("sent")), (500, 500));
    let report = Bench::new().run(&server.url(), &gets(40), "--engine reqwest --connection close --connections 4");
    assert_eq!((report.n("completed"), count(&report, "connect")), (40, 40));

    // Interrupted with requests that are never answered: ended in good order all the same.
    let hung = Server::start(|_| vec![Do::Hang]);
    let bench = Bench::new();
    let log = bench.file("a.log", gets(7));
    let run = Running::start(bench.command(&bench.words(
        &hung.url(),
        &log,
        "--engine reqwest --connections 5 --duration 60s",
    )));
    hung.wait_for(5);
    std::thread::sleep(Duration::from_millis(50));
    run.signal("INT");
    let report = run.report();
    assert_eq!((report.n("in_flight"), report.n("sent"), report.n("failed")), (5, 5, 0));

    let slow = Server::start(|_| [vec![Do::wait_ms(300)], ok()].concat());
    let report =
        Bench::new().run(&slow.url(), &gets(5), "--engine reqwest --rate 1000 --connections 1 --overload drop");
    assert_eq!((report.n("offered"), report.n("completed"), report.n("dropped")), (5, 1, 4));
    let report =
        Bench::new().run(&slow.url(), &gets(5), "--engine reqwest --rate 1000 --connections 1 --overload grow");
    assert_eq!((report.n("completed"), report.n("connections_grown")), (5, 4));
}

#[test]
fn the_other_ways_to_a_target_are_gone_by_this_engine_too() {
    if !has("openssl") {
        skip!("openssl");
    }
    let Some(h2) = Http2::start() else { skip!("nginx") };
    let port = h2.nginx.url().rsplit(':').next().unwrap().to_owned();
    let report =
        answered(&format!("http://localhost:{port}"), 20, "--engine reqwest --dns connection --connection close");
    assert_eq!((count(&report, "dns"), count(&report, "connect")), (20, 20));
    answered(
        &format!("http://shop.example:{port}"),
        4,
        &format!("--engine reqwest --resolve shop.example:{port}:127.0.0.1"),
    );
    let before = h2.nginx.log(24).len();
    answered(&h2.nginx.url(), 40, "--engine reqwest --source 127.0.0.2-127.0.0.5 --connections 4");
    let log = h2.nginx.log(64).split_off(before);
    for ip in ["127.0.0.2 ", "127.0.0.3 ", "127.0.0.4 ", "127.0.0.5 "] {
        assert!(log.iter().any(|l| l.starts_with(ip)), "{ip}: {log:?}");
    }
    // TLS with a proxy whose name is checked as a target's would be; nginx answers in its place.
    let proxy = format!("--proxy https://127.0.0.1:{} --ca {}", h2.tls, h2.path("ca.pem"));
    answered("http://127.0.0.1:9", 10, &proxy);

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut read = [0; 4096];
                while stream.read(&mut read).is_ok_and(|n| n > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
                }
            });
        }
    });
    answered("http://shop.example/", 10, &format!("--engine reqwest --unix-socket {}", socket.display()));
}

#[test]
fn scenarios_and_checks_are_the_same_for_this_engine() {
    let server = Server::start(|asked| {
        let body = if asked.nth % 10 == 9 { "{\"ok\": false}" } else { "{\"ok\": true}" };
        vec![Do::send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))]
    });
    let bench = Bench::new();
    let session = bench.path("s.perfbench").display().to_string();
    let words = format!(
        "{} --scenario example:transfers-random --record {session} --json --threads 1 --requests 400 --engine reqwest",
        server.url()
    );
    let report = Running::start(bench.command(&words.split(' ').collect::<Vec<_>>())).report();
    assert_eq!((report.outcome("200"), report.outcome("check_json")), (360, 40), "{:?}", report.outcomes());
    assert_eq!((server.requests(), server.connections()), (400, 100), "a connection per user");
    let Some(nginx) = Nginx::start() else { skip!("nginx") };
    let report = Bench::new().run(&nginx.url(), &gets(20), "--engine reqwest --check-body nothing");
    assert_eq!(report.outcome("check_body"), 20, "{:?}", report.outcomes());
}

#[test]
fn options_that_do_not_go_together_are_wrong_use() {
    let bench = Bench::new();
    let log = bench.file("a.log", gets(1));
    for (target, more, says) in [
        ("http://127.0.0.1:1", "--engine h1 --http2", ["--engine h1", "--http2"]),
        ("http://127.0.0.1:1", "--cookies --requests-per-connection 5", ["--cookies", "--requests-per-connection"]),
        ("http://127.0.0.1:1", "--http2 --proxy-protocol v1", ["--http2", "--proxy-protocol"]),
        ("http://127.0.0.1:1", "--http2 --connection close", ["--http2", "--connection close"]),
        ("http://127.0.0.1:1", "--http2 --proxy http://127.0.0.1:2", ["--http2", "--proxy"]),
        ("http://127.0.0.1:1", "--proxy 127.0.0.1:2 --unix-socket s", ["--proxy", "--unix-socket"]),
        ("http://127.0.0.1:1", "--proxy ftp://127.0.0.1:2", ["--proxy", "socks5://"]),
    ] {
        let out = bench.command(&bench.words(target, &log, more)).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{more}: {said}");
        assert!(says.iter().all(|s| said.contains(s)), "{more}: {said}");
    }
}
