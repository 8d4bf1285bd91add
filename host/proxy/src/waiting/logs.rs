//! The last log lines of workloads that are waited for. However many look, a provider is asked
//! once in a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use drowse_core::{Workload, WorkloadName, text::is_hidden};
use tokio::time::timeout;

/// Lines are asked for again after this long.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// Lines that nobody asked for again are forgotten.
const KEPT: Duration = Duration::from_secs(60);
/// So many characters of a line are shown.
const WIDTH: usize = 400;

/// The lines of all workloads that are waited for.
pub(super) struct Tails {
    /// None are shown when 0.
    lines: u32,
    held: Mutex<HashMap<WorkloadName, Tail>>,
}

struct Tail {
    lines: Arc<[String]>,
    asked: Instant,
}

// === impl Tails ===

impl Tails {
    pub(super) fn new(lines: u32) -> Self {
        Self { lines, held: Mutex::default() }
    }

    /// The operator shows lines at all.
    pub(super) fn shown(&self) -> bool {
        self.lines > 0
    }

    /// The last lines, not much older than [`FRESH`], and last what the provider itself is doing, if
    /// that takes long; older ones when the provider takes longer than `patience`, none when it has
    /// none.
    pub(super) async fn of(&self, workload: &Arc<Workload>, patience: Duration) -> Arc<[String]> {
        if !self.shown() {
            return Arc::default();
        }
        if let Some(known) = self.known(workload.name()) {
            return known;
        }
        let lines = timeout(patience, workload.logs(self.lines)).await;
        match (lines, workload.said()) {
            (Ok(Ok(mut lines)), said) => {
                lines.extend(said);
                self.keep(workload.name(), lines)
            }
            (Ok(Err(_)) | Err(_), Some(said)) => self.keep(workload.name(), vec![said]),
            // It is asked again in a while; what it said last is still true.
            (Ok(Err(_)) | Err(_), None) => self.last(workload.name()),
        }
    }

    /// What is known, unless it is to be asked for now. Only one is told so at a time.
    fn known(&self, name: &WorkloadName) -> Option<Arc<[String]>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, tail| tail.asked.elapsed() < KEPT);
        let now = Instant::now();
        match held.get_mut(name) {
            Some(tail) if tail.asked.elapsed() < FRESH => Some(tail.lines.clone()),
            Some(tail) => {
                tail.asked = now;
                None
            }
            None => {
                held.insert(name.clone(), Tail { lines: Arc::default(), asked: now });
                None
            }
        }
    }

    /// The lines that were seen last.
    pub(super) fn last(&self, name: &WorkloadName) -> Arc<[String]> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(name).map(|tail| tail.lines.clone()).unwrap_or_default()
    }

    fn keep(&self, name: &WorkloadName, lines: Vec<String>) -> Arc<[String]> {
        let most = usize::try_from(self.lines).unwrap_or(usize::MAX);
        let from = lines.len().saturating_sub(most);
        let lines: Arc<[String]> = lines[from..].iter().map(|line| plain(line)).collect();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(name.clone(), Tail { lines: lines.clone(), asked: Instant::now() });
        lines
    }
}

/// A line without the sequences that colour terminals, and not too long. What could make it look
/// like another line is written out, as `\u{202e}`.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut characters = line.trim_end().chars().peekable();
    let mut room = WIDTH;
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            if characters.next_if_eq(&'[').is_some() {
                // Parameters, then one final character (ECMA-48 §5.4).
                while characters.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                characters.next();
            }
            continue;
        }
        if character.is_control() && character != '\t' {
            continue;
        }
        if room == 0 {
            plain.push('…');
            break;
        }
        room -= 1;
        if is_hidden(character) && character != '\t' {
            plain.extend(character.escape_unicode());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_colours_and_what_moves_the_cursor() {
        assert_eq!(plain("\u{1b}[1;32mready\u{1b}[0m in 3 s\r\n"), "ready in 3 s");
        assert_eq!(plain("a\u{7}b\u{1b}[2Kc\td"), "abc\td");
        assert_eq!(plain("\u{1b}"), "");
        let long = plain(&"é".repeat(WIDTH + 5));
        assert_eq!(long.chars().count(), WIDTH + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn what_turns_the_direction_of_writing_is_written_out() {
        assert_eq!(plain("user \u{202e}toor\u{2066}x"), "user \\u{202e}toor\\u{2066}x");
        assert_eq!(plain("a\u{200b}b\u{feff}\u{e0041}"), "a\\u{200b}b\\u{feff}\\u{e0041}");
        assert_eq!(plain("👩\u{200d}🚀 می\u{200c}خواهم ü\t"), "👩\u{200d}🚀 می\u{200c}خواهم ü");
    }

    #[test]
    fn many_who_look_are_one_question_in_a_while() {
        let tails = Tails::new(2);
        let name = WorkloadName::parse("app").unwrap();
        assert!(tails.known(&name).is_none(), "the first one asks");
        assert_eq!(tails.known(&name).unwrap().len(), 0, "the second one does not wait for it");
        tails.keep(&name, vec!["a".into(), "b".into(), "c".into()]);
        assert_eq!(*tails.known(&name).unwrap(), ["b", "c"]);
        assert_eq!(*tails.last(&name), ["b", "c"]);
    }
}
