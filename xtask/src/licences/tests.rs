use super::*;

fn policy() -> Policy {
    toml::from_str(
        r#"
        licenses.allow = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"]
        bans.deny = [{ crate = "openssl-sys", reason = "TLS is rustls" }]
        "#,
    )
    .unwrap()
}

fn package(name: &str, license: Option<&str>, source: Option<&str>) -> Package {
    Package {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        license: license.map(str::to_owned),
        source: source.map(str::to_owned),
    }
}

#[test]
fn one_allowed_alternative_is_enough() {
    for expression in
        ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "(GPL-3.0 AND X11) OR (MIT AND Zlib)"]
    {
        assert!(policy().allows(expression), "{expression}");
    }
}

#[test]
fn every_part_of_a_conjunction_must_be_allowed() {
    for expression in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Zlib) AND GPL-3.0", ""] {
        assert!(!policy().allows(expression), "{expression}");
    }
}

#[test]
fn an_exception_belongs_to_its_licence() {
    assert!(policy().allows("Apache-2.0 WITH LLVM-exception"));
    assert!(!policy().allows("Apache-2.0"));
    assert!(!policy().allows("MIT WITH LLVM-exception"));
}

#[test]
fn an_invalid_expression_is_not_allowed() {
    for expression in ["MIT OR", "(MIT", "MIT Zlib", "AND MIT"] {
        assert!(!policy().allows(expression), "{expression}");
    }
}

#[test]
fn a_package_of_another_source_or_without_a_licence_is_refused() {
    assert_eq!(policy().judge(&package("good", Some("MIT"), Some("registry+https://x"))), [""; 0]);
    assert_eq!(policy().judge(&package("own", Some("MIT"), None)), [""; 0]);
    assert_eq!(policy().judge(&package("far", Some("MIT"), Some("git+https://x"))).len(), 1);
    assert_eq!(policy().judge(&package("bare", None, Some("registry+https://x"))).len(), 1);
    assert_eq!(
        policy().judge(&package("openssl-sys", Some("MIT"), Some("registry+https://x"))).len(),
        1
    );
}
