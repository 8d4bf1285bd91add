//! What must vouch for a plugin's file before anything in it is used: who may write to it, the lock
//! file, and signatures.
//!
//! A file is read once. What is looked at here are the bytes that are loaded afterwards.

mod lock;
mod owner;
mod signature;

use std::path::Path;

use serde::Serialize;

pub(crate) use self::owner::read;
pub use self::{
    lock::{Lock, LockPlace, Locked},
    signature::Signer,
};
use crate::{info::PluginInfo, load::Source};

/// Largest plugin file.
pub(crate) const FILE_BYTES: u64 = 64 << 20;

/// What must vouch for the files of plugins. What is in the router's own program needs nobody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vouchers {
    /// Where the digests are that the operator has accepted. Where there is no such file, every
    /// digest is right.
    pub lock: Option<LockPlace>,
    /// Whose signatures count.
    pub signers: Vec<Signer>,
    /// A file without a signature that counts is refused.
    pub signatures_required: bool,
}

/// What was found out about one plugin.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// The name that the lock file has for it.
    pub locked_as: String,
    /// What it is.
    #[serde(flatten)]
    pub info: PluginInfo,
    /// What the lock file says.
    pub lock: Verdict,
    /// What its signature says.
    pub signature: Verdict,
}

/// What one voucher says, in words that follow `it`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "lowercase")]
pub enum Verdict {
    /// It vouches for the file.
    Vouched(String),
    /// It has nothing to say, and need not.
    Silent(String),
    /// The file must not be used.
    Refused(String),
}

// === impl Vouchers ===

impl Vouchers {
    /// Fails with what to do when the file of this reference must not be used.
    pub(crate) fn vouch(&self, reference: &str, source: &Source) -> Result<(), String> {
        for verdict in [self.lock(reference, source), self.signature(source)] {
            if let Verdict::Refused(why) = verdict {
                return Err(format!("plugin {}: it {why}", source.title(reference)));
            }
        }
        Ok(())
    }

    /// What the lock file says of it.
    pub(crate) fn lock(&self, reference: &str, source: &Source) -> Verdict {
        match &self.lock {
            Some(place) => place.judge(reference, source),
            None => Verdict::Silent("has no lock file to be in".into()),
        }
    }

    /// What its signature says.
    pub(crate) fn signature(&self, source: &Source) -> Verdict {
        match source.file() {
            Some(file) => signature::judge(self, file, &source.bytes),
            None => Verdict::Silent("is part of the router's own program".into()),
        }
    }

    /// The name that the lock file has for this reference.
    pub(crate) fn name(&self, reference: &str) -> String {
        match &self.lock {
            Some(place) => place.name(reference),
            None => reference.to_owned(),
        }
    }
}

// === impl Verification ===

impl Verification {
    /// Whether nobody refuses it.
    pub fn holds(&self) -> bool {
        ![&self.lock, &self.signature].iter().any(|said| matches!(said, Verdict::Refused(_)))
    }
}

// === impl Source ===

impl Source {
    /// Its file; none when it is bundled.
    fn file(&self) -> Option<&Path> {
        (self.origin != Self::BUNDLED).then(|| Path::new(&self.origin))
    }

    /// For people.
    fn title<'a>(&'a self, reference: &'a str) -> &'a str {
        if self.file().is_some() { &self.origin } else { reference }
    }
}

#[cfg(test)]
mod tests;
