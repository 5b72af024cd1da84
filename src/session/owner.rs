//! Who writes a session: enough about a process to tell later whether it still lives.
//!
//! A lock on the file would be the usual way, but locks are dropped when any descriptor of
//! the file is closed in the same process, SQLite's included. So the writer leaves its name:
//! process id, start time and boot id are together unique.
//!
//! Must not: touch the session file.

use std::fs;

/// A process, for as long as the machine is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// Process id within its pid namespace.
    pub pid: u32,
    /// Start time in ticks since boot: /proc/PID/stat field 22, see proc_pid_stat(5).
    pub started_ticks: u64,
    /// /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// The pid namespace, as /proc/PID/ns/pid links to it; see pid_namespaces(7).
    pub namespace: String,
}

impl Owner {
    /// This process; `None` without procfs.
    pub fn this_process() -> Option<Owner> {
        let pid = std::process::id();
        Some(Owner {
            pid,
            started_ticks: started_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned(),
            namespace: fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned(),
        })
    }

    /// Whether the process still lives. One in another pid namespace or on another machine
    /// cannot be seen from here and counts as gone.
    pub fn is_alive(&self) -> bool {
        let Some(here) = Owner::this_process() else { return false };
        here.boot_id == self.boot_id
            && here.namespace == self.namespace
            && fs::read(format!("/proc/{}/stat", self.pid))
                .ok()
                .and_then(|stat| started_ticks(&String::from_utf8_lossy(&stat)))
                == Some(self.started_ticks)
    }
}

/// Field 22 of /proc/PID/stat. The second field is a name in parentheses that may itself hold
/// blanks and parentheses, so counting starts after the last one. A zombie writes no more.
fn started_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let rest = "S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(started_ticks(&format!("7 (a) b (c)) {rest}")), Some(4242));
        assert_eq!(started_ticks(&format!("7 (a) {}", rest.replacen('S', "Z", 1))), None);
        assert_eq!(started_ticks("7 (a) S 1"), None);
        assert_eq!(started_ticks(""), None);
    }

    #[test]
    fn this_process_lives_and_a_former_one_of_its_number_does_not() {
        let Some(here) = Owner::this_process() else { panic!("no procfs") };
        assert!(here.is_alive());
        assert!(!Owner { started_ticks: here.started_ticks - 1, ..here.clone() }.is_alive());
        assert!(!Owner { boot_id: "another".into(), ..here }.is_alive());
    }
}
