use std::fs;

use http::HeaderValue;

use super::*;
use crate::{
    access::auth::password_queue::MAX_PER_CLIENT,
    http::negotiation::{MediaType, Negotiated},
    page::Theme,
};

const JSON: Negotiated = Negotiated { media_type: MediaType::Json, repeatable: true };
const ALICE: &str = "alice:$2y$05$NidkWKTLC3s0Ws5JSWJmsOUHgU0gIgrwocu9l.y/NSPz27uhzz2si\n";
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// `alice:correct horse`
const CORRECT: &str = "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==";

fn basic(text: &str) -> (tempfile::TempDir, Arc<BasicAuthenticator>) {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    fs::write(&users, text).unwrap();
    let settings =
        BasicAuth { users, realm: "home".into(), user_header: Some("remote-user".into()) };
    (
        directory,
        Arc::new(BasicAuthenticator::new("family", settings, PasswordQueue::new(1), [7; 32])),
    )
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

async fn status(basic: &Arc<BasicAuthenticator>, authorization: &str) -> u16 {
    status_from(CLIENT, basic, authorization).await
}

async fn status_from(client: IpAddr, basic: &Arc<BasicAuthenticator>, authorization: &str) -> u16 {
    let mut headers = headers(&[("authorization", authorization)]);
    match basic.authenticate(client, &mut headers).await {
        Ok(_) => 200,
        Err(Rejection::Response(page)) => page.status().as_u16(),
        Err(Rejection::Problem(problem)) => problem.status().as_u16(),
        Err(_) => 0,
    }
}

fn encoded(text: impl AsRef<[u8]>) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

#[tokio::test]
async fn a_correct_password_is_accepted_and_not_sent_to_the_workload() {
    let (_directory, basic) = basic(ALICE);
    let mut request =
        headers(&[("authorization", CORRECT), ("remote-user", "root"), ("Remote_User", "root")]);
    let identity = basic.authenticate(CLIENT, &mut request).await.ok().unwrap();
    identity.add_to(&mut request);
    assert_eq!(request, headers(&[("remote-user", "alice")]));
}

#[tokio::test]
async fn a_request_without_the_correct_password_gets_a_challenge() {
    let (_directory, basic) = basic(ALICE);
    let Err(Rejection::Problem(problem)) = basic.authenticate(CLIENT, &mut HeaderMap::new()).await
    else {
        panic!("a request without a password is refused")
    };
    let page = problem.render(JSON, &Theme::default());
    assert_eq!(page.status(), 401);
    assert_eq!(page.headers()["www-authenticate"], "Basic realm=\"home\", charset=\"UTF-8\"");
    for wrong in [
        encoded("alice:wrong"),
        encoded("bob:correct horse"),
        encoded("alice"),
        encoded(b"alice:correct horse\0"),
        encoded(b"al\xffice:correct horse"),
        CORRECT.replace("Basic", "Bearer"),
        CORRECT.replace('=', "*"),
        "Basic".to_owned(),
        String::new(),
        format!("{CORRECT}{}", " ".repeat(MAX_HEADER_BYTES)),
    ] {
        assert_eq!(status(&basic, &wrong).await, 401, "{wrong}");
    }
    let mut twice = headers(&[("authorization", CORRECT), ("authorization", CORRECT)]);
    assert!(basic.authenticate(CLIENT, &mut twice).await.is_err());
    assert_eq!(status(&basic, &CORRECT.to_lowercase().replace("basic", "x")).await, 401);
    assert_eq!(status(&basic, &CORRECT.replace("Basic", "bAsIc")).await, 200);
}

#[tokio::test]
async fn verdicts_are_cached() {
    let (directory, basic) = basic(ALICE);
    assert_eq!(status(&basic, CORRECT).await, 200);
    assert_eq!(status(&basic, &encoded("alice:wrong")).await, 401);
    // No check is possible any more; the cached verdicts remain valid.
    drop(directory);
    basic.queue.close();
    assert_eq!(status(&basic, CORRECT).await, 200);
    assert_eq!(status(&basic, &encoded("alice:wrong")).await, 401);
    assert_eq!(status(&basic, &encoded("alice:other")).await, 503);
}

/// Another client.
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

#[tokio::test]
async fn a_client_with_120_wrong_passwords_does_not_block_another_client() {
    let (_directory, basic) = basic(ALICE);
    let permit = basic.queue.acquire_hash_permit().await;
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..120 {
        let basic = basic.clone();
        flood.spawn(async move { status(&basic, &encoded(format!("alice:{n}"))).await });
    }
    let mut refused = 0;
    while refused < 120 - MAX_PER_CLIENT {
        assert_eq!(
            flood.join_next().await.unwrap().unwrap(),
            429,
            "more checks than one client may have"
        );
        refused += 1;
    }
    assert_eq!(basic.queue.len(), MAX_PER_CLIENT);
    drop(permit);
    assert_eq!(status_from(OTHER, &basic, CORRECT).await, 200);
    let mut statuses = Vec::new();
    while let Some(status) = flood.join_next().await {
        statuses.push(status.unwrap());
    }
    let wrong = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(wrong, 10, "then the client must wait: {statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
}

/// Raises the client's pause to the maximum.
fn prolong_pause(basic: &BasicAuthenticator) {
    for _ in 0..10 {
        lock(&basic.failures).record(CLIENT, Instant::now());
    }
}

#[tokio::test]
async fn after_ten_wrong_passwords_a_client_must_wait_and_others_need_not() {
    let (_directory, basic) = basic(ALICE);
    for n in 0..10 {
        assert!(lock(&basic.failures).pause(CLIENT, Instant::now()).is_none());
        assert_eq!(status(&basic, &encoded(format!("alice:{n}"))).await, 401);
    }
    prolong_pause(&basic);
    let mut request = headers(&[("authorization", CORRECT)]);
    let Err(Rejection::Problem(problem)) = basic.authenticate(CLIENT, &mut request).await else {
        panic!("during its pause the client is refused even with the correct password")
    };
    let answer = problem.render(JSON, &Theme::default());
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "60");
    assert_eq!(status_from(OTHER, &basic, CORRECT).await, 200);
    assert_eq!(status(&basic, CORRECT).await, 200, "a cached verdict needs no check");
    assert_eq!(status(&basic, &encoded("alice:9")).await, 401);
    assert_eq!(status(&basic, &encoded("alice:other")).await, 429);
}

#[tokio::test]
async fn credentials_that_were_correct_before_are_checked_during_the_pause_of_their_address() {
    let (_directory, basic) = basic(ALICE);
    assert_eq!(status(&basic, CORRECT).await, 200);
    prolong_pause(&basic);
    // The verdict expires.
    let now = Instant::now();
    lock(&basic.verdicts).correct.values_mut().for_each(|until| *until = now);
    assert_eq!(status(&basic, &encoded("alice:other")).await, 429);
    assert_eq!(status(&basic, CORRECT).await, 200);
}

#[tokio::test]
async fn a_changed_user_file_is_reloaded_and_a_deleted_one_is_ignored() {
    let (directory, basic) = basic(ALICE);
    let file = directory.path().join("users");
    assert_eq!(status(&basic, CORRECT).await, 200);
    let expire = || lock(&basic.user_file).checked = None;
    fs::write(&file, ALICE.replace("alice", "carol")).unwrap();
    expire();
    assert_eq!(status(&basic, &encoded("carol:correct horse")).await, 200);
    assert_eq!(status(&basic, CORRECT).await, 401, "verdicts of the old file are dropped");
    fs::remove_file(&file).unwrap();
    expire();
    assert_eq!(status(&basic, &encoded("carol:wrong")).await, 401);
    assert!(lock(&basic.user_file).users().0.is_some());
}

#[tokio::test]
async fn without_a_user_file_every_request_is_refused() {
    let (directory, basic) = basic(ALICE);
    fs::remove_file(directory.path().join("users")).unwrap();
    assert_eq!(status(&basic, CORRECT).await, 503);
    fs::write(directory.path().join("users"), ALICE).unwrap();
    lock(&basic.user_file).checked = None;
    assert_eq!(status(&basic, CORRECT).await, 200);
}

#[tokio::test]
async fn an_unreadable_user_file_is_read_again_although_its_stamp_is_unchanged() {
    let (directory, basic) = basic(ALICE);
    let file = directory.path().join("users");
    fs::write(&file, vec![0xff; ALICE.len()]).unwrap();
    let written = fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(status(&basic, CORRECT).await, 503);
    fs::write(&file, ALICE).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(written).unwrap();
    lock(&basic.user_file).checked = None;
    assert_eq!(status(&basic, CORRECT).await, 200);
}
