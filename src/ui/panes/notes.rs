//! Marks and faults in the order they came, the latest first.
//!
//! Must not: hide what mends a fault.

use super::Pane;
use crate::model::{At, Fault, Mark};
use crate::ui::action::Narrow;
use crate::ui::scene::{Scene, clock};
use crate::ui::units;
use crate::ui::widgets::Canvas;

/// Where words begin, behind instant and glyph.
const TEXT: u16 = 10;

/// The pane.
pub struct Notes;

enum Note<'a> {
    Mark(&'a Mark),
    Fault(&'a Fault),
}

impl Note<'_> {
    fn at(&self) -> At {
        match self {
            Note::Mark(m) => m.at,
            Note::Fault(f) => f.at,
        }
    }
}

fn all<'a>(scene: &Scene<'a>) -> Vec<Note<'a>> {
    let marks = scene.timeline.marks().iter().map(Note::Mark);
    let mut all: Vec<Note<'a>> = marks.chain(scene.timeline.faults().iter().map(Note::Fault)).collect();
    all.sort_by_key(|n| std::cmp::Reverse(n.at()));
    all
}

impl Pane for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        let (marks, faults) = (scene.timeline.marks().len(), scene.timeline.faults().len());
        (format!("marks {marks}, faults {faults}"), "whole session, latest first".into())
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        all(scene).len()
    }

    fn row_at(&self, _: &Scene<'_>, _: u16, _: u16) -> Option<usize> {
        None // rows have different heights
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        all(scene).get(row).map(|n| Narrow::At(n.at()))
    }

    fn lines(&self, scene: &Scene<'_>, width: u16) -> Option<u16> {
        // Faults are of any length.
        let (marks, room) = (scene.timeline.marks(), usize::from(width.saturating_sub(TEXT)));
        let are_short = scene.timeline.faults().is_empty() && marks.iter().all(|m| units::width(&m.label) <= room);
        are_short.then(|| u16::try_from(marks.len()).unwrap_or(u16::MAX))
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let notes = all(scene);
        if notes.is_empty() {
            return scene.nothing(on, "no marks, no faults");
        }
        let selected = scene.app.row(self.name());
        let skip = selected.map_or(0, |s| s.saturating_sub(usize::from(on.height() / 3)));
        let mut y = 0;
        for (n, note) in notes.iter().enumerate().skip(skip) {
            if y >= on.height() {
                break;
            }
            let from = y;
            let when = clock(note.at());
            on.put_right(7, y, &when, theme.dim);
            match note {
                Note::Mark(m) => {
                    let (glyph, style) = theme.mark(m.kind);
                    on.glyph(8, y, glyph, style);
                    y = on.wrap(TEXT, y, &units::cut(&m.label, 200), theme.text);
                }
                Note::Fault(f) => {
                    on.put(8, y, "×", theme.bad);
                    let what = format!("{}: {}", units::cut(&f.place, 40), units::cut(&f.what, 300));
                    y = on.wrap(TEXT, y, &what, theme.text);
                    if let Some(mend) = &f.mend {
                        y = on.wrap(TEXT, y, &format!("mend: {}", units::cut(mend, 300)), theme.dim);
                    }
                }
            }
            if selected == Some(n) {
                let width = on.width();
                on.tint(0, from, width, 1, theme.row);
            }
        }
    }
}
