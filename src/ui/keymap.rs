//! The one table of keys: what is pressed, where it counts, what it does, what it is called.
//! Help and footer are made from it, and no key but typed text is taken elsewhere.
//!
//! Must not: carry out anything.

use super::action::{Action, Look, Screen, Way};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Where a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// On every screen.
    Everywhere,
    /// While the flame graph has the focus.
    Flame,
    /// On the profile screen.
    Profile,
    /// In playback.
    Playback,
    /// In a live run.
    Live,
}

impl Context {
    /// As the help screen calls it.
    pub fn title(self) -> &'static str {
        match self {
            Context::Everywhere => "everywhere",
            Context::Flame => "in the flame graph",
            Context::Profile => "on the profile screen",
            Context::Playback => "in playback",
            Context::Live => "in a live run",
        }
    }
}

/// A key, with the modifiers that matter (shift is part of a character).
pub type Key = (KeyCode, KeyModifiers);

/// One row of the table.
#[derive(Debug)]
pub struct Binding {
    /// The keys that do it.
    pub keys: &'static [Key],
    /// How the keys are written.
    pub written: &'static str,
    /// Where they count.
    pub context: Context,
    /// What each key does, in the order of `keys`; one for all when there is only one.
    pub actions: &'static [Action],
    /// Its word in the footer; empty when it is only in the help.
    pub short: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const SHIFT: KeyModifiers = KeyModifiers::SHIFT;
const CTRL: KeyModifiers = KeyModifiers::CONTROL;

const fn ch(c: char) -> Key {
    (KeyCode::Char(c), NONE)
}

macro_rules! keymap {
    ($($context:ident $written:literal [$($key:expr),*] => [$($action:expr),*], $short:literal, $about:literal;)*) => {
        /// Every key there is.
        pub static KEYMAP: &[Binding] = &[$(Binding {
            keys: &[$($key),*],
            written: $written,
            context: Context::$context,
            actions: &[$($action),*],
            short: $short,
            about: $about,
        },)*];
    };
}

keymap! {
    Flame "←→↑↓ hjkl" [
        (KeyCode::Left, NONE), (KeyCode::Right, NONE), (KeyCode::Up, NONE), (KeyCode::Down, NONE),
        ch('h'), ch('l'), ch('k'), ch('j')
    ] => [
        Action::Frame(Way::Left), Action::Frame(Way::Right), Action::Frame(Way::Up), Action::Frame(Way::Down),
        Action::Frame(Way::Left), Action::Frame(Way::Right), Action::Frame(Way::Up), Action::Frame(Way::Down)
    ], "frames", "over the frames of the flame graph: callers up, callees down";
    Flame "Enter" [(KeyCode::Enter, NONE)] => [Action::Open], "zoom", "zoom into the frame of the flame graph; Esc zooms out";
    Flame "o" [ch('o')] => [Action::Only], "only", "only stacks of the thread, or with the function, that is pointed at";
    Profile "v" [ch('v')] => [Action::Look(Look::Against)], "versus", "the selection against the rest, or what b has kept; grey may be chance";
    Profile "b" [ch('b')] => [Action::Look(Look::Hold)], "", "keep the selected time: select another, and v compares the two";
    Profile "x" [ch('x')] => [Action::Look(Look::Rest)], "rest", "the samples that are not selected";
    Profile "e" [ch('e')] => [Action::Look(Look::SampleType)], "event", "the next sample type: CPU time, time waited, bytes allocated, …";
    Profile "u" [ch('u')] => [Action::Ring], "", "stacks that end in the kernel, in user space, or all";
    Profile "i" [ch('i')] => [Action::Look(Look::Upward)], "", "turn the flame graph over: callees above callers, or below";
    Profile "t" [ch('t')] => [Action::Look(Look::Merged)], "", "put threads of different names together, or tell them apart";
    Profile "n" [ch('n')] => [Action::Look(Look::ByLine)], "", "hot spots by source line, or by function";
    Live "c" [ch('c')] => [Action::Capture], "capture", "a dense profile of the seconds before and after";
    Live "m" [ch('m')] => [Action::Mark], "mark", "set a mark at the present instant";
    Live "+/-" [ch('+'), ch('-')] => [Action::Rate(1), Action::Rate(-1)], "rate", "offer ten per cent more or less; not in a closed loop";
    Live "p space" [ch('p'), ch(' ')] => [Action::PauseLoad, Action::HoldOrFollow], "pause", "pause the load, or go on; space holds the view alone";
    Playback "+/-" [ch('+'), ch('-')] => [Action::Rate(1), Action::Rate(-1)], "", "nothing here: the rate of a recorded session is what it was";
    Playback "p space" [ch('p'), ch(' ')] => [Action::PlayPause], "play/pause", "play, or hold";
    Playback "< >" [ch('<'), ch('>')] => [Action::Speed(-1), Action::Speed(1)], "speed", "play slower or faster";
    Everywhere "←→ h l" [(KeyCode::Left, NONE), (KeyCode::Right, NONE), ch('h'), ch('l')]
        => [Action::Scrub(-1), Action::Scrub(1), Action::Scrub(-1), Action::Scrub(1)], "scrub", "move the cursor over time; live, recording goes on";
    Everywhere "⇧←→ H L" [(KeyCode::Left, SHIFT), (KeyCode::Right, SHIFT), ch('H'), ch('L')]
        => [Action::Select(-1), Action::Select(1), Action::Select(-1), Action::Select(1)], "select", "select a stretch of time: every pane is of it; so does a drag";
    Everywhere "PgUp PgDn" [(KeyCode::PageUp, NONE), (KeyCode::PageDown, NONE)] => [Action::Page(-1), Action::Page(1)], "", "move the cursor by half a screen of time";
    Everywhere "Home End f" [(KeyCode::Home, NONE), (KeyCode::End, NONE), ch('f')]
        => [Action::First, Action::Follow, Action::Follow], "", "to the start of the session; to its end, and follow it";
    Everywhere "[ ]" [ch('['), ch(']')] => [Action::Stretch(1), Action::Stretch(-1)], "", "show more or less time";
    Everywhere "1–6" [ch('1'), ch('2'), ch('3'), ch('4'), ch('5'), ch('6')] => [
        Action::Show(Screen::Overview), Action::Show(Screen::Load), Action::Show(Screen::Host),
        Action::Show(Screen::Sockets), Action::Show(Screen::Profile), Action::Show(Screen::Findings)
    ], "views", "overview, load, host, sockets, profile, findings";
    Everywhere "Tab ⇧Tab" [(KeyCode::Tab, NONE), (KeyCode::BackTab, SHIFT), (KeyCode::BackTab, NONE), (KeyCode::Tab, SHIFT)]
        => [Action::NextPane, Action::PreviousPane, Action::PreviousPane, Action::PreviousPane], "focus", "focus another pane; so does a click";
    Everywhere "↑↓ k j" [(KeyCode::Up, NONE), (KeyCode::Down, NONE), ch('k'), ch('j')]
        => [Action::Row(-1), Action::Row(1), Action::Row(-1), Action::Row(1)], "", "point at a row of the focused pane; so does the wheel";
    Everywhere "Enter" [(KeyCode::Enter, NONE)] => [Action::Open], "", "narrow all panes to the row pointed at; else zoom the pane";
    Everywhere "z" [ch('z')] => [Action::Zoom], "zoom", "give the focused pane the whole screen";
    Everywhere "s" [ch('s')] => [Action::Sort], "", "sort the focused table by its next column";
    Everywhere "Esc" [(KeyCode::Esc, NONE)] => [Action::Back], "", "one step back: help, zoom, search, selection";
    Everywhere "w" [ch('w')] => [Action::Slow], "", "only while the slowest 1 % of requests was under way";
    Everywhere "/" [ch('/')] => [Action::Search], "find", "search symbols and routes, a|b for either; 5 shows the sums";
    Everywhere "?" [ch('?'), (KeyCode::F(1), NONE)] => [Action::Help], "help", "this page";
    Everywhere "ctrl-l -z" [(KeyCode::Char('l'), CTRL), (KeyCode::Char('z'), CTRL)]
        => [Action::Redraw, Action::Suspend], "", "paint everything anew; stop to the shell, fg comes back";
    Everywhere "q ctrl-c" [ch('q'), (KeyCode::Char('c'), CTRL)] => [Action::Quit], "quit", "end the run and leave";
}

/// What a key does in these contexts, the first that knows it winning.
pub fn lookup(key: &KeyEvent, contexts: &[Context]) -> Option<&'static Action> {
    let modifiers = match key.code {
        // Terminals differ in whether they report shift with a character that needs it.
        KeyCode::Char(_) => key.modifiers - SHIFT,
        _ => key.modifiers,
    };
    contexts.iter().find_map(|context| {
        KEYMAP.iter().filter(|b| b.context == *context).find_map(|b| {
            let n = b.keys.iter().position(|k| *k == (key.code, modifiers))?;
            b.actions.get(n).or(b.actions.first())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_key_is_documented_and_means_one_thing_in_its_context() {
        let mut seen = HashSet::new();
        for b in KEYMAP {
            assert!(!b.about.is_empty() && !b.written.is_empty() && !b.keys.is_empty(), "{b:?}");
            assert!(b.actions.len() == 1 || b.actions.len() == b.keys.len(), "{}", b.written);
            for k in b.keys {
                assert!(seen.insert((format!("{:?}", b.context), format!("{k:?}"))), "{k:?} twice in {:?}", b.context);
                if let KeyCode::Char(c) = k.0 {
                    let written = b.written.contains(c) || b.written.contains("space") || b.written.contains('–');
                    assert!(written, "{c} is not in `{}`", b.written);
                }
            }
        }
    }

    #[test]
    fn the_flame_graph_takes_the_arrows_and_leaves_the_rest() {
        let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
        let flame = [Context::Flame, Context::Live, Context::Everywhere];
        assert_eq!(lookup(&key(KeyCode::Left), &flame), Some(&Action::Frame(Way::Left)));
        assert_eq!(lookup(&key(KeyCode::Left), &flame[1..]), Some(&Action::Scrub(-1)));
        assert_eq!(lookup(&key(KeyCode::Home), &flame), Some(&Action::First));
        let capital = KeyEvent::new(KeyCode::Char('H'), KeyModifiers::SHIFT);
        assert_eq!(lookup(&capital, &flame), Some(&Action::Select(-1)));
        assert_eq!(lookup(&key(KeyCode::Char('x')), &flame), None);
    }
}
