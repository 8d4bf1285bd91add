use super::*;

#[test]
fn durations_are_read_with_their_units() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
    assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
    assert_eq!(duration("1d 2h"), Ok(Duration::from_secs(93_600)));
    assert_eq!(duration("0s"), Ok(Duration::ZERO));
}

#[test]
fn a_duration_without_unit_or_with_an_unknown_one_is_refused() {
    for text in ["", "10", "10 minutes", "m", "1.5h", "10m1h", "1m1m", "99999999999999999999s"] {
        assert!(duration(text).is_err(), "{text:?}");
    }
    assert!(duration("20000000000000000d").is_err());
}

#[test]
fn sizes_are_read_with_their_units() {
    assert_eq!(size("64MiB"), Ok(64 << 20));
    assert_eq!(size("16MB"), Ok(16_000_000));
    assert_eq!(size("512 B"), Ok(512));
}

#[test]
fn a_size_without_unit_is_refused_and_a_near_one_suggested() {
    assert!(size("64").is_err());
    assert_eq!(size("64mb"), Err("`mb` is not a unit; did you mean `MiB`?".to_owned()));
    assert!(size("1GiB1MiB").is_err());
    assert!(size("99999999999GiB").is_err());
}
