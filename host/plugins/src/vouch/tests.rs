use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::*;
use crate::info::Kind;

const KEY: &str = "RWQVd7NgZHj6KeHkj6pO75Nhub4QiqbBJGIsH+5ioHfU4rEDOesIKEv8";
const OTHER_KEY: &str = "RWRscRBUIk6mGfUAPXYHD8ixAyVpdpFbuFJgL3yBpyHHdO5kEkFlVTtQ";
const BYTES: &[u8] = b"plugin bytes";

/// Made by minisign with the first key.
const SIGNATURE: &str = "\
untrusted comment: signature from minisign secret key
RUQVd7NgZHj6Kbhfows1QdMVCUN1McL2W3MWU1n41OEB07COdueTPE3ArOpRAC8JQgQ9dMWZrXvWJqLYyaOMiS+DBetZxFymQQQ=
trusted comment: docker 1.2.3
xtIplhEDGJNYfhIzCUXSW09P0Ml9vr1MNs7DNQqtKL1K6xp/HAmhSk0KjJxz2q8n6x0vg7lC0UDFMuGcukyCCQ==
";
/// The same by `minisign -l`.
const OLD_FORM: &str = "\
untrusted comment: signature from minisign secret key
RWQVd7NgZHj6KQDHzjjCDmB8FaNpHc6HmrhxMipYx16Taa6xsRCL+pTOJlu+/5I+ZoPQaGQnbwddP2ckZLOwocg3moqQNm7liAY=
trusted comment: old
fkKOlwgZHtb1s3aBPKhzjC02waMxTGxT8yskiUBzIHgG/1ibHRGscvfAU8DILD4Hkcb+5ulvK27qwdM9YRYrBQ==
";

/// A directory with a plugin that nobody vouches for, and its source.
struct Shelf {
    home: tempfile::TempDir,
    file: PathBuf,
}

impl Shelf {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("late.wasm");
        fs::write(&file, BYTES).unwrap();
        Self { home, file }
    }

    fn source(&self) -> Source {
        Source::new(Kind::Component, self.file.display().to_string(), BYTES)
    }

    fn sign(&self, signature: &str) {
        fs::write(self.home.path().join("late.wasm.minisig"), signature).unwrap();
    }

    fn place(&self) -> LockPlace {
        LockPlace {
            file: self.home.path().join("drowse.lock"),
            configuration: self.home.path().join("drowse.toml"),
        }
    }

    fn locked(&self, digest: &str) -> Vouchers {
        let mut lock = Lock::default();
        lock.accept(Locked {
            name: "late".to_owned(),
            origin: self.place().relative(&self.file),
            version: "1.2.3".to_owned(),
            digest: digest.to_owned(),
            contract: "0.1.0".to_owned(),
        });
        self.place().write(&lock).unwrap();
        Vouchers { lock: Some(self.place()), ..Vouchers::default() }
    }
}

fn signed_by(keys: &[&str], required: bool) -> Vouchers {
    let signers = keys.iter().map(|key| key.parse().unwrap()).collect();
    Vouchers { signers, signatures_required: required, lock: None }
}

fn refused(verdict: Verdict) -> String {
    match verdict {
        Verdict::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plugin_that_was_accepted_is_vouched_for() {
    let shelf = Shelf::new();
    let vouchers = shelf.locked(&shelf.source().digest);
    assert!(matches!(vouchers.lock("late", &shelf.source()), Verdict::Vouched(_)));
    assert_eq!(vouchers.vouch("late", &shelf.source()), Ok(()));
}

#[test]
fn another_file_is_refused_with_both_digests_and_the_command_that_accepts_it() {
    let shelf = Shelf::new();
    let vouchers = shelf.locked(&"0".repeat(64));
    let why = vouchers.vouch("late", &shelf.source()).unwrap_err();
    assert!(why.starts_with(&format!("plugin {}: it is not", shelf.file.display())), "{why}");
    assert!(why.contains(&shelf.source().digest) && why.contains(&"0".repeat(64)), "{why}");
    let config = shelf.home.path().join("drowse.toml");
    let command = format!("`drowse plugin lock late --config {}`", config.display());
    assert!(why.contains(&command), "{why}");
}

#[test]
fn a_file_that_is_not_in_the_lock_is_refused_also_in_the_place_of_a_bundled_plugin() {
    let shelf = Shelf::new();
    let vouchers = shelf.locked(&shelf.source().digest);
    let why = refused(vouchers.lock("docker", &shelf.source()));
    assert!(why.contains("nobody has accepted it") && why.contains("lock docker"), "{why}");
}

#[test]
fn a_bundled_plugin_needs_nobody_unless_the_lock_has_a_file() {
    let shelf = Shelf::new();
    let bundled = Source::new(Kind::Component, Source::BUNDLED, BYTES);
    let vouchers = Vouchers { signatures_required: true, ..shelf.locked(&"0".repeat(64)) };
    assert_eq!(vouchers.vouch("docker", &bundled), Ok(()));
    let why = vouchers.vouch("late", &bundled).unwrap_err();
    assert!(why.starts_with("plugin late: it is the bundled one"), "{why}");
    assert!(why.contains("late.wasm (sha256 0000"), "{why}");
}

#[test]
fn without_a_lock_file_every_digest_is_right() {
    let shelf = Shelf::new();
    let vouchers = Vouchers { lock: Some(shelf.place()), ..Vouchers::default() };
    assert_eq!(vouchers.vouch("late", &shelf.source()), Ok(()));
}

#[test]
fn a_lock_file_that_is_damaged_or_anybodys_vouches_for_nothing() {
    let shelf = Shelf::new();
    let vouchers = shelf.locked(&shelf.source().digest);
    let file = shelf.place().file;
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replace("digest", "digset")).unwrap();
    let why = refused(vouchers.lock("late", &shelf.source()));
    assert!(
        why.contains("drowse.lock: line") && why.contains("`drowse plugin lock --config"),
        "{why}"
    );
    fs::write(&file, whole).unwrap();
    let writable = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    fs::set_permissions(&file, writable).unwrap();
    assert!(refused(vouchers.lock("late", &shelf.source())).contains("chmod go-w"));
}

#[test]
fn a_path_is_locked_relative_to_the_lock_file() {
    let shelf = Shelf::new();
    let place = shelf.place();
    let home = shelf.home.path();
    assert_eq!(place.name("late"), "late");
    assert_eq!(place.name(&home.join("late.wasm").display().to_string()), "./late.wasm");
    assert_eq!(place.name(&home.join("x/late.wasm").display().to_string()), "x/late.wasm");
    assert_eq!(place.name("/elsewhere/late.wasm"), "/elsewhere/late.wasm");
}

#[test]
fn a_signature_by_a_trusted_key_vouches_for_the_bytes_it_was_made_of() {
    let shelf = Shelf::new();
    shelf.sign(SIGNATURE);
    let vouchers = signed_by(&[OTHER_KEY, KEY], true);
    let Verdict::Vouched(why) = vouchers.signature(&shelf.source()) else { panic!("refused") };
    assert_eq!(why, "is signed by key 29FA786460B37715 (docker 1.2.3)");
    let other = Source::new(Kind::Component, shelf.file.display().to_string(), &b"other bytes"[..]);
    let why = refused(vouchers.signature(&other));
    assert!(why.contains("not what key 29FA786460B37715 has signed"), "{why}");
    // Also where signatures are not asked for.
    refused(signed_by(&[KEY], false).signature(&other));
}

#[test]
fn a_changed_comment_is_no_signature() {
    let shelf = Shelf::new();
    shelf.sign(&SIGNATURE.replace("1.2.3", "9.9.9"));
    refused(signed_by(&[KEY], false).signature(&shelf.source()));
}

#[test]
fn without_a_signature_that_counts_a_plugin_is_refused_where_one_is_asked_for() {
    let shelf = Shelf::new();
    let (asked, free) = (signed_by(&[OTHER_KEY], true), signed_by(&[OTHER_KEY], false));
    let unsigned = refused(asked.signature(&shelf.source()));
    assert!(
        unsigned.contains("there is no") && unsigned.contains("late.wasm.minisig"),
        "{unsigned}"
    );
    assert!(unsigned.contains("`plugin-keys` (19A64E225410716C)"), "{unsigned}");
    assert!(matches!(free.signature(&shelf.source()), Verdict::Silent(_)));

    shelf.sign(SIGNATURE);
    let unknown = refused(asked.signature(&shelf.source()));
    assert!(unknown.contains("signed by key 29FA786460B37715, which is not among"), "{unknown}");
    assert!(matches!(free.signature(&shelf.source()), Verdict::Silent(_)));

    shelf.sign("this is no signature");
    assert!(refused(asked.signature(&shelf.source())).contains("no minisign signature"));
}

#[test]
fn the_old_form_of_signatures_is_refused_with_what_to_do() {
    let shelf = Shelf::new();
    shelf.sign(OLD_FORM);
    let why = refused(signed_by(&[KEY], false).signature(&shelf.source()));
    assert!(why.contains("sign it again without `-l`"), "{why}");
}

#[test]
fn what_is_no_key_is_named_so() {
    for text in
        ["", "RWQ", "untrusted comment: minisign public key", &KEY[1..], &KEY.replace('W', "X")]
    {
        assert!(text.parse::<Signer>().unwrap_err().contains("no minisign public key"));
    }
}

proptest! {
    #[test]
    fn no_signature_file_is_too_strange(text in "(.|\n){0,400}") {
        let shelf = Shelf::new();
        shelf.sign(&text);
        refused(signed_by(&[KEY], true).signature(&shelf.source()));
    }

    #[test]
    fn what_is_locked_is_read_again(names in proptest::collection::btree_set(".{1,20}", 0..5)) {
        let shelf = Shelf::new();
        let mut lock = Lock::default();
        for name in names {
            let text = || format!("{name}\n\"");
            lock.accept(Locked {
                origin: text(),
                version: text(),
                digest: text(),
                contract: text(),
                name: text(),
            });
        }
        shelf.place().write(&lock).unwrap();
        prop_assert_eq!(shelf.place().read().unwrap().unwrap(), lock);
    }
}
