//! Shared test support: the hostile guest, providers that use it, and an endpoint.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use drowse_core::{Failure, Observation, Provider as _, StopOptions, Target};
use drowse_plugins::{
    PluginProvider, Plugins, PluginsConfig,
    settings::{EndpointGrant, Limits, PluginLimits, ProviderSettings, Transport},
};
use drowse_tests::needs;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixListener,
    runtime::Handle,
    sync::Notify,
    task::JoinHandle,
};

/// The hostile guest: `hostile.wasm` in the directory of `DROWSE_HOSTILE`, else built once.
pub(crate) fn hostile() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let built =
            std::env::var_os("DROWSE_HOSTILE").map(|dir| Path::new(&dir).join("hostile.wasm"));
        let path = built.filter(|path| path.exists()).unwrap_or_else(build);
        std::fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    })
}

fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "drowse-hostile"])
        .args(["--target", "wasm32-unknown-unknown", "--profile", "provider", "--target-dir"])
        .arg(&target)
        .current_dir(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
        .status()
        .expect("cargo runs");
    assert!(
        built.success(),
        "the hostile guest can be built (rustup target add wasm32-unknown-unknown)"
    );
    target.join("wasm32-unknown-unknown/provider/drowse_hostile.wasm")
}

/// The same plugin with another digest, by a custom section at its end.
pub(crate) fn another(bytes: &[u8], mark: u8) -> Vec<u8> {
    [bytes, &[0, 3, 1, b'x', mark]].concat()
}

/// A plugin directory, a cache, and the [`Plugins`] that use them.
pub(crate) struct Stage {
    pub(crate) dir: TempDir,
    pub(crate) plugins: Plugins,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("plugins")).unwrap();
        let plugins = Self::open(dir.path());
        Self { dir, plugins }
    }

    pub(crate) fn open(root: &Path) -> Plugins {
        Self::open_with(root, true)
    }

    /// Allows dynamic libraries or not.
    pub(crate) fn open_with(root: &Path, allow_dylib: bool) -> Plugins {
        Self::open_as(root, |config| config.allow_dylib = allow_dylib)
    }

    /// Opens with a modified configuration.
    pub(crate) fn open_as(root: &Path, change: impl FnOnce(&mut PluginsConfig)) -> Plugins {
        let bundled: Vec<(&'static str, &'static [u8])> = vec![("hostile", hostile())];
        let mut config = PluginsConfig {
            dir: Some(root.join("plugins")),
            allow_dylib: true,
            cache: root.join("compiled"),
            bundled: bundled.leak(),
            trust: drowse_plugins::TrustPolicy::default(),
            state: None,
            launcher: None,
            limits: PluginLimits::default(),
            files: None,
            runtime: Handle::current(),
        };
        change(&mut config);
        Plugins::new(config).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file into the plugin directory atomically.
    pub(crate) fn drop_in(&self, name: &str, bytes: &[u8]) {
        let half = self.path("half");
        std::fs::write(&half, bytes).unwrap();
        std::fs::rename(half, self.path("plugins").join(name)).unwrap();
    }

    pub(crate) async fn provider(
        &self,
        change: impl FnOnce(&mut ProviderSettings),
    ) -> Arc<PluginProvider> {
        let mut settings = settings();
        change(&mut settings);
        self.plugins.provider(settings).await
    }
}

pub(crate) fn settings() -> ProviderSettings {
    ProviderSettings {
        name: "hostile".to_owned().try_into().unwrap(),
        plugin: "hostile".into(),
        settings: serde_json::json!({}),
        endpoints: BTreeMap::new(),
        commands: BTreeMap::new(),
        networks: BTreeMap::new(),
        reach: None,
        limits: Limits {
            cpu: Duration::from_millis(200),
            wall: Duration::from_secs(10),
            ..Limits::default()
        },
    }
}

pub(crate) fn grant(socket: &Path) -> EndpointGrant {
    EndpointGrant {
        transport: Transport::Unix(socket.to_owned()),
        base: String::new(),
        headers: Vec::new(),
        rules: None,
        token: None,
        timeout: Duration::from_secs(5),
    }
}

/// A grant for a real engine, which may be slow on a busy machine.
pub(crate) fn grant_of_engine(socket: &Path) -> EndpointGrant {
    EndpointGrant { timeout: Duration::from_secs(60), ..grant(socket) }
}

/// The bundled provider `docker` with these endpoints: name and socket. None, after logging a skip,
/// if it is not built.
pub(crate) async fn docker(
    test: &str,
    stage: &Stage,
    endpoints: &[(&str, &Path)],
) -> Option<Arc<PluginProvider>> {
    docker_within(test, stage, endpoints, Limits::default()).await
}

/// The same, within these limits.
pub(crate) async fn docker_within(
    test: &str,
    stage: &Stage,
    endpoints: &[(&str, &Path)],
    limits: Limits,
) -> Option<Arc<PluginProvider>> {
    let Some(bundle) = std::env::var_os("DROWSE_BUNDLE") else {
        needs::skip(test, "DROWSE_BUNDLE is not set; use `cargo xtask test`");
        return None;
    };
    stage.drop_in("docker.wasm", &std::fs::read(Path::new(&bundle).join("docker.wasm")).unwrap());
    let endpoints =
        endpoints.iter().map(|(name, socket)| ((*name).to_owned(), grant_of_engine(socket)));
    let settings = ProviderSettings {
        name: "docker".to_owned().try_into().unwrap(),
        plugin: "docker".into(),
        settings: serde_json::json!({}),
        endpoints: endpoints.collect(),
        commands: BTreeMap::new(),
        networks: BTreeMap::new(),
        reach: None,
        limits,
    };
    let provider = stage.plugins.provider(settings).await;
    assert_eq!(provider.state().cause, None);
    Some(provider)
}

pub(crate) fn target(handle: &str) -> Target {
    Target { handle: handle.into(), settings: "{}".into() }
}

pub(crate) async fn start(provider: &PluginProvider, handle: &str) -> Result<Observation, Failure> {
    provider.start(&target(handle)).await
}

pub(crate) async fn stop(
    provider: &PluginProvider,
    handle: &str,
    grace: Duration,
) -> Result<Observation, Failure> {
    provider.stop(&target(handle), &StopOptions { signal: None, grace }).await
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let wait = async {
        while !seen() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

/// An endpoint that responds to `/endless` without end, to `/held` on request, and to anything else
/// with the received request. Stopped with the test.
pub(crate) struct Echo {
    pub(crate) socket: PathBuf,
    held: Arc<Notify>,
    release: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Echo {
    pub(crate) fn new(dir: &Path) -> Self {
        let socket = dir.join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (held, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let task = tokio::spawn({
            let (held, release) = (held.clone(), release.clone());
            async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve(stream, held.clone(), release.clone()));
                }
            }
        });
        Self { socket, held, release, task }
    }

    /// Waits for a request to `/held`.
    pub(crate) async fn held(&self) {
        self.held.notified().await;
    }

    /// Responds to the request to `/held`.
    pub(crate) fn release(&self) {
        self.release.notify_one();
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: tokio::net::UnixStream, held: Arc<Notify>, release: Arc<Notify>) {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let answer = match &*head {
            head if head.starts_with(b"GET /endless ") => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                let piece = vec![b'x'; 64 << 10];
                while stream.write_all(&piece).await.is_ok() {}
                return;
            }
            head if head.starts_with(b"GET /held ") => {
                held.notify_one();
                release.notified().await;
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
            }
            head if head.starts_with(b"GET /small ") => {
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
            }
            head => [
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", head.len()).as_bytes(),
                head,
            ]
            .concat(),
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
        head.clear();
    }
}
