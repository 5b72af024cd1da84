//! Text from outside (URLs, headers, symbols, process names) made safe to show.
//!
//! Must not: know where the text goes; HTML and SVG escape on their own besides.

/// `text` with every control character (C0, DEL, C1, bidirectional overrides) replaced by
/// `·`, cut to at most `max_chars` characters (the last one `…` when something was cut).
pub fn clean(text: &str, max_chars: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max_chars * 4));
    let mut chars = text.chars();
    for n in 0.. {
        let Some(c) = chars.next() else { break };
        if n + 1 >= max_chars && chars.clone().next().is_some() {
            out.push('…');
            break;
        }
        out.push(if is_obeyed(c) { '·' } else { c });
    }
    out
}

/// Whether a terminal obeys `c` rather than shows it: C0, DEL, C1, and what turns text around
/// or hides in it.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn escape_sequences_do_not_survive_and_length_is_bounded() {
        assert_eq!(clean("a\x1b[2Jb\u{9b}c\u{202e}", 99), "a·[2Jb·c·");
        assert_eq!(clean("abcdef", 4), "abc…");
        assert_eq!(clean("abcd", 4), "abcd");
    }
}
