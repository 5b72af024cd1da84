//! How requests ended: counts, rates and shares by outcome.
//!
//! Must not: lump outcomes together.

use super::Pane;
use crate::model::{CheckKind, Outcome};
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, stacked};

/// The pane.
pub struct Outcomes;

impl Pane for Outcomes {
    fn name(&self) -> &'static str {
        "outcomes"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("outcomes".into(), scene.over())
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let sum = &scene.memo.focus;
        let mut outcomes = sum.outcomes.clone();
        outcomes.retain(|o| o.count > 0);
        if outcomes.is_empty() {
            return scene.nothing(on, "no request has ended in this stretch");
        }
        // Failures first in the eye: most frequent first within what fits.
        outcomes.sort_by(|a, b| b.count.cmp(&a.count).then(a.outcome.cmp(&b.outcome)));
        let all: u64 = outcomes.iter().map(|o| o.count).sum();
        let (width, height) = (on.width(), on.height());
        let odd: Vec<(&str, u64)> = sum.remarks.named().into_iter().filter(|(_, n)| *n > 0).collect();
        let widths = outcomes.iter().map(|o| units::width(&name(o.outcome)));
        let widths = widths.chain(odd.iter().map(|(name, _)| units::width(name)));
        let names = widths.max().unwrap_or(3).clamp(3, 21) as u16;
        let bar = width.saturating_sub(names + 1 + 8 + 9 + 7);
        for (y, o) in outcomes.iter().take(usize::from(height)).enumerate() {
            let y = y as u16;
            let style = theme.outcome(o.outcome);
            let rest = outcomes.len() - usize::from(y);
            if y + 1 == height && rest > 1 {
                on.put(0, y, &format!("and {rest} more"), theme.dim);
                break;
            }
            on.put(0, y, &units::cut(&name(o.outcome), usize::from(names)), style);
            let mut x = on.put_right_of(names, y, 8, &units::count(o.count), theme.text);
            x = on.put_right_of(x, y, 9, &format!("{}/s", units::short(sum.per_s(o.count))), theme.dim);
            let share = o.count as f64 / all as f64;
            x = on.put_right_of(x, y, 7, &format!("{} %", units::percent(100.0 * share)), theme.dim) + 1;
            // A share too small for half a cell is still there.
            let least = 0.5 / f64::from(bar.max(1));
            stacked(on, x, y, bar.saturating_sub(1), &[(share.max(least), style, '█')], (' ', theme.faint));
        }
        for (y, (name, n)) in (outcomes.len() as u16..height).zip(odd) {
            on.put(0, y, &units::cut(name, usize::from(names)), theme.warn);
            on.put_right_of(names, y, 8, &units::count(n), theme.text);
        }
    }
}

/// What an outcome is called here: as in reports, but for checks, which need words.
fn name(outcome: Outcome) -> String {
    let Outcome::Check(kind) = outcome else { return outcome.to_string() };
    match kind {
        CheckKind::Status => "check: status",
        CheckKind::Recorded => "check: recorded",
        CheckKind::Header => "check: header",
        CheckKind::Body => "check: body",
        CheckKind::Json => "check: JSON",
        CheckKind::Cut => "check: too long",
        CheckKind::Capture => "nothing captured",
    }
    .into()
}
