//! `perfbench play FILE`: the screen over a recorded session.
//!
//! Must not: change the file.

use super::args::{PlayArgs, ScreenArgs};
use super::{Failure, failed, usage};
use crate::model::At;
use crate::ui;
use crate::workbench::{Playback, Workbench};
use anyhow::anyhow;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

/// Shows a session.
pub(super) fn play(args: &PlayArgs) -> Result<(), Failure> {
    let mut playback = Playback::open(&args.file).map_err(usage)?;
    if !has_terminal() {
        let file = args.file.display();
        return Err(usage(anyhow!("there is no terminal to draw on; try `perfbench report {file}`")));
    }
    let at = args.at.map(|d| At::START + d);
    let against = match &args.against {
        Some(file) => Some(Arc::new(Playback::load(file).map_err(usage)?.into_timeline())),
        None => None,
    };
    if against.as_ref().is_some_and(|t| t.profile().is_empty()) {
        let file = args.against.as_deref().unwrap_or(Path::new("")).display().to_string();
        return Err(usage(anyhow!("--against {}: that session has no stacks", crate::model::clean(&file, 200))));
    }
    let options = options(&args.screen, Some(ui::Playback { speed: args.speed, at }));
    let options = ui::Options { against, ..options };
    left(ui::run(&mut Workbench::new(), &mut playback, options).map_err(failed)?)
}

/// What it means that the screen was left so.
pub(super) fn left(exit: ui::Exit) -> Result<(), Failure> {
    match exit {
        ui::Exit::Signal(number) => Err(Failure::Signal(number)),
        ui::Exit::Quit | ui::Exit::Ended | ui::Exit::TerminalGone => Ok(()),
    }
}

/// Whether there is a terminal to draw on and to read keys from: standard input may be a log.
pub(super) fn has_terminal() -> bool {
    std::io::stdout().is_terminal() && (std::io::stdin().is_terminal() || std::fs::File::open("/dev/tty").is_ok())
}

/// What the screen is told by the command line and the environment.
pub(super) fn options(screen: &ScreenArgs, playback: Option<ui::Playback>) -> ui::Options {
    let set = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    // https://no-color.org: set and not empty.
    let theme = ui::Theme::pick(&screen.theme, set("NO_COLOR").is_some()).unwrap_or_default();
    let depth = ui::Depth::of_terminal(&set("TERM").unwrap_or_default(), &set("COLORTERM").unwrap_or_default());
    ui::Options { theme: theme.with_depth(depth), ascii: screen.ascii, playback, ..ui::Options::default() }
}
