//! The page of a rejected request.

use std::fmt;

use drowse_core::Phase;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::progress::PageState;

/// The page's data. Templates see all names of the waiting page, most of them empty.
pub(crate) struct Notice<'a> {
    pub(crate) state: PageState,
    pub(crate) title: &'a str,
    pub(crate) message: &'a str,
    /// Status code and reason phrase.
    pub(crate) error: String,
    /// The workload's name; empty if none is involved.
    pub(crate) workload: &'a str,
    pub(crate) phase: Option<Phase>,
    /// The page offers a link that repeats the request.
    pub(crate) retry: bool,
    /// A sentence that says when to retry, or empty.
    pub(crate) next: String,
}

/// A page without a theme, used when every theme fails.
pub(super) struct PlainPage<'a> {
    pub(super) title: &'a str,
    pub(super) message: &'a str,
    /// Seconds until the browser reloads it.
    pub(super) reload: Option<u64>,
}

/// Text with the special characters of HTML escaped.
struct Escaped<'a>(&'a str);

// === impl Notice ===

impl Notice<'_> {
    /// Sample notices, with which themes are tested.
    pub(super) fn samples() -> [Notice<'static>; 2] {
        let missing = Notice {
            state: PageState::Notice,
            title: "There is nothing here",
            message: "Nothing is served here for host blog.example.org and this path.",
            error: "404 Not Found".to_owned(),
            workload: "",
            phase: None,
            retry: false,
            next: String::new(),
        };
        let failed = Notice {
            state: PageState::Failed,
            title: "The app does not answer",
            message: "The backend is ready but does not answer.",
            error: "502 Bad Gateway".to_owned(),
            workload: "blog",
            phase: Some(Phase::Ready),
            retry: true,
            next: "It can be tried again in 5 seconds.".to_owned(),
        };
        [missing, failed]
    }
}

impl Serialize for Notice<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let nothing: [&str; 0] = [];
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("state", &self.state)?;
        map.serialize_entry("title", self.title)?;
        map.serialize_entry("message", self.message)?;
        map.serialize_entry("error", &self.error)?;
        map.serialize_entry("workload", self.workload)?;
        map.serialize_entry("phase", &self.phase)?;
        map.serialize_entry("retry", &self.retry)?;
        map.serialize_entry("next", &self.next)?;
        for list in ["steps", "needs", "logs"] {
            map.serialize_entry(list, &nothing)?;
        }
        for none in
            ["stage", "elapsed", "expected", "time", "percent", "queue", "failure", "reload"]
        {
            map.serialize_entry(none, &None::<u8>)?;
        }
        map.end()
    }
}

// === impl PlainPage ===

impl fmt::Display for PlainPage<'_> {
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
        writeln!(f, "<p>{}</p>", Escaped(self.message))?;
        f.write_str("</div>\n</main>\n</body>\n</html>\n")
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#23233a;--paper:#f3f0fb;--soft:#5a5a75}\
@media (prefers-color-scheme:dark){:root{--ink:#f0eefb;--paper:#14122a;--soft:#b0adc9}}\
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
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let title = "<b>\"a\" & 'b'</b>";
        let page = PlainPage { title, message: title, reload: None }.to_string();
        assert!(!page.contains("<b>") && !page.contains("http-equiv"));
        assert_eq!(page.matches("&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/b&gt;").count(), 3);
    }
}
