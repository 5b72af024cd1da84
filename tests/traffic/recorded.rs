//! Real logs and their figures: what others have recorded, where it lies beside the project, and
//! the demo's log.
//!
//! Must not: rely on material of others when it is not there.

use super::*;
use material::needed as shared;

#[test]
fn every_figure_of_the_real_log() {
    let Some(path) = shared("logs/nginx-combined.log.gz") else { return };
    let mut reader = Reader::open(std::slice::from_ref(&path), Options::default()).unwrap();
    let requests = rest(&mut reader);
    let (counts, summary) = (reader.counts(), reader.summary());
    assert_eq!((counts.lines, counts.requests, counts.skipped.len()), (51_462, 51_462, 0));
    assert_eq!(requests.len(), 51_462);
    assert_eq!(counts.format, "combined");
    assert_eq!((reader.choices()[0].matched, reader.choices()[0].looked_at), (200, 200));
    assert_eq!(
        summary.statuses,
        BTreeMap::from([(404, 33876), (304, 13330), (200, 4028), (206, 186), (403, 38), (416, 4)])
    );
    assert_eq!(summary.methods, [("GET".to_owned(), 51_379), ("HEAD".to_owned(), 83)]);
    assert_eq!(summary.response_bytes, 33_939_678_630);
    assert_eq!(summary.ipv6_lines, 50);
    // 2015-05-17T08:05:00Z and 2015-06-04T07:06:52Z
    let second = 1_000_000_000;
    assert_eq!(summary.first_unix_ns, Some(1_431_849_900 * second));
    assert_eq!(summary.last_unix_ns, Some(1_433_401_612 * second));
    let half = f64::from(u32::try_from(summary.steps_back).unwrap()) / 51_462.0;
    assert!((0.45..0.55).contains(&half), "{half} of the lines lie before the line above them");
    // Nothing is late: the window is longer than the log's disorder of up to 59 s.
    assert!(counts.out_of_order >= summary.steps_back && counts.outside_window == 0, "{counts:?}");

    // Independently: a stable sort of the lines by their seconds gives the same requests.
    let text = gunzip(&std::fs::read(&path).unwrap());
    let mut expected: Vec<(&str, &str)> = std::str::from_utf8(&text)
        .unwrap()
        .lines()
        .map(|l| (&l[l.find('[').unwrap() + 1..l.find(']').unwrap()], l.split(' ').nth(6).unwrap()))
        .collect();
    let month = |t: &str| if &t[3..6] == "May" { 5 } else { 6 };
    expected.sort_by_key(|(t, _)| (month(t), t[..2].parse::<u32>().unwrap(), t[12..20].to_owned()));
    assert!(expected.iter().map(|e| e.1).eq(requests.iter().map(|r| &*r.path)));
    // And seconds are spread, not fired as bursts: few share a moment.
    let bursts = requests.windows(2).filter(|w| w[0].recorded_unix_ns == w[1].recorded_unix_ns).count();
    assert!(bursts < 10, "{bursts}");
}

#[test]
fn junk_is_counted_by_reason_and_nothing_is_sent_for_it() {
    let Some(path) = shared("logs/nginx-malformed.log") else { return };
    let mut reader = Reader::open(std::slice::from_ref(&path), Options::default()).unwrap();
    let error = reader.next(&mut Reader::blank()).unwrap_err();
    let counts = reader.counts();
    adds_up(&counts);
    let lines = std::fs::read(&path).unwrap().split(|b| *b == b'\n').filter(|l| !l.is_empty()).count();
    assert_eq!((counts.lines, counts.requests), (lines as u64, 0));
    let skipped = skipped(&counts);
    assert!(skipped[Reason::Binary.as_str()].0 > 0 && skipped[Reason::NotARequestLine.as_str()].0 == 2, "{skipped:?}");
    let (tls, first) = skipped[Reason::Tls.as_str()];
    assert!(tls == 1 && first.ends_with("nginx-malformed.log:8"), "{skipped:?}");
    let message = error.to_string();
    assert!(matches!(error, TrafficError::NoRequest { .. }) && !message.contains('\n'), "{message}");
    assert!(
        message.contains("combined, common, vhost_combined") && message.contains("the first line: 1.2.3.4"),
        "{message}"
    );
}

/// One line per request: method, path, host, recorded status, client known, ns since the epoch.
type Seen<'a> = (&'a str, &'a str, Option<&'a str>, Option<u16>, bool, i64);

/// File, format, requests, what else is in it, the first request.
type Log = (&'static str, &'static str, usize, &'static [(&'static str, u64)], Seen<'static>);

/// A shared log, the format it must be taken for, how many requests and what else is in it, and its
/// first request; a last field that is -1 stands for a time within the second before.
#[test]
fn every_shared_log_of_one_line_per_request_is_understood() {
    const MS: i64 = 1_000_000;
    let logs: [Log; 6] = [
        (
            "caddy.jsonl",
            "caddy",
            10,
            &[("empty line", 1), ("not in the log format", 1)],
            // A status of 0 is what Caddy writes when no handler answered: none.
            ("GET", "/", Some("127.0.0.1:8080"), None, true, 1_693_840_791_756_496_799),
        ),
        (
            "traefik.jsonl",
            "traefik",
            6,
            &[("not in the log format", 1)],
            ("GET", "/594VAEoi.save", Some("test.docker.localhost"), Some(200), true, 1_638_972_163_587_782_192),
        ),
        (
            "traefik-clf.log",
            "traefik_clf",
            7,
            &[("empty line", 2)],
            ("GET", "/scripts/cpshost.dll", None, Some(200), true, 1_638_954_965_000 * MS),
        ),
        (
            "envoy-json-kubernetes.log",
            "envoy",
            10,
            &[],
            // One line lies ten years before it: it comes too late and is replayed at once.
            ("GET", "/assets/image.webp", Some("www.example.com"), Some(200), true, 1_767_199_060_479 * MS),
        ),
        ("aws-alb.log", "alb", 14, &[], ("GET", "/", Some("www.example.com"), Some(200), true, 1_530_570_168_364 * MS)),
        (
            "aws-cloudfront.log",
            "cloudfront",
            2,
            &[],
            ("GET", "/testseb?query_param=42", Some("hub-cdn.crowdsec.net"), Some(400), true, -1),
        ),
    ];
    for (file, format, requests, left_out, first) in logs {
        let Some(path) = shared(&format!("logs/{file}")) else { return };
        let mut reader = Reader::open(&[path], Options { methods: MethodFilter::All, ..Options::default() }).unwrap();
        let all = rest(&mut reader);
        let choice = &reader.choices()[0];
        assert_eq!((choice.format.as_str(), all.len()), (format, requests), "{}", choice.why());
        assert_eq!(choice.envelope, (format == "envoy").then_some("container runtime prefix"));
        let counts = reader.counts();
        let skipped: Vec<(&str, u64)> = counts.skipped.iter().map(|s| (&*s.reason, s.count)).collect();
        assert_eq!(skipped, left_out, "{file}");
        let r = &all[0];
        let seen = (r.method.as_str(), &*r.path, r.host.as_deref(), r.recorded_status, r.client != 0);
        assert_eq!(seen, (first.0, first.1, first.2, first.3, first.4), "{file}");
        let at = r.recorded_unix_ns;
        match file {
            // Whole seconds are spread; 15:22:28 less 0.113 s.
            "traefik-clf.log" => assert_eq!(at / (1000 * MS), first.5 / (1000 * MS)),
            "aws-cloudfront.log" => assert!((1_710_256_947_887 * MS..1_710_256_948_887 * MS).contains(&at), "{at}"),
            _ => assert_eq!(at, first.5, "{file}"),
        }
    }
}

#[test]
fn header_fields_of_the_shared_logs_go_along_without_what_was_blacked_out() {
    let Some(path) = shared("logs/caddy.jsonl") else { return };
    let mut reader = Reader::open(&[path], Options::default()).unwrap();
    let all = rest(&mut reader);
    let names: Vec<&str> = all[9].headers.iter().map(|(n, _)| &**n).collect();
    assert_eq!(names, ["User-Agent", "Accept"], "an empty Authorization is none");
    let clients: std::collections::HashSet<u64> = all.iter().map(|r| r.client).collect();
    assert_eq!(clients.len(), 2); // 127.0.0.1 and 172.17.0.1, by client_ip
}

#[test]
fn the_demo_log_is_what_its_script_says() {
    let source = || Source::Bytes { name: "demo", bytes: DEMO_LOG };
    let mut reader = open(vec![source()], Options::default());
    let requests = rest(&mut reader);
    let (counts, summary) = (reader.counts(), reader.summary());
    assert!(DEMO_LOG.len() < 400 << 10 && (18_000..23_000).contains(&counts.lines));
    let span_s = (summary.last_unix_ns.unwrap() - summary.first_unix_ns.unwrap()) / 1_000_000_000;
    assert_eq!(span_s, 599);
    assert!(counts.out_of_order > 0 && counts.outside_window == 0);
    assert!(summary.ipv6_lines > 1000 && summary.statuses[&404] > 300 && summary.statuses[&500] > 0);
    let skipped = skipped(&counts);
    assert!(skipped["method POST not replayed"].0 > 100 && skipped[Reason::Tls.as_str()].0 > 3, "{skipped:?}");
    let mut routes: HashMap<&str, usize> = HashMap::new();
    requests.iter().for_each(|r| *routes.entry(&r.route.name).or_default() += 1);
    for route in
        ["/", "/static/css/site.css", "/product/{}", "/search", "/cart", "/checkout", "/api/v1/stock/{}", "/login"]
    {
        assert!(routes.get(route).is_some_and(|n| *n > 100), "{route}: {routes:?}");
    }
    assert!(routes.len() < 40);
    // All clients are of the documentation ranges.
    for line in gunzip(DEMO_LOG).split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        assert!(line.starts_with(b"192.0.2.") || line.starts_with(b"2001:db8:"));
    }
}
