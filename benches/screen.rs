//! What the screen costs: milliseconds a frame, layout and diff included, of every screen
//! at three sizes over a session of an hour that goes on. `cargo bench --bench screen`.
//!
//! Must not: print a figure it did not measure.

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use perfbench::model::At;
use perfbench::ui::action::{Action, Screen};
use perfbench::ui::{self, App, Options};
use perfbench::workbench::{FeedState, Workbench};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Rect;
use std::time::{Duration, Instant};
use synthetic::{Plan, Synthetic};

const FRAMES: u32 = 200;

fn main() {
    let mut session = Synthetic::new(Plan { cpus: 8, ..Plan::default() });
    let mut workbench = Workbench::new();
    let folded = Instant::now();
    while session.now() < At(3600 * 1_000_000_000) {
        session.next_tick().into_iter().for_each(|e| workbench.ingest(e));
    }
    println!("one hour made and folded in {:.1} s", folded.elapsed().as_secs_f64());
    println!("{:<10} {:>8} {:>10} {:>10} {:>14}", "screen", "size", "ms/frame", "worst ms", "% core at 10/s");
    let mut dearest = 0.0f64;
    for (window_s, stretches) in [("60 s", 0), ("1 h", 5)] {
        println!("window {window_s}");
        for screen in Screen::ALL {
            for (width, height) in [(80, 24), (120, 36), (200, 60)] {
                let mut app = App::new(Options::default());
                app.act(Action::Show(screen), &workbench);
                app.act(Action::Stretch(stretches), &workbench);
                let mut terminal =
                    Terminal::new(TestBackend::new(width, height)).expect("a test backend does not fail");
                let (mut spent, mut worst) = (Duration::ZERO, Duration::ZERO);
                for frame in 0..FRAMES {
                    // As live: a tick of load every second frame.
                    if frame % 2 == 0 {
                        session.next_tick().into_iter().for_each(|e| workbench.ingest(e));
                    }
                    let began = Instant::now();
                    app.tick(&workbench, session.now(), FeedState::Live);
                    app.prepare(&workbench, Rect::new(0, 0, width, height));
                    terminal
                        .draw(|f| ui::paint(&app, &workbench, f.buffer_mut()))
                        .expect("a test backend does not fail");
                    let took = began.elapsed();
                    // The first frame fills what is kept; it is reported as the worst.
                    worst = worst.max(took);
                    spent += took;
                }
                let ms = spent.as_secs_f64() * 1e3 / f64::from(FRAMES);
                dearest = dearest.max(ms);
                let worst = worst.as_secs_f64() * 1e3;
                println!(
                    "{:<10} {:>8} {ms:>10.3} {worst:>10.1} {:>14.2}",
                    screen.name(),
                    format!("{width}x{height}"),
                    ms
                );
            }
        }
    }
    println!("dearest: {dearest:.3} ms/frame, {dearest:.2} % of one core at 10 frames a second");
}
