//! How far a profile can be trusted, counted while it is named, and told in short lines.
//!
//! Must not: change a sample, or leave out one that is bad.

use super::Taken;
use super::processes::{Processes, Runtime, Site};
use super::symbols::COMPILED;
use crate::model::{Frame, FrameKind};
use std::collections::BTreeMap;

/// Processes told apart at the most.
const MOST_PROCESSES: usize = 1024;

/// Counts of one profile; of idle samples nothing but how many.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Samples, idle ones included.
    pub(super) samples: u64,
    /// Of them, those at work.
    working: u64,
    in_user: u64,
    in_user_unnamed: u64,
    /// In user space of processes that nobody but their user may look into.
    closed: u64,
    truncated: u64,
    cut: u64,
    by_pid: BTreeMap<u32, OfProcess>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct OfProcess {
    comm: String,
    runtime: Option<Runtime>,
    samples: u64,
    compiled: u64,
    compiled_unnamed: u64,
    cut: u64,
    closed: u64,
}

impl Tally {
    /// Counts a sample with its innermost frame.
    pub(super) fn count(&mut self, taken: &Taken, innermost: Option<&Frame>, processes: &Processes) {
        self.samples += 1;
        if taken.idle {
            return;
        }
        self.working += 1;
        let kernel = innermost.is_some_and(|f| f.kind.is_kernel());
        let unnamed = innermost.is_none_or(|f| f.symbol.starts_with('[') && &*f.symbol != "[vdso]");
        self.in_user += u64::from(!kernel);
        let closed = u64::from(!kernel && unnamed && processes.closed.contains(&taken.pid));
        self.in_user_unnamed += u64::from(!kernel && unnamed) - closed;
        self.closed += closed;
        let (truncated, cut) = match taken.chain.last() {
            Some(Site::Truncated) => (1, 0),
            Some(Site::NoFramePointers) => (0, 1),
            _ => (0, 0),
        };
        self.truncated += truncated;
        self.cut += cut;
        if taken.pid == 0 || (self.by_pid.len() >= MOST_PROCESSES && !self.by_pid.contains_key(&taken.pid)) {
            return;
        }
        let of = self.by_pid.entry(taken.pid).or_default();
        if of.samples == 0 {
            of.comm = crate::model::clean(&taken.comm, 16);
        }
        of.runtime = of.runtime.or_else(|| processes.runtime(taken.pid));
        of.samples += 1;
        of.cut += cut;
        of.closed += closed;
        if let Some(frame) = innermost.filter(|f| f.kind == FrameKind::Jit) {
            of.compiled += 1;
            of.compiled_unnamed += u64::from(&*frame.symbol == COMPILED);
        }
    }

    /// What the reader should know. `lost`: samples the kernel had no room for.
    pub(super) fn notes(&self, lost: u64) -> Vec<String> {
        let mut notes = Vec::new();
        if lost > 0 {
            notes.push(format!("{lost} samples were lost: the sampler's rings were full"));
        }
        let percent = |n: u64, of: u64| n as f64 * 100.0 / of.max(1) as f64;
        if percent(self.truncated, self.working) >= 1.0 {
            notes.push(format!(
                "{:.0} % of the stacks are deeper than the kernel copies and begin with [truncated]: sudo sysctl -w kernel.perf_event_max_stack=512",
                percent(self.truncated, self.working)
            ));
        }
        if percent(self.cut, self.working) >= 1.0 {
            notes.push(format!(
                "{:.0} % of the stacks end in code without frame pointers and begin with [no frame pointers]: build with -fno-omit-frame-pointer, or --call-graph dwarf",
                percent(self.cut, self.working)
            ));
        }
        let unnamed = percent(self.in_user_unnamed, self.in_user);
        if self.in_user > 0 && unnamed >= 10.0 {
            notes.push(format!(
                "{unnamed:.0} % of the samples in user space are in functions without a name: install debug symbols"
            ));
        }
        if percent(self.closed, self.in_user) >= 1.0 {
            let mut of: Vec<&OfProcess> = self.by_pid.values().filter(|p| p.closed > 0).collect();
            of.sort_by_key(|p| std::cmp::Reverse(p.closed));
            let mut names: Vec<&str> = of.iter().map(|p| &*p.comm).collect();
            names.dedup();
            names.truncate(3);
            notes.push(format!(
                "{:.0} % of the samples in user space are of processes of other users, whose functions have no names ({}): run as root, or with CAP_SYS_PTRACE",
                percent(self.closed, self.in_user),
                names.join(", ")
            ));
        }
        notes.extend(self.hints());
        notes
    }

    /// How the frames of runtimes would have names.
    fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        let mut of: Vec<(&u32, &OfProcess)> = self.by_pid.iter().collect();
        of.sort_by_key(|(pid, p)| (std::cmp::Reverse(p.samples), **pid));
        let matters = |n: u64, of: u64| n * 10 >= of.max(1);
        for (pid, p) in of.into_iter().filter(|(_, p)| matters(p.samples, self.working)).take(3) {
            let who = format!("process {pid} ({})", p.comm);
            let unnamed = matters(p.compiled_unnamed, p.samples);
            match p.runtime {
                Some(Runtime::Jvm) if unnamed => {
                    hints.push(format!(
                        "{who}: compiled methods without names: it needs JDK 17 for jcmd Compiler.perfmap"
                    ));
                }
                Some(Runtime::Jvm) if matters(p.cut, p.samples) => {
                    hints.push(format!("{who}: Java callers are missing: start it with -XX:+PreserveFramePointer"));
                }
                Some(Runtime::Node) if unnamed => hints.push(format!(
                    "{who}: functions without names: start it with --perf-basic-prof --interpreted-frames-native-stack"
                )),
                Some(Runtime::Python) if p.compiled == 0 => {
                    hints.push(format!(
                        "{who}: Python functions show as the interpreter's: start it with -X perf (3.12)"
                    ));
                }
                None if unnamed => {
                    hints.push(format!("{who}: compiled code without names: it writes no /tmp/perf-{pid}.map"));
                }
                _ => {}
            }
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::taken;
    use super::*;
    use std::path::Path;

    #[test]
    fn a_profile_without_flaws_has_no_notes_and_losses_are_told() {
        let processes = Processes::new(Path::new("/nonexistent"));
        let (mut tally, frame) = (Tally::default(), Frame::new("f", "x", FrameKind::User));
        tally.count(&taken(1, 0, 7, 60), Some(&frame), &processes);
        tally.count(&taken(2, 0, 0, 40), None, &processes);
        assert_eq!((tally.notes(0), tally.samples), (Vec::new(), 2));
        assert!(tally.notes(3)[0].starts_with("3 samples were lost"));
    }

    #[test]
    fn what_cuts_stacks_and_hides_names_is_told_with_its_mend() {
        let processes = Processes::new(Path::new("/nonexistent"));
        let mut tally = Tally::default();
        for (last, frame) in [
            (Site::Truncated, Frame::new("f", "x", FrameKind::User)),
            (Site::NoFramePointers, Frame::new("[x]", "x", FrameKind::User)),
            (Site::Unknown, Frame::new("[kernel]", "", FrameKind::Kernel)),
            (Site::Unknown, Frame::new(COMPILED, "", FrameKind::Jit)),
        ] {
            let chain = [Site::Unknown, last][..].into();
            tally.count(&Taken { chain, ..taken(1, 0, 7, 1) }, Some(&frame), &processes);
        }
        let notes = tally.notes(0);
        let parts =
            ["25 % of the stacks are deeper", "25 % of the stacks end", "67 % of the samples in user", "perf-7.map"];
        assert_eq!(notes.len(), parts.len(), "{notes:?}");
        assert!(notes.iter().zip(parts).all(|(note, part)| note.contains(part)), "{notes:?}");
    }

    #[test]
    fn processes_that_only_their_user_may_look_into_are_told_by_name() {
        let mut processes = Processes::new(Path::new("/nonexistent"));
        processes.closed.insert(8);
        let mut tally = Tally::default();
        for pid in [7, 7, 8, 8] {
            tally.count(&taken(1, 0, pid, 1), Some(&Frame::new("[unknown]", "", FrameKind::User)), &processes);
        }
        let notes = tally.notes(0);
        assert!(notes[0].starts_with("50 % of the samples in user space are in functions without a name"), "{notes:?}");
        assert!(notes[1].starts_with("50 % of the samples in user space are of processes of other users"), "{notes:?}");
        assert!(notes[1].contains("(x)") && notes.len() == 2, "{notes:?}");
    }

    #[test]
    fn each_runtime_has_its_hint() {
        let of = |runtime, compiled, compiled_unnamed, cut| {
            let p = OfProcess {
                comm: "x".into(),
                runtime: Some(runtime),
                samples: 10,
                compiled,
                compiled_unnamed,
                cut,
                closed: 0,
            };
            Tally { working: 10, by_pid: BTreeMap::from([(7, p)]), ..Tally::default() }.hints().join("|")
        };
        assert!(of(Runtime::Jvm, 9, 9, 0).contains("JDK 17"));
        assert!(of(Runtime::Jvm, 9, 0, 5).contains("PreserveFramePointer"));
        assert!(of(Runtime::Node, 9, 9, 0).contains("--perf-basic-prof"));
        assert!(of(Runtime::Python, 0, 0, 0).contains("-X perf"));
        assert_eq!(of(Runtime::Python, 3, 0, 0) + &of(Runtime::Jvm, 9, 0, 0) + &of(Runtime::Node, 9, 0, 0), "");
    }
}
