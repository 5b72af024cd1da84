//! CPU time by mode, all CPUs together and each for itself; many wrap into columns.
//!
//! Must not: judge who is too busy.

use super::{Pane, chart_area};
use crate::model::Metric;
use crate::timeline::CpuSplit;
use crate::ui::action::Narrow;
use crate::ui::scene::Scene;
use crate::ui::theme::Theme;
use crate::ui::units;
use crate::ui::widgets::{Canvas, stacked};
use ratatui::layout::Rect;
use ratatui::style::Style;

/// The pane.
pub struct Cpu;

/// Names of the modes in the order of [`Theme::cpu`].
const MODES: [&str; 7] = ["us", "sy", "ni", "si", "hi", "wa", "st"];

/// Where soft interrupts stand among the modes.
const SI: usize = 3;

/// The shares of a split in the order of [`Theme::cpu`], per cent.
pub fn shares(c: &CpuSplit) -> [f64; 7] {
    [c.us, c.sy, c.ni, c.si, c.hi, c.wa, c.st]
}

/// The parts of a bar.
pub fn parts(c: &CpuSplit, theme: &Theme) -> Vec<(f64, Style, char)> {
    shares(c).iter().enumerate().map(|(n, p)| (p / 100.0, theme.cpu[n], theme.cpu_glyph(n))).collect()
}

impl Pane for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("cpu %".into(), scene.now())
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.timeline.cpus(scene.view.recent()).len()
    }

    fn row_at(&self, scene: &Scene<'_>, y: u16, height: u16) -> Option<usize> {
        let place = scene.app.layout().places.iter().find(|p| p.pane == self.name())?;
        let plan = Plan::of(scene, place.inner.width, height);
        let n = y.checked_sub(1 + plan.legend).filter(|n| *n < plan.rows)?;
        // Columns are told apart by nothing but x, which a row does not know.
        (plan.columns == 1 && usize::from(n) < self.rows(scene)).then_some(usize::from(n))
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        let cpus = scene.timeline.cpus(scene.view.recent());
        let (n, _) = cpus.get(row)?;
        let s = scene.view.selection;
        // Once: this CPU. Again: what its soft interrupts do, when stacks are known.
        let again = s.cpu == Some(*n) && s.symbol.is_none() && !scene.timeline.profile().is_empty();
        Some(if again { Narrow::Softirq(*n) } else { Narrow::Cpu(*n) })
    }

    fn click(&self, scene: &Scene<'_>, x: u16, y: u16, inner: Rect) -> Option<Narrow> {
        let cpus = scene.timeline.cpus(scene.view.recent());
        let plan = Plan::of(scene, inner.width, inner.height);
        let row = usize::from(y.checked_sub(1 + plan.legend).filter(|y| *y < plan.rows)?);
        let cell = inner.width / plan.columns;
        let (column, x) = (usize::from(x / cell.max(1)), x % cell.max(1));
        let fits = usize::from(plan.columns) * usize::from(plan.rows);
        let offset = scene.app.row(self.name()).map_or(0, |s| (s + 1).saturating_sub(fits));
        let (n, split) = cpus.get(offset + column * usize::from(plan.rows) + row)?;
        let bar = if plan.columns == 1 { plan.bar } else { cell.saturating_sub(5 + 6) };
        let at = f64::from(x.checked_sub(5).filter(|x| *x < bar)?) / f64::from(bar);
        let shares = shares(split);
        let before: f64 = shares[..SI].iter().sum::<f64>() / 100.0;
        let is_si = at >= before - 0.5 / f64::from(bar) && at < before + shares[SI] / 100.0;
        (is_si && shares[SI] >= 0.5).then_some(Narrow::Softirq(*n))
    }

    fn time_area(&self, scene: &Scene<'_>, width: u16, height: u16) -> Option<Rect> {
        let plan = Plan::of(scene, width, height);
        (plan.history > 0).then(|| {
            let area = chart_area(width, plan.history, 0).0;
            Rect { y: height - plan.history, ..area }
        })
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let span = scene.view.recent();
        let Some(total) = scene.timeline.cpu_total(span) else {
            return scene.nothing(on, "no readings of the CPUs yet");
        };
        let (width, height) = (on.width(), on.height());
        let cpus = scene.timeline.cpus(span);
        let plan = Plan::of(scene, width, height);
        on.put(0, 0, " all", theme.strong);
        self.bar(scene, on, (5, 0, plan.bar), &total, theme.strong);
        // The modes in numbers are the legend of the colours as well.
        let (x, y) = if plan.inline { (5 + plan.bar + 6, 0) } else { (5, 1) };
        if plan.inline || plan.legend > 0 {
            self.modes(scene, on, x, y, &total, true);
        }
        self.each(scene, &mut on.part(0, 1 + plan.legend, width, plan.rows), &cpus, plan);
        if plan.facts > 0 {
            self.facts(scene, on, 1 + plan.legend + plan.rows);
        }
        if plan.history > 0 {
            super::cpu_history::draw(scene, &mut on.part(0, height - plan.history, width, plan.history));
        }
    }
}

/// Which rows of the pane hold what.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Cells of the bar of all CPUs.
    bar: u16,
    /// Whether modes in numbers stand beside the bars.
    inline: bool,
    /// Rows for modes in numbers where they don't.
    legend: u16,
    /// Rows for the CPUs.
    rows: u16,
    /// Columns of CPUs.
    columns: u16,
    /// Rows for context switches and interrupts.
    facts: u16,
    /// Rows for the chart over time.
    history: u16,
}

/// Cells of a mode with its number.
const MODE: u16 = 6;

impl Plan {
    /// The plan for a scene: no chart over time where a pane of its own shows it.
    fn of(scene: &Scene<'_>, width: u16, height: u16) -> Plan {
        let plan = Plan::new(width, height, scene.timeline.instances(Metric::CpuIdle).len());
        let is_beside = scene.app.layout().places.iter().any(|p| p.pane == super::cpu_history::NAME);
        Plan { history: if is_beside { 0 } else { plan.history }, ..plan }
    }

    fn new(width: u16, height: u16, cpus: usize) -> Plan {
        let cpus = u16::try_from(cpus).unwrap_or(u16::MAX);
        let inline = width >= 74;
        let bar = if inline { (width - 11 - 7 * MODE).min(60) } else { width.saturating_sub(10) };
        let legend = u16::from(!inline && height >= 4);
        let room = height.saturating_sub(1 + legend);
        let columns = cpus.div_ceil(room.max(1)).clamp(1, (width / 18).max(1));
        let wanted = cpus.div_ceil(columns).min(room);
        let facts = u16::from(room > wanted);
        // What is left over shows how it came to this.
        let left = room - wanted - facts;
        let history = if left >= 6 { left - 1 } else { 0 };
        Plan { bar, inline, legend, rows: wanted, columns, facts, history }
    }
}

impl Cpu {
    fn bar(
        &self,
        scene: &Scene<'_>,
        on: &mut Canvas<'_>,
        (x, y, width): (u16, u16, u16),
        split: &CpuSplit,
        style: Style,
    ) {
        stacked(on, x, y, width, &parts(split, scene.theme), ('─', scene.theme.faint));
        on.put_right(x + width + 4, y, &units::percent(split.busy()), style);
    }

    /// The modes in numbers, each always in its place.
    fn modes(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, x: u16, y: u16, split: &CpuSplit, legend: bool) {
        let theme = scene.theme;
        for (n, p) in shares(split).iter().enumerate() {
            let x = x + n as u16 * MODE;
            if x + MODE > on.width() + 1 {
                break;
            }
            let label = if theme.mono && legend {
                theme.text
            } else if legend {
                theme.cpu[n]
            } else {
                theme.faint
            };
            let name =
                if theme.mono && legend { format!("{}{}", theme.cpu_glyph(n), MODES[n]) } else { MODES[n].into() };
            let after = on.put(x, y, &name, label);
            let style = if *p < 0.5 {
                theme.faint
            } else if legend {
                theme.text
            } else {
                theme.dim
            };
            on.put_right((x + MODE - 1).max(after + 1), y, &format!("{p:.0}"), style);
        }
    }

    fn facts(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, y: u16) {
        let theme = scene.theme;
        let span = scene.view.recent();
        let mut x = 1;
        for (label, metric) in [("ctxt", Metric::ContextSwitches), ("intr", Metric::Interrupts)] {
            if let Some(rate) = scene.timeline.per_s(metric, "", span) {
                x = scene.field(on, x, y, label, &format!("{:>5}/s", units::short(rate)), theme.text) + 2;
            }
        }
        if let Some(n) = scene.timeline.gauge(Metric::ProcsRunning, "", scene.view.instant()) {
            scene.field(on, x, y, "runnable", &format!("{n:>2}"), theme.text);
        }
    }

    fn each(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, cpus: &[(u32, CpuSplit)], plan: Plan) {
        let theme = scene.theme;
        let (width, height) = (on.width(), usize::from(on.height()));
        if height == 0 || cpus.is_empty() {
            return;
        }
        let columns = usize::from(plan.columns);
        let fits = columns * height;
        let cell = width / plan.columns;
        let selected = scene.app.row(self.name());
        let offset = selected.map_or(0, |s| (s + 1).saturating_sub(fits));
        for (i, (number, split)) in cpus.iter().enumerate().skip(offset).take(fits) {
            let at = i - offset;
            let (x, y) = ((at / height) as u16 * cell, (at % height) as u16);
            let chosen = scene.view.selection.cpu == Some(*number);
            on.put_right(x + 4, y, &number.to_string(), if chosen { theme.accent } else { theme.dim });
            let bar = if columns == 1 { plan.bar } else { cell.saturating_sub(5 + 6) };
            self.bar(scene, on, (x + 5, y, bar), split, theme.text);
            if columns == 1 && plan.inline {
                self.modes(scene, on, x + 5 + bar + 6, y, split, false);
            }
            if selected == Some(i) {
                on.tint(x, y, cell, 1, theme.row);
            }
        }
        if cpus.len() > fits + offset {
            on.put_right(width, on.height() - 1, &format!(" +{} more", cpus.len() - fits - offset), theme.dim);
        }
    }
}
