//! `[provider.NAME]`

use std::path::Path;

use drowse_core::{ProviderName, SleepPlan, StopOptions};
use drowse_plugins::settings::{
    CommandGrant, CommandLimits, EndpointGrant, Identity, Limits, NetworkGrant, ProviderSettings,
    Transport, Trust,
};

use crate::{
    config::{ConfigDraft, Item},
    read::{Field, Named, Nested, Reader},
    schema::table,
    source::Span,
    values::{
        AddressRules, Count, DurationText, FilePath, FilePaths, Fingerprints, Flag, Headers, Json,
        Program, RestartPolicy, Rules, Size, Text, Texts, UrlText, Variables,
    },
};

pub(crate) mod url;

table! {
    /// A plugin that starts and stops workloads on one platform, and everything it may do. It can call
    /// and run only what is granted here. `drowse plugin inspect` lists what a plugin requires.
    pub(crate) struct ProviderTable("[provider.NAME]", secret) {
        /// A plugin's name (`docker` is `docker.wasm` in the plugin directory, else the bundled one), or
        /// the path of a file.
        plugin: Text, required;
        /// The plugin's own settings; `drowse plugin inspect` lists them. The plugin sees them, so they
        /// must not hold secrets.
        settings: Json = "{}", secret;
        /// Endpoints that it may call, by the plugin's names for them.
        endpoint: Named<EndpointTable>, otherwise "none";
        /// Programs that it may run, by the plugin's names for them.
        command: Named<CommandTable>, otherwise "none";
        /// Networks to which it may attach containers, by the plugin's names for them.
        network: Named<NetworkTable>, otherwise "none";
        /// Addresses that its targets may have: networks, addresses, addresses with a port, and host names
        /// (`.lan` for all names that end so). Without it: this machine, private networks, and the names
        /// in the settings. An endpoint of a provider is allowed only if its address and port are listed;
        /// a link-local address only if it is listed; addresses of this machine only if loopback or the
        /// addresses themselves are. Metadata services of clouds and the router's own listeners are never
        /// allowed.
        allow_addresses: AddressRules, otherwise "private addresses";
        /// Its resource limits.
        limits: Nested<LimitsTable> = "{}";
    }
}

table! {
    /// An endpoint that the provider may call. The router connects and adds the credentials; the plugin
    /// sees neither.
    pub(crate) struct EndpointTable("[provider.NAME.endpoint.NAME]", secret) {
        /// `unix:///path`, `http://host:port` or `https://host:port`, with a path prefix if all requests
        /// are below one. `udp://host:port`, which may be a broadcast address, for plugins that send
        /// datagrams.
        url: UrlText, required, url;
        /// For `http`, `https` and `unix`. Allowed requests: `METHOD /path`, or `METHOD+body /path` for
        /// those that carry a body. `*` is any method or one path segment, a final `**` any rest.
        /// `METHOD /path?all=1&limit=*` allows these keys of a query with these values, `?*` any query;
        /// without `?` there may be none: see [permissions](permissions.md#rules). For gRPC:
        /// `/package.Service/Method` or `/package.Service/*`.
        rules: Rules, otherwise "what the plugin requires";
        /// Token server, if the endpoint requires bearer tokens, as image registries do.
        token: Nested<TokenTable>, otherwise "none";
    } shared { connection: ConnectionTable }
}

table! {
    /// A server that issues bearer tokens for the endpoint. When the endpoint answers 401 and names this
    /// URL as the realm, the router requests a token here, caches it while it is valid, and adds it to
    /// the endpoint's requests. The plugin sees none of it.
    pub(crate) struct TokenTable("[provider.NAME.endpoint.NAME.token]", secret) {
        /// The URL as the endpoint names it: `https://auth.docker.io/token` for Docker Hub,
        /// `https://ghcr.io/token` for GitHub's registry.
        url: UrlText, required, url;
    } shared { connection: ConnectionTable }
}

table! {
    /// The keys that endpoints and token servers share.
    pub(crate) struct ConnectionTable("", secret) {
        /// PEM file of the only trusted certificate authorities. For `https`.
        ca: FilePath, otherwise "the system's authorities";
        /// SHA-256 digest of the only accepted certificate, whatever its name and issuer; or a list, for a
        /// certificate that is about to be renewed, or for several nodes. For `https`.
        fingerprint: Fingerprints, otherwise "none";
        /// PEM file of the router's client certificate with its intermediate certificates. For `https`;
        /// with `key`.
        cert: FilePath, otherwise "none";
        /// PEM file of the private key of `cert`, without a password. Its content is never shown.
        key: FilePath, otherwise "none";
        /// For `http`, `https` and `unix`. Headers that the router adds: a text,
        /// `{ env = "NAME", prefix = "Bearer " }` or `{ file = "path", prefix = "…" }`. Never shown.
        headers: Headers = "{}", secret;
        /// Time until a response begins or a gRPC call is answered, unless the plugin sets a shorter one;
        /// for datagrams, until the host name is resolved.
        timeout: DurationText = "\"30s\"";
    }
}

table! {
    /// A program that the provider may run. It inherits only `PATH` from the router, and ends with the
    /// router: as the workload of its name is stopped, else by SIGTERM and after ten seconds by SIGKILL.
    /// A router that is killed leaves it running, and the next one finds it again.
    pub(crate) struct CommandTable("[provider.NAME.command.NAME]", secret) {
        /// Program and arguments. There is no shell.
        run: Program, required;
        /// Its environment. Never shown.
        environment: Variables = "{}", secret;
        /// The directory in which it starts.
        directory: FilePath, otherwise "the router's";
        /// The plugin may append its own arguments.
        allow_extra_arguments: Flag = "false";
        /// Names of variables that the plugin may add.
        allow_extra_environment: Texts = "[]";
        /// Whether it is restarted when it ends without being stopped: `never` leaves that to the next
        /// visitor, `on-failure` restarts it unless its exit status is 0, `always` in any case. The first
        /// restart comes after 100 ms, each that follows after twice as long, up to 30 s.
        restart: RestartPolicy = "\"never\"";
        /// Maximum number of consecutive restarts; then the next visitor starts it. A minute of running
        /// resets the count.
        restart_limit: Count = "10";
        /// Its resource limits.
        limits: Nested<CommandLimitsTable> = "{}";
    }
}

table! {
    /// Resource limits of a granted program. All but `cgroup` apply to each of its processes separately.
    /// If a limit cannot be set, the program is not started.
    pub(crate) struct CommandLimitsTable("[provider.NAME.command.NAME.limits]") {
        /// Maximum writable memory of a process (`RLIMIT_DATA`).
        memory: Size, otherwise "the router's";
        /// Total CPU time of a process, in whole seconds (`RLIMIT_CPU`); then the kernel ends it. To limit
        /// the share of the CPU use `cgroup`.
        cpu_time: DurationText, otherwise "the router's";
        /// Maximum number of open files of a process (`RLIMIT_NOFILE`).
        open_files: Count, otherwise "the soft limit that the router was started with";
        /// Maximum number of processes and threads of the router's user (`RLIMIT_NPROC`). The kernel does
        /// not apply it to root, so this is refused for root.
        processes: Count, otherwise "the router's";
        /// Directory of a cgroup, of either version, for the program: its limits apply to all of its
        /// processes together. It must exist, and the router must be allowed to write to its
        /// `cgroup.procs`.
        cgroup: FilePath, otherwise "the router's";
    }
}

table! {
    /// A network to which the provider may attach containers. The router runs the CNI plugins of the
    /// configuration as its own user, which must be root for most of them.
    pub(crate) struct NetworkTable("[provider.NAME.network.NAME]") {
        /// The CNI configuration: a `.conflist`, or a `.conf` with one plugin.
        config: FilePath, required;
        /// Directories with the CNI plugins, searched in this order.
        plugin_dirs: FilePaths = "[\"/opt/cni/bin\", \"/usr/lib/cni\"]";
        /// Directory for the plugins' results until the container is detached. It must outlive the
        /// router.
        results_dir: FilePath = "\"/var/lib/cni/drowse\"";
        /// Time that one CNI plugin may take.
        timeout: DurationText = "\"30s\"";
    }
}

table! {
    /// Resource limits of a provider. A call that exceeds one is ended; other providers are not affected.
    pub(crate) struct LimitsTable("[provider.NAME.limits]") {
        /// Maximum memory of one call.
        memory: Size = "\"64MiB\"";
        /// CPU time of one call; a tenth of the time that it waits is given back. All calls together have
        /// ten times as much, and a tenth of the elapsed time is given back; when it is used up, calls
        /// wait.
        cpu_time: DurationText = "\"1s\"";
        /// Maximum duration of one call, in addition to the time that the operation itself is given, such
        /// as the grace time of a stop.
        wall_time: DurationText = "\"2m\"";
        /// Maximum number of calls at a time; more are queued.
        max_calls: Count = "32";
        /// Maximum size of one HTTP response or gRPC response; for a provider that watches its platform,
        /// per second.
        max_response_size: Size = "\"16MiB\"";
        /// Maximum number of log lines in a second; the rest is counted.
        log_lines_per_second: Count = "20";
    }
}

/// Reads all providers.
pub(crate) fn read(r: &mut Reader, tables: Vec<(String, ProviderTable)>, config: &mut ConfigDraft) {
    for (name, table) in tables {
        let span = table.heading.span;
        let name =
            ProviderName::parse(&name).map_err(|error| r.report(span, error.to_string())).ok();
        if let Some(name) = &name {
            table.mark(name, &mut config.items);
        }
        let settings = table.settings(r, name.clone());
        if let Some(name) = name {
            config.providers.insert(name, (settings, span));
        }
    }
}

// === impl ProviderTable ===

impl ProviderTable {
    /// Notes where the parts of the provider are written.
    fn mark(&self, name: &ProviderName, items: &mut Vec<(Item, Span)>) {
        items.push((Item::Provider(name.clone()), self.heading.span));
        items.push((Item::Plugin(name.clone()), self.plugin.mark.span));
        let endpoints = self.endpoint.value.iter().flatten().flatten();
        items.extend(endpoints.map(|(endpoint, table)| {
            (Item::Endpoint(name.clone(), endpoint.clone()), table.heading.span)
        }));
        let commands = self.command.value.iter().flatten().flatten();
        items.extend(commands.map(|(command, table)| {
            (Item::Command(name.clone(), command.clone()), table.heading.span)
        }));
        let networks = self.network.value.iter().flatten().flatten();
        items.extend(networks.map(|(network, table)| {
            (Item::Network(name.clone(), network.clone()), table.heading.span)
        }));
    }

    fn settings(self, r: &mut Reader, name: Option<ProviderName>) -> Option<ProviderSettings> {
        let plugin = self.plugin.value.map(|plugin| {
            if plugin.contains('/') || plugin.ends_with(".wasm") {
                let directory = r.directory(self.plugin.mark.span);
                directory.join(plugin).to_string_lossy().into_owned()
            } else {
                plugin
            }
        });
        let endpoints = each(self.endpoint, |table| table.grant(r));
        let commands = each(self.command, CommandTable::grant);
        let networks = each(self.network, NetworkTable::grant);
        Some(ProviderSettings {
            name: name?,
            plugin: plugin?,
            settings: self.settings.value?,
            endpoints: endpoints?,
            commands: commands?,
            networks: networks?,
            reach: self.allow_addresses.value?,
            limits: self.limits.value.and_then(LimitsTable::settings)?,
        })
    }
}

/// The grants of named tables, each by its name; `None` if one of them is invalid.
fn each<T, G, C: FromIterator<(String, G)>>(
    field: Field<Option<Vec<(String, T)>>>,
    mut grant: impl FnMut(T) -> Option<G>,
) -> Option<C> {
    let tables = field.value?.unwrap_or_default();
    let grants: Vec<_> =
        tables.into_iter().map(|(name, table)| Some((name, grant(table)?))).collect();
    grants.into_iter().collect()
}

// === impl EndpointTable ===

impl EndpointTable {
    fn grant(self, r: &mut Reader) -> Option<EndpointGrant> {
        let headers = self.connection.headers.mark.span;
        for mark in [self.rules.mark, self.token.mark] {
            if mark.written && self.url.value.as_deref().is_some_and(url::is_datagrams) {
                let message = format!("`{}` is for http and https; datagrams have none", mark.key);
                r.report(mark.span, message);
            }
        }
        let grant = self.connection.grant(r, &self.heading.title, self.url);
        let token = self.token.value.map(|table| table.map(|table| table.grant(r)));
        let grant = grant?;
        let own = grant.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if self.token.mark.written && own {
            let message = "the token is sent as the header `Authorization`, so `headers` cannot set \
                           it; put credentials for the token server into `token.headers`";
            r.report(headers, message);
        }
        let token = match token? {
            None => None,
            Some(token) => Some(Box::new(token?)),
        };
        Some(EndpointGrant { rules: self.rules.value?, token, ..grant })
    }
}

// === impl TokenTable ===

impl TokenTable {
    fn grant(self, r: &mut Reader) -> Option<EndpointGrant> {
        let span = self.url.mark.span;
        let grant = self.connection.grant(r, &self.heading.title, self.url)?;
        if matches!(grant.transport, Transport::Http { .. } | Transport::Https { .. }) {
            return Some(grant);
        }
        r.report(span, "tokens are requested over http and https");
        None
    }
}

// === impl ConnectionTable ===

impl ConnectionTable {
    /// A grant without rules and token.
    fn grant(self, r: &mut Reader, title: &str, url: Field<String>) -> Option<EndpointGrant> {
        let Self { ca, fingerprint, cert, key, headers, timeout, .. } = self;
        let parsed = url.value.and_then(|text| match url::parse(&text) {
            Ok(url) => Some(url),
            Err(why) => {
                r.report(url.mark.span, format!("`url` in {title}: {why}"));
                None
            }
        });
        let url = parsed?;
        let encrypted = matches!(url.transport, Transport::Https { .. });
        if !encrypted {
            for mark in [ca.mark, fingerprint.mark, cert.mark, key.mark] {
                if mark.written {
                    let message = format!("`{}` is for https; this url is not", mark.key);
                    r.report(mark.span, message);
                }
            }
        }
        if matches!(url.transport, Transport::Udp { .. }) && headers.mark.written {
            let message = "`headers` is for http and https; datagrams have none";
            r.report(headers.mark.span, message);
        }
        let trust = match (ca.value?, fingerprint.value?) {
            (None, None) => Trust::System,
            (Some(file), None) => Trust::Ca(file),
            (None, Some(digests)) => Trust::Fingerprints(digests),
            // Reported above: neither of them is for this url.
            _ if !encrypted => return None,
            (Some(_), Some(_)) => {
                let message = "`ca` and `fingerprint` exclude each other; keep one";
                r.report(fingerprint.mark.span, message);
                return None;
            }
        };
        let identity = match (cert.value?, key.value?) {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            (None, None) => None,
            _ if !encrypted => return None,
            (written, _) => {
                let (written, absent) =
                    if written.is_some() { (cert.mark, "key") } else { (key.mark, "cert") };
                let message =
                    format!("`{}` without `{absent}`; a certificate needs both files", written.key);
                r.report(written.span, message);
                return None;
            }
        };
        let transport = match url.transport {
            Transport::Https { host, port, .. } => Transport::Https { host, port, trust, identity },
            other => other,
        };
        Some(EndpointGrant {
            transport,
            base: url.base,
            headers: headers.value?,
            rules: None,
            token: None,
            timeout: timeout.value?,
        })
    }
}

// === impl CommandTable ===

impl CommandTable {
    fn grant(self) -> Option<CommandGrant> {
        let mut run = self.run.value?.into_iter();
        let program = run.next()?;
        Some(CommandGrant {
            program,
            arguments: run.collect(),
            environment: self.environment.value?,
            directory: self.directory.value?.filter(|path| path != Path::new("")),
            extra_arguments: self.allow_extra_arguments.value?,
            extra_environment: self.allow_extra_environment.value?,
            end: StopOptions { signal: None, grace: SleepPlan::default().grace },
            restart: self.restart.value?,
            restart_limit: self.restart_limit.value?,
            limits: self.limits.value.and_then(CommandLimitsTable::settings)?,
        })
    }
}

// === impl CommandLimitsTable ===

impl CommandLimitsTable {
    fn settings(self) -> Option<CommandLimits> {
        let count = |written: Option<usize>| written.and_then(|count| u64::try_from(count).ok());
        Some(CommandLimits {
            memory: self.memory.value?,
            cpu: self.cpu_time.value?,
            files: count(self.open_files.value?),
            processes: count(self.processes.value?),
            cgroup: self.cgroup.value?,
        })
    }
}

// === impl NetworkTable ===

impl NetworkTable {
    fn grant(self) -> Option<NetworkGrant> {
        Some(NetworkGrant {
            config: self.config.value?,
            plugins: self.plugin_dirs.value?,
            results: self.results_dir.value?,
            timeout: self.timeout.value?,
        })
    }
}

// === impl LimitsTable ===

impl LimitsTable {
    fn settings(self) -> Option<Limits> {
        Some(Limits {
            memory: self.memory.value?,
            cpu: self.cpu_time.value?,
            wall: self.wall_time.value?,
            calls: self.max_calls.value?,
            response: self.max_response_size.value?,
            log_lines: u32::try_from(self.log_lines_per_second.value?).ok()?,
        })
    }
}
