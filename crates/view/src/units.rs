//! Numbers as a person reads them.

use vmatlas_event::{Bytes, MonoNs};

/// Adds a decimal number to a text. `write!` costs several times as much, and a watched program waits for it.
pub fn push_decimal(out: &mut String, n: u64) {
    out.push_str(itoa::Buffer::new().format(n));
}

/// Adds a number as `0x7f12…` to a text.
pub fn push_hex(out: &mut String, n: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // Longest: 0x and 16 digits.
    let mut text = *b"0x0000000000000000";
    let digits = (u64::BITS - n.leading_zeros()).div_ceil(4).max(1) as usize;
    let text = &mut text[..2 + digits];
    for (i, digit) in text.iter_mut().rev().take(digits).enumerate() {
        *digit = DIGITS[(n >> (4 * i) & 0xf) as usize];
    }
    out.push_str(std::str::from_utf8(text).unwrap_or_default());
}

/// Adds a size to a text, in the largest binary unit that leaves a number of at most four digits.
pub fn push_size(out: &mut String, bytes: Bytes) {
    const UNITS: [&str; 6] = [" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"];
    let Bytes(bytes) = bytes;
    if bytes < 1024 {
        push_decimal(out, bytes);
        out.push_str(" B");
        return;
    }
    let unit = (bytes.ilog2() / 10 - 1) as usize;
    let shift = 10 * (unit as u32 + 1);
    let whole = bytes.trailing_zeros() >= shift;
    let tenths = ((u128::from(bytes) * 10 + (1 << (shift - 1))) >> shift) as u64;
    // Pages are whole KiB, so those need no decimal; larger sizes show one while it says something.
    let decimal = match unit {
        0 => !whole && tenths < 1000,
        _ => tenths < 100 || !whole && tenths < 1000,
    };
    if decimal {
        push_decimal(out, tenths / 10);
        out.push('.');
        push_decimal(out, tenths % 10);
    } else {
        push_decimal(out, (tenths + 5) / 10);
    }
    out.push_str(UNITS[unit]);
}

/// A size as text: `4 KiB`, `1.5 MiB`, `1.0 GiB`.
pub fn size(bytes: Bytes) -> String {
    let mut out = String::new();
    push_size(&mut out, bytes);
    out
}

/// A count with a comma after each three digits: `65,530`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds with microseconds since a start: `0.001234`.
pub fn seconds(from: MonoNs, to: MonoNs) -> String {
    let us = to.0.saturating_sub(from.0) / 1000;
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// Reads `1GiB`, `1.5 MiB`, `64k`, `4096` (units of 1024) into bytes; `None` when it is no size.
///
/// ```
/// use vmatlas_view::units::parse_size;
/// assert_eq!(parse_size("1MiB").map(|b| b.0), Some(1 << 20));
/// assert_eq!(parse_size("1.5k").map(|b| b.0), Some(1536));
/// assert_eq!(parse_size("a lot"), None);
/// ```
pub fn parse_size(text: &str) -> Option<Bytes> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Bytes);
    }
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim().to_ascii_lowercase());
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        "e" | "eb" | "eib" => 60,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).map(Bytes);
    }
    let value = number.parse::<f64>().ok()? * (1u64 << shift) as f64;
    (value >= 0.0 && value < u64::MAX as f64).then_some(Bytes(value as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the sizes a reader meets, and the ends of the range.
    #[test]
    fn sizes_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (4096, "4 KiB"),
            (135_168, "132 KiB"),
            (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (100 << 20, "100 MiB"),
            (1 << 30, "1.0 GiB"),
            ((12 << 30) + (1 << 29), "12.5 GiB"),
            (1 << 47, "128 TiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(Bytes(bytes)), text);
        }
        let number = |push: fn(&mut String, u64), n| {
            let mut out = String::new();
            push(&mut out, n);
            out
        };
        for n in [0, 9, 10, 0xdead_beef, u64::MAX] {
            assert_eq!(number(push_decimal, n), n.to_string());
            assert_eq!(number(push_hex, n), format!("{n:#x}"));
        }
        assert_eq!(count(65_530), "65,530");
        assert_eq!(count(7), "7");
        assert_eq!(count(1_000_000), "1,000,000");
        assert_eq!(seconds(MonoNs(1_000), MonoNs(1_234_568_000)), "1.234567");
    }

    /// Checks that sizes are read with and without units, and nonsense is refused.
    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("0", 0), ("1", 1), ("1 GiB", 1 << 30), ("64K", 65536), ("0x1000", 4096)] {
            assert_eq!(parse_size(text), Some(Bytes(bytes)), "{text}");
        }
        for text in ["", "x", "1x", "-1", "99999999999999999999", "16777216T", "1.2.3"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(parse_size("16E"), None);
    }
}
