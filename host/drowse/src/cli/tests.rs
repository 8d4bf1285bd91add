#![allow(clippy::unwrap_used)]

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn run_takes_a_configuration_and_a_log_format() {
    let Command::Run(run) = parse("drowse run --config a.toml --log-format json").unwrap().command
    else {
        panic!("not run")
    };
    assert_eq!(run.config.config, Some("a.toml".into()));
    assert_eq!(run.log_format, LogFormat::Json);
}

#[test]
fn a_wait_without_a_time_has_the_default_and_does_not_take_the_name() {
    let Command::Wake(wake) = parse("drowse wake --wait blog").unwrap().command else {
        panic!("not wake")
    };
    assert_eq!((wake.name.as_str(), wake.wait), ("blog", Some(Duration::from_secs(300))));
    let Command::Sleep(sleep) = parse("drowse sleep blog --wait=90s").unwrap().command else {
        panic!("not sleep")
    };
    assert_eq!(sleep.operate.wait, Some(Duration::from_secs(90)));
    let Command::Wake(wake) = parse("drowse wake blog").unwrap().command else {
        panic!("not wake")
    };
    assert_eq!(wake.wait, None);
}

#[test]
fn refresh_is_only_for_recreate() {
    let line = "drowse recreate blog --refresh --force --wait=10m";
    let Command::Recreate(recreate) = parse(line).unwrap().command else { panic!("not recreate") };
    assert!(recreate.refresh && recreate.forcible.force);
    assert_eq!(recreate.forcible.operate.wait, Some(Duration::from_secs(600)));
    assert!(parse("drowse restart blog --force").is_ok());
    assert!(parse("drowse restart blog --refresh").is_err());
}

#[test]
fn an_invalid_wait_is_a_usage_error_with_its_cause() {
    let error = parse("drowse wake blog --wait=90").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ValueValidation);
    assert!(error.to_string().contains("units are"), "{error}");
    assert!(parse("drowse wake blog --wait=2h").is_err());
}

#[test]
fn a_wait_with_a_time_after_a_space_gets_a_correction() {
    for line in ["drowse wake blog --wait 10s", "drowse wake --wait 10s blog"] {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = advise(Cli::try_parse_from(&words).unwrap_err(), &words);
        assert_eq!(error.kind(), ErrorKind::UnknownArgument, "{line}");
        assert!(error.to_string().contains("write the time as `--wait=10s`"), "{error}");
    }
    let words = ["drowse", "wake", "blog", "twice"].map(OsString::from);
    let error = advise(Cli::try_parse_from(&words).unwrap_err(), &words);
    assert!(!error.to_string().contains("--wait="), "{error}");
}

#[test]
fn json_is_a_global_option() {
    for line in ["drowse --json status", "drowse status --json", "drowse plugin list --json"] {
        assert!(parse(line).unwrap().json, "{line}");
    }
}

#[test]
fn init_is_for_one_platform_at_a_time() {
    assert!(parse("drowse init --docker --process").is_err());
    let Command::Init(init) = parse("drowse init --process -").unwrap().command else {
        panic!("not init")
    };
    assert!(init.process && init.file == std::path::Path::new("-"));
}

#[test]
fn help_has_examples_and_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("drowse init --docker"), "{help}");
    assert!(help.contains("3  no router is running"), "{help}");
}

#[test]
fn an_invalid_limit_is_a_usage_error() {
    for line in ["drowse ops --limit 0", "drowse ops --limit 10001"] {
        assert_eq!(parse(line).unwrap_err().kind(), ErrorKind::ValueValidation, "{line}");
    }
    assert!(parse("drowse ops --limit 10000").is_ok());
}
