//! The pattern by which symbols are searched.
//!
//! Must not: grow a syntax; C++ and Rust names are full of what other syntaxes reserve.

/// Part of a name. Letters match in either case, unless the pattern holds a capital letter.
/// An empty pattern matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    exact_case: bool,
}

impl Pattern {
    /// The pattern written as `text`.
    pub fn new(text: &str) -> Pattern {
        Pattern { text: text.into(), exact_case: text.chars().any(char::is_uppercase) }
    }

    /// The pattern as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether `symbol` holds the pattern.
    pub fn matches(&self, symbol: &str) -> bool {
        match self.exact_case {
            _ if self.text.is_empty() => false,
            true => symbol.contains(&self.text),
            false => symbol.to_lowercase().contains(&self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn case_counts_only_when_the_pattern_has_a_capital() {
        let yes = |p: &str, s: &str| assert!(Pattern::new(p).matches(s), "{p} {s}");
        let no = |p: &str, s: &str| assert!(!Pattern::new(p).matches(s), "{p} {s}");
        yes("tcp", "TCP_send");
        yes("TCP", "TCP_send");
        no("Tcp", "TCP_send");
        yes("operator()(", "x::operator()(int)");
        no("", "anything");
    }
}
