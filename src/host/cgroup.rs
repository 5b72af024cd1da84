//! What the control group of this process holds it to: memory it may use, and the time a CPU
//! quota kept it off the CPUs. Source: Documentation/admin-guide/cgroup-v2.rst (memory.max,
//! cpu.stat) and cgroup-v1/memory.rst, scheduler/sched-bwc.rst.
//!
//! Must not: speak of other processes, or take a group that cannot be read for one without limits
//! of its parents.

use super::fields::{keyed, lines, number};
use std::path::{Component, Path, PathBuf};

/// Version 1 writes the greatest number of pages for "no limit"; nobody has a quarter of it.
const NO_LIMIT: u64 = 1 << 61;

/// The files that hold the limits.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Cgroup {
    /// One of each group from the process's own up to the root's.
    memory: Vec<PathBuf>,
    cpu: Vec<PathBuf>,
}

impl Cgroup {
    /// The groups that `/proc/PID/cgroup` names, below `root`.
    pub(super) fn of(root: &Path, proc_cgroup: &[u8]) -> Cgroup {
        let mount = root.join("sys/fs/cgroup");
        let mut found = Cgroup::default();
        for line in lines(proc_cgroup) {
            // hierarchy:controllers:path, cgroups(7)
            let mut parts = line.splitn(3, |b| *b == b':');
            let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let (Ok(controllers), Ok(path)) = (std::str::from_utf8(controllers), std::str::from_utf8(path)) else {
                continue;
            };
            if id == b"0" && controllers.is_empty() {
                found.memory.extend(upward(&mount, path, "memory.max"));
                found.cpu.extend(upward(&mount, path, "cpu.stat"));
            }
            for controller in controllers.split(',') {
                let base = mount.join(controllers);
                match controller {
                    "memory" => found.memory.extend(upward(&base, path, "memory.limit_in_bytes")),
                    "cpu" => found.cpu.extend(upward(&base, path, "cpu.stat")),
                    _ => {}
                }
            }
        }
        found
    }

    /// The least memory limit on the path, bytes; `None` without any.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        let read = |p: &PathBuf| number(std::fs::read(p).ok()?.trim_ascii());
        self.memory.iter().filter_map(read).filter(|n| *n < NO_LIMIT).min()
    }

    /// How long a quota has kept the group off the CPUs so far, µs: by the group of the path that
    /// was kept off longest. `None` where no group counts it.
    pub(super) fn throttled_us(&self) -> Option<u64> {
        let read = |p: &PathBuf| {
            let stat = std::fs::read(p).ok()?;
            keyed(&stat, b"throttled_usec ").or_else(|| Some(keyed(&stat, b"throttled_time ")? / 1000))
        };
        self.cpu.iter().filter_map(read).max()
    }
}

/// The file of each group from `path` up to the mount itself. In a container without a cgroup
/// namespace the path is the host's and is not there; the mount is then the group itself.
fn upward(mount: &Path, path: &str, file: &str) -> Vec<PathBuf> {
    let relative = Path::new(path.trim_start_matches('/'));
    // Seen from outside of one's namespace the path begins with `..`.
    if !relative.components().all(|c| matches!(c, Component::Normal(_))) {
        return vec![mount.join(file)];
    }
    relative.ancestors().map(|group| mount.join(group).join(file)).filter(|p| p.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join("sys/fs/cgroup").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_least_limit_of_the_path_counts() {
        let dir = tree(&[
            ("a/b/memory.max", "max\n"),
            ("a/memory.max", "1073741824\n"),
            ("a/b/cpu.stat", "usage_usec 5\nnr_throttled 2\nthrottled_usec 77\n"),
        ]);
        let g = Cgroup::of(dir.path(), b"0::/a/b\n");
        assert_eq!((g.memory_limit(), g.throttled_us()), (Some(1 << 30), Some(77)));
        let g = Cgroup::of(dir.path(), b"0::/\n");
        assert_eq!((g.memory_limit(), g.throttled_us()), (None, None));
    }

    #[test]
    fn version_one_has_other_files_and_a_number_for_no_limit() {
        let dir = tree(&[
            ("memory/x/memory.limit_in_bytes", "4096\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cpu,cpuacct/cpu.stat", "nr_periods 0\nthrottled_time 5000000\n"),
        ]);
        let g = Cgroup::of(dir.path(), b"4:memory:/x\n2:cpu,cpuacct:/gone\n0::/\n");
        assert_eq!((g.memory_limit(), g.throttled_us()), (Some(4096), Some(5000)));
        assert_eq!(Cgroup::of(dir.path(), b"4:memory:/\n").memory_limit(), None);
    }

    #[test]
    fn what_is_not_understood_is_no_limit() {
        let dir = tree(&[("memory.max", "12\n")]);
        for text in [&b""[..], b"\xff:\xff", b"0::/\xff", b"x", b"0::"] {
            let _ = Cgroup::of(dir.path(), text).memory_limit();
        }
        assert_eq!(Cgroup::of(dir.path(), b"0::/../../etc\n").memory_limit(), Some(12));
    }
}
