//! The page that a waiting browser gets: plain, honest, reloads itself, needs no script.

use std::{fmt, time::Duration};

use drowse_core::{ErrorCode, Failure, Phase, Snapshot};

/// A page without a failure is looked at again after so long.
const RELOAD: u64 = 2;
/// The longest time between two looks.
const RELOAD_LAST: u64 = 60;

/// One page.
pub(crate) struct Page<'a> {
    /// Shown in the title bar and as heading; plain text.
    pub(crate) title: &'a str,
    /// Plain text, one paragraph each.
    pub(crate) paragraphs: &'a [String],
    /// Seconds until it loads itself again.
    pub(crate) reload: Option<u64>,
}

/// Text with everything escaped that means something in HTML.
struct Escaped<'a>(&'a str);

/// The page of a workload that is not ready, and after how many seconds it reloads.
pub(crate) fn waiting(name: &str, snapshot: &Snapshot) -> (String, u64) {
    let age = spoken(snapshot.since.elapsed());
    let (title, paragraphs, reload) = match snapshot.phase {
        Phase::Asleep => {
            (format!("{name} is asleep"), vec!["It is about to be woken.".to_owned()], RELOAD)
        }
        Phase::Waking => (
            format!("{name} is waking up"),
            vec![format!("It was asleep and was started {age} ago. It does not answer yet.")],
            RELOAD,
        ),
        Phase::Ready => {
            (format!("{name} is ready"), vec!["This page is about to show it.".to_owned()], RELOAD)
        }
        Phase::Draining | Phase::Stopping => (
            format!("{name} will be back in a moment"),
            vec![
                format!("It began to go to sleep {age} ago."),
                "It is woken as soon as it has stopped.".to_owned(),
            ],
            RELOAD,
        ),
        Phase::Failed | Phase::Missing => {
            let left = snapshot.retry_in().map_or(0, |left| left.as_secs() + 1);
            (
                format!("{name} could not be woken"),
                vec![
                    format!("{} This was {age} ago.", reason(snapshot)),
                    "This page tries again by itself.".to_owned(),
                ],
                left.clamp(RELOAD, RELOAD_LAST),
            )
        }
    };
    let mut paragraphs = paragraphs;
    paragraphs.push(format!(
        "State: {}. This page reloads every {reload} seconds and shows {name} when it is ready.",
        snapshot.phase
    ));
    let page = Page { title: &title, paragraphs: &paragraphs, reload: Some(reload) };
    (page.to_string(), reload)
}

/// Why a wake went wrong, in words for visitors: what exactly happened may name addresses and
/// belongs to the operator.
pub(crate) fn explain(failure: &Failure) -> &'static str {
    match failure.code {
        ErrorCode::Timeout => "It did not become ready in time.",
        ErrorCode::NotFound => "The platform that runs it does not know it.",
        ErrorCode::Unavailable => "The platform that runs it cannot be reached.",
        ErrorCode::Denied => "The router is not allowed to start it.",
        ErrorCode::Conflict => "Somebody else is working on it.",
        ErrorCode::InvalidRequest | ErrorCode::Unsupported => "Its configuration does not work.",
        _ => "Something went wrong while it was started.",
    }
}

fn reason(snapshot: &Snapshot) -> &'static str {
    match (&snapshot.failure, snapshot.phase) {
        (Some(failure), _) => explain(failure),
        (None, Phase::Missing) => "The platform that runs it does not know it.",
        (None, _) => "Something went wrong while it was started.",
    }
}

fn spoken(age: Duration) -> String {
    match age.as_secs() {
        1 => "1 second".to_owned(),
        seconds @ 0..120 => format!("{seconds} seconds"),
        seconds @ 120..7200 => format!("{} minutes", seconds / 60),
        seconds => format!("{} hours", seconds / 3600),
    }
}

// === impl Page ===

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = Escaped(self.title);
        f.write_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")?;
        f.write_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")?;
        f.write_str("<meta name=\"color-scheme\" content=\"light dark\">\n")?;
        f.write_str("<meta name=\"robots\" content=\"noindex\">\n")?;
        if let Some(seconds) = self.reload {
            writeln!(f, "<meta http-equiv=\"refresh\" content=\"{seconds}\">")?;
        }
        writeln!(f, "<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>")?;
        writeln!(f, "<main>\n<h1>{title}</h1>\n<div role=\"status\">")?;
        for paragraph in self.paragraphs {
            writeln!(f, "<p>{}</p>", Escaped(paragraph))?;
        }
        f.write_str("</div>\n</main>\n</body>\n</html>\n")
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c1c1e;--paper:#fbfbf9;--soft:#55555c}\
@media (prefers-color-scheme:dark){:root{--ink:#ececee;--paper:#17171a;--soft:#a9a9b2}}\
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);\
color:var(--ink);font:1.05rem/1.6 system-ui,sans-serif}\
main{max-width:34rem;padding:2rem;overflow-wrap:anywhere}\
h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}\
p{margin:0 0 .75rem;color:var(--soft)}";

// === impl Escaped ===

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
