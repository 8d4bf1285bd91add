//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  drowse init                    write a first drowse.toml for Docker, to be reviewed
  drowse check                   say everything that is wrong with it
  drowse run                     serve
  drowse status                  what sleeps, what is awake, and why something failed
  drowse wake blog --wait        wake a workload and wait until it is ready
  drowse plugin inspect docker   what a plugin wants to be granted

Exit codes:
  0  done        1  failed; the reason is on standard error
  2  usage       3  no router is running";

/// A wake-on-demand proxy: backends sleep until somebody knocks.
#[derive(Debug, Parser)]
#[command(name = "drowse", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// The configuration: a TOML file, or a directory of them [default: ./drowse.toml, else
    /// /etc/drowse/drowse.toml]
    #[arg(long, short, global = true, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for programs instead of tables for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say everything that is wrong with the configuration, and load its plugins.
    Check,
    /// Write a first configuration, with what its plugins want as grants to review.
    Init(InitOptions),
    /// Look at plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Serve until interrupted.
    Run(RunOptions),
    /// Put a workload to sleep; visitors inside are waited for.
    Sleep(OperateOptions),
    /// Show listeners, providers and workloads of the running router.
    Status,
    /// Wake a workload.
    Wake(OperateOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Show what a plugin is and what it wants to be granted.
    Inspect {
        /// A name, or the path of a file.
        #[arg(value_name = "NAME|FILE")]
        plugin: String,
    },
    /// List the plugins of the directory and the bundled ones.
    List,
}

#[derive(Debug, Args)]
pub(crate) struct InitOptions {
    /// The file to write.
    #[arg(default_value = "drowse.toml")]
    pub(crate) file: PathBuf,
    /// What controls the first workload.
    #[arg(long, value_enum, default_value = "docker")]
    pub(crate) provider: Starter,
    /// Write over a file that exists.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Starter {
    /// Containers of a Docker engine.
    Docker,
    /// Programs on this machine.
    Process,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// How log lines look on standard error.
    #[arg(long, value_enum, default_value = "human")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct OperateOptions {
    /// The workload.
    pub(crate) name: String,
    /// Wait until it is done or has failed; for so many seconds at most.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "300")]
    wait: Option<u64>,
}

// === impl OperateOptions ===

impl OperateOptions {
    /// How long to wait, if at all.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.wait.map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_configuration_may_be_named_after_the_command() {
        let cli = Cli::try_parse_from(["drowse", "wake", "blog", "--wait", "--config", "x.toml"]);
        let cli = cli.unwrap();
        assert_eq!(cli.config.as_deref(), Some("x.toml".as_ref()));
        let Command::Wake(options) = cli.command else { panic!("not a wake") };
        assert_eq!(options.wait(), Some(Duration::from_secs(300)));
    }
}
