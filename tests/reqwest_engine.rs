//! The reqwest engine against real servers: HTTP/2 of nginx, proxies, redirects, cookies, and
//! the names of what goes wrong.
//!
//! Must not: connect beyond loopback, or depend on how fast the machine is.

#[macro_use]
mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::nginx::Nginx;
use support::{Bench, Do, Report, Running, Server, gets, has, line, ok};

/// A free port. Another may take it before nginx does; none has yet.
fn free() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

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

/// nginx with HTTP/2 over TLS, over TLS that wants a certificate, and without TLS.
struct Http2 {
    nginx: Nginx,
    tls: u16,
    mutual: u16,
    plain: u16,
}

impl Http2 {
    fn start() -> Option<Http2> {
        let (tls, mutual, plain) = (free(), free(), free());
        let nginx = Nginx::with(|folder| {
            let at = folder.display();
            certificates(folder);
            let server = |listen: &str, more: &str| {
                format!(
                    "server {{ listen 127.0.0.1:{listen} http2; access_log {at}/h2.log h2; {more}
                     location / {{ return 200 \"hello\"; }} location /files/ {{ root {at}; }} }}\n"
                )
            };
            let certified = format!("ssl_certificate {at}/server.pem; ssl_certificate_key {at}/server.key;");
            [
                "log_format h2 '$server_protocol $connection $host $ssl_server_name $request_method $uri $status';\n"
                    .to_owned(),
                server(&format!("{tls} ssl"), &certified),
                server(
                    &format!("{mutual} ssl"),
                    &format!("{certified} ssl_client_certificate {at}/ca.pem; ssl_verify_client on;"),
                ),
                server(&plain.to_string(), ""),
            ]
            .concat()
        })?;
        Some(Http2 { nginx, tls, mutual, plain })
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.nginx.file("h2.log")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn path(&self, name: &str) -> String {
        self.nginx.file(name).display().to_string()
    }
}

fn certificates(folder: &Path) {
    let openssl = |words: &str| {
        let made = Command::new("openssl").args(words.split(' ')).current_dir(folder).stderr(Stdio::null()).status();
        assert!(made.unwrap().success(), "openssl {words}");
    };
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {new} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"));
    for (name, at) in [("server", "DNS:localhost,DNS:shop.example,IP:127.0.0.1"), ("client", "DNS:client")] {
        openssl(&format!("req {new} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        std::fs::write(folder.join("names"), format!("subjectAltName={at}\nbasicConstraints=CA:FALSE\n")).unwrap();
        let sign = "x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
        openssl(&format!("{sign} -in {name}.csr -out {name}.pem"));
    }
}

#[test]
fn http2_is_spoken_over_tls_and_without() {
    if !has("openssl") {
        skip!("openssl");
    }
    let Some(h2) = Http2::start() else { skip!("nginx") };
    let ca = h2.path("ca.pem");
    let tls = format!("https://127.0.0.1:{}", h2.tls);

    let report = answered(&tls, 90, &format!("--http2 --ca {ca} --connections 20"));
    assert_eq!(report.json["load"]["engine_why"], "--http2");
    assert_eq!((count(&report, "connect"), count(&report, "tls")), (1, 1), "20 requests at a time share a connection");
    answered(&tls, 100, &format!("--http2 --ca {ca} --connections 20 --streams 5"));
    let plain = format!("http://127.0.0.1:{}", h2.plain);
    let report = answered(&plain, 100, "--http2 --connections 8");
    assert_eq!(count(&report, "tls"), 0);
    assert!(report.ms("service_time_us", "p50") > 0.0 && count(&report, "first_byte") == 100);
    let lines = h2.lines();
    assert_eq!((lines.len(), lines.iter().filter(|l| l.starts_with("HTTP/2.0 ")).count()), (290, 290));

    // By ALPN alone, at a server that closes its connections every so many requests.
    let report = answered(&plain, 2500, "--http2 --connections 30");
    assert_eq!((report.n("failed"), report.n("sent")), (0, 2500));

    // Names: the recorded host is the authority of a request, and --sni is for all of them.
    let before = h2.lines().len();
    answered(&tls, 10, &format!("--http2 --ca {ca} --host shop.example"));
    answered(&format!("https://localhost:{}", h2.tls), 10, &format!("--http2 --ca {ca}"));
    answered(&tls, 10, &format!("--http2 --ca {ca} --sni shop.example"));
    let lines = h2.lines().split_off(before);
    let with = |words: &str| lines.iter().filter(|l| l.contains(words)).count();
    assert_eq!((with(" shop.example shop.example "), with(" localhost localhost ")), (20, 10), "{lines:#?}");

    let (cert, key) = (h2.path("client.pem"), h2.path("client.key"));
    let mutual = format!("https://127.0.0.1:{}", h2.mutual);
    answered(&mutual, 10, &format!("--http2 -k --cert {cert} --key {key}"));

    // Bodies come whole, and nothing but their length is kept.
    let log: String = (0..20).map(|_| line(0, "GET", "/files/big")).collect();
    let report = Bench::new().run(&tls, &log, "--http2 -k --connections 4");
    assert_eq!(report.n("completed"), 20, "{}", report.json["outcomes"]);
    assert!(count(&report, "body") == 20);
}

#[test]
fn tls_that_fails_is_named_and_says_why() {
    if !has("openssl") {
        skip!("openssl");
    }
    let Some(h2) = Http2::start() else { skip!("nginx") };
    let client = h2.path("client.pem");
    for (target, more, why) in [
        (format!("https://127.0.0.1:{}", h2.tls), format!("--ca {client}"), "--ca FILE"),
        (h2.nginx.url().replace("http:", "https:"), "--insecure".into(), "does the target speak TLS"),
    ] {
        let report = Bench::new().run(&target, &gets(4), &format!("--http2 --connections 2 --threads 1 {more}"));
        assert_eq!((report.outcome("tls_failed"), report.n("sent")), (4, 0), "{target}: {:?}", report.outcomes());
        assert!(report.faults().contains(why), "{}", report.faults());
    }
    // HTTP/2 at a server that knows none is not quietly something else.
    let report = Bench::new().run(&Server::answering().url(), &gets(4), "--http2 --connections 1");
    assert_eq!(report.n("completed"), 0, "{:?}", report.outcomes());
}

/// A proxy of all kinds: absolute-form and CONNECT, SOCKS5. Keeps account of what it was asked.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(refuses: Option<&'static str>) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let account = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let account = account.clone();
                std::thread::spawn(move || drop(converse(stream, &account, refuses)));
            }
        });
        Proxy { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn converse(mut client: TcpStream, asked: &Mutex<Vec<String>>, refuses: Option<&str>) -> std::io::Result<()> {
    let mut first = [0];
    if client.read(&mut first)? == 0 {
        return Ok(());
    }
    if first[0] == 5 {
        return socks(client, asked, refuses);
    }
    loop {
        let mut head = vec![first[0]];
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        asked.lock().unwrap().push(head.clone());
        if let Some(answer) = refuses {
            client.write_all(answer.as_bytes())?;
            client.read_exact(&mut first)?;
            continue;
        }
        let (method, rest) = head.split_once(' ').unwrap();
        let (to, fields) = rest.split_once(' ').unwrap();
        if method == "CONNECT" {
            let target = TcpStream::connect(to)?;
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            return carry(client, target);
        }
        let (host, path) = to.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut target = TcpStream::connect(host)?;
        target.write_all(format!("{method} /{path} {fields}").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            let mut byte = [0];
            target.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        client.write_all(&answer)?;
        client.read_exact(&mut first)?;
    }
}

/// RFC 1928, with RFC 1929 where it is offered.
fn socks(mut client: TcpStream, asked: &Mutex<Vec<String>>, refuses: Option<&str>) -> std::io::Result<()> {
    let mut take = |n: usize| -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; n];
        client.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let n = usize::from(take(1)?[0]);
    let methods = take(n)?;
    let mut who = String::new();
    if methods.contains(&2) {
        client.write_all(&[5, 2])?;
        let mut take = |n: usize| -> std::io::Result<Vec<u8>> {
            let mut bytes = vec![0; n];
            client.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        let n = usize::from(take(2)?[1]);
        let user = take(n)?;
        let n = usize::from(take(1)?[0]);
        let password = take(n)?;
        who = format!(" {} {}", String::from_utf8_lossy(&user), String::from_utf8_lossy(&password));
        client.write_all(&[1, 0])?;
    } else {
        client.write_all(&[5, 0])?;
    }
    let mut take = |n: usize| -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; n];
        client.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let host = match take(4)?[3] {
        1 => take(4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        _ => {
            let n = usize::from(take(1)?[0]);
            String::from_utf8(take(n)?).unwrap()
        }
    };
    let port = u16::from_be_bytes(take(2)?.try_into().unwrap());
    asked.lock().unwrap().push(format!("{host}:{port}{who}"));
    if refuses.is_some() {
        return client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
    let target = TcpStream::connect((host.as_str(), port))?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    carry(client, target)
}

fn carry(a: TcpStream, b: TcpStream) -> std::io::Result<()> {
    let (mut from, mut to) = (a.try_clone()?, b.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let (mut from, mut to) = (b, a);
    std::io::copy(&mut from, &mut to)?;
    to.shutdown(std::net::Shutdown::Write)
}

#[test]
fn proxies_of_every_kind_are_gone_through() {
    let server = Server::answering();
    let target = server.url();
    let port = server.port();

    let proxy = Proxy::start(None);
    let at = proxy.address;
    let report = answered(&target, 10, &format!("--proxy http://me:secret@{at} --connections 2"));
    assert_eq!(report.json["load"]["engine_why"], "--proxy");
    let asked = proxy.asked();
    assert_eq!(asked.len(), 10);
    assert!(asked.iter().all(|a| a.starts_with(&format!("GET {target}/r"))), "{asked:?}");
    let authorised = |a: &String| a.to_ascii_lowercase().contains("proxy-authorization: basic bwu6c2vjcmv0");
    assert!(asked.iter().all(authorised), "{asked:?}");

    let proxy = Proxy::start(None);
    let report = answered(&target, 10, &format!("--proxy socks5://me:secret@{} --connections 2", proxy.address));
    assert_eq!(report.n("failed"), 0);
    assert_eq!(proxy.asked(), vec![format!("127.0.0.1:{port} me secret"); 2]);
    let proxy = Proxy::start(None);
    let named = format!("http://localhost:{port}");
    answered(&named, 4, &format!("--proxy socks5h://{} --connections 1", proxy.address));
    assert_eq!(proxy.asked(), [format!("localhost:{port}")]);
    let proxy = Proxy::start(None);
    let resolve = format!("--resolve shop.example:{port}:127.0.0.1");
    answered(
        &format!("http://shop.example:{port}"),
        4,
        &format!("--proxy socks5://{} --connections 1 {resolve}", proxy.address),
    );
    assert_eq!(proxy.asked(), [format!("127.0.0.1:{port}")]);

    if !has("openssl") {
        skip!("openssl");
    }
    let Some(h2) = Http2::start() else { skip!("nginx") };
    let tls = format!("https://127.0.0.1:{}", h2.tls);
    for (scheme, http2) in [("http", "--http2"), ("http", ""), ("socks5", "--http2"), ("socks5h", "")] {
        let proxy = Proxy::start(None);
        answered(&tls, 12, &format!("--proxy {scheme}://{} -k --connections 3 {http2}", proxy.address));
        let connections = if http2.is_empty() { 3 } else { 1 };
        assert_eq!(proxy.asked().len(), connections, "{scheme} {http2}: {:?}", proxy.asked());
    }
}

#[test]
fn a_proxy_that_gives_no_connection_is_named() {
    let denied = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let bad = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    for (scheme, answer) in [("http", denied), ("http", bad), ("socks5h", "")] {
        let proxy = Proxy::start(Some(answer));
        let more = format!("--proxy {scheme}://{} -k --connections 1", proxy.address);
        let report = Bench::new().run("https://127.0.0.1:1", &gets(3), &more);
        assert_eq!(
            (report.outcome("proxy_failed"), report.n("sent")),
            (3, 0),
            "{scheme} {answer} {:?}",
            report.outcomes()
        );
        assert!(report.faults().contains("the proxy gives no connection"), "{}", report.faults());
    }
    // Without TLS the proxy's answer is the answer.
    let proxy = Proxy::start(Some(denied));
    let report = Bench::new().run("http://127.0.0.1:1", &gets(3), &format!("--proxy http://{}", proxy.address));
    assert_eq!(report.outcome("407"), 3);
    let nobody = format!("http://127.0.0.1:{}", free());
    let bench = Bench::new();
    let log = bench.file("a.log", gets(1));
    let out = bench.command(&bench.words("http://127.0.0.1:1", &log, &format!("--proxy {nobody}"))).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(1) && said.contains("--proxy") && said.lines().count() == 1, "{said}");
}

#[test]
fn redirects_are_followed_within_the_target_and_no_further() {
    let server = Server::start(|asked| {
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
        (vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Do::Close], "", &["closed_early"]),
        (
            vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Do::wait_ms(50), Do::Reset],
            "",
            &["ECONNRESET"],
        ),
        (vec![Do::send("rubbish\r\n\r\n"), Do::Close], "", &["malformed_response"]),
        (
            vec![Do::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), Do::Close],
            "",
            &["malformed_response"],
        ),
        (vec![Do::send(long), Do::Hang], "--timeout 5s", &["head_too_large"]),
        (vec![Do::Hang], "--timeout 300ms", &["timeout_first_byte"]),
        (
            vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Do::Hang],
            "--timeout 300ms",
            &["timeout_body"],
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

/// A server of HTTP/2 without TLS that does to the n-th request what it is told: `None` answers it.
fn h2_server(does: impl Fn(usize) -> Option<h2::Reason> + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let mut nth = 0;
        for stream in listener.incoming().flatten() {
            stream.set_nonblocking(true).unwrap();
            runtime.block_on(async {
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                // The first look whether anybody is there says nothing.
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    match does(nth) {
                        // Ends the connection as a whole, what is under way included.
                        Some(h2::Reason::NO_ERROR) => {
                            nth += 1;
                            return;
                        }
                        Some(reason) => respond.send_reset(reason),
                        None => drop(respond.send_response(http::Response::new(()), true).unwrap()),
                    }
                    nth += 1;
                }
            });
        }
    });
    url
}

#[test]
fn what_happens_to_a_stream_is_named() {
    use h2::Reason;
    let run = |url: &str, n: usize| Bench::new().run(url, &gets(n), "--http2 --connections 1");
    let report = run(&h2_server(|n| (n % 2 == 1).then_some(Reason::INTERNAL_ERROR)), 10);
    assert_eq!((report.outcome("200"), report.outcome("stream_reset"), report.n("retried")), (5, 5, 0));
    assert!(report.faults().contains("the first stream_reset"), "{}", report.faults());
    // Refused streams were not looked at: whatever they ask for, they may be sent again.
    let log: String = (0..10).map(|_| line(0, "POST", "/r")).collect();
    let url = h2_server(|n| (n % 2 == 0).then_some(Reason::REFUSED_STREAM));
    let report = Bench::new().run(&url, &log, "--http2 --connections 1 --methods all");
    assert_eq!((report.outcome("200"), report.n("retried"), report.n("sent")), (10, 10, 10), "{:?}", report.outcomes());
    // Refused again and again is an outcome.
    let report = run(&h2_server(|_| Some(Reason::REFUSED_STREAM)), 3);
    assert_eq!((report.outcome("stream_reset"), report.n("retried")), (3, 3), "{:?}", report.outcomes());
    // A connection that ends under a request it had carried others before.
    let report = run(&h2_server(|n| (n % 3 == 2).then_some(Reason::NO_ERROR)), 9);
    assert_eq!((report.n("completed"), report.n("retried")), (9, 4), "{:?}", report.outcomes());
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
