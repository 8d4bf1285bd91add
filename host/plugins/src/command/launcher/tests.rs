use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{
    command::{
        CommandError, Processes, Starter,
        tests::{grant, starter, with},
    },
    notes::Notes,
    settings::{CommandGrant, CommandLimits},
};

/// The same grant with a limit, so that a launcher begins it.
fn limited(grant: CommandGrant) -> CommandGrant {
    let limits = CommandLimits { files: Some(64), ..CommandLimits::default() };
    CommandGrant { limits, ..grant }
}

fn by(launcher: Option<PathBuf>, grant: CommandGrant) -> Arc<Processes> {
    let grants = BTreeMap::from([("blog".to_owned(), grant)]);
    let notes = Arc::new(Notes::new("process", 20));
    let starter = Starter { launcher, ..starter(None) };
    Processes::new("process", grants, starter, notes, Arc::default())
}

fn refused(processes: &Arc<Processes>) -> String {
    match processes.spawn("blog", &[], &[]) {
        Err(CommandError::Failed(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was started"),
    }
}

async fn says(grant: CommandGrant) -> String {
    let process = with(grant).spawn("blog", &[], &[]).unwrap();
    assert_eq!(process.wait().await, 0);
    let output = String::from_utf8(process.output(64 << 10)).unwrap();
    output.replace(&process.pid().to_string(), "PID")
}

#[tokio::test]
async fn a_program_with_limits_begins_as_one_without() {
    let script = "echo $$; env | sort; readlink /proc/self/fd/0; ls /proc/self/fd; pwd; \
                  ps -o pgid= -p $$ | tr -d ' '; echo \"$0\"; cut -d ' ' -f 2 /proc/$$/stat; \
                  grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let directory = tempfile::tempdir().unwrap();
    let mut plain = grant(script);
    plain.directory = Some(directory.path().to_owned());
    plain.environment.insert("ODD".into(), "a \\ \"b\" = \u{e9}".into());
    let bare = says(plain.clone()).await;
    assert!(bare.contains("/dev/null") && bare.contains("GREETING=hello"), "{bare}");
    assert_eq!(says(limited(plain)).await, bare);
}

#[tokio::test]
async fn what_cannot_begin_is_told_in_the_same_words_with_limits_and_without() {
    let missing = CommandGrant { program: "/nonexistent/program".into(), ..grant("") };
    let nowhere = CommandGrant { program: "no-such-program-anywhere".into(), ..grant("") };
    let unfit = CommandGrant { program: "/etc/passwd".into(), ..grant("") };
    let astray = CommandGrant { directory: Some("/nonexistent/directory".into()), ..grant("") };
    for grant in [missing, nowhere, unfit, astray] {
        let plain = refused(&with(grant.clone()));
        assert!(plain.contains("cannot be started"), "{plain}");
        assert_eq!(refused(&with(limited(grant))), plain);
    }
}

#[tokio::test]
async fn without_a_launcher_that_does_it_nothing_with_limits_begins() {
    let sleeps = || grant("exec sleep 1000");
    for (launcher, cause) in [
        (None, "there is no launcher to set them"),
        (Some("/nonexistent/launcher"), "its launcher /nonexistent/launcher: No such file"),
        (Some("/bin/true"), "its launcher ended before it began"),
    ] {
        let launcher = launcher.map(PathBuf::from);
        let why = refused(&by(launcher.clone(), limited(sleeps())));
        assert!(why.contains(cause), "{why}");
        by(launcher, sleeps()).spawn("blog", &[], &[]).expect("it needs no launcher");
    }
}
