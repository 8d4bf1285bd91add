//! The wake-on-lan provider through the binary: a machine is woken by a magic packet and put to sleep by a
//! granted command.

use std::time::Duration;

use anyhow::Result;
use drowse_tests::{
    Hello, Home, Programs, Router, SleepingMachine, sleeping_machine::magic, until,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A router with a sleeping machine `nas` and additional grants of its provider.
fn router(
    grants: impl Fn(&Home, &SleepingMachine) -> String,
) -> Result<(Router, SleepingMachine, Hello)> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::from_millis(300))?;
    // The sleep command creates a file with the machine's name.
    let card = SleepingMachine::begin(&hello, home.path().join("nas"))?;
    home.configure(&format!(
        "[provider.lan]\nplugin = \"wake-on-lan\"\n{}\n\
         [workload.nas]\nprovider = \"lan\"\nidle = \"300ms\"\n\
         settings = {{ mac = \"02:11:22:aa:bb:cc\", address = {:?} }}\n\
         wake = {{ cooldown = \"100ms\" }}\n\n\
         [[route]]\nworkload = \"nas\"\nport = 80\n",
        grants(&home, &card),
        hello.address().to_string(),
    ))?;
    Ok((home.start()?, card, hello))
}

fn lan(card: &SleepingMachine) -> String {
    format!("endpoint.lan = {{ url = {:?} }}\n", card.url())
}

#[test]
fn a_visitor_wakes_a_machine_by_a_magic_packet_and_it_is_put_to_sleep_again() -> Result<()> {
    let (router, card, hello) = router(|home, card| {
        let sleep = "run = [\"touch\"], allow-extra-arguments = true";
        let directory = home.path();
        format!("{}command.sleep = {{ {sleep}, directory = {directory:?} }}\n", lan(card))
    })?;
    let answer = router.get("any.example", "/")?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(hello.starts()?.len(), 1);
    let heard = card.datagrams();
    assert!(!heard.is_empty() && heard.iter().all(|datagram| *datagram == magic()), "{heard:?}");

    router.wait_for_phase("nas", "asleep", PATIENCE)?;
    until("the machine sleeps", PATIENCE, || (!card.is_awake()).then_some(()))?;
    assert!(router.get("any.example", "/")?.text().contains("start 2"));
    Ok(())
}

#[test]
fn a_machine_without_a_sleep_command_is_served_and_its_status_contains_the_line_to_add()
-> Result<()> {
    let (router, card, _hello) = router(|_, card| lan(card))?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    until("the status shows it", PATIENCE, || {
        let status = router.workload("nas").ok()?.to_string();
        (status.contains("put to sleep") && status.contains("command.sleep = {")).then_some(())
    })?;
    assert_eq!(router.get("any.example", "/")?.status, 200, "it is awake");
    assert!(card.is_awake());
    Ok(())
}

#[test]
fn a_network_that_is_not_granted_is_refused_with_the_line_to_add() -> Result<()> {
    let (router, card, _hello) = router(|_, _| String::new())?;
    let line = "endpoint.lan = { url = \\\"udp://255.255.255.255:9\\\" }";
    assert_eq!(router.get("any.example", "/")?.status, 503);
    let status = router.workload("nas")?.to_string();
    assert!(status.contains(line) && status.contains("[provider.lan]"), "{status}");
    let checked = router.home().drowse(&["check"])?;
    let output = [&checked.stdout, &checked.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.concat().contains("endpoint.lan = { url = \"udp://255.255.255.255:9\" }"));
    assert!(card.datagrams().is_empty());
    Ok(())
}
