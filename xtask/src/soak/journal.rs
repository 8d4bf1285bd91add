//! The journal of a workload's backend processes, and its evaluation.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::headers::{End, Nanos, now};

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The process has started.
    Started,
    /// SIGTERM with this number of requests in progress.
    Asked(u64),
    /// A request after SIGTERM.
    Late(String),
    /// The process exits.
    Ended,
}

/// Writes the journal.
pub(super) struct Pen {
    file: File,
}

/// Reads and checks the journal.
pub(super) struct Reader {
    path: PathBuf,
    offset: u64,
    /// An incomplete last line.
    rest: String,
    runs: bool,
    ended: u64,
}

// === impl Pen ===

impl Pen {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().create(true).append(true).open(path)? })
    }

    /// Appends a line in one write, so that lines are not interleaved.
    pub(super) fn note(&self, note: &Note) -> io::Result<Nanos> {
        let now = now();
        (&self.file).write_all(note.line(now).as_bytes())?;
        Ok(now)
    }
}

/// End of the last process in this journal, if one has exited.
pub(super) fn last_end(path: &Path) -> Option<End> {
    /// Size in bytes of a tail with at least the last two entries.
    const TAIL: u64 = 4096;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    let find = |is: fn(&Note) -> bool| {
        let mut notes = text.lines().rev().filter_map(Note::parse);
        notes.find_map(|(at, note)| is(&note).then_some(at))
    };
    let asked = find(|note| matches!(note, Note::Asked(_)))?;
    let ended = find(|note| *note == Note::Ended)?;
    (asked < ended).then_some(End { asked, ended })
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: 0, rest: String::new(), runs: false, ended: 0 }
    }

    /// Reads new lines and returns violations.
    pub(super) fn read(&mut self) -> Result<Vec<String>> {
        let Ok(mut file) = File::open(&self.path) else {
            // No process has started yet.
            return Ok(Vec::new());
        };
        let mut faults = Vec::new();
        file.seek(SeekFrom::Start(self.offset))?;
        let mut text = String::new();
        self.offset += file.read_to_string(&mut text)? as u64;
        let text = std::mem::take(&mut self.rest) + &text;
        for line in text.split_inclusive('\n') {
            if line.ends_with('\n') {
                let (_, note) = Note::parse(line).with_context(|| {
                    format!("{}: {line:?} is not a journal entry", self.path.display())
                })?;
                faults.extend(self.take(note, line));
            } else {
                line.clone_into(&mut self.rest);
            }
        }
        Ok(faults)
    }

    /// Number of processes that have exited.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// Returns whether a process is running.
    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    fn take(&mut self, note: Note, line: &str) -> Option<String> {
        let fault = match note {
            Note::Started if self.runs => Some("started before its last process had exited"),
            Note::Asked(1..) => Some("was stopped with requests in progress"),
            Note::Late(_) => Some("got a request after it was stopped"),
            Note::Ended if !self.runs => Some("exited without a start"),
            _ => None,
        };
        match note {
            Note::Started => self.runs = true,
            Note::Ended => {
                self.runs = false;
                self.ended += 1;
            }
            _ => {}
        }
        fault.map(|fault| format!("{fault}: {}", line.trim()))
    }
}

// === impl Note ===

impl Note {
    fn line(&self, at: Nanos) -> String {
        match self {
            Self::Started => format!("{at} started\n"),
            Self::Asked(inside) => format!("{at} asked {inside}\n"),
            Self::Late(path) => format!("{at} late {path}\n"),
            Self::Ended => format!("{at} ended\n"),
        }
    }

    fn parse(line: &str) -> Option<(Nanos, Self)> {
        let mut words = line.split_whitespace();
        let at = words.next()?.parse().ok()?;
        let note = match (words.next()?, words.next()) {
            ("started", None) => Self::Started,
            ("asked", Some(inside)) => Self::Asked(inside.parse().ok()?),
            ("late", Some(path)) => Self::Late(path.to_owned()),
            ("ended", None) => Self::Ended,
            _ => return None,
        };
        Some((at, note))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn processes_are_counted_when_they_have_exited() -> Result<()> {
        let dir = TempDir::new()?;
        let path = dir.path().join("journal");
        let mut reader = Reader::new(&path);
        assert_eq!(reader.read()?, [""; 0], "no process has started");
        let pen = Pen::new(&path)?;
        pen.note(&Note::Started)?;
        assert_eq!(reader.read()?, [""; 0]);
        assert_eq!((reader.ended(), reader.runs(), last_end(&path)), (0, true, None));
        let asked = pen.note(&Note::Asked(0))?;
        let ended = pen.note(&Note::Ended)?;
        assert_eq!(reader.read()?, [""; 0]);
        let end = Some(End { asked, ended });
        assert_eq!((reader.ended(), reader.runs(), last_end(&path)), (1, false, end));
        pen.note(&Note::Started)?;
        assert_eq!(last_end(&path), end);
        Ok(())
    }

    #[test]
    fn violations_are_reported() -> Result<()> {
        let dir = TempDir::new()?;
        let path = dir.path().join("journal");
        let pen = Pen::new(&path)?;
        let mut reader = Reader::new(&path);
        for (note, faults) in [
            (Note::Started, 0),
            (Note::Started, 1),
            (Note::Asked(2), 1),
            (Note::Late("/hello".to_owned()), 1),
            (Note::Ended, 0),
            (Note::Ended, 1),
        ] {
            pen.note(&note)?;
            assert_eq!(reader.read()?.len(), faults, "{note:?}");
        }
        Ok(())
    }

    #[test]
    fn an_incomplete_line_is_completed_later() -> Result<()> {
        let dir = TempDir::new()?;
        let path = dir.path().join("journal");
        let mut reader = Reader::new(&path);
        for part in ["5 star", "ted\n6 as", "ked 1\n"] {
            OpenOptions::new().create(true).append(true).open(&path)?.write_all(part.as_bytes())?;
            let faults = reader.read()?;
            assert_eq!(faults.len(), usize::from(part.starts_with("ked")), "{faults:?}");
        }
        Ok(())
    }
}
