//! The rules of one endpoint, and the messages about requests that they do not allow.

use std::fmt;

use drowse_provider_rules::{
    InvalidQuery, NormalizedPath, RequestQuery, Rule, call, is_method, masked_url,
};

use super::toml::{toml_key, toml_string};

/// The rules of one endpoint, and their origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    origin: RulesOrigin,
    /// Rules that the plugin requires, proposed for refused requests.
    required: Vec<Rule>,
}

/// Origin of an endpoint's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesOrigin {
    /// The operator's grant.
    Granted,
    /// The plugin's requirements; the grant has no rules.
    Required,
    /// None: the grant has no rules and the plugin does not declare the endpoint.
    Undeclared,
}

/// An HTTP request to check, with the names for messages.
#[derive(Clone, Copy, Debug)]
pub struct HttpAttempt<'a> {
    /// The configured provider.
    pub provider: &'a str,
    /// The granted name.
    pub endpoint: &'a str,
    /// Upper case.
    pub method: &'a str,
    /// Path and query as sent by the plugin.
    pub path: &'a str,
    /// It has a body.
    pub body: bool,
    /// Handle of the call's target; an equal path segment becomes `*` in the proposed rule.
    pub target: Option<&'a str>,
}

/// A gRPC call to check, with the names for messages.
#[derive(Clone, Copy, Debug)]
pub struct GrpcAttempt<'a> {
    /// The configured provider.
    pub provider: &'a str,
    /// The granted name.
    pub endpoint: &'a str,
    /// `/package.Service/Method` as sent by the plugin.
    pub method: &'a str,
}

// === impl Policy ===

impl Policy {
    /// The policy of an endpoint: the operator's rules, else those that the plugin requires.
    pub fn new(granted: Option<Vec<Rule>>, required: Option<Vec<Rule>>) -> Self {
        let origin = match (&granted, &required) {
            (Some(_), _) => RulesOrigin::Granted,
            (None, Some(_)) => RulesOrigin::Required,
            (None, None) => RulesOrigin::Undeclared,
        };
        let required = required.unwrap_or_default();
        Self { rules: granted.unwrap_or_else(|| required.clone()), origin, required }
    }

    /// Rules that the plugin requires and these rules do not cover.
    pub fn lacks(&self) -> impl Iterator<Item = &Rule> {
        self.required.iter().filter(|wish| !self.rules.iter().any(|rule| rule.covers(wish)))
    }

    /// Allows an HTTP request, or fails with the reason and the line to add.
    pub fn check(&self, attempt: &HttpAttempt<'_>) -> Result<(), String> {
        let HttpAttempt { provider, endpoint, method, path, body, .. } = *attempt;
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
                 it is not one upper-case word, it opens a tunnel, or its response repeats the \
                 request with its credentials"
            ));
        }
        let clean = NormalizedPath::parse(path).map_err(|flaw| refused(&flaw))?;
        if self.rules.iter().any(|rule| rule.allows(method, &clean, body)) {
            return Ok(());
        }
        let path = shown(&masked_url(path));
        let with_body = if body { " with a body" } else { "" };
        let what = format!("{method}{with_body} {path}");
        let wish = self.required.iter().find(|wish| wish.allows(method, &clean, body)).cloned();
        let rule = wish.or_else(|| Rule::suggest(method, &clean, body, attempt.target));
        Err(match (rule, clean.query()) {
            (Some(rule), _) => self.advice(provider, endpoint, &what, &rule.to_string()),
            (None, RequestQuery::Ambiguous(flaw)) => ambiguous(provider, endpoint, &what, *flaw),
            (None, _) => format!(
                "provider {provider:?}: {what} is not granted on endpoint {endpoint:?}, and no rule \
                 can name this request alone"
            ),
        })
    }

    /// Allows a gRPC call, or fails with the reason and the line to add.
    pub fn check_call(&self, attempt: &GrpcAttempt<'_>) -> Result<(), String> {
        let GrpcAttempt { provider, endpoint, method } = *attempt;
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
        let wish = self.required.iter().find(|wish| wish.allows_call(method)).map(Rule::to_string);
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
            RulesOrigin::Required => format!(
                "provider {provider:?}: {what} is not granted on endpoint {endpoint:?} and not \
                 among the rules that the plugin requires: add to {}: rules = [{}]",
                table(provider, endpoint),
                self.rules.iter().map(quoted).chain([rule]).collect::<Vec<_>>().join(", "),
            ),
            RulesOrigin::Undeclared => format!(
                "provider {provider:?}: {what} is not granted: endpoint {endpoint:?} has no rules \
                 and the plugin does not declare its rules there: add to {}: rules = [{rule}]",
                table(provider, endpoint),
            ),
        }
    }
}

/// Advice for an endpoint with rules: the text to add between the brackets.
fn add(provider: &str, endpoint: &str, rules: &[String]) -> String {
    format!("add to the rules of {}: {},", table(provider, endpoint), rules.join(", "))
}

/// Advice that adds `rules` to an endpoint with rules.
pub fn line_to_add(provider: &str, endpoint: &str, rules: &[&Rule]) -> String {
    add(provider, endpoint, &rules.iter().copied().map(quoted).collect::<Vec<_>>())
}

fn table(provider: &str, endpoint: &str) -> String {
    format!("[provider.{}.endpoint.{}]", toml_key(provider), toml_key(endpoint))
}

fn quoted(rule: &Rule) -> String {
    toml_string(&rule.to_string())
}

/// The refusal of a query that only `?*` allows.
fn ambiguous(provider: &str, endpoint: &str, what: &str, flaw: InvalidQuery) -> String {
    format!(
        "provider {provider:?}: {what} is refused on endpoint {endpoint:?}: servers may read its \
         query in different ways: {flaw}; only a rule that ends in `?*` allows it"
    )
}

/// Escapes and truncates a plugin's text for a message.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}
