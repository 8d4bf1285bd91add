//! Compares what a workload needs with the abilities of its plugin.

use drowse_config::nearest;
use drowse_core::{Ability, PoolSpec, ReadyCheck, SleepMethod, SleepPlan, Veto, WorkloadSpec};
use drowse_plugins::{PluginInfo, settings::ProviderSettings};
use serde_json::Value;

use crate::grants;

#[cfg(test)]
mod tests;

/// Errors that would occur when the workload is woken or put to sleep, each with what to do.
pub(crate) fn flaws(
    info: &PluginInfo,
    granted: &ProviderSettings,
    workload: &WorkloadSpec,
) -> Vec<String> {
    let settings = serde_json::from_str(&workload.target.settings).unwrap_or_default();
    let mut flaws = settings_flaws(info, &settings);
    flaws.extend(sleep_flaw(info, "sleep", &workload.sleep));
    flaws.extend(
        workload
            .deep_sleep
            .iter()
            .filter_map(|deeper| sleep_flaw(info, "deep-sleep", &deeper.plan)),
    );
    flaws.extend(signal_flaw(info, workload));
    flaws.extend(check_flaws(info, granted, workload));
    flaws.extend(grants::missing_networks(info, granted, &settings));
    flaws
}

/// A warning if a workload shares its pool's memory and its own memory is never known.
pub(crate) fn warning(
    info: &PluginInfo,
    pools: &[PoolSpec],
    workload: &WorkloadSpec,
) -> Option<String> {
    let own = workload.pool.as_ref().filter(|own| own.memory.is_none())?;
    let pool = pools.iter().find(|pool| pool.name == own.pool && pool.max_memory.is_some())?;
    let measured = info.abilities.contains(&Ability::Usage);
    (!measured).then(|| {
        format!(
            "plugin `{}` does not measure memory, so the workload does not count towards the memory of pool `{}`; add \
             `memory`",
            info.name, pool.name
        )
    })
}

fn sleep_flaw(info: &PluginInfo, key: &str, plan: &SleepPlan) -> Option<String> {
    let (ability, flaw) = match plan.method {
        SleepMethod::Pause => (Ability::Pause, "cannot pause; use another `method`"),
        SleepMethod::Kill => (Ability::Kill, "cannot kill; use another `method`"),
        SleepMethod::Stop if plan.signal.is_some() => {
            (Ability::StopSignal, "chooses the stop signal itself; take `signal` out")
        }
        SleepMethod::Stop => return None,
    };
    let can = info.abilities.contains(&ability);
    (!can).then(|| format!("`{key}`: plugin `{}` {flaw}", info.name))
}

/// The router signals programs of this machine itself and does not send real-time signals.
fn signal_flaw(info: &PluginInfo, workload: &WorkloadSpec) -> Option<String> {
    let plans = [Some(&workload.sleep), workload.deep_sleep.as_ref().map(|deeper| &deeper.plan)];
    let mut signals = plans.into_iter().flatten().filter_map(|plan| plan.signal.as_deref());
    let signal = signals.find(|signal| signal.starts_with("SIGRT"))?;
    let runs = !info.commands.is_empty();
    runs.then(|| {
        format!("`{signal}`: plugin `{}` cannot send real-time signals to its programs", info.name)
    })
}

/// Checks that the plugin cannot perform, or may not.
fn check_flaws(
    info: &PluginInfo,
    granted: &ProviderSettings,
    workload: &WorkloadSpec,
) -> Vec<String> {
    let mut flaws = Vec::new();
    let runs = |check: &ReadyCheck| matches!(check, ReadyCheck::Exec { .. });
    let mut need = |key: &str, wanted: bool, ability: Ability, cannot: &str| {
        if wanted && !info.abilities.contains(&ability) {
            flaws.push(format!("`{key}`: plugin `{}` cannot {cannot}", info.name));
        } else if wanted {
            let lack = grants::missing_for(info, granted, ability);
            flaws.extend(lack.map(|lack| format!("`{key}`: {lack}")));
        }
    };
    let vetoes = &workload.vetoes;
    let busy = |veto: &Veto| matches!(veto, Veto::Busy(check) if runs(check));
    let measured = vetoes.iter().any(|veto| matches!(veto, Veto::CpuAbove(_)));
    need("ready", runs(&workload.ready), Ability::Exec, "run commands; use another check");
    need("keep-awake-if", vetoes.iter().any(busy), Ability::Exec, "run commands; take `exec` out");
    need("keep-awake-if", measured, Ability::Usage, "report CPU time; take `cpu-above` out");
    flaws
}

/// Settings that the schema does not have, or requires. The plugin checks everything else in its schema.
fn settings_flaws(info: &PluginInfo, settings: &Value) -> Vec<String> {
    let schema = &info.target_schema;
    let Some(settings) = settings.as_object() else { return Vec::new() };
    let properties = schema.get("properties").and_then(Value::as_object);
    let known: Vec<&str> =
        properties.into_iter().flat_map(|held| held.keys().map(String::as_str)).collect();
    let closed = *schema == Value::Bool(false)
        || schema.get("additionalProperties") == Some(&Value::Bool(false))
            && schema.get("patternProperties").is_none();
    let unknown = settings.keys().filter(|key| closed && !known.contains(&key.as_str()));
    let unknown = unknown.map(|key| {
        let advice = match (nearest(key, known.iter().copied()), known.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => format!("plugin `{}` has no settings for a workload", info.name),
            (None, known) => format!("known keys are `{}`", known.join("`, `")),
        };
        format!("`settings`: unknown key `{}`; {advice}", key.escape_debug())
    });
    let required = schema.get("required").and_then(Value::as_array);
    let required = required.into_iter().flatten().filter_map(Value::as_str);
    let absent = required.filter(|key| !settings.contains_key(*key)).map(|key| {
        format!("`settings`: plugin `{}` needs `{key}`; add it to the table", info.name)
    });
    unknown.chain(absent).collect()
}
