//! Declarations of configuration tables.
//!
//! [`table!`] declares a table as a struct: the doc comment, value parser and default of each key stand
//! in one place. The reader, the reference page, the search for misspelled keys and the masking of
//! secrets all use the [`Schema`] that it derives, so none of them knows a key that another does not.

use crate::read::{Reader, Section};

/// A table of the configuration, declared by [`table!`].
pub(crate) trait Table: Sized {
    /// The table's keys and documentation.
    const SCHEMA: &'static Schema;

    /// Reads all keys, so that every error in the table is reported.
    fn read(r: &mut Reader, section: &Section<'_>) -> Self;
}

/// The keys and documentation of a table.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The title in a file, for instance `[workload.NAME]`.
    pub(crate) title: &'static str,
    /// The doc comment.
    pub(crate) about: &'static str,
    pub(crate) parts: &'static [Part],
    /// Values of unknown keys are masked.
    pub(crate) masks_unknown: bool,
}

/// A part of a schema.
#[derive(Debug)]
pub(crate) enum Part {
    Key(Key),
    /// Keys that several tables share. `otherwise` replaces the meaning of absent keys.
    Shared {
        schema: &'static Schema,
        otherwise: Option<&'static str>,
    },
}

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    /// The doc comment.
    pub(crate) doc: &'static str,
    pub(crate) secrecy: Secrecy,
}

/// The kind of value that a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A value: its type in the reference, and its description in an error.
    Value { word: &'static str, expected: &'static str },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A table.
    Table(&'static Schema),
    /// Tables with names of the operator's choice.
    Named(&'static Schema),
    /// A list of tables.
    Tables(&'static Schema),
}

/// The meaning of an absent key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Presence {
    /// An error.
    Required,
    /// This TOML value.
    Default(&'static str),
    /// A meaning that no value has, in words.
    Otherwise(&'static str),
}

/// Whether a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrecy {
    Public,
    /// A URL, which is masked if it holds a user or a password.
    Url,
    /// Always masked.
    Secret,
}

/// Declares a table of the configuration.
///
/// ```ignore
/// table! {
///     /// What the table is about.
///     pub(crate) struct Limits("[listener.limits]") {
///         /// A key with a default.
///         max_connections: Count = "20000";
///         /// A key that must be there.
///         name: Text, required;
///         /// A key whose absence is described in words. Its value is an `Option`.
///         log_dir: FilePath, otherwise "no log is written";
///         /// Its value is never shown.
///         headers: Headers = "{}", secret;
///     } shared { tls: Tls }
/// }
/// ```
///
/// A key's name is the field's with `-` for `_`. Each field is a [`Field`](crate::read::Field) with the
/// value of its parser; `heading` is the table's title and place. A table whose title is followed by
/// `secret` masks the values of unknown keys.
macro_rules! table {
    (
        $(#[doc = $about:literal])*
        $vis:vis struct $name:ident ($title:literal $(, $masks:ident)?) {
            $(
                $(#[doc = $doc:literal])*
                $field:ident: $parser:ty $(= $default:literal)? $(, $flag:ident $($words:literal)?)*;
            )*
        } $(shared {
            $($shared:ident: $group:ty $(, otherwise $otherwise:literal)?);+
        })?
    ) => {
        $(#[doc = $about])*
        $vis struct $name {
            /// The title and place of the table.
            #[allow(dead_code, reason = "not every table needs it")]
            pub(crate) heading: $crate::read::Heading,
            $(
                $(#[doc = $doc])*
                pub(crate) $field: $crate::schema::table!(
                    @field $parser, [$($default)?] [$($flag)*]
                ),
            )*
            $($(pub(crate) $shared: $group,)+)?
        }

        impl $crate::schema::Table for $name {
            const SCHEMA: &'static $crate::schema::Schema = &$crate::schema::Schema {
                title: $title,
                about: concat!($($about),*),
                parts: &[
                    $($crate::schema::Part::Key($crate::schema::Key {
                        name: $crate::schema::table!(@name $field),
                        kind: <$parser as $crate::read::ValueParser>::KIND,
                        presence: $crate::schema::table!(
                            @presence [$($default)?] [$($flag $($words)?)*]
                        ),
                        doc: concat!($($doc),*),
                        secrecy: $crate::schema::table!(@secrecy [$($flag)*]),
                    }),)*
                    $($($crate::schema::Part::Shared {
                        schema: <$group as $crate::schema::Table>::SCHEMA,
                        otherwise: $crate::schema::table!(@option $($otherwise)?),
                    },)+)?
                ],
                masks_unknown: $crate::schema::table!(@masks $($masks)?),
            };

            fn read(
                r: &mut $crate::read::Reader,
                section: &$crate::read::Section<'_>,
            ) -> Self {
                Self {
                    heading: section.heading(),
                    $($field: $crate::schema::table!(
                        @read r, section, $field, $parser, [$($default)?] [$($flag)*]
                    ),)*
                    $($($shared: <$group as $crate::schema::Table>::read(r, section),)+)?
                }
            }
        }
    };

    (@field $parser:ty, [] [otherwise $($rest:ident)*]) => {
        $crate::read::Field<Option<<$parser as $crate::read::ValueParser>::Value>>
    };
    (@field $parser:ty, [$($default:literal)?] [$($flag:ident)*]) => {
        $crate::read::Field<<$parser as $crate::read::ValueParser>::Value>
    };

    (@read $r:ident, $section:ident, $field:ident, $parser:ty, [] [otherwise $($rest:ident)*]) => {
        $section.optional::<$parser>($r, $crate::schema::table!(@name $field))
    };
    (@read $r:ident, $section:ident, $field:ident, $parser:ty, [] [required $($rest:ident)*]) => {
        $section.required::<$parser>($r, $crate::schema::table!(@name $field))
    };
    (@read $r:ident, $section:ident, $field:ident, $parser:ty, [$default:literal] [$($flag:ident)*]) => {
        $section.with_default::<$parser>($r, $crate::schema::table!(@name $field), $default)
    };

    (@presence [$default:literal] [$($flag:ident)*]) => {
        $crate::schema::Presence::Default($default)
    };
    (@presence [] [required $($rest:ident)*]) => { $crate::schema::Presence::Required };
    (@presence [] [otherwise $words:literal $($rest:ident)*]) => {
        $crate::schema::Presence::Otherwise($words)
    };

    (@secrecy []) => { $crate::schema::Secrecy::Public };
    (@secrecy [secret $($rest:ident)*]) => { $crate::schema::Secrecy::Secret };
    (@secrecy [url $($rest:ident)*]) => { $crate::schema::Secrecy::Url };
    (@secrecy [$other:ident $($rest:ident)*]) => { $crate::schema::table!(@secrecy [$($rest)*]) };

    (@masks) => { false };
    (@masks secret) => { true };

    (@option) => { None };
    (@option $value:literal) => { Some($value) };

    (@name $field:ident) => {{
        const IDENTIFIER: &str = stringify!($field);
        const BYTES: [u8; IDENTIFIER.len()] = $crate::schema::hyphenated(IDENTIFIER);
        const NAME: &str = match std::str::from_utf8(&BYTES) {
            Ok(name) => name,
            Err(_) => panic!("an identifier is UTF-8"),
        };
        NAME
    }};
}
pub(crate) use table;

/// An identifier with `-` for `_`.
pub(crate) const fn hyphenated<const LENGTH: usize>(identifier: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let mut index = 0;
    while index < LENGTH {
        let byte = identifier.as_bytes()[index];
        bytes[index] = if byte == b'_' { b'-' } else { byte };
        index += 1;
    }
    bytes
}

/// Names of other proxies and container tools, with the keys that mean the same, in the order of the
/// search.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("address", &["bind", "url"]),
    ("cmd", &["run"]),
    ("command", &["run"]),
    ("container", &["target"]),
    ("container-name", &["target"]),
    ("container_name", &["target"]),
    ("depends-on", &["needs"]),
    ("depends_on", &["needs"]),
    ("domain", &["host"]),
    ("entrypoint", &["run"]),
    ("env", &["environment"]),
    ("group", &["pool"]),
    ("handle", &["target"]),
    ("healthcheck", &["ready"]),
    ("hostname", &["host"]),
    ("listen", &["bind"]),
    ("prefix", &["path"]),
    ("server-name", &["host"]),
    ("server_name", &["host"]),
    ("service", &["workload", "target"]),
    ("session-duration", &["idle"]),
    ("session_duration", &["idle"]),
    ("socket", &["url"]),
    ("upstream", &["workload"]),
    ("vm", &["target"]),
    ("vmid", &["target"]),
];

// === impl Schema ===

impl Schema {
    /// All keys, shared ones last.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for part in self.parts {
            match part {
                Part::Key(key) => keys.push(*key),
                Part::Shared { schema, otherwise } => {
                    keys.extend(schema.keys().into_iter().map(|key| match otherwise {
                        Some(words) => Key { presence: Presence::Otherwise(words), ..key },
                        None => key,
                    }));
                }
            }
        }
        keys
    }

    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<Key> {
        self.parts.iter().find_map(|part| match part {
            Part::Key(key) => (key.name == name).then_some(*key),
            Part::Shared { schema, .. } => schema.key(name),
        })
    }

    /// This table and all below it, each once, in the order of their keys.
    pub(crate) fn tables(&'static self) -> Vec<&'static Self> {
        fn collect(schema: &'static Schema, found: &mut Vec<&'static Schema>) {
            if found.iter().any(|held| held.title == schema.title) {
                return;
            }
            found.push(schema);
            for key in schema.keys() {
                if let Kind::Table(table) | Kind::Named(table) | Kind::Tables(table) = key.kind {
                    collect(table, found);
                }
            }
        }
        let mut found = Vec::new();
        collect(self, &mut found);
        found
    }

    /// The key that has the meaning of `name` in other programs.
    pub(crate) fn synonym(&self, name: &str) -> Option<&'static str> {
        let (_, keys) = SYNONYMS.iter().find(|(other, _)| *other == name)?;
        keys.iter().find_map(|key| self.key(key)).map(|key| key.name)
    }

    /// The key that was probably meant by `name`.
    pub(crate) fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.keys().iter().map(|key| key.name))
    }

    /// Whether the value at `path` must be masked. `text` is the value if it is a string.
    ///
    /// A value is shown if its key is declared and not secret, and an unknown one if its table holds no
    /// secrets.
    pub(crate) fn is_secret(&self, path: &[String], text: Option<&str>) -> bool {
        let Some((name, below)) = path.split_first() else { return self.masks_unknown };
        let Some(key) = self.key(name) else { return self.masks_unknown };
        match (key.secrecy, key.kind) {
            (Secrecy::Secret, _) => true,
            (Secrecy::Url, _) => text.is_some_and(|url| url.contains('@')),
            (_, Kind::Table(table) | Kind::Tables(table)) => table.is_secret(below, text),
            (_, Kind::Named(table)) => match below.split_first() {
                Some((_, below)) => table.is_secret(below, text),
                None => table.masks_unknown,
            },
            (_, Kind::Value { .. } | Kind::Choice(_)) => false,
        }
    }
}

/// Returns the entry of `known` that was probably meant by `name`: a misspelling, a beginning, or the only
/// one that ends with it, as `max-held` for `held`.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let name = plain(name);
    let suffix = format!("-{name}");
    let mut endings = Vec::new();
    let candidates = known.into_iter().map(|key| {
        let held = plain(key);
        let singular = held.strip_suffix('s').unwrap_or(&held);
        if held.ends_with(&suffix) || singular.ends_with(&suffix) {
            endings.push(key);
        }
        let distance = match held == name || singular == name {
            true => 0,
            false => strsim::damerau_levenshtein(&held, &name),
        };
        let begins = name.len() >= 3 && (held.starts_with(&name) || name.starts_with(&held));
        (distance, begins, key)
    });
    let near = candidates
        .filter(|(distance, begins, _)| *distance <= (name.chars().count() / 3).max(1) || *begins)
        .min_by_key(|(distance, begins, _)| (*distance, !*begins))
        .map(|(_, _, key)| key);
    match (near, endings.as_slice()) {
        (None, [only]) => Some(only),
        (near, _) => near,
    }
}

// === impl Kind ===

impl Kind {
    /// The type in the reference.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Value { word, .. } => word,
            Self::Choice(_) => "choice",
            Self::Table(_) => "table",
            Self::Named(_) => "named tables",
            Self::Tables(_) => "list of tables",
        }
    }

    /// The description of the expected value in an error.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Value { expected, .. } => expected.to_owned(),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                match words.as_slice() {
                    [only] => only.clone(),
                    [first @ .., last] => format!("{} or {last}", first.join(", ")),
                    [] => "nothing".to_owned(),
                }
            }
            Self::Table(table) | Self::Named(table) | Self::Tables(table) => {
                format!("the table {}", table.title)
            }
        }
    }
}
