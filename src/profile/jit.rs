//! Has Java processes write the map of their compiled code: `jcmd PID Compiler.perfmap`, JDK 17 and
//! newer (JDK-8254723). Other runtimes write theirs themselves when they are started for it.
//!
//! jcmd runs as the process's own user, in a group of its own, within a bound of time, and is killed
//! with all it started when that is over or nobody waits any more.
//!
//! Must not: read the maps, or touch a process that was not sampled.

use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a waiting thread looks around.
pub(super) const GLANCE: Duration = Duration::from_millis(10);
/// How long one jcmd may take; it starts a Java of its own.
const PATIENCE: Duration = Duration::from_secs(5);
/// Java processes asked at the most.
const MOST: usize = 4;

/// A Java process that was sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Jvm {
    pub(super) pid: u32,
    /// Its effective user and group: only they, and root, may ask it.
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// jcmd runs under way. Dropping them ends them.
#[derive(Debug)]
pub(super) struct MapJobs {
    cancel: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl MapJobs {
    /// Asks these processes, one after the other.
    pub(super) fn start(jvms: Vec<Jvm>) -> MapJobs {
        let cancel = Arc::new(AtomicBool::new(false));
        let thread = (!jvms.is_empty()).then(|| {
            let cancel = cancel.clone();
            let all = move || jvms.iter().take(MOST).filter_map(|jvm| write_map(jvm, &cancel)).collect();
            std::thread::Builder::new().name("profile-jvm".into()).spawn(all)
        });
        MapJobs { cancel, thread: thread.and_then(Result::ok) }
    }

    /// Whether all have ended.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends those under way, and says what went wrong.
    pub(super) fn end(mut self) -> Vec<String> {
        self.stop()
    }

    fn stop(&mut self) -> Vec<String> {
        self.cancel.store(true, Ordering::SeqCst);
        self.thread.take().and_then(|t| t.join().ok()).unwrap_or_default()
    }
}

impl Drop for MapJobs {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Asks one; tells what went wrong.
fn write_map(jvm: &Jvm, cancel: &AtomicBool) -> Option<String> {
    let note = |what: &str| Some(format!("no names of compiled methods from process {}: {what}", jvm.pid));
    let Some(jcmd) = find_jcmd(jvm.pid, &std::env::var_os("PATH").unwrap_or_default()) else {
        return note("there is no jcmd here; install the JDK it runs on");
    };
    let mut command = Command::new(jcmd);
    command.args([&jvm.pid.to_string(), "Compiler.perfmap"]);
    // A Java option meant for others would go to jcmd, too.
    command.env_remove("JAVA_TOOL_OPTIONS").env_remove("_JAVA_OPTIONS").env_remove("JDK_JAVA_OPTIONS");
    // Into a file, not a pipe: what it leaves behind could hold a pipe open.
    let Ok(mut words) = tempfile::tempfile() else { return note("no temporary file") };
    let (Ok(out), Ok(err)) = (words.try_clone(), words.try_clone()) else { return note("no descriptors") };
    command.process_group(0).stdin(Stdio::null()).stdout(out).stderr(err);
    if geteuid().is_root() && jvm.uid != 0 && jvm.uid != u32::MAX && jvm.gid != u32::MAX {
        command.uid(jvm.uid).gid(jvm.gid);
    }
    let child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return note(&format!("jcmd does not start: {e}")),
    };
    let success = ended(child, cancel, PATIENCE);
    let mut said = Vec::new();
    let _ = words.rewind().and_then(|()| words.take(4096).read_to_end(&mut said));
    let words = String::from_utf8_lossy(&said);
    match success {
        Some(_) if words.contains("Unknown diagnostic command") => note("its Java is older than 17"),
        Some(true) => None,
        Some(false) => {
            let last = words.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
            note(&format!("jcmd failed: {}", crate::model::clean(last.trim(), 120)))
        }
        None => {
            remove_knock(jvm);
            let late = || note(&format!("jcmd did not end within {} s", PATIENCE.as_secs()));
            if cancel.load(Ordering::SeqCst) { None } else { late() }
        }
    }
}

/// Removes what a killed jcmd leaves behind: an empty file in the process's working directory, or in
/// its /tmp, by which it asks to be let in (HotSpotVirtualMachine's attach). Only an empty file of that
/// name, of the process's user or ours.
fn remove_knock(jvm: &Jvm) {
    let pid = jvm.pid;
    for place in [format!("/proc/{pid}/cwd"), format!("/proc/{pid}/root/tmp")] {
        let path = Path::new(&place).join(format!(".attach_pid{pid}"));
        let Ok(m) = std::fs::symlink_metadata(&path) else { continue };
        if m.is_file() && m.len() == 0 && (m.uid() == jvm.uid || m.uid() == geteuid().as_raw()) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Waits for a program that leads a group; kills the group when it is late or not wanted any more.
/// Whether it succeeded, when it ended by itself.
fn ended(mut child: Child, cancel: &AtomicBool, patience: Duration) -> Option<bool> {
    let mut left = patience;
    while !left.is_zero() && !cancel.load(Ordering::SeqCst) {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) => {}
            Err(_) => break,
        }
        std::thread::sleep(GLANCE);
        left = left.saturating_sub(GLANCE);
    }
    // Not waited for yet, so its number is still its own.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    None
}

/// jcmd in PATH, else beside the Java that the process runs, if we see that file.
fn find_jcmd(pid: u32, path: &std::ffi::OsStr) -> Option<PathBuf> {
    let is_program = |p: &PathBuf| p.is_file();
    let in_path = std::env::split_paths(path).filter(|d| d.is_absolute()).map(|d| d.join("jcmd")).find(is_program);
    in_path.or_else(|| {
        let java = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let beside = java.parent().map(|d: &Path| d.join("jcmd"))?;
        is_program(&beside).then_some(beside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_program_that_is_late_or_not_wanted_is_killed_with_what_it_started() {
        let no = AtomicBool::new(false);
        assert_eq!(ended(shell("exit 3"), &no, PATIENCE), Some(false));
        assert_eq!(ended(shell("exit 0"), &no, PATIENCE), Some(true));
        for (cancel, patience) in [(false, Duration::from_millis(100)), (true, PATIENCE)] {
            let child = shell("sleep 77 & wait");
            let group = Pid::from_raw(child.id() as i32).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(ended(child, &AtomicBool::new(cancel), patience), None);
            // What it started is init's to wait for, which takes a moment.
            let gone = (0..200).any(|_| {
                std::thread::sleep(GLANCE);
                rustix::process::test_kill_process_group(group).is_err() || only_zombies(group)
            });
            assert!(gone, "{group:?}");
        }
    }

    /// In a container whose first process waits for nobody the dead stay.
    fn only_zombies(group: Pid) -> bool {
        let of_group = |p: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(p.path().join("stat")).ok()?;
            let (_, rest) = stat.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let (state, _parent) = (fields.next()?.to_string(), fields.next()?);
            (fields.next()? == group.as_raw_nonzero().to_string()).then_some(state)
        };
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(of_group).all(|state| state == "Z")
    }

    #[test]
    fn what_a_killed_jcmd_leaves_behind_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("77").current_dir(dir.path()).spawn().unwrap();
        let (uid, gid) = (geteuid().as_raw(), 0);
        let knock = dir.path().join(format!(".attach_pid{}", child.id()));
        std::fs::write(&knock, "not empty").unwrap();
        let jvm = Jvm { pid: child.id(), uid, gid };
        remove_knock(&jvm);
        assert!(knock.exists());
        std::fs::write(&knock, "").unwrap();
        remove_knock(&jvm);
        assert!(!knock.exists());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn jcmd_is_looked_for_in_absolute_places_only() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("jcmd"), "").unwrap();
        let pid = std::process::id();
        assert_eq!(find_jcmd(pid, dir.path().as_os_str()), Some(dir.path().join("jcmd")));
        assert_eq!(find_jcmd(pid, "relative:".as_ref()), None);
    }

    #[test]
    fn jobs_that_nobody_waits_for_end_at_once() {
        let jobs = MapJobs::start(Vec::new());
        assert!(jobs.is_finished() && jobs.end().is_empty());
    }
}
