//! Which methods are replayed.
//!
//! Must not: decide what a method means.

use super::values::same;
use crate::model::{Method, clean};
use std::str::FromStr;

/// Which methods are replayed; all others are skipped and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodFilter {
    /// Every method. Replaying a POST or DELETE changes the target.
    All,
    /// These.
    Only(Vec<Method>),
}

impl Default for MethodFilter {
    /// GET and HEAD, which change nothing (RFC 9110 section 9.2.1).
    fn default() -> Self {
        MethodFilter::Only(vec![Method::Get, Method::Head])
    }
}

impl MethodFilter {
    /// Whether requests with this method token are replayed.
    pub fn allows(&self, token: &[u8]) -> bool {
        match self {
            MethodFilter::All => true,
            MethodFilter::Only(methods) => methods.iter().any(|m| match m {
                Method::Get => token == b"GET",
                other => same(other.as_str().as_bytes(), token),
            }),
        }
    }
}

impl FromStr for MethodFilter {
    type Err = String;

    /// `GET,HEAD,POST`, in any case, or `all`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(MethodFilter::All);
        }
        let one = |name: &str| {
            let name = name.trim().to_ascii_uppercase();
            Method::parse(name.as_bytes())
                .ok_or_else(|| format!("'{}' is no method; give names as in GET,HEAD,POST", clean(&name, 40)))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(MethodFilter::Only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_named_in_any_case() {
        let some: MethodFilter = "get, Post".parse().unwrap();
        assert!(some.allows(b"GET") && some.allows(b"POST") && !some.allows(b"HEAD"));
        assert!("all".parse::<MethodFilter>().unwrap().allows(b"BREW"));
        assert!(MethodFilter::default().allows(b"HEAD") && !MethodFilter::default().allows(b"POST"));
        assert!("GET,,".parse::<MethodFilter>().is_err() && "a b".parse::<MethodFilter>().is_err());
    }

    #[test]
    fn what_is_no_method_is_shown_without_what_a_terminal_obeys() {
        let wrong = format!("all\x08pre?ix{}", "x".repeat(99)).parse::<MethodFilter>().unwrap_err();
        assert!(wrong.starts_with("'ALL·PRE?IXXX") && wrong.contains("…' is no method"), "{wrong}");
    }
}
