//! What must vouch for a plugin's file before anything in it is used: who may write to it, the lock
//! file, and signatures.
//!
//! A file is read once. What is looked at here are the bytes that are loaded afterwards.

mod lock;
mod owner;
mod signature;

use std::path::Path;

use serde::Serialize;

pub(crate) use self::owner::{read, way};
pub use self::{
    lock::{Lock, LockPlace, Locked},
    signature::Signer,
};
use crate::{
    info::{Kind, PluginInfo},
    load::Source,
};

/// Largest plugin file.
pub(crate) const FILE_BYTES: u64 = 64 << 20;

/// What must vouch for the files of plugins. What is in the router's own program needs nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Who vouches for it.
    #[serde(flatten)]
    pub said: Said,
}

/// A plugin of the directory or the box.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What providers call it.
    pub name: String,
    /// Who vouches for its file; absent when that cannot be read.
    pub said: Option<Said>,
    /// What it is; the error says why it cannot be used.
    pub info: Result<PluginInfo, String>,
}

/// What is said of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// By the lock file.
    pub lock: Verdict,
    /// By its signature.
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
        self.say(reference, source).refusal(reference, source).map_or(Ok(()), Err)
    }

    /// What is said of the file of this reference.
    pub(crate) fn say(&self, reference: &str, source: &Source) -> Said {
        Said { lock: self.lock(reference, source), signature: self.signature(source) }
    }

    /// Those of a file outside the directory of plugins that somebody looks at. For a component they
    /// are none, unless the lock file has it: it may be one's own, fresh from the compiler, and it
    /// runs in a sandbox. A dynamic library runs with all rights as soon as it is opened, so for one
    /// they are those of a router.
    #[must_use]
    pub fn of_path(self, path: &str) -> Self {
        if Kind::of_path(Path::new(path)) == Kind::Dylib {
            return self;
        }
        let named = |place: &LockPlace| {
            let name = place.name(path);
            // One that cannot be read refuses everything.
            place.read().map_or(true, |lock| lock.is_some_and(|it| it.holds(&name)))
        };
        if self.lock.as_ref().is_some_and(named) { self } else { Self::default() }
    }

    /// What the lock file says of it.
    fn lock(&self, reference: &str, source: &Source) -> Verdict {
        match &self.lock {
            Some(place) => place.judge(reference, source),
            None => Verdict::Silent("has no lock file to be in".into()),
        }
    }

    /// What its signature says.
    fn signature(&self, source: &Source) -> Verdict {
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

// === impl Said ===

impl Said {
    /// Whether nobody refuses it.
    pub fn holds(&self) -> bool {
        self.refused().is_none()
    }

    fn refused(&self) -> Option<&str> {
        [&self.lock, &self.signature].into_iter().find_map(|verdict| match verdict {
            Verdict::Refused(why) => Some(why.as_str()),
            Verdict::Vouched(_) | Verdict::Silent(_) => None,
        })
    }

    /// Why the file of this reference must not be used, if so.
    pub(crate) fn refusal(&self, reference: &str, source: &Source) -> Option<String> {
        self.refused().map(|why| format!("plugin {}: it {why}", source.title(reference)))
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
