//! What the texts of fields are, whatever format they stand in: addresses, hosts, numbers, nothing.
//!
//! Must not: know a format; own a text.

use super::record::Mismatch;
use memchr::{memchr, memchr2};

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

/// Where the first of two bytes (which may be the same) is in `text`. Most fields end within two words
/// of eight bytes, sooner than a search made for long texts begins.
pub(super) fn near(a: u8, b: u8, text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The lowest byte marked is the first that is zero: none below it borrows.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let (words, _) = text.as_chunks::<8>();
    let mut at = 0;
    for word in words.iter().take(2) {
        let word = u64::from_le_bytes(*word);
        let marks = zeros(word ^ (ONES * u64::from(a))) | zeros(word ^ (ONES * u64::from(b)));
        if marks != 0 {
            return Some(at + (marks.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = &text[at..];
    if a == b { memchr(a, rest) } else { memchr2(a, b, rest) }.map(|i| at + i)
}

/// A client's address or name; `unix:` is nginx's for a local socket.
pub(super) fn client_name(text: &[u8]) -> Result<Option<&[u8]>, Mismatch> {
    let Some(text) = given(text) else { return Ok(None) };
    let (graphic, colon) = text.iter().fold((true, false), |(g, c), b| (g & b.is_ascii_graphic(), c | (*b == b':')));
    let ok = if colon {
        text == b"unix:" || std::str::from_utf8(text).is_ok_and(|t| t.parse::<std::net::Ipv6Addr>().is_ok())
    } else {
        graphic
    };
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
        fn a_near_byte_is_found_where_memchr_finds_it(text in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x80), Just(0x81), Just(0xff), any::<u8>()], 0..40), a in prop_oneof![Just(0u8), Just(1), Just(0x80), any::<u8>()], b in prop_oneof![Just(0u8), Just(0x81), any::<u8>()]) {
            prop_assert_eq!(near(a, b, &text), memchr2(a, b, &text));
            prop_assert_eq!(near(a, a, &text), memchr(a, &text));
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
