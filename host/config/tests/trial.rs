//! Files for `drowse plugin test`.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{env, fs, path::Path, time::Duration};

use drowse_config::{TrialFile, trial_reference};
use drowse_conformance::UNKNOWN;
use drowse_core::Ability;

fn read(text: &str) -> Result<TrialFile, String> {
    TrialFile::parse("grants.toml".into(), text.into()).map_err(|errors| errors.to_string())
}

#[test]
fn a_provider_and_a_target_are_enough() {
    let file = read("[provider.lamps]\nplugin = \"lamps\"\n[test]\ntarget = \"desk\"\n").unwrap();
    assert_eq!(file.provider.name.as_str(), "lamps");
    assert_eq!(
        (file.trial.target.handle.as_str(), file.trial.unknown.handle.as_str()),
        ("desk", UNKNOWN)
    );
    assert_eq!(file.trial.patience, Duration::from_secs(60));
    assert!(file.trial.addresses && !file.trial.may_recreate && !file.trial.may_remove);
    assert_eq!((file.trial.exec, file.disturb), (None, None));
}

#[test]
fn every_key_is_taken() {
    let file = read(
        "[provider.lamps]\nplugin = \"lamps\"\nendpoint.hub = { url = \"http://127.0.0.1:1\" }\n\
         [test]\ntarget = \"desk\"\nsettings = { port = 80 }\nunknown = \"attic\"\nunknown-settings = {}\ntimeout = \"5s\"\n\
         grace = \"1s\"\naddresses = false\nexec = [\"sh\", \"-c\", \"exit 7\"]\nexec-status = 7\n\
         disturb = [\"./cut\", \"desk\"]\nwithout = [\"pause\", \"stop-signal\"]\n\
         may-recreate = true\nmay-remove = true\nkeep-data = true\n",
    )
    .unwrap();
    assert_eq!(file.provider.endpoints.len(), 1);
    let trial = file.trial;
    assert_eq!(trial.target.settings, "{\"port\":80}");
    assert_eq!((trial.unknown.handle.as_str(), trial.unknown.settings.as_str()), ("attic", "{}"));
    assert_eq!((trial.patience, trial.grace), (Duration::from_secs(5), Duration::from_secs(1)));
    assert_eq!(trial.exec, Some((["sh", "-c", "exit 7"].map(str::to_owned).into(), 7)));
    assert_eq!(trial.without, [Ability::Pause, Ability::StopSignal]);
    assert!(!trial.addresses && trial.may_recreate && trial.may_remove && trial.keep_data);
    assert_eq!(file.disturb, Some(vec!["./cut".to_owned(), "desk".to_owned()]));
}

#[test]
fn errors_point_at_their_place_as_in_a_configuration() {
    for (text, place, message) in [
        ("[provider.a]\nplugin = \"a\"\n", "grants.toml:1:1", "needs `test`"),
        ("[test]\ntarget = \"desk\"\n", "grants.toml:1:1", "needs `provider`"),
        (
            "[provider.a]\nplugin = \"a\"\n[provider.b]\nplugin = \"b\"\n[test]\ntarget = \"x\"\n",
            "grants.toml:",
            "keep one [provider.NAME]",
        ),
        (
            "[provider.a]\nplugin = \"a\"\n[test]\ntraget = \"x\"\n",
            "grants.toml:4:1",
            "did you mean `target`?",
        ),
        (
            "[provider.a]\nplugin = \"a\"\n[test]\ntarget = \"x\"\nwithout = [\"fly\"]\n",
            "grants.toml:5:12",
            "\"fly\" is no ability",
        ),
        (
            "[provider.a]\nplugin = \"a\"\n[test]\ntarget = \"x\"\nexec-status = 7\n",
            "grants.toml:5:15",
            "no meaning without `exec`",
        ),
        (
            "[provider.a]\nplugin = \"a\"\n[workload.x]\nprovider = \"a\"\n[test]\ntarget = \"x\"\n",
            "grants.toml:3:",
            "unknown key `workload`",
        ),
    ] {
        let errors = read(text).unwrap_err();
        assert!(errors.contains(place) && errors.contains(message), "{text}\n{errors}");
    }
    let unreadable = TrialFile::load(Path::new("no-such-file.toml")).unwrap_err().to_string();
    assert!(unreadable.starts_with("no-such-file.toml: the file of grants cannot be read"));
}

#[test]
fn the_page_about_testing_has_every_key() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests");
    let page = Path::new(&root).join("../../docs/testing-a-provider.md");
    let held = fs::read_to_string(&page).unwrap();
    let (before, rest) = held.split_once("<!-- keys -->\n").unwrap();
    let (keys, after) = rest.split_once("<!-- end of keys -->").unwrap();
    let expected = trial_reference();
    if env::var_os("UPDATE_EXPECTED").is_some() {
        let written = format!("{before}<!-- keys -->\n{expected}<!-- end of keys -->{after}");
        fs::write(&page, written).unwrap();
    } else {
        assert!(keys == expected, "docs/testing-a-provider.md has other keys than the schema");
    }
}
