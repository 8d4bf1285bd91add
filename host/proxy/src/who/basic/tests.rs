use http::HeaderValue;

use super::*;
use crate::{answer::Format, who::queue::OF_ONE};

const ALICE: &str = "alice:$2y$05$NidkWKTLC3s0Ws5JSWJmsOUHgU0gIgrwocu9l.y/NSPz27uhzz2si\n";
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// `alice:correct horse`
const RIGHT_ONE: &str = "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==";

fn basic(text: &str) -> (tempfile::TempDir, Arc<Basic>) {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    fs::write(&users, text).unwrap();
    let settings =
        BasicAuth { users, realm: "home".into(), user_header: Some("remote-user".into()) };
    (directory, Arc::new(Basic::new("family", settings, PasswordQueue::new(1), [7; 32])))
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

async fn status(basic: &Arc<Basic>, authorization: &str) -> u16 {
    status_from(CLIENT, basic, authorization).await
}

async fn status_from(client: IpAddr, basic: &Arc<Basic>, authorization: &str) -> u16 {
    let mut headers = headers(&[("authorization", authorization)]);
    match basic.authenticate(client, &mut headers).await {
        Ok(_) => 200,
        Err(Ended::Response(page)) => page.status().as_u16(),
        Err(Ended::Problem(problem)) => problem.status().as_u16(),
        Err(_) => 0,
    }
}

fn encoded(text: impl AsRef<[u8]>) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

#[tokio::test]
async fn the_right_password_passes_and_goes_no_further() {
    let (_directory, basic) = basic(ALICE);
    let mut request =
        headers(&[("authorization", RIGHT_ONE), ("remote-user", "root"), ("Remote_User", "root")]);
    let vouched = basic.authenticate(CLIENT, &mut request).await.ok().unwrap();
    vouched.tell(&mut request);
    assert_eq!(request, headers(&[("remote-user", "alice")]));
}

#[tokio::test]
async fn without_the_right_password_it_is_asked_for() {
    let (_directory, basic) = basic(ALICE);
    let Err(Ended::Problem(problem)) = basic.authenticate(CLIENT, &mut HeaderMap::new()).await
    else {
        panic!("nobody is let in without a password")
    };
    let page = problem.response(Format::Json);
    assert_eq!(page.status(), 401);
    assert_eq!(page.headers()["www-authenticate"], "Basic realm=\"home\", charset=\"UTF-8\"");
    for wrong in [
        encoded("alice:wrong"),
        encoded("bob:correct horse"),
        encoded("alice"),
        encoded(b"alice:correct horse\0"),
        encoded(b"al\xffice:correct horse"),
        RIGHT_ONE.replace("Basic", "Bearer"),
        RIGHT_ONE.replace('=', "*"),
        "Basic".to_owned(),
        String::new(),
        format!("{RIGHT_ONE}{}", " ".repeat(LONGEST)),
    ] {
        assert_eq!(status(&basic, &wrong).await, 401, "{wrong}");
    }
    let mut twice = headers(&[("authorization", RIGHT_ONE), ("authorization", RIGHT_ONE)]);
    assert!(basic.authenticate(CLIENT, &mut twice).await.is_err());
    assert_eq!(status(&basic, &RIGHT_ONE.to_lowercase().replace("basic", "x")).await, 401);
    assert_eq!(status(&basic, &RIGHT_ONE.replace("Basic", "bAsIc")).await, 200);
}

#[tokio::test]
async fn a_password_is_checked_once_in_a_while() {
    let (directory, basic) = basic(ALICE);
    assert_eq!(status(&basic, RIGHT_ONE).await, 200);
    assert_eq!(status(&basic, &encoded("alice:wrong")).await, 401);
    // Nothing can be checked any more, and what was checked counts.
    drop(directory);
    basic.queue.close();
    assert_eq!(status(&basic, RIGHT_ONE).await, 200);
    assert_eq!(status(&basic, &encoded("alice:wrong")).await, 401);
    assert_eq!(status(&basic, &encoded("alice:other")).await, 503);
}

/// Another client.
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

#[tokio::test]
async fn a_client_with_120_wrong_passwords_does_not_keep_another_client_out() {
    let (_directory, basic) = basic(ALICE);
    let core = basic.queue.hold_core().await;
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..120 {
        let basic = basic.clone();
        flood.spawn(async move { status(&basic, &encoded(format!("alice:{n}"))).await });
    }
    let mut refused = 0;
    while refused < 120 - OF_ONE {
        assert_eq!(flood.join_next().await.unwrap().unwrap(), 429, "more than its share");
        refused += 1;
    }
    assert_eq!(basic.queue.checks(), OF_ONE);
    drop(core);
    assert_eq!(status_from(OTHER, &basic, RIGHT_ONE).await, 200);
    let mut statuses = Vec::new();
    while let Some(status) = flood.join_next().await {
        statuses.push(status.unwrap());
    }
    let wrong = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(wrong, 10, "after those it has to wait: {statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
}

/// Makes the client's pause a long one.
fn prolong_pause(basic: &Basic) {
    for _ in 0..10 {
        lock(&basic.failures).note(CLIENT, Instant::now());
    }
}

#[tokio::test]
async fn after_ten_wrong_passwords_a_client_has_to_wait_and_others_do_not() {
    let (_directory, basic) = basic(ALICE);
    for n in 0..10 {
        assert!(lock(&basic.failures).pause(CLIENT, Instant::now()).is_none());
        assert_eq!(status(&basic, &encoded(format!("alice:{n}"))).await, 401);
    }
    prolong_pause(&basic);
    let mut request = headers(&[("authorization", RIGHT_ONE)]);
    let Err(Ended::Problem(problem)) = basic.authenticate(CLIENT, &mut request).await else {
        panic!("it has to wait, whatever it sends")
    };
    let answer = problem.response(Format::Json);
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "60");
    assert_eq!(status_from(OTHER, &basic, RIGHT_ONE).await, 200);
    assert_eq!(status(&basic, RIGHT_ONE).await, 200, "what is known needs no check");
    assert_eq!(status(&basic, &encoded("alice:9")).await, 401);
    assert_eq!(status(&basic, &encoded("alice:other")).await, 429);
}

#[tokio::test]
async fn credentials_that_were_right_before_are_checked_whatever_others_of_their_address_do() {
    let (_directory, basic) = basic(ALICE);
    assert_eq!(status(&basic, RIGHT_ONE).await, 200);
    prolong_pause(&basic);
    // They have to be checked again.
    let now = Instant::now();
    lock(&basic.known).right.values_mut().for_each(|until| *until = now);
    assert_eq!(status(&basic, &encoded("alice:other")).await, 429);
    assert_eq!(status(&basic, RIGHT_ONE).await, 200);
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_a_lost_one_changes_nothing() {
    let (directory, basic) = basic(ALICE);
    let file = directory.path().join("users");
    assert_eq!(status(&basic, RIGHT_ONE).await, 200);
    let look_again = || lock(&basic.book).looked = None;
    fs::write(&file, ALICE.replace("alice", "carol")).unwrap();
    look_again();
    assert_eq!(status(&basic, &encoded("carol:correct horse")).await, 200);
    assert_eq!(status(&basic, RIGHT_ONE).await, 401, "what was known of the old file is forgotten");
    fs::remove_file(&file).unwrap();
    look_again();
    assert_eq!(status(&basic, &encoded("carol:wrong")).await, 401);
    assert!(basic.users().is_some());
}

#[tokio::test]
async fn while_there_is_no_file_nobody_is_let_in() {
    let (directory, basic) = basic(ALICE);
    fs::remove_file(directory.path().join("users")).unwrap();
    assert_eq!(status(&basic, RIGHT_ONE).await, 503);
    fs::write(directory.path().join("users"), ALICE).unwrap();
    lock(&basic.book).looked = None;
    assert_eq!(status(&basic, RIGHT_ONE).await, 200);
}

#[tokio::test]
async fn a_file_that_could_not_be_read_is_tried_again_although_it_looks_the_same() {
    let (directory, basic) = basic(ALICE);
    let file = directory.path().join("users");
    fs::write(&file, vec![0xff; ALICE.len()]).unwrap();
    let written = fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(status(&basic, RIGHT_ONE).await, 503);
    fs::write(&file, ALICE).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(written).unwrap();
    lock(&basic.book).looked = None;
    assert_eq!(status(&basic, RIGHT_ONE).await, 200);
}

#[test]
fn so_many_credentials_are_remembered_and_no_more() {
    let mut known = Known::default();
    for n in 0..3 * REMEMBERED as u64 {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_ne_bytes());
        known.remember(digest, false);
        assert_eq!(known.get(&digest), Some(false));
    }
    known.remember([9; 32], true);
    assert!(known.wrong.len() <= REMEMBERED);
    assert_eq!(known.get(&[9; 32]), Some(true), "wrong ones push out no right ones");
    assert_eq!(known.get(&[8; 32]), None);
}
