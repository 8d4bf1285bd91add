use super::*;
use crate::{
    Description, Error, NoSettings, Provider, Status, StopOptions, Target,
    testing::{Harness, Report},
};

/// Returns scripted polls, then fails.
struct Poller;

fn polls() -> Vec<Vec<Observation>> {
    let a = Observation::new("a", Status::Stopped, "off");
    let b = Observation::new("b", Status::Running, "on");
    let a_on = Observation::new("a", Status::Running, "on");
    vec![
        vec![a.clone(), b.clone()],
        vec![a, b.clone()],
        vec![a_on.clone(), b],
        vec![a_on, Observation::new("c", Status::Stopped, "off")],
    ]
}

impl Provider for Poller {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        Description::new("looker", "1.0.0", "looks")
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn stop(&self, target: &Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn status(&self, target: &Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn watch(&self) -> Result<()> {
        let mut polls = polls().into_iter();
        watch(Duration::from_secs(5), || {
            polls.next().ok_or_else(|| Error::unavailable("poll: no answer"))
        })
    }
}

#[test]
fn differences_between_polls_are_emitted_and_a_failed_poll_ends_the_watch() {
    let test = Harness::<Poller>::new();
    let watched = test.watch();
    assert_eq!(watched.reports[0], Report::Synced);
    let seen: Vec<(&str, &Status)> =
        watched.observations().iter().map(|it| (it.handle.as_str(), &it.status)).collect();
    assert_eq!(seen, [("a", &Status::Running), ("c", &Status::Stopped), ("b", &Status::Missing)]);
    assert_eq!(watched.error.unwrap().message(), "poll: no answer");
    assert_eq!(test.elapsed(), Duration::from_secs(20));
}

#[test]
fn all_pages_are_joined_and_a_repeated_cursor_ends() {
    let mut cursors = Vec::new();
    let observations = all_pages(|cursor| {
        cursors.push(cursor.map(str::to_owned));
        let name = cursor.unwrap_or("first");
        Ok(Page { observations: vec![Observation::missing(name)], next: Some("more".to_owned()) })
    })
    .unwrap();
    assert_eq!(cursors, [None, Some("more".to_owned())]);
    assert_eq!(observations.len(), 2);
}
