//! The ends of a time slice, `--from` and `--to`, as people give them.
//!
//! Must not: read a clock, or know the time zone of this machine.

use super::time::{Dates, Unit, unix_time};
use crate::model::clean;
use std::str::FromStr;

const NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * NS;

/// One end of a time slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// An instant, ns since the Unix epoch.
    At(
        /// Which.
        i64,
    ),
    /// So long after the recording's start, ns.
    After(
        /// How long; not negative.
        i64,
    ),
    /// A time of day, ns since midnight UTC: the first that the slice can mean.
    OfDay(
        /// Which; below a day.
        i64,
    ),
}

impl FromStr for Moment {
    type Err = String;

    /// `2015-05-17T08:05:32Z`, `2015-05-17 08:05` (UTC), `2015-05-17`; `17/May/2015:08:05:32 +0000`;
    /// `@1431849932.5`; `08:05`, `08:05:32`, `10:05+02:00`; `+10m`, `+1h30m`.
    fn from_str(text: &str) -> Result<Moment, String> {
        let text = text.trim();
        let found = if let Some(length) = text.strip_prefix('+') {
            length_ns(length).map(Moment::After)
        } else if let Some(seconds) = text.strip_prefix('@') {
            unix_time(seconds.as_bytes(), Unit::Seconds).map(|t| Moment::At(t.unix_ns))
        } else {
            instant(text).map(Moment::At).or_else(|| of_day(text).map(Moment::OfDay))
        };
        found.ok_or_else(|| {
            format!(
                "'{}' is no time; give 2015-05-17T08:05:32Z, 17/May/2015:08:05:32 +0000, 08:05:32 or +10m",
                clean(text, 40)
            )
        })
    }
}

/// An instant with its date; without a zone it is UTC.
fn instant(text: &str) -> Option<i64> {
    let complete = |time: &str| match time.len() {
        10 => format!("{time}T00:00:00Z"),
        16 => format!("{time}:00Z"),
        _ => time.to_owned(),
    };
    let mut dates = Dates::default();
    let read = |dates: &mut Dates, t: &str| dates.iso8601(t.as_bytes()).or_else(|| dates.local(t.as_bytes()));
    let zones = ["", "Z", " +0000"];
    zones.iter().find_map(|zone| read(&mut dates, &(complete(text) + zone))).map(|t| t.unix_ns)
}

/// A time of day, with or without seconds and a zone, in UTC.
fn of_day(text: &str) -> Option<i64> {
    let zone = text.find(['+', '-', 'Z', 'z']).unwrap_or(text.len());
    let (time, zone) = (&text[..zone], &text[zone..]);
    let seconds = if time.len() == 5 { ":00" } else { "" };
    let zone = if zone.is_empty() || zone == "z" { "Z" } else { zone };
    let at = Dates::default().iso8601(format!("1970-01-02T{time}{seconds}{zone}").as_bytes())?;
    Some(at.unix_ns.rem_euclid(DAY_NS))
}

/// `10m`, `1h30m`, `90s`, `2d`, `250ms`; a bare number is seconds.
fn length_ns(text: &str) -> Option<i64> {
    let (mut rest, mut sum) = (text, 0_i64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| end + n);
        let unit_ns = match &rest[end..unit_end] {
            "ms" => NS / 1000,
            "" | "s" => NS,
            "m" => 60 * NS,
            "h" => 3600 * NS,
            "d" => DAY_NS,
            _ => return None,
        };
        sum = sum.checked_add(rest[..end].parse::<i64>().ok()?.checked_mul(unit_ns)?)?;
        rest = &rest[unit_end..];
    }
    Some(sum)
}

/// The slice that `from` and `to` are of a recording that starts at `start_ns`, as
/// `from <= time < to`; `None` for an end that is open.
///
/// A time of day is the first one the recording reaches. When both ends are times of day and the
/// recording starts inside such a slice, it is that slice: `08:00` to `09:00` of a log that starts
/// at 08:05 is what there is of that hour.
pub(super) fn resolve(from: Option<Moment>, to: Option<Moment>, start_ns: i64) -> (Option<i64>, Option<i64>) {
    let midnight = start_ns.div_euclid(DAY_NS).saturating_mul(DAY_NS);
    let first_after = |of_day: i64, after: i64| {
        let midnight = after.div_euclid(DAY_NS).saturating_mul(DAY_NS);
        let today = midnight.saturating_add(of_day);
        if today < after { today.saturating_add(DAY_NS) } else { today }
    };
    if let (Some(Moment::OfDay(from)), Some(Moment::OfDay(to))) = (from, to) {
        let length = (to - from).rem_euclid(DAY_NS);
        let length = if length == 0 { DAY_NS } else { length };
        let days = [midnight.saturating_sub(DAY_NS), midnight];
        let around = days
            .map(|d| d.saturating_add(from))
            .into_iter()
            .find(|f| (*f..f.saturating_add(length)).contains(&start_ns));
        let from = around.unwrap_or_else(|| first_after(from, start_ns));
        return (Some(from), Some(from.saturating_add(length)));
    }
    let one = |moment: Moment, not_before: i64| match moment {
        Moment::At(at) => at,
        Moment::After(length) => start_ns.saturating_add(length),
        Moment::OfDay(of_day) => first_after(of_day, not_before),
    };
    let from = from.map(|m| one(m, start_ns));
    let to = to.map(|m| one(m, from.unwrap_or(start_ns).saturating_add(1)));
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_moment_in_every_notation() {
        let at = 1_431_849_932 * NS; // date -u -d '2015-05-17 08:05:32' +%s
        for text in [
            "2015-05-17T08:05:32Z",
            "2015-05-17T10:05:32+02:00",
            "2015-05-17 08:05:32",
            "17/May/2015:08:05:32 +0000",
            "17/May/2015:08:05:32",
            "@1431849932",
        ] {
            assert_eq!(moment(text), Moment::At(at), "{text}");
        }
        assert_eq!(moment("2015-05-17"), Moment::At(at - at % DAY_NS));
        assert_eq!(moment("2015-05-17 08:05"), Moment::At(at - 32 * NS));
        assert_eq!(moment("08:05:32"), Moment::OfDay(at % DAY_NS));
        assert_eq!(moment("08:05"), Moment::OfDay(at % DAY_NS - 32 * NS));
        assert_eq!(moment("01:05:32+02:00"), Moment::OfDay(23 * 3600 * NS + 332 * NS));
        assert_eq!(moment("+10m"), Moment::After(600 * NS));
        assert_eq!(moment("+1h30m"), Moment::After(5400 * NS));
        assert_eq!(moment("+250ms"), Moment::After(NS / 4));
        for wrong in
            ["", "noon", "+", "+1x", "25:00", "2015-13-01", "@x", "+99999999999999999999s", "+9223372036854775s9h"]
        {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_of_day_are_the_first_the_recording_reaches() {
        let hours = |h: i64| h * 3600 * NS;
        let day = hours(24);
        let start = 100 * day + hours(8);
        let slice = |from: Option<i64>, to: Option<i64>| {
            let (from, to) = resolve(from.map(|h| Moment::OfDay(hours(h))), to.map(|h| Moment::OfDay(hours(h))), start);
            let hour = |t: i64| (t - 100 * day) / hours(1);
            (from.map(hour), to.map(hour))
        };
        assert_eq!(slice(Some(10), None), (Some(10), None));
        assert_eq!(slice(Some(7), None), (Some(31), None));
        assert_eq!(slice(None, Some(7)), (None, Some(31)));
        assert_eq!(slice(Some(10), Some(12)), (Some(10), Some(12)));
        assert_eq!(slice(Some(7), Some(9)), (Some(7), Some(9)));
        assert_eq!(slice(Some(22), Some(9)), (Some(-2), Some(9)));
        assert_eq!(slice(Some(22), Some(2)), (Some(22), Some(26)));
        assert_eq!(slice(Some(9), Some(9)), (Some(-15), Some(9)));
        let at = resolve(Some(Moment::After(hours(1))), Some(Moment::OfDay(hours(8))), start);
        assert_eq!(at, (Some(start + hours(1)), Some(start + hours(24))));
        assert_eq!(resolve(Some(Moment::At(5)), None, start), (Some(5), None));
        assert_eq!(resolve(Some(Moment::OfDay(5)), Some(Moment::OfDay(3)), i64::MAX).1, Some(i64::MAX));
    }
}
