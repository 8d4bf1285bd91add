#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use super::*;

#[test]
fn levels_and_parts_of_the_router_make_a_filter() {
    for filter in [
        "info",
        "WARN",
        "off",
        "info,drowse_proxy=debug",
        "info, drowse_core::engine=trace , hyper_util=debug",
        "drowse_plugins",
        "warn,drowse_core[{workload=blog}]=debug",
        "[{workload=blog}]=debug",
    ] {
        assert_eq!(flaw(filter), None, "{filter}");
    }
}

#[test]
fn a_misspelt_level_or_part_is_refused_with_the_nearest() {
    for (filter, near) in [
        ("inof", "`inof` is neither a level nor a part of the router; did you mean `info`?"),
        ("info,debgu", "did you mean `debug`?"),
        (
            "drowse_proxi=debug",
            "`drowse_proxi` is no part of the router; did you mean `drowse_proxy`?",
        ),
        ("info,drowse-core::engine=debug", "did you mean `drowse_core`?"),
        ("drowse_proxy=debgu", "is not a log filter"),
        ("verbose", "write `info`"),
    ] {
        let told = flaw(filter).unwrap_or_else(|| panic!("{filter} was accepted"));
        assert!(told.contains(near), "{told}");
    }
}

#[test]
fn blanks_between_the_parts_of_a_filter_change_nothing() {
    let spaced = read("info, drowse_proxy=debug").unwrap().to_string();
    assert_eq!(spaced, read("info,drowse_proxy=debug").unwrap().to_string());
}

#[test]
fn every_crate_of_the_router_is_a_part_of_it() {
    let host = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
        .join("..");
    for entry in fs::read_dir(host).unwrap() {
        let Ok(manifest) = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")) else {
            continue;
        };
        let name = manifest.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
        let name = name.trim_matches('"').replace('-', "_");
        assert!(PARTS.contains(&name.as_str()), "{name} is missing in PARTS");
    }
}
