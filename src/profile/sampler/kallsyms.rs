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
    pub(in crate::profile) fn read(text: &[u8]) -> Kallsyms {
        let mut k = Kallsyms { modules: vec![KERNEL.into()], ..Kallsyms::default() };
        let mut numbers: HashMap<&[u8], u16> = HashMap::new();
        for line in text.split(|b| *b == b'\n') {
            let Some(Line { address, kind, name, module }) = parts(line) else { continue };
            // Code only: t, T, w, W.
            if !matches!(kind, b't' | b'T' | b'w' | b'W') {
                continue;
            }
            let Some(address) = hex(address).filter(|a| *a != 0) else { continue };
            let Ok(text) = std::str::from_utf8(name) else { continue };
            let module = match module {
                b"" => 0,
                _ => *numbers.entry(module).or_insert_with(|| {
                    k.modules.push(String::from_utf8_lossy(module).into());
                    u16::try_from(k.modules.len() - 1).unwrap_or(0)
                }),
            };
            let (Ok(at), Ok(len)) = (u32::try_from(k.names.len()), u16::try_from(name.len())) else { continue };
            k.names.push_str(text);
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

/// Where the text says that a symbol of the kernel proper is; `None` without the right to see addresses.
pub(in crate::profile) fn address_of(text: &[u8], symbol: &str) -> Option<u64> {
    let lines = text.split(|b| *b == b'\n').filter_map(parts);
    let mut of = lines.filter(|l| l.name == symbol.as_bytes() && l.module.is_empty());
    of.find_map(|l| hex(l.address)).filter(|a| *a != 0)
}

/// Of several names of one address the one a reader knows: global before local, and before those
/// that the build made up.
fn rank(kind: u8, name: &[u8]) -> u8 {
    let made_up = name.len() > 5 && matches!(&name[..5], b"__pfx" | b"__pi_" | b"__se_");
    let underscores = name.iter().take_while(|b| **b == b'_').count();
    u8::from(made_up) * 100 + u8::from(kind.is_ascii_lowercase()) * 10 + underscores.min(9) as u8
}

/// A line of the text, its address in hexadecimal still: most lines are not asked for it.
struct Line<'a> {
    address: &'a [u8],
    kind: u8,
    name: &'a [u8],
    module: &'a [u8],
}

/// `ffffffff81000000 T _text` with `\t[module]` behind it when it is a module's.
fn parts(line: &[u8]) -> Option<Line<'_>> {
    let space = memchr::memchr(b' ', line)?;
    let (&kind, name) = line.get(space + 1..)?.split_first()?;
    let name = name.strip_prefix(b" ")?;
    let (name, module) = match memchr::memchr(b'\t', name) {
        Some(tab) => (&name[..tab], &name[tab + 1..]),
        None => (name, &[][..]),
    };
    Some(Line { address: &line[..space], kind, name, module })
}

fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, &b| Some(sum << 4 | u64::from(char::from(b).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
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
        assert!(Kallsyms::read(b"0000000000000000 T _text\n0000000000000000 t x\t[y]\n").is_empty());
        assert!(Kallsyms::read(b"").frame(5).is_none());
    }
}
