//! Expressions that our style avoids, counted in comments, messages and documentation.
//!
//! The list follows the style guide: a pronoun where a noun belongs, a riddle where a sentence
//! belongs. A count shows a trend; it does not judge a sentence.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use proc_macro2::{Group, TokenStream, TokenTree};

/// Words that begin a sentence whose subject should be a noun.
const BEGINNINGS: &[&str] = &["what", "whatever", "who", "whoever", "where", "so long", "so many"];

/// Words and expressions anywhere in a sentence.
const ANYWHERE: &[&str] = &[
    "anew",
    "at all",
    "by hand",
    "by its word",
    "for good",
    "in the box",
    "it says",
    "mend",
    "mended",
    "nobody",
    "so long",
    "so many",
    "somebody",
    "told",
    "whoever",
];

/// How often each expression was found.
#[derive(Default)]
pub(super) struct Prose {
    counts: BTreeMap<String, usize>,
    found: Vec<String>,
}

// === impl Prose ===

impl Prose {
    /// Counts in the comments and string literals of Rust source.
    pub(super) fn count_source(&mut self, file: &Path, text: &str) -> Result<()> {
        self.count_comments(file, text);
        let tokens: TokenStream =
            text.parse().map_err(|error| anyhow::anyhow!("read {}: {error}", file.display()))?;
        self.count_literals(file, tokens);
        Ok(())
    }

    /// Counts in the lines that are comments. Consecutive lines are one text.
    pub(super) fn count_comments(&mut self, file: &Path, text: &str) {
        let mut comment = String::new();
        for line in text.lines() {
            match line.trim_start().strip_prefix("//") {
                Some(words) => {
                    comment.push(' ');
                    comment.push_str(words.trim_start_matches(['/', '!']).trim());
                }
                None => self.count(file, &std::mem::take(&mut comment)),
            }
        }
        self.count(file, &comment);
    }

    /// Counts in a page of the documentation. Code blocks are left out.
    pub(super) fn count_page(&mut self, file: &Path, text: &str) {
        let mut code = false;
        let mut paragraph = String::new();
        for line in text.lines() {
            let fence = line.trim_start().starts_with("```");
            code ^= fence;
            let ends = fence || line.trim().is_empty() || line.starts_with(['|', '#', '-']);
            if ends {
                self.count(file, &std::mem::take(&mut paragraph));
            }
            if !code && !fence {
                for cell in line.split('|') {
                    paragraph.push(' ');
                    paragraph.push_str(cell.trim_matches([' ', '#', '-', '*']));
                    if line.starts_with('|') {
                        self.count(file, &std::mem::take(&mut paragraph));
                    }
                }
            }
        }
        self.count(file, &paragraph);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (expression, count) in &other.counts {
            *self.counts.entry(expression.clone()).or_default() += count;
        }
    }

    pub(super) fn total(&self) -> usize {
        self.counts.values().sum()
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.counts.iter().map(|(expression, count)| (expression.as_str(), *count))
    }

    /// The sentences, each with its file.
    pub(super) fn found(&self) -> &[String] {
        &self.found
    }

    fn count_literals(&mut self, file: &Path, tokens: TokenStream) {
        for token in tokens {
            match token {
                // A doc comment is an attribute here, and counted as a comment already.
                TokenTree::Group(group) if is_doc(&group) => {}
                TokenTree::Group(group) => self.count_literals(file, group.stream()),
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    // A text of one word is a name.
                    if text.starts_with(['"', 'r']) && text.contains(' ') {
                        self.count(file, text.trim_start_matches('r').trim_matches(['"', '#']));
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }

    fn count(&mut self, file: &Path, text: &str) {
        let text = text.replace("\\n", " ").replace('\\', " ").to_lowercase();
        for sentence in text.split(". ").flat_map(|part| part.split(": ")) {
            let words = sentence
                .split(|letter: char| !letter.is_alphanumeric() && !"'`_-".contains(letter))
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" ");
            let padded = format!("{words} ");
            for beginning in BEGINNINGS {
                if padded.starts_with(&format!("{beginning} ")) {
                    self.note(file, &format!("{beginning} …"), sentence);
                }
            }
            let padded = format!(" {padded}");
            for expression in ANYWHERE {
                for _ in padded.match_indices(&format!(" {expression} ")) {
                    self.note(file, expression, sentence);
                }
            }
        }
    }

    fn note(&mut self, file: &Path, expression: &str, sentence: &str) {
        *self.counts.entry(expression.to_owned()).or_default() += 1;
        self.found.push(format!("{}: {expression}: {}", file.display(), sentence.trim()));
    }
}

fn is_doc(group: &Group) -> bool {
    let first = group.stream().into_iter().next();
    matches!(first, Some(TokenTree::Ident(word)) if word == "doc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: impl FnOnce(&mut Prose)) -> Vec<(String, usize)> {
        let mut prose = Prose::default();
        count(&mut prose);
        prose.counts().map(|(expression, count)| (expression.to_owned(), count)).collect()
    }

    #[test]
    fn a_comment_of_several_lines_is_one_text() {
        let source = "/// Ends. What\n/// runs, so\n/// many times.\nfn f() {}\n";
        let found = counts(|prose| prose.count_source(Path::new("f.rs"), source).unwrap());
        assert_eq!(found, [("so many".to_owned(), 1), ("what …".to_owned(), 1)]);
    }

    #[test]
    fn messages_count_and_names_do_not() {
        let source = r#"const A: &str = "nobody"; const B: &str = "nobody answers";"#;
        let found = counts(|prose| prose.count_source(Path::new("f.rs"), source).unwrap());
        assert_eq!(found, [("nobody".to_owned(), 1)]);
    }

    #[test]
    fn code_blocks_of_a_page_do_not_count() {
        let page = "Somebody\nasks.\n\n```\nnobody here\n```\n\n| what | a cell |\n";
        let found = counts(|prose| prose.count_page(Path::new("p.md"), page));
        assert_eq!(found, [("somebody".to_owned(), 1), ("what …".to_owned(), 1)]);
    }
}
