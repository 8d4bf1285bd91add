//! Escapes text of platforms, plugins and containers for display.
//!
//! Such text can contain sequences that move a terminal's cursor or set its title, line ends that
//! fake a log line, and marks that change the direction of the text after them (Unicode UTS #55).
//! Invisible characters are shown as escapes, such as `\u{202e}`.

use std::borrow::Cow;

/// Whether a character is invisible and affects the display of its surroundings: control characters
/// (Unicode category Cc), format characters (Cf) but for the joiners of letters and emoji, and the
/// separators of lines and paragraphs.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0001}'
                | '\u{e0020}'..='\u{e007f}'
        )
}

/// The text on one line: every hidden character, line ends and tabs included, is escaped.
pub fn escape_line(text: &str) -> Cow<'_, str> {
    escape(text, is_hidden)
}

/// The text with its line ends: every other hidden character is escaped.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape(text, |character| is_hidden(character) && character != '\n')
}

/// Escapes every character that is `hidden`, as in `\u{1b}` or `\n`.
fn escape(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if hidden(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// JSON with hidden characters escaped for display. Outside of strings, JSON contains only line ends
/// and spaces of them.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let hidden = |character| is_hidden(character) && character != '\n';
    if !json.chars().any(hidden) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Text for a terminal that this program has coloured: line ends and the codes of colours and
/// weights stay (`ESC [ number m`, from 0 to 3 and from 30 to 37), other hidden characters are
/// escaped.
pub fn escape_coloured(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|character| is_hidden(character) && character != '\n') {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(start) = rest.find("\u{1b}[") {
        escaped.push_str(&escape_lines(&rest[..start]));
        let code = &rest[start..];
        let length = colour_code(code).unwrap_or(1);
        match length {
            1 => escaped.extend('\u{1b}'.escape_default()),
            length => escaped.push_str(&code[..length]),
        }
        rest = &code[length..];
    }
    escaped.push_str(&escape_lines(rest));
    Cow::Owned(escaped)
}

/// Length of the colour code at the start of a text.
fn colour_code(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\u{1b}[")?;
    let (number, _) = rest.split_once('m')?;
    let known = matches!(number.as_bytes(), [b'0'..=b'3'] | [b'3', b'0'..=b'7']);
    known.then_some(2 + number.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_and_direction_marks_are_escaped() {
        let evil = "a\u{1b}]0;title\u{7}\r\u{9b}31m\u{202e}b\u{200b}\u{e0041}";
        let shown = escape_line(evil);
        assert_eq!(shown, "a\\u{1b}]0;title\\u{7}\\r\\u{9b}31m\\u{202e}b\\u{200b}\\u{e0041}");
        assert!(!shown.chars().any(is_hidden));
        assert_eq!(escape_line("one\ntwo\t3"), "one\\ntwo\\t3");
        assert_eq!(escape_lines("one\ntwo\t3"), "one\ntwo\\t3");
    }

    #[test]
    fn ordinary_text_of_every_script_is_unchanged() {
        for text in ["", "plain – “quoted” …", "Füße", "東京", "नमस्ते", "שלום", "مرحبا", "🐳"]
        {
            assert!(matches!(escape_line(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let text = "\u{1b}[8m\u{9b}\u{202e}\u{e0041}\u{2028}\n\"é\"";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let escaped = escape_json(&json);
        assert!(!escaped.chars().any(|it| is_hidden(it) && it != '\n'), "{escaped}");
        let [read]: [String; 1] = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read, text);
    }

    #[test]
    fn only_colour_codes_stay_in_coloured_text() {
        let ours = "\u{1b}[1mTITLE\u{1b}[0m \u{1b}[31mbad\u{1b}[0m\nnext";
        assert_eq!(escape_coloured(ours), ours);
        let evil = "\u{1b}[8mhidden\u{1b}[2J\u{1b}[1;31m\u{1b}[\u{1b}[3\u{1b}[38m\u{1b}c\u{202e}";
        let shown = escape_coloured(evil);
        assert!(!shown.chars().any(is_hidden), "{shown}");
        assert!(shown.starts_with("\\u{1b}[8mhidden\\u{1b}[2J"), "{shown}");
    }
}
