//! Durations in settings.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// A duration in settings: `"500ms"`, `"2s"`, `"1h30m"`, in the format of the router's
/// configuration. Crates such as `humantime` and `jiff` also accept units and notations that the
/// configuration refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

// === impl Span ===

impl Span {
    /// A duration in seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut milliseconds: u64 = 0;
        let mut units = UNITS.iter();
        while !rest.is_empty() {
            let letters = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest[..letters].parse().ok()?;
            rest = &rest[letters..];
            let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            // Larger units come first, each at most once.
            let (_, unit) = units.find(|(name, _)| *name == &rest[..end])?;
            milliseconds = milliseconds.checked_add(number.checked_mul(*unit)?)?;
            rest = &rest[end..];
        }
        (!text.is_empty()).then_some(Self(Duration::from_millis(milliseconds)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a duration such as \"2s\" or \"1h30m\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "minLength": 2,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_format_of_the_configuration() {
        let read = |text: &str| serde_json::from_value::<Span>(text.into());
        assert_eq!(read("500ms").unwrap().0, Duration::from_millis(500));
        assert_eq!(read("1h30m").unwrap(), Span::seconds(5400));
        assert_eq!(read("2d").unwrap(), Span::seconds(2 * 86_400));
        for wrong in ["", "2", "s", "2 s", "1m1h", "1s1s", "1.5s", "-1s", "99999999999999999999s"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("a duration such as \"2s\""), "{wrong:?}: {error}");
        }
    }
}
