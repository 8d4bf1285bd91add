//! TLS configuration of endpoints: verification of the server by certificate authorities or
//! fingerprints, and the client certificate.

use std::{fmt::Display, path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, UnixTime,
    pem::{self, PemObject},
};
use sha2::{Digest, Sha256};

use crate::settings::{Identity, Trust};

/// The client configuration for this verification and identity. Reads files: not for the runtime's
/// threads.
pub(super) fn config(trust: &Trust, identity: Option<&Identity>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?;
    let builder = match trust {
        Trust::System => builder.with_root_certificates(system()?),
        Trust::Ca(path) => builder.with_root_certificates(authorities(path)?),
        Trust::Fingerprints(digests) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned {
                digests: digests.clone(),
                provider,
            }))
        }
    };
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = (certificates("cert", &identity.certificate)?, key(&identity.key)?);
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                format!("tls: the files of `cert` and `key` do not match: {error}")
            })?
        }
    };
    Ok(config)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => unusable("key", path, &"it contains no private key"),
        error => unusable("key", path, &error),
    })
}

fn system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or("none is installed".into(), ToString::to_string);
        return Err(format!("tls: no certificate authority of the system is usable: {why}"));
    }
    Ok(roots)
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", path)? {
        roots.add(certificate).map_err(|error| unusable("ca", path, &error))?;
    }
    Ok(roots)
}

/// The certificates of a PEM file, at least one.
fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| unusable(key, path, &error))?;
    match found.is_empty() {
        true => Err(unusable(key, path, &"it contains no certificate")),
        false => Ok(found),
    }
}

/// For the operator; guests do not see the cause.
fn unusable(key: &str, path: &Path, why: &dyn Display) -> String {
    format!("tls: the file of `{key}` cannot be used: {}: {why}", path.display())
}

/// Accepts certificates by fingerprint, without checking names, dates and issuers.
#[derive(Debug)]
struct Pinned {
    digests: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

/// Formats a fingerprint, as `AB:CD:…`.
fn formatted(digest: &[u8; 32]) -> String {
    digest.map(|byte| format!("{byte:02X}")).join(":")
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let digest: [u8; 32] = Sha256::digest(end_entity).into();
        if self.digests.contains(&digest) {
            return Ok(ServerCertVerified::assertion());
        }
        let pinned = self.digests.iter().map(formatted).collect::<Vec<_>>().join(" or ");
        let actual = formatted(&digest);
        Err(Error::General(format!(
            "its certificate has fingerprint {actual}, and `fingerprint` allows {pinned}"
        )))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
