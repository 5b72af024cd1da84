//! What a process has mapped as code: proc_pid_maps(5), and the kernel's records of new mappings.
//!
//! Must not: keep what is not executable, or know about symbols.

use super::files::{Files, Inode, Place};
use super::ranges::Ranges;

/// Executable mappings of a process at the most that are kept.
const MOST: usize = 1 << 16;

/// What an address is mapped from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    /// A file by its number; `moved`: what is added to an address (wrapping) for its place in it.
    File { number: u32, moved: u64 },
    /// Memory without a file: what compiled code lies in.
    Anonymous,
    /// What the kernel maps into every process.
    Vdso,
}

/// The executable mappings of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Maps(Ranges<Backing>);

/// One mapping as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told<'a> {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) pgoff: u64,
    pub(super) inode: Inode,
    pub(super) path: &'a str,
}

impl Maps {
    /// Those of a text as /proc/PID/maps has it.
    pub(super) fn read(text: &str, pid: u32, files: &mut Files) -> Maps {
        let mut maps = Maps::default();
        for told in text.lines().filter_map(line) {
            maps.insert(&told, pid, files);
        }
        maps
    }

    /// A new mapping; what it covers is gone.
    pub(super) fn insert(&mut self, told: &Told<'_>, pid: u32, files: &mut Files) {
        if self.0.len() >= MOST {
            return;
        }
        let Told { start, end, pgoff, inode, path } = *told;
        let backing = match kind(path, inode) {
            Kind::File => {
                let place = Place { pid, start, end, path };
                let number = files.number(inode, place);
                number.map(|number| Backing::File { number, moved: pgoff.wrapping_sub(start) })
            }
            Kind::Anonymous => Some(Backing::Anonymous),
            Kind::Vdso => Some(Backing::Vdso),
        };
        if let Some(backing) = backing {
            self.0.insert(start, end, backing);
        }
    }

    /// What lies at an address.
    pub(super) fn at(&self, address: u64) -> Option<Backing> {
        self.0.get(address).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers of the files mapped.
    pub(super) fn files(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.values().filter_map(|b| if let Backing::File { number, .. } = b { Some(*number) } else { None })
    }
}

enum Kind {
    File,
    Anonymous,
    Vdso,
}

/// By the name of a mapping: `/memfd:…`, `[anon:…]` and `//anon` (as the kernel's records say) are
/// memory, as are mappings of /dev/zero. Other devices are not opened either.
fn kind(path: &str, inode: Inode) -> Kind {
    let plain = path.starts_with('/') && !path.starts_with("//") && inode.2 != 0;
    let memory = ["/memfd:", "/dev/zero", "/anon_hugepage", "/SYSV"].iter().any(|p| path.starts_with(p));
    match () {
        () if path.starts_with("[vdso") || path.starts_with("[vsyscall") => Kind::Vdso,
        () if !plain || memory => Kind::Anonymous,
        () if path.starts_with("/dev/") && !path.starts_with("/dev/shm/") => Kind::Anonymous,
        () => Kind::File,
    }
}

/// An executable mapping of `start-end perms offset major:minor inode   path`.
fn line(line: &str) -> Option<Told<'_>> {
    let mut fields = line.splitn(6, ' ');
    let (range, permissions) = (fields.next()?, fields.next()?);
    permissions.contains('x').then_some(())?;
    let hex = |s: &str| u64::from_str_radix(s, 16).ok();
    let (start, end) = range.split_once('-')?;
    let pgoff = hex(fields.next()?)?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode = fields.next()?.parse().ok()?;
    let path = fields.next().unwrap_or_default().trim_start();
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    Some(Told { start: hex(start)?, end: hex(end)?, pgoff, inode: (device.0, device.1, inode), path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const TEXT: &str = "\
55d0c1a00000-55d0c1a20000 r--p 00000000 fe:01 42                         /usr/sbin/nginx
55d0c1a20000-55d0c1b00000 r-xp 00020000 fe:01 42                         /usr/sbin/nginx
7f0000000000-7f0000010000 rwxp 00000000 00:00 0 
7f0000010000-7f0000020000 r-xp 00001000 fe:01 43                         /tmp/a name (x).so (deleted)
7f0000020000-7f0000030000 r-xs 00000000 00:01 1029                       /memfd:doublemapper (deleted)
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0                          [vdso]
rubbish
";

    #[test]
    fn only_code_is_kept_and_each_kind_known() {
        let mut files = Files::new(Path::new("/nonexistent"));
        let maps = Maps::read(TEXT, 7, &mut files);
        assert_eq!(maps.at(0x55d0_c1a0_0000), None);
        let Some(Backing::File { number, moved }) = maps.at(0x55d0_c1a2_0010) else { panic!() };
        assert_eq!(0x55d0_c1a2_0010u64.wrapping_add(moved), 0x2_0010);
        assert_eq!(&*files.get(number).unwrap().module, "nginx");
        assert_eq!(maps.at(0x7f00_0000_0000), Some(Backing::Anonymous));
        let Some(Backing::File { number, .. }) = maps.at(0x7f00_0001_0000) else { panic!() };
        assert_eq!(&*files.get(number).unwrap().module, "a name (x).so");
        assert_eq!(maps.at(0x7f00_0002_0000), Some(Backing::Anonymous));
        assert_eq!(maps.at(0x7ffc_0000_0000), Some(Backing::Vdso));
        assert_eq!((maps.files().count(), maps.is_empty()), (2, false));
        let anonymous =
            Told { start: 0x55d0_c1a2_0000, end: 0x55d0_c1b0_0000, pgoff: 0, inode: (0, 0, 0), path: "//anon" };
        let mut over = maps.clone();
        over.insert(&anonymous, 7, &mut files);
        assert_eq!(over.at(0x55d0_c1a2_0010), Some(Backing::Anonymous));
    }
}
