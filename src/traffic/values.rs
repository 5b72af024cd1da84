//! What the texts of fields are, whatever format they stand in: addresses, hosts, numbers, nothing.
//!
//! Must not: know a format; own a text.

use super::record::Mismatch;
use memchr::memchr;

/// The first of a list of addresses: whom the first proxy saw.
pub(super) fn forwarded_for(text: &[u8]) -> Option<&[u8]> {
    let first = text.split(|b| *b == b',').next().map(<[u8]>::trim_ascii).and_then(given)?;
    let first = first.strip_prefix(b"[").and_then(|v6| v6.split(|b| *b == b']').next()).unwrap_or(first);
    first.iter().all(u8::is_ascii_graphic).then_some(first)
}

/// A field's text; nginx and Apache write `-` for what was not there.
pub(super) fn given(text: &[u8]) -> Option<&[u8]> {
    (!matches!(text, b"" | b"-")).then_some(text)
}

/// One in each byte of a word.
pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each.
pub(super) const HIGHS: u64 = ONES << 7;

/// Marks the bytes of a word that are zero. The lowest byte marked is one: none below it borrows.
#[inline]
pub(super) fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Where `byte` is first in `text`. Most fields end within a vector or two of sixteen bytes, sooner than
/// a search made for long texts begins: this one is part of its caller, and of what every x86-64 has.
#[inline]
pub(super) fn near(byte: u8, text: &[u8]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if let Some(search) = memchr::arch::x86_64::sse2::memchr::One::new(byte) {
        return search.find(text);
    }
    memchr(byte, text)
}

/// Whether two short texts are the same, told without a call.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}

/// Bytes that are looked at together: as many as a vector of any x86-64 or ARM64 has.
const BLOCK: usize = 16;

/// Whether `is` holds for any byte of a text. All bytes of a block are asked, without a branch between them,
/// which the compiler makes a few vector instructions of; the last block overlaps the one before it.
#[inline]
fn any_byte(text: &[u8], is: impl Fn(u8) -> bool) -> bool {
    let Some(last) = text.last_chunk::<BLOCK>() else {
        return match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            (Some(start), Some(end)) => any_in(start, &is) | any_in(end, &is),
            _ => text.iter().any(|b| is(*b)),
        };
    };
    for block in text.as_chunks::<BLOCK>().0 {
        if any_in(block, &is) {
            return true;
        }
    }
    any_in(last, &is)
}

/// Part of its caller, always: only there does the compiler know `is`, and makes vector instructions of it.
#[inline(always)]
fn any_in<const N: usize>(block: &[u8; N], is: impl Fn(u8) -> bool) -> bool {
    block.iter().fold(false, |any, b| any | is(*b))
}

/// Whether `byte` is in `text`, which is short.
#[inline]
pub(super) fn holds(byte: u8, text: &[u8]) -> bool {
    any_byte(text, |b| b == byte)
}

/// Whether one of two bytes is in `text`, which is short.
#[inline]
pub(super) fn holds_either(a: u8, b: u8, text: &[u8]) -> bool {
    any_byte(text, |byte| byte == a || byte == b)
}

/// Whether all of `text` is visible ASCII: no space, no control character, nothing above `~`.
#[inline]
pub(super) fn is_graphic(text: &[u8]) -> bool {
    !any_byte(text, |b| !(b'!'..=b'~').contains(&b))
}

/// Whether all of `text` is visible ASCII or spaces.
#[inline]
pub(super) fn is_printable(text: &[u8]) -> bool {
    !any_byte(text, |b| !(b' '..=b'~').contains(&b))
}

/// A client's address or name; `unix:` is nginx's for a local socket.
pub(super) fn client_name(text: &[u8]) -> Result<Option<&[u8]>, Mismatch> {
    let Some(text) = given(text) else { return Ok(None) };
    let ok = !any_byte(text, |b| b == b':' || !(b'!'..=b'~').contains(&b))
        || text == b"unix:"
        || std::str::from_utf8(text).is_ok_and(|t| t.parse::<std::net::Ipv6Addr>().is_ok());
    if ok { Ok(Some(text)) } else { Err(Mismatch::Shape) }
}

/// A virtual host; its characters are checked so that a log of another shape does not match.
pub(super) fn host_name(text: &[u8]) -> Result<Option<&[u8]>, Mismatch> {
    let Some(text) = given(text) else { return Ok(None) };
    if text.iter().all(|b| b.is_ascii_alphanumeric() || b"._-:[]*".contains(b)) {
        Ok(Some(text))
    } else {
        Err(Mismatch::Shape)
    }
}

/// A whole number, or `-` for none.
pub(super) fn number(text: &[u8]) -> Result<Option<u64>, Mismatch> {
    if text == b"-" {
        return Ok(None);
    }
    if text.is_empty() || text.len() > 19 {
        return Err(Mismatch::Shape);
    }
    let mut number = 0;
    for b in text {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Mismatch::Shape);
        }
        number = number * 10 + u64::from(digit);
    }
    Ok(Some(number))
}

/// A number without a fraction; `200.0` is one.
pub(super) fn whole_number(text: &[u8]) -> Option<u64> {
    let dot = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    if text[dot..].iter().skip(1).any(|b| *b != b'0') {
        return None;
    }
    std::str::from_utf8(&text[..dot]).ok()?.parse().ok()
}

/// An address without the port behind it: `192.0.2.7:80`, `[2001:db8::7]:80`; what is no address stays
/// as it is.
pub(super) fn without_port(client: &[u8]) -> &[u8] {
    if let Some(bracketed) = client.strip_prefix(b"[") {
        return bracketed.split(|b| *b == b']').next().unwrap_or(client);
    }
    let colons = memchr::memchr_iter(b':', client).count();
    match memchr::memrchr(b':', client) {
        Some(at) if colons == 1 && client[at + 1..].iter().all(u8::is_ascii_digit) => &client[..at],
        _ => client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn looking_at_blocks_finds_what_looking_at_bytes_does(text in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x80), Just(0x81), Just(0xff), 0x1eu8..0x24, 0x7cu8..0x82, any::<u8>()], 0..40), plain in "[ -~]{0,30}", at in 0usize..30, byte in prop_oneof![Just(0u8), Just(1), Just(0x80), any::<u8>()]) {
            let mut mixed = plain.clone().into_bytes();
            mixed.splice(at.min(mixed.len()).., text.iter().take(3).copied());
            for text in [&text[..], plain.as_bytes(), &mixed] {
                prop_assert_eq!(near(byte, text), memchr(byte, text));
                prop_assert_eq!(holds(byte, text), text.contains(&byte));
                prop_assert_eq!(holds_either(byte, b'a', text), text.contains(&byte) || text.contains(&b'a'));
                prop_assert_eq!(is_graphic(text), text.iter().all(u8::is_ascii_graphic));
                prop_assert_eq!(is_printable(text), text.iter().all(|b| matches!(b, b' '..=b'~')));
            }
        }
    }

    #[test]
    fn a_port_is_taken_off_an_address_only() {
        let cases = [
            ("192.0.2.7:80", "192.0.2.7"),
            ("::1", "::1"),
            ("[::1]:80", "::1"),
            ("[::1]", "::1"),
            ("host", "host"),
            ("a:b", "a:b"),
        ];
        for (with, without) in cases {
            assert_eq!(without_port(with.as_bytes()), without.as_bytes());
        }
    }
}
