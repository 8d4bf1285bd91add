//! Who may wake: `wake` of a workload and of a route.

use std::sync::Arc;

use drowse_routes::rules::{AgentGlob, Bots, HealthCheck, PathGlob, WakeLimits, WakeRules};
use ipnet::IpNet;

use crate::{
    read::{Reader, Section},
    values::{
        AGENT_GLOB, AGENT_GLOBS, BOTS, FLAG, METHODS, NETWORKS, PATH_GLOB, PATH_GLOBS, RATE, STATUS,
    },
};

/// What one table says; `None` is what it does not say.
struct Said {
    paths: Option<Vec<PathGlob>>,
    methods: Option<Vec<String>>,
    from: Option<Vec<IpNet>>,
    not_from: Option<Vec<IpNet>>,
    agents: Option<Vec<AgentGlob>>,
    not_agents: Option<Vec<AgentGlob>>,
    probes: Option<Vec<HealthCheck>>,
    bots: Option<Bots>,
}

/// The rules of a workload, from its table `wake`.
pub(crate) fn of_workload(r: &mut Reader, section: &Section<'_>) -> Option<WakeRules> {
    let said = said(r, section);
    let all = section.find(r, "rate-limit", &RATE);
    let client = section.find(r, "client-rate-limit", &RATE);
    let limits = WakeLimits { all: all?, client: client? };
    Some(said?.over(&WakeRules { limits, ..WakeRules::default() }))
}

/// The rules of a route: its workload's, and over them what its own table `wake` says.
pub(crate) fn of_route(
    r: &mut Reader,
    section: &Section<'_>,
    workload: &Arc<WakeRules>,
) -> Option<Arc<WakeRules>> {
    if !section.has("wake") {
        return Some(workload.clone());
    }
    let section = section.table(r, "wake")?;
    Some(Arc::new(said(r, &section)?.over(workload)))
}

fn said(r: &mut Reader, section: &Section<'_>) -> Option<Said> {
    let paths = section.find(r, "paths", &PATH_GLOBS);
    let methods = section.find(r, "methods", &METHODS);
    let from = section.find(r, "from", &NETWORKS);
    let not_from = section.find(r, "not-from", &NETWORKS);
    let agents = section.find(r, "user-agents", &AGENT_GLOBS);
    let not_agents = section.find(r, "not-user-agents", &AGENT_GLOBS);
    let bots = section.find(r, "bots", &BOTS);
    let probes = match section.has("probes") {
        true => probes(r, section).map(Some),
        false => Some(None),
    };
    Some(Said {
        paths: paths?,
        methods: methods?,
        from: from?,
        not_from: not_from?,
        agents: agents?,
        not_agents: not_agents?,
        probes: probes?,
        bots: bots?,
    })
}

fn probes(r: &mut Reader, section: &Section<'_>) -> Option<Vec<HealthCheck>> {
    let probes: Vec<_> =
        section.tables(r, "probes").iter().map(|section| probe(r, section)).collect();
    probes.into_iter().collect()
}

fn probe(r: &mut Reader, section: &Section<'_>) -> Option<HealthCheck> {
    let path = section.find(r, "path", &PATH_GLOB);
    let agent = section.find(r, "user-agent", &AGENT_GLOB);
    let status = section.get(r, "status", &STATUS);
    let counts = section.get(r, "counts-as-visit", &FLAG);
    let (path, agent) = (path?, agent?);
    if path.is_none() && agent.is_none() {
        let message = "a probe is known by its `path`, its `user-agent` or both; without them nothing \
                       would wake the workload";
        r.report(section.span, message);
        return None;
    }
    Some(HealthCheck { path, agent, status: status?, counts_as_visit: counts? })
}

// === impl Said ===

impl Said {
    fn over(self, under: &WakeRules) -> WakeRules {
        fn list<T: Clone>(said: Option<Vec<T>>, under: &[T]) -> Vec<T> {
            said.unwrap_or_else(|| under.to_vec())
        }
        WakeRules {
            paths: list(self.paths, &under.paths),
            methods: list(self.methods, &under.methods),
            from: list(self.from, &under.from),
            not_from: list(self.not_from, &under.not_from),
            agents: list(self.agents, &under.agents),
            not_agents: list(self.not_agents, &under.not_agents),
            health_checks: list(self.probes, &under.health_checks),
            bots: self.bots.unwrap_or(under.bots),
            limits: under.limits,
        }
    }
}
