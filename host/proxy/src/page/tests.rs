use std::{sync::Arc, time::Instant};

use drowse_core::Generation;

use super::*;

fn snapshot(phase: Phase, failure: Option<ErrorCode>) -> Snapshot {
    let rest_until = failure.is_some().then(|| Instant::now() + Duration::from_secs(9));
    Snapshot {
        phase,
        generation: Generation(1),
        failure: failure
            .map(|code| Arc::new(Failure::new(code, "connect 172.17.0.2:80: connection refused"))),
        since: Instant::now() - Duration::from_secs(7),
        rest_until,
    }
}

#[test]
fn the_page_says_who_is_waking_and_for_how_long_and_reloads_itself() {
    let (page, reload) = waiting("blog", &snapshot(Phase::Waking, None));
    for part in [
        "<html lang=\"en\">",
        "<title>blog is waking up</title>",
        "role=\"status\"",
        "started 7 seconds ago",
        "State: waking.",
        "prefers-color-scheme:dark",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(page.contains(&format!("http-equiv=\"refresh\" content=\"{reload}\"")));
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("href="));
}

#[test]
fn a_failure_is_named_without_the_operators_details() {
    let (page, reload) = waiting("blog", &snapshot(Phase::Failed, Some(ErrorCode::Timeout)));
    assert!(page.contains("blog could not be woken"));
    assert!(page.contains("It did not become ready in time."));
    assert!(page.contains("tries again by itself"));
    assert!(!page.contains("172.17"), "{page}");
    assert!((8..=10).contains(&reload), "{reload}");
}

#[test]
fn every_phase_has_a_page() {
    for phase in [
        Phase::Asleep,
        Phase::Waking,
        Phase::Ready,
        Phase::Draining,
        Phase::Stopping,
        Phase::Failed,
        Phase::Missing,
    ] {
        let (page, _) = waiting("blog", &snapshot(phase, None));
        assert!(page.contains(&format!("State: {phase}.")), "{page}");
    }
}

#[test]
fn what_is_shown_cannot_become_markup() {
    let title = "<b>\"a\" & 'b'</b>";
    let page = Page { title, paragraphs: &[title.to_owned()], reload: None }.to_string();
    assert!(!page.contains("<b>") && !page.contains("http-equiv"));
    assert_eq!(page.matches("&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/b&gt;").count(), 3);
}

#[test]
fn ages_are_spoken() {
    let cases = [(0, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (120, "2 minutes")];
    for (seconds, text) in cases {
        assert_eq!(spoken(Duration::from_secs(seconds)), text);
    }
    assert_eq!(spoken(Duration::from_secs(7200)), "2 hours");
}
