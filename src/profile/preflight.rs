//! What is in the way of a capture, with perf or with the built-in sampler, and what mends it.
//!
//! Facts: perf_event_open(2); Documentation/admin-guide/perf-security.rst and
//! sysctl/kernel.rst (perf_event_paranoid, kptr_restrict, perf_event_mlock_kb); capabilities(7).
//!
//! Must not: run perf, or change anything.

use super::Obstacle;
use crate::model::ALL_CPUS;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Environment variable that names the perf binary to use instead of the one in PATH.
pub const PERF_VARIABLE: &str = "PERFBENCH_PERF";

// Bits of capability sets: linux/capability.h.
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYSLOG: u32 = 34;
const CAP_PERFMON: u32 = 38;

/// Where things are looked for; tests put other places here.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Below it are proc, sys and etc; `/` but in tests.
    pub root: PathBuf,
    /// A perf binary that was named, which is then the only one tried.
    pub perf: Option<PathBuf>,
    /// Directories to look for perf in, as PATH has them.
    pub path: OsString,
    /// Where perf's recording goes.
    pub temp: PathBuf,
}

impl Surroundings {
    /// Those of this process: PERFBENCH_PERF, PATH, TMPDIR.
    pub fn here() -> Surroundings {
        Surroundings {
            root: "/".into(),
            perf: std::env::var_os(PERF_VARIABLE).filter(|p| !p.is_empty()).map(PathBuf::from),
            path: std::env::var_os("PATH").unwrap_or_default(),
            temp: std::env::temp_dir(),
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        // Bounded: what is read here is a number or a page at the most.
        let mut text = String::new();
        fs::File::open(self.root.join(path)).ok()?.take(1 << 16).read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn number(&self, path: &str) -> Option<i64> {
        self.text(path)?.trim().parse().ok()
    }
}

/// How much may be sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every process on every CPU, kernel included.
    AllCpus,
    /// These processes and what they start.
    Processes {
        /// Their ids; never empty.
        pids: Vec<u32>,
        /// User space only: the kernel may not be sampled.
        user_only: bool,
    },
}

impl Scope {
    /// As shown: `all CPUs`, `process 7 in user space`.
    pub(super) fn shown(&self) -> String {
        match self {
            Scope::AllCpus => ALL_CPUS.into(),
            Scope::Processes { pids, user_only } => {
                let first: Vec<String> = pids.iter().take(3).map(u32::to_string).collect();
                let more = if pids.len() > 3 { format!(" and {} more", pids.len() - 3) } else { String::new() };
                let user = if *user_only { " in user space" } else { "" };
                format!("process {}{more}{user}", first.join(", "))
            }
        }
    }
}

/// How much is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Want {
    /// All CPUs if that is permitted, else the target's processes.
    #[default]
    Widest,
    /// All CPUs or nothing.
    AllCpus,
    /// The target's processes only.
    Processes,
}

/// What this host permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// The perf binary; `None` for the built-in sampler, which needs none.
    pub perf: Result<Option<PathBuf>, Obstacle>,
    /// kernel.perf_event_paranoid; `None`: the kernel has no performance events.
    pub paranoid: Option<i64>,
    /// kernel.kptr_restrict.
    pub kptr_restrict: Option<i64>,
    /// kernel.perf_event_mlock_kb, KiB of buffer per user and CPU without privileges.
    pub mlock_kb: Option<i64>,
    /// Whether who samples has CAP_PERFMON or CAP_SYS_ADMIN.
    pub privileged: bool,
    /// Whether who samples may lock as much memory as he likes for his buffers.
    pub locks_freely: bool,
    /// Whether who samples sees the addresses of kernel symbols.
    pub kernel_symbols: bool,
    /// Whether there is a hardware counter of CPU cycles; else cpu-clock is used.
    pub cycles: bool,
}

/// What will be sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The perf binary; `None` for the built-in sampler.
    pub perf: Option<PathBuf>,
    /// How much.
    pub scope: Scope,
    /// The event, without modifiers: `cycles` or `cpu-clock`.
    pub event: &'static str,
    /// KiB of buffer per user and CPU, when that is limited.
    pub ring_limit_kb: Option<i64>,
    /// What the reader should know: fallbacks taken, symbols that will be missing.
    pub notes: Vec<String>,
}

/// Looks at what is in the way of the built-in sampler, without sampling. Kernel symbols are tried.
pub fn inspect_built_in(around: &Surroundings) -> Preflight {
    let caps = Capabilities::of_self(around);
    let kallsyms = around.text("proc/kallsyms").unwrap_or_default();
    let with_address = |l: &str| l.split(' ').next().is_some_and(|a| a.bytes().any(|b| b != b'0'));
    Preflight { kernel_symbols: kallsyms.lines().any(with_address), ..of(around, Ok(None), &caps) }
}

/// Looks at what is in the way of perf, without running anything.
pub fn inspect(around: &Surroundings) -> Preflight {
    let perf = find_perf(around);
    let caps = Capabilities::of_perf(around, perf.as_ref().ok());
    of(around, perf.map(Some), &caps)
}

fn of(around: &Surroundings, perf: Result<Option<PathBuf>, Obstacle>, caps: &Capabilities) -> Preflight {
    let paranoid = around.number("proc/sys/kernel/perf_event_paranoid");
    let kptr_restrict = around.number("proc/sys/kernel/kptr_restrict");
    // kallsyms_show_value() in kernel/ksyms_common.c.
    let kernel_symbols = match kptr_restrict {
        Some(0) => paranoid.is_some_and(|p| p <= 1) || caps.has(CAP_SYSLOG),
        Some(1) => caps.has(CAP_SYSLOG),
        _ => false,
    };
    Preflight {
        perf,
        paranoid,
        kptr_restrict,
        mlock_kb: around.number("proc/sys/kernel/perf_event_mlock_kb"),
        privileged: caps.has(CAP_PERFMON) || caps.has(CAP_SYS_ADMIN),
        // perf_mmap() in kernel/events/core.c.
        locks_freely: paranoid == Some(-1) || caps.has(CAP_IPC_LOCK),
        kernel_symbols,
        cycles: has_cycles(around),
    }
}

impl Preflight {
    /// Decides what to sample for a target of these processes (perhaps none).
    ///
    /// # Errors
    /// What is in the way, with the command that mends it.
    pub fn plan(&self, around: &Surroundings, pids: &[u32], want: Want) -> Result<Plan, Obstacle> {
        let perf = self.perf.clone()?;
        let Some(paranoid) = self.paranoid else {
            return Err(Obstacle::new(
                "this kernel has no performance events (/proc/sys/kernel/perf_event_paranoid is missing)",
                None,
            ));
        };
        let event = if self.cycles { "cycles" } else { "cpu-clock" };
        let mut notes = Vec::new();
        if !self.cycles {
            notes.push("no CPU cycle counter on this machine (usual in a VM): sampled by cpu-clock".to_string());
        }
        // perf_allow_cpu() in include/linux/perf_event.h.
        let all_cpus = self.privileged || paranoid <= 0;
        let scope = if all_cpus && want != Want::Processes {
            Scope::AllCpus
        } else if want == Want::AllCpus {
            return Err(self.closed(format!("sampling all CPUs is not permitted ({})", self.why(paranoid))));
        } else {
            let (pids, left_out) = self.reachable(around, pids)?;
            if want == Want::Widest {
                notes.push(format!(
                    "target's processes only: all CPUs are not permitted ({}); {}",
                    self.why(paranoid),
                    self.open_all()
                ));
            }
            notes.extend(left_out);
            // perf_allow_kernel(): from level 2 on.
            let user_only = !self.privileged && paranoid >= 2;
            if user_only {
                notes.push("user space only: what the target does in the kernel is not sampled".into());
            }
            Scope::Processes { pids, user_only }
        };
        let kernel = !matches!(scope, Scope::Processes { user_only: true, .. });
        if kernel && !self.kernel_symbols {
            notes.push(format!("kernel functions will have no names: {}", self.open_symbols()));
        }
        let ring_limit_kb = self.mlock_kb.filter(|_| !self.locks_freely);
        Ok(Plan { perf, scope, event, ring_limit_kb, notes })
    }

    /// All that is in the way of the fullest capture, for a list of what the host permits.
    pub fn obstacles(&self) -> Vec<Obstacle> {
        let mut found: Vec<Obstacle> = self.perf.as_ref().err().cloned().into_iter().collect();
        match self.paranoid {
            None => found.push(Obstacle::new("this kernel has no performance events", None)),
            Some(p) if p > 0 && !self.privileged => {
                let what = match p {
                    1 => "perf may sample your own processes, kernel included, but not all CPUs",
                    2 => "perf may sample your own processes in user space only",
                    _ => {
                        "perf may sample your own processes in user space only, and on Debian's and Ubuntu's kernels nothing"
                    }
                };
                found.push(Obstacle::new(format!("{what} ({})", self.why(p)), Some(self.open_all())));
            }
            Some(_) => {}
        }
        if !self.kernel_symbols {
            let level = self.kptr_restrict.map_or("unknown".into(), |k| k.to_string());
            let what = format!("kernel functions have no names in profiles (kernel.kptr_restrict is {level})");
            found.push(Obstacle::new(what, Some(self.open_symbols())));
        }
        // perf takes what it is allowed, down to one page and a head; it loses samples then.
        if let Some(kb) = self.mlock_kb.filter(|&kb| kb < 132 && !self.privileged) {
            found.push(Obstacle::new(
                format!("perf's buffers are limited to {kb} KiB per CPU, samples may be lost"),
                Some("sudo sysctl -w kernel.perf_event_mlock_kb=516".into()),
            ));
        }
        found
    }

    /// The processes perf may attach to, and a note on those it may not.
    fn reachable(&self, around: &Surroundings, pids: &[u32]) -> Result<(Vec<u32>, Option<String>), Obstacle> {
        let (mut open, mut shut, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for &pid in pids {
            let process = around.root.join(format!("proc/{pid}"));
            // The kernel asks ptrace(2)'s read access of who samples a process without
            // privileges, as it does of who opens its maps (proc_pid_maps(5)).
            match (process.exists(), fs::File::open(process.join("maps"))) {
                (false, _) => gone.push(pid),
                (true, Ok(_)) => open.push(pid),
                (true, Err(_)) if self.privileged => open.push(pid),
                (true, Err(_)) => shut.push(pid),
            }
        }
        let list = |pids: &[u32]| pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        if !open.is_empty() {
            let note = (!shut.is_empty()).then(|| format!("not sampled: process {} is another user's", list(&shut)));
            return Ok((open, note));
        }
        let paranoid = self.paranoid.unwrap_or_default();
        let closed = format!("sampling all CPUs is not permitted ({})", self.why(paranoid));
        let closed = if self.privileged || paranoid <= 0 { String::new() } else { format!("{closed} and ") };
        Err(match (shut.is_empty(), gone.is_empty()) {
            (false, _) => self.closed(format!("{closed}process {} belongs to another user", list(&shut))),
            (true, false) => Obstacle::new(format!("process {} is gone", list(&gone)), None),
            (true, true) => {
                self.closed(format!("{closed}the target's process is not known (not on this machine, or no --pid)"))
            }
        })
    }

    fn why(&self, paranoid: i64) -> String {
        format!("kernel.perf_event_paranoid is {paranoid}, without CAP_PERFMON")
    }

    fn closed(&self, what: String) -> Obstacle {
        Obstacle::new(what, (!self.privileged).then(|| self.open_all()))
    }

    /// The command that permits sampling all CPUs with kernel symbols.
    fn open_all(&self) -> String {
        let symbols = if self.kptr_restrict == Some(0) { "" } else { " kernel.kptr_restrict=0" };
        format!("sudo sysctl -w kernel.perf_event_paranoid=0{symbols}")
    }

    fn open_symbols(&self) -> String {
        let paranoid = if self.paranoid.is_some_and(|p| p <= 1) { "" } else { " kernel.perf_event_paranoid=1" };
        format!("sudo sysctl -w kernel.kptr_restrict=0{paranoid}")
    }
}

fn find_perf(around: &Surroundings) -> Result<PathBuf, Obstacle> {
    let runs = |p: &Path| fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if let Some(named) = &around.perf {
        if runs(named) {
            return Ok(named.clone());
        }
        let what = format!("{PERF_VARIABLE} names {}, which is not a program", named.display());
        return Err(Obstacle::new(what, Some(format!("unset {PERF_VARIABLE}"))));
    }
    // An empty entry of PATH means the working directory, from which nothing should be run.
    let dirs = std::env::split_paths(&around.path).filter(|d| d.is_absolute());
    dirs.map(|d| d.join("perf")).find(|p| runs(p)).ok_or_else(|| {
        Obstacle::new(
            "there is no perf in PATH",
            Some(install(around.text("etc/os-release").unwrap_or_default().as_str())),
        )
    })
}

/// The command that installs perf, by /etc/os-release (os-release(5)).
pub(super) fn install(os_release: &str) -> String {
    let field = |name: &str| {
        let value = os_release.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().trim_matches(['"', '\''])
    };
    let like: Vec<&str> = field("ID").split(' ').chain(field("ID_LIKE").split(' ')).collect();
    let is = |id: &str| like.contains(&id);
    if is("ubuntu") {
        "sudo apt install linux-tools-common linux-tools-$(uname -r)"
    } else if is("debian") {
        "sudo apt install linux-perf"
    } else if is("fedora") || is("rhel") || is("centos") {
        "sudo dnf install perf"
    } else if is("arch") {
        "sudo pacman -S perf"
    } else if is("alpine") {
        "sudo apk add perf"
    } else if is("suse") || is("opensuse") {
        "sudo zypper install perf"
    } else {
        "install your distribution's perf (linux-perf, linux-tools or perf)"
    }
    .to_string()
}

/// A counter of cycles: some PMU names the event. ARM's spell it with an underscore.
fn has_cycles(around: &Surroundings) -> bool {
    let Ok(devices) = fs::read_dir(around.root.join("sys/bus/event_source/devices")) else { return false };
    devices.flatten().any(|device| {
        let events = device.path().join("events");
        ["cpu-cycles", "cpu_cycles"].iter().any(|name| events.join(name).exists())
    })
}

/// Capabilities perf will have, as execve(2) computes them.
struct Capabilities(u64);

impl Capabilities {
    /// Those of this process.
    fn of_self(around: &Surroundings) -> Capabilities {
        let status = around.text("proc/self/status").unwrap_or_default();
        let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
        let effective = effective.and_then(|v| u64::from_str_radix(v.trim(), 16).ok());
        Capabilities(effective.filter(|_| Capabilities::count(around)).unwrap_or(0))
    }

    /// perf events ask for capabilities in the first user namespace: a container's root has none that
    /// count (user_namespaces(7)).
    fn count(around: &Surroundings) -> bool {
        let whole = |map: String| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
        around.text("proc/self/uid_map").is_some_and(whole)
    }

    fn of_perf(around: &Surroundings, perf: Option<&PathBuf>) -> Capabilities {
        if !Capabilities::count(around) {
            return Capabilities(0);
        }
        let status = around.text("proc/self/status").unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|l| Some(l.strip_prefix(name)?.strip_prefix(':')?.trim()));
        let set = |name| field(name).and_then(|v| u64::from_str_radix(v, 16).ok()).unwrap_or(0);
        let root = field("Uid").is_some_and(|ids| ids.split_ascii_whitespace().take(2).any(|id| id == "0"));
        let frozen = field("NoNewPrivs").is_some_and(|v| v != "0");
        let bounding = set("CapBnd");
        let file = perf.filter(|_| !frozen).and_then(|p| file_capabilities(p)).unwrap_or(0);
        Capabilities(set("CapAmb") | (file & bounding) | if root { bounding } else { 0 })
    }

    fn has(&self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }
}

/// The permitted set a file gives with setcap(8): struct vfs_cap_data of linux/capability.h.
fn file_capabilities(path: &Path) -> Option<u64> {
    let mut value = [0u8; 24];
    let n = rustix::fs::getxattr(path, "security.capability", &mut value[..]).ok()?;
    parse_capabilities(value.get(..n)?)
}

fn parse_capabilities(value: &[u8]) -> Option<u64> {
    let word = |n: usize| Some(u32::from_le_bytes(value.get(n * 4..n * 4 + 4)?.try_into().ok()?));
    const EFFECTIVE: u32 = 1;
    const REVISION: u32 = 0xff00_0000;
    let magic = word(0)?;
    let known = matches!(magic & REVISION, 0x0200_0000 | 0x0300_0000);
    // Without the effective bit a program must raise them itself, which perf does not.
    (known && magic & EFFECTIVE != 0).then_some(())?;
    Some(u64::from(word(1)?) | u64::from(word(3)?) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root directory with what a test says of the machine.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(paranoid: &str, kptr: &str, uid: u32) -> Machine {
            let m = Machine(tempfile::tempdir().unwrap());
            m.put("proc/sys/kernel/perf_event_paranoid", paranoid);
            m.put("proc/sys/kernel/kptr_restrict", kptr);
            m.put("proc/sys/kernel/perf_event_mlock_kb", "516\n");
            m.put("proc/self/uid_map", "         0          0 4294967295\n");
            m.status(uid, 0);
            m.put("proc/7/maps", "");
            m.put("bin/perf", "#!/bin/sh\n");
            fs::set_permissions(m.0.path().join("bin/perf"), fs::Permissions::from_mode(0o755)).unwrap();
            m
        }

        fn status(&self, uid: u32, ambient: u64) {
            let text = format!(
                "Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t0\nCapBnd:\t000001fffeffffff\nCapAmb:\t{ambient:016x}\nNoNewPrivs:\t0\n"
            );
            self.put("proc/self/status", &text);
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn around(&self) -> Surroundings {
            let root = self.0.path();
            let path = std::env::join_paths([root.join("none"), root.join("bin")]).unwrap();
            Surroundings { root: root.into(), perf: None, path, temp: root.into() }
        }

        fn plan(&self, pids: &[u32], want: Want) -> Result<Plan, Obstacle> {
            inspect(&self.around()).plan(&self.around(), pids, want)
        }
    }

    #[test]
    fn privileges_open_all_cpus_at_any_level() {
        let root = Machine::new("4\n", "1\n", 0);
        assert_eq!(root.plan(&[], Want::Widest).unwrap().scope, Scope::AllCpus);
        assert!(inspect(&root.around()).kernel_symbols);
        let user = Machine::new("4\n", "1\n", 1000);
        user.status(1000, 1 << CAP_PERFMON);
        assert_eq!(user.plan(&[], Want::Widest).unwrap().scope, Scope::AllCpus);
        assert!(!inspect(&user.around()).kernel_symbols);
        // Root of a container.
        root.put("proc/self/uid_map", "0 100000 65536\n");
        assert!(root.plan(&[], Want::Widest).unwrap_err().what.contains("perf_event_paranoid is 4"));
    }

    #[test]
    fn the_level_decides_for_a_user() {
        let of = |level: &str| Machine::new(level, "0\n", 1000).plan(&[7], Want::Widest).unwrap();
        assert_eq!((of("-1\n").scope, of("0\n").scope), (Scope::AllCpus, Scope::AllCpus));
        assert_eq!(of("1\n").scope, Scope::Processes { pids: vec![7], user_only: false });
        let two = of("2\n");
        assert_eq!(two.scope, Scope::Processes { pids: vec![7], user_only: true });
        assert!(two.notes.iter().any(|n| n.contains("sudo sysctl -w kernel.perf_event_paranoid=0")), "{:?}", two.notes);
        assert!(!two.notes.iter().any(|n| n.contains("kernel functions")), "the kernel is not sampled");
    }

    #[test]
    fn what_is_refused_says_what_mends_it() {
        let user = Machine::new("2\n", "1\n", 1000);
        let refused = user.plan(&[], Want::Widest).unwrap_err();
        assert_eq!(refused.mend.as_deref(), Some("sudo sysctl -w kernel.perf_event_paranoid=0 kernel.kptr_restrict=0"));
        assert!(user.plan(&[7], Want::AllCpus).is_err());
        let gone = user.plan(&[8], Want::Widest).unwrap_err();
        assert_eq!((gone.what.as_str(), gone.mend), ("process 8 is gone", None));
        let both = user.plan(&[7, 8], Want::Processes).unwrap();
        assert_eq!(both.scope, Scope::Processes { pids: vec![7], user_only: true });
        // As a process whose maps may not be opened.
        user.put("proc/9/status", "");
        assert!(user.plan(&[9], Want::Widest).unwrap_err().what.contains("process 9 belongs to another user"));
        assert!(user.plan(&[7, 9], Want::Widest).unwrap().notes.iter().any(|n| n.contains("process 9 is another")));
        fs::remove_file(user.0.path().join("proc/sys/kernel/perf_event_paranoid")).unwrap();
        assert!(user.plan(&[7], Want::Widest).unwrap_err().what.contains("no performance events"));
    }

    #[test]
    fn a_missing_perf_is_named_with_its_package() {
        let m = Machine::new("0\n", "0\n", 1000);
        m.put("etc/os-release", "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n");
        fs::remove_file(m.0.path().join("bin/perf")).unwrap();
        let missing = m.plan(&[], Want::Widest).unwrap_err();
        assert!(missing.mend.unwrap().contains("linux-tools-$(uname -r)"));
        for (text, want) in [
            ("ID=debian\n", "linux-perf"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install perf"),
            ("ID=arch\n", "pacman"),
            ("ID='opensuse-leap'\nID_LIKE='suse opensuse'\n", "zypper"),
            ("", "your distribution's perf"),
        ] {
            assert!(install(text).contains(want), "{text}");
        }
        let named = Surroundings { perf: Some("/nonexistent".into()), ..m.around() };
        let missing = inspect(&named).plan(&named, &[], Want::Widest).unwrap_err();
        assert_eq!(missing.mend.as_deref(), Some("unset PERFBENCH_PERF"));
        assert_eq!(inspect(&m.around()).obstacles().len(), 1);
    }

    #[test]
    fn kernel_symbols_follow_both_settings() {
        let of = |paranoid: &str, kptr: &str, uid| inspect(&Machine::new(paranoid, kptr, uid).around()).kernel_symbols;
        assert!(of("1", "0", 1000) && of("2", "0", 0) && of("2", "1", 0));
        assert!(!of("2", "0", 1000) && !of("1", "1", 1000) && !of("0", "2", 0));
        let hidden = Machine::new("0", "2", 0);
        let notes = hidden.plan(&[], Want::Widest).unwrap().notes;
        assert!(notes.iter().any(|n| n.ends_with("sudo sysctl -w kernel.kptr_restrict=0")), "{notes:?}");
        assert_eq!(inspect(&hidden.around()).obstacles().len(), 1);
    }

    #[test]
    fn the_built_in_sampler_needs_no_perf_and_goes_by_its_own_privileges() {
        let m = Machine::new("2\n", "0\n", 0);
        fs::remove_file(m.0.path().join("bin/perf")).unwrap();
        assert!(m.plan(&[7], Want::Widest).is_err());
        let of = || inspect_built_in(&m.around()).plan(&m.around(), &[7], Want::Widest).unwrap();
        // Root in name only.
        let plan = of();
        assert_eq!((plan.perf, plan.ring_limit_kb), (None, Some(516)));
        assert_eq!(plan.scope, Scope::Processes { pids: vec![7], user_only: true });
        let effective = |bits: u64| m.put("proc/self/status", &format!("Name:\tx\nCapEff:\t{bits:016x}\n"));
        effective(1 << CAP_PERFMON);
        assert_eq!((of().scope, of().ring_limit_kb), (Scope::AllCpus, Some(516)));
        effective(1 << CAP_PERFMON | 1 << CAP_IPC_LOCK);
        assert_eq!(of().ring_limit_kb, None);
        assert!(of().notes.iter().any(|n| n.contains("kernel functions will have no names")));
        m.put("proc/kallsyms", "0000000000000000 A a\n0000000000000000 T b\n");
        assert!(!inspect_built_in(&m.around()).kernel_symbols);
        m.put("proc/kallsyms", "0000000000000000 A a\nffffffff81000000 T b\n");
        assert!(inspect_built_in(&m.around()).kernel_symbols);
        m.put("proc/self/uid_map", "0 100000 65536\n");
        assert_eq!(of().scope, Scope::Processes { pids: vec![7], user_only: true });
    }

    #[test]
    fn a_cycle_counter_is_found_in_sysfs() {
        let m = Machine::new("0", "0", 0);
        assert_eq!(m.plan(&[], Want::Widest).unwrap().event, "cpu-clock");
        m.put("sys/bus/event_source/devices/cpu_core/events/cpu-cycles", "event=0x3c\n");
        assert_eq!(m.plan(&[], Want::Widest).unwrap().event, "cycles");
    }

    #[test]
    fn capabilities_of_a_file_are_read_as_setcap_writes_them() {
        let bytes = |words: [u32; 5]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
        let perfmon = 1 << (CAP_PERFMON - 32);
        assert_eq!(parse_capabilities(&bytes([0x0200_0001, 0, 0, perfmon, 0])), Some(1 << CAP_PERFMON));
        assert_eq!(parse_capabilities(&bytes([0x0200_0000, 0, 0, perfmon, 0])), None);
        assert_eq!(parse_capabilities(&bytes([0x0900_0001, 0, 0, perfmon, 0])), None);
        assert_eq!(parse_capabilities(&[1, 0, 0]), None);
    }
}
