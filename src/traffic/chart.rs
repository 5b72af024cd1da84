//! A chart of rates over time as lines of text.
//!
//! Must not: be wider than it was told; use colours.

use super::rates::Rates;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Rows of the chart, without its axis.
const ROWS: usize = 6;

/// Columns of the scale to the left.
const SCALE: usize = 11;

/// The rates as a filled chart of at most `columns` columns (at least 40), the scale to its left
/// and the times (UTC) below. With braille, or with `ascii` characters only.
pub fn chart(rates: &Rates, columns: usize, ascii: bool) -> Vec<String> {
    let width = columns.max(40) - SCALE - 2;
    let per_cell = if ascii { 1 } else { 2 };
    // Parts shorter than a second would show single requests as high rates.
    let cells = width * per_cell;
    let seconds = usize::try_from(rates.span_ns().div_ceil(1_000_000_000)).unwrap_or(cells).clamp(1, cells);
    let parts = rates.columns(seconds);
    let values: Vec<f64> = (0..cells).map(|c| parts[c * seconds / cells]).collect();
    let top = round_up(values.iter().copied().fold(0.0, f64::max));
    let steps = if ascii { 2 } else { 4 };
    let levels: Vec<usize> = values.iter().map(|v| level(*v, top, ROWS * steps)).collect();
    let (bar, corner, line) = if ascii { ('|', '+', '-') } else { ('│', '└', '─') };
    let mut out = Vec::with_capacity(ROWS + 2);
    for row in (0..ROWS).rev() {
        let scale = match row {
            _ if row == ROWS - 1 => per_s(top),
            _ if row * 2 == ROWS => per_s(top / 2.0),
            _ => String::new(),
        };
        let cells: String = levels
            .chunks(per_cell)
            .map(|cell| {
                let filled = |n: usize| cell.get(n).map_or(0, |l| l.saturating_sub(row * steps).min(steps));
                if ascii { [' ', '.', '#'][filled(0)] } else { braille(filled(0), filled(1)) }
            })
            .collect();
        // A blank of braille is a blank.
        out.push(format!("{scale:>SCALE$} {bar}{}", cells.replace('\u{2800}', " ").trim_end()));
    }
    out.push(format!("{:>SCALE$} {corner}{}", "0", line.to_string().repeat(width)));
    out.push(format!("{:>SCALE$}  {}", "", times(rates, width)));
    out
}

/// How many of `steps` a value fills; what is there at all fills one.
fn level(value: f64, top: f64, steps: usize) -> usize {
    if value <= 0.0 || top <= 0.0 {
        return 0;
    }
    ((value / top * steps as f64).round() as usize).clamp(1, steps)
}

/// A cell whose left and right columns are filled so many dots from below.
fn braille(left: usize, right: usize) -> char {
    const LEFT: [u32; 5] = [0, 0x40, 0x44, 0x46, 0x47];
    const RIGHT: [u32; 5] = [0, 0x80, 0xa0, 0xb0, 0xb8];
    char::from_u32(0x2800 + LEFT[left.min(4)] + RIGHT[right.min(4)]).unwrap_or(' ')
}

/// The next number above that reads well: 1, 1.5, 2, 3, 4, 5, 6, 8 and their tens.
fn round_up(v: f64) -> f64 {
    if v.is_nan() || v <= 0.0 {
        return 1.0;
    }
    let tens = 10_f64.powf(v.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.iter().map(|s| s * tens).find(|s| *s >= v * (1.0 - 1e-9)).unwrap_or(v)
}

/// A rate in at most ten columns: `0.033/s`, `12.5/s`, `4931/s`, `1.2M/s`.
pub fn per_s(v: f64) -> String {
    let number = match v {
        v if !v.is_finite() => "?".to_owned(),
        v if v < 1e-9 => "0".to_owned(),
        // Three digits that say something, without zeros at the end.
        v if v < 99.95 => {
            let digits = (2 - v.log10().floor() as i32).clamp(0, 9);
            let fixed = format!("{v:.*}", usize::try_from(digits).unwrap_or(0));
            if fixed.contains('.') { fixed.trim_end_matches('0').trim_end_matches('.').to_owned() } else { fixed }
        }
        v if v < 99_999.5 => format!("{v:.0}"),
        v if v < 999_950.0 => format!("{:.1}k", v / 1e3),
        v => format!("{:.1}M", v / 1e6),
    };
    number + "/s"
}

/// Start, middle and end of the span, as far apart as they are; what does not fit is left out.
fn times(rates: &Rates, width: usize) -> String {
    let (first, span) = (rates.first_unix_ns(), rates.span_ns());
    let form = match span / 1_000_000_000 {
        0..120 => "%H:%M:%S%.3f",
        120..7200 => "%H:%M:%S",
        7200..172_800 => "%d %b %H:%M",
        172_800..31_536_000 => "%d %b %H:%M",
        _ => "%Y-%m-%d",
    };
    let label = |ns: i64| {
        let at = Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default();
        at.to_zoned(TimeZone::UTC).strftime(form).to_string()
    };
    let half = i64::try_from(span / 2).unwrap_or(0);
    let (start, middle, end) = (label(first), label(first.saturating_add(half)), label(rates.last_unix_ns()));
    let room = width.saturating_sub(start.len() + end.len());
    if span == 0 || room < 2 {
        return start;
    }
    if room < middle.len() + 4 {
        return format!("{start}{}{end}", " ".repeat(room));
    }
    let left = (width.saturating_sub(middle.len()) / 2).saturating_sub(start.len());
    format!("{start}{}{middle}{}{end}", " ".repeat(left), " ".repeat(room - left - middle.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Rates {
        let mut rates = Rates::default();
        for s in 0..100_i64 {
            (0..=s).for_each(|n| rates.note(s * 1_000_000_000 + n * 10_000_000));
        }
        rates
    }

    #[test]
    fn a_ramp_is_drawn_as_one_and_fits() {
        for (columns, ascii) in [(80, false), (80, true), (40, false), (200, true)] {
            let lines = chart(&ramp(), columns, ascii);
            assert_eq!(lines.len(), ROWS + 2);
            assert!(lines.iter().all(|l| l.chars().count() <= columns), "{lines:#?}");
            let filled = |l: &String| l.chars().skip(SCALE + 2).filter(|c| *c != ' ').count();
            let rows: Vec<usize> = lines[..ROWS].iter().map(filled).collect();
            assert!(rows.is_sorted() && rows[0] < rows[ROWS - 1], "{lines:#?}");
            assert!(!ascii || lines.iter().all(|l| l.is_ascii()), "{lines:#?}");
            assert!(lines[0].contains("/s"), "{lines:#?}");
            assert!(lines[ROWS + 1].contains("00:00:00.000") && lines[ROWS + 1].contains("00:01:"), "{lines:#?}");
        }
    }

    #[test]
    fn one_request_and_none_are_drawn_too() {
        let mut one = Rates::default();
        one.note(5);
        for rates in [one, Rates::default()] {
            assert_eq!(chart(&rates, 0, false).len(), ROWS + 2);
        }
    }

    #[test]
    fn rates_read_well() {
        let shown = [0.0331, 0.5, 12.34, 99.99, 4931.4, 250_000.0, 2e6, 0.0].map(per_s);
        assert_eq!(shown, ["0.0331/s", "0.5/s", "12.3/s", "100/s", "4931/s", "250.0k/s", "2.0M/s", "0/s"]);
        assert_eq!([0.031, 99.0, 100.0, 1.2, 0.0].map(round_up), [0.04, 100.0, 100.0, 1.5, 1.0]);
    }
}
