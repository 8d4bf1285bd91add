//! Windows and alarms, with time zones and days that are too short or too long.

use std::time::SystemTime;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> SystemTime {
    text.parse::<Timestamp>().expect("a time").into()
}

fn window(text: &str) -> Window {
    text.parse().expect("a window")
}

fn alarm(text: &str) -> Alarm {
    text.parse().expect("an alarm")
}

#[test]
fn a_window_includes_its_begin_and_excludes_its_end() {
    let window = window("mon-fri 08:00-18:00 Europe/Berlin");
    // 2026-11-20 is a Friday; Berlin is one hour ahead.
    assert_eq!(window.until(at("2026-11-20T06:59:59Z")), None);
    assert_eq!(window.until(at("2026-11-20T07:00:00Z")), Some(at("2026-11-20T17:00:00Z")));
    assert_eq!(window.until(at("2026-11-20T16:59:59Z")), Some(at("2026-11-20T17:00:00Z")));
    assert_eq!(window.until(at("2026-11-20T17:00:00Z")), None);
    assert_eq!(window.next(at("2026-11-20T17:00:00Z")), Some(at("2026-11-23T07:00:00Z")));
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let window = window("sat 22:00-02:00 UTC");
    assert_eq!(window.until(at("2026-11-22T01:00:00Z")), Some(at("2026-11-22T02:00:00Z")));
    assert_eq!(window.until(at("2026-11-21T01:00:00Z")), None);
    assert_eq!(window.next(at("2026-11-22T01:00:00Z")), Some(at("2026-11-28T22:00:00Z")));
}

#[test]
fn a_whole_day_is_written_from_midnight_to_midnight() {
    let window = window("sun 00:00-24:00 UTC");
    assert_eq!(window.until(at("2026-11-22T23:59:00Z")), Some(at("2026-11-23T00:00:00Z")));
}

#[test]
fn a_time_that_the_clock_skips_in_spring_begins_when_the_clock_has_moved() {
    let window = window("02:30-04:00 Europe/Berlin");
    assert_eq!(window.next(at("2027-03-27T23:00:00Z")), Some(at("2027-03-28T01:30:00Z")));
}

#[test]
fn an_alarm_goes_off_by_the_clock_of_its_zone() {
    let alarm = alarm("0 7 * * mon-fri Europe/Berlin");
    assert_eq!(alarm.next(at("2026-11-20T06:00:00Z")), Some(at("2026-11-23T06:00:00Z")));
    assert_eq!(alarm.next(at("2026-11-20T05:59:00Z")), Some(at("2026-11-20T06:00:00Z")));
}

#[test]
fn invalid_schedules_are_refused_with_the_reason() {
    for (text, why) in [
        ("", "no times"),
        ("mon-fri", "no times"),
        ("8-18", "not a time of day"),
        ("moonday 08:00-18:00", "not a day"),
        ("08:00-18:00 Europe/Atlantis", "not a time zone"),
        ("08:00-18:00 UTC now", "one word too many"),
        ("08:00-08:00", "same time"),
        ("25:00-26:00", "not a time of day"),
    ] {
        let error = text.parse::<Window>().expect_err(text).to_string();
        assert!(error.contains(why), "{text:?}: {error}");
    }
    for text in ["", "* * *", "61 * * * *", "0 7 * * mon Europe/Atlantis", "a b c d e"] {
        let error = text.parse::<Alarm>().expect_err(text).to_string();
        assert!(!error.is_empty(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(text in "[a-z0-9:,\\- */]{0,30}") {
        let _ = text.parse::<Window>();
        let _ = text.parse::<Alarm>();
    }

    #[test]
    fn the_next_window_begins_after_now_and_contains_its_begin(
        seconds in 1_500_000_000i64..2_500_000_000,
        first in 0usize..7,
        from in 0u8..23,
        length in 1u8..23,
    ) {
        let to = (from + length) % 24;
        prop_assume!(from != to);
        let text = format!("{} {from:02}:00-{to:02}:00 America/New_York", DAYS[first]);
        let window = window(&text);
        let now: SystemTime = Timestamp::from_second(seconds).expect("in range").into();
        let next = window.next(now).expect("there is always one within a week");
        prop_assert!(next > now);
        let end = window.until(next).expect("it contains its begin");
        prop_assert!(end > next);
        prop_assert_eq!(window.until(end), None);
    }
}

/// Also run in a zone that has no name, by [`a_zone_without_a_name_applies_to_alarms_as_well`].
#[test]
fn without_a_zone_an_alarm_and_a_window_use_the_system_zone() {
    let window: Window = "08:00-18:00".parse().expect("a window");
    let alarm: Alarm = "0 8 * * *".parse().expect("an alarm");
    let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_154_400);
    assert_eq!(alarm.next(now), window.next(now));
}

#[test]
fn a_zone_without_a_name_applies_to_alarms_as_well() {
    let test = "schedule::tests::without_a_zone_an_alarm_and_a_window_use_the_system_zone";
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program)
        .args(["--exact", test])
        .env("TZ", "XXX-5:30")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
