//! A file of users and the hashes of their passwords, as `htpasswd -B` writes it.

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

/// A larger file is none of users.
const LARGEST: u64 = 1 << 20;
/// Work that one check may be, so that a wrong number in the file stops nobody's machine: seconds
/// with bcrypt and SHA-crypt, memory with Argon2.
const COST: u32 = 17;
const ROUNDS: u32 = 5_000_000;
/// Rounds of a SHA-crypt hash that names none.
const USUAL_ROUNDS: u32 = 5_000;
const MEMORY: u32 = 256 << 10;
/// Longer passwords are refused: SHA-crypt takes the square of their length.
const PASSWORD: usize = 256;
/// Costs that the hashes of one file may have: each check computes one hash of each.
const COSTS: usize = 8;

/// The users of a file. Shows nothing of them.
pub(crate) struct Users {
    hashes: HashMap<String, Hash>,
    /// One hash of each cost in the file. A check computes a hash of each of them, whatever the
    /// name: the time that it takes tells neither who is in the file nor whose hash is a cheap one.
    decoys: Vec<Hash>,
}

/// A file of users that cannot be used, with what to do. Holds nothing of what is in it but
/// names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadUsers {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// A line is wrong.
    #[error("line {line}: {reason}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// There is nobody in it.
    #[error("there is no user in it; add one with `htpasswd -B FILE NAME`")]
    Empty,
    /// Its hashes have too many costs.
    #[error(
        "its hashes are of more than {COSTS} kinds and costs, and each check has to compute one of \
         each, so that its time does not tell who is in the file; make them alike, with \
         `htpasswd -B FILE NAME` for each user"
    )]
    Mixed,
}

/// A password's hash, of a kind that is known to be sound.
#[derive(Clone)]
struct Hash {
    text: Box<str>,
    cost: Cost,
}

/// What decides how long it takes to check a password against a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cost {
    Bcrypt {
        cost: u32,
    },
    /// With everything in front of the salt: kind, version and parameters.
    Argon2 {
        parameters: Box<str>,
    },
    Sha {
        /// 256 or 512.
        bits: u16,
        rounds: u32,
        /// It is hashed in most rounds.
        salt: usize,
    },
}

/// Reads a file of users, and says what is wrong with it and what to do. Blocks.
pub fn check_users(path: &Path) -> Result<(), String> {
    match Users::read(path) {
        Ok(_) => Ok(()),
        Err(BadUsers::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
            let path = path.display();
            Err(format!("there is no file {path}; make one with `htpasswd -B -c {path} NAME`"))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

// === impl Users ===

impl Users {
    /// Reads a file. Blocks.
    pub(crate) fn read(path: &Path) -> Result<Self, BadUsers> {
        let mut text = String::new();
        let file = File::open(path)?;
        if file.take(LARGEST + 1).read_to_string(&mut text)? as u64 > LARGEST {
            let error = io::Error::other("it is larger than 1 MiB, so no file of users");
            return Err(error.into());
        }
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, BadUsers> {
        let mut hashes = HashMap::new();
        let mut decoys: Vec<Hash> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let fail = |reason: String| Err(BadUsers::Line { line: index + 1, reason });
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, hash)) = line.split_once(':') else {
                return fail("a line is `name:hash`, as `htpasswd -B` writes it".to_owned());
            };
            if name.is_empty() || name.chars().any(char::is_control) {
                return fail("the name is empty or holds what no name holds".to_owned());
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
                return fail(format!("{name:?} is there twice; keep one of them"));
            }
        }
        if hashes.is_empty() {
            return Err(BadUsers::Empty);
        }
        if decoys.len() > COSTS {
            return Err(BadUsers::Mixed);
        }
        Ok(Self { hashes, decoys })
    }

    /// Whether this is the user's password. Takes as long for every name, also for one that is not
    /// in the file. Blocks, for a tenth of a second and more.
    pub(crate) fn verify(&self, name: &str, password: &[u8]) -> bool {
        self.verify_by(name, password, Hash::verify)
    }

    /// Computes one hash of each cost in the file: the user's own where it has that cost, else
    /// another's, whose result does not count.
    fn verify_by(
        &self,
        name: &str,
        password: &[u8],
        verify: impl Fn(&Hash, &[u8]) -> bool,
    ) -> bool {
        if password.len() > PASSWORD {
            return false;
        }
        let own = self.hashes.get(name);
        let mut right = false;
        for decoy in &self.decoys {
            match own.filter(|own| own.cost == decoy.cost) {
                Some(own) => right = verify(own, password),
                None => {
                    black_box(verify(decoy, password));
                }
            }
        }
        right
    }
}

// === impl Hash ===

impl Hash {
    fn parse(hash: &str) -> Result<Self, &'static str> {
        let kind = hash.strip_prefix('$').and_then(|rest| rest.split('$').next());
        match kind {
            Some("2a" | "2b" | "2y") => {
                let parts = HashParts::from_str(hash).map_err(|_| "no complete bcrypt hash")?;
                match parts.get_cost() {
                    cost @ 4..=COST => Ok(Self { text: hash.into(), cost: Cost::Bcrypt { cost } }),
                    _ => Err("a bcrypt hash with a cost outside 4 to 17"),
                }
            }
            Some("argon2id" | "argon2i" | "argon2d") => {
                let broken = "no complete Argon2 hash";
                let parsed = PasswordHash::new(hash).map_err(|_| broken)?;
                let params = argon2::Params::try_from(&parsed).map_err(|_| broken)?;
                if parsed.hash.is_none() || parsed.salt.is_none() {
                    return Err(broken);
                }
                if params.m_cost() > MEMORY || params.t_cost() > 64 || params.p_cost() > 64 {
                    return Err("an Argon2 hash that takes more than 256 MiB or 64 passes");
                }
                // `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, the version perhaps left out.
                let parameters = hash.rsplitn(3, '$').last().unwrap_or_default().into();
                Ok(Self { text: hash.into(), cost: Cost::Argon2 { parameters } })
            }
            Some("5" | "6") => {
                let broken = "no complete SHA-crypt hash";
                let parsed = PasswordHashRef::new(hash).map_err(|_| broken)?;
                let mut fields: Vec<_> = parsed.fields().map(|field| field.as_str()).collect();
                let mut rounds = USUAL_ROUNDS;
                if let Some(said) = fields.first().and_then(|it| it.strip_prefix("rounds=")) {
                    rounds = match said.parse() {
                        Ok(rounds @ 1000..=ROUNDS) => rounds,
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
            _ => Err("not hashed in a way that is known here (bcrypt, Argon2, SHA-crypt)"),
        }
    }

    /// Compares in constant time.
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
