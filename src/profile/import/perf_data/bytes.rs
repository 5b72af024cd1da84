//! Numbers off the front of bytes of a recording.
//!
//! Must not: panic on any bytes, or allocate.

/// Bytes that are taken off the front; little endian, as the recordings that are read here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn u16(&mut self) -> Option<u16> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_le_bytes(*value))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*value))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*value))
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (value, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(value)
    }

    /// `n` numbers of 8 bytes that are passed over.
    pub(super) fn pass(&mut self, n: usize) -> Option<()> {
        self.take(n.checked_mul(8)?).map(drop)
    }

    /// A text behind its length, padded with zeros.
    pub(super) fn text(&mut self) -> Option<String> {
        let len = self.u32()?;
        let bytes = self.take(usize::try_from(len).ok()?)?;
        Some(super::super::name(until_zero(bytes)))
    }
}

/// What stands before the first zero.
pub(super) fn until_zero(bytes: &[u8]) -> &[u8] {
    memchr::memchr(0, bytes).map_or(bytes, |end| &bytes[..end])
}

/// The part of `all` that begins at `offset`; `None` when it is not in there.
pub(super) fn part(all: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let (offset, size) = (usize::try_from(offset).ok()?, usize::try_from(size).ok()?);
    all.get(offset..offset.checked_add(size)?)
}
