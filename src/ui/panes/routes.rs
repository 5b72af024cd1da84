//! Load by route, sortable; Enter narrows everything to one.
//!
//! Must not: trust a route's name.

use super::Pane;
use crate::timeline::RouteSum;
use crate::ui::action::Narrow;
use crate::ui::memo::Needs;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column, Table};
use std::cmp::Reverse;

/// The pane.
pub struct Routes;

const COLUMNS: &[Column] = &[
    Column::wide("route", 22),
    Column::number("/s", 6, 0),
    Column::number("%", 4, 5),
    Column::number("failed", 6, 0),
    Column::number("5xx", 5, 2),
    Column::number("differ", 6, 1),
    Column::number("p50 ms", 6, 3),
    Column::number("p99 ms", 6, 0),
    Column::number("max ms", 6, 4),
];

/// Answers with another status than when they were recorded: shown only when there are any.
const DIFFER: usize = 5;

/// The columns to sort by, in the order of the key.
const SORTS: [usize; 6] = [1, 3, 4, DIFFER, 6, 7];

impl Routes {
    fn shown<'a>(&self, scene: &Scene<'a>) -> Vec<&'a RouteSum> {
        let search = scene.app.search().to_lowercase();
        let mut routes: Vec<&RouteSum> = scene
            .memo
            .routes
            .iter()
            .filter(|r| search.is_empty() || r.route.to_lowercase().contains(&search))
            .collect();
        match self.sorted(scene) {
            3 => routes.sort_by_key(|r| Reverse(r.failed)),
            4 => routes.sort_by_key(|r| Reverse(r.server_errors)),
            DIFFER => routes.sort_by_key(|r| Reverse(r.mismatched)),
            6 => routes.sort_by_key(|r| Reverse(r.response.p50)),
            7 => routes.sort_by_key(|r| Reverse(r.response.p99)),
            _ => {}
        }
        routes
    }

    fn sorted(&self, scene: &Scene<'_>) -> usize {
        let n = if scene.app.focused() == self.name() { scene.app.sort() } else { 0 };
        let there: Vec<usize> = SORTS.into_iter().filter(|c| *c != DIFFER || differ(scene)).collect();
        there.get(n % there.len()).copied().unwrap_or(1)
    }
}

fn differ(scene: &Scene<'_>) -> bool {
    scene.memo.routes.iter().any(|r| r.mismatched > 0)
}

impl Pane for Routes {
    fn name(&self) -> &'static str {
        "routes"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        (format!("routes {}", scene.memo.routes.len()), scene.over())
    }

    fn needs(&self, _: u16, _: u16) -> Needs {
        Needs { routes: true, ..Needs::default() }
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        self.shown(scene).len()
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        self.shown(scene).get(row).map(|r| Narrow::Route(r.route.clone()))
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let shown = self.shown(scene);
        if shown.is_empty() {
            let why = if scene.memo.routes.is_empty() {
                match scene.view.selection.span {
                    Some(_) if scene.memo.focus.slots > 0 => "too short a stretch for routes",
                    _ => "routes come once a second; none yet",
                }
            } else {
                "no route matches the search"
            };
            return scene.nothing(on, why);
        }
        let all = scene.memo.routes.iter().fold(0u64, |n, r| n.saturating_add(r.requests));
        // Whole batches, so not the focus but what they cover.
        let seconds = scene.memo.routes_span.secs().max(1e-9);
        let height = usize::from(on.height().saturating_sub(1));
        let selected = scene.app.row(self.name());
        let upto = Table::offset(selected, shown.len(), height) + height;
        let differ = differ(scene);
        let flag = |n: u64, style| if n > 0 { style } else { theme.faint };
        let rows = shown.iter().take(upto).map(|r| {
            let chosen = scene.view.selection.route.as_ref() == Some(&r.route);
            let mut row = vec![
                (r.route.to_string(), if chosen { theme.accent } else { theme.text }),
                (units::short(r.requests as f64 / seconds), theme.text),
                (units::percent(100.0 * r.requests as f64 / all.max(1) as f64), theme.dim),
                (units::count(r.failed), flag(r.failed, theme.bad)),
                (units::count(r.server_errors), flag(r.server_errors, theme.warn)),
                (units::count(r.mismatched), flag(r.mismatched, theme.check)),
                (units::millis(r.response.p50 as f64), theme.text),
                (units::millis(r.response.p99 as f64), theme.text),
                (units::millis(r.response.max as f64), theme.dim),
            ];
            if !differ {
                row.remove(DIFFER);
            }
            row
        });
        let mut columns: Vec<Column> =
            COLUMNS.iter().enumerate().filter(|(n, _)| differ || *n != DIFFER).map(|(_, c)| *c).collect();
        if differ {
            // In half a window it is worth more than the ends of long routes.
            columns[0].width = 18;
        }
        let sorted = self.sorted(scene);
        scene.table(
            on,
            self.name(),
            &columns,
            rows.collect(),
            Some(sorted - usize::from(!differ && sorted > DIFFER)).filter(|_| scene.app.focused() == self.name()),
        );
    }
}
