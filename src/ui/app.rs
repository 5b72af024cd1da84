//! The state of the screen, and the one place that changes it: [`App::act`].
//!
//! Must not: draw, read keys or clocks, or talk to a feed; what a feed is to do is left in
//! [`App::take_commands`].

use super::action::{Action, Narrow, Screen};
use super::axis;
use super::flame_state::FlameState;
use super::keymap::{self, Context};
use super::layout::Layout;
use super::memo::{Memo, Needs};
use super::panes;
use super::scene::Scene;
use super::theme::Theme;
use crate::model::{At, CaptureState, Span};
use crate::timeline::{Cursor, Selection, View};
use crate::workbench::{Command, FeedState, Workbench};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;
use std::time::Duration;

/// How a session is played back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Playback {
    /// Session seconds a second.
    pub speed: f64,
    /// Where to begin; `None` at the session's start.
    pub at: Option<At>,
}

/// How the screen is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The colours.
    pub theme: Theme,
    /// Whether the terminal shows ASCII only.
    pub ascii: bool,
    /// Playback, when a session is played.
    pub playback: Option<Playback>,
    /// How long a capture taken on a key is.
    pub capture_length: Duration,
    /// Whether to leave when the run has ended, rather than to stay and look.
    pub quit_when_ended: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            theme: Theme::default(),
            ascii: false,
            playback: None,
            capture_length: Duration::from_secs(5),
            quit_when_ended: false,
        }
    }
}

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Said by the way.
    Plain,
    /// Something was refused or failed.
    Bad,
}

/// A line that is shown for some seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it says.
    pub text: String,
    /// How grave it is.
    pub tone: Tone,
    /// Until when, on the feed's clock.
    pub until: At,
}

/// The state of the screen.
#[derive(Debug)]
pub struct App {
    options: Options,
    screen: Screen,
    cursor: Cursor,
    /// Right edge of the time axes while the cursor is held; the cursor moves within.
    axis_end: At,
    selection: Selection,
    anchor: Option<At>,
    window_ns: u64,
    focus: [&'static str; 6],
    zoomed: bool,
    row: Option<usize>,
    sort: usize,
    search: String,
    typing: Option<String>,
    help: bool,
    playing: bool,
    speed: f64,
    message: Option<Message>,
    flame: FlameState,
    feed: FeedState,
    now: At,
    drag: Option<At>,
    layout: Layout,
    memo: Memo,
    commands: Vec<Command>,
    quit: bool,
    redraw: bool,
    suspend: bool,
    captures_seen: usize,
    faults_seen: usize,
}

/// The time shown at first, ns.
const WINDOW_NS: u64 = 60_000_000_000;
/// The stretches of time there are to choose from, s.
const WINDOWS_S: [u64; 9] = [10, 20, 30, 60, 120, 300, 600, 1800, 3600];
/// The speeds of playback there are to choose from.
const SPEEDS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

impl App {
    /// A screen at its start.
    pub fn new(options: Options) -> App {
        let playback = options.playback;
        let cursor = match playback {
            Some(p) => Cursor::Pinned(p.at.unwrap_or(At::START)),
            None => Cursor::Follow,
        };
        App {
            screen: Screen::Overview,
            cursor,
            axis_end: playback.and_then(|p| p.at).unwrap_or(At::START),
            selection: Selection::default(),
            anchor: None,
            window_ns: WINDOW_NS,
            focus: [""; 6],
            zoomed: false,
            row: None,
            sort: 0,
            search: String::new(),
            typing: None,
            help: false,
            playing: playback.is_some(),
            speed: playback.map_or(1.0, |p| if p.speed.is_finite() { p.speed.clamp(0.01, 1000.0) } else { 1.0 }),
            message: None,
            flame: FlameState::default(),
            feed: FeedState::Live,
            now: At::START,
            drag: None,
            layout: Layout::default(),
            memo: Memo::default(),
            commands: vec![],
            quit: false,
            redraw: false,
            suspend: false,
            captures_seen: 0,
            faults_seen: 0,
            options,
        }
    }

    /// The screen that is shown.
    pub fn screen(&self) -> Screen {
        self.screen
    }

    /// Where on the time axis one looks.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// What all panes are narrowed to.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// How much time the axes show, ns.
    pub fn window_ns(&self) -> u64 {
        self.window_ns
    }

    /// The colours.
    pub fn theme(&self) -> &Theme {
        &self.options.theme
    }

    /// What was computed for the next drawing.
    pub fn memo(&self) -> &Memo {
        &self.memo
    }

    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How the screen is to be.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The name of the focused pane.
    pub fn focused(&self) -> &'static str {
        let wanted = self.focus[self.screen as usize];
        let there = self.layout.places.iter().find(|p| p.pane == wanted);
        there.or(self.layout.places.first()).map_or("", |p| p.pane)
    }

    /// The row that is pointed at in a pane: in the focused one at most.
    pub fn row(&self, pane: &str) -> Option<usize> {
        self.row.filter(|_| self.focused() == pane)
    }

    /// By which column a table is sorted, counted on from its first order.
    pub fn sort(&self) -> usize {
        self.sort
    }

    /// What is searched for; also while it is being typed.
    pub fn search(&self) -> &str {
        self.typing.as_deref().unwrap_or(&self.search)
    }

    /// What is being typed.
    pub fn typing(&self) -> Option<&str> {
        self.typing.as_deref()
    }

    /// Whether help is shown.
    pub fn helping(&self) -> bool {
        self.help
    }

    /// Playback: whether it plays and how fast; `None` in a live run.
    pub fn playback(&self) -> Option<(bool, f64)> {
        self.options.playback.map(|_| (self.playing, self.speed))
    }

    /// The line that is shown for some seconds.
    pub fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }

    /// The state of the flame graph.
    pub fn flame(&self) -> &FlameState {
        &self.flame
    }

    /// Where the feed stands.
    pub fn feed_state(&self) -> FeedState {
        self.feed
    }

    /// The present instant of the feed's clock.
    pub fn now(&self) -> At {
        self.now
    }

    /// Whether a user wants to leave.
    pub fn wants_to_quit(&self) -> bool {
        self.quit
    }

    /// What the feed is to do, since this was last asked.
    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// Whether everything is to be painted anew, since this was last asked.
    pub fn take_redraw(&mut self) -> bool {
        std::mem::take(&mut self.redraw)
    }

    /// Whether the process is to be stopped, since this was last asked.
    pub fn take_suspend(&mut self) -> bool {
        std::mem::take(&mut self.suspend)
    }

    /// Shows a line for some seconds.
    pub fn tell(&mut self, text: impl Into<String>, tone: Tone) {
        let seconds = if tone == Tone::Bad { 8 } else { 4 };
        self.message = Some(Message { text: text.into(), tone, until: self.now + Duration::from_secs(seconds) });
    }

    /// Lets time pass: playback moves on, messages go, news are told. True when something
    /// that is drawn has changed.
    pub fn tick(&mut self, workbench: &Workbench, now: At, feed: FeedState) -> bool {
        let passed = now.since_ns(self.now);
        self.now = self.now.max(now);
        let timeline = workbench.timeline();
        let mut changed = self.feed != feed;
        self.feed = feed;
        if let (true, Cursor::Pinned(at)) = (self.options.playback.is_some() && self.playing, self.cursor) {
            let moved = at.moved((passed as f64 * self.speed) as i64);
            let end = timeline.end();
            if moved < end {
                self.cursor = Cursor::Pinned(moved);
                self.axis_end = self.axis_end.max(moved);
                changed |= passed > 0;
            } else if feed == FeedState::Live {
                self.cursor = Cursor::Follow;
                changed = true;
            } else if feed == FeedState::Ended {
                self.cursor = Cursor::Pinned(end.max(at.min(end)));
                self.axis_end = end;
                self.playing = false;
                changed = true;
            }
        }
        if self.message.as_ref().is_some_and(|m| m.until <= self.now) {
            self.message = None;
            changed = true;
        }
        self.tell_news(workbench);
        changed
    }

    /// Says what became of a capture, and which fault came up, when it happens.
    fn tell_news(&mut self, workbench: &Workbench) {
        let timeline = workbench.timeline();
        let captures: usize = timeline.captures().map(|(_, news)| news.len()).sum();
        let faults = timeline.faults().len();
        if self.options.playback.is_none() {
            if faults > self.faults_seen
                && let Some(f) = timeline.faults().last()
            {
                let mend = f.mend.as_ref().map_or(String::new(), |m| format!("; {m}"));
                self.tell(format!("{}: {}{mend}", f.place, f.what), Tone::Bad);
            }
            if captures > self.captures_seen {
                let latest =
                    timeline.captures().filter_map(|(id, news)| Some((id, news.last()?))).max_by_key(|(_, n)| n.at);
                if let Some((id, news)) = latest {
                    match &news.state {
                        CaptureState::Done { samples, lost, .. } => {
                            let lost = if *lost > 0 { format!(", {lost} lost") } else { String::new() };
                            self.tell(format!("capture {}: {samples} samples{lost}; 5 shows them", id.0), Tone::Plain);
                        }
                        CaptureState::Failed { what, mend } => {
                            let mend = mend.as_ref().map_or(String::new(), |m| format!("; {m}"));
                            self.tell(format!("capture {}: {what}{mend}", id.0), Tone::Bad);
                        }
                        CaptureState::Sampling { .. } | CaptureState::Reading => {}
                    }
                }
            }
        }
        (self.captures_seen, self.faults_seen) = (captures, faults);
    }

    /// Lays out the screen for a window and computes what its panes need. To be called
    /// before each drawing.
    pub fn prepare(&mut self, workbench: &Workbench, window: Rect) {
        let zoomed = self.zoomed.then(|| self.focused()).filter(|p| !p.is_empty());
        let chips = self.chips_shown();
        self.layout = Layout::new(window, self.screen, zoomed, chips);
        let (edge, moving) = self.edge(workbench);
        let mut needs = Needs::default();
        for place in &self.layout.places {
            if let Some(pane) = panes::find(place.pane) {
                needs.add(pane.needs(place.inner.width, place.inner.height));
            }
        }
        let view = View {
            timeline: workbench.timeline(),
            cursor: self.cursor,
            selection: &self.selection,
            window_ns: self.window_ns,
        };
        self.memo.prepare(workbench, &view, edge, moving, &needs);
    }

    /// Whether the line that says what is selected is shown.
    pub fn chips_shown(&self) -> bool {
        self.selection != Selection::default() || !self.search.is_empty()
    }

    /// The right edge of the time axes, and whether it moves with the latest event.
    fn edge(&self, workbench: &Workbench) -> (At, bool) {
        let timeline = workbench.timeline();
        match self.cursor {
            Cursor::Pinned(at) => (self.axis_end.max(at), false),
            Cursor::Follow if self.feed == FeedState::Ended || timeline.closing().is_some() => (timeline.end(), false),
            Cursor::Follow => {
                // The tick under way would read as a dip.
                let tick = crate::model::Interval::TICK_NS;
                (At(timeline.end().0.saturating_sub(tick / 2) / tick * tick), true)
            }
        }
    }

    /// The contexts in which keys count now, the narrowest first.
    pub fn contexts(&self) -> Vec<Context> {
        let run = if self.options.playback.is_some() { Context::Playback } else { Context::Live };
        let mut all = vec![run, Context::Everywhere];
        if self.focused() == "flame" && !self.help {
            all.insert(0, Context::Flame);
        }
        all
    }

    /// What a key asks for.
    pub fn key(&self, key: &KeyEvent) -> Option<Action> {
        if self.typing.is_some() {
            let plain = (key.modifiers - KeyModifiers::SHIFT).is_empty();
            match key.code {
                KeyCode::Char(c) if plain => return Some(Action::Type(c)),
                KeyCode::Backspace => return Some(Action::Erase),
                KeyCode::Enter => return Some(Action::Open),
                KeyCode::Esc => return Some(Action::Back),
                _ => {}
            }
        }
        keymap::lookup(key, &self.contexts()).cloned()
    }

    /// What the mouse asks for.
    pub fn mouse(&self, mouse: &MouseEvent, workbench: &Workbench) -> Option<Action> {
        let place = self.layout.pane_at(mouse.column, mouse.row);
        let scene = Scene::new(self, workbench);
        let instant = |name: &str, column: u16| -> Option<At> {
            let place = self.layout.places.iter().find(|p| p.pane == name)?;
            let area = panes::find(name)?.time_area(&scene, place.inner.width, place.inner.height)?;
            let x = column.saturating_sub(place.inner.x + area.x).min(area.width.saturating_sub(1));
            Some(scene.axis(usize::from(area.width)).at(usize::from(x)))
        };
        match mouse.kind {
            MouseEventKind::ScrollDown => Some(Action::Row(1)),
            MouseEventKind::ScrollUp => Some(Action::Row(-1)),
            MouseEventKind::Down(MouseButton::Left) => {
                let place = place?;
                let (x, y) = (mouse.column.checked_sub(place.inner.x), mouse.row.checked_sub(place.inner.y));
                let (Some(x), Some(y)) = (x, y) else { return Some(Action::Focus(place.pane)) };
                let pane = panes::find(place.pane)?;
                let area = pane.time_area(&scene, place.inner.width, place.inner.height);
                if area.is_some_and(|a| a.contains((x, y).into())) {
                    return instant(place.pane, mouse.column).map(|at| Action::Grab(place.pane, at));
                }
                if place.pane == "flame" {
                    return Some(Action::FrameAt(x, y));
                }
                if let Some(n) = pane.row_at(&scene, y, place.inner.height) {
                    return Some(Action::RowAt(place.pane, n));
                }
                Some(Action::Focus(place.pane))
            }
            MouseEventKind::Drag(MouseButton::Left) => {
                let from = self.drag?;
                let to = instant(self.focused(), mouse.column)?;
                Some(Action::SelectSpan(Span::new(from, to)))
            }
            _ => None,
        }
    }

    /// Carries out an action: the only way the state of the screen changes by a user.
    pub fn act(&mut self, action: Action, workbench: &Workbench) {
        let end = workbench.timeline().end();
        match action {
            Action::Quit => self.quit = true,
            Action::Redraw => self.redraw = true,
            Action::Suspend => self.suspend = true,
            Action::Show(screen) => {
                (self.screen, self.zoomed, self.row, self.help) = (screen, false, None, false);
            }
            Action::Help => self.help = !self.help,
            Action::NextPane => self.step_focus(1),
            Action::PreviousPane => self.step_focus(-1),
            Action::Focus(pane) => {
                self.set_focus(pane);
                self.drag = None;
            }
            Action::Grab(pane, at) => {
                self.set_focus(pane);
                self.drag = Some(at);
            }
            Action::Zoom => self.zoomed = !self.zoomed,
            Action::Back => self.back(),
            Action::Open => self.open(workbench),
            Action::Search => self.typing = Some(String::new()),
            Action::Type(c) => {
                if let Some(t) = self.typing.as_mut().filter(|t| t.chars().count() < 120) {
                    t.push(c);
                }
            }
            Action::Erase => {
                if let Some(t) = &mut self.typing {
                    t.pop();
                }
            }
            Action::Capture => {
                self.commands.push(Command::Capture { length: self.options.capture_length });
            }
            Action::Mark => {
                let n = workbench.timeline().marks().len() + 1;
                self.commands.push(Command::Mark(format!("mark {n}")));
                self.tell(format!("mark {n} at {}", scene_clock(end)), Tone::Plain);
            }
            Action::Row(by) => self.step_row(by, workbench),
            Action::RowAt(pane, n) => {
                self.set_focus(pane);
                self.row = Some(n);
            }
            Action::Scrub(steps) => self.scrub(i64::from(steps) * self.step(), end),
            Action::Page(by) => self.scrub(i64::from(by) * (self.window_ns / 2) as i64, end),
            Action::ScrubTo(at) => self.pin(at, end),
            Action::First => self.pin(At::START, end),
            Action::Follow => {
                self.anchor = None;
                if self.options.playback.is_some() && self.feed != FeedState::Live {
                    self.pin(end, end);
                } else {
                    self.cursor = Cursor::Follow;
                }
            }
            Action::HoldOrFollow => match self.cursor {
                Cursor::Follow => self.pin(end, end),
                Cursor::Pinned(_) => self.cursor = Cursor::Follow,
            },
            Action::PlayPause => {
                if self.cursor == Cursor::Follow {
                    self.pin(end, end);
                    self.playing = false;
                } else {
                    // At the end, play means from the start again.
                    if !self.playing && self.feed == FeedState::Ended && self.cursor == Cursor::Pinned(end) {
                        self.pin(At::START, end);
                    }
                    self.playing = !self.playing;
                }
            }
            Action::Speed(by) => {
                self.speed = step_in(&SPEEDS, self.speed, by);
                self.tell(format!("playback {}×", self.speed), Tone::Plain);
            }
            Action::Select(steps) => {
                let from = match (self.anchor, self.cursor) {
                    (Some(a), _) => a,
                    (None, Cursor::Pinned(at)) => at,
                    (None, Cursor::Follow) => self.edge(workbench).0,
                };
                if self.cursor == Cursor::Follow {
                    self.pin(from, end);
                }
                self.anchor = Some(from);
                self.scrub(i64::from(steps) * self.step(), end);
                self.anchor = Some(from);
                if let Cursor::Pinned(at) = self.cursor {
                    self.selection.span = Some(Span::new(from, at)).filter(|s| !s.is_empty());
                }
            }
            Action::SelectSpan(span) => {
                self.selection.span = Some(span).filter(|s| !s.is_empty());
                if self.cursor == Cursor::Follow && self.options.playback.is_none() {
                    // What was selected must not scroll away under the mouse.
                    let edge = self.edge(workbench).0;
                    self.pin(edge, end);
                }
            }
            Action::Narrow(to) => self.narrow(to, end),
            Action::Stretch(by) => {
                let windows = WINDOWS_S.map(|s| s as f64);
                self.window_ns = step_in(&windows, self.window_ns as f64 / 1e9, by) as u64 * 1_000_000_000;
                if let Cursor::Pinned(at) = self.cursor {
                    self.keep_in_sight(at, end);
                }
            }
            Action::Sort => self.sort += 1,
            Action::Frame(way) => {
                if let Some(graph) = &self.memo.flame {
                    self.flame.step(graph, way);
                }
            }
            Action::FrameAt(x, y) => {
                self.set_focus("flame");
                let place = self.layout.places.iter().find(|p| p.pane == "flame").copied();
                if let (Some(graph), Some(place)) = (&self.memo.flame, place) {
                    self.flame.point(graph, x, y, place.inner.width, place.inner.height);
                }
            }
        }
    }

    fn step(&self) -> i64 {
        i64::try_from(axis::step_ns(self.window_ns)).unwrap_or(i64::MAX)
    }

    /// Moves the cursor by so many nanoseconds.
    fn scrub(&mut self, by_ns: i64, end: At) {
        let from = match self.cursor {
            Cursor::Follow => end,
            Cursor::Pinned(at) => at,
        };
        let to = from.moved(by_ns);
        let live = self.options.playback.is_none() || self.feed == FeedState::Live;
        if to >= end && live && by_ns > 0 {
            self.cursor = Cursor::Follow;
            self.anchor = None;
        } else {
            self.pin(to, end);
        }
    }

    fn pin(&mut self, at: At, end: At) {
        let at = at.min(end);
        if self.cursor == Cursor::Follow {
            self.axis_end = end;
        }
        self.cursor = Cursor::Pinned(at);
        self.anchor = None;
        self.keep_in_sight(at, end);
    }

    /// Moves the axes just so far that the cursor has some room on both sides.
    fn keep_in_sight(&mut self, at: At, end: At) {
        let margin = self.window_ns / 10;
        let left_most = At(self.axis_end.0.saturating_sub(self.window_ns).saturating_add(margin));
        if at > self.axis_end {
            self.axis_end = at;
        } else if at < left_most {
            self.axis_end = At(at.0.saturating_add(self.window_ns - margin));
        }
        self.axis_end = self.axis_end.min(end.max(at));
    }

    fn narrow(&mut self, to: Narrow, end: At) {
        let s = &mut self.selection;
        match to {
            Narrow::Route(r) => s.route = if s.route.as_ref() == Some(&r) { None } else { Some(r) },
            Narrow::Cpu(n) => s.cpu = if s.cpu == Some(n) { None } else { Some(n) },
            Narrow::Process(n) => s.process = if s.process == Some(n) { None } else { Some(n) },
            Narrow::Symbol(name) => {
                let same = s.symbol.as_ref() == Some(&name);
                s.symbol = if same { None } else { Some(name) };
            }
            Narrow::Span(span) => {
                s.span = Some(span);
                self.pin(span.to, end);
            }
            Narrow::At(at) => self.pin(at, end),
        }
    }

    fn step_focus(&mut self, by: isize) {
        let n = self.layout.places.len() as isize;
        if n == 0 {
            return;
        }
        let at = self.layout.places.iter().position(|p| p.pane == self.focused()).unwrap_or(0) as isize;
        let next = (at + by).rem_euclid(n) as usize;
        self.set_focus(self.layout.places[next].pane);
    }

    fn set_focus(&mut self, pane: &'static str) {
        if self.focused() != pane {
            (self.row, self.sort) = (None, 0);
        }
        self.focus[self.screen as usize] = pane;
    }

    fn step_row(&mut self, by: i32, workbench: &Workbench) {
        let scene = Scene::new(self, workbench);
        let rows = panes::find(self.focused()).map_or(0, |p| p.rows(&scene));
        self.row = match (rows.checked_sub(1), self.row) {
            (None, _) => None,
            (Some(_), None) => Some(0),
            (Some(_), Some(0)) if by < 0 => None,
            (Some(last), Some(n)) => Some(n.saturating_add_signed(by as isize).min(last)),
        };
    }

    /// Enter: what is typed is taken, a frame is zoomed into, a row narrows, else the pane
    /// is zoomed.
    fn open(&mut self, workbench: &Workbench) {
        if let Some(typed) = self.typing.take() {
            self.search = typed;
            return;
        }
        if self.help {
            self.help = false;
            return;
        }
        let name = self.focused();
        if name == "flame" {
            if let Some(graph) = &self.memo.flame {
                self.flame.zoom(graph);
            }
            return;
        }
        let scene = Scene::new(self, workbench);
        let asked = self.row.and_then(|n| panes::find(name)?.open(&scene, n));
        match asked {
            Some(to) => self.narrow(to, workbench.timeline().end()),
            None => self.zoomed = !self.zoomed,
        }
    }

    /// One step back, the latest first.
    fn back(&mut self) {
        if self.help {
            self.help = false;
        } else if self.typing.take().is_some() {
        } else if self.focused() == "flame" && self.flame.out() {
        } else if self.zoomed {
            self.zoomed = false;
        } else if self.row.take().is_some() {
        } else if self.selection != Selection::default() {
            (self.selection, self.anchor) = (Selection::default(), None);
        } else if !self.search.is_empty() {
            self.search.clear();
        } else {
            self.message = None;
        }
    }
}

fn scene_clock(at: At) -> String {
    super::scene::clock(at)
}

/// The entry of a list that is `by` further than the one nearest to `now`.
fn step_in(list: &[f64], now: f64, by: i32) -> f64 {
    let near = |a: &f64| (a.ln() - now.max(f64::MIN_POSITIVE).ln()).abs();
    let at = (0..list.len()).min_by(|a, b| near(&list[*a]).total_cmp(&near(&list[*b]))).unwrap_or(0);
    list[at.saturating_add_signed(by as isize).min(list.len() - 1)]
}
