//! Headers and metadata that a provider may send.

/// Headers that a provider may set: they describe its request and accepted responses. Credentials,
/// destination and connection belong to the router, and a platform may read another method or path
/// from any other header.
pub const HEADERS: [&str; 15] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "user-agent",
];

/// First words of header names with a general meaning, whatever a service is called:
/// `x-http-method-override`, `proxy-authorization`, `content-type`.
const RESERVED: [&str; 12] = [
    "accept",
    "access",
    "cache",
    "content",
    "forwarded",
    "grpc",
    "if",
    "proxy",
    "sec",
    "transfer",
    "www",
    "x",
];

/// Returns whether a provider may set this header.
pub fn is_allowed_header(name: &str) -> bool {
    HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

/// Whether a provider may send this metadata with a gRPC call to `/package.Service/Method`. A name
/// that begins with the first word of the called service belongs to the service:
/// `containerd-namespace` for `containerd.services.tasks.v1.Tasks`.
pub fn is_allowed_metadata(method: &str, name: &str) -> bool {
    let own = metadata_prefix(method);
    !RESERVED.contains(&own.as_str())
        && name.strip_prefix(&own).is_some_and(|rest| rest.starts_with('-'))
}

/// The first word of the called service, in lower case.
pub fn metadata_prefix(method: &str) -> String {
    let word = method.trim_start_matches('/').split('.').next().unwrap_or_default();
    word.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_named_like_a_header_family_sets_none_of_its_headers() {
        for (method, name) in [
            ("/x.v1.S/M", "x-http-method-override"),
            ("/X.v1.S/M", "x-forwarded-for"),
            ("/proxy.v1.S/M", "proxy-authorization"),
            ("/transfer.v1.S/M", "transfer-encoding"),
            ("/content.v1.S/M", "content-type"),
            ("/grpc.v1.S/M", "grpc-timeout"),
            ("/containerd.v1.S/M", "containerd"),
            ("/containerd.v1.S/M", "authorization"),
        ] {
            assert!(!is_allowed_metadata(method, name), "{name} for {method}");
        }
        assert!(is_allowed_metadata("/containerd.services.tasks.v1.Tasks/Get", "containerd-lease"));
    }
}
