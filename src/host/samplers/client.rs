//! The load threads of perfbench itself, and what its control group holds it to: how much of a
//! core each thread used, how long it was ready to run and had none, how often it was switched.
//! Source: Documentation/scheduler/sched-stats.rst, `/proc/PID/schedstat`.
//!
//! Must not: judge; and must not miss a thread because it began or ended meanwhile.

use crate::host::cgroup::Cgroup;
use crate::host::fields::{keyed, number, words};
use crate::host::procfile::ProcFolder;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::model::{Instance, Metric};
use std::io;
use std::path::PathBuf;

/// What the names of load threads begin with.
const LOAD: &[u8] = b"load-";
/// Threads that are looked at, at the most.
const MOST: usize = 1024;
/// The groups are looked up anew every so many samples; hardly anything moves a process.
const GROUP_EVERY: u32 = 20;

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Client {
        root: setup.root.clone(),
        pid: std::process::id(),
        folder: None,
        group: Cgroup::default(),
        memory_limit: None,
        age: 0,
        name: Instance::from("self"),
        buffer: Vec::new(),
    })
}

struct Client {
    root: PathBuf,
    pid: u32,
    folder: Option<ProcFolder>,
    group: Cgroup,
    memory_limit: Option<u64>,
    age: u32,
    name: Instance,
    buffer: Vec<u8>,
}

/// What is read of a thread, in the order of [`METRICS`].
type Counts = [u64; 4];

const METRICS: [Metric; 4] =
    [Metric::ThreadRun, Metric::ThreadRunWait, Metric::ThreadVoluntary, Metric::ThreadInvoluntary];

impl Sampler for Client {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        self.read(out).map_err(|source| {
            self.folder = None;
            HostError::Read { path: self.root.join(format!("proc/{}/task", self.pid)), source }
        })
    }
}

impl Client {
    fn read(&mut self, out: &mut Batch) -> io::Result<()> {
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => ProcFolder::open(&self.root, self.pid)?,
        };
        let mut threads: Vec<(Instance, Counts)> = Vec::new();
        for id in folder.numbers("task", MOST)? {
            // One that has ended since the folder was listed has nothing more to tell.
            let Ok(Some((name, counts))) = thread(&folder, id, &mut self.buffer) else { continue };
            match threads.iter_mut().find(|(n, _)| **n == *name) {
                Some((_, sum)) => sum.iter_mut().zip(counts).for_each(|(s, c)| *s = s.saturating_add(c)),
                None => threads.push((name.into(), counts)),
            }
        }
        for (name, counts) in &threads {
            for (metric, count) in METRICS.into_iter().zip(counts) {
                out.put(metric, name, *count);
            }
        }
        if self.age.is_multiple_of(GROUP_EVERY) {
            self.group = folder.read("cgroup", &mut self.buffer).map(|b| Cgroup::of(&self.root, b)).unwrap_or_default();
            self.memory_limit = self.group.memory_limit();
        }
        self.age = self.age.wrapping_add(1);
        if let Some(limit) = self.memory_limit {
            out.put(Metric::ProcMemLimit, &self.name, limit);
        }
        if let Some(us) = self.group.throttled_us() {
            out.put(Metric::ProcThrottled, &self.name, us);
        }
        self.folder = Some(folder);
        Ok(())
    }
}

/// Time on a CPU and time ready without one, ns: the first two of the three fields.
fn times(schedstat: &[u8]) -> Option<(u64, u64)> {
    let mut fields = words(schedstat).map(number);
    Some((fields.next()??, fields.next()??))
}

/// Name and counts of a thread when it is a load thread.
fn thread(folder: &ProcFolder, id: u32, buffer: &mut Vec<u8>) -> io::Result<Option<(String, Counts)>> {
    // Read every time: a number may be given to another thread, and a thread names itself late.
    let comm = folder.read(&format!("task/{id}/comm"), buffer)?.trim_ascii();
    if !comm.starts_with(LOAD) {
        return Ok(None);
    }
    let name = String::from_utf8_lossy(comm).into_owned();
    let schedstat = folder.read(&format!("task/{id}/schedstat"), buffer)?;
    let Some((run, wait)) = times(schedstat) else { return Ok(None) };
    let status = folder.read(&format!("task/{id}/status"), buffer)?;
    let switches = |key: &[u8]| keyed(status, key).unwrap_or(0);
    Ok(Some((name, [run, wait, switches(b"voluntary_ctxt_switches:"), switches(b"nonvoluntary_ctxt_switches:")])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::mpsc::channel;

    fn read(sampler: &mut dyn Sampler) -> BTreeMap<(Metric, String), i64> {
        let mut out = Batch::default();
        sampler.sample(&mut out).unwrap();
        assert!(out.faults.is_empty());
        out.values.into_iter().map(|r| ((r.metric, r.instance.to_string()), r.value)).collect()
    }

    #[test]
    fn load_threads_are_told_apart_and_from_all_others() {
        let (wait, ready) = (channel::<()>(), channel::<()>());
        let [go, is_ready] = [wait.0, ready.0];
        let thread = std::thread::Builder::new().name("load-77".into()).spawn(move || {
            // Enough work to be seen: schedstat moves when the thread is switched or ticked.
            let sum = (0..5_000_000u64).fold(0u64, |n, k| std::hint::black_box(n ^ k));
            is_ready.send(()).unwrap();
            let _ = wait.1.recv();
            sum
        });
        ready.1.recv().unwrap();
        let mut sampler = open(&Setup::of_host(None, None, crate::clock::Clock::manual()));
        let values = read(&mut *sampler);
        let of = |metric| values.get(&(metric, "load-77".to_string())).copied();
        assert!(of(Metric::ThreadRun) > Some(100_000), "{:?}", of(Metric::ThreadRun));
        assert!(METRICS.iter().all(|m| of(*m) >= Some(0)));
        assert!(values.keys().filter(|(m, _)| *m == Metric::ThreadRun).all(|(_, name)| name.starts_with("load-")));
        drop(go);
        thread.unwrap().join().unwrap();
        assert!(!read(&mut *sampler).contains_key(&(Metric::ThreadRun, "load-77".into())));
    }

    #[test]
    fn threads_of_one_name_are_summed_and_limits_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: String, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let me = format!("proc/{}", std::process::id());
        for (id, name) in [(1, "perfbench"), (2, "load-0"), (3, "load-0"), (4, "load-1")] {
            put(format!("{me}/task/{id}/comm"), &format!("{name}\n"));
            put(format!("{me}/task/{id}/schedstat"), &format!("{id}00 {id}0 7\n"));
            put(format!("{me}/task/{id}/status"), "voluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t1\n");
        }
        put(format!("{me}/task/5/comm"), "load-5\n"); // it ended between two readings
        put(format!("{me}/cgroup"), "0::/g\n");
        put("sys/fs/cgroup/g/memory.max".into(), "9000\n");
        put("sys/fs/cgroup/g/cpu.stat".into(), "throttled_usec 12\n");
        let mut setup = Setup::of_host(None, None, crate::clock::Clock::manual());
        setup.root = dir.path().into();
        let values = read(&mut *open(&setup));
        let of = |metric, name: &str| values.get(&(metric, name.to_string())).copied();
        assert_eq!(of(Metric::ThreadRun, "load-0"), Some(500));
        assert_eq!(of(Metric::ThreadRunWait, "load-0"), Some(50));
        assert_eq!(
            (of(Metric::ThreadVoluntary, "load-1"), of(Metric::ThreadInvoluntary, "load-0")),
            (Some(3), Some(2))
        );
        assert_eq!((of(Metric::ProcMemLimit, "self"), of(Metric::ProcThrottled, "self")), (Some(9000), Some(12)));
        assert_eq!(values.len(), 10);
    }
}
