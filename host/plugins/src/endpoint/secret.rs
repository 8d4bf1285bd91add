//! Headers that the host adds, with their secret values.

use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue};
use tokio::sync::Mutex as AsyncMutex;

use crate::settings::Secret;

/// Time until a secret file is read again.
const FRESH: Duration = Duration::from_secs(5);

/// A header with its secret value.
pub(super) struct SecretHeader {
    name: Result<HeaderName, String>,
    secret: Secret,
    read: Mutex<Option<(HeaderValue, Instant)>>,
    /// Held by the reading thread, so that a hanging file system blocks one thread and not one per
    /// request.
    reading: Arc<AsyncMutex<()>>,
}

// === impl SecretHeader ===

impl SecretHeader {
    pub(super) fn new(name: &str, secret: Secret) -> Self {
        let name = name.parse().map_err(|_| format!("{name:?} is not a valid header name"));
        Self { name, secret, read: Mutex::new(None), reading: Arc::default() }
    }

    pub(super) fn is(&self, name: &HeaderName) -> bool {
        self.name.as_ref() == Ok(name)
    }

    /// Name and value. The error is for the operator and never contains the value.
    pub(super) async fn read(&self) -> Result<(HeaderName, HeaderValue), String> {
        let name = self.name.clone()?;
        let value = match &self.secret {
            Secret::Literal(text) => header(&name, "", text)?,
            Secret::Env { prefix, name: variable } => {
                let text = std::env::var(variable).map_err(|_| {
                    format!(
                        "header {name}: environment variable {variable:?} is not set or not text"
                    )
                })?;
                header(&name, prefix, &text)?
            }
            Secret::File { prefix, path } => self.file(&name, prefix, path).await?,
        };
        Ok((name, value))
    }

    async fn file(
        &self,
        name: &HeaderName,
        prefix: &str,
        path: &Path,
    ) -> Result<HeaderValue, String> {
        if let Some(value) = self.fresh() {
            return Ok(value);
        }
        let reading = self.reading.clone().lock_owned().await;
        if let Some(value) = self.fresh() {
            return Ok(value);
        }
        let text = tokio::task::spawn_blocking({
            let path = path.to_owned();
            move || {
                let text = fs::read_to_string(path);
                drop(reading);
                text
            }
        });
        let text = text.await.map_err(io::Error::other).and_then(|text| text);
        let text = text.map_err(|error| {
            let file = path.display();
            format!("header {name}: its file {file} cannot be read: {error}")
        })?;
        let value = header(name, prefix, text.trim())?;
        *self.cached() = Some((value.clone(), Instant::now()));
        Ok(value)
    }

    fn fresh(&self) -> Option<HeaderValue> {
        let cached = self.cached();
        cached.as_ref().filter(|(_, at)| at.elapsed() < FRESH).map(|(value, _)| value.clone())
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Option<(HeaderValue, Instant)>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretHeader")
            .field("name", &self.name)
            .field("secret", &self.secret)
            .finish()
    }
}

fn header(name: &HeaderName, prefix: &str, text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("{prefix}{text}")).map_err(|_| {
        format!("header {name}: its value contains characters that a header cannot carry")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_file_is_trimmed_and_masked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, " s3cret\n").unwrap();
        let secret = Secret::File { prefix: "Bearer ".into(), path };
        let header = SecretHeader::new("Authorization", secret);
        let (name, value) = header.read().await.unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer s3cret"));
        assert!(!format!("{header:?} {value:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_hanging_secret_file_blocks_one_thread() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        // Reading a pipe blocks until it is written to, like a hanging network file system.
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let secret = Secret::File { prefix: String::new(), path: path.clone() };
        let header = SecretHeader::new("x-key", secret);
        for _ in 0..20 {
            let read = tokio::time::timeout(Duration::from_millis(2), header.read()).await;
            assert!(read.is_err(), "it waits");
        }
        assert_eq!(Arc::strong_count(&header.reading), 2, "one thread waits");
        let writer = tokio::task::spawn_blocking(move || fs::write(path, "s3cret"));
        writer.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_value_with_line_breaks_is_refused_and_masked() {
        let header = SecretHeader::new("x-key", Secret::Literal("a\r\nx-evil: b".into()));
        let cause = header.read().await.unwrap_err();
        assert!(cause.contains("x-key") && !cause.contains("evil"), "{cause}");
    }
}
