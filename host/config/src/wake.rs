//! The table `wake` of a workload and of a route.

use std::sync::Arc;

use drowse_core::WakePlan;
use drowse_routes::rules::{AgentGlob, Bots, HealthCheck, PathGlob, WakeLimits, WakeRules};
use ipnet::IpNet;

use crate::{
    read::{Reader, Tables},
    schema::table,
    values::{
        AgentPattern, AgentPatterns, BotPolicy, DurationText, Flag, Methods, Networks, PathPattern,
        PathPatterns, RateLimit, Schedules, Status,
    },
};

table! {
    /// How a workload is woken, and by which clients. A client that may not wake it gets 403 while the workload
    /// sleeps, and is served like any other while it is awake. A request for `/robots.txt` or
    /// `/favicon.ico` that is not a browser's navigation does not wake it either, unless `paths` names
    /// it.
    pub(crate) struct WorkloadWakeTable("[workload.NAME.wake]") {
        /// Time from the start of the wake until the workload is ready; then the wake has failed.
        timeout: DurationText = "\"3m\"";
        /// Time after a failed wake during which visitors get its cause before another wake is tried.
        cooldown: DurationText = "\"5s\"";
        /// Times at which it is woken without a visitor, as cron fields and a time zone:
        /// `["55 7 * * mon-fri Europe/Berlin"]`.
        at: Schedules = "[]";
        /// Maximum rate of wakes by visitors, all together, in any period of that length; then they get
        /// 429 until the rate has fallen.
        rate_limit: RateLimit, otherwise "no limit";
        /// Maximum rate of wakes by one client: an address, or the /64 network of an IPv6 address. A
        /// request to an awake workload, or during a wake that another client caused, does not count.
        client_rate_limit: RateLimit, otherwise "no limit";
    } shared { rules: WakeRulesTable }
}

table! {
    /// Clients that may wake the workload by this route. A key here replaces that of `[workload.NAME.wake]`.
    pub(crate) struct RouteWakeTable("[route.wake]") {
    } shared { rules: WakeRulesTable, otherwise "the workload's" }
}

table! {
    /// The keys that workloads and routes share.
    pub(crate) struct WakeRulesTable("") {
        /// Only these paths wake: `/login` is that path alone, `/app/*` everything below `/app/`.
        paths: PathPatterns, otherwise "every path";
        /// Only these methods wake.
        methods: Methods, otherwise "every method";
        /// Only clients in these networks wake. Behind trusted proxies the address of the real client
        /// counts.
        from: Networks, otherwise "every client";
        /// Clients in these networks do not wake, even if `from` allows them.
        not_from: Networks, otherwise "none";
        /// Only these user agents wake, with `*` for any characters, case-insensitive.
        user_agents: AgentPatterns, otherwise "every user agent";
        /// These user agents do not wake, even if `user-agents` allows them.
        not_user_agents: AgentPatterns, otherwise "none";
        /// Requests that are answered on behalf of a sleeping workload.
        probes: Tables<ProbeTable>, otherwise "none";
        /// Crawlers, link previews and uptime monitors that identify themselves: `wake` treats them like
        /// other clients, `ignore` asks them to come back later and does not let them keep the workload
        /// awake.
        bots: BotPolicy, otherwise "`wake`";
    }
}

table! {
    /// Health checks from outside: at least one of `path` and `user-agent`. They are answered on behalf
    /// of a sleeping workload without waking it, and reach it while it is awake.
    pub(crate) struct ProbeTable("[[workload.NAME.wake.probes]]") {
        /// A path, or `/health/*`.
        path: PathPattern, otherwise "every path";
        /// User agent, with `*` for any characters, case-insensitive.
        user_agent: AgentPattern, otherwise "every user agent";
        /// Status of the response while the workload sleeps.
        status: Status = "200";
        /// A probe that reaches the workload keeps it awake, as a visit does.
        counts_as_visit: Flag = "false";
    }
}

/// The rules that one table sets; `None` for those that it leaves alone.
struct WakeOverrides {
    paths: Option<Vec<PathGlob>>,
    methods: Option<Vec<String>>,
    from: Option<Vec<IpNet>>,
    not_from: Option<Vec<IpNet>>,
    agents: Option<Vec<AgentGlob>>,
    not_agents: Option<Vec<AgentGlob>>,
    probes: Option<Vec<HealthCheck>>,
    bots: Option<Bots>,
}

/// How a workload is woken.
pub(crate) struct Wake {
    pub(crate) plan: WakePlan,
    pub(crate) alarms: Vec<drowse_core::Alarm>,
    pub(crate) rules: Arc<WakeRules>,
}

// === impl WorkloadWakeTable ===

impl WorkloadWakeTable {
    pub(crate) fn settings(self, r: &mut Reader) -> Option<Wake> {
        let overrides = self.rules.overrides(r);
        let limits =
            WakeLimits { all: self.rate_limit.value?, client: self.client_rate_limit.value? };
        let defaults = WakeRules { limits, ..WakeRules::default() };
        Some(Wake {
            plan: WakePlan { timeout: self.timeout.value?, cooldown: self.cooldown.value? },
            alarms: self.at.value?,
            rules: Arc::new(overrides?.apply(&defaults)),
        })
    }
}

// === impl RouteWakeTable ===

impl RouteWakeTable {
    /// The workload's rules with those of this table in their place.
    pub(crate) fn rules(self, r: &mut Reader, workload: &WakeRules) -> Option<Arc<WakeRules>> {
        Some(Arc::new(self.rules.overrides(r)?.apply(workload)))
    }
}

// === impl WakeRulesTable ===

impl WakeRulesTable {
    fn overrides(self, r: &mut Reader) -> Option<WakeOverrides> {
        let probes = self.probes.value.map(|tables| {
            tables.map(|tables| {
                let probes: Vec<_> =
                    tables.into_iter().map(|table| table.and_then(|it| it.probe(r))).collect();
                probes.into_iter().collect::<Option<Vec<_>>>()
            })
        });
        Some(WakeOverrides {
            paths: self.paths.value?,
            methods: self.methods.value?,
            from: self.from.value?,
            not_from: self.not_from.value?,
            agents: self.user_agents.value?,
            not_agents: self.not_user_agents.value?,
            probes: match probes? {
                Some(probes) => Some(probes?),
                None => None,
            },
            bots: self.bots.value?,
        })
    }
}

// === impl ProbeTable ===

impl ProbeTable {
    fn probe(self, r: &mut Reader) -> Option<HealthCheck> {
        let (path, agent) = (self.path.value?, self.user_agent.value?);
        if path.is_none() && agent.is_none() {
            let message = "a probe is recognised by its `path`, its `user-agent` or both; without \
                           them nothing would wake the workload";
            r.report(self.heading.span, message);
            return None;
        }
        let (status, counts) = (self.status.value?, self.counts_as_visit.value?);
        Some(HealthCheck { path, agent, status, counts_as_visit: counts })
    }
}

// === impl WakeOverrides ===

impl WakeOverrides {
    fn apply(self, defaults: &WakeRules) -> WakeRules {
        fn list<T: Clone>(written: Option<Vec<T>>, default: &[T]) -> Vec<T> {
            written.unwrap_or_else(|| default.to_vec())
        }
        WakeRules {
            paths: list(self.paths, &defaults.paths),
            methods: list(self.methods, &defaults.methods),
            from: list(self.from, &defaults.from),
            not_from: list(self.not_from, &defaults.not_from),
            agents: list(self.agents, &defaults.agents),
            not_agents: list(self.not_agents, &defaults.not_agents),
            health_checks: list(self.probes, &defaults.health_checks),
            bots: self.bots.unwrap_or(defaults.bots),
            limits: defaults.limits,
        }
    }
}
