//! A terminal that a test can type into and read: a tmux server of its own.
//!
//! Must not: talk to a tmux server of the user.

use super::{Folder, has, within};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the shell in it says when it waits for a command.
const PROMPT: &str = "ready> ";
/// How long a frame that has begun may take to be on the screen as a whole.
const WHOLE_FRAME: Duration = Duration::from_millis(60);

/// A terminal with a shell in it, gone when dropped.
pub struct Tmux<'a> {
    folder: &'a Folder,
}

impl<'a> Tmux<'a> {
    /// Opens it; `None` where there is no tmux.
    pub fn open(folder: &'a Folder, columns: u16, rows: u16) -> Option<Tmux<'a>> {
        if !has("tmux") {
            return None;
        }
        let tmux = Tmux { folder };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        // The prompt is set here: the user's shell, which runs this line, may drop it before.
        let shell = format!("PS1='{PROMPT}' exec sh");
        let mut command = tmux.command(&["new-session", "-d", "-x", &columns, "-y", &rows, &shell]);
        command
            .env("PB", env!("CARGO_BIN_EXE_perfbench"))
            .env("LC_ALL", "C.UTF-8")
            .env_remove("ENV")
            .env_remove("TMUX");
        let output = command.output().unwrap();
        assert!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr));
        tmux.tell(&["set", "-g", "status", "off"]);
        // So that an Esc is told from the beginning of a key at once.
        tmux.tell(&["set", "-s", "escape-time", "0"]);
        tmux.tell(&["resize-window", "-x", &columns, "-y", &rows]);
        tmux.prompt();
        Some(tmux)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut c = self.folder.program("tmux");
        // The socket is in the test's folder and goes with it.
        c.env("TMUX_TMPDIR", self.folder.path("")).args(["-u", "-f", "/dev/null", "-L", "e2e"]).args(words);
        c.stdin(Stdio::null());
        c
    }

    fn ask(&self, words: &[&str]) -> Result<String, String> {
        let output = self.command(words).output().unwrap();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    #[track_caller]
    fn tell(&self, words: &[&str]) -> String {
        self.ask(words).unwrap_or_else(|e| panic!("tmux {words:?}: {e}"))
    }

    /// What the window shows, a line for each row.
    #[track_caller]
    pub fn screen(&self) -> String {
        self.tell(&["capture-pane", "-p"])
    }

    /// Types a line and ends it.
    #[track_caller]
    pub fn line(&self, text: &str) {
        self.tell(&["send-keys", "-l", text]);
        self.keys("Enter");
    }

    /// Presses keys, by tmux's names, separated by spaces.
    #[track_caller]
    pub fn keys(&self, keys: &str) {
        let mut words = vec!["send-keys"];
        words.extend(keys.split(' '));
        self.tell(&words);
    }

    #[track_caller]
    pub fn resize(&self, columns: u16, rows: u16) {
        self.tell(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// A format of tmux filled in: `#{alternate_on}`.
    #[track_caller]
    pub fn is(&self, format: &str) -> String {
        self.tell(&["display-message", "-p", format]).trim().to_owned()
    }

    /// Waits until the screen is so, and gives it back.
    #[track_caller]
    pub fn until(&self, what: &str, time: Duration, mut so: impl FnMut(&str) -> bool) -> String {
        let mut screen = String::new();
        let shown = within(time, || {
            screen = self.screen();
            if !so(&screen) {
                return false;
            }
            // tmux takes a frame in pieces, and the rest of this one may be under way.
            std::thread::sleep(WHOLE_FRAME);
            screen = self.screen();
            so(&screen)
        });
        assert!(shown, "not within {time:?}: {what}\n{screen}");
        screen
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub fn shows(&self, text: &str) -> String {
        self.until(&format!("`{text}`"), Duration::from_secs(10), |s| s.contains(text))
    }

    /// Waits until the shell waits for a command.
    #[track_caller]
    pub fn prompt(&self) -> String {
        self.until("the shell's prompt", Duration::from_secs(10), |s| {
            s.trim_end().lines().last().is_some_and(|l| l.trim_end() == PROMPT.trim_end())
        })
    }

    /// Fails unless the terminal is as a shell wants it: the usual screen, a cursor, no mouse,
    /// lines and echo. To be called at the prompt.
    #[track_caller]
    pub fn is_given_back(&self) {
        let state = "#{alternate_on} #{cursor_flag} #{mouse_any_flag}";
        within(Duration::from_secs(2), || self.is(state) == "0 1 0");
        assert_eq!(self.is(state), "0 1 0", "alternate screen, cursor, mouse; {}", self.screen());
        self.line(
            "clear; stty -a | tr ' ' '\\n' | grep -E '^-?(icanon|echo|isig|opost|icrnl);?$' | tr '\\n' ' '; echo",
        );
        let screen = self.until("what stty says", Duration::from_secs(5), |s| s.contains("icrnl "));
        for mode in ["icanon", "echo", "isig", "opost", "icrnl"] {
            assert!(screen.split_whitespace().any(|w| w == mode), "no {mode}: {screen}");
        }
        self.line("clear");
        self.prompt();
    }

    /// Takes the terminal away from all that runs in it.
    pub fn gone(&self) {
        let _ = self.ask(&["kill-server"]);
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        self.gone();
        // The server ends by itself then; its socket's folder must not go before it.
        let started = Instant::now();
        while self.ask(&["has-session"]).is_ok() && started.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The number that follows a word: `offered   4.2k/s` is 4200. Of the first such place.
pub fn number_after(screen: &str, word: &str) -> Option<f64> {
    screen.match_indices(word).find_map(|(at, _)| {
        let rest = screen[at + word.len()..].trim_start_matches(' ');
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        let factor = match rest[digits..].chars().next() {
            Some('k') => 1e3,
            Some('M') => 1e6,
            _ => 1.0,
        };
        Some(number * factor)
    })
}

/// The clock in the header, s: of the first line's last `m:ss` or `m:ss.t`.
pub fn clock(screen: &str) -> Option<f64> {
    let header = screen.lines().next()?;
    header.split_whitespace().rev().find_map(|word| {
        let (minutes, seconds) = word.split_once(':')?;
        Some(minutes.parse::<u32>().ok()? as f64 * 60.0 + seconds.parse::<f64>().ok()?)
    })
}
