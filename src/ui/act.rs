//! Carrying out actions: the only way a user changes the state of the screen.
//!
//! Must not: draw, or know which key asked.

use super::action::{Action, Look, Narrow, Screen};
use super::app::{App, Tone};
use super::axis;
use super::keymap::KEYMAP;
use super::memo::steady;
use super::panes;
use super::profile_state::Held;
use super::scene::{Scene, clock};
use crate::model::{At, Mark, MarkKind, Span, clean};
use crate::timeline::stacks::{Pattern, Ring};
use crate::timeline::{Band, Cursor, Selection};
use crate::workbench::{Command, FeedState, Workbench};

/// The stretches of time there are to choose from, s.
const WINDOWS_S: [u64; 9] = [10, 20, 30, 60, 120, 300, 600, 1800, 3600];
/// By how much a key changes what is offered; the other key takes exactly that back.
const RATE_STEP: f64 = 1.1;
/// What stacks of soft interrupts hold: `handle_softirqs`, before Linux 6.9 `__do_softirq`
/// (kernel/softirq.c).
const SOFTIRQ: &str = "softirq";
/// The speeds of playback there are to choose from.
const SPEEDS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

impl App {
    /// Carries out an action: the only way the state of the screen changes by a user.
    pub fn act(&mut self, action: Action, workbench: &Workbench) {
        let end = workbench.timeline().end();
        // An answer to the step before this one.
        self.message.take_if(|m| m.is_answer);
        match action {
            Action::Quit => self.quit = true,
            Action::Redraw => self.redraw = true,
            Action::Suspend => self.suspend = true,
            Action::Show(screen) => self.act_show(screen),
            Action::Help => (self.help, self.help_row) = (!self.help, 0),
            Action::NextPane => self.step_focus(1),
            Action::PreviousPane => self.step_focus(-1),
            Action::Focus(pane) => {
                self.set_focus(pane);
                self.drag = None;
            }
            Action::Grab(pane, at, y) => {
                self.set_focus(pane);
                self.drag = Some((at, y));
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
                let by_hand = |m: &&Mark| m.kind == MarkKind::User;
                let n = workbench.timeline().marks().iter().filter(by_hand).count() + 1;
                self.commands.push(Command::Mark(format!("mark {n}")));
                self.answer(format!("mark {n} at {}", clock(end)));
            }
            Action::Rate(by) => self.commands.push(Command::Rate { factor: RATE_STEP.powi(by) }),
            Action::PauseLoad => self.commands.push(Command::Pause),
            Action::Row(by) if self.help => {
                self.help_row = self.help_row.saturating_add_signed(by as isize).min(KEYMAP.len());
            }
            Action::Row(by) => self.step_row(by, workbench),
            Action::RowAt(pane, n) => {
                self.set_focus(pane);
                self.row = Some(n);
            }
            Action::Scrub(steps) => self.scrub(i64::from(steps) * self.step(), end),
            Action::Page(by) if self.help => {
                self.help_row = self.help_row.saturating_add_signed(by as isize * 15).min(KEYMAP.len());
            }
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
                self.answer(format!("playback {}×", self.speed));
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
            Action::SelectCells(span, band) => {
                self.act(Action::SelectSpan(span), workbench);
                self.selection.band = Some(band);
            }
            Action::Narrow(to) => self.narrow(to, end),
            Action::Stretch(by) => {
                self.window_grows = false;
                let windows = WINDOWS_S.map(|s| s as f64);
                self.window_ns = step_in(&windows, self.window_ns as f64 / 1e9, by) as u64 * 1_000_000_000;
                if let Cursor::Pinned(at) = self.cursor {
                    self.keep_in_sight(at, end);
                }
            }
            Action::Look(look) => self.look(look, workbench),
            Action::Only => {
                let Some(graph) = &self.memo.stacks.flame else { return };
                let node = graph.node(self.flame.at(graph));
                let to = match (node.depth, node.thread) {
                    (0, _) => return,
                    (_, true) => Narrow::Thread(node.symbol.clone()),
                    (_, false) => Narrow::Symbol(node.symbol.to_string()),
                };
                self.narrow(to, end);
            }
            Action::Ring => {
                self.selection.ring = match self.selection.ring {
                    None => Some(Ring::Kernel),
                    Some(Ring::Kernel) => Some(Ring::User),
                    Some(Ring::User) => None,
                }
            }
            Action::Slow => match self.selection.band.take() {
                Some(_) if self.selection.span.is_none() => {
                    (self.profile.rest, self.profile.against) = (false, self.compares_by_itself());
                }
                Some(_) => {}
                None if self.memo.focus.response.count == 0 => {
                    self.answer("no response in this stretch, so none was slow");
                }
                None => {
                    let low_ns = self.memo.focus.response.p99;
                    self.selection.band = Some(Band { low_ns, high_ns: u64::MAX });
                }
            },
            Action::Sort => self.sort += 1,
            Action::Frame(way) => {
                if let Some(graph) = &self.memo.stacks.flame {
                    self.flame.step(graph, way, self.profile.upward);
                }
            }
            Action::FrameAt(x, y) => {
                self.set_focus("flame");
                let place = self.layout.places.iter().find(|p| p.pane == "flame").copied();
                if let (Some(graph), Some(place)) = (&self.memo.stacks.flame, place) {
                    self.flame.point(graph, (x, y), (place.inner.width, place.inner.height), self.profile.upward);
                }
            }
        }
    }

    fn act_show(&mut self, screen: Screen) {
        self.screen_chosen = true;
        (self.screen, self.zoomed, self.row, self.help) = (screen, false, None, false);
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

    fn look(&mut self, look: Look, workbench: &Workbench) {
        if workbench.timeline().profile().is_empty() {
            let why =
                if self.options.playback.is_some() { "this session has no stacks" } else { "there are no stacks yet" };
            return self.answer(why);
        }
        let by_itself = self.compares_by_itself();
        let p = &mut self.profile;
        match look {
            Look::SampleType => {
                let types = workbench.timeline().profile().sample_types();
                p.next_type(&types);
                if types.len() < 2 {
                    self.answer("the session has one sample type; --off-cpu and --pprof bring others");
                }
            }
            Look::Hold => self.hold(workbench),
            Look::Rest if p.rest => p.rest = false,
            Look::Against if by_itself => p.against = !p.against,
            Look::Rest | Look::Against if self.selection.span.is_none() && self.selection.band.is_none() => {
                self.answer("select a stretch of time first (⇧←→), or slow requests (w)");
            }
            Look::Rest => (p.rest, p.against) = (!p.rest, false),
            Look::Against => (p.rest, p.against) = (false, !p.against),
            Look::Upward => p.upward = !p.upward,
            Look::Merged => p.merged = !p.merged,
            Look::ByLine => p.by_line = !p.by_line,
        }
    }

    /// Whether stacks are shown as a difference without having been asked for: to another session.
    fn compares_by_itself(&self) -> bool {
        self.options.against.is_some() && self.profile.held.is_none()
    }

    /// Keeps what is selected as what the next selection is compared with, or nothing any more.
    fn hold(&mut self, workbench: &Workbench) {
        let Selection { span, band, .. } = self.selection;
        // Captures alone have no present stretch that slow requests could be of.
        let is_selected = span.is_some() || band.is_some() && workbench.timeline().profile().is_recorded_throughout();
        let selected = Held { span: steady(&self.view(workbench)), band };
        let had = self.profile.held.take();
        let is_kept = |h: Held| h.band == band && span.is_none_or(|s| s == h.span);
        if is_selected && !had.is_some_and(is_kept) {
            self.profile.held = Some(selected);
            self.answer(format!("{} is kept: select another stretch, v compares them", selected.name()));
        } else if had.is_some() {
            self.answer("nothing is kept to compare with");
        } else {
            self.answer("select a stretch of time first (⇧←→), or slow requests (w)");
        }
        (self.profile.rest, self.profile.against) = (false, self.compares_by_itself());
    }

    fn narrow(&mut self, to: Narrow, end: At) {
        fn toggle<T: PartialEq>(now: &mut Option<T>, to: T) {
            *now = if now.as_ref() == Some(&to) { None } else { Some(to) };
        }
        let s = &mut self.selection;
        match to {
            Narrow::Route(r) => toggle(&mut s.route, r),
            Narrow::Cpu(n) => toggle(&mut s.cpu, n),
            Narrow::Process(n) => toggle(&mut s.process, n),
            Narrow::Thread(name) => toggle(&mut s.thread, name),
            Narrow::Symbol(name) => toggle(&mut s.symbol, name),
            Narrow::Band(band) => toggle(&mut s.band, band),
            Narrow::Softirq(n) => {
                (s.cpu, s.symbol) = (Some(n), Some(SOFTIRQ.into()));
                self.act_show(Screen::Profile);
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
            if !typed.is_empty() && !is_found(&typed, workbench) {
                self.tell(format!("`{}` is found in no route and no symbol", clean(&typed, 40)), Tone::Bad);
            }
            if !typed.is_empty() && workbench.timeline().profile().has(&Pattern::new(&typed)) {
                self.profile.remember(&typed);
            }
            self.search = typed;
            return;
        }
        if self.help {
            self.help = false;
            return;
        }
        let name = self.focused();
        if name == "flame" {
            if let Some(graph) = &self.memo.stacks.flame {
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
        } else if self.typing.take().is_some() || (self.focused() == "flame" && self.flame.out()) {
            // Taking it back was the step.
        } else if self.zoomed {
            self.zoomed = false;
        } else if self.row.take().is_some() {
        } else if self.selection != Selection::default() {
            (self.selection, self.anchor) = (Selection::default(), None);
            (self.profile.rest, self.profile.against) = (false, self.compares_by_itself());
        } else if !self.search.is_empty() {
            self.search.clear();
        } else if self.profile.held.take().is_some() {
            self.profile.against = self.compares_by_itself();
        } else {
            self.message = None;
        }
    }
}

/// Whether a route or a symbol of the session holds what was searched for, by the rules by which
/// panes look for it.
fn is_found(text: &str, workbench: &Workbench) -> bool {
    let timeline = workbench.timeline();
    let (lower, pattern) = (text.to_lowercase(), Pattern::new(text));
    timeline.load().routes(timeline.whole()).iter().any(|r| r.route.to_lowercase().contains(&lower))
        || timeline.profile().has(&pattern)
}

/// The entry of a list that is `by` further than the one nearest to `now`.
fn step_in(list: &[f64], now: f64, by: i32) -> f64 {
    let near = |a: &f64| (a.ln() - now.max(f64::MIN_POSITIVE).ln()).abs();
    let at = (0..list.len()).min_by(|a, b| near(&list[*a]).total_cmp(&near(&list[*b]))).unwrap_or(0);
    list[at.saturating_add_signed(by as isize).min(list.len() - 1)]
}
