//! What /proc tells of threads that wait: state, function in the kernel, time on CPUs and in their
//! queues. proc_pid_schedstat() and proc_pid_wchan() in fs/proc/base.c; proc(5).
//!
//! Must not: keep anything between two looks.

use std::path::Path;
use std::sync::Arc;

/// Threads looked at, at the most.
pub(super) const MOST: usize = 2048;

/// What a thread has had so far, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// On CPUs.
    pub(super) on_cpu: u64,
    /// In their queues: able to run, and others did.
    pub(super) queued: u64,
}

/// The threads of processes: (process, thread).
pub(super) fn of(root: &Path, pids: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut threads = Vec::new();
    for pid in pids {
        let tasks = std::fs::read_dir(root.join(format!("proc/{pid}/task")));
        let tids = tasks.into_iter().flatten().flatten().filter_map(|t| t.file_name().to_str()?.parse().ok());
        threads.extend(tids.map(|tid| (pid, tid)).take(MOST.saturating_sub(threads.len())));
    }
    threads
}

/// `None` where the kernel does not count it, or the thread is gone.
pub(super) fn times(root: &Path, (pid, tid): (u32, u32)) -> Option<Times> {
    parse(&std::fs::read_to_string(root.join(format!("proc/{pid}/task/{tid}/schedstat"))).ok()?)
}

fn parse(schedstat: &str) -> Option<Times> {
    let mut words = schedstat.split_ascii_whitespace().map(str::parse::<u64>);
    let times = Times { on_cpu: words.next()?.ok()?, queued: words.next()?.ok()? };
    // A kernel that does not count (sched_info off) writes zeros.
    let turns = words.next()?.ok()?;
    (times != Times::default() || turns > 0).then_some(times)
}

/// Where a thread that does not run waits, if it does; an empty name when that may not be seen.
pub(super) fn waits_in(root: &Path, (pid, tid): (u32, u32)) -> Option<Arc<str>> {
    let task = root.join(format!("proc/{pid}/task/{tid}"));
    let stat = std::fs::read_to_string(task.join("stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    if !rest.starts_with(['S', 'D', 'I', 'T', 't']) {
        return None;
    }
    let name = std::fs::read_to_string(task.join("wchan")).unwrap_or_default();
    // Just woken, or not shown to who asks.
    Some(if name == "0" { "".into() } else { name.trim().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_read_as_proc_has_it() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join("proc/7/task/8").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("schedstat", "64310 53578 2\n");
        put("stat", "8 (a) b) S 1 2 3");
        put("wchan", "futex_do_wait");
        assert_eq!(of(root.path(), [7, 9].into_iter()), [(7, 8)]);
        assert_eq!(times(root.path(), (7, 8)), Some(Times { on_cpu: 64310, queued: 53578 }));
        assert_eq!(waits_in(root.path(), (7, 8)).as_deref(), Some("futex_do_wait"));
        put("wchan", "0");
        assert_eq!(waits_in(root.path(), (7, 8)).as_deref(), Some(""));
        put("stat", "8 (a) b) R 1 2 3");
        assert_eq!((waits_in(root.path(), (7, 8)), times(root.path(), (7, 9))), (None, None));
        assert_eq!((parse("0 0 0"), parse("0 0 1"), parse("1 x")), (None, Some(Times::default()), None));
    }
}
