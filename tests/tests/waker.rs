//! The http-waker provider through the binary, with a control plane with an HTTP API.

use std::time::Duration;

use anyhow::Result;
use drowse_tests::{ControlPlane, Hello, Home, Programs, Router, control_plane::KEY};

const PATIENCE: Duration = Duration::from_secs(60);

const START: &str = "POST /servers/lobby/start";

/// A router with a control plane that requires an API key. `key` is the configured one.
fn router(key: &str, boot: Duration) -> Result<(Router, ControlPlane, Hello)> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), boot)?;
    let plane = ControlPlane::begin(&hello)?;
    home.configure(&format!(
        "[provider.plane]\nplugin = \"http-waker\"\n\
         endpoint.api = {{ url = {:?}, headers = {{ {} = {key:?} }} }}\n\
         settings = {{ poll = \"50ms\" }}\n\n\
         [workload.lobby]\nprovider = \"plane\"\nidle = \"500ms\"\n\
         wake = {{ cooldown = \"100ms\" }}\n\n\
         [[route]]\nworkload = \"lobby\"\nport = 80\n",
        plane.url(),
        KEY.0,
    ))?;
    Ok((home.start()?, plane, hello))
}

fn count(plane: &ControlPlane, request: &str) -> usize {
    plane.requests().iter().filter(|sent| *sent == request).count()
}

#[test]
fn a_control_plane_gets_one_start_with_its_key_and_is_polled_until_it_reports_the_address()
-> Result<()> {
    let (router, plane, hello) = router(KEY.1, Duration::from_millis(300))?;
    plane.slow(3);
    let answer = router.get("any.example", "/")?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(count(&plane, START), 1, "{:?}", plane.requests());
    assert_eq!(hello.starts()?.len(), 1);

    router.wait_for_phase("lobby", "asleep", PATIENCE)?;
    assert_eq!(count(&plane, "POST /servers/lobby/stop"), 1, "{:?}", plane.requests());
    assert!(router.get("any.example", "/")?.text().contains("start 2"));
    Ok(())
}

#[test]
fn a_visitor_gets_the_error_of_the_control_plane() -> Result<()> {
    let (router, plane, _hello) = router(KEY.1, Duration::ZERO)?;
    plane.refuse(503, "no node has room");
    let answer = router.get("any.example", "/")?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let status = router.workload("lobby")?;
    assert!(status.to_string().contains("no node has room"), "{status:#}");
    Ok(())
}

#[test]
fn a_wrong_key_is_reported_without_its_value() -> Result<()> {
    let (router, _plane, hello) = router("wrong key", Duration::ZERO)?;
    assert_eq!(router.get("any.example", "/")?.status, 503);
    let status = router.workload("lobby")?.to_string();
    assert!(status.contains("401: the key is missing"), "{status}");
    let log = router.log().since(0).join("\n");
    assert!(!log.contains("wrong key"), "{log}");
    assert_eq!(hello.starts()?.len(), 0);
    Ok(())
}
