//! What can be found out of a plugin without a platform: what it says of itself, and that it does
//! nothing it was not granted.

use std::{sync::Arc, time::Duration};

use drowse_core::{
    Ability, ErrorCode, Failure, Provider, ProviderEvent, RecreateOptions, RemoveOptions, Status,
    StopOptions, Target,
};
use serde_json::{Value, json};

use crate::{
    About, Plan, Stand, UNKNOWN,
    recorder::Recorder,
    report::{Draft, End, Outcome, ensure, refused, success, told},
};

/// A key that no settings have.
const STRANGE: &str = "drowse-conformance-no-such-key";

/// A watch that was not granted anything has begun or given up by then.
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

/// Makes every check that needs no platform. What the plugin says of itself, if it can be loaded.
pub(crate) async fn run(stand: &dyn Stand, plan: &Plan, report: &mut Draft<'_>) -> Option<About> {
    let promise = "it is loaded and says what it is, and `describe` calls nothing outside";
    let about = match stand.load().await {
        Ok(about) => about,
        Err(cause) => {
            report.note("describe", promise, Err(End::failed("a plugin of the contract", cause)));
            return None;
        }
    };
    report.note("describe", promise, Ok(None));
    report.note("name", "its name can be used as a name", about.check_name());
    report.note("version", "its version is a semantic version", about.check_version());
    report.note("schemas", "its schemas are JSON Schema", about.check_schemas());
    report.note("closed", "its schemas refuse unknown keys", about.check_closed());
    report.note("wishes", "what it asks for can be granted", about.check_wishes());
    report.note("imports", "it imports what it says that it uses", about.check_imports());

    let configured = stand.bare(&plan.settings).await;
    let promise = "`configure` takes settings or refuses them, and calls nothing outside";
    report.note(
        "configure",
        promise,
        match &configured {
            Err(failure) if failure.code != ErrorCode::InvalidRequest => {
                Err(End::failed("success or invalid_request", told(failure)))
            }
            _ => Ok(None),
        },
    );
    let promise = "settings that make no sense are refused as invalid_request";
    report.note("settings", promise, refuses_settings(stand, &plan.settings).await);

    let ground = Ground::of(stand, plan, &about, configured);
    for (name, promise, check) in CHECKS {
        let outcome = match &ground {
            Ok(ground) => check.make(ground).await,
            Err(reason) => Err(End::Skipped(reason.clone())),
        };
        report.note(name, promise, outcome);
    }
    Some(about)
}

/// A provider to which nothing is granted.
struct Ground<'a> {
    stand: &'a dyn Stand,
    plan: &'a Plan,
    about: &'a About,
    provider: Recorder,
}

/// A check of it.
#[derive(Clone, Copy)]
enum Bare {
    TargetSettings,
    Undeclared,
    Ungranted,
    Start,
    Status,
    Watch,
    Faults,
}

const CHECKS: [(&str, &str, Bare); 7] = [
    (
        "target-settings",
        "a target's settings that make no sense are refused as invalid_request",
        Bare::TargetSettings,
    ),
    (
        "undeclared",
        "what `describe` does not name as an ability answers unsupported",
        Bare::Undeclared,
    ),
    ("ungranted", "with nothing granted every call answers by the contract", Bare::Ungranted),
    ("ungranted-start", "nothing is started without what it takes", Bare::Start),
    ("ungranted-status", "a target that nobody knows is missing", Bare::Status),
    ("ungranted-watch", "with nothing granted `watch` begins or answers an error", Bare::Watch),
    ("ungranted-faults", "with nothing granted no call breaks", Bare::Faults),
];

impl Bare {
    async fn make(self, ground: &Ground<'_>) -> Outcome {
        match self {
            Self::TargetSettings => refuses_target_settings(&ground.provider).await,
            Self::Undeclared => refuses_undeclared(ground).await,
            Self::Ungranted => answers(ground).await,
            Self::Start => starts_nothing(ground).await,
            Self::Status => knows_nobody(ground).await,
            Self::Watch => watches(ground).await,
            Self::Faults => ground.provider.check_faults(),
        }
    }
}

// === impl Ground ===

impl<'a> Ground<'a> {
    /// The error says why nothing can be asked of it.
    fn of(
        stand: &'a dyn Stand,
        plan: &'a Plan,
        about: &'a About,
        configured: Result<Arc<dyn Provider>, Failure>,
    ) -> Result<Self, String> {
        match configured {
            Ok(provider) => Ok(Self { stand, plan, about, provider: Recorder::new(provider) }),
            Err(failure) => Err(format!(
                "it takes no calls with these settings ({}); say better ones in a file, --grants",
                told(&failure)
            )),
        }
    }

    /// A target that nobody knows, with settings that a target could have.
    fn unknown(&self) -> Result<Target, End> {
        let required = self.about.target_schema.get("required").and_then(Value::as_array);
        let required = required.is_some_and(|keys| !keys.is_empty());
        let settings = match &self.plan.trial {
            Some(trial) => trial.target.settings.clone(),
            None if required => {
                return Err(End::Skipped(
                    "a target of it needs settings; say them in a file, --grants".to_owned(),
                ));
            }
            None => "{}".to_owned(),
        };
        Ok(Target { handle: UNKNOWN.to_owned(), settings })
    }

    async fn call(&self, function: Function) -> Result<Result<(), Failure>, End> {
        let target = self.unknown()?;
        Ok(function.call(&self.provider, &target).await)
    }
}

async fn refuses_settings(stand: &dyn Stand, settings: &Value) -> Outcome {
    let mut strange = settings.clone();
    match strange.as_object_mut() {
        Some(entries) => drop(entries.insert(STRANGE.to_owned(), json!(7))),
        None => strange = json!({ STRANGE: 7 }),
    }
    for (what, settings) in [("an unknown key", strange), ("a list instead of a table", json!([]))]
    {
        let answer = stand.bare(&settings).await.map(drop);
        refused(answer, &[ErrorCode::InvalidRequest], &format!("settings with {what}"))?;
    }
    Ok(None)
}

async fn refuses_target_settings(provider: &Recorder) -> Outcome {
    let cases = [
        ("an unknown key", json!({ STRANGE: 7 }).to_string()),
        ("a list instead of a table", "[]".to_owned()),
        ("no JSON at all", "{".to_owned()),
    ];
    for (what, settings) in cases {
        let target = Target { handle: UNKNOWN.to_owned(), settings };
        let answer = provider.status(&target).await;
        let what = format!("`status` of a target whose settings have {what}");
        refused(answer, &[ErrorCode::InvalidRequest], &what)?;
    }
    Ok(None)
}

async fn refuses_undeclared(ground: &Ground<'_>) -> Outcome {
    let can = |ability| ground.about.can(ability);
    for function in FUNCTIONS.into_iter().filter(|it| it.needs().is_some_and(|it| !can(it))) {
        let what = format!("`{}`, which is no ability of it", function.word());
        refused(ground.call(function).await?, &[ErrorCode::Unsupported], &what)?;
    }
    Ok(None)
}

async fn answers(ground: &Ground<'_>) -> Outcome {
    let can = |ability| ground.about.can(ability);
    for function in FUNCTIONS.into_iter().filter(|it| it.needs().is_none_or(can)) {
        let Err(failure) = ground.call(function).await? else { continue };
        let defect = matches!(failure.code, ErrorCode::Internal | ErrorCode::Other(_));
        let expected = format!("`{}` answers denied or its like", function.word());
        ensure(!defect, expected, || told(&failure))?;
    }
    Ok(None)
}

async fn starts_nothing(ground: &Ground<'_>) -> Outcome {
    if !ground.about.needs_grants() {
        return Err(End::Skipped("it needs nothing to be granted".to_owned()));
    }
    match ground.call(Function::Start).await? {
        Ok(_) => Err(End::failed(
            "`start` without the endpoint or command that it needs is refused",
            "success",
        )),
        Err(_) => Ok(None),
    }
}

async fn knows_nobody(ground: &Ground<'_>) -> Outcome {
    let unknown = match &ground.plan.trial {
        Some(trial) => trial.unknown.clone(),
        None => ground.unknown()?,
    };
    let Ok(seen) = ground.provider.status(&unknown).await else { return Ok(None) };
    let expected = "status `missing`, or an error that says why nobody can know";
    ensure(seen.status == Status::Missing, expected, || format!("{:?}", seen.status)).map(|()| None)
}

/// With a provider of its own: what was refused to the other one is still told by its state.
async fn watches(ground: &Ground<'_>) -> Outcome {
    if !ground.about.can(Ability::Watch) {
        return Err(End::Skipped("it does not have the ability `watch`".to_owned()));
    }
    let provider =
        success("`configure` as before", ground.stand.bare(&ground.plan.settings).await)?;
    let provider = Recorder::new(provider);
    let mut events = provider.watch();
    let refused = async {
        // An error is told by the provider's state, and by nothing else.
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
    let expected = "`watch` says `synced` first, or answers an error";
    match tokio::time::timeout(WATCH, first).await {
        Ok(Some(ProviderEvent::Synced) | None) => provider.check_faults(),
        Ok(Some(event)) => Err(End::failed(expected, format!("{event:?}"))),
        Err(_) => Err(End::failed(expected, format!("nothing within {} s", WATCH.as_secs()))),
    }
}

// === impl Function ===

impl Function {
    /// The ability that goes with it.
    fn needs(self) -> Option<Ability> {
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
