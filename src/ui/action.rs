//! What a user can ask of the screen. Keys and mouse become an [`Action`]; only
//! [`super::App::act`] carries one out.
//!
//! Must not: know keys, or change anything.

use crate::model::{At, Span};
use crate::timeline::Band;
use std::sync::Arc;

/// One of the six screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Screen {
    /// How fast, how slow, who is busy, which sockets.
    #[default]
    Overview,
    /// Outcomes, routes, the shape of latency.
    Load,
    /// CPUs, softirqs, network, memory, disks, pressure, processes.
    Host,
    /// States, ports per destination, listeners, counters that moved.
    Sockets,
    /// Flame graph and hot symbols.
    Profile,
    /// Findings, captures, marks, faults.
    Findings,
}

impl Screen {
    /// All of them in the order of their keys.
    pub const ALL: [Screen; 6] =
        [Screen::Overview, Screen::Load, Screen::Host, Screen::Sockets, Screen::Profile, Screen::Findings];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Screen::Overview => "overview",
            Screen::Load => "load",
            Screen::Host => "host",
            Screen::Sockets => "sockets",
            Screen::Profile => "profile",
            Screen::Findings => "findings",
        }
    }
}

/// A way on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Towards the top.
    Up,
    /// Towards the bottom.
    Down,
    /// Towards the left.
    Left,
    /// Towards the right.
    Right,
}

/// A way to look at the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The next sample type: time on a CPU, time waited, bytes allocated, …
    SampleType,
    /// What is not selected, or what is.
    Rest,
    /// What is selected as its difference to the rest, or as it is.
    Against,
    /// What is selected kept as what the next selection is compared with.
    Hold,
    /// Callees on their callers, or below them.
    Upward,
    /// Threads of different names put together, or told apart.
    Merged,
    /// Hot spots by source line, or by function.
    ByLine,
}

/// What all panes are to be narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Narrow {
    /// A route.
    Route(Arc<str>),
    /// A CPU.
    Cpu(u32),
    /// A process.
    Process(u32),
    /// The soft interrupts of a CPU: their stacks.
    Softirq(u32),
    /// Threads of a name.
    Thread(Arc<str>),
    /// A symbol.
    Symbol(String),
    /// When requests with such response times were under way.
    Band(Band),
    /// A stretch of time: a capture's, or that of a finding.
    Span(Span),
    /// An instant to look at: a mark's, or that of a fault.
    At(At),
}

/// What a user asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Leave.
    Quit,
    /// Show another screen.
    Show(Screen),
    /// Focus the next pane.
    NextPane,
    /// Focus the previous pane.
    PreviousPane,
    /// Focus a pane by its name.
    Focus(&'static str),
    /// Focus a pane whose time axis was taken hold of at an instant, on a line of the pane.
    Grab(&'static str, At, u16),
    /// Take what is pointed at: narrow to the row, zoom into the frame, or zoom the pane.
    Open,
    /// Give the focused pane the whole screen, or take it back.
    Zoom,
    /// One step back: help, zoom, search, selection.
    Back,
    /// Show or hide help.
    Help,
    /// Type what to search for.
    Search,
    /// Type one character of it.
    Type(char),
    /// Take the last typed character away.
    Erase,
    /// Take a profile.
    Capture,
    /// Set a mark.
    Mark,
    /// Offer more (positive) or less: ten per cent each.
    Rate(i32),
    /// Pause the load, or let it go on.
    PauseLoad,
    /// Point at another row, so many further down.
    Row(i32),
    /// Point at this row of a pane.
    RowAt(&'static str, usize),
    /// Move the cursor by so many steps of the time axis.
    Scrub(i32),
    /// Move the cursor by so many half screens of the time axis.
    Page(i32),
    /// Move the cursor to an instant.
    ScrubTo(At),
    /// Move the cursor to the session's start.
    First,
    /// Follow the latest event.
    Follow,
    /// Follow, or hold the view where it is.
    HoldOrFollow,
    /// Move the cursor by so many steps and select what it passes.
    Select(i32),
    /// Select a stretch of time.
    SelectSpan(Span),
    /// Select a stretch of time and a band of response times: cells of the heat map.
    SelectCells(Span, Band),
    /// Narrow all panes.
    Narrow(Narrow),
    /// Show more (positive) or less time.
    Stretch(i32),
    /// Start or hold playback.
    PlayPause,
    /// Play faster (positive) or slower.
    Speed(i32),
    /// Sort the focused table by its next column.
    Sort,
    /// Look at the profile another way.
    Look(Look),
    /// Narrow to the thread or the function pointed at in the flame graph.
    Only,
    /// Narrow the stacks to the kernel's, to those of user space, or to neither.
    Ring,
    /// Narrow to when the slowest hundredth of requests was under way, or take it back.
    Slow,
    /// Move over the frames of the flame graph.
    Frame(Way),
    /// Point at the frame drawn so many cells right of and below the pane's inner corner.
    FrameAt(u16, u16),
    /// Paint everything anew.
    Redraw,
    /// Stop the process and hand the terminal back to the shell.
    Suspend,
}
