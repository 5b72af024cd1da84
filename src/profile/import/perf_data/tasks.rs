//! Which process has what mapped, and how its threads are called, as a recording's records say.
//!
//! As perf's own reader does: a new process has what its parent had, and who ended is still known under
//! its number, until another has it or room is wanted. An exec ends what was mapped before.
//!
//! Must not: ask /proc, or open what is mapped: they are of another time, and perhaps another machine.

use super::Stop;
use crate::model::FastMap;
use crate::profile::sampler::ranges::Ranges;
use crate::profile::sampler::record::{MmapRecord, Record};
use std::collections::HashSet;
use std::sync::Arc;

/// Mappings that are kept at a time: of every process its own.
const MOST_MAPPINGS: usize = if cfg!(test) { 1 << 16 } else { 6 << 20 };
/// Files told apart.
const MOST_FILES: usize = 1 << 16;
/// Threads and processes told apart.
const MOST_TASKS: usize = 1 << 20;
/// Bytes of a path that are kept (PATH_MAX).
const LONGEST_PATH: usize = 4096;

/// What an address is mapped from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapped {
    /// A file by its number; `moved`: what is added to an address (wrapping) for its place in it.
    File { number: u32, moved: u64 },
    /// Memory of the process with this number: what compiled code lies in.
    Memory { pid: u32 },
}

/// Where an address lay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Site {
    /// In the kernel proper.
    Kernel(u64),
    /// In a module of it or a BPF program, by its file's number.
    Module { number: u32, address: u64 },
    /// In a file, by its number and the place in it.
    File { number: u32, offset: u64 },
    /// In memory of a process without a file.
    Memory { pid: u32, address: u64 },
    /// Nowhere; `upper`: in the half of the addresses that is the kernel's.
    Nowhere { upper: bool },
}

/// A mapped file as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MappedFile {
    pub(super) path: Box<[u8]>,
    /// 0 when it was not recorded.
    pub(super) inode: u64,
    /// Empty when it was not recorded with the mapping.
    pub(super) build_id: Box<[u8]>,
    pub(super) executable: bool,
}

/// One address space. `version` is another one for every change of it.
#[derive(Clone, Debug, Default)]
struct Space {
    version: u32,
    /// Another program runs: the next mapping is its first.
    over: bool,
    maps: Arc<Ranges<Mapped>>,
}

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    spaces: FastMap<u32, Space>,
    comms: FastMap<u32, Arc<str>>,
    unnamed: FastMap<u32, Arc<str>>,
    kernel: Space,
    /// Where the kernel proper began. It ends where modules begin, which the record tells too low.
    kernel_at: Option<u64>,
    /// A symbol of the kernel and its address then, to tell how far it was moved at boot.
    pub(super) kernel_symbol: Option<(String, u64)>,
    pub(super) files: Vec<MappedFile>,
    numbers: FastMap<MappedFile, u32>,
    versions: u32,
    /// About how many there are; those of who has ended are dropped when there are too many.
    mappings: usize,
    ended: HashSet<u32>,
}

impl Tasks {
    /// Applies a record. `of_kernel`: it is made in the kernel's name.
    pub(super) fn apply(&mut self, record: &Record<'_>, of_kernel: bool) -> Result<(), Stop> {
        match *record {
            Record::Comm { pid, tid, exec, name, .. } => {
                bounded(self.comms.len(), MOST_TASKS, "threads")?;
                // Until it has mapped something it returns to nothing but where it came from.
                if let Some(space) = self.spaces.get_mut(&pid).filter(|_| exec) {
                    space.over = true;
                }
                self.comms.insert(tid, super::super::name(name).into());
            }
            Record::Fork { pid, ppid, tid, ptid, .. } => {
                bounded(self.comms.len().max(self.spaces.len()), MOST_TASKS, "threads")?;
                match self.comms.get(&ptid).cloned() {
                    Some(comm) => drop(self.comms.insert(tid, comm)),
                    None => drop(self.comms.remove(&tid)),
                }
                if pid != ppid {
                    self.ended.remove(&pid);
                    match self.spaces.get(&ppid).cloned() {
                        Some(space) => drop(self.spaces.insert(pid, space)),
                        None => drop(self.spaces.remove(&pid)),
                    }
                }
            }
            Record::Exit { pid, tid, .. } if pid == tid && self.ended.len() < MOST_TASKS => {
                self.ended.insert(pid);
            }
            Record::Mmap(ref map) if of_kernel || map.pid == u32::MAX => self.map_kernel(map)?,
            Record::Mmap(ref map) => self.map(map)?,
            _ => {}
        }
        Ok(())
    }

    fn map(&mut self, map: &MmapRecord<'_>) -> Result<(), Stop> {
        bounded(self.spaces.len(), MOST_TASKS, "processes")?;
        let mapped = if is_memory(map.path) && map.executable {
            Mapped::Memory { pid: map.pid }
        } else {
            Mapped::File { number: self.file(map)?, moved: map.pgoff.wrapping_sub(map.addr) }
        };
        self.versions += 1;
        let space = self.spaces.entry(map.pid).or_default();
        if std::mem::take(&mut space.over) {
            space.maps = Arc::default();
        }
        // What a parent and its child had together is theirs apart from now on.
        let copied = if Arc::strong_count(&space.maps) > 1 { space.maps.len() } else { 0 };
        self.mappings += 1 + copied;
        Arc::make_mut(&mut space.maps).insert(map.addr, map.addr.saturating_add(map.len), mapped);
        space.version = self.versions;
        if self.mappings < MOST_MAPPINGS {
            return Ok(());
        }
        // Half of it must be free then, or every next one would count them all again.
        self.sweep(map.pid);
        bounded(self.mappings, MOST_MAPPINGS / 2, "mappings")
    }

    /// Drops what those had mapped who have ended, and counts anew.
    fn sweep(&mut self, but: u32) {
        for pid in std::mem::take(&mut self.ended).into_iter().filter(|pid| *pid != but) {
            self.spaces.remove(&pid);
        }
        self.mappings = self.spaces.values().map(|s| s.maps.len() / Arc::strong_count(&s.maps)).sum();
    }

    /// The kernel itself (`[kernel.kallsyms]_text`: behind the bracket a symbol, whose address stands
    /// in the place of the offset), or a module of it.
    fn map_kernel(&mut self, map: &MmapRecord<'_>) -> Result<(), Stop> {
        let end = map.addr.saturating_add(map.len);
        if let Some(symbol) = map.path.strip_prefix(b"[kernel.kallsyms]") {
            self.kernel_at = Some(map.addr);
            self.kernel_symbol = Some((super::super::name(symbol), map.pgoff)).filter(|(name, _)| !name.is_empty());
            self.versions += 1;
            self.kernel.version = self.versions;
            return Ok(());
        }
        self.map_module(map.addr, end, map)
    }

    fn map_module(&mut self, start: u64, end: u64, map: &MmapRecord<'_>) -> Result<(), Stop> {
        let number = self.file(map)?;
        self.versions += 1;
        self.mappings += 1;
        bounded(self.mappings, MOST_MAPPINGS, "mappings")?;
        Arc::make_mut(&mut self.kernel.maps).insert(start, end, Mapped::File { number, moved: 0 });
        self.kernel.version = self.versions;
        Ok(())
    }

    /// PERF_RECORD_KSYMBOL: a BPF program was compiled.
    pub(super) fn map_program(&mut self, addr: u64, len: u32, name: &[u8]) -> Result<(), Stop> {
        let map = MmapRecord {
            pid: u32::MAX,
            addr,
            len: len.into(),
            pgoff: 0,
            inode: (0, 0, 0),
            build_id: &[],
            executable: true,
            path: name,
            time_ns: 0,
        };
        self.map_module(addr, addr.saturating_add(len.into()), &map)
    }

    fn file(&mut self, map: &MmapRecord<'_>) -> Result<u32, Stop> {
        let file = MappedFile {
            path: map.path[..map.path.len().min(LONGEST_PATH)].into(),
            inode: map.inode.2,
            build_id: map.build_id.into(),
            executable: map.executable,
        };
        if let Some(&number) = self.numbers.get(&file) {
            return Ok(number);
        }
        bounded(self.files.len(), MOST_FILES, "mapped files")?;
        let number = self.files.len() as u32;
        self.files.push(file.clone());
        self.numbers.insert(file, number);
        Ok(number)
    }

    /// A thread's name; `:7` when nobody told that of thread 7, as perf has it.
    pub(super) fn comm(&mut self, tid: u32) -> Arc<str> {
        if let Some(comm) = self.comms.get(&tid) {
            return comm.clone();
        }
        if self.unnamed.len() >= MOST_TASKS {
            self.unnamed.clear();
        }
        let unnamed = || if tid == 0 { "swapper".into() } else { format!(":{}", tid as i32).into() };
        self.unnamed.entry(tid).or_insert_with(unnamed).clone()
    }

    /// The version of what a process has mapped, or the kernel (`None`).
    pub(super) fn version(&self, pid: Option<u32>) -> u32 {
        match pid {
            None => self.kernel.version,
            Some(pid) => self.spaces.get(&pid).map_or(0, |s| s.version),
        }
    }

    /// Where an address of a process lies.
    pub(super) fn user(&self, pid: u32, address: u64) -> Site {
        match self.spaces.get(&pid).and_then(|s| s.maps.get(address)) {
            Some(&Mapped::File { number, moved }) => Site::File { number, offset: address.wrapping_add(moved) },
            Some(&Mapped::Memory { pid }) => Site::Memory { pid, address },
            None => Site::Nowhere { upper: address >> 63 == 1 },
        }
    }

    /// Where an address of the kernel lies.
    pub(super) fn kernel(&self, address: u64) -> Site {
        match self.kernel.maps.get(address) {
            Some(&Mapped::File { number, .. }) => Site::Module { number, address },
            _ if self.kernel_at.is_some_and(|start| address >= start) => Site::Kernel(address),
            _ => Site::Nowhere { upper: address >> 63 == 1 },
        }
    }
}

fn bounded(have: usize, most: usize, what: &str) -> Result<(), Stop> {
    if have < most { Ok(()) } else { Err(Stop::wrong(format!("it has more than {most} {what}"))) }
}

/// Names of memory without a file (tools/perf/util/map.c: `is_anon_memory`, `is_no_dso_memory`).
fn is_memory(path: &[u8]) -> bool {
    let prefixes: [&[u8]; 6] = [b"/dev/zero", b"/anon_hugepage", b"[stack", b"/SYSV", b"[heap]", b"[anon"];
    path.is_empty() || path == b"//anon" || prefixes.iter().any(|p| path.starts_with(p))
}
