//! The keys at the top of a configuration.

use crate::{
    auth::AuthTable,
    listener::ListenerTable,
    plugin_limits::PluginLimitsTable,
    pool::PoolTable,
    provider::ProviderTable,
    read::{Named, Nested, Tables},
    route::RouteTable,
    schema::table,
    values::{Count, FilePath, Flag, PublicKeys, Text},
    waiting::WaitingTable,
    workload::WorkloadTable,
};

table! {
    /// Keys at the top of the file, before the first `[table]`. A path that does not begin with `/` is
    /// relative to the file it is written in.
    pub(crate) struct Root("The router", secret) {
        /// Directory of provider plugins. A file `NAME.wasm` there takes precedence over the bundled
        /// provider of the same name and is used as soon as it appears; so does `NAME.so` if
        /// `allow-dylib` is set.
        plugin_dir: FilePath, otherwise "`plugins` beside the file if it exists, else `/var/lib/drowse/plugins` for root and `$XDG_DATA_HOME/drowse/plugins` (`~/.local/share/drowse/plugins`) for others";
        /// Allows plugins that are dynamic libraries: `NAME.so` in the plugin directory. They are trusted
        /// code without a sandbox: they can do whatever the router can, and their memory and CPU time are
        /// not limited.
        allow_dylib: Flag = "false";
        /// Minisign public keys of trusted plugin signers. A plugin with an invalid signature by one of
        /// them in `NAME.wasm.minisig` beside it is refused.
        plugin_keys: PublicKeys = "[]";
        /// Refuses plugins without a signature by one of `plugin-keys`. Bundled providers are part of
        /// the router's program and need none.
        require_signatures: Flag = "false";
        /// Directory for compiled plugins. It is private to the router's user and can be deleted at any
        /// time.
        cache_dir: FilePath, otherwise "`/var/cache/drowse` for root, `$XDG_CACHE_HOME/drowse` (`~/.cache/drowse`) for others";
        /// Limits that all plugins share.
        plugin_limits: Nested<PluginLimitsTable> = "{}";
        /// Directory for state that survives restarts: the workloads that the router woke, and when each
        /// was last used.
        state_dir: FilePath, otherwise "`/var/lib/drowse` for root, `$XDG_STATE_HOME/drowse` (`~/.local/state/drowse`) for others";
        /// Unix socket on which `drowse status` and the other commands reach the running router.
        control_socket: FilePath, otherwise "`/run/drowse/control.sock` for root, `$XDG_RUNTIME_DIR/drowse/control.sock` for others, `/tmp/drowse-UID/control.sock` if that is not set";
        /// Number of threads that serve visitors.
        threads: Count, otherwise "one for each core";
        /// Log filter: `error`, `warn`, `info`, `debug` or `trace`, or more for parts of the router,
        /// such as `info,drowse_proxy=debug`.
        log: Text = "\"info\"";
        /// Sockets that accept visitors.
        listener: Tables<ListenerTable>, otherwise "none, and nothing is served";
        /// Plugins that start and stop workloads, with their grants.
        provider: Named<ProviderTable>, otherwise "none";
        /// Workloads that sleep and wake.
        workload: Named<WorkloadTable>, otherwise "none";
        /// Capacity limits that workloads share.
        pool: Named<PoolTable>, otherwise "none";
        /// Which requests go to which workload.
        route: Tables<RouteTable>, otherwise "none";
        /// Ways to authenticate visitors.
        auth: Named<AuthTable>, otherwise "none";
        /// Waiting visitors and the waiting page.
        waiting: Nested<WaitingTable> = "{}";
    }
}
