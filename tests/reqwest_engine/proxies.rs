//! Proxies of every kind, made here, and what they refuse.
//!
//! Must not: connect beyond loopback, or depend on how fast the machine is.

use super::answered;
use super::http2::Http2;
use super::support::{Bench, Server, free_port, gets, has};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

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

fn take(from: &mut TcpStream, n: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; n];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// RFC 1928, with RFC 1929 where it is offered.
fn socks(mut client: TcpStream, asked: &Mutex<Vec<String>>, refuses: Option<&str>) -> std::io::Result<()> {
    let n = usize::from(take(&mut client, 1)?[0]);
    let methods = take(&mut client, n)?;
    let mut who = String::new();
    if methods.contains(&2) {
        client.write_all(&[5, 2])?;
        let n = usize::from(take(&mut client, 2)?[1]);
        let user = take(&mut client, n)?;
        let n = usize::from(take(&mut client, 1)?[0]);
        let password = take(&mut client, n)?;
        who = format!(" {} {}", String::from_utf8_lossy(&user), String::from_utf8_lossy(&password));
        client.write_all(&[1, 0])?;
    } else {
        client.write_all(&[5, 0])?;
    }
    let host = match take(&mut client, 4)?[3] {
        1 => take(&mut client, 4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        _ => {
            let n = usize::from(take(&mut client, 1)?[0]);
            String::from_utf8(take(&mut client, n)?).unwrap()
        }
    };
    let port = u16::from_be_bytes(take(&mut client, 2)?.try_into().unwrap());
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
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let bench = Bench::new();
    let log = bench.file("a.log", gets(1));
    let out = bench.command(&bench.words("http://127.0.0.1:1", &log, &format!("--proxy {nobody}"))).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(1) && said.contains("--proxy") && said.lines().count() == 1, "{said}");
}
