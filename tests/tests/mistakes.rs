//! Errors of the operator: each is reported with its remedy, and the router serves the other workloads
//! where possible.

use std::{fs, net::TcpListener, path::Path, process::Output, time::Duration};

use anyhow::Result;
use drowse_tests::{Hello, Home, Programs, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A home whose configuration has an error beside a valid workload.
fn home(mistake: &str) -> Result<(Home, Hello)> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    home.configure(&[&hello.provider(), &hello.workload("never"), mistake].concat())?;
    Ok((home, hello))
}

/// Standard output and standard error of a command.
fn output_text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// Checks that `check` and `run` refuse the configuration and print all of `words`.
fn is_refused(mistake: &str, words: &[&str]) -> Result<()> {
    let (home, _hello) = home(mistake)?;
    for command in ["check", "run"] {
        let output = home.drowse(&[command])?;
        let printed = output_text(&output);
        assert!(!output.status.success(), "drowse {command} accepted:\n{mistake}");
        for word in words {
            assert!(
                printed.contains(word),
                "{word:?} is not in the output of drowse {command}:\n{printed}"
            );
        }
    }
    Ok(())
}

/// Checks that the router runs, answers requests for the faulty workload with an error, shows all of `words`
/// in its status, and serves the valid workload.
fn others_are_served(home: Home, words: &[&str]) -> Result<()> {
    let router = home.start()?;
    let answer = router.get("bad.example", "/")?;
    assert!([502, 503, 504].contains(&answer.status), "{}: {}", answer.status, answer.text());
    assert_eq!(router.get("good.example", "/")?.status, 200);
    let status = router.status()?.to_string();
    for word in words {
        assert!(status.contains(word), "{word:?} is not in the status:\n{status}");
    }
    Ok(())
}

const BAD_ROUTE: &str = "[[route]]\nhost = \"bad.example\"\nworkload = \"bad\"\nport = 80\n";

#[test]
fn an_unknown_key_is_refused_with_its_position_and_the_nearest_key() -> Result<()> {
    is_refused(
        "[workload.bad]\nprovider = \"process\"\ntarget = \"hello\"\nidel = \"5m\"\n",
        &["drowse.toml:", "idel", "idle"],
    )
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_the_expected_type() -> Result<()> {
    is_refused(
        "[[route]]\nhost = \"x.example\"\nworkload = \"hello\"\nport = \"eighty\"\n",
        &["drowse.toml:", "port", "eighty"],
    )
}

#[test]
fn a_duration_without_a_unit_is_refused() -> Result<()> {
    is_refused(
        "[workload.bad]\nprovider = \"process\"\nidle = \"10\"\n",
        &["drowse.toml:", "idle", "10"],
    )
}

#[test]
fn a_workload_of_an_unknown_provider_is_refused_with_the_known_ones() -> Result<()> {
    is_refused("[workload.bad]\nprovider = \"proces\"\n", &["drowse.toml:", "proces", "process"])
}

#[test]
fn a_route_to_an_unknown_workload_is_refused() -> Result<()> {
    is_refused(
        "[[route]]\nhost = \"x.example\"\nworkload = \"helo\"\nport = 80\n",
        &["drowse.toml:", "helo", "hello"],
    )
}

#[test]
fn all_errors_are_reported_at_once() -> Result<()> {
    is_refused(
        "[workload.bad]\nprovider = \"nobody\"\nidel = \"5m\"\n\n[[route]]\nworkload = \"gone\"\n",
        &["idel", "nobody", "gone", "port"],
    )
}

#[test]
fn invalid_toml_is_refused_with_its_position() -> Result<()> {
    is_refused("[workload.bad\nprovider = 1\n", &["drowse.toml:"])
}

#[test]
fn a_port_in_use_is_reported() -> Result<()> {
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let address = holder.local_addr()?;
    let home = Home::with_port(&Programs::from_env(), address.port())?;
    home.configure("")?;
    let output = home.drowse(&["run"])?;
    let printed = output_text(&output);
    assert!(!output.status.success());
    for word in [&address.to_string(), "web", "in use"] {
        assert!(printed.contains(word), "{printed}");
    }
    Ok(())
}

#[test]
fn a_missing_plugin_is_reported_and_others_are_served() -> Result<()> {
    let (home, _hello) = home(&format!(
        "[provider.lost]\nplugin = \"no-such-plugin\"\n\n\
         [workload.bad]\nprovider = \"lost\"\n\n{BAD_ROUTE}"
    ))?;
    let plugins = home.plugins().display().to_string();
    others_are_served(home, &["no-such-plugin", &plugins])
}

#[test]
fn a_plugin_that_is_not_wasm_is_reported_and_others_are_served() -> Result<()> {
    let (home, _hello) = home(&format!(
        "[provider.text]\nplugin = \"text\"\n\n[workload.bad]\nprovider = \"text\"\n\n{BAD_ROUTE}"
    ))?;
    fs::write(home.plugins().join("text.wasm"), "this is no plugin")?;
    others_are_served(home, &["text.wasm", "not"])
}

#[test]
fn a_plugin_of_another_contract_version_is_reported_with_both_versions() -> Result<()> {
    let programs = Programs::from_env();
    let (home, _hello) = home(&format!(
        "[provider.newer]\nplugin = \"newer\"\n\n[workload.bad]\nprovider = \"newer\"\n\n{BAD_ROUTE}"
    ))?;
    // The same plugin with a later contract version.
    let plugin = fs::read(programs.bundle.join("process.wasm"))?;
    let later = replace(&plugin, b"@0.1.0", b"@0.7.0");
    assert_ne!(plugin, later);
    fs::write(home.plugins().join("newer.wasm"), later)?;
    others_are_served(home, &["newer.wasm", "0.7", "0.1"])
}

#[test]
fn an_unreachable_socket_is_reported_and_others_are_served() -> Result<()> {
    let (home, _hello) = home(&format!(
        "[provider.docker]\nplugin = \"docker\"\n\
         endpoint.engine = {{ url = \"unix:///run/no-such-engine.sock\" }}\n\n\
         [workload.bad]\nprovider = \"docker\"\n\n{BAD_ROUTE}"
    ))?;
    others_are_served(home, &["/run/no-such-engine.sock"])
}

#[test]
fn status_without_a_router_reports_it() -> Result<()> {
    let (home, _hello) = home("")?;
    let output = home.drowse(&["status"])?;
    let printed = output_text(&output);
    assert!(!output.status.success());
    for word in ["control.sock", "drowse run"] {
        assert!(printed.contains(word), "{printed}");
    }
    Ok(())
}

#[test]
fn a_valid_configuration_passes_the_check_without_starting_anything() -> Result<()> {
    let (home, hello) = home("")?;
    let output = home.drowse(&["check"])?;
    assert!(output.status.success(), "{}", output_text(&output));
    assert!(hello.starts()?.is_empty());
    Ok(())
}

#[test]
fn check_reports_settings_unknown_to_the_plugin() -> Result<()> {
    let (home, _hello) = home(
        "[workload.bad]\nprovider = \"process\"\ntarget = \"bad\"\nsettings = { prot = 80 }\n",
    )?;
    let output = home.drowse(&["check"])?;
    assert!(!output.status.success());
    for word in ["drowse.toml:", "[workload.bad]", "`prot`", "`port`"] {
        assert!(output_text(&output).contains(word), "{word}: {}", output_text(&output));
    }
    Ok(())
}

/// With temporary directories instead of the machine's.
#[test]
fn every_example_passes_the_check() -> Result<()> {
    let programs = Programs::from_env();
    let examples =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo tells tests where they are"))
            .join("../examples");
    let configured = |dir: &Path| dir.join("drowse.toml").exists();
    let examples = fs::read_dir(examples)?.map(|entry| Ok(entry?.path()));
    let examples = examples.collect::<Result<Vec<_>>>()?;
    let examples = examples.into_iter().filter(|dir| configured(dir)).collect::<Vec<_>>();
    assert!(examples.len() >= 2, "{examples:?}");
    for example in examples {
        let home = Home::new(&programs)?;
        for entry in fs::read_dir(&example)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), home.path().join(entry.file_name()))?;
            } else {
                fs::create_dir(home.path().join(entry.file_name()))?;
            }
        }
        let text = fs::read_to_string(home.config())?;
        let own =
            "plugin-dir = \"plugins\"\ncache-dir = \"cache\"\ncontrol-socket = \"control.sock\"\n";
        fs::write(home.config(), [own, &text].concat())?;
        let output = home.drowse(&["check"])?;
        let printed = output_text(&output);
        assert!(output.status.success(), "{}: {printed}", example.display());
        assert!(!printed.contains("no directory"), "{}: {printed}", example.display());
    }
    Ok(())
}

#[test]
fn a_second_router_on_the_same_home_is_refused_and_the_first_keeps_running() -> Result<()> {
    let (home, _hello) = home("")?;
    let router = home.start()?;
    let output = router.home().drowse(&["run"])?;
    assert!(!output.status.success());
    until("the first router answers", PATIENCE, || router.status().ok().map(drop))?;
    assert_eq!(router.get("good.example", "/")?.status, 200);
    Ok(())
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}
