//! Switches the flight recorder's events off and on while it runs, so that turns which are compared follow
//! each other at once and nothing is begun anew between them.
//!
//! Must not: touch any descriptor but those of events (perf_event_open(2)).

use crate::Outcome;
use rustix::fd::{BorrowedFd, RawFd};
use rustix::ioctl::{NoArg, ioctl, opcode};

/// PERF_EVENT_IOC_ENABLE and _DISABLE (linux/perf_event.h).
const ENABLE: u32 = opcode::none(b'$', 0);
const DISABLE: u32 = opcode::none(b'$', 1);

/// The events of this process.
pub struct Switch(Vec<RawFd>);

impl Switch {
    /// Those open now; they stay open for as long as the recorder that owns them.
    pub fn of_this_process() -> Outcome<Switch> {
        let mut events = Vec::new();
        for entry in std::fs::read_dir("/proc/self/fd")? {
            let entry = entry?;
            if std::fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:[perf_event]") {
                events.push(entry.file_name().to_string_lossy().parse()?);
            }
        }
        if events.is_empty() { Err("the recorder has no event open".into()) } else { Ok(Switch(events)) }
    }

    /// Switches all of them.
    #[allow(unsafe_code)]
    pub fn set(&self, is_on: bool) -> Outcome<()> {
        for fd in self.events() {
            // SAFETY: both are requests of events, which is what these descriptors are, and take no argument.
            unsafe {
                if is_on { ioctl(fd, NoArg::<ENABLE>::new()) } else { ioctl(fd, NoArg::<DISABLE>::new()) }?;
            }
        }
        Ok(())
    }

    /// What they have counted together: stands still while they are off.
    pub fn count(&self) -> Outcome<u64> {
        let mut sum = 0u64;
        for fd in self.events() {
            // The value comes first whatever else is read with it (read_format in perf_event_open(2)).
            let mut words = [0u8; 64];
            rustix::io::read(fd, &mut words)?;
            let [first, ..] = words.as_chunks::<8>().0 else { unreachable!("there are eight") };
            sum = sum.wrapping_add(u64::from_ne_bytes(*first));
        }
        Ok(sum)
    }

    #[allow(unsafe_code)]
    fn events(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        // SAFETY: the recorder keeps them open, and outlives this (see `of_this_process`).
        self.0.iter().map(|fd| unsafe { BorrowedFd::borrow_raw(*fd) })
    }
}
