use super::*;

#[test]
fn an_address_is_a_host_and_a_port() {
    assert_eq!(Address::parse("127.0.0.1:8081"), Some(Address::new("127.0.0.1").with_port(8081)));
    assert_eq!(Address::parse("box.lan:80"), Some(Address::new("box.lan").with_port(80)));
    assert_eq!(Address::parse("[::1]:80"), Some(Address::new("::1").with_port(80)));
}

#[test]
fn an_invalid_address_is_refused() {
    for text in
        ["", "8081", ":80", "host:", "host:0", "host:65536", "::1:80", "[::1:80", "a b:80", "[x]:1"]
    {
        assert_eq!(Address::parse(text), None, "{text:?}");
    }
}

#[test]
fn an_exit_keeps_its_last_lines_and_cuts_long_ones() {
    let exit = Exit::new(1, (0..250).map(|line| line.to_string()));
    assert_eq!((exit.output.len(), exit.output[0].as_str()), (EXIT_LINES, "150"));
    let exit = Exit::new(0, ["ä".repeat(5000)]);
    assert_eq!(exit.output[0].len(), EXIT_LINE_BYTES);
    let exit = Exit::new(0, [format!("x{}", "ä".repeat(5000))]);
    assert_eq!(exit.output[0].len(), EXIT_LINE_BYTES - 1, "no letter is cut in two");
}
