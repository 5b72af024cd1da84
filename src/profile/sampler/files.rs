//! The files that programs are mapped from, opened when first seen: a name is found later though
//! the file was deleted, replaced or lies in another mount namespace, and its process is gone.
//!
//! Must not: read what is in a file, or open what is no plain file (a device, a pipe).

use rustix::fs::OFlags;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files held open at the most.
const MOST_OPEN: usize = 512;
/// The share of the descriptors there may be that is taken at the most: the load needs them.
const SHARE: u64 = 20;
/// Files known at the most.
const MOST: usize = 1 << 16;

/// Device (major, minor) and inode, as mappings name a file.
pub(super) type Inode = (u32, u32, u64);

/// A mapped file.
#[derive(Debug)]
pub(super) struct Known {
    /// Its base name.
    pub(super) module: Arc<str>,
    path: PathBuf,
    file: Option<File>,
    /// Size and time of change when it was opened.
    state: (u64, i64, i64),
}

/// Where a mapping is: the process, its range there, and the name it has in the process's root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) pid: u32,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) path: &'a str,
}

/// All files seen.
#[derive(Debug)]
pub(in crate::profile) struct Files {
    root: PathBuf,
    numbers: HashMap<Inode, u32>,
    known: Vec<Known>,
    open: usize,
    most_open: usize,
    /// How often all descriptors were given back, so that who holds on to one notices.
    pub(super) generation: u32,
}

impl Files {
    /// `root`: below it is proc; `/` but in tests.
    pub(in crate::profile) fn new(root: &Path) -> Files {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most_open =
            limit.map_or(MOST_OPEN, |n| usize::try_from(n / SHARE).unwrap_or(MOST_OPEN).clamp(1, MOST_OPEN));
        Files { root: root.into(), numbers: HashMap::new(), known: Vec::new(), open: 0, most_open, generation: 0 }
    }

    /// The number of a file; `None` when there are too many.
    pub(super) fn number(&mut self, inode: Inode, place: Place<'_>) -> Option<u32> {
        if let Some(&number) = self.numbers.get(&inode) {
            let known = &mut self.known[number as usize];
            match &known.file {
                // Written over in place, it is another program under the same inode.
                Some(file) if state(file).is_some_and(|s| s == known.state) => return Some(number),
                Some(_) => {}
                None if known.path == Path::new(place.path) => {
                    if let Some((file, state)) = open(&self.root, inode.2, place) {
                        (known.file, known.state) = (Some(file), state);
                        self.open += 1;
                    }
                    return Some(number);
                }
                // Never opened, so its inode was free to be taken by another file.
                None => {}
            }
        }
        if self.known.len() >= MOST {
            return None;
        }
        self.make_room();
        let opened = open(&self.root, inode.2, place);
        self.open += usize::from(opened.is_some());
        let (file, state) = opened.map_or((None, (0, 0, 0)), |(file, state)| (Some(file), state));
        let module = place.path.rsplit('/').next().unwrap_or_default().into();
        let number = u32::try_from(self.known.len()).ok()?;
        self.known.push(Known { module, path: place.path.into(), file, state });
        self.numbers.insert(inode, number);
        Some(number)
    }

    /// A file that was opened already, by nothing but its number; `None` when there are too many.
    pub(in crate::profile) fn adopt(&mut self, module: Arc<str>, file: File) -> Option<u32> {
        let number = u32::try_from(self.known.len()).ok().filter(|_| self.known.len() < MOST)?;
        self.make_room();
        self.open += 1;
        let state = state(&file).unwrap_or_default();
        self.known.push(Known { module, path: PathBuf::new(), file: Some(file), state });
        Some(number)
    }

    fn make_room(&mut self) {
        if self.open >= self.most_open {
            self.known.iter_mut().for_each(|k| k.file = None);
            self.open = 0;
            self.generation += 1;
        }
    }

    /// A file by its number.
    pub(super) fn get(&self, number: u32) -> Option<&Known> {
        self.known.get(number as usize)
    }

    /// The descriptor of a file, unless it could not be opened.
    pub(in crate::profile) fn file(&self, number: u32) -> Option<&File> {
        self.get(number)?.file.as_ref()
    }
}

fn state(file: &File) -> Option<(u64, i64, i64)> {
    file.metadata().ok().map(|m| (m.size(), m.mtime(), m.mtime_nsec()))
}

/// Opens what is mapped: by the mapping itself (which wants privileges), else by its name in the
/// process's root, else in ours. By name it may be another file by now: the inode tells. Not the
/// device, which mappings on overlay and btrfs have otherwise than stat(2).
fn open(root: &Path, inode: u64, place: Place<'_>) -> Option<(File, (u64, i64, i64))> {
    let Place { pid, start, end, path } = place;
    let ways = [
        root.join(format!("proc/{pid}/map_files/{start:x}-{end:x}")),
        root.join(format!("proc/{pid}/root{path}")),
        PathBuf::from(path),
    ];
    ways.iter().find_map(|way| {
        let plain = std::fs::metadata(way).ok().filter(|m| m.is_file() && m.ino() == inode)?;
        let file = open_plain(way, OFlags::empty())?;
        let m = file.metadata().ok().filter(|m| (m.ino(), m.dev()) == (plain.ino(), plain.dev()))?;
        Some((file, (m.size(), m.mtime(), m.mtime_nsec())))
    })
}

/// Opens a plain file to read, and nothing else: it may have become a pipe since it was looked at, whose
/// writer is never waited for (open(2), `O_NONBLOCK`).
pub(in crate::profile) fn open_plain(path: &Path, flags: OFlags) -> Option<File> {
    let flags = (flags | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    file.metadata().is_ok_and(|m| m.is_file()).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn text(files: &Files, number: u32) -> String {
        let mut text = String::new();
        files.file(number).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_file_stays_itself_after_it_was_deleted_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prog.1");
        let put = |text: &str| {
            std::fs::write(&path, text).unwrap();
            std::fs::metadata(&path).unwrap().ino()
        };
        let mut files = Files::new(Path::new("/nonexistent"));
        let shown = path.to_str().unwrap().to_string();
        let place = Place { pid: 1, start: 0, end: 1, path: &shown };
        let first = put("old");
        let one = files.number((8, 1, first), place).unwrap();
        assert_eq!(files.number((8, 1, first), place), Some(one));
        std::fs::remove_file(&path).unwrap();
        let second = put("newer");
        assert_ne!(first, second, "a file held open keeps its inode");
        let two = files.number((8, 1, second), place).unwrap();
        assert_eq!((text(&files, one), text(&files, two)), ("old".into(), "newer".into()));
        assert_eq!(&*files.get(two).unwrap().module, "prog.1");
        // Written over in place.
        put("quite another one");
        assert_ne!(files.number((8, 1, second), place), Some(two));
    }

    #[test]
    fn another_file_of_that_name_and_what_is_no_file_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "x").unwrap();
        let mut files = Files::new(Path::new("/nonexistent"));
        let place = Place { pid: 1, start: 0, end: 1, path: path.to_str().unwrap() };
        let wrong = std::fs::metadata(&path).unwrap().ino() + 1;
        let number = files.number((8, 1, wrong), place).unwrap();
        assert!(files.file(number).is_none() && &*files.get(number).unwrap().module == "x");
        // The inode is another path's now.
        let other = files.number((8, 1, wrong), Place { path: "/other", ..place }).unwrap();
        assert!(other != number && &*files.get(other).unwrap().module == "other");
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let inode = std::fs::metadata(&pipe).unwrap().ino();
        let number = files.number((8, 1, inode), Place { path: pipe.to_str().unwrap(), ..place }).unwrap();
        assert!(files.file(number).is_none());
    }

    #[test]
    fn descriptors_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(Path::new("/nonexistent"));
        for n in 0..files.most_open + 10 {
            let path = dir.path().join(n.to_string());
            std::fs::write(&path, "x").unwrap();
            let inode = std::fs::metadata(&path).unwrap().ino();
            let place = Place { pid: 1, start: 0, end: 1, path: path.to_str().unwrap() };
            files.number((8, 1, inode), place).unwrap();
        }
        assert_eq!((files.generation, files.open), (1, 10));
        assert!(files.file(0).is_none() && files.file(files.most_open as u32).is_some());
        assert_eq!(&*files.get(0).unwrap().module, "0");
    }
}
