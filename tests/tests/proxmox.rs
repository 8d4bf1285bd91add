//! The proxmox provider through the binary, with a fake of the published API. The fake's module lists its
//! limitations.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use drowse_tests::{
    FakeProxmox, Hello, Home, Programs, Router,
    fake_proxmox::{Generation, TOKEN},
    until,
};

const PATIENCE: Duration = Duration::from_secs(60);

const CONTAINER: &str = "/lxc/100/status";
const MACHINE: &str = "/qemu/101/status";

/// Delay of a machine's guest agent after its start.
const AGENT: Duration = Duration::from_millis(700);

const SETTINGS: &str = "{ networks = [\"127.0.0.0/8\"], poll = \"100ms\", every = \"500ms\" }";

/// A cluster, the backend program of its guests, and the router's home.
struct Site {
    fake: FakeProxmox,
    hello: Hello,
    home: Home,
}

impl Site {
    fn new(generation: Generation) -> Result<Self> {
        let programs = Programs::from_env();
        // Compiled once for all of these tests.
        let home = Home::new(&programs)?;
        let hello = Hello::new(&programs, home.path(), Duration::from_millis(200))?;
        let fake = FakeProxmox::begin(generation)?;
        fake.add_container(100, &hello);
        fake.add_machine(101, &hello, AGENT);
        fs::write(home.path().join("token"), format!("{TOKEN}\n"))?;
        Ok(Self { fake, hello, home })
    }

    /// A router with the workload `guest`, which trusts the certificates with `fingerprint`.
    fn trusting(
        self,
        fingerprint: &str,
        settings: &str,
        keys: &str,
    ) -> Result<(Router, FakeProxmox, Hello)> {
        let Self { fake, hello, home } = self;
        home.configure(&format!(
            "[provider.pve]\nplugin = \"proxmox\"\nsettings = {settings}\n\n\
             [provider.pve.endpoint.api]\nurl = {:?}\nfingerprint = {fingerprint}\n\
             headers = {{ Authorization = {{ file = \"token\", prefix = \"PVEAPIToken=\" }} }}\n\n\
             [workload.guest]\nprovider = \"pve\"\nidle = \"500ms\"\n\
             wake = {{ cooldown = \"100ms\" }}\n{keys}\n\n\
             [[route]]\nworkload = \"guest\"\nport = {}\n",
            fake.url(),
            hello.port(),
        ))?;
        let router = home.start()?;
        until("the provider is loaded", PATIENCE, || {
            router.provider("pve").ok()?["plugin"].is_string().then_some(())
        })?;
        Ok((router, fake, hello))
    }

    fn router(self, keys: &str) -> Result<(Router, FakeProxmox, Hello)> {
        let fingerprint = format!("{:?}", self.fake.fingerprint());
        self.trusting(&fingerprint, SETTINGS, keys)
    }
}

/// Error of the last wake, as shown to the operator.
fn failure(router: &Router) -> Result<String> {
    Ok(router.workload("guest")?["failure"]["message"].to_string())
}

#[test]
fn a_visitor_wakes_a_container_which_sleeps_again() -> Result<()> {
    for generation in [Generation::Old, Generation::New] {
        let keys = "target = \"100\"\nsleep = { grace = \"5s\" }";
        let (router, fake, hello) = Site::new(generation)?.router(keys)?;
        let answer = router.get("any.example", "/")?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        ensure!(fake.count("POST", &format!("{CONTAINER}/start")) == 1);
        router.wait_for_phase("guest", "asleep", PATIENCE)?;
        ensure!(!fake.runs(100)?);
        ensure!(fake.count("POST", &format!("{CONTAINER}/shutdown")) == 1);
        ensure!(fake.count("POST", &format!("{CONTAINER}/stop")) == 0);
        ensure!(router.get("any.example", "/")?.text().contains("start 2"));
        ensure!(hello.starts()?.len() == 2);
    }
    Ok(())
}

#[test]
fn a_machine_is_paused_then_shut_down_and_woken_from_both() -> Result<()> {
    let keys = "target = \"qemu/101\"\nsleep = { method = \"pause\" }\n\
                deep-sleep = { after = \"2s\", grace = \"5s\" }";
    let (router, fake, hello) = Site::new(Generation::New)?.router(keys)?;
    ensure!(router.get("any.example", "/")?.status == 200, "{}", router.log().tail(40));
    until("it is paused", PATIENCE, || fake.is_paused(101).ok()?.then_some(()))?;
    router.wait_for_phase("guest", "asleep", PATIENCE)?;
    ensure!(fake.runs(101)?);
    ensure!(router.get("any.example", "/")?.status == 200, "from the light sleep");
    ensure!(fake.count("POST", &format!("{MACHINE}/resume")) == 1);
    ensure!(hello.starts()?.len() == 1, "it was restarted");
    until("it is shut down", PATIENCE, || (!fake.runs(101).ok()?).then_some(()))?;
    router.wait_for_phase("guest", "asleep", PATIENCE)?;
    ensure!(router.get("any.example", "/")?.status == 200, "from the deep sleep");
    ensure!(fake.count("POST", &format!("{MACHINE}/start")) == 2);
    ensure!(hello.starts()?.len() == 2);
    Ok(())
}

#[test]
fn a_machine_that_boots_longer_than_a_start_may_wait_is_served_when_its_agent_answers() -> Result<()>
{
    let site = Site::new(Generation::New)?;
    site.fake.add_machine(101, &site.hello, Duration::from_secs(3));
    let fingerprint = format!("{:?}", site.fake.fingerprint());
    let settings = SETTINGS.replace('{', "{ patience = \"500ms\",");
    let (router, fake, _hello) = site.trusting(&fingerprint, &settings, "target = \"101\"")?;
    let answer = router.get("any.example", "/")?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    ensure!(fake.count("POST", &format!("{MACHINE}/start")) == 1);
    Ok(())
}

#[test]
fn another_certificate_is_refused_with_both_fingerprints() -> Result<()> {
    let site = Site::new(Generation::New)?;
    let (own, other) = (site.fake.fingerprint().to_owned(), ["07"; 32].join(":"));
    let (router, fake, _hello) =
        site.trusting(&format!("{other:?}"), SETTINGS, "target = \"100\"")?;
    let answer = router.get("any.example", "/")?;
    ensure!(answer.status == 503, "{}: {}", answer.status, answer.text());
    ensure!(!answer.text().contains(&own), "the visitor sees the fingerprint: {}", answer.text());
    let failure_text = failure(&router)?;
    ensure!(failure_text.contains(&own) && failure_text.contains(&other), "{failure_text}");
    ensure!(fake.count("GET", "/cluster/resources") == 0, "a request was sent");
    Ok(())
}

#[test]
fn two_certificates_are_trusted_during_a_renewal() -> Result<()> {
    let sites = [Site::new(Generation::New)?, Site::new(Generation::New)?];
    let [old, new] = sites.each_ref().map(|site| site.fake.fingerprint().to_owned());
    ensure!(old != new, "both have the same certificate");
    for site in sites {
        let (router, fake, _hello) =
            site.trusting(&format!("[{old:?}, {new:?}]"), SETTINGS, "target = \"100\"")?;
        let answer = router.get("any.example", "/")?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        ensure!(fake.count("POST", &format!("{CONTAINER}/start")) == 1);
    }
    Ok(())
}

#[test]
fn a_missing_privilege_is_reported_to_operator_and_visitor() -> Result<()> {
    let site = Site::new(Generation::Old)?;
    site.fake.revoke("VM.PowerMgmt");
    let (router, fake, hello) = site.router("target = \"100\"")?;
    let answer = router.get("any.example", "/")?;
    ensure!(answer.status == 503, "{}: {}", answer.status, answer.text());
    let reason = "The router is not allowed to start it.";
    ensure!(answer.text().contains(reason), "{}", answer.text());
    let failure_text = failure(&router)?;
    ensure!(
        failure_text.contains("Permission check failed (/vms/100, VM.PowerMgmt)"),
        "{failure_text}"
    );
    fake.grant("VM.PowerMgmt");
    until("it is tried again", PATIENCE, || {
        (router.get("any.example", "/").ok()?.status == 200).then_some(())
    })?;
    ensure!(hello.starts()?.len() == 1);
    Ok(())
}

#[test]
fn a_token_without_privileges_is_distinguished_from_a_missing_guest() -> Result<()> {
    let site = Site::new(Generation::New)?;
    site.fake.revoke("VM.Audit");
    let (router, fake, _hello) = site.router("target = \"100\"")?;
    ensure!(router.get("any.example", "/")?.status == 503);
    let failure_text = failure(&router)?;
    ensure!(failure_text.contains("lacks VM.Audit on /vms/100"), "{failure_text}");
    fake.grant("VM.Audit");
    until("it is tried again", PATIENCE, || {
        (router.get("any.example", "/").ok()?.status == 200).then_some(())
    })
}

#[test]
fn a_wrong_token_is_reported_without_its_value() -> Result<()> {
    let site = Site::new(Generation::New)?;
    fs::write(site.home.path().join("token"), "drowse@pve!wake=wrong-secret")?;
    let (router, _fake, hello) = site.router("target = \"100\"")?;
    ensure!(router.get("any.example", "/")?.status == 503);
    let failure_text = failure(&router)?;
    ensure!(
        failure_text.contains("401") && failure_text.contains("PVEAPIToken=USER@REALM!TOKENID"),
        "{failure_text}"
    );
    let log = router.log().since(0).join("\n");
    ensure!(!log.contains("wrong-secret"), "{log}");
    ensure!(hello.starts()?.is_empty());
    Ok(())
}

#[test]
fn a_guest_migrated_while_asleep_is_woken_on_its_new_node() -> Result<()> {
    let keys = "target = \"pve1/100\"\nsleep = { grace = \"5s\" }";
    let (router, fake, _hello) = Site::new(Generation::Old)?.router(keys)?;
    ensure!(router.get("any.example", "/")?.status == 200);
    router.wait_for_phase("guest", "asleep", PATIENCE)?;
    fake.migrate(100, "pve2")?;
    let answer = router.get("any.example", "/")?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    ensure!(fake.count("POST", "/pve2/lxc/100/status/start") == 1);
    Ok(())
}

#[test]
fn a_guest_on_a_node_that_is_down_is_unavailable_until_it_is_migrated() -> Result<()> {
    let site = Site::new(Generation::New)?;
    site.fake.migrate(100, "pve2")?;
    site.fake.switch_off("pve2");
    let (router, fake, _hello) = site.router("target = \"100\"")?;
    ensure!(router.get("any.example", "/")?.status == 503);
    let failure_text = failure(&router)?;
    ensure!(
        failure_text.contains("595") && failure_text.contains("Connection refused"),
        "{failure_text}"
    );
    fake.migrate(100, "pve1")?;
    until("it is tried again", PATIENCE, || {
        (router.get("any.example", "/").ok()?.status == 200).then_some(())
    })
}

#[test]
fn a_locked_guest_is_a_conflict_until_the_lock_is_gone() -> Result<()> {
    let site = Site::new(Generation::New)?;
    site.fake.lock(100, Some("backup"))?;
    let (router, fake, hello) = site.router("target = \"100\"")?;
    let answer = router.get("any.example", "/")?;
    ensure!(answer.status == 503, "{}: {}", answer.status, answer.text());
    ensure!(answer.text().contains("Another operation on it is in progress."), "{}", answer.text());
    let failure_text = failure(&router)?;
    ensure!(failure_text.contains("CT is locked (backup)"), "{failure_text}");
    ensure!(hello.starts()?.is_empty());
    fake.lock(100, None)?;
    until("it is tried again", PATIENCE, || {
        (router.get("any.example", "/").ok()?.status == 200).then_some(())
    })
}

#[test]
fn a_guest_under_the_ha_manager_is_waited_for() -> Result<()> {
    let site = Site::new(Generation::New)?;
    site.fake.manage(100)?;
    let (router, fake, _hello) = site.router("target = \"100\"\nsleep = { grace = \"5s\" }")?;
    let answer = router.get("any.example", "/")?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    ensure!(fake.count("POST", &format!("{CONTAINER}/start")) == 1);
    router.wait_for_phase("guest", "asleep", PATIENCE)?;
    ensure!(!fake.runs(100)?);
    Ok(())
}

#[test]
fn a_manually_started_guest_is_detected() -> Result<()> {
    let (router, fake, _hello) = Site::new(Generation::New)?.router("target = \"100\"")?;
    router.wait_for_phase("guest", "asleep", PATIENCE)?;
    fake.start_externally(100).context("start it")?;
    router.wait_for_phase("guest", "ready", PATIENCE)
}

#[test]
fn a_guest_is_killed_with_and_without_support_for_overruling_a_shutdown() -> Result<()> {
    for (generation, asked) in [(Generation::Old, 2), (Generation::New, 1)] {
        let keys = "target = \"100\"\nsleep = { method = \"kill\" }";
        let (router, fake, _hello) = Site::new(generation)?.router(keys)?;
        ensure!(router.get("any.example", "/")?.status == 200);
        router.wait_for_phase("guest", "asleep", PATIENCE)?;
        ensure!(!fake.runs(100)?);
        ensure!(fake.count("POST", &format!("{CONTAINER}/stop")) == asked, "{generation:?}");
    }
    Ok(())
}

#[test]
fn a_machine_is_suspended_to_disk_and_woken_from_there() -> Result<()> {
    let keys = "target = \"101\"\nsettings = { stop = \"suspend-to-disk\" }";
    let (router, fake, hello) = Site::new(Generation::Old)?.router(keys)?;
    ensure!(router.get("any.example", "/")?.status == 200);
    router.wait_for_phase("guest", "asleep", PATIENCE)?;
    ensure!(!fake.runs(101)?);
    ensure!(fake.count("POST", &format!("{MACHINE}/suspend")) == 1);
    ensure!(fake.count("POST", &format!("{MACHINE}/shutdown")) == 0);
    ensure!(router.get("any.example", "/")?.status == 200, "from the disk");
    ensure!(hello.starts()?.len() == 2);
    Ok(())
}
