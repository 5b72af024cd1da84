//! What a thread waits for, told by the functions on its stack: the kernel's first of all, and the
//! program's where the kernel does the same for different ends.
//!
//! Functions as Linux 5.10 to 6.18 has them: kernel/futex, fs/eventpoll.c, fs/select.c, mm/filemap.c,
//! block/, net/core/stream.c, kernel/time/hrtimer.c, kernel/sched/core.c.
//!
//! Must not: know how long anybody waited.

use crate::model::{Frame, IDLE_WAIT};

/// A kind of wait.
#[derive(Debug)]
struct Class {
    /// What stands in front of the innermost frame.
    marker: &'static str,
    /// One of the kernel's functions is called so; with `*` at the end, begins so.
    kernel: &'static [&'static str],
    /// And one of the program's has one of these parts in its name; empty: whatever they are.
    user: &'static [&'static str],
}

/// Of a thread that could have run, and another was chosen.
pub(super) const PREEMPTED: &str = "[preempted]";
/// Of a thread that was woken and had to wait for a CPU.
pub(super) const WOKEN: &str = "[woken, waits for a CPU]";
/// In place of a stack that no sample was taken of.
pub(super) const NOT_SAMPLED: &str = "[not sampled]";
/// Of a wait that no row knows.
const BLOCKED: &str = "[blocked]";

/// The first row that fits counts.
#[rustfmt::skip]
const CLASSES: &[Class] = &[
    // A thread of a pool that has nothing to do, where the program's own names tell.
    Class { marker: "[idle: no work]", kernel: FUTEX, user: &["runtime.stopm", "runtime.sysmon", "GCTaskManager"] },
    Class { marker: "[condition wait]", kernel: FUTEX,
        user: &["pthread_cond", "Condvar", "condition_variable", "__cond_wait", "sem_wait", "thread::park", "Unsafe_Park"] },
    Class { marker: "[thread join]", kernel: FUTEX, user: &["pthread_join", "pthread_clockjoin", "pthread_timedjoin"] },
    Class { marker: "[lock wait]", kernel: FUTEX, user: &[] },
    Class { marker: "[idle: epoll]", kernel: &["ep_poll", "do_epoll_wait", "do_epoll_pwait*"], user: &[] },
    Class { marker: "[idle: io_uring]", kernel: &["io_cqring_wait*", "io_wq_worker", "io_sq_thread"], user: &[] },
    Class { marker: "[idle: poll]", kernel: &["do_poll*", "do_sys_poll", "do_select", "core_sys_select",
        "poll_schedule_timeout"], user: &[] },
    Class { marker: "[idle: accept]", kernel: &["inet_csk_accept", "inet_csk_wait_for_connect", "unix_accept"], user: &[] },
    Class { marker: "[idle: signal]", kernel: &["do_sigtimedwait", "sigsuspend", "__x64_sys_pause",
        "__arm64_sys_pause", "signalfd_read*", "signalfd_dequeue"], user: &[] },
    Class { marker: "[idle: no work]", kernel: &["worker_thread", "rescuer_thread", "kthreadd", "smpboot_thread_fn",
        "rcu_gp_kthread", "kswapd", "kcompactd", "kauditd_thread"], user: &[] },
    Class { marker: "[page fault]", kernel: &["handle_mm_fault", "do_user_addr_fault", "exc_page_fault",
        "asm_exc_page_fault", "do_page_fault", "do_mem_abort"], user: &[] },
    Class { marker: "[disk]", kernel: &["io_schedule*", "blk_*", "blkdev_*", "submit_bio_wait", "folio_wait_*",
        "__folio_lock*", "wait_on_page*", "wait_on_buffer", "__wait_on_buffer", "bit_wait_io*", "rq_qos_wait",
        "jbd2_*", "xlog_*", "xfs_log_*", "btrfs_wait_*", "balance_dirty_pages*", "sync_inodes_sb",
        "wait_sb_inodes", "__iomap_dio_rw", "nfs_*", "rpc_wait_bit_killable", "fuse_*"], user: &[] },
    Class { marker: "[network]", kernel: &["sk_wait_data", "tcp_recvmsg*", "tcp_sendmsg*", "sk_stream_wait_*",
        "inet_wait_for_connect", "inet_stream_connect", "__inet_stream_connect", "__skb_wait_for_more_packets",
        "udp_recvmsg", "unix_stream_data_wait", "unix_stream_read_generic", "unix_wait_for_peer",
        "sock_alloc_send_pskb", "sock_wait_for_wmem", "vsock_*"], user: &[] },
    Class { marker: "[pipe]", kernel: &["pipe_*", "anon_pipe_*", "fifo_open", "wait_for_partner"], user: &[] },
    Class { marker: "[sleep]", kernel: &["do_nanosleep", "hrtimer_nanosleep", "common_nsleep*"], user: &[] },
    Class { marker: "[child process]", kernel: &["do_wait", "kernel_wait4", "kernel_waitid*"], user: &[] },
    Class { marker: "[terminal]", kernel: &["n_tty_read", "n_tty_write", "tty_wait_until_sent"], user: &[] },
    Class { marker: "[CPU quota]", kernel: &["throttle_cfs_rq_work"], user: &[] },
    Class { marker: "[memory]", kernel: &["do_try_to_free_pages", "throttle_direct_reclaim", "reclaim_throttle",
        "mem_cgroup_handle_over_high", "__alloc_pages_slowpath*"], user: &[] },
    Class { marker: "[kernel lock]", kernel: &["rwsem_down_*", "__mutex_lock*", "mutex_lock*", "__down*",
        "percpu_rwsem_wait", "schedule_preempt_disabled", "synchronize_rcu*", "wait_for_completion*"], user: &[] },
    Class { marker: "[stopped]", kernel: &["do_signal_stop", "ptrace_stop", "get_signal"], user: &[] },
    Class { marker: "[inotify]", kernel: &["inotify_read"], user: &[] },
    Class { marker: "[event or timer]", kernel: &["eventfd_read", "timerfd_read*"], user: &[] },
];

const FUTEX: &[&str] = &["futex_*", "__futex_*", "do_futex", "__x64_sys_futex", "__arm64_sys_futex"];

/// Functions that let go of the CPU for another thread's sake.
const YIELDS: &[&str] = &[
    "exit_to_user_mode_loop*",
    "irqentry_exit*",
    "raw_irqentry_exit_cond_resched",
    "preempt_schedule*",
    "__cond_resched",
    "do_sched_yield",
    "__x64_sys_sched_yield",
];

/// What stands for the wait of a thread with these frames, in any order.
pub(super) fn marker<'a>(frames: impl Iterator<Item = &'a Frame> + Clone) -> &'static str {
    let class = CLASSES.iter().find(|class| {
        let of_kernel = frames.clone().any(|f| f.kind.is_kernel() && is_one_of(&f.symbol, class.kernel));
        let named = |f: &Frame| !f.kind.is_kernel() && class.user.iter().any(|u| f.symbol.contains(u));
        of_kernel && (class.user.is_empty() || frames.clone().any(named))
    });
    class.map_or(BLOCKED, |c| c.marker)
}

/// Whether a kernel function lets go of the CPU though its thread could go on.
pub(super) fn yields(symbol: &str) -> bool {
    is_one_of(symbol, YIELDS)
}

/// Compilers put `.constprop.0` and the like behind names.
fn is_one_of(symbol: &str, names: &[&str]) -> bool {
    let bare = symbol.split_once('.').map_or(symbol, |(name, _)| name);
    names.iter().any(|name| match name.strip_suffix('*') {
        Some(begin) => bare.starts_with(begin),
        None => bare == *name,
    })
}

/// Whether a marker says that there was nothing to do.
pub(super) fn is_idle(marker: &str) -> bool {
    marker.starts_with(IDLE_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FrameKind;

    fn of(kernel: &[&str], user: &[&str]) -> &'static str {
        let kernel = kernel.iter().map(|s| Frame::new(*s, "[kernel.kallsyms]", FrameKind::Kernel));
        let user = user.iter().map(|s| Frame::new(*s, "x", FrameKind::User));
        let frames: Vec<Frame> = kernel.chain(user).collect();
        marker(frames.iter())
    }

    #[test]
    fn waits_are_told_apart_by_the_kernels_functions() {
        let top = ["__schedule", "schedule"];
        let with = |more: &[&'static str]| of(&[&top[..], more].concat(), &[]);
        assert_eq!(with(&["futex_do_wait", "__futex_wait", "futex_wait"]), "[lock wait]");
        assert_eq!(with(&["futex_wait_queue_me", "futex_wait"]), "[lock wait]");
        assert_eq!(with(&["schedule_hrtimeout_range_clock", "ep_poll", "do_epoll_wait"]), "[idle: epoll]");
        assert_eq!(with(&["poll_schedule_timeout.constprop.0"]), "[idle: poll]");
        assert_eq!(with(&["inet_csk_accept"]), "[idle: accept]");
        assert_eq!(with(&["worker_thread", "kthread"]), "[idle: no work]");
        assert_eq!(with(&["io_schedule", "folio_wait_bit_common", "filemap_read"]), "[disk]");
        assert_eq!(with(&["io_schedule", "filemap_fault", "handle_mm_fault"]), "[page fault]");
        assert_eq!(with(&["do_nanosleep", "hrtimer_nanosleep"]), "[sleep]");
        assert_eq!(with(&["sk_wait_data", "tcp_recvmsg_locked"]), "[network]");
        assert_eq!(with(&["anon_pipe_read", "vfs_read"]), "[pipe]");
        assert_eq!(with(&["rwsem_down_write_slowpath", "down_write"]), "[kernel lock]");
        assert_eq!((with(&["something_new"]), with(&[])), ("[blocked]", "[blocked]"));
        assert!(is_idle("[idle: epoll]") && !is_idle("[lock wait]"));
    }

    #[test]
    fn a_programs_names_tell_what_a_futex_is_for() {
        let with = |user: &[&str]| of(&["schedule", "futex_wait"], user);
        assert_eq!(with(&["__lll_lock_wait", "pthread_mutex_lock", "serve"]), "[lock wait]");
        assert_eq!(with(&["pthread_cond_timedwait@@GLIBC_2.3.2"]), "[condition wait]");
        assert_eq!(with(&["std::sys::sync::condvar::futex::Condvar::wait"]), "[condition wait]");
        assert_eq!(with(&["runtime.futexsleep", "runtime.stopm", "runtime.mcall"]), "[idle: no work]");
        assert_eq!(with(&["pthread_join"]), "[thread join]");
        // A user's function never makes a class by itself, nor one that is called like the kernel's.
        assert_eq!(of(&["schedule"], &["futex_wait", "pthread_cond_wait"]), "[blocked]");
    }

    #[test]
    fn letting_go_for_others_is_told_from_waiting() {
        assert!(yields("exit_to_user_mode_loop") && yields("preempt_schedule_irq") && yields("irqentry_exit.cold"));
        assert!(!yields("schedule") && !yields("futex_do_wait"));
    }
}
