//! CPU time by mode, all CPUs together and each for itself; many wrap into columns.
//!
//! Must not: judge who is too busy.

use super::Pane;
use crate::model::Metric;
use crate::timeline::CpuSplit;
use crate::ui::action::Narrow;
use crate::ui::scene::Scene;
use crate::ui::theme::Theme;
use crate::ui::units;
use crate::ui::widgets::{Canvas, stacked};
use ratatui::style::Style;

/// The pane.
pub struct Cpu;

/// Names of the modes in the order of [`Theme::cpu`].
const MODES: [&str; 7] = ["us", "sy", "ni", "si", "hi", "wa", "st"];

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
        let n = usize::from(y.checked_sub(1)?);
        (n < self.rows(scene).min(usize::from(height))).then_some(n)
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        scene.timeline.cpus(scene.view.recent()).get(row).map(|(n, _)| Narrow::Cpu(*n))
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let span = scene.view.recent();
        let Some(total) = scene.timeline.cpu_total(span) else {
            return scene.nothing(on, "no readings of the CPUs yet");
        };
        let (width, height) = (on.width(), on.height());
        let cpus = scene.timeline.cpus(span);
        // The line for all CPUs, with its modes in numbers; the legend of the colours at once.
        let numbers: u16 = 7 * 6;
        let bar = width.saturating_sub(5 + 5 + numbers).clamp(8, 48).min(width.saturating_sub(10));
        on.put(0, 0, " all", theme.strong);
        stacked(on, 5, 0, bar, &parts(&total, theme), ('─', theme.faint));
        on.put_right(5 + bar + 4, 0, &units::percent(total.busy()), theme.strong);
        let mut x = 5 + bar + 6;
        for (n, p) in shares(&total).iter().enumerate() {
            if x + 5 <= width && (*p >= 0.05 || [0, 1, 3, 5, 6].contains(&n)) {
                let style = if theme.mono { theme.text } else { theme.cpu[n] };
                let glyph = if theme.mono { theme.cpu_glyph(n).to_string() } else { String::new() };
                x = on.put(x, 0, &format!("{glyph}{}", MODES[n]), style);
                x = on.put_right_of(x, 0, 3, &format!("{p:.0}"), theme.text) + 1;
            }
        }
        let rate = scene.timeline.per_s(Metric::ContextSwitches, "", span);
        let room = height.saturating_sub(1);
        let last = room > 2 && usize::from(room) > cpus.len();
        if let (Some(rate), true) = (rate, last) {
            let mut x = scene.field(on, 1, height - 1, "ctxt", &format!("{:>5}/s", units::short(rate)), theme.text) + 2;
            if let Some(rate) = scene.timeline.per_s(Metric::Interrupts, "", span) {
                x = scene.field(on, x, height - 1, "intr", &format!("{:>5}/s", units::short(rate)), theme.text) + 2;
            }
            if let Some(n) = scene.timeline.gauge(Metric::ProcsRunning, "", scene.view.instant()) {
                scene.field(on, x, height - 1, "runnable", &n.to_string(), theme.text);
            }
        }
        let room = room.saturating_sub(u16::from(last && rate.is_some()));
        self.each(scene, &mut on.part(0, 1, width, room), &cpus);
    }
}

impl Cpu {
    fn each(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, cpus: &[(u32, CpuSplit)]) {
        let theme = scene.theme;
        let (width, height) = (on.width(), usize::from(on.height()));
        if height == 0 || cpus.is_empty() {
            return;
        }
        // As many columns as needed, none narrower than can be read.
        let columns = cpus.len().div_ceil(height).min(usize::from(width / 18).max(1));
        let fits = columns * height;
        let cell = width / columns as u16;
        let selected = scene.app.row(self.name());
        let offset = selected.map_or(0, |s| (s + 1).saturating_sub(fits));
        for (i, (number, split)) in cpus.iter().enumerate().skip(offset).take(fits) {
            let at = i - offset;
            let (x, y) = ((at / height) as u16 * cell, (at % height) as u16);
            let chosen = scene.view.selection.cpu == Some(*number);
            let label = if chosen { theme.accent } else { theme.dim };
            on.put_right(x + 4, y, &number.to_string(), label);
            let room = cell.saturating_sub(5 + 5);
            let bar = if columns == 1 {
                room.min(48).min(room.saturating_sub(if width > 60 { 30 } else { 0 }).max(8))
            } else {
                room
            };
            stacked(on, x + 5, y, bar, &parts(split, theme), ('─', theme.faint));
            on.put_right(x + 5 + bar + 4, y, &units::percent(split.busy()), theme.text);
            if columns == 1 {
                let mut at = x + 5 + bar + 6;
                for (n, p) in shares(split).iter().enumerate().filter(|(n, p)| **p >= 1.0 || [0, 1, 3].contains(n)) {
                    if at + 5 <= width {
                        at = on.put(at, y, MODES[n], theme.faint);
                        at = on.put_right_of(at, y, 3, &format!("{p:.0}"), theme.dim) + 1;
                    }
                }
            }
            if selected == Some(i) {
                on.tint(x, y, cell, 1, theme.row);
            }
        }
        if cpus.len() > fits + offset && height > 0 {
            on.put_right(width, on.height() - 1, &format!("+{} more", cpus.len() - fits - offset), theme.dim);
        }
    }
}
