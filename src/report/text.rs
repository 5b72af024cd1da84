//! The report as text for a terminal or a ticket: at most 100 columns but for commands to be
//! copied, no escape codes.
//!
//! Must not: show text from outside uncleaned.

use crate::model::{CaptureId, CaptureState, Finding, LoadPlan, Metric, Phase, Quantiles, Severity, Span, clean};
use crate::timeline::stacks::StackFilter;
use crate::timeline::steer::{Found, Probe};
use crate::timeline::{LoadSum, Timeline, objective};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// Routes shown.
const ROUTES: usize = 15;
/// Columns of a line.
const COLUMNS: usize = 100;

/// The report.
pub(super) fn render(t: &Timeline, findings: &[Finding]) -> String {
    let mut out = String::new();
    head(t, &mut out);
    if !t.opening().load.engine.is_empty() {
        let sum = t.load().sum(t.whole());
        load(t, &sum, &mut out);
        objectives(t, &mut out);
        latency(t, &mut out);
        routes(t, &mut out);
        super::client::text(t, &sum, findings, &mut out);
    }
    found(findings, &mut out);
    host(t, &mut out);
    traffic(t, &mut out);
    captures(t, &mut out);
    events(t, &mut out);
    fold(&out)
}

/// Folds long lines between words. A command stays in one piece, and so does a word that is
/// longer than a line.
fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if line.width() <= COLUMNS || line.trim_start().starts_with("mend: ") {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let mut column = 0;
        // Runs of blanks align columns: each belongs to the word after it.
        let mut rest = line;
        while !rest.is_empty() {
            let blanks = rest.len() - rest.trim_start().len();
            let end = rest[blanks..].find(' ').map_or(rest.len(), |n| blanks + n);
            let (word, after) = rest.split_at(end);
            if column > indent + 4 && column + word.width() > COLUMNS {
                out.push('\n');
                out.push_str(&" ".repeat(indent + 4));
                out.push_str(&word[blanks..]);
                column = indent + 4 + word[blanks..].width();
            } else {
                out.push_str(word);
                column += word.width();
            }
            rest = after;
        }
        out.push('\n');
    }
    out
}

macro_rules! line {
    ($out:expr) => { $out.push('\n') };
    ($out:expr, $($arg:tt)*) => { let _ = writeln!($out, $($arg)*); };
}

fn head(t: &Timeline, out: &mut String) {
    let o = t.opening();
    let files: Vec<String> = o.traffic.iter().map(|f| clean(f, 60)).collect();
    line!(out, "perfbench {}   {}   {}", clean(&o.perfbench, 40), clean(&o.target, 80), files.join(" "));
    if o.load.engine.is_empty() {
        // Profiles that others took: there was no load, and nothing is known of the machine.
        line!(out, "{:.1} s: {}", t.whole().secs(), t.closing().map_or("not closed".into(), |c| clean(&c.why, 200)));
        return;
    }
    let mode = mode(&o.load);
    let why = match clean(&o.load.engine_why, 100) {
        why if why.is_empty() => why,
        why => format!(" (because of {why})"),
    };
    line!(
        out,
        "{} engine{why}, {mode}, {} connections ({}), {} threads",
        clean(&o.load.engine, 40),
        o.load.connections,
        clean(&o.load.connection, 40),
        o.load.threads
    );
    let memory = bytes(o.host.memory_bytes as f64);
    line!(out, "on {}, Linux {}, {} CPUs, {memory}", clean(&o.host.name, 60), clean(&o.host.kernel, 60), o.host.cpus);
    let ended = t.closing().map_or("not closed".into(), |c| clean(&c.why, 200));
    line!(out, "ran {:.1} s: {ended}", super::run_span(t).secs());
}

/// How load was made, in a few words.
fn mode(load: &LoadPlan) -> String {
    let poisson = if load.arrivals == "poisson" { ", Poisson arrivals" } else { "" };
    let times = load.speed.map_or(String::new(), |s| format!(", its time × {s}"));
    match (load.mode.as_str(), load.rate_per_s, load.speed) {
        ("phases", ..) => format!("phases {}{poisson}", clean(&load.phases, 300)),
        ("find-max", ..) => format!("searching the highest rate{poisson}"),
        ("scale", Some(r), _) => {
            // A mean over minutes hides what its seconds were.
            let peak =
                load.peak_over_ns.map_or(String::new(), |ns| format!(" in its busiest {:.0} s", ns as f64 / 1e9));
            format!("the recording's rate scaled to {r}/s{peak}{times}{poisson}")
        }
        (_, Some(r), _) => format!("rate {r}/s{poisson}"),
        (_, _, Some(s)) => format!("recorded timing × {s}"),
        _ => "closed loop".into(),
    }
}

/// What the run was to keep to, and whether it did.
fn objectives(t: &Timeline, out: &mut String) {
    let plan = &t.opening().load;
    let judged = objective::judge(t.load(), &plan.fail_if);
    if !judged.is_empty() {
        line!(out, "\nfails the run if");
    }
    for j in &judged {
        let verdict = match j.held {
            Some(true) => "no",
            Some(false) => "YES",
            None => "NOT MEASURED",
        };
        line!(out, "  {:<30} {verdict:<4}  {}", clean(&j.text, 60), clean(&j.shown, 100));
    }
    if let Some(objective) = &plan.find_max {
        let probes = Probe::all(t);
        line!(out, "\n{}", clean(&Found::of(&probes).line(objective), 300));
        for p in &probes {
            let (verdict, why) = match &p.verdict {
                Some((verdict, why)) => (verdict.name(), why.as_str()),
                None => ("not finished", ""),
            };
            line!(out, "  {:>8}  {:>12}/s  {verdict}: {}", p.span.from.to_string(), p.per_s, clean(why, 200));
        }
    }
}

fn load(t: &Timeline, s: &LoadSum, out: &mut String) {
    line!(out, "\nrequests");
    line!(
        out,
        "  offered {}   sent {}   completed {}   failed {}   dropped {}   in flight at the end {}   retried {}",
        s.offered,
        s.sent,
        s.completed,
        s.failed,
        s.dropped,
        s.in_flight,
        s.retried
    );
    let seconds = super::run_span(t).secs().max(1e-9);
    line!(
        out,
        "  {:.1} completed/s   {}/s received   {} connections opened{}",
        s.completed as f64 / seconds,
        bytes(s.received_bytes as f64 / seconds),
        s.connections_opened,
        if s.grown > 0 { format!(", {} beyond the plan", s.grown) } else { String::new() }
    );
    for o in &s.outcomes {
        let share = 100.0 * o.count as f64 / (s.completed + s.failed).max(1) as f64;
        line!(out, "  {:>22} {:>12} {share:>6.2} %", o.outcome.to_string(), o.count);
    }
    for (name, n) in s.remarks.named().into_iter().filter(|(_, n)| *n > 0) {
        line!(out, "  {name:>22} {n:>12}          of whole responses");
    }
}

fn latency(t: &Timeline, out: &mut String) {
    line!(out);
    if t.opening().load.find_max.is_none() {
        return times(t, t.whole(), out);
    }
    // Times at many rates are no distribution of any of them.
    let found = Found::of(&Probe::all(t));
    if let (Some(per_s), Some(span)) = (found.per_s, found.judged(t)) {
        line!(out, "at {per_s}/s, from {} to {}", span.from, span.to);
        times(t, span, out);
        line!(out);
    }
    line!(out, "at all rates that were tried");
    times(t, t.whole(), out);
}

fn times(t: &Timeline, span: Span, out: &mut String) {
    let s = t.load().sum(span);
    line!(out, "{:<16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}", "", "mean", "p50", "p90", "p99", "p99.9", "max");
    let mut row = |name: &str, q: &Quantiles| {
        if q.count > 0 {
            line!(
                out,
                "{name:<16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
                time(q.mean),
                time(q.p50 as f64),
                time(q.p90 as f64),
                time(q.p99 as f64),
                time(q.p999 as f64),
                time(q.max as f64)
            );
        }
    };
    row("response time", &s.response);
    row("service time", &s.service);
    row("send lag", &s.lag);
    s.phases.iter().for_each(|(phase, times)| row(phase_title(phase), times));
}

fn phase_title(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "  name lookup",
        Phase::Connect => "  connect",
        Phase::Tls => "  TLS handshake",
        Phase::FirstByte => "  to first byte",
        Phase::Body => "  body",
    }
}

fn routes(t: &Timeline, out: &mut String) {
    let routes = t.load().routes(t.whole());
    if routes.is_empty() {
        return;
    }
    let shown = || routes.iter().take(ROUTES);
    // Room for all other columns in 100.
    let width = shown().map(|r| r.route.chars().count()).max().unwrap_or(0).clamp(20, 46);
    line!(
        out,
        "\n{:<width$} {:>9} {:>7} {:>6} {:>8} {:>9} {:>9}",
        "route",
        "requests",
        "failed",
        "5xx",
        "mismatch",
        "p50",
        "p99"
    );
    for r in shown() {
        line!(
            out,
            "{:<width$} {:>9} {:>7} {:>6} {:>8} {:>9} {:>9}",
            clean(&r.route, width),
            r.requests,
            r.failed,
            r.server_errors,
            r.mismatched,
            time(r.response.p50 as f64),
            time(r.response.p99 as f64)
        );
    }
    if routes.len() > ROUTES {
        line!(out, "and {} more routes", routes.len() - ROUTES);
    }
}

/// What was found over the whole run, gravest first.
fn found(findings: &[Finding], out: &mut String) {
    if !findings.is_empty() {
        line!(out, "\nfindings");
    }
    for f in findings {
        let mark = match f.severity {
            Severity::Critical => "CRITICAL",
            Severity::Warning => "warning ",
            Severity::Note => "note    ",
        };
        line!(out, "  {mark}  {}", clean(&f.title, 300));
        f.evidence.iter().for_each(|e| {
            line!(out, "            · {}", clean(&e.text, 300));
        });
        line!(out, "            → {}", clean(&f.advice, 400));
    }
}

fn host(t: &Timeline, out: &mut String) {
    let whole = super::run_span(t);
    let Some(all) = t.cpu_total(whole) else { return };
    line!(
        out,
        "\n{:<6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6}",
        "cpu %",
        "us",
        "sy",
        "ni",
        "si",
        "hi",
        "wa",
        "st",
        "idle"
    );
    let mut row = |name: String, c: &crate::timeline::CpuSplit| {
        line!(
            out,
            "{name:<6} {:>6.1} {:>6.1} {:>6.1} {:>6.1} {:>6.1} {:>6.1} {:>6.1} {:>6.1}",
            c.us,
            c.sy,
            c.ni,
            c.si,
            c.hi,
            c.wa,
            c.st,
            c.id
        );
    };
    row("all".into(), &all);
    t.cpus(whole).iter().for_each(|(n, c)| row(n.to_string(), c));
    line!(out);
    for p in t.processes(whole) {
        let name = if p.is_self() { "perfbench itself".into() } else { clean(&p.instance, 30) };
        line!(
            out,
            "{name:<30} us {:>6.1} %  sy {:>6.1} %  rss {:>9}  threads {:>3}  fds {}",
            p.us,
            p.sy,
            bytes(p.rss as f64),
            p.threads,
            p.fds.map_or("not permitted".into(), |n| n.to_string())
        );
    }
    let peak = |m, i: &str| t.series(m, i).and_then(|s| s.peak(t.whole())).map_or("?".into(), |v| v.to_string());
    line!(
        out,
        "\npeak TIME_WAIT {}   SYN_SENT {}",
        peak(Metric::TcpState, "TIME_WAIT"),
        peak(Metric::TcpState, "SYN_SENT")
    );
    for (to, used) in t.instances(Metric::PortsUsed) {
        let used = used.peak(t.whole()).map_or("?".into(), |v| v.to_string());
        line!(out, "peak local ports to {}: {used} of {}", clean(to, 60), peak(Metric::PortsBudget, to));
    }
    let moved = t.tcp_moved(t.whole());
    if !moved.is_empty() {
        line!(out, "TCP counters that moved:");
        moved.iter().for_each(|m| {
            line!(out, "  {:<28} {:>10}   {}", m.metric.name(), m.delta, m.metric.about());
        });
    }
}

fn traffic(t: &Timeline, out: &mut String) {
    let Some(c) = t.traffic(t.end()) else { return };
    line!(
        out,
        "\ntraffic: {} lines of format {}, {} requests, {} out of order ({} outside the window), repeated {} times",
        c.lines,
        clean(&c.format, 40),
        c.requests,
        c.out_of_order,
        c.outside_window,
        t.repeats(t.end())
    );
    for s in &c.skipped {
        line!(out, "  skipped {:>8}  {} (first: {})", s.count, clean(&s.reason, 60), clean(&s.first, 80));
    }
}

/// What a capture's samples don't account for.
fn shortfalls(t: &Timeline, capture: CaptureId, out: &mut String) {
    for short in t.shortfalls(&StackFilter::of(capture)) {
        line!(out, "  {short}");
    }
}

fn captures(t: &Timeline, out: &mut String) {
    if let Some(news) = t.recorder().last() {
        let (samples, lost) = t.profile().counts(CaptureId::RECORDER);
        match &news.state {
            CaptureState::Failed { what, mend } => {
                line!(out, "\nno flight recorder: {}", clean(what, 300));
                mend.iter().for_each(|m| {
                    line!(out, "  mend: {}", clean(m, 200));
                });
            }
            CaptureState::Sampling { hz, how, .. } => {
                line!(out, "\nflight recorder: {samples} samples at {hz} Hz, {lost} lost; {}", clean(how, 100));
            }
            _ => {
                line!(out, "\nflight recorder: {samples} samples, {lost} lost");
            }
        }
        shortfalls(t, CaptureId::RECORDER, out);
    }
    for (id, news) in t.captures() {
        for n in news {
            match &n.state {
                CaptureState::Done { span, samples, lost, notes } => {
                    line!(out, "\ncapture {}: {samples} samples from {} to {}, {lost} lost", id.0, span.from, span.to);
                    notes.iter().for_each(|n| {
                        line!(out, "  {}", clean(n, 200));
                    });
                    shortfalls(t, id, out);
                }
                CaptureState::Failed { what, mend } => {
                    line!(out, "\ncapture {} failed at {}: {}", id.0, n.at, clean(what, 300));
                    mend.iter().for_each(|m| {
                        line!(out, "  mend: {}", clean(m, 200));
                    });
                }
                CaptureState::Sampling { .. } | CaptureState::Reading => {}
            }
        }
    }
}

fn events(t: &Timeline, out: &mut String) {
    if !t.faults().is_empty() {
        line!(out, "\nfaults");
    }
    for f in t.faults() {
        line!(out, "  {:>8}  {}: {}", f.at.to_string(), clean(&f.place, 40), clean(&f.what, 300));
        f.mend.iter().for_each(|m| {
            line!(out, "            mend: {}", clean(m, 200));
        });
    }
    for m in t.marks() {
        line!(out, "mark {:>8}  {:<7}  {}", m.at.to_string(), m.kind.name(), clean(&m.label, 200));
    }
}

/// Nanoseconds in the unit that reads best.
pub(super) fn time(ns: f64) -> String {
    match ns {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

pub(super) fn bytes(n: f64) -> String {
    match n {
        n if n < 1e3 => format!("{n:.0} B"),
        n if n < 1e6 => format!("{:.1} kB", n / 1e3),
        n if n < 1e9 => format!("{:.1} MB", n / 1e6),
        n => format!("{:.2} GB", n / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_and_commands_are_not() {
        let words = "word ".repeat(60);
        let text = format!("  10.0 s  place: {words}\n    mend: {words}\n\nshort   line\n  {}\n", "x".repeat(120));
        let folded = fold(&text);
        let lines: Vec<&str> = folded.lines().collect();
        assert!(lines[..3].iter().all(|l| l.len() <= COLUMNS && l.len() > 80), "{folded}");
        assert!(lines[1].starts_with("      word"), "{folded}");
        assert!(lines.iter().any(|l| l.trim_start().starts_with("mend: ") && l.len() > 300), "{folded}");
        assert!(folded.contains("\n\nshort   line\n") && folded.ends_with(&format!("{}\n", "x".repeat(120))));
        let plain = |t: &str| t.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(plain(&folded), plain(&text), "nothing is lost");
    }
}
