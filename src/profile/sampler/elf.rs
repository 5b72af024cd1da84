//! What the symboliser does not tell of a program or library: whether it has a table of symbols of its own,
//! where the one is that was split off, and which address a place in the file has (elf(5)).
//!
//! Must not: read symbols, or more of a file than its headers; panic on any bytes.

use blazesym::helper::read_elf_build_id;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where debug files lie by build id, as all debuggers look them up.
const DEBUG_FILES: &str = "/usr/lib/debug/.build-id";
/// Bytes of a table of headers that are read.
const MOST: usize = 4 << 20;
/// `PT_LOAD`.
const LOAD: u32 = 1;
/// `SHT_SYMTAB`.
const SYMBOLS: u32 = 2;

/// See the top of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// It has `.symtab`, which has all functions.
    pub(super) has_symbols: bool,
    /// The debug file of the same build id.
    pub(super) debug_file: Option<PathBuf>,
    loads: Vec<Load>,
}

/// A part of the file that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Load {
    offset: u64,
    size: u64,
    address: u64,
}

impl Layout {
    /// That of a file; empty when it is none of 64 bits in this machine's order of bytes.
    pub(super) fn read(file: &File) -> Layout {
        let Some((loads, has_symbols)) = headers(file) else { return Layout::default() };
        let debug_file = if has_symbols { None } else { debug_file(file) };
        Layout { has_symbols, debug_file, loads }
    }

    /// The address that a place in the file has, as symbols count.
    pub(super) fn address(&self, offset: u64) -> Option<u64> {
        let of = |l: &&Load| offset.checked_sub(l.offset).is_some_and(|at| at < l.size);
        self.loads.iter().find(of).map(|l| l.address.wrapping_add(offset - l.offset))
    }
}

fn debug_file(file: &File) -> Option<PathBuf> {
    let mut path = place_by_build_id(Path::new(DEBUG_FILES), &build_id(file)?)?.into_os_string();
    path.push(".debug");
    let path = PathBuf::from(path);
    path.is_file().then_some(path)
}

/// The build id of a file; `None` when it has none.
pub(in crate::profile) fn build_id(file: &File) -> Option<Vec<u8>> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    read_elf_build_id(Path::new(&path)).ok().flatten().map(|id| id.to_vec())
}

/// Where a store keeps what belongs to a build id: `ab/cdef…`.
pub(in crate::profile) fn place_by_build_id(store: &Path, id: &[u8]) -> Option<PathBuf> {
    let hex: String = id.iter().map(|b| format!("{b:02x}")).collect();
    let (first, rest) = hex.split_at_checked(2)?;
    Some(store.join(first).join(rest))
}

/// The loaded parts, and whether there is a table of symbols: Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr.
fn headers(file: &File) -> Option<(Vec<Load>, bool)> {
    let head = at(file, 0, 64)?;
    let native = if cfg!(target_endian = "little") { 1 } else { 2 };
    if !head.starts_with(b"\x7fELF") || head[4] != 2 || head[5] != native {
        return None;
    }
    let segments = rows(file, word(&head, 32)?, half(&head, 54)?, half(&head, 56)?)?;
    let loads = segments.iter().filter_map(|row| {
        let (kind, offset, address, size) = (int(row, 0)?, word(row, 8)?, word(row, 16)?, word(row, 32)?);
        (kind == LOAD).then_some(Load { offset, size, address })
    });
    let sections = rows(file, word(&head, 40)?, half(&head, 58)?, half(&head, 60)?).unwrap_or_default();
    let has_symbols = sections.iter().any(|row| int(row, 4) == Some(SYMBOLS));
    Some((loads.collect(), has_symbols))
}

fn rows(file: &File, offset: u64, each: u16, count: u16) -> Option<Vec<Vec<u8>>> {
    let each = usize::from(each);
    let size = each.checked_mul(usize::from(count)).filter(|size| *size <= MOST && each > 0)?;
    Some(at(file, offset, size)?.chunks_exact(each).map(<[u8]>::to_vec).collect())
}

fn at(file: &File, offset: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn int(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn places_of_this_program_have_addresses() {
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let layout = Layout::read(&file);
        assert!(layout.has_symbols && layout.debug_file.is_none() && layout.loads.len() > 1, "{layout:?}");
        let code = layout.loads[1];
        assert_eq!(layout.address(code.offset + 5), Some(code.address + 5));
        assert_eq!(layout.address(1 << 50), None);
    }

    #[test]
    fn what_is_no_program_has_no_layout() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF", &[b"\x7fELF\x02\x01".as_slice(), &[0xff; 90]].concat()] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            assert_eq!(Layout::read(&file), Layout::default());
        }
    }
}
