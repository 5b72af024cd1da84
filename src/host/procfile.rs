//! A kernel file that is read again and again: kept open, read from its start, into one buffer.
//!
//! Opening costs more than reading most of these files; the kernel makes their text anew
//! on every read from offset 0 (proc(5), Documentation/filesystems/seq_file.rst).
//!
//! Must not: parse.

use super::fields::number;
use super::sampler::HostError;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// No kernel file that is read whole is longer than this; one that is would be a mistake.
const LONGEST: usize = 64 << 20;

/// A kernel file kept open across ticks, with its buffer.
#[derive(Debug)]
pub(super) struct ProcFile {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl ProcFile {
    /// The file `path` below `root` (`/` on a real host); it is opened when first read.
    pub(super) fn new(root: &Path, path: &str) -> ProcFile {
        ProcFile { path: root.join(path), file: None, buffer: Vec::new() }
    }

    /// Its path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes as they are now. After an error the next call opens it anew.
    pub(super) fn read(&mut self) -> Result<&[u8], HostError> {
        match self.fill() {
            Ok(len) => Ok(self.buffer.get(..len).unwrap_or_default()),
            Err(source) => {
                self.file = None;
                Err(HostError::Read { path: self.path.clone(), source })
            }
        }
    }

    /// Like [`ProcFile::read`], but `None` where the kernel or its build has no such file.
    pub(super) fn read_if_there(&mut self) -> Result<Option<&[u8]>, HostError> {
        match self.read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.is_absent() => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        let len = read_whole(&file, &mut self.buffer)?;
        self.file = Some(file);
        Ok(len)
    }
}

/// A process's folder, held open: it goes on meaning that very process, and reads fail with
/// ESRCH once it is gone, even when its number is given to another one.
#[derive(Debug)]
pub(super) struct ProcFolder {
    folder: OwnedFd,
}

impl ProcFolder {
    /// Opens `/proc/PID` below `root`.
    pub(super) fn open(root: &Path, pid: u32) -> io::Result<ProcFolder> {
        let path = root.join(format!("proc/{pid}"));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(ProcFolder { folder: rustix::fs::open(&path, flags, Mode::empty())? })
    }

    /// Reads the file `name` of the folder whole into `buffer`.
    pub(super) fn read<'b>(&self, name: &str, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
        let file = rustix::fs::openat(&self.folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let len = read_whole(&File::from(file), buffer)?;
        Ok(buffer.get(..len).unwrap_or_default())
    }

    /// The numbers that entries of the folder `name` are called by, `most` of them at the most.
    pub(super) fn numbers(&self, name: &str, most: usize) -> io::Result<Vec<u32>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let entries = rustix::fs::openat(&self.folder, name, flags, Mode::empty())?;
        let mut found = Vec::new();
        for entry in rustix::fs::Dir::read_from(&entries)? {
            let entry = entry?;
            let id = number(entry.file_name().to_bytes()).and_then(|n| u32::try_from(n).ok());
            if found.len() < most {
                found.extend(id);
            }
        }
        Ok(found)
    }

    /// How many file descriptors the process has open.
    pub(super) fn fd_count(&self) -> io::Result<u64> {
        // Since Linux 6.2 the folder's size is the count (fs/proc/fd.c proc_fd_getattr),
        // which spares reading a folder of perhaps 100 000 names.
        let stat = rustix::fs::statat(&self.folder, "fd", rustix::fs::AtFlags::empty())?;
        if let Some(count) = u64::try_from(stat.st_size).ok().filter(|n| *n > 0) {
            return Ok(count);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fds = rustix::fs::openat(&self.folder, "fd", flags, Mode::empty())?;
        let mut count = 0;
        for entry in rustix::fs::Dir::read_from(&fds)? {
            if entry?.file_name().to_bytes().first().is_some_and(u8::is_ascii_digit) {
                count += 1;
            }
        }
        Ok(count)
    }
}

fn read_whole(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut len = 0;
    loop {
        if len == buffer.len() {
            if len >= LONGEST {
                return Err(io::Error::other("longer than 64 MiB"));
            }
            buffer.resize((len * 2).max(4096), 0);
        }
        match file.read_at(buffer.get_mut(len..).unwrap_or_default(), len as u64) {
            Ok(0) => return Ok(len),
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_each_time_and_may_grow_shrink_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut f = ProcFile::new(dir.path(), "a");
        assert!(f.read().unwrap_err().is_absent());
        assert!(f.read_if_there().unwrap().is_none());
        std::fs::write(dir.path().join("a"), vec![b'x'; 10_000]).unwrap();
        assert_eq!(f.read().unwrap().len(), 10_000);
        std::fs::write(dir.path().join("a"), b"short").unwrap();
        assert_eq!(f.read().unwrap(), b"short");
    }

    #[test]
    fn our_own_folder_counts_our_descriptors() {
        let me = ProcFolder::open(Path::new("/"), std::process::id()).unwrap();
        let before = me.fd_count().unwrap();
        let held: Vec<File> = (0..40).map(|_| File::open("/dev/null").unwrap()).collect();
        let after = me.fd_count().unwrap();
        // Other tests of this process open and close files meanwhile.
        assert!(after >= before + 20, "{before} then {after} with {} more", held.len());
    }
}
