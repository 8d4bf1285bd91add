//! `[provider.NAME]`

use std::path::Path;

use drowse_core::{ProviderName, SleepPlan, StopOptions};
use drowse_plugins::settings::{
    CommandGrant, CommandLimits, EndpointGrant, Identity, Limits, NetworkGrant, ProviderSettings,
    Transport, Trust,
};

use crate::{
    config::ConfigDraft,
    read::{Reader, Section},
    values::{
        ARGUMENTS, COUNT, DURATION, FINGERPRINTS, FLAG, HEADERS, JSON, PATH, PATHS, REACH, RESTART,
        RULES, SIZE, TEXT, VARIABLES, WORDS,
    },
};

pub(crate) mod url;

/// Reads every provider.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, found: &mut ConfigDraft) {
    for (name, section) in top.named(r, "provider") {
        let name = ProviderName::parse(name)
            .map_err(|error| r.report(section.span, error.to_string()))
            .ok();
        let settings = provider(r, &section, name.clone());
        if let Some(name) = name {
            found.plugins.insert(name.clone(), section.span_of("plugin"));
            found.providers.insert(name, (settings, section.span));
        }
    }
}

fn provider(
    r: &mut Reader,
    section: &Section<'_>,
    name: Option<ProviderName>,
) -> Option<ProviderSettings> {
    let plugin = section.get(r, "plugin", &TEXT).map(|plugin| {
        if plugin.contains('/') || plugin.ends_with(".wasm") {
            let directory = r.directory(section.span_of("plugin"));
            directory.join(plugin).to_string_lossy().into_owned()
        } else {
            plugin
        }
    });
    let settings = section.get(r, "settings", &JSON);
    let endpoints: Option<_> = section
        .named(r, "endpoint")
        .into_iter()
        .map(|(name, section)| Some((name.to_owned(), endpoint(r, &section)?)))
        .collect::<Vec<_>>()
        .into_iter()
        .collect();
    let commands: Option<_> = section
        .named(r, "command")
        .into_iter()
        .map(|(name, section)| Some((name.to_owned(), command(r, &section)?)))
        .collect::<Vec<_>>()
        .into_iter()
        .collect();
    let networks: Option<_> = section
        .named(r, "network")
        .into_iter()
        .map(|(name, section)| Some((name.to_owned(), network(r, &section)?)))
        .collect::<Vec<_>>()
        .into_iter()
        .collect();
    let reach = section.find(r, "allow-addresses", &REACH);
    let limits = section.table(r, "limits").and_then(|section| limits(r, &section));
    Some(ProviderSettings {
        name: name?,
        plugin: plugin?,
        settings: settings?,
        endpoints: endpoints?,
        commands: commands?,
        networks: networks?,
        reach: reach?,
        limits: limits?,
    })
}

fn endpoint(r: &mut Reader, section: &Section<'_>) -> Option<EndpointGrant> {
    let grant = connection(r, section);
    let rules = section.find(r, "rules", &RULES);
    let token = section.has("token").then(|| {
        let section = section.table(r, "token")?;
        let token = connection(r, &section)?;
        if matches!(token.transport, Transport::Http { .. } | Transport::Https { .. }) {
            return Some(token);
        }
        r.report(section.span_of("url"), "tokens are given out over http and https".to_owned());
        None
    });
    let grant = grant?;
    let own = grant.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    if token.is_some() && own {
        let message = "the token goes where `headers.Authorization` would; keep one; what its giver \
                       wants to see belongs into `token.headers`";
        r.report(section.span_of("headers"), message);
    }
    let token = match token {
        None => None,
        Some(token) => Some(Box::new(token?)),
    };
    Some(EndpointGrant { rules: rules?, token, ..grant })
}

/// A place that the router calls, whoever has it called.
fn connection(r: &mut Reader, section: &Section<'_>) -> Option<EndpointGrant> {
    let url = section.get(r, "url", &TEXT).and_then(|text| match url::parse(&text) {
        Ok(url) => Some(url),
        Err(why) => {
            r.report(section.span_of("url"), format!("`url` in {}: {why}", section.title));
            None
        }
    });
    let ca = section.find(r, "ca", &PATH);
    let fingerprint = section.find(r, "fingerprint", &FINGERPRINTS);
    let certificate = section.find(r, "cert", &PATH);
    let key = section.find(r, "key", &PATH);
    let headers = section.get(r, "headers", &HEADERS);
    let timeout = section.get(r, "timeout", &DURATION);

    let url = url?;
    let encrypted = matches!(url.transport, Transport::Https { .. });
    if !encrypted {
        for key in ["ca", "fingerprint", "cert", "key"].into_iter().filter(|key| section.has(key)) {
            let message = format!("`{key}` is for https; this url is not");
            r.report(section.span_of(key), message);
        }
    }
    if matches!(url.transport, Transport::Udp { .. }) {
        for key in ["headers", "rules", "token"].into_iter().filter(|key| section.has(key)) {
            let message = format!("`{key}` is for http and https; datagrams have none");
            r.report(section.span_of(key), message);
        }
    }
    let trust = match (ca?, fingerprint?) {
        (None, None) => Trust::System,
        (Some(file), None) => Trust::Ca(file),
        (None, Some(digests)) => Trust::Fingerprints(digests),
        // Said already: neither of them is for this url.
        _ if !encrypted => return None,
        (Some(_), Some(_)) => {
            let message = "`ca` and `fingerprint` exclude each other; keep one";
            r.report(section.span_of("fingerprint"), message);
            return None;
        }
    };
    let identity = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        _ if !encrypted => return None,
        (there, _) => {
            let (there, absent) = if there.is_some() { ("cert", "key") } else { ("key", "cert") };
            let message = format!("`{there}` without `{absent}`; a certificate needs both files");
            r.report(section.span_of(there), message);
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
        headers: headers?,
        rules: None,
        token: None,
        timeout: timeout?,
    })
}

fn command(r: &mut Reader, section: &Section<'_>) -> Option<CommandGrant> {
    let run = section.get(r, "run", &ARGUMENTS);
    let environment = section.get(r, "environment", &VARIABLES);
    let directory = section.find(r, "directory", &PATH);
    let extra_arguments = section.get(r, "allow-extra-arguments", &FLAG);
    let extra_environment = section.get(r, "allow-extra-environment", &WORDS);
    let restart = section.get(r, "restart", &RESTART);
    let restart_limit = section.get(r, "restart-limit", &COUNT);
    let limits = section.table(r, "limits").and_then(|section| command_limits(r, &section));
    let mut run = run?.into_iter();
    let program = run.next()?;
    Some(CommandGrant {
        program,
        arguments: run.collect(),
        environment: environment?,
        directory: directory?.filter(|path| path != Path::new("")),
        extra_arguments: extra_arguments?,
        extra_environment: extra_environment?,
        end: StopOptions { signal: None, grace: SleepPlan::default().grace },
        restart: restart?,
        restart_limit: restart_limit?,
        limits: limits?,
    })
}

fn command_limits(r: &mut Reader, section: &Section<'_>) -> Option<CommandLimits> {
    let memory = section.find(r, "memory", &SIZE);
    let cpu = section.find(r, "cpu-time", &DURATION);
    let files = section.find(r, "open-files", &COUNT);
    let processes = section.find(r, "processes", &COUNT);
    let cgroup = section.find(r, "cgroup", &PATH);
    let count = |found: Option<usize>| found.and_then(|count| u64::try_from(count).ok());
    Some(CommandLimits {
        memory: memory?,
        cpu: cpu?,
        files: count(files?),
        processes: count(processes?),
        cgroup: cgroup?,
    })
}

fn network(r: &mut Reader, section: &Section<'_>) -> Option<NetworkGrant> {
    let config = section.get(r, "config", &PATH);
    let plugins = section.get(r, "plugin-dirs", &PATHS);
    let results = section.get(r, "results-dir", &PATH);
    let timeout = section.get(r, "timeout", &DURATION);
    Some(NetworkGrant { config: config?, plugins: plugins?, results: results?, timeout: timeout? })
}

fn limits(r: &mut Reader, section: &Section<'_>) -> Option<Limits> {
    let memory = section.get(r, "memory", &SIZE);
    let cpu = section.get(r, "cpu-time", &DURATION);
    let wall = section.get(r, "wall-time", &DURATION);
    let calls = section.get(r, "max-calls", &COUNT);
    let response = section.get(r, "max-response-size", &SIZE);
    let log_lines = section.get(r, "log-lines-per-second", &COUNT);
    Some(Limits {
        memory: memory?,
        cpu: cpu?,
        wall: wall?,
        calls: calls?,
        response: response?,
        log_lines: u32::try_from(log_lines?).ok()?,
    })
}
