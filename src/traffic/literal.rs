//! Texts between the fields of a pattern, and what fields mostly look like: short enough to be compared as
//! one word of eight bytes.
//!
//! Must not: find a field elsewhere than a search for what ends it would.

use super::values::{HIGHS, ONES, zeros};

/// `-` and what ends it, for one field or several in a row.
pub(super) struct Absent {
    word: u64,
    mask: u64,
    /// Bytes of all of it, and how many fields it is.
    pub(super) length: usize,
    pub(super) fields: usize,
}

impl Absent {
    /// As many of the first of the fields that end with `untils` as fit in a word.
    pub(super) fn new<'a>(untils: impl Iterator<Item = &'a Literal>) -> Option<Absent> {
        let (mut text, mut fields) = (Vec::new(), 0);
        // One that begins with `-` itself would end a field that is empty.
        for until in untils.take_while(|until| until.is_word && until.first != b'-') {
            let longer = [&text[..], b"-", &until.bytes].concat();
            if longer.len() > size_of::<u64>() {
                break;
            }
            (text, fields) = (longer, fields + 1);
        }
        let length = text.len();
        let Literal { word, mask, .. } = Literal::new(text);
        (fields > 0).then_some(Absent { word, mask, length, fields })
    }

    /// Whether `text` begins so.
    #[inline]
    pub(super) fn begins(&self, text: &[u8]) -> bool {
        text.first_chunk::<8>().is_some_and(|word| (u64::from_le_bytes(*word) ^ self.word) & self.mask == 0)
    }
}

/// What the start of a text looks like whose field has the length that most texts of it have.
pub(super) struct Usual {
    pub(super) length: usize,
    /// What ends the field, so many bytes from its start.
    word: u64,
    mask: u64,
    /// The first byte of what ends it, in each byte; and the highest bits of those that are the field's own.
    each: u64,
    own: u64,
}

impl Usual {
    /// `None` where it does not fit in a word.
    pub(super) fn new(length: usize, until: &Literal) -> Option<Usual> {
        if length == 0 || !until.is_word || until.bytes.is_empty() || length + until.bytes.len() > 8 {
            return None;
        }
        let bits = 8 * u32::try_from(length).ok()?;
        let own = HIGHS & !(u64::MAX << bits);
        Some(Usual {
            length,
            word: until.word << bits,
            mask: until.mask << bits,
            each: ONES * u64::from(until.first),
            own,
        })
    }

    /// Whether the field at the start of `text` ends there, and not before.
    #[inline]
    pub(super) fn begins(&self, text: &[u8]) -> bool {
        text.first_chunk::<8>().is_some_and(|word| {
            let word = u64::from_le_bytes(*word);
            (word ^ self.word) & self.mask == 0 && zeros(word ^ self.each) & self.own == 0
        })
    }
}

/// A text between fields. Such texts are short: most are compared as one word.
#[derive(Default)]
pub(super) struct Literal {
    pub(super) bytes: Vec<u8>,
    pub(super) first: u8,
    /// Its bytes in a word, and which bytes of a word they are.
    word: u64,
    mask: u64,
    /// Whether it fits in there.
    pub(super) is_word: bool,
}

impl Literal {
    pub(super) fn new(bytes: Vec<u8>) -> Literal {
        let mut word = [0; 8];
        let Some(part) = word.get_mut(..bytes.len()) else { return Literal { bytes, ..Literal::default() } };
        part.copy_from_slice(&bytes);
        let mask = u64::MAX.checked_shr(64 - 8 * u32::try_from(bytes.len()).unwrap_or(0)).unwrap_or(0);
        Literal { first: word[0], word: u64::from_le_bytes(word), mask, is_word: true, bytes }
    }

    /// Whether `text` begins with it, of a literal that is a word; not told where `text` is no longer than one.
    #[inline]
    pub(super) fn begins_near(&self, text: &[u8]) -> bool {
        text.first_chunk::<8>().is_some_and(|word| (u64::from_le_bytes(*word) ^ self.word) & self.mask == 0)
    }

    /// Whether `text` begins with it.
    pub(super) fn begins(&self, text: &[u8]) -> bool {
        match text.first_chunk::<8>() {
            Some(word) if self.is_word => (u64::from_le_bytes(*word) ^ self.word) & self.mask == 0,
            _ => text.starts_with(&self.bytes),
        }
    }
}
