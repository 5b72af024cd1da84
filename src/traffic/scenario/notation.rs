//! Small notations of scenario files: times (`50ms`), sizes (`64KiB`), rates (`50/s`), and
//! calls (`zipf(1.1)`).
//!
//! Must not: know which key a notation stands under.

/// Longest time that may be written, ns: a day.
const MAX_TIME_NS: f64 = 86_400e9;

/// `50us`, `50ms`, `1.5s`, `2m`, `1h` as ns; at most a day.
pub(super) fn time_ns(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no time; write one like 50ms, 2s, 1m");
    let text_ = text.trim();
    let digits = text_.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text_.len());
    let unit = match &text_[digits..] {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        "" if text_ == "0" => 0.0,
        _ => return Err(wrong()),
    };
    let n: f64 = text_[..digits].parse().map_err(|_| wrong())?;
    if n * unit > MAX_TIME_NS {
        return Err(format!("'{text}' is longer than a day"));
    }
    Ok((n * unit).round() as u64)
}

/// `50/s`, `3000/m`, `100000/h` as a number per second, above 0 and at most 10 000 000.
pub(super) fn rate_per_s(text: &str) -> Result<f64, String> {
    let wrong = || format!("'{text}' is no rate; write one like 50/s or 3000/min");
    let (n, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "s" | "sec" | "second" => 1.0,
        "m" | "min" | "minute" => 60.0,
        "h" | "hour" => 3600.0,
        _ => return Err(wrong()),
    };
    let n: f64 = n.trim().replace('_', "").parse().map_err(|_| wrong())?;
    let per_s = n / seconds;
    if per_s > 0.0 && per_s <= 1e7 {
        Ok(per_s)
    } else {
        Err(format!("'{text}': give a rate above 0, at most 10000000/s"))
    }
}

/// `500`, `64KiB`, `1MiB` (also `64K`, `1M`) as bytes.
pub(super) fn size_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no size; write one like 64KiB or 1MiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[digits..].trim() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(wrong()),
    };
    let n: u64 = text[..digits].parse().map_err(|_| wrong())?;
    n.checked_mul(1 << shift).ok_or_else(wrong)
}

/// `name(a, b)` as its name and its arguments; a bare `name` has none.
pub(super) fn call(text: &str) -> Option<(&str, Vec<&str>)> {
    let text = text.trim();
    let Some((name, rest)) = text.split_once('(') else {
        return Some((text, Vec::new()));
    };
    let inner = rest.strip_suffix(')')?;
    if inner.contains(['(', ')']) {
        return None;
    }
    Some((name.trim(), inner.split(',').map(str::trim).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn notations_read_as_written_and_nothing_else_does() {
        assert_eq!(time_ns("50ms"), Ok(50_000_000));
        assert_eq!(time_ns("1.5s"), Ok(1_500_000_000));
        assert_eq!(time_ns("0"), Ok(0));
        assert_eq!(rate_per_s("3000/min"), Ok(50.0));
        assert_eq!(size_bytes("64KiB"), Ok(65_536));
        assert_eq!(call("uniform(50ms, 1s)"), Some(("uniform", vec!["50ms", "1s"])));
        assert_eq!(call(" per user "), Some(("per user", vec![])));
        for wrong in ["", "5", "ms", "-1s", "1..2s", "25h", "1e99s", "5 parsecs"] {
            assert!(time_ns(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "5", "0/s", "-1/s", "nan/s", "5/d", "inf/s", "99999999/s"] {
            assert!(rate_per_s(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "x", "1TB", "99999999999999999999", "99999999999999GiB"] {
            assert!(size_bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(call("zipf(1.1"), None);
        assert_eq!(call("a(b(c))"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = (time_ns(&text), rate_per_s(&text), size_bytes(&text), call(&text));
        }
    }
}
