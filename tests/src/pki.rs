//! Certificates of a test authority.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// Writes PEM files for a server on the loopback interface and its client: `ca.pem`; `engine.pem` and
/// `engine-key.pem` for the server; `cert.pem` and `key.pem` for the client.
pub fn write(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority of a test");
    fs::write(dir.join("ca.pem"), params.self_signed(&key)?.pem())?;
    let authority = Issuer::new(params, key);
    for (certificate, key, usage) in [
        ("engine.pem", "engine-key.pem", ExtendedKeyUsagePurpose::ServerAuth),
        ("cert.pem", "key.pem", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, certificate);
        params.extended_key_usages = vec![usage];
        fs::write(dir.join(certificate), params.signed_by(&pair, &authority)?.pem())?;
        fs::write(dir.join(key), pair.serialize_pem())?;
    }
    Ok(())
}
