//! The parser of user files: names and password hashes, as `htpasswd -B` writes them.

use std::{
    collections::HashMap,
    fs::File,
    hint::black_box,
    io::{self, Read},
    path::Path,
    str::FromStr,
};

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use bcrypt::HashParts;
use sha_crypt::{PasswordHashRef, ShaCrypt};

/// Maximum bytes of a user file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Maximum bcrypt cost, so that a mistyped number does not occupy a core for minutes.
const MAX_BCRYPT_COST: u32 = 17;
/// Maximum rounds of SHA-crypt.
const MAX_SHA_ROUNDS: u32 = 5_000_000;
/// Rounds of a SHA-crypt hash without `rounds=`.
const DEFAULT_SHA_ROUNDS: u32 = 5_000;
/// Maximum memory of Argon2, in KiB.
const MAX_ARGON2_MEMORY: u32 = 256 << 10;
/// Maximum bytes of a password: the time of SHA-crypt grows with the square of the length.
const MAX_PASSWORD_BYTES: usize = 256;
/// Maximum different costs in one file: each check computes one hash of each.
const MAX_COSTS: usize = 8;

/// The users of a file. Without `Debug`, so that no hash is logged.
pub(crate) struct Users {
    hashes: HashMap<String, Hash>,
    /// One hash of each cost in the file. A check computes a hash of each cost for every name, so
    /// that its time reveals neither which names exist nor which of them have a cheap hash.
    decoys: Vec<Hash>,
}

/// The reason why a user file cannot be used, with advice. Contains names and no hashes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidUsers {
    /// The file cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// A line is invalid.
    #[error("line {line}: {reason}")]
    Line {
        /// Line number, from 1.
        line: usize,
        /// The reason and the advice.
        reason: String,
    },
    /// The file has no user.
    #[error("the file has no user; add one with `htpasswd -B FILE NAME`")]
    Empty,
    /// The hashes have more than [`MAX_COSTS`] different costs.
    #[error(
        "the hashes have more than {MAX_COSTS} different kinds and costs, and each check computes \
         one hash of each, so that its time does not reveal which names exist; hash the passwords \
         with equal settings, for example with `htpasswd -B FILE NAME` for each user"
    )]
    TooManyCosts,
}

/// A password hash of an accepted kind.
#[derive(Clone)]
struct Hash {
    text: Box<str>,
    cost: Cost,
}

/// The parameters that determine the time of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cost {
    Bcrypt {
        cost: u32,
    },
    Argon2 {
        /// Everything before the salt: kind, version and parameters.
        parameters: Box<str>,
    },
    Sha {
        /// Digest size: 256 or 512.
        bits: u16,
        rounds: u32,
        /// Bytes of the salt, which most rounds hash.
        salt: usize,
    },
}

/// Checks a user file. The error names the file, the reason and the advice. Blocks.
pub fn check_users(path: &Path) -> Result<(), String> {
    match Users::read(path) {
        Ok(_) => Ok(()),
        Err(InvalidUsers::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
            let path = path.display();
            Err(format!("there is no file {path}; make one with `htpasswd -B -c {path} NAME`"))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

// === impl Users ===

impl Users {
    /// Reads a file. Blocks.
    pub(crate) fn read(path: &Path) -> Result<Self, InvalidUsers> {
        let mut text = String::new();
        let file = File::open(path)?;
        if file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_FILE_BYTES {
            let error =
                io::Error::other("the file is larger than 1 MiB, the maximum of a user file");
            return Err(error.into());
        }
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, InvalidUsers> {
        let mut hashes = HashMap::new();
        let mut decoys: Vec<Hash> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let fail = |reason: String| Err(InvalidUsers::Line { line: index + 1, reason });
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, hash)) = line.split_once(':') else {
                return fail("a line is `name:hash`, as `htpasswd -B` writes it".to_owned());
            };
            if name.is_empty() || name.chars().any(char::is_control) {
                return fail("the name is empty or contains a control character".to_owned());
            }
            let hash = match Hash::parse(hash) {
                Ok(hash) => hash,
                Err(reason) => {
                    let advice = "make a new one with `htpasswd -B`";
                    return fail(format!("the password of {name:?} is {reason}; {advice}"));
                }
            };
            if !decoys.iter().any(|decoy| decoy.cost == hash.cost) {
                decoys.push(hash.clone());
            }
            if hashes.insert(name.to_owned(), hash).is_some() {
                return fail(format!("{name:?} has two lines; keep one of them"));
            }
        }
        if hashes.is_empty() {
            return Err(InvalidUsers::Empty);
        }
        if decoys.len() > MAX_COSTS {
            return Err(InvalidUsers::TooManyCosts);
        }
        Ok(Self { hashes, decoys })
    }

    /// Whether the password is the user's. Takes an equal time for every name, in the file or not.
    /// Blocks for 100 ms and more.
    pub(crate) fn verify(&self, name: &str, password: &[u8]) -> bool {
        self.verify_by(name, password, Hash::verify)
    }

    /// Computes one hash of each cost in the file: the user's own for its cost, and decoys, whose
    /// results are ignored, for the others.
    fn verify_by(
        &self,
        name: &str,
        password: &[u8],
        verify: impl Fn(&Hash, &[u8]) -> bool,
    ) -> bool {
        if password.len() > MAX_PASSWORD_BYTES {
            return false;
        }
        let own = self.hashes.get(name);
        let mut correct = false;
        for decoy in &self.decoys {
            match own.filter(|own| own.cost == decoy.cost) {
                Some(own) => correct = verify(own, password),
                None => {
                    black_box(verify(decoy, password));
                }
            }
        }
        correct
    }
}

// === impl Hash ===

impl Hash {
    fn parse(hash: &str) -> Result<Self, &'static str> {
        let kind = hash.strip_prefix('$').and_then(|rest| rest.split('$').next());
        match kind {
            Some("2a" | "2b" | "2y") => {
                let parts = HashParts::from_str(hash).map_err(|_| "an incomplete bcrypt hash")?;
                match parts.get_cost() {
                    cost @ 4..=MAX_BCRYPT_COST => {
                        Ok(Self { text: hash.into(), cost: Cost::Bcrypt { cost } })
                    }
                    _ => Err("a bcrypt hash with a cost outside 4 to 17"),
                }
            }
            Some("argon2id" | "argon2i" | "argon2d") => {
                let broken = "an incomplete Argon2 hash";
                let parsed = PasswordHash::new(hash).map_err(|_| broken)?;
                let params = argon2::Params::try_from(&parsed).map_err(|_| broken)?;
                if parsed.hash.is_none() || parsed.salt.is_none() {
                    return Err(broken);
                }
                if params.m_cost() > MAX_ARGON2_MEMORY
                    || params.t_cost() > 64
                    || params.p_cost() > 64
                {
                    return Err(
                        "an Argon2 hash that needs more than 256 MiB, 64 passes or 64 lanes",
                    );
                }
                // `$argon2id$v=19$m=…,t=…,p=…$salt$hash`; the version is optional.
                let parameters = hash.rsplitn(3, '$').last().unwrap_or_default().into();
                Ok(Self { text: hash.into(), cost: Cost::Argon2 { parameters } })
            }
            Some("5" | "6") => {
                let broken = "an incomplete SHA-crypt hash";
                let parsed = PasswordHashRef::new(hash).map_err(|_| broken)?;
                let mut fields: Vec<_> = parsed.fields().map(|field| field.as_str()).collect();
                let mut rounds = DEFAULT_SHA_ROUNDS;
                if let Some(value) = fields.first().and_then(|it| it.strip_prefix("rounds=")) {
                    rounds = match value.parse() {
                        Ok(rounds @ 1000..=MAX_SHA_ROUNDS) => rounds,
                        _ => return Err("a SHA-crypt hash with rounds outside 1000 to 5000000"),
                    };
                    fields.remove(0);
                }
                let (bits, length) = if kind == Some("5") { (256, 43) } else { (512, 86) };
                match fields.as_slice() {
                    [salt, digest] if !salt.is_empty() && digest.len() == length => {
                        let cost = Cost::Sha { bits, rounds, salt: salt.len() };
                        Ok(Self { text: hash.into(), cost })
                    }
                    _ => Err(broken),
                }
            }
            Some("apr1" | "1") => Err("hashed by MD5, which is guessed too easily"),
            _ if hash.starts_with("{SHA}") => Err("hashed by SHA-1, which is guessed too easily"),
            _ => Err("not hashed by a supported function (bcrypt, Argon2, SHA-crypt)"),
        }
    }

    /// Compares the hashes in constant time.
    fn verify(&self, password: &[u8]) -> bool {
        let text = &*self.text;
        match self.cost {
            Cost::Bcrypt { .. } => bcrypt::verify(password, text).unwrap_or(false),
            Cost::Argon2 { .. } => Argon2::default().verify_password(password, text).is_ok(),
            Cost::Sha { .. } => ShaCrypt::default().verify_password(password, text).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests;
