//! What a guest says of its targets, before anybody believes it: bounded, and within the border of
//! its provider.

use drowse_core::{Address, Health, Observation, Status};

use crate::{
    bindings::types,
    fault::{Fault, clean},
    scope::Tenant,
};

/// Bytes of one observation; each item of a list counts for [`ITEM`] more.
const OBSERVATION: usize = 256 << 10;
/// What an item of a list takes beside its texts.
const ITEM: usize = 64;
/// Observations of a page.
const PAGE: usize = 1000;
/// Bytes of a page.
const PAGE_BYTES: usize = 8 << 20;
/// Bytes of a page's cursor.
const CURSOR: usize = 4 << 10;
/// Where a written line is cut.
const LINE: usize = 8 << 10;

/// Where an observation comes from, for messages and for what the operator wrote.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// `status blog`
    pub(crate) doing: &'a str,
    /// What the operator wrote for the target; `{}` when the call is about none.
    pub(crate) settings: &'a str,
}

/// An observation as core's, without addresses outside the border.
pub(crate) fn observation(
    tenant: &Tenant,
    origin: Origin<'_>,
    observed: types::Observation,
) -> Result<Observation, Fault> {
    if weight(&observed) > OBSERVATION {
        return Err(Fault::Answer("an observation", OBSERVATION as u64));
    }
    let pairs = |attributes: Vec<types::Attribute>| {
        attributes.into_iter().map(|attribute| (attribute.name, attribute.value)).collect()
    };
    let within = |address: &types::Address| {
        let types::Address { host, port, .. } = address;
        match tenant.border.check(host, *port, origin.settings) {
            Ok(()) => true,
            Err(refusal) => {
                tenant.refused(origin.doing, &refusal);
                false
            }
        }
    };
    Ok(Observation {
        handle: observed.handle,
        status: status(observed.status),
        native_status: clean(&observed.native_status, 128),
        native_id: observed.native_id,
        health: health(observed.health),
        addresses: observed
            .addresses
            .into_iter()
            .filter(within)
            .map(|address| Address {
                host: address.host,
                port: address.port,
                target_port: address.target_port,
            })
            .collect(),
        labels: pairs(observed.labels),
        detail: observed.detail.map(|detail| clean(&detail, 1 << 10)),
        attributes: pairs(observed.attributes),
    })
}

/// A page as core's.
pub(crate) fn page(
    tenant: &Tenant,
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
    let observations = observations.into_iter().map(|it| observation(tenant, origin, it));
    Ok((observations.collect::<Result<_, _>>()?, next))
}

/// No more lines than were asked for, and no endless one.
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
        types::Status::Other(word) => Status::Other(clean(&word, 64)),
    }
}

fn health(health: types::Health) -> Health {
    match health {
        types::Health::None => Health::None,
        types::Health::Starting => Health::Starting,
        types::Health::Healthy => Health::Healthy,
        types::Health::Unhealthy => Health::Unhealthy,
        types::Health::Other(word) => Health::Other(clean(&word, 64)),
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

    fn judged(observed: types::Observation) -> Result<Observation, Fault> {
        let origin = Origin { doing: "status web", settings: "{}" };
        observation(&Tenant::nobody("test"), origin, observed)
    }

    fn many(count: usize) -> Vec<types::Attribute> {
        (0..count).map(|n| types::Attribute { name: n.to_string(), value: "x".into() }).collect()
    }

    #[test]
    fn more_than_any_target_has_is_a_fault() {
        assert!(judged(types::Observation { labels: many(1000), ..observed() }).is_ok());
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
            assert!(matches!(judged(bad), Err(Fault::Answer("an observation", _))));
        }
    }

    #[test]
    fn a_page_and_its_cursor_have_limits() {
        let origin = Origin { doing: "list", settings: "{}" };
        let judged = |observations, next| {
            page(&Tenant::nobody("test"), origin, types::Page { observations, next })
        };
        assert_eq!(judged(vec![observed(); 1000], Some("next".into())).unwrap().0.len(), 1000);
        assert!(judged(vec![observed(); 1001], None).is_err());
        let large = types::Observation { detail: Some("x".repeat(100 << 10)), ..observed() };
        assert!(judged(vec![large; 100], None).is_err());
        assert!(judged(Vec::new(), Some("x".repeat(5000))).is_err());
    }

    #[test]
    fn an_address_outside_the_border_is_taken_away_and_told() {
        let tenant = Tenant::nobody("test");
        let address = |host: &str| types::Address {
            host: host.into(),
            port: Some(80),
            target_port: None,
            attributes: Vec::new(),
        };
        let addresses = vec![address("169.254.169.254"), address("10.0.0.1"), address("8.8.8.8")];
        let origin = Origin { doing: "status web", settings: "{}" };
        let seen = types::Observation { addresses, ..observed() };
        let seen = observation(&tenant, origin, seen).unwrap();
        let hosts: Vec<&str> = seen.addresses.iter().map(|it| it.host.as_str()).collect();
        assert_eq!(hosts, ["10.0.0.1"]);
        let cause = tenant.health.cause().unwrap();
        assert!(cause.contains("a target at 8.8.8.8:80 is refused"), "{cause}");
    }

    #[test]
    fn lines_are_the_last_and_none_is_endless() {
        let written = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(lines(written, 2), ["8", "9"]);
        assert_eq!(lines(vec!["é".repeat(9000)], 5)[0].len(), LINE);
    }
}
