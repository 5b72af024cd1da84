//! Recordings whose records are not lines: each format's own sample, plain, packed and in pieces;
//! the shared samples; hostile bytes; and what of it arrives at a server.
//!
//! Must not: connect beyond loopback; rely on material of others when it is not there.

mod material;
#[macro_use]
mod support;

use perfbench::model::Request;
use perfbench::traffic::{MethodFilter, Options, Reader, Source};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use support::{Bench, Running};

/// A sample of a format, and all that must come out of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    format: String,
    text: String,
    #[serde(default)]
    untimed: bool,
    #[serde(default)]
    files: BTreeMap<String, String>,
    records: u64,
    skipped: BTreeMap<String, u64>,
    request: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    unix_ns: Option<i64>,
    method: String,
    path: String,
    host: Option<String>,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    body: String,
    status: Option<u16>,
}

fn samples() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let read = |p: &PathBuf| toml::from_str(&std::fs::read_to_string(p).unwrap());
    paths.iter().map(|p| read(p).unwrap_or_else(|e| panic!("{}: {e}", p.display()))).collect()
}

fn all_methods() -> Options {
    Options { methods: MethodFilter::All, ..Options::default() }
}

fn rest(reader: &mut Reader) -> Vec<Request> {
    let (mut request, mut all) = (Reader::blank(), Vec::new());
    while reader.next(&mut request).unwrap() {
        all.push(request.clone());
    }
    assert!(all.is_sorted_by_key(|r| r.recorded_unix_ns), "time went backwards");
    let counts = reader.counts();
    assert_eq!(counts.lines, counts.requests + counts.skipped.iter().map(|s| s.count).sum::<u64>(), "{counts:?}");
    all
}

/// Gives its bytes a few at a time.
struct Trickle(Cursor<Vec<u8>>, usize);

impl Read for Trickle {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = into.len().min(self.1);
        self.0.read(&mut into[..n])
    }
}

fn stream(bytes: impl Into<Vec<u8>>, step: usize) -> Source {
    Source::Stream { name: "stream".into(), stream: Box::new(Trickle(Cursor::new(bytes.into()), step)) }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut z = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    z.write_all(bytes).unwrap();
    z.finish().unwrap()
}

fn check(sample: &Sample, requests: &[Request], reader: &Reader) {
    let counts = reader.counts();
    let name = &sample.format;
    assert_eq!(counts.format, *name);
    let skipped: BTreeMap<String, u64> = counts.skipped.iter().map(|s| (s.reason.to_string(), s.count)).collect();
    assert_eq!((counts.lines, &skipped), (sample.records, &sample.skipped), "{name}: {:?}", counts.skipped);
    assert_eq!(requests.len(), sample.request.len(), "{name}");
    assert_eq!(reader.choices()[0].timed, !sample.untimed, "{name}");
    assert_eq!(reader.summary().first_unix_ns.is_none(), sample.untimed, "{name}");
    for (r, e) in requests.iter().zip(&sample.request) {
        let fields: Vec<String> = r.headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        assert_eq!((r.method.as_str(), &r.path, &r.host), (&*e.method, &e.path, &e.host), "{name}");
        assert_eq!(
            (fields, String::from_utf8_lossy(&r.body.0)),
            (e.fields.clone(), (&*e.body).into()),
            "{name} {}",
            e.path
        );
        assert_eq!(r.recorded_status, e.status, "{name} {}", e.path);
        assert!(e.unix_ns.is_none_or(|t| t == r.recorded_unix_ns), "{name} {}: {}", e.path, r.recorded_unix_ns);
    }
}

#[test]
fn every_sample_comes_out_as_it_says_however_it_is_packed() {
    let mut names = Vec::new();
    for sample in samples() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in &sample.files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let text = sample.text.as_bytes();
        let bom = [b"\xef\xbb\xbf", text].concat();
        for (n, packed) in [text.to_vec(), gzip(text), zstd::encode_all(text, 1).unwrap(), bom].iter().enumerate() {
            let path = dir.path().join(format!("{n}"));
            std::fs::write(&path, packed).unwrap();
            let mut reader = Reader::open(&[path], all_methods()).unwrap();
            let requests = rest(&mut reader);
            check(&sample, &requests, &reader);
            reader.reopen().unwrap();
            assert!(rest(&mut reader) == requests, "{}: another when read again", sample.format);
        }
        if sample.files.is_empty() {
            for step in [1, 7, 4096] {
                let mut reader = Reader::open_sources(vec![stream(text, step)], all_methods()).unwrap();
                let requests = rest(&mut reader);
                check(&sample, &requests, &reader);
            }
        }
        names.push(sample.format);
    }
    let known: Vec<String> = perfbench::traffic::formats().into_iter().map(|f| f.name).collect();
    assert!(names.len() >= 9 && names.iter().all(|n| known.contains(n)), "{names:?} {known:?}");
}

#[test]
fn a_recording_without_times_keeps_its_order_and_that_of_the_files() {
    let list = |name: &str, n: usize| (0..n).map(|i| format!("/{name}/{i}\n")).collect::<String>();
    let timed = "192.0.2.1 - - [17/May/1960:08:05:32 +0000] \"GET /timed HTTP/1.1\" 200 5\n";
    let sources = vec![stream(timed, 99), stream(list("a", 3000), 99), stream(list("b", 3), 99)];
    let mut reader = Reader::open_sources(sources, Options::default()).unwrap();
    let expected = list("a", 3000) + &list("b", 3) + "/timed\n";
    let got: String = rest(&mut reader).iter().map(|r| r.path.clone() + "\n").collect();
    assert!(got == expected);
    let timed: Vec<bool> = reader.choices().iter().map(|c| c.timed).collect();
    assert_eq!((timed, reader.counts().out_of_order), (vec![true, false, false], 0));
}

#[test]
fn a_record_that_is_too_long_is_passed_over_and_memory_stays_bounded() {
    let long = "x".repeat((16 << 20) + 1);
    let entry = |path: &str, more: &str| {
        format!(
            "{{\"startedDateTime\":\"2024-05-01T08:00:00Z\",\"request\":{{\"method\":\"GET\",\"url\":\"http://h{path}\",\
             \"headers\":[]}},\"x\":\"{more}}}{{\\\"\"}}"
        )
    };
    let har = format!("{{\"log\":{{\"entries\":[{},{},{}]}}}}", entry("/1", ""), entry("/l", &long), entry("/2", ""));
    let message =
        |path: &str, more: &str| format!("1 id 1568139746437296000\nGET {path} HTTP/1.1\r\n\r\n{more}\n🐵🙈🙉\n");
    let gor = message("/1", "") + &message("/l", &long) + &message("/2", "");
    let ammo = format!("1 /1\nx\n{} /l\n{long}\n1 /2\nx\n", long.len());
    for (name, text) in [("har", har), ("goreplay", gor), ("tank_uripost", ammo)] {
        let options = Options { format: Some(name.into()), ..all_methods() };
        let mut reader = Reader::open_sources(vec![stream(text, 1 << 20)], options).unwrap();
        let (mut request, mut paths) = (Reader::blank(), Vec::new());
        while reader.next(&mut request).unwrap() {
            paths.push(request.path.clone());
        }
        assert_eq!(paths, ["/1", "/2"], "{name}");
        let counts = reader.counts();
        assert_eq!((&*counts.skipped[0].reason, counts.skipped[0].count), ("record longer than 16 MiB", 1), "{name}");
        let place = if name == "har" { "stream:entry 2" } else { &counts.skipped[0].first };
        assert_eq!(counts.skipped[0].first, place);
    }
}

#[test]
fn bodies_count_into_the_bound_of_memory() {
    let body = "b".repeat(1 << 20);
    let text: String = (0..40)
        .map(|n| {
            format!(
                "1 id {}\nPOST /{n} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}\n🐵🙈🙉\n",
                1_568_139_746_000_000_000u64 + n,
                body.len()
            )
        })
        .collect();
    let options = Options { window_bytes: 8 << 20, ..all_methods() };
    let mut reader = Reader::open_sources(vec![stream(text, 1 << 20)], options).unwrap();
    let (mut request, mut n) = (Reader::blank(), 0);
    while reader.next(&mut request).unwrap() {
        assert!(reader.waiting_bytes() <= (8 << 20) + (2 << 20), "{}", reader.waiting_bytes());
        assert_eq!((request.path.as_str(), request.body.0.len()), (&*format!("/{n}"), 1 << 20));
        n += 1;
    }
    assert_eq!(n, 40);
}

#[test]
fn the_shared_samples_are_guessed_and_all_their_requests_come_out() {
    for (name, format, methods, span_ns) in [
        ("goreplay.gor", "goreplay", &[("GET", 99), ("POST", 2)][..], Some(518_564_210_000i64)),
        ("browser.har", "har", &[("GET", 27)], None),
        ("ammo.uri", "tank_uri", &[("GET", 2)], None),
        ("ammo.uripost", "tank_uripost", &[("POST", 2)], None),
        ("ammo.phantom", "tank_phantom", &[("GET", 2), ("POST", 1)], None),
    ] {
        let Some(path) = material::needed(&format!("traffic/{name}")) else { return };
        let mut reader = Reader::open(std::slice::from_ref(&path), all_methods()).unwrap();
        let requests = rest(&mut reader);
        let (counts, summary) = (reader.counts(), reader.summary());
        let expected: Vec<(String, u64)> = methods.iter().map(|(m, n)| ((*m).to_owned(), *n)).collect();
        assert_eq!((&*counts.format, summary.methods, counts.skipped.len()), (format, expected, 0), "{name}");
        assert_eq!(requests.len() as u64, counts.lines, "{name}");
        if let Some(span) = span_ns {
            assert_eq!(summary.last_unix_ns.unwrap() - summary.first_unix_ns.unwrap(), span, "{name}");
        }
        if name == "browser.har" {
            let text = std::fs::read_to_string(&path).unwrap();
            let entries = text.matches("\"request\":{").count();
            assert_eq!(entries, requests.len());
            assert!(requests.iter().all(|r| r.headers.iter().all(|(n, _)| !n.starts_with(':'))));
        }
        if name == "ammo.uripost" {
            assert!(
                requests
                    .iter()
                    .all(|r| r.body.0.len() == 77 && r.host.as_deref() == Some("qwertyuiop.test.tst.yandex.net"))
            );
        }
    }
}

/// Reads requests off one connection after another and answers each; gives each as it was sent.
fn serve(listener: TcpListener, seen: mpsc::Sender<(String, Vec<u8>)>) {
    let converse = |mut stream: TcpStream, seen: mpsc::Sender<(String, Vec<u8>)>| {
        let (mut held, mut piece) = (Vec::new(), [0u8; 4096]);
        let mut more = |held: &mut Vec<u8>, stream: &mut TcpStream| match stream.read(&mut piece) {
            Ok(n) if n > 0 => {
                held.extend_from_slice(&piece[..n]);
                true
            }
            _ => false,
        };
        loop {
            let head_bytes = loop {
                if let Some(n) = held.windows(4).position(|w| w == b"\r\n\r\n") {
                    break n + 4;
                }
                if !more(&mut held, &mut stream) {
                    return;
                }
            };
            let head = String::from_utf8_lossy(&held[..head_bytes]).into_owned();
            let length =
                head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
            while held.len() < head_bytes + length {
                if !more(&mut held, &mut stream) {
                    return;
                }
            }
            let body = held[head_bytes..head_bytes + length].to_vec();
            held.drain(..head_bytes + length);
            if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() || seen.send((head, body)).is_err() {
                return;
            }
        }
    };
    for stream in listener.incoming().flatten() {
        let seen = seen.clone();
        std::thread::spawn(move || converse(stream, seen));
    }
}

/// What a replay of `file` sends on one connection, in order.
fn arrived(bench: &Bench, file: &Path, more: &str) -> Vec<(String, Vec<u8>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let (tell, seen) = mpsc::channel();
    std::thread::spawn(move || serve(listener, tell));
    let words = bench.words(&target, file, &format!("--methods all --connections 1 --threads 1 {more}"));
    Running::start(bench.command(&words)).report();
    seen.try_iter().collect()
}

#[test]
fn a_capture_arrives_with_its_methods_paths_fields_and_bodies() {
    let Some(path) = material::needed("traffic/goreplay.gor") else { return };
    let bench = Bench::new();
    let seen = arrived(&bench, &path, "");
    // Independently of the reader: what stands between the marks of the capture.
    let text = std::fs::read(&path).unwrap();
    let text = String::from_utf8(text).unwrap();
    let recorded: Vec<&str> = text.split("\n🐵🙈🙉\n").filter(|m| m.starts_with("1 ")).collect();
    assert_eq!((recorded.len(), seen.len()), (101, 101));
    let mut bodies = 0;
    for (message, (head, body)) in recorded.iter().zip(&seen) {
        let (recorded_head, recorded_body) = message.split_once('\n').unwrap().1.split_once("\r\n\r\n").unwrap();
        let (request_line, fields) = recorded_head.split_once("\r\n").unwrap();
        assert_eq!(head.lines().next().unwrap(), request_line);
        for field in fields.split("\r\n").filter(|f| !f.starts_with("Connection")) {
            assert!(head.contains(&format!("\r\n{field}\r\n")), "{field} in {head}");
        }
        let length = fields.lines().find_map(|l| l.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
        assert_eq!(body, &recorded_body.as_bytes()[..length]);
        bodies += usize::from(length > 0);
    }
    assert_eq!(bodies, 2);
}

#[test]
fn bytes_of_any_kind_arrive_as_they_were_recorded() {
    let bench = Bench::new();
    let body: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    bench.file("body.bin", &body);
    let list = bench.file(
        "targets.txt",
        "POST http://elsewhere.example/up\nX-Kind: any\n@body.bin\n\nGET http://elsewhere.example/\n",
    );
    let seen = arrived(&bench, &list, "");
    assert_eq!(seen.len(), 2);
    assert!(seen[0].0.starts_with("POST /up HTTP/1.1\r\nHost: elsewhere.example\r\nX-Kind: any\r\n"), "{}", seen[0].0);
    assert!(seen[0].1 == body && seen[1].1.is_empty());
}

#[test]
fn speed_is_refused_for_what_has_no_times_and_secrets_are_not_shown() {
    let bench = Bench::new();
    let list = bench.file("list.txt", "/a\n/b\n");
    let ended = Running::start(bench.command(&bench.words("http://127.0.0.1:1", &list, "--speed 2"))).end();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("urls has no times") && ended.stderr.lines().count() == 1, "{}", ended.stderr);

    let text = "curl http://h/ -H 'Authorization: Bearer hidden-a' -b 'sid=hidden-b' -u me:hidden-c\n";
    for (more, content) in
        [("", text.to_owned()), ("--json", text.to_owned()), ("", text.replace("curl http", "curl -F http"))]
    {
        let list = bench.file("curl.sh", content);
        let mut words = vec!["traffic".to_owned(), list.display().to_string()];
        words.extend(more.split_whitespace().map(str::to_owned));
        let ended = Running::start(bench.command(&words)).end();
        assert!(!(ended.stdout + &ended.stderr).contains("hidden"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_damage_is_counted_and_reading_goes_on(
        which in 0usize..9,
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..12), 0usize..20), 1..6),
        step in 1usize..5000,
        named: bool,
    ) {
        let sample = &samples()[which];
        let mut text = sample.text.clone().into_bytes();
        for (at, bytes, removed) in &damage {
            let at = at.index(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, bytes.iter().copied());
            if text.is_empty() { text.push(b'x') }
        }
        let options = Options { format: named.then(|| sample.format.clone()), ..all_methods() };
        if let Ok(mut reader) = Reader::open_sources(vec![stream(text, step)], options) {
            let mut request = Reader::blank();
            let mut n = 0;
            while let Ok(true) = reader.next(&mut request) {
                n += 1;
                prop_assert!(request.path.starts_with('/') && !request.path.bytes().any(|b| b < 0x21 || b == 0x7f));
                let clean = |s: &str| !s.chars().any(|c| c.is_ascii_control() && c != '\t');
                prop_assert!(request.headers.iter().all(|(n, v)| !n.is_empty() && clean(n) && clean(v)));
                prop_assert!(request.host.as_deref().is_none_or(|h| !h.is_empty() && h.bytes().all(|b| b.is_ascii_graphic())));
            }
            let counts = reader.counts();
            prop_assert_eq!(counts.requests, n);
            prop_assert_eq!(counts.lines, n + counts.skipped.iter().map(|s| s.count).sum::<u64>());
        }
    }
}
