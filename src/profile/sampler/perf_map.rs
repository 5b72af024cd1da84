//! Names of code that was compiled while a program ran: the maps that runtimes write for `perf`
//! (tools/perf/Documentation/jit-interface.txt), `/tmp/perf-PID.map` as the process sees it.
//!
//! A runtime writes it while we read: a torn line costs that line. It lies where anybody may write,
//! so only a plain file of the process's own user, or root's, is believed, and never more of it than
//! a bound.
//!
//! Must not: wait for anything, or name what lies in files.

use super::files::open_plain;
use super::processes::Home;
use super::ranges::Ranges;
use rustix::fs::OFlags;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a map that are read.
const MOST_BYTES: u64 = 64 << 20;
/// Bytes of a name that are kept.
const LONGEST_NAME: usize = 1024;
/// Maps kept at the most.
const MOST_MAPS: usize = 64;

/// The maps of the processes sampled, by life.
#[derive(Debug, Default)]
pub(super) struct PerfMaps {
    by_life: HashMap<u32, Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    names: Ranges<Arc<str>>,
    /// Size and time of change of what was read.
    state: Option<(u64, i64, i64)>,
    /// The turn in which it was looked for last.
    looked: Option<u64>,
}

impl PerfMaps {
    /// The function at an address. The file is looked at again when it does not know and has
    /// changed; at most once per `turn`.
    pub(super) fn name(&mut self, root: &Path, life: u32, home: &Home, address: u64, turn: u64) -> Option<Arc<str>> {
        if self.by_life.len() >= MOST_MAPS && !self.by_life.contains_key(&life) {
            // Lives count up: the lowest is the oldest.
            let oldest = self.by_life.keys().min().copied();
            oldest.map(|life| self.by_life.remove(&life));
        }
        let kept = self.by_life.entry(life).or_default();
        if let Some(name) = kept.names.get(address) {
            return Some(name.clone());
        }
        if kept.looked == Some(turn) {
            return None;
        }
        kept.looked = Some(turn);
        let (mut file, state) = open(root, home)?;
        if kept.state != Some(state) {
            let mut text = Vec::new();
            file.by_ref().take(MOST_BYTES).read_to_end(&mut text).ok()?;
            kept.names = read(&text);
            kept.state = Some(state);
        }
        kept.names.get(address).cloned()
    }
}

/// The map in a file, as of now; `None` when there is none that may be believed: it must be a plain
/// file.
pub(in crate::profile) fn of_file(path: &Path) -> Option<Ranges<Arc<str>>> {
    let mut file = open_plain(path, OFlags::NOFOLLOW)?;
    let mut text = Vec::new();
    file.by_ref().take(MOST_BYTES).read_to_end(&mut text).ok()?;
    Some(read(&text))
}

fn open(root: &Path, home: &Home) -> Option<(File, (u64, i64, i64))> {
    let name = format!("tmp/perf-{}.map", home.inner_pid);
    let within = root.join(format!("proc/{}/root/{name}", home.pid));
    // Of a process that is gone the map stays, and is ours to see when the process saw our files.
    let ours = home.same_root.then(|| root.join(&name));
    std::iter::once(within).chain(ours).find_map(|path| {
        let file = open_plain(&path, OFlags::NOFOLLOW)?;
        let m = file.metadata().ok()?;
        let believed = m.uid() == home.uid || m.uid() == 0;
        believed.then(|| (file, (m.size(), m.mtime(), m.mtime_nsec())))
    })
}

/// `start size name` in hexadecimal, a line each; a later line wins where two overlap. A last line
/// without an end is being written.
fn read(text: &[u8]) -> Ranges<Arc<str>> {
    let mut names = Ranges::default();
    let whole = memchr::memrchr(b'\n', text).map_or(0, |end| end + 1);
    for line in text[..whole].split(|&b| b == b'\n') {
        let mut fields = line.splitn(3, |&b| b == b' ');
        let mut hex = || {
            let word = std::str::from_utf8(fields.next()?).ok()?;
            u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok()
        };
        let (Some(start), Some(size)) = (hex(), hex()) else { continue };
        let Some(name) = fields.next().map(<[u8]>::trim_ascii).filter(|n| !n.is_empty()) else { continue };
        let name = &name[..name.len().min(LONGEST_NAME)];
        names.insert(start, start.saturating_add(size), String::from_utf8_lossy(name).into());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_lines_cost_themselves_and_later_ones_win() {
        let names =
            read(b"1000 100 JS:*old a.js:1\n1050 10 new\nzz 1 x\n2000\n3000 10 \n0x4000 0x20 hex\n5000 10 torn");
        let name = |at| names.get(at).map(|n: &Arc<str>| n.to_string()).unwrap_or_default();
        assert_eq!((name(0x104f), name(0x1050), name(0x1060)), ("JS:*old a.js:1".into(), "new".into(), name(0x1000)));
        assert_eq!(
            (name(0x401f), name(0x3000), name(0x5000), name(0x2000)),
            ("hex".into(), "".into(), "".into(), "".into())
        );
        let long = [b"1 1 ".to_vec(), vec![b'x'; 5000], b"\n".to_vec()].concat();
        assert_eq!(read(&long).get(1).unwrap().len(), LONGEST_NAME);
    }

    #[test]
    fn a_map_is_read_again_when_it_has_grown_and_only_of_whom_it_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let tmp = dir.path().join("proc/7/root/tmp");
        std::fs::create_dir_all(&tmp).unwrap();
        let path = tmp.join("perf-3.map");
        std::fs::write(&path, "1000 10 a\n").unwrap();
        let uid = std::fs::metadata(&path).unwrap().uid();
        let home = Home { pid: 7, inner_pid: 3, uid, gid: 0, same_root: true, runtime: None };
        let mut maps = PerfMaps::default();
        let mut name = |home: &Home, at, turn| maps.name(dir.path(), 5, home, at, turn).map(|n| n.to_string());
        assert_eq!((name(&home, 0x1005, 1), name(&home, 0x2000, 1)), (Some("a".into()), None));
        std::fs::write(&path, "1000 10 a\n2000 10 b\n").unwrap();
        assert_eq!((name(&home, 0x2000, 1), name(&home, 0x2000, 2)), (None, Some("b".into())));
        let exists = |root: &Path, home: &Home| open(root, home).is_some();
        assert!(exists(dir.path(), &home));
        // Gone with its root: ours has it still.
        std::fs::create_dir_all(dir.path().join("tmp")).unwrap();
        std::fs::rename(&path, dir.path().join("tmp/perf-3.map")).unwrap();
        assert!(exists(dir.path(), &home) && !exists(dir.path(), &Home { same_root: false, ..home.clone() }));
        if uid != 0 {
            assert!(!exists(dir.path(), &Home { uid: uid + 1, ..home.clone() }));
        }
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(!exists(dir.path(), &Home { same_root: false, ..home }));
    }
}
