//! Tests of the program through its command line.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

fn drowse(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_drowse"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A configuration whose files are all in its own directory, with more lines behind it.
fn configured(more: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let toml = format!(
        "control-socket = \"control.sock\"\ncache-dir = \"cache\"\nstate-dir = \"state\"\nplugin-dir = \"plugins\"\nthreads = 1\n{more}"
    );
    fs::write(directory.path().join("drowse.toml"), toml).unwrap();
    directory
}

const LISTENER: &str = "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\n";

/// A running router. Killed if the test fails before it ends.
struct Router {
    child: Child,
    log: Vec<String>,
}

impl Router {
    /// Starts one and waits until its control socket is open.
    fn start(directory: &Path) -> Self {
        Self::spawn(directory, &mut Command::new(env!("CARGO_BIN_EXE_drowse")))
    }

    fn spawn(directory: &Path, command: &mut Command) -> Self {
        let mut child = command
            .args(["run", "--log-format", "json"])
            .current_dir(directory)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            let open = line.contains("control socket is open");
            log.push(line);
            if open {
                // The rest of the log is discarded, which must not affect the router.
                child.stderr = None;
                std::thread::spawn(move || lines.for_each(drop));
                return Self { child, log };
            }
        }
        child.wait().unwrap();
        panic!("the router ended: {log:#?}");
    }

    fn events(&self, message: &str) -> Vec<Value> {
        let events = self.log.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["message"] == message).collect()
    }

    fn end(mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_a_configuration_the_error_names_the_searched_paths() {
    let directory = tempfile::tempdir().unwrap();
    if Path::new("/etc/drowse/drowse.toml").exists() {
        return;
    }
    let run = drowse(directory.path(), &["run"]);
    assert_eq!(run.status.code(), Some(1));
    let told = text(&run.stderr);
    assert!(told.contains("/etc/drowse/drowse.toml") && told.contains("drowse init"), "{told}");
}

#[test]
fn without_a_router_the_exit_code_is_three() {
    let directory = configured("");
    for arguments in [&["status"][..], &["wake", "blog"], &["sleep", "blog"]] {
        let output = drowse(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        let told = text(&output.stderr);
        assert!(told.contains("control.sock") && told.contains("drowse run"), "{told}");
    }
    let output = drowse(directory.path(), &["status", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["code"], "not_running");
}

#[test]
fn a_missing_named_configuration_is_exit_code_one() {
    let directory = configured("");
    for arguments in
        [&["status"][..], &["wake", "blog"], &["plugin", "list"], &["plugin", "inspect", "docker"]]
    {
        let arguments = [arguments, &["--config", "nowhere.toml"]].concat();
        let output = drowse(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains("nowhere.toml"), "{}", text(&output.stderr));
    }
}

#[test]
fn plugins_are_found_in_the_directory_of_a_broken_configuration() {
    let directory = configured("idel = 1\n[[[\n");
    fs::create_dir(directory.path().join("plugins")).unwrap();
    fs::write(directory.path().join("plugins/broken.wasm"), "no").unwrap();
    let file = directory.path().join("drowse.toml");
    let elsewhere = tempfile::tempdir().unwrap();
    let arguments = ["plugin", "list", "--config", file.to_str().unwrap()];
    let output = drowse(elsewhere.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("broken.wasm"), "{}", text(&output.stdout));
    assert!(directory.path().join("cache").exists());
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_but_a_closed_pipe_is_not() {
    let init = |output: Stdio| {
        let mut init = Command::new(env!("CARGO_BIN_EXE_drowse"));
        init.args(["init", "-"]).stdout(output).output().unwrap()
    };
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let told = init(full.into());
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told.stderr).contains("standard output"), "{}", text(&told.stderr));

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let told = init(writer.into());
    assert_eq!((told.status.code(), text(&told.stderr)), (Some(0), String::new()));
}

#[test]
fn an_invalid_command_line_is_exit_code_two() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["rnu"][..], &["wake"], &[], &["run", "--log-format", "xml"]] {
        assert_eq!(drowse(directory.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn check_reports_every_error_as_text_and_as_json() {
    let directory = configured("idel = 1\n[[listener]]\nname = \"web\"\nbind = 80\n");
    let output = drowse(directory.path(), &["check"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    for part in ["drowse.toml:6:1", "drowse.toml:9:8", "2 errors"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let output = drowse(directory.path(), &["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["errors"][1]["line"], 9);
}

#[test]
fn check_reports_errors_of_plugins() {
    let more = format!(
        "{LISTENER}[provider.a]\nplugin = \"none\"\n[provider.b]\nplugin = \"./text.wasm\"\n"
    );
    let directory = configured(&more);
    fs::write(directory.path().join("text.wasm"), "this is not WASM").unwrap();
    let output = drowse(directory.path(), &["check"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    for part in ["drowse.toml:10:10", "none", "drowse.toml:12:10", "text.wasm", "2 errors"] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn a_misspelt_log_level_is_an_error_at_its_place() {
    let directory = configured(&format!("log = \"inof\"\n{LISTENER}"));
    for command in ["check", "run"] {
        let output = drowse(directory.path(), &[command]);
        assert_eq!(output.status.code(), Some(1));
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(told.contains("drowse.toml:6:7") && told.contains("`info`"), "{told}");
    }
}

#[test]
fn check_accepts_a_valid_configuration() {
    let directory = configured(LISTENER);
    let output = drowse(directory.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("1 listener, 0 providers, 0 workloads, 0 routes"));
}

#[test]
fn run_with_a_configuration_error_starts_nothing() {
    let directory = configured("[[listener]]\nname = \"web\"\n");
    let output = drowse(directory.path(), &["run"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("needs `bind`") && told.contains("drowse.toml:6:1"), "{told}");
    assert!(!directory.path().join("control.sock").exists());
}

#[test]
fn run_without_any_listener_that_can_be_bound_fails() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let directory = configured(&format!("[[listener]]\nname = \"web\"\nbind = \"{address}\"\n"));
    let output = drowse(directory.path(), &["run"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains(&address.to_string()), "{told}");
    assert_eq!(files(directory.path()), [PathBuf::from("drowse.toml")]);

    let directory = configured("");
    let output = drowse(directory.path(), &["run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("[[listener]]"));
}

#[test]
fn a_failed_listener_and_provider_do_not_affect_the_others() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let more = format!(
        "{LISTENER}[[listener]]\nname = \"lan\"\nbind = \"{address}\"\n\
         [provider.none]\nplugin = \"none\"\n[workload.blog]\nprovider = \"none\"\n\
         [[route]]\nlistener = \"web\"\nworkload = \"blog\"\nport = 80\nwaiting = \"hold\"\n"
    );
    let directory = configured(&more);
    let router = Router::start(directory.path());

    let output = drowse(directory.path(), &["status", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["pid"], router.child.id());
    assert_eq!(status["listeners"][0]["problem"], Value::Null);
    assert!(status["listeners"][1]["problem"].as_str().unwrap().contains(&address.to_string()));
    assert_eq!(status["providers"][0]["usable"], false);
    assert_eq!(status["workloads"][0]["name"], "blog");

    // A visitor gets an answer with the cause, not a hang.
    let web = status["listeners"][0]["address"].as_str().unwrap();
    let mut visitor = TcpStream::connect(web).unwrap();
    visitor.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");

    let output = drowse(directory.path(), &["wake", "blog", "--wait=30s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("none"), "{}", text(&output.stderr));
    let output = drowse(directory.path(), &["wake", "wiki"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("wiki"));
    let output = drowse(directory.path(), &["status"]);
    assert!(text(&output.stdout).contains("not served"), "{}", text(&output.stdout));

    let second = drowse(directory.path(), &["run"]);
    assert_eq!(second.status.code(), Some(1));
    let expected = format!("pid {}", router.child.id());
    assert!(text(&second.stderr).contains(&expected), "{}", text(&second.stderr));

    assert_eq!(router.end(Signal::TERM), Some(0));
    let left = files(directory.path());
    assert!(!left.iter().any(|file| file.to_string_lossy().contains("control")), "{left:?}");
}

#[test]
fn the_json_log_uses_the_common_field_names() {
    let directory = configured(LISTENER);
    let router = Router::start(directory.path());
    let listening = router.events("listening");
    assert_eq!(listening[0]["listener"], "web");
    assert!(listening[0]["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(router.events("starting")[0]["configuration"], "drowse.toml");
    assert_eq!(router.end(Signal::INT), Some(0));
}

#[test]
fn sighup_ends_the_router_in_order() {
    if ignores_hangup("self") {
        return;
    }
    let directory = configured(LISTENER);
    assert_eq!(Router::start(directory.path()).end(Signal::HUP), Some(0));
    assert!(!directory.path().join("control.sock").exists());
}

#[test]
fn a_router_under_nohup_ignores_sighup() {
    let directory = configured(LISTENER);
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_drowse")]);
    let router = Router::spawn(directory.path(), &mut nohup);
    assert!(ignores_hangup(&router.child.id().to_string()));
    assert_eq!(router.end(Signal::TERM), Some(0));
}

fn ignores_hangup(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn the_next_router_starts_after_one_was_killed() {
    let directory = configured(LISTENER);
    Router::start(directory.path()).end(Signal::KILL);
    assert!(directory.path().join("control.sock").exists());
    let router = Router::start(directory.path());
    assert_eq!(drowse(directory.path(), &["status"]).status.code(), Some(0));
    assert_eq!(router.end(Signal::TERM), Some(0));
}

#[test]
fn plugins_can_be_inspected_without_a_router() {
    let directory = configured(LISTENER);
    fs::create_dir(directory.path().join("plugins")).unwrap();
    fs::write(directory.path().join("plugins/broken.wasm"), "no").unwrap();
    let output = drowse(directory.path(), &["plugin", "list", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let broken = listed.as_array().unwrap().iter().find(|one| one["name"] == "broken").unwrap();
    assert!(broken["problem"].as_str().unwrap().contains("broken.wasm"));
    let output = drowse(directory.path(), &["plugin", "inspect", "no-such-plugin"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no-such-plugin"));
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into()).collect();
    files.sort();
    files
}
