//! Finds the target's processes: the one the user named and its descendants, or all that
//! hold the socket that listens at the target's address when that is on this host.
//!
//! Looking through every process's descriptors is the dear part, so it is done only when the
//! listener, the last process number given out or one of the found processes changed, and
//! then only for processes not looked at before; once in a while for all.
//!
//! Must not: give readings; it only fills [`Targets`].

use crate::host::fields::{number, words};
use crate::host::procfile::ProcFile;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::host::sockettable::{Query, Socket, SocketTable, canonical, listens_for, states};
use crate::host::targets::{Process, Targets};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Processes that are watched at the most.
const MOST: usize = 64;

/// After so many looks everything is looked through again: an old process may have been
/// handed the socket.
const WHOLE_EVERY: u32 = 20;

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Finder {
        proc: setup.root.join("proc"),
        setup: setup.clone(),
        table: SocketTable::new(setup),
        loadavg: ProcFile::new(&setup.root, "proc/loadavg"),
        last_pid: None,
        listening: Listening { target: setup.target.map(canonical), ..Listening::default() },
        inodes: Vec::new(),
        looked_at: HashSet::new(),
        looks: 0,
        found: Vec::new(),
        targets: setup.targets.clone(),
        buffer: Vec::new(),
    })
}

struct Finder {
    proc: PathBuf,
    setup: Setup,
    table: SocketTable,
    loadavg: ProcFile,
    last_pid: Option<u64>,
    listening: Listening,
    inodes: Vec<u64>,
    looked_at: HashSet<u32>,
    looks: u32,
    found: Vec<Process>,
    targets: Targets,
    buffer: Vec<u8>,
}

/// The inodes of the sockets that listen for the target, of the best match only.
#[derive(Default)]
struct Listening {
    target: Option<SocketAddr>,
    match_quality: u8,
    inodes: Vec<u64>,
}

impl Listening {
    fn restart(&mut self) {
        self.match_quality = 0;
        self.inodes.clear();
    }

    fn add(&mut self, socket: &Socket) {
        let quality = self.target.map_or(0, |t| listens_for(socket, t));
        if quality > self.match_quality {
            self.match_quality = quality;
            self.inodes.clear();
        }
        if quality > 0 && quality == self.match_quality && socket.inode != 0 {
            self.inodes.push(socket.inode);
        }
    }
}

impl Sampler for Finder {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        let before = self.found.len();
        self.found.retain(|p| stat_of(&self.proc, p.pid, &mut self.buffer).is_some_and(|s| s.start == p.start));
        let lost = self.found.len() < before;
        let last_pid = last_pid(self.loadavg.read()?);
        let newcomers = last_pid.is_none() || last_pid != self.last_pid;
        self.last_pid = last_pid;
        self.looks = self.looks.wrapping_add(1);
        match (self.setup.pid, self.listening.target) {
            (Some(pid), _) if lost || newcomers => self.find_descendants(pid, before, out)?,
            (None, Some(target)) if is_local(target) => self.find_listeners(target, newcomers, before, out)?,
            _ => {}
        }
        self.found.sort_unstable();
        self.found.dedup();
        if self.found.len() > MOST {
            let n = self.found.len();
            out.fault(format!("the target has {n} processes, the first {MOST} of them are watched"), None);
            self.found.truncate(MOST);
        }
        self.targets.set(&self.found);
        Ok(())
    }
}

impl Finder {
    fn find_descendants(&mut self, pid: u32, before: usize, out: &mut Batch) -> Result<(), HostError> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut starts: HashMap<u32, u64> = HashMap::new();
        for other in self.pids()? {
            if let Some(stat) = stat_of(&self.proc, other, &mut self.buffer) {
                children.entry(stat.parent).or_default().push(other);
                starts.insert(other, stat.start);
            }
        }
        // The named process is what bore its number when it was first seen; once it is gone
        // a later one with that number is somebody else. Its living descendants stay.
        let named_is_ours = before == 0 || self.found.iter().any(|p| p.pid == pid);
        let mut todo: Vec<u32> = self.found.iter().map(|p| p.pid).collect();
        if named_is_ours && (self.looks == 1 || before > 0) {
            todo.push(pid);
        }
        let mut seen = HashSet::new();
        while let Some(next) = todo.pop() {
            if !seen.insert(next) {
                continue;
            }
            if let Some(start) = starts.get(&next) {
                self.found.push(Process { pid: next, start: *start });
                todo.extend(children.get(&next).into_iter().flatten());
            }
        }
        if self.found.is_empty() {
            let what = if before > 0 { "has ended" } else { "does not exist" };
            out.fault(format!("process {pid} {what}: its CPU and memory are not shown"), None);
        }
        Ok(())
    }

    fn find_listeners(
        &mut self,
        target: SocketAddr,
        newcomers: bool,
        before: usize,
        out: &mut Batch,
    ) -> Result<(), HostError> {
        let query = Query { states: states::LISTEN, remote: None, local_port: Some(target.port()) };
        self.table.list(&query, &mut self.listening, Listening::restart, Listening::add)?;
        self.listening.inodes.sort_unstable();
        let changed = self.listening.inodes != self.inodes;
        if changed {
            self.inodes.clone_from(&self.listening.inodes);
            self.found.clear();
        }
        if changed || self.looks.is_multiple_of(WHOLE_EVERY) {
            self.looked_at.clear();
        } else if !newcomers {
            return Ok(());
        }
        if self.inodes.is_empty() {
            if before > 0 {
                out.fault(format!("nothing listens on {target} any more"), None);
            }
            return Ok(());
        }
        let mut denied = 0u32;
        let pids = self.pids()?;
        for pid in &pids {
            if self.setup.is_stopping() {
                return Err(HostError::Stopped);
            }
            if !self.looked_at.insert(*pid) || self.found.iter().any(|p| p.pid == *pid) {
                continue;
            }
            match holds_any(&self.proc, *pid, &self.inodes) {
                Ok(true) => {
                    if let Some(stat) = stat_of(&self.proc, *pid, &mut self.buffer) {
                        self.found.push(Process { pid: *pid, start: stat.start });
                    }
                }
                Ok(false) => {}
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => denied += 1,
                Err(_) => {} // it ended meanwhile
            }
        }
        let alive: HashSet<u32> = pids.into_iter().collect();
        self.looked_at.retain(|p| alive.contains(p));
        if self.found.is_empty() {
            if denied > 0 {
                out.fault(
                    format!(
                        "the process that listens on {target} belongs to another user: its CPU and memory are not shown"
                    ),
                    Some("run as the same user or root, or give --pid"),
                );
            } else {
                out.fault(
                    format!(
                        "no process seen from here holds the socket that listens on {target}: it may run in a container"
                    ),
                    Some("give its process number as this host sees it with --pid"),
                );
            }
        }
        Ok(())
    }

    fn pids(&self) -> Result<Vec<u32>, HostError> {
        let entries =
            std::fs::read_dir(&self.proc).map_err(|source| HostError::Read { path: self.proc.clone(), source })?;
        Ok(entries.filter_map(|e| number(e.ok()?.file_name().as_bytes()).and_then(|n| u32::try_from(n).ok())).collect())
    }
}

/// Whether the address is one of this host's. Nothing is sent: connecting a UDP socket only
/// asks the routing table, and the source it picks for an own address is that address.
pub(in crate::host) fn is_local(target: SocketAddr) -> bool {
    if target.ip().is_loopback() {
        return true;
    }
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let source = UdpSocket::bind(any).and_then(|s| s.connect(target).and_then(|()| s.local_addr()));
    source.is_ok_and(|s| s.ip() == target.ip())
}

/// Whether a process holds one of the sockets (their sorted inodes).
fn holds_any(proc: &std::path::Path, pid: u32, inodes: &[u64]) -> io::Result<bool> {
    for entry in std::fs::read_dir(proc.join(format!("{pid}/fd")))? {
        let Ok(link) = std::fs::read_link(entry?.path()) else { continue };
        let inode = link.as_os_str().as_bytes().strip_prefix(b"socket:[").and_then(|r| r.strip_suffix(b"]"));
        if inode.and_then(number).is_some_and(|i| inodes.binary_search(&i).is_ok()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The two fields of /proc/PID/stat that make the family tree.
#[derive(Debug, PartialEq)]
struct PidStat {
    parent: u32,
    start: u64,
}

fn stat_of(proc: &std::path::Path, pid: u32, buffer: &mut Vec<u8>) -> Option<PidStat> {
    buffer.clear();
    io::Read::read_to_end(&mut std::fs::File::open(proc.join(format!("{pid}/stat"))).ok()?, buffer).ok()?;
    parse_stat(buffer)
}

/// Parent and start time (fields 4 and 22 of proc_pid_stat(5)); a zombie is as good as gone.
/// The name before them may hold anything, so they are counted from its last parenthesis.
fn parse_stat(bytes: &[u8]) -> Option<PidStat> {
    let (_, rest) = bytes.split_at_checked(bytes.iter().rposition(|b| *b == b')')? + 1)?;
    let mut w = words(rest);
    if matches!(w.next()?, b"Z" | b"X") {
        return None;
    }
    let parent = u32::try_from(number(w.next()?)?).ok()?;
    Some(PidStat { parent, start: number(w.nth(17)?)? })
}

/// The number given to the newest process or thread: the last word of /proc/loadavg.
fn last_pid(bytes: &[u8]) -> Option<u64> {
    words(bytes).last().and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn stat(pid: u32, name: &str, state: &str, parent: u32, start: u64) -> String {
        format!("{pid} ({name}) {state} {parent} 1 1 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 1 0 {start} 1000 100\n")
    }

    #[test]
    fn a_name_with_blanks_and_parentheses_is_no_trap() {
        let of = |name: &str, state: &str| parse_stat(stat(7, name, state, 3, 99).as_bytes());
        assert_eq!(of("a) R 1 (b", "S"), Some(PidStat { parent: 3, start: 99 }));
        assert_eq!(of("x", "Z"), None);
        assert_eq!(last_pid(b"0.00 0.01 0.05 1/123 4567\n"), Some(4567));
    }

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            std::fs::create_dir_all(tree.0.path().join("proc")).unwrap();
            tree
        }
        fn process(&self, pid: u32, parent: u32, start: u64) {
            let dir = self.0.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("stat"), stat(pid, "x", "S", parent, start)).unwrap();
        }
        fn end(&self, pid: u32) {
            std::fs::remove_dir_all(self.0.path().join(format!("proc/{pid}"))).unwrap();
        }
        fn newest(&self, pid: u32) {
            std::fs::write(self.0.path().join("proc/loadavg"), format!("0 0 0 1/9 {pid}\n")).unwrap();
        }
        fn setup(&self, pid: u32) -> Setup {
            let mut setup = Setup::of_host(None, Some(pid), crate::clock::Clock::manual());
            setup.root = self.0.path().into();
            setup
        }
    }

    fn look(finder: &mut dyn Sampler) -> Vec<String> {
        let mut out = Batch::default();
        finder.sample(&mut out).unwrap();
        assert!(out.values.is_empty());
        out.faults.into_iter().map(|(what, _)| what).collect()
    }

    #[test]
    fn descendants_come_and_go_and_a_reused_number_is_not_taken_for_the_target() {
        let tree = Tree::new();
        for (pid, parent) in [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1)] {
            tree.process(pid, parent, u64::from(pid));
        }
        tree.newest(20);
        let setup = tree.setup(10);
        let mut finder = open(&setup);
        assert!(look(&mut *finder).is_empty());
        assert_eq!(setup.targets.pids(), [10, 11, 12]);
        tree.process(21, 11, 21);
        tree.newest(21);
        tree.end(12);
        look(&mut *finder);
        assert_eq!(setup.targets.pids(), [10, 11, 21]);
        // The named one ends; its descendants go to init and are still the target's.
        tree.end(10);
        tree.process(11, 1, 11);
        look(&mut *finder);
        assert_eq!(setup.targets.pids(), [11, 21]);
        tree.process(10, 1, 500);
        tree.newest(10);
        look(&mut *finder);
        assert_eq!(setup.targets.pids(), [11, 21]);
        tree.end(11);
        tree.end(21);
        assert_eq!(look(&mut *finder), ["process 10 has ended: its CPU and memory are not shown"]);
        tree.newest(30);
        look(&mut *finder);
        assert!(setup.targets.pids().is_empty());
    }

    #[test]
    fn too_many_processes_are_cut_and_it_is_said() {
        let tree = Tree::new();
        tree.process(1, 0, 1);
        (2..100).for_each(|pid| tree.process(pid, 1, 1));
        tree.newest(100);
        let setup = tree.setup(1);
        assert_eq!(look(&mut *open(&setup)), ["the target has 99 processes, the first 64 of them are watched"]);
        assert_eq!(setup.targets.pids().len(), 64);
    }

    #[test]
    fn a_process_that_does_not_exist_is_a_fault() {
        let tree = Tree::new();
        tree.newest(1);
        assert_eq!(look(&mut *open(&tree.setup(9))), ["process 9 does not exist: its CPU and memory are not shown"]);
    }

    #[test]
    fn own_addresses_are_local_and_documentation_addresses_are_not() {
        assert!(is_local("127.9.9.9:1".parse().unwrap()) && is_local("[::1]:1".parse().unwrap()));
        assert!(!is_local("192.0.2.1:1".parse().unwrap()));
    }

    #[test]
    fn a_socket_is_found_in_a_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&listener))).unwrap();
        let inode = number(link.as_os_str().as_bytes()[8..].split(|b| *b == b']').next().unwrap()).unwrap();
        assert!(holds_any(Path::new("/proc"), std::process::id(), &[inode]).unwrap());
        assert!(!holds_any(Path::new("/proc"), std::process::id(), &[]).unwrap());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            parse_stat(&bytes);
            last_pid(&bytes);
        }
    }
}
