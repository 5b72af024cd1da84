//! Times in the notation of strftime(3), as Apache's `%{...}t` writes them, in one piece or several
//! (`%{%d/%b/%Y:%T}t.%{msec_frac}t %{%z}t`).
//!
//! Must not: know the time zone of this machine: a time without one is UTC.

use super::time::Stamp;
use jiff::Zoned;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::Offset;

/// What stands between the pieces where they are put together: no log has it in a time.
const BETWEEN: char = '\u{1f}';

/// Reads a time that lies in one or more fields of a line.
pub(super) struct PiecedTime {
    format: String,
    text: String,
}

impl PiecedTime {
    /// Of the formats of the pieces, in their order. The error says what is wrong with them.
    pub(super) fn compile(pieces: &[String]) -> Result<PiecedTime, String> {
        let format = pieces.join(&BETWEEN.to_string());
        let mut made = PiecedTime { format, text: String::new() };
        // Tried on an instant: a notation that cannot be read back is refused now, not at each line.
        let sample = BrokenDownTime::from(&Zoned::default()).to_string(&made.format);
        made.text = sample.map_err(|e| format!("the time format {}: {e}", pieces.join(" ")))?;
        match made.end() {
            Some(at) if at.unix_ns == 0 => Ok(made),
            _ => Err(format!("the time format {} does not tell date and time", pieces.join(" "))),
        }
    }

    /// Forgets the last line's pieces.
    pub(super) fn begin(&mut self) {
        self.text.clear();
    }

    /// Takes the next piece.
    pub(super) fn add(&mut self, piece: &[u8]) {
        if !self.text.is_empty() {
            self.text.push(BETWEEN);
        }
        self.text.push_str(std::str::from_utf8(piece).unwrap_or("?"));
    }

    /// The time that the pieces make; `None` when they make none.
    pub(super) fn end(&self) -> Option<Stamp> {
        let parts = BrokenDownTime::parse(&self.format, &self.text).ok()?;
        let at = match parts.timestamp() {
            Some(at) => at,
            // A date alone would be read as its midnight.
            None if parts.hour().is_none() => return None,
            None => parts.offset().unwrap_or(Offset::UTC).to_timestamp(parts.to_datetime().ok()?).ok()?,
        };
        let unix_ns = i64::try_from(at.as_nanosecond()).ok()?;
        Some(Stamp { unix_ns, whole_second: parts.subsec_nanosecond().is_none_or(|ns| ns == 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(formats: &[&str], pieces: &[&str]) -> Option<i64> {
        let formats: Vec<String> = formats.iter().map(|f| (*f).to_owned()).collect();
        let mut time = PiecedTime::compile(&formats).unwrap();
        time.begin();
        pieces.iter().for_each(|p| time.add(p.as_bytes()));
        time.end().map(|t| t.unix_ns / 1_000_000_000)
    }

    #[test]
    fn one_piece_or_several_make_a_time() {
        // date -u -d '2015-05-17 08:05:32' +%s
        assert_eq!(read(&["%Y-%m-%d %H:%M:%S"], &["2015-05-17 08:05:32"]), Some(1_431_849_932));
        assert_eq!(read(&["%d/%b/%Y:%T", "%z"], &["17/May/2015:10:05:32", "+0200"]), Some(1_431_849_932));
        assert_eq!(read(&["%s"], &["1431849932"]), Some(1_431_849_932));
        assert_eq!(read(&["%F %T"], &["2015-05-17 08:05"]), None);
        assert_eq!(read(&["%F %T"], &[]), None);
    }

    #[test]
    fn what_tells_no_instant_is_refused_at_once() {
        for format in ["%H:%M", "%Y-%m-%d", "%Q%Q", "plain", "%Z"] {
            assert!(PiecedTime::compile(&[format.to_owned()]).is_err(), "{format}");
        }
    }
}
