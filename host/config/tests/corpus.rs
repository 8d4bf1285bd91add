//! Reads every configuration under `valid` and `invalid`. Beside each invalid one is the expected output;
//! `UPDATE_EXPECTED=1` rewrites it, for review before it is committed.

#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use drowse_config::{Config, DefaultPaths, reference};

fn corpus(kind: &str) -> Vec<PathBuf> {
    let directory =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
            .join("tests")
            .join(kind);
    let mut cases: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "toml"))
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

#[test]
fn every_valid_configuration_is_read() {
    for case in corpus("valid") {
        if let Err(errors) = Config::load(&case, &DefaultPaths::default()) {
            panic!("{}:\n{errors}", case.display());
        }
    }
}

#[test]
fn every_error_names_its_place_and_what_to_do() {
    let update = env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    for case in corpus("invalid") {
        let output = match Config::load(&case, &DefaultPaths::default()) {
            Ok(_) => panic!("{} was accepted", case.display()),
            Err(errors) => errors.to_string(),
        };
        let parent = format!("{}/", case.parent().unwrap().display());
        let output = output.replace(&parent, "") + "\n";
        let expected = case.with_extension("txt");
        if update {
            fs::write(&expected, &output).unwrap();
        }
        let expected = fs::read_to_string(expected).unwrap_or_default();
        if output != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- output\n{output}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_secret_is_ever_shown() {
    for case in ["grants", "secrets_are_masked", "secrets_in_broken_toml", "who"] {
        let file =
            Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
                .join(format!("tests/invalid/{case}.toml"));
        let errors = Config::load(&file, &DefaultPaths::default()).unwrap_err();
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
        assert!(!format!("{errors:?}").contains("hunter2"));
    }
}

#[test]
fn the_reference_is_up_to_date() {
    let file = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
        .join("../../docs/configuration.md");
    if env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&file, reference()).unwrap();
    }
    let held = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        held == reference(),
        "docs/configuration.md is not up to date; run this test with UPDATE_EXPECTED=1"
    );
}
