//! Names for the places that call chains went through: symbol tables of files (with what split
//! debug files add), the kernel's list, the maps of compiled code. Each place is looked up once.
//!
//! Symbol tables come first: their names are whole, where debug information drops the path of some.
//!
//! Must not: be handed to another thread (the symboliser can't be), or read a clock.

use super::demangle::Names;
use super::elf::Layout;
use super::files::Files;
use super::kallsyms::Kallsyms;
use super::perf_map::PerfMaps;
use super::processes::{Processes, Site};
use crate::model::{Frame, FrameKind, is_waiting};
use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Symbolizer};
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

/// Places whose names are kept, at the most.
const MOST: usize = 200_000;
/// A symbol without a size says nothing about what lies far behind it.
const NEAR: usize = 4096;
/// What the linker puts at both ends of a program is shorter than this, has no size either, and before
/// much that has no symbol at all: stubs of a PLT.
const ENDS: ([&str; 2], usize) = (["_init", "_fini"], 32);

/// Root of a stack whose outer frames the kernel did not copy.
pub(in crate::profile) const TRUNCATED: &str = "[truncated]";
/// Root of a stack that could not be followed.
pub(in crate::profile) const NO_FRAME_POINTERS: &str = "[no frame pointers]";
/// A kernel function without a name.
pub(in crate::profile) const KERNEL: &str = "[kernel]";
/// Compiled code without a name.
pub(in crate::profile) const COMPILED: &str = "[jit]";

/// See the top of the file.
pub(in crate::profile) struct Symbols {
    symbolizer: Symbolizer,
    names: Names,
    /// The generation of descriptors that the symboliser holds on to.
    generation: u32,
    kernel: Kallsyms,
    frames: HashMap<Site, Frame>,
    modules: HashMap<u32, Arc<str>>,
    /// How the files are laid out, by number.
    layouts: HashMap<u32, Layout>,
    perf_maps: PerfMaps,
    turn: u64,
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols").field("frames", &self.frames.len()).finish_non_exhaustive()
    }
}

fn symbolizer() -> Symbolizer {
    let builder = Symbolizer::builder().enable_code_info(false).enable_inlined_fns(false).enable_auto_reload(false);
    builder.enable_demangling(false).build()
}

impl Symbols {
    /// Reads the kernel's names. `root`: below it is proc.
    pub(in crate::profile) fn new(root: &Path) -> Symbols {
        let text = std::fs::read(root.join("proc/kallsyms")).unwrap_or_default();
        Symbols { kernel: Kallsyms::read(&text), ..Symbols::of_files() }
    }

    /// Knows files only: nothing of the kernel that runs here.
    pub(in crate::profile) fn of_files() -> Symbols {
        Symbols {
            symbolizer: symbolizer(),
            names: Names::default(),
            generation: 0,
            kernel: Kallsyms::default(),
            frames: HashMap::new(),
            modules: HashMap::new(),
            layouts: HashMap::new(),
            perf_maps: PerfMaps::default(),
            turn: 0,
        }
    }

    /// Whether the kernel waits for work at this place.
    pub(in crate::profile) fn is_waiting(&self, site: Site) -> bool {
        match site {
            Site::Kernel(address) => self.kernel.name(address).is_none_or(|(name, _)| is_waiting(name)),
            _ => false,
        }
    }

    /// From now on maps of compiled code may be looked at again.
    pub(in crate::profile) fn next_turn(&mut self) {
        self.turn += 1;
    }

    /// Whether a place is named already.
    pub(in crate::profile) fn knows(&self, site: Site) -> bool {
        self.frames.contains_key(&site)
    }

    /// The frame of a place.
    pub(in crate::profile) fn frame(&mut self, site: Site, processes: &Processes) -> Frame {
        if let Some(known) = self.frames.get(&site) {
            return known.clone();
        }
        if self.frames.len() >= MOST {
            self.frames.clear();
        }
        let (frame, keep) = match site {
            Site::Kernel(address) => {
                let frame = self.kernel.frame(address);
                (frame.unwrap_or_else(|| Frame::new(KERNEL, "[kernel.kallsyms]", FrameKind::Kernel)), true)
            }
            Site::File { number, offset } => (self.in_file(number, offset, &processes.files), true),
            Site::Anonymous { life, address } => match self.compiled(life, address, processes) {
                Some(frame) => (frame, true),
                // Its map may still come.
                None => (Frame::new(COMPILED, "", FrameKind::Jit), false),
            },
            Site::Vdso => (Frame::new("[vdso]", "[vdso]", FrameKind::User), true),
            Site::Unknown => (Frame::new("[unknown]", "", FrameKind::User), true),
            Site::NoFramePointers => (Frame::new(NO_FRAME_POINTERS, "", FrameKind::User), true),
            Site::Truncated => (Frame::new(TRUNCATED, "", FrameKind::User), true),
        };
        if keep {
            self.frames.insert(site, frame.clone());
        }
        frame
    }

    fn compiled(&mut self, life: u32, address: u64, processes: &Processes) -> Option<Frame> {
        let home = processes.home_of(life)?;
        let name = self.perf_maps.name(processes.root(), life, home, address, self.turn)?;
        Some(Frame::new(name, format!("perf-{}.map", home.inner_pid), FrameKind::Jit))
    }

    fn in_file(&mut self, number: u32, offset: u64, files: &Files) -> Frame {
        let module = self.modules.entry(number);
        let module =
            module.or_insert_with(|| files.get(number).map_or_else(|| "".into(), |f| f.module.clone())).clone();
        let name = self.name_in_file(number, offset, files).unwrap_or_else(|| format!("[{module}]").into());
        Frame::new(name, module, FrameKind::User)
    }

    /// The function at a place in a file, asked of the file each time.
    pub(in crate::profile) fn name_in_file(&mut self, number: u32, offset: u64, files: &Files) -> Option<Arc<str>> {
        if self.generation != files.generation {
            // Its descriptors were closed, and their numbers are other files' now.
            self.generation = files.generation;
            self.symbolizer = symbolizer();
        }
        let file = files.file(number)?;
        let (symbolizer, names) = (&self.symbolizer, &mut self.names);
        let layout = self.layouts.entry(number).or_insert_with(|| Layout::read(file));
        let mut elf = Elf::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
        elf.debug_syms = false;
        let own = named(symbolizer, names, elf.clone(), Input::FileOffset(offset));
        if own.is_some() || layout.has_symbols {
            return own;
        }
        // The table that was split off knows all; debug information is asked where there is none.
        let split = layout.debug_file.as_ref().zip(layout.address(offset));
        if let Some((debug_file, address)) = split {
            let mut split = Elf::new(debug_file);
            split.debug_syms = false;
            return named(symbolizer, names, split, Input::VirtOffset(address));
        }
        elf.debug_syms = true;
        named(symbolizer, names, elf, Input::FileOffset(offset))
    }
}

/// The function at a place by one table of symbols.
fn named(symbolizer: &Symbolizer, names: &mut Names, elf: Elf, place: Input<u64>) -> Option<Arc<str>> {
    let found = symbolizer.symbolize_single(&Source::Elf(elf), place).ok()?;
    let sym = found.as_sym()?;
    let near = if ENDS.0.contains(&&*sym.name) { ENDS.1 } else { NEAR };
    let near = sym.size.is_some_and(|size| size > 0) || sym.offset < near;
    (near && !sym.name.is_empty()).then(|| names.of(&sym.name))
}

#[cfg(test)]
mod tests {
    use super::super::files::Place;
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn places_have_names_or_say_what_they_are() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc")).unwrap();
        std::fs::write(
            root.path().join("proc/kallsyms"),
            "ffffffff81000000 T default_idle\nffffffff81001000 T tcp_v4_rcv\n",
        )
        .unwrap();
        let mut symbols = Symbols::new(root.path());
        let processes = Processes::new(root.path());
        let mut name = |site| {
            let f = symbols.frame(site, &processes);
            format!("{} {} {}", f.symbol, f.module, f.kind.name())
        };
        assert_eq!(name(Site::Kernel(0xffff_ffff_8100_0004)), "default_idle [kernel.kallsyms] kernel");
        assert_eq!(name(Site::Kernel(0x4)), "[kernel] [kernel.kallsyms] kernel");
        assert_eq!(name(Site::Anonymous { life: 1, address: 5 }), "[jit]  jit");
        assert_eq!(name(Site::NoFramePointers), "[no frame pointers]  user");
        assert_eq!(name(Site::File { number: 9, offset: 1 }), "[]  user");
        assert!(symbols.is_waiting(Site::Kernel(0xffff_ffff_8100_0004)));
        assert!(!symbols.is_waiting(Site::Kernel(0xffff_ffff_8100_1004)) && !symbols.is_waiting(Site::Unknown));
        assert!(symbols.is_waiting(Site::Kernel(4)), "without names all of it counts as waiting");
    }

    #[test]
    fn a_program_has_the_names_of_its_symbol_table() {
        // This test's own program: it has symbols, and Rust's are demangled.
        let exe = std::env::current_exe().unwrap();
        let m = std::fs::metadata(&exe).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let here = symbolizer as fn() -> Symbolizer as usize as u64;
        let hex = |s: &str| u64::from_str_radix(s, 16).unwrap();
        let offset = maps.lines().find_map(|l| {
            let mut f = l.split_ascii_whitespace();
            let (start, end) = f.next()?.split_once('-')?;
            let pgoff = hex(f.nth(1)?);
            (hex(start)..hex(end)).contains(&here).then(|| here - hex(start) + pgoff)
        });
        let mut processes = Processes::new(Path::new("/"));
        let place = Place { pid: std::process::id(), start: 0, end: 1, path: exe.to_str().unwrap() };
        let number = processes.files.number((0, 0, m.ino()), place).unwrap();
        let mut symbols = Symbols::new(Path::new("/nonexistent"));
        let frame = symbols.frame(Site::File { number, offset: offset.unwrap() }, &processes);
        assert_eq!(&*frame.symbol, "perfbench::profile::sampler::symbols::symbolizer");
        assert!(frame.module.starts_with("perfbench-") && frame.kind == FrameKind::User);
        assert!(symbols.knows(Site::File { number, offset: offset.unwrap() }));
        // Nothing is there.
        let none = symbols.frame(Site::File { number, offset: 1 << 40 }, &processes);
        assert_eq!(none.symbol, format!("[{}]", frame.module).into());
    }
}
