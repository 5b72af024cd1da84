//! Shows the screen over a made-up session, to look at it without load or host:
//! `cargo run --example screen [-- SECONDS [THEME [ascii] [play]]]`. It begins SECONDS into the session.
//!
//! Must not: be part of the product.

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use perfbench::clock::Clock;
use perfbench::model::{At, CaptureId, CaptureNews, CaptureState, Event, Mark};
use perfbench::ui::{Depth, Options, Playback, Theme};
use perfbench::workbench::{Command, Feed, FeedState, Workbench};
use std::time::Duration;
use synthetic::{Plan, Synthetic};

struct MadeUp {
    session: Synthetic,
    clock: Clock,
    head_start: u64,
    playback: bool,
    commands: Vec<Event>,
}

impl Feed for MadeUp {
    fn feed(&mut self, into: &mut Workbench, wait: Duration) -> FeedState {
        self.commands.drain(..).for_each(|e| into.ingest(e));
        let mut ticks = 0;
        let most = if self.session.now() == At::START { u64::MAX } else { 100 };
        let until = if self.playback { self.clock.now() } else { self.now() };
        while self.session.now() < until && ticks < most {
            self.session.next_tick().into_iter().for_each(|e| into.ingest(e));
            ticks += 1;
        }
        if ticks == 0 {
            std::thread::sleep(wait);
        }
        match (self.playback, ticks) {
            (true, 0) => FeedState::Ended,
            (true, _) => FeedState::Loading,
            _ => FeedState::Live,
        }
    }

    fn command(&mut self, command: Command) -> Result<(), String> {
        let at = self.session.now();
        match command {
            Command::Capture { length } => {
                let for_ns = length.as_nanos() as u64;
                let state = CaptureState::Sampling { for_ns, hz: 99, how: "made up".into() };
                self.commands.push(Event::Capture(CaptureNews { at, id: CaptureId(9), state }));
                Ok(())
            }
            Command::Mark(label) => {
                self.commands.push(Event::Mark(Mark { at, label }));
                Ok(())
            }
            Command::Stop => Err("a made-up session cannot be stopped".into()),
        }
    }

    fn now(&self) -> At {
        if self.playback { self.clock.now() } else { At(self.clock.now().0 + self.head_start) }
    }

    fn is_playback(&self) -> bool {
        self.playback
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seconds: u64 = args.first().and_then(|s| s.parse().ok()).unwrap_or(75);
    let theme = args.get(1).map_or("default", |s| s.as_str());
    let depth = if args.iter().any(|a| a == "16") { Depth::Sixteen } else { Depth::Indexed };
    let playback = args.iter().any(|a| a == "play");
    let mut feed = MadeUp {
        session: Synthetic::new(Plan { cpus: 4, ..Plan::default() }),
        clock: Clock::start(),
        head_start: seconds * 1_000_000_000,
        playback,
        commands: vec![],
    };
    let options = Options {
        theme: Theme::pick(theme, false)?.with_depth(depth),
        ascii: args.iter().any(|a| a == "ascii"),
        playback: playback.then_some(Playback { speed: 1.0, at: Some(At(20_000_000_000)) }),
        ..Options::default()
    };
    let mut workbench = Workbench::new();
    feed.feed(&mut workbench, Duration::ZERO);
    feed.clock = Clock::start();
    let exit = perfbench::ui::run(&mut workbench, &mut feed, options)?;
    if exit != perfbench::ui::Exit::TerminalGone {
        println!("{exit:?}");
    }
    Ok(())
}
