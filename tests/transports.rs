//! Every way to a target, against a real nginx: TLS in its variants, unix sockets, source
//! addresses, names, the PROXY protocol.
//!
//! Must not: connect beyond loopback.

#[macro_use]
mod support;

use perfbench::model::Phase;
use std::path::Path;
use support::certificates::Authority;
use support::nginx::Nginx;
use support::{Bench, Report, free_port, gets, has};

/// A certificate for localhost, one of ours, and one that signs itself.
fn certificates(folder: &Path) {
    let authority = Authority::new(folder);
    authority.sign("server", "DNS:localhost,IP:127.0.0.1");
    authority.sign("client", "DNS:client");
    authority.sign_itself("self", "DNS:localhost,IP:127.0.0.1");
}

/// The ports of the servers below.
struct Ports {
    tls: u16,
    itself: u16,
    mutual: u16,
    old: u16,
    proxied: u16,
    proxied_tls: u16,
}

fn start() -> Option<(Nginx, Ports)> {
    let p = Ports {
        tls: free_port(),
        itself: free_port(),
        mutual: free_port(),
        old: free_port(),
        proxied: free_port(),
        proxied_tls: free_port(),
    };
    let nginx = Nginx::with(|folder| {
        certificates(folder);
        let at = folder.display();
        let server = |listen: &str, name: &str, more: &str| {
            format!(
                "server {{ {listen} ssl_certificate {at}/{name}.pem; ssl_certificate_key {at}/{name}.key; {more}
                 location / {{ return 200 \"hello\"; }} location /files/ {{ root {at}; }} }}\n"
            )
        };
        let reused = "access_log /dev/null;";
        [
            "log_format ends '$proxy_protocol_addr $remote_addr $proxy_protocol_port $status';".to_owned(),
            "ssl_protocols TLSv1.2 TLSv1.3; log_format tls '$ssl_protocol $ssl_session_reused $ssl_server_name $status';".to_owned(),
            server(&format!("listen 127.0.0.1:{} ssl;", p.tls), "server", &format!("access_log {at}/tls.log tls;")),
            server(&format!("listen 127.0.0.1:{} ssl;", p.itself), "self", reused),
            server(
                &format!("listen 127.0.0.1:{} ssl;", p.mutual),
                "server",
                &format!("{reused} ssl_client_certificate {at}/ca.pem; ssl_verify_client on;"),
            ),
            server(
                &format!("listen 127.0.0.1:{} ssl;", p.old),
                "server",
                &format!("ssl_protocols TLSv1.2; access_log {at}/old.log tls;"),
            ),
            server(
                &format!("listen 127.0.0.1:{} proxy_protocol;", p.proxied),
                "server",
                &format!("access_log {at}/ends.log ends;"),
            ),
            server(
                &format!("listen 127.0.0.1:{} ssl proxy_protocol;", p.proxied_tls),
                "server",
                &format!("access_log {at}/ends-tls.log ends;"),
            ),
            server(&format!("listen unix:{at}/socket;"), "server", reused),
        ]
        .concat()
    })?;
    Some((nginx, p))
}

fn lines(nginx: &Nginx, name: &str) -> Vec<String> {
    std::fs::read_to_string(nginx.file(name)).unwrap().lines().map(str::to_owned).collect()
}

/// 40 requests by one worker; all of them are answered.
fn answered(nginx: &Nginx, target: &str, more: &str) -> Report {
    let more = more.replace("AT", &nginx.file("").display().to_string());
    let report = Bench::new().run(target, &gets(40), &format!("--threads 1 {more}"));
    assert_eq!(report.json["requests"]["completed"], 40, "{target} {more}: {}", report.json["outcomes"]);
    report
}

fn count(report: &Report, phase: Phase) -> u64 {
    report.json["phases_us"][phase.name()]["count"].as_u64().unwrap_or(0)
}

#[test]
fn every_way_to_a_target_gets_there() {
    if !has("openssl") {
        skip!("openssl");
    }
    let Some((nginx, p)) = start() else { skip!("nginx") };
    let tls = format!("https://127.0.0.1:{}", p.tls);

    let report = answered(&nginx, &tls, "--ca ATca.pem --connections 4");
    assert_eq!((count(&report, Phase::Tls), count(&report, Phase::Connect), count(&report, Phase::Dns)), (4, 4, 0));
    // Sessions are resumed from the second connection of a worker on, unless that is refused.
    let report = answered(&nginx, &tls, "--insecure --connection close --connections 1");
    assert_eq!(count(&report, Phase::Tls), 40);
    let one = "--connections 1 --connection close";
    let report = answered(&nginx, &tls, &format!("--insecure {one} --no-session-resumption --sni shop.example"));
    // A handshake may go through in one go, and is told from the connection all the same.
    let p50 = |phase: Phase| report.json["phases_us"][phase.name()]["p50"].as_f64().unwrap();
    assert!(p50(Phase::Tls) > p50(Phase::Connect), "{}", report.json["phases_us"]);
    answered(&nginx, &format!("https://localhost:{}", p.tls), "--ca ATca.pem");
    let log = lines(&nginx, "tls.log");
    let with = |words: &str| log.iter().filter(|l| l.contains(words)).count();
    assert_eq!((log.len(), with("TLSv1.3 r - 200"), with("TLSv1.3 . shop.example 200")), (160, 39, 40), "{log:#?}");
    assert_eq!(with("TLSv1.3 . localhost 200"), 40);

    answered(&nginx, &format!("https://localhost:{}", p.old), "--ca ATca.pem --connection close --connections 1");
    assert_eq!(lines(&nginx, "old.log").iter().filter(|l| l.starts_with("TLSv1.2 r")).count(), 39);
    answered(&nginx, &format!("https://127.0.0.1:{}", p.itself), "--ca ATself.pem");
    answered(
        &nginx,
        &format!("https://127.0.0.1:{}", p.mutual),
        "--ca ATca.pem --cert ATclient.pem --key ATclient.key",
    );

    answered(&nginx, "http://shop.example/", "--unix-socket ATsocket");
    let report =
        answered(&nginx, &nginx.url().replace("127.0.0.1", "localhost"), "--dns connection --connection close");
    assert_eq!(count(&report, Phase::Dns), 40);
    let port = nginx.url().rsplit(':').next().unwrap().to_owned();
    answered(&nginx, &format!("http://shop.example:{port}"), &format!("--resolve shop.example:{port}:127.0.0.1"));

    let sources = "--source 127.0.0.2-127.0.0.5 --connections 4";
    answered(&nginx, &format!("http://127.0.0.1:{}", p.proxied), &format!("--proxy-protocol v1 {sources}"));
    answered(&nginx, &format!("https://127.0.0.1:{}", p.proxied_tls), &format!("-k --proxy-protocol v2 {sources}"));
    for name in ["ends.log", "ends-tls.log"] {
        let log = lines(&nginx, name);
        for ip in ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"] {
            assert!(log.iter().any(|l| l.starts_with(&format!("{ip} {ip} "))), "{name} lacks {ip}: {log:?}");
        }
        assert_eq!(log.len(), 40);
    }
}

#[test]
fn a_handshake_that_fails_is_counted_and_says_why() {
    if !has("openssl") {
        skip!("openssl");
    }
    let Some((nginx, p)) = start() else { skip!("nginx") };
    let local = |port| format!("https://127.0.0.1:{port}");
    for (target, more, why) in [
        (local(p.tls), "--ca ATself.pem", "--ca FILE"),
        (local(p.tls), "--ca ATca.pem --sni other.example", "not valid for name"),
        (nginx.url().replace("http:", "https:"), "--insecure", "does the target speak TLS"),
    ] {
        let bench = Bench::new();
        let more = more.replace("AT", &nginx.file("").display().to_string());
        let log = bench.file("a.log", gets(6));
        let words = bench.words(&target, &log, &format!("{more} --connections 2 --threads 1"));
        let out = bench.command(&words).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!((out.status.code(), &json["outcomes"]["tls_failed"]), (Some(1), &6.into()), "{target} {json}");
        assert_eq!(json["requests"]["sent"], 0);
        let faults = json["faults"].to_string();
        assert!(faults.contains("the TLS handshake failed") && faults.contains(why), "{faults}");
    }
    // TLS spoken to by plain HTTP is answered by nginx with 400, which is no failure of ours.
    let report = Bench::new().run(&format!("http://127.0.0.1:{}", p.tls), &gets(6), "--connections 2");
    assert_eq!(report.json["outcomes"]["400"], 6);
}

#[test]
fn options_that_do_not_fit_are_wrong_use() {
    let bench = Bench::new();
    let log = bench.file("a.log", gets(1));
    for (target, more, says) in [
        ("http://127.0.0.1:1", "--insecure", "https://"),
        ("https://127.0.0.1:1", "--ca nosuch.pem", "nosuch.pem"),
        ("https://127.0.0.1:1", "--cert c.pem", "--key"),
        ("http://127.0.0.1:1", "--resolve x", "HOST:PORT:ADDR"),
    ] {
        let out = bench.command(&bench.words(target, &log, more)).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{more}: {said}");
        assert!(said.contains(says), "{more}: {said}");
    }
}
