//! A page that only says something: plain, without a theme.

use std::fmt;

/// One page.
pub(crate) struct Notice<'a> {
    /// Shown in the title bar and as heading; plain text.
    pub(crate) title: &'a str,
    /// Plain text, one paragraph each.
    pub(crate) paragraphs: &'a [String],
    /// Seconds until it loads itself again.
    pub(crate) reload: Option<u64>,
}

/// Text with everything escaped that means something in HTML.
struct Escaped<'a>(&'a str);

// === impl Notice ===

impl fmt::Display for Notice<'_> {
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
    fn what_is_said_cannot_become_markup() {
        let title = "<b>\"a\" & 'b'</b>";
        let page = Notice { title, paragraphs: &[title.to_owned()], reload: None }.to_string();
        assert!(!page.contains("<b>") && !page.contains("http-equiv"));
        assert_eq!(page.matches("&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/b&gt;").count(), 3);
    }
}
