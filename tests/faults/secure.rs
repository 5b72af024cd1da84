//! A TLS server that misbehaves behind its handshake, or shows the wrong certificate.
//!
//! Must not: know how perfbench speaks TLS.

use super::apart::{say, words};
use super::play::MODES;
use super::support::certificates::Authority;
use super::support::{Bench, gets, has};
use super::table::outcome_of;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Secure = StreamOwned<ServerConnection, TcpStream>;

/// What the server does when a request has come.
#[derive(Clone, Copy)]
enum Answer {
    Whole,
    /// Half a body, then bytes that were never encrypted.
    Garbage,
    /// A body up to the close, and FIN without an alert.
    Cut,
}

/// An authority, and certificates by it: for this host, for another, and one of the past.
fn certificates(folder: &Path) {
    let authority = Authority::new(folder);
    authority.write("index", "");
    authority.write("index.attr", "unique_subject = no\n");
    let config = "[ca]\ndatabase=index\nnew_certs_dir=.\ndefault_md=sha256\nrand_serial=yes\npolicy=any\n[any]\n";
    authority.write("ca.conf", &format!("{config}commonName=supplied\n"));
    for (name, at, span) in [
        ("right", "IP:127.0.0.1", "-days 2"),
        ("other", "DNS:other.example", "-days 2"),
        ("expired", "IP:127.0.0.1", "-startdate 20200101000000Z -enddate 20200102000000Z"),
    ] {
        authority.request(name, at);
        authority.openssl(&format!(
            "ca -batch -notext -config ca.conf -name ca -cert ca.pem -keyfile ca.key {span} -extfile names -in {name}.csr -out {name}.pem"
        ));
    }
}

/// Serves connections until the listener's thread is left behind with the test.
fn serve(folder: &Path, certificate: &str, answer: Answer) -> (u16, Arc<AtomicU64>) {
    let chain = CertificateDer::pem_file_iter(folder.join(format!("{certificate}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{certificate}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicU64::new(0));
    let count = requests.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let (config, count) = (config.clone(), count.clone());
            std::thread::spawn(move || {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
                while next_request(&mut stream) {
                    count.fetch_add(1, Ordering::SeqCst);
                    if !answer_as(answer, &mut stream) {
                        return;
                    }
                }
            });
        }
    });
    (port, requests)
}

/// Whether a request has come; it has no body.
fn next_request(stream: &mut Secure) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// Whether the connection goes on.
fn answer_as(answer: Answer, stream: &mut Secure) -> bool {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
    match answer {
        Answer::Whole => stream.write_all(format!("{length}body").as_bytes()).is_ok(),
        Answer::Garbage => {
            let _ = stream.write_all(format!("{length}bo").as_bytes()).and_then(|()| stream.flush());
            // A record of application data as far as its header goes (RFC 8446 section 5.1).
            let _ = stream.sock.write_all(&[&[0x17, 3, 3, 0, 32][..], &[7; 32]].concat());
            let _ = stream.sock.read_to_end(&mut Vec::new());
            false
        }
        Answer::Cut => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nsome of it").and_then(|()| stream.flush());
            let _ = stream.sock.shutdown(std::net::Shutdown::Write);
            let _ = stream.sock.read_to_end(&mut Vec::new());
            false
        }
    }
}

#[test]
fn faults_of_a_tls_target() {
    if !has("openssl") {
        skip!("openssl");
    }
    let folder = Bench::new();
    certificates(&folder.path("."));
    let at = |name: &str| folder.path(name).display().to_string();
    let trust = format!("--ca {}", at("ca.pem"));
    let rows = [
        ("shows a certificate that is not trusted", "right", Answer::Whole, format!("--ca {}", at("other.pem"))),
        ("shows a certificate of another name", "other", Answer::Whole, trust.clone()),
        ("shows a certificate that has expired", "expired", Answer::Whole, trust.clone()),
        ("sends a TLS record that does not decrypt, inside the body", "right", Answer::Garbage, trust.clone()),
        ("ends a body up to the close without TLS's closure alert", "right", Answer::Cut, trust.clone()),
    ];
    for (name, certificate, answer, more) in &rows {
        let (port, requests) = serve(&folder.path("."), certificate, *answer);
        for mode in &MODES {
            let words = format!("{} {more}", words(mode, mode.lanes, 6, 200));
            let report = Bench::new().run(&format!("https://127.0.0.1:{port}"), &gets(6), &words);
            say(name, mode, &report);
            assert_eq!(report.outcome(outcome_of(name)), 6, "it {name}: {:?}", report.outcomes());
            let shakes_hands = !matches!(answer, Answer::Whole);
            assert_eq!((report.n("sent"), report.n("retried")), (if shakes_hands { 6 } else { 0 }, 0));
            assert_eq!(requests.swap(0, Ordering::SeqCst), report.n("sent"));
            assert_eq!(report.json["phases_us"]["connect"]["count"], 6, "each on a connection of its own");
        }
    }
    // That the certificates are what was wrong: nothing is when they are accepted.
    for (certificate, more) in [("right", &*trust), ("other", "--insecure"), ("expired", "--insecure")] {
        let (port, _) = serve(&folder.path("."), certificate, Answer::Whole);
        let report = Bench::new().run(&format!("https://127.0.0.1:{port}"), &gets(6), more);
        assert_eq!(report.outcome("200"), 6, "{:?}", report.outcomes());
    }
}
