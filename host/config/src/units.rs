//! Durations and sizes with units.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// Parses `500ms`, `10m`, `1h30m`. The error says what is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let mut total = Duration::ZERO;
    let mut last = u64::MAX;
    for (number, unit) in pieces(text)? {
        let nanos: u64 = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "" => return Err(format!("{number} of what? units are ms, s, m, h and d")),
            other => return Err(format!("`{other}` is not a unit; units are ms, s, m, h and d")),
        };
        if nanos >= last {
            return Err("write larger units first and each once, such as `1h30m`".to_owned());
        }
        last = nanos;
        let part = number.checked_mul(nanos).map(Duration::from_nanos);
        total = part.and_then(|part| total.checked_add(part)).ok_or("it is too long")?;
    }
    Ok(total)
}

/// Parses `64MiB`, `16MB`, `512B` into bytes. The error says what is wrong with the text.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let pieces = pieces(text)?;
    let [(number, unit)] = pieces.as_slice() else {
        return Err("write one number with one unit, such as `64MiB`".to_owned());
    };
    let bytes: u64 = match *unit {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => return Err(format!("{number} of what? units are B, kB, KiB, MB, MiB, GB and GiB")),
        other => {
            let hint = match other.to_ascii_lowercase().as_str() {
                "k" | "kb" | "kib" => "; did you mean `KiB`?",
                "m" | "mb" | "mib" => "; did you mean `MiB`?",
                "g" | "gb" | "gib" => "; did you mean `GiB`?",
                _ => "; units are B, kB, KiB, MB, MiB, GB and GiB",
            };
            return Err(format!("`{other}` is not a unit{hint}"));
        }
    };
    number.checked_mul(bytes).ok_or_else(|| "it is too large".to_owned())
}

/// Numbers with the letters behind them.
fn pieces(text: &str) -> Result<Vec<(u64, &str)>, String> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            return Err(if rest.starts_with(['.', ',']) {
                "write whole numbers, such as `1h30m` for one and a half hours".to_owned()
            } else {
                "it must begin with a number".to_owned()
            });
        }
        let number = rest[..digits].parse().map_err(|_| "the number is too large".to_owned())?;
        rest = rest[digits..].trim_start_matches(' ');
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        pieces.push((number, &rest[..letters]));
        rest = rest[letters..].trim_start_matches(' ');
    }
    Ok(pieces)
}
