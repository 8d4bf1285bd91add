use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::*;
use crate::info::PluginKind;

const KEY: &str = "RWQVd7NgZHj6KeHkj6pO75Nhub4QiqbBJGIsH+5ioHfU4rEDOesIKEv8";
const OTHER_KEY: &str = "RWRscRBUIk6mGfUAPXYHD8ixAyVpdpFbuFJgL3yBpyHHdO5kEkFlVTtQ";
const BYTES: &[u8] = b"plugin bytes";

/// Created by minisign with the first key.
const SIGNATURE: &str = "\
untrusted comment: signature from minisign secret key
RUQVd7NgZHj6Kbhfows1QdMVCUN1McL2W3MWU1n41OEB07COdueTPE3ArOpRAC8JQgQ9dMWZrXvWJqLYyaOMiS+DBetZxFymQQQ=
trusted comment: docker 1.2.3
xtIplhEDGJNYfhIzCUXSW09P0Ml9vr1MNs7DNQqtKL1K6xp/HAmhSk0KjJxz2q8n6x0vg7lC0UDFMuGcukyCCQ==
";
/// Created by `minisign -l`.
const OLD_FORM: &str = "\
untrusted comment: signature from minisign secret key
RWQVd7NgZHj6KQDHzjjCDmB8FaNpHc6HmrhxMipYx16Taa6xsRCL+pTOJlu+/5I+ZoPQaGQnbwddP2ckZLOwocg3moqQNm7liAY=
trusted comment: old
fkKOlwgZHtb1s3aBPKhzjC02waMxTGxT8yskiUBzIHgG/1ibHRGscvfAU8DILD4Hkcb+5ulvK27qwdM9YRYrBQ==
";

/// A directory with an unverified plugin file.
struct PluginDir {
    home: tempfile::TempDir,
    file: PathBuf,
}

impl PluginDir {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("late.wasm");
        fs::write(&file, BYTES).unwrap();
        Self { home, file }
    }

    fn source(&self) -> PluginSource {
        PluginSource::new(PluginKind::Component, self.file.display().to_string(), BYTES)
    }

    fn sign(&self, signature: &str) {
        fs::write(self.home.path().join("late.wasm.minisig"), signature).unwrap();
    }

    fn place(&self) -> LockFile {
        LockFile {
            file: self.home.path().join("drowse.lock"),
            configuration: self.home.path().join("drowse.toml"),
        }
    }

    fn locked(&self, digest: &str) -> TrustPolicy {
        let mut lock = Lock::default();
        lock.accept(LockedPlugin {
            name: "late".to_owned(),
            origin: self.place().relative(&self.file),
            version: "1.2.3".to_owned(),
            digest: digest.to_owned(),
            contract: "0.1.0".to_owned(),
        });
        self.place().write(&lock).unwrap();
        TrustPolicy { lock: Some(self.place()), ..TrustPolicy::default() }
    }
}

fn signed_by(keys: &[&str], required: bool) -> TrustPolicy {
    let signers = keys.iter().map(|key| key.parse().unwrap()).collect();
    TrustPolicy { signers, signatures_required: required, lock: None }
}

fn refused(verdict: Verdict) -> String {
    match verdict {
        Verdict::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_accepted_plugin_is_verified() {
    let dir = PluginDir::new();
    let trust = dir.locked(&dir.source().digest);
    assert!(matches!(trust.lock("late", &dir.source()), Verdict::Verified(_)));
    assert_eq!(trust.enforce("late", &dir.source()), Ok(()));
}

#[test]
fn a_different_file_is_refused_with_both_digests_and_the_command_to_accept_it() {
    let dir = PluginDir::new();
    let trust = dir.locked(&"0".repeat(64));
    let why = trust.enforce("late", &dir.source()).unwrap_err();
    assert!(why.starts_with(&format!("plugin {}: it is not", dir.file.display())), "{why}");
    assert!(why.contains(&dir.source().digest) && why.contains(&"0".repeat(64)), "{why}");
    let config = dir.home.path().join("drowse.toml");
    let command = format!("`drowse plugin lock late --config {}`", config.display());
    assert!(why.contains(&command), "{why}");
}

#[test]
fn an_unlisted_file_is_refused_even_if_it_replaces_a_bundled_plugin() {
    let dir = PluginDir::new();
    let trust = dir.locked(&dir.source().digest);
    let why = refused(trust.lock("docker", &dir.source()));
    assert!(why.contains("it has not been accepted") && why.contains("lock docker"), "{why}");
}

#[test]
fn a_bundled_plugin_is_not_checked_unless_a_file_is_locked() {
    let dir = PluginDir::new();
    let bundled = PluginSource::new(PluginKind::Component, crate::info::BUNDLED, BYTES);
    let trust = TrustPolicy { signatures_required: true, ..dir.locked(&"0".repeat(64)) };
    assert_eq!(trust.enforce("docker", &bundled), Ok(()));
    let why = trust.enforce("late", &bundled).unwrap_err();
    assert!(why.starts_with("plugin late: it is the bundled one"), "{why}");
    assert!(why.contains("late.wasm (sha256 0000"), "{why}");
}

#[test]
fn without_a_lock_file_every_digest_is_accepted() {
    let dir = PluginDir::new();
    let trust = TrustPolicy { lock: Some(dir.place()), ..TrustPolicy::default() };
    assert_eq!(trust.enforce("late", &dir.source()), Ok(()));
}

#[test]
fn an_invalid_or_writable_lock_file_refuses_everything() {
    let dir = PluginDir::new();
    let trust = dir.locked(&dir.source().digest);
    let file = dir.place().file;
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replace("digest", "digset")).unwrap();
    let why = refused(trust.lock("late", &dir.source()));
    assert!(
        why.contains("drowse.lock: line") && why.contains("`drowse plugin lock --config"),
        "{why}"
    );
    fs::write(&file, whole).unwrap();
    let writable = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    fs::set_permissions(&file, writable).unwrap();
    assert!(refused(trust.lock("late", &dir.source())).contains("chmod go-w"));
}

#[test]
fn paths_are_relative_to_the_lock_file() {
    let dir = PluginDir::new();
    let place = dir.place();
    let home = dir.home.path();
    assert_eq!(place.name("late"), "late");
    assert_eq!(place.name(&home.join("late.wasm").display().to_string()), "./late.wasm");
    assert_eq!(place.name(&home.join("x/late.wasm").display().to_string()), "x/late.wasm");
    assert_eq!(place.name("/elsewhere/late.wasm"), "/elsewhere/late.wasm");
}

#[test]
fn a_signature_by_a_trusted_key_verifies_the_signed_bytes() {
    let dir = PluginDir::new();
    dir.sign(SIGNATURE);
    let trust = signed_by(&[OTHER_KEY, KEY], true);
    let Verdict::Verified(why) = trust.signature(&dir.source()) else { panic!("refused") };
    assert_eq!(why, "is signed by key 29FA786460B37715 (docker 1.2.3)");
    let other = PluginSource::new(
        PluginKind::Component,
        dir.file.display().to_string(),
        &b"other bytes"[..],
    );
    let why = refused(trust.signature(&other));
    assert!(why.contains("not what key 29FA786460B37715 has signed"), "{why}");
    // Even if signatures are not required.
    refused(signed_by(&[KEY], false).signature(&other));
}

#[test]
fn a_modified_trusted_comment_is_refused() {
    let dir = PluginDir::new();
    dir.sign(&SIGNATURE.replace("1.2.3", "9.9.9"));
    refused(signed_by(&[KEY], false).signature(&dir.source()));
}

#[test]
fn a_plugin_without_an_accepted_signature_is_refused_if_signatures_are_required() {
    let dir = PluginDir::new();
    let (asked, free) = (signed_by(&[OTHER_KEY], true), signed_by(&[OTHER_KEY], false));
    let unsigned = refused(asked.signature(&dir.source()));
    assert!(
        unsigned.contains("there is no") && unsigned.contains("late.wasm.minisig"),
        "{unsigned}"
    );
    assert!(unsigned.contains("`plugin-keys` (19A64E225410716C)"), "{unsigned}");
    assert!(matches!(free.signature(&dir.source()), Verdict::NotChecked(_)));

    dir.sign(SIGNATURE);
    let unknown = refused(asked.signature(&dir.source()));
    assert!(unknown.contains("signed by key 29FA786460B37715, which is not among"), "{unknown}");
    assert!(matches!(free.signature(&dir.source()), Verdict::NotChecked(_)));

    dir.sign("this is no signature");
    assert!(refused(asked.signature(&dir.source())).contains("not a minisign signature"));
}

#[test]
fn legacy_signatures_are_refused_with_the_fix() {
    let dir = PluginDir::new();
    dir.sign(OLD_FORM);
    let why = refused(signed_by(&[KEY], false).signature(&dir.source()));
    assert!(why.contains("sign it again without `-l`"), "{why}");
}

#[test]
fn invalid_keys_are_refused() {
    for text in
        ["", "RWQ", "untrusted comment: minisign public key", &KEY[1..], &KEY.replace('W', "X")]
    {
        assert!(text.parse::<Signer>().unwrap_err().contains("no minisign public key"));
    }
}

proptest! {
    #[test]
    fn arbitrary_signature_files_are_refused(text in "(.|\n){0,400}") {
        let dir = PluginDir::new();
        dir.sign(&text);
        refused(signed_by(&[KEY], true).signature(&dir.source()));
    }

    #[test]
    fn a_written_lock_file_is_read_back(names in proptest::collection::btree_set(".{1,20}", 0..5)) {
        let dir = PluginDir::new();
        let mut lock = Lock::default();
        for name in names {
            let text = || format!("{name}\n\"");
            lock.accept(LockedPlugin {
                origin: text(),
                version: text(),
                digest: text(),
                contract: text(),
                name: text(),
            });
        }
        dir.place().write(&lock).unwrap();
        prop_assert_eq!(dir.place().read().unwrap().unwrap(), lock);
    }
}
