//! The names of container images.

/// A name as containers have it, `registry/repository:tag@digest`, taken apart. Whether it is a valid
/// one is left to who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageName<'a> {
    /// The registry with its port. None when the name does not say; platforms take that for one of
    /// their own, usually `docker.io`.
    pub registry: Option<&'a str>,
    /// The repository in that registry.
    pub repository: &'a str,
    /// Registry and repository, as they are written.
    pub whole: &'a str,
    /// `latest` when there is none.
    pub tag: &'a str,
    /// `sha256:…`. Where there is one it says all, and the tag nothing.
    pub digest: Option<&'a str>,
}

// === impl ImageName ===

impl<'a> ImageName<'a> {
    /// Takes a name apart.
    pub fn parse(text: &'a str) -> Self {
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (text, None),
        };
        let (whole, tag) = match named.rsplit_once(':') {
            // Elsewhere it is the registry's port.
            Some((whole, tag)) if !tag.contains('/') => (whole, tag),
            _ => (named, "latest"),
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
    fn a_name_says_where_it_comes_from_and_what_is_meant() {
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
        fn every_name_is_put_together_again(
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
        fn any_text_is_taken_as_a_name(text in any::<String>()) {
            let found = ImageName::parse(&text);
            prop_assert!(text.starts_with(found.whole));
            prop_assert!(found.whole.ends_with(found.repository));
        }
    }
}
