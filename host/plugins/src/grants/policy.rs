//! The rules of one endpoint, and what is said of what they do not allow.

use std::fmt;

use drowse_provider_rules::{InvalidQuery, NormalizedPath, RequestQuery, Rule, call, is_method};

use super::{masked_url, toml_key, toml_string};

/// The rules of one endpoint, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    origin: RulesOrigin,
    /// What the plugin says it needs here, to be proposed for what is refused.
    wished: Vec<Rule>,
}

/// Who wrote the rules of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesOrigin {
    /// The operator, in the grant.
    Granted,
    /// The plugin, in what it says it needs; the grant has no rules of its own.
    Wished,
    /// Nobody: the grant has none and the plugin does not name this endpoint.
    Nobody,
}

/// What an HTTP request must be compared with, and whom to name when it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The configured provider.
    pub provider: &'a str,
    /// The granted name.
    pub endpoint: &'a str,
    /// Upper case.
    pub method: &'a str,
    /// Path and query as the provider wrote them.
    pub path: &'a str,
    /// It has a body.
    pub body: bool,
    /// The target the call is about: a segment equal to it becomes `*` in the advice.
    pub target: Option<&'a str>,
}

/// What a gRPC call must be compared with, and whom to name when it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// The configured provider.
    pub provider: &'a str,
    /// The granted name.
    pub endpoint: &'a str,
    /// `/package.Service/Method` as the provider wrote it.
    pub method: &'a str,
}

// === impl Policy ===

impl Policy {
    /// The policy of an endpoint: the operator's rules, else the plugin's own wishes for it.
    pub fn new(granted: Option<Vec<Rule>>, wished: Option<Vec<Rule>>) -> Self {
        let origin = match (&granted, &wished) {
            (Some(_), _) => RulesOrigin::Granted,
            (None, Some(_)) => RulesOrigin::Wished,
            (None, None) => RulesOrigin::Nobody,
        };
        let wished = wished.unwrap_or_default();
        Self { rules: granted.unwrap_or_else(|| wished.clone()), origin, wished }
    }

    /// What the plugin says it needs here and these rules do not allow.
    pub fn lacks(&self) -> impl Iterator<Item = &Rule> {
        self.wished.iter().filter(|wish| !self.rules.iter().any(|rule| rule.covers(wish)))
    }

    /// Lets an HTTP request pass, or says why not and which line to add.
    pub fn check(&self, asked: &Asked<'_>) -> Result<(), String> {
        let Asked { provider, endpoint, method, path, body, .. } = *asked;
        let refused = |why: &dyn fmt::Display| {
            let path = shown(&masked_url(path));
            format!(
                "provider {provider:?}: {method} {path} on endpoint {endpoint:?} is refused: {why}"
            )
        };
        if !is_method(method) {
            let method = shown(method);
            return Err(format!(
                "provider {provider:?}: method {method} on endpoint {endpoint:?} is refused: \
                 it is not one upper-case word, it opens a tunnel, or its answer repeats the request \
                 with the credentials in it"
            ));
        }
        let clean = NormalizedPath::parse(path).map_err(|flaw| refused(&flaw))?;
        if self.rules.iter().any(|rule| rule.allows(method, &clean, body)) {
            return Ok(());
        }
        let path = shown(&masked_url(path));
        let with_body = if body { " with a body" } else { "" };
        let what = format!("{method}{with_body} {path}");
        let wish = self.wished.iter().find(|wish| wish.allows(method, &clean, body)).cloned();
        let rule = wish.or_else(|| Rule::suggest(method, &clean, body, asked.target));
        Err(match (rule, clean.query()) {
            (Some(rule), _) => self.advice(provider, endpoint, &what, &rule.to_string()),
            (None, RequestQuery::Ambiguous(flaw)) => ambiguous(provider, endpoint, &what, *flaw),
            (None, _) => format!(
                "provider {provider:?}: {what} is not granted on endpoint {endpoint:?}, and no rule \
                 can name this request alone"
            ),
        })
    }

    /// Lets a gRPC call pass, or says why not and which line to add.
    pub fn check_call(&self, called: &Called<'_>) -> Result<(), String> {
        let Called { provider, endpoint, method } = *called;
        if call(method).is_none() {
            let method = shown(method);
            return Err(format!(
                "provider {provider:?}: gRPC call {method} on endpoint {endpoint:?} is refused: it \
                 is not /package.Service/Method"
            ));
        }
        if self.rules.iter().any(|rule| rule.allows_call(method)) {
            return Ok(());
        }
        let wish = self.wished.iter().find(|wish| wish.allows_call(method)).map(Rule::to_string);
        let rule = wish.unwrap_or_else(|| method.to_owned());
        Err(self.advice(provider, endpoint, &format!("gRPC call {method}"), &rule))
    }

    fn advice(&self, provider: &str, endpoint: &str, what: &str, rule: &str) -> String {
        let rule = toml_string(rule);
        match self.origin {
            RulesOrigin::Granted => format!(
                "provider {provider:?}: {what} is not granted on endpoint {endpoint:?}: {}",
                add(provider, endpoint, &[rule]),
            ),
            RulesOrigin::Wished => format!(
                "provider {provider:?}: {what} is not granted on endpoint {endpoint:?} and not \
                 among the rules that the plugin asks for: add to {}: rules = [{}]",
                table(provider, endpoint),
                self.rules.iter().map(quoted).chain([rule]).collect::<Vec<_>>().join(", "),
            ),
            RulesOrigin::Nobody => format!(
                "provider {provider:?}: {what} is not granted: endpoint {endpoint:?} has no rules \
                 and the plugin does not say what it needs there: add to {}: rules = [{rule}]",
                table(provider, endpoint),
            ),
        }
    }
}

/// What to add to an endpoint that has rules: the line as it stands between its brackets.
fn add(provider: &str, endpoint: &str, rules: &[String]) -> String {
    format!("add to the rules of {}: {},", table(provider, endpoint), rules.join(", "))
}

/// The line with which an endpoint that has rules allows these, too.
pub fn line_to_add(provider: &str, endpoint: &str, rules: &[&Rule]) -> String {
    add(provider, endpoint, &rules.iter().copied().map(quoted).collect::<Vec<_>>())
}

fn table(provider: &str, endpoint: &str) -> String {
    format!("[provider.{}.endpoint.{}]", toml_key(provider), toml_key(endpoint))
}

fn quoted(rule: &Rule) -> String {
    toml_string(&rule.to_string())
}

/// What is said of a query that only `?*` lets pass.
fn ambiguous(provider: &str, endpoint: &str, what: &str, flaw: InvalidQuery) -> String {
    format!(
        "provider {provider:?}: {what} is refused on endpoint {endpoint:?}: servers may read its \
         query in different ways: {flaw}; only a rule that ends in `?*` lets it pass"
    )
}

/// A provider's text made fit for a message: one line, not too long.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}
