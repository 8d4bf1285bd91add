//! All guests, page by page, and again and again.

use drowse_provider_sdk::{Attribute, Observation, Page, Result, Target};

use crate::{
    answer::Resource,
    awaited::{self, Awaited},
    config::described,
    control::Control,
    guest::{self, Guest},
    observe,
    settings::{Settings, TargetSettings},
};

/// Guests of a page.
pub(crate) const PAGE: usize = 100;

/// The tag of guests whose description is read in a list, too: that is a request for each.
const MARK: &str = "tag.drowse";

/// The guests after the one of number `cursor`. Templates are no targets.
pub(crate) fn page(cursor: Option<&str>) -> Result<Page> {
    let after = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let all = guest::all().map_err(|refusal| refusal.into_error("list guests"))?;
    let mut rest = all.iter().filter(|it| it.vmid > after && !it.template);
    let page: Vec<&Resource> = rest.by_ref().take(PAGE).collect();
    let next = page.last().filter(|_| rest.next().is_some()).map(|last| last.vmid.to_string());
    let observations = page.into_iter().map(|resource| {
        let mut seen = observe::listed(resource.vmid.to_string(), resource);
        if seen.label(MARK).is_some() {
            seen.labels.extend(description(resource));
        }
        seen
    });
    Ok(Page { observations: observations.collect(), next })
}

/// The labels in a guest's description; none when it cannot be read now.
fn description(resource: &Resource) -> Vec<Attribute> {
    let config = Guest::listed(resource).and_then(|guest| guest.config().ok());
    config.map(|config| described(config.description())).unwrap_or_default()
}

/// Every guest under each handle that an operator may have written for it. Those that were started
/// and have told no address yet are asked for it.
pub(crate) fn look(settings: &Settings) -> Result<Vec<Observation>> {
    let all = guest::all().map_err(|refusal| refusal.into_error("watch guests"))?;
    let awaited = awaited::all();
    let mut seen = Vec::new();
    for resource in &all {
        let Resource { kind, node, vmid, .. } = resource;
        let mut now = observe::listed(vmid.to_string(), resource);
        let wanted = awaited.iter().find(|it| it.vmid == *vmid);
        if let Some(found) = wanted.and_then(|it| reached(settings, it)) {
            now = found;
        }
        for handle in [format!("{kind}/{vmid}"), format!("{node}/{vmid}")] {
            seen.push(Observation { handle, ..now.clone() });
        }
        seen.push(now);
    }
    Ok(seen)
}

/// What an awaited guest is now, if it can be found out.
fn reached(settings: &Settings, awaited: &Awaited) -> Option<Observation> {
    let target = Target {
        handle: awaited.vmid.to_string(),
        settings: TargetSettings { networks: awaited.networks.clone(), ..Default::default() },
        attributes: Vec::new(),
    };
    Control::find("watch", settings, &target).ok()??.status().ok()
}
