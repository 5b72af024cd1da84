//! What `perfbench traffic` prints for people.
//!
//! Must not: show text of a recording uncleaned, or the value of a header field; use colours.

use super::traffic::Found;
use crate::model::clean;
use crate::traffic::{Written, chart, per_s};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr as _;

/// Columns of the names of facts.
const LABEL: usize = 11;
/// Columns of a bar of shares.
const BAR: usize = 16;
/// Files that are named; of more the rest is counted.
const FILES: usize = 8;
/// A blank that [`wrap`] does not break at.
const NO_BREAK: char = '\u{a0}';
/// Columns that a table needs beside another one.
const BESIDE: usize = 44;
/// Columns that a table with bars needs.
const BARRED: usize = 60;
/// Columns between two tables.
const GAP: usize = 5;
/// Methods and statuses that are shown.
const SHORT: usize = 12;

/// The look, at most `columns` wide, with the `top` most frequent routes and hosts.
pub(super) fn render(f: &Found, top: usize, columns: usize, ascii: bool) -> String {
    let width = columns.clamp(60, 120);
    let mut out = Vec::new();
    files(f, width, &mut out);
    out.push(String::new());
    facts(f, width, &mut out);
    if f.look.requests > 0 {
        requests(f, top, width, ascii, &mut out);
    }
    folded(f, width, &mut out);
    skipped(f, width, &mut out);
    if f.look.requests > 0 {
        lacks(f, width, &mut out);
    }
    if let Some(w) = &f.written {
        out.push(String::new());
        written(w).iter().for_each(|line| wrap(line, "", width, &mut out));
        if f.look.with_secrets > 0 && holds_fields(w) {
            let n = grouped(f.look.with_secrets);
            wrap(
                &format!("{n} of them hold Authorization or Cookie as recorded: keep the file to yourself"),
                "",
                width,
                &mut out,
            );
        }
    }
    let text = out.iter().fold(String::new(), |text, line| text + line.trim_end() + "\n");
    let text = printable(&text);
    if ascii { in_ascii(&text) } else { text }
}

/// What they are, and when.
fn requests(f: &Found, top: usize, width: usize, ascii: bool, out: &mut Vec<String>) {
    if !f.look.rates.is_empty() {
        out.push(String::new());
        out.push("requests per second".into());
        out.extend(chart(&f.look.rates, width, ascii));
    }
    let look = &f.look;
    let total = look.requests;
    let methods: Vec<(String, u64)> = look.methods().into_iter().map(|(m, n)| (m.to_owned(), n)).collect();
    let statuses: Vec<(String, u64)> = look.statuses().map(|(s, n)| (status(s), n)).collect();
    let left = table("method", &methods, total, SHORT, width / 2, "methods");
    let half = left.iter().map(|l| l.width()).max().unwrap_or(0);
    let room = width.saturating_sub(half + GAP);
    let statuses = |width| table("recorded status", &by_count(statuses), total, SHORT, width, "statuses");
    out.push(String::new());
    if room >= BESIDE {
        out.extend(beside(&left, &statuses(room.min(BARRED - 1)), half));
    } else {
        out.extend(left);
        out.push(String::new());
        out.extend(statuses(width));
    }
    let mut hosts: Vec<(String, u64)> = look.hosts().into_iter().map(|(h, n)| (clean(h, 200), n)).collect();
    if !hosts.is_empty() {
        hosts.extend((look.without_host > 0).then(|| ("(none)".to_owned(), look.without_host)));
        out.push(String::new());
        out.extend(table("host", &by_count(hosts), total, top, width, "hosts"));
    }
    let routes: Vec<(String, u64)> = look.routes().into_iter().map(|(r, n)| (clean(r, 200), n)).collect();
    out.push(String::new());
    out.extend(table("route", &routes, total, top, width, "routes"));
}

/// What was written, a line each, to be printed by itself.
pub(super) fn note(w: &Written) -> Vec<String> {
    written(w).iter().map(|line| printable(line)).collect()
}

/// How far the reading is.
pub(super) fn reading(lines: u64) -> String {
    printable(&format!("reading: {} lines", grouped(lines)))
}

fn printable(text: &str) -> String {
    text.replace(NO_BREAK, " ")
}

fn files(f: &Found, width: usize, out: &mut Vec<String>) {
    for c in f.choices.iter().take(FILES) {
        let order = if c.timed { "" } else { "; no times, an order of requests" };
        let why = format!("{}: format {}{order}", clean(&c.source, 200), clean(&c.why(), 400));
        wrap(&why, "", width, out);
    }
    if f.choices.len() > FILES {
        out.push(format!("… and {} more files (all: {})", f.choices.len() - FILES, clean(&f.counts.format, 80)));
    }
}

/// What there is one of for a request.
fn unit(f: &Found) -> &'static str {
    if f.choices.iter().all(|c| c.unit == "records") { "records" } else { "lines" }
}

fn facts(f: &Found, width: usize, out: &mut Vec<String>) {
    let (c, s, rates) = (&f.counts, &f.summary, &f.look.rates);
    let mut fact = |name: &str, text: String| wrap(&text, &format!("{name:<LABEL$}"), width, out);
    fact("requests", format!("{} to replay, of {} {}", grouped(c.requests), grouped(c.lines), unit(f)));
    if !rates.is_empty() {
        times(f, &mut fact);
    }
    if s.untimed_lines < s.records {
        let late = match (c.out_of_order, c.outside_window) {
            (0, _) => "all lines are in time order".to_owned(),
            (n, 0) => format!("{} out of order ({}), all put back in place", grouped(n), share(n, c.requests)),
            (n, late) => {
                format!(
                    "{} out of order ({}); {} too late to be put back, replayed as they come",
                    grouped(n),
                    share(n, c.requests),
                    grouped(late)
                )
            }
        };
        fact("order", late);
    }
    let several = |(n, more): (u64, bool)| format!("{}{}", if more { "more than " } else { "" }, grouped(n));
    let (here, all) = (f.look.clients(), (s.clients, s.more_clients));
    if all.0 > 0 {
        let of = if here == all { String::new() } else { format!(" of the {} recorded", several(all)) };
        let kinds = match (s.ipv4_lines, s.ipv6_lines) {
            (_, 0) => String::new(),
            (four, six) => format!("; {} lines of IPv6 addresses, {} of others", grouped(six), grouped(four)),
        };
        fact("clients", format!("{} different{of}{kinds}", several(here)));
    }
    if s.response_bytes > 0 {
        fact("responses", format!("{} in all lines", bytes(s.response_bytes)));
    }
    if f.look.bodies > 0 {
        let size = bytes(f.look.body_bytes);
        fact("bodies", format!("in {} of the requests, {size} together", grouped(f.look.bodies)));
    }
    let fields = f.look.fields();
    if !fields.is_empty() {
        let named = |(name, n): &(&str, u64)| format!("{} {}", clean(name, 40), share(*n, f.counts.requests));
        let mut text = fields.iter().take(8).map(named).collect::<Vec<_>>().join(", ");
        if fields.len() > 8 {
            text += &format!(", … and {} more", fields.len() - 8);
        }
        fact("fields", text);
    }
}

/// When the requests come and how long that takes.
fn times(f: &Found, fact: &mut impl FnMut(&str, String)) {
    let rates = &f.look.rates;
    let is_fine = rates.span_ns() < 600_000_000_000;
    let (first, last) = (rates.first_unix_ns(), rates.last_unix_ns());
    fact("time", format!("{} to {} UTC", time(first, is_fine), time(last, is_fine)));
    if let (from, to) = f.slice
        && (from.is_some() || to.is_some())
    {
        let end = |t: Option<i64>, open: &str| t.map_or(open.to_owned(), |t| time(t, false));
        fact("slice", format!("{} up to {} UTC", end(from, "the start"), end(to, "the end")));
    }
    let span_s = rates.span_ns() as f64 / 1e9;
    let mut replay = format!("{} at --speed {}", length(span_s / f.speed), f.speed);
    if f.speed != 1.0 {
        replay += &format!(" (recorded over {})", length(span_s));
    }
    fact("replay", replay);
    let (peak, second) = rates.peak();
    let mean = rates.mean_per_s();
    let shown = mean.map_or("no mean of one moment".into(), |m| format!("mean {}", per_s(m)));
    let at = time(second.saturating_mul(1_000_000_000), false);
    // A peak of one second is no peak of one at another speed: only the mean is scaled.
    let speed =
        mean.filter(|_| f.speed != 1.0).map(|m| format!("; mean {} at --speed {}", per_s(m * f.speed), f.speed));
    let speed = speed.unwrap_or_default();
    fact("rate", format!("{shown}, peak {} in the second of {at}{speed}", per_s(peak as f64)));
}

fn folded(f: &Found, width: usize, out: &mut Vec<String>) {
    let s = &f.summary;
    if s.folded_routes == 0 {
        return;
    }
    let more = if s.more_folded_routes { "more than " } else { "" };
    let mut text = format!(
        "(other routes) are {more}{} routes with {} requests: --max-routes tells more apart, --route names them.",
        grouped(s.folded_routes),
        grouped(s.folded_requests)
    );
    let frequent = s.top_folded.iter().filter(|t| t.count > 1).take(5);
    let often: Vec<String> = frequent.map(|t| format!("{} {}", clean(&t.name, 60), grouped(t.count))).collect();
    if !often.is_empty() {
        text += &format!(" Most frequent among them: {}", often.join(", "));
    }
    wrap(&text, "  ", width, out);
}

fn skipped(f: &Found, width: usize, out: &mut Vec<String>) {
    let skipped = &f.counts.skipped;
    if skipped.is_empty() {
        return;
    }
    let all: u64 = skipped.iter().map(|s| s.count).sum();
    out.push(String::new());
    out.push(format!("skipped: {} {}", grouped(all), unit(f)));
    let counts: Vec<String> = skipped.iter().map(|s| grouped(s.count)).collect();
    let column = counts.iter().map(String::len).max().unwrap_or(0);
    let reasons: Vec<String> = skipped.iter().map(|s| clean(&s.reason, 80)).collect();
    let named = reasons.iter().map(|r| r.width()).filter(|w| *w <= width / 2).max().unwrap_or(0);
    // Of one file the lines say enough.
    let only = if let [one] = &f.choices[..] { format!("{}:", one.source) } else { String::new() };
    for ((s, n), reason) in skipped.iter().zip(&counts).zip(&reasons) {
        let line = s.first.strip_prefix(&only).filter(|_| !only.is_empty());
        let first = line
            .map_or_else(|| format!("first: {}", clean(&s.first, 200)), |n| format!("first at line {}", clean(n, 30)));
        let pad = " ".repeat(named.saturating_sub(reason.width()));
        wrap(&first, &format!("  {n:>column$}  {reason}{pad}  "), width, out);
    }
}

fn lacks(f: &Found, width: usize, out: &mut Vec<String>) {
    out.push(String::new());
    if f.missing.is_empty() {
        out.push("nothing is missing for a faithful replay".into());
        return;
    }
    out.push("missing for a faithful replay".into());
    let named = f.missing.iter().map(|m| m.what.len()).max().unwrap_or(0);
    for m in &f.missing {
        let how_many = if m.count == m.of {
            "none recorded".to_owned()
        } else {
            format!("{} of {} have none", grouped(m.count), grouped(m.of))
        };
        wrap(&format!("{how_many}: {}", m.consequence), &format!("  {:<named$}  ", m.what), width, out);
    }
}

/// What was written, a line each.
fn written(w: &Written) -> Vec<String> {
    let place =
        if w.path.as_os_str() == "-" { "standard output".to_owned() } else { clean(&w.path.to_string_lossy(), 200) };
    let size = bytes(w.bytes);
    let mut out = vec![format!("wrote {} requests to {place} ({}, {size})", grouped(w.requests), w.notation)];
    out.extend(w.left_out.iter().map(|(why, n)| format!("left out {}: {why}", grouped(*n))));
    if !w.lost.is_empty() {
        let lost: Vec<String> = w.lost.iter().map(|(what, n)| format!("{what} ({})", grouped(*n))).collect();
        out.push(format!("{} has no place for: {}; jsonl holds all", w.notation, lost.join(", ")));
    }
    out
}

fn holds_fields(w: &Written) -> bool {
    !w.lost.iter().any(|(what, _)| what.starts_with("header fields"))
}

/// Names with their counts and shares; of more than `top` the rest is summed up.
fn table(title: &str, rows: &[(String, u64)], total: u64, top: usize, width: usize, noun: &str) -> Vec<String> {
    let shown = if rows.len() <= top.saturating_add(1) { rows.len() } else { top };
    let (rows, rest) = rows.split_at(shown);
    let counts: Vec<String> = rows.iter().map(|(_, n)| grouped(*n)).collect();
    let column = counts.iter().map(String::len).max().unwrap_or(0).max("requests".len());
    let bar = if width >= BARRED { BAR } else { 0 }; // beside another table there is no room for one
    // Two blanks before each column; the share has seven columns.
    let fixed = 2 + column + 2 + 7 + if bar > 0 { 2 + bar } else { 0 };
    let room = width.saturating_sub(2 + fixed).max(8);
    let longest = rows.iter().map(|(name, _)| name.width()).max().unwrap_or(0).max(title.width());
    let name_width = longest.min(room);
    let most = rows.iter().map(|(_, n)| *n).max().unwrap_or(0);
    let mut out = vec![format!("{title:<w$}  {:>column$}  {:>7}", "requests", "share", w = name_width + 2)];
    for ((name, n), count) in rows.iter().zip(&counts) {
        let name = cut(name, name_width);
        let pad = " ".repeat(name_width.saturating_sub(name.width()));
        let bar = if bar > 0 { format!("  {}", blocks(*n, most, bar)) } else { String::new() };
        out.push(format!("  {name}{pad}  {count:>column$}  {:>7}{bar}", share(*n, total)));
    }
    if !rest.is_empty() {
        let sum: u64 = rest.iter().map(|(_, n)| n).sum();
        let name = format!("… and {} more {noun}", grouped(rest.len() as u64));
        let pad = " ".repeat(name_width.saturating_sub(name.width()));
        out.push(format!("  {name}{pad}  {:>column$}  {:>7}", grouped(sum), share(sum, total)));
    }
    out
}

/// The most frequent first.
fn by_count(mut rows: Vec<(String, u64)>) -> Vec<(String, u64)> {
    rows.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    rows
}

fn beside(left: &[String], right: &[String], half: usize) -> Vec<String> {
    let line = |n: usize| {
        let (l, r) = (left.get(n).map_or("", |l| l), right.get(n).map_or("", |r| r));
        format!("{l}{}{r}", " ".repeat((half + GAP).saturating_sub(l.width())))
    };
    (0..left.len().max(right.len())).map(line).collect()
}

/// A bar of eighths of blocks; what is there at all shows.
fn blocks(n: u64, most: u64, width: usize) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    if n == 0 || most == 0 {
        return String::new();
    }
    let eighths = ((n as f64 / most as f64 * width as f64 * 8.0).round() as usize).clamp(1, width * 8);
    let part = if !eighths.is_multiple_of(8) { PARTS[eighths % 8].to_string() } else { String::new() };
    "█".repeat(eighths / 8) + &part
}

fn status(status: Option<u16>) -> String {
    let Some(code) = status else { return "(not recorded)".into() };
    let reason = http::StatusCode::from_u16(code).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
    format!("{code} {reason}").trim_end().to_owned()
}

/// `text` in at most `width` columns behind `head`, on further lines indented by it; a word that is
/// longer than a line is cut by nobody.
fn wrap(text: &str, head: &str, width: usize, out: &mut Vec<String>) {
    let indent = if head.width() * 2 <= width { head.width() } else { 4 };
    let mut line = head.to_owned();
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && line.width() + 1 + word.width() > width {
            out.push(std::mem::replace(&mut line, " ".repeat(indent)));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    out.push(line);
}

/// `text` in at most `width` columns.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if out.width() + c.to_string().width() + 1 > width {
            break;
        }
        out.push(c);
    }
    out + "…"
}

fn in_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("… and", "  and").chars() {
        match c {
            '…' => out.push('~'), // one column as before
            '█' => out.push('#'),
            '▏' | '▎' | '▍' => out.push('.'),
            '▌' | '▋' | '▊' | '▉' => out.push('+'),
            '·' => out.push('.'),
            c if c.is_ascii() => out.push(c),
            _ => out.push('?'),
        }
    }
    out
}

/// `51 462`, with blanks at which no line is broken until [`printable`] makes them plain ones.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(NO_BREAK);
        }
        out.push(digit);
    }
    out
}

/// `65.8 %`; what is there at all is not 0.
fn share(n: u64, of: u64) -> String {
    match n as f64 / of.max(1) as f64 * 100.0 {
        p if n > 0 && p < 0.05 => "<0.1 %".into(),
        p if n < of && p >= 99.95 => "99.9 %".into(),
        p => format!("{p:.1} %"),
    }
}

fn time(unix_ns: i64, is_fine: bool) -> String {
    let at = Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default().to_zoned(TimeZone::UTC);
    at.strftime(if is_fine { "%Y-%m-%d %H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
}

/// The two largest units of a length of time: `17 d 23 h`, `8 min 38 s`, `0.5 s`.
fn length(s: f64) -> String {
    let two = |big: f64, big_unit: &str, small: f64, small_unit: &str| {
        let (n, rest) = ((s / big).floor(), (s % big / small).floor());
        format!("{} {big_unit} {rest:.0} {small_unit}", grouped(n as u64))
    };
    match s {
        s if s < 60.0 => format!("{s:.3} s"),
        s if s < 3600.0 => two(60.0, "min", 1.0, "s"),
        s if s < 86_400.0 => two(3600.0, "h", 60.0, "min"),
        _ => two(86_400.0, "d", 3600.0, "h"),
    }
}

/// `812 B`, `3.4 GB`.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}
