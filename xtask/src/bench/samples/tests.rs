use super::*;

#[test]
fn quantiles_are_measured_values() {
    let samples: Samples = (1..=100).rev().map(f64::from).collect();
    assert_eq!(samples.median(), 50.0);
    assert_eq!(samples.p99(), 99.0);
}

#[test]
fn p99_of_few_values_is_their_maximum() {
    let samples: Samples = [3.0, 1.0, 2.0].into_iter().collect();
    assert_eq!(samples.median(), 2.0);
    assert_eq!(samples.p99(), 3.0);
}

#[test]
fn the_median_of_no_values_is_nan() {
    assert!(Samples::default().median().is_nan());
}
