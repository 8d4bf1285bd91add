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
  0  success
  1  failure, `check` found errors, or a test failed
  2  invalid command line
  3  no router is running";

const EXAMPLES: &str = "\
Examples:
  drowse init --docker        write a first drowse.toml for Docker containers
  drowse check                report all errors in it
  drowse run                  serve; a visitor wakes a sleeping workload
  drowse status               the state of all workloads, and what is wrong
  drowse wake blog --wait     wake a workload and wait until it is ready
  drowse plugin inspect docker
                              the abilities and requirements of a plugin

Exit codes:
  0  success
  1  failure, `check` found errors, or a test failed
  2  invalid command line
  3  no router is running";

/// A wake-on-demand proxy: backends sleep until a request needs them.
///
/// A request to a sleeping workload wakes it through a provider plugin, is held, and is answered
/// as soon as the workload is ready. After a time without visits it is put to sleep again.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

// === impl Cli ===

impl Cli {
    /// Parses the command line of this process. If it is invalid, prints why, with a correction if one
    /// is known, and exits.
    pub(crate) fn parse_or_advise(words: impl Iterator<Item = OsString>) -> Self {
        let words: Vec<_> = words.collect();
        Self::try_parse_from(&words).unwrap_or_else(|error| advise(error, &words).exit())
    }
}

/// Adds to an error that the time of `--wait` is written with `=`, because a workload's name may follow
/// `--wait`.
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
    /// Serves everything that can be served: a plugin that cannot be loaded, a container that does not
    /// exist or a port that is in use is logged and does not affect the others.
    #[command(after_help = EXIT_CODES)]
    Run(Run),

    /// Report all errors in a configuration
    ///
    /// Also loads the plugins, lets them check their settings and compares their requirements with the
    /// grants. Calls no endpoint.
    #[command(after_help = EXIT_CODES)]
    Check(ConfigFile),

    /// Write a first configuration, with comments
    ///
    /// Writes the requirements of the provider as grants for you to review.
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
    /// Active visits have 30 seconds to end; then it is stopped anyway.
    #[command(after_help = EXIT_CODES)]
    Sleep(Forcible),

    /// Stop a workload and wake it again
    ///
    /// Active visits have 30 seconds to end; new visitors wait and are served by the next instance.
    #[command(after_help = EXIT_CODES)]
    Restart(Forcible),

    /// Recreate a workload, for instance with the newest image
    ///
    /// Keeps its name, settings and data. An awake workload is awake afterwards, a sleeping one stays
    /// asleep. Active visits have 30 seconds to end; new visitors wait. For providers with the ability
    /// `recreate`; `drowse plugin inspect` lists abilities, also `fetch`.
    #[command(after_help = EXIT_CODES)]
    Recreate(Recreate),

    /// List the latest operations on workloads, with trigger and outcome
    #[command(after_help = EXIT_CODES)]
    Ops(Ops),

    /// List, inspect, lock, verify, test and create plugins
    #[command(subcommand)]
    Plugin(Plugin),
}

/// The configuration to use.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigFile {
    /// The configuration: a file, or a directory of *.toml files [default: ./drowse.toml, then
    /// /etc/drowse/drowse.toml]
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}

/// The running router.
#[derive(Args, Clone, Debug)]
pub(crate) struct Running {
    /// The router's control socket [default: that of the configuration]
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigFile,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) config: ConfigFile,

    /// Log filter that replaces the configuration's `log`, such as `debug` or
    /// `info,drowse_proxy=trace`
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// Log format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text
    #[default]
    Human,
    /// A JSON object per line
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct Init {
    /// For Docker or Podman containers (the default)
    #[arg(long)]
    pub(crate) docker: bool,

    /// For programs on this machine
    #[arg(long, conflicts_with = "docker")]
    pub(crate) process: bool,

    /// For another plugin, such as `http-waker` or `wake-on-lan`
    #[arg(long, value_name = "FILE|NAME", conflicts_with_all = ["docker", "process"])]
    pub(crate) provider: Option<String>,

    /// The file to write; `-` for standard output
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

    /// Wait until it is done or has failed [default time: 5m]
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

    /// Do not wait for active visits: disconnect them
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Recreate {
    #[command(flatten)]
    pub(crate) forcible: Forcible,

    /// Fetch the image first; visitors are served meanwhile if the provider supports it
    #[arg(long)]
    pub(crate) refresh: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Ops {
    /// Only operations on this workload
    pub(crate) name: Option<String>,

    /// Maximum number of operations, latest first
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

    /// Show the abilities, requirements and settings of a plugin
    #[command(after_help = EXIT_CODES)]
    Inspect {
        /// A plugin's name, or a file
        #[arg(value_name = "FILE|NAME")]
        plugin: String,

        #[command(flatten)]
        config: ConfigFile,
    },

    /// Pin the configured plugins in a lock file
    ///
    /// Writes their digests into a lock file beside the configuration. From then on the router refuses
    /// changed or other files. Bundled plugins are part of the router's program and are not locked.
    #[command(after_help = EXIT_CODES)]
    Lock {
        /// Only these; other entries of the lock file stay
        #[arg(value_name = "FILE|NAME")]
        plugins: Vec<String>,

        #[command(flatten)]
        config: ConfigFile,
    },

    /// Verify plugins against the lock file and their signatures
    #[command(after_help = EXIT_CODES)]
    Verify {
        /// Only these [default: those that the configuration uses]
        #[arg(value_name = "FILE|NAME")]
        plugins: Vec<String>,

        #[command(flatten)]
        config: ConfigFile,
    },

    /// Run the conformance suite against a plugin
    ///
    /// Without --grants no endpoint is called: checks its description, its error handling, and that it
    /// uses only what is granted. With --grants also checks its operations on its platform.
    #[command(after_help = EXIT_CODES)]
    Test(TestPlugin),

    /// Create the source of a new plugin in Rust, which builds and passes its tests
    #[command(after_help = EXIT_CODES)]
    New(NewPlugin),
}

#[derive(Args, Debug)]
pub(crate) struct TestPlugin {
    /// A plugin's name, or a file
    #[arg(value_name = "FILE|NAME")]
    pub(crate) plugin: String,

    /// A TOML file with one [provider.NAME], as in a configuration, and a target in [test], which is
    /// started and stopped many times
    #[arg(long, value_name = "FILE")]
    pub(crate) grants: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigFile,
}

#[derive(Args, Debug)]
pub(crate) struct NewPlugin {
    /// The plugin's name: lower-case letters, digits and `-`, beginning with a letter
    pub(crate) name: String,

    /// The directory to create, which must not exist [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,

    /// The directory `provider-sdk` of drowse's source; without it the manifest names the SDK in the
    /// registry, where it is not published yet
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

fn wait(text: &str) -> Result<Duration, String> {
    let wait = drowse_config::duration(text)?;
    if wait > drowse_admin::MAX_WAIT {
        return Err("the maximum is an hour".to_owned());
    }
    Ok(wait)
}
