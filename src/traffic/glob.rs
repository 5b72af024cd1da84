//! Patterns of paths and hosts as people write them, `/users/{}/orders/**`, made matchers.
//!
//! Must not: backtrack: a pattern comes from the user, the text from a log.

use regex::bytes::{Regex, RegexBuilder};

/// Longest pattern, bytes.
const MAX_PATTERN_BYTES: usize = 1000;

/// What a compiled expression may take, bytes. `regex` refuses what needs more.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// What `{}` in a pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Braces {
    /// One segment, whatever it is: in a pattern that names a route.
    Segment,
    /// Itself: in a pattern that is compared with names of routes.
    Themselves,
}

/// A pattern of a path: `*` is any text within a segment, `**` any text (a `/**` at the end also
/// nothing at all), all else itself.
///
/// # Errors
/// Why it is no pattern, in a few words.
pub(super) fn path_glob(pattern: &str, braces: Braces) -> Result<Regex, String> {
    let mut source = String::from("^");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let (piece, used) = if rest == "/**" {
            ("(?:/.*)?", 3)
        } else if rest.starts_with("**") {
            (".*", 2)
        } else if c == '*' {
            ("[^/]*", 1)
        } else if braces == Braces::Segment && rest.starts_with("{}") {
            ("[^/]+", 2)
        } else {
            let used = c.len_utf8();
            source.push_str(&regex::escape(&rest[..used]));
            rest = &rest[used..];
            continue;
        };
        source.push_str(piece);
        rest = &rest[used..];
    }
    source.push('$');
    compile(pattern, &source, false)
}

/// A pattern of a host, in any case: `*` is any text.
///
/// # Errors
/// As [`path_glob`].
pub(super) fn host_glob(pattern: &str) -> Result<Regex, String> {
    let pieces: Vec<String> = pattern.split('*').map(regex::escape).collect();
    compile(pattern, &format!("^{}$", pieces.join(".*")), true)
}

/// A regular expression as the user gave it, found anywhere in the text.
///
/// # Errors
/// As [`path_glob`].
pub(super) fn expression(pattern: &str) -> Result<Regex, String> {
    compile(pattern, pattern, false)
}

fn compile(pattern: &str, source: &str, any_case: bool) -> Result<Regex, String> {
    if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("a pattern has 1 to {MAX_PATTERN_BYTES} bytes"));
    }
    // Texts are bytes of ASCII or percent-encoded: without Unicode classes `.` and `\w` are cheap.
    RegexBuilder::new(source)
        .unicode(!pattern.is_ascii())
        .case_insensitive(any_case)
        .dot_matches_new_line(true)
        .size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => "the pattern needs too much memory; make it shorter".to_owned(),
            // The last line says what is wrong; those before it draw where.
            e => e.to_string().lines().last().unwrap_or("no regular expression").trim().replace("error: ", ""),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_in_their_segment_and_double_stars_do_not() {
        let is = |pattern: &str, path: &str| path_glob(pattern, Braces::Segment).unwrap().is_match(path.as_bytes());
        assert!(is("/users/{}/orders/**", "/users/17/orders/9/items"));
        assert!(is("/users/{}/orders/**", "/users/17/orders"));
        assert!(is("/users/{}/orders/**", "/users/17/orders/"));
        assert!(!is("/users/{}/orders/**", "/users/17/ordersx"));
        assert!(!is("/users/{}/orders/**", "/users//orders"));
        assert!(!is("/users/{}", "/users/1/2"));
        assert!(
            is("/img/*.png", "/img/a.b.png") && !is("/img/*.png", "/img/x/a.png") && !is("/img/*.png", "/img/apng")
        );
        assert!(is("/a/**/z", "/a/b/c/z") && is("**", "/anything"));
        assert!(!is("/v1.0/x", "/v1x0/x"));
    }

    #[test]
    fn braces_can_stand_for_themselves() {
        let is = |name: &str| path_glob("/product/{}", Braces::Themselves).unwrap().is_match(name.as_bytes());
        assert!(is("/product/{}") && !is("/product/list"));
    }

    #[test]
    fn hosts_match_in_any_case_and_expressions_anywhere() {
        let host = host_glob("*.Shop.example").unwrap();
        assert!(
            host.is_match(b"www.shop.EXAMPLE") && !host.is_match(b"shop.example") && !host.is_match(b"a.shopxexample")
        );
        assert!(expression(r"\.(png|jpg)(\?|$)").unwrap().is_match(b"/a/b.png?v=1"));
    }

    #[test]
    fn what_is_no_expression_says_so_in_one_line() {
        for wrong in ["(", "[a", "a{99999}{99999}", ""] {
            let why = expression(wrong).unwrap_err();
            assert!(!why.is_empty() && !why.contains('\n'), "{why}");
        }
    }
}
