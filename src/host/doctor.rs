//! What this host permits and what will bite, each with the command that changes it.
//!
//! To add a check: a function and a row of [`PROBES`].
//!
//! Must not: change anything, or judge a run; these are facts before one.

use super::fields::{keyed, signed};
use super::ports::PortRange;
use super::samplers::target::is_local;
use procfs::FromRead;
use procfs::process::{LimitValue, Limits};
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// How a setting of the host is for load tests and profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do.
    Good,
    /// It will get in the way, see [`Check::why`].
    Bites,
    /// The host does not tell.
    Unknown,
}

/// One setting of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, a sysctl's own where it is one.
    pub name: String,
    /// What it is now, as shown.
    pub value: String,
    /// How that is.
    pub verdict: Verdict,
    /// What it does for or against a run, in one line.
    pub why: String,
    /// The command that changes it, if it bites and one does.
    pub mend: Option<String>,
}

/// Where the target is, which decides what of this host bounds a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere: everything is judged.
    #[default]
    Anywhere,
    /// On loopback: no link is in between, and ports in TIME_WAIT are reused.
    Loopback,
    /// On this host, by another of its addresses.
    Here,
    /// On another host: listeners here are not the target's.
    Elsewhere,
}

impl Reach {
    /// Where an address is.
    pub fn of(target: SocketAddr) -> Reach {
        match target {
            t if t.ip().to_canonical().is_loopback() => Reach::Loopback,
            t if is_local(t) => Reach::Here,
            _ => Reach::Elsewhere,
        }
    }
}

/// Everything worth knowing about this host before a run at a target.
pub fn doctor(target: Reach) -> Vec<Check> {
    doctor_in(Path::new("/"), &std::env::var_os("PATH").unwrap_or_default(), target)
}

/// The same, of the host whose `proc` and `sys` are below `root`, with `path` for `$PATH`
/// (whose folders are taken below `root` too).
pub fn doctor_in(root: &Path, path: &OsStr, target: Reach) -> Vec<Check> {
    let tree = Tree { root: root.to_owned(), path: path.to_owned(), target };
    PROBES
        .iter()
        .flat_map(|(name, probe)| {
            probe(&tree).into_iter().map(move |a| Check {
                name: if a.of.is_empty() { (*name).to_owned() } else { format!("{name} {}", a.of) },
                value: a.value,
                verdict: a.verdict,
                why: a.why,
                mend: a.mend.filter(|_| a.verdict != Verdict::Good),
            })
        })
        .collect()
}

type Probe = fn(&Tree) -> Vec<Answer>;

/// Every check, in the order they are shown: profiles, sockets, machine.
const PROBES: &[(&str, Probe)] = &[
    ("perf", perf_binary),
    ("kernel.perf_event_paranoid", perf_event_paranoid),
    ("kernel.kptr_restrict", kptr_restrict),
    ("kernel.perf_event_mlock_kb", perf_event_mlock_kb),
    ("open files", open_files),
    ("net.ipv4.ip_local_port_range", local_ports),
    ("net.ipv4.tcp_tw_reuse", tw_reuse),
    ("net.ipv4.tcp_timestamps", timestamps),
    ("net.ipv4.tcp_max_tw_buckets", tw_buckets),
    ("net.ipv4.tcp_fin_timeout", fin_timeout),
    ("net.core.somaxconn", somaxconn),
    ("net.ipv4.tcp_max_syn_backlog", syn_backlog),
    ("nf_conntrack", conntrack),
    ("link", links),
    ("cpus", cpus),
    ("memory", memory),
    ("clock source", clock_source),
    ("cpu governor", governor),
    ("pressure", pressure),
];

/// What a probe has to say.
struct Answer {
    /// Of what, when there are several: an interface.
    of: String,
    value: String,
    verdict: Verdict,
    why: String,
    mend: Option<String>,
}

fn answer(verdict: Verdict, value: impl ToString, why: &str, mend: &str) -> Vec<Answer> {
    let mend = (!mend.is_empty()).then(|| mend.to_owned());
    vec![Answer { of: String::new(), value: value.to_string(), verdict, why: why.to_owned(), mend }]
}

fn unknown(why: &str) -> Vec<Answer> {
    answer(Verdict::Unknown, "not told", why, "")
}

fn good_if(good: bool) -> Verdict {
    if good { Verdict::Good } else { Verdict::Bites }
}

/// The host's files.
struct Tree {
    root: PathBuf,
    path: OsString,
    target: Reach,
}

impl Tree {
    fn bytes(&self, file: &str) -> Option<Vec<u8>> {
        std::fs::read(self.root.join(file)).ok()
    }

    fn word(&self, file: &str) -> Option<String> {
        let bytes = self.bytes(file)?;
        Some(crate::model::clean(String::from_utf8_lossy(&bytes).trim(), 200))
    }

    fn number(&self, file: &str) -> Option<i64> {
        signed(self.bytes(file)?.trim_ascii())
    }

    /// Whether we hold a capability: `bit` is its number in include/uapi/linux/capability.h.
    fn has_capability(&self, bit: u32) -> bool {
        let status = self.bytes("proc/self/status").unwrap_or_default();
        let line = super::fields::lines(&status).find_map(|l| l.strip_prefix(b"CapEff:"));
        let set = line.and_then(|l| super::fields::hex(l.trim_ascii())).unwrap_or(0);
        set & (1 << bit) != 0
    }

    fn may_profile_all(&self) -> bool {
        self.has_capability(CAP_PERFMON) || self.has_capability(CAP_SYS_ADMIN)
    }

    fn port_range(&self) -> Option<PortRange> {
        let reserved = self.bytes("proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
        PortRange::parse(&self.bytes("proc/sys/net/ipv4/ip_local_port_range")?, &reserved)
    }
}

const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYSLOG: u32 = 34;
const CAP_PERFMON: u32 = 38;

fn perf_binary(t: &Tree) -> Vec<Answer> {
    use std::os::unix::fs::PermissionsExt;
    let runs = |p: &PathBuf| std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let found = std::env::split_paths(&t.path)
        .map(|folder| t.root.join(folder.strip_prefix("/").unwrap_or(&folder)).join("perf"))
        .find(runs);
    match found {
        Some(path) => answer(Verdict::Good, path.display(), "captures are taken with it", ""),
        None => answer(
            Verdict::Bites,
            "not found",
            "without it there are no captures and no flame graphs",
            "sudo apt install linux-perf   (Ubuntu: linux-tools-$(uname -r); Fedora: dnf install perf)",
        ),
    }
}

/// Levels: Documentation/admin-guide/sysctl/kernel.rst; 3 and 4 are distributions' own.
fn perf_event_paranoid(t: &Tree) -> Vec<Answer> {
    let Some(level) = t.number("proc/sys/kernel/perf_event_paranoid") else {
        return answer(Verdict::Bites, "absent", "this kernel is built without perf events: no captures", "");
    };
    let why = match level {
        _ if t.may_profile_all() => "we hold CAP_PERFMON: captures see all processes and the kernel",
        ..=0 => "captures see all processes and the kernel",
        1 => "captures see our own user's processes with the kernel, not the whole host",
        2 => "captures see our own user's processes, without the kernel",
        _ => "no captures at all",
    };
    let mend = "sudo sysctl -w kernel.perf_event_paranoid=0";
    answer(good_if(level <= 0 || t.may_profile_all()), level, why, mend)
}

/// kernel/kallsyms.c kallsyms_show_value; Documentation/admin-guide/sysctl/kernel.rst.
fn kptr_restrict(t: &Tree) -> Vec<Answer> {
    let Some(level) = t.number("proc/sys/kernel/kptr_restrict") else {
        return unknown("it decides whether kernel frames have names");
    };
    let paranoid = t.number("proc/sys/kernel/perf_event_paranoid").unwrap_or(i64::MAX);
    let shown = match level {
        0 => paranoid <= 1 || t.has_capability(CAP_SYSLOG),
        1 => t.has_capability(CAP_SYSLOG),
        _ => false,
    };
    let why = if shown { "kernel frames have names" } else { "kernel frames are addresses without names" };
    answer(good_if(shown), level, why, "sudo sysctl -w kernel.kptr_restrict=0 kernel.perf_event_paranoid=0")
}

/// The default is 512 KiB and a page; perf takes that much per user and CPU.
fn perf_event_mlock_kb(t: &Tree) -> Vec<Answer> {
    let Some(kb) = t.number("proc/sys/kernel/perf_event_mlock_kb") else {
        return unknown("it bounds perf's buffers");
    };
    let good = kb >= 512 || t.has_capability(CAP_IPC_LOCK);
    let why = if good { "perf's buffers have room" } else { "perf's buffers are small: samples get lost" };
    answer(good_if(good), format!("{kb} KiB"), why, "sudo sysctl -w kernel.perf_event_mlock_kb=2048")
}

fn open_files(t: &Tree) -> Vec<Answer> {
    let limits = t.bytes("proc/self/limits").and_then(|b| Limits::from_read(&b[..]).ok());
    let Some(limit) = limits.map(|l| l.max_open_files) else {
        return unknown("each connection takes one");
    };
    let number = |v: &LimitValue| if let LimitValue::Value(n) = v { *n } else { u64::MAX };
    let show = |n: u64| if n == u64::MAX { "unlimited".to_owned() } else { n.to_string() };
    let (soft, hard) = (number(&limit.soft_limit), number(&limit.hard_limit));
    let good = soft >= 4096;
    let why = match good {
        true => "each connection takes one: enough for thousands".to_owned(),
        false => format!("each connection takes one: past about {} of them connect fails with EMFILE", soft / 20 * 19),
    };
    let wanted = 65_536.min(hard);
    let mend = match wanted > soft {
        true => format!("ulimit -n {wanted}"),
        false => "sudo prlimit --nofile=65536:65536 --pid $$".to_owned(),
    };
    answer(good_if(good), format!("{} (at most {})", show(soft), show(hard)), &why, &mend)
}

fn local_ports(t: &Tree) -> Vec<Answer> {
    let Some(range) = t.port_range() else {
        return unknown("it bounds the connections to one destination");
    };
    let budget = range.budget();
    let text = t.word("proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ends = text.split_whitespace().collect::<Vec<_>>().join("-");
    let ends = ends.replace('·', "-"); // the tab between them
    // The closer holds a port for 60 s (TCP_TIMEWAIT_LEN of include/net/tcp.h).
    let why = format!(
        "short connections that we close first: {}/s to one destination fill it, from {}/s on connect is slow",
        budget / 60,
        budget / 120
    );
    let mend = "sudo sysctl -w net.ipv4.ip_local_port_range='1024 65535'";
    answer(good_if(budget > 50_000), format!("{ends}: {budget} ports per destination"), &why, mend)
}

/// Documentation/networking/ip-sysctl.rst.
fn tw_reuse(t: &Tree) -> Vec<Answer> {
    let Some(level) = t.number("proc/sys/net/ipv4/tcp_tw_reuse") else {
        return unknown("it lets connect reuse ports in TIME_WAIT");
    };
    let on_loopback = t.target == Reach::Loopback;
    let why = match level {
        1 => "connect reuses ports that have been in TIME_WAIT for 1 s",
        2 if on_loopback => "connect reuses ports in TIME_WAIT to loopback, where the target is",
        2 => "connect reuses ports in TIME_WAIT to loopback only: to other hosts they are held for 60 s",
        _ => "ports in TIME_WAIT are held for 60 s",
    };
    answer(
        good_if(level == 1 || (level == 2 && on_loopback)),
        level,
        why,
        "sudo sysctl -w net.ipv4.tcp_tw_reuse=1 net.ipv4.tcp_timestamps=1",
    )
}

fn timestamps(t: &Tree) -> Vec<Answer> {
    let Some(level) = t.number("proc/sys/net/ipv4/tcp_timestamps") else {
        return unknown("tcp_tw_reuse needs it");
    };
    let why = if level == 0 { "tcp_tw_reuse does nothing without it" } else { "tcp_tw_reuse can work" };
    answer(good_if(level != 0), level, why, "sudo sysctl -w net.ipv4.tcp_timestamps=1")
}

fn tw_buckets(t: &Tree) -> Vec<Answer> {
    let Some(most) = t.number("proc/sys/net/ipv4/tcp_max_tw_buckets") else {
        return unknown("it bounds TIME_WAIT sockets");
    };
    let good = t.port_range().is_none_or(|r| u64::try_from(most).unwrap_or(0) >= r.budget());
    let why = match good {
        true => "room for the TIME_WAIT sockets of one destination",
        false => "fewer than one destination has ports: the rest skip TIME_WAIT, seen only as TCPTimeWaitOverflow",
    };
    answer(good_if(good), most, why, "sudo sysctl -w net.ipv4.tcp_max_tw_buckets=262144")
}

fn fin_timeout(t: &Tree) -> Vec<Answer> {
    let Some(seconds) = t.number("proc/sys/net/ipv4/tcp_fin_timeout") else {
        return unknown("it bounds FIN_WAIT2");
    };
    let why = "how long FIN_WAIT2 lasts without a process; TIME_WAIT is 60 s whatever it says";
    answer(good_if(seconds <= 60), format!("{seconds} s"), why, "sudo sysctl -w net.ipv4.tcp_fin_timeout=60")
}

/// 4096 since Linux 5.4, 128 before.
fn somaxconn(t: &Tree) -> Vec<Answer> {
    if t.target == Reach::Elsewhere {
        return vec![]; // the target's own host has the one that counts
    }
    let Some(most) = t.number("proc/sys/net/core/somaxconn") else {
        return unknown("it bounds accept queues");
    };
    let why = match most >= 1024 {
        true => "accept queues of listeners here may be long enough",
        false => "accept queues of listeners here are short: bursts of connections wait for a SYN to be sent again",
    };
    answer(good_if(most >= 1024), most, why, "sudo sysctl -w net.core.somaxconn=4096   (and restart the listener)")
}

fn syn_backlog(t: &Tree) -> Vec<Answer> {
    if t.target == Reach::Elsewhere {
        return vec![]; // the target's own host has the one that counts
    }
    let Some(most) = t.number("proc/sys/net/ipv4/tcp_max_syn_backlog") else {
        return unknown("it bounds connections being established");
    };
    let why = match most >= 512 {
        true => "room for connections being established at listeners here",
        false => "few connections can be established at once at listeners here: SYNs are dropped or get cookies",
    };
    answer(good_if(most >= 512), most, why, "sudo sysctl -w net.ipv4.tcp_max_syn_backlog=4096")
}

fn conntrack(t: &Tree) -> Vec<Answer> {
    let of = |name: &str| t.number(&format!("proc/sys/net/netfilter/nf_conntrack_{name}"));
    let (Some(count), Some(most)) = (of("count"), of("max")) else {
        return answer(Verdict::Good, "not loaded", "connections are not tracked", "");
    };
    // A tracked connection outlives TIME_WAIT: nf_conntrack_tcp_timeout_time_wait is 120 s.
    let good = most >= 65_536 && count < most / 2;
    let why = match good {
        true => "the table has room",
        false => "each connection stays in the table for 2 minutes after its end; when it is full packets are dropped",
    };
    answer(good_if(good), format!("{count} of {most}"), why, "sudo sysctl -w net.netfilter.nf_conntrack_max=1048576")
}

fn links(t: &Tree) -> Vec<Answer> {
    if matches!(t.target, Reach::Loopback | Reach::Here) {
        return vec![]; // nothing goes over one
    }
    let Ok(entries) = std::fs::read_dir(t.root.join("sys/class/net")) else {
        return unknown("it bounds throughput");
    };
    let mut names: Vec<String> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    let up = |name: &String| t.word(&format!("sys/class/net/{name}/operstate")).as_deref() == Some("up");
    let mut answers = Vec::new();
    for name in names.into_iter().filter(up) {
        let speed = t.number(&format!("sys/class/net/{name}/speed")).filter(|s| *s > 0);
        let (verdict, value, why) = match speed {
            None => (
                Verdict::Unknown,
                "speed not told".to_owned(),
                "a virtual link: watch packets per second instead of per cent".to_owned(),
            ),
            Some(s) => {
                let why = format!("full at {} MB/s in each direction", s / 8);
                (good_if(s >= 10_000), format!("{s} Mbit/s"), why)
            }
        };
        answers.push(Answer { of: crate::model::clean(&name, 32), value, verdict, why, mend: None });
    }
    answers
}

fn cpus(t: &Tree) -> Vec<Answer> {
    let stat = t.bytes("proc/stat").unwrap_or_default();
    let online = super::fields::lines(&stat)
        .filter(|l| l.strip_prefix(b"cpu").and_then(|r| r.first()).is_some_and(u8::is_ascii_digit))
        .count();
    if online == 0 {
        return unknown("load and target share them when both are here");
    }
    let why = match online {
        1 => "load client and target, when it is here too, share one CPU: each slows the other",
        _ => "when the target is here too it shares them with the load client",
    };
    answer(good_if(online > 1), format!("{online} online"), why, "")
}

fn memory(t: &Tree) -> Vec<Answer> {
    let text = t.bytes("proc/meminfo").unwrap_or_default();
    let (Some(total), Some(available)) = (keyed(&text, b"MemTotal:"), keyed(&text, b"MemAvailable:")) else {
        return unknown("perfbench needs some 300 MB at the most");
    };
    let good = available >= 512 << 10;
    let why = if good { "enough for perfbench" } else { "less than 512 MiB to be had: swapping falsifies times" };
    answer(good_if(good), format!("{} MiB available of {} MiB", available >> 10, total >> 10), why, "")
}

fn clock_source(t: &Tree) -> Vec<Answer> {
    let folder = "sys/devices/system/clocksource/clocksource0";
    let Some(now) = t.word(&format!("{folder}/current_clocksource")) else {
        return unknown("it decides what reading a clock costs");
    };
    // Those that are read without a system call (arch/*/include/asm/vdso/clocksource.h).
    let fast = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource"];
    let good = fast.contains(&now.as_str());
    let why = match good {
        true => "clocks are read without a system call",
        false => "each reading of a clock is a system call: it costs the load client CPU",
    };
    let other = t.word(&format!("{folder}/available_clocksource")).unwrap_or_default();
    let mend = match other.split_whitespace().find(|c| fast.contains(c)) {
        Some(better) => format!("echo {better} | sudo tee /{folder}/current_clocksource"),
        None => String::new(),
    };
    answer(good_if(good), now, why, &mend)
}

fn governor(t: &Tree) -> Vec<Answer> {
    let Some(now) = t.word("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") else {
        return Vec::new(); // the host, or its hypervisor, does not let us see
    };
    let good = now == "performance";
    let why = if good { "CPUs keep their speed" } else { "CPUs slow down when idle: times vary with the load" };
    let mend = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor";
    answer(good_if(good), now, why, mend)
}

fn pressure(t: &Tree) -> Vec<Answer> {
    match t.bytes("proc/pressure/cpu") {
        Some(_) => answer(Verdict::Good, "there", "time lost waiting for CPU, memory and disks is shown", ""),
        None => answer(
            Verdict::Unknown,
            "absent",
            "time lost waiting for CPU, memory and disks is not shown",
            "boot with psi=1 on the kernel's command line (Linux 4.20 and later)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture(tempfile::TempDir);

    impl Fixture {
        fn new(files: &[(&str, &str)]) -> Fixture {
            let f = Fixture(tempfile::tempdir().unwrap());
            files.iter().for_each(|(p, t)| f.write(p, t));
            f
        }
        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        fn all(&self, target: Reach) -> Vec<Check> {
            doctor_in(self.0.path(), OsStr::new("/usr/bin:/opt/tools"), target)
        }
        fn check(&self, name: &str) -> Check {
            let all = self.all(Reach::Anywhere);
            all.into_iter().find(|c| c.name == name).unwrap_or_else(|| panic!("no {name}"))
        }
    }

    #[test]
    fn an_empty_host_tells_nothing_and_nothing_panics() {
        let f = Fixture::new(&[]);
        let all = doctor_in(f.0.path(), OsStr::new(""), Reach::Anywhere);
        assert!(all.len() >= 15);
        assert!(all.iter().all(|c| !c.why.is_empty() && !c.value.is_empty()));
        assert_eq!(f.check("net.core.somaxconn").verdict, Verdict::Unknown);
        assert_eq!(f.check("nf_conntrack").value, "not loaded");
    }

    #[test]
    fn perf_is_judged_with_our_capabilities() {
        let f = Fixture::new(&[
            ("proc/sys/kernel/perf_event_paranoid", "2\n"),
            ("proc/sys/kernel/kptr_restrict", "1\n"),
            ("proc/self/status", "Name:\tx\nCapEff:\t0000000000000000\n"),
        ]);
        let paranoid = f.check("kernel.perf_event_paranoid");
        assert_eq!((paranoid.verdict, paranoid.value.as_str()), (Verdict::Bites, "2"));
        assert_eq!(paranoid.mend.as_deref(), Some("sudo sysctl -w kernel.perf_event_paranoid=0"));
        assert_eq!(f.check("kernel.kptr_restrict").verdict, Verdict::Bites);
        // CAP_PERFMON and CAP_SYSLOG.
        f.write("proc/self/status", "CapEff:\t0000004400000000\n");
        assert_eq!(f.check("kernel.perf_event_paranoid").verdict, Verdict::Good);
        assert_eq!(f.check("kernel.perf_event_paranoid").mend, None);
        assert_eq!(f.check("kernel.kptr_restrict").verdict, Verdict::Good);
        assert_eq!(f.check("perf").verdict, Verdict::Bites);
        f.write("opt/tools/perf", "");
        assert_eq!(f.check("perf").verdict, Verdict::Bites, "not executable");
        use std::os::unix::fs::PermissionsExt;
        let perf = f.0.path().join("opt/tools/perf");
        std::fs::set_permissions(&perf, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(f.check("perf").verdict, Verdict::Good);
    }

    #[test]
    fn sockets_are_judged_by_their_budget() {
        let f = Fixture::new(&[
            ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("proc/sys/net/ipv4/ip_local_reserved_ports", "\n"),
            ("proc/sys/net/ipv4/tcp_max_tw_buckets", "16384\n"),
            ("proc/sys/net/ipv4/tcp_tw_reuse", "2\n"),
            ("proc/sys/net/ipv4/tcp_timestamps", "0\n"),
            ("proc/sys/net/netfilter/nf_conntrack_count", "60000\n"),
            ("proc/sys/net/netfilter/nf_conntrack_max", "65536\n"),
        ]);
        let ports = f.check("net.ipv4.ip_local_port_range");
        assert_eq!(ports.value, "32768-60999: 28232 ports per destination");
        assert!(ports.why.contains("470/s") && ports.why.contains("235/s"), "{}", ports.why);
        for name in ["net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_timestamps", "nf_conntrack"]
        {
            let c = f.check(name);
            assert!(c.verdict == Verdict::Bites && c.mend.is_some(), "{c:?}");
        }
        f.write("proc/sys/net/ipv4/ip_local_port_range", "1024\t65535\n");
        assert_eq!(f.check("net.ipv4.ip_local_port_range").verdict, Verdict::Good);
    }

    #[test]
    fn what_does_not_bound_a_run_at_this_target_is_not_judged() {
        let f = Fixture::new(&[
            ("proc/sys/net/ipv4/tcp_tw_reuse", "2\n"),
            ("proc/sys/net/core/somaxconn", "128\n"),
            ("proc/sys/net/ipv4/tcp_max_syn_backlog", "128\n"),
            ("sys/class/net/eth0/operstate", "up\n"),
            ("sys/class/net/eth0/speed", "1000\n"),
        ]);
        let bites = |target: Reach| -> Vec<String> {
            let bites = f.all(target).into_iter().filter(|c| c.verdict == Verdict::Bites).map(|c| c.name);
            bites.filter(|name| !name.contains("perf")).collect() // which this machine may lack
        };
        let (reuse, queues, link) =
            ("net.ipv4.tcp_tw_reuse", ["net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"], "link eth0");
        assert_eq!(bites(Reach::Anywhere), [reuse, queues[0], queues[1], link]);
        assert_eq!(bites(Reach::Loopback), queues);
        assert_eq!(bites(Reach::Here), [reuse, queues[0], queues[1]]);
        assert_eq!(bites(Reach::Elsewhere), [reuse, link]);
        assert_eq!(Reach::of("127.0.0.2:80".parse().unwrap()), Reach::Loopback);
        assert_eq!(Reach::of("[::ffff:127.0.0.1]:80".parse().unwrap()), Reach::Loopback);
        assert_eq!(Reach::of("192.0.2.1:80".parse().unwrap()), Reach::Elsewhere);
    }

    #[test]
    fn the_machine_is_judged() {
        let f = Fixture::new(&[
            ("proc/stat", "cpu  1\ncpu0 1\ncpu1 1\n"),
            ("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 100000 kB\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
            ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
            ("sys/class/net/eth0/operstate", "up\n"),
            ("sys/class/net/eth0/speed", "1000\n"),
            ("sys/class/net/veth1/operstate", "up\n"),
            ("sys/class/net/veth1/speed", "-1\n"),
            ("sys/class/net/eth1/operstate", "down\n"),
        ]);
        assert_eq!(f.check("cpus").value, "2 online");
        assert_eq!(f.check("memory").verdict, Verdict::Bites);
        assert!(f.check("clock source").mend.unwrap().starts_with("echo tsc |"));
        assert_eq!(f.check("cpu governor").verdict, Verdict::Bites);
        assert_eq!((f.check("link eth0").verdict, f.check("link veth1").verdict), (Verdict::Bites, Verdict::Unknown));
        assert!(doctor_in(f.0.path(), OsStr::new(""), Reach::Anywhere).iter().all(|c| c.name != "link eth1"));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n";
        f.write("proc/self/limits", limits);
        assert_eq!(f.check("open files").verdict, Verdict::Unknown);
    }

    #[test]
    fn this_host_tells_about_itself() {
        let all = doctor(Reach::Anywhere);
        let files = all.iter().find(|c| c.name == "open files").unwrap();
        assert!(files.value.contains("at most"), "{files:?}");
        assert!(all.iter().any(|c| c.name == "memory" && c.verdict != Verdict::Unknown));
    }
}
