use argon2::PasswordHasher;
use proptest::prelude::*;

use super::*;

/// Written by `htpasswd -nbB`, `openssl passwd -6` and `openssl passwd -5`.
const BCRYPT: &str = "$2y$05$NidkWKTLC3s0Ws5JSWJmsOUHgU0gIgrwocu9l.y/NSPz27uhzz2si";
const SHA_512: &str = "$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0";
const SHA_256: &str = "$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/";
const PASSWORD: &[u8] = b"correct horse";

fn argon2() -> String {
    let params = argon2::Params::new(64, 1, 1, None).unwrap();
    let hasher = Argon2::from(params);
    hasher.hash_password_with_salt(PASSWORD, b"saltsaltsalt").unwrap().to_string()
}

fn parse_error(text: &str) -> String {
    Users::parse(text).err().expect("the file is refused").to_string()
}

#[test]
fn every_accepted_kind_of_hash_is_verified() {
    for hash in [BCRYPT, SHA_512, SHA_256, &argon2()] {
        let users = Users::parse(&format!("alice:{hash}\n")).unwrap();
        assert!(users.verify("alice", PASSWORD), "{hash}");
        assert!(!users.verify("alice", b"correct horsE"), "{hash}");
        assert!(!users.verify("alice", b""), "{hash}");
        assert!(!users.verify("bob", PASSWORD), "{hash}");
        assert!(!users.verify("", PASSWORD), "{hash}");
    }
}

/// The costs of the hashes that a check of this name computes, in order.
fn work(users: &Users, name: &str) -> Vec<Cost> {
    let work = std::cell::RefCell::new(Vec::new());
    users.verify_by(name, PASSWORD, |hash, _| {
        work.borrow_mut().push(hash.cost.clone());
        false
    });
    work.into_inner()
}

#[test]
fn every_name_costs_equal_work_in_a_file_of_mixed_hashes() {
    let expensive = BCRYPT.replace("$05$", "$12$");
    let sha_512 = SHA_512.replace("$6$", "$6$rounds=7000$");
    let text = format!(
        "cheap:{BCRYPT}\nexpensive:{expensive}\nsha-256:{SHA_256}\nsha-512:{sha_512}\nargon2:{}\n\
         cheap-too:{BCRYPT}\n",
        argon2()
    );
    let users = Users::parse(&text).unwrap();
    let unknown = work(&users, "nobody");
    assert_eq!(unknown.len(), 5, "{unknown:?}");
    assert!(
        unknown.contains(&Cost::Bcrypt { cost: 12 }),
        "the most expensive hash is included: {unknown:?}"
    );
    assert!(unknown.contains(&Cost::Sha { bits: 512, rounds: 7000, salt: 8 }), "{unknown:?}");
    for name in ["cheap", "expensive", "sha-256", "sha-512", "argon2", "cheap-too"] {
        assert_eq!(work(&users, name), unknown, "{name}");
    }
    let alike = Users::parse(&format!("a:{BCRYPT}\nb:{BCRYPT}\n")).unwrap();
    assert_eq!(work(&alike, "a").len(), 1, "hashes of equal cost need one computation");
    assert_eq!(work(&alike, "nobody"), work(&alike, "a"));
}

#[test]
fn a_decoys_password_is_not_accepted() {
    let users = Users::parse(&format!("alice:{BCRYPT}\nbob:{SHA_256}\n")).unwrap();
    assert!(users.verify("alice", PASSWORD) && users.verify("bob", PASSWORD));
    for (name, correct) in [("alice", PASSWORD), ("bob", PASSWORD)] {
        assert!(!users.verify(name, b"wrong"));
        assert!(!users.verify("nobody", correct), "the correct password of {name}");
    }
    // The password of another user matches the decoy.
    let (carol, dave) = (BCRYPT.replace("Nidk", "Nidl"), SHA_256);
    let users = Users::parse(&format!("carol:{carol}\ndave:{dave}\n")).unwrap();
    assert!(!users.verify("carol", PASSWORD));
}

#[test]
fn a_file_with_too_many_costs_is_refused_with_advice() {
    let lines = |costs: usize| -> String {
        (4..4 + costs)
            .map(|cost| format!("u{cost}:{}\n", BCRYPT.replace("$05$", &format!("${cost:02}$"))))
            .collect()
    };
    assert!(Users::parse(&lines(MAX_COSTS)).is_ok());
    assert!(parse_error(&lines(MAX_COSTS + 1)).contains("with equal settings"));
}

#[test]
fn a_file_may_contain_empty_lines_comments_and_unicode_names() {
    let text = format!("# family\n\nalice:{BCRYPT}\r\n  Jörg Müller:{SHA_256}  \n");
    let users = Users::parse(&text).unwrap();
    assert!(users.verify("alice", PASSWORD));
    assert!(users.verify("Jörg Müller", PASSWORD));
    assert!(!users.verify("# family", PASSWORD));
}

#[test]
fn an_oversized_password_is_wrong_without_a_check() {
    let users = Users::parse(&format!("alice:{SHA_512}")).unwrap();
    assert!(!users.verify("alice", &vec![b'x'; 1 << 20]));
}

#[test]
fn weak_hashes_are_refused_with_their_line_and_kind() {
    let text = format!("alice:{BCRYPT}\nbob:$apr1$saltsalt$Q17bmANhIA7pctgRGqF/S0\n");
    let message = parse_error(&text);
    assert!(
        message.starts_with("line 2: ") && message.contains("\"bob\"") && message.contains("MD5")
    );
    assert!(message.contains("htpasswd -B"), "{message}");
    assert!(parse_error("bob:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=").contains("SHA-1"));
    assert!(parse_error("bob:rl5FQ1VSrOrl.").contains("not hashed"));
}

#[test]
fn incomplete_and_too_expensive_hashes_are_refused() {
    for hash in [
        "$2y$05$tooshort",
        "$2y$31$NidkWKTLC3s0Ws5JSWJmsOUHgU0gIgrwocu9l.y/NSPz27uhzz2si",
        "$6$saltsalt$short",
        "$6$$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0",
        "$6$rounds=900000000$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0",
        "$argon2id$v=19$m=64,t=1,p=1",
        "$argon2id$v=19$m=4000000,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "",
    ] {
        parse_error(&format!("alice:{hash}"));
    }
}

#[test]
fn errors_contain_no_hash() {
    for text in [
        format!("alice:{BCRYPT}\nalice:{SHA_512}"),
        "secrethash".to_owned(),
        ":$2y$05$secrethash".to_owned(),
        "alice:secrethash".to_owned(),
        "alice:$2y$05$secrethash".to_owned(),
        String::new(),
    ] {
        let message = parse_error(&text);
        assert!(
            !message.contains("secrethash") && !message.contains("$2y") && !message.contains("$6"),
            "{message}"
        );
    }
}

#[test]
fn errors_name_the_reason_and_the_advice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    let message = check_users(&file).unwrap_err();
    assert!(message.contains("htpasswd -B -c") && message.contains("users"), "{message}");
    std::fs::write(&file, "").unwrap();
    assert!(check_users(&file).unwrap_err().contains("no user"));
    std::fs::write(&file, vec![b'x'; 2 << 20]).unwrap();
    assert!(check_users(&file).unwrap_err().contains("1 MiB"));
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(check_users(&file).is_err());
    std::fs::write(&file, format!("alice:{BCRYPT}")).unwrap();
    assert_eq!(check_users(&file), Ok(()));
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "(\\PC|\n|:|\\$|[0-9a-z]){0,80}") {
        if let Ok(users) = Users::parse(&text) {
            prop_assert!(!users.hashes.is_empty());
        }
    }

    #[test]
    fn a_damaged_hash_is_refused_or_does_not_match(at in 7usize..60, byte in "[./A-Za-z0-9]") {
        let mut hash = BCRYPT.to_owned();
        let unchanged = hash[at..=at] == byte;
        hash.replace_range(at..=at, &byte);
        if let Ok(users) = Users::parse(&format!("alice:{hash}")) {
            prop_assert_eq!(users.verify("alice", PASSWORD), unchanged);
        }
    }
}
