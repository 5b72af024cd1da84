//! Paints the whole screen: header, panes with their borders and titles, what all time axes
//! share, footer, help.
//!
//! Must not: change anything but the buffer it is given.

use super::app::{App, Tone};
use super::axis::Axis;
use super::keymap::{Context, KEYMAP};
use super::layout::{LEAST, Place};
use super::panes;
use super::scene::{Scene, clock};
use super::units;
use super::widgets::{Canvas, Grid, to_ascii};
use crate::model::{At, CaptureState, MarkKind, Outcome};
use crate::timeline::Cursor;
use crate::timeline::stacks::Ring;
use crate::timeline::steer::Steered;
use crate::workbench::{FeedState, Workbench};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Paints the screen as it was prepared. A buffer of another size than prepared for is left
/// blank: the next frame fits.
pub fn paint(app: &App, workbench: &Workbench, buf: &mut Buffer) {
    let scene = Scene::new(app, workbench);
    let layout = app.layout();
    let window = *buf.area();
    if layout.window != window {
        return;
    }
    if layout.places.is_empty() {
        let text =
            format!("perfbench needs {} × {} cells, not {} × {}.", LEAST.0, LEAST.1, window.width, window.height);
        Canvas::new(buf, window).centre(&text, scene.theme.text);
    } else {
        header(&scene, &mut Canvas::new(buf, layout.header));
        chips(&scene, &mut Canvas::new(buf, layout.chips));
        if app.helping() {
            help(&scene, &mut Canvas::new(buf, layout.body));
        } else {
            borders(&scene, buf);
            for place in &layout.places {
                pane(&scene, place, buf);
            }
        }
        footer(&scene, &mut Canvas::new(buf, layout.footer));
    }
    if app.options().ascii {
        to_ascii(buf);
    }
}

fn borders(scene: &Scene<'_>, buf: &mut Buffer) {
    let layout = scene.app.layout();
    let mut grid = Grid::new(layout.body);
    let focused = scene.app.focused();
    let frame = |grid: &mut Grid, p: &Place, style| grid.frame(p.border.0, p.border.1, p.border.2, p.border.3, style);
    for place in &layout.places {
        frame(&mut grid, place, scene.theme.faint);
    }
    if let Some(place) = layout.places.iter().find(|p| p.pane == focused).filter(|_| layout.places.len() > 1) {
        frame(&mut grid, place, scene.theme.accent);
    }
    grid.paint(buf);
}

fn pane(scene: &Scene<'_>, place: &Place, buf: &mut Buffer) {
    let Some(pane) = panes::find(place.pane) else { return };
    let theme = scene.theme;
    let (title, over) = pane.title(scene);
    let Ok(y) = u16::try_from(place.border.1) else { return };
    let inner = place.inner;
    {
        let mut on = Canvas::new(buf, Rect { y, height: 1, ..inner });
        let focused = scene.app.focused() == place.pane;
        let title = units::cut(&title, usize::from(inner.width.saturating_sub(4)));
        let style = if focused { theme.accent.add_modifier(ratatui::style::Modifier::BOLD) } else { theme.strong };
        let wide = u16::try_from(units::width(&title)).unwrap_or(0) + 2;
        on.clear(1, 0, wide);
        let mut after = on.put(1, 0, &format!(" {title} "), style);
        if let Some(alarm) = pane.alarm(scene) {
            let room = usize::from(inner.width.saturating_sub(after + 3));
            let alarm = units::cut(&format!("⚑ {alarm}"), room);
            on.clear(after, 0, u16::try_from(units::width(&alarm)).unwrap_or(0) + 1);
            after = on.put(after, 0, &alarm, theme.bad) + 1;
        }
        let room = usize::from(inner.width.saturating_sub(after + 2));
        if !over.is_empty() && units::width(&over) + 2 <= room {
            let wide = u16::try_from(units::width(&over)).unwrap_or(0) + 2;
            on.clear(inner.width.saturating_sub(1 + wide), 0, wide);
            on.put_right(inner.width.saturating_sub(1), 0, &format!(" {over} "), theme.dim);
        }
    }
    pane.draw(scene, &mut Canvas::new(buf, inner));
    if let Some(area) = pane.time_area(scene, inner.width, inner.height) {
        let columns = usize::from(area.width);
        let axis = scene.axis(columns);
        shared_time(scene, &axis, &mut Canvas::new(buf, inner).part(area.x, area.y, area.width, area.height));
    }
}

/// What every time axis shows: the selected stretch, captures, marks, the cursor.
fn shared_time(scene: &Scene<'_>, axis: &Axis, on: &mut Canvas<'_>) {
    let theme = scene.theme;
    let (width, height) = (on.width(), on.height());
    if width == 0 || height == 0 {
        return;
    }
    for (id, news) in scene.timeline.captures() {
        let began = news.first().map_or(At::START, |n| n.at);
        let span = scene.timeline.capture_span(id).unwrap_or(crate::model::Span {
            from: began,
            to: news.last().map_or(began, |n| match n.state {
                CaptureState::Sampling { .. } => scene.timeline.end(),
                _ => n.at,
            }),
        });
        if let Some((from, to)) = axis.columns_of(span) {
            for x in from..to {
                if on.is_blank(x as u16, 0) {
                    on.glyph(x as u16, 0, '▔', theme.accent);
                }
            }
        }
    }
    if let Some(span) = scene.view.selection.span
        && let Some((from, to)) = axis.columns_of(span)
    {
        for x in from..to {
            for y in 0..height {
                on.tint_blank_background(x as u16, y, theme.select);
            }
        }
    }
    for mark in scene.timeline.marks().iter().rev().take(MARKS_SHOWN) {
        if let Some(x) = axis.column_of(mark.at) {
            let (glyph, style) = theme.mark(mark.kind);
            // The boundaries of what was planned are less than what somebody did.
            let along = if mark.kind == MarkKind::Phase { theme.faint } else { theme.dim };
            line(on, x as u16, '┊', along);
            on.glyph(x as u16, 0, glyph, style);
        }
    }
    if let Cursor::Pinned(at) = scene.view.cursor {
        // The edge is drawn as the last column.
        let x = axis.column_of(at).or_else(|| axis.column_of(At(at.0.saturating_sub(1))));
        if let Some(x) = x {
            for later in x + 1..usize::from(width) {
                on.fade(later as u16, theme.faint);
            }
            line(on, x as u16, '│', theme.cursor);
            on.glyph(x as u16, 0, '▼', theme.cursor);
        }
    }
}

/// Marks beyond this many are too dense to tell apart.
const MARKS_SHOWN: usize = 200;

fn line(on: &mut Canvas<'_>, x: u16, glyph: char, style: Style) {
    for y in 0..on.height() {
        if on.is_blank(x, y) {
            on.glyph(x, y, glyph, style);
        }
    }
}

fn header(scene: &Scene<'_>, on: &mut Canvas<'_>) {
    let theme = scene.theme;
    let opening = scene.timeline.opening();
    let width = on.width();
    let recent = &scene.memo.recent;
    let (glyph, state, style) = state(scene);
    let at = scene.view.now();
    let time = if scene.view.cursor == Cursor::Follow { clock(at) } else { at.to_string() };
    // Load that ended has no present rate.
    let is_known = recent.slots > 0;
    let rate = |n: u64| match is_known {
        true => format!("{:>5}/s", units::short(recent.per_s(n))),
        false => format!("{:>5}/s", "–"),
    };
    let findings = scene.memo.findings.len();
    let flags = format!("⚑ {findings}");
    let failed = recent
        .outcomes
        .iter()
        .filter(|o| !matches!(o.outcome, Outcome::Status(_)))
        .fold(0u64, |n, o| n.saturating_add(o.count))
        .max(recent.failed);
    let errors = recent.server_errors();
    // From the right: what changes. From the left: what it is.
    let mut parts: Vec<(&str, String, Style)> = vec![];
    // Those that go, the first ones first, before state and target can't be read.
    let mut spare: Vec<usize> = vec![];
    if scene.timeline.load().known_until() > At::START {
        let steered = Steered::at(scene.timeline, at);
        let mut rate_asked = None;
        let was_steered = scene.timeline.marks().iter().any(|m| m.kind == MarkKind::Rate);
        match steered.target {
            _ if steered.paused => parts.push(("", "load paused".into(), theme.warn)),
            Some(target) if was_steered => {
                rate_asked = Some(parts.len());
                parts.push(("", target.label(), theme.accent));
            }
            _ => {}
        }
        if let Some(phase) = steered.phase.filter(|_| width >= 110) {
            spare.push(parts.len());
            parts.push(("", units::cut(&phase, 24), theme.accent));
        }
        if opening.load.mode != "closed" || width >= 100 {
            parts.push(("offered ", rate(recent.offered), theme.strong));
        }
        parts.push(("done ", rate(recent.completed), if is_known { theme.accent } else { theme.dim }));
        parts.push(("err ", rate(failed), if failed > 0 { theme.bad } else { theme.dim }));
        if width >= 100 {
            spare.push(parts.len());
            parts.push(("5xx ", rate(errors), if errors > 0 { theme.warn } else { theme.dim }));
        }
        spare.extend(rate_asked);
    }
    parts.push(("", flags, if findings > 0 { theme.warn } else { theme.dim }));
    let state = format!("{glyph} {state} {time}");
    let least = units::width(&state) + 4 + units::width(opening.target.trim_end_matches('/')).min(16);
    let wide = |parts: &[(&str, String, Style)]| -> usize {
        parts.iter().map(|(label, value, _)| units::width(label) + units::width(value) + 2).sum()
    };
    while wide(&parts) + least > usize::from(width) && !spare.is_empty() {
        let gone = spare.remove(0);
        parts.remove(gone);
        spare.iter_mut().filter(|n| **n > gone).for_each(|n| *n -= 1);
    }
    let mut x = width;
    for (label, value, style) in parts.iter().rev() {
        x = on.put_right(x, 0, value, *style);
        x = on.put_right(x, 0, label, theme.dim).saturating_sub(2);
    }
    let left = usize::from(x);
    let name = "perfbench  ";
    let all = units::width(name) + units::width(opening.target.trim_end_matches('/')) + units::width(&state) + 4;
    let name = if left > all { name } else { "" };
    let shown = opening.target.trim_end_matches('/');
    let tight = left < units::width(shown) + units::width(&state) + 6;
    let shown = if tight { shown.split_once("://").map_or(shown, |(_, rest)| rest) } else { shown };
    let target = units::cut(shown, left.saturating_sub(units::width(name) + units::width(&state) + 4).max(8));
    let mut at = on.put(0, 0, name, theme.strong);
    at = on.put(at, 0, &target, theme.text) + u16::from(!target.is_empty()) * 2;
    let traffic = traffic_name(scene);
    let room = left.saturating_sub(usize::from(at) + units::width(&state) + 3);
    if !traffic.is_empty() && room >= units::width(&traffic).min(12) {
        at = on.put(at, 0, &units::cut(&traffic, room), theme.dim) + 2;
    }
    on.put(at, 0, &units::cut(&state, left.saturating_sub(usize::from(at) + 1)), style);
}

fn traffic_name(scene: &Scene<'_>) -> String {
    let opening = scene.timeline.opening();
    let base = opening.traffic.first().map_or("", |t| t.rsplit('/').next().unwrap_or(t));
    let mut name = base.to_string();
    if opening.traffic.len() > 1 {
        name.push_str(&format!(" +{}", opening.traffic.len() - 1));
    }
    match scene.timeline.repeats(scene.view.instant()) {
        0 => name,
        n => format!("{name} ×{}", n.saturating_add(1)),
    }
}

fn state<'a>(scene: &Scene<'a>) -> (&'static str, String, Style) {
    let theme = scene.theme;
    let app = scene.app;
    match (app.playback(), app.feed_state(), scene.view.cursor) {
        (Some(_), FeedState::Loading, _) => ("▶", "loading".into(), theme.accent),
        (Some((true, speed)), _, Cursor::Pinned(_)) => ("▶", format!("play {speed}×"), theme.accent),
        (Some(_), FeedState::Ended, Cursor::Pinned(at)) if at >= scene.timeline.end() => {
            ("■", "ended".into(), theme.dim)
        }
        (Some(_), _, Cursor::Pinned(_)) => ("❚❚", "held".into(), theme.warn),
        (_, FeedState::Ended, _) => ("■", "ended".into(), theme.dim),
        (_, _, Cursor::Pinned(_)) if scene.app.layout().window.width < 110 => ("❚❚", "held".into(), theme.warn),
        (_, _, Cursor::Pinned(_)) => ("❚❚", "held, still running".into(), theme.warn),
        (Some(_), ..) => ("●", "being recorded".into(), theme.good),
        (None, ..) => ("●", "live".into(), theme.good),
    }
}

/// What everything is narrowed to.
fn chips(scene: &Scene<'_>, on: &mut Canvas<'_>) {
    if on.height() == 0 {
        return;
    }
    let theme = scene.theme;
    let s = scene.view.selection;
    let mut chips: Vec<String> = vec![];
    if let Some(span) = s.span {
        chips.push(format!("time {}–{} ({:.1} s)", span.from, span.to, span.secs()));
    }
    chips.extend(s.cpu.map(|n| format!("cpu {n}")));
    chips.extend(s.process.map(|n| format!("process {n}")));
    chips.extend(s.route.as_ref().map(|r| format!("route {}", units::cut(r, 40))));
    chips.extend(s.thread.as_ref().map(|r| format!("thread {}", units::cut(r, 20))));
    chips.extend(s.ring.map(|r| if r == Ring::Kernel { "kernel stacks".into() } else { "user stacks".into() }));
    chips.extend(s.band.map(|b| match b.high_ns {
        u64::MAX => format!("while ≥ {} was under way", units::time(b.low_ns as f64)),
        high => format!("while {} to {} was under way", units::time(b.low_ns as f64), units::time(high as f64)),
    }));
    if scene.app.profile().rest {
        chips.push("stacks of the rest".into());
    }
    chips.extend(scene.app.profile().held.map(|h| format!("kept to compare with: {}", h.name())));
    chips.extend(s.symbol.as_ref().map(|r| format!("symbol {}", units::cut(r, 40))));
    if !scene.app.search().is_empty() && scene.app.typing().is_none() {
        chips.push(format!("find {}", units::cut(scene.app.search(), 30)));
    }
    let mut x = 0;
    for chip in chips {
        x = on.put(x, 0, &format!(" {chip} "), theme.row) + 1;
    }
    on.put(x + 1, 0, "Esc clears", theme.dim);
}

fn footer(scene: &Scene<'_>, on: &mut Canvas<'_>) {
    let theme = scene.theme;
    let app = scene.app;
    if let Some(typed) = app.typing() {
        let x = on.put(0, 0, "find ", theme.accent);
        let x = on.put(x, 0, &units::cut_front(typed, usize::from(on.width()).saturating_sub(40)), theme.strong);
        let x = on.put(x, 0, "█", theme.accent) + 2;
        on.put(x, 0, "Enter keeps it  Esc drops it", theme.dim);
        return;
    }
    let mut x = 0;
    if let Some(m) = app.message() {
        let style = if m.tone == Tone::Bad { theme.bad } else { theme.accent };
        x = on.put(0, 0, &units::cut(&m.text, usize::from(on.width())), style) + 3;
    } else if let Some(text) = capture_under_way(scene) {
        x = on.put(0, 0, &text, theme.accent) + 3;
    }
    let contexts = app.contexts();
    let order = |c: Context| contexts.iter().position(|k| *k == c);
    for b in KEYMAP.iter().filter(|b| !b.short.is_empty() && order(b.context).is_some()) {
        let hidden = contexts.contains(&Context::Flame) && b.context == Context::Everywhere && b.short == "scrub";
        let written = b.written.split(' ').next().unwrap_or(b.written);
        let needed = units::width(written) + 1 + units::width(b.short) + 2;
        // The last two, help and quit, are always there.
        let reserve = if ["help", "quit"].contains(&b.short) { 0 } else { 14 };
        if hidden || usize::from(x) + needed + reserve > usize::from(on.width()) + if reserve == 0 { 2 } else { 0 } {
            continue;
        }
        x = on.put(x, 0, written, theme.accent);
        x = on.put(x + 1, 0, b.short, theme.dim) + 2;
    }
}

fn capture_under_way(scene: &Scene<'_>) -> Option<String> {
    let (id, news) = scene.timeline.captures().last()?;
    match &news.last()?.state {
        CaptureState::Sampling { for_ns, .. } if scene.app.playback().is_none() => {
            let left = panes::remaining_s(scene.timeline.end(), news.last()?.at, *for_ns);
            Some(format!("capture {}: sampling, {left} s left", id.0))
        }
        CaptureState::Reading if scene.app.playback().is_none() => {
            Some(format!("capture {}: reading the stacks", id.0))
        }
        _ => None,
    }
}

/// The help screen: the keymap as a page. In a low window without headings, and without
/// the keys of the other kind of run.
fn help(scene: &Scene<'_>, on: &mut Canvas<'_>) {
    let theme = scene.theme;
    let (width, height) = (on.width(), on.height());
    // What counts where one stands comes first: the page may be longer than the screen.
    let mut contexts = scene.app.contexts_of_screen();
    let all = [Context::Live, Context::Playback, Context::Everywhere, Context::Profile, Context::Flame];
    contexts.extend(all.into_iter().filter(|c| !contexts.contains(c)).collect::<Vec<_>>());
    let rows: Vec<(&str, &str)> = contexts
        .into_iter()
        .flat_map(|c| {
            let keys = KEYMAP.iter().filter(move |b| b.context == c).map(|b| (b.written, b.about));
            std::iter::once((c.title(), "")).chain(keys)
        })
        .collect();
    let spare = rows.len().saturating_sub(usize::from(height));
    let offset = scene.app.help_row().min(spare);
    let top = height.saturating_sub(rows.len() as u16) / 3;
    let left = if width >= 100 { (width - 92) / 2 } else { 1 };
    for (n, (keys, about)) in rows.iter().skip(offset).take(usize::from(height)).enumerate() {
        let y = top + n as u16;
        if about.is_empty() {
            on.put(left, y, keys, theme.strong);
        } else {
            on.put(left + 2, y, keys, theme.accent);
            on.put(left + 14, y, &units::cut(about, usize::from(width.saturating_sub(left + 14))), theme.text);
        }
    }
    if offset < spare {
        on.put_right(width, height - 1, &format!(" ↓ {} more ", spare - offset), theme.row);
    }
}
