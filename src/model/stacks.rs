//! Call stacks with time, CPU and thread: what a profile is made of.
//!
//! Must not: know perf, or how a flame graph looks.

use super::{At, CaptureId};
use std::collections::HashMap;
use std::sync::Arc;

/// A map for what is looked up once for every frame of every sample. Its hash is seeded by each process, so that
/// nobody can choose names that fall together.
pub type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A frame of a [`StackTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(
    /// Index into [`StackTable::frames`].
    pub u32,
);

/// A stack of a [`StackTable`]: the node of its innermost frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(
    /// Index into [`StackTable::nodes`].
    pub u32,
);

/// One function on a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Function name as the symboliser gave it (untrusted), or `[module]` when unknown.
    pub symbol: Arc<str>,
    /// Base name of the binary, library or kernel module, empty when unknown.
    pub module: Arc<str>,
    /// What kind of code it is.
    pub kind: FrameKind,
    /// Where in the source it was, when that is known.
    pub line: Option<SourceLine>,
}

impl Frame {
    /// A frame without a source line.
    pub fn new(symbol: impl Into<Arc<str>>, module: impl Into<Arc<str>>, kind: FrameKind) -> Frame {
        Frame { symbol: symbol.into(), module: module.into(), kind, line: None }
    }

    /// A frame out of a name whose end says of what kind it is (see [`FrameKind::suffix`]), as files of
    /// tools that know no kinds have it.
    pub fn marked(text: &str) -> Frame {
        let mut marked = FrameKind::ALL.into_iter().filter(|k| !k.suffix().is_empty());
        let found = marked.find_map(|kind| Some((text.strip_suffix(kind.suffix())?, kind)));
        let (symbol, kind) = found.filter(|(s, _)| !s.is_empty()).unwrap_or((text, FrameKind::User));
        Frame::new(if symbol.is_empty() { "[unknown]" } else { symbol }, "", kind)
    }
}

/// A line of source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceLine {
    /// The file as the debug information names it (untrusted).
    pub file: Arc<str>,
    /// The line, from 1; 0 when only the file is known.
    pub line: u32,
}

/// What kind of code a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKind {
    /// A function of a program or library.
    #[default]
    User,
    /// The kernel's or a kernel module's.
    Kernel,
    /// Compiled while the program ran; its name comes from a perf map.
    Jit,
    /// Inlined into its caller: known from debug information only.
    Inlined,
}

impl FrameKind {
    /// Every kind; its place is its number in sessions.
    pub const ALL: [FrameKind; 4] = [FrameKind::User, FrameKind::Kernel, FrameKind::Jit, FrameKind::Inlined];

    /// Its name as shown.
    pub fn name(self) -> &'static str {
        match self {
            FrameKind::User => "user",
            FrameKind::Kernel => "kernel",
            FrameKind::Jit => "jit",
            FrameKind::Inlined => "inlined",
        }
    }

    /// What flame graph tools append to a name of this kind (`stackcollapse-perf --all`).
    pub fn suffix(self) -> &'static str {
        match self {
            FrameKind::User => "",
            FrameKind::Kernel => "_[k]",
            FrameKind::Jit => "_[j]",
            FrameKind::Inlined => "_[i]",
        }
    }

    /// Whether it ran in the kernel.
    pub fn is_kernel(self) -> bool {
        self == FrameKind::Kernel
    }
}

/// Stacks as a prefix tree: a stack is a path from a root (outermost frame) to a node, so
/// memory is bounded by distinct stacks and shared callers are kept once.
#[derive(Clone, Debug, Default)]
pub struct StackTable {
    /// The distinct frames.
    pub frames: Vec<Frame>,
    /// The nodes: (the caller's node, the frame). A caller comes before its callees.
    pub nodes: Vec<(Option<StackId>, FrameId)>,
    frame_index: FastMap<Frame, FrameId>,
    node_index: FastMap<(Option<StackId>, FrameId), StackId>,
}

impl PartialEq for StackTable {
    fn eq(&self, other: &StackTable) -> bool {
        self.frames == other.frames && self.nodes == other.nodes
    }
}

impl StackTable {
    /// The id of a frame, added when new.
    pub fn frame(&mut self, frame: Frame) -> FrameId {
        if let Some(&id) = self.frame_index.get(&frame) {
            return id;
        }
        let id = FrameId(self.frames.len() as u32);
        self.frames.push(frame.clone());
        self.frame_index.insert(frame, id);
        id
    }

    /// The stack `caller` extended by `frame`, added when new.
    pub fn push(&mut self, caller: Option<StackId>, frame: FrameId) -> StackId {
        *self.node_index.entry((caller, frame)).or_insert_with(|| {
            self.nodes.push((caller, frame));
            StackId(self.nodes.len() as u32 - 1)
        })
    }

    /// Takes over a stack of another table, and of that only what the stack holds. `known`: by node
    /// of `from`, what it became here; as long as `from.nodes`, at first all `None`. A damaged table
    /// (ids out of range, a callee before its caller) costs those frames, nothing else.
    pub fn adopt(&mut self, from: &StackTable, known: &mut [Option<StackId>], stack: StackId) -> Option<StackId> {
        let mut path = Vec::new();
        let mut caller = None;
        let mut next = Some(stack);
        while let Some(id) = next {
            let n = id.0 as usize;
            let Some(&(above, frame)) = from.nodes.get(n) else { break };
            if let Some(done) = known[n] {
                caller = Some(done);
                break;
            }
            path.push((n, frame));
            next = above.filter(|a| a.0 < id.0);
        }
        for (n, frame) in path.into_iter().rev() {
            let frame = from.frames.get(frame.0 as usize).cloned();
            let frame = self.frame(frame.unwrap_or_else(|| Frame::new("[unknown]", "", FrameKind::User)));
            let node = self.push(caller, frame);
            known[n] = Some(node);
            caller = Some(node);
        }
        caller
    }

    /// The stack's frames from the innermost to the outermost.
    pub fn walk(&self, stack: StackId) -> impl Iterator<Item = FrameId> + '_ {
        let mut next = Some(stack);
        std::iter::from_fn(move || {
            let (caller, frame) = *self.nodes.get(next?.0 as usize)?;
            next = caller;
            Some(frame)
        })
    }
}

/// One sample of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was taken.
    pub at: At,
    /// On which CPU.
    pub cpu: u32,
    /// Of which process (0: the idle task).
    pub pid: u32,
    /// Of which thread.
    pub tid: u32,
    /// The thread's name (untrusted).
    pub comm: Arc<str>,
    /// Its stack; `None` when the sample came without frames.
    pub stack: Option<StackId>,
    /// What it stands for, in the profile's unit.
    pub weight: u64,
}

/// Samples of one capture, with the table their stacks are in.
#[derive(Clone, Debug, PartialEq)]
pub struct Stacks {
    /// When the batch was ready.
    pub at: At,
    /// The capture it belongs to.
    pub capture: CaptureId,
    /// The event sampled: `cycles`, `cpu-clock`, …
    pub event: Arc<str>,
    /// The unit of the weights: `ns` for clocks, `cycles`, …
    pub unit: Arc<str>,
    /// The frames and stacks of these samples.
    pub table: StackTable,
    /// The samples, in time order.
    pub samples: Vec<Sample>,
    /// Samples the kernel or perf says were lost.
    pub lost: u64,
}

impl Stacks {
    /// The same samples over a table that holds only what they use, in the order of their use.
    pub fn tidy(&self) -> Stacks {
        let mut table = StackTable::default();
        let mut known = vec![None; self.table.nodes.len()];
        let mut samples = self.samples.clone();
        for sample in &mut samples {
            sample.stack = sample.stack.and_then(|s| table.adopt(&self.table, &mut known, s));
        }
        Stacks { table, samples, event: self.event.clone(), unit: self.unit.clone(), ..*self }
    }
}

/// Whether an event's weights are time or work on a CPU: clocks, cycles, pprof's `cpu`. Everything
/// else (bytes allocated, time waited) is never added to those.
pub fn is_on_cpu(event: &str) -> bool {
    event.contains("clock") || event.contains("cycles") || event == "cpu"
}

/// How the events of threads that are not on a CPU begin: `off-cpu:blocked`, `off-cpu:runnable`,
/// `off-cpu:wchan`.
pub const OFF_CPU: &str = "off-cpu:";

/// How the innermost frame of a thread begins that waits because it has nothing to do.
pub const IDLE_WAIT: &str = "[idle";

/// Whether a sample is of somebody who has nothing to do: the idle task of a CPU, or a thread that
/// waits for work, whose innermost frame is a marker that begins with [`IDLE_WAIT`].
pub fn is_idle(event: &str, pid: u32, innermost: Option<&str>) -> bool {
    if event.starts_with(OFF_CPU) {
        innermost.is_some_and(|symbol| symbol.starts_with(IDLE_WAIT))
    } else {
        // Process 0 idles unless its innermost frame is known to be something else: interrupts are
        // served in its name too.
        pid == 0 && innermost.is_none_or(is_waiting)
    }
}

/// Whether this is where a CPU without work waits, when it is the innermost frame of the idle task;
/// interrupts are served in its name too. A function without a name counts as waiting.
pub fn is_waiting(symbol: &str) -> bool {
    // By architecture and driver: drivers/cpuidle, arch/*/kernel/process.c.
    const WAITING: &[&str] = &[
        "default_idle",
        "safe_halt",
        "intel_idle",
        "acpi_idle",
        "acpi_safe_halt",
        "mwait_idle",
        "amd_e400_idle",
        "cpuidle_",
        "cpu_idle",
        "do_idle",
        "poll_idle",
        "haltpoll",
        "cpu_do_idle",
        "arch_cpu_idle",
        "cpu_startup_entry",
        "io_idle",
        "tdx_halt",
        "psci_",
        "wfi",
    ];
    symbol.starts_with('[') || WAITING.iter().any(|w| symbol.contains(w))
}
