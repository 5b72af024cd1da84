//! The screen: one instrument over a session, live or played back.
//!
//! [`run`] lets a feed fill the workbench and redraws at most ten times a second. Keys and
//! mouse become an [`action::Action`] by way of the keymap; [`App::act`] alone carries it
//! out. Before each drawing [`App::prepare`] lays out and computes what is new; [`paint`]
//! then changes nothing but the buffer it is given.
//!
//! Must not: read clocks (time comes from the feed), know where events come from, or judge
//! what they mean.

mod act;
pub mod action;
mod app;
mod axis;
mod flame_state;
pub mod keymap;
mod layout;
mod memo;
mod paint;
mod panes;
mod profile_state;
mod scene;
mod stack_memo;
pub mod terminal;
pub mod theme;
mod units;
mod widgets;

pub use app::{App, Message, Options, Playback, Tone};
pub use flame_state::FlameState;
pub use layout::{LEAST, Layout, Place};
pub use memo::{LoadColumn, Memo, Needs, Shape};
pub use paint::paint;
pub use theme::{Depth, THEMES, Theme};

use crate::model::At;
use crate::workbench::{Command, Feed, FeedState, Workbench};
use crossterm::event::{self, Event, KeyEventKind};
use ratatui::Terminal;
use ratatui::backend::{Backend, ClearType, CrosstermBackend};
use std::io;
use std::time::Duration;
use terminal::{Asked, Guard, Input, Screen};
use thiserror::Error;

/// Why the screen could not be shown.
#[derive(Debug, Error)]
pub enum UiError {
    /// Standard output is not a terminal, or it refused to be taken.
    #[error("cannot show the screen: {0}")]
    Terminal(#[from] io::Error),
}

/// How the screen ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The user left.
    Quit,
    /// The run ended, and the screen was to go with it.
    Ended,
    /// SIGTERM, SIGINT or SIGHUP came: its number.
    Signal(u8),
    /// The terminal is gone.
    TerminalGone,
}

/// The time between two redraws at the least, ns: ten a second.
const REDRAW_NS: u64 = 100_000_000;
/// How long the feed may keep a key waiting.
const KEY_WAIT: Duration = Duration::from_millis(25);

/// Shows the screen until the user leaves, the run ends (when asked for), a signal comes or
/// the terminal goes. The terminal is given back on every way out.
///
/// # Errors
/// When standard output is not a terminal. A terminal that goes away later is an [`Exit`].
pub fn run(workbench: &mut Workbench, feed: &mut dyn Feed, options: Options) -> Result<Exit, UiError> {
    let guard = Guard::take()?;
    let (screen, silent) = Screen::new();
    let mut terminal = Terminal::new(CrosstermBackend::new(screen))?;
    let mut app = App::new(options);
    let exit = show(workbench, feed, &mut app, &guard, &mut terminal);
    // The library shows the cursor when dropped and panics where it cannot say that it failed;
    // the guard shows it too.
    silent.store(true, std::sync::atomic::Ordering::Relaxed);
    Ok(exit.unwrap_or(Exit::TerminalGone))
}

/// The loop. An error is the terminal's: nothing else is read or written here.
fn show(
    workbench: &mut Workbench,
    feed: &mut dyn Feed,
    app: &mut App,
    guard: &Guard,
    terminal: &mut Terminal<CrosstermBackend<Screen>>,
) -> io::Result<Exit> {
    let mut drawn: Option<At> = None;
    let mut known = At::START;
    let mut state = FeedState::Live;
    let mut dirty = true;
    let mut last_look = feed.now();
    loop {
        let wait = if state == FeedState::Live { KEY_WAIT } else { Duration::ZERO };
        state = feed.feed(workbench, wait);
        let now = feed.now();
        dirty |= app.tick(workbench, now, state);
        dirty |= known != workbench.timeline().end();
        known = workbench.timeline().end();

        // An ended feed does not wait, so the terminal does.
        let wait = if state == FeedState::Ended { KEY_WAIT } else { Duration::ZERO };
        let mut pressed = guard.resized();
        match guard.input(wait)? {
            Input::Gone => return Ok(Exit::TerminalGone),
            Input::Quiet => {}
            Input::Ready => {
                while !app.wants_to_quit() && event::poll(Duration::ZERO)? {
                    pressed |= take(event::read()?, app, workbench);
                }
            }
        }
        for command in app.take_commands() {
            if let Err(why) = feed.command(command) {
                app.tell(why, Tone::Bad);
            }
        }
        match guard.asked() {
            Some(Asked::End(signal)) => return Ok(Exit::Signal(signal)),
            asked if asked == Some(Asked::Suspend) || app.take_suspend() => {
                guard.suspend()?;
                forget_drawn(terminal)?;
                pressed = true;
            }
            _ => {}
        }
        let looked = feed.now();
        if guard.was_continued() && !feed.is_playback() {
            // A run that has ended takes no mark.
            let _ = feed.command(Command::was_stopped(looked.since_ns(last_look)));
        }
        last_look = looked;
        if app.take_redraw() {
            forget_drawn(terminal)?;
            pressed = true;
        }
        if app.wants_to_quit() {
            return Ok(Exit::Quit);
        }
        if state == FeedState::Ended && app.options().quit_when_ended && !feed.is_playback() {
            return Ok(Exit::Ended);
        }
        let due = drawn.is_none_or(|at| now.since_ns(at) >= REDRAW_NS);
        if pressed || (dirty && due) {
            terminal.autoresize()?;
            let size = terminal.size()?;
            app.prepare(workbench, ratatui::layout::Rect::new(0, 0, size.width, size.height));
            terminal.draw(|frame| paint(app, workbench, frame.buffer_mut()))?;
            (drawn, dirty) = (Some(now), false);
        }
    }
}

/// Clears the screen and what is known of it, so that the next drawing paints everything.
/// Not by the library's own `clear`, which asks the terminal where the cursor is and waits.
fn forget_drawn(terminal: &mut Terminal<CrosstermBackend<Screen>>) -> io::Result<()> {
    terminal.backend_mut().clear_region(ClearType::All)?;
    terminal.swap_buffers();
    Ok(())
}

/// Takes a terminal event in; true when the screen has to be drawn at once.
fn take(event: Event, app: &mut App, workbench: &Workbench) -> bool {
    let action = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => app.key(&key),
        Event::Mouse(mouse) => app.mouse(&mouse, workbench),
        Event::Resize(..) => return true,
        _ => None,
    };
    match action {
        Some(action) => {
            app.act(action, workbench);
            true
        }
        None => false,
    }
}
