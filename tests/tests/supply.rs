//! Trust in plugin files: lock file, minisign signatures, ownership.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, Programs, Router, bombs, late, needs};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const PATIENCE: Duration = Duration::from_secs(60);

/// A home whose provider `late` uses the plugin file `late`, with `keys` at the top of the configuration.
fn home(keys: &str) -> Result<(Home, Hello)> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    home.configure(&late::config(&hello))?;
    let text = fs::read_to_string(home.config())?;
    fs::write(home.config(), format!("{keys}\n{text}"))?;
    late::put(&home, &late::bundled()?)?;
    Ok((home, hello))
}

fn output_text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

fn accepted(output: &Output) -> Result<String> {
    ensure!(output.status.success(), "{}", output_text(output));
    Ok(output_text(output))
}

fn refused(output: &Output) -> Result<String> {
    ensure!(!output.status.success(), "accepted: {}", output_text(output));
    Ok(output_text(output))
}

fn digest(home: &Home) -> Result<String> {
    let digest = Sha256::digest(fs::read(late::file(home))?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn wait_for_use(router: &Router, from: usize) -> Result<usize> {
    let uses = |line: &str| line.contains("uses plugin") && line.contains("late");
    Ok(router.log().wait("the provider uses the plugin", from, PATIENCE, uses)?.1)
}

#[test]
fn a_changed_plugin_is_refused_until_it_is_accepted_also_in_a_running_router() -> Result<()> {
    let (home, _hello) = home("")?;
    accepted(&home.drowse(&["plugin", "lock"])?)?;
    let lock = home.path().join("drowse.lock");
    let first = digest(&home)?;
    let text = fs::read_to_string(&lock)?;
    assert!(text.contains(&first) && text.contains("origin = \"plugins/late.wasm\""), "{text}");
    accepted(&home.drowse(&["check"])?)?;

    let router = home.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    let mark = router.log().mark();
    late::put(router.home(), &late::newer()?)?;
    let complaint = |line: &str| line.contains("not the one that was accepted");
    let (line, mark) = router.log().wait("a complaint", mark, PATIENCE, complaint)?;
    let second = digest(router.home())?;
    for word in
        [first.as_str(), second.as_str(), "drowse plugin lock late --config", "stays in use"]
    {
        assert!(line.contains(word), "{line}");
    }
    // The loaded plugin stays in use, and a visitor is served.
    assert_eq!(router.get("any.example", "/")?.status, 200);

    let message = accepted(&router.home().drowse(&["plugin", "lock", "late"])?)?;
    assert!(
        message.contains(&second) && message.contains(&format!("was 0.1.0 {first}")),
        "{message}"
    );
    wait_for_use(&router, mark)?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    Ok(())
}

#[test]
fn check_and_run_refuse_a_plugin_that_was_not_accepted() -> Result<()> {
    let (home, _hello) = home("")?;
    accepted(&home.drowse(&["plugin", "lock"])?)?;
    let first = digest(&home)?;
    late::put(&home, &late::newer()?)?;
    let second = digest(&home)?;
    for words in [&["check"][..], &["plugin", "verify"], &["plugin", "verify", "late"]] {
        let message = refused(&home.drowse(words)?)?;
        assert!(message.contains(&first) && message.contains(&second), "{words:?}: {message}");
    }
    let router = home.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 503);
    let status = router.provider("late")?.to_string();
    assert!(status.contains("not the one that was accepted"), "{status}");
    Ok(())
}

/// Entry of the plugin `late` in `drowse plugin list`: text and JSON.
fn listed(home: &Home) -> Result<(String, Value)> {
    let message = accepted(&home.drowse(&["plugin", "list"])?)?;
    let row = message.lines().find(|line| line.starts_with("late ")).context("it is not listed")?;
    let rows = accepted(&home.drowse(&["plugin", "list", "--json"])?)?;
    let rows: Vec<Value> = serde_json::from_str(&rows)?;
    let entry = rows.into_iter().find(|entry| entry["name"] == "late");
    Ok((row.to_owned(), entry.context("it is not listed")?))
}

#[test]
fn inspect_list_and_test_refuse_what_a_router_would_refuse() -> Result<()> {
    let (home, _hello) = home("")?;
    let (row, entry) = listed(&home)?;
    assert!(row.contains(" -  "), "it is accepted without a lock file: {row}");
    assert_eq!(entry["lock"]["verdict"], "not-checked", "{entry:#}");
    accepted(&home.drowse(&["plugin", "lock"])?)?;
    let (row, entry) = listed(&home)?;
    assert!(row.contains(" lock "), "{row}");
    assert_eq!(
        (&entry["lock"]["verdict"], &entry["version"]),
        (&"verified".into(), &"0.1.0".into())
    );

    let first = digest(&home)?;
    late::put(&home, &late::newer()?)?;
    let second = digest(&home)?;
    let path = late::file(&home);
    let path = path.to_str().context("a path of UTF-8")?;
    for words in [["inspect", "late"], ["inspect", path], ["test", "late"], ["test", path]] {
        let message = refused(&home.drowse(&[&["plugin"], &words[..]].concat())?)?;
        assert!(message.contains(&first) && message.contains(&second), "{words:?}: {message}");
    }
    let (row, entry) = listed(&home)?;
    assert!(row.contains("refused by lock"), "{row}");
    assert_eq!(entry["lock"]["verdict"], "refused", "{entry:#}");
    assert!(entry.get("version").is_none(), "a refused plugin was run: {entry:#}");
    let problem = entry["problem"].as_str().context("no problem")?;
    assert!(problem.contains(&first) && problem.contains(&second), "{problem}");

    // A component outside the plugins directory may be inspected.
    let copy = home.path().join("copy.wasm");
    fs::copy(late::file(&home), &copy)?;
    let copy = copy.to_str().context("a path of UTF-8")?;
    accepted(&home.drowse(&["plugin", "inspect", copy])?)?;
    accepted(&home.drowse(&["plugin", "test", copy])?)?;

    accepted(&home.drowse(&["plugin", "lock", "late"])?)?;
    accepted(&home.drowse(&["plugin", "inspect", path])?)?;
    accepted(&home.drowse(&["plugin", "test", "late"])?)?;
    Ok(())
}

/// A library that creates a file when it is opened, and is not a plugin.
fn library(dir: &Path, mark: &Path) -> Result<PathBuf> {
    let (source, library) = (dir.join("opened.c"), dir.join("opened.so"));
    let code = format!(
        "#include <fcntl.h>\n#include <unistd.h>\n\
         __attribute__((constructor)) static void opened(void) {{\n    \
         close(open({mark:?}, O_CREAT | O_WRONLY, 0600));\n}}\n\
         const void *drowse_provider_table(void) {{ return 0; }}\n"
    );
    fs::write(&source, code)?;
    let words = ["-shared", "-fPIC", "-o"];
    let made = Command::new("clang").args(words).arg(&library).arg(&source).output()?;
    accepted(&made)?;
    Ok(library)
}

#[test]
fn no_code_of_a_refused_library_runs() -> Result<()> {
    if let Some(why) = needs::lacks(&["clang"]) {
        needs::skip("nothing_of_a_library", &why);
        return Ok(());
    }
    let (home, _hello) = home("allow-dylib = true\n")?;
    accepted(&home.drowse(&["plugin", "lock"])?)?;
    let mark = home.path().join("opened");
    let library = library(home.path(), &mark)?;
    fs::remove_file(late::file(&home))?;
    fs::copy(&library, late::file(&home).with_extension("so"))?;
    for words in
        [&["list"][..], &["inspect", "late"], &["verify"], &["verify", "late"], &["test", "late"]]
    {
        let message = output_text(&home.drowse(&[&["plugin"], words].concat())?);
        assert!(message.contains("is not the one that was accepted"), "{words:?}: {message}");
        assert!(!mark.exists(), "{words:?} opened it");
    }
    refused(&home.drowse(&["check"])?)?;
    assert!(!mark.exists(), "`check` opened it");
    // Also in another directory, where a router would refuse it as well.
    let library = library.to_str().context("a path of UTF-8")?;
    for words in [["inspect", library], ["test", library], ["verify", library]] {
        let message = refused(&home.drowse(&[&["plugin"], &words[..]].concat())?)?;
        assert!(message.contains("so it has not been accepted"), "{words:?}: {message}");
        assert!(!mark.exists(), "{words:?} opened it");
    }
    // Without a lock file it is opened, which this test detects.
    fs::remove_file(home.path().join("drowse.lock"))?;
    let message = refused(&home.drowse(&["plugin", "inspect", library])?)?;
    assert!(message.contains("its table is missing") && mark.exists(), "{message}");
    Ok(())
}

#[test]
fn a_library_outside_the_plugins_directory_must_be_signed_if_signatures_are_required() -> Result<()>
{
    if let Some(why) = needs::lacks(&["clang"]) {
        needs::skip("a_library_outside", &why);
        return Ok(());
    }
    const KEY: &str = "RWQVd7NgZHj6KeHkj6pO75Nhub4QiqbBJGIsH+5ioHfU4rEDOesIKEv8";
    let keys = format!("allow-dylib = true\nplugin-keys = [{KEY:?}]\nrequire-signatures = true\n");
    let (home, _hello) = home(&keys)?;
    let mark = home.path().join("opened");
    let library = library(home.path(), &mark)?;
    let library = library.to_str().context("a path of UTF-8")?;
    for words in [["inspect", library], ["test", library], ["verify", library], ["lock", library]] {
        let message = refused(&home.drowse(&[&["plugin"], &words[..]].concat())?)?;
        assert!(message.contains("is not signed: there is no"), "{words:?}: {message}");
        assert!(!mark.exists(), "{words:?} opened it");
    }
    Ok(())
}

#[test]
fn a_plugin_that_keeps_the_compiler_busy_is_refused_by_every_command() -> Result<()> {
    let (home, _hello) = home("plugin-limits.compile-cpu-time = \"1s\"\n")?;
    late::put(&home, &bombs::functions(190_000))?;
    let name = late::file(&home).display().to_string();
    for words in [&["check"][..], &["plugin", "inspect", "late"], &["plugin", "test", "late"]] {
        let message = refused(&home.drowse(words)?)?;
        assert!(
            message.contains("compiling it took more than 1 s of CPU time and was stopped"),
            "{words:?}: {message}"
        );
        assert!(message.contains(&name), "{words:?}: {message}");
    }
    let listed = accepted(&home.drowse(&["plugin", "list"])?)?;
    assert!(listed.contains("plugin-limits.compile-cpu-time"), "{listed}");
    // The router serves others in the meantime, and uses a valid file when it appears.
    let router = home.start()?;
    let mark = router.log().mark();
    late::put(router.home(), &late::bundled()?)?;
    wait_for_use(&router, mark)?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    Ok(())
}

#[test]
fn a_file_that_replaces_a_bundled_plugin_must_be_accepted() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    home.configure(&[hello.provider(), hello.workload("never")].concat())?;
    accepted(&home.drowse(&["plugin", "lock"])?)?;
    let message = accepted(&home.drowse(&["plugin", "verify"])?)?;
    assert!(message.contains("is part of the router's own program"), "{message}");
    let file = home.plugins().join("process.wasm");
    fs::write(&file, late::newer()?)?;
    let message = refused(&home.drowse(&["check"])?)?;
    assert!(message.contains("it has not been accepted"), "{message}");
    accepted(&home.drowse(&["plugin", "lock", "process"])?)?;
    accepted(&home.drowse(&["check"])?)?;
    // An accepted file that is missing is reported.
    fs::remove_file(&file)?;
    let message = refused(&home.drowse(&["check"])?)?;
    assert!(message.contains("it is the bundled one"), "{message}");
    accepted(&home.drowse(&["plugin", "lock"])?)?;
    accepted(&home.drowse(&["check"])?)?;
    Ok(())
}

/// Creates a minisign key pair: path of the secret key, and the public key.
fn key(dir: &Path, name: &str) -> Result<(PathBuf, String)> {
    let (public, secret) = (dir.join(format!("{name}.pub")), dir.join(format!("{name}.key")));
    let made = Command::new("minisign")
        .args(["-G", "-W", "-f", "-p"])
        .arg(&public)
        .arg("-s")
        .arg(&secret)
        .output()
        .context("run minisign")?;
    accepted(&made)?;
    let text = fs::read_to_string(public)?;
    Ok((secret, text.lines().nth(1).context("no key")?.to_owned()))
}

fn sign(secret: &Path, file: &Path) -> Result<()> {
    let words = ["-S", "-t", "for the test", "-s"];
    let signed = Command::new("minisign").args(words).arg(secret).arg("-m").arg(file).output()?;
    accepted(&signed).map(|_| ())
}

#[test]
fn only_plugins_signed_by_a_trusted_key_are_used_if_signatures_are_required() -> Result<()> {
    if let Some(why) = needs::lacks(&["minisign"]) {
        needs::skip("signatures", &why);
        return Ok(());
    }
    let keys = tempfile::tempdir()?;
    let (secret, public) = key(keys.path(), "ours")?;
    let (strange, _) = key(keys.path(), "strange")?;
    let (home, _hello) = home(&format!("plugin-keys = [{public:?}]\nrequire-signatures = true\n"))?;
    for command in [
        &["check"][..],
        &["plugin", "lock"],
        &["plugin", "verify"],
        &["plugin", "inspect", "late"],
        &["plugin", "test", "late"],
    ] {
        let message = refused(&home.drowse(command)?)?;
        assert!(message.contains("is not signed: there is no"), "{command:?}: {message}");
    }
    assert!(!home.path().join("drowse.lock").exists());
    let (row, _) = listed(&home)?;
    assert!(row.contains("refused by key"), "{row}");

    sign(&strange, &late::file(&home))?;
    let message = refused(&home.drowse(&["check"])?)?;
    assert!(message.contains("which is not among `plugin-keys`"), "{message}");

    sign(&secret, &late::file(&home))?;
    accepted(&home.drowse(&["check"])?)?;
    let message = accepted(&home.drowse(&["plugin", "verify"])?)?;
    assert!(message.contains("is signed by key") && message.contains("for the test"), "{message}");
    let (row, entry) = listed(&home)?;
    assert!(row.contains(" key "), "{row}");
    assert_eq!(entry["signature"]["verdict"], "verified", "{entry:#}");

    let router = home.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    let mark = router.log().mark();
    // The signature is that of the old file.
    late::put(router.home(), &late::newer()?)?;
    let complaint = |line: &str| line.contains("has signed") && line.contains("stays in use");
    let (_, mark) = router.log().wait("a complaint", mark, PATIENCE, complaint)?;
    sign(&secret, &late::file(router.home()))?;
    wait_for_use(&router, mark)?;
    Ok(())
}

#[test]
fn a_plugin_writable_by_others_is_refused_with_the_command_that_fixes_it() -> Result<()> {
    let (home, _hello) = home("")?;
    for path in [late::file(&home), home.plugins()] {
        let before = fs::metadata(&path)?.permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(before.mode() | 0o020))?;
        for words in [&["check"][..], &["plugin", "inspect", "late"], &["plugin", "lock"]] {
            let message = refused(&home.drowse(words)?)?;
            let line = format!("`chmod go-w {}`", path.display());
            assert!(message.contains(&line), "{words:?}: {message}");
        }
        fs::set_permissions(&path, before)?;
        accepted(&home.drowse(&["check"])?)?;
    }
    Ok(())
}

#[test]
fn a_plugin_of_another_contract_is_refused_with_both_versions() -> Result<()> {
    let (home, _hello) = home("")?;
    let ours = late::bundled()?;
    let version = b"drowse:provider/provider@0.1.0";
    let other = b"drowse:provider/provider@0.9.0";
    let mut bytes = ours.clone();
    for at in 0..=bytes.len() - version.len() {
        if bytes[at..].starts_with(version) {
            bytes[at..at + version.len()].copy_from_slice(other);
        }
    }
    ensure!(bytes != ours, "the plugin does not name its contract");
    late::put(&home, &bytes)?;
    for words in [&["check"][..], &["plugin", "verify"], &["plugin", "inspect", "late"]] {
        let message = refused(&home.drowse(words)?)?;
        assert!(
            message.contains("contract 0.9.0, and this router speaks 0.1.0"),
            "{words:?}: {message}"
        );
    }
    Ok(())
}

#[test]
fn init_writes_the_requested_grants_of_any_plugin() -> Result<()> {
    let (home, _hello) = home("")?;
    fs::copy(Programs::from_env().bundle.join("http-waker.wasm"), home.path().join("mine.wasm"))?;
    let mine = home.path().join("mine.wasm").display().to_string();
    for (plugin, words) in [
        ("http-waker", &["[provider.http-waker.endpoint.api]", "rules = ["][..]),
        (
            "wake-on-lan",
            &["url = \"udp://255.255.255.255:9\"", "# [provider.wake-on-lan.command.ping]"],
        ),
        (&mine, &["plugin = \"/", "[provider.http-waker.endpoint.api]"]),
    ] {
        let file = home.path().join("first.toml");
        let file = file.to_str().context("a path that is no text")?;
        let program = Programs::from_env().router;
        let words_of_init = ["init", "--force", "--provider", plugin, file];
        accepted(&Command::new(&program).args(words_of_init).output()?)?;
        let text = fs::read_to_string(file)?;
        for word in words {
            assert!(text.contains(word), "{plugin}: {word} is missing:\n{text}");
        }
        let checked = Command::new(&program).args(["check", "--config", file]).output()?;
        accepted(&checked)?;
    }
    Ok(())
}
