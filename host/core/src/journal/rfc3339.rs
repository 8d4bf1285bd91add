//! Serializes times as RFC 3339, such as `2026-11-21T04:05:06.789Z`.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer, de, ser};

pub(super) fn serialize<S: Serializer>(moment: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    let moment = Timestamp::try_from(*moment).map_err(ser::Error::custom)?;
    to.collect_str(&moment)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(from)?;
    let moment: Timestamp = text.parse().map_err(de::Error::custom)?;
    Ok(moment.into())
}
