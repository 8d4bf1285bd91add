use std::sync::Arc;

use super::*;

fn settings(theme: &str, themes: Option<&Path>) -> WaitingSettings {
    let themes = themes.map(Path::to_owned);
    WaitingSettings { theme: theme.to_owned(), themes, ..WaitingSettings::default() }
}

fn page(theme: &Theme, progress: &Progress) -> String {
    let live = LiveUrls { events: "/events?a=1&b=2".to_owned(), state: "/state".to_owned() };
    theme.try_render(&View::new(progress, Some(live))).unwrap()
}

/// A directory of themes with one theme named `own`.
fn own(page: &str, style: Option<&str>) -> tempfile::TempDir {
    let themes = tempfile::tempdir().unwrap();
    let directory = themes.path().join("own");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join(PAGE), page).unwrap();
    if let Some(style) = style {
        fs::write(directory.join(STYLE), style).unwrap();
    }
    themes
}

fn refused(page: &str, style: Option<&str>) -> ThemeError {
    let themes = own(page, style);
    let error = Theme::load(&settings("own", Some(themes.path()))).unwrap_err();
    let file = error.file.clone().unwrap();
    assert!(file.starts_with(themes.path()), "{file:?}");
    error
}

#[test]
fn every_bundled_theme_shows_all_progress() {
    let [full, failed, empty] = samples();
    for (name, ..) in BUNDLED {
        let theme = Theme::load(&settings(name, None)).unwrap();
        let shown = page(&theme, &full);
        for part in [
            "<html lang=\"en\" data-state=\"working\">",
            "<title>blog is asleep</title>",
            "role=\"status\" aria-live=\"polite\"",
            "3 seconds so far, usually about 12 seconds",
            "value=\"29\"",
            "<li data-state=\"now\" aria-current=\"step\">Waking the apps that it needs</li>",
            "<span class=\"name\">cache</span> <span class=\"message\">starting</span>",
            "prefers-color-scheme: dark",
            "prefers-reduced-motion",
            "two</pre>",
        ] {
            assert!(shown.contains(part), "{name}: {part} in {shown}");
        }
        let shown = page(&theme, &failed);
        assert!(shown.contains("<a class=\"button\" href=\"\" data-drowse=\"retry\">"), "{shown}");
        assert!(shown.contains("It can be tried again in 10 seconds."), "{shown}");
        assert!(shown.contains("data-drowse-if=\"logs\" hidden"), "{shown}");
        assert!(shown.contains("data-drowse-if=\"failed\">If it keeps failing"), "{shown}");
        let shown = page(&theme, &empty);
        assert!(shown.contains("data-drowse-if=\"needs\" hidden"), "{shown}");
        let shown = shown.replace("url(#crescent)", "");
        assert!(
            !shown.contains("src=") && !shown.contains("url("),
            "no resource of another origin"
        );
    }
}

#[test]
fn without_scripts_the_page_reloads_only_during_a_wake() {
    let [full, failed, empty] = samples();
    for (progress, seconds, reloads) in [(full, 3, 1), (failed, 10, 0), (empty, 2, 0)] {
        let view = View::new(&progress, None);
        assert_eq!(view.retry_after, seconds);
        let shown = Theme::default().try_render(&view).unwrap();
        let refresh =
            format!("<noscript><meta http-equiv=\"refresh\" content=\"{seconds}\"></noscript>");
        assert_eq!(shown.matches(&refresh).count(), reloads, "{shown}");
        assert_eq!(
            shown.matches("http-equiv").count(),
            reloads,
            "a reload would wake the workload"
        );
    }
}

#[test]
fn text_is_escaped_in_markup_and_script() {
    let [mut full, ..] = samples();
    full.title = "</title></script><b>\"a\" & 'b'</b>".to_owned();
    full.message = full.title.clone();
    full.logs = Arc::from(["</pre></script><b>".to_owned()]);
    for (name, ..) in BUNDLED {
        let theme = Theme::load(&settings(name, None)).unwrap();
        let shown = page(&theme, &full);
        assert!(!shown.contains("<b>") && !shown.contains("</pre></script>"), "{shown}");
        assert_eq!(shown.matches("</script>").count(), 2, "{shown}");
        let data = shown.split(STATE).nth(1).unwrap().split("</script>").next().unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["progress"]["title"], full.title);
        assert_eq!(data["live"]["events"], "/events?a=1&b=2");
    }
}

#[test]
fn every_bundled_theme_shows_rejected_requests() {
    let [missing, failed] = Notice::samples();
    for (name, ..) in BUNDLED {
        let theme = Theme::load(&settings(name, None)).unwrap();
        let shown = theme.try_render_notice(&missing).unwrap();
        for part in [
            "<html lang=\"en\" data-state=\"notice\">",
            "<title>There is nothing here</title>",
            "404 Not Found",
            "prefers-color-scheme: dark",
            "data-drowse-if=\"retry\" hidden",
            "data-drowse-if=\"failed\" hidden",
        ] {
            assert!(shown.contains(part), "{name}: {part} in {shown}");
        }
        assert!(!shown.contains("<script"), "nothing on it changes");
        let shown = theme.try_render_notice(&failed).unwrap();
        assert!(shown.contains("data-state=\"failed\""), "{shown}");
        assert!(shown.contains("It can be tried again in 5 seconds."), "{shown}");
    }
}

#[test]
fn an_operators_theme_is_validated_with_rejected_requests() {
    let error =
        refused("{{ head }}{{ script }}\n{% if state == 'notice' %}{{ nowhere }}{% endif %}", None);
    assert_eq!(error.line, Some(2), "{error}");
    let themes = own("<head>{{ head }}</head><i>{{ title }} {{ error }}</i>{{ script }}", None);
    let theme = Theme::load(&settings("own", Some(themes.path()))).unwrap();
    let [missing, _] = Notice::samples();
    let shown = theme.render_notice(&missing);
    let shown = std::str::from_utf8(&shown).unwrap();
    assert!(shown.contains("<i>There is nothing here 404 Not Found</i>"), "{shown}");
}

#[test]
fn the_content_security_policy_permits_only_the_routers_script() {
    let theme = Theme::default();
    let policy = theme.content_security_policy().to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(policy.contains("connect-src 'self'") && !policy.contains("script-src 'unsafe"));
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!SCRIPT.contains("</script"));
}

#[test]
fn an_operators_theme_overrides_a_bundled_one() {
    let themes = own("<head>{{ head }}</head><i>{{ title }}</i>{{ style }}{{ script }}", None);
    fs::rename(themes.path().join("own"), themes.path().join("calm")).unwrap();
    fs::write(themes.path().join("calm").join(STYLE), "i { color: red }").unwrap();
    let theme = Theme::load(&settings("calm", Some(themes.path()))).unwrap();
    let [full, ..] = samples();
    let shown = page(&theme, &full);
    assert!(shown.contains("<i>blog is asleep</i><style>\ni { color: red }</style>"), "{shown}");
    assert!(Theme::load(&settings("terminal", Some(themes.path()))).is_ok(), "bundled");
}

#[test]
fn the_error_of_a_broken_theme_names_file_and_line() {
    let error = refused("{{ head }}{{ script }}\n\n{% if title %}", None);
    assert_eq!(error.line, Some(3));
    let error = refused("{{ head }}{{ script }}\n<p>{{ titel }}</p>", None);
    assert_eq!(error.line, Some(2));
    assert!(error.to_string().contains("own/page.html:2: "), "{error}");
    let error =
        refused("{{ head }}\n{% if failure %}{{ failure.reasn }}{% endif %}{{ script }}", None);
    assert_eq!(error.line, Some(2), "found although most pages do not render this branch: {error}");
    let error = refused("<p>{{ title }}</p>{{ script }}", None);
    assert!(error.to_string().contains("{{ head }}"), "{error}");
    let error = refused("{{ head }}{{ title }}", None);
    assert!(error.to_string().contains("{{ script }}"), "{error}");
    let error = refused("{{ head }}{{ script }}", Some("a {}\n</STYLE><script>"));
    assert_eq!(error.line, Some(2));
    let error = Theme::load(&settings("own", Some(Path::new("/nowhere")))).unwrap_err();
    assert!(error.to_string().contains("\"calm\" and \"terminal\""), "{error}");
    let error = Theme::load(&settings("../own", Some(Path::new("/")))).unwrap_err();
    assert!(error.to_string().contains("directory name"), "{error}");
}

#[test]
fn a_theme_without_a_page_is_refused() {
    let themes = tempfile::tempdir().unwrap();
    fs::create_dir(themes.path().join("own")).unwrap();
    let error = Theme::load(&settings("own", Some(themes.path()))).unwrap_err();
    assert!(error.to_string().contains("page.html: "), "{error}");
}

#[test]
fn a_theme_that_fails_at_run_time_is_replaced_by_the_bundled_one() {
    let broken = "{{ head }}{{ script }}{% if title == 'no' %}{{ nowhere }}{% endif %}";
    let theme = Theme::new(broken.to_owned(), String::new()).unwrap();
    let [mut full, ..] = samples();
    full.title = "no".to_owned();
    let shown = theme.render(&View::new(&full, None));
    let shown = std::str::from_utf8(&shown).unwrap();
    assert!(shown.contains("<h1 data-drowse=\"title\">no</h1>"), "{shown}");
}
