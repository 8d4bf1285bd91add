//! The command line.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
    value_parser,
};

#[cfg(test)]
mod tests;

const EXIT_CODES: &str = "\
Exit codes:
  0  it is done, or all is well
  1  it failed, `check` found errors, or a test failed
  2  the command line makes no sense
  3  no router is running";

const EXAMPLES: &str = "\
Examples:
  drowse init --docker        write a first drowse.toml for Docker containers
  drowse check                tell everything that is wrong with it
  drowse run                  serve; a visitor wakes what sleeps
  drowse status               what sleeps, what wakes, what is awake, and why not
  drowse wake blog --wait     wake a workload and return when it is ready
  drowse plugin inspect docker
                              what a plugin can do and what it asks for

Exit codes:
  0  it is done, or all is well
  1  it failed, `check` found errors, or a test failed
  2  the command line makes no sense
  3  no router is running";

/// A wake-on-demand proxy: backends sleep until somebody knocks.
///
/// A request to a sleeping workload wakes it through a provider plugin, is held, and is answered
/// as soon as the workload is ready. When nobody asks any more, it sleeps again.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

// === impl Cli ===

impl Cli {
    /// The command line of this program. Ends the program where it is wrong, with what to write
    /// instead where that is known.
    pub(crate) fn parse_or_advise(words: impl Iterator<Item = OsString>) -> Self {
        let words: Vec<_> = words.collect();
        Self::try_parse_from(&words).unwrap_or_else(|error| advise(error, &words).exit())
    }
}

/// Adds to an error that the time of `--wait` is written with `=`: a workload's name may follow
/// `--wait`, too.
fn advise(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let times = words.windows(2).filter(|pair| pair[0] == "--wait");
    let mut times = times.filter_map(|pair| pair[1].to_str());
    if let (ErrorKind::UnknownArgument, Some(time)) =
        (error.kind(), times.find(|time| drowse_config::duration(time).is_ok()))
    {
        let tip = StyledStr::from(format!("write the time as `--wait={time}`"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve visitors until SIGTERM, SIGHUP or Ctrl-C
    ///
    /// Whatever can be served is served: a plugin that cannot be loaded, a container that does
    /// not exist or a port that is taken is told, and does not keep the others from working.
    #[command(after_help = EXIT_CODES)]
    Run(Run),

    /// Tell everything that is wrong with a configuration
    ///
    /// Also loads the plugins, hands them their settings and compares what they ask for with what
    /// is granted. Calls nothing outside.
    #[command(after_help = EXIT_CODES)]
    Check(ConfigFile),

    /// Write a first configuration, with comments
    ///
    /// What the provider asks for is written as grants, for you to review.
    #[command(after_help = EXIT_CODES)]
    Init(Init),

    /// Show the running router: listeners, providers, workloads
    #[command(after_help = EXIT_CODES)]
    Status(Running),

    /// Wake a workload
    #[command(after_help = EXIT_CODES)]
    Wake(Operate),

    /// Put a workload to sleep
    ///
    /// Visitors inside have 30 seconds to leave; then it is stopped all the same.
    #[command(after_help = EXIT_CODES)]
    Sleep(Forcible),

    /// Stop a workload and wake it again
    ///
    /// Visitors inside have 30 seconds to leave; whoever comes meanwhile waits and is served by the
    /// new life.
    #[command(after_help = EXIT_CODES)]
    Restart(Forcible),

    /// Make a workload anew from what it was made of, for instance with the newest image
    ///
    /// Name, settings and data stay. What is awake is awake afterwards, what sleeps sleeps on.
    /// Visitors inside have 30 seconds to leave; whoever comes meanwhile waits. For providers that
    /// can `recreate`; `drowse plugin inspect` tells that, and whether they can `fetch` ahead.
    #[command(after_help = EXIT_CODES)]
    Recreate(Recreate),

    /// Show what was done to workloads lately, why, and how it ended
    #[command(after_help = EXIT_CODES)]
    Ops(Ops),

    /// Look at plugins, accept them, test them, begin a new one
    #[command(subcommand)]
    Plugin(Plugin),
}

/// Where the configuration is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigFile {
    /// The configuration: a file, or a directory of *.toml files [default: ./drowse.toml, then
    /// /etc/drowse/drowse.toml]
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}

/// Where the running router is.
#[derive(Args, Clone, Debug)]
pub(crate) struct Running {
    /// The router's control socket [default: the one of the configuration]
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigFile,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) config: ConfigFile,

    /// What to log, instead of the configuration's `log`, such as `debug` or
    /// `info,drowse_proxy=trace`
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// How to log
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    #[default]
    Human,
    /// A JSON object in each line
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct Init {
    /// For Docker or Podman containers (the default)
    #[arg(long)]
    pub(crate) docker: bool,

    /// For programs that the router starts itself
    #[arg(long, conflicts_with = "docker")]
    pub(crate) process: bool,

    /// For what another plugin starts and stops, such as `http-waker` or `wake-on-lan`
    #[arg(long, value_name = "FILE|NAME", conflicts_with_all = ["docker", "process"])]
    pub(crate) provider: Option<String>,

    /// Where to write it; `-` for standard output
    #[arg(value_name = "FILE", default_value = "drowse.toml")]
    pub(crate) file: PathBuf,

    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Operate {
    /// The workload
    pub(crate) name: String,

    /// Return when it is done, or say why it is not [default time: 5m]
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5m",
        value_parser = wait
    )]
    pub(crate) wait: Option<Duration>,

    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Args, Debug)]
pub(crate) struct Forcible {
    #[command(flatten)]
    pub(crate) operate: Operate,

    /// Do not wait for visitors inside: cut them off
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Recreate {
    #[command(flatten)]
    pub(crate) forcible: Forcible,

    /// Fetch the image again before; visitors are served meanwhile, where the provider can do that
    #[arg(long)]
    pub(crate) refresh: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Ops {
    /// Only of this workload
    pub(crate) name: Option<String>,

    /// So many at most, the latest
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = value_parser!(u16).range(1..=10_000))]
    pub(crate) limit: u16,

    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// List the plugins that providers can use
    #[command(after_help = EXIT_CODES)]
    List(ConfigFile),

    /// Show what a plugin can do, what it asks for and which settings it takes
    #[command(after_help = EXIT_CODES)]
    Inspect {
        /// A plugin's name, or a file
        #[arg(value_name = "FILE|NAME")]
        plugin: String,

        #[command(flatten)]
        config: ConfigFile,
    },

    /// Accept the plugins that the configuration uses, as they are now
    ///
    /// Writes their digests into a lock file beside the configuration. From then on the router
    /// refuses every other file in their place. Plugins in the box are part of the router's own
    /// program and are not locked.
    #[command(after_help = EXIT_CODES)]
    Lock {
        /// Only these, and the others stay as they are in the lock file
        #[arg(value_name = "FILE|NAME")]
        plugins: Vec<String>,

        #[command(flatten)]
        config: ConfigFile,
    },

    /// Tell whether plugins are what the lock file and their signatures say
    #[command(after_help = EXIT_CODES)]
    Verify {
        /// Only these [default: those that the configuration uses]
        #[arg(value_name = "FILE|NAME")]
        plugins: Vec<String>,

        #[command(flatten)]
        config: ConfigFile,
    },

    /// Put what the contract promises of a plugin to the test
    ///
    /// Without --grants nothing outside is called: what it says of itself, what it refuses, and
    /// that it uses nothing it was not granted. With --grants also what it does on its platform.
    #[command(after_help = EXIT_CODES)]
    Test(TestPlugin),

    /// Write the source of a new plugin, in Rust, that builds and passes its tests
    #[command(after_help = EXIT_CODES)]
    New(NewPlugin),
}

#[derive(Args, Debug)]
pub(crate) struct TestPlugin {
    /// A plugin's name, or a file
    #[arg(value_name = "FILE|NAME")]
    pub(crate) plugin: String,

    /// A TOML file with one [provider.NAME], as in a configuration, and a target to test on as
    /// [test]; it is started and stopped many times
    #[arg(long, value_name = "FILE")]
    pub(crate) grants: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigFile,
}

#[derive(Args, Debug)]
pub(crate) struct NewPlugin {
    /// Its name: lower-case letters, digits and `-`, beginning with a letter
    pub(crate) name: String,

    /// The directory to make it in, which must not exist [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,

    /// The directory `provider-sdk` of drowse's source; without it the SDK is looked for in the
    /// registry, where it is not published yet
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

fn wait(text: &str) -> Result<Duration, String> {
    let wait = drowse_config::duration(text)?;
    if wait > drowse_admin::MAX_WAIT {
        return Err("an hour is the longest".to_owned());
    }
    Ok(wait)
}
