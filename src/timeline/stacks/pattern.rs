//! The pattern by which symbols are searched: parts of names, any of which may match.
//!
//! Must not: grow more syntax than `|`; C++ and Rust names are full of what other syntaxes reserve.

/// Parts of names, separated by `|`: `useragent|UserAgent|ua_parser`. Letters match in either case,
/// unless the part holds a capital letter. An empty part matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    text: String,
    exact_case: bool,
}

impl Pattern {
    /// The pattern written as `text`.
    pub fn new(text: &str) -> Pattern {
        let parts = text.split('|').filter(|part| !part.is_empty());
        let parts = parts.map(|p| Part { text: p.into(), exact_case: p.chars().any(char::is_uppercase) });
        Pattern { text: text.into(), parts: parts.collect() }
    }

    /// The pattern as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it can match nothing.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether `symbol` holds one of the parts.
    pub fn matches(&self, symbol: &str) -> bool {
        let mut lower = None;
        self.parts.iter().any(|part| match part.exact_case {
            true => symbol.contains(&part.text),
            false => lower.get_or_insert_with(|| symbol.to_lowercase()).contains(&part.text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn case_counts_only_when_a_part_has_a_capital() {
        let yes = |p: &str, s: &str| assert!(Pattern::new(p).matches(s), "{p} {s}");
        let no = |p: &str, s: &str| assert!(!Pattern::new(p).matches(s), "{p} {s}");
        yes("tcp", "TCP_send");
        yes("TCP", "TCP_send");
        no("Tcp", "TCP_send");
        yes("operator()(", "x::operator()(int)");
        no("", "anything");
        no("|", "a|b");
        yes("useragent|UserAgent|ua_parser", "org.UserAgent.parse");
        yes("useragent|UserAgent|ua_parser", "lib_USERAGENT");
        yes("useragent|UserAgent|ua_parser", "Ua_Parser::go");
        no("useragent|UserAgent|ua_parser", "parse");
        yes("|a", "b(a)");
    }
}
