//! The whole configuration.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use drowse_core::{PoolName, PoolSpec, ProviderName, WorkloadName, WorkloadSpec};
use drowse_plugins::{
    LockFile, Signer, TrustPolicy,
    settings::{PluginLimits, ProviderSettings},
};
use drowse_proxy::settings::{ListenerSettings, WaitingSettings};
use drowse_routes::{Auth, Route};

use crate::{
    auth,
    default_paths::DefaultPaths,
    diagnostic::{Diagnostic, Diagnostics},
    listener,
    plugin_limits::{self, PluginLimitsTable},
    pool, provider,
    read::Reader,
    root::Root,
    route,
    schema::{Schema, Table as _},
    source::{Source, Span},
    tree::{self, DEFINED_TWICE, Entries, Node, Value},
    workload,
};

/// Maximum number of errors that are shown; the rest is counted.
const SHOWN: usize = 100;

/// The settings of the router, ready for the crates that take them.
#[derive(Debug)]
pub struct Config {
    /// The directory of plugins.
    pub plugins: PathBuf,
    /// The lock file and the signatures that plugins are checked against.
    pub trust: TrustPolicy,
    /// Plugins may be dynamic libraries.
    pub allow_dylib: bool,
    /// The directory for compiled plugins.
    pub cache: PathBuf,
    /// Limits that all plugins share.
    pub plugin_limits: PluginLimits,
    /// The directory for state that survives restarts.
    pub state: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// Threads that serve visitors; one for each core when absent.
    pub threads: Option<usize>,
    /// The log filter, for `tracing`.
    pub log: String,
    /// The waiting page and its limits.
    pub waiting: WaitingSettings,
    /// In the order of the files.
    pub listeners: Vec<ListenerSettings>,
    /// Sorted by name.
    pub providers: Vec<ProviderSettings>,
    /// Sorted by name.
    pub pools: Vec<PoolSpec>,
    /// Sorted by name.
    pub workloads: Vec<WorkloadSpec>,
    /// In the order of the files.
    pub routes: Vec<Route>,
    spans: BTreeMap<Item, Span>,
    sources: Vec<Source>,
}

/// The paths of the router, and the plugins that it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The directory of plugins.
    pub plugins: PathBuf,
    /// Plugins may be dynamic libraries.
    pub allow_dylib: bool,
    /// The lock file and the signatures that plugins are checked against.
    pub trust: TrustPolicy,
    /// The directory for compiled plugins.
    pub cache: PathBuf,
    /// Limits that all plugins share.
    pub plugin_limits: PluginLimits,
    /// The control socket.
    pub control: PathBuf,
}

/// A part of the configuration to which a [`Diagnostic`] can point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// The log filter.
    Log,
    /// The table `[waiting]`.
    Waiting,
    /// A provider.
    Provider(ProviderName),
    /// The key `plugin` of a provider.
    Plugin(ProviderName),
    /// An endpoint of a provider, by its name.
    Endpoint(ProviderName, String),
    /// A command of a provider, by its name.
    Command(ProviderName, String),
    /// A network of a provider, by its name.
    Network(ProviderName, String),
    /// A workload.
    Workload(WorkloadName),
}

/// The configuration while it is read.
#[derive(Default)]
pub(crate) struct ConfigDraft {
    pub(crate) listeners: Vec<ListenerSettings>,
    pub(crate) providers: BTreeMap<ProviderName, (Option<ProviderSettings>, Span)>,
    /// The places of the parts of the providers.
    pub(crate) items: Vec<(Item, Span)>,
    pub(crate) auths: BTreeMap<String, Option<Arc<Auth>>>,
    pub(crate) pools: BTreeMap<PoolName, Option<PoolSpec>>,
    pub(crate) workloads: BTreeMap<WorkloadName, (Option<workload::Draft>, Span)>,
    pub(crate) routes: Vec<(Route, Span)>,
    /// All names of listeners, including invalid ones.
    pub(crate) listener_names: Vec<(String, Span)>,
    /// A listener is invalid.
    pub(crate) broken_listeners: bool,
    /// A route is invalid.
    pub(crate) broken_routes: bool,
}

// === impl Config ===

impl Config {
    /// Reads a file, or every `*.toml` of a directory as if it were one.
    pub fn load(path: &Path, defaults: &DefaultPaths) -> Result<Self, Diagnostics> {
        let mut config = Self::parse(texts(path)?, defaults)?;
        config.trust.lock = Some(lock(path));
        Ok(config)
    }

    /// Reads texts as if they were the files of these names.
    pub fn parse(
        texts: Vec<(PathBuf, String)>,
        defaults: &DefaultPaths,
    ) -> Result<Self, Diagnostics> {
        let (mut r, entries, broken) = open(texts, Root::SCHEMA);
        let mut root: Root = r.root(&entries);
        let signers = root.plugin_keys.value.take();
        let signatures_required = root.require_signatures.value.unwrap_or_default();
        if signatures_required && signers.as_ref().is_some_and(Vec::is_empty) {
            let message = "`require-signatures` refuses every plugin while `plugin-keys` has no key; \
                           add the public keys of trusted signers";
            r.report(root.require_signatures.mark.span, message);
        }
        let plugin_limits = root.plugin_limits.value.take().and_then(PluginLimitsTable::settings);
        let directory = r.sources[0].path.parent().unwrap_or(Path::new("")).to_owned();
        let waiting = root.waiting.value.take().and_then(|table| table.settings(&directory));
        let draft = ConfigDraft::read(&mut r, &mut root);

        let sources = close(r, &broken)?;
        let paths = Paths::defaults(parent(&sources[0].path), defaults);
        let mut spans = BTreeMap::from([
            (Item::Log, root.log.mark.span),
            (Item::Waiting, root.waiting.mark.span),
        ]);
        spans.extend(draft.items);
        Ok(Self {
            plugins: root.plugin_dir.value.flatten().unwrap_or(paths.plugins),
            trust: TrustPolicy {
                lock: None,
                signers: signers.unwrap_or_default(),
                signatures_required,
            },
            allow_dylib: root.allow_dylib.value.unwrap_or_default(),
            cache: root.cache_dir.value.flatten().unwrap_or(paths.cache),
            plugin_limits: plugin_limits.unwrap_or(paths.plugin_limits),
            state: root.state_dir.value.flatten().unwrap_or_else(|| defaults.state()),
            control: root.control_socket.value.flatten().unwrap_or(paths.control),
            threads: root.threads.value.flatten(),
            log: root.log.value.unwrap_or_default(),
            waiting: waiting.unwrap_or_default(),
            listeners: draft.listeners,
            pools: draft.pools.into_values().flatten().collect(),
            providers: draft.providers.into_values().filter_map(|(settings, _)| settings).collect(),
            workloads: draft
                .workloads
                .into_values()
                .filter_map(|(draft, span)| {
                    let spec = draft?.spec;
                    spans.insert(Item::Workload(spec.name.clone()), span);
                    Some(spec)
                })
                .collect(),
            routes: draft.routes.into_iter().map(|(route, _)| route).collect(),
            spans,
            sources,
        })
    }

    /// The paths of the router.
    pub fn paths(&self) -> Paths {
        Paths {
            plugins: self.plugins.clone(),
            allow_dylib: self.allow_dylib,
            trust: self.trust.clone(),
            cache: self.cache.clone(),
            plugin_limits: self.plugin_limits,
            control: self.control.clone(),
        }
    }

    /// A diagnostic that points at an item, for errors that are found later.
    pub fn diagnostic(&self, item: &Item, message: impl Into<String>) -> Diagnostic {
        match self.spans.get(item) {
            Some(span) => Diagnostic::at(&self.sources, *span, message.into()),
            None => {
                let file = self.sources[0].path.clone();
                Diagnostic { file, position: None, message: message.into(), quote: None }
            }
        }
    }

    /// Valid settings that are probably not intended.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = route::warnings(&self.routes);
        warnings.extend(self.unused().map(|workload| {
            let message = "no route leads to this workload, no workload needs it and no schedule \
                           wakes it: only `drowse wake` does; add a [[route]], or name it in the \
                           `needs` of another";
            (workload.clone(), message.to_owned())
        }));
        let point_at = |(workload, message)| self.diagnostic(&Item::Workload(workload), message);
        warnings.into_iter().map(point_at).collect()
    }

    /// Workloads that only a command of the operator wakes.
    fn unused(&self) -> impl Iterator<Item = &WorkloadName> {
        let routed = self.routes.iter().map(|route| &route.workload);
        let needed = self.workloads.iter().flat_map(|it| it.needs.iter().map(|it| &it.workload));
        let used: HashSet<_> = routed.chain(needed).collect();
        let scheduled = |it: &WorkloadSpec| !it.awake.is_empty() || !it.alarms.is_empty();
        let unused = self.workloads.iter().filter(move |it| !used.contains(&it.name));
        unused.filter(move |it| !scheduled(it)).map(|it| &it.name)
    }

    /// The files it was read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
    }
}

// === impl Paths ===

impl Paths {
    /// The paths for a configuration in `directory` that does not set them.
    pub fn defaults(directory: &Path, defaults: &DefaultPaths) -> Self {
        let beside = directory.join("plugins");
        Self {
            plugins: if beside.is_dir() { beside } else { defaults.plugins() },
            allow_dylib: false,
            trust: TrustPolicy::default(),
            cache: defaults.cache(),
            plugin_limits: PluginLimits::default(),
            control: defaults.control(),
        }
    }

    /// The paths of the configuration at `path`, even if other parts of it are invalid: a running router
    /// must be reachable after its file has been broken. Fails only if no file can be read.
    pub fn load(path: &Path, defaults: &DefaultPaths) -> Result<Self, Diagnostics> {
        let texts = texts(path)?;
        let mut paths = Self::defaults(parent(&texts[0].0), defaults);
        paths.trust.lock = Some(lock(path));
        for (file, (path, text)) in texts.into_iter().enumerate() {
            let mut source = Source { path, text, secrets: Vec::new() };
            let entries = tree::parse(file, &mut source, Root::SCHEMA, &mut Vec::new());
            paths.read(&entries, parent(&source.path));
        }
        Ok(paths)
    }

    /// Takes over the paths of one file in this directory.
    fn read(&mut self, entries: &Entries, directory: &Path) {
        let Self { plugins, allow_dylib, trust, cache, plugin_limits, control } = self;
        plugin_limits::take_over(plugin_limits, entries);
        for (key, span) in
            [("plugin-dir", plugins), ("cache-dir", cache), ("control-socket", control)]
        {
            if let Some(Value::Text(written)) = entries.get(key).map(|entry| &entry.node.value) {
                *span = directory.join(written);
            }
        }
        for (key, flag) in
            [("allow-dylib", allow_dylib), ("require-signatures", &mut trust.signatures_required)]
        {
            if let Some(entry) = entries.get(key) {
                *flag = matches!(entry.node.value, Value::Flag(true));
            }
        }
        if let Some(Value::List(keys)) = entries.get("plugin-keys").map(|entry| &entry.node.value) {
            let signer = |key: &Node| match &key.value {
                Value::Text(text) => text.parse::<Signer>().ok(),
                _ => None,
            };
            trust.signers = keys.iter().filter_map(signer).collect();
        }
    }
}

// === impl ConfigDraft ===

impl ConfigDraft {
    fn read(r: &mut Reader, root: &mut Root) -> Self {
        let mut draft = Self::default();
        listener::read(r, root, &mut draft);
        let providers = root.provider.value.take().flatten().unwrap_or_default();
        provider::read(r, providers, &mut draft);
        auth::read(r, root, &mut draft);
        pool::read(r, root, &mut draft);
        workload::read(r, root, &mut draft);
        route::read(r, root, &mut draft);
        auth::settle(&mut draft);
        workload::settle(r, &mut draft);
        draft
    }
}

/// The syntax errors of a configuration: lines that are not TOML, tables that are defined twice, and the
/// number of errors about both.
pub(crate) struct Broken {
    lines: HashSet<(usize, usize)>,
    twice: Vec<String>,
    errors: usize,
}

/// Parses texts as if they were the files of these names.
pub(crate) fn open(texts: Vec<(PathBuf, String)>, root: &Schema) -> (Reader, Entries, Broken) {
    let mut errors = Vec::new();
    let mut sources: Vec<Source> =
        texts.into_iter().map(|(path, text)| Source { path, text, secrets: Vec::new() }).collect();
    if sources.is_empty() {
        sources.push(Source { path: PathBuf::new(), text: String::new(), secrets: Vec::new() });
    }
    let files = sources
        .iter_mut()
        .enumerate()
        .map(|(file, source)| tree::parse(file, source, root, &mut errors))
        .collect();
    // Values on a line that is not TOML are guesses, and other errors about them are left out.
    let lines = errors.iter().map(|(span, _)| line(&sources, *span)).collect();
    // The parser keeps only the keys of one of two equal tables, so keys seem to be missing.
    let twice = errors.iter().filter_map(|(span, message)| {
        let name = sources[span.file].text.get(span.start..span.end)?;
        message.contains(DEFINED_TWICE).then(|| format!(".{name}]"))
    });
    let broken = Broken { lines, twice: twice.collect(), errors: errors.len() };
    let entries = tree::merge(files, &sources, &mut errors);
    (Reader::new(sources, errors), entries, broken)
}

/// The files that were read, or all errors in them.
pub(crate) fn close(r: Reader, broken: &Broken) -> Result<Vec<Source>, Diagnostics> {
    let Reader { sources, mut errors, .. } = r;
    if !broken.lines.is_empty() {
        let guesses = errors.split_off(broken.errors);
        let sound = |(span, message): &tree::Finding| {
            !broken.lines.contains(&line(&sources, *span))
                && !broken.twice.iter().any(|table| message.contains(table))
        };
        errors.extend(guesses.into_iter().filter(sound));
    }
    if errors.is_empty() {
        return Ok(sources);
    }
    errors.sort();
    errors.dedup();
    Err(diagnostics(&sources, errors))
}

/// The files of a configuration with their texts; at least one.
fn texts(path: &Path) -> Result<Vec<(PathBuf, String)>, Diagnostics> {
    let files = files(path).map_err(|error| Diagnostic::unreadable(path.to_owned(), &error))?;
    if files.is_empty() {
        let why = io::Error::other("the directory holds no *.toml file");
        return Err(Diagnostic::unreadable(path.to_owned(), &why).into());
    }
    let mut unreadable = Vec::new();
    let mut texts = Vec::new();
    for file in files {
        match fs::read_to_string(&file) {
            Ok(text) => texts.push((file, text)),
            Err(error) => unreadable.push(Diagnostic::unreadable(file, &error)),
        }
    }
    match Diagnostics::new(unreadable) {
        Some(unreadable) => Err(unreadable),
        None => Ok(texts),
    }
}

/// The lock file of a configuration: beside a file with its name, `drowse.lock` in a directory.
fn lock(path: &Path) -> LockFile {
    let file = if path.is_dir() { path.join("drowse.lock") } else { path.with_extension("lock") };
    LockFile { file, configuration: path.to_owned() }
}

/// The directory that a file is in.
fn parent(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if !hidden && file.extension().is_some_and(|end| end == "toml") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The line that a place begins on.
fn line(sources: &[Source], span: Span) -> (usize, usize) {
    (span.file, sources[span.file].line_range(span.start).start)
}

fn diagnostics(sources: &[Source], errors: Vec<tree::Finding>) -> Diagnostics {
    let left = errors.len().saturating_sub(SHOWN);
    let mut shown: Vec<Diagnostic> = errors
        .into_iter()
        .take(SHOWN)
        .map(|(span, message)| Diagnostic::at(sources, span, message))
        .collect();
    if let (Some(last), true) = (shown.last_mut(), left > 0) {
        last.message.push_str(&format!(" (and {left} more errors after this one)"));
    }
    let nothing = || {
        let why = io::Error::other("nothing was read");
        Diagnostics::from(Diagnostic::unreadable(sources[0].path.clone(), &why))
    };
    Diagnostics::new(shown).unwrap_or_else(nothing)
}
