use super::*;

fn of(milliseconds: &[u64]) -> Option<Summary> {
    Summary::of(milliseconds.iter().copied().map(Duration::from_millis).collect())
}

#[test]
fn percentiles_are_values_that_were_measured() {
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[7]), Some(Summary { min_ms: 7.0, avg_ms: 7.0, p50_ms: 7.0, p95_ms: 7.0 }));
    assert_eq!(of(&[4, 1, 3, 2]), Some(Summary { min_ms: 1.0, avg_ms: 2.5, p50_ms: 2.0, p95_ms: 4.0 }));
    let hundred: Vec<u64> = (1..=100).rev().collect();
    assert_eq!(of(&hundred), Some(Summary { min_ms: 1.0, avg_ms: 50.5, p50_ms: 50.0, p95_ms: 95.0 }));
}

#[test]
fn milliseconds_keep_three_digits() {
    let summary = Summary::of(vec![Duration::from_nanos(1_234_567)]).unwrap();
    assert_eq!(summary.p50_ms.to_string(), "1.235");
}
