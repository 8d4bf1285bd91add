//! `drowse check`.

use std::path::Path;

use anyhow::{Result, bail};
use drowse_config::{Config, Item, Mistake, Places};
use drowse_core::Provider as _;
use drowse_plugins::{PluginInfo, Plugins, settings::ProviderSettings};
use serde_json::json;

use crate::{home, output};

pub(crate) fn run(named: Option<&Path>, json: bool) -> Result<()> {
    let path = home::config_path(named)?;
    let (mistakes, config) = match Config::load(&path, &Places::of_this_user()) {
        Err(mistakes) => (mistakes.iter().cloned().collect(), None),
        Ok(config) => {
            let runtime = home::runtime()?;
            let plugins = home::plugins(&config, &runtime)?;
            (runtime.block_on(check(&config, &plugins)), Some(config))
        }
    };
    if json {
        output::json(&json!({ "ok": mistakes.is_empty(), "mistakes": shown(&mistakes) }))?;
    } else {
        for mistake in &mistakes {
            println!("{mistake}\n");
        }
    }
    match (mistakes.len(), config) {
        (0, Some(config)) if !json => println!(
            "{} is fine: {} listeners, {} providers, {} workloads, {} routes",
            path.display(),
            config.listeners.len(),
            config.providers.len(),
            config.workloads.len(),
            config.routes.len()
        ),
        (0, _) => {}
        (1, _) => bail!("1 mistake in {}", path.display()),
        (count, _) => bail!("{count} mistakes in {}", path.display()),
    }
    Ok(())
}

/// What is wrong with the plugins and their grants.
async fn check(config: &Config, plugins: &Plugins) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for settings in &config.providers {
        let item = Item::Provider(settings.name.clone());
        let provider = plugins.provider(settings.clone()).await;
        let state = provider.state();
        if !state.usable {
            let cause = state.cause.unwrap_or_else(|| "it is not usable".into());
            mistakes.push(config.mistake(&item, cause));
        } else if let Ok(info) = plugins.inspect(&settings.plugin).await {
            let missing = ungranted(settings, &info);
            mistakes.extend(missing.into_iter().map(|text| config.mistake(&item, text)));
        }
    }
    plugins.shutdown().await;
    mistakes
}

/// The endpoints that a plugin needs and was not granted.
fn ungranted(settings: &ProviderSettings, info: &PluginInfo) -> Vec<String> {
    let needed = info.endpoints.iter().filter(|wish| {
        !wish.optional && !settings.endpoints.contains_key(&wish.name)
    });
    needed
        .map(|wish| {
            let url = wish.suggested_url.as_deref().unwrap_or("https://host:port");
            format!(
                "plugin {:?} needs endpoint {:?} ({}), which is not granted: add \
                 endpoint.{} = {{ url = {url:?} }}",
                settings.plugin, wish.name, wish.purpose, wish.name
            )
        })
        .collect()
}

fn shown(mistakes: &[Mistake]) -> Vec<serde_json::Value> {
    let row = |mistake: &Mistake| {
        json!({
            "file": mistake.file.display().to_string(),
            "line": mistake.position.as_ref().map(|position| position.line),
            "column": mistake.position.as_ref().map(|position| position.column),
            "message": mistake.message,
        })
    };
    mistakes.iter().map(row).collect()
}
