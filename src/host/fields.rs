//! Bytes of kernel files cut into lines, words and numbers, without allocation.
//!
//! Must not: know any file, or panic on any bytes.

/// The lines of a file, without their ends.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty())
}

/// The words of a line: what stands between blanks.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty())
}

/// A word as an unsigned decimal number that fits 64 bits.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |n, b| {
        let digit = char::from(*b).to_digit(10)?;
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A word as a decimal number with or without a minus.
pub(super) fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(digits) => 0i64.checked_sub_unsigned(number(digits)?),
        None => i64::try_from(number(word)?).ok(),
    }
}

/// A word as a hexadecimal number that fits 64 bits.
pub(super) fn hex(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 16 {
        return None;
    }
    word.iter().try_fold(0u64, |n, b| Some((n << 4) | u64::from(char::from(*b).to_digit(16)?)))
}

/// The number in the first word after `key` (which holds its own colon, if any) on the line
/// that begins with it, as `/proc/PID/status` and `/proc/stat` have them.
pub(super) fn keyed(bytes: &[u8], key: &[u8]) -> Option<u64> {
    let rest = lines(bytes).find_map(|l| l.strip_prefix(key))?;
    number(words(rest).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_or_refused_and_never_wrap() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!((number(b""), number(b"1x"), number(b"-1")), (None, None, None));
        assert_eq!((signed(b"-1"), signed(b"-9223372036854775808")), (Some(-1), Some(i64::MIN)));
        assert_eq!((signed(b"-9223372036854775809"), signed(b"--1"), signed(b"-")), (None, None, None));
        assert_eq!((hex(b"0000ff"), hex(b"ffffffffffffffff")), (Some(255), Some(u64::MAX)));
        assert_eq!((hex(b"fffffffffffffffff"), hex(b"g")), (None, None));
        assert_eq!(keyed(b"a 1\nctxt 77 x\n", b"ctxt "), Some(77));
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_without_panic(bytes: Vec<u8>) {
            for line in lines(&bytes) {
                for w in words(line) {
                    let _ = (number(w), signed(w), hex(w));
                }
            }
        }

        #[test]
        fn what_is_printed_is_read_back(n: u64, i: i64) {
            prop_assert_eq!(number(n.to_string().as_bytes()), Some(n));
            prop_assert_eq!(signed(i.to_string().as_bytes()), Some(i));
            prop_assert_eq!(hex(format!("{n:x}").as_bytes()), Some(n));
        }
    }
}
