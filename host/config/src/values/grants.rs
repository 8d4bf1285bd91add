//! Types of values in grants: programs, headers, rules, certificates.

use std::{collections::BTreeMap, path::Path};

use drowse_plugins::{
    AddressRule, Signer,
    grants::Rule,
    settings::{Restart, Secret},
};

use super::{Text, choice, each, list, text, value, word};
use crate::{
    read::{Reader, ValueParser},
    schema::{Kind, nearest},
    tree::{Node, Value},
};

value!(
    /// A program of this machine with its arguments.
    Program: Vec<String>,
    "list of texts",
    "a list of program and arguments such as [\"/usr/bin/server\", \"--port\", \"3000\"]",
    |r, node| {
        let (program, arguments) = command(r, node, Program::KIND)?;
        // A bare name is looked up in PATH; anything else is relative to the file.
        let program = if program.contains('/') {
            r.directory(node.span).join(program).to_string_lossy().into_owned()
        } else {
            program
        };
        Some([program].into_iter().chain(arguments).collect())
    }
);
value!(
    /// A program with its arguments inside a workload. Its path is left as it is.
    CommandInside: Vec<String>,
    "list of texts",
    "a list of program and arguments such as [\"/bin/healthy\", \"--quiet\"]",
    |r, node| {
        let (program, arguments) = command(r, node, CommandInside::KIND)?;
        Some([program].into_iter().chain(arguments).collect())
    }
);
value!(
    /// Environment variables.
    Variables: BTreeMap<String, String>,
    "table of texts",
    "a table of texts such as { PORT = \"3000\" }",
    |r, node| {
        let Value::Table(entries) = &node.value else { return r.mismatch(node, Variables::KIND) };
        let mut variables = BTreeMap::new();
        let mut whole = true;
        for (name, entry) in entries {
            if name.is_empty() || name.contains(['=', '\0']) {
                whole = false;
                r.report(entry.key, "this cannot be the name of an environment variable");
            }
            match &entry.node.value {
                Value::Text(text) if !text.contains('\0') => {
                    variables.insert(name.clone(), text.clone());
                }
                _ => {
                    whole = false;
                    r.mismatch::<()>(&entry.node, Text::KIND);
                }
            }
        }
        whole.then_some(variables)
    }
);
value!(
    /// Headers with their secret values.
    Headers: Vec<(String, Secret)>,
    "table of headers",
    "a table of headers such as { Authorization = { env = \"TOKEN\", prefix = \"Bearer \" } }",
    |r, node| {
        let Value::Table(entries) = &node.value else { return r.mismatch(node, Headers::KIND) };
        let mut headers = Vec::new();
        let mut whole = true;
        for (name, entry) in entries {
            if !is_header_name(name) {
                whole = false;
                r.report(entry.key, "this cannot be the name of a header");
            }
            match secret(r, &entry.node) {
                Some(secret) => headers.push((name.clone(), secret)),
                None => whole = false,
            }
        }
        whole.then_some(headers)
    }
);
value!(
    /// Allowed requests.
    Rules: Vec<String>,
    "list of rules",
    "a list of rules such as [\"GET /containers/*/json\"]",
    |r, node| {
        list(r, node, Rules::KIND, |r, item| {
            let rule = text(r, item, Text::KIND)?;
            match rule.parse::<Rule>() {
                Ok(_) => Some(rule),
                Err(error) => r.refuse(item, error.to_string()),
            }
        })
    }
);
value!(
    /// Addresses that targets may have.
    AddressRules: Vec<AddressRule>,
    "list of networks and names",
    "a list of networks, addresses and names of hosts such as [\"10.0.0.0/8\", \"nas.lan\"]",
    |r, node| {
        list(r, node, AddressRules::KIND, |r, item| match text(r, item, Text::KIND)?.parse::<AddressRule>() {
            Ok(reach) => Some(reach),
            Err(error) => r.refuse(item, error.to_string()),
        })
    }
);
choice!(
    /// When a program is started again.
    RestartPolicy: Restart {
        "never" => Restart::Never,
        "on-failure" => Restart::OnFailure,
        "always" => Restart::Always,
    }
);
value!(
    /// Minisign public keys.
    PublicKeys: Vec<Signer>,
    "list of keys",
    "a list of minisign public keys such as [\"RWQ…\"]",
    |r, node| {
        list(r, node, PublicKeys::KIND, |r, item| match text(r, item, Text::KIND)?.parse::<Signer>() {
            Ok(signer) => Some(signer),
            Err(error) => r.refuse(item, error),
        })
    }
);
value!(
    /// SHA-256 digests, one or several.
    Fingerprints: Vec<[u8; 32]>,
    "fingerprint or list of them",
    "a SHA-256 fingerprint of 64 hexadecimal digits, or a list of such",
    |r, node| match &node.value {
        Value::List(items) if items.is_empty() => r.mismatch(node, Fingerprints::KIND),
        Value::List(items) => each(items, |item| digest(r, item)),
        _ => digest(r, node).map(|digest| vec![digest]),
    }
);

fn digest(r: &mut Reader, node: &Node) -> Option<[u8; 32]> {
    let text = text(r, node, Fingerprints::KIND)?;
    let digits = text.to_ascii_lowercase();
    let digits = digits.strip_prefix("sha256:").unwrap_or(&digits).replace(':', "");
    let mut digest = [0; 32];
    let fits = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|_| fits);
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) => *byte = value,
            None => return r.mismatch(node, Fingerprints::KIND),
        }
    }
    Some(digest)
}

/// A program and its arguments, as they are written.
fn command(r: &mut Reader, node: &Node, kind: Kind) -> Option<(String, Vec<String>)> {
    let Value::List(items) = &node.value else { return r.mismatch(node, kind) };
    let [program, arguments @ ..] = items.as_slice() else {
        return r.refuse(node, "the list is empty; name a program");
    };
    let program = text(r, program, Text::KIND);
    let arguments = each(arguments, |item| argument(r, item));
    program.zip(arguments)
}

/// Any text, which may be empty.
fn argument(r: &mut Reader, node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) if !text.contains('\0') => Some(text.clone()),
        _ => text(r, node, Text::KIND),
    }
}

/// A text, or a table that names where it is read from.
fn secret(r: &mut Reader, node: &Node) -> Option<Secret> {
    let entries = match &node.value {
        Value::Text(text) if is_header_value(text) => return Some(Secret::Literal(text.clone())),
        Value::Text(_) => return r.refuse(node, "this cannot be the value of a header"),
        Value::Table(entries) => entries,
        _ => {
            return r.refuse(
                node,
                "a header's value is a text, { env = \"NAME\" } or { file = \"path\" }",
            );
        }
    };
    let mut take = |key: &str| match entries.get(key).map(|entry| &entry.node) {
        Some(node) => match &node.value {
            Value::Text(text) if is_header_value(text) => Some(Some(text.clone())),
            _ => r.refuse(node, format!("`{key}` takes a text")),
        },
        None => Some(None),
    };
    let (prefix, env, file) = (take("prefix"), take("env"), take("file"));
    let known = ["env", "file", "prefix"];
    let mut whole = true;
    for (name, entry) in entries.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        whole = false;
        let advice = nearest(name, known).map_or_else(
            || "known keys are `env`, `file`, `prefix`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        r.report(entry.key, format!("unknown key `{name}` in a header's value; {advice}"));
    }
    let prefix = prefix?.unwrap_or_default();
    match (env?, file?) {
        (Some(name), None) if whole => Some(Secret::Env { prefix, name }),
        (None, Some(file)) if whole => {
            let path = r.directory(node.span).join(Path::new(&file));
            Some(Secret::File { prefix, path })
        }
        _ if !whole => None,
        _ => r.refuse(node, "name the source of the value: either `env` or `file`"),
    }
}

/// RFC 9110, section 5.6.2.
pub(crate) fn is_header_name(name: &str) -> bool {
    let special = b"!#$%&'*+-.^_`|~";
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || special.contains(&byte))
}

fn is_header_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f))
}
