//! Programs in several languages that burn under perf: how each is made, run, and known again in its stacks.
//!
//! Must not: leave a process behind.

#![allow(dead_code)] // each test crate that includes this uses a part of it

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program under perf: what it needs, how it is made, and run.
pub struct Program {
    pub name: &'static str,
    /// The program that makes or runs it, and words with which it ends well where it can.
    pub needs: &'static str,
    pub try_with: &'static [&'static str],
    pub file: (&'static str, &'static str),
    pub make: &'static [&'static str],
    pub run: &'static [&'static str],
    /// What its stacks must hold, marked as it must be.
    pub frame: &'static str,
}

pub const PROGRAMS: &[Program] = &[
    Program {
        name: "C",
        needs: "cc",
        try_with: &["--version"],
        file: (
            "burn.c",
            "#include <time.h>\n#include <unistd.h>\nvolatile unsigned long sink;\n\
             static inline __attribute__((always_inline)) void small(int i) { sink += i * i; }\n\
             __attribute__((noinline)) void burn(void) { for (int i = 0; i < 100000; i++) small(i); getppid(); }\n\
             int main(void) { clock_t end = clock() + CLOCKS_PER_SEC; while (clock() < end) burn(); return 0; }\n",
        ),
        make: &["cc", "-g", "-O1", "-fno-omit-frame-pointer", "burn.c", "-o", "burn"],
        run: &["./burn"],
        frame: ";burn",
    },
    Program {
        name: "Rust",
        needs: "rustc",
        try_with: &["--version"],
        file: (
            "crab.rs",
            "use std::collections::HashMap;\n#[inline(never)] fn churn(n: u64) -> u64 {\n\
             let m: HashMap<u64, String> = (0..500).map(|i| (i * n, format!(\"{i}\"))).collect(); m.len() as u64 }\n\
             fn main() { let t = std::time::Instant::now(); let mut n = 1; \
             while t.elapsed().as_millis() < 1000 { n += churn(n % 97); } println!(\"{n}\"); }\n",
        ),
        make: &["rustc", "-g", "-O", "-C", "force-frame-pointers=yes", "crab.rs", "-o", "crab"],
        run: &["./crab"],
        frame: "crab::churn",
    },
    Program {
        name: "Java",
        needs: "java",
        try_with: &["--version"],
        file: (
            "Burn.java",
            "public class Burn { static long work(long n) { long s = 0; for (int i = 0; i < 20000; i++) \
             s += Long.toString(n ^ i).hashCode(); return s; }\n\
             public static void main(String[] a) { long s = 0, end = System.nanoTime() + 3_000_000_000L; \
             while (System.nanoTime() < end) s += work(s); System.out.println(s); } }\n",
        ),
        make: &[],
        run: &[
            "java",
            "-XX:+PreserveFramePointer",
            "-XX:+UnlockDiagnosticVMOptions",
            "-XX:+DumpPerfMapAtExit",
            "Burn.java",
        ],
        frame: "Burn.work",
    },
    Program {
        name: "Node",
        needs: "node",
        try_with: &["--version"],
        file: (
            "burn.js",
            "function work(n) { let s = 0; for (let i = 0; i < 20000; i++) s += String(n ^ i).length; return s; }\n\
             let s = 0; const end = Date.now() + 1500; while (Date.now() < end) s += work(s); console.log(s);\n",
        ),
        make: &[],
        run: &["node", "--perf-basic-prof", "burn.js"],
        frame: "work",
    },
    Program {
        name: "Python",
        needs: "python3",
        // Since 3.12.
        try_with: &["-X", "perf", "-c", "import sys; sys.exit(not sys.is_stack_trampoline_active())"],
        file: (
            "burn.py",
            "import time\ndef work(n):\n    return sum(len(str(n ^ i)) for i in range(20000))\n\
             end, s = time.time() + 1.5, 0\nwhile time.time() < end:\n    s += work(s)\nprint(s)\n",
        ),
        make: &[],
        run: &["python3", "-X", "perf", "burn.py"],
        frame: "py::work",
    },
];

/// The program that is needed: in the PATH, or where pyenv keeps Pythons. Tried, since another version may
/// be there, or a shim of one that is not.
pub fn tool(program: &Program) -> Option<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    let versions = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok());
    let kept = versions.into_iter().flatten().flatten().map(|v| v.path().join("bin").join(program.needs));
    let works = |tool: &PathBuf| Command::new(tool).args(program.try_with).output().is_ok_and(|o| o.status.success());
    std::iter::once(PathBuf::from(program.needs)).chain(kept).find(works)
}

/// Runs words in a folder, with the program's own tool in the place of what it needs.
pub fn within(folder: &Path, program: &Program, tool: &Path, words: &[&str]) -> Output {
    let tool = tool.to_str().unwrap();
    let words: Vec<&str> = words.iter().map(|w| if *w == program.needs { tool } else { w }).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(folder).stdin(Stdio::null());
    command.output().unwrap()
}

/// Writes and builds a program in a folder.
pub fn make(folder: &Path, program: &Program, tool: &Path) {
    std::fs::write(folder.join(program.file.0), program.file.1).unwrap();
    if !program.make.is_empty() {
        let made = within(folder, program, tool, program.make);
        assert!(made.status.success(), "{}: {}", program.name, String::from_utf8_lossy(&made.stderr));
    }
}
