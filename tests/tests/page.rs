//! The waiting page in Chromium: desktop and phone, with and without scripts.

mod browser;

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use browser::{Browser, Look};
use drowse_tests::{Hello, Home, Programs, Router, curl, needs};
use serde_json::{Value, json};
use thirtyfour::Key;

/// Minimum contrast of text (WCAG 2.2, 1.4.3).
const CONTRAST: f64 = 4.5;

/// The lowest contrast of all texts on the page with their background, by WCAG's formula. Translucent
/// colours are blended with the page's background.
const WORST_CONTRAST: &str = r#"(() => {
  const parse = (text) => text.match(/[\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], ground) => [r, g, b].map((c, i) => c * a + ground[i] * (1 - a));
  const linear = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (element) => {
    if (!element) return [255, 255, 255];
    return over(parse(getComputedStyle(element).backgroundColor), ground(element.parentElement));
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let worst = [99, ""];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility() || element.closest("script, style, noscript")) continue;
    const behind = ground(element);
    const pair = [light(over(parse(getComputedStyle(element).color), behind)), light(behind)];
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (contrast < worst[0]) worst = [contrast, text];
  }
  return worst;
})()"#;

/// A browser and a router with the workload `hello` and additional tables.
fn open(look: Look, boot: Duration, more: &str) -> Result<Option<(Browser, Router, Hello)>> {
    if let Some(lack) = Browser::lacks() {
        needs::skip("the page in Chromium", &lack);
        return Ok(None);
    }
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), boot)?;
    home.configure(&[hello.provider(), hello.workload("never"), more.to_owned()].concat())?;
    Ok(Some((Browser::open(look)?, home.start()?, hello)))
}

/// A browser and a router whose workload `hello` becomes ready only after the returned file exists.
fn failing(look: Look) -> Result<Option<(Browser, Router, std::path::PathBuf)>> {
    if let Some(lack) = Browser::lacks() {
        needs::skip("the page in Chromium", &lack);
        return Ok(None);
    }
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let mended = home.path().join("mended");
    let script = format!(
        "if [ -e '{}' ]; then exec {}; else exec sleep 60; fi",
        mended.display(),
        hello.run().join(" ")
    );
    home.configure(&format!(
        "[provider.process]\nplugin = \"process\"\n\
         command.hello = {{ run = [\"/bin/sh\", \"-c\", {script:?}] }}\n\n\
         [workload.hello]\nprovider = \"process\"\nidle = \"never\"\n\
         sleep = {{ grace = \"1s\" }}\n\
         wake = {{ timeout = \"1s\", cooldown = \"1s\" }}\n\n\
         [[route]]\nworkload = \"hello\"\nport = {}\n",
        hello.port()
    ))?;
    Ok(Some((Browser::open(look)?, home.start()?, mended)))
}

fn contrast(browser: &Browser) -> Result<()> {
    let worst = browser.value(WORST_CONTRAST)?;
    let ratio = worst[0].as_f64().context("no contrast")?;
    ensure!(ratio >= CONTRAST, "{} has a contrast of {ratio:.2} only", worst[1]);
    Ok(())
}

#[test]
fn a_visitor_watches_the_wake_and_arrives_at_the_requested_url() -> Result<()> {
    let Some((browser, router, hello)) = open(Look::DESKTOP, Duration::from_secs(4), "")? else {
        return Ok(());
    };
    let url = format!("http://blog.localhost:{}/a%20b/c?x=1&y=%2F#part", router.address().port());
    browser.go(&url)?;
    browser.wait_for("hello is waking up")?;
    browser.wait_until("document.documentElement.dataset.connection === 'live'")?;
    browser.wait_for("so far")?;
    let status =
        browser.value("document.querySelector('[role=status][aria-live=polite]').innerText")?;
    ensure!(status.as_str().is_some_and(|text| text.contains("waking up")), "{status}");
    ensure!(browser.value("document.documentElement.lang")? == "en");
    browser.picture("waking-desktop-light")?;
    contrast(&browser)?;
    let entries = browser.value("history.length")?;

    browser.wait_for("Hello!")?;
    ensure!(browser.address()? == url, "{}", browser.address()?);
    ensure!(browser.value("history.length")? == entries, "the page is in the history");
    ensure!(hello.starts()?.len() == 1);
    Ok(())
}

#[test]
fn the_second_wake_shows_the_usual_time_and_the_log_if_configured() -> Result<()> {
    let logs = "[waiting]
log-lines = 3
";
    let Some((browser, router, _hello)) = open(Look::DESKTOP, Duration::from_secs(3), logs)? else {
        return Ok(());
    };
    ensure!(router.get("any.example", "/")?.status == 200);
    router.home().drowse(&["sleep", "hello"])?;
    router.wait_for_phase("hello", "asleep", Duration::from_secs(30))?;
    browser.go(&router.url("/"))?;
    browser.wait_for("usually about 3 seconds")?;
    let bar = "document.querySelector('progress').value";
    let early = browser.value(bar)?.as_f64().context("no bar")?;
    browser.wait_until(&format!("{bar} > {early} && {bar} < 100"))?;
    browser.wait_for("boots for 3s")?;
    browser.picture("waking-again-desktop-light")?;
    browser.wait_for("Hello!")
}

#[test]
fn without_scripts_the_page_reloads_until_the_application_answers() -> Result<()> {
    let look = Look { script: false, ..Look::DESKTOP };
    let Some((browser, router, hello)) = open(look, Duration::from_secs(3), "")? else {
        return Ok(());
    };
    let url = router.url("/plain?x=1");
    browser.go(&url)?;
    browser.wait_for("hello is waking up")?;
    browser.wait_for("This page is loaded again every 2 seconds.")?;
    browser.picture("without-scripts")?;
    browser.wait_for("Hello!")?;
    ensure!(browser.address()? == url);
    ensure!(hello.starts()?.len() == 1);
    Ok(())
}

#[test]
fn a_failed_wake_is_shown_and_retried_by_keyboard() -> Result<()> {
    let Some((browser, router, mended)) = failing(Look { dark: true, ..Look::DESKTOP })? else {
        return Ok(());
    };
    let url = router.url("/deep?x=1");
    browser.go(&url)?;
    browser.wait_for("hello could not be woken")?;
    browser.wait_for("It did not become ready in time.")?;
    browser.wait_for("The next try is in")?;
    browser.wait_for("If it keeps failing, tell the people who run this site.")?;
    browser.wait_for("This page updates by itself.")?;
    let page = browser.text()?;
    ensure!(!page.contains("127.0.0.1"), "the page shows an address: {page}");
    ensure!(!page.contains("opens by itself"), "the page promises a success: {page}");
    let moon = "getComputedStyle(document.querySelector('.stars')).opacity + getComputedStyle(document.querySelector('.fault')).opacity";
    ensure!(browser.value(moon)? == "01", "the failed state has no own style");
    browser.press(Key::Tab)?;
    let focus = "document.activeElement.innerText";
    ensure!(browser.value(focus)? == "Try again", "{}", browser.value(focus)?);
    let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle")?;
    ensure!(outline == "solid", "the focus is not visible: {outline}");
    browser.picture("failed-desktop-dark")?;
    contrast(&browser)?;

    fs::write(mended, "")?;
    browser.press(Key::Enter)?;
    browser.wait_for("Hello!")?;
    ensure!(browser.address()? == url);
    Ok(())
}

#[test]
fn a_failed_wake_is_retried_by_the_page() -> Result<()> {
    let Some((browser, router, mended)) = failing(Look::PHONE)? else { return Ok(()) };
    browser.go(&router.url("/"))?;
    browser.wait_for("hello could not be woken")?;
    browser.fits()?;
    browser.picture("failed-phone-light")?;
    fs::write(mended, "")?;
    browser.wait_for("Hello!")
}

/// Starts a router with each bundled theme and the tables that `setup` returns, and calls `check` with it
/// and a browser. `setup` also returns what the check needs.
fn with_each_theme<T>(
    look: Look,
    setup: impl Fn(&Programs, &Home) -> Result<(String, T)>,
    check: impl Fn(&Browser, &Router, &str, &T) -> Result<()>,
) -> Result<()> {
    if let Some(lack) = Browser::lacks() {
        needs::skip("the page in Chromium", &lack);
        return Ok(());
    }
    let programs = Programs::from_env();
    let browser = Browser::open(look)?;
    for theme in ["calm", "terminal"] {
        let home = Home::new(&programs)?;
        let (tables, fixture) = setup(&programs, &home)?;
        home.configure(&format!("[waiting]\ntheme = {theme:?}\n\n{tables}"))?;
        let router = home.start()?;
        browser.look(look)?;
        check(&browser, &router, theme, &fixture)?;
    }
    Ok(())
}

/// Checks the layout and contrast of the open page in light and dark, on a phone and a desktop, and saves
/// screenshots. Returns the colours of the page in light and in dark.
fn check_appearance(browser: &Browser, page: &str, theme: &str) -> Result<Vec<Value>> {
    let colours =
        "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color";
    let mut seen = Vec::new();
    for dark in [false, true] {
        let scheme = if dark { "dark" } else { "light" };
        for (look, size) in [(Look::PHONE, "phone"), (Look::DESKTOP, "desktop")] {
            browser.look(Look { dark, ..look })?;
            browser.fits()?;
            contrast(browser).with_context(|| format!("{theme}, {scheme}, {size}"))?;
            browser.picture(&format!("{page}-{theme}-{size}-{scheme}"))?;
        }
        seen.push(browser.value(colours)?);
    }
    Ok(seen)
}

#[test]
fn error_pages_use_the_theme_in_light_and_dark() -> Result<()> {
    let setup = |programs: &Programs, home: &Home| {
        let hello = Hello::new(programs, home.path(), Duration::ZERO)?;
        let route = "[workload.hello]\nprovider = \"process\"\n\n\
                     [[route]]\nworkload = \"hello\"\npath = \"/app\"\n";
        Ok((format!("{}{route}port = {}\n", hello.provider(), hello.port()), hello))
    };
    with_each_theme(Look::DESKTOP, setup, |browser, router, theme, hello| {
        browser.go(&router.url("/elsewhere"))?;
        browser.wait_for("There is nothing here")?;
        browser.wait_for("404 Not Found")?;
        check_appearance(browser, "missing", theme)?;
        ensure!(hello.starts()?.is_empty());
        Ok(())
    })
}

#[test]
fn a_page_that_loses_the_router_finds_its_way_back() -> Result<()> {
    let Some((browser, router, _hello)) = open(Look::DESKTOP, Duration::from_secs(30), "")? else {
        return Ok(());
    };
    let url = router.url("/kept?x=1");
    browser.go(&url)?;
    browser.wait_until("document.documentElement.dataset.connection === 'live'")?;
    let home = router.stop()?;
    browser.wait_for("The connection is lost")?;
    browser.picture("lost-desktop-light")?;
    // After the restart of the router the workload starts quickly.
    let programs = Programs::from_env();
    let quick = Hello::new(&programs, home.path(), Duration::ZERO)?;
    home.configure(&[quick.provider(), quick.workload("never")].concat())?;
    let _router = home.start()?;
    browser.wait_for("Hello!")?;
    ensure!(browser.address()? == url);
    Ok(())
}

#[test]
fn dependencies_are_shown_on_a_phone_in_light_and_dark() -> Result<()> {
    let setup = |programs: &Programs, home: &Home| {
        let hello = Hello::new(programs, home.path(), Duration::from_secs(60))?;
        let slow = Hello::new(programs, home.path(), Duration::from_secs(60))?;
        let tables = format!(
            "[provider.process]\nplugin = \"process\"\n\
             command.app = {{ run = {:?} }}\ncommand.slow = {{ run = {:?} }}\n\
             command.quick = {{ run = [\"sleep\", \"600\"] }}\n\n\
             [workload.an-application-with-quite-a-long-name-that-does-not-fit]\n\
             provider = \"process\"\ntarget = \"app\"\nneeds = [\"database\", \"cache\"]\n\n\
             [workload.database]\nprovider = \"process\"\ntarget = \"slow\"\n\
             ready = {{ tcp = true, port = {} }}\n\n\
             [workload.cache]\nprovider = \"process\"\ntarget = \"quick\"\n\n\
             [[route]]\nworkload = \"an-application-with-quite-a-long-name-that-does-not-fit\"\n\
             port = {}\n",
            hello.run(),
            slow.run(),
            slow.port(),
            hello.port(),
        );
        Ok((tables, ()))
    };
    with_each_theme(Look::PHONE, setup, |browser, router, theme, ()| {
        browser.go(&router.url("/"))?;
        browser.wait_for("It needs database, which is woken first.")?;
        browser.wait_for("started, not ready yet")?;
        let colours = check_appearance(browser, "needs", theme)?;
        ensure!(colours[0] != colours[1], "light and dark do not differ: {colours:?}");
        let needs = browser.value(
            "[...document.querySelectorAll('[data-drowse=needs] li')].map((li) => [li.querySelector('.name').innerText, li.dataset.state])",
        )?;
        let expected: Value = json!([["database", "working"], ["cache", "ready"]]);
        ensure!(needs == expected, "{needs}");
        Ok(())
    })
}

#[test]
fn a_broken_theme_is_reported_with_its_line_and_the_bundled_one_is_used() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::from_secs(2))?;
    let theme = home.path().join("themes/ours");
    fs::create_dir_all(&theme)?;
    fs::write(theme.join("page.html"), "{{ head }}{{ script }}\n<p>{{ titel }}</p>\n")?;
    let ours = "[waiting]\ntheme = \"ours\"\n\n".to_owned();
    home.configure(&[ours, hello.provider(), hello.workload("never")].concat())?;

    let check = home.drowse(&["check"])?;
    let printed = format!("{check:?}");
    ensure!(!check.status.success() && printed.contains("ours/page.html:2: "), "{printed}");

    let router = home.start()?;
    let log = router.log().tail(100);
    ensure!(log.contains("ours/page.html:2: "), "{log}");
    let browser = ["--header", "accept: text/html", &router.url("/")].map(str::to_owned);
    let page = curl(&browser.each_ref().map(String::as_str))?;
    let page = String::from_utf8(page.stdout)?;
    ensure!(page.contains("<h1 data-drowse=\"title\">hello is waking up</h1>"), "{page}");
    Ok(())
}
