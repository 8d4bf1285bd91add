//! Validation of a guest's observations: size limits, and the address policy of its provider.

use drowse_core::{Address, Health, Observation, Status};

use crate::{bindings::types, context::ProviderContext, fault::Fault, text::sanitize};

/// Maximum bytes of one observation, counting [`ITEM`] more per list item.
const OBSERVATION: usize = 256 << 10;
/// Bytes counted per list item, in addition to its texts.
const ITEM: usize = 64;
/// Maximum observations of a page.
const PAGE: usize = 1000;
/// Maximum bytes of a page.
const PAGE_BYTES: usize = 8 << 20;
/// Maximum bytes of a page's cursor.
const CURSOR: usize = 4 << 10;
/// Maximum bytes of a handle, a native id or an attribute; longer ones are truncated.
const WORD: usize = 256;
/// Maximum bytes of a log line; longer ones are truncated.
const LINE: usize = 8 << 10;

/// The call that an observation comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// `status blog`
    pub(crate) operation: &'a str,
    /// The target's settings. Absent where nothing depends on the addresses, as in a hint of
    /// `watch`; then refused addresses are dropped without a warning.
    pub(crate) settings: Option<&'a str>,
}

/// Converts an observation, dropping addresses that the policy refuses.
pub(crate) fn observation(
    context: &ProviderContext,
    origin: Origin<'_>,
    observed: types::Observation,
) -> Result<Observation, Fault> {
    if weight(&observed) > OBSERVATION {
        return Err(Fault::Answer("an observation", OBSERVATION as u64));
    }
    let labels = observed.labels.into_iter().map(|label| (label.name, label.value));
    let attributes = observed.attributes.into_iter();
    let attributes = attributes.map(|it| (sanitize(&it.name, WORD), sanitize(&it.value, WORD)));
    let allowed = |address: &types::Address| {
        let types::Address { host, port, .. } = address;
        let validated = context.address_policy.check(host, *port, origin.settings.unwrap_or("{}"));
        if let (Err(refusal), Some(_)) = (&validated, origin.settings) {
            context.refused(origin.operation, refusal);
        }
        validated.is_ok()
    };
    Ok(Observation {
        handle: sanitize(&observed.handle, WORD),
        status: status(observed.status),
        native_status: sanitize(&observed.native_status, 128),
        native_id: observed.native_id.map(|id| sanitize(&id, WORD)),
        health: health(observed.health),
        addresses: observed
            .addresses
            .into_iter()
            .filter(allowed)
            .map(|address| Address {
                host: address.host,
                port: address.port,
                target_port: address.target_port,
            })
            .collect(),
        labels: labels.collect(),
        detail: observed.detail.map(|detail| sanitize(&detail, 1 << 10)),
        attributes: attributes.collect(),
    })
}

/// Converts a page.
pub(crate) fn page(
    context: &ProviderContext,
    origin: Origin<'_>,
    page: types::Page,
) -> Result<(Vec<Observation>, Option<String>), Fault> {
    let types::Page { observations, next } = page;
    let bytes: usize = observations.iter().map(weight).sum();
    if observations.len() > PAGE || bytes > PAGE_BYTES {
        return Err(Fault::Answer("a page", PAGE_BYTES as u64));
    }
    if next.as_ref().is_some_and(|next| next.len() > CURSOR) {
        return Err(Fault::Answer("a cursor", CURSOR as u64));
    }
    let observations = observations.into_iter().map(|it| observation(context, origin, it));
    Ok((observations.collect::<Result<_, _>>()?, next))
}

/// The last `wanted` lines, each truncated to [`LINE`] bytes.
pub(crate) fn lines(lines: Vec<String>, wanted: u32) -> Vec<String> {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let skip = lines.len().saturating_sub(wanted);
    let cut = |mut line: String| {
        line.truncate(line.floor_char_boundary(LINE));
        line
    };
    lines.into_iter().skip(skip).map(cut).collect()
}

fn weight(observed: &types::Observation) -> usize {
    let pairs = |attributes: &[types::Attribute]| -> usize {
        attributes.iter().map(|it| ITEM + it.name.len() + it.value.len()).sum()
    };
    let addresses: usize =
        observed.addresses.iter().map(|it| ITEM + it.host.len() + pairs(&it.attributes)).sum();
    let words = match (&observed.status, &observed.health) {
        (types::Status::Other(status), types::Health::Other(health)) => status.len() + health.len(),
        (types::Status::Other(word), _) | (_, types::Health::Other(word)) => word.len(),
        _ => 0,
    };
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    observed.handle.len()
        + observed.native_status.len()
        + optional(&observed.native_id)
        + optional(&observed.detail)
        + words
        + addresses
        + pairs(&observed.labels)
        + pairs(&observed.attributes)
}

fn status(status: types::Status) -> Status {
    match status {
        types::Status::Running => Status::Running,
        types::Status::Starting => Status::Starting,
        types::Status::Paused => Status::Paused,
        types::Status::Stopping => Status::Stopping,
        types::Status::Stopped => Status::Stopped,
        types::Status::Failed => Status::Failed,
        types::Status::Missing => Status::Missing,
        types::Status::Other(word) => Status::Other(sanitize(&word, 64)),
    }
}

fn health(health: types::Health) -> Health {
    match health {
        types::Health::None => Health::None,
        types::Health::Starting => Health::Starting,
        types::Health::Healthy => Health::Healthy,
        types::Health::Unhealthy => Health::Unhealthy,
        types::Health::Other(word) => Health::Other(sanitize(&word, 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed() -> types::Observation {
        types::Observation {
            handle: "web".into(),
            status: types::Status::Running,
            native_status: "up".into(),
            native_id: None,
            health: types::Health::None,
            addresses: Vec::new(),
            labels: Vec::new(),
            detail: None,
            attributes: Vec::new(),
        }
    }

    fn validated(observed: types::Observation) -> Result<Observation, Fault> {
        let origin = Origin { operation: "status web", settings: Some("{}") };
        observation(&ProviderContext::without_grants("test"), origin, observed)
    }

    fn many(count: usize) -> Vec<types::Attribute> {
        (0..count).map(|n| types::Attribute { name: n.to_string(), value: "x".into() }).collect()
    }

    #[test]
    fn an_observation_above_the_limit_is_a_fault() {
        assert!(validated(types::Observation { labels: many(1000), ..observed() }).is_ok());
        let address = |host: &str| types::Address {
            host: host.into(),
            port: None,
            target_port: None,
            attributes: Vec::new(),
        };
        let long = "x".repeat(OBSERVATION + 1);
        for bad in [
            types::Observation { labels: many(5000), ..observed() },
            types::Observation { attributes: many(5000), ..observed() },
            types::Observation { addresses: vec![address("10.0.0.1"); 5000], ..observed() },
            types::Observation { handle: long.clone(), ..observed() },
            types::Observation { native_status: long.clone(), ..observed() },
            types::Observation { native_id: Some(long.clone()), ..observed() },
            types::Observation { detail: Some(long.clone()), ..observed() },
            types::Observation { status: types::Status::Other(long.clone()), ..observed() },
            types::Observation { health: types::Health::Other(long.clone()), ..observed() },
        ] {
            assert!(matches!(validated(bad), Err(Fault::Answer("an observation", _))));
        }
    }

    #[test]
    fn a_page_and_its_cursor_have_limits() {
        let origin = Origin { operation: "list", settings: None };
        let validated = |observations, next| {
            page(
                &ProviderContext::without_grants("test"),
                origin,
                types::Page { observations, next },
            )
        };
        assert_eq!(validated(vec![observed(); 1000], Some("next".into())).unwrap().0.len(), 1000);
        assert!(validated(vec![observed(); 1001], None).is_err());
        let large = types::Observation { detail: Some("x".repeat(100 << 10)), ..observed() };
        assert!(validated(vec![large; 100], None).is_err());
        assert!(validated(Vec::new(), Some("x".repeat(5000))).is_err());
    }

    #[test]
    fn an_address_that_the_policy_refuses_is_dropped_and_reported() {
        let context = ProviderContext::without_grants("test");
        let address = |host: &str| types::Address {
            host: host.into(),
            port: Some(80),
            target_port: None,
            attributes: Vec::new(),
        };
        let addresses = vec![address("169.254.169.254"), address("10.0.0.1"), address("8.8.8.8")];
        let origin = Origin { operation: "status web", settings: Some("{}") };
        let seen = types::Observation { addresses, ..observed() };
        let seen = observation(&context, origin, seen).unwrap();
        let hosts: Vec<&str> = seen.addresses.iter().map(|it| it.host.as_str()).collect();
        assert_eq!(hosts, ["10.0.0.1"]);
        let cause = context.health.cause().unwrap();
        assert!(cause.contains("a target at 8.8.8.8:80 is refused"), "{cause}");
    }

    #[test]
    fn texts_of_an_observation_are_truncated_and_sanitized() {
        let long = format!("\u{1b}[31m{}", "x".repeat(50 << 10));
        let attribute = types::Attribute { name: "image".into(), value: long.clone() };
        let seen = validated(types::Observation {
            handle: long.clone(),
            native_id: Some(long),
            attributes: vec![attribute],
            ..observed()
        })
        .unwrap();
        let image = &seen.attributes["image"];
        for word in [&seen.handle, seen.native_id.as_ref().unwrap(), image] {
            assert!(word.starts_with("\\u{1b}[31mx"), "{}", &word[..20]);
            assert!(word.len() <= WORD + "…".len(), "{}", word.len());
        }
        let usual = types::Observation { native_id: Some("4f5e".repeat(16)), ..observed() };
        assert_eq!(validated(usual).unwrap().native_id, Some("4f5e".repeat(16)));
    }

    #[test]
    fn a_refused_address_in_a_hint_is_dropped_without_a_warning() {
        let context = ProviderContext::without_grants("test");
        let address = types::Address {
            host: "box.lan".into(),
            port: Some(80),
            target_port: None,
            attributes: Vec::new(),
        };
        let seen = || types::Observation { addresses: vec![address.clone()], ..observed() };
        let hint = Origin { operation: "watch", settings: None };
        assert!(observation(&context, hint, seen()).unwrap().addresses.is_empty());
        assert_eq!(context.health.cause(), None);
        let named = Origin { operation: "status web", settings: Some("{\"address\":\"box.lan\"}") };
        assert_eq!(observation(&context, named, seen()).unwrap().addresses.len(), 1);
    }

    #[test]
    fn the_last_lines_are_kept_and_truncated() {
        let written = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(lines(written, 2), ["8", "9"]);
        assert_eq!(lines(vec!["é".repeat(9000)], 5)[0].len(), LINE);
    }
}
