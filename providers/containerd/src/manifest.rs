//! Manifests of images in registries and in containerd: OCI image specification, and Docker's older
//! manifests. The types of `oci-spec` would add 1.2 MB to a component of 0.8 MB.

use drowse_provider_sdk::{Error, Result};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::proto;

/// Accepted media types. Without the indexes a registry would answer with another digest than the
/// local one.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Maximum entries of an index that are examined.
const MAX_MANIFESTS: usize = 64;

/// Maximum layers of an image.
const MAX_LAYERS: usize = 256;

/// A manifest, or an index of several.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) config: Option<Descriptor>,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// A reference to content by its digest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    media_type: String,
    pub(crate) digest: String,
    #[serde(default)]
    size: i64,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

// === impl Manifest ===

impl Manifest {
    /// Parses a manifest and validates its digests.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let manifest: Self = json(bytes)?;
        let Self { config, layers, manifests, .. } = &manifest;
        if let Some(odd) = config.iter().chain(layers).chain(manifests).find(|it| !it.is_valid()) {
            return Err(Error::invalid_request(format!(
                "the manifest refers to {:?}, which is not a SHA-256 digest with a size",
                odd.digest
            )));
        }
        if layers.len() > MAX_LAYERS {
            return Err(Error::invalid_request(format!("it has more than {MAX_LAYERS} layers")));
        }
        Ok(manifest)
    }

    pub(crate) fn is_index(&self) -> bool {
        !self.manifests.is_empty()
    }

    /// Entries that may run on Linux.
    pub(crate) fn for_linux(&self) -> impl Iterator<Item = &Descriptor> {
        let fits = |it: &&Descriptor| it.platform.as_ref().is_none_or(|it| it.os == "linux");
        self.manifests.iter().filter(fits).take(MAX_MANIFESTS)
    }

    /// The entry for the first platform that has one. An entry without a variant matches every
    /// variant, after one with the exact variant.
    pub(crate) fn for_platform(&self, platforms: &[proto::Platform]) -> Option<&Descriptor> {
        platforms.iter().find_map(|wanted| {
            let machine = |it: &&Descriptor| {
                let platform = it.platform.as_ref();
                platform
                    .is_some_and(|it| it.os == wanted.os && it.architecture == wanted.architecture)
            };
            let variant = |it: &&Descriptor, wanted: &str| {
                it.platform.as_ref().is_some_and(|it| it.variant == wanted)
            };
            let mut all = self.for_linux().filter(machine);
            let exact = self.for_linux().filter(machine).find(|it| variant(it, &wanted.variant));
            exact.or_else(|| all.find(|it| wanted.variant.is_empty() || variant(it, "")))
        })
    }
}

// === impl Descriptor ===

impl Descriptor {
    fn is_valid(&self) -> bool {
        is_digest(&self.digest) && self.size >= 0
    }

    pub(crate) fn size(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }

    pub(crate) fn to_proto(&self) -> proto::Descriptor {
        proto::Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.size,
        }
    }
}

/// Returns whether the text is a SHA-256 digest.
pub(crate) fn is_digest(text: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix("sha256:").is_some_and(|it| it.len() == 64 && it.bytes().all(hex))
}

/// A prefix of a digest, long enough to be unique.
pub(crate) fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    &hex[..hex.floor_char_boundary(16)]
}

/// SHA-256 digest of the bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Snapshot keys of the layers, lowest first: each is derived from the key below and the layer's
/// digest (OCI image specification, "layer chain id").
pub(crate) fn chain(layers: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::with_capacity(layers.len());
    for layer in layers {
        let key = match chain.last() {
            None => layer.clone(),
            Some(below) => digest(format!("{below} {layer}").as_bytes()),
        };
        chain.push(key);
    }
    chain
}

pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid_request(format!("cannot parse it: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_chain_is_named_by_all_of_its_layers() {
        assert_eq!(chain(&[]), [""; 0]);
        // printf 'sha256:aa sha256:bb' | sha256sum
        assert_eq!(
            chain(&["sha256:aa".into(), "sha256:bb".into()]),
            [
                "sha256:aa",
                "sha256:b68ad689d6d1ec110ea1c13617437ad6f3766d4b3b309f6a603a222e07a0164f"
            ]
        );
    }

    fn entry(number: u8, os: &str, architecture: &str, variant: &str) -> serde_json::Value {
        let digest = format!("sha256:{number:064x}");
        let platform = json!({ "os": os, "architecture": architecture, "variant": variant });
        json!({ "digest": digest, "size": 1, "platform": platform })
    }

    #[test]
    fn an_exact_variant_comes_before_an_entry_without_one() {
        let index = json!({ "manifests": [
            entry(1, "unknown", "unknown", ""),
            entry(2, "windows", "arm64", "v8"),
            entry(3, "linux", "arm64", ""),
            entry(4, "linux", "arm64", "v8"),
            entry(5, "linux", "arm", "v7"),
        ] });
        let index = Manifest::read(index.to_string().as_bytes()).unwrap();
        let chosen = |architecture: &str, variant: &str| {
            let platform = proto::Platform {
                os: "linux".into(),
                architecture: architecture.into(),
                variant: variant.into(),
            };
            let found = index.for_platform(&[platform])?;
            Some(found.digest.bytes().last().unwrap() - b'0')
        };
        assert_eq!(chosen("arm64", "v8"), Some(4));
        assert_eq!(chosen("arm64", "v9"), Some(3));
        assert_eq!(chosen("arm", "v6"), None);
        assert_eq!(chosen("amd64", ""), None);
    }

    #[test]
    fn a_reference_without_a_digest_is_refused() {
        for digest in ["sha256:..", "../../x", "", &format!("sha512:{:064x}", 1)] {
            let manifest = json!({ "config": { "digest": digest, "size": 1 } }).to_string();
            assert!(Manifest::read(manifest.as_bytes()).is_err(), "{digest}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_response_of_a_registry_is_parsed_or_refused(bytes: Vec<u8>) {
            let _ = Manifest::read(&bytes);
        }
    }
}
