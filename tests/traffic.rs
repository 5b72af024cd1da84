//! The traffic room from outside: real logs and their figures, packing, merging, disorder,
//! hostile bytes.
//!
//! Must not: send anything; rely on material of others when it is not there.

mod material;
#[path = "traffic/recorded.rs"]
mod recorded;

use perfbench::model::{Request, TrafficCounts};
use perfbench::traffic::{DEMO_LOG, MethodFilter, Options, Reader, Reason, Source, TrafficError};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read, Write};
use std::path::PathBuf;

fn stream(bytes: impl Into<Vec<u8>>) -> Source {
    Source::Stream { name: "stream".into(), stream: Box::new(Cursor::new(bytes.into())) }
}

fn open(sources: Vec<Source>, options: Options) -> Reader {
    Reader::open_sources(sources, options).unwrap()
}

fn rest(reader: &mut Reader) -> Vec<Request> {
    let (mut request, mut all) = (Reader::blank(), Vec::new());
    while reader.next(&mut request).unwrap() {
        keeps_its_promises(&request);
        all.push(request.clone());
    }
    assert!(all.is_sorted_by_key(|r| r.recorded_unix_ns), "time went backwards");
    adds_up(&reader.counts());
    all
}

/// What `model::Request` says of itself.
fn keeps_its_promises(r: &Request) {
    assert!(r.path.starts_with('/') && !r.path.bytes().any(|b| b < 0x21 || b == 0x7f), "{:?}", r.path);
    let clean = |s: &str| !s.chars().any(|c| c.is_ascii_control() && c != '\t');
    assert!(r.headers.iter().all(|(n, v)| !n.is_empty() && clean(n) && clean(v)), "{:?}", r.headers);
    assert!(r.host.as_deref().is_none_or(|h| !h.is_empty() && h.bytes().all(|b| b.is_ascii_graphic())));
    assert!(!r.route.name.is_empty());
}

fn adds_up(counts: &TrafficCounts) {
    let skipped: u64 = counts.skipped.iter().map(|s| s.count).sum();
    assert_eq!(counts.lines, counts.requests + skipped, "{counts:?}");
}

fn skipped(counts: &TrafficCounts) -> BTreeMap<&str, (u64, &str)> {
    counts.skipped.iter().map(|s| (&*s.reason, (s.count, &*s.first))).collect()
}

/// Everything but the moment within the second and the number of the route.
fn content(r: &Request) -> (i64, String, String, Vec<String>) {
    let headers = r.headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
    (r.recorded_unix_ns.div_euclid(1_000_000_000), r.method.to_string(), r.path.clone(), headers)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut z = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    z.write_all(bytes).unwrap();
    z.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

fn combined_line(second: u32, path: &str) -> String {
    let (m, s) = (second / 60, second % 60);
    format!(
        "192.0.2.1 - - [17/May/2015:{:02}:{:02}:{s:02} +0000] \"GET {path} HTTP/1.1\" 200 5 \"-\" \"-\"\n",
        m / 60,
        m % 60
    )
}

#[test]
fn a_reader_can_be_given_to_a_thread() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&open(vec![stream(combined_line(1, "/"))], Options::default()));
}

#[test]
fn packing_makes_no_difference() {
    let text = gunzip(DEMO_LOG);
    let dir = tempfile::tempdir().unwrap();
    // Names say nothing: the content decides.
    let mut members = gzip(&text[..100_000]);
    members.extend(gzip(&text[100_000..]));
    let packed = [text.clone(), gzip(&text), members, zstd::encode_all(&text[..], 1).unwrap()];
    let mut all = packed
        .iter()
        .enumerate()
        .flat_map(|(n, bytes)| {
            let path = dir.path().join(format!("{n}.gz"));
            std::fs::write(&path, bytes).unwrap();
            [Source::File(path), stream(&bytes[..])]
        })
        .map(|source| {
            let mut reader = open(vec![source], Options::default());
            let requests = rest(&mut reader);
            let mut counts = reader.counts();
            counts.skipped.iter_mut().for_each(|s| s.first = s.first.rsplit(':').next().unwrap().to_owned());
            (requests, counts)
        });
    let first = all.next().unwrap();
    for other in all {
        assert!(first == other);
    }
}

#[test]
fn several_files_are_one_recording() {
    let text = gunzip(DEMO_LOG);
    let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
    let mut whole = open(vec![stream(&text[..])], Options::default());
    let mut expected: Vec<_> = rest(&mut whole).iter().map(content).collect();
    expected.sort();
    // Three hosts behind a balancer, and three rotated files given in the wrong order.
    let hosts: Vec<Vec<u8>> =
        (0..3).map(|h| lines.iter().skip(h).step_by(3).copied().collect::<Vec<_>>().concat()).collect();
    let rotated: Vec<Vec<u8>> = lines.chunks(lines.len() / 3 + 1).rev().map(<[&[u8]]>::concat).collect();
    for files in [hosts, rotated] {
        let mut reader = open(files.into_iter().map(stream).collect(), Options::default());
        let mut got: Vec<_> = rest(&mut reader).iter().map(content).collect();
        assert!(got.is_sorted_by_key(|r| r.0));
        got.sort();
        assert!(got == expected);
        assert_eq!(reader.counts().requests, whole.counts().requests);
        assert_eq!(reader.counts().outside_window, 0);
    }
}

#[test]
fn files_of_different_formats_and_empty_ones_go_together() {
    let vhost = format!("shop.example:8080 {}", combined_line(7, "/v"));
    let mut reader = open(vec![stream(vhost), stream(""), stream(combined_line(3, "/c"))], Options::default());
    let requests = rest(&mut reader);
    assert_eq!(reader.counts().format, "vhost_combined, none: empty, combined");
    let seen: Vec<_> = requests.iter().map(|r| (&*r.path, r.host.as_deref())).collect();
    assert_eq!(seen, [("/c", None), ("/v", Some("shop.example:8080"))]);
}

#[test]
fn a_repetition_gives_the_same_and_is_not_counted_again() {
    let mut reader =
        open(vec![Source::Bytes { name: "demo", bytes: DEMO_LOG }], Options { seed: 5, ..Options::default() });
    let first = rest(&mut reader);
    let (counts, summary) = (reader.counts(), reader.summary());
    assert!(reader.can_reopen());
    reader.reopen().unwrap();
    assert!(rest(&mut reader) == first);
    assert_eq!(reader.counts(), TrafficCounts { repeats: 1, ..counts });
    assert_eq!(reader.summary(), summary);

    let mut pipe = open(vec![stream(combined_line(1, "/"))], Options::default());
    assert!(!pipe.can_reopen() && matches!(pipe.reopen(), Err(TrafficError::CannotReopen { .. })));
    assert_eq!(rest(&mut pipe).len(), 1);
}

#[test]
fn damage_after_good_lines_loses_only_what_is_damaged() {
    let text: Vec<u8> =
        (0..5000).flat_map(|n| combined_line(n / 10, &format!("/p/{n}/{}", n * 7919)).into_bytes()).collect();
    let mut packed = gzip(&text);
    packed.truncate(packed.len() * 2 / 3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("torn.log");
    std::fs::write(&path, &packed).unwrap();
    let mut reader = Reader::open(std::slice::from_ref(&path), Options::default()).unwrap();
    let requests = rest(&mut reader);
    assert!(requests.len() > 1000);
    let counts = reader.counts();
    let expected = format!("torn.log:{}", requests.len() + 1);
    let (count, first) = skipped(&counts)[Reason::Damaged.as_str()];
    assert!(count == 1 && first.ends_with(&expected), "{counts:?}");

    std::fs::write(&path, &packed[..15]).unwrap();
    let error = Reader::open(&[path], Options::default()).err().unwrap();
    assert!(matches!(error, TrafficError::Damaged { .. }), "{error}");
}

#[test]
fn wrong_input_fails_at_once_in_one_line() {
    let error = |source, options| Reader::open_sources(vec![source], options).err().unwrap().to_string();
    let named = |name: &str| Options { format: Some(name.into()), ..Options::default() };
    for (message, says) in [
        (error(stream(""), Options::default()), "empty"),
        (error(stream("hello\x1b[2J\nworld\n"), Options::default()), "tried: combined, common, vhost_combined"),
        (error(stream("hello\nworld\n"), named("common")), "tried: common"),
        (
            error(stream("x"), Options { fields: vec![("when".into(), "ts".into())], ..Options::default() }),
            "there are: time",
        ),
        (
            error(
                stream("x"),
                Options { log_format_from: Some("/nonexistent.conf:main".into()), ..Options::default() },
            ),
            "/nonexistent.conf: no such file",
        ),
        (error(stream(combined_line(1, "/")), named("vhost_combined")), "first line: 192.0.2.1"),
        (error(stream("x"), named("nosuch")), "known: combined"),
        (error(Source::File("/nonexistent/x.log".into()), Options::default()), "no such file"),
    ] {
        assert!(message.contains(says) && !message.contains(['\n', '\x1b']), "{message}");
    }
    let twice = [PathBuf::from("-"), PathBuf::from("-")];
    assert!(matches!(Reader::open(&twice, Options::default()), Err(TrafficError::StdinTwice)));
    assert!(matches!(Reader::open(&[], Options::default()), Err(TrafficError::NoFiles)));
}

#[test]
fn a_format_that_is_named_may_begin_late() {
    let words: String = (0..250).map(|n| format!("2015/05/17 08:05:32 [notice] starting worker {n}\n")).collect();
    let log = format!("{words}{}{}", combined_line(1, "/a"), combined_line(2, "/b"));
    let named = Options { format: Some("combined".into()), ..Options::default() };
    let mut reader = open(vec![stream(log.clone())], named.clone());
    assert_eq!(rest(&mut reader).len(), 2);
    assert_eq!(skipped(&reader.counts()), [("not in the log format", (250, "stream:1"))].into());
    // All of a short one was looked at, and nobody is made to wait for what is known.
    assert!(Reader::open_sources(vec![stream("words\n")], named).is_err());
    assert!(Reader::open_sources(vec![stream(log)], Options::default()).is_err());
}

#[test]
fn a_pattern_of_ones_own_is_a_format() {
    let line = "1431849932.500 example.net GET /a?b 0.250\n";
    let format = Some("$msec $host $request_method $request_uri $request_time".to_owned());
    let mut reader = open(vec![stream(line)], Options { format, ..Options::default() });
    let r = &rest(&mut reader)[0];
    assert_eq!(
        (r.recorded_unix_ns, &*r.path, r.host.as_deref()),
        (1_431_849_932_250_000_000, "/a?b", Some("example.net"))
    );
}

#[test]
fn a_log_format_of_a_configuration_reads_the_log_that_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("nginx.conf");
    std::fs::write(
        &conf,
        r#"http { # the log
            log_format  main escape=json '{"t":"$time_iso8601","took":$request_time,'
                                         '"r":"$request","h":"$http_host","k":"$http_x_key"}';
            log_format  other '$msec "$request"';
            server { access_log /var/log/nginx/a.log main buffer=64k flush=5s; } }"#,
    )
    .unwrap();
    let conf = conf.to_str().unwrap();
    let line = r#"{"t":"2015-05-17T08:05:32+00:00","took":2.500,"r":"GET /a?q=\"x\" HTTP/1.1","h":"a.example","k":""}"#;
    let read = |from: &str, line: &str| {
        let options = Options { log_format_from: Some(from.into()), ..Options::default() };
        let mut reader = Reader::open_sources(vec![stream(line)], options)?;
        Ok::<_, TrafficError>((rest(&mut reader).remove(0), reader.choices()[0].clone()))
    };
    let (r, choice) = read(conf, line).unwrap();
    assert_eq!((&*r.path, r.host.as_deref(), r.headers.len()), ("/a?q=\"x\"", Some("a.example"), 0));
    assert!((1_431_849_929_500_000_000..1_431_849_930_500_000_000).contains(&r.recorded_unix_ns));
    assert_eq!((choice.format.as_str(), choice.named), ("main", true));
    let (r, _) = read(&format!("{conf}:other"), "1431849932.250 \"GET /b HTTP/1.1\"").unwrap();
    assert_eq!((&*r.path, r.recorded_unix_ns), ("/b", 1_431_849_932_250_000_000));
    let error = read(&format!("{conf}:none"), "x").unwrap_err().to_string();
    assert!(error.contains("there are: main, other"), "{error}");
}

#[test]
fn keys_of_json_lines_can_be_named() {
    let line = r#"{"at":{"ms":1431849932250},"req":{"what":"/a?b=c"},"took":"1.5ms","who":"192.0.2.7"}"#;
    let pairs = [("time", "at.ms"), ("uri", "req.what"), ("duration", "took"), ("client", "who")];
    let fields = pairs.map(|(part, key)| (part.to_owned(), key.to_owned())).to_vec();
    let mut reader = open(vec![stream(line)], Options { fields, ..Options::default() });
    let r = &rest(&mut reader)[0];
    assert_eq!((r.method.as_str(), &*r.path, r.recorded_unix_ns), ("GET", "/a?b=c", 1_431_849_932_248_500_000));
    assert!(r.client != 0);
    // Without them it is no access log.
    assert!(Reader::open_sources(vec![stream(line)], Options::default()).is_err());
}

#[test]
fn a_head_that_comes_again_with_other_columns_holds_from_there_on() {
    let head = "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n";
    let log = format!(
        "2015-05-17 08:05:31 GET /rotated 200\n{head}#Fields: date time cs-method cs-uri-stem sc-status\n\
         2015-05-17 08:05:32 GET /a 200\n{head}#Fields: date time sc-status cs-uri-stem cs-uri-query cs-method\n\
         2015-05-17 08:05:33 404 /b c=d GET\n"
    );
    let mut reader = open(vec![stream(log.clone()), stream(log)], Options::default());
    let requests = rest(&mut reader);
    let paths: Vec<&str> = requests.iter().map(|r| &*r.path).collect();
    assert_eq!(paths, ["/rotated", "/rotated", "/a", "/a", "/b?c=d", "/b?c=d"]);
    let counts = reader.counts();
    assert_eq!(skipped(&counts)["header or comment line"], (12, "stream:2"));
}

#[test]
fn a_log_out_of_a_container_or_syslog_is_read_as_what_is_inside() {
    let inside = [combined_line(1, "/a"), combined_line(2, "/b"), "not a request\n".to_owned()];
    let docker = |l: &String| {
        serde_json::json!({"log": l, "stream": "stdout", "time": "2015-05-17T00:00:01Z"}).to_string() + "\n"
    };
    let with = |prefix: &str| inside.iter().map(|l| format!("{prefix}{l}")).collect::<String>();
    for (log, envelope) in [
        (with("2015-05-17T00:00:01.000000001Z stdout F "), "container runtime prefix"),
        (inside.iter().map(docker).collect(), "docker json-file"),
        (with("May 17 00:00:01 host nginx: "), "syslog"),
        (with("<190>May 17 00:00:01 host nginx: "), "syslog"),
        (with("[pod/shop-7f9/nginx] "), "kubectl prefix"),
        (with("shop-1  | "), "docker compose prefix"),
        (with("2015-05-17T08:05:32.003123456Z "), "time before each line"),
    ] {
        let mut reader = open(vec![stream(log)], Options::default());
        let paths: Vec<String> = rest(&mut reader).into_iter().map(|r| r.path).collect();
        assert_eq!(paths, ["/a", "/b"]);
        let choice = &reader.choices()[0];
        assert_eq!((choice.format.as_str(), choice.envelope, choice.matched), ("combined", Some(envelope), 2));
        assert_eq!(
            choice.why(),
            format!("combined: 2 of 3 lines, inside {envelope}; also fit: common 2 (fewer fields)")
        );
    }
}

#[test]
fn methods_are_replayed_when_named_and_headers_go_along() {
    let text = "192.0.2.1 - - [17/May/2015:08:05:32 +0000] \"POST /a HTTP/1.1\" 200 5 \"http://r/\" \"agent\"\n\
                192.0.2.1 - - [17/May/2015:08:05:33 +0000] \"BREW /b HTTP/1.1\" 200 5 \"-\" \"\\x01\"\n\
                192.0.2.1 - - [17/May/2015:08:05:34 +0000] \"GET /c HTTP/1.1\" 200 5 \"-\" \"agent 2\"\n";
    let mut reader = open(vec![stream(text)], Options { methods: MethodFilter::All, ..Options::default() });
    let requests = rest(&mut reader);
    let seen: Vec<_> = requests.iter().map(|r| (r.method.as_str(), r.headers.len())).collect();
    assert_eq!(seen, [("POST", 2), ("BREW", 0), ("GET", 1)]);
    assert_eq!(requests[0].headers[0], ("Referer".into(), "http://r/".to_owned()));
    assert_eq!(requests[2].headers[0], ("User-Agent".into(), "agent 2".to_owned()));
    assert_eq!(reader.summary().headers_left_out, 1);

    let mut reader = open(vec![stream(text)], Options::default());
    assert_eq!(rest(&mut reader).len(), 1);
    assert_eq!(skipped(&reader.counts())["method BREW not replayed"], (1, "stream:2"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn hostile_bytes_never_become_a_bad_request(
        parts in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            r#"[GHPOST]{3,4} [ -~]{0,30} HTTP/1\.1"#.prop_map(String::into_bytes),
            r#"GET (https?://)?[a-z/.:@\\x0-9é ]{0,20} HTTP/1\.1"#.prop_map(String::into_bytes),
        ], 1..20),
        agents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..20),
        zstd: bool,
    ) {
        let mut text = combined_line(1, "/").into_bytes();
        for (n, part) in parts.iter().enumerate() {
            let agent = &agents[n % agents.len()];
            let time = format!("17/May/2015:08:05:{:02} +0000", (n * 7919) % 61);
            text.extend([b"192.0.2.1 - - [", time.as_bytes(), b"] \"", part, b"\" 200 5 \"-\" \"", agent, b"\"\n"].concat());
            text.extend_from_slice(part);
            text.push(b'\n');
        }
        let bytes = if zstd { zstd::encode_all(&text[..], 1).unwrap() } else { text };
        let mut reader = open(vec![stream(bytes)], Options { methods: MethodFilter::All, ..Options::default() });
        prop_assert!(!rest(&mut reader).is_empty());
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300), magic in 0usize..3) {
        let start = [&b""[..], b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x28\xb5\x2f\xfd"][magic];
        if let Ok(mut reader) = Reader::open_sources(vec![stream([start, &bytes].concat())], Options::default()) {
            let mut request = Reader::blank();
            while let Ok(true) = reader.next(&mut request) { keeps_its_promises(&request); }
        }
    }

    #[test]
    fn memory_is_bounded_whatever_the_disorder(files in 1usize..4, lines in 1usize..600, kib in 1usize..200, seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut expected = Vec::new();
        let texts: Vec<String> = (0..files).map(|f| (0..lines).map(|n| {
            expected.push(format!("/{f}/{n}/{}", "x".repeat(rng.usize(0..200))));
            combined_line(rng.u32(0..80_000), &expected[expected.len() - 1])
        }).collect()).collect();
        let options = Options { window_bytes: kib << 10, window_ns: u64::MAX, ..Options::default() };
        let mut reader = open(texts.into_iter().map(stream).collect(), options);
        let (mut request, mut paths, mut last) = (Reader::blank(), Vec::new(), 0);
        while reader.next(&mut request).unwrap() {
            // Each file may hold one chunk for the request it has next.
            let bound = (kib << 10) + files * (65 << 10);
            prop_assert!(reader.waiting_bytes() <= bound, "{} bytes of {} KiB", reader.waiting_bytes(), kib);
            prop_assert!(request.recorded_unix_ns >= last);
            last = request.recorded_unix_ns;
            paths.push(request.path.clone());
        }
        paths.sort();
        expected.sort();
        prop_assert!(paths == expected);
        adds_up(&reader.counts());
    }

    #[test]
    fn disorder_within_the_window_is_a_full_sort_over_all_files(
        files in prop::collection::vec(prop::collection::vec((0u32..40, 0u32..60), 1..200), 1..5),
    ) {
        let mut expected = Vec::new();
        let texts: Vec<String> = files.iter().enumerate().map(|(f, steps)| {
            let mut clock = 100;
            steps.iter().enumerate().map(|(n, (on, back))| {
                clock += on;
                expected.push((clock - back, f, n));
                combined_line(clock - back, &format!("/{f}/{n}"))
            }).collect()
        }).collect();
        let mut reader = open(texts.into_iter().map(stream).collect(), Options::default());
        let day = 1_431_820_800; // 2015-05-17T00:00:00Z
        let requests = rest(&mut reader);
        prop_assert_eq!(reader.counts().outside_window, 0);
        for f in 0..files.len() {
            // Within a file the order is that of a stable sort; between files seconds are shared.
            let mut of_file: Vec<_> = expected.iter().filter(|e| e.1 == f).collect();
            of_file.sort();
            let got = requests.iter().filter(|r| r.path.starts_with(&format!("/{f}/")));
            let same = got.map(|r| (r.recorded_unix_ns / 1_000_000_000 - day, r.path.clone()))
                .eq(of_file.iter().map(|(s, f, n)| (i64::from(*s), format!("/{f}/{n}"))));
            prop_assert!(same);
        }
    }
}

/// An endless log out of a few kilobytes: `lines` lines, one second every `per_second`, each up to
/// `disorder_s` before the newest.
struct Endless {
    lines: u64,
    made: u64,
    per_second: u64,
    disorder_s: u64,
    rng: fastrand::Rng,
    buffer: Vec<u8>,
    sent: usize,
}

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.sent == self.buffer.len() {
            self.buffer.clear();
            self.sent = 0;
            while self.made < self.lines && self.buffer.len() < 60 << 10 {
                self.made += 1;
                let second =
                    (self.disorder_s + self.made / self.per_second - self.rng.u64(0..=self.disorder_s)) % (86_400 * 28);
                let (day, s) = (1 + second / 86_400, second % 86_400);
                writeln!(
                    self.buffer,
                    "192.0.2.{} - - [{day:02}/May/2015:{:02}:{:02}:{:02} +0000] \"GET /product/{} HTTP/1.1\" 200 5123 \"https://shop.example/\" \"Mozilla/5.0 (X11; Linux x86_64; rv:123.0) Gecko/20100101 Firefox/123.0\"",
                    self.made % 250,
                    s / 3600,
                    s / 60 % 60,
                    s % 60,
                    self.made % 977,
                )?;
            }
        }
        let n = into.len().min(self.buffer.len() - self.sent);
        into[..n].copy_from_slice(&self.buffer[self.sent..self.sent + n]);
        self.sent += n;
        Ok(n)
    }
}

fn endless(lines: u64, per_second: u64, disorder_s: u64) -> Source {
    let rng = fastrand::Rng::with_seed(1);
    let log = Endless { lines, made: 0, per_second, disorder_s, rng, buffer: Vec::new(), sent: 0 };
    Source::Stream { name: "endless".into(), stream: Box::new(log) }
}

#[test]
fn a_long_log_in_wild_disorder_stays_small() {
    // An hour of disorder at 30/s, more than fits into 8 MiB.
    let options = Options { window_ns: 3_600_000_000_000, window_bytes: 8 << 20, ..Options::default() };
    let mut reader = open(vec![endless(100_000, 30, 3600)], options);
    let (mut request, mut n, mut most) = (Reader::blank(), 0, 0);
    while reader.next(&mut request).unwrap() {
        n += 1;
        most = most.max(reader.waiting_bytes());
    }
    assert_eq!(n, 100_000);
    assert!(most > 7 << 20 && most <= (8 << 20) + (65 << 10), "{most}");
    assert!(reader.counts().outside_window > 0);
}
