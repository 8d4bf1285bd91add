use http::HeaderValue;

use super::*;

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
    (directory, Arc::new(Basic::new("family", settings, Arc::new(Semaphore::new(1)), [7; 32])))
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

async fn status(basic: &Arc<Basic>, authorization: &str) -> u16 {
    let mut headers = headers(&[("authorization", authorization)]);
    match basic.authenticate(CLIENT, &mut headers).await {
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
    let Err(Ended::Response(page)) = basic.authenticate(CLIENT, &mut HeaderMap::new()).await else {
        panic!("nobody is let in without a password")
    };
    assert_eq!(page.status(), 401);
    assert_eq!(page.headers()[WWW_AUTHENTICATE], "Basic realm=\"home\", charset=\"UTF-8\"");
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
    basic.desk.close();
    assert_eq!(status(&basic, RIGHT_ONE).await, 200);
    assert_eq!(status(&basic, &encoded("alice:wrong")).await, 401);
    assert_eq!(status(&basic, &encoded("alice:other")).await, 503);
}

#[tokio::test]
async fn so_many_checks_wait_and_more_are_turned_away() {
    let (_directory, basic) = basic(ALICE);
    let busy = basic.desk.clone().acquire_owned().await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..QUEUE {
        let basic = basic.clone();
        waiting.spawn(async move { status(&basic, &encoded(format!("alice:{n}"))).await });
    }
    while basic.queue.load(Ordering::Relaxed) < QUEUE {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&basic, RIGHT_ONE).await, 503);
    drop(busy);
    while let Some(status) = waiting.join_next().await {
        assert_eq!(status.unwrap(), 401);
    }
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
