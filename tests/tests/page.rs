//! The page of a waiting visitor in Chromium: at a desk and on a phone, with and without scripts.

mod browser;

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use browser::{Browser, Look};
use drowse_tests::{Hello, Home, Programs, Router, curl, needs};
use serde_json::{Value, json};
use thirtyfour::Key;

/// The smallest contrast that text may have (WCAG 2.2, 1.4.3).
const CONTRAST: f64 = 4.5;

/// The contrast of every text on the page with what is behind it, the worst one, by WCAG's
/// formula. What is translucent lies over the page's own ground.
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

/// A router in front of the workload `hello`, with more tables, and a browser.
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

/// A router whose workload `hello` does not become ready before the file is there.
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
fn a_visitor_watches_the_wake_and_arrives_at_the_very_address() -> Result<()> {
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
    ensure!(browser.value("history.length")? == entries, "going back does not lead to the page");
    ensure!(hello.starts()?.len() == 1);
    Ok(())
}

#[test]
fn the_second_wake_shows_the_usual_time_and_the_log_where_the_operator_lets_it() -> Result<()> {
    let logs = "[waiting]\nlog-lines = 3\n";
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
fn without_scripts_the_page_reloads_until_the_app_is_there() -> Result<()> {
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
fn a_failed_wake_is_shown_and_tried_again_by_keyboard() -> Result<()> {
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
    ensure!(!page.contains("127.0.0.1"), "no address is told: {page}");
    ensure!(!page.contains("opens by itself"), "nothing is promised: {page}");
    let moon = "getComputedStyle(document.querySelector('.stars')).opacity + getComputedStyle(document.querySelector('.fault')).opacity";
    ensure!(browser.value(moon)? == "01", "a failure looks like one");
    browser.press(Key::Tab)?;
    let focus = "document.activeElement.innerText";
    ensure!(browser.value(focus)? == "Try again", "{}", browser.value(focus)?);
    let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle")?;
    ensure!(outline == "solid", "the focus is visible: {outline}");
    browser.picture("failed-desktop-dark")?;
    contrast(&browser)?;

    fs::write(mended, "")?;
    browser.press(Key::Enter)?;
    browser.wait_for("Hello!")?;
    ensure!(browser.address()? == url);
    Ok(())
}

#[test]
fn a_failed_wake_is_tried_again_by_the_page_itself() -> Result<()> {
    let Some((browser, router, mended)) = failing(Look::PHONE)? else { return Ok(()) };
    browser.go(&router.url("/"))?;
    browser.wait_for("hello could not be woken")?;
    browser.fits()?;
    browser.picture("failed-phone-light")?;
    fs::write(mended, "")?;
    browser.wait_for("Hello!")
}

#[test]
fn an_answer_of_the_router_is_a_page_of_its_theme_in_light_and_dark() -> Result<()> {
    if let Some(lack) = Browser::lacks() {
        needs::skip("the page in Chromium", &lack);
        return Ok(());
    }
    let programs = Programs::from_env();
    let browser = Browser::open(Look::DESKTOP)?;
    for theme in ["calm", "terminal"] {
        let home = Home::new(&programs)?;
        let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
        let route = "[workload.hello]\nprovider = \"process\"\n\n\
                     [[route]]\nworkload = \"hello\"\npath = \"/app\"\n";
        home.configure(&format!(
            "[waiting]\ntheme = {theme:?}\n\n{}{route}port = {}\n",
            hello.provider(),
            hello.port()
        ))?;
        let router = home.start()?;
        browser.look(Look::DESKTOP)?;
        browser.go(&router.url("/elsewhere"))?;
        browser.wait_for("There is nothing here")?;
        browser.wait_for("404 Not Found")?;
        for dark in [false, true] {
            let scheme = if dark { "dark" } else { "light" };
            for (look, size) in [(Look::PHONE, "phone"), (Look::DESKTOP, "desktop")] {
                browser.look(Look { dark, ..look })?;
                browser.fits()?;
                contrast(&browser).with_context(|| format!("{theme}, {scheme}, {size}"))?;
                browser.picture(&format!("missing-{theme}-{size}-{scheme}"))?;
            }
        }
        ensure!(hello.starts()?.is_empty());
    }
    Ok(())
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
    // The workload is a quick one when the router is back.
    let programs = Programs::from_env();
    let quick = Hello::new(&programs, home.path(), Duration::ZERO)?;
    home.configure(&[quick.provider(), quick.workload("never")].concat())?;
    let _router = home.start()?;
    browser.wait_for("Hello!")?;
    ensure!(browser.address()? == url);
    Ok(())
}

#[test]
fn what_is_needed_is_shown_on_a_phone_in_light_and_dark() -> Result<()> {
    if let Some(lack) = Browser::lacks() {
        needs::skip("the page in Chromium", &lack);
        return Ok(());
    }
    let programs = Programs::from_env();
    let browser = Browser::open(Look::PHONE)?;
    for theme in ["calm", "terminal"] {
        let home = Home::new(&programs)?;
        let hello = Hello::new(&programs, home.path(), Duration::from_secs(60))?;
        let slow = Hello::new(&programs, home.path(), Duration::from_secs(60))?;
        home.configure(&format!(
            "[waiting]\ntheme = {theme:?}\n\n\
             [provider.process]\nplugin = \"process\"\n\
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
        ))?;
        let router = home.start()?;
        browser.look(Look::PHONE)?;
        browser.go(&router.url("/"))?;
        browser.wait_for("It needs database, which is woken first.")?;
        browser.wait_for("started, not ready yet")?;
        let mut grounds = Vec::new();
        for dark in [false, true] {
            let scheme = if dark { "dark" } else { "light" };
            for (look, size) in [(Look::PHONE, "phone"), (Look::DESKTOP, "desktop")] {
                browser.look(Look { dark, ..look })?;
                browser.fits()?;
                contrast(&browser).with_context(|| format!("{theme}, {scheme}, {size}"))?;
                browser.picture(&format!("needs-{theme}-{size}-{scheme}"))?;
            }
            grounds.push(browser.value("getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color")?);
        }
        ensure!(grounds[0] != grounds[1], "light and dark differ: {grounds:?}");
        let needs = browser.value(
            "[...document.querySelectorAll('[data-drowse=needs] li')].map((li) => [li.querySelector('.name').innerText, li.dataset.state])",
        )?;
        let wanted: Value = json!([["database", "working"], ["cache", "ready"]]);
        ensure!(needs == wanted, "{needs}");
    }
    Ok(())
}

#[test]
fn a_broken_theme_is_told_with_its_line_and_the_one_in_the_box_is_used() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::from_secs(2))?;
    let theme = home.path().join("themes/ours");
    fs::create_dir_all(&theme)?;
    fs::write(theme.join("page.html"), "{{ head }}{{ script }}\n<p>{{ titel }}</p>\n")?;
    let ours = "[waiting]\ntheme = \"ours\"\n\n".to_owned();
    home.configure(&[ours, hello.provider(), hello.workload("never")].concat())?;

    let check = home.drowse(&["check"])?;
    let told = format!("{check:?}");
    ensure!(!check.status.success() && told.contains("ours/page.html:2: "), "{told}");

    let router = home.start()?;
    let log = router.log().tail(100);
    ensure!(log.contains("ours/page.html:2: "), "{log}");
    let browser = ["--header", "accept: text/html", &router.url("/")].map(str::to_owned);
    let page = curl(&browser.each_ref().map(String::as_str))?;
    let page = String::from_utf8(page.stdout)?;
    ensure!(page.contains("<h1 data-drowse=\"title\">hello is waking up</h1>"), "{page}");
    Ok(())
}
