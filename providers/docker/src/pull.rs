//! Pulls an image. The engine streams the progress, and may report a failure after status 200.

use std::{collections::BTreeMap, time::Duration};

use drowse_provider_sdk::{Error, ImageName, Result, clock, info};

use crate::{
    api::{Call, Engine},
    model::PullStep,
};

/// Interval of progress log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of layers that are counted; images have at most 127.
const MAX_LAYERS: usize = 256;

/// Progress of a pull.
#[derive(Default)]
struct Progress {
    /// Layers by id.
    layers: BTreeMap<String, Layer>,
}

#[derive(Default)]
struct Layer {
    fetched: u64,
    size: u64,
    done: bool,
}

/// Pulls the image `from` through this endpoint; returns when the image is local.
pub(crate) fn pull(
    engine: &Engine,
    endpoint: &str,
    from: &str,
    image: ImageName<'_>,
) -> Result<()> {
    let ImageName { whole: name, tag, digest, .. } = image;
    let attempt = format!("pull image {name}:{tag}");
    let with_context = |error: Error| error.context(&attempt);
    let call = Call::post("/images/create").to(endpoint).query("fromImage", from);
    // Without a tag the engine would pull all of them.
    let call = call.query("tag", digest.unwrap_or(tag));
    let answer = engine.send(&call).map_err(with_context)?;
    if !answer.is_done() {
        return Err(answer.to_error(&attempt));
    }
    info!(image = name, tag = tag; "pulling the image");
    let mut progress = Progress::default();
    let mut logged = clock::monotonic();
    let mut last = String::new();
    for step in answer.response.values::<PullStep>() {
        let step = step.map_err(with_context)?;
        if let Some(message) = step.failure() {
            return Err(Error::unavailable(format!("{attempt}: {message}")));
        }
        progress.take(&step);
        if step.id.is_empty() && !step.status.is_empty() {
            last = step.status;
        }
        let now = clock::monotonic();
        if now.saturating_sub(logged) >= LOG_INTERVAL {
            logged = now;
            info!(image = name, tag = tag; "pulling the image: {}", progress.summary());
        }
    }
    let last = last.strip_prefix("Status: ").unwrap_or(&last).to_owned();
    info!(image = name, tag = tag; "pulled the image: {last}");
    Ok(())
}

// === impl Progress ===

impl Progress {
    fn take(&mut self, step: &PullStep) {
        if step.id.is_empty()
            || self.layers.len() >= MAX_LAYERS && !self.layers.contains_key(&step.id)
        {
            return;
        }
        // The first line has the tag in place of a layer id.
        if step.status.starts_with("Pulling from") {
            return;
        }
        let layer = self.layers.entry(step.id.clone()).or_default();
        match step.status.as_str() {
            "Downloading" => {
                layer.fetched = step.progress_detail.current;
                layer.size = step.progress_detail.total;
            }
            "Download complete" => layer.fetched = layer.size,
            "Pull complete" | "Already exists" => layer.done = true,
            _ => {}
        }
    }

    fn summary(&self) -> String {
        let done = self.layers.values().filter(|layer| layer.done).count();
        let sum =
            |part: fn(&Layer) -> u64| self.layers.values().map(part).sum::<u64>() as f64 / 1e6;
        let (fetched, size) = (sum(|layer| layer.fetched), sum(|layer| layer.size));
        let layers = self.layers.len();
        format!("{done} of {layers} layers, {fetched:.1} of {size:.1} MB of the started layers")
    }
}
