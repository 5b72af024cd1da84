//! The functions that cost most, by their own samples and by all they call.
//!
//! Must not: trust a symbol: its name comes from the profiled binary.

use super::Pane;
use super::captures::state_line;
use super::processes::Processes;
use crate::model::{CaptureState, FrameKind, SourceLine};
use crate::timeline::stacks::diff::DiffRow;
use crate::timeline::stacks::{Hot, HotLine, Pattern};
use crate::ui::action::Narrow;
use crate::ui::memo::Needs;
use crate::ui::scene::Scene;
use crate::ui::stack_memo::Difference;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column};

/// The pane.
pub struct Symbols;

/// Where it is known how many requests were completed meanwhile.
const COLUMNS: &[Column] = &[
    Column::number("self %", 6, 0),
    Column::number("total %", 7, 3),
    Column::number("per req", 7, 1),
    Column::wide("function", 28),
    Column::name("module", 12, 2),
];

/// Where it is not.
const COLUMNS_WITHOUT: &[Column] = &[COLUMNS[0], COLUMNS[1], COLUMNS[3], COLUMNS[4]];

/// Where what is selected is shown against something else, whose column is named after it.
const DIFFERENCES: &[Column] = &[
    Column::number("here", 15, 0),
    Column::number("", 15, 1),
    Column::number("", 7, 0),
    Column::wide("function", 24),
    Column::name("module", 12, 2),
];

impl Symbols {
    /// Until there is a profile, who is busy is the best answer there is.
    fn busy_processes(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        const LINES_ABOVE: u16 = 1;
        let captured = scene.timeline.captures().next().is_some();
        let busy = scene.timeline.processes(scene.view.recent());
        if captured || busy.is_empty() {
            return no_stacks(scene, on);
        }
        let why = match scene.app.playback() {
            Some(_) => "no capture in this session; busy then:",
            None => "press c for a profile; busy now:",
        };
        let after = on.put(0, 0, why, scene.theme.dim);
        if on.height() > LINES_ABOVE + 2 {
            let (width, height) = (on.width(), on.height());
            return Processes.draw(scene, &mut on.part(0, LINES_ABOVE, width, height - LINES_ABOVE));
        }
        let mut x = after + 2;
        for p in &busy {
            let name = if p.is_self() { "perfbench" } else { p.instance.as_str() };
            let name = units::cut(name, 24);
            if x + 30 > on.width() {
                break;
            }
            x = on.put(x, 0, &name, scene.theme.text) + 1;
            x = on.put(x, 0, &format!("{} %", units::percent(p.us + p.sy)), scene.theme.strong) + 2;
        }
    }

    /// What each function costs here and in the rest: what certainly differs first.
    fn compared(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, d: &Difference) {
        let theme = scene.theme;
        let shown = |v: f64| super::flame::cost(v, d.per, &scene.memo.stacks.weights.unit);
        let rows = self.differences(scene).into_iter().map(|r| {
            // A function that is dearer by what it calls is told with all of that, after a Σ.
            let (c, sum) = if r.own.is_noise { (&r.total, "Σ") } else { (&r.own, "") };
            let by = match c.ratio() {
                _ if c.is_noise => format!("{sum}~"),
                Some(ratio) if ratio >= 99.5 => format!("{sum}×{ratio:.0}"),
                Some(ratio) => format!("{sum}×{ratio:.2}"),
                None => format!("{sum}new"),
            };
            let style = if c.is_noise { theme.faint } else { theme.text };
            vec![
                (shown(c.after), style),
                (shown(c.before), style),
                (by, if c.is_noise { theme.faint } else { theme.strong }),
                (r.symbol.to_string(), style),
                (r.module.to_string(), theme.dim),
            ]
        });
        let mut columns = DIFFERENCES.to_vec();
        columns[1].title = scene.memo.stacks.with.column;
        scene.table(on, self.name(), &columns, rows.collect(), None);
    }

    fn differences<'a>(&self, scene: &Scene<'a>) -> Vec<&'a DiffRow> {
        let pattern = Pattern::new(scene.app.search());
        let Some(Ok(d)) = &scene.memo.stacks.difference else { return vec![] };
        d.rows.iter().filter(|r| pattern.is_empty() || pattern.matches(&r.symbol)).collect()
    }

    /// What is shown, in its order: functions, or lines of them.
    fn shown<'a>(&self, scene: &Scene<'a>) -> Vec<Entry<'a>> {
        let pattern = Pattern::new(scene.app.search());
        let mut all: Vec<Entry<'_>> = match scene.app.profile().by_line {
            true => scene.memo.stacks.lines.iter().map(Entry::of_line).collect(),
            false => scene.memo.stacks.hot.iter().map(Entry::of).collect(),
        };
        all.retain(|e| pattern.is_empty() || pattern.matches(e.symbol));
        if scene.app.focused() == self.name() && scene.app.sort() % 2 == 1 {
            all.sort_by_key(|e| std::cmp::Reverse(e.total));
        }
        all
    }
}

/// A row: a function, or a line of one.
struct Entry<'a> {
    symbol: &'a str,
    module: &'a str,
    kind: FrameKind,
    line: Option<&'a SourceLine>,
    self_weight: u64,
    total: u64,
}

impl<'a> Entry<'a> {
    fn of(h: &'a Hot) -> Entry<'a> {
        let Hot { symbol, module, kind, self_weight, total } = h;
        Entry { symbol, module, kind: *kind, line: None, self_weight: *self_weight, total: *total }
    }

    fn of_line(h: &'a HotLine) -> Entry<'a> {
        let HotLine { symbol, module, kind, line, self_weight, total } = h;
        Entry { symbol, module, kind: *kind, line: line.as_ref(), self_weight: *self_weight, total: *total }
    }

    /// `function`, or `function file.go:12`.
    fn name(&self) -> String {
        match self.line {
            Some(l) => format!("{} {}:{}", self.symbol, l.file.rsplit('/').next().unwrap_or(&l.file), l.line),
            None => self.symbol.to_owned(),
        }
    }

    fn module(&self) -> &str {
        match (self.kind, self.module) {
            (FrameKind::Kernel, "") => "kernel",
            (FrameKind::Jit, "") => "jit",
            (_, module) => module,
        }
    }
}

impl Pane for Symbols {
    fn name(&self) -> &'static str {
        "symbols"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        let over = match super::flame::over(scene) {
            over if scene.memo.stacks.hot.is_empty() => over,
            over => format!("{over}, {} samples", units::count(scene.memo.stacks.weights.samples)),
        };
        let what = match &scene.memo.stacks.difference {
            Some(Ok(_)) => "what differs",
            _ if scene.app.profile().by_line => "hot lines",
            _ => "hot symbols",
        };
        (what.into(), over)
    }

    fn needs(&self, _: u16, _: u16) -> Needs {
        Needs { hot: true, ..Needs::default() }
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        match &scene.memo.stacks.difference {
            Some(Ok(_)) => self.differences(scene).len(),
            _ => self.shown(scene).len(),
        }
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        let symbol = match &scene.memo.stacks.difference {
            Some(Ok(_)) => self.differences(scene).get(row)?.symbol.to_string(),
            _ => self.shown(scene).get(row)?.symbol.to_string(),
        };
        Some(Narrow::Symbol(symbol))
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        if let Some(Ok(difference)) = &scene.memo.stacks.difference {
            return self.compared(scene, on, difference);
        }
        let theme = scene.theme;
        let shown = self.shown(scene);
        if shown.is_empty() {
            return self.busy_processes(scene, on);
        }
        let all = scene.memo.stacks.weights.total.max(1) as f64;
        let is_known = scene.memo.stacks.us_per_request(0).is_some();
        let per_request = |h: &Entry<'_>| scene.memo.stacks.us_per_request(h.self_weight).unwrap_or_else(|| "–".into());
        let rows = shown.iter().map(|h| {
            let own = 100.0 * h.self_weight as f64 / all;
            let chosen = scene.view.selection.symbol.as_deref() == Some(h.symbol);
            let name = match (chosen, h.kind.is_kernel()) {
                (true, _) => theme.accent,
                (_, true) => theme.dim,
                _ => theme.text,
            };
            let mut row = vec![
                (format!("{own:.1}"), if own >= 10.0 { theme.strong } else { theme.text }),
                (format!("{:.1}", 100.0 * h.total as f64 / all), theme.dim),
                (per_request(h), theme.dim),
                (h.name(), name),
                (h.module().to_string(), theme.dim),
            ];
            if !is_known {
                row.remove(2);
            }
            row
        });
        scene.table(
            on,
            self.name(),
            if is_known { COLUMNS } else { COLUMNS_WITHOUT },
            rows.collect(),
            Some(scene.app.sort() % 2).filter(|_| scene.app.focused() == self.name()),
        );
    }
}

/// Why there are no stacks to show, and what would bring some.
pub fn no_stacks(scene: &Scene<'_>, on: &mut Canvas<'_>) {
    let theme = scene.theme;
    let captures: Vec<_> = scene.timeline.captures().collect();
    if !scene.timeline.profile().is_empty() {
        return scene.nothing(on, "no samples match what is selected; Esc clears it");
    }
    let lines = match (captures.last(), scene.timeline.recorder().last().map(|n| &n.state)) {
        (Some((id, news)), _) => state_line(scene, *id, news),
        (None, Some(CaptureState::Failed { what, mend })) => {
            let mut lines = vec![(format!("no profile: {}", units::cut(what, 300)), theme.warn)];
            lines.extend(mend.iter().map(|m| (format!("mend: {}", units::cut(m, 300)), theme.text)));
            lines
        }
        (None, Some(CaptureState::Sampling { .. })) => return scene.nothing(on, "the first samples come in a second"),
        (None, _) => {
            let why = match scene.app.playback() {
                Some(_) => "no capture was taken in this session",
                None => "no profile yet; press c to take one",
            };
            return scene.nothing(on, why);
        }
    };
    let y = on.height().saturating_sub(lines.len() as u16) / 2;
    let mut y = y;
    for (n, (text, style)) in lines.iter().enumerate() {
        y = on.wrap(u16::from(n > 0) * 2, y, text, if n == 0 { *style } else { theme.dim });
    }
}
