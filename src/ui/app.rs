//! The state of the screen. Keys and mouse are turned into actions here; [`App::act`], in its
//! own file, carries them out.
//!
//! Must not: draw, read keys or clocks, or talk to a feed; what a feed is to do is left in
//! [`App::take_commands`].

use super::action::{Action, Narrow, Screen};
use super::flame_state::FlameState;
use super::keymap::{self, Context};
use super::layout::Layout;
use super::memo::{Memo, Needs};
use super::panes;
use super::profile_state::ProfileState;
use super::scene::Scene;
use super::stack_memo::ProfileLook;
use super::theme::Theme;
use crate::model::{At, CaptureState, MarkKind, Span};
use crate::timeline::{Cursor, Selection, Timeline, View};
use crate::workbench::{Command, FeedState, Workbench};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;
use std::sync::Arc;
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
    /// A session that the stacks are compared with.
    pub against: Option<Arc<Timeline>>,
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
            against: None,
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
    /// Whether it answers a step of the user: the next step takes it away.
    pub is_answer: bool,
}

/// The state of the screen.
#[derive(Debug)]
pub struct App {
    pub(super) options: Options,
    pub(super) screen: Screen,
    pub(super) cursor: Cursor,
    /// Right edge of the time axes while the cursor is held; the cursor moves within.
    pub(super) axis_end: At,
    pub(super) selection: Selection,
    pub(super) anchor: Option<At>,
    pub(super) window_ns: u64,
    /// Whether the window grows with the session, until the user sets it.
    pub(super) window_grows: bool,
    pub(super) focus: [&'static str; 6],
    pub(super) zoomed: bool,
    pub(super) row: Option<usize>,
    pub(super) sort: usize,
    pub(super) search: String,
    pub(super) typing: Option<String>,
    /// Whether the screen was chosen: by a user, or by what the session holds.
    pub(super) screen_chosen: bool,
    pub(super) help: bool,
    /// The first line of the help that is shown.
    pub(super) help_row: usize,
    pub(super) playing: bool,
    /// Whether a session that is still being recorded was caught up with, once.
    pub(super) joined: bool,
    pub(super) speed: f64,
    pub(super) message: Option<Message>,
    pub(super) flame: FlameState,
    pub(super) profile: ProfileState,
    pub(super) feed: FeedState,
    pub(super) now: At,
    /// Where a drag began: the instant, and the line of the pane.
    pub(super) drag: Option<(At, u16)>,
    pub(super) layout: Layout,
    pub(super) memo: Memo,
    pub(super) commands: Vec<Command>,
    pub(super) quit: bool,
    pub(super) redraw: bool,
    pub(super) suspend: bool,
    pub(super) captures_seen: usize,
    pub(super) faults_seen: usize,
    pub(super) marks_seen: usize,
}

/// The windows that the time axes go through by themselves while a session is young, s: in
/// its first minute it should fill them.
const YOUNG_WINDOWS_S: [u64; 4] = [10, 20, 30, 60];

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
            window_ns: YOUNG_WINDOWS_S[0] * 1_000_000_000,
            window_grows: true,
            focus: [""; 6],
            zoomed: false,
            row: None,
            sort: 0,
            search: String::new(),
            typing: None,
            screen_chosen: false,
            help: false,
            help_row: 0,
            playing: playback.is_some(),
            joined: playback.is_none_or(|p| p.at.is_some()),
            speed: playback.map_or(1.0, |p| if p.speed.is_finite() { p.speed.clamp(0.01, 1000.0) } else { 1.0 }),
            message: None,
            flame: FlameState::default(),
            profile: ProfileState { against: options.against.is_some(), ..ProfileState::default() },
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
            marks_seen: 0,
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

    /// How the profile is looked at.
    pub fn profile(&self) -> &ProfileState {
        &self.profile
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
        let until = self.now + Duration::from_secs(seconds);
        self.message = Some(Message { text: text.into(), tone, until, is_answer: false });
    }

    /// Answers a step of the user, until the next one.
    pub(super) fn answer(&mut self, text: impl Into<String>) {
        self.tell(text, Tone::Plain);
        self.message.iter_mut().for_each(|m| m.is_answer = true);
    }

    /// Lets time pass: playback moves on, messages go, news are told. True when something
    /// that is drawn has changed.
    pub fn tick(&mut self, workbench: &Workbench, now: At, feed: FeedState) -> bool {
        let passed = now.since_ns(self.now);
        self.now = self.now.max(now);
        let timeline = workbench.timeline();
        let mut changed = self.feed != feed;
        self.feed = feed;
        if feed == FeedState::Ended && !std::mem::replace(&mut self.screen_chosen, true) {
            // A profile alone, as one that was imported: nothing else has anything to show.
            let is_profile = timeline.load().span().is_empty() && !timeline.profile().is_empty();
            if is_profile && timeline.sampling_cost().is_empty() {
                self.screen = Screen::Profile;
                changed = true;
            }
        }
        if !self.joined && feed == FeedState::Live {
            // Played from its start it would stay behind for ever; whoever has stopped it to
            // look at something is left there.
            self.joined = true;
            if self.playing {
                self.cursor = Cursor::Follow;
                changed = true;
            }
        }
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
        changed |= self.grow_window(timeline.end());
        if self.message.as_ref().is_some_and(|m| m.until <= self.now) {
            self.message = None;
            changed = true;
        }
        self.tell_news(workbench);
        changed
    }

    /// Lets the window grow with the session; true when it did.
    fn grow_window(&mut self, end: At) -> bool {
        if !self.window_grows || (self.options.playback.is_none() && self.cursor != Cursor::Follow) {
            return false;
        }
        let [.., longest] = YOUNG_WINDOWS_S;
        let fits = YOUNG_WINDOWS_S.into_iter().find(|s| end.secs() <= *s as f64).unwrap_or(longest);
        let was = std::mem::replace(&mut self.window_ns, fits * 1_000_000_000);
        was != self.window_ns
    }

    /// Says what became of a capture, and which fault came up, when it happens.
    fn tell_news(&mut self, workbench: &Workbench) {
        let timeline = workbench.timeline();
        let captures: usize = timeline.captures().map(|(_, news)| news.len()).sum();
        let faults = timeline.faults().len();
        let marks = timeline.marks().len();
        if self.options.playback.is_none() {
            // Those that a user set were told when the key was pressed.
            if marks > self.marks_seen
                && let Some(m) = timeline.marks().last().filter(|m| m.kind != MarkKind::User)
            {
                self.tell(m.label.clone(), Tone::Plain);
            }
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
        (self.captures_seen, self.faults_seen, self.marks_seen) = (captures, faults, marks);
    }

    /// Lays out the screen for a window and computes what its panes need. To be called
    /// before each drawing.
    pub fn prepare(&mut self, workbench: &Workbench, window: Rect) {
        let zoomed = self.zoomed.then(|| self.focused()).filter(|p| !p.is_empty());
        let chips = self.chips_shown();
        let scene = Scene::new(self, workbench);
        let lines = |pane: &str| panes::find(pane)?.lines(&scene, window.width);
        self.layout = Layout::new(window, self.screen, zoomed, chips, &lines);
        let (edge, moving) = self.edge(workbench);
        let mut needs = Needs::default();
        for place in &self.layout.places {
            if let Some(pane) = panes::find(place.pane) {
                needs.add(pane.needs(place.inner.width, place.inner.height));
            }
        }
        let timeline = workbench.timeline();
        // Field by field: what is computed of it is kept beside it.
        let view = View { timeline, cursor: self.cursor, selection: &self.selection, window_ns: self.window_ns };
        let pointed = self.pointed_symbol(workbench);
        let look = ProfileLook { state: &self.profile, pointed, other: self.options.against.as_deref() };
        self.memo.prepare(workbench, &view, look, edge, moving, &needs);
    }

    /// The symbol that is looked at: the one selected, else the one pointed at, else what is searched.
    fn pointed_symbol(&self, workbench: &Workbench) -> Option<String> {
        if let Some(selected) = &self.selection.symbol {
            return Some(selected.clone());
        }
        let searched = Some(self.search().to_owned()).filter(|s| !s.is_empty());
        match (self.focused(), self.row, &self.memo.stacks.flame) {
            (name @ "symbols", Some(row), _) => match panes::find(name)?.open(&Scene::new(self, workbench), row) {
                Some(Narrow::Symbol(symbol)) => Some(symbol),
                _ => None,
            },
            ("flame", _, Some(graph)) => {
                let node = graph.node(self.flame.at(graph));
                let pointed = (node.depth > 0 && !node.thread).then(|| node.symbol.to_string());
                pointed.or_else(|| searched.clone())
            }
            _ => searched,
        }
    }

    /// Whether the line that says what is selected is shown.
    pub fn chips_shown(&self) -> bool {
        self.selection != Selection::default() || !self.search.is_empty() || self.profile.held.is_some()
    }

    /// The session as it is looked at.
    pub(super) fn view<'a>(&'a self, workbench: &'a Workbench) -> View<'a> {
        let timeline = workbench.timeline();
        View { timeline, cursor: self.cursor, selection: &self.selection, window_ns: self.window_ns }
    }

    /// The right edge of the time axes, and whether it moves with the latest event.
    pub(super) fn edge(&self, workbench: &Workbench) -> (At, bool) {
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
        match self.help {
            true => vec![self.run_context(), Context::Everywhere],
            false => self.contexts_of_screen(),
        }
    }

    /// The contexts of the screen, also while help lies over it.
    pub fn contexts_of_screen(&self) -> Vec<Context> {
        let mut all = vec![self.run_context(), Context::Everywhere];
        if self.screen == Screen::Profile {
            all.insert(0, Context::Profile);
        }
        if self.focused() == "flame" {
            all.insert(0, Context::Flame);
        }
        all
    }

    fn run_context(&self) -> Context {
        if self.options.playback.is_some() { Context::Playback } else { Context::Live }
    }

    /// The first line of the help that is shown, if there are so many.
    pub fn help_row(&self) -> usize {
        self.help_row
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
                    return instant(place.pane, mouse.column).map(|at| Action::Grab(place.pane, at, y));
                }
                if place.pane == "flame" {
                    return Some(Action::FrameAt(x, y));
                }
                if let Some(to) = pane.click(&scene, x, y, place.inner) {
                    return Some(Action::Narrow(to));
                }
                if let Some(n) = pane.row_at(&scene, y, place.inner.height) {
                    return Some(Action::RowAt(place.pane, n));
                }
                Some(Action::Focus(place.pane))
            }
            MouseEventKind::Drag(MouseButton::Left) => {
                let (from, from_y) = self.drag?;
                let pane = self.focused();
                let span = Span::new(from, instant(pane, mouse.column)?);
                let place = self.layout.places.iter().find(|p| p.pane == pane)?;
                let y = mouse.row.saturating_sub(place.inner.y);
                Some(match panes::find(pane)?.band(&scene, from_y.min(y), from_y.max(y)) {
                    Some(band) => Action::SelectCells(span, band),
                    None => Action::SelectSpan(span),
                })
            }
            _ => None,
        }
    }
}
