//! A thousand containers of a real engine.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use drowse_core::{Provider as _, ProviderEvent, Status};
use drowse_plugins::settings::Limits;
use drowse_tests::Docker;
use support::Stage;

const CROWD: usize = 1000;

/// Creates the containers without starting them.
fn create(socket: &Path) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CROWD {
                        return;
                    }
                    let labels = format!(r#"{{"drowse.enable":"true","number":"{number}"}}"#);
                    let body = format!(r#"{{"Image":"web","Cmd":["/boot"],"Labels":{labels}}}"#);
                    let request = format!(
                        "POST /containers/create?name=crowd-{number} HTTP/1.0\r\ncontent-type: \
                         application/json\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let mut engine = UnixStream::connect(socket).unwrap();
                    engine.write_all(request.as_bytes()).unwrap();
                    let mut answer = String::new();
                    engine.read_to_string(&mut answer).unwrap();
                    assert!(answer.contains(" 201 "), "{answer}");
                }
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_containers_are_listed_and_watched_in_little_memory() {
    let test = "a_thousand_containers_are_listed_and_watched_in_little_memory";
    let Some(engine) = Docker::shared(test) else { return };
    let stage = Stage::new();
    let socket = engine.socket();
    // The complete list would exceed this limit once parsed.
    let limits = Limits { memory: 4 << 20, response: 1 << 20, ..Limits::default() };
    let provider = support::docker_within(test, &stage, &[("engine", &socket)], limits).await;
    let Some(provider) = provider else { return };
    create(&socket);

    let mut events = provider.watch();
    let synced = events.recv().await;
    assert!(matches!(synced, Some(ProviderEvent::Synced)), "{synced:?}");
    for _ in 0..2 {
        let (mut names, mut pages, mut cursor) = (BTreeSet::new(), 0, None);
        loop {
            let (listed, next) = provider.list(cursor.as_deref()).await.unwrap();
            pages += 1;
            for seen in &listed {
                let number = seen.handle.strip_prefix("crowd-").unwrap();
                assert_eq!(seen.labels["number"], number);
                assert_eq!(seen.status, Status::Stopped);
            }
            names.extend(listed.into_iter().map(|seen| seen.handle));
            match next {
                None => break,
                next => cursor = next,
            }
        }
        assert_eq!(names.len(), CROWD);
        assert!(pages >= CROWD / 100, "{pages}");
    }
    // Every one of many changes is reported.
    let renamed: BTreeSet<String> = (0..100).map(|number| format!("known-{number}")).collect();
    for number in 0..100 {
        engine.run(&["rename", &format!("crowd-{number}"), &format!("known-{number}")]).unwrap();
    }
    let mut heard = BTreeSet::new();
    while heard != renamed {
        let Some(ProviderEvent::Changed(seen)) = events.recv().await else { continue };
        if renamed.contains(&seen.handle) && seen.status == Status::Stopped {
            heard.insert(seen.handle);
        }
    }
    assert_eq!(provider.state().faults, 0, "{:?}", provider.state().cause);
}
