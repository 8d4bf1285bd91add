//! `drowse init`.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    cli::{InitOptions, Starter},
    home, plugin,
};

const HEAD: &str = "\
# The router's configuration. `drowse check` says what is wrong with it, `drowse run` serves.
# Every key: docs/configuration.md

[[listener]]
name = \"web\"
bind = \"127.0.0.1:8080\"
";

const DOCKER: &str = "
# What the provider may do with your Docker engine: these requests and no others.
[provider.docker]
plugin = \"docker\"
";

const DOCKER_WORKLOAD: &str = "
# A container that exists already: `docker create --name blog IMAGE` is enough.
[workload.blog]
provider = \"docker\"
target = \"blog\"              # the container's name
idle = \"10m\"                 # stopped when nobody has asked for so long

[[route]]
host = \"blog.localhost\"
workload = \"blog\"
port = 80                    # the container's own port
";

const PROCESS: &str = "
# Programs that the provider may run: these, with these arguments, and no others.
[provider.process]
plugin = \"process\"

[provider.process.command.files]
run = [\"python3\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"8081\"]
";

const PROCESS_WORKLOAD: &str = "
[workload.files]
provider = \"process\"
target = \"files\"             # the command's name
settings = { port = 8081 }   # where it listens
idle = \"10m\"

[[route]]
host = \"files.localhost\"
workload = \"files\"
port = 8081
";

pub(crate) fn run(options: &InitOptions) -> Result<()> {
    let text = match options.provider {
        Starter::Docker => [HEAD, DOCKER, &wishes("docker")?, DOCKER_WORKLOAD].concat(),
        Starter::Process => [HEAD, PROCESS, PROCESS_WORKLOAD].concat(),
    };
    let file = &options.file;
    if options.force {
        fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    } else {
        let opened = OpenOptions::new().write(true).create_new(true).open(file);
        match opened {
            Ok(mut opened) => opened
                .write_all(text.as_bytes())
                .with_context(|| format!("write {}", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                bail!("{} exists already: name another file, or use --force", file.display())
            }
            Err(error) => {
                return Err(error).with_context(|| format!("write {}", file.display()));
            }
        }
    }
    println!(
        "wrote {0}: review its grants, name your workload, then\n  drowse check --config {0}\n  \
         drowse run --config {0}",
        file.display()
    );
    Ok(())
}

/// What a plugin wants, as grants to review.
fn wishes(name: &str) -> Result<String> {
    let runtime = home::runtime()?;
    let plugins = home::plugins_anywhere(None, &runtime)?;
    let info = runtime.block_on(plugins.inspect(name)).map_err(|cause| anyhow!(cause))?;
    Ok(format!("{}\n", plugin::grants(&info).join("\n")))
}
