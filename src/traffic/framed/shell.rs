//! A shell command line to words (POSIX.1 section 2.2, and bash's `$'...'`), without expanding
//! anything: no variable, no pattern, no command.
//!
//! Must not: run or look up anything.

/// What [`command`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Words, and how many bytes the command takes with what ends it.
    Words(Vec<Vec<u8>>, usize),
    /// It goes on behind the text.
    Unfinished,
}

/// The first command of `text`. It ends at a newline, at `;`, `&` or `|` outside quotes, or at the
/// end; behind a `|` the rest of the line belongs to it. Redirections are passed over.
pub(super) fn command(text: &[u8], at_end: bool) -> Command {
    let mut s = Splitter { text, at: 0, word: None, words: Vec::new(), drop_next: false };
    match s.split() {
        Some(End::Whole) => Command::Words(s.words, s.at),
        Some(End::Text) if at_end => Command::Words(s.words, s.at),
        _ => Command::Unfinished,
    }
}

enum End {
    /// Something ended it.
    Whole,
    /// The text ended outside quotes.
    Text,
}

struct Splitter<'a> {
    text: &'a [u8],
    at: usize,
    /// The word being read; an empty quotation is a word.
    word: Option<Vec<u8>>,
    words: Vec<Vec<u8>>,
    /// The next word is the file of a redirection.
    drop_next: bool,
}

impl Splitter<'_> {
    fn split(&mut self) -> Option<End> {
        loop {
            let Some(byte) = self.text.get(self.at) else {
                self.end_word();
                return Some(End::Text);
            };
            self.at += 1;
            match byte {
                b' ' | b'\t' | b'\r' => self.end_word(),
                b'\n' | b';' => {
                    self.end_word();
                    return Some(End::Whole);
                }
                b'&' | b'|' => {
                    self.end_word();
                    if *byte == b'&' {
                        self.at += usize::from(self.text.get(self.at) == Some(&b'&'));
                        return Some(End::Whole);
                    }
                    let rest = &self.text[self.at..];
                    let newline = memchr::memchr(b'\n', rest);
                    self.at += newline.unwrap_or(rest.len());
                    return Some(if newline.is_some() { End::Whole } else { End::Text });
                }
                b'>' | b'<' => {
                    // `2>` names a descriptor.
                    if self.word.as_ref().is_some_and(|w| w.iter().all(u8::is_ascii_digit)) {
                        self.word = None;
                    }
                    self.end_word();
                    self.at += self.text[self.at..].iter().take_while(|b| b"><&".contains(b)).count();
                    self.drop_next = true;
                }
                b'#' if self.word.is_none() => {
                    self.at += self.text[self.at..].iter().take_while(|b| **b != b'\n').count();
                }
                b'\\' => match self.text.get(self.at) {
                    Some(b'\n') => self.at += 1,
                    Some(b'\r') if self.text.get(self.at + 1) == Some(&b'\n') => self.at += 2,
                    Some(next) => {
                        let next = *next;
                        self.push(next);
                        self.at += 1;
                    }
                    None => {}
                },
                b'\'' => {
                    let end = self.at + memchr::memchr(b'\'', &self.text[self.at..])?;
                    let quoted = &self.text[self.at..end];
                    self.word.get_or_insert_default().extend_from_slice(quoted);
                    self.at = end + 1;
                }
                b'"' => self.double()?,
                b'$' if self.text.get(self.at) == Some(&b'\'') => {
                    self.at += 1;
                    self.ansi()?;
                }
                other => self.push(*other),
            }
        }
    }

    fn push(&mut self, byte: u8) {
        self.word.get_or_insert_default().push(byte);
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.drop_next)
        {
            self.words.push(word);
        }
    }

    /// Between double quotes a backslash protects only `$`, backquote, `"`, itself and a newline.
    fn double(&mut self) -> Option<()> {
        self.word.get_or_insert_default();
        loop {
            let byte = *self.text.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                b'\\' => {
                    let next = *self.text.get(self.at)?;
                    match next {
                        b'\n' => {}
                        b'$' | b'`' | b'"' | b'\\' => self.push(next),
                        _ => {
                            self.push(b'\\');
                            self.push(next);
                        }
                    }
                    self.at += 1;
                }
                other => self.push(other),
            }
        }
    }

    /// Behind `$'`: the escapes of C (bash(1), QUOTING).
    fn ansi(&mut self) -> Option<()> {
        self.word.get_or_insert_default();
        loop {
            let byte = *self.text.get(self.at)?;
            self.at += 1;
            if byte == b'\'' {
                return Some(());
            }
            if byte != b'\\' {
                self.push(byte);
                continue;
            }
            let escape = *self.text.get(self.at)?;
            self.at += 1;
            let simple = match escape {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'a' => 7,
                b'b' => 8,
                b'v' => 11,
                b'f' => 12,
                b'e' | b'E' => 27,
                b'\\' | b'\'' | b'"' | b'?' => escape,
                b'x' => {
                    let byte = self.digits(2, 16)?;
                    self.push(byte.to_le_bytes()[0]);
                    continue;
                }
                b'u' | b'U' => {
                    let code = self.digits(if escape == b'u' { 4 } else { 8 }, 16)?;
                    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    self.word.get_or_insert_default().extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
                b'0'..=b'7' => {
                    self.at -= 1;
                    let byte = self.digits(3, 8)?;
                    self.push(byte.to_le_bytes()[0]);
                    continue;
                }
                other => {
                    self.push(b'\\');
                    other
                }
            };
            self.push(simple);
        }
    }

    /// Up to `most` digits; `None` when the text ends with them.
    fn digits(&mut self, most: usize, radix: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..most {
            let Some(digit) = char::from(*self.text.get(self.at)?).to_digit(radix) else { break };
            value = value.wrapping_mul(radix).wrapping_add(digit);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        match command(text.as_bytes(), true) {
            Command::Words(words, _) => words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect(),
            Command::Unfinished => vec!["UNFINISHED".into()],
        }
    }

    #[test]
    fn words_are_those_of_a_shell() {
        assert_eq!(
            words("curl  -H 'A: b c' \"x$y\\\"z\\n\" a\\ b ''"),
            ["curl", "-H", "A: b c", "x$y\"z\\n", "a b", ""]
        );
        assert_eq!(words("a 'b'c\"d\"e \\\n f"), ["a", "bcde", "f"]);
        assert_eq!(words(r#"$'a\'b\n\x41\u00e9\101\0z\q' $x"#), ["a'b\nAéA\0z\\q", "$x"]);
        assert_eq!(words("curl http://h/#f # comment\nnext"), ["curl", "http://h/#f"]);
        assert_eq!(words("curl x -o y 2>/dev/null >> z w | jq ."), ["curl", "x", "-o", "y", "w"]);
        assert_eq!(words("curl 'multi\nline' x\ny"), ["curl", "multi\nline", "x"]);
        for open in ["'a", "\"a", "\"a\\", "$'a", "$'\\x4", "a 'b"] {
            assert_eq!(words(open), ["UNFINISHED"], "{open}");
        }
    }

    #[test]
    fn a_command_ends_where_a_shell_ends_it() {
        let used = |text: &str, at_end| match command(text.as_bytes(), at_end) {
            Command::Words(_, n) => Some(n),
            Command::Unfinished => None,
        };
        assert_eq!(used("a b\nc", false), Some(4));
        assert_eq!(used("a;b", false), Some(2));
        assert_eq!(used("a b", false), None);
        assert_eq!(used("a b\\\n", false), None);
        assert_eq!(used("a b", true), Some(3));
    }

    proptest! {
        #[test]
        fn any_text_is_split_or_not(text in prop::collection::vec(prop_oneof![Just(b'\''), Just(b'"'), Just(b'\\'), Just(b'$'), any::<u8>()], 0..60), at_end: bool) {
            if let Command::Words(_, n) = command(&text, at_end) {
                prop_assert!(n <= text.len() && (n > 0 || text.is_empty()));
            }
        }
    }
}
