//! Which format a recording is in: its first lines are tried in all of them.
//!
//! Must not: know a format, or keep a line.

use super::envelope::Envelope;
use super::error::{TrafficError, shown_line};
use super::formats::{Formats, names};
use super::framed::survey;
use super::input::Sniffed;
use super::record::{Mismatch, Record};
use std::path::Path;

/// What a guess is: which candidate, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    /// Its place among the candidates.
    pub(super) format: usize,
    /// How many of the lines looked at are in it.
    pub(super) matched: u64,
    pub(super) looked_at: u64,
    /// What stands around the lines, to be taken off first.
    pub(super) envelope: Option<&'static str>,
    /// Names of other formats that lines are in, how many, and why they were not chosen.
    pub(super) others: Vec<(String, u64, &'static str)>,
}

/// What a candidate made of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    records: u64,
    comments: u64,
    /// Fields that were found, all records together.
    found: u64,
}

impl Tally {
    fn add(&mut self, read: Result<Record<'_>, Mismatch>) {
        match read {
            Ok(record) => {
                self.records += 1;
                self.found += found(&record);
            }
            Err(Mismatch::Comment) => self.comments += 1,
            Err(_) => {}
        }
    }

    /// Comments alone are no recording.
    fn matched(self) -> u64 {
        if self.records > 0 { self.records + self.comments } else { 0 }
    }
}

fn found(r: &Record<'_>) -> u64 {
    let known = [
        r.duration_ns.is_some(),
        r.host.is_some(),
        r.status.is_some(),
        r.bytes.is_some(),
        r.client.is_some(),
        r.referer.is_some(),
        r.user_agent.is_some(),
        !r.body.is_empty(),
    ];
    known.iter().map(|k| u64::from(*k)).sum::<u64>() + r.fields.iter().count() as u64
}

/// Which of `formats` explains most of the head of a recording, its lines bare or in an [`Envelope`];
/// among equals the one made for them rather than for anything, then the one that finds most in them.
/// `None` without a line.
///
/// A format of lines explains the lines that are in it, a framed one those that its records cover; of a
/// record that goes on behind the head nothing is said.
pub(super) fn guess(
    path: &str,
    sniffed: &Sniffed,
    folder: Option<&Path>,
    formats: &mut Formats,
) -> Result<Option<Guess>, TrafficError> {
    let (head, ended) = sniffed.head();
    let first = sniffed.lines().next().unwrap_or(head).trim_ascii();
    if first.is_empty() {
        return Ok(None);
    }
    let mut envelope = Envelope::default();
    let mut bare = vec![Tally::default(); formats.all.len()];
    let mut opened = bare.clone();
    let mut framed = vec![None; formats.all.len()];
    let mut around = None;
    for (format, framed) in formats.all.iter_mut().zip(&mut framed) {
        format.rewind();
        *framed = format.framing(folder).map(|mut framing| survey(&mut *framing, head, ended, |_| {}));
    }
    let mut lines = 0;
    for line in sniffed.lines() {
        lines += 1;
        let inside = envelope.open(line);
        around = around.or(inside.map(|(name, _)| name));
        for ((format, bare), opened) in formats.all.iter_mut().zip(&mut bare).zip(&mut opened) {
            bare.add(format.parse(line));
            match inside {
                Some((_, inner)) => opened.add(format.parse(inner)),
                None if around.is_some() => opened.add(format.parse(line)),
                None => *opened = *bare,
            }
        }
    }
    // `May 17 00:00:01 host nginx: 192.0.2.7 - -` begins like three fields: of equals the inside wins.
    let is_inside = |n: usize| around.is_some() && opened[n].matched() >= bare[n].matched();
    let tally = |n: usize| if is_inside(n) { (opened[n], around) } else { (bare[n], None) };
    // Records or lines in the format, how many were looked at, and the lines that they are of all.
    let matched = |n: usize| match &framed[n] {
        Some(s) => (s.good, s.records, s.good_lines, s.lines),
        None => (tally(n).0.matched(), lines, tally(n).0.matched(), lines),
    };
    let worth = |n: usize| {
        let (good, _, explained, of) = matched(n);
        let share = if good == 0 { 0 } else { explained.saturating_mul(1_000_000) / of.max(1) };
        (share, formats.all[n].fields() > 0, tally(n).0.found, formats.all[n].fields())
    };
    // `max_by_key` takes the last of equals, the table wants the first.
    let best = (0..formats.all.len()).rev().max_by_key(|n| worth(*n));
    // Who names a format knows what the recording holds further on: it may begin with a server's own words.
    let goes_on = formats.named && !ended;
    let Some(format) = best.filter(|n| matched(*n).0 > 0 || goes_on) else {
        let (path, tried) = (path.to_owned(), names(&formats.all));
        return Err(TrafficError::NoFormat { path, looked_at: lines, tried, line: shown_line(first) });
    };
    let envelope = if framed[format].is_some() { None } else { tally(format).1 };
    let (chosen, looked_at, ..) = matched(format);
    let why = |n: usize| match (worth(n), worth(format)) {
        (other, best) if other.0 < best.0 => "fewer lines",
        (other, best) if other.1 != best.1 => "made for any",
        (other, best) if (other.2, other.3) == (best.2, best.3) => "later in the list",
        _ => "fewer fields",
    };
    let mut others: Vec<(String, u64, &'static str)> = (0..formats.all.len())
        .filter(|n| *n != format && matched(*n).0 > 0)
        .map(|n| (formats.all[n].name().to_owned(), matched(n).0, why(n)))
        .collect();
    others.sort_by_key(|(_, n, _)| std::cmp::Reverse(*n));
    Ok(Some(Guess { format, matched: chosen, looked_at, envelope, others }))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::input::Source;
    use super::super::reader::Options;
    use super::*;

    /// The guess for a recording of these lines.
    pub(in super::super) fn guess_lines(lines: &[&[u8]], formats: &mut Formats) -> Result<Option<Guess>, TrafficError> {
        let stream = Box::new(std::io::Cursor::new(lines.join(&b'\n')));
        let mut source = Source::Stream { name: "x.log".into(), stream };
        guess("x.log", &source.open().unwrap().sniff().unwrap(), None, formats)
    }

    fn guessed(lines: &[&'static [u8]]) -> Result<(String, Guess), String> {
        let mut all = Formats::candidates(&Options::default()).unwrap();
        let g = guess_lines(lines, &mut all).map_err(|e| e.to_string())?.unwrap();
        Ok((all.all[g.format].name().to_owned(), g))
    }

    #[test]
    fn the_format_that_most_lines_are_in_wins_and_of_equals_the_more_specific() {
        let common = br#"192.0.2.7 - - [17/May/2015:08:05:32 +0000] "GET / HTTP/1.1" 200 5"#;
        let combined = br#"192.0.2.7 - - [17/May/2015:08:05:32 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#;
        let (name, g) = guessed(&[combined, b"junk", combined]).unwrap();
        assert_eq!((&*name, g.matched, g.looked_at), ("combined", 2, 3));
        assert_eq!(g.others, [("common".to_owned(), 2, "fewer fields")]);
        let (name, g) = guessed(&[common, combined]).unwrap();
        assert_eq!((&*name, g.matched, g.looked_at), ("common", 2, 2));
        assert_eq!(g.others, [("combined".to_owned(), 1, "fewer lines")]);
        let error = guessed(&[b"\x1b[2Jhello"]).unwrap_err();
        assert!(error.contains("combined, common, vhost_combined") && error.contains("·[2Jhello"), "{error}");
    }

    #[test]
    fn what_stands_around_the_lines_is_named() {
        let (name, g) = guessed(&[
            br#"2016-10-06T00:17:09.669794202Z stdout F 192.0.2.7 - - [17/May/2015:08:05:32 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#,
            b"2016-10-06T00:17:09.669794202Z stderr F start worker processes",
        ])
        .unwrap();
        assert_eq!((&*name, g.matched, g.envelope), ("combined", 1, Some("container runtime prefix")));
    }

    #[test]
    fn comments_count_for_the_format_they_belong_to_and_not_alone() {
        let head = b"#Fields: date time cs-method cs-uri-stem";
        let (name, g) = guessed(&[b"#Software: x", head, b"2015-05-17 08:05:32 GET /a"]).unwrap();
        assert_eq!((&*name, g.matched, g.looked_at), ("w3c", 3, 3));
        assert!(guessed(&[head]).is_err());
    }
}
