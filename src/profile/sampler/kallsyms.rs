//! The kernel's own names: /proc/kallsyms, proc(5). Who may not see addresses reads zeros.
//!
//! Must not: ask anything else than that file.

use crate::model::{Frame, FrameKind};
use std::collections::HashMap;
use std::sync::Arc;

/// What the kernel proper is called as a module, as `perf` has it.
const KERNEL: &str = "[kernel.kallsyms]";
/// A function is never longer: an address farther behind a symbol belongs to something that is not
/// listed (a module loaded since, compiled BPF).
const FARTHEST: u64 = 1 << 18;

/// The kernel's functions by address.
#[derive(Debug, Default)]
pub(in crate::profile) struct Kallsyms {
    rows: Vec<Row>,
    names: String,
    modules: Vec<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    address: u64,
    name: u32,
    len: u16,
    module: u16,
    rank: u8,
}

impl Kallsyms {
    /// Reads the text; empty when it has no addresses.
    pub(in crate::profile) fn read(text: &str) -> Kallsyms {
        let mut k = Kallsyms { modules: vec![KERNEL.into()], ..Kallsyms::default() };
        let mut numbers: HashMap<&str, u16> = HashMap::from([("", 0)]);
        for line in text.lines() {
            let Some((address, kind, name, module)) = parts(line) else { continue };
            // Code only: t, T, w, W.
            if address == 0 || !matches!(kind, 't' | 'T' | 'w' | 'W') {
                continue;
            }
            let module = *numbers.entry(module).or_insert_with(|| {
                k.modules.push(module.into());
                u16::try_from(k.modules.len() - 1).unwrap_or(0)
            });
            let (Ok(at), Ok(len)) = (u32::try_from(k.names.len()), u16::try_from(name.len())) else { continue };
            k.names.push_str(name);
            k.rows.push(Row { address, name: at, len, module, rank: rank(kind, name) });
        }
        k.rows.sort_by_key(|r| (r.address, r.rank));
        k.rows.dedup_by_key(|r| r.address);
        k
    }

    /// Whether there is not one address.
    pub(in crate::profile) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The function at an address, and its module.
    pub(in crate::profile) fn name(&self, address: u64) -> Option<(&str, &Arc<str>)> {
        let n = self.rows.partition_point(|r| r.address <= address);
        let row = self.rows.get(n.checked_sub(1)?)?;
        if address - row.address >= FARTHEST {
            return None;
        }
        let name = self.names.get(row.name as usize..row.name as usize + usize::from(row.len))?;
        Some((name, self.modules.get(usize::from(row.module))?))
    }

    /// The frame of an address.
    pub(in crate::profile) fn frame(&self, address: u64) -> Option<Frame> {
        self.name(address).map(|(name, module)| Frame::new(name, module.clone(), FrameKind::Kernel))
    }
}

/// Where the text says that a symbol is; `None` without the right to see addresses.
pub(in crate::profile) fn address_of(text: &str, symbol: &str) -> Option<u64> {
    let of = |line| parts(line).filter(|&(_, _, name, module)| name == symbol && module.is_empty());
    text.lines().find_map(of).map(|(address, ..)| address).filter(|a| *a != 0)
}

/// Of several names of one address the one a reader knows: global before local, and before those
/// that the build made up.
fn rank(kind: char, name: &str) -> u8 {
    let made_up = name.starts_with("__pfx_") || name.starts_with("__pi_") || name.starts_with("__se_");
    let underscores = name.len() - name.trim_start_matches('_').len();
    u8::from(made_up) * 100 + u8::from(kind.is_lowercase()) * 10 + underscores.min(9) as u8
}

/// `ffffffff81000000 T _text` with `\t[module]` behind it when it is a module's.
fn parts(line: &str) -> Option<(u64, char, &str, &str)> {
    let (address, rest) = line.split_once(' ')?;
    let (kind, rest) = rest.split_once(' ')?;
    let (name, module) = rest.split_once('\t').unwrap_or((rest, ""));
    Some((u64::from_str_radix(address, 16).ok()?, kind.chars().next()?, name, module))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000000 T _stext
ffffffff81000100 t local_name
ffffffff81000100 T global_name
ffffffff810000f0 t __pfx_global_name
ffffffff81000200 D some_table
ffffffff81000300 t last_of_kernel
ffffffffc0201000 t nf_hook\t[nf_conntrack]
ffffffffc0300000 t bpf_prog_6deef7357e7b4530_x\t[bpf]
rubbish
";

    #[test]
    fn functions_have_names_and_modules() {
        let k = Kallsyms::read(TEXT);
        let name = |at| k.frame(at).map(|f| format!("{} {}", f.symbol, f.module)).unwrap_or_default();
        assert_eq!(name(0xffff_ffff_8100_0123), "global_name [kernel.kallsyms]");
        assert_eq!(name(0xffff_ffff_8100_0250), "global_name [kernel.kallsyms]");
        assert_eq!(name(0xffff_ffff_c020_1004), "nf_hook [nf_conntrack]");
        assert_eq!(name(0xffff_ffff_c030_0004), "bpf_prog_6deef7357e7b4530_x [bpf]");
        assert_eq!((address_of(TEXT, "_text"), address_of(TEXT, "nf_hook")), (Some(0xffff_ffff_8100_0000), None));
        assert_eq!((name(0x1000), name(0xffff_ffff_8200_0000), name(u64::MAX)), Default::default());
        assert_eq!(k.frame(0xffff_ffff_8100_0301).unwrap().kind, FrameKind::Kernel);
    }

    #[test]
    fn zeros_are_no_names() {
        assert!(Kallsyms::read("0000000000000000 T _text\n0000000000000000 t x\t[y]\n").is_empty());
        assert!(Kallsyms::read("").frame(5).is_none());
    }
}
