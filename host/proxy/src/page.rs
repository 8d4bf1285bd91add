//! The pages that browsers get from us, made from a theme: while they wait, and when a request was
//! not answered.
//!
//! A theme is a directory with `page.html`, a template in the language of Jinja, and perhaps
//! `style.css`. It says what the page looks like; what it knows comes from the router, and the
//! script that keeps it up to date is the same for all. Two themes are in the box.

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
    settings::WaitingSettings,
    waiting::{Progress, samples},
    words::Chain,
};

mod notice;
mod view;

pub(crate) use notice::Notice;
use notice::Plain;
pub(crate) use view::{Live, View};

/// The only script on any page of ours.
const SCRIPT: &str = include_str!("page/live.js");
/// What a theme's directory holds.
const PAGE: &str = "page.html";
const STYLE: &str = "style.css";
/// A theme's file is not larger than this.
const LARGEST: u64 = 1 << 20;

/// The themes in the box: name, page, style. The first one is used when nothing else is said.
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

/// How our pages look.
pub(crate) struct Theme {
    environment: Environment<'static>,
    style: String,
    policy: HeaderValue,
}

/// A theme that cannot be used, and where that was seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ThemeError {
    /// The theme's name.
    pub theme: String,
    /// The file, if the mistake is in one.
    pub file: Option<PathBuf>,
    /// The line of the file, beginning with 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// What a template is given.
#[derive(Serialize)]
struct Given<'a, V> {
    #[serde(flatten)]
    view: &'a V,
    head: Value,
    style: Value,
    script: Value,
}

/// The data that the script begins with.
#[derive(Serialize)]
struct Begin<'a> {
    progress: &'a Progress,
    live: Option<&'a Live>,
    reload: u64,
}

// === impl Theme ===

impl Theme {
    /// The theme that the settings name, tried out.
    pub(crate) fn load(settings: &WaitingSettings) -> Result<Self, ThemeError> {
        let name = settings.theme.as_str();
        if let Some(themes) = &settings.themes {
            let mut parts = Path::new(name).components();
            let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            if !plain {
                return Err(ThemeError::new(name, "a theme's name is the name of a directory"));
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
                let place = match &settings.themes {
                    Some(themes) => {
                        format!("there is no directory {}", themes.join(name).display())
                    }
                    None => "no directory of themes is configured".to_owned(),
                };
                let message = format!("{place}, and the themes in the box are {known}");
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
        if let Some(place) = style.to_ascii_lowercase().find("</style") {
            let line = style[..place].matches('\n').count() + 1;
            let message = "it becomes a part of the page and cannot hold \"</style\"".to_owned();
            return Err(at(STYLE, Some(line), message));
        }
        let broken = |error: minijinja::Error| at(PAGE, error.line(), told(&error));
        let theme = Self::new(page, style).map_err(broken)?;
        for progress in samples() {
            let view = View::new(&progress, None);
            let page = theme.try_render(&view).map_err(broken)?;
            for (part, mark) in [("head", MARK), ("script", STATE)] {
                if !page.contains(mark) {
                    let message =
                        format!("it does not place {{{{ {part} }}}}, which the page needs");
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
        Self::new(page.to_owned(), style.to_owned()).expect("the tests load the themes in the box")
    }

    fn new(page: String, style: String) -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        // A name that does not exist is a mistake of the theme's, not an empty text.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_template_owned(PAGE, page)?;
        let digest = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; \
             img-src data:; font-src data:; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'"
        );
        let policy = HeaderValue::try_from(policy).expect("a digest in base64 is visible text");
        Ok(Self { environment, style, policy })
    }

    /// What the page may load and run: its own style and our script, nothing from elsewhere.
    pub(crate) fn policy(&self) -> &HeaderValue {
        &self.policy
    }

    /// The page of a workload that is not ready.
    pub(crate) fn render(&self, view: &View<'_>) -> Bytes {
        let Progress { title, says, .. } = view.progress;
        self.render_by(|theme| theme.try_render(view), Plain { title, says, reload: view.reload })
    }

    /// The page of a request that was not answered.
    pub(crate) fn render_notice(&self, notice: &Notice<'_>) -> Bytes {
        let Notice { title, says, .. } = notice;
        let plain = Plain { title, says, reload: None };
        self.render_by(|theme| theme.try_render_notice(notice), plain)
    }

    fn render_by(
        &self,
        render: impl Fn(&Self) -> Result<String, minijinja::Error>,
        plain: Plain<'_>,
    ) -> Bytes {
        let page = render(self).or_else(|error| {
            tracing::warn!(error = told(&error), "the theme failed, showing the page in the box");
            let (_, page, style) = BUNDLED[0];
            render(&Self::bundled(page, style))
        });
        page.unwrap_or_else(|_| plain.to_string()).into()
    }

    fn try_render(&self, view: &View<'_>) -> Result<String, minijinja::Error> {
        let begin = Begin { progress: view.progress, live: view.live.as_ref(), reload: view.again };
        // Nothing in it may end the script element.
        let data = serde_json::to_string(&begin).unwrap_or_default().replace('<', "\\u003c");
        let head = match view.reload {
            Some(seconds) => format!("{MARK}{REFRESH}{seconds}\"></noscript>"),
            None => MARK.to_owned(),
        };
        self.fill(view, head, format!("{STATE}{data}</script>\n<script>{SCRIPT}</script>"))
    }

    /// Nothing changes on it, so it has no script.
    fn try_render_notice(&self, notice: &Notice<'_>) -> Result<String, minijinja::Error> {
        self.fill(notice, MARK.to_owned(), String::new())
    }

    fn fill(
        &self,
        view: &impl Serialize,
        head: String,
        script: String,
    ) -> Result<String, minijinja::Error> {
        let given = Given {
            view,
            head: safe(head),
            style: safe(format!("<style>\n{}</style>", self.style)),
            script: safe(script),
        };
        self.environment.get_template(PAGE)?.render(Serde(&given))
    }
}

/// How the head of every page begins.
const MARK: &str = "<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta name=\"color-scheme\" content=\"light dark\">\n\
    <meta name=\"robots\" content=\"noindex\">\n";
/// What loads it again where there is no script.
const REFRESH: &str = "<noscript><meta http-equiv=\"refresh\" content=\"";
/// How the script's data begin.
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
fn told(error: &minijinja::Error) -> String {
    let mut text = error.kind().to_string();
    if let Some(detail) = error.detail() {
        text = format!("{text}: {detail}");
    }
    if let Some(cause) = std::error::Error::source(error) {
        text = format!("{text}: {}", Chain(cause));
    }
    text
}

fn text(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > LARGEST {
        return Err(io::Error::other(format!("the file is larger than {LARGEST} bytes")));
    }
    fs::read_to_string(file)
}

#[cfg(test)]
mod tests;
