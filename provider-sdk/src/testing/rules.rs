//! The rules of an endpoint's grant, as `wit/v0.1/host.wit` describes them.

/// Whether `rule` allows this method and path.
pub(super) fn allows(rule: &str, method: &str, path: &str) -> bool {
    let Some((wanted, pattern)) = rule.split_once(' ') else { return false };
    if wanted != "*" && wanted != method {
        return false;
    }
    let path = path.split('?').next().unwrap_or_default();
    let mut segments = path.split('/');
    let mut patterns = pattern.split('/').peekable();
    loop {
        match (patterns.next(), segments.next()) {
            (Some("**"), _) if patterns.peek().is_none() => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() => {}
            (Some(pattern), Some(segment)) if pattern == segment => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// What is wrong with a rule, if anything.
pub(super) fn mistake(rule: &str) -> Option<&'static str> {
    let Some((method, path)) = rule.split_once(' ') else {
        return Some("a rule is `METHOD /path`");
    };
    if method != "*" && (method.is_empty() || !method.chars().all(|c| c.is_ascii_uppercase())) {
        return Some("the method is upper case, or `*`");
    }
    let Some(path) = path.strip_prefix('/') else { return Some("the path begins with `/`") };
    let segments: Vec<&str> = path.split('/').collect();
    let last = segments.len() - 1;
    for (index, segment) in segments.iter().enumerate() {
        match *segment {
            "" if last > 0 => return Some("a path has no empty segments"),
            "." | ".." => return Some("a path has no dot segments"),
            "**" if index != last => return Some("`**` stands at the end only"),
            "*" | "**" => {}
            segment if segment.contains('*') => return Some("`*` is a whole segment"),
            segment if segment.contains(['?', '#', ' ', '\\', '%']) => {
                return Some("a rule's path is plain, without query or encoding");
            }
            _ => {}
        }
    }
    None
}
