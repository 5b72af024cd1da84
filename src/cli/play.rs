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

/// Shows a session.
pub(super) fn play(args: &PlayArgs) -> Result<(), Failure> {
    let mut playback = Playback::open(&args.file).map_err(usage)?;
    if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) {
        let file = args.file.display();
        return Err(usage(anyhow!("there is no terminal to draw on; try `perfbench report {file}`")));
    }
    let at = args.at.map(|d| At::START + d);
    let options = options(&args.screen, Some(ui::Playback { speed: args.speed, at }));
    ui::run(&mut Workbench::new(), &mut playback, options).map(drop).map_err(failed)
}

/// What the screen is told by the command line and the environment.
pub(super) fn options(screen: &ScreenArgs, playback: Option<ui::Playback>) -> ui::Options {
    // https://no-color.org: set and not empty.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let truecolor = std::env::var("COLORTERM").is_ok_and(|v| v == "truecolor" || v == "24bit");
    ui::Options {
        theme: ui::Theme::pick(screen.theme.as_str(), no_color, truecolor),
        ascii: screen.ascii,
        playback,
        ..ui::Options::default()
    }
}
