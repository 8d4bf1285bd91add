//! The bundled plugins, from the directory in `DROWSE_BUNDLE`.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use drowse_plugins::{Plugins, PluginsConfig};
use tokio::runtime::Handle;

/// The files of the bundled plugins. None, after logging a skip, if they are not built.
fn bundled(test: &str) -> Option<Vec<PathBuf>> {
    let Some(dir) = env::var_os("DROWSE_BUNDLE") else {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "{test}: DROWSE_BUNDLE is not set");
        println!("skipped: {test}: DROWSE_BUNDLE is not set; use `cargo xtask test`");
        return None;
    };
    let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("read {dir:?}: {error}"));
    let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    let plugins = files.into_iter().filter(|file| file.extension().is_some_and(|it| it == "wasm"));
    let plugins: Vec<PathBuf> = plugins.collect();
    assert!(!plugins.is_empty(), "there are plugins in {dir:?}");
    Some(plugins)
}

#[tokio::test]
async fn bundled_plugins_import_nothing_but_the_contract() {
    let Some(files) = bundled("bundled_plugins_import_nothing_but_the_contract") else { return };
    let dir = tempfile::tempdir().unwrap();
    let plugins = Plugins::new(PluginsConfig {
        dir: None,
        allow_dylib: false,
        cache: dir.path().join("compiled"),
        bundled: &[],
        trust: drowse_plugins::TrustPolicy::default(),
        state: None,
        launcher: None,
        limits: drowse_plugins::settings::PluginLimits::default(),
        files: None,
        runtime: Handle::current(),
    })
    .unwrap();
    for file in files {
        let info = plugins.inspect(&file.display().to_string()).await.unwrap();
        let foreign = |import: &&String| !import.starts_with("drowse:provider/");
        let foreign: Vec<&String> = info.imports.iter().filter(foreign).collect();
        assert!(foreign.is_empty(), "{} imports {foreign:?}", file.display());
        // A missing import can never be used: a plugin with endpoints runs no commands, and vice
        // versa.
        let imports = |name: &str| info.imports.contains(&format!("drowse:provider/{name}@0.1.0"));
        let (datagrams, others): (Vec<_>, Vec<_>) =
            info.endpoints.iter().partition(|wish| wish.wants_datagrams());
        // gRPC rules begin with the service.
        let grpc = |rule: &String| rule.starts_with('/');
        let (grpc, http): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|wish| wish.rules.iter().any(grpc));
        assert_eq!(imports("http"), !http.is_empty(), "{}", file.display());
        assert_eq!(imports("grpc"), !grpc.is_empty(), "{}", file.display());
        assert_eq!(imports("udp"), !datagrams.is_empty(), "{}", file.display());
        assert_eq!(imports("command"), !info.commands.is_empty(), "{}", file.display());
    }
}

#[test]
fn bundled_plugins_contain_no_build_paths() {
    let Some(files) = bundled("bundled_plugins_contain_no_build_paths") else { return };
    let workspace =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
            .join("../..")
            .canonicalize()
            .unwrap();
    let mut places = vec![workspace];
    places.extend(env::home_dir().filter(|home| home.components().count() > 1));
    places.extend(env::var_os("CARGO_HOME").map(PathBuf::from));
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for place in &places {
            let place = place.to_str().unwrap().as_bytes();
            let told = bytes.windows(place.len()).any(|part| part == place);
            assert!(!told, "{} contains {}", file.display(), String::from_utf8_lossy(place));
        }
    }
}
