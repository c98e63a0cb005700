//! Durations and sizes as people write them: `"30s"`, `"1.5m"`, `"250ms"`, `"64MiB"`, `"10kB"`.

use std::fmt;
use std::time::Duration;

/// Why a duration or size could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// There is no number at the start.
    NoNumber,
    /// The unit is none of those known.
    UnknownUnit,
    /// The amount is beyond what can be held, or negative.
    OutOfRange,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnitError::NoNumber => "no number before the unit",
            UnitError::UnknownUnit => "unknown unit",
            UnitError::OutOfRange => "out of range",
        })
    }
}

impl std::error::Error for UnitError {}

/// Reads a duration: a number and `ms`, `s`, `m`, `h` or `d`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ms" => 1e-3,
        "" | "s" | "sec" | "secs" => 1.0,
        "m" | "min" | "mins" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(UnitError::UnknownUnit),
    };
    // Whole microseconds, so that "0.1s" is 100 ms and not a neighbour of it.
    let micros = (number * seconds * 1e6).round();
    if micros > u64::MAX as f64 { Err(UnitError::OutOfRange) } else { Ok(Duration::from_micros(micros as u64)) }
}

/// Reads a size in bytes: a number and `B`, `kB`, `MB`, `GB` (powers of 1000), `KiB`, `MiB`, `GiB` (powers of 1024), in any
/// case; a bare number is bytes.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(UnitError::UnknownUnit),
    };
    let bytes = (number * factor as f64).round();
    if bytes > (1u64 << 53) as f64 { Err(UnitError::OutOfRange) } else { Ok(bytes as u64) }
}

fn split(text: &str) -> Result<(f64, &str), UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.replace('_', "").parse().map_err(|_| UnitError::NoNumber)?;
    Ok((number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in
            [("30s", 30_000), ("250ms", 250), ("0.1s", 100), ("2m", 120_000), ("1 h", 3_600_000), ("5", 5_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("s"), Err(UnitError::NoNumber));
        assert_eq!(parse_duration("3 fortnights"), Err(UnitError::UnknownUnit));
        assert_eq!(parse_duration("-3s"), Err(UnitError::NoNumber));
        assert_eq!(parse_duration("99999999999999999999d"), Err(UnitError::OutOfRange));
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("1kB", 1000), ("1.5 KiB", 1536), ("42", 42), ("1_000", 1000), ("2gib", 2 << 30)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_bytes("MiB"), Err(UnitError::NoNumber));
        assert_eq!(parse_bytes("3 bytes or so"), Err(UnitError::UnknownUnit));
    }
}
