use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use http_body_util::BodyExt as _;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedKey, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, generate_simple_self_signed,
};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::PrivateKeyDer;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::settings::{Identity, Trust};

/// A TLS server with its own certificate for this name, stopped with the test.
struct Server {
    port: u16,
    certificate: CertifiedKey<KeyPair>,
    task: JoinHandle<()>,
}

impl Server {
    async fn new(name: &str) -> Self {
        Self::asking(name, None).await
    }

    /// A server that requires a client certificate of this authority.
    async fn asking(name: &str, authority: Option<&Certificate>) -> Self {
        let certificate = generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
        let verifier = match authority {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der().clone()).unwrap();
                let provider = Arc::new(ring::default_provider());
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap()
            }
        };
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = [0; 1024];
                // A client may disconnect after the handshake.
                let Ok(size) = stream.read(&mut request).await else { continue };
                let switching = request[..size].starts_with(b"GET /upgrade ");
                let answer: &[u8] = if switching {
                    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
                } else {
                    b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
                };
                stream.write_all(answer).await.unwrap();
                // The client may have disconnected already.
                let _ = stream.shutdown().await;
            }
        });
        Self { port, certificate, task }
    }

    fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.certificate.cert.der()).into()
    }

    async fn get(&self, trust: Trust, path: &str) -> Result<(u16, Bytes), SendError> {
        self.get_as(trust, None, path).await
    }

    async fn get_as(
        &self,
        trust: Trust,
        identity: Option<Identity>,
        path: &str,
    ) -> Result<(u16, Bytes), SendError> {
        let response = self.endpoint(trust, identity).send(request(path)).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await.unwrap().to_bytes()))
    }

    /// The operator's message about the unreachable endpoint; checks that the guest's message
    /// contains no cause.
    async fn unreached(&self, trust: Trust) -> String {
        self.unreached_as(trust, None).await
    }

    async fn unreached_as(&self, trust: Trust, identity: Option<Identity>) -> String {
        let endpoint = self.endpoint(trust, identity);
        let failure = endpoint.send(request("/")).await.unwrap_err();
        let message = "endpoint \"pve\" cannot be reached";
        assert_eq!(failure, SendError::Unavailable(message.into()));
        endpoint.label().unreached_because()
    }

    fn endpoint(&self, trust: Trust, identity: Option<Identity>) -> Endpoint {
        let host = "localhost".into();
        let transport = Transport::Https { host, port: self.port, trust, identity };
        Endpoint::new("pve", &grant(transport))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn grant(transport: Transport) -> EndpointGrant {
    EndpointGrant {
        transport,
        base: String::new(),
        headers: Vec::new(),
        rules: None,
        token: None,
        timeout: Duration::from_secs(10),
    }
}

fn request(path: &str) -> OutgoingRequest {
    OutgoingRequest {
        method: "GET".into(),
        path: path.into(),
        headers: HeaderMap::new(),
        body: Vec::new(),
        timeout: None,
    }
}

#[tokio::test]
async fn only_the_authority_of_the_grant_is_trusted() {
    let (server, other) = (Server::new("localhost").await, Server::new("localhost").await);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, server: &Server| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, server.certificate.cert.pem()).unwrap();
        path
    };
    let (right, wrong) = (file("right.pem", &server), file("wrong.pem", &other));
    let (status, body) = server.get(Trust::Ca(right), "/").await.unwrap();
    assert_eq!((status, &*body), (302, &b"ok"[..]), "a redirect is handed back");
    for trust in [Trust::Ca(wrong), Trust::System] {
        let place = format!("endpoint \"pve\" at https://localhost:{} cannot", server.port);
        let cause = server.unreached(trust).await;
        assert!(cause.starts_with(&place), "{cause}");
    }
}

#[tokio::test]
async fn an_authority_s_certificate_must_be_for_the_host() {
    let server = Server::new("elsewhere.test").await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, server.certificate.cert.pem()).unwrap();
    let message = server.unreached(Trust::Ca(path)).await;
    assert!(message.contains("not valid for name"), "{message}");
}

#[tokio::test]
async fn a_fingerprint_is_trusted_regardless_of_the_certificate_s_name() {
    let server = Server::new("elsewhere.test").await;
    let (status, _) =
        server.get(Trust::Fingerprints(vec![server.fingerprint()]), "/").await.unwrap();
    assert_eq!(status, 302);
    let message = server.unreached(Trust::Fingerprints(vec![[7; 32], [8; 32]])).await;
    let shown = server.fingerprint().map(|byte| format!("{byte:02X}")).join(":");
    assert!(message.contains(&shown), "the actual fingerprint is shown: {message}");
    let pinned = ["07"; 32].join(":");
    assert!(message.contains(&pinned), "the expected one too: {message}");
}

#[tokio::test]
async fn only_certificates_of_the_listed_fingerprints_are_trusted() {
    let (old, new) = (Server::new("old.test").await, Server::new("new.test").await);
    let third = Server::new("third.test").await;
    let both = || Trust::Fingerprints(vec![old.fingerprint(), new.fingerprint()]);
    for server in [&old, &new] {
        assert_eq!(server.get(both(), "/").await.unwrap().0, 302);
    }
    let message = third.unreached(both()).await;
    for server in [&old, &new, &third] {
        let shown = server.fingerprint().map(|byte| format!("{byte:02X}")).join(":");
        assert!(message.contains(&shown), "{message}");
    }
}

#[tokio::test]
async fn invalid_ca_files_are_named_with_their_key() {
    let server = Server::new("localhost").await;
    let dir = tempfile::tempdir().unwrap();
    let missing = server.unreached(Trust::Ca(dir.path().join("none.pem"))).await;
    assert!(missing.contains("the file of `ca` cannot be used: "), "{missing}");
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let message = server.unreached(Trust::Ca(empty)).await;
    assert!(message.contains("it contains no certificate"), "{message}");
}

/// A certificate authority, and the files of a client certificate that it issued.
fn client_of_an_authority(dir: &Path) -> (Certificate, Identity) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let client_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["router".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = params.signed_by(&client_key, &issuer).unwrap();
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&certificate, client.pem()).unwrap();
    std::fs::write(&key, client_key.serialize_pem()).unwrap();
    (authority, Identity { certificate, key })
}

#[tokio::test]
async fn a_server_that_asks_gets_the_client_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, identity) = client_of_an_authority(dir.path());
    let server = Server::asking("localhost", Some(&authority)).await;
    let trust = || Trust::Fingerprints(vec![server.fingerprint()]);
    let (status, _) = server.get_as(trust(), Some(identity), "/").await.unwrap();
    assert_eq!(status, 302);
    assert!(server.get(trust(), "/").await.is_err(), "without a certificate");
    let elsewhere = tempfile::tempdir().unwrap();
    let (_, stranger) = client_of_an_authority(elsewhere.path());
    let refused = server.get_as(trust(), Some(stranger), "/").await;
    assert!(refused.is_err(), "with a certificate of another authority: {refused:?}");
}

#[tokio::test]
async fn invalid_client_certificate_files_are_named_and_not_shown() {
    let server = Server::new("localhost").await;
    let trust = || Trust::Fingerprints(vec![server.fingerprint()]);
    let dir = tempfile::tempdir().unwrap();
    let (_, right) = client_of_an_authority(dir.path());
    let other = tempfile::tempdir().unwrap();
    let (_, other) = client_of_an_authority(other.path());
    let cause_with = async |identity| server.unreached_as(trust(), Some(identity)).await;

    let none = dir.path().join("none.pem");
    let identity = Identity { key: none.clone(), ..right.clone() };
    let cause = cause_with(identity).await;
    let said = format!("tls: the file of `key` cannot be used: {}: ", none.display());
    assert!(cause.contains(&said), "{cause}");
    let identity = Identity { key: right.certificate.clone(), ..right.clone() };
    let cause = cause_with(identity).await;
    assert!(cause.ends_with("it contains no private key"), "{cause}");
    let identity = Identity { certificate: right.key.clone(), ..right.clone() };
    let cause = cause_with(identity).await;
    assert!(cause.contains("the file of `cert`") && cause.ends_with("no certificate"), "{cause}");
    let cause = cause_with(Identity { key: other.key, ..right.clone() }).await;
    assert!(cause.contains("`cert` and `key` do not match"), "{cause}");
    let secret = std::fs::read_to_string(&right.key).unwrap();
    assert!(secret.lines().all(|line| !cause.contains(line)), "{cause}");
}

#[tokio::test]
async fn an_upgrade_is_refused() {
    let server = Server::new("localhost").await;
    let answer = server.get(Trust::Fingerprints(vec![server.fingerprint()]), "/upgrade").await;
    assert!(
        matches!(&answer, Err(SendError::Broken(message)) if message.contains("upgrade")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_slow_response_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let endpoint = Endpoint::new("pve", &grant(Transport::Http { host: "127.0.0.1".into(), port }));
    let outgoing =
        OutgoingRequest { timeout: Some(Duration::from_millis(50)), ..request("/slow?key=s3cret") };
    let failure = endpoint.send(outgoing).await.unwrap_err();
    let message = "GET /slow?key=<masked> on endpoint \"pve\": no response within 50 ms";
    assert_eq!(failure, SendError::Timeout(message.into()));
}

#[tokio::test]
async fn an_unreachable_endpoint_is_reported_as_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let endpoint = Endpoint::new("pve", &grant(Transport::Http { host: "127.0.0.1".into(), port }));
    let failure = endpoint.send(request("/")).await.unwrap_err();
    assert_eq!(failure, SendError::Unavailable("endpoint \"pve\" cannot be reached".into()));
    let cause = endpoint.label().unreached_because();
    assert!(cause.ends_with("cannot be reached: Connection refused (os error 111)"), "{cause}");
}

#[tokio::test]
async fn a_missing_secret_is_reported_to_the_operator_only() {
    let mut grant = grant(Transport::Unix("/run/nobody.sock".into()));
    let path = PathBuf::from("/run/no-such-secret");
    let secret = crate::settings::Secret::File { prefix: String::new(), path };
    grant.headers.push(("X-API-Key".into(), secret));
    let endpoint = Endpoint::new("pve", &grant);
    let failure = endpoint.send(request("/")).await.unwrap_err();
    assert_eq!(failure, SendError::Unavailable("endpoint \"pve\" cannot be reached".into()));
    let cause = endpoint.label().unreached_because();
    assert!(cause.contains("header x-api-key: its file /run/no-such-secret cannot be"), "{cause}");
}
