//! Verification of plugin files before use: file ownership, the lock file, and signatures.
//!
//! A file is read once; the verified bytes are the bytes that are loaded.

mod lock;
pub(crate) mod owner;
mod signature;
mod verdict;

use std::path::Path;

use serde::Serialize;

pub use self::{
    lock::{Lock, LockFile, LockedPlugin},
    signature::Signer,
    verdict::Verdict,
};
use crate::{
    info::{PluginInfo, PluginKind},
    source::PluginSource,
};

/// Verification that plugin files must pass. Plugins in the router's executable need none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustPolicy {
    /// The lock file with the accepted digests. If the file does not exist, every digest is
    /// accepted.
    pub lock: Option<LockFile>,
    /// Keys whose signatures are accepted.
    pub signers: Vec<Signer>,
    /// True if files without an accepted signature are refused.
    pub signatures_required: bool,
}

/// Description and verification of one plugin.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// Its name in the lock file.
    pub locked_as: String,
    /// Its description.
    #[serde(flatten)]
    pub info: PluginInfo,
    /// Result of the verification.
    #[serde(flatten)]
    pub verification: VerificationResult,
}

/// A plugin of the directory, or a bundled one.
#[derive(Clone, Debug)]
pub struct ListedPlugin {
    /// Name that providers refer to.
    pub name: String,
    /// Result of the verification; absent if the file cannot be read.
    pub verification: Option<VerificationResult>,
    /// Its description; the error says why it cannot be used.
    pub info: Result<PluginInfo, String>,
}

/// Result of the verification of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerificationResult {
    /// Verdict of the lock file.
    pub lock: Verdict,
    /// Verdict of the signature.
    pub signature: Verdict,
}

// === impl TrustPolicy ===

impl TrustPolicy {
    /// Fails, with what to do, if the file of this reference must not be used.
    pub(crate) fn enforce(&self, reference: &str, source: &PluginSource) -> Result<(), String> {
        self.verify(reference, source).refusal(reference, source).map_or(Ok(()), Err)
    }

    /// Verifies the file of this reference.
    pub(crate) fn verify(&self, reference: &str, source: &PluginSource) -> VerificationResult {
        VerificationResult { lock: self.lock(reference, source), signature: self.signature(source) }
    }

    /// The policy for inspecting a file outside the plugin directory. A component needs no
    /// verification unless the lock file contains it: it may be the user's own build, and it runs
    /// in a sandbox. A dynamic library runs unrestricted as soon as it is opened, so it needs the
    /// same verification as in a router.
    #[must_use]
    pub fn for_path(self, path: &str) -> Self {
        if PluginKind::of_path(Path::new(path)) == PluginKind::Dylib {
            return self;
        }
        let named = |place: &LockFile| {
            let name = place.name(path);
            // An unreadable lock file refuses everything.
            place.read().map_or(true, |lock| lock.is_some_and(|it| it.contains(&name)))
        };
        if self.lock.as_ref().is_some_and(named) { self } else { Self::default() }
    }

    /// Verdict of the lock file.
    fn lock(&self, reference: &str, source: &PluginSource) -> Verdict {
        match &self.lock {
            Some(file) => file.verify(reference, source),
            None => Verdict::NotChecked("is not checked, as there is no lock file".into()),
        }
    }

    /// Verdict of the signature.
    fn signature(&self, source: &PluginSource) -> Verdict {
        match source.file() {
            Some(file) => {
                signature::verify(&self.signers, self.signatures_required, file, &source.bytes)
            }
            None => Verdict::NotChecked("is part of the router's own program".into()),
        }
    }

    /// The name in the lock file for this reference.
    pub(crate) fn name(&self, reference: &str) -> String {
        match &self.lock {
            Some(place) => place.name(reference),
            None => reference.to_owned(),
        }
    }
}

// === impl VerificationResult ===

impl VerificationResult {
    /// Returns whether no check refuses the file.
    pub fn holds(&self) -> bool {
        self.refused().is_none()
    }

    fn refused(&self) -> Option<&str> {
        [&self.lock, &self.signature].into_iter().find_map(|verdict| match verdict {
            Verdict::Refused(why) => Some(why.as_str()),
            Verdict::Verified(_) | Verdict::NotChecked(_) => None,
        })
    }

    /// The reason why the file of this reference must not be used, if any.
    pub(crate) fn refusal(&self, reference: &str, source: &PluginSource) -> Option<String> {
        self.refused().map(|why| format!("plugin {}: it {why}", source.title(reference)))
    }
}

#[cfg(test)]
mod tests;
