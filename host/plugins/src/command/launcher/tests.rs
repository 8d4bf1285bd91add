use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{
    command::{
        CommandError, LaunchOptions, Processes,
        tests::{grant, launch_options, with},
    },
    log_limiter::LogLimiter,
    settings::{CommandGrant, CommandLimits},
};

/// The grant with a limit, so that a launcher starts it.
fn limited(grant: CommandGrant) -> CommandGrant {
    let limits = CommandLimits { files: Some(64), ..CommandLimits::default() };
    CommandGrant { limits, ..grant }
}

fn by(launcher: Option<PathBuf>, grant: CommandGrant) -> Arc<Processes> {
    let grants = BTreeMap::from([("blog".to_owned(), grant)]);
    let log_limiter = Arc::new(LogLimiter::new("process", 20));
    let launch_options = LaunchOptions { launcher, ..launch_options(None) };
    Processes::new("process", grants, launch_options, log_limiter, Arc::default())
}

async fn refused(processes: &Arc<Processes>) -> String {
    match processes.spawn("blog", &[], &[]).await {
        Err(CommandError::Failed(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was started"),
    }
}

async fn output(grant: CommandGrant) -> String {
    let process = with(grant).spawn("blog", &[], &[]).await.unwrap();
    assert_eq!(process.wait().await, 0);
    let output = String::from_utf8(process.output(64 << 10)).unwrap();
    output.replace(&process.pid().to_string(), "PID")
}

#[tokio::test]
async fn a_program_with_limits_starts_in_the_same_environment() {
    let script = "echo $$; env | sort; readlink /proc/self/fd/0; ls /proc/self/fd; pwd; \
                  ps -o pgid= -p $$ | tr -d ' '; echo \"$0\"; cut -d ' ' -f 2 /proc/$$/stat; \
                  grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let directory = tempfile::tempdir().unwrap();
    let mut plain = grant(script);
    plain.directory = Some(directory.path().to_owned());
    plain.environment.insert("ODD".into(), "a \\ \"b\" = \u{e9}".into());
    let bare = output(plain.clone()).await;
    assert!(bare.contains("/dev/null") && bare.contains("GREETING=hello"), "{bare}");
    assert_eq!(output(limited(plain)).await, bare);
}

#[tokio::test]
async fn start_errors_are_the_same_with_limits_and_without() {
    let missing = CommandGrant { program: "/nonexistent/program".into(), ..grant("") };
    let nowhere = CommandGrant { program: "no-such-program-anywhere".into(), ..grant("") };
    let unfit = CommandGrant { program: "/etc/passwd".into(), ..grant("") };
    let astray = CommandGrant { directory: Some("/nonexistent/directory".into()), ..grant("") };
    for grant in [missing, nowhere, unfit, astray] {
        let plain = refused(&with(grant.clone())).await;
        assert!(plain.contains("cannot be started"), "{plain}");
        assert_eq!(refused(&with(limited(grant))).await, plain);
    }
}

#[tokio::test]
async fn limits_require_a_launcher_and_a_broken_launcher_starts_nothing() {
    let sleeps = || grant("exec sleep 1000");
    let why = refused(&by(None, limited(sleeps()))).await;
    assert!(why.contains("no launcher is configured to apply them"), "{why}");
    by(None, sleeps()).spawn("blog", &[], &[]).await.expect("no launcher is needed");
    for (launcher, cause) in [
        ("/nonexistent/launcher", "its launcher /nonexistent/launcher: No such file"),
        ("/bin/true", "its launcher ended before the program started"),
    ] {
        for grant in [limited(sleeps()), sleeps()] {
            let why = refused(&by(Some(launcher.into()), grant)).await;
            assert!(why.contains(cause), "{why}");
        }
    }
}

#[tokio::test]
async fn a_program_starts_in_the_same_environment_with_a_launcher_and_without() {
    let script = "env | sort; readlink /proc/self/fd/0; pwd; ps -o pgid= -p $$ | tr -d ' '";
    let directory = tempfile::tempdir().unwrap();
    let plain = CommandGrant { directory: Some(directory.path().to_owned()), ..grant(script) };
    let output_of = async |processes: Arc<Processes>| {
        let process = processes.spawn("blog", &[], &[]).await.unwrap();
        assert_eq!(process.wait().await, 0);
        let output = String::from_utf8(process.output(64 << 10)).unwrap();
        output.replace(&process.pid().to_string(), "PID")
    };
    let with_launcher = output_of(with(plain.clone())).await;
    assert!(
        with_launcher.contains("PID") && with_launcher.contains("/dev/null"),
        "{with_launcher}"
    );
    assert_eq!(output_of(by(None, plain)).await, with_launcher);
}
