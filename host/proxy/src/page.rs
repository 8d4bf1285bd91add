//! The router's HTML pages, rendered by a theme: the waiting page, and the page of a rejected
//! request.
//!
//! A theme is a directory with `page.html`, a Jinja template, and optionally `style.css`. It
//! determines the look. The router supplies the data, and one script for all themes keeps the
//! waiting page up to date. Two themes are bundled.

use std::{
    fmt, fs, io,
    path::{Component, Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::HeaderValue;
use minijinja::{Environment, UndefinedBehavior, Value, value::Serde};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    format::ErrorChain,
    progress::{Progress, samples},
    settings::WaitingSettings,
};

mod notice;
mod view;

pub(crate) use notice::Notice;
use notice::PlainPage;
pub(crate) use view::{LiveUrls, View};

/// The script of the waiting page. No other page has one.
const SCRIPT: &str = include_str!("page/live.js");
/// Files of a theme's directory.
const PAGE: &str = "page.html";
const STYLE: &str = "style.css";
/// Maximum bytes of a theme's file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The bundled themes: name, page, style. The first is the default.
const BUNDLED: [(&str, &str, &str); 2] = [
    (
        "calm",
        include_str!("page/themes/calm/page.html"),
        include_str!("page/themes/calm/style.css"),
    ),
    (
        "terminal",
        include_str!("page/themes/terminal/page.html"),
        include_str!("page/themes/terminal/style.css"),
    ),
];

/// A validated theme.
pub(crate) struct Theme {
    environment: Environment<'static>,
    style: String,
    policy: HeaderValue,
}

/// A theme that cannot be used, with the location of the error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ThemeError {
    /// The theme's name.
    pub theme: String,
    /// The file that contains the error, if any does.
    pub file: Option<PathBuf>,
    /// The line of the file, from 1.
    pub line: Option<usize>,
    /// The reason.
    pub message: String,
}

/// The variables of a template.
#[derive(Serialize)]
struct TemplateContext<'a, V> {
    #[serde(flatten)]
    view: &'a V,
    head: Value,
    style: Value,
    script: Value,
}

/// The initial data of the script.
#[derive(Serialize)]
struct ScriptData<'a> {
    progress: &'a Progress,
    live: Option<&'a LiveUrls>,
    reload: u64,
}

/// Loads and validates the theme of these settings. Blocks.
pub fn check_theme(settings: &WaitingSettings) -> Result<(), ThemeError> {
    Theme::load(settings).map(drop)
}

// === impl Theme ===

impl Theme {
    /// Loads and validates the theme that the settings name.
    pub(crate) fn load(settings: &WaitingSettings) -> Result<Self, ThemeError> {
        let name = settings.theme.as_str();
        if let Some(themes) = &settings.themes {
            let mut parts = Path::new(name).components();
            let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            if !plain {
                return Err(ThemeError::new(
                    name,
                    "the name of a theme is a directory name without a path",
                ));
            }
            let directory = themes.join(name);
            if directory.is_dir() {
                return Self::read(name, &directory);
            }
        }
        match BUNDLED.iter().find(|(held, ..)| *held == name) {
            Some((_, page, style)) => Ok(Self::bundled(page, style)),
            None => {
                let known: Vec<_> = BUNDLED.iter().map(|(held, ..)| format!("{held:?}")).collect();
                let known = known.join(" and ");
                let missing = match &settings.themes {
                    Some(themes) => {
                        format!("there is no directory {}", themes.join(name).display())
                    }
                    None => "no `themes` directory is configured".to_owned(),
                };
                let message = format!("{missing}, and the bundled themes are {known}");
                Err(ThemeError::new(name, message))
            }
        }
    }

    fn read(name: &str, directory: &Path) -> Result<Self, ThemeError> {
        let at = |file: &str, line: Option<usize>, message: String| ThemeError {
            theme: name.to_owned(),
            file: Some(directory.join(file)),
            line,
            message,
        };
        let page = text(&directory.join(PAGE)).map_err(|why| at(PAGE, None, why.to_string()))?;
        let style = match text(&directory.join(STYLE)) {
            Ok(style) => style,
            Err(why) if why.kind() == io::ErrorKind::NotFound => String::new(),
            Err(why) => return Err(at(STYLE, None, why.to_string())),
        };
        if let Some(index) = style.to_ascii_lowercase().find("</style") {
            let line = style[..index].matches('\n').count() + 1;
            let message =
                "a style sheet is embedded in the page and must not contain \"</style\"".to_owned();
            return Err(at(STYLE, Some(line), message));
        }
        let broken = |error: minijinja::Error| at(PAGE, error.line(), describe(&error));
        let theme = Self::new(page, style).map_err(broken)?;
        for progress in samples() {
            let view = View::new(&progress, None);
            let page = theme.try_render(&view).map_err(broken)?;
            for (part, mark) in [("head", MARK), ("script", STATE)] {
                if !page.contains(mark) {
                    let message = format!("the template must contain {{{{ {part} }}}}");
                    return Err(at(PAGE, None, message));
                }
            }
        }
        for notice in Notice::samples() {
            theme.try_render_notice(&notice).map_err(broken)?;
        }
        Ok(theme)
    }

    fn bundled(page: &'static str, style: &'static str) -> Self {
        Self::new(page.to_owned(), style.to_owned()).expect("tests load the bundled themes")
    }

    fn new(page: String, style: String) -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        // An undefined name is an error in the theme, not an empty string.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_template_owned(PAGE, page)?;
        let digest = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; \
             img-src data:; font-src data:; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'"
        );
        let policy = HeaderValue::try_from(policy).expect("base64 is visible ASCII");
        Ok(Self { environment, style, policy })
    }

    /// The `Content-Security-Policy` of pages: inline styles and the router's script, and no
    /// resource of another origin.
    pub(crate) fn content_security_policy(&self) -> &HeaderValue {
        &self.policy
    }

    /// Renders the waiting page.
    pub(crate) fn render(&self, view: &View<'_>) -> Bytes {
        let Progress { title, message, .. } = view.progress;
        let plain = PlainPage { title, message, reload: view.reload };
        self.render_or_fall_back(|theme| theme.try_render(view), plain)
    }

    /// Renders the page of a rejected request.
    pub(crate) fn render_notice(&self, notice: &Notice<'_>) -> Bytes {
        let Notice { title, message, .. } = notice;
        let plain = PlainPage { title, message, reload: None };
        self.render_or_fall_back(|theme| theme.try_render_notice(notice), plain)
    }

    /// Falls back to the bundled theme, then to a page without a theme.
    fn render_or_fall_back(
        &self,
        render: impl Fn(&Self) -> Result<String, minijinja::Error>,
        plain: PlainPage<'_>,
    ) -> Bytes {
        let page = render(self).or_else(|error| {
            tracing::warn!(error = describe(&error), "theme failed, using the bundled theme");
            let (_, page, style) = BUNDLED[0];
            render(&Self::bundled(page, style))
        });
        page.unwrap_or_else(|_| plain.to_string()).into()
    }

    fn try_render(&self, view: &View<'_>) -> Result<String, minijinja::Error> {
        let data = ScriptData {
            progress: view.progress,
            live: view.live.as_ref(),
            reload: view.retry_after,
        };
        // Escaped, so that no text ends the script element.
        let data = serde_json::to_string(&data).unwrap_or_default().replace('<', "\\u003c");
        let head = match view.reload {
            Some(seconds) => format!("{MARK}{REFRESH}{seconds}\"></noscript>"),
            None => MARK.to_owned(),
        };
        self.fill(view, head, format!("{STATE}{data}</script>\n<script>{SCRIPT}</script>"))
    }

    /// Renders a page without a script, because nothing on it changes.
    fn try_render_notice(&self, notice: &Notice<'_>) -> Result<String, minijinja::Error> {
        self.fill(notice, MARK.to_owned(), String::new())
    }

    fn fill(
        &self,
        view: &impl Serialize,
        head: String,
        script: String,
    ) -> Result<String, minijinja::Error> {
        let context = TemplateContext {
            view,
            head: safe(head),
            style: safe(format!("<style>\n{}</style>", self.style)),
            script: safe(script),
        };
        self.environment.get_template(PAGE)?.render(Serde(&context))
    }
}

/// The start of every page's head.
const MARK: &str = "<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta name=\"color-scheme\" content=\"light dark\">\n\
    <meta name=\"robots\" content=\"noindex\">\n";
/// The reload of browsers without scripts.
const REFRESH: &str = "<noscript><meta http-equiv=\"refresh\" content=\"";
/// The start of the script's data.
const STATE: &str = "<script type=\"application/json\" id=\"drowse-state\">";

impl Default for Theme {
    fn default() -> Self {
        let (_, page, style) = BUNDLED[0];
        Self::bundled(page, style)
    }
}

impl fmt::Debug for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Theme").finish_non_exhaustive()
    }
}

// === impl ThemeError ===

impl ThemeError {
    fn new(theme: &str, message: impl Into<String>) -> Self {
        Self { theme: theme.to_owned(), file: None, line: None, message: message.into() }
    }
}

impl fmt::Display for ThemeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "theme {:?} cannot be used: ", self.theme)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, _) => {}
        }
        f.write_str(&self.message)
    }
}

fn safe(html: String) -> Value {
    Value::from_safe_string(html)
}

/// The error with its causes, on one line.
fn describe(error: &minijinja::Error) -> String {
    let mut text = error.kind().to_string();
    if let Some(detail) = error.detail() {
        text = format!("{text}: {detail}");
    }
    if let Some(cause) = std::error::Error::source(error) {
        text = format!("{text}: {}", ErrorChain(cause));
    }
    text
}

fn text(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("the file is larger than {MAX_FILE_BYTES} bytes")));
    }
    fs::read_to_string(file)
}

#[cfg(test)]
mod tests;
