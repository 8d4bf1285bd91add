//! Names of container images.

/// A parsed image name, `registry/repository:tag@digest`. The platform validates it. `oci-spec`
/// parses such references, too, but applies Docker Hub's defaults and regular expressions, which
/// enlarge a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageName<'a> {
    /// Registry with port. None if the name has none; the platform then uses its default, usually
    /// `docker.io`.
    pub registry: Option<&'a str>,
    /// Repository in the registry.
    pub repository: &'a str,
    /// Registry and repository as written.
    pub whole: &'a str,
    /// Tag; default `latest`.
    pub tag: &'a str,
    /// Digest, `sha256:…`. It takes precedence over the tag.
    pub digest: Option<&'a str>,
}

// === impl ImageName ===

impl<'a> ImageName<'a> {
    /// Parses a name.
    pub fn parse(text: &'a str) -> Self {
        let (without_digest, digest) = match text.split_once('@') {
            Some((without_digest, digest)) => (without_digest, Some(digest)),
            None => (text, None),
        };
        let (whole, tag) = match without_digest.rsplit_once(':') {
            // Otherwise it is the registry's port.
            Some((whole, tag)) if !tag.contains('/') => (whole, tag),
            _ => (without_digest, "latest"),
        };
        let (registry, repository) = match whole.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (Some(first), rest)
            }
            _ => (None, whole),
        };
        Self { registry, repository, whole, tag, digest }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_parsed_into_their_parts() {
        for (text, registry, repository, tag, digest) in [
            ("nginx", None, "nginx", "latest", None),
            ("nginx:1.27", None, "nginx", "1.27", None),
            ("library/nginx:2", None, "library/nginx", "2", None),
            ("localhost/app:x", Some("localhost"), "app", "x", None),
            ("ghcr.io/team/app", Some("ghcr.io"), "team/app", "latest", None),
            ("127.0.0.1:5000/app", Some("127.0.0.1:5000"), "app", "latest", None),
            ("lan:5000/a/b:2", Some("lan:5000"), "a/b", "2", None),
            ("app:1@sha256:ab", None, "app", "1", Some("sha256:ab")),
            ("lan:5000/app@sha256:ab", Some("lan:5000"), "app", "latest", Some("sha256:ab")),
        ] {
            let found = ImageName::parse(text);
            let parts = (found.registry, found.repository, found.tag, found.digest);
            assert_eq!(parts, (registry, repository, tag, digest), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_name_round_trips(
            registry in "([a-z]{1,4}[.][a-z]{2}(:[0-9]{2,4})?/)?",
            repository in "[a-z]{1,4}(/[a-z]{1,4}){0,4}",
            tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,8})?",
            digest in "(@sha256:[0-9a-f]{64})?",
        ) {
            let text = format!("{registry}{repository}{tag}{digest}");
            let found = ImageName::parse(&text);
            prop_assert_eq!(found.registry, registry.strip_suffix('/'));
            prop_assert_eq!(found.repository, &repository);
            prop_assert_eq!(found.whole, format!("{registry}{repository}"));
            prop_assert_eq!(found.tag, tag.strip_prefix(':').unwrap_or("latest"));
            prop_assert_eq!(found.digest, digest.strip_prefix('@'));
        }

        #[test]
        fn any_text_is_parsed_as_a_name(text in any::<String>()) {
            let found = ImageName::parse(&text);
            prop_assert!(text.starts_with(found.whole));
            prop_assert!(found.whole.ends_with(found.repository));
        }
    }
}
