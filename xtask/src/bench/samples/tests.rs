use super::*;

#[test]
fn quantiles_are_values_that_were_measured() {
    let samples: Samples = (1..=100).rev().map(f64::from).collect();
    assert_eq!(samples.median(), 50.0);
    assert_eq!(samples.p99(), 99.0);
}

#[test]
fn few_values_have_their_greatest_as_p99() {
    let samples: Samples = [3.0, 1.0, 2.0].into_iter().collect();
    assert_eq!(samples.median(), 2.0);
    assert_eq!(samples.p99(), 3.0);
}

#[test]
fn nothing_measured_is_no_number() {
    assert!(Samples::default().median().is_nan());
}
