//! Chromium, controlled through WebDriver.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use drowse_tests::{Process, client, needs, ports, until};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{ChromiumLikeCapabilities, DesiredCapabilities, Key, WebDriver};
use tokio::runtime::Runtime;

/// Maximum time until a page is loaded.
const PATIENCE: Duration = Duration::from_secs(60);

/// Display settings of the browser.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) phone: bool,
    pub(crate) dark: bool,
    pub(crate) script: bool,
}

/// A browser with one window. Dropping it closes it.
pub(crate) struct Browser {
    runtime: Runtime,
    driver: WebDriver,
    _profile: TempDir,
    _driver: Process,
}

// === impl Look ===

impl Look {
    pub(crate) const DESKTOP: Self =
        Self { width: 1100, height: 860, phone: false, dark: false, script: true };
    pub(crate) const PHONE: Self =
        Self { width: 360, height: 740, phone: true, dark: false, script: true };
}

// === impl Browser ===

impl Browser {
    /// The missing programs, if any.
    pub(crate) fn lacks() -> Option<String> {
        let missing = ["chromium", "chromedriver"].into_iter();
        let missing: Vec<_> = missing.filter(|name| needs::program(name).is_none()).collect();
        (!missing.is_empty()).then(|| format!("{} not installed", missing.join(" and ")))
    }

    pub(crate) fn open(look: Look) -> Result<Self> {
        let port = ports::free()?;
        let program = needs::program("chromedriver").context("no chromedriver")?;
        let mut command = Command::new(program);
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn("chromedriver", &mut command, Duration::from_secs(10))?;
        let address = ports::loopback(port);
        until("chromedriver answers", PATIENCE, || client::answers(address).then_some(()))?;

        let profile = TempDir::with_prefix("drowse-browser-")?;
        let mut wanted = DesiredCapabilities::chrome();
        let chromium = needs::program("chromium").context("no chromium")?;
        wanted.set_binary(&chromium.to_string_lossy())?;
        for word in [
            "--headless=new",
            // Chromium has no sandbox for root.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            &format!("--user-data-dir={}", profile.path().display()),
        ] {
            wanted.add_arg(word)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let driver = runtime.block_on(WebDriver::new(format!("http://{address}"), wanted))?;
        let browser = Self { runtime, driver, _profile: profile, _driver: process };
        browser.look(look)?;
        Ok(browser)
    }

    /// Changes the display settings.
    pub(crate) fn look(&self, look: Look) -> Result<()> {
        let Look { width, height, phone, dark, script } = look;
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.send_cdp("Emulation.setDeviceMetricsOverride", size)?;
        let scheme = if dark { "dark" } else { "light" };
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.send_cdp("Emulation.setEmulatedMedia", scheme)?;
        self.send_cdp("Emulation.setScriptExecutionDisabled", json!({ "value": !script }))
    }

    /// Navigates to a URL and waits until the page is loaded.
    pub(crate) fn go(&self, url: &str) -> Result<()> {
        self.runtime.block_on(self.driver.goto(url)).with_context(|| format!("go to {url}"))
    }

    pub(crate) fn address(&self) -> Result<String> {
        Ok(self.runtime.block_on(self.driver.current_url())?.to_string())
    }

    /// Evaluates a JavaScript expression in the page.
    pub(crate) fn value(&self, expression: &str) -> Result<Value> {
        let script = format!("return ({expression});");
        let value = self.runtime.block_on(self.driver.execute(&*script, Vec::new()));
        Ok(value.with_context(|| format!("evaluate {expression}"))?.json().clone())
    }

    /// The visible text.
    pub(crate) fn text(&self) -> Result<String> {
        let text = self.value("document.body.innerText")?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page's text contains `words`.
    pub(crate) fn wait_for(&self, words: &str) -> Result<()> {
        // During a navigation there is no text.
        let seen = until(words, PATIENCE, || self.text().ok()?.contains(words).then_some(()));
        seen.with_context(|| format!("the page shows: {:?}", self.text()))
    }

    /// Waits until an expression is true in the page.
    pub(crate) fn wait_until(&self, expression: &str) -> Result<()> {
        let seen =
            until(expression, PATIENCE, || (self.value(expression).ok()? == true).then_some(()));
        seen.with_context(|| format!("the page shows: {:?}", self.text()))
    }

    /// Presses a key.
    pub(crate) fn press(&self, key: Key) -> Result<()> {
        Ok(self.runtime.block_on(self.driver.action_chain().send_keys(key).perform())?)
    }

    /// Saves a screenshot for review, and prints its path.
    pub(crate) fn picture(&self, name: &str) -> Result<PathBuf> {
        let directory = env::temp_dir().join("drowse-pictures");
        fs::create_dir_all(&directory)?;
        let file = directory.join(format!("{name}.png"));
        let png = self.runtime.block_on(self.driver.screenshot_as_png())?;
        fs::write(&file, png)?;
        println!("{}", file.display());
        Ok(file)
    }

    /// Checks that the page is not wider than the window.
    pub(crate) fn fits(&self) -> Result<()> {
        let sizes = self.value("[document.documentElement.scrollWidth, window.innerWidth]")?;
        if sizes[0].as_u64() > sizes[1].as_u64() {
            bail!("the page is {} px wide and the window {} px", sizes[0], sizes[1]);
        }
        Ok(())
    }

    fn send_cdp(&self, command: &str, words: Value) -> Result<()> {
        self.runtime
            .block_on(self.driver.cdp().send_raw(command, words))
            .with_context(|| format!("send {command} to the browser"))?;
        Ok(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Err(error) = self.runtime.block_on(self.driver.clone().quit()) {
            eprintln!("close the browser: {error}");
        }
    }
}
