//! Usage of a container, computed as by `docker stats`.

use std::time::Duration;

use drowse_provider_sdk::{Error, Result, Usage, clock, encode};

use crate::{
    api::{Answer, Call, Engine},
    model::{CpuStats, MemoryStats, Stats},
};

/// Time between the two samples of CPU time. The engine counts the machine's time in hundredths of
/// a second.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// Requests one sample.
pub(crate) fn sample(engine: &Engine, reference: &str) -> Result<Answer> {
    let path = format!("/containers/{}/stats", encode(reference));
    engine.send(&Call::get(&path).query("stream", "0").query("one-shot", "1"))
}

/// Usage by the first sample and, if needed, a second one. None if the engine reports nothing:
/// Podman, for a container that does not run.
pub(crate) fn measure(
    engine: &Engine,
    reference: &str,
    first: Answer,
    attempt: &str,
) -> Result<Option<Usage>> {
    let with_context = |error: Error| error.context(attempt);
    let Some(first) = read(first).map_err(with_context)? else { return Ok(None) };
    if first.is_empty() {
        return Ok(Some(Usage::nothing()));
    }
    if first.precpu_stats.system_cpu_usage.is_some_and(|system| system > 0) {
        // An engine without `one-shot` took two samples itself.
        return Ok(Some(usage(&first.precpu_stats, &first.cpu_stats, &first.memory_stats)));
    }
    clock::sleep(SAMPLE_INTERVAL);
    let answer = sample(engine, reference).map_err(with_context)?;
    if !answer.is_done() {
        return Err(answer.to_error(attempt));
    }
    Ok(match read(answer).map_err(with_context)? {
        None => None,
        Some(second) if second.is_empty() => Some(Usage::nothing()),
        Some(second) => Some(usage(&first.cpu_stats, &second.cpu_stats, &second.memory_stats)),
    })
}

fn read(answer: Answer) -> Result<Option<Stats>> {
    answer.response.values().next().transpose()
}

fn usage(before: &CpuStats, after: &CpuStats, memory: &MemoryStats) -> Usage {
    Usage {
        cpu_percent: cpu_percent(before, after),
        memory: memory_bytes(memory),
        attributes: Vec::new(),
    }
}

/// Percent of one core. None if the engine does not report the machine's time, or if the container
/// was restarted between the samples.
fn cpu_percent(before: &CpuStats, after: &CpuStats) -> Option<f64> {
    let own = after.cpu_usage.total_usage.checked_sub(before.cpu_usage.total_usage)?;
    let all = after.system_cpu_usage?.checked_sub(before.system_cpu_usage?)?;
    let listed = after.cpu_usage.percpu_usage.len();
    let cores =
        after.online_cpus.filter(|cores| *cores > 0).map_or(listed.max(1), |it| it as usize);
    // The machine's time is the sum over all its cores.
    (all > 0).then(|| own as f64 / all as f64 * cores as f64 * 100.0)
}

/// Without the page cache that the kernel drops first. Its name in cgroup v1, then v2.
fn memory_bytes(memory: &MemoryStats) -> Option<u64> {
    let usage = memory.usage?;
    let cache = ["total_inactive_file", "inactive_file"]
        .into_iter()
        .find_map(|name| memory.stats.get(name).copied())
        .filter(|cache| *cache < usage);
    Some(usage - cache.unwrap_or(0))
}
