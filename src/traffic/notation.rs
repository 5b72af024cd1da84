//! Notations that requests are written in, to be read again here or by other tools.
//!
//! Must not: open files; write a request that the notation would turn into another one.

use super::framed::MAX_RECORD_BYTES;
use crate::model::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write as _;

/// What a request may have and a notation may have no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Time,
    FineTime,
    Host,
    Status,
    Client,
    Fields,
    OtherFields,
    Body,
}

/// All parts: how a loss of them is told, and whether a request has them.
type PartRow = (Part, &'static str, fn(&Request) -> bool);

pub(super) const PARTS: &[PartRow] = &[
    (Part::Time, "times", |_| true),
    (Part::FineTime, "fractions of seconds", |r| r.recorded_unix_ns.rem_euclid(1_000_000_000) != 0),
    (Part::Host, "hosts", |r| r.host.is_some()),
    (Part::Status, "recorded statuses", |r| r.recorded_status.is_some()),
    (Part::Client, "clients", |r| r.client != 0),
    (Part::Fields, "header fields", |r| !r.headers.is_empty()),
    (Part::OtherFields, "header fields but Referer and User-Agent", |r| {
        let is_kept = |name: &str| name.eq_ignore_ascii_case("referer") || name.eq_ignore_ascii_case("user-agent");
        r.headers.iter().any(|(name, _)| !is_kept(name))
    }),
    (Part::Body, "bodies", |r| !r.body.0.is_empty()),
];

/// A notation.
pub struct Notation {
    /// The name users give to `--write-format`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub description: &'static str,
    /// What it has no place for: such a part is left out and counted.
    pub(super) lacks: &'static [Part],
    /// Appends a request, or says why it cannot be written at all.
    pub(super) put: fn(&mut Pen, &Request) -> Result<(), &'static str>,
}

/// All notations; the first is the default.
pub const NOTATIONS: &[Notation] = &[
    Notation {
        name: "jsonl",
        description: "JSON lines that hold all of a request; read back exactly",
        lacks: &[],
        put: json_line,
    },
    Notation {
        name: "gor",
        description: "GoReplay's file of raw requests with their times",
        lacks: &[Part::Status, Part::Client],
        put: gor,
    },
    Notation {
        name: "vegeta-json",
        description: "targets of vegeta in its JSON form",
        lacks: &[Part::Time, Part::Status, Part::Client],
        put: vegeta,
    },
    Notation {
        name: "uri",
        description: "ammo of Yandex Tank: GET only",
        lacks: &[Part::Time, Part::Status, Part::Client, Part::Fields, Part::Body],
        put: uri,
    },
    Notation {
        name: "urls",
        description: "one URL a line, its method before it unless it is GET",
        lacks: &[Part::Time, Part::Status, Part::Client, Part::Fields, Part::Body],
        put: urls,
    },
    Notation {
        name: "combined",
        description: "the access log format of nginx and Apache",
        lacks: &[Part::FineTime, Part::Host, Part::OtherFields, Part::Body],
        put: combined,
    },
];

/// Where requests are written, one after the other.
#[derive(Default)]
pub(super) struct Pen {
    /// What was written and not yet taken.
    pub(super) out: Vec<u8>,
    /// The host of requests that have none, where a notation demands one.
    pub(super) default_host: Option<String>,
    written: u64,
    sticky_host: Option<String>,
}

impl Pen {
    /// For requests that have no host, `default_host` where one is needed.
    pub(super) fn new(default_host: Option<String>) -> Pen {
        Pen { default_host, ..Pen::default() }
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A JSON string.
    fn json(&mut self, text: &str) {
        // Writing a string to memory does not fail.
        let _ = serde_json::to_writer(&mut self.out, text);
    }

    fn key(&mut self, key: &str) {
        self.text(",\"");
        self.text(key);
        self.text("\":");
    }

    /// Header fields as an object of JSON: one of several values is a list, with `always_lists`
    /// each is.
    fn fields(&mut self, r: &Request, always_lists: bool) {
        self.text("{");
        let mut first = true;
        for (n, (name, value)) in r.headers.iter().enumerate() {
            if r.headers[..n].iter().any(|(earlier, _)| earlier == name) {
                continue;
            }
            if !std::mem::replace(&mut first, false) {
                self.text(",");
            }
            self.json(name);
            self.text(":");
            let mut rest = r.headers[n + 1..].iter().filter(|(later, _)| later == name).peekable();
            let is_list = always_lists || rest.peek().is_some();
            self.text(if is_list { "[" } else { "" });
            self.json(value);
            for (_, value) in rest {
                self.text(",");
                self.json(value);
            }
            self.text(if is_list { "]" } else { "" });
        }
        self.text("}");
    }
}

/// `{"v":"perfbench-1","time":1431849932.123456789,"method":"GET","uri":"/a",...}`: the time is
/// the START, s since the Unix epoch. No line is longer than the reader takes.
fn json_line(pen: &mut Pen, r: &Request) -> Result<(), &'static str> {
    let from = pen.out.len();
    pen.text("{\"v\":\"perfbench-1\",\"time\":");
    let ns = r.recorded_unix_ns.unsigned_abs();
    let sign = if r.recorded_unix_ns < 0 { "-" } else { "" };
    let _ = write!(pen.out, "{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    pen.key("method");
    pen.json(r.method.as_str());
    pen.key("uri");
    pen.json(&r.path);
    if let Some(host) = &r.host {
        pen.key("host");
        pen.json(host);
    }
    if let Some(status) = r.recorded_status {
        pen.key("status");
        let _ = write!(pen.out, "{status}");
    }
    if r.client != 0 {
        pen.key("client");
        let _ = write!(pen.out, "\"{:016x}\"", r.client);
    }
    if !r.headers.is_empty() {
        pen.key("headers");
        pen.fields(r, false);
    }
    if !r.body.0.is_empty() {
        match std::str::from_utf8(&r.body.0) {
            Ok(text) => {
                pen.key("body");
                pen.json(text);
            }
            Err(_) => {
                pen.key("body_base64");
                pen.json(&STANDARD.encode(&r.body.0));
            }
        }
    }
    pen.text("}");
    if pen.out.len() - from > MAX_RECORD_BYTES {
        pen.out.truncate(from);
        return Err("lines longer than 16 MiB");
    }
    pen.text("\n");
    Ok(())
}

/// `1 ID TIME_NS`, the raw request, and the separator between payloads.
fn gor(pen: &mut Pen, r: &Request) -> Result<(), &'static str> {
    pen.written += 1;
    let ns = r.recorded_unix_ns;
    if ns < 0 {
        return Err("times before 1970");
    }
    let _ = write!(pen.out, "1 {ns:016x}{:08x} {ns}\n{} {} HTTP/1.1\r\n", pen.written % (1 << 32), r.method, r.path);
    if let Some(host) = r.host.as_ref().or(pen.default_host.as_ref()) {
        let _ = write!(pen.out, "Host: {host}\r\n");
    }
    // What frames the body is written for the body there is.
    let is_framing =
        |name: &str| ["host", "content-length", "transfer-encoding"].iter().any(|f| name.eq_ignore_ascii_case(f));
    for (name, value) in r.headers.iter().filter(|(name, _)| !is_framing(name)) {
        let _ = write!(pen.out, "{name}: {value}\r\n");
    }
    if !r.body.0.is_empty() || matches!(r.method, Method::Post | Method::Put | Method::Patch) {
        let _ = write!(pen.out, "Content-Length: {}\r\n", r.body.0.len());
    }
    pen.text("\r\n");
    pen.out.extend_from_slice(&r.body.0);
    pen.text("\n🐵🙈🙉\n");
    Ok(())
}

fn vegeta(pen: &mut Pen, r: &Request) -> Result<(), &'static str> {
    let Some(host) = r.host.clone().or_else(|| pen.default_host.clone()) else {
        return Err("no host, which a URL needs: give one with --write-host");
    };
    pen.text("{\"method\":");
    pen.json(r.method.as_str());
    pen.key("url");
    pen.json(&format!("http://{host}{}", r.path));
    if !r.headers.is_empty() {
        pen.key("header");
        pen.fields(r, true);
    }
    if !r.body.0.is_empty() {
        pen.key("body");
        pen.json(&STANDARD.encode(&r.body.0));
    }
    pen.text("}\n");
    Ok(())
}

/// `[Host: h]` whenever the host changes, and `/path tag`, the tag being the route.
fn uri(pen: &mut Pen, r: &Request) -> Result<(), &'static str> {
    if r.method != Method::Get {
        return Err("methods but GET");
    }
    let host = r.host.as_ref().or(pen.default_host.as_ref());
    if host != pen.sticky_host.as_ref() {
        let host = host.cloned();
        let _ = writeln!(pen.out, "[Host: {}]", host.as_deref().unwrap_or_default());
        pen.sticky_host = host;
    }
    let is_tag = |b: u8| b.is_ascii_graphic();
    let tag: String = if r.route.name.bytes().all(is_tag) { format!(" {}", r.route.name) } else { String::new() };
    let _ = writeln!(pen.out, "{}{tag}", r.path);
    Ok(())
}

fn urls(pen: &mut Pen, r: &Request) -> Result<(), &'static str> {
    if r.method != Method::Get {
        let _ = write!(pen.out, "{} ", r.method);
    }
    if let Some(host) = r.host.as_ref().or(pen.default_host.as_ref()) {
        let _ = write!(pen.out, "http://{host}");
    }
    let _ = writeln!(pen.out, "{}", r.path);
    Ok(())
}

fn combined(pen: &mut Pen, r: &Request) -> Result<(), &'static str> {
    match r.client {
        0 => pen.text("-"),
        client => drop(write!(pen.out, "{client:016x}")),
    }
    let at = Timestamp::from_nanosecond(i128::from(r.recorded_unix_ns)).unwrap_or_default();
    let at = at.to_zoned(TimeZone::UTC);
    let _ = write!(pen.out, " - - [{}] \"{} ", at.strftime("%d/%b/%Y:%H:%M:%S +0000"), r.method);
    escape_into(&r.path, &mut pen.out);
    pen.text(" HTTP/1.1\" ");
    match r.recorded_status {
        Some(status) => drop(write!(pen.out, "{status} -")),
        None => pen.text("- -"),
    }
    for name in ["referer", "user-agent"] {
        pen.text(" \"");
        match r.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some((_, value)) => escape_into(value, &mut pen.out),
            None => pen.text("-"),
        }
        pen.text("\"");
    }
    pen.text("\n");
    Ok(())
}

/// As nginx writes what is not plain (`ngx_http_log_escape`).
fn escape_into(text: &str, out: &mut Vec<u8>) {
    for b in text.bytes() {
        if matches!(b, b' '..=b'~') && b != b'"' && b != b'\\' {
            out.push(b);
        } else {
            let _ = write!(out, "\\x{b:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::Source;
    use super::super::methods::MethodFilter;
    use super::super::reader::{Options, Reader};
    use super::*;
    use crate::model::{Body, Route};
    use proptest::prelude::*;
    use std::io;

    fn post() -> Request {
        Request {
            recorded_unix_ns: 1_431_849_932_120_000_007,
            method: Method::Post,
            path: "/a?q=\"x\"".into(),
            host: Some("shop.example:81".into()),
            headers: vec![
                ("Accept".into(), "a".into()),
                ("User-Agent".into(), "u \"1\"\tx".into()),
                ("Accept".into(), "b".into()),
            ],
            body: Body(b"x=1".to_vec()),
            route: Route { id: 0, name: "/a".into() },
            client: 0xab,
            recorded_status: Some(201),
        }
    }

    fn get() -> Request {
        Request { recorded_unix_ns: 2_000_000_000, path: "/b".into(), ..Reader::blank() }
    }

    fn put(name: &str, default_host: Option<&str>, requests: &[Request]) -> (String, Vec<&'static str>) {
        let notation = NOTATIONS.iter().find(|n| n.name == name).unwrap();
        let mut pen = Pen::new(default_host.map(str::to_owned));
        let refused = requests.iter().filter_map(|r| (notation.put)(&mut pen, r).err()).collect();
        (String::from_utf8(pen.out).unwrap(), refused)
    }

    #[test]
    fn json_lines_hold_everything() {
        let (text, _) = put("jsonl", None, &[post(), get()]);
        let expected = concat!(
            r#"{"v":"perfbench-1","time":1431849932.120000007,"method":"POST","uri":"/a?q=\"x\"","host":"shop.example:81","#,
            r#""status":201,"client":"00000000000000ab","headers":{"Accept":["a","b"],"User-Agent":"u \"1\"\tx"},"body":"x=1"}"#,
            "\n",
            r#"{"v":"perfbench-1","time":2.000000000,"method":"GET","uri":"/b"}"#,
            "\n"
        );
        assert_eq!(text, expected);
        let odd = Request { recorded_unix_ns: -1_500_000_000, body: Body(vec![0xff, 0]), ..get() };
        let (text, _) = put("jsonl", None, &[odd]);
        assert!(text.contains("\"time\":-1.500000000,") && text.contains("\"body_base64\":\"/wA=\""), "{text}");
    }

    /// All requests of a text in a format, `None` for a guessed one; every line must be one.
    fn read(text: Vec<u8>, format: Option<&str>) -> Vec<Request> {
        let source = Source::Stream { name: "written".into(), stream: Box::new(io::Cursor::new(text)) };
        let options = Options {
            format: format.map(str::to_owned),
            methods: MethodFilter::All,
            window_ns: u64::MAX,
            ..Options::default()
        };
        let mut reader = Reader::open_sources(vec![source], options).unwrap();
        let (mut request, mut all) = (Reader::blank(), Vec::new());
        while reader.next(&mut request).unwrap() {
            all.push(request.clone());
        }
        assert_eq!(reader.counts().skipped, []);
        all
    }

    /// What the reader may hand out: tokens, paths and values that are plain, and nothing that frames
    /// a request among the fields.
    fn request() -> impl Strategy<Value = Request> {
        let meaning = || prop::sample::select(vec!["REDACTED", "-x", "_-", "null", "0", "a b", "{}", "\\u0041\"\t'"]);
        let ns = prop_oneof![
            1_400_000_000_000_000_000i64..1_800_000_000_000_000_000,
            -3_000_000_000i64..3_000_000_000,
            -9_200_000_000_000_000_000i64..9_200_000_000_000_000_000,
        ];
        let method = prop_oneof![
            prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "REDACTED"])
                .prop_map(str::to_owned),
            "[!#$%&'*+.^_`|~a-zA-Z0-9][!#$%&'*+.^_`|~a-zA-Z0-9-]{0,23}"
                .prop_filter("asks no server", |m| m != "CONNECT" && m != "PRI"),
        ];
        let host = prop_oneof![
            meaning().prop_filter_map("no host", |h| h
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                .then(|| h.to_owned())),
            "[a-z0-9_.-]{2,12}(:[0-9]{1,5})?",
            Just("[2001:db8::1]:8080".to_owned()),
        ];
        let name = prop_oneof![
            prop::sample::select(vec!["Accept", "accept", "Cookie", "Referer", "User-Agent", "v", "time"])
                .prop_map(str::to_owned),
            "[!#$%&'*+.^_`|~a-zA-Z0-9-]{1,9}".prop_filter("frames", |n| !n.eq_ignore_ascii_case("host")),
        ];
        let value = prop_oneof![meaning().prop_map(str::to_owned), "[ -~\t\u{80}-\u{10ffff}]{0,12}"];
        let value = value.prop_map(|v| v.trim_ascii().to_owned());
        let body = prop_oneof![
            2 => Just(Vec::new()),
            2 => prop::collection::vec(any::<u8>(), 0..40),
            1 => prop::collection::vec(any::<char>(), 0..20).prop_map(|c| String::from_iter(c).into_bytes()),
            1 => meaning().prop_map(|m| m.as_bytes().to_vec()),
            // What Base64 writes as a word that means something elsewhere.
            1 => Just(STANDARD.decode("REDACTED").unwrap()),
            1 => (60_000usize..80_000).prop_map(|n| vec![b'"'; n]),
        ];
        let fields = prop::collection::vec((name, value), 0..6);
        let rest = (prop::option::of(host), fields, body, any::<u64>(), prop::option::of(1u16..));
        (ns, method, "/[!-~]{0,20}", rest).prop_map(|(ns, method, path, (host, fields, body, client, status))| {
            Request {
                recorded_unix_ns: ns,
                method: Method::parse(method.as_bytes()).unwrap(),
                path,
                host,
                headers: fields.into_iter().map(|(n, v)| (n.into(), v)).collect(),
                body: Body(body),
                route: Reader::blank().route,
                client,
                recorded_status: status,
            }
        })
    }

    /// As it is read again: fields of one name stand where the first of them stood.
    fn gathered(mut r: Request) -> Request {
        let mut fields: Vec<(std::borrow::Cow<'static, str>, String)> = Vec::new();
        for (name, value) in r.headers {
            let at = fields.iter().rposition(|(n, _)| *n == name).map_or(fields.len(), |n| n + 1);
            fields.insert(at, (name, value));
        }
        r.headers = fields;
        r
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn what_json_lines_hold_is_read_back_exactly(mut all in prop::collection::vec(request(), 1..8), guessed: bool) {
            all.sort_by_key(|r| r.recorded_unix_ns);
            let mut pen = Pen::new(Some("another".into()));
            for r in &all {
                prop_assert_eq!(json_line(&mut pen, r), Ok(()));
            }
            let again = read(pen.out, if guessed { None } else { Some("perfbench") });
            let blank = Reader::blank().route;
            let again: Vec<Request> = again.into_iter().map(|r| Request { route: blank.clone(), ..r }).collect();
            prop_assert_eq!(again, all.into_iter().map(gathered).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_line_that_could_not_be_read_again_is_not_written() {
        let post = |bytes: usize| Request { body: Body(vec![b'x'; bytes]), ..get() };
        let mut pen = Pen::default();
        assert_eq!(json_line(&mut pen, &post(MAX_RECORD_BYTES - 100)), Ok(()));
        let whole = pen.out.len();
        assert_eq!(json_line(&mut pen, &post(MAX_RECORD_BYTES)), Err("lines longer than 16 MiB"));
        assert_eq!(pen.out.len(), whole);
        assert_eq!(json_line(&mut pen, &get()), Ok(()));
        let sizes = |all: Vec<Request>| all.iter().map(|r| r.body.0.len()).collect::<Vec<_>>();
        assert_eq!(sizes(read(pen.out, Some("perfbench"))), [MAX_RECORD_BYTES - 100, 0]);
        // The format is guessed although the first line is longer than what is looked at first.
        let mut pen = Pen::default();
        assert_eq!(json_line(&mut pen, &post(300_000)), Ok(()));
        assert_eq!(sizes(read(pen.out, None)), [300_000]);
    }

    #[test]
    fn each_other_notation_is_what_its_tool_reads() {
        let both = [post(), get()];
        let (text, refused) = put("gor", None, &both);
        let first = "1 13def4bf54d9fa0700000001 1431849932120000007\nPOST /a?q=\"x\" HTTP/1.1\r\nHost: shop.example:81\r\n\
                     Accept: a\r\nUser-Agent: u \"1\"\tx\r\nAccept: b\r\nContent-Length: 3\r\n\r\nx=1\n🐵🙈🙉\n";
        assert!(text.starts_with(&first[..2]) && text[26..].starts_with(&first[26..]), "{text}");
        assert!(text.ends_with(" 2000000000\nGET /b HTTP/1.1\r\n\r\n\n🐵🙈🙉\n") && refused.is_empty(), "{text}");

        let (text, refused) = put("vegeta-json", None, &both);
        let url = r#"{"method":"POST","url":"http://shop.example:81/a?q=\"x\"","header":{"Accept":["a","b"],"User-Agent":["u \"1\"\tx"]},"body":"eD0x"}"#;
        assert_eq!((text.trim_end(), refused.len()), (url, 1));
        assert!(put("vegeta-json", Some("h"), &both).0.contains(r#""url":"http://h/b""#));

        let hosted = |host: &str| Request { host: Some(host.into()), ..get() };
        let (text, refused) = put("uri", None, &[get(), hosted("x"), hosted("x"), hosted("y"), post()]);
        assert_eq!((&*text, refused), ("/b /\n[Host: x]\n/b /\n/b /\n[Host: y]\n/b /\n", vec!["methods but GET"]));

        let (text, _) = put("urls", None, &both);
        assert_eq!(text, "POST http://shop.example:81/a?q=\"x\"\n/b\n");

        let (text, _) = put("combined", None, &both);
        let first = r#"00000000000000ab - - [17/May/2015:08:05:32 +0000] "POST /a?q=\x22x\x22 HTTP/1.1" 201 - "-" "u \x221\x22\x09x""#;
        let second = r#"- - - [01/Jan/1970:00:00:02 +0000] "GET /b HTTP/1.1" - - "-" "-""#;
        assert_eq!(text.lines().collect::<Vec<_>>(), [first, second]);
    }
}
