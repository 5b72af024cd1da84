//! HTTP/2: of nginx, over TLS and without, and of a server that ends streams and connections.
//!
//! Must not: connect beyond loopback, or depend on how fast the machine is.

use super::support::certificates::Authority;
use super::support::nginx::Nginx;
use super::support::{Bench, Server, free_port, gets, has, line};
use super::{answered, count};
use std::net::{Ipv4Addr, TcpListener};

/// nginx with HTTP/2 over TLS, over TLS that wants a certificate, and without TLS.
pub struct Http2 {
    pub nginx: Nginx,
    pub tls: u16,
    mutual: u16,
    plain: u16,
}

impl Http2 {
    pub fn start() -> Option<Http2> {
        let (tls, mutual, plain) = (free_port(), free_port(), free_port());
        let nginx = Nginx::with(|folder| {
            let at = folder.display();
            let authority = Authority::new(folder);
            authority.sign("server", "DNS:localhost,DNS:shop.example,IP:127.0.0.1");
            authority.sign("client", "DNS:client");
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

    pub fn path(&self, name: &str) -> String {
        self.nginx.file(name).display().to_string()
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
        // Most wait for a connection that another request has begun to make, and fail as it does.
        let report = Bench::new().run(&target, &gets(40), &format!("--http2 --connections 20 --threads 1 {more}"));
        assert_eq!((report.outcome("tls_failed"), report.n("sent")), (40, 0), "{target}: {:?}", report.outcomes());
        assert_eq!(report.n("retried"), 0);
        assert!(report.faults().contains(why), "{}", report.faults());
    }
    // HTTP/2 at a server that knows none is not quietly something else.
    let report = Bench::new().run(&Server::answering().url(), &gets(4), "--http2 --connections 1");
    assert_eq!(report.outcomes(), [("malformed_response", 4)].into(), "{}", report.faults());
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
