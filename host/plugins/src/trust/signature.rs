//! Detached minisign signatures, in a file beside the plugin.

use std::{fmt, path::Path, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minisign_verify::{Error, PublicKey, Signature};

use super::verdict::Verdict;
use crate::info;

/// Maximum bytes of a signature file, which has four lines.
const SIGNATURE_BYTES: usize = 8 << 10;
/// Suffix of the signature file.
const SUFFIX: &str = ".minisig";

/// A minisign key whose signatures are accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer {
    id: KeyId,
    key: PublicKey,
}

/// A key ID.
#[derive(Clone, Copy, PartialEq, Eq)]
struct KeyId(u64);

// === impl Signer ===

impl FromStr for Signer {
    type Err = &'static str;

    /// Parses the second line of a `minisign.pub`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "this is no minisign public key, which is the line of 56 characters \
                             that begins with RW in `minisign.pub`";
        let key = PublicKey::from_base64(text).map_err(|_| WRONG)?;
        Ok(Self { id: KeyId::of(text).ok_or(WRONG)?, key })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.id)
    }
}

// === impl KeyId ===

impl KeyId {
    /// The ID in a key or signature: two bytes of algorithm, then eight of ID.
    fn of(base64: &str) -> Option<Self> {
        let bytes = STANDARD.decode(base64.trim()).ok()?;
        let number = bytes.get(2..10)?.try_into().ok()?;
        Some(Self(u64::from_le_bytes(number)))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// Verifies `bytes` with the signature beside a file.
pub(super) fn verify(signers: &[Signer], required: bool, file: &Path, bytes: &[u8]) -> Verdict {
    let mut path = file.as_os_str().to_owned();
    path.push(SUFFIX);
    let path = Path::new(&path);
    let known = signers.iter().map(|signer| signer.id.to_string()).collect::<Vec<_>>();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    // Verdict without an accepted signature.
    let lacking = |what: String| match required {
        true => Verdict::Refused(format!(
            "{what}, and `require-signatures` asks for one by a key of `plugin-keys` ({known})"
        )),
        false => Verdict::NotChecked(what),
    };
    let text = match read(path) {
        Ok(Some(text)) => text,
        Ok(None) => return lacking(format!("is not signed: there is no {}", path.display())),
        Err(why) => return lacking(format!("is not signed: {}: {why}", path.display())),
    };
    let path = path.display();
    let (signature, id) = match (Signature::decode(&text), text.lines().nth(1).and_then(KeyId::of))
    {
        (Ok(signature), Some(id)) => (signature, id),
        _ => return lacking(format!("is not signed: {path} is not a minisign signature")),
    };
    let mut matching = signers.iter().filter(|signer| signer.id == id).peekable();
    if matching.peek().is_none() {
        let unknown = format!("is signed by key {id}, which is not among `plugin-keys`");
        return lacking(unknown);
    }
    let mut why = Error::InvalidSignature;
    for signer in matching {
        match signer.key.verify(bytes, &signature, false) {
            Ok(()) => {
                let comment = info::line(signature.trusted_comment(), 256);
                return Verdict::Verified(format!("is signed by key {id} ({comment})"));
            }
            Err(error) => why = error,
        }
    }
    Verdict::Refused(match why {
        Error::UnexpectedAlgorithm => format!(
            "is signed by key {id} in minisign's legacy format, which is not accepted; sign it again \
             without `-l`"
        ),
        _ => format!(
            "is not what key {id} has signed: the file or {path} was changed; download both again"
        ),
    })
}

/// Reads a file whose ownership need not be checked: the signature proves itself.
fn read(path: &Path) -> Result<Option<String>, String> {
    use std::{
        fs::File,
        io::{ErrorKind, Read as _},
    };
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err("it is not a file".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(SIGNATURE_BYTES as u64).read_to_string(&mut text);
    read.map(|_| Some(text)).map_err(|error| error.to_string())
}
