//! The table of everything that is read from the host. One row here and one line in its
//! sampler make a metric; series, rate, recording and JSON follow from the row.
//!
//! Must not: read anything, or compute.

use std::fmt;
use std::str::FromStr;

/// Whether a value counts up or stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Counts up from some start; only differences mean something.
    Counter,
    /// Stands for itself.
    Gauge,
}

/// The unit of a raw value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
    /// Clock ticks of [`super::HostFacts::ticks_per_s`].
    Ticks,
    /// Nanoseconds.
    Nanos,
    /// Microseconds.
    Micros,
    /// Milliseconds.
    Millis,
    /// Megabits per second.
    MegabitsPerS,
}

/// What the instances of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The whole host (one instance, named by the empty string).
    Host,
    /// A CPU, by number.
    Cpu,
    /// A network interface.
    Interface,
    /// A block device.
    Disk,
    /// A process: `self`, or `PID name` of the target's.
    Process,
    /// A load thread of perfbench: `load-0`.
    Thread,
    /// A remote socket address.
    Destination,
    /// A TCP state by its kernel name.
    State,
}

macro_rules! metrics {
    ($($variant:ident $name:literal $kind:ident $unit:ident $scope:ident $about:literal;)*) => {
        /// Something that is read from the host.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Metric { $(#[doc = $about] $variant,)* }

        impl Metric {
            /// Every metric, in the table's order.
            pub const ALL: &'static [Metric] = &[$(Metric::$variant,)*];
            /// Its stable dotted name, as stored.
            pub fn name(self) -> &'static str { match self { $(Metric::$variant => $name,)* } }
            /// Whether it counts up.
            pub fn kind(self) -> Kind { match self { $(Metric::$variant => Kind::$kind,)* } }
            /// Its unit.
            pub fn unit(self) -> Unit { match self { $(Metric::$variant => Unit::$unit,)* } }
            /// What its instances are.
            pub fn scope(self) -> Scope { match self { $(Metric::$variant => Scope::$scope,)* } }
            /// What it means and where it is read.
            pub fn about(self) -> &'static str { match self { $(Metric::$variant => $about,)* } }
        }
    };
}

metrics! {
    // /proc/stat, per CPU
    CpuUser       "cpu.us"      Counter Ticks Cpu "time in user code; /proc/stat user, guest included";
    CpuNice       "cpu.ni"      Counter Ticks Cpu "time in niced user code; /proc/stat nice";
    CpuSystem     "cpu.sy"      Counter Ticks Cpu "time in the kernel for processes; /proc/stat system";
    CpuIdle       "cpu.id"      Counter Ticks Cpu "idle time; /proc/stat idle";
    CpuIowait     "cpu.wa"      Counter Ticks Cpu "idle while a task of this CPU waits for a disk, may go backwards; /proc/stat iowait";
    CpuIrq        "cpu.hi"      Counter Ticks Cpu "time in hardware interrupts; /proc/stat irq";
    CpuSoftirq    "cpu.si"      Counter Ticks Cpu "time in soft interrupts; /proc/stat softirq";
    CpuSteal      "cpu.st"      Counter Ticks Cpu "time the hypervisor ran somebody else; /proc/stat steal";
    // /proc/stat, host
    ContextSwitches "sched.ctxt"      Counter Count Host "context switches on all CPUs; /proc/stat ctxt";
    Interrupts      "sched.intr"      Counter Count Host "interrupts serviced; /proc/stat intr";
    ProcsRunning    "sched.running"   Gauge   Count Host "runnable tasks; /proc/stat procs_running";
    ProcsBlocked    "sched.blocked"   Gauge   Count Host "tasks blocked on disk; /proc/stat procs_blocked";
    Forks           "sched.forks"     Counter Count Host "tasks created; /proc/stat processes";
    // /proc/softirqs, /proc/net/softnet_stat
    SoftirqNetRx  "softirq.net_rx"  Counter Count Cpu "receive soft interrupts; /proc/softirqs NET_RX";
    SoftirqNetTx  "softirq.net_tx"  Counter Count Cpu "transmit soft interrupts; /proc/softirqs NET_TX";
    SoftirqTimer  "softirq.timer"   Counter Count Cpu "timer soft interrupts; /proc/softirqs TIMER";
    SoftirqSched  "softirq.sched"   Counter Count Cpu "scheduler soft interrupts; /proc/softirqs SCHED";
    SoftirqRcu    "softirq.rcu"     Counter Count Cpu "RCU soft interrupts; /proc/softirqs RCU";
    SoftirqBlock  "softirq.block"   Counter Count Cpu "block soft interrupts; /proc/softirqs BLOCK";
    SoftirqOther  "softirq.other"   Counter Count Cpu "the other soft interrupts: HI, IRQ_POLL, TASKLET, HRTIMER; /proc/softirqs";
    SoftnetProcessed "softnet.processed"    Counter Count Cpu "packets taken from the backlog; /proc/net/softnet_stat column 0";
    SoftnetDropped   "softnet.dropped"      Counter Count Cpu "packets dropped, backlog full; /proc/net/softnet_stat column 1";
    SoftnetSqueezed  "softnet.time_squeeze" Counter Count Cpu "polls that ran out of budget, no fault alone; /proc/net/softnet_stat column 2";
    SoftnetRps       "softnet.rps"          Counter Count Cpu "times another CPU asked this one to receive (RPS); /proc/net/softnet_stat column 9";
    SoftnetFlowLimit "softnet.flow_limit"   Counter Count Cpu "packets dropped by the flow limit; /proc/net/softnet_stat column 10";
    SoftnetBacklog   "softnet.backlog"      Gauge   Count Cpu "packets in the backlog now; /proc/net/softnet_stat column 11";
    // /proc/net/sockstat{,6}
    TcpInuse      "tcp.inuse"      Gauge Count Host "TCP sockets in use, TIME_WAIT not counted; /proc/net/sockstat + sockstat6 TCP inuse";
    TcpOrphan     "tcp.orphan"     Gauge Count Host "TCP sockets without a process; /proc/net/sockstat TCP orphan";
    TcpTimeWait   "tcp.time_wait"  Gauge Count Host "sockets in TIME_WAIT, and FIN_WAIT2 ones kept in the same short form; /proc/net/sockstat TCP tw";
    TcpAlloc      "tcp.alloc"      Gauge Count Host "TCP sockets allocated; /proc/net/sockstat TCP alloc";
    TcpMemory     "tcp.mem"        Gauge Bytes Host "memory of TCP buffers; /proc/net/sockstat TCP mem, pages x page size";
    // sock_diag by state
    TcpState      "tcp.state"      Gauge Count State "sockets in a state, every state each time: ESTAB = CurrEstab - CLOSE_WAIT, TIME_WAIT = sockstat tw - short FIN_WAIT2, the others by sock_diag";
    // /proc/net/snmp Tcp
    TcpActiveOpens  "tcp.active_opens"  Counter Count Host "connections opened from here; /proc/net/snmp Tcp ActiveOpens";
    TcpPassiveOpens "tcp.passive_opens" Counter Count Host "connections accepted here; /proc/net/snmp Tcp PassiveOpens";
    TcpAttemptFails "tcp.attempt_fails" Counter Count Host "connection attempts that failed; /proc/net/snmp Tcp AttemptFails";
    TcpEstabResets  "tcp.estab_resets"  Counter Count Host "connections reset when established; /proc/net/snmp Tcp EstabResets";
    TcpCurrEstab    "tcp.curr_estab"    Gauge   Count Host "sockets in ESTABLISHED or CLOSE_WAIT; /proc/net/snmp Tcp CurrEstab";
    TcpInSegs       "tcp.in_segs"       Counter Count Host "segments received; /proc/net/snmp Tcp InSegs";
    TcpOutSegs      "tcp.out_segs"      Counter Count Host "segments sent; /proc/net/snmp Tcp OutSegs";
    TcpRetransSegs  "tcp.retrans_segs"  Counter Count Host "segments sent again; /proc/net/snmp Tcp RetransSegs";
    TcpInErrs       "tcp.in_errs"       Counter Count Host "bad segments received; /proc/net/snmp Tcp InErrs";
    TcpOutRsts      "tcp.out_rsts"      Counter Count Host "resets sent; /proc/net/snmp Tcp OutRsts";
    // /proc/net/netstat TcpExt
    TcpTw               "tcpext.tw"                   Counter Count Host "sockets that finished TIME_WAIT; /proc/net/netstat TW";
    TcpTwRecycled       "tcpext.tw_recycled"          Counter Count Host "TIME_WAIT sockets reused; /proc/net/netstat TWRecycled";
    TcpTwKilled         "tcpext.tw_killed"            Counter Count Host "TIME_WAIT sockets cut short; /proc/net/netstat TWKilled";
    TcpTimeWaitOverflow "tcpext.time_wait_overflow"   Counter Count Host "TIME_WAIT skipped: tcp_max_tw_buckets reached; /proc/net/netstat TCPTimeWaitOverflow";
    TcpPawsEstab        "tcpext.paws_estab"           Counter Count Host "segments dropped for old timestamps; /proc/net/netstat PAWSEstab";
    TcpSynRetrans       "tcpext.syn_retrans"          Counter Count Host "SYN and SYN/ACK sent again; /proc/net/netstat TCPSynRetrans";
    TcpTimeouts         "tcpext.timeouts"             Counter Count Host "retransmission timeouts; /proc/net/netstat TCPTimeouts";
    TcpListenOverflows  "tcpext.listen_overflows"     Counter Count Host "accept queue full, each retried SYN counts; /proc/net/netstat ListenOverflows";
    TcpListenDrops      "tcpext.listen_drops"         Counter Count Host "SYNs dropped by a listener; /proc/net/netstat ListenDrops";
    TcpReqQFullDrop     "tcpext.reqq_full_drop"       Counter Count Host "SYN queue full, dropped; /proc/net/netstat TCPReqQFullDrop";
    TcpReqQFullCookies  "tcpext.reqq_full_cookies"    Counter Count Host "SYN queue full, cookie sent; /proc/net/netstat TCPReqQFullDoCookies";
    TcpSyncookiesSent   "tcpext.syncookies_sent"      Counter Count Host "SYN cookies sent; /proc/net/netstat SyncookiesSent";
    TcpLostRetransmit   "tcpext.lost_retransmit"      Counter Count Host "retransmissions lost again; /proc/net/netstat TCPLostRetransmit";
    TcpAbortOnTimeout   "tcpext.abort_on_timeout"     Counter Count Host "connections given up after retries; /proc/net/netstat TCPAbortOnTimeout";
    TcpAbortOnMemory    "tcpext.abort_on_memory"      Counter Count Host "connections aborted for memory; /proc/net/netstat TCPAbortOnMemory";
    TcpBacklogDrop      "tcpext.backlog_drop"         Counter Count Host "segments dropped, socket backlog full; /proc/net/netstat TCPBacklogDrop";
    TcpRcvQDrop         "tcpext.rcvq_drop"            Counter Count Host "segments dropped, receive queue full; /proc/net/netstat TCPRcvQDrop";
    TcpMemoryPressures  "tcpext.memory_pressures"     Counter Count Host "times TCP ran into its memory limit; /proc/net/netstat TCPMemoryPressures";
    // sock_diag by destination, sysctl
    DestEstablished "dest.established" Gauge Count Destination "established sockets to the destination; sock_diag";
    DestSynSent     "dest.syn_sent"    Gauge Count Destination "sockets in SYN_SENT to the destination; sock_diag";
    DestTimeWait    "dest.time_wait"   Gauge Count Destination "sockets in TIME_WAIT to the destination; sock_diag";
    DestOther       "dest.other"       Gauge Count Destination "sockets in other states to the destination; sock_diag";
    PortsUsed       "ports.used"       Gauge Count Destination "local ports of the ephemeral range in use to the destination; sock_diag";
    PortsBudget     "ports.budget"     Gauge Count Destination "local ports there are per destination: ip_local_port_range less ip_local_reserved_ports";
    ListenQueue     "listen.queue"     Gauge Count Destination "connections waiting to be accepted, when the target listens here; sock_diag rqueue";
    ListenBacklog   "listen.backlog"   Gauge Count Destination "the listener's backlog limit, when the target listens here; sock_diag wqueue";
    // nf_conntrack
    ConntrackCount  "conntrack.count"         Gauge   Count Host "tracked connections; nf_conntrack_count";
    ConntrackMax    "conntrack.max"           Gauge   Count Host "the table's limit; nf_conntrack_max";
    ConntrackDrops  "conntrack.drops"         Counter Count Host "drop + early_drop of all CPUs; /proc/net/stat/nf_conntrack";
    ConntrackInsertFailed "conntrack.insert_failed" Counter Count Host "insert_failed of all CPUs; /proc/net/stat/nf_conntrack";
    ConntrackClashes "conntrack.clashes"  Counter Count Host "clashes on insert that were resolved, of all CPUs; /proc/net/stat/nf_conntrack clashres";
    ConntrackSearchRestarts "conntrack.search_restarts" Counter Count Host "searches begun again as the table was resized, of all CPUs; /proc/net/stat/nf_conntrack search_restart";
    // /proc/net/dev, /sys/class/net
    NetRxBytes    "net.rx_bytes"    Counter Bytes Interface "bytes received; /proc/net/dev";
    NetTxBytes    "net.tx_bytes"    Counter Bytes Interface "bytes sent; /proc/net/dev";
    NetRxPackets  "net.rx_packets"  Counter Count Interface "packets received; /proc/net/dev";
    NetTxPackets  "net.tx_packets"  Counter Count Interface "packets sent; /proc/net/dev";
    NetRxDropped  "net.rx_dropped"  Counter Count Interface "packets dropped on receive; /proc/net/dev";
    NetTxDropped  "net.tx_dropped"  Counter Count Interface "packets dropped on send; /proc/net/dev";
    NetErrors     "net.errors"      Counter Count Interface "receive and send errors; /proc/net/dev";
    NetSpeed      "net.speed"       Gauge   MegabitsPerS Interface "link speed, absent when unknown; /sys/class/net/*/speed";
    // /proc/meminfo, /proc/vmstat
    MemTotal      "mem.total"       Gauge Bytes Host "physical memory; /proc/meminfo MemTotal";
    MemAvailable  "mem.available"   Gauge Bytes Host "memory to be had without swapping; /proc/meminfo MemAvailable";
    MemFree       "mem.free"        Gauge Bytes Host "memory used for nothing; /proc/meminfo MemFree";
    MemCached     "mem.cached"      Gauge Bytes Host "page cache; /proc/meminfo Cached + Buffers";
    MemDirty      "mem.dirty"       Gauge Bytes Host "pages waiting to be written; /proc/meminfo Dirty + Writeback";
    MemSlab       "mem.slab"        Gauge Bytes Host "kernel objects; /proc/meminfo Slab";
    SwapUsed      "mem.swap_used"   Gauge Bytes Host "swap in use; /proc/meminfo SwapTotal - SwapFree";
    // /proc/diskstats
    DiskReadBytes   "disk.read_bytes"   Counter Bytes  Disk "bytes read; /proc/diskstats sectors x 512";
    DiskWriteBytes  "disk.write_bytes"  Counter Bytes  Disk "bytes written; /proc/diskstats sectors x 512";
    DiskReads       "disk.reads"        Counter Count  Disk "reads completed; /proc/diskstats";
    DiskWrites      "disk.writes"       Counter Count  Disk "writes completed; /proc/diskstats";
    DiskReadMillis  "disk.read_ms"      Counter Millis Disk "time reads waited, summed; /proc/diskstats";
    DiskWriteMillis "disk.write_ms"     Counter Millis Disk "time writes waited, summed; /proc/diskstats";
    DiskBusyMillis  "disk.busy_ms"      Counter Millis Disk "time with requests in flight; /proc/diskstats io_ticks";
    DiskInFlight    "disk.in_flight"    Gauge   Count  Disk "requests in flight; /proc/diskstats";
    // /proc/pressure
    PressureCpuSome    "psi.cpu_some"    Counter Micros Host "time some task waited for a CPU; /proc/pressure/cpu some total";
    PressureMemorySome "psi.memory_some" Counter Micros Host "time some task waited for memory; /proc/pressure/memory some total";
    PressureMemoryFull "psi.memory_full" Counter Micros Host "time all tasks waited for memory; /proc/pressure/memory full total";
    PressureIoSome     "psi.io_some"     Counter Micros Host "time some task waited for a disk; /proc/pressure/io some total";
    PressureIoFull     "psi.io_full"     Counter Micros Host "time all tasks waited for a disk; /proc/pressure/io full total";
    PressureIrqFull    "psi.irq_full"    Counter Micros Host "time lost to interrupts; /proc/pressure/irq full total";
    // /proc/PID
    ProcUser        "proc.us"            Counter Ticks Process "CPU time in user code; /proc/PID/stat utime";
    ProcSystem      "proc.sy"            Counter Ticks Process "CPU time in the kernel; /proc/PID/stat stime";
    ProcRss         "proc.rss"           Gauge   Bytes Process "resident memory; /proc/PID/statm";
    ProcThreads     "proc.threads"       Gauge   Count Process "threads; /proc/PID/stat num_threads";
    ProcFds         "proc.fds"           Gauge   Count Process "open file descriptors, absent when not permitted; /proc/PID/fd";
    ProcFdLimit     "proc.fd_limit"      Gauge   Count Process "soft limit of open files; /proc/PID/limits";
    ProcVoluntary   "proc.voluntary"     Counter Count Process "voluntary context switches of the main thread; /proc/PID/status";
    ProcInvoluntary "proc.involuntary"   Counter Count Process "involuntary context switches of the main thread; /proc/PID/status";
    ProcRunWait     "proc.run_wait"      Counter Nanos Process "time runnable and waiting for a CPU, main thread; /proc/PID/schedstat";
    ProcRssPeak     "proc.rss_peak"      Gauge   Bytes Process "most resident memory so far; /proc/PID/status VmHWM";
    ProcMemLimit    "proc.mem_limit"     Gauge   Bytes Process "memory its control group may use, the least on its path, absent without a limit; cgroup memory.max, v1 memory.limit_in_bytes";
    ProcThrottled   "proc.throttled"     Counter Micros Process "time its control group was kept off the CPUs by a quota; cgroup cpu.stat throttled_usec, v1 throttled_time";
    // /proc/self/task/TID of the load threads
    ThreadRun         "thread.run"         Counter Nanos Thread "time on a CPU; /proc/PID/task/TID/schedstat field 1";
    ThreadRunWait     "thread.run_wait"    Counter Nanos Thread "time runnable and waiting for a CPU; /proc/PID/task/TID/schedstat field 2";
    ThreadVoluntary   "thread.voluntary"   Counter Count Thread "voluntary context switches; /proc/PID/task/TID/status";
    ThreadInvoluntary "thread.involuntary" Counter Count Thread "involuntary context switches: preempted; /proc/PID/task/TID/status";
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    /// The metric of a stored name.
    fn from_str(s: &str) -> Result<Metric, String> {
        Metric::ALL.iter().copied().find(|m| m.name() == s).ok_or_else(|| format!("`{s}` is not the name of a metric"))
    }
}

#[cfg(test)]
mod tests {
    use super::Metric;

    #[test]
    fn names_are_distinct_and_read_back() {
        for (n, m) in Metric::ALL.iter().enumerate() {
            assert_eq!(*m as usize, n);
            assert_eq!(m.name().parse::<Metric>().as_ref(), Ok(m));
        }
    }
}
