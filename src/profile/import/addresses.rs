//! Frames of which only an address is known.
//!
//! This is the place for a symboliser: [`Mapping::frame`] is asked for every address that comes
//! without a name, with the file that was mapped there and the place in that file, which is all
//! that names need.
//!
//! Must not: open the files that were mapped; they are another machine's, perhaps.

use super::base_name;
use crate::model::{Frame, FrameKind};
use crate::profile::script::{is_kernel, is_perf_map};
use std::sync::Arc;

/// A stretch of a process's addresses, and the file that is mapped there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// First address.
    pub(super) start: u64,
    /// One past the last.
    pub(super) end: u64,
    /// Where in the file the first address is.
    pub(super) offset: u64,
    /// The file as the process saw it, or a name in brackets; empty when unknown.
    pub(super) file: String,
    /// The last part of that.
    pub(super) module: Arc<str>,
}

impl Mapping {
    pub(super) fn new(start: u64, end: u64, offset: u64, file: String) -> Mapping {
        Mapping { start, end, offset, module: base_name(&file).into(), file }
    }

    /// What kind of code is mapped there.
    pub(super) fn kind(&self) -> FrameKind {
        match &*self.file {
            "" => FrameKind::User,
            file if is_kernel(file) => FrameKind::Kernel,
            file if is_perf_map(file) => FrameKind::Jit,
            _ => FrameKind::User,
        }
    }

    /// The frame of an address without a name: `[libc.so.6]+0x29d90`, the place in the file.
    pub(super) fn frame(&self, address: u64) -> Frame {
        let place = address.wrapping_sub(self.start).wrapping_add(self.offset);
        let symbol = match &*self.module {
            "" => format!("[unknown]+0x{address:x}"),
            module if module.starts_with('[') => format!("{module}+0x{place:x}"),
            module => format!("[{module}]+0x{place:x}"),
        };
        Frame::new(symbol, self.module.clone(), self.kind())
    }
}

/// The frame of an address that lies in no mapping.
pub(super) fn nowhere(address: u64) -> Frame {
    Frame::new(format!("[unknown]+0x{address:x}"), "", FrameKind::User)
}

/// The mappings in the text of /proc/PID/maps (proc_pid_maps(5)), by address. Lines that are none
/// are passed over.
pub(super) fn of_maps(text: &[u8]) -> Vec<Mapping> {
    let mut all: Vec<Mapping> = text.split(|b| *b == b'\n').take(1 << 16).filter_map(of_line).collect();
    all.sort_by_key(|m| m.start);
    all
}

fn of_line(line: &[u8]) -> Option<Mapping> {
    let line = super::name(line.strip_suffix(b"\r").unwrap_or(line));
    let mut rest = line.trim_start();
    let mut word = || {
        let end = rest.find(' ').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after.trim_start();
        (!word.is_empty()).then_some(word)
    };
    let (start, end) = word()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    let permissions = word()?;
    let offset = hex(word()?)?;
    let (_device, _inode) = (word()?, word()?);
    (permissions.contains('x') && start < end).then(|| Mapping::new(start, end, offset, rest.trim_end().to_owned()))
}

/// The mapping an address lies in.
pub(super) fn at(mappings: &[Mapping], address: u64) -> Option<&Mapping> {
    let n = mappings.partition_point(|m| m.start <= address);
    mappings[..n].last().filter(|m| address < m.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_place_in_a_file() {
        let text = b"55d0c000-55d0d000 r--p 00000000 08:01 12   /opt/a b\n55d0d000-55d0f000 r-xp 00001000 08:01 12   /opt/a b (deleted)\n\
            rubbish\n7ffc0000-7ffc1000 r-xp 00000000 00:00 0   [vdso]\n7ffd0000-7ffd1000 r-xp 00000000 00:00 0\n";
        let all = of_maps(text);
        let shown = |address| at(&all, address).map(|m| m.frame(address).symbol.to_string());
        assert_eq!(shown(0x55d0_d123).as_deref(), Some("[a b]+0x1123"));
        assert_eq!(shown(0x7ffc_0010).as_deref(), Some("[vdso]+0x10"));
        assert_eq!(shown(0x7ffd_0010).as_deref(), Some("[unknown]+0x7ffd0010"));
        assert_eq!((shown(0x55d0_c000), shown(0x55d0_f000), shown(u64::MAX)), (None, None, None));
    }
}
