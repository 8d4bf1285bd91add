//! Lists all guests, page by page.

use drowse_provider_sdk::{Attribute, Page, Result};

use crate::{
    answer::Resource,
    config::labels_of,
    guest::{self, Guest},
    observe,
};

/// Guests per page.
pub(crate) const PAGE: usize = 100;

/// Tag of guests whose description is read for a list as well, which costs a request each.
const MARK: &str = "tag.drowse";

/// The guests after VMID `cursor`. Templates are no targets.
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

/// Labels in a guest's description; none if it cannot be read now.
fn description(resource: &Resource) -> Vec<Attribute> {
    let config = Guest::listed(resource).and_then(|guest| guest.config().ok());
    config.map(|config| labels_of(config.description())).unwrap_or_default()
}
