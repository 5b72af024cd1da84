//! Finds the very file that was recorded: told by its build id, else by its inode.
//!
//! Must not: give a file that may be another one, or wait for one.

use super::tasks::MappedFile;
use crate::profile::sampler::elf;
use crate::profile::sampler::files::open_plain;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes of a vdso at the most; it has two pages.
const MOST_VDSO: u64 = 1 << 20;

/// Why the file can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Missing,
    Another,
}

/// Opens the file that was mapped: where it was, or as perf has kept it.
pub(super) fn open(file: &MappedFile, wanted: Option<&[u8]>) -> Result<File, Gone> {
    let shown = file.path.strip_suffix(b" (deleted)").unwrap_or(&file.path);
    let path = Path::new(std::ffi::OsStr::from_bytes(shown));
    let there = open_there(path);
    let missing = there.is_none();
    let same = |opened: &File| match wanted {
        Some(id) => elf::build_id(opened).is_some_and(|has| is_same(id, &has)),
        // Nothing but the inode tells; where it was not recorded, the name has to do.
        None => file.inode == 0 || opened.metadata().is_ok_and(|m| m.ino() == file.inode),
    };
    if let Some(opened) = there.filter(|o| same(o)) {
        return Ok(opened);
    }
    let kept = wanted.and_then(kept).and_then(|kept| open_there(&kept)).filter(|o| same(o));
    kept.ok_or(if missing { Gone::Missing } else { Gone::Another })
}

/// Opens nothing that reading changes.
fn open_there(path: &Path) -> Option<File> {
    let is_of_kernel = ["/proc", "/sys", "/dev"].iter().any(|p| path.starts_with(p)) && !path.starts_with("/dev/shm");
    if is_of_kernel { None } else { open_plain(path, OFlags::empty()) }
}

/// Where `perf record` keeps the programs it saw: perf-buildid-cache(1).
fn kept(id: &[u8]) -> Option<PathBuf> {
    let store = PathBuf::from(std::env::var_os("HOME")?).join(".debug/.build-id");
    Some(elf::place_by_build_id(&store, id)?.join("elf"))
}

/// Whether two build ids are the same; perf fills up shorter ones with zeros.
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    !short.is_empty() && long.starts_with(short) && long[short.len()..].iter().all(|b| *b == 0)
}

/// The running kernel's build id: an ELF note of type 3 and name GNU (elf(5)).
pub(super) fn running_build_id() -> Option<Vec<u8>> {
    build_id_in_notes(&std::fs::read("/sys/kernel/notes").ok()?)
}

pub(super) fn build_id_in_notes(notes: &[u8]) -> Option<Vec<u8>> {
    let mut b = super::bytes::Bytes(notes);
    loop {
        let (name, id, kind) = (b.u32()? as usize, b.u32()? as usize, b.u32()?);
        let (name, id) = (b.take(name.next_multiple_of(4))?, (b.take(id.checked_next_multiple_of(4)?)?, id));
        if kind == 3 && name == b"GNU\0" {
            return id.0.get(..id.1).map(<[u8]>::to_vec);
        }
    }
}

/// What the kernel maps into every process, as a file: ours, when it is the recorded one.
pub(super) fn vdso(wanted: Option<&[u8]>) -> Result<File, Gone> {
    let file = own_vdso().ok_or(Gone::Another)?;
    match wanted {
        Some(id) if !elf::build_id(&file).is_some_and(|has| is_same(id, &has)) => Err(Gone::Another),
        _ => Ok(file),
    }
}

fn own_vdso() -> Option<File> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|l| l.ends_with("[vdso]"))?;
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let len = end.checked_sub(start).filter(|len| *len <= MOST_VDSO)?;
    let mut image = vec![0; usize::try_from(len).ok()?];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut image, start).ok()?;
    let mut file = File::from(rustix::fs::memfd_create("vdso", rustix::fs::MemfdFlags::CLOEXEC).ok()?);
    file.write_all(&image).ok()?;
    file.rewind().ok()?;
    Some(file)
}
