//! Names as people wrote them from names as compilers mangle them: Rust's two ways (RFC 2603 and the one before)
//! and C++'s (Itanium C++ ABI, section 5.1). Each is taken apart once: a function has many places.
//!
//! Must not: fail. What is not mangled, or damaged, is its own name.

use crate::model::FastMap;
use cpp_demangle::DemangleOptions;
use std::fmt::Write;
use std::sync::Arc;

/// Names that are kept, at the most.
const MOST: usize = 200_000;
/// Bytes of a name that are kept: C++ templates know no end.
const LONGEST_NAME: usize = 2048;

/// The names that were taken apart.
#[derive(Debug, Default)]
pub(super) struct Names(FastMap<Box<str>, Arc<str>>);

impl Names {
    /// The name behind a symbol's.
    pub(super) fn of(&mut self, symbol: &str) -> Arc<str> {
        if let Some(name) = self.0.get(symbol) {
            return name.clone();
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let name: Arc<str> = demangled(symbol).into();
        self.0.insert(symbol.into(), name.clone());
        name
    }
}

fn demangled(symbol: &str) -> String {
    let mut name = Beginning::default();
    let whole = if let Ok(rust) = rustc_demangle::try_demangle(symbol) {
        write!(name, "{rust:#}") // without the hash at its end
    } else if let Ok(cpp) = cpp_demangle::Symbol::new(symbol) {
        cpp.structured_demangle(&mut name, &DemangleOptions::default())
    } else {
        name.write_str(symbol)
    };
    if whole.is_err() && !name.is_full {
        name = Beginning::default();
        let _ = name.write_str(symbol);
    }
    name.text
}

/// As much of a name as is kept, and no more: a few bytes may stand for any length.
#[derive(Default)]
struct Beginning {
    text: String,
    is_full: bool,
}

impl Write for Beginning {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let room = LONGEST_NAME - self.text.len();
        if s.len() <= room {
            self.text.push_str(s);
            return Ok(());
        }
        self.is_full = true;
        let end = (0..=room).rev().find(|&n| s.is_char_boundary(n));
        self.text.push_str(&s[..end.unwrap_or(0)]);
        Err(std::fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_people_wrote() {
        let mut names = Names::default();
        for (symbol, name) in [
            ("main", "main"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_ZN5boost4asio6detail9scheduler3runEv", "boost::asio::detail::scheduler::run()"),
            ("_ZN4broken", "_ZN4broken"),
            ("", ""),
        ] {
            assert_eq!(&*names.of(symbol), name);
            assert_eq!(&*names.of(symbol), name, "when asked again");
        }
    }

    #[test]
    fn long_names_are_cut_where_a_letter_ends() {
        let mut names = Names::default();
        assert_eq!(names.of(&"ä".repeat(LONGEST_NAME)).len(), LONGEST_NAME);
        assert_eq!(names.of(&format!("x{}", "ä".repeat(LONGEST_NAME))).len(), LONGEST_NAME - 1);
        assert_eq!(&*names.of(&"_Z".repeat(LONGEST_NAME)), "_Z".repeat(LONGEST_NAME / 2));
    }

    #[test]
    fn a_short_symbol_that_stands_for_a_name_without_end_is_cut() {
        // f(a<x>, a<a<x>, a<x> >, ...): every type has the one before twice, as the substitutions S1_, S2_ and so on.
        let digits = ('1'..='9').chain('A'..='P');
        let types: String = digits.map(|n| format!("S_IS{n}_S{n}_E")).collect();
        let name = Names::default().of(&format!("_Z1f1aI1xE{types}"));
        assert!(name.starts_with("f(a<x>, a<a<x>, a<x> >, "), "{name}");
        assert_eq!(name.len(), LONGEST_NAME);
    }
}
