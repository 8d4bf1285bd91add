//! Who vouches for a plugin: the lock file, signatures by minisign itself, and who owns the file.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, Programs, Router, late, needs};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A home whose provider `late` uses the plugin `late`, a file, after these keys.
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

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

fn accepted(output: &Output) -> Result<String> {
    ensure!(output.status.success(), "{}", said(output));
    Ok(said(output))
}

fn refused(output: &Output) -> Result<String> {
    ensure!(!output.status.success(), "accepted: {}", said(output));
    Ok(said(output))
}

fn digest(home: &Home) -> Result<String> {
    let said = accepted(&home.drowse(&["plugin", "inspect", "late", "--json"])?)?;
    let value: Value = serde_json::from_str(&said)?;
    Ok(value["digest"].as_str().context("no digest")?.to_owned())
}

fn wait_for_use(router: &Router, from: usize) -> Result<usize> {
    let uses = |line: &str| line.contains("uses plugin") && line.contains("late");
    Ok(router.log().wait("the provider uses the plugin", from, PATIENCE, uses)?.1)
}

#[test]
fn a_plugin_that_was_changed_is_refused_until_it_is_accepted_also_while_the_router_runs()
-> Result<()> {
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
    // What runs goes on, and a visitor is served.
    assert_eq!(router.get("any.example", "/")?.status, 200);

    let said = accepted(&router.home().drowse(&["plugin", "lock", "late"])?)?;
    assert!(said.contains(&second) && said.contains(&format!("was 0.1.0 {first}")), "{said}");
    wait_for_use(&router, mark)?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    Ok(())
}

#[test]
fn check_and_run_refuse_a_plugin_that_nobody_has_accepted() -> Result<()> {
    let (home, _hello) = home("")?;
    accepted(&home.drowse(&["plugin", "lock"])?)?;
    let first = digest(&home)?;
    late::put(&home, &late::newer()?)?;
    let second = digest(&home)?;
    for words in [&["check"][..], &["plugin", "verify"], &["plugin", "verify", "late"]] {
        let said = refused(&home.drowse(words)?)?;
        assert!(said.contains(&first) && said.contains(&second), "{words:?}: {said}");
    }
    let router = home.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 503);
    let status = router.provider("late")?.to_string();
    assert!(status.contains("not the one that was accepted"), "{status}");
    Ok(())
}

#[test]
fn a_file_in_the_place_of_a_bundled_plugin_must_be_accepted() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    home.configure(&[hello.provider(), hello.workload("never")].concat())?;
    accepted(&home.drowse(&["plugin", "lock"])?)?;
    let said = accepted(&home.drowse(&["plugin", "verify"])?)?;
    assert!(said.contains("is part of the router's own program"), "{said}");
    let file = home.plugins().join("process.wasm");
    fs::write(&file, late::newer()?)?;
    let said = refused(&home.drowse(&["check"])?)?;
    assert!(said.contains("nobody has accepted it"), "{said}");
    accepted(&home.drowse(&["plugin", "lock", "process"])?)?;
    accepted(&home.drowse(&["check"])?)?;
    // And one that was accepted is missed.
    fs::remove_file(&file)?;
    let said = refused(&home.drowse(&["check"])?)?;
    assert!(said.contains("it is the bundled one"), "{said}");
    accepted(&home.drowse(&["plugin", "lock"])?)?;
    accepted(&home.drowse(&["check"])?)?;
    Ok(())
}

/// A key pair of minisign's: the secret key's file and the public key.
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
fn only_what_a_trusted_key_has_signed_is_used_where_signatures_are_required() -> Result<()> {
    if let Some(why) = needs::lacks(&["minisign"]) {
        needs::skip("signatures", &why);
        return Ok(());
    }
    let keys = tempfile::tempdir()?;
    let (secret, public) = key(keys.path(), "ours")?;
    let (strange, _) = key(keys.path(), "strange")?;
    let (home, _hello) = home(&format!("plugin-keys = [{public:?}]\nrequire-signatures = true\n"))?;
    for command in [&["check"][..], &["plugin", "lock"], &["plugin", "verify"]] {
        let said = refused(&home.drowse(command)?)?;
        assert!(said.contains("is not signed: there is no"), "{command:?}: {said}");
    }
    assert!(!home.path().join("drowse.lock").exists());

    sign(&strange, &late::file(&home))?;
    let said = refused(&home.drowse(&["check"])?)?;
    assert!(said.contains("which is not among `plugin-keys`"), "{said}");

    sign(&secret, &late::file(&home))?;
    accepted(&home.drowse(&["check"])?)?;
    let said = accepted(&home.drowse(&["plugin", "verify"])?)?;
    assert!(said.contains("is signed by key") && said.contains("for the test"), "{said}");

    let router = home.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    let mark = router.log().mark();
    // The signature is the old file's.
    late::put(router.home(), &late::newer()?)?;
    let complaint = |line: &str| line.contains("has signed") && line.contains("stays in use");
    let (_, mark) = router.log().wait("a complaint", mark, PATIENCE, complaint)?;
    sign(&secret, &late::file(router.home()))?;
    wait_for_use(&router, mark)?;
    Ok(())
}

#[test]
fn a_plugin_that_others_may_change_is_refused_with_the_line_that_mends_it() -> Result<()> {
    let (home, _hello) = home("")?;
    for path in [late::file(&home), home.plugins()] {
        let before = fs::metadata(&path)?.permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(before.mode() | 0o020))?;
        for words in [&["check"][..], &["plugin", "inspect", "late"], &["plugin", "lock"]] {
            let said = refused(&home.drowse(words)?)?;
            let line = format!("`chmod go-w {}`", path.display());
            assert!(said.contains(&line), "{words:?}: {said}");
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
        let said = refused(&home.drowse(words)?)?;
        assert!(said.contains("contract 0.9.0, and this router speaks 0.1.0"), "{words:?}: {said}");
    }
    Ok(())
}

#[test]
fn a_first_configuration_is_written_for_any_plugin_with_its_wishes_as_grants() -> Result<()> {
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
