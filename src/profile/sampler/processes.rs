//! Which process has what mapped, and how its threads are called, as of the time of each sample:
//! the kernel's records are applied in order, and /proc is read for who was there before.
//!
//! A process is known by its *life*: a number of its own for every program it runs, so that an exec
//! or another process under the same number is never taken for it.
//!
//! Must not: name a function, or trust /proc about a process that has changed since.

use super::files::Files;
use super::maps::{Backing, Maps, Told};
use super::record::{MmapRecord, Record};
use crate::profile::jit::Jvm;
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Processes whose mappings are kept, at the most.
const MOST_PROCESSES: usize = 1024;
/// Threads whose names are kept, at the most.
const MOST_THREADS: usize = 8192;
/// Lives with compiled code that are remembered, at the most.
const MOST_HOMES: usize = 256;

/// Where an address of a call chain lay when it was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::profile) enum Site {
    /// In the kernel.
    Kernel(u64),
    /// In a file, by its number and the place in it.
    File { number: u32, offset: u64 },
    /// In memory without a file.
    Anonymous { life: u32, address: u64 },
    /// In what the kernel maps into processes.
    Vdso,
    /// Nowhere, or nobody knows.
    Unknown,
    /// In place of callers: the stack goes on in code without frame pointers.
    NoFramePointers,
    /// In place of callers: the stack was deeper than the kernel copies.
    Truncated,
}

/// A process that runs compiled code: where its map of it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) pid: u32,
    /// Its number in its own namespace, by which it names its map.
    pub(super) inner_pid: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether it sees the same files as we do.
    pub(super) same_root: bool,
    pub(super) runtime: Option<Runtime>,
}

/// What compiles code while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::profile) enum Runtime {
    Jvm,
    Node,
    Python,
}

#[derive(Clone, Debug)]
struct Process {
    life: u32,
    maps: Arc<Maps>,
    seen: u64,
}

/// All processes seen.
#[derive(Debug)]
pub(in crate::profile) struct Processes {
    root: PathBuf,
    pub(super) files: Files,
    by_pid: HashMap<u32, Process>,
    comms: HashMap<u32, (Arc<str>, u64)>,
    homes: HashMap<u32, Home>,
    /// Processes that run another program, or are others, later than what is being looked at:
    /// /proc tells of that already.
    ahead: HashSet<u32>,
    /// Processes whose mappings only their user may read.
    pub(super) closed: HashSet<u32>,
    lives: u32,
    turn: u64,
    swapper: Arc<str>,
}

impl Processes {
    /// `root`: below it is proc; `/` but in tests.
    pub(in crate::profile) fn new(root: &Path) -> Processes {
        Processes {
            root: root.into(),
            files: Files::new(root),
            by_pid: HashMap::new(),
            comms: HashMap::new(),
            homes: HashMap::new(),
            ahead: HashSet::new(),
            closed: HashSet::new(),
            lives: 0,
            turn: 0,
            swapper: "swapper".into(),
        }
    }

    /// Begins a batch of records, all of which are here: what the kernel will have done by the end
    /// of it, /proc may show from now on.
    pub(in crate::profile) fn look_ahead<'a>(&mut self, records: impl Iterator<Item = Record<'a>>) {
        self.turn += 1;
        self.ahead.clear();
        for record in records {
            match record {
                Record::Comm { pid, exec: true, .. } => self.ahead.insert(pid),
                Record::Fork { pid, ppid, .. } if pid != ppid => self.ahead.insert(pid),
                _ => continue,
            };
        }
    }

    /// Applies what a record says of tasks and mappings.
    pub(in crate::profile) fn apply(&mut self, record: &Record<'_>) {
        match *record {
            Record::Comm { pid, tid, exec, name, .. } => {
                self.name(tid, &String::from_utf8_lossy(name));
                if exec {
                    self.ahead.remove(&pid);
                    self.begin(pid, Arc::default());
                }
            }
            Record::Fork { pid, ppid, tid, ptid, .. } => {
                // A parent goes on forking, so it is worth being read once for all its children,
                // which may be gone before anybody could read theirs.
                let parent = if pid == ppid || ppid == 0 { None } else { self.process(ppid) };
                match self.known_comm(ppid, ptid) {
                    Some(comm) => drop(self.comms.insert(tid, (comm, self.turn))),
                    None => drop(self.comms.remove(&tid)),
                }
                if pid != ppid {
                    self.ahead.remove(&pid);
                    match parent {
                        Some(parent) => self.begin(pid, parent.maps),
                        None => drop(self.by_pid.remove(&pid)),
                    }
                }
            }
            // Its last moments in the kernel come after that, still under its name.
            Record::Exit { pid, tid, .. } if pid == tid => drop(self.by_pid.remove(&pid)),
            Record::Mmap(MmapRecord { pid, addr, len, pgoff, inode, executable: true, path, .. }) => {
                // Of others everything is read when they are first sampled.
                if let Some(process) = self.by_pid.get_mut(&pid) {
                    let path = String::from_utf8_lossy(path);
                    let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
                    let told = Told { start: addr, end: addr.saturating_add(len), pgoff, inode, path };
                    Arc::make_mut(&mut process.maps).insert(&told, pid, &mut self.files);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, pid: u32, maps: Arc<Maps>) {
        self.closed.remove(&pid);
        if self.by_pid.len() >= MOST_PROCESSES {
            forget_oldest(&mut self.by_pid, |p| p.seen);
        }
        self.lives = self.lives.wrapping_add(1);
        let process = Process { life: self.lives, maps, seen: self.turn };
        self.by_pid.insert(pid, process);
    }

    fn name(&mut self, tid: u32, comm: &str) -> Arc<str> {
        if self.comms.len() >= MOST_THREADS {
            forget_oldest(&mut self.comms, |c| c.1);
        }
        let comm: Arc<str> = comm.into();
        self.comms.insert(tid, (comm.clone(), self.turn));
        comm
    }

    /// The name of a thread.
    pub(in crate::profile) fn comm(&mut self, pid: u32, tid: u32) -> Arc<str> {
        if tid == 0 {
            return self.swapper.clone();
        }
        self.known_comm(pid, tid).unwrap_or_else(|| "[exited]".into())
    }

    fn known_comm(&mut self, pid: u32, tid: u32) -> Option<Arc<str>> {
        if let Some((comm, seen)) = self.comms.get_mut(&tid) {
            *seen = self.turn;
            return Some(comm.clone());
        }
        if self.ahead.contains(&pid) {
            return None;
        }
        // Who is gone is not noted: its number is another's soon.
        let comm = std::fs::read(self.root.join(format!("proc/{pid}/task/{tid}/comm"))).ok()?;
        Some(self.name(tid, &String::from_utf8_lossy(comm.trim_ascii_end())))
    }

    /// The process's mappings as of the record being looked at; `None` when nobody knows.
    fn process(&mut self, pid: u32) -> Option<Process> {
        if !self.by_pid.contains_key(&pid) {
            if self.ahead.contains(&pid) {
                return None;
            }
            let text = std::fs::read(self.root.join(format!("proc/{pid}/maps")));
            if matches!(&text, Err(e) if e.kind() == ErrorKind::PermissionDenied) && self.closed.len() < MOST_PROCESSES
            {
                self.closed.insert(pid);
            }
            let text = text.unwrap_or_default();
            let maps = Maps::read(&String::from_utf8_lossy(&text), pid, &mut self.files);
            if maps.is_empty() && text.is_empty() {
                return None;
            }
            self.begin(pid, Arc::new(maps));
        }
        let process = self.by_pid.get_mut(&pid)?;
        process.seen = self.turn;
        Some(process.clone())
    }

    /// Where addresses of a process's user space lie, innermost first: the first as it is, of the
    /// rest (which are where calls return to) the byte before. Stops before the first that lies in
    /// nothing that can run, and says so.
    pub(super) fn sites(&mut self, pid: u32, addresses: &[u64], into: &mut Vec<Site>) {
        let Some(process) = self.process(pid).filter(|p| !p.maps.is_empty()) else {
            into.push(Site::Unknown);
            return;
        };
        for (n, &address) in addresses.iter().enumerate() {
            let address = if n == 0 { address } else { address.wrapping_sub(1) };
            let site = match process.maps.at(address) {
                Some(Backing::File { number, moved }) => Site::File { number, offset: address.wrapping_add(moved) },
                Some(Backing::Anonymous) => {
                    self.home(&process, pid);
                    Site::Anonymous { life: process.life, address }
                }
                Some(Backing::Vdso) => Site::Vdso,
                None if n == 0 => Site::Unknown,
                None => {
                    into.push(Site::NoFramePointers);
                    return;
                }
            };
            into.push(site);
        }
    }

    /// Notes where the map of a process's compiled code will be, while it lives.
    fn home(&mut self, process: &Process, pid: u32) {
        if self.homes.contains_key(&process.life) {
            return;
        }
        if self.homes.len() >= MOST_HOMES {
            // Lives count up: the lowest is the oldest.
            forget_oldest(&mut self.homes, |_| 0);
        }
        let runtime = self.runtime_of(&process.maps);
        let home = home(&self.root, pid, runtime);
        self.homes.insert(process.life, home);
    }

    /// Where the map of a life's compiled code is.
    pub(super) fn home_of(&self, life: u32) -> Option<&Home> {
        self.homes.get(&life)
    }

    /// A life that is a Java process's.
    pub(in crate::profile) fn jvm(&self, life: u32) -> Option<Jvm> {
        let home = self.homes.get(&life).filter(|h| h.runtime == Some(Runtime::Jvm))?;
        // Its number may be another process's by now.
        let same = self.by_pid.get(&home.pid).is_some_and(|p| p.life == life);
        same.then_some(Jvm { pid: home.pid, uid: home.uid, gid: home.gid })
    }

    /// What compiles code in a process that was sampled.
    pub(in crate::profile) fn runtime(&self, pid: u32) -> Option<Runtime> {
        self.runtime_of(&self.by_pid.get(&pid)?.maps)
    }

    fn runtime_of(&self, maps: &Maps) -> Option<Runtime> {
        maps.files().filter_map(|n| runtime(&self.files.get(n)?.module)).min()
    }

    /// Below it is proc.
    pub(in crate::profile) fn root(&self) -> &Path {
        &self.root
    }
}

/// By the base name of a mapped file.
fn runtime(module: &str) -> Option<Runtime> {
    let python = module.strip_prefix("libpython").or_else(|| module.strip_prefix("python"));
    match module {
        "libjvm.so" => Some(Runtime::Jvm),
        "node" | "nodejs" => Some(Runtime::Node),
        _ if module.starts_with("libnode.so") => Some(Runtime::Node),
        _ if python.is_some_and(|v| v.is_empty() || v.starts_with('3')) => Some(Runtime::Python),
        _ => None,
    }
}

fn home(root: &Path, pid: u32, runtime: Option<Runtime>) -> Home {
    let status = std::fs::read_to_string(root.join(format!("proc/{pid}/status"))).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    let id = |name: &str, n: usize| field(name)?.split_ascii_whitespace().nth(n)?.parse().ok();
    // Of its numbers in nested namespaces the last is the one it knows itself.
    let inner = field("NSpid").and_then(|v| v.split_ascii_whitespace().next_back()?.parse().ok());
    let mount = |who: &str| std::fs::read_link(root.join(format!("proc/{who}/ns/mnt"))).ok();
    let same_root = mount("self").is_some_and(|own| mount(&pid.to_string()) == Some(own));
    Home {
        pid,
        inner_pid: inner.unwrap_or(pid),
        uid: id("Uid", 1).unwrap_or(u32::MAX),
        gid: id("Gid", 1).unwrap_or(u32::MAX),
        same_root,
        runtime,
    }
}

/// Forgets the older half.
fn forget_oldest<V>(map: &mut HashMap<u32, V>, seen: impl Fn(&V) -> u64) {
    let mut order: Vec<(u64, u32)> = map.iter().map(|(&key, value)| (seen(value), key)).collect();
    order.sort_unstable();
    for (_, key) in order.iter().take(order.len() / 2) {
        map.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root directory with processes as a test wants them.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Machine {
            Machine(tempfile::tempdir().unwrap())
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        /// Process `pid` with `/bin/NAME` mapped as code at 0x1000..0x2000.
        fn runs(&self, pid: u32, name: &str) {
            let inode = name.len();
            self.put(&format!("proc/{pid}/maps"), &format!("1000-2000 r-xp 00000000 08:01 {inode} /bin/{name}\n"));
            self.put(&format!("proc/{pid}/task/{pid}/comm"), &format!("{name}\n"));
        }

        fn processes(&self) -> Processes {
            Processes::new(self.0.path())
        }
    }

    fn fork(pid: u32, ppid: u32) -> Record<'static> {
        Record::Fork { pid, ppid, tid: pid, ptid: ppid, time_ns: 1 }
    }

    fn exec(pid: u32, name: &'static [u8]) -> Record<'static> {
        Record::Comm { pid, tid: pid, exec: true, name, time_ns: 1 }
    }

    fn exit(pid: u32) -> Record<'static> {
        Record::Exit { pid, tid: pid, time_ns: 1 }
    }

    fn mmap(pid: u32, addr: u64, inode: u64, path: &'static [u8]) -> Record<'static> {
        let inode = (8, 1, inode);
        Record::Mmap(MmapRecord {
            pid,
            addr,
            len: 0x1000,
            pgoff: 0,
            inode,
            build_id: &[],
            executable: true,
            path,
            time_ns: 1,
        })
    }

    fn at(processes: &mut Processes, pid: u32, address: u64) -> String {
        let mut sites = Vec::new();
        processes.sites(pid, &[address], &mut sites);
        match sites[0] {
            Site::File { number, offset } => {
                format!("{}+{offset:x}", processes.files.get(number).unwrap().module)
            }
            site => format!("{site:?}"),
        }
    }

    #[test]
    fn a_process_that_was_there_before_is_read_and_a_child_has_its_parents_code() {
        let m = Machine::new();
        m.runs(7, "shell");
        let mut p = m.processes();
        assert_eq!(at(&mut p, 7, 0x1010), "shell+10");
        assert_eq!((&*p.comm(7, 7), &*p.comm(0, 0), &*p.comm(9, 9)), ("shell", "swapper", "[exited]"));
        p.apply(&fork(8, 7));
        assert_eq!((at(&mut p, 8, 0x1020), &*p.comm(8, 8)), ("shell+20".into(), "shell"));
        p.apply(&exec(8, b"worker"));
        assert_eq!((at(&mut p, 8, 0x1020), &*p.comm(8, 8)), ("Unknown".into(), "worker"));
        p.apply(&mmap(8, 0x1000, 77, b"/bin/worker"));
        assert_eq!(at(&mut p, 8, 0x1020), "worker+20");
        assert_eq!(at(&mut p, 7, 0x1020), "shell+20");
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let m = Machine::new();
        m.runs(7, "shell");
        let mut p = m.processes();
        p.apply(&exec(9, b"first"));
        p.apply(&mmap(9, 0x1000, 78, b"/bin/first"));
        assert_eq!(at(&mut p, 9, 0x1000), "first+0");
        p.apply(&exit(9));
        // Of a parent that nobody has seen: /proc is asked for it.
        p.apply(&fork(9, 7));
        assert_eq!((at(&mut p, 9, 0x1000), &*p.comm(9, 9)), ("shell+0".into(), "shell"));
        // Of one that is gone, and an exit that was lost.
        m.runs(9, "another");
        p.apply(&fork(9, 6));
        assert_eq!((at(&mut p, 9, 0x1000), &*p.comm(9, 9)), ("another+0".into(), "another"));
    }

    #[test]
    fn what_proc_shows_of_a_later_program_is_not_believed() {
        let m = Machine::new();
        m.runs(7, "later");
        let mut p = m.processes();
        p.look_ahead([exec(7, b"later"), mmap(7, 0x1000, 5, b"/bin/later")].into_iter());
        assert_eq!(at(&mut p, 7, 0x1000), "Unknown");
        p.apply(&exec(7, b"later"));
        p.apply(&mmap(7, 0x1000, 5, b"/bin/later"));
        assert_eq!(at(&mut p, 7, 0x1000), "later+0");
        p.look_ahead(std::iter::empty());
        assert_eq!(at(&mut p, 7, 0x1000), "later+0");
    }

    #[test]
    fn a_chain_ends_where_no_code_is() {
        let m = Machine::new();
        m.runs(7, "prog");
        let mut p = m.processes();
        let mut sites = Vec::new();
        p.sites(7, &[0x1000, 0x1010, 0x2000, 0x2001, 0x1010], &mut sites);
        // 0x2000 returns to behind the last byte, which is code; 0x2001 does not.
        let offsets: Vec<_> =
            sites.iter().map(|s| if let Site::File { offset, .. } = s { *offset } else { 0 }).collect();
        assert_eq!(offsets, [0, 0xf, 0xfff, 0]);
        assert_eq!(sites[3], Site::NoFramePointers);
        sites.clear();
        p.sites(99, &[0x1000, 0x1010], &mut sites);
        assert_eq!(sites, [Site::Unknown]);
    }

    #[test]
    fn compiled_code_is_kept_apart_by_life() {
        let m = Machine::new();
        m.put("proc/7/maps", "1000-2000 rwxp 00000000 00:00 0 \n3000-4000 r-xp 00000000 08:01 9 /opt/libjvm.so\n");
        m.put("proc/7/status", "Name:\tjava\nUid:\t5\t1000\t5\t5\nGid:\t6\t1001\t6\t6\nNSpid:\t7\t3\t1\n");
        let mut p = m.processes();
        let mut sites = Vec::new();
        p.sites(7, &[0x1000], &mut sites);
        let Site::Anonymous { life, address: 0x1000 } = sites[0] else { panic!("{sites:?}") };
        let home = p.home_of(life).unwrap();
        assert_eq!((home.pid, home.inner_pid, home.uid, home.gid, home.same_root), (7, 1, 1000, 1001, false));
        assert_eq!((home.runtime, p.runtime(7)), (Some(Runtime::Jvm), Some(Runtime::Jvm)));
        p.apply(&exec(7, b"x"));
        p.apply(&mmap(7, 0x1000, 0, b"//anon"));
        sites.clear();
        p.sites(7, &[0x1000], &mut sites);
        assert!(matches!(sites[0], Site::Anonymous { life: other, .. } if other != life));
        assert_eq!(
            ["node", "python3.12", "libpython3.11.so.1.0", "pythonic", "nodes"].map(runtime),
            [Some(Runtime::Node), Some(Runtime::Python), Some(Runtime::Python), None, None]
        );
    }

    #[test]
    fn tables_are_bounded() {
        let m = Machine::new();
        let mut p = m.processes();
        for pid in 1..20_000 {
            p.look_ahead(std::iter::empty());
            p.apply(&exec(pid, b"x"));
        }
        assert!(p.by_pid.len() <= MOST_PROCESSES && p.comms.len() <= MOST_THREADS);
        assert!(p.by_pid.contains_key(&19_999) && !p.by_pid.contains_key(&1));
    }
}
