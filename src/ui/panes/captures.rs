//! The captures with their states, notes, and what mends a failed one.
//!
//! Must not: shorten what mends.

use super::Pane;
use crate::model::{At, CaptureId, CaptureNews, CaptureState};
use crate::ui::action::Narrow;
use crate::ui::scene::{Scene, clock};
use crate::ui::units;
use crate::ui::widgets::Canvas;
use ratatui::style::Style;

/// The pane.
pub struct Captures;

/// A capture's state in lines: what it is, then what is to be known of it.
pub fn state_line(scene: &Scene<'_>, id: CaptureId, news: &[CaptureNews]) -> Vec<(String, Style)> {
    let theme = scene.theme;
    let Some(last) = news.last() else { return vec![] };
    let began = news.first().map_or(last.at, |n| n.at);
    let how = news.iter().find_map(|n| match &n.state {
        CaptureState::Sampling { how, hz, .. } => Some(format!("{}, {hz} Hz", units::cut(how, 60))),
        _ => None,
    });
    let head = |what: String, style| (format!("{} · {} · {what}", id.0, clock(began)), style);
    match &last.state {
        CaptureState::Sampling { for_ns, .. } => {
            let left = remaining_s(scene.timeline.end(), last.at, *for_ns);
            let mut lines = vec![head(format!("sampling, {left} s left"), theme.accent)];
            lines.extend(how.map(|h| (h, theme.dim)));
            lines
        }
        CaptureState::Reading => vec![head("reading the stacks".into(), theme.accent)],
        CaptureState::Done { span, .. } => {
            // Several may have taken part: what ran, what waited.
            let done = news.iter().filter_map(|n| match &n.state {
                CaptureState::Done { samples, lost, notes, .. } => Some((*samples, *lost, notes)),
                _ => None,
            });
            let (samples, lost) = done
                .clone()
                .fold((0u64, 0u64), |(s, l), (samples, lost, _)| (s.saturating_add(samples), l.saturating_add(lost)));
            let mut what = format!("{:.1} s, {} samples", span.secs(), units::count(samples));
            if lost > 0 {
                what.push_str(&format!(", {} lost", units::count(lost)));
            }
            let style = if samples == 0 || lost > 0 { theme.warn } else { theme.text };
            let mut lines = vec![head(what, style)];
            lines.extend(how.map(|h| (h, theme.dim)));
            lines.extend(done.flat_map(|(.., notes)| notes).map(|n| (units::cut(n, 300), theme.dim)));
            lines
        }
        CaptureState::Failed { what, mend } => {
            let mut lines = vec![head(format!("failed: {}", units::cut(what, 300)), theme.bad)];
            lines.extend(mend.iter().map(|m| (format!("mend: {}", units::cut(m, 300)), theme.text)));
            lines
        }
    }
}

/// Whole seconds until a capture has all its samples.
pub fn remaining_s(now: At, began: At, for_ns: u64) -> u64 {
    for_ns.saturating_sub(now.since_ns(began)).div_ceil(1_000_000_000)
}

/// What is said of the flight recorder, if there is one, and how far each line is set in.
fn recorder(scene: &Scene<'_>) -> Vec<(u16, String, Style)> {
    let theme = scene.theme;
    let sampling = scene.timeline.recorder().iter().rev().find_map(|n| match &n.state {
        CaptureState::Sampling { hz, how, .. } => Some((*hz, how)),
        _ => None,
    });
    match (scene.timeline.recorder().last().map(|n| &n.state), sampling) {
        (Some(CaptureState::Failed { what, mend }), _) => {
            let off = (0, format!("flight recorder off: {}", units::cut(what, 200)), theme.warn);
            let mend = mend.as_ref().map(|m| (4, format!("mend: {}", units::cut(m, 200)), theme.text));
            [Some(off), mend].into_iter().flatten().collect()
        }
        (Some(_), Some((hz, how))) => {
            vec![(0, format!("flight recorder {hz} Hz, {}", units::cut(how, 80)), theme.dim)]
        }
        (None, _) | (Some(_), None) => vec![],
    }
}

impl Pane for Captures {
    fn name(&self) -> &'static str {
        "captures"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        let n = scene.timeline.captures().count();
        (format!("captures {n}"), "whole session".into())
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.timeline.captures().count()
    }

    fn row_at(&self, _: &Scene<'_>, _: u16, _: u16) -> Option<usize> {
        None // rows have different heights
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        let (id, news) = scene.timeline.captures().nth(row)?;
        let span = scene.timeline.capture_span(id).map(Narrow::Span);
        span.or_else(|| news.first().map(|n| Narrow::At(n.at)))
    }

    fn lines(&self, scene: &Scene<'_>, width: u16) -> Option<u16> {
        let recorder = recorder(scene);
        let fits = |(x, text, _): &(u16, String, Style)| usize::from(*x) + units::width(text) <= usize::from(width);
        let is_known = scene.timeline.captures().next().is_none() && recorder.iter().all(fits);
        // Beneath them, that there are none.
        is_known.then(|| u16::try_from(recorder.len() + 1).unwrap_or(u16::MAX))
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let all: Vec<_> = scene.timeline.captures().collect();
        let mut y = 0;
        for (x, text, style) in recorder(scene) {
            y = on.wrap(x, y, &text, style);
        }
        if all.is_empty() {
            let why =
                if scene.app.playback().is_some() { "none was taken in this session" } else { "none yet; c takes one" };
            let (width, height) = (on.width(), on.height());
            return scene.nothing(&mut on.part(0, y, width, height.saturating_sub(y)), why);
        }
        let selected = scene.app.row(self.name());
        let skip = selected.map_or(0, |s| s.saturating_sub(usize::from(on.height() / 3)));
        for (n, (id, news)) in all.iter().enumerate().skip(skip) {
            for (i, (text, style)) in state_line(scene, *id, news).iter().enumerate() {
                let from = y;
                y = on.wrap(if i == 0 { 0 } else { 4 }, y, text, *style);
                if i == 0 && selected == Some(n) {
                    let width = on.width();
                    on.tint(0, from, width, y - from, scene.theme.row);
                }
            }
        }
    }
}
