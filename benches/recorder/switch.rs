//! Switches the flight recorder's events off and on while it runs, so that turns which are compared follow
//! each other at once and nothing is begun anew between them.
//!
//! Must not: touch any descriptor but those of events (perf_event_open(2)).

use crate::Outcome;
use rustix::fd::OwnedFd;
use rustix::ioctl::{NoArg, ioctl, opcode};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::time::Duration;

/// PERF_EVENT_IOC_ENABLE and _DISABLE (linux/perf_event.h).
const ENABLE: u32 = opcode::none(b'$', 0);
const DISABLE: u32 = opcode::none(b'$', 1);
/// What passes between switching and measuring.
pub const SETTLED: Duration = Duration::from_millis(10);

/// The events of a process.
pub struct Switch(Vec<OwnedFd>);

impl Switch {
    /// Those it has open now, by descriptors of our own (pidfd_getfd(2)).
    pub fn of(process: Pid) -> Outcome<Switch> {
        let handle = pidfd_open(process, PidfdFlags::empty())?;
        let mut events = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{process}/fd"))? {
            let entry = entry?;
            if std::fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:[perf_event]") {
                let number = entry.file_name().to_string_lossy().parse()?;
                events.push(pidfd_getfd(&handle, number, PidfdGetfdFlags::empty())?);
            }
        }
        if events.is_empty() { Err("the recorder has no event open".into()) } else { Ok(Switch(events)) }
    }

    /// Measures with the events on, or off.
    pub fn turn<T>(&self, is_on: bool, measure: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        self.set(is_on)?;
        std::thread::sleep(SETTLED);
        let before = self.count()?;
        let measured = measure()?;
        if (self.count()? != before) == is_on { Ok(measured) } else { Err("the events were not switched".into()) }
    }

    #[allow(unsafe_code)]
    fn set(&self, is_on: bool) -> Outcome<()> {
        for event in &self.0 {
            // SAFETY: both are requests of events, which is what these descriptors are, and take no argument.
            unsafe {
                if is_on { ioctl(event, NoArg::<ENABLE>::new()) } else { ioctl(event, NoArg::<DISABLE>::new()) }?;
            }
        }
        Ok(())
    }

    /// What they have counted together: stands still while they are off.
    fn count(&self) -> Outcome<u64> {
        let mut sum = 0u64;
        for event in &self.0 {
            // The value comes first whatever else is read with it (read_format in perf_event_open(2)).
            let mut words = [0u8; 64];
            rustix::io::read(event, &mut words)?;
            let [first, ..] = words.as_chunks::<8>().0 else { unreachable!("there are eight") };
            sum = sum.wrapping_add(u64::from_ne_bytes(*first));
        }
        Ok(sum)
    }
}
