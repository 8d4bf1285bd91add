//! Lists all containers, page by page.

use std::collections::BTreeSet;

use drowse_provider_sdk::{Error, Page, Result};

use crate::{
    api::{Call, Engine},
    model::Item,
    observe,
    settings::{Settings, TargetSettings},
};

/// Containers per page.
pub(crate) const PAGE: usize = 100;

/// Containers that depend on this one: they share its network or link to it.
pub(crate) fn dependants(engine: &Engine, id: &str) -> Result<Vec<String>> {
    let mode = format!("container:{id}");
    let mut names = BTreeSet::new();
    let mut cursor = None;
    loop {
        let items = items(engine, cursor.as_deref())?;
        for item in &items {
            if item.host_config.network_mode == mode {
                names.extend(name(item).map(str::to_owned));
            }
            if item.id == id {
                // A link adds a name: `/other/alias`.
                let linked = item
                    .names
                    .iter()
                    .filter_map(|name| name.trim_start_matches('/').split_once('/'));
                names.extend(linked.map(|(other, _)| other.to_owned()));
            }
        }
        match next(&items) {
            None => return Ok(names.into_iter().collect()),
            next => cursor = next,
        }
    }
}

/// Name of the container that has this label.
pub(crate) fn labelled(engine: &Engine, label: &str, value: &str) -> Result<Option<String>> {
    let filters = serde_json::json!({ "label": [format!("{label}={value}")] });
    let call = Call::get("/containers/json").query("all", "1").query("limit", "1");
    let answer = engine.send(&call.query("filters", filters.to_string()))?;
    if !answer.is_done() {
        return Err(answer.to_error("find a container by its label"));
    }
    let items: Vec<Item> = answer.response.json()?;
    Ok(items.first().and_then(name).map(str::to_owned))
}

/// The newest containers, or those created before the container `cursor`. The engine lists newest
/// first.
pub(crate) fn page(engine: &Engine, settings: &Settings, cursor: Option<&str>) -> Result<Page> {
    let items = items(engine, cursor)?;
    let target = TargetSettings::default();
    let rules = settings.address_rules(&target);
    let observations =
        items.iter().filter_map(|item| Some(observe::listed(name(item)?, item, rules))).collect();
    Ok(Page { observations, next: next(&items) })
}

fn items(engine: &Engine, cursor: Option<&str>) -> Result<Vec<Item>> {
    const ATTEMPT: &str = "list containers";
    let mut call = Call::get("/containers/json").query("all", "1").query("limit", PAGE.to_string());
    if let Some(id) = cursor {
        call = call.query("filters", serde_json::json!({ "before": [id] }).to_string());
    }
    let answer = engine.send(&call).map_err(|error| error.context(ATTEMPT))?;
    if !answer.is_done() {
        // Status 404 or 500, by engine and version, if the container of the cursor is gone.
        let gone = cursor.is_some() && matches!(answer.status, 404 | 500);
        let refusal = answer.to_error(ATTEMPT);
        return Err(match gone {
            true => Error::conflict(format!(
                "{}; the list changed meanwhile, start again from the first page",
                refusal.message()
            )),
            false => refusal,
        });
    }
    answer.response.json().map_err(|error| error.context(ATTEMPT))
}

/// Cursor of the next page.
fn next(items: &[Item]) -> Option<String> {
    items.last().filter(|_| items.len() >= PAGE).map(|last| last.id.clone())
}

/// The container's own name: legacy links add names like `/other/alias`.
fn name(item: &Item) -> Option<&str> {
    let names = item.names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    names.into_iter().find(|name| !name.contains('/'))
}
