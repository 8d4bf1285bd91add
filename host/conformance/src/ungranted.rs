//! Checks that need no platform: the description is consistent, and the plugin does nothing without
//! a grant.

use std::{sync::Arc, time::Duration};

use drowse_core::{
    Ability, ErrorCode, Failure, Provider, ProviderEvent, RecreateOptions, RemoveOptions, Status,
    StopOptions, Target,
};
use serde_json::{Value, json};

use crate::{
    About, Plan, TestHost, UNKNOWN,
    recorder::Recorder,
    report::{NotPassed, Outcome, ReportBuilder, ensure, failure_text, refused, success},
};

/// A settings key that no schema contains.
const UNKNOWN_KEY: &str = "drowse-conformance-no-such-key";

/// Timeout for a watch without grants to begin or fail.
const WATCH: Duration = Duration::from_secs(10);

/// A function of the contract that acts on a target or the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Start,
    Stop,
    Status,
    Pause,
    Resume,
    Kill,
    List,
    Logs,
    Exec,
    Usage,
    Recreate,
    Fetch,
    Remove,
}

const FUNCTIONS: [Function; 13] = [
    Function::Start,
    Function::Stop,
    Function::Status,
    Function::Pause,
    Function::Resume,
    Function::Kill,
    Function::List,
    Function::Logs,
    Function::Exec,
    Function::Usage,
    Function::Recreate,
    Function::Fetch,
    Function::Remove,
];

/// Runs every check that needs no platform. Returns the description if the plugin can be loaded.
pub(crate) async fn run(
    host: &dyn TestHost,
    plan: &Plan,
    report: &mut ReportBuilder<'_>,
) -> Option<About> {
    let promise = "the plugin loads, and `describe` makes no outside call";
    let about = match host.load().await {
        Ok(about) => about,
        Err(cause) => {
            report.note(
                "describe",
                promise,
                Err(NotPassed::failed("a plugin of the contract", cause)),
            );
            return None;
        }
    };
    report.note("describe", promise, Ok(None));
    report.note("name", "the plugin's name is a valid name", about.check_name());
    report.note("version", "the plugin's version is a semantic version", about.check_version());
    report.note("schemas", "the settings schemas are JSON Schema", about.check_schemas());
    report.note("closed", "the settings schemas refuse unknown keys", about.check_closed());
    report.note(
        "wishes",
        "every requested endpoint, command and network can be granted",
        about.check_wishes(),
    );
    report.note(
        "imports",
        "imports match the requested endpoints, commands and networks",
        about.check_imports(),
    );

    let configured = host.ungranted(&plan.settings).await;
    let promise = "`configure` accepts or refuses settings, and makes no outside call";
    report.note(
        "configure",
        promise,
        match &configured {
            Err(failure) if failure.code != ErrorCode::InvalidRequest => {
                Err(NotPassed::failed("success or invalid_request", failure_text(failure)))
            }
            _ => Ok(None),
        },
    );
    let promise = "invalid settings are refused as invalid_request";
    report.note("settings", promise, refuses_settings(host, &plan.settings).await);

    let fixture = Fixture::of(host, plan, &about, configured);
    for (name, promise, check) in CHECKS {
        let outcome = match &fixture {
            Ok(fixture) => check.make(fixture).await,
            Err(reason) => Err(NotPassed::Skipped(reason.clone())),
        };
        report.note(name, promise, outcome);
    }
    Some(about)
}

/// A provider without grants, and what its checks need.
struct Fixture<'a> {
    host: &'a dyn TestHost,
    plan: &'a Plan,
    about: &'a About,
    provider: Recorder,
}

/// A check of a provider without grants.
#[derive(Clone, Copy)]
enum UngrantedCheck {
    TargetSettings,
    Undeclared,
    Ungranted,
    Start,
    Status,
    Watch,
    Faults,
}

const CHECKS: [(&str, &str, UngrantedCheck); 7] = [
    (
        "target-settings",
        "invalid target settings are refused as invalid_request",
        UngrantedCheck::TargetSettings,
    ),
    (
        "undeclared",
        "functions of undeclared abilities answer unsupported",
        UngrantedCheck::Undeclared,
    ),
    (
        "ungranted",
        "without grants every call answers with an error of the contract",
        UngrantedCheck::Ungranted,
    ),
    ("ungranted-start", "`start` fails without a required grant", UngrantedCheck::Start),
    ("ungranted-status", "an unknown target has status `missing`", UngrantedCheck::Status),
    ("ungranted-watch", "without grants `watch` begins or fails", UngrantedCheck::Watch),
    (
        "ungranted-faults",
        "without grants no call traps, hangs or exceeds a limit",
        UngrantedCheck::Faults,
    ),
];

impl UngrantedCheck {
    async fn make(self, fixture: &Fixture<'_>) -> Outcome {
        match self {
            Self::TargetSettings => refuses_target_settings(&fixture.provider).await,
            Self::Undeclared => refuses_undeclared(fixture).await,
            Self::Ungranted => answers(fixture).await,
            Self::Start => starts_nothing(fixture).await,
            Self::Status => reports_missing(fixture).await,
            Self::Watch => watches(fixture).await,
            Self::Faults => fixture.provider.check_faults(),
        }
    }
}

// === impl Fixture ===

impl<'a> Fixture<'a> {
    /// The error is the reason why the provider takes no calls.
    fn of(
        host: &'a dyn TestHost,
        plan: &'a Plan,
        about: &'a About,
        configured: Result<Arc<dyn Provider>, Failure>,
    ) -> Result<Self, String> {
        match configured {
            Ok(provider) => Ok(Self { host, plan, about, provider: Recorder::new(provider) }),
            Err(failure) => Err(format!(
                "`configure` refuses these settings ({}); pass valid ones in a file with --grants",
                failure_text(&failure)
            )),
        }
    }

    /// A target that does not exist, with plausible settings.
    fn unknown(&self) -> Result<Target, NotPassed> {
        let required = self.about.target_schema.get("required").and_then(Value::as_array);
        let required = required.is_some_and(|keys| !keys.is_empty());
        let settings = match &self.plan.test_target {
            Some(test_target) => test_target.target.settings.clone(),
            None if required => {
                return Err(NotPassed::Skipped(
                    "the target needs settings; pass them in a file with --grants".to_owned(),
                ));
            }
            None => "{}".to_owned(),
        };
        Ok(Target { handle: UNKNOWN.to_owned(), settings })
    }

    async fn call(&self, function: Function) -> Result<Result<(), Failure>, NotPassed> {
        let target = self.unknown()?;
        Ok(function.call(&self.provider, &target).await)
    }
}

async fn refuses_settings(host: &dyn TestHost, settings: &Value) -> Outcome {
    let mut unknown_key = settings.clone();
    match unknown_key.as_object_mut() {
        Some(entries) => drop(entries.insert(UNKNOWN_KEY.to_owned(), json!(7))),
        None => unknown_key = json!({ UNKNOWN_KEY: 7 }),
    }
    for (what, settings) in
        [("an unknown key", unknown_key), ("a list instead of a table", json!([]))]
    {
        let answer = host.ungranted(&settings).await.map(drop);
        refused(answer, &[ErrorCode::InvalidRequest], &format!("settings with {what}"))?;
    }
    Ok(None)
}

async fn refuses_target_settings(provider: &Recorder) -> Outcome {
    let cases = [
        ("an unknown key", json!({ UNKNOWN_KEY: 7 }).to_string()),
        ("a list instead of a table", "[]".to_owned()),
        ("invalid JSON", "{".to_owned()),
    ];
    for (what, settings) in cases {
        let target = Target { handle: UNKNOWN.to_owned(), settings };
        let answer = provider.status(&target).await;
        let what = format!("`status` of a target whose settings have {what}");
        refused(answer, &[ErrorCode::InvalidRequest], &what)?;
    }
    Ok(None)
}

async fn refuses_undeclared(fixture: &Fixture<'_>) -> Outcome {
    let can = |ability| fixture.about.can(ability);
    for function in FUNCTIONS.into_iter().filter(|it| it.ability().is_some_and(|it| !can(it))) {
        let what = format!("undeclared `{}`", function.word());
        refused(fixture.call(function).await?, &[ErrorCode::Unsupported], &what)?;
    }
    Ok(None)
}

async fn answers(fixture: &Fixture<'_>) -> Outcome {
    let can = |ability| fixture.about.can(ability);
    for function in FUNCTIONS.into_iter().filter(|it| it.ability().is_none_or(can)) {
        let Err(failure) = fixture.call(function).await? else { continue };
        let defect = matches!(failure.code, ErrorCode::Internal | ErrorCode::Other(_));
        let expected =
            format!("`{}` answers denied or another error of the contract", function.word());
        ensure(!defect, expected, || failure_text(&failure))?;
    }
    Ok(None)
}

async fn starts_nothing(fixture: &Fixture<'_>) -> Outcome {
    if !fixture.about.needs_grants() {
        return Err(NotPassed::Skipped("the plugin requires no grant".to_owned()));
    }
    match fixture.call(Function::Start).await? {
        Ok(_) => Err(NotPassed::failed(
            "`start` without the endpoint or command that it needs is refused",
            "success",
        )),
        Err(_) => Ok(None),
    }
}

async fn reports_missing(fixture: &Fixture<'_>) -> Outcome {
    let unknown = match &fixture.plan.test_target {
        Some(test_target) => test_target.unknown.clone(),
        None => fixture.unknown()?,
    };
    let Ok(seen) = fixture.provider.status(&unknown).await else { return Ok(None) };
    let expected = "status `missing`, or an error with the reason why the status is unknown";
    ensure(seen.status == Status::Missing, expected, || format!("{:?}", seen.status)).map(|()| None)
}

/// Uses a provider of its own, because the state of the shared one still shows its last error.
async fn watches(fixture: &Fixture<'_>) -> Outcome {
    if !fixture.about.can(Ability::Watch) {
        return Err(NotPassed::Skipped(
            "the plugin does not declare the ability `watch`".to_owned(),
        ));
    }
    let provider =
        success("`configure` as before", fixture.host.ungranted(&fixture.plan.settings).await)?;
    let provider = Recorder::new(provider);
    let mut events = provider.watch();
    let refused = async {
        // A failed watch is visible in the provider's state only.
        while provider.cause().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let first = async {
        tokio::select! {
            event = events.recv() => event,
            () = refused => None,
        }
    };
    let expected = "`watch` emits `synced` first, or fails";
    match tokio::time::timeout(WATCH, first).await {
        Ok(Some(ProviderEvent::Synced) | None) => provider.check_faults(),
        Ok(Some(event)) => Err(NotPassed::failed(expected, format!("{event:?}"))),
        Err(_) => {
            Err(NotPassed::failed(expected, format!("no event within {} s", WATCH.as_secs())))
        }
    }
}

// === impl Function ===

impl Function {
    /// The ability that the function requires.
    fn ability(self) -> Option<Ability> {
        Some(match self {
            Self::Start | Self::Stop | Self::Status => return None,
            Self::Pause | Self::Resume => Ability::Pause,
            Self::Kill => Ability::Kill,
            Self::List => Ability::List,
            Self::Logs => Ability::Logs,
            Self::Exec => Ability::Exec,
            Self::Usage => Ability::Usage,
            Self::Recreate => Ability::Recreate,
            Self::Fetch => Ability::Fetch,
            Self::Remove => Ability::Remove,
        })
    }

    fn word(self) -> String {
        format!("{self:?}").to_ascii_lowercase()
    }

    async fn call(self, provider: &Recorder, target: &Target) -> Result<(), Failure> {
        let stop = StopOptions { signal: None, grace: Duration::from_secs(1) };
        let seen = match self {
            Self::Start => provider.start(target).await,
            Self::Stop => provider.stop(target, &stop).await,
            Self::Status => provider.status(target).await,
            Self::Pause => provider.pause(target).await,
            Self::Resume => provider.resume(target).await,
            Self::Kill => provider.kill(target).await,
            Self::List => return provider.list(None).await.map(drop),
            Self::Logs => return provider.logs(target, 1).await.map(drop),
            Self::Exec => return provider.exec(target, &["true".to_owned()]).await.map(drop),
            Self::Usage => return provider.usage(target).await.map(drop),
            Self::Recreate => {
                provider.recreate(target, &RecreateOptions { refresh: false, stop }).await
            }
            Self::Fetch => return provider.fetch(target).await,
            Self::Remove => {
                let options = RemoveOptions { preserve_data: true };
                return provider.remove(target, &options).await;
            }
        };
        seen.map(drop)
    }
}
