#![allow(clippy::unwrap_used)]

use super::*;

fn asked(name: &str, path: &Path, sdk: Option<PathBuf>) -> NewPlugin {
    NewPlugin { name: name.to_owned(), path: Some(path.to_owned()), sdk }
}

#[test]
fn names_that_are_invalid_for_crates_or_files_are_refused() {
    for name in ["lamps", "my-lamps", "a", "lamps2"] {
        assert_eq!(flaw(name), None, "{name}");
    }
    let long = "a".repeat(65);
    for name in ["", "Lamps", "2lamps", "-lamps", "lamps-", "my_lamps", "../x", "läm", &long] {
        assert!(flaw(name).unwrap().starts_with("take at most"), "{name}");
    }
    for name in ["test", "self", "proc-macro", "drowse-provider-sdk"] {
        assert!(flaw(name).unwrap().contains("take another"), "{name}");
    }
}

#[test]
fn an_existing_directory_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let told = new(&asked("lamps", dir.path(), None), &Output::plain()).unwrap_err().to_string();
    assert!(told.contains("exists already") && told.contains("--path"), "{told}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_without_the_sdk_is_refused_before_any_file_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lamps");
    let refused = |sdk: &Path| {
        new(&asked("lamps", &path, Some(sdk.to_owned())), &Output::plain()).unwrap_err().to_string()
    };
    assert!(refused(dir.path()).contains("provider-sdk of drowse's source"));
    fs::write(dir.path().join("Cargo.toml"), "[package]\nname = \"other\"\n").unwrap();
    assert!(refused(dir.path()).contains("not the SDK's"));
    assert!(!path.exists());
}

#[test]
fn every_placeholder_is_filled_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lamps");
    new(&asked("my-lamps", &path, None), &Output::plain()).unwrap();
    for (file, _) in FILES {
        let text = fs::read_to_string(path.join(file)).unwrap();
        for hole in ["@name@", "@crate@", "@sdk@"] {
            assert!(!text.contains(hole), "{file} holds {hole}");
        }
    }
    let manifest = fs::read_to_string(path.join("Cargo.toml")).unwrap();
    assert!(manifest.contains(&format!("drowse-provider-sdk = {SDK}\n")), "{manifest}");
    assert!(fs::read_to_string(path.join("README.md")).unwrap().contains("my_lamps.wasm"));
}
