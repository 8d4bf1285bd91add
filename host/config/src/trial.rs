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
    provider::{self, ProviderTable},
    read::{Named, Nested, Reader},
    schema::{Table as _, table},
    values::{Abilities, CommandInside, Count, DurationText, Flag, Json, Program, Text},
};

table! {
    /// A provider, as in the router's configuration, and a target of it to test on.
    pub(crate) struct TrialRoot("The file", secret) {
        /// The provider: one, with the grants of the plugin under test.
        provider: Named<ProviderTable>, required;
        /// The target to test on.
        test: Nested<TestTable>, required;
    }
}

table! {
    /// A target that may be started and stopped at will, and its properties.
    pub(crate) struct TestTable("[test]", secret) {
        /// Its handle.
        target: Text, required;
        /// Its settings for the provider.
        settings: Json = "{}", secret;
        /// A valid handle of a target that does not exist.
        unknown: Text, otherwise "a made-up name";
        /// The settings of that target.
        unknown_settings: Json, otherwise "those of the target", secret;
        /// Time for the platform to carry out an operation and to report it.
        timeout: DurationText = "\"1m\"";
        /// The grace time of stops.
        grace: DurationText = "\"10s\"";
        /// The provider reports addresses of the running target.
        addresses: Flag = "true";
        /// A command to run inside the target.
        exec: CommandInside, otherwise "no command is run";
        /// The exit status of `exec`.
        exec_status: Count, otherwise "0";
        /// A program with its arguments that stops or kills the running target without the provider:
        /// `watch` must report it.
        disturb: Program, otherwise "no disturbance";
        /// Abilities of the plugin that these settings or grants leave out.
        without: Abilities = "[]";
        /// The target may be recreated.
        may_recreate: Flag = "false";
        /// The target may be removed at the end.
        may_remove: Flag = "false";
        /// A removed target leaves its data.
        keep_data: Flag = "false";
    }
}

/// The content of such a file.
#[derive(Debug)]
pub struct TrialFile {
    /// The provider. Its plugin is the one that the command line names.
    pub provider: ProviderSettings,
    /// The target to test on.
    pub trial: TestTarget,
    /// A program with its arguments that changes the target without the provider.
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
        let (mut r, entries, broken) = open(vec![(path, text)], TrialRoot::SCHEMA);
        let root: TrialRoot = r.root(&entries);
        let mut draft = ConfigDraft::default();
        provider::read(&mut r, root.provider.value.unwrap_or_default(), &mut draft);
        if draft.providers.len() > 1 {
            let message = "one plugin is tested at a time: keep one [provider.NAME]";
            r.report(root.provider.mark.span, message);
        }
        let tested = root.test.value.and_then(|table| table.trial(&mut r));
        close(r, &broken)?;
        let provider = draft.providers.into_values().find_map(|(provider, _)| provider);
        provider
            .zip(tested)
            .map(|(provider, (trial, disturb))| Self { provider, trial, disturb })
            .ok_or_else(|| {
                let message = "there is no provider in it; write one as [provider.NAME]".to_owned();
                Diagnostic { file, position: None, message, quote: None }.into()
            })
    }
}

// === impl TestTable ===

impl TestTable {
    /// The test, and the program that disturbs it.
    fn trial(self, r: &mut Reader) -> Option<(TestTarget, Option<Vec<String>>)> {
        if self.exec_status.mark.written && !self.exec.mark.written {
            let message = "`exec-status` has no meaning without `exec`";
            r.report(self.exec_status.mark.span, message);
        }
        let status = i32::try_from(self.exec_status.value?.unwrap_or(0)).ok()?;
        let settings = self.settings.value?.to_string();
        let unknown_settings = self.unknown_settings.value?;
        let unknown = Target {
            handle: self.unknown.value?.unwrap_or_else(|| UNKNOWN.to_owned()),
            settings: unknown_settings.map_or_else(|| settings.clone(), |own| own.to_string()),
        };
        let trial = TestTarget {
            target: Target { handle: self.target.value?, settings },
            unknown,
            patience: self.timeout.value?,
            grace: self.grace.value?,
            addresses: self.addresses.value?,
            exec: self.exec.value?.map(|command| (command, status)),
            without: self.without.value?,
            may_recreate: self.may_recreate.value?,
            may_remove: self.may_remove.value?,
            keep_data: self.keep_data.value?,
        };
        Some((trial, self.disturb.value?))
    }
}
