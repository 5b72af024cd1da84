//! What a variable can be: the numbers of a range, the texts of a list, the rows of a CSV file.
//! A value is held as its index and spelled only when it is written.
//!
//! Must not: choose a value.

use super::super::error::{TrafficError, shown_path};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

/// Longest CSV file, bytes: it is held in memory.
const MAX_CSV_BYTES: u64 = 256 << 20;
/// Longest file of a request's body, bytes.
pub(super) const MAX_BODY_BYTES: u64 = 16 << 20;

/// What a variable can be.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Numbers one apart, or parts of a power of ten apart.
    Range(Numbers),
    /// Texts.
    List(Box<[Box<str>]>),
    /// Rows, and the column that `{{name}}` alone stands for.
    Csv { rows: Arc<Rows>, column: Option<u16> },
}

/// The numbers of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Numbers {
    /// The first one, times 10^`decimals`.
    pub(super) low: i64,
    /// How many there are.
    pub(super) size: u64,
    /// Digits behind the point, at most 9.
    pub(super) decimals: u8,
    /// Digits before the point at the least, filled with zeros; at most 20.
    pub(super) digits: u8,
}

impl Source {
    /// How many values there are; at least 1.
    pub(super) fn size(&self) -> u64 {
        match self {
            Source::Range(numbers) => numbers.size,
            Source::List(list) => list.len() as u64,
            Source::Csv { rows, .. } => rows.len() as u64,
        }
    }

    /// The text of a value; of one of its columns if it has several.
    pub(super) fn spell<'s>(&'s self, index: u64, column: Option<u16>, digits: &'s mut Digits) -> &'s str {
        match self {
            Source::Range(numbers) => digits.spell(numbers, index),
            Source::List(list) => usize::try_from(index).ok().and_then(|i| list.get(i)).map_or("", |s| s),
            Source::Csv { rows, column: own } => rows.field(index, column.or(*own).unwrap_or(0)),
        }
    }
}

/// A number spelled without a heap.
pub(super) struct Digits([u8; 48]);

impl Default for Digits {
    fn default() -> Digits {
        Digits([b'0'; 48])
    }
}

impl Digits {
    /// A plain number.
    pub(super) fn number(&mut self, n: u64) -> &str {
        let mut itoa = itoa::Buffer::new();
        let text = itoa.format(n);
        self.0[..text.len()].copy_from_slice(text.as_bytes());
        std::str::from_utf8(&self.0[..text.len()]).unwrap_or("")
    }

    /// A UUID of version 4 from 128 random bits (RFC 9562 section 5.4).
    pub(super) fn uuid(&mut self, random: u128) -> &str {
        let version = 0x4 << 76;
        let variant = 0x2 << 62;
        let bits = random & !(0xf << 76) & !(0x3 << 62) | version | variant;
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut end = 0;
        for (n, byte) in bits.to_be_bytes().into_iter().enumerate() {
            if matches!(n, 4 | 6 | 8 | 10) {
                self.0[end] = b'-';
                end += 1;
            }
            self.0[end] = HEX[usize::from(byte >> 4)];
            self.0[end + 1] = HEX[usize::from(byte & 0xf)];
            end += 2;
        }
        std::str::from_utf8(&self.0[..end]).unwrap_or("")
    }

    fn spell(&mut self, numbers: &Numbers, index: u64) -> &str {
        let value = i128::from(numbers.low) + i128::from(index);
        let mut itoa = itoa::Buffer::new();
        let plain = itoa.format(i64::try_from(value).unwrap_or(i64::MAX));
        let (sign, plain) = plain.strip_prefix('-').map_or(("", plain), |rest| ("-", rest));
        let decimals = usize::from(numbers.decimals);
        let (whole, fraction) = plain.split_at(plain.len().saturating_sub(decimals));
        let mut end = 0;
        let mut put = |text: &str, zeros: usize| {
            self.0[end..end + zeros].fill(b'0');
            self.0[end + zeros..end + zeros + text.len()].copy_from_slice(text.as_bytes());
            end += zeros + text.len();
        };
        put(sign, 0);
        put(whole, usize::from(numbers.digits.max(1)).saturating_sub(whole.len()));
        if decimals > 0 {
            put(".", 0);
            put(fraction, decimals - fraction.len());
        }
        // At most a sign, 20 digits, a point and 9 digits, all ASCII.
        std::str::from_utf8(&self.0[..end]).unwrap_or("")
    }
}

/// The rows of a CSV file in one piece of memory.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<Box<str>>,
    text: String,
    /// Where each field ends in `text`, row by row.
    ends: Vec<u32>,
}

impl Rows {
    /// Reads a CSV file (RFC 4180) whose first line names the columns.
    pub(super) fn open(path: &Path, separator: u8) -> Result<Rows, TrafficError> {
        let bytes = read(path, MAX_CSV_BYTES)?;
        Rows::parse(&bytes, separator).map_err(|why| TrafficError::Unreadable { path: shown_path(path), why })
    }

    /// The same of a file's bytes.
    pub(super) fn parse(bytes: &[u8], separator: u8) -> Result<Rows, String> {
        let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(bytes);
        let why = |e: csv::Error| match e.kind() {
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let line = pos.as_ref().map_or(0, csv::Position::line);
                format!("line {line} has {len} fields, the first line {expected_len}")
            }
            csv::ErrorKind::Utf8 { pos, .. } => {
                format!("line {} is not UTF-8", pos.as_ref().map_or(0, csv::Position::line))
            }
            _ => e.to_string(),
        };
        let columns: Vec<Box<str>> = reader.headers().map_err(why)?.iter().map(|c| c.trim().into()).collect();
        if columns.is_empty() || columns.len() > 10_000 {
            return Err("its first line names no columns, or more than 10000".into());
        }
        let mut rows = Rows { columns, text: String::new(), ends: Vec::new() };
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(why)? {
            for field in &record {
                rows.text.push_str(field);
                rows.ends.push(u32::try_from(rows.text.len()).map_err(|_| "it is too long".to_owned())?);
            }
        }
        if rows.ends.is_empty() {
            return Err("it has no row below the line that names the columns".into());
        }
        Ok(rows)
    }

    /// Names of the columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|c| &**c)
    }

    /// The number of a column.
    pub(super) fn column(&self, name: &str) -> Option<u16> {
        self.columns().position(|c| c == name).and_then(|n| u16::try_from(n).ok())
    }

    /// How many rows.
    pub(super) fn len(&self) -> usize {
        self.ends.len() / self.columns.len().max(1)
    }

    fn field(&self, row: u64, column: u16) -> &str {
        let n = usize::try_from(row).unwrap_or(usize::MAX).saturating_mul(self.columns.len());
        let n = n.saturating_add(usize::from(column));
        let Some(end) = self.ends.get(n) else { return "" };
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        &self.text[start as usize..*end as usize]
    }
}

/// All of a file, at most `most` bytes of it.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, TrafficError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| TrafficError::from_io(path, &e))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| TrafficError::from_io(path, &e))?;
    if bytes.len() as u64 > most {
        let why = format!("it is longer than {} MiB", most >> 20);
        return Err(TrafficError::Unreadable { path: shown_path(path), why });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_with_the_digits_asked_for() {
        for (low, index, decimals, digits, text) in [
            (1, 41, 0, 0, "42"),
            (1, 41, 0, 8, "00000042"),
            (-5, 0, 0, 3, "-005"),
            (0, 5, 2, 0, "0.05"),
            (-150, 0, 2, 0, "-1.50"),
            (99, 12_345, 2, 4, "0124.44"),
            (i64::MIN, 0, 9, 20, "-00000000009223372036.854775808"),
            (i64::MIN, u64::MAX, 0, 0, "9223372036854775807"),
        ] {
            let source = Source::Range(Numbers { low, size: u64::MAX, decimals, digits });
            assert_eq!(source.spell(index, None, &mut Digits::default()), text);
        }
    }

    #[test]
    fn a_uuid_says_its_version_and_variant() {
        assert_eq!(Digits::default().uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(Digits::default().uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(Digits::default().number(u64::MAX), "18446744073709551615");
    }

    #[test]
    fn rows_are_read_as_spreadsheets_write_them() {
        let file = "\u{feff}user, pass ,note\r\nann,\"a,b\",\"said \"\"hi\"\"\"\r\nbob,x,\r\n";
        let rows = Rows::parse(file.as_bytes(), b',').unwrap();
        assert_eq!(rows.columns().collect::<Vec<_>>(), ["user", "pass", "note"]);
        assert_eq!((rows.len(), rows.column("pass")), (2, Some(1)));
        let field = |r, c| rows.field(r, c);
        assert_eq!([field(0, 0), field(0, 1), field(0, 2), field(1, 2)], ["ann", "a,b", "said \"hi\"", ""]);
        assert_eq!((field(2, 0), field(u64::MAX, 9)), ("", ""));
        for (wrong, why) in [("", "no columns"), ("a,b\n", "no row"), ("a,b\n1\n", "line 2 has 1 fields")] {
            let e = Rows::parse(wrong.as_bytes(), b',').unwrap_err();
            assert!(e.contains(why), "{wrong:?}: {e}");
        }
        assert!(Rows::parse(b"a\n\xff\n", b',').unwrap_err().contains("UTF-8"));
    }
}
