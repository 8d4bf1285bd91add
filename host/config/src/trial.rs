//! A file for `drowse plugin test`: a provider with its grants, and a target to test on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use drowse_conformance::{TestTarget, UNKNOWN};
use drowse_core::Target;
use drowse_plugins::settings::ProviderSettings;

use crate::{
    config::{ConfigDraft, close, open},
    diagnostic::{Diagnostic, Diagnostics},
    keys::trial::TRIAL,
    provider,
    read::{Reader, Section},
    values::{ABILITIES, ARGUMENTS, COMMAND_INSIDE, COUNT, DURATION, FLAG, JSON, TEXT},
};

/// What such a file says.
#[derive(Debug)]
pub struct TrialFile {
    /// The provider. Its plugin is the one that the command line names.
    pub provider: ProviderSettings,
    /// The target to test on.
    pub trial: TestTarget,
    /// A program with its arguments that changes the target behind the provider's back.
    pub disturb: Option<Vec<String>>,
}

// === impl TrialFile ===

impl TrialFile {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, Diagnostics> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path.to_owned(), text),
            Err(error) => {
                let message = format!("the file of grants cannot be read: {error}");
                Err(Diagnostic { file: path.to_owned(), position: None, message, quote: None }
                    .into())
            }
        }
    }

    /// Reads a text as if it were the file of this name.
    pub fn parse(path: PathBuf, text: String) -> Result<Self, Diagnostics> {
        let file = path.clone();
        let (mut r, entries, broken) = open(vec![(path, text)]);
        let top = r.root(&entries, &TRIAL);
        let mut found = ConfigDraft::default();
        provider::read(&mut r, &top, &mut found);
        if found.providers.len() > 1 {
            let message = "one plugin is tested at a time: keep one [provider.NAME]";
            r.report(top.span_of("provider"), message);
        }
        let tested = top.has("test").then(|| top.table(&mut r, "test")).flatten();
        let tested = tested.and_then(|section| test(&mut r, &section));
        close(r, &broken)?;
        let provider = found.providers.into_values().find_map(|(provider, _)| provider);
        provider
            .zip(tested)
            .map(|(provider, (trial, disturb))| Self { provider, trial, disturb })
            .ok_or_else(|| {
                let message = "there is no provider in it; write one as [provider.NAME]".to_owned();
                Diagnostic { file, position: None, message, quote: None }.into()
            })
    }
}

fn test(r: &mut Reader, section: &Section<'_>) -> Option<(TestTarget, Option<Vec<String>>)> {
    let target = section.get(r, "target", &TEXT);
    let settings = section.get(r, "settings", &JSON);
    let unknown = section.find(r, "unknown", &TEXT);
    let unknown_settings = section.find(r, "unknown-settings", &JSON);
    let patience = section.get(r, "timeout", &DURATION);
    let grace = section.get(r, "grace", &DURATION);
    let addresses = section.get(r, "addresses", &FLAG);
    let exec = section.find(r, "exec", &COMMAND_INSIDE);
    let exec_status = section.find(r, "exec-status", &COUNT);
    let disturb = section.find(r, "disturb", &ARGUMENTS);
    let without = section.get(r, "without", &ABILITIES);
    let may_recreate = section.get(r, "may-recreate", &FLAG);
    let may_remove = section.get(r, "may-remove", &FLAG);
    let keep_data = section.get(r, "keep-data", &FLAG);
    if section.has("exec-status") && !section.has("exec") {
        let message = "`exec-status` has no meaning without `exec`";
        r.report(section.span_of("exec-status"), message);
    }
    let status = i32::try_from(exec_status?.unwrap_or(0)).ok()?;
    let settings = settings?.to_string();
    let unknown = Target {
        handle: unknown?.unwrap_or_else(|| UNKNOWN.to_owned()),
        settings: unknown_settings?.map_or_else(|| settings.clone(), |own| own.to_string()),
    };
    let trial = TestTarget {
        target: Target { handle: target?, settings },
        unknown,
        patience: patience?,
        grace: grace?,
        addresses: addresses?,
        exec: exec?.map(|command| (command, status)),
        without: without?,
        may_recreate: may_recreate?,
        may_remove: may_remove?,
        keep_data: keep_data?,
    };
    Some((trial, disturb?))
}
