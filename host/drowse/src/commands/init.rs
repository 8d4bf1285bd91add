//! `drowse init`

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::Path,
};

use drowse_config::{DefaultPaths, Paths, doc};
use drowse_core::ProviderName;
use drowse_plugins::{
    PluginInfo,
    grants::{toml_key, toml_string},
};
use serde_json::json;

use crate::{
    cli::Init,
    commands::{plugin::named, plugins, runtime},
    error::Error,
    grants,
    output::Output,
};

#[cfg(test)]
mod tests;

/// The directory that the example program serves, beside the configuration. A web server without one would
/// serve the working directory of the router.
const SITE: &str = "drowse-hello";

/// The platform of the first workload.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Platform {
    Docker,
    Process,
    /// The plugin of this name or file.
    Other(String),
}

pub(crate) fn init(asked: &Init, output: &Output) -> Result<(), Error> {
    let platform = Platform::of(asked);
    let info = describe(&platform)?;
    write(asked, &starter(&platform, info.as_ref()), output)
}

fn write(asked: &Init, text: &str, output: &Output) -> Result<(), Error> {
    if asked.file == Path::new("-") {
        return output.answer(&json!({ "text": text }), |_| text.to_owned());
    }
    let mut options = OpenOptions::new();
    options.write(true);
    if asked.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let path = asked.file.display();
    let written = options.open(&asked.file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(&asked.file),
        _ => Error::new(format!("cannot write {path}: {error}")),
    })?;
    let site = (Platform::of(asked) == Platform::Process).then(|| asked.file.with_file_name(SITE));
    if let Some(site) = &site {
        create_site(site).map_err(|error| {
            Error::new(format!("wrote {path}, but cannot make {}: {error}", site.display()))
        })?;
    }
    output.answer(&json!({ "written": asked.file, "made": site }), |_| {
        let site = site.as_ref().map(|site| format!(" and {}", site.display())).unwrap_or_default();
        format!(
            "Wrote {path}{site}. Fill in your own names, review its grants, then:\n\n  \
             drowse check --config {path}\n  drowse run --config {path}\n"
        )
    })
}

/// Creates a small site, unless there is one.
fn create_site(site: &Path) -> io::Result<()> {
    match fs::create_dir(site) {
        Ok(()) => fs::write(site.join("index.html"), "<p>Awake.</p>\n"),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn exists(path: &Path) -> Error {
    let path = path.display();
    Error::new(format!(
        "{path} exists already; replace it with --force, or name another file: `drowse init FILE`"
    ))
}

/// The description of the plugin; none if this build has no bundled plugins.
fn describe(platform: &Platform) -> Result<Option<PluginInfo>, Error> {
    let runtime = runtime()?;
    let defaults = DefaultPaths::of_this_user();
    runtime.block_on(async {
        let (plugins_dir, cache) = (defaults.plugins(), defaults.cache());
        let paths =
            Paths { plugins: plugins_dir, cache, ..Paths::defaults(Path::new(""), &defaults) };
        let plugins = plugins(paths, runtime.handle())?;
        let info = plugins.inspect(platform.plugin()).await;
        plugins.shutdown().await;
        match (platform, info) {
            (Platform::Other(_), Err(cause)) => Err(Error::new(cause)),
            (_, info) => Ok(info.ok()),
        }
    })
}

/// The text of a first configuration.
fn starter(platform: &Platform, info: Option<&PluginInfo>) -> String {
    let mut toml = String::from(
        "# drowse: backends sleep until a request needs them.\n\
         # `drowse check` reports errors in this file, `drowse run` serves it.\n",
    );
    // Writing to a string cannot fail.
    let _ = match platform {
        Platform::Docker => docker(&mut toml, info),
        Platform::Process => process(&mut toml),
        Platform::Other(plugin) => other(&mut toml, plugin, info),
    };
    toml
}

fn docker(toml: &mut String, info: Option<&PluginInfo>) -> std::fmt::Result {
    listener(toml)?;
    writeln!(toml, "\n# Starts and stops containers; also works with Podman's socket.")?;
    writeln!(toml, "# It can call only what is granted here.")?;
    writeln!(toml, "[provider.docker]\nplugin = \"docker\"")?;
    match info {
        Some(info) => grants::write("docker", &info.endpoints, toml),
        None => writeln!(
            toml,
            "\n[provider.docker.endpoint.engine]\nurl = \"unix:///var/run/docker.sock\""
        )?,
    }
    writeln!(toml, "\n# A container that sleeps and wakes.\n[workload.blog]")?;
    writeln!(toml, "provider = \"docker\"")?;
    writeln!(toml, "target = \"blog\"  # the container's name")?;
    workload(toml)?;
    commented(toml, "[workload.NAME]", "ready", "ready = { http = \"/health\" }")?;
    route(toml, "blog.example.org", "blog", 80)
}

fn process(toml: &mut String) -> std::fmt::Result {
    listener(toml)?;
    writeln!(toml, "\n# Starts and stops programs on this machine: those that are granted here.")?;
    writeln!(toml, "[provider.local]\nplugin = \"process\"")?;
    writeln!(toml, "\n[provider.local.command.hello]")?;
    writeln!(
        toml,
        "run = [\"python3\", \"-m\", \"http.server\", \"3000\", \"--bind\", \"127.0.0.1\"]"
    )?;
    let table = "[provider.NAME.command.NAME]";
    commented(toml, table, "environment", "environment = { PORT = \"3000\" }")?;
    documented(toml, table, "directory", &format!("directory = \"{SITE}\""))?;
    writeln!(toml, "\n# A program that sleeps and wakes.\n[workload.hello]")?;
    writeln!(toml, "provider = \"local\"")?;
    writeln!(toml, "target = \"hello\"  # the command's name")?;
    workload(toml)?;
    commented(toml, "[workload.NAME]", "ready", "ready = { http = \"/health\" }")?;
    route(toml, "*", "hello", 3000)
}

/// Any plugin, from its description.
fn other(toml: &mut String, plugin: &str, info: Option<&PluginInfo>) -> std::fmt::Result {
    let Some(info) = info else { return Ok(()) };
    // The name of a plugin may be no valid name of a provider.
    let provider = ProviderName::parse(&info.name).map_or("mine", |_| info.name.as_str());
    listener(toml)?;
    writeln!(toml, "\n# {} {}: {}.", info.name, info.version, info.summary.trim_end_matches('.'))?;
    writeln!(toml, "# It can call only what is granted here.")?;
    writeln!(toml, "[provider.{}]", toml_key(provider))?;
    writeln!(toml, "plugin = {}", toml_string(plugin))?;
    grants::write_settings(&info.settings_schema, toml);
    grants::write(provider, &info.endpoints, toml);
    grants::write_commands(provider, &info.commands, toml);
    grants::write_networks(provider, &info.networks, toml);
    writeln!(toml, "\n# A workload that sleeps and wakes.\n[workload.example]")?;
    writeln!(toml, "provider = {}", toml_string(provider))?;
    writeln!(toml, "target = \"example\"  # the provider's name for it")?;
    grants::write_settings(&info.target_schema, toml);
    workload(toml)?;
    commented(toml, "[workload.NAME]", "ready", "ready = { http = \"/health\" }")?;
    route(toml, "*", "example", 80)
}

fn listener(toml: &mut String) -> std::fmt::Result {
    writeln!(toml, "\n# The socket for visitors.\n[[listener]]\nname = \"web\"")?;
    writeln!(toml, "bind = \"127.0.0.1:8080\"  # \"0.0.0.0:8080\" for every network")?;
    commented(toml, "[[listener]]", "trusted-proxies", "trusted-proxies = [\"10.0.0.0/8\"]")
}

fn workload(toml: &mut String) -> std::fmt::Result {
    documented(toml, "[workload.NAME]", "idle", "idle = \"10m\"")?;
    let sleep = "sleep = { method = \"stop\", grace = \"10s\" }";
    commented(toml, "[workload.NAME.sleep]", "method", sleep)
}

fn route(toml: &mut String, host: &str, workload: &str, port: u16) -> std::fmt::Result {
    writeln!(toml, "\n# Requests for this host go to the workload.\n[[route]]")?;
    documented(toml, "[[route]]", "host", &format!("host = \"{host}\""))?;
    writeln!(toml, "workload = \"{workload}\"")?;
    documented(toml, "[[route]]", "port", &format!("port = {port}"))?;
    commented(toml, "[[route]]", "waiting", "waiting = \"auto\"")
}

/// A line below the documentation of its key.
fn documented(toml: &mut String, table: &str, name: &str, line: &str) -> std::fmt::Result {
    let doc = doc(table, name).unwrap_or_default();
    let mut width = 0;
    write!(toml, "#")?;
    for word in doc.split_whitespace() {
        if width > 0 && width + word.len() > 76 {
            write!(toml, "\n#")?;
            width = 0;
        }
        write!(toml, " {word}")?;
        width += word.len() + 1;
    }
    writeln!(toml, "\n{line}")
}

/// A commented line below the documentation of its key.
fn commented(toml: &mut String, table: &str, name: &str, line: &str) -> std::fmt::Result {
    documented(toml, table, name, &format!("# {line}"))
}

// === impl Platform ===

impl Platform {
    fn of(asked: &Init) -> Self {
        match asked.provider.as_deref() {
            Some("docker") => Self::Docker,
            Some("process") => Self::Process,
            Some(other) => Self::Other(named(other)),
            None if asked.process => Self::Process,
            None => Self::Docker,
        }
    }

    fn plugin(&self) -> &str {
        match self {
            Self::Docker => "docker",
            Self::Process => "process",
            Self::Other(plugin) => plugin,
        }
    }
}
