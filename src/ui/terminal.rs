//! The terminal, taken and given back: after quit, error, panic, signal and suspend.
//!
//! Must not: draw.

use crossterm::{cursor, execute, terminal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::{SigId, flag, low_level};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Whether the screen is ours at the moment; the panic hook must know.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// What other threads' panics said while the screen was ours; told when it is given back.
static HELD_BACK: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Mouse presses, releases, wheel and drags, in SGR form. Without plain motion (1003), which
/// crossterm's own command asks for and which floods a slow line.
/// Source: xterm ctlseqs, "Mouse Tracking".
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1002l\x1b[?1000l";

/// What a signal asks of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end, by the signal of this number.
    End(u8),
    /// To stop until it is continued.
    Suspend,
}

/// What there is to read from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Keys or mouse.
    Ready,
    /// Nothing yet.
    Quiet,
    /// Nothing ever again: it was hung up.
    Gone,
}

/// The terminal while it is ours. Given back when dropped.
#[derive(Debug)]
pub struct Guard {
    /// The number of the signal that asked to end; 0 for none.
    end: Arc<AtomicUsize>,
    suspend: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
    resized: Arc<AtomicBool>,
    signals: Vec<SigId>,
    /// Where keys come from when standard input is something else (a log, say).
    keys: Option<File>,
}

impl Guard {
    /// Takes the terminal: raw mode, alternate screen, mouse. Fails when standard output is
    /// none.
    pub fn take() -> io::Result<Guard> {
        if !io::stdout().is_terminal() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "standard output is not a terminal"));
        }
        let keys = if io::stdin().is_terminal() { None } else { Some(File::open("/dev/tty")?) };
        let mut guard = Guard {
            end: Arc::default(),
            suspend: Arc::default(),
            continued: Arc::default(),
            resized: Arc::default(),
            signals: vec![],
            keys,
        };
        for signal in [SIGTERM, SIGHUP, SIGINT] {
            let number = usize::try_from(signal).unwrap_or(usize::MAX);
            guard.signals.push(flag::register_usize(signal, guard.end.clone(), number)?);
        }
        guard.signals.push(flag::register(SIGCONT, guard.continued.clone())?);
        guard.signals.push(flag::register(SIGTSTP, guard.suspend.clone())?);
        guard.signals.push(flag::register(SIGWINCH, guard.resized.clone())?);
        install_hook();
        guard.enter()?;
        Ok(guard)
    }

    fn enter(&self) -> io::Result<()> {
        terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let mut out = io::stdout();
        execute!(out, terminal::EnterAlternateScreen, cursor::Hide, terminal::Clear(terminal::ClearType::All))?;
        out.write_all(MOUSE_ON)?;
        out.flush()
    }

    /// What signals have asked since this was last called.
    pub fn asked(&self) -> Option<Asked> {
        let signal = self.end.load(Ordering::Relaxed);
        if signal > 0 {
            return Some(Asked::End(u8::try_from(signal).unwrap_or(u8::MAX)));
        }
        self.suspend.swap(false, Ordering::Relaxed).then_some(Asked::Suspend)
    }

    /// Whether the process was stopped and continued since this was last called.
    pub fn was_continued(&self) -> bool {
        self.continued.swap(false, Ordering::Relaxed)
    }

    /// Whether the window's size changed since this was last called.
    pub fn resized(&self) -> bool {
        self.resized.swap(false, Ordering::Relaxed)
    }

    /// Whether there is something to read, waiting for it at most `wait`.
    ///
    /// Asked before crossterm is, which reads a terminal that was hung up forever: its loop
    /// takes neither end of file nor EIO for an end.
    pub fn input(&self, wait: Duration) -> io::Result<Input> {
        let stdin = io::stdin();
        let fd: BorrowedFd<'_> = self.keys.as_ref().map_or_else(|| stdin.as_fd(), File::as_fd);
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let nanos = i64::from(wait.subsec_nanos());
        let timeout = Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: nanos };
        match poll(&mut fds, Some(&timeout)) {
            // A signal came; what it asks is looked at next.
            Err(rustix::io::Errno::INTR) => return Ok(Input::Quiet),
            other => other?,
        };
        let found = fds[0].revents();
        Ok(if found.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            Input::Gone
        } else if found.contains(PollFlags::IN) {
            Input::Ready
        } else {
            Input::Quiet
        })
    }

    /// Gives the terminal back, stops the process until it is continued, and takes the
    /// terminal again.
    pub fn suspend(&self) -> io::Result<()> {
        give_back();
        // Stops here, and comes back on SIGCONT.
        low_level::emulate_default_handler(SIGTSTP)?;
        self.suspend.store(false, Ordering::Relaxed);
        self.enter()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
        for id in self.signals.drain(..) {
            low_level::unregister(id);
        }
        let held = std::mem::take(&mut *HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner));
        let mut err = io::stderr();
        for line in held {
            // Nobody is left to be told when this fails.
            let _ = writeln!(err, "{line}");
        }
    }
}

/// Gives the terminal back once. A terminal that is gone takes nothing, and that is no
/// reason to fail.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        let _ = out.write_all(MOUSE_OFF);
        let _ = execute!(out, terminal::LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}

/// Chains a hook that gives the terminal back before a panic of the screen's thread is
/// told, and keeps those of other threads until the screen is gone.
fn install_hook() {
    static SCREEN: Mutex<Option<ThreadId>> = Mutex::new(None);
    let mut screen = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
    let first = screen.is_none();
    *screen = Some(thread::current().id());
    drop(screen);
    if !first {
        return;
    }
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let screen = *SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
        let other = screen != Some(thread::current().id());
        if other && TAKEN.load(Ordering::SeqCst) {
            HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
        } else {
            give_back();
            before(panic);
        }
    }));
}

/// Standard output in whole frames, which says once that the terminal is gone and then
/// takes everything silently: what is dropped later must not fail on it again.
#[derive(Debug)]
pub struct Screen {
    out: BufWriter<Stdout>,
    silent: Arc<AtomicBool>,
}

impl Screen {
    /// A frame at 200 × 60 with its escapes fits well.
    const BUFFER: usize = 128 * 1024;

    /// The screen of the process, and the switch that makes it take everything silently.
    pub fn new() -> (Screen, Arc<AtomicBool>) {
        let silent: Arc<AtomicBool> = Arc::default();
        (Screen { out: BufWriter::with_capacity(Screen::BUFFER, io::stdout()), silent: silent.clone() }, silent)
    }

    fn told<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.silent.fetch_or(result.is_err(), Ordering::Relaxed);
        result
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.silent.load(Ordering::Relaxed) {
            return Ok(bytes.len());
        }
        let written = self.out.write(bytes);
        self.told(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.silent.load(Ordering::Relaxed) {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.told(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_it_says_so() {
        if io::stdout().is_terminal() {
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"skipped: needs standard output that is not a terminal\n",
            );
            assert!(std::env::var_os("PERFBENCH_NO_SKIP").is_none());
            return;
        }
        let e = Guard::take().unwrap_err();
        assert!(e.to_string().contains("not a terminal"));
        assert!(!TAKEN.load(Ordering::SeqCst));
    }
}
