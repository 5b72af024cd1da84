//! What the screen shows at fixed sizes over a made-up session, and what no input may do.
//!
//! Must not: need a terminal.

mod synthetic;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use perfbench::model::{At, Event, Span};
use perfbench::timeline::Cursor;
use perfbench::ui::action::{Action, Narrow, Screen};
use perfbench::ui::{self, App, Options, Theme};
use perfbench::workbench::{Command, FeedState, Workbench};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::sync::LazyLock;
use synthetic::{Plan, Synthetic};

static SESSION: LazyLock<Vec<Event>> = LazyLock::new(|| Synthetic::upto(Plan::default(), 90));

fn workbench(events: &[Event]) -> Workbench {
    let mut w = Workbench::new();
    events.iter().for_each(|e| w.ingest(e.clone()));
    w
}

fn session() -> &'static Workbench {
    static FOLDED: LazyLock<Workbench> = LazyLock::new(|| workbench(&SESSION));
    &FOLDED
}

fn hostile() -> &'static Workbench {
    static FOLDED: LazyLock<Workbench> =
        LazyLock::new(|| workbench(&Synthetic::upto(Plan { hostile: true, ..Plan::default() }, 80)));
    &FOLDED
}

/// An app that has seen the session, without the messages it told about it.
fn app(w: &Workbench) -> App {
    app_with(w, Options::default())
}

fn app_with(w: &Workbench, options: Options) -> App {
    let mut app = App::new(options);
    app.tick(w, At(90_000_000_000), FeedState::Live);
    app.tick(w, At(120_000_000_000), FeedState::Live);
    app
}

fn draw(app: &mut App, w: &Workbench, width: u16, height: u16) -> Buffer {
    let window = Rect::new(0, 0, width, height);
    app.prepare(w, window);
    let mut buf = Buffer::empty(window);
    ui::paint(app, w, &mut buf);
    buf
}

fn text(buf: &Buffer) -> String {
    let width = usize::from(buf.area.width.max(1));
    let rows = buf.content.chunks(width).map(|row| {
        let mut line = String::new();
        let mut skip = 0;
        for cell in row {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).saturating_sub(1);
            line.push_str(cell.symbol());
        }
        line.trim_end().to_string()
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn press(app: &mut App, w: &Workbench, keys: &[KeyCode]) {
    for code in keys {
        if let Some(action) = app.key(&KeyEvent::new(*code, KeyModifiers::NONE)) {
            app.act(action, w);
        }
    }
}

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 36), (200, 60)];

#[test]
fn every_view_at_every_size() {
    let w = session();
    for screen in Screen::ALL {
        for (width, height) in SIZES {
            let mut app = app(w);
            app.act(Action::Show(screen), w);
            let shown = text(&draw(&mut app, w, width, height));
            insta::assert_snapshot!(format!("{}_{width}x{height}", screen.name()), shown);
        }
    }
}

#[test]
fn an_empty_session_says_what_is_missing_and_shows_no_zero() {
    let w = Workbench::new();
    for screen in Screen::ALL {
        let mut app = App::new(Options::default());
        app.act(Action::Show(screen), &w);
        let shown = text(&draw(&mut app, &w, 120, 36));
        insta::assert_snapshot!(format!("empty_{}", screen.name()), shown);
    }
}

#[test]
fn panes_with_little_to_show_leave_the_findings_their_room() {
    let w = workbench(
        &SESSION.iter().filter(|e| !matches!(e, Event::Capture(_) | Event::Fault(_))).cloned().collect::<Vec<_>>(),
    );
    let mut app = app(&w);
    app.act(Action::Show(Screen::Findings), &w);
    insta::assert_snapshot!("findings_without_captures_80x24", text(&draw(&mut app, &w, 80, 24)));
}

#[test]
fn help_lists_every_key() {
    let w = session();
    let mut app = app(w);
    for (width, height) in SIZES {
        app.act(Action::Help, w);
        let mut shown = text(&draw(&mut app, w, width, height));
        insta::assert_snapshot!(format!("help_{width}x{height}"), shown);
        // What does not fit is scrolled to.
        for _ in 0..4 {
            app.act(Action::Row(10), w);
            shown.push_str(&text(&draw(&mut app, w, width, height)));
        }
        app.act(Action::Help, w);
        for b in ui::keymap::KEYMAP {
            let about: String = b.about.chars().take(50).collect();
            assert!(shown.contains(b.written) && shown.contains(&about), "{width}x{height}: `{}`", b.written);
        }
    }
}

#[test]
fn a_window_too_small_says_so_in_one_sentence() {
    let w = session();
    let shown = text(&draw(&mut app(w), w, 50, 10));
    insta::assert_snapshot!("too_small", shown);
    assert!(shown.contains("50 × 10"));
}

#[test]
fn a_selected_stretch_narrows_every_pane_and_is_shown() {
    let w = session();
    let mut app = app(w);
    app.act(Action::SelectSpan(Span { from: At(50_000_000_000), to: At(56_000_000_000) }), w);
    app.act(Action::Narrow(Narrow::Cpu(1)), w);
    let buf = draw(&mut app, w, 120, 36);
    let shown = text(&buf);
    insta::assert_snapshot!("selection", shown);
    assert!(shown.lines().nth(1).unwrap().contains("time 0:50.0–0:56.0 (6.0 s)") && shown.contains("cpu 1"));
    assert!(!shown.contains("last 60 s"), "a title still speaks of the window");
    assert!(app.cursor() != Cursor::Follow, "what was selected must not scroll away");
    // The chart's columns of the stretch are tinted, others are not.
    let tinted = buf.content.iter().filter(|c| c.bg == Theme::default().select.bg.unwrap()).count();
    assert!(tinted > 50, "{tinted}");
    press(&mut app, w, &[KeyCode::Esc]);
    assert!(!text(&draw(&mut app, w, 120, 36)).contains("Esc clears"));
}

#[test]
fn a_client_that_limits_the_run_is_told_wherever_load_is_shown() {
    let limited = workbench(&Synthetic::upto(Plan { closed: true, ..Plan::default() }, 90));
    for (width, height) in SIZES {
        for (screen, alarm) in [(Screen::Overview, "⚑ client limits: load-0"), (Screen::Load, "⚑ limits this run")]
        {
            let shown = |w: &Workbench| {
                let mut app = app(w);
                app.act(Action::Show(screen), w);
                text(&draw(&mut app, w, width, height))
            };
            assert!(shown(&limited).contains(alarm), "{}", shown(&limited));
            // The same thread is as busy there, and every request leaves in time.
            assert!(!shown(session()).contains("client limits:"));
            assert!(screen == Screen::Overview || shown(session()).contains("does not limit this run"));
        }
    }
}

#[test]
fn a_search_that_finds_nothing_says_so() {
    let w = session();
    for (text_typed, is_found) in [("PriceS", true), ("inet_hash", true), ("nowhere", false), ("", true)] {
        let mut app = app(w);
        press(&mut app, w, &[KeyCode::Char('/')]);
        press(&mut app, w, &text_typed.chars().map(KeyCode::Char).collect::<Vec<_>>());
        press(&mut app, w, &[KeyCode::Enter]);
        let told = text(&draw(&mut app, w, 120, 36)).contains("is found in no route and no symbol");
        assert_eq!(told, !is_found, "{text_typed}");
    }
}

#[test]
fn titles_never_speak_of_time_before_the_start() {
    let w = session();
    let mut app = app(w);
    press(&mut app, w, &[KeyCode::Home]);
    let shown = text(&draw(&mut app, w, 120, 36));
    assert!(shown.contains("at the start") && !shown.contains(" s to 0:0"), "{shown}");
    press(&mut app, w, &[KeyCode::Right]);
    assert!(text(&draw(&mut app, w, 120, 36)).contains("start to 0:01.0"));
}

#[test]
fn marks_are_told_apart_by_their_kind() {
    let shown = text(&draw(&mut app(session()), session(), 120, 36));
    let top = shown.lines().nth(2).unwrap();
    let at: Vec<_> = ["◆", "▶", "⚑", "±", "❚"].iter().map(|g| top.find(g)).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{top}");
}

#[test]
fn a_selected_route_narrows_the_charts() {
    let w = session();
    let mut app = app(w);
    app.act(Action::Show(Screen::Load), w);
    draw(&mut app, w, 120, 36);
    app.act(Action::Focus("routes"), w);
    press(&mut app, w, &[KeyCode::Down, KeyCode::Enter]);
    assert_eq!(app.selection().route.as_deref(), Some("/"));
    let shown = text(&draw(&mut app, w, 120, 36));
    insta::assert_snapshot!("route", shown);
    assert!(shown.contains("throughput /s of /") && shown.contains("distribution of /"));
}

#[test]
fn names_from_outside_cannot_touch_the_terminal() {
    let w = hostile();
    for screen in Screen::ALL {
        for (width, height) in [(80, 24), (200, 60)] {
            let mut app = app(w);
            app.act(Action::Show(screen), w);
            let buf = draw(&mut app, w, width, height);
            for cell in &buf.content {
                let bad = |c: char| {
                    c.is_control() || ('\u{200b}'..='\u{200f}').contains(&c) || ('\u{202a}'..='\u{202e}').contains(&c)
                };
                assert!(!cell.symbol().chars().any(bad), "{:?}", cell.symbol());
            }
            if width == 80 {
                insta::assert_snapshot!(format!("hostile_{}", screen.name()), text(&buf));
            }
        }
    }
}

#[test]
fn ascii_is_ascii() {
    let w = hostile();
    for screen in Screen::ALL {
        let options = Options { ascii: true, theme: Theme::pick("mono", true).unwrap(), ..Options::default() };
        let mut app = app_with(w, options);
        app.act(Action::Show(screen), w);
        let shown = text(&draw(&mut app, w, 120, 36));
        assert!(shown.is_ascii(), "{:?}", shown.chars().find(|c| !c.is_ascii()));
        if screen == Screen::Overview {
            insta::assert_snapshot!("ascii_overview", shown);
        }
    }
}

#[test]
fn each_mode_of_the_cpu_has_its_colour_everywhere() {
    let w = session();
    let theme = Theme::default();
    for screen in [Screen::Overview, Screen::Host] {
        let mut app = app(w);
        app.act(Action::Show(screen), w);
        let buf = draw(&mut app, w, 120, 36);
        let row = text(&buf).lines().position(|l| l.contains("us 2") && l.contains("sy")).unwrap();
        let cells = &buf.content[row * 120..(row + 1) * 120];
        let us = cells.windows(2).position(|c| c[0].symbol() == "u" && c[1].symbol() == "s").unwrap();
        assert_eq!(Some(cells[us].fg), theme.cpu[0].fg);
    }
}

#[test]
fn scrubbing_holds_the_view_and_end_follows_again() {
    let w = session();
    let mut app = app(w);
    assert_eq!(app.cursor(), Cursor::Follow);
    press(&mut app, w, &[KeyCode::Left, KeyCode::Left]);
    assert_eq!(app.cursor(), Cursor::Pinned(At(88_000_000_000)));
    let shown = text(&draw(&mut app, w, 120, 36));
    assert!(shown.contains("60 s to 1:28.0") && shown.contains("held, still running 1:28.0"), "{shown}");
    press(&mut app, w, &[KeyCode::End]);
    assert_eq!(app.cursor(), Cursor::Follow);
    press(&mut app, w, &[KeyCode::Home]);
    assert_eq!(app.cursor(), Cursor::Pinned(At::START));
    press(&mut app, w, &[KeyCode::Char('f')]);
    assert_eq!(app.cursor(), Cursor::Follow);
}

#[test]
fn a_session_that_is_still_being_recorded_is_followed_unless_an_instant_was_asked_for() {
    let w = session();
    let after = |at: Option<At>, stop: bool, feeds: &[FeedState]| {
        let playback = Some(ui::Playback { speed: 1.0, at });
        let mut app = App::new(Options { playback, ..Options::default() });
        for (n, feed) in (1..).zip(feeds) {
            if stop && n == 2 {
                press(&mut app, w, &[KeyCode::Char(' ')]);
            }
            app.tick(w, At(n * 100_000_000), *feed);
        }
        app.cursor()
    };
    let recorded = [FeedState::Loading, FeedState::Live, FeedState::Live];
    assert_eq!(after(None, false, &recorded), Cursor::Follow);
    assert!(matches!(after(None, true, &recorded), Cursor::Pinned(_)), "it was stopped by hand");
    assert!(matches!(after(Some(At(5_000_000_000)), false, &recorded), Cursor::Pinned(_)));
    assert!(matches!(after(None, false, &[FeedState::Loading, FeedState::Ended]), Cursor::Pinned(_)));
}

#[test]
fn what_is_not_known_of_a_stretch_is_not_shown_as_nothing() {
    let w = session();
    let mut app = app(w);
    app.act(Action::Show(Screen::Load), w);
    app.act(Action::SelectSpan(Span { from: At(50_200_000_000), to: At(50_600_000_000) }), w);
    let shown = text(&draw(&mut app, w, 120, 36));
    assert!(shown.contains("too short a stretch for routes"), "{shown}");
    // Load that ended has no present rate; while it is known it has one.
    let header = |w: &Workbench| text(&draw(&mut app_with(w, Options::default()), w, 120, 36));
    let dashed = |shown: String| shown.lines().next().unwrap().contains("done     –/s");
    assert!(!dashed(header(w)));
    let later =
        Event::Mark(perfbench::model::Mark { at: At(95_000_000_000), kind: Default::default(), label: "later".into() });
    let ended = workbench(&[SESSION.as_slice(), &[later]].concat());
    assert!(dashed(header(&ended)), "{}", header(&ended));
}

#[test]
fn playback_moves_with_the_feeds_clock_and_stops_at_the_end() {
    let w = session();
    let playback = ui::Playback { speed: 2.0, at: Some(At(80_000_000_000)) };
    let mut app = App::new(Options { playback: Some(playback), ..Options::default() });
    app.tick(w, At(0), FeedState::Ended);
    app.tick(w, At(3_000_000_000), FeedState::Ended);
    assert_eq!(app.cursor(), Cursor::Pinned(At(86_000_000_000)));
    press(&mut app, w, &[KeyCode::Char(' ')]);
    app.tick(w, At(9_000_000_000), FeedState::Ended);
    assert_eq!(app.cursor(), Cursor::Pinned(At(86_000_000_000)));
    press(&mut app, w, &[KeyCode::Char(' ')]);
    app.tick(w, At(99_000_000_000), FeedState::Ended);
    assert_eq!((app.cursor(), app.playback()), (Cursor::Pinned(At(90_000_000_000)), Some((false, 2.0))));
    assert!(app.key(&KeyEvent::new(KeyCode::Char('c'), KeyModifiers::NONE)).is_none(), "no capture of the past");
}

#[test]
fn the_flame_graph_is_walked_zoomed_and_searched() {
    let w = session();
    let mut app = app(w);
    app.act(Action::Show(Screen::Profile), w);
    draw(&mut app, w, 120, 36);
    press(&mut app, w, &[KeyCode::Down, KeyCode::Down, KeyCode::Down, KeyCode::Enter]);
    let zoomed = text(&draw(&mut app, w, 120, 36));
    insta::assert_snapshot!("flame_zoomed", zoomed);
    press(&mut app, w, &[KeyCode::Char('/')]);
    press(&mut app, w, &"inet_hash".chars().map(KeyCode::Char).collect::<Vec<_>>());
    press(&mut app, w, &[KeyCode::Enter]);
    let searched = text(&draw(&mut app, w, 120, 36));
    assert!(searched.contains("`inet_hash` in 2 frames"), "{searched}");
    press(&mut app, w, &[KeyCode::Esc; 9]);
    assert!(!text(&draw(&mut app, w, 120, 36)).contains("inet_hash` in"));
}

#[test]
fn two_stretches_are_compared_when_one_is_kept() {
    let w = session();
    let mut app = app(w);
    let span = |from: u64, to: u64| Span { from: At(from * 1_000_000_000), to: At(to * 1_000_000_000) };
    press(&mut app, w, &[KeyCode::Char('5'), KeyCode::Char('b')]);
    assert!(text(&draw(&mut app, w, 160, 50)).contains("select a stretch of time first"));
    app.act(Action::SelectSpan(span(60, 62)), w);
    press(&mut app, w, &[KeyCode::Char('b')]);
    let kept = text(&draw(&mut app, w, 160, 50));
    assert!(kept.contains("1:00.0–1:02.0 is kept") && kept.contains("kept to compare with: 1:00.0–1:02.0"), "{kept}");
    app.act(Action::SelectSpan(span(62, 65)), w);
    press(&mut app, w, &[KeyCode::Char('v')]);
    let compared = text(&draw(&mut app, w, 160, 50));
    for part in ["flame graph against 1:00.0–1:02.0", "what differs", "before", "may be chance"] {
        assert!(compared.contains(part), "{part}: {compared}");
    }
    app.act(Action::SelectSpan(span(61, 64)), w);
    let overlapping = text(&draw(&mut app, w, 160, 50));
    assert!(overlapping.contains("1:01.0–1:02.0 is in both sides"), "{overlapping}");
    // Slow requests of a time are in both sides of a comparison with that time.
    press(&mut app, w, &[KeyCode::Esc, KeyCode::Char('w'), KeyCode::Char('v')]);
    let slow = text(&draw(&mut app, w, 160, 50));
    assert!(slow.contains("is in both sides"), "{slow}");
    // Pressed without a selection it is dropped, and v compares with the rest again.
    press(&mut app, w, &[KeyCode::Esc, KeyCode::Char('b')]);
    app.act(Action::SelectSpan(span(62, 65)), w);
    press(&mut app, w, &[KeyCode::Char('v')]);
    let rest = text(&draw(&mut app, w, 160, 50));
    assert!(rest.contains("against the rest") && !rest.contains("kept to compare"), "{rest}");
}

#[test]
fn a_kept_stretch_takes_the_place_of_another_session() {
    let w = session();
    let other = std::sync::Arc::new(w.timeline().clone());
    let mut app = app_with(w, Options { against: Some(other), ..Options::default() });
    let span = |from: u64, to: u64| Span { from: At(from * 1_000_000_000), to: At(to * 1_000_000_000) };
    let seen = |app: &mut App| text(&draw(app, w, 160, 50));
    press(&mut app, w, &[KeyCode::Char('5')]);
    app.act(Action::SelectSpan(span(60, 62)), w);
    assert!(seen(&mut app).contains("flame graph against http://"));
    press(&mut app, w, &[KeyCode::Char('b')]);
    let kept = seen(&mut app);
    assert!(kept.contains("is kept") && !kept.contains("flame graph against"), "{kept}");
    app.act(Action::SelectSpan(span(62, 65)), w);
    press(&mut app, w, &[KeyCode::Char('v')]);
    assert!(seen(&mut app).contains("flame graph against 1:00.0–1:02.0"));
    // Esc clears what is selected, then what is kept: the other session is back.
    press(&mut app, w, &[KeyCode::Esc]);
    let cleared = seen(&mut app);
    assert!(cleared.contains("kept to compare with") && !cleared.contains("flame graph against"), "{cleared}");
    press(&mut app, w, &[KeyCode::Esc]);
    assert!(seen(&mut app).contains("flame graph against http://"));
}

#[test]
fn the_mouse_focuses_selects_and_points() {
    let w = session();
    let mut app = app(w);
    let buf = draw(&mut app, w, 120, 36);
    let mouse = |kind, column, row| MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
    let take = |app: &mut App, m| {
        if let Some(a) = app.mouse(&m, w) {
            app.act(a, w);
        }
    };
    take(&mut app, mouse(MouseEventKind::Down(MouseButton::Left), 20, 5));
    take(&mut app, mouse(MouseEventKind::Drag(MouseButton::Left), 40, 5));
    let span = app.selection().span.unwrap();
    assert!(span.secs() > 15.0 && span.secs() < 30.0, "{span:?}");
    drop(buf);
    let y = text(&draw(&mut app, w, 120, 36)).lines().position(|l| l.contains("__inet_hash_connect")).unwrap();
    take(&mut app, mouse(MouseEventKind::Down(MouseButton::Left), 20, y as u16));
    assert_eq!(app.focused(), "symbols");
    press(&mut app, w, &[KeyCode::Enter]);
    assert_eq!(app.selection().symbol.as_deref(), Some("__inet_hash_connect"));
}

#[test]
fn a_capture_is_asked_of_the_feed() {
    let w = session();
    let mut app = app(w);
    press(&mut app, w, &[KeyCode::Char('c'), KeyCode::Char('m')]);
    let asked = app.take_commands();
    assert!(matches!(asked[0], Command::Capture { length } if length.as_secs() == 5));
    assert_eq!(asked[1], Command::Mark("mark 2".into()));
    assert!(app.take_commands().is_empty());
}

#[test]
fn the_rate_and_a_pause_are_asked_of_the_feed() {
    let w = session();
    let mut app = app(w);
    press(&mut app, w, &[KeyCode::Char('+'), KeyCode::Char('-'), KeyCode::Char('p')]);
    let asked = app.take_commands();
    let factor = |c: &Command| if let Command::Rate { factor } = c { *factor } else { 0.0 };
    assert!((factor(&asked[0]) - 1.1).abs() < 1e-9 && (factor(&asked[0]) * factor(&asked[1]) - 1.0).abs() < 1e-9);
    assert_eq!(asked[2], Command::Pause);
}

mod anything {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = KeyEvent> {
        let codes = prop_oneof![
            3 => proptest::sample::select(" 123456cmpfhjklHL[]/?sz<>qx".chars().collect::<Vec<_>>()).prop_map(KeyCode::Char),
            2 => proptest::sample::select(vec![
                KeyCode::Up, KeyCode::Down, KeyCode::Left, KeyCode::Right, KeyCode::Enter, KeyCode::Esc, KeyCode::Tab,
                KeyCode::BackTab, KeyCode::Home, KeyCode::End, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Backspace,
            ]),
        ];
        (codes, any::<bool>())
            .prop_map(|(code, shift)| KeyEvent::new(code, if shift { KeyModifiers::SHIFT } else { KeyModifiers::NONE }))
    }

    /// Nothing yet, the first events, in the middle of a capture, all.
    static SESSIONS: LazyLock<[Workbench; 4]> = LazyLock::new(|| {
        let plan = Plan { hostile: true, cpus: 37, capture: (3, 2), stall: (1.0, 1.0), ..Plan::default() };
        let all = Synthetic::upto(plan, 12);
        [0, 5, all.len() / 3, all.len()].map(|n| workbench(&all[..n]))
    });

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
        #[test]
        fn no_key_at_no_size_fails(
            keys in prop::collection::vec((key(), 0u16..300, 0u16..100), 1..40),
            width in 1u16..300,
            height in 1u16..100,
            upto in 0usize..4,
            playback: bool,
            ascii: bool,
        ) {
            let w = &SESSIONS[upto];
            let playback = playback.then_some(ui::Playback { speed: 1.0, at: None });
            let mut app = App::new(Options { playback, ascii, ..Options::default() });
            for (n, (key, x, y)) in keys.iter().enumerate() {
                if let Some(action) = app.key(key) {
                    app.act(action, w);
                }
                let size = if n % 5 == 4 { (*x + 1, *y + 1) } else { (width, height) };
                draw(&mut app, w, size.0, size.1);
                for kind in [MouseEventKind::Down(MouseButton::Left), MouseEventKind::Drag(MouseButton::Left), MouseEventKind::ScrollDown] {
                    let m = MouseEvent { kind, column: *x, row: *y, modifiers: KeyModifiers::NONE };
                    if n % 3 == 0 && let Some(action) = app.mouse(&m, w) {
                        app.act(action, w);
                    }
                }
                app.tick(w, At(n as u64 * 700_000_000), FeedState::Ended);
            }
        }
    }
}
