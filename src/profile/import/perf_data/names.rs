//! Sites of a recording to frames, with what the built-in sampler names places by: symbol tables and
//! debug files, the kernel's list, maps of compiled code.
//!
//! Frames are written as [`profile::script`](crate::profile::script) writes those of `perf script`.
//!
//! Must not: take a name from a file, a kernel or a map that is not the recorded one.

use super::features::Features;
use super::recorded_file::{self, Gone, is_same};
use super::tasks::{MappedFile, Site, Tasks};
use crate::model::{FastMap, Frame, FrameKind};
use crate::profile::import::base_name;
use crate::profile::sampler::files::Files;
use crate::profile::sampler::kallsyms::{Kallsyms, address_of};
use crate::profile::sampler::perf_map;
use crate::profile::sampler::ranges::Ranges;
use crate::profile::sampler::symbols::Symbols;
use crate::profile::script::is_kernel;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

/// What the kernel proper is called as a module, as perf has it.
const KERNEL: &str = "[kernel.kallsyms]";
/// Files that a note names.
const SHOWN: usize = 4;
/// Maps of compiled code that are read.
const MOST_MAPS: usize = 1024;
/// Threads that name at the most.
const MOST_THREADS: usize = 4;

/// The names of the kernel that runs here, read while the recording is: they take as long.
#[derive(Debug)]
pub(super) struct KernelNames(Option<JoinHandle<Listed>>);

/// The kernel's functions, and the text they are from.
#[derive(Debug)]
struct Listed {
    names: Kallsyms,
    text: Vec<u8>,
}

impl KernelNames {
    /// Begins to read.
    pub(super) fn begin() -> KernelNames {
        KernelNames(std::thread::Builder::new().name("import-kernel".into()).spawn(Listed::read).ok())
    }

    fn take(self) -> Listed {
        self.0.and_then(|t| t.join().ok()).unwrap_or_else(Listed::read)
    }
}

impl Listed {
    fn read() -> Listed {
        let text = std::fs::read("/proc/kallsyms").unwrap_or_default();
        Listed { names: Kallsyms::read(&text), text }
    }
}

/// Names of all sites, in their order, and what the reader should know of them.
pub(super) fn frames(
    tasks: &Tasks,
    features: &Features,
    kernel: Option<KernelNames>,
    sites: &[Site],
) -> (Vec<Frame>, Vec<String>) {
    let mut naming = Naming::new(tasks, features, kernel);
    let mut frames = vec![Frame::new("[unknown]", "", FrameKind::User); sites.len()];
    let mut in_files: Vec<(u32, usize)> = Vec::new();
    for (n, &site) in sites.iter().enumerate() {
        match site {
            Site::File { number, .. } => in_files.push((number, n)),
            _ => frames[n] = naming.frame(site),
        }
    }
    // File by file, so that few are open at a time.
    in_files.sort_unstable();
    let (mut missing, mut another) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let shares = shares(&in_files, std::thread::available_parallelism().map_or(1, usize::from));
        let name = |share: Vec<(u32, usize)>| {
            let mut naming = Naming::new(tasks, features, None);
            let named: Vec<(usize, Frame)> = share.iter().map(|&(_, n)| (n, naming.frame(sites[n]))).collect();
            (named, naming.missing, naming.another)
        };
        let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || name(share))).collect();
        for (named, not_here, not_it) in threads.into_iter().filter_map(|t| t.join().ok()) {
            named.into_iter().for_each(|(n, frame)| frames[n] = frame);
            missing.extend(not_here);
            another.extend(not_it);
        }
    });
    (naming.missing, naming.another) = (missing, another);
    (frames, naming.notes())
}

/// Whole files for each of so many threads, about as many places for each.
fn shares(in_files: &[(u32, usize)], threads: usize) -> Vec<Vec<(u32, usize)>> {
    let mut files: Vec<&[(u32, usize)]> = in_files.chunk_by(|a, b| a.0 == b.0).collect();
    files.sort_by_key(|places| std::cmp::Reverse(places.len()));
    let mut shares = vec![Vec::new(); threads.clamp(1, MOST_THREADS)];
    for places in files {
        if let Some(share) = shares.iter_mut().min_by_key(|s| s.len()) {
            share.extend_from_slice(places);
        }
    }
    shares.retain(|s| !s.is_empty());
    shares
}

/// What became of a file that was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Open, by its number there.
    Open(u32),
    /// It is not one that has names.
    Nameless,
    Gone(Gone),
}

struct Naming<'a> {
    tasks: &'a Tasks,
    features: &'a Features,
    symbols: Symbols,
    files: Files,
    found: FastMap<u32, Found>,
    modules: FastMap<u32, (Arc<str>, FrameKind)>,
    maps: FastMap<u32, Option<Ranges<Arc<str>>>>,
    listed: Option<KernelNames>,
    /// The kernel's names, and what is added (wrapping) to a recorded address for its place in them.
    kernel: Option<(Kallsyms, u64)>,
    /// Why there are none.
    no_kernel: Option<String>,
    /// Whether the recording is of the machine that this is.
    is_here: bool,
    kernel_asked: bool,
    missing: Vec<String>,
    another: Vec<String>,
    no_maps: bool,
}

impl<'a> Naming<'a> {
    fn new(tasks: &'a Tasks, features: &'a Features, listed: Option<KernelNames>) -> Naming<'a> {
        let here = rustix::system::uname();
        let is_here = features.host.as_deref().is_none_or(|h| h.as_bytes() == here.nodename().to_bytes());
        Naming {
            tasks,
            features,
            symbols: Symbols::of_files(),
            files: Files::new(Path::new("/")),
            found: FastMap::default(),
            modules: FastMap::default(),
            maps: FastMap::default(),
            listed,
            kernel: None,
            no_kernel: None,
            is_here,
            kernel_asked: false,
            missing: Vec::new(),
            another: Vec::new(),
            no_maps: false,
        }
    }

    fn frame(&mut self, site: Site) -> Frame {
        match site {
            Site::Kernel(address) => self.in_kernel(address),
            Site::Module { number, address } => self.in_module(number, address),
            Site::File { number, offset } => self.in_file(number, offset),
            Site::Memory { pid, address } => self.compiled(pid, address),
            Site::Nowhere { upper } => {
                Frame::new("[unknown]", "", if upper { FrameKind::Kernel } else { FrameKind::User })
            }
        }
    }

    fn in_kernel(&mut self, address: u64) -> Frame {
        self.ask_kernel();
        let found = self.kernel.as_ref().and_then(|(names, moved)| names.frame(address.wrapping_add(*moved)));
        found.unwrap_or_else(|| Frame::new(KERNEL, KERNEL, FrameKind::Kernel))
    }

    /// Of a module its names are where it lies now, which is where it was unless the machine was
    /// started anew. A BPF program is its own name.
    fn in_module(&mut self, number: u32, address: u64) -> Frame {
        self.ask_kernel();
        let (module, _) = self.module(number);
        if module.starts_with("bpf_") {
            return Frame::new(module.clone(), module, FrameKind::Kernel);
        }
        let name = self.kernel.as_ref().filter(|(_, moved)| *moved == 0);
        let name = name.and_then(|(names, _)| names.name(address).filter(|(_, of)| **of == module));
        let name: Arc<str> = match name {
            Some((name, _)) => name.into(),
            None if module.starts_with('[') => module.clone(),
            None => format!("[{module}]").into(),
        };
        Frame::new(name, module, FrameKind::Kernel)
    }

    fn in_file(&mut self, number: u32, offset: u64) -> Frame {
        let (module, kind) = self.module(number);
        let name = match self.found(number) {
            Found::Open(file) => self.symbols.name_in_file(file, offset, &self.files),
            _ => None,
        };
        let name = name.unwrap_or_else(|| match module.starts_with('[') {
            true => module.clone(),
            false => format!("[{module}]").into(),
        });
        Frame::new(name, module, kind)
    }

    fn compiled(&mut self, pid: u32, address: u64) -> Frame {
        let module = format!("perf-{pid}.map");
        if !self.maps.contains_key(&pid) && self.maps.len() < MOST_MAPS {
            // A number is another process's on another machine.
            let map = if self.is_here { perf_map::of_file(&Path::new("/tmp").join(&module)) } else { None };
            self.maps.insert(pid, map);
        }
        let name = self.maps.get(&pid).and_then(|m| m.as_ref()?.get(address).cloned());
        self.no_maps |= name.is_none() && !self.is_here;
        let name = name.unwrap_or_else(|| format!("[{module}]").into());
        Frame::new(name, module, FrameKind::Jit)
    }

    fn module(&mut self, number: u32) -> (Arc<str>, FrameKind) {
        let file = &self.tasks.files[number as usize];
        let of = || {
            let path = String::from_utf8_lossy(&file.path);
            let name = base_name(&path);
            // A module of the kernel is called by its name, not by its file's.
            let kernel = is_kernel(&path);
            let name = match name.split_once(".ko").filter(|_| kernel && path.starts_with('/')) {
                Some((name, _)) => format!("[{}]", name.replace('-', "_")),
                None => name.to_owned(),
            };
            (name.into(), if kernel { FrameKind::Kernel } else { FrameKind::User })
        };
        self.modules.entry(number).or_insert_with(of).clone()
    }

    fn found(&mut self, number: u32) -> Found {
        if let Some(&found) = self.found.get(&number) {
            return match found {
                // Its descriptor was closed since: places of one file follow each other.
                Found::Open(file) if self.files.file(file).is_none() => Found::Nameless,
                found => found,
            };
        }
        let (module, _) = self.module(number);
        let file = &self.tasks.files[number as usize];
        let opened = match &file.path[..] {
            b"[vdso]" if self.is_here => recorded_file::vdso(self.wanted(file)).map_err(Found::Gone),
            _ if !file.executable || !file.path.starts_with(b"/") || file.path.starts_with(b"//") => {
                Err(Found::Nameless)
            }
            _ => recorded_file::open(file, self.wanted(file)).map_err(Found::Gone),
        };
        let found = match opened {
            Ok(opened) => self.files.adopt(module.clone(), opened).map_or(Found::Nameless, Found::Open),
            Err(why) => why,
        };
        match found {
            Found::Gone(Gone::Missing) => self.missing.push(module.to_string()),
            Found::Gone(Gone::Another) => self.another.push(module.to_string()),
            Found::Open(_) | Found::Nameless => {}
        }
        self.found.insert(number, found);
        found
    }

    /// The build id that a file had then.
    fn wanted<'f>(&'f self, file: &'f MappedFile) -> Option<&'f [u8]> {
        let recorded = (!file.build_id.is_empty()).then_some(&file.build_id);
        recorded.or_else(|| self.features.build_ids.get(&file.path)).map(|id| &**id)
    }

    /// Reads the kernel's names when they are those of the recorded kernel.
    fn ask_kernel(&mut self) {
        if std::mem::replace(&mut self.kernel_asked, true) {
            return;
        }
        let recorded = self.features.build_ids.get(KERNEL.as_bytes()).map(|id| &**id);
        let same = match recorded {
            Some(id) => recorded_file::running_build_id().is_some_and(|running| is_same(id, &running)),
            None => {
                let here = rustix::system::uname();
                let release = self.features.release.as_deref().map(str::as_bytes);
                self.features.host.is_some() && self.is_here && release == Some(here.release().to_bytes())
            }
        };
        if !same {
            self.no_kernel = Some("it was recorded on another kernel than the one that runs here".into());
            return;
        }
        let Listed { names, text } = self.listed.take().map_or_else(Listed::read, KernelNames::take);
        if names.is_empty() {
            self.no_kernel = Some("the kernel's symbols can't be read here: sudo sysctl kernel.kptr_restrict=0".into());
            return;
        }
        let then = self.tasks.kernel_symbol.as_ref();
        let moved = then.and_then(|(symbol, then)| Some(address_of(&text, symbol)?.wrapping_sub(*then)));
        self.kernel = Some((names, moved.unwrap_or(0)));
    }

    fn notes(self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |files: &[String], what: &str| {
            if !files.is_empty() {
                let more =
                    if files.len() > SHOWN { format!(" and {} more", files.len() - SHOWN) } else { String::new() };
                let shown = files.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
                notes.push(format!("without names: {shown}{more}: {what}"));
            }
        };
        note(&self.another, "not the files that were recorded (replaced since, or another machine's)");
        note(&self.missing, "not here");
        notes.extend(self.no_kernel.map(|why| format!("kernel functions have no names: {why}")));
        if self.no_maps {
            notes.push("compiled code has no names: it was recorded on another machine".into());
        }
        notes
    }
}
