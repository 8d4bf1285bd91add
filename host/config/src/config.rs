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
    keys, listener, plugin_limits, pool, provider,
    read::{Reader, Section},
    route,
    source::{Source, Span},
    tree::{self, DEFINED_TWICE, Entries, Node, Value},
    values::{COUNT, FLAG, PATH, SIGNERS, TEXT},
    waiting, workload,
};

/// More errors than this are counted, not shown.
const SHOWN: usize = 100;

/// Everything an operator says, ready for the crates that take it.
#[derive(Debug)]
pub struct Config {
    /// The directory of plugins.
    pub plugins: PathBuf,
    /// What must vouch for a plugin's file.
    pub trust: TrustPolicy,
    /// Plugins may be dynamic libraries.
    pub allow_dylib: bool,
    /// The directory for compiled plugins.
    pub cache: PathBuf,
    /// What all plugins together may use up.
    pub plugin_limits: PluginLimits,
    /// The directory for what is remembered over restarts.
    pub state: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// Threads that serve visitors; one for each core when absent.
    pub threads: Option<usize>,
    /// What is logged, as a filter for `tracing`.
    pub log: String,
    /// What waiting visitors get.
    pub waiting: WaitingSettings,
    /// Where visitors come in, in the order of the files.
    pub listeners: Vec<ListenerSettings>,
    /// Who starts and stops workloads, by name.
    pub providers: Vec<ProviderSettings>,
    /// Ceilings that workloads share, by name.
    pub pools: Vec<PoolSpec>,
    /// What sleeps and wakes, by name.
    pub workloads: Vec<WorkloadSpec>,
    /// Which visitor wants which workload, in the order of the files.
    pub routes: Vec<Route>,
    spans: BTreeMap<Item, Span>,
    sources: Vec<Source>,
}

/// Where the router keeps things, and which plugins it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The directory of plugins.
    pub plugins: PathBuf,
    /// Plugins may be dynamic libraries.
    pub allow_dylib: bool,
    /// What must vouch for a plugin's file.
    pub trust: TrustPolicy,
    /// The directory for compiled plugins.
    pub cache: PathBuf,
    /// What all plugins together may use up.
    pub plugin_limits: PluginLimits,
    /// The control socket.
    pub control: PathBuf,
}

/// Something that stands in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// The log filter.
    Log,
    /// What waiting visitors get.
    Waiting,
    /// A provider.
    Provider(ProviderName),
    /// The key `plugin` of a provider.
    Plugin(ProviderName),
    /// A workload.
    Workload(WorkloadName),
}

/// What reading collects.
#[derive(Default)]
pub(crate) struct ConfigDraft {
    pub(crate) listeners: Vec<ListenerSettings>,
    pub(crate) providers: BTreeMap<ProviderName, (Option<ProviderSettings>, Span)>,
    /// The key `plugin` of each provider.
    pub(crate) plugins: BTreeMap<ProviderName, Span>,
    pub(crate) auths: BTreeMap<String, Option<Arc<Auth>>>,
    pub(crate) pools: BTreeMap<PoolName, Option<PoolSpec>>,
    pub(crate) workloads: BTreeMap<WorkloadName, (Option<workload::Draft>, Span)>,
    pub(crate) routes: Vec<(Route, Span)>,
    /// Every listener's name, also of those with errors.
    pub(crate) listener_names: Vec<(String, Span)>,
    /// A listener could not be read.
    pub(crate) broken_listeners: bool,
    /// A route could not be read.
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
        let (mut r, entries, broken) = open(texts);
        let top = r.root(&entries, &keys::ROUTER);
        let plugins = top.find(&mut r, "plugin-dir", &PATH);
        let signers = top.get(&mut r, "plugin-keys", &SIGNERS);
        let signatures_required = top.get(&mut r, "require-signatures", &FLAG);
        if signatures_required == Some(true) && signers.as_ref().is_some_and(Vec::is_empty) {
            let message = "`require-signatures` refuses every plugin as long as `plugin-keys` has \
                           no key; put in the keys whose signatures count";
            r.report(top.span_of("require-signatures"), message);
        }
        let allow_dylib = top.get(&mut r, "allow-dylib", &FLAG);
        let cache = top.find(&mut r, "cache-dir", &PATH);
        let plugin_limits = plugin_limits::read(&mut r, &top);
        let state = top.find(&mut r, "state-dir", &PATH);
        let control = top.find(&mut r, "control-socket", &PATH);
        let threads = top.find(&mut r, "threads", &COUNT);
        let log = top.get(&mut r, "log", &TEXT);
        let directory = r.sources[0].path.parent().unwrap_or(Path::new("")).to_owned();
        let waiting = waiting::read(&mut r, &top, &directory);
        let found = ConfigDraft::read(&mut r, &top);
        let (log_place, waiting_place) = (top.span_of("log"), top.span_of("waiting"));

        let sources = close(r, &broken)?;
        let usual = Paths::usual(parent(&sources[0].path), defaults);
        let mut marks = BTreeMap::from([(Item::Log, log_place), (Item::Waiting, waiting_place)]);
        marks.extend(found.plugins.into_iter().map(|(name, span)| (Item::Plugin(name), span)));
        Ok(Self {
            plugins: plugins.flatten().unwrap_or(usual.plugins),
            trust: TrustPolicy {
                lock: None,
                signers: signers.unwrap_or_default(),
                signatures_required: signatures_required.unwrap_or_default(),
            },
            allow_dylib: allow_dylib.unwrap_or_default(),
            cache: cache.flatten().unwrap_or(usual.cache),
            plugin_limits: plugin_limits.unwrap_or(usual.plugin_limits),
            state: state.flatten().unwrap_or_else(|| defaults.state()),
            control: control.flatten().unwrap_or(usual.control),
            threads: threads.flatten(),
            log: log.unwrap_or_default(),
            waiting: waiting.unwrap_or_default(),
            listeners: found.listeners,
            pools: found.pools.into_values().flatten().collect(),
            providers: mark(&mut marks, present(found.providers), |it: &ProviderSettings| {
                Item::Provider(it.name.clone())
            }),
            workloads: mark(
                &mut marks,
                present(found.workloads)
                    .into_iter()
                    .map(|(draft, span)| (draft.spec, span))
                    .collect(),
                |it| Item::Workload(it.name.clone()),
            ),
            routes: found.routes.into_iter().map(|(route, _)| route).collect(),
            spans: marks,
            sources,
        })
    }

    /// Where the router keeps things.
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

    /// Something that turned out to be wrong with an item later, at the item's place.
    pub fn diagnostic(&self, item: &Item, message: impl Into<String>) -> Diagnostic {
        match self.spans.get(item) {
            Some(span) => Diagnostic::at(&self.sources, *span, message.into()),
            None => {
                let file = self.sources[0].path.clone();
                Diagnostic { file, position: None, message: message.into(), quote: None }
            }
        }
    }

    /// What is no error and is perhaps not meant so.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let warnings = route::warnings(&self.routes).into_iter();
        warnings.map(|(workload, text)| self.diagnostic(&Item::Workload(workload), text)).collect()
    }

    /// The files it was read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
    }
}

// === impl Paths ===

impl Paths {
    /// Where things are when the configuration in `directory` does not say.
    pub fn usual(directory: &Path, defaults: &DefaultPaths) -> Self {
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

    /// Where the configuration at `path` says that things are, whatever else is in it: a running
    /// router must be reachable also when its file has been broken since. Fails only when the
    /// configuration cannot be read at all.
    pub fn named(path: &Path, defaults: &DefaultPaths) -> Result<Self, Diagnostics> {
        let texts = texts(path)?;
        let mut paths = Self::usual(parent(&texts[0].0), defaults);
        paths.trust.lock = Some(lock(path));
        for (file, (path, text)) in texts.into_iter().enumerate() {
            let mut source = Source { path, text, secrets: Vec::new() };
            let entries = tree::parse(file, &mut source, &mut Vec::new());
            paths.read(&entries, parent(&source.path));
        }
        Ok(paths)
    }

    /// Takes over what stands in one file in this directory.
    fn read(&mut self, entries: &Entries, directory: &Path) {
        let Self { plugins, allow_dylib, trust, cache, plugin_limits, control } = self;
        plugin_limits::take_over(plugin_limits, entries);
        for (key, span) in
            [("plugin-dir", plugins), ("cache-dir", cache), ("control-socket", control)]
        {
            if let Some(Value::Text(said)) = entries.get(key).map(|entry| &entry.node.value) {
                *span = directory.join(said);
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
    fn read(r: &mut Reader, top: &Section<'_>) -> Self {
        let mut found = Self::default();
        listener::read(r, top, &mut found);
        provider::read(r, top, &mut found);
        auth::read(r, top, &mut found);
        pool::read(r, top, &mut found);
        workload::read(r, top, &mut found);
        route::read(r, top, &mut found);
        auth::settle(&mut found);
        workload::settle(r, &mut found);
        found
    }
}

/// Lines that are not TOML, tables that are defined twice, and the number of errors about both.
pub(crate) struct Broken {
    lines: HashSet<(usize, usize)>,
    twice: Vec<String>,
    errors: usize,
}

/// A reader of texts as if they were the files of these names, and what is in them.
pub(crate) fn open(texts: Vec<(PathBuf, String)>) -> (Reader, Entries, Broken) {
    let mut errors = Vec::new();
    let mut sources: Vec<Source> =
        texts.into_iter().map(|(path, text)| Source { path, text, secrets: Vec::new() }).collect();
    if sources.is_empty() {
        sources.push(Source { path: PathBuf::new(), text: String::new(), secrets: Vec::new() });
    }
    let files = sources
        .iter_mut()
        .enumerate()
        .map(|(file, source)| tree::parse(file, source, &mut errors))
        .collect();
    // What stands on a line that is not TOML was only guessed at: nothing more is said of it.
    let lines = errors.iter().map(|(span, _)| line(&sources, *span)).collect();
    // The parser keeps only the keys of one of them, so keys seem to be missing.
    let twice = errors.iter().filter_map(|(span, message)| {
        let name = sources[span.file].text.get(span.start..span.end)?;
        message.contains(DEFINED_TWICE).then(|| format!(".{name}]"))
    });
    let broken = Broken { lines, twice: twice.collect(), errors: errors.len() };
    let entries = tree::merge(files, &sources, &mut errors);
    (Reader::new(sources, errors), entries, broken)
}

/// The files that were read, or everything that is wrong with them.
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

/// The files of a configuration with what is in them; at least one.
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

/// The lock file of a configuration: beside a file, by its name; in a directory, by ours.
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

fn mark<T>(
    marks: &mut BTreeMap<Item, Span>,
    items: Vec<(T, Span)>,
    name: impl Fn(&T) -> Item,
) -> Vec<T> {
    items
        .into_iter()
        .map(|(item, span)| {
            marks.insert(name(&item), span);
            item
        })
        .collect()
}

fn present<K, T>(items: BTreeMap<K, (Option<T>, Span)>) -> Vec<(T, Span)> {
    items.into_values().filter_map(|(item, span)| Some((item?, span))).collect()
}
