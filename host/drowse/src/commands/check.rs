//! `drowse check`

use std::path::PathBuf;

use drowse_config::{Config, DefaultPaths, Diagnostic, Item};
use drowse_core::Provider;
use drowse_plugins::settings::ProviderSettings;
use serde::Serialize;

use crate::{
    cli::ConfigFile,
    commands::{plugins, runtime},
    compatibility,
    error::Error,
    grants, locate, logging,
    output::{Output, Tone},
};

/// The result of a check.
#[derive(Debug, Serialize)]
struct Report {
    /// The checked configuration.
    configuration: PathBuf,
    /// There are no errors; there may be warnings.
    ok: bool,
    errors: Vec<Finding>,
    /// Valid settings that look wrong on this machine now.
    warnings: Vec<Finding>,
    /// Memory limit of the calls of all providers, in bytes; absent if the configuration is invalid.
    plugin_memory: Option<u64>,
    #[serde(skip)]
    summary: String,
}

#[derive(Debug, Serialize)]
struct Finding {
    file: PathBuf,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    #[serde(skip)]
    text: String,
}

pub(crate) fn check(named: &ConfigFile, output: &Output) -> Result<(), Error> {
    let path = locate::config(named)?;
    let report = examine(path)?;
    output.answer(&report, |output| report.text(output))?;
    if report.ok { Ok(()) } else { Err(Error::printed()) }
}

fn examine(path: PathBuf) -> Result<Report, Error> {
    let mut report = Report {
        configuration: path,
        ok: false,
        errors: Vec::new(),
        warnings: Vec::new(),
        plugin_memory: None,
        summary: String::new(),
    };
    let config = match Config::load(&report.configuration, &DefaultPaths::of_this_user()) {
        Ok(config) => config,
        Err(diagnostics) => {
            report.errors = diagnostics.into_iter().map(Finding::from).collect();
            return Ok(report);
        }
    };
    if let Some(flaw) = logging::flaw(&config.log) {
        report.errors.push(config.diagnostic(&Item::Log, flaw).into());
    }
    if let Err(error) = drowse_proxy::check_theme(&config.waiting) {
        report.errors.push(config.diagnostic(&Item::Waiting, error.to_string()).into());
    }
    if config.listeners.is_empty() {
        let message = "there is no listener, so nothing is served; define one as [[listener]]";
        let file = report.configuration.clone();
        report
            .errors
            .push(Diagnostic { file, position: None, message: message.into(), quote: None }.into());
    }
    report.warnings.extend(config.warnings().into_iter().map(Finding::from));
    report.plugin_memory = Some(config.plugin_limits.memory);
    check_plugins(&config, &mut report)?;
    report.ok = report.errors.is_empty();
    let count = |number: usize, word: &str| {
        format!("{number} {word}{}", if number == 1 { "" } else { "s" })
    };
    report.summary = format!(
        "{}, {}, {}, {}, {} MiB of memory for all calls of providers",
        count(config.listeners.len(), "listener"),
        count(config.providers.len(), "provider"),
        count(config.workloads.len(), "workload"),
        count(config.routes.len(), "route"),
        config.plugin_limits.memory >> 20
    );
    Ok(report)
}

/// Loads the plugin of each provider, lets it check its settings, and compares its requirements with the
/// grants, and the needs of its workloads with its abilities.
fn check_plugins(config: &Config, report: &mut Report) -> Result<(), Error> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let plugins = plugins(config.paths(), runtime.handle())?;
        for settings in &config.providers {
            let item = Item::Provider(settings.name.clone());
            let plugin = Item::Plugin(settings.name.clone());
            let mut error =
                |item: &Item, message| report.errors.push(config.diagnostic(item, message).into());
            let info = match plugins.inspect(&settings.plugin).await {
                Ok(info) => info,
                Err(cause) => {
                    error(&plugin, cause);
                    continue;
                }
            };
            let state = plugins.provider(settings.clone()).await.state();
            if !state.usable {
                let cause = state.cause.unwrap_or_else(|| "its plugin cannot be used".to_owned());
                error(&plugin, cause);
            }
            grants::missing(&info, settings).into_iter().for_each(|it| error(&item, it));
            for workload in config.workloads.iter().filter(|it| it.provider == settings.name) {
                let item = Item::Workload(workload.name.clone());
                for flaw in compatibility::flaws(&info, settings, workload) {
                    report.errors.push(config.diagnostic(&item, flaw).into());
                }
                if let Some(warning) = compatibility::warning(&info, &config.pools, workload) {
                    report.warnings.push(config.diagnostic(&item, warning).into());
                }
            }
            let memory = memory_warning(config, settings).map(|warning| (item, warning));
            for (item, warning) in grants::warnings(&info, settings).into_iter().chain(memory) {
                report.warnings.push(config.diagnostic(&item, warning).into());
            }
        }
        plugins.shutdown().await;
        Ok(())
    })
}

/// A warning if a call may use more memory than its provider can get of the memory for all calls.
fn memory_warning(config: &Config, settings: &ProviderSettings) -> Option<String> {
    let half = config.plugin_limits.memory / 2;
    let most = half + half / (config.providers.len() as u64).max(1);
    let memory = settings.limits.memory;
    (memory > most).then(|| {
        format!(
            "`limits.memory`: one call may take {} MiB, and the provider gets {} MiB at most of the \
             memory for all calls; raise `memory` in [plugin-limits], or lower this one",
            memory >> 20,
            most >> 20
        )
    })
}

// === impl Report ===

impl Report {
    fn text(&self, output: &Output) -> String {
        let mut text = String::new();
        for (word, tone, findings) in
            [("error", Tone::Bad, &self.errors), ("warning", Tone::Busy, &self.warnings)]
        {
            for finding in findings {
                text.push_str(&format!("{}: {}\n\n", output.paint(word, tone), finding.text));
            }
        }
        let path = self.configuration.display();
        text.push_str(&match self.errors.len() {
            0 => format!("{path}: {}, {}", self.summary, output.paint("no errors", Tone::Good)),
            1 => format!("{path}: 1 error"),
            many => format!("{path}: {many} errors"),
        });
        text
    }
}

// === impl Finding ===

impl From<Diagnostic> for Finding {
    fn from(error: Diagnostic) -> Self {
        Self {
            text: error.to_string(),
            line: error.position.map(|position| position.line),
            column: error.position.map(|position| position.column),
            file: error.file,
            message: error.message,
        }
    }
}
