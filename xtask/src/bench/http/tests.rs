use super::*;

const TEXT: &str = "\
Running 4s test @ http://127.0.0.1:1/small
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.01ms  310.00us   9.11ms   90.00%
  Latency Distribution
     50%    0.90ms
     99%  870.00us
  240000 requests in 4.00s, 34.00MB read
Requests/sec:  60000.50
Transfer/sec:      8.50MB
";

#[test]
fn the_output_of_wrk_is_parsed() {
    let round = Round::parse(TEXT).unwrap();
    assert_eq!(round.requests, 240_000.0);
    assert_eq!(round.per_second, 60_000.5);
    assert!((round.p99 - 0.87).abs() < 1e-9);
}

#[test]
fn a_round_with_failed_requests_is_refused() {
    let text = format!("{TEXT}  Socket errors: connect 0, read 1, write 0, timeout 0\n");
    assert!(Round::parse(&text).is_err());
    assert!(Round::parse(&format!("{TEXT}  Non-2xx or 3xx responses: 3\n")).is_err());
}
