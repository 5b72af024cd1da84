//! Where a request's time goes: name lookup, connect, TLS, first byte, body; of the average
//! request, and of a typical and a slow one.
//!
//! Must not: add quantiles up and call the sum a quantile: bars of p50 and p99 are of each phase
//! by itself.

use super::Pane;
use crate::model::{Phase, Quantiles};
use crate::timeline::LoadSum;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, stacked};

/// The pane.
pub struct Phases;

/// What a phase is called here.
fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "lookup",
        Phase::Connect => "connect",
        Phase::Tls => "TLS",
        Phase::FirstByte => "first byte",
        Phase::Body => "body",
    }
}

/// A phase that happened: its look's number, its name, its share of an average request in ns, its
/// own times.
type Row = (usize, &'static str, f64, Quantiles);

/// The label of a bar or column, and the time it shows of a row, ns.
type Times = (&'static str, fn(&Row) -> f64);

/// The phases that happened. Connections are opened for many requests: what one costs is spread
/// over those of the stretch.
fn rows(sum: &LoadSum) -> Vec<Row> {
    let ended = sum.completed.saturating_add(sum.failed).max(1) as f64;
    let all = sum.phases.iter().filter(|(_, q)| q.count > 0);
    all.map(|(phase, q)| (phase as usize, name(phase), q.mean * q.count as f64 / ended, *q)).collect()
}

/// The widest label of a bar and its blank, and the widest total.
const LABEL: u16 = 6;
const TOTAL: u16 = 8;

impl Pane for Phases {
    fn name(&self) -> &'static str {
        "phases"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("where a request's time goes".into(), scene.over())
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let rows = rows(&scene.memo.focus);
        if rows.is_empty() {
            let why = if scene.memo.focus.slots == 0 {
                "no request in this stretch"
            } else {
                "the phases of these requests are not known"
            };
            return scene.nothing(on, why);
        }
        let (width, height) = (on.width(), on.height());
        // The legend first: a bar whose parts have no names tells nothing.
        let legend = rows.len() as u16 + 1;
        let bars = height.saturating_sub(legend).clamp(1, 3);
        let bar = width.saturating_sub(LABEL + TOTAL + 1);
        let kinds: [Times; 3] = [("mean", |r| r.2), ("p50", |r| r.3.p50 as f64), ("p99", |r| r.3.p99 as f64)];
        // Of a request at a quantile only what so many requests go through: few connect.
        let least = [0.0, 0.5, 0.01];
        // With room for two the slow request says more than the typical one.
        let kinds = kinds.into_iter().zip(least).filter(|((label, _), _)| bars != 2 || *label != "p50");
        let most = rows.iter().map(|r| r.3.count).max().unwrap_or(0) as f64;
        for (y, ((label, of), least)) in (0..bars).zip(kinds) {
            let of = |r: &Row| if r.3.count as f64 >= least * most { of(r) } else { 0.0 };
            let total: f64 = rows.iter().map(of).sum();
            on.put(0, y, label, theme.dim);
            let parts: Vec<_> = rows
                .iter()
                .map(|r| (of(r) / total.max(f64::MIN_POSITIVE), theme.phase[r.0], theme.phase_glyph(r.0)))
                .collect();
            stacked(on, LABEL, y, bar, &parts, (' ', theme.faint));
            on.put_right(width, y, &units::time(total), if y == 0 { theme.strong } else { theme.text });
        }
        self.legend(scene, &mut on.part(0, bars, width, height.saturating_sub(bars)), &rows);
    }
}

impl Phases {
    fn legend(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, rows: &[Row]) {
        let theme = scene.theme;
        let (width, height) = (on.width(), on.height());
        let total: f64 = rows.iter().map(|r| r.2).sum();
        let header = u16::from(height > rows.len() as u16);
        let columns: [Times; 3] =
            [("p50", |r| r.3.p50 as f64), ("p99", |r| r.3.p99 as f64), ("max", |r| r.3.max as f64)];
        let fit = usize::from(width.saturating_sub(19) / 9).min(columns.len());
        let titles = columns[..fit].iter().map(|(title, _)| *title);
        if header > 0 {
            on.put_right(19, 0, "share", theme.dim);
            for (n, title) in (1..).zip(titles) {
                on.put_right(19 + n * 9, 0, title, theme.dim);
            }
        }
        // The largest stay where there is no room for all.
        let mut shown: Vec<&Row> = rows.iter().collect();
        shown.sort_by(|a, b| b.2.total_cmp(&a.2));
        shown.truncate(usize::from(height - header.min(height)));
        shown.sort_by_key(|r| r.0);
        for (y, row) in (header..).zip(shown) {
            on.glyph(0, y, theme.phase_glyph(row.0), theme.phase[row.0]);
            on.put(2, y, row.1, theme.text);
            let share = format!("{} %", units::percent(100.0 * row.2 / total.max(f64::MIN_POSITIVE)));
            on.put_right(19, y, &share, theme.strong);
            for (n, (_, of)) in (1..).zip(&columns[..fit]) {
                on.put_right(19 + n * 9, y, &units::time(of(row)), theme.text);
            }
        }
    }
}
