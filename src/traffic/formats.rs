//! The table of log formats, and the guess which one a log is in.
//!
//! A format that is a pattern is a file in `assets/formats` with its own sample lines; one that
//! needs code is a type with the [`Format`] trait. Either way it is one row of [`TABLE`].
//!
//! Must not: know what a request is.

use super::error::{TrafficError, shown_line};
use super::pattern::Pattern;
use super::record::{Format, TimeIs};
use crate::model::clean;
use serde::Deserialize;

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

/// Which of `formats` most of `lines` are in; among equals the one that knows most fields.
/// `None` without lines.
pub(super) fn guess<'l>(
    path: &str,
    lines: impl Iterator<Item = &'l [u8]>,
    formats: &mut [Box<dyn Format>],
) -> Result<Option<Guess>, TrafficError> {
    let mut matched = vec![0u64; formats.len()];
    let mut looked_at = 0;
    let mut first: Option<&[u8]> = None;
    for line in lines {
        first.get_or_insert(line);
        looked_at += 1;
        for (n, format) in matched.iter_mut().zip(formats.iter_mut()) {
            *n += u64::from(format.parse(line).is_ok());
        }
    }
    let Some(first) = first else { return Ok(None) };
    // `max_by_key` takes the last of equals, the table wants the first.
    let best = (0..formats.len()).rev().max_by_key(|n| (matched[*n], formats[*n].fields()));
    match best {
        Some(format) if matched[format] > 0 => Ok(Some(Guess { format, matched: matched[format], looked_at })),
        _ => Err(TrafficError::NoFormat {
            path: path.to_owned(),
            looked_at,
            tried: names(formats),
            line: shown_line(first),
        }),
    }
}

#[cfg(test)]
mod tests {
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
            let lines = file.sample.iter().map(|s| s.line.as_bytes());
            let guess = guess("x", lines, &mut all).unwrap().unwrap();
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
            let g = guess("x", lines.iter().copied(), &mut all).unwrap().unwrap();
            (all[g.format].name().to_owned(), g.matched, g.looked_at)
        };
        assert_eq!(name(&[combined, b"junk", combined]), ("combined".into(), 2, 3));
        assert_eq!(name(&[common, combined]), ("common".into(), 2, 2));
        let error = guess("x.log", [&b"\x1b[2Jhello"[..]].into_iter(), &mut all).unwrap_err().to_string();
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
