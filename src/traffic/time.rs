//! Log times as text, made nanoseconds since the Unix epoch.
//!
//! Must not: read a clock, or know the time zone of this machine.

use jiff::civil::Date;
use jiff::tz::TimeZone;

const NS: i64 = 1_000_000_000;

/// An instant that a log names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Nanoseconds since the Unix epoch.
    pub(super) unix_ns: i64,
    /// Whether the notation ends at the second: the instant lies somewhere in it.
    pub(super) whole_second: bool,
}

/// Reads log times; remembers the last date and the last minute, since neighbouring lines share theirs.
#[derive(Default)]
pub(super) struct Dates {
    text: [u8; 11],
    midnight_s: Option<i64>,
    /// What stood before and behind the seconds of the last time, and the start of that minute.
    minute: ([u8; 18], [u8; 6]),
    minute_s: Option<i64>,
}

impl Dates {
    /// `17/May/2015:08:05:32 +0000`: nginx `$time_local`, Apache `%t`; a fraction of a second may
    /// follow the seconds.
    pub(super) fn local(&mut self, text: &[u8]) -> Option<Stamp> {
        if let Some((minute, [s1, s2], zone)) = in_minute(text)
            && self.is_minute(minute, zone)
            && let (Some(minute_s), Some(second)) = (self.minute_s, two(*s1, *s2))
            && second <= 60
        {
            return stamp(minute_s + second, None);
        }
        let at = self.local_in(text, None)?;
        if let Some((minute, [s1, s2], zone)) = in_minute(text) {
            self.minute = (*minute, *zone);
            self.minute_s = two(*s1, *s2).map(|second| at.unix_ns.div_euclid(NS) - second);
        }
        Some(at)
    }

    /// The time at the start of `text`, if it is of the last one's minute and zone, and what follows it.
    #[inline]
    pub(super) fn local_at<'a>(&self, text: &'a [u8]) -> Option<(Stamp, &'a [u8])> {
        let (at, behind) = text.split_first_chunk::<26>()?;
        let (minute, [s1, s2], zone) = in_minute(at)?;
        let second = two(*s1, *s2).filter(|second| *second <= 60 && self.is_minute(minute, zone))?;
        Some((stamp(self.minute_s? + second, None)?, behind))
    }

    #[inline]
    fn is_minute(&self, minute: &[u8; 18], zone: &[u8; 6]) -> bool {
        self.minute.0 == *minute && self.minute.1 == *zone
    }

    /// Whether no time in that notation holds `byte`.
    pub(super) fn is_never_in_local(byte: u8) -> bool {
        !byte.is_ascii_alphanumeric() && !b"/: +-.,".contains(&byte)
    }

    /// The same without a zone: HAProxy's accept date. It is the machine's own time, taken for UTC.
    pub(super) fn local_without_zone(&mut self, text: &[u8]) -> Option<Stamp> {
        self.local_in(text, Some(0))
    }

    /// `without_zone` is the offset of a time that names none, s; `None` when it must name one.
    fn local_in(&mut self, text: &[u8], without_zone: Option<i64>) -> Option<Stamp> {
        let (date, rest) = text.split_first_chunk::<11>()?;
        let midnight_s = match self.midnight_s {
            Some(s) if *date == self.text => s,
            _ => {
                let [d1, d2, b'/', m1, m2, m3, b'/', year @ ..] = date else { return None };
                let s = midnight_s(digits(year)?, month(&[*m1, *m2, *m3])?, digits(&[*d1, *d2])?)?;
                (self.text, self.midnight_s) = (*date, Some(s));
                s
            }
        };
        let rest = rest.strip_prefix(b":")?;
        let (second_of_day, rest) = clock_time(rest)?;
        let (fraction_ns, rest) = fraction(rest)?;
        let offset_s = match (rest, without_zone) {
            (b"", Some(offset_s)) => offset_s,
            _ => offset(rest.strip_prefix(b" ")?)?,
        };
        stamp(midnight_s + second_of_day - offset_s, fraction_ns)
    }

    /// `2015-05-17T08:05:32+00:00`: nginx `$time_iso8601` and RFC 3339; with or without a
    /// fraction; `Z`, `+00:00`, `+0000`; a space for the `T`.
    pub(super) fn iso8601(&mut self, text: &[u8]) -> Option<Stamp> {
        self.iso8601_in(text, None)
    }

    /// The same; a time without a zone is UTC.
    pub(super) fn iso8601_or_utc(&mut self, text: &[u8]) -> Option<Stamp> {
        self.iso8601_in(text, Some(0))
    }

    fn iso8601_in(&mut self, text: &[u8], without_zone: Option<i64>) -> Option<Stamp> {
        let (date, rest) = text.split_first_chunk::<10>()?;
        let midnight_s = match self.midnight_s {
            Some(s) if *date == self.text[..10] && self.text[10] == 0 => s,
            _ => {
                let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else { return None };
                let s = midnight_s(digits(&[y1, y2, y3, y4])?, digits(&[m1, m2])?, digits(&[d1, d2])?)?;
                self.text[..10].copy_from_slice(date);
                (self.text[10], self.midnight_s) = (0, Some(s));
                s
            }
        };
        let rest = rest.strip_prefix(b"T").or(rest.strip_prefix(b" "))?;
        let (second_of_day, rest) = clock_time(rest)?;
        let (fraction_ns, rest) = fraction(rest)?;
        let offset_s = match (rest, without_zone) {
            (b"Z" | b"z", _) => 0,
            (b"", Some(offset_s)) => offset_s,
            _ => offset(rest)?,
        };
        stamp(midnight_s + second_of_day - offset_s, fraction_ns)
    }
}

/// `17/May/2015:08:05:32 +0000`, taken apart at its seconds; of no other length.
fn in_minute(text: &[u8]) -> Option<(&[u8; 18], &[u8; 2], &[u8; 6])> {
    let text: &[u8; 26] = text.try_into().ok()?;
    Some((text.first_chunk()?, text[18..].first_chunk()?, text.last_chunk()?))
}

/// A unit of time in which logs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// s
    Seconds,
    /// ms
    Milliseconds,
    /// us
    Microseconds,
    /// ns
    Nanoseconds,
}

impl Unit {
    /// How long one is, ns.
    pub(super) fn ns(self) -> u64 {
        match self {
            Unit::Seconds => 1_000_000_000,
            Unit::Milliseconds => 1_000_000,
            Unit::Microseconds => 1_000,
            Unit::Nanoseconds => 1,
        }
    }
}

/// `1431849932.123`: nginx `$msec`, a count since the Unix epoch. Only a bare number of seconds
/// stands for a whole second, and only seconds count backwards from the epoch.
pub(super) fn unix_time(text: &[u8], unit: Unit) -> Option<Stamp> {
    if unit == Unit::Seconds {
        let (is_before, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
        let dot = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
        let seconds = digits(&text[..dot])?;
        let (ns, b"") = fraction(&text[dot..])? else { return None };
        let at = stamp(seconds, ns)?;
        return Some(if is_before { Stamp { unix_ns: -at.unix_ns, ..at } } else { at });
    }
    let ns = i64::try_from(duration_ns(text, unit)?).ok()?;
    stamp(ns.div_euclid(NS), u32::try_from(ns.rem_euclid(NS)).ok())
}

/// A count since the Unix epoch whose unit its size tells: seconds up to the year 5138, and so on
/// up by thousands. A count in `1.4e9` notation is read, to the precision that such a number has.
pub(super) fn unix_time_of_any_unit(text: &[u8]) -> Option<Stamp> {
    if memchr::memchr2(b'e', b'E', text).is_some() {
        let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        return unix_time_of_any_unit(format!("{number:.9}").as_bytes()).filter(|_| number >= 0.0);
    }
    let whole = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    let unit = match text[..whole].iter().skip_while(|b| **b == b'0').count() {
        0..=11 => Unit::Seconds,
        12..=14 => Unit::Milliseconds,
        15..=17 => Unit::Microseconds,
        _ => Unit::Nanoseconds,
    };
    unix_time(text, unit)
}

/// A time in any notation that JSON lines are known to hold; without a zone it is UTC.
pub(super) fn any_time(dates: &mut Dates, text: &[u8]) -> Option<Stamp> {
    match text {
        [_, _, _, _, b'-', ..] => {
            let zoneless = text.strip_suffix(b" UTC").unwrap_or(text);
            // `2015-05-17 08:05:32 +0000`
            match zoneless.iter().rposition(|b| *b == b' ').filter(|at| *at > 10) {
                Some(at) => dates.iso8601(&[&zoneless[..at], &zoneless[at + 1..]].concat()),
                None => dates.iso8601_or_utc(zoneless),
            }
        }
        // Go's log package and Caddy's `wall` encoder: `2015/05/17 08:05:32.120`.
        [y1, y2, y3, y4, b'/', m1, m2, b'/', rest @ ..] => {
            let date = [*y1, *y2, *y3, *y4, b'-', *m1, *m2, b'-'];
            dates.iso8601_or_utc(&[&date, rest].concat())
        }
        [_, _, b'/', ..] => dates.local(text),
        _ => unix_time_of_any_unit(text),
    }
}

/// A length of time that names its unit, as Go prints it: `1.5ms`, `357µs`, `1m2.5s`.
pub(super) fn duration_of_any_unit(text: &[u8]) -> Option<u64> {
    const UNITS: &[(&[u8], u64)] = &[
        (b"ns", 1),
        ("µs".as_bytes(), 1_000),
        ("μs".as_bytes(), 1_000),
        (b"us", 1_000),
        (b"ms", 1_000_000),
        (b"s", 1_000_000_000),
        (b"m", 60_000_000_000),
        (b"h", 3_600_000_000_000),
    ];
    let (mut rest, mut total) = (text, 0u64);
    while !rest.is_empty() {
        let digits = rest.iter().position(|b| *b != b'.' && !b.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        let (name, unit_ns) = UNITS.iter().find(|(name, _)| unit.starts_with(name))?;
        total = total.checked_add(count_ns(number, *unit_ns)?)?;
        rest = &unit[name.len()..];
    }
    (!text.is_empty()).then_some(total)
}

/// A length of time: `0.123` in units of `unit`, as ns. `-` is none.
pub(super) fn duration_ns(text: &[u8], unit: Unit) -> Option<u64> {
    count_ns(text, unit.ns())
}

/// A decimal number of units, ns.
fn count_ns(text: &[u8], unit_ns: u64) -> Option<u64> {
    let dot = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    // Nanoseconds since the epoch have 19 digits.
    let whole = match text[..dot] {
        ref long if long.len() == 19 => std::str::from_utf8(long).ok()?.parse::<u64>().ok()?,
        ref short => u64::try_from(digits(short)?).ok()?,
    };
    let whole = whole.checked_mul(unit_ns)?;
    match fraction(&text[dot..])? {
        (ns, b"") => {
            // The fraction is in billionths of one unit.
            let part = u64::try_from(u128::from(ns.unwrap_or(0)) * u128::from(unit_ns) / 1_000_000_000).ok()?;
            whole.checked_add(part)
        }
        _ => None,
    }
}

/// Midnight UTC of a date of the Gregorian calendar, s since the Unix epoch; `None` when there is
/// no such date.
fn midnight_s(year: i64, month: i64, day: i64) -> Option<i64> {
    let date = Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

fn month(name: &[u8; 3]) -> Option<i64> {
    const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let n = NAMES.chunks_exact(3).position(|m| m.eq_ignore_ascii_case(name))?;
    i64::try_from(n + 1).ok()
}

/// One to 18 decimal digits.
fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
}

fn two(a: u8, b: u8) -> Option<i64> {
    (a.is_ascii_digit() && b.is_ascii_digit()).then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
}

/// `08:05:32` and what follows it. A leap second, 60, is the first moment of the next minute.
fn clock_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let ([h1, h2, b':', m1, m2, b':', s1, s2], rest) = text.split_first_chunk::<8>()? else { return None };
    let (h, m, s) = (two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?);
    (h < 24 && m < 60 && s <= 60).then_some((h * 3600 + m * 60 + s, rest))
}

/// `.123` or `,123` as ns and what follows it; digits past the ninth are passed over.
fn fraction(text: &[u8]) -> Option<(Option<u32>, &[u8])> {
    let (b'.' | b',', rest) = (match text.split_first() {
        Some((first, rest)) => (*first, rest),
        None => return Some((None, text)),
    }) else {
        return Some((None, text));
    };
    let n = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if n == 0 {
        return None;
    }
    let ns = (0..9).fold(0, |v, i| v * 10 + if i < n { u32::from(rest[i] - b'0') } else { 0 });
    Some((Some(ns), &rest[n..]))
}

/// `+0130` or `+01:30`, east of Greenwich, in s.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, h, m) = match text {
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, two(*h1, *h2)?, two(*m1, *m2)?),
        _ => return None,
    };
    let s = h * 3600 + m * 60;
    match sign {
        b'+' if h < 24 && m < 60 => Some(s),
        b'-' if h < 24 && m < 60 => Some(-s),
        _ => None,
    }
}

/// Times further from the epoch than this (the years 1678 to 2261) are none: nanoseconds in 64
/// bits end soon after, and no log is from there.
const FARTHEST_S: i64 = 9_200_000_000;

fn stamp(seconds: i64, fraction_ns: Option<u32>) -> Option<Stamp> {
    if !(-FARTHEST_S..=FARTHEST_S).contains(&seconds) {
        return None;
    }
    let unix_ns = seconds * NS + i64::from(fraction_ns.unwrap_or(0));
    Some(Stamp { unix_ns, whole_second: fraction_ns.is_none() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn unix_seconds_of(text: &[u8]) -> Option<Stamp> {
        unix_time(text, Unit::Seconds)
    }

    fn local(text: &str) -> Option<Stamp> {
        Dates::default().local(text.as_bytes())
    }

    fn iso(text: &str) -> Option<Stamp> {
        Dates::default().iso8601(text.as_bytes())
    }

    #[test]
    fn the_same_instant_in_every_notation() {
        let at = 1_431_849_932 * NS; // date -u -d '2015-05-17 08:05:32' +%s
        let whole = Some(Stamp { unix_ns: at, whole_second: true });
        let fine = Some(Stamp { unix_ns: at + 120_000_000, whole_second: false });
        assert_eq!(local("17/May/2015:08:05:32 +0000"), whole);
        assert_eq!(local("17/May/2015:10:35:32 +0230"), whole);
        assert_eq!(local("16/may/2015:23:05:32 -0900"), whole);
        assert_eq!(local("17/May/2015:08:05:32.12 +0000"), fine);
        assert_eq!(iso("2015-05-17T08:05:32Z"), whole);
        assert_eq!(iso("2015-05-17T10:05:32+02:00"), whole);
        assert_eq!(iso("2015-05-17 10:05:32.120+0200"), fine);
        assert_eq!(unix_seconds_of(b"1431849932.120"), fine);
        assert_eq!(unix_seconds_of(b"1431849932"), whole);
        assert_eq!(unix_seconds_of(b"-1431849932.120"), fine.map(|s| Stamp { unix_ns: -s.unix_ns, ..s }));
        assert_eq!(local("31/Dec/2016:23:59:60 +0000"), local("01/Jan/2017:00:00:00 +0000"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "-",
            "17/May/2015",
            "30/Feb/2015:08:05:32 +0000",
            "17/Mai/2015:08:05:32 +0000",
            "17/May/2015:24:05:32 +0000",
            "17/May/2015:08:05:32",
            "17/May/2015:08:05:32 0000",
            "17/May/2015:08:05:32. +0000",
            "17/May/2015:08:05:32 +00000",
            "17/May/9999:08:05:32 +0000",
        ] {
            assert_eq!(local(text), None, "{text}");
        }
        assert_eq!(iso("2015-05-17T08:05:32"), None);
        assert_eq!(iso("2015-13-17T08:05:32Z"), None);
        assert_eq!(unix_seconds_of(b"99999999999999"), None);
        assert_eq!(unix_seconds_of(b"1431849932."), None);
        assert_eq!((unix_seconds_of(b"-"), unix_seconds_of(b"--1")), (None, None));
    }

    #[test]
    fn durations_keep_their_unit() {
        assert_eq!(duration_ns(b"0.123", Unit::Seconds), Some(123_000_000));
        assert_eq!(duration_ns(b"1500", Unit::Microseconds), Some(1_500_000));
        assert_eq!(duration_ns(b"2.5", Unit::Milliseconds), Some(2_500_000));
        assert_eq!(duration_ns(b"-", Unit::Seconds), None);
        assert_eq!(duration_ns(b"99999999999999999", Unit::Seconds), None);
        assert_eq!(duration_of_any_unit("357.5µs".as_bytes()), Some(357_500));
        assert_eq!(duration_of_any_unit(b"1m2.5s"), Some(62_500_000_000));
        for none in ["", "5", "ms", "1.2.3s", "1y"] {
            assert_eq!(duration_of_any_unit(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_remembered_date_is_not_taken_for_another() {
        let mut dates = Dates::default();
        let first = dates.local(b"17/May/2015:08:05:32 +0000");
        assert_ne!(first, dates.local(b"18/May/2015:08:05:32 +0000"));
        assert_eq!(dates.iso8601(b"2015-05-17T08:05:32Z"), first);
        assert_eq!(dates.iso8601(b"2015-05-17T08:05:32Z"), first);
        assert_eq!(dates.local(b"17/May/2015:08:05:32 +0000"), first);
        assert_eq!(dates.local(b"40/May/2015:08:05:32 +0000"), None);
        assert_eq!(dates.local(b"17/May/2015:08:05:32 +0000"), first);
    }

    proptest! {
        #[test]
        fn every_instant_comes_back(s in -9_000_000_000i64..9_000_000_000) {
            let at = Timestamp::from_second(s).unwrap();
            let expected = Some(Stamp { unix_ns: s * NS, whole_second: true });
            let utc = at.to_zoned(TimeZone::UTC);
            prop_assert_eq!(local(&utc.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()), expected);
            prop_assert_eq!(iso(&utc.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()), expected);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut d = Dates::default();
            let _ = (d.local(&bytes), d.iso8601(&bytes), unix_seconds_of(&bytes), duration_ns(&bytes, Unit::Microseconds), any_time(&mut Dates::default(), &bytes), duration_of_any_unit(&bytes));
        }
    }
}
