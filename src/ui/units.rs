//! Numbers as people read them: short, with a unit, and of a steady width.
//!
//! Must not: know what a number is of.

use crate::model::clean;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A number in at most five columns: `0.4`, `931`, `4931`, `12.3k`, `1.25M`.
pub fn short(v: f64) -> String {
    if !v.is_finite() {
        return "–".into();
    }
    let sign = if v < 0.0 { "-" } else { "" };
    let a = v.abs();
    let body = match a {
        0.0 => "0".into(),
        a if a < 0.05 => "<0.1".into(),
        a if a < 9.95 => format!("{a:.1}"),
        a if a < 9_999.5 => format!("{a:.0}"),
        a => scaled(a, &["k", "M", "G", "T", "P", "E"], 1000.0),
    };
    format!("{sign}{body}")
}

/// A whole number, in full below 100 000.
pub fn count(n: u64) -> String {
    if n < 100_000 { n.to_string() } else { scaled(n as f64, &["k", "M", "G", "T", "P", "E"], 1000.0) }
}

/// A length of time: `812 µs`, `1.2 ms`, `18 ms`, `1.02 s`, `2 min`.
pub fn time(ns: f64) -> String {
    match ns {
        ns if !ns.is_finite() => "–".into(),
        ns if ns < 0.5 => "0 ms".into(),
        ns if ns < 9.95e3 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 999.5e3 => format!("{:.0} µs", ns / 1e3),
        ns if ns < 9.95e6 => format!("{:.1} ms", ns / 1e6),
        ns if ns < 999.5e6 => format!("{:.0} ms", ns / 1e6),
        ns if ns < 9.995e9 => format!("{:.2} s", ns / 1e9),
        ns if ns < 599.5e9 => format!("{:.0} s", ns / 1e9),
        ns if ns < 7200e9 => format!("{:.0} min", ns / 60e9),
        ns => format!("{:.1} h", ns / 3600e9),
    }
}

/// A length of time in milliseconds without its unit, at most five columns.
pub fn millis(ns: f64) -> String {
    match ns / 1e6 {
        ms if !ms.is_finite() => "–".into(),
        0.0 => "0".into(),
        ms if ms < 0.995 => format!("{ms:.2}"),
        ms if ms < 9.95 => format!("{ms:.1}"),
        ms if ms < 99_999.5 => format!("{ms:.0}"),
        ms => short(ms),
    }
}

/// Bytes, decimal: `812 B`, `3.4 GB`.
pub fn bytes(b: f64) -> String {
    match b {
        b if !b.is_finite() => "–".into(),
        b if b < 999.5 => format!("{b:.0} B"),
        b => scaled(b, &[" kB", " MB", " GB", " TB", " PB", " EB"], 1000.0),
    }
}

/// A share, per cent, without the sign: `0.4`, `34`.
pub fn percent(p: f64) -> String {
    match p {
        p if !p.is_finite() => "–".into(),
        p if p < 0.05 => "0".into(),
        p if p < 9.95 => format!("{p:.1}"),
        p => format!("{p:.0}"),
    }
}

fn scaled(v: f64, units: &[&str], step: f64) -> String {
    let mut v = v / step;
    let mut n = 0;
    while v >= step * 0.9995 && n + 1 < units.len() {
        v /= step;
        n += 1;
    }
    let digits = match v {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{v:.digits$}{}", units[n])
}

/// Columns a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` from outside made safe and cut to `columns`, the last one `…` when cut.
pub fn cut(text: &str, columns: usize) -> String {
    let text = clean(text, columns.saturating_mul(2).max(8));
    if text.width() <= columns {
        return text;
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > columns {
            break;
        }
        used += w;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// Like [`cut`], but keeps the end of the text: paths tell more there.
pub fn cut_front(text: &str, columns: usize) -> String {
    let text = clean(text, 4096);
    if text.width() <= columns {
        return text;
    }
    let mut kept = Vec::new();
    let mut used = 0;
    for c in text.chars().rev() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > columns {
            break;
        }
        used += w;
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept.iter().rev().collect()
}

/// Like [`cut`], but keeps both ends of the text: names of routes and files differ at their ends.
pub fn cut_middle(text: &str, columns: usize) -> String {
    let text = clean(text, 4096);
    if text.width() <= columns || columns < 8 {
        return cut(&text, columns);
    }
    let end = cut_front(&text, columns / 2);
    cut(&text, columns - columns / 2 + 1).trim_end_matches('…').to_owned() + &end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_lose_their_size() {
        let s: Vec<String> =
            [0.0, 0.01, 0.44, 931.2, 4931.0, 9999.6, 12_345.0, 999_960.0, 1.25e6].into_iter().map(short).collect();
        assert_eq!(s, ["0", "<0.1", "0.4", "931", "4931", "10.0k", "12.3k", "1.00M", "1.25M"]);
        assert_eq!((count(99_999), count(100_000)), ("99999".into(), "100k".into()));
        assert_eq!(bytes(3.42e9), "3.42 GB");
        assert_eq!(short(f64::NAN), "–");
    }

    #[test]
    fn times_change_unit_without_a_gap() {
        let t: Vec<String> =
            [800.0, 9_960.0, 1.2e6, 18e6, 999.6e6, 1.02e9, 75e9, 900e9].into_iter().map(time).collect();
        assert_eq!(t, ["0.8 µs", "10 µs", "1.2 ms", "18 ms", "1.00 s", "1.02 s", "75 s", "15 min"]);
        assert_eq!(millis(40_000.0), "0.04");
    }

    #[test]
    fn wide_characters_are_cut_by_columns() {
        assert_eq!(cut("日本語テキスト", 7), "日本語…");
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut_middle("/downloads/product_1", 13), "/downlo…uct_1");
        assert_eq!(cut_middle("/downloads/product_1", 20), "/downloads/product_1");
        assert_eq!(cut_middle("日本語テキスト日本語テキスト", 11).width(), 11);
        assert_eq!(cut("abc\x1b[2J", 20), "abc·[2J");
        assert_eq!(cut_front("/a/very/long/path", 6), "…/path");
        assert_eq!(cut("abc", 0), "");
    }
}
