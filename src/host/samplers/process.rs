//! CPU time, memory, threads and descriptors of perfbench itself and of the target's
//! processes: /proc/PID, read by the procfs crate.
//!
//! Must not: find the target's processes, or mistake a later process for one of them.

use crate::host::fields::keyed;
use crate::host::procfile::ProcFolder;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::host::targets::{Process, Targets};
use crate::model::{Instance, Metric, clean};
use procfs::FromRead;
use procfs::process::{LimitValue, Limits, Schedstat, Stat, StatM};
use std::io;
use std::path::PathBuf;

/// The limit of descriptors is read anew every so many samples; hardly anything changes it.
const LIMIT_EVERY: u32 = 20;

/// TASK_COMM_LEN is 16; kernel threads' names may be longer.
const NAME_CHARS: usize = 32;

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Processes {
        root: setup.root.clone(),
        targets: setup.targets.clone(),
        own: None,
        watched: Vec::new(),
        page_bytes: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
        buffer: Vec::new(),
    })
}

struct Processes {
    root: PathBuf,
    targets: Targets,
    own: Option<Watched>,
    watched: Vec<Watched>,
    page_bytes: u64,
    buffer: Vec<u8>,
}

/// A process that is read at every tick.
struct Watched {
    process: Process,
    folder: ProcFolder,
    name: Instance,
    /// Of a target's process, the name it had when it was last read: exec changes it.
    comm: Option<String>,
    fd_limit: Option<u64>,
    age: u32,
}

impl Sampler for Processes {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        let own = std::process::id();
        if self.own.is_none() {
            self.own = watch(&self.root, own, None, &mut self.buffer);
        }
        let list = self.targets.list();
        self.watched.retain(|w| list.contains(&w.process));
        for process in list {
            if !self.watched.iter().any(|w| w.process == process) {
                self.watched.extend(watch(&self.root, process.pid, Some(process.start), &mut self.buffer));
            }
        }
        match &mut self.own {
            Some(own) => {
                if let Err(e) = own.read(self.page_bytes, &mut self.buffer, out) {
                    out.fault(format!("cannot read /proc/self: {e}"), None);
                    self.own = None;
                }
            }
            None => out.fault(format!("cannot read /proc/{own}"), Some("mount -t proc proc /proc")),
        }
        let (page_bytes, buffer) = (self.page_bytes, &mut self.buffer);
        // One that cannot be read any more has ended; the finder takes it off the list.
        self.watched.retain_mut(|w| w.read(page_bytes, buffer, out).is_ok());
        Ok(())
    }
}

/// Opens a process; with `start`, only the one that began then.
fn watch(root: &std::path::Path, pid: u32, start: Option<u64>, buffer: &mut Vec<u8>) -> Option<Watched> {
    let folder = ProcFolder::open(root, pid).ok()?;
    let stat = Stat::from_read(folder.read("stat", buffer).ok()?).ok()?;
    if start.is_some_and(|s| s != stat.starttime) {
        return None;
    }
    let name = if start.is_some() { name_of(pid, &stat.comm) } else { Instance::from("self") };
    let comm = start.map(|_| stat.comm);
    Some(Watched { process: Process { pid, start: stat.starttime }, folder, name, comm, fd_limit: None, age: 0 })
}

fn name_of(pid: u32, comm: &str) -> Instance {
    Instance::from(format!("{pid} {}", clean(comm, NAME_CHARS)))
}

impl Watched {
    fn read(&mut self, page_bytes: u64, buffer: &mut Vec<u8>, out: &mut Batch) -> io::Result<()> {
        let stat = Stat::from_read(self.folder.read("stat", buffer)?).map_err(io::Error::other)?;
        // It has ended and nobody has taken note (proc_pid_stat(5)); with more threads only its first has.
        if matches!(stat.state, 'Z' | 'X') && stat.num_threads <= 1 {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.comm.as_ref().is_some_and(|comm| *comm != stat.comm) {
            self.name = name_of(self.process.pid, &stat.comm);
            self.comm = Some(stat.comm);
        }
        let n = &self.name;
        out.put(Metric::ProcUser, n, stat.utime);
        out.put(Metric::ProcSystem, n, stat.stime);
        out.put_signed(Metric::ProcThreads, n, stat.num_threads);
        // Each of the rest may be missing by kernel configuration or permission.
        // On its way out it has no memory any more, and its last size is what one wants to know.
        let statm = self.folder.read("statm", buffer).ok().and_then(|b| StatM::from_read(b).ok());
        if let Some(statm) = statm.filter(|m| m.resident > 0) {
            out.put(Metric::ProcRss, n, statm.resident.saturating_mul(page_bytes));
        }
        if let Ok(status) = self.folder.read("status", buffer) {
            // Three lines of sixty: the crate's reader would make a map of all of them.
            if let Some(kilobytes) = keyed(status, b"VmHWM:") {
                out.put(Metric::ProcRssPeak, n, kilobytes.saturating_mul(1024));
            }
            if let Some(v) = keyed(status, b"voluntary_ctxt_switches:") {
                out.put(Metric::ProcVoluntary, n, v);
            }
            if let Some(v) = keyed(status, b"nonvoluntary_ctxt_switches:") {
                out.put(Metric::ProcInvoluntary, n, v);
            }
        }
        if let Some(sched) = self.folder.read("schedstat", buffer).ok().and_then(|b| Schedstat::from_read(b).ok()) {
            out.put(Metric::ProcRunWait, n, sched.run_delay);
        }
        if let Ok(fds) = self.folder.fd_count() {
            out.put(Metric::ProcFds, n, fds);
        }
        if self.age.is_multiple_of(LIMIT_EVERY) {
            let limits = self.folder.read("limits", buffer).ok().and_then(|b| Limits::from_read(b).ok());
            self.fd_limit = limits.and_then(|l| match l.max_open_files.soft_limit {
                LimitValue::Value(v) => Some(v),
                LimitValue::Unlimited => None,
            });
        }
        self.age = self.age.wrapping_add(1);
        if let Some(limit) = self.fd_limit {
            out.put(Metric::ProcFdLimit, n, limit);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(out: &Batch, metric: Metric, instance: &str) -> Option<i64> {
        out.values.iter().find(|r| r.metric == metric && &*r.instance == instance).map(|r| r.value)
    }

    #[test]
    fn we_are_read_as_self_and_a_child_by_number_and_name_until_it_ends() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let setup = Setup::of_host(None, None, crate::clock::Clock::manual());
        let mut buffer = Vec::new();
        // exec may still be under way, and the name with it.
        let name = format!("{} sleep", child.id());
        let process = loop {
            let seen = watch(&setup.root, child.id(), Some(0), &mut buffer);
            assert!(seen.is_none(), "nothing began at boot");
            let own = watch(&setup.root, child.id(), None, &mut buffer).unwrap();
            let named = watch(&setup.root, child.id(), Some(own.process.start), &mut buffer).unwrap();
            if *named.name == *name {
                break named.process;
            }
            std::thread::yield_now();
        };
        setup.targets.set(&[process]);
        let mut sampler = open(&setup);
        let mut out = Batch::default();
        sampler.sample(&mut out).unwrap();
        assert!(value(&out, Metric::ProcThreads, "self") > Some(0));
        assert!(value(&out, Metric::ProcRss, "self") > Some(100_000));
        assert!(value(&out, Metric::ProcRssPeak, "self") > Some(100_000));
        assert!(value(&out, Metric::ProcFdLimit, "self") > Some(0));
        assert_eq!(value(&out, Metric::ProcThreads, &name), Some(1));
        assert!(value(&out, Metric::ProcFds, &name) >= Some(3));
        // None yet is a value too: it may never have had to wait.
        assert!(value(&out, Metric::ProcVoluntary, &name).is_some());
        child.kill().unwrap();
        // Ended already, though its parent has not asked for it: WNOWAIT leaves it as it is.
        let id = rustix::process::WaitId::Pid(rustix::process::Pid::from_child(&child));
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(id, options).unwrap();
        let mut out = Batch::default();
        sampler.sample(&mut out).unwrap();
        child.wait().unwrap();
        for metric in [Metric::ProcThreads, Metric::ProcRss, Metric::ProcUser] {
            assert_eq!(value(&out, metric, &name), None);
        }
        assert!(value(&out, Metric::ProcThreads, "self").is_some());
    }

    #[test]
    fn procfs_reads_a_name_made_to_confuse() {
        let text = b"7 (a) R \xff (b) S 3 1 1 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 1 0 99 1000 100 1 1 1 1 1 1 0 0 0 0 0 0 17 1 0 0 0 0 0\n";
        let stat = Stat::from_read(&text[..]).unwrap();
        assert_eq!((stat.utime, stat.stime, stat.starttime), (5, 6, 99));
    }
}
