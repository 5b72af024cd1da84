//! The table of log formats, and the guess which one a log is in.
//!
//! A format that is a pattern is a file in `assets/formats` with its own sample lines; one that
//! needs code is a type with the [`Format`] trait. Either way it is one row of [`TABLE`].
//!
//! Must not: know what a request is.

use super::error::{TrafficError, shown_line};
use super::framed::{self, Framed, Framing, survey};
use super::input::Sniffed;
use super::pattern::Pattern;
use super::record::{Format, TimeIs};
use crate::model::clean;
use serde::Deserialize;
use std::path::Path;

/// A row of the table of formats.
struct Row {
    make: fn() -> Result<Made, String>,
}

/// A format and how lists show it.
type Made = (FormatRow, Box<dyn Format>);

/// All formats. Among equals in a guess the earlier row wins.
static TABLE: &[Row] = &[
    Row { make: || from_file(include_str!("../../assets/formats/combined.toml")) },
    Row { make: || from_file(include_str!("../../assets/formats/common.toml")) },
    Row { make: || from_file(include_str!("../../assets/formats/vhost_combined.toml")) },
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
    pattern: String,
}

fn from_file(text: &str) -> Result<Made, String> {
    let file: FormatFile = toml::from_str(text).map_err(|e| e.to_string())?;
    let pattern = Pattern::compile(&file.name, &file.pattern, file.time, file.extra)?;
    Ok((FormatRow { name: file.name, description: file.description }, Box::new(pattern)))
}

/// Makes a framing for one recording.
type Start = fn(Option<&Path>) -> Box<dyn Framing>;

fn framed(name: &'static str, description: &str, time: TimeIs, weight: usize, make: Start) -> Result<Made, String> {
    let row = FormatRow { name: name.into(), description: description.into() };
    Ok((row, Box::new(Framed { name, time, weight, make })))
}

/// The formats a run may use, compiled: all of them, or the one that was named.
///
/// `name` is a name from the table or, when it holds a `$`, an nginx `log_format` pattern.
pub(super) fn candidates(name: Option<&str>) -> Result<Vec<Box<dyn Format>>, TrafficError> {
    if let Some(pattern) = name.filter(|n| n.contains('$')) {
        let compiled = Pattern::compile("custom", pattern, TimeIs::End, false);
        return Ok(vec![Box::new(compiled.map_err(|why| TrafficError::Pattern { why: clean(&why, 200) })?)]);
    }
    let mut all = Vec::with_capacity(TABLE.len());
    for row in TABLE {
        let (_, format) = (row.make)().map_err(|why| TrafficError::Pattern { why: clean(&why, 200) })?;
        all.push(format);
    }
    if let Some(name) = name {
        let known = names(&all);
        all.retain(|f| f.name() == name);
        if all.is_empty() {
            return Err(TrafficError::UnknownFormat { name: clean(name, 60), known });
        }
    }
    Ok(all)
}

/// The names of `formats`, as messages list them.
pub(super) fn names(formats: &[Box<dyn Format>]) -> String {
    formats.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")
}

/// What a guess is: which candidate, and how many of the lines looked at are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    pub(super) format: usize,
    pub(super) matched: u64,
    pub(super) looked_at: u64,
}

/// Which of `formats` explains most of the head of a recording; among equals the one that knows
/// most fields. `None` without a line.
///
/// A format of lines explains the lines that are in it, a framed one those that its records cover;
/// of a record that goes on behind the head nothing is said.
pub(super) fn guess(
    path: &str,
    sniffed: &Sniffed,
    folder: Option<&Path>,
    formats: &mut [Box<dyn Format>],
) -> Result<Option<Guess>, TrafficError> {
    let (head, ended) = sniffed.head();
    let (mut looked_at, mut best) = (0, None::<((u64, usize), Guess)>);
    let first = sniffed.lines().next().unwrap_or(head).trim_ascii();
    if first.is_empty() {
        return Ok(None);
    }
    for (n, format) in formats.iter_mut().enumerate() {
        let (explained, of, matched, seen) = match format.framing(folder) {
            Some(mut framing) => {
                let s = survey(&mut *framing, head, ended, |_| {});
                (s.good_lines, s.lines, s.good, s.records)
            }
            None => {
                let (mut matched, mut lines) = (0, 0);
                for line in sniffed.lines() {
                    lines += 1;
                    matched += u64::from(format.parse(line).is_ok());
                }
                looked_at = lines;
                (matched, lines, matched, lines)
            }
        };
        if matched == 0 {
            continue;
        }
        let score = (explained.saturating_mul(1_000_000) / of.max(1), format.fields());
        if best.as_ref().is_none_or(|(most, _)| score > *most) {
            best = Some((score, Guess { format: n, matched, looked_at: seen }));
        }
    }
    match best {
        Some((_, guess)) => Ok(Some(guess)),
        None => Err(TrafficError::NoFormat {
            path: path.to_owned(),
            looked_at,
            tried: names(formats),
            line: shown_line(first),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::Source;
    use super::super::ledger::Reason;
    use super::super::record::Mismatch;
    use super::super::request_line::understand;
    use super::*;
    use std::path::Path;

    /// A sample line of a format file and everything that must come of it.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        line: String,
        unix_s: Option<f64>,
        method: Option<String>,
        path: Option<String>,
        host: Option<String>,
        status: Option<u16>,
        bytes: Option<u64>,
        client: Option<String>,
        referer: Option<String>,
        user_agent: Option<String>,
        duration_s: Option<f64>,
        skipped: Option<String>,
    }

    #[derive(Deserialize)]
    struct Samples {
        name: String,
        sample: Vec<Sample>,
    }

    fn format(name: &str) -> Box<dyn Format> {
        candidates(Some(name)).unwrap().remove(0)
    }

    fn check(format: &mut dyn Format, s: &Sample) {
        let line = &*s.line;
        let text = |b: Option<&[u8]>| b.map(|b| String::from_utf8_lossy(b).into_owned());
        let r = match format.parse(s.line.as_bytes()) {
            Ok(r) => r,
            Err(m) => {
                let reason = if m == Mismatch::Time { Reason::BadTime } else { Reason::NoMatch };
                assert_eq!(s.skipped.as_deref(), Some(reason.as_str()), "{line}");
                return;
            }
        };
        assert_eq!(Some(r.time.unix_ns), s.unix_s.map(|t| (t * 1e9) as i64), "{line}");
        assert_eq!((r.status, r.bytes), (s.status, s.bytes), "{line}");
        assert_eq!(text(r.client), s.client, "{line}");
        assert_eq!((text(r.referer), text(r.user_agent)), (s.referer.clone(), s.user_agent.clone()), "{line}");
        assert_eq!(r.duration_ns, s.duration_s.map(|d| (d * 1e9) as u64), "{line}");
        match understand(r.asked) {
            Err(reason) => assert_eq!(Some(reason.as_str()), s.skipped.as_deref(), "{line}"),
            Ok(request) => {
                let mut path = Vec::new();
                request.push_path(&mut path);
                assert_eq!(text(Some(request.method)), s.method, "{line}");
                assert_eq!(text(Some(&path)), s.path, "{line}");
                assert_eq!(super::super::intake::host_of(&r, request.host), s.host, "{line}");
                assert_eq!(s.skipped, None, "{line}");
            }
        }
    }

    fn guess_lines(lines: &[&[u8]], formats: &mut [Box<dyn Format>]) -> Result<Option<Guess>, TrafficError> {
        let stream = Box::new(std::io::Cursor::new(lines.join(&b'\n')));
        let mut source = Source::Stream { name: "x.log".into(), stream };
        guess("x.log", &source.open().unwrap().sniff().unwrap(), None, formats)
    }

    #[test]
    fn every_format_file_is_in_the_table_and_its_samples_come_out_as_it_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/formats");
        let known: Vec<String> = formats().into_iter().map(|f| f.name).collect();
        assert_eq!(known.len(), TABLE.len(), "a row of the table does not compile");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let file: Samples = toml::from_str(&text).unwrap();
            assert!(known.contains(&file.name), "{} has no row in the table", file.name);
            assert!(file.sample.iter().any(|s| s.method.is_some()), "{}: no sample is a request", file.name);
            let mut format = format(&file.name);
            for sample in &file.sample {
                check(&mut *format, sample);
                seen += 1;
            }
            // The log made of its own samples must be taken for this format and no other.
            let mut all = candidates(None).unwrap();
            let lines: Vec<&[u8]> = file.sample.iter().map(|s| s.line.as_bytes()).collect();
            let guess = guess_lines(&lines, &mut all).unwrap().unwrap();
            assert_eq!(all[guess.format].name(), file.name);
        }
        assert!(seen >= TABLE.len());
    }

    #[test]
    fn the_format_that_most_lines_are_in_wins_and_of_equals_the_more_specific() {
        let common = br#"192.0.2.7 - - [17/May/2015:08:05:32 +0000] "GET / HTTP/1.1" 200 5"#;
        let combined = br#"192.0.2.7 - - [17/May/2015:08:05:32 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#;
        let mut all = candidates(None).unwrap();
        let mut name = |lines: &[&'static [u8]]| {
            let g = guess_lines(lines, &mut all).unwrap().unwrap();
            (all[g.format].name().to_owned(), g.matched, g.looked_at)
        };
        assert_eq!(name(&[combined, b"junk", combined]), ("combined".into(), 2, 3));
        assert_eq!(name(&[common, combined]), ("common".into(), 2, 2));
        let error = guess_lines(&[b"\x1b[2Jhello"], &mut all).unwrap_err().to_string();
        assert!(error.contains("combined, common, vhost_combined") && error.contains("·[2Jhello"), "{error}");
    }

    #[test]
    fn a_format_is_named_or_given_as_a_pattern() {
        assert_eq!(candidates(Some("common")).unwrap().len(), 1);
        let custom = candidates(Some("$msec $request_method $request_uri")).unwrap();
        assert_eq!(custom[0].name(), "custom");
        let error = |name| candidates(Some(name)).err().unwrap().to_string();
        assert!(error("clf").contains("known: combined, common, vhost_combined"));
        assert!(error("$status").contains("no time"));
    }
}
