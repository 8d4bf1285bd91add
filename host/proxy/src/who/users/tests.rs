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

fn wrong(text: &str) -> String {
    Users::parse(text).err().expect("it is refused").to_string()
}

#[test]
fn every_kind_of_hash_that_is_accepted_is_checked() {
    for hash in [BCRYPT, SHA_512, SHA_256, &argon2()] {
        let users = Users::parse(&format!("alice:{hash}\n")).unwrap();
        assert!(users.verify("alice", PASSWORD), "{hash}");
        assert!(!users.verify("alice", b"correct horsE"), "{hash}");
        assert!(!users.verify("alice", b""), "{hash}");
        assert!(!users.verify("bob", PASSWORD), "{hash}");
        assert!(!users.verify("", PASSWORD), "{hash}");
    }
}

/// What the check of this name computes, in order.
fn work(users: &Users, name: &str) -> Vec<Cost> {
    let work = std::cell::RefCell::new(Vec::new());
    users.verify_by(name, PASSWORD, |hash, _| {
        work.borrow_mut().push(hash.cost.clone());
        false
    });
    work.into_inner()
}

#[test]
fn every_name_costs_the_same_work_in_a_file_of_mixed_hashes() {
    let dear = BCRYPT.replace("$05$", "$12$");
    let sha_512 = SHA_512.replace("$6$", "$6$rounds=7000$");
    let text = format!(
        "cheap:{BCRYPT}\ndear:{dear}\nsha-256:{SHA_256}\nsha-512:{sha_512}\nargon2:{}\n\
         cheap-too:{BCRYPT}\n",
        argon2()
    );
    let users = Users::parse(&text).unwrap();
    let unknown = work(&users, "nobody");
    assert_eq!(unknown.len(), 5, "{unknown:?}");
    assert!(unknown.contains(&Cost::Bcrypt { cost: 12 }), "the costliest is among it: {unknown:?}");
    assert!(unknown.contains(&Cost::Sha { bits: 512, rounds: 7000, salt: 8 }), "{unknown:?}");
    for name in ["cheap", "dear", "sha-256", "sha-512", "argon2", "cheap-too"] {
        assert_eq!(work(&users, name), unknown, "{name}");
    }
    let alike = Users::parse(&format!("a:{BCRYPT}\nb:{BCRYPT}\n")).unwrap();
    assert_eq!(work(&alike, "a").len(), 1, "hashes that are alike cost one");
    assert_eq!(work(&alike, "nobody"), work(&alike, "a"));
}

#[test]
fn a_decoy_lets_nobody_in() {
    let users = Users::parse(&format!("alice:{BCRYPT}\nbob:{SHA_256}\n")).unwrap();
    assert!(users.verify("alice", PASSWORD) && users.verify("bob", PASSWORD));
    for (name, right) in [("alice", PASSWORD), ("bob", PASSWORD)] {
        assert!(!users.verify(name, b"wrong"));
        assert!(!users.verify("nobody", right), "the right password of {name}");
    }
    // Another user's password is right for the decoy that stands for that user.
    let (carol, dave) = (BCRYPT.replace("Nidk", "Nidl"), SHA_256);
    let users = Users::parse(&format!("carol:{carol}\ndave:{dave}\n")).unwrap();
    assert!(!users.verify("carol", PASSWORD));
}

#[test]
fn a_file_of_too_many_costs_is_refused_with_what_to_do() {
    let lines = |costs: usize| -> String {
        (4..4 + costs)
            .map(|cost| format!("u{cost}:{}\n", BCRYPT.replace("$05$", &format!("${cost:02}$"))))
            .collect()
    };
    assert!(Users::parse(&lines(COSTS)).is_ok());
    assert!(wrong(&lines(COSTS + 1)).contains("make them alike"));
}

#[test]
fn a_file_may_have_empty_lines_comments_and_any_names() {
    let text = format!("# family\n\nalice:{BCRYPT}\r\n  Jörg Müller:{SHA_256}  \n");
    let users = Users::parse(&text).unwrap();
    assert!(users.verify("alice", PASSWORD));
    assert!(users.verify("Jörg Müller", PASSWORD));
    assert!(!users.verify("# family", PASSWORD));
}

#[test]
fn an_endless_password_is_wrong_without_being_checked() {
    let users = Users::parse(&format!("alice:{SHA_512}")).unwrap();
    assert!(!users.verify("alice", &vec![b'x'; 1 << 20]));
}

#[test]
fn hashes_that_are_guessed_too_easily_are_named_and_refused() {
    let text = format!("alice:{BCRYPT}\nbob:$apr1$saltsalt$Q17bmANhIA7pctgRGqF/S0\n");
    let said = wrong(&text);
    assert!(said.starts_with("line 2: ") && said.contains("\"bob\"") && said.contains("MD5"));
    assert!(said.contains("htpasswd -B"), "{said}");
    assert!(wrong("bob:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=").contains("SHA-1"));
    assert!(wrong("bob:rl5FQ1VSrOrl.").contains("not hashed"));
}

#[test]
fn broken_and_ruinous_hashes_are_refused() {
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
        wrong(&format!("alice:{hash}"));
    }
}

#[test]
fn no_hash_is_told() {
    for text in [
        format!("alice:{BCRYPT}\nalice:{SHA_512}"),
        "secrethash".to_owned(),
        ":$2y$05$secrethash".to_owned(),
        "alice:secrethash".to_owned(),
        "alice:$2y$05$secrethash".to_owned(),
        String::new(),
    ] {
        let said = wrong(&text);
        assert!(
            !said.contains("secrethash") && !said.contains("$2y") && !said.contains("$6"),
            "{said}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    let said = check_users(&file).unwrap_err();
    assert!(said.contains("htpasswd -B -c") && said.contains("users"), "{said}");
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
    fn any_text_is_read_or_refused(text in "(\\PC|\n|:|\\$|[0-9a-z]){0,80}") {
        if let Ok(users) = Users::parse(&text) {
            prop_assert!(!users.hashes.is_empty());
        }
    }

    #[test]
    fn a_damaged_hash_is_refused_or_lets_nobody_in_by_accident(at in 7usize..60, byte in "[./A-Za-z0-9]") {
        let mut hash = BCRYPT.to_owned();
        let same = hash[at..=at] == byte;
        hash.replace_range(at..=at, &byte);
        if let Ok(users) = Users::parse(&format!("alice:{hash}")) {
            prop_assert_eq!(users.verify("alice", PASSWORD), same);
        }
    }
}
