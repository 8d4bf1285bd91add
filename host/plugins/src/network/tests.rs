use std::{
    collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration,
};

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::*;

/// A network of scripted plugins, and a process in its own network namespace.
struct Lan {
    dir: TempDir,
    networks: Networks,
    process: Child,
}

/// Creates a plugin script that records its environment and input. `add` and `check` are shell
/// commands that produce its result.
fn plugin(dir: &Path, name: &str, add: &str, check: &str) {
    let script = format!(
        "#!/bin/sh\necho \"$CNI_COMMAND {name} $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS\" >>\"{asked}\"\n\
         echo \"$CNI_COMMAND $CNI_NETNS $(stat -L -c %i \"$CNI_NETNS\" 2>&1)\" >>\"{asked}.namespaces\"\n\
         cat >\"{dir}/{name}.$CNI_COMMAND\"\ncase $CNI_COMMAND in\nADD) {add} ;;\nCHECK) {check} ;;\nesac\n",
        asked = dir.join("asked").display(),
        dir = dir.display(),
    );
    let path = dir.join("bin").join(name);
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

const ONE: &str = r#"echo '{"cniVersion":"1.0.0","interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"10.9.0.1/24","interface":0},{"address":"10.9.0.7/24","interface":1}]}'"#;
const SAME: &str = r#"sed 's/.*"prevResult":\({.*}\),"type".*/\1/'"#;
const REFUSES: &str = r#"echo '{"code":11,"msg":"no room","details":"none at all"}'; exit 1"#;

impl Lan {
    fn new(second_add: &str, check: &str) -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        plugin(dir.path(), "bridge", ONE, check);
        // It has recorded its input, so it can echo it.
        let again = second_add
            .replace("SAME", &format!("cat \"{}/portmap.ADD\" | {SAME}", dir.path().display()));
        plugin(dir.path(), "portmap", &again, "true");
        let config = json!({
            "cniVersion": "1.0.0", "name": "lan",
            "plugins": [
                {
                    "type": "bridge", "bridge": "br0",
                    "capabilities": { "ips": true, "mac": true },
                },
                { "type": "portmap" },
            ],
        });
        fs::write(dir.path().join("lan.conflist"), config.to_string()).unwrap();
        let grant = NetworkGrant {
            config: dir.path().join("lan.conflist"),
            plugins: vec!["/nowhere".into(), dir.path().join("bin")],
            results: dir.path().join("results"),
            timeout: Duration::from_secs(60),
        };
        let networks = Networks::new("box", BTreeMap::from([("lan".to_owned(), grant)]));
        let mut process = Command::new("unshare");
        process.args(["--net", "sleep", "600"]).kill_on_drop(true);
        Self { dir, networks, process: process.spawn().unwrap() }
    }

    /// Waits until the process is in its own namespace.
    async fn attachment(&self) -> Attachment {
        let path = format!("/proc/{}/ns/net", self.process.id().unwrap());
        while Namespace::open(&path).is_err() {
            tokio::task::yield_now().await;
        }
        Attachment {
            network: "lan".into(),
            container: "default-web".into(),
            namespace: path,
            interface: "eth0".into(),
            address: None,
        }
    }

    fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.dir.path().join("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }

    fn kept(&self) -> bool {
        self.dir.path().join("results/lan@default-web@eth0").exists()
    }

    /// Per plugin run: the command, the namespace path and the inode found there.
    fn namespaces(&self) -> Vec<(String, String, String)> {
        let recorded =
            fs::read_to_string(self.dir.path().join("asked.namespaces")).unwrap_or_default();
        let parts = |line: &str| {
            let mut parts = line.splitn(3, ' ').map(str::to_owned);
            Some((parts.next()?, parts.next()?, parts.next()?))
        };
        recorded.lines().filter_map(parts).collect()
    }

    fn read(&self, what: &str) -> Value {
        serde_json::from_slice(&fs::read(self.dir.path().join(what)).unwrap()).unwrap()
    }
}

/// Creating a network namespace requires root.
fn may_unshare() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        drowse_tests::needs::skip("network", "a network namespace needs root");
    }
    root
}

#[tokio::test]
async fn a_chain_is_added_in_order_and_deleted_in_reverse() {
    if !may_unshare() {
        return;
    }
    let lan = Lan::new("SAME", "true");
    let mut attachment = lan.attachment().await;
    attachment.address = Some("10.9.0.7".into());
    let added = lan.networks.add(&attachment).await;
    assert_eq!(added, Ok(vec!["10.9.0.7".parse().unwrap()]), "the container's own, without prefix");
    let read = lan.read("bridge.ADD");
    assert_eq!(read["name"], "lan");
    let mac = mac_address::address("lan", "default-web", "eth0");
    assert_eq!(read["runtimeConfig"], json!({ "ips": ["10.9.0.7"], "mac": mac }));
    assert_eq!(lan.read("portmap.ADD").get("runtimeConfig"), None);
    assert_eq!((&read["bridge"], read.get("capabilities")), (&json!("br0"), None));
    assert_eq!(lan.read("portmap.ADD")["prevResult"]["ips"][1]["address"], "10.9.0.7/24");
    assert!(lan.kept());

    attachment.namespace = String::new();
    assert_eq!(lan.networks.del(&attachment).await, Ok(()));
    assert_eq!(lan.read("bridge.DEL")["prevResult"]["ips"][1]["address"], "10.9.0.7/24");
    let with = format!("default-web eth0 IgnoreUnknown=1;IP=10.9.0.7;MAC={mac}");
    assert_eq!(
        lan.asked(),
        [
            format!("ADD bridge {with}"),
            format!("ADD portmap {with}"),
            format!("DEL portmap {with}"),
            format!("DEL bridge {with}"),
        ]
    );
    assert!(!lan.kept());
    assert_eq!(lan.networks.del(&attachment).await, Ok(()), "again");
}

#[tokio::test]
async fn an_intact_attachment_is_reused_and_a_broken_one_recreated() {
    if !may_unshare() {
        return;
    }
    let lan = Lan::new("SAME", "test -e \"$0.holds\"");
    let attachment = lan.attachment().await;
    let missing = lan.networks.check(&attachment).await;
    assert!(matches!(missing, Err(NetworkError::NotFound(_))), "{missing:?}");
    let first = lan.networks.add(&attachment).await.unwrap();
    fs::write(lan.dir.path().join("bin/bridge.holds"), "").unwrap();
    assert_eq!(lan.networks.check(&attachment).await, Ok(()));
    assert_eq!(lan.networks.add(&attachment).await.as_ref(), Ok(&first));
    let adds = |asked: &[String]| asked.iter().filter(|it| it.starts_with("ADD bridge")).count();
    assert_eq!(adds(&lan.asked()), 1, "{:?}", lan.asked());

    fs::remove_file(lan.dir.path().join("bin/bridge.holds")).unwrap();
    assert_eq!(lan.networks.add(&attachment).await, Ok(first));
    let asked = lan.asked();
    let del = asked.iter().position(|it| it.starts_with("DEL bridge")).unwrap();
    let last = asked.iter().rposition(|it| it.starts_with("ADD bridge")).unwrap();
    assert!(adds(&asked) == 2 && del < last, "{asked:?}");
}

#[tokio::test]
async fn a_late_deletion_leaves_the_next_instance_s_attachment_alone() {
    if !may_unshare() {
        return;
    }
    let lan = Lan::new("SAME", "true");
    let attachment = lan.attachment().await;
    lan.networks.add(&attachment).await.unwrap();
    let others = ["/run/netns/gone".to_owned(), "/proc/4194999/ns/net".to_owned()];
    for namespace in others {
        let earlier = Attachment { namespace, ..attachment.clone() };
        assert_eq!(lan.networks.del(&earlier).await, Ok(()));
    }
    assert!(lan.kept(), "{:?}", lan.asked());
    assert!(!lan.asked().iter().any(|it| it.starts_with("DEL")), "{:?}", lan.asked());
    assert_eq!(lan.networks.del(&attachment).await, Ok(()));
    assert!(!lan.kept(), "its own");

    // The same for a namespace that no longer exists: only its path is left.
    let mut lan = Lan::new("SAME", "true");
    let attachment = lan.attachment().await;
    lan.networks.add(&attachment).await.unwrap();
    lan.process.kill().await.unwrap();
    assert_eq!(lan.networks.del(&attachment).await, Ok(()));
    assert!(!lan.kept(), "{:?}", lan.asked());
}

#[tokio::test]
async fn calls_for_one_attachment_are_serialized() {
    if !may_unshare() {
        return;
    }
    let lan = Lan::new("SAME", "true");
    let attachment = lan.attachment().await;
    let calls = (0..4).map(|_| lan.networks.add(&attachment));
    for added in futures_util::future::join_all(calls).await {
        assert_eq!(added, Ok(vec!["10.9.0.7".parse().unwrap()]));
    }
    let adds = lan.asked().iter().filter(|it| it.starts_with("ADD bridge")).count();
    assert_eq!(adds, 1, "the others found it attached: {:?}", lan.asked());
}

#[tokio::test]
async fn a_failing_plugin_is_named_and_the_chain_is_undone() {
    if !may_unshare() {
        return;
    }
    let lan = Lan::new(REFUSES, "true");
    let failed = lan.networks.add(&lan.attachment().await).await;
    let Err(NetworkError::Failed(message)) = failed else { panic!("{failed:?}") };
    assert_eq!(
        message,
        "network \"lan\", container \"default-web\": ADD by \"portmap\": code 11: no room (none at all)"
    );
    let asked = lan.asked();
    assert!(asked[2].starts_with("DEL portmap") && asked[3].starts_with("DEL bridge"), "{asked:?}");
    assert!(!lan.kept());
}

#[tokio::test]
async fn a_hanging_plugin_is_killed_and_a_missing_one_is_named() {
    if !may_unshare() {
        return;
    }
    let mut lan = Lan::new("exec sleep 600", "true");
    let attachment = lan.attachment().await;
    let grant = lan.networks.grants.get_mut("lan").unwrap();
    grant.timeout = Duration::from_millis(200);
    let late = lan.networks.add(&attachment).await;
    assert!(
        matches!(&late, Err(NetworkError::Timeout(message)) if message.contains("portmap")),
        "{late:?}"
    );
    fs::remove_file(lan.dir.path().join("bin/portmap")).unwrap();
    let message = format!("{:?}", lan.networks.add(&attachment).await);
    assert!(message.contains("is not in /nowhere, "), "{message}");
}

#[tokio::test]
async fn only_namespaces_of_containers_are_attached() {
    let networks = Networks::new("box", BTreeMap::new());
    let of = |namespace: &str| Attachment {
        network: "lan".into(),
        container: "web".into(),
        namespace: namespace.into(),
        interface: "eth0".into(),
        address: None,
    };
    for path in [
        "",
        "/proc/self/ns/net",
        "/proc/1/../self/ns/net",
        "/run/netns/..",
        "/etc/passwd",
        "/run/netns/a/b",
    ] {
        let refused = networks.add(&of(path)).await;
        assert!(matches!(refused, Err(NetworkError::Invalid(_))), "{path}: {refused:?}");
    }
    let own = format!("/proc/{}/ns/net", std::process::id());
    let refused = networks.add(&of(&own)).await;
    assert!(matches!(refused, Err(NetworkError::Denied(_))), "{refused:?}");
    let other_kind = format!("/proc/{}/ns/net", u32::MAX);
    let missing = networks.check(&of(&other_kind)).await;
    assert!(matches!(missing, Err(NetworkError::NotFound(_))), "{missing:?}");
    let refused = networks.del(&of("")).await;
    let Err(NetworkError::Denied(message)) = refused else { panic!("{refused:?}") };
    assert!(message.contains("add to [provider.box]: network.lan = { config = "), "{message}");
}

#[tokio::test]
async fn nothing_is_deleted_from_the_router_s_own_namespace() {
    let lan = Lan::new("SAME", "true");
    let attachment = Attachment {
        network: "lan".into(),
        container: "default-web".into(),
        namespace: format!("/proc/{}/ns/net", std::process::id()),
        interface: "eth0".into(),
        address: None,
    };
    let refused = lan.networks.del(&attachment).await;
    assert!(matches!(refused, Err(NetworkError::Denied(_))), "{refused:?}");
    assert_eq!(lan.asked(), [""; 0], "no plugin was asked");
}

/// Set for the copy of this test that runs in its own network namespace.
const INSIDE: &str = "DROWSE_TEST_INSIDE_NAMESPACE";

#[test]
fn the_machine_s_namespace_is_refused_to_a_router_in_another_namespace() {
    if std::env::var_os(INSIDE).is_some() {
        let refused = Namespace::open("/proc/1/ns/net").map(drop);
        let Err(NetworkError::Denied(message)) = refused else { panic!("{refused:?}") };
        assert!(message.contains("the machine's own"), "{message}");
        return;
    }
    if !may_unshare() {
        return;
    }
    let name =
        "network::tests::the_machine_s_namespace_is_refused_to_a_router_in_another_namespace";
    // An inspectable shell is process 1 there, and stays in this test's network namespace.
    let mut copy = std::process::Command::new("unshare");
    copy.args([
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        "unshare --net \"$0\" \"$@\"; exit $?",
    ]);
    copy.arg(std::env::current_exe().unwrap()).args(["--exact", name]);
    let output = copy.env(INSIDE, "yes").output().unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && log.contains("1 passed"), "{log}");
}

#[tokio::test]
async fn plugins_get_the_checked_namespace_even_if_its_path_is_reused() {
    if !may_unshare() {
        return;
    }
    // The first plugin kills the process, so its PID, and with it the path, may be reused.
    let mut lan = Lan::new("SAME", "true");
    let attachment = lan.attachment().await;
    let pid = lan.process.id().unwrap();
    let ends = format!("kill -9 {pid}; {ONE}");
    plugin(lan.dir.path(), "bridge", &ends, "true");
    let inode = Namespace::open(&attachment.namespace).unwrap().inode.to_string();
    lan.networks.add(&attachment).await.unwrap();
    lan.process.wait().await.unwrap();
    let runs = lan.namespaces();
    assert_eq!(runs.len(), 2, "{runs:?}");
    for (verb, path, found) in &runs {
        assert_eq!((verb.as_str(), found), ("ADD", &inode), "{runs:?}");
        assert!(path.starts_with(&format!("/proc/{}/fd/", std::process::id())), "{path}");
    }
    // The namespace no longer exists: plugins get no path, which could be another's.
    assert_eq!(lan.networks.del(&attachment).await, Ok(()));
    for (verb, path, _) in &lan.namespaces()[2..] {
        assert_eq!((verb.as_str(), path.as_str()), ("DEL", ""), "{:?}", lan.namespaces());
    }
}

#[tokio::test]
async fn a_result_contains_the_namespace_path_that_plugins_get() {
    if !may_unshare() {
        return;
    }
    // As the plugin `bridge` responds and compares.
    let answers = r#"echo "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"$CNI_NETNS\"}],\"ips\":[{\"address\":\"10.9.0.7/24\",\"interface\":0}]}""#;
    let lan = Lan::new("SAME", "true");
    let compares =
        format!("grep -q \"\\\"$CNI_NETNS\\\"\" \"{}/bridge.CHECK\"", lan.dir.path().display());
    plugin(lan.dir.path(), "bridge", answers, &compares);
    let attachment = lan.attachment().await;
    // CHECK runs with other open descriptors.
    lan.networks.add(&attachment).await.unwrap();
    let held = fs::File::open("/dev/null").unwrap();
    assert_eq!(lan.networks.check(&attachment).await, Ok(()));
    drop(held);
    let kept = lan.read("results/lan@default-web@eth0");
    assert_eq!(kept["result"]["interfaces"][0]["sandbox"], attachment.namespace.as_str());
    assert_eq!(lan.networks.del(&attachment).await, Ok(()));
    let (_, path, _) = lan.namespaces().pop().unwrap();
    assert_eq!(lan.read("bridge.DEL")["prevResult"]["interfaces"][0]["sandbox"], path.as_str());
}

#[test]
fn a_configuration_with_paths_as_names_is_refused() {
    for config in [
        json!({ "plugins": [{ "type": "bridge" }] }),
        json!({ "name": "../x", "plugins": [{ "type": "bridge" }] }),
        json!({ "name": "x", "plugins": [{ "type": "../bridge" }] }),
        json!({ "name": "x", "plugins": [{}] }),
        json!({ "name": "x", "plugins": [] }),
        json!({ "name": "x", "plugins": {} }),
        json!({ "name": "x" }),
        json!([]),
    ] {
        assert!(Chain::parse(config.to_string().as_bytes()).is_err(), "{config}");
    }
    let single = json!({ "name": "x", "type": "bridge", "cniVersion": "0.3.1" }).to_string();
    let single = Chain::parse(single.as_bytes()).unwrap();
    assert_eq!((single.plugins.len(), single.can_check), (1, false));
}

proptest! {
    /// Names with all allowed separators.
    #[test]
    fn result_files_are_unique_per_attachment(
        one in ("[a-z][a-z._-]{0,4}", "[a-z][a-z._-]{0,4}", "[a-z][a-z._-]{0,4}"),
        other in ("[a-z][a-z._-]{0,4}", "[a-z][a-z._-]{0,4}", "[a-z][a-z._-]{0,4}"),
    ) {
        let file = |(a, b, c): &(String, String, String)| result_file(a, b, c);
        prop_assert_eq!(file(&one) == file(&other), one == other);
        // The same letters, divided differently.
        let whole = format!("{}-{}-{}", one.0, one.1, one.2);
        let parts: Vec<&str> = whole.splitn(3, '-').collect();
        if let [a, b, c] = parts[..] {
            let again = (a.to_owned(), b.to_owned(), c.to_owned());
            prop_assert_eq!(file(&again) == file(&one), again == one);
        }
        prop_assert!(!file(&one).contains('/'));
    }

    #[test]
    fn arbitrary_configurations_parse_or_fail_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC*") {
        let _ = Chain::parse(&bytes);
        let config = json!({ "name": text, "plugins": [{ "type": text }] }).to_string();
        if let Ok(chain) = Chain::parse(config.as_bytes()) {
            prop_assert!(!chain.name.contains('/') && !chain.plugins[0].kind.contains('/'));
        }
        let _ = chain::addresses(json!({ "ips": [{ "address": text, "interface": 3 }] }).as_object().unwrap());
    }
}

/// A fuzz target whose corpus is replayed.
#[test]
fn fuzzed_configurations_have_plain_names_or_fail() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(chain) = Chain::parse(bytes) {
            assert!(!chain.name.contains('/'));
            assert!(chain.plugins.iter().all(|plugin| !plugin.kind.contains('/')));
        }
        if let Ok(serde_json::Value::Object(result)) = serde_json::from_slice(bytes) {
            let _ = chain::addresses(&result);
        }
    });
}
