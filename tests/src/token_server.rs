//! A token server for a registry, as specified by the registry's documentation. The registry program
//! does not include one.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SigningKey as _};
use serde_json::json;
use tempfile::TempDir;

/// Name of the registry in token requests.
pub const SERVICE: &str = "registry of a test";
/// Issuer that the registry accepts.
pub const ISSUER: &str = "token server of a test";
/// Credentials that the token server requires.
pub const AUTHORIZATION: &str = "Basic cHVsbGVyOmh1bnRlcjI=";

/// A token server on the loopback interface. Its thread ends with the test's process.
pub struct TokenServer {
    address: SocketAddr,
    dir: TempDir,
    issued: Arc<AtomicUsize>,
}

/// Key and certificate that sign the tokens.
struct Signer {
    key: KeyPair,
    certificate: String,
}

// === impl TokenServer ===

impl TokenServer {
    /// Listens on a free port.
    pub fn begin() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key)?;
        let dir = TempDir::with_prefix("drowse-token-server-")?;
        fs::write(dir.path().join("token-server.pem"), certificate.pem())?;
        let signer = Signer { key, certificate: BASE64_STANDARD.encode(certificate.der()) };
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let issued = Arc::new(AtomicUsize::new(0));
        let counted = issued.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A disconnect does not affect other clients.
                if let Ok(true) = serve(&client, &signer) {
                    counted.fetch_add(1, Relaxed);
                }
            }
        });
        Ok(Self { address, dir, issued })
    }

    /// URL of the token endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// Certificate of the signing key.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("token-server.pem")
    }

    /// Number of issued tokens.
    pub fn issued(&self) -> usize {
        self.issued.load(Relaxed)
    }
}

/// Answers one request. True if the credentials were correct.
fn serve(client: &TcpStream, signer: &Signer) -> Result<bool> {
    client.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(client).lines();
    let request = lines.next().context("no request")??;
    let headers: io::Result<Vec<String>> =
        lines.take_while(|line| !matches!(line.as_deref(), Ok("") | Err(_))).collect();
    let authorized = headers?.iter().any(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        name.eq_ignore_ascii_case("authorization") && value.trim() == AUTHORIZATION
    });
    let answer = match requested_repository(&request).filter(|_| authorized) {
        Some(repository) => {
            let token = signer.token(&repository)?;
            ("200 OK", json!({ "token": token, "expires_in": 300 }).to_string())
        }
        None => ("401 Unauthorized", String::new()),
    };
    let (status, body) = answer;
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    (&*client).write_all(format!("{head}{body}").as_bytes())?;
    Ok(authorized)
}

/// The repository in the scope of a token request.
fn requested_repository(request: &str) -> Option<String> {
    let query = request.strip_prefix("GET /token?")?.split(' ').next()?;
    let scope = query.split('&').find_map(|pair| pair.strip_prefix("scope="))?;
    let scope = scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    let (repository, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    (actions == "pull").then(|| repository.to_owned())
}

// === impl Signer ===

impl Signer {
    /// A token that permits pulling a repository.
    fn token(&self, repository: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let head = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.certificate] });
        let claims = json!({
            "iss": ISSUER, "sub": "puller", "aud": SERVICE, "jti": now.to_string(),
            "iat": now, "nbf": now - 60, "exp": now + 300,
            "access": [{ "type": "repository", "name": repository, "actions": ["pull"] }],
        });
        let [head, claims] =
            [head, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{head}.{claims}");
        let signature = self.key.sign(signed.as_bytes())?;
        let signature = plain(&signature).context("not an ECDSA signature")?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Converts an ECDSA signature from DER to the JWT format: two numbers of 32 bytes each.
fn plain(der: &[u8]) -> Option<Vec<u8>> {
    let [0x30, _, numbers @ ..] = der else { return None };
    let mut rest = numbers;
    let mut plain = Vec::with_capacity(64);
    for _ in 0..2 {
        let [0x02, length, behind @ ..] = rest else { return None };
        let (number, behind) = behind.split_at_checked(usize::from(*length))?;
        let number = &number[number.len().saturating_sub(32)..];
        plain.extend(std::iter::repeat_n(0, 32 - number.len()));
        plain.extend(number);
        rest = behind;
    }
    Some(plain)
}
