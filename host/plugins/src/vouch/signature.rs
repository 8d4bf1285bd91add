//! Detached signatures of plugins: minisign's, in a file beside the plugin.

use std::{fmt, path::Path, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minisign_verify::{Error, PublicKey, Signature};

use super::{Verdict, Vouchers};
use crate::info;

/// Largest signature file: four lines.
const SIGNATURE_BYTES: usize = 8 << 10;
/// What is put after the plugin's file name.
const SUFFIX: &str = ".minisig";

/// A minisign key whose signatures count.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer {
    id: KeyId,
    key: PublicKey,
}

/// A key's number, as minisign shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct KeyId(u64);

// === impl Signer ===

impl FromStr for Signer {
    type Err = &'static str;

    /// Reads the second line of a `minisign.pub`.
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
    /// Of a key or a signature: two bytes of algorithm, then the number.
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

/// What the signature beside a file says of these bytes.
pub(super) fn judge(vouchers: &Vouchers, file: &Path, bytes: &[u8]) -> Verdict {
    let mut place = file.as_os_str().to_owned();
    place.push(SUFFIX);
    let place = Path::new(&place);
    let known = vouchers.signers.iter().map(|signer| signer.id.to_string()).collect::<Vec<_>>();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    // Without a signature that counts.
    let lacking = |what: String| match vouchers.signatures_required {
        true => Verdict::Refused(format!(
            "{what}, and `require-signatures` asks for one by a key of `plugin-keys` ({known})"
        )),
        false => Verdict::Silent(what),
    };
    let text = match read(place) {
        Ok(Some(text)) => text,
        Ok(None) => return lacking(format!("is not signed: there is no {}", place.display())),
        Err(why) => return lacking(format!("is not signed: {}: {why}", place.display())),
    };
    let place = place.display();
    let (signature, id) = match (Signature::decode(&text), text.lines().nth(1).and_then(KeyId::of))
    {
        (Ok(signature), Some(id)) => (signature, id),
        _ => return lacking(format!("is not signed: {place} is no minisign signature")),
    };
    let mut signers = vouchers.signers.iter().filter(|signer| signer.id == id).peekable();
    if signers.peek().is_none() {
        let unknown = format!("is signed by key {id}, which is not among `plugin-keys`");
        return lacking(unknown);
    }
    let mut why = Error::InvalidSignature;
    for signer in signers {
        match signer.key.verify(bytes, &signature, false) {
            Ok(()) => {
                let comment = info::line(signature.trusted_comment(), 256);
                return Verdict::Vouched(format!("is signed by key {id} ({comment})"));
            }
            Err(error) => why = error,
        }
    }
    Verdict::Refused(match why {
        Error::UnexpectedAlgorithm => format!(
            "is signed by key {id} in minisign's old form, which is not taken; sign it again \
             without `-l`"
        ),
        _ => format!(
            "is not what key {id} has signed: the file or {place} was changed; fetch both again"
        ),
    })
}

/// The text of a file that need not be trusted: what it says proves itself.
fn read(place: &Path) -> Result<Option<String>, String> {
    use std::{
        fs::File,
        io::{ErrorKind, Read as _},
    };
    match std::fs::metadata(place) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err("it is not a file".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    }
    let mut text = String::new();
    let file = File::open(place).map_err(|error| error.to_string())?;
    let read = file.take(SIGNATURE_BYTES as u64).read_to_string(&mut text);
    read.map(|_| Some(text)).map_err(|error| error.to_string())
}
