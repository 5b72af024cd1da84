//! The table of log formats.
//!
//! A format that is a pattern or a table of JSON keys is a file in `assets/formats` with its own sample
//! lines; one that needs code is a type with the [`Format`] trait. Either way it is one row of [`TABLE`].
//!
//! Must not: know what a request is.

use super::alb::Alb;
use super::apache::apache;
use super::error::{TrafficError, shown_path};
use super::framed::{self, Framed, Framing};
use super::haproxy::Haproxy;
use super::json::JsonLines;
use super::json_keys::{Keys, KeysFile};
use super::nginx_conf::{LogFormat, log_format};
use super::pattern::{Manner, Pattern};
use super::reader::Options;
use super::record::{Format, Mismatch, Record, TimeIs};
use super::variables::{Escapes, nginx};
use super::w3c::{Dialect, W3c};
use crate::model::clean;
use serde::Deserialize;
use std::path::Path;
use std::sync::LazyLock;

/// A row of the table of formats.
struct Row {
    make: fn() -> Result<Made, String>,
}

/// A format and how lists show it.
type Made = (FormatRow, Box<dyn Format>);

macro_rules! file {
    ($name:literal) => {
        Row {
            make: || {
                // Read once: of a folder of rotated logs, every file is looked at in every format.
                static FILE: LazyLock<Result<FormatFile, String>> =
                    LazyLock::new(|| FormatFile::read(include_str!(concat!("../../assets/formats/", $name, ".toml"))));
                FILE.as_ref().map_err(String::clone).and_then(from_file)
            },
        }
    };
}

/// All formats. Among equals in a guess the earlier row wins.
static TABLE: &[Row] = &[
    file!("combined"),
    file!("common"),
    file!("vhost_combined"),
    file!("traefik_clf"),
    file!("perfbench"),
    file!("caddy"),
    file!("traefik"),
    file!("envoy"),
    Row {
        make: || made(Alb::default(), "AWS Application Load Balancer; time is the creation time where there is one"),
    },
    Row { make: || made(W3c::new(Dialect::CloudFront), "AWS CloudFront standard logs, by #Fields") },
    Row { make: || made(W3c::new(Dialect::Iis), "IIS and other W3C extended logs, by #Fields; times are UTC") },
    Row { make: || made(Haproxy::default(), "HAProxy option httplog, behind syslog or bare; times are taken for UTC") },
    file!("json"),
    Row { make: || framed("goreplay", "GoReplay capture (.gor)", TimeIs::Start, 9, framed::Gor::start) },
    Row { make: || framed("har", "HAR 1.2, as browsers save it", TimeIs::Start, 9, framed::Har::start) },
    Row {
        make: || {
            framed(
                "urls",
                "one URL or path per line, a method before it or not",
                TimeIs::Absent,
                4,
                framed::Urls::start,
            )
        },
    },
    Row { make: || framed("vegeta", "vegeta targets as text", TimeIs::Absent, 3, framed::VegetaText::start) },
    Row {
        make: || framed("vegeta_json", "vegeta targets as JSON lines", TimeIs::Absent, 4, framed::VegetaJson::start),
    },
    Row { make: || framed("tank_uri", "Yandex Tank ammo: uri", TimeIs::Absent, 3, framed::Uri::start) },
    Row { make: || framed("tank_uripost", "Yandex Tank ammo: uripost", TimeIs::Absent, 4, framed::Uripost::start) },
    Row { make: || framed("tank_phantom", "Yandex Tank ammo: phantom", TimeIs::Absent, 4, framed::Phantom::start) },
    Row { make: || framed("curl", "curl command lines", TimeIs::Absent, 4, framed::Curl::start) },
];

/// A log format, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatRow {
    /// What `--format` takes.
    pub name: String,
    /// In one line.
    pub description: String,
}

/// All log formats that are known by name.
pub fn formats() -> Vec<FormatRow> {
    TABLE.iter().filter_map(|row| (row.make)().ok()).map(|(row, _)| row).collect()
}

/// A file of `assets/formats`. Its sample lines are for the test over all of them.
#[derive(Deserialize)]
struct FormatFile {
    name: String,
    description: String,
    time: TimeIs,
    #[serde(default)]
    extra: bool,
    #[serde(default)]
    escapes: Escapes,
    /// Patterns in nginx's notation; a line is in the first that fits.
    #[serde(default)]
    patterns: Vec<String>,
    /// Keys of JSON lines.
    #[serde(default)]
    json: Option<KeysFile>,
    /// It takes any line that has what a request needs, and gives way to formats that are more specific.
    #[serde(default)]
    generic: bool,
    /// Of JSON lines: no value stands for "none" or for a secret.
    #[serde(default)]
    literal: bool,
}

fn made(format: impl Format + 'static, description: &str) -> Result<Made, String> {
    Ok((FormatRow { name: format.name().into(), description: description.into() }, Box::new(format)))
}

impl FormatFile {
    fn read(text: &str) -> Result<FormatFile, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }
}

fn from_file(file: &FormatFile) -> Result<Made, String> {
    let manner = Manner { time_is: file.time, extra: file.extra, escapes: file.escapes };
    let mut parts: Vec<Box<dyn Format>> = Vec::new();
    for pattern in &file.patterns {
        parts.push(Box::new(Pattern::compile(&file.name, pattern, manner)?));
    }
    if let Some(keys) = &file.json {
        parts.push(Box::new(JsonLines::new(&file.name, Keys::of_file(keys, file.generic, file.literal)?)));
    }
    let row = FormatRow { name: file.name.clone(), description: file.description.clone() };
    match parts.len() {
        0 => Err("neither a pattern nor JSON keys".into()),
        1 => Ok((row, parts.remove(0))),
        _ => Ok((row.clone(), Box::new(Several { name: row.name, parts }))),
    }
}

/// Makes a framing for one recording.
type Start = fn(Option<&Path>) -> Box<dyn Framing>;

fn framed(name: &'static str, description: &str, time: TimeIs, weight: usize, make: Start) -> Result<Made, String> {
    let row = FormatRow { name: name.into(), description: description.into() };
    Ok((row, Box::new(Framed { name, time, weight, make })))
}

/// A format whose lines come in several notations, mixed.
struct Several {
    name: String,
    parts: Vec<Box<dyn Format>>,
}

impl Format for Several {
    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> usize {
        self.parts.iter().map(|p| p.fields()).max().unwrap_or(0)
    }

    fn rewind(&mut self) {
        self.parts.iter_mut().for_each(|p| p.rewind());
    }

    fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Mismatch> {
        let mut nearest = Mismatch::Shape;
        for part in &mut self.parts {
            match part.parse(line) {
                Ok(record) => return Ok(record),
                Err(Mismatch::Shape) => {}
                Err(nearer) => nearest = nearer,
            }
        }
        Err(nearest)
    }
}

/// The formats a run may use, compiled: all of them, or the one that was named or given.
pub(super) struct Formats {
    pub(super) all: Vec<Box<dyn Format>>,
    /// Whether the user said which.
    pub(super) named: bool,
}

impl Formats {
    /// What `options` leave to choose from.
    pub(super) fn candidates(options: &Options) -> Result<Formats, TrafficError> {
        let one = |format: Box<dyn Format>| Ok(Formats { all: vec![format], named: true });
        if let Some(format) = given(options)? {
            return one(format);
        }
        let mut all = Vec::with_capacity(TABLE.len());
        for row in TABLE {
            let (_, format) = (row.make)().map_err(|why| wrong(&why))?;
            all.push(format);
        }
        let Some(name) = options.format.as_deref() else { return Ok(Formats { all, named: false }) };
        let known = names(&all);
        all.retain(|f| f.name() == name);
        if all.is_empty() {
            return Err(TrafficError::UnknownFormat { name: clean(name, 60), known });
        }
        Ok(Formats { all, named: true })
    }
}

/// The format that `options` spell out; `None` when they name one or none.
fn given(options: &Options) -> Result<Option<Box<dyn Format>>, TrafficError> {
    if !options.fields.is_empty() {
        return Ok(Some(Box::new(
            of_json_keys(&options.fields).map_err(|why| TrafficError::Field { why: clean(&why, 300) })?,
        )));
    }
    if let Some(conf) = &options.log_format_from {
        return Ok(Some(Box::new(of_configuration(conf)?)));
    }
    let pattern = options.format.as_deref().filter(|n| n.contains('$'));
    let Some(pattern) = options.log_format.as_deref().or(pattern) else { return Ok(None) };
    // A `$` begins a variable of nginx, a `%` a directive of Apache, whose logs hold no `$` as a rule.
    let begins = |c: char| c.is_ascii_lowercase() || c == '{';
    let given = nginx_given(pattern)?;
    let (pattern, escapes) = (given.pattern.as_str(), given.escapes);
    let (pieces, time_is) = if pattern.split('$').skip(1).any(|after| after.starts_with(begins)) {
        (nginx(pattern).map_err(|why| wrong(&why))?, TimeIs::End)
    } else if pattern.contains('%') {
        apache(pattern).map_err(|why| wrong(&why))?
    } else {
        return Err(wrong("it holds neither a $variable of nginx nor a %directive of Apache"));
    };
    let manner = Manner { time_is, extra: false, escapes };
    Ok(Some(Box::new(Pattern::of_pieces("custom", pieces, manner).map_err(|why| wrong(&why))?)))
}

/// A pattern as it may have been copied out of a configuration: with its directive, in pieces, with
/// `escape=` before it, or with what nginx writes for a tab or a quote. It is read as nginx reads it there.
fn nginx_given(text: &str) -> Result<LogFormat, TrafficError> {
    let text = text.trim();
    let (escape, pattern) = match text.split_once(char::is_whitespace) {
        Some((word, rest)) if word.starts_with("escape=") => (word, rest.trim_start()),
        _ => ("", text),
    };
    let directive = if text.starts_with("log_format ") {
        format!("{text};")
    } else if pattern.starts_with('\'') {
        format!("log_format custom {text};")
    } else {
        format!("log_format custom {escape} '{}';", pattern.replace("\\'", "'").replace('\'', "\\'"))
    };
    log_format(&directive, None).map_err(|why| wrong(&why))
}

fn wrong(why: &str) -> TrafficError {
    TrafficError::Pattern { why: clean(why, 200) }
}

/// A nginx configuration is read no further than this, bytes.
const MAX_CONF_BYTES: u64 = 16 << 20;

/// The format of `FILE[:NAME]`.
fn of_configuration(conf: &str) -> Result<Pattern, TrafficError> {
    use std::io::Read as _;
    // A file may have a colon in its name.
    let (path, name) = match conf.rsplit_once(':') {
        Some((path, name)) if !Path::new(conf).exists() => (path, Some(name)),
        _ => (conf, None),
    };
    let unreadable = |e: std::io::Error| TrafficError::from_io(Path::new(path), &e);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_CONF_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    let in_conf = |why: String| wrong(&format!("{}: {why}", shown_path(Path::new(path))));
    let found = log_format(&String::from_utf8_lossy(&bytes), name).map_err(in_conf)?;
    let manner = Manner { time_is: TimeIs::End, extra: false, escapes: found.escapes };
    Pattern::compile(&found.name, &found.pattern, manner).map_err(in_conf)
}

/// JSON lines with the keys that a user named, besides all that are known.
pub(super) fn of_json_keys(fields: &[(String, String)]) -> Result<JsonLines, String> {
    let file: FormatFile = toml::from_str(include_str!("../../assets/formats/json.toml")).map_err(|e| e.to_string())?;
    let mut keys = Keys::of_file(&file.json.unwrap_or_default(), true, false)?;
    for (part, path) in fields {
        keys.name(part, path)?;
    }
    Ok(JsonLines::new("json", keys))
}

/// The names of `formats`, as messages list them.
pub(super) fn names(formats: &[Box<dyn Format>]) -> String {
    formats.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::guess::tests::guess_lines;
    use super::super::intake::{began, host_of};
    use super::super::ledger::Reason;
    use super::super::request_line::understand;
    use super::*;

    /// A sample line of a format file and everything that must come of it.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        line: String,
        unix_s: Option<f64>,
        /// For times that a floating-point number cannot tell.
        unix_ns: Option<i64>,
        /// When it began, where the time is the end.
        began_s: Option<f64>,
        method: Option<String>,
        path: Option<String>,
        host: Option<String>,
        status: Option<u16>,
        bytes: Option<u64>,
        client: Option<String>,
        client_hash: Option<u64>,
        referer: Option<String>,
        user_agent: Option<String>,
        duration_s: Option<f64>,
        #[serde(default)]
        headers: Vec<String>,
        #[serde(default)]
        body: String,
        skipped: Option<String>,
    }

    #[derive(Deserialize)]
    struct Samples {
        name: String,
        sample: Vec<Sample>,
    }

    fn candidates(name: Option<&str>) -> Result<Formats, TrafficError> {
        Formats::candidates(&Options { format: name.map(str::to_owned), ..Options::default() })
    }

    fn given(log_format: &str) -> Result<Formats, TrafficError> {
        Formats::candidates(&Options { log_format: Some(log_format.into()), ..Options::default() })
    }

    fn check(format: &mut dyn Format, s: &Sample) {
        let line = &*s.line;
        let text = |b: Option<&[u8]>| b.map(|b| String::from_utf8_lossy(b).into_owned());
        // Such a number tells microseconds; what needs more says unix_ns.
        let ns = |seconds: f64| (seconds * 1e9 / 1e3).round() as i64 * 1000;
        let r = match format.parse(s.line.as_bytes()) {
            Ok(r) => r,
            Err(m) => {
                let reason = match m {
                    Mismatch::Time => Reason::BadTime,
                    Mismatch::Comment => Reason::Comment,
                    Mismatch::Shape => Reason::NoMatch,
                };
                assert_eq!(s.skipped.as_deref(), Some(reason.as_str()), "{line}");
                return;
            }
        };
        assert_eq!(Some(r.time.unix_ns), s.unix_ns.or(s.unix_s.map(ns)), "{line}");
        assert_eq!((r.status, r.bytes), (s.status, s.bytes), "{line}");
        assert_eq!((text(r.client), r.client_hash), (s.client.clone(), s.client_hash), "{line}");
        assert_eq!((text(r.referer), text(r.user_agent)), (s.referer.clone(), s.user_agent.clone()), "{line}");
        assert_eq!(r.duration_ns.map(|d| d as i64), s.duration_s.map(|d| (d * 1e9).round() as i64), "{line}");
        let field =
            |(name, value): (&[u8], &[u8])| format!("{}: {}", text(Some(name)).unwrap(), text(Some(value)).unwrap());
        assert_eq!(r.fields.iter().map(field).collect::<Vec<_>>(), s.headers, "{line}");
        assert_eq!(text(Some(r.body)).as_ref(), Some(&s.body), "{line}");
        if let Some(began_s) = s.began_s {
            let at = began(&r, &mut fastrand::Rng::with_seed(1)).unix_ns;
            let whole = if r.time.whole_second { 1_000_000_000 } else { 1 };
            assert!((ns(began_s)..ns(began_s) + whole).contains(&at), "{at} {line}");
        }
        match understand(r.asked) {
            Err(reason) => assert_eq!(Some(reason.as_str()), s.skipped.as_deref(), "{line}"),
            Ok(request) => {
                let mut path = Vec::new();
                request.push_path(&mut path);
                assert_eq!(text(Some(request.method)), s.method, "{line}");
                assert_eq!(text(Some(&path)), s.path, "{line}");
                assert_eq!(host_of(&r, request.host), s.host, "{line}");
                assert_eq!(s.skipped, None, "{line}");
            }
        }
    }

    #[test]
    fn every_format_has_a_file_of_samples_and_they_come_out_as_it_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/formats");
        assert_eq!(formats().len(), TABLE.len(), "a row of the table does not compile");
        // Framed formats have tests of their own: their records are not lines.
        let all = candidates(None).unwrap().all;
        let mut known: Vec<String> =
            all.iter().filter(|f| f.framing(None).is_none()).map(|f| f.name().to_owned()).collect();
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let file: Samples = toml::from_str(&text).unwrap_or_else(|e| panic!("{e}: {}", &text[..60]));
            let row = known.iter().position(|name| *name == file.name);
            known.swap_remove(row.unwrap_or_else(|| panic!("{} has no row in the table", file.name)));
            assert!(file.sample.iter().any(|s| s.method.is_some()), "{}: no sample is a request", file.name);
            let mut format = candidates(Some(&file.name)).unwrap().all.remove(0);
            for sample in &file.sample {
                check(&mut *format, sample);
            }
            // The log made of its own samples must be taken for this format and no other.
            let mut all = candidates(None).unwrap();
            let lines: Vec<&[u8]> = file.sample.iter().map(|s| s.line.as_bytes()).collect();
            let guess = guess_lines(&lines, &mut all).unwrap().unwrap();
            assert_eq!((all.all[guess.format].name(), guess.envelope), (&*file.name, None));
        }
        assert!(known.is_empty(), "no samples: {known:?}");
    }

    #[test]
    fn a_format_is_named_or_given_as_a_pattern_of_either_server() {
        assert_eq!(candidates(Some("common")).unwrap().all.len(), 1);
        for pattern in ["$msec $request_method $request_uri", "%t %m %U%q", "100%% $msec $request"] {
            assert_eq!(given(pattern).unwrap().all[0].name(), "custom");
        }
        let custom = candidates(Some("$msec $request_method $request_uri")).unwrap();
        assert_eq!((custom.all[0].name(), custom.named), ("custom", true));
        let error = |name| candidates(Some(name)).err().unwrap().to_string();
        assert!(error("clf").contains("known: combined, common, vhost_combined"));
        let error = |pattern| given(pattern).err().unwrap().to_string();
        assert!(error("$status").contains("no time"));
        assert!(error("%h").contains("no time"));
        assert!(error("combined").contains("neither a $variable"));
    }

    #[test]
    fn a_pattern_is_taken_as_it_was_copied_and_fields_with_spaces_need_no_quotes() {
        let fields = "$time_local|$request_method|$request_uri|$http_user_agent";
        let line = "17/May/2015:08:05:32 +0000|GET|/a|say \\x22x\\x22";
        for (pattern, line) in [
            (fields.to_owned(), line),
            (format!("log_format main '{fields}';"), line),
            (
                "log_format main escape=default\n '$time_local|$request_method|'\n '$request_uri|$http_user_agent'"
                    .into(),
                line,
            ),
            ("'$time_local|$request_method|' '$request_uri|$http_user_agent'".into(), line),
            (format!("escape=json {fields}"), "17/May/2015:08:05:32 +0000|GET|/a|say \\\"x\\\""),
            (
                "$time_local\\t\\\"$request\\\"\\t$http_user_agent".into(),
                "17/May/2015:08:05:32 +0000\t\"GET /a HTTP/1.1\"\tsay \\x22x\\x22",
            ),
            (
                "[$time_local] $request $status $http_user_agent".into(),
                "[17/May/2015:08:05:32 +0000] GET /a HTTP/1.1 200 say \\x22x\\x22",
            ),
            (
                "$remote_addr $time_local $request_method $request_uri $http_user_agent".into(),
                "::1 17/May/2015:08:05:32 +0000 GET /a say \\x22x\\x22",
            ),
        ] {
            let mut format = given(&pattern).unwrap().all.remove(0);
            let r = format.parse(line.as_bytes()).unwrap_or_else(|e| panic!("{pattern}: {e:?}"));
            assert_eq!(
                (r.time.unix_ns, r.user_agent),
                (1_431_849_932_000_000_000, Some(&b"say \"x\""[..])),
                "{pattern}"
            );
            assert_eq!(super::super::request_line::understand(r.asked).unwrap().method, b"GET", "{pattern}");
        }
    }

    #[test]
    fn a_path_and_its_query_are_joined_and_a_host_ends_where_the_path_begins() {
        for (pattern, line) in [
            ("$msec $request_method $uri$is_args$args", "1431849932 GET /a?b=c"),
            ("$msec $request_method $uri \"$args\"", "1431849932 GET /a \"b=c\""),
            ("$msec $request_method http://$host$request_uri x", "1431849932 GET http://a.example/a?b=c x"),
        ] {
            let mut format = given(pattern).unwrap().all.remove(0);
            let r = format.parse(line.as_bytes()).unwrap();
            let asked = understand(r.asked).unwrap();
            let mut path = Vec::new();
            asked.push_path(&mut path);
            assert_eq!(path, b"/a?b=c", "{pattern}");
        }
    }

    #[test]
    fn headers_of_a_pattern_go_along_and_the_first_forwarded_address_is_the_client() {
        let pattern = r#"$remote_addr [$time_local] "$request" "$http_x_forwarded_for" "$http_x_key" "$http_accept" $server_name $http_host"#;
        let mut format = given(pattern).unwrap().all.remove(0);
        let line = br#"192.0.2.1 [17/May/2015:08:05:32 +0000] "GET / HTTP/1.1" "192.0.2.7, 192.0.2.9" "a\x22b" "-" s.example h.example:81"#;
        let r = format.parse(line).unwrap();
        assert_eq!((r.client, r.host), (Some(&b"192.0.2.7"[..]), Some(&b"h.example:81"[..])));
        assert_eq!(r.fields.iter().collect::<Vec<_>>(), [(&b"X-Key"[..], &b"a\"b"[..])]);
    }
}
