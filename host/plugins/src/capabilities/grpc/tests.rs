use std::sync::Arc;

use tonic::Code;

use super::*;
use crate::{
    bindings::grpc::Host as _,
    capabilities::errors::status,
    context::{Grants, ProviderContext},
    convert::attribute,
    settings::{EndpointGrant, Secret, Transport},
};

const METHOD: &str = "/containerd.services.tasks.v1.Tasks/Get";

fn checked_metadata(method: &str, name: &str, value: &str) -> Result<HeaderMap, String> {
    let grant = EndpointGrant {
        transport: Transport::Unix("/run/daemon.sock".into()),
        base: String::new(),
        headers: vec![("containerd-lease".into(), Secret::Literal("ours".into()))],
        rules: None,
        token: None,
        timeout: Duration::from_secs(30),
    };
    let called = GrpcAttempt { provider: "box", endpoint: "daemon", method };
    metadata(&called, &Endpoint::new("daemon", &grant), &[attribute(name, value)])
}

#[test]
fn a_plugin_sets_metadata_of_the_called_service_only() {
    let set = checked_metadata(METHOD, "Containerd-Namespace", "default").unwrap();
    assert_eq!(set["containerd-namespace"], "default");
    for (name, why) in [
        ("authorization", "endpoint.daemon.headers"),
        ("cookie", "endpoint.daemon.headers"),
        ("host", "endpoint.daemon.headers"),
        ("te", "endpoint.daemon.headers"),
        ("grpc-timeout", "endpoint.daemon.headers"),
        ("containerd", "endpoint.daemon.headers"),
        ("xcontainerd-a", "endpoint.daemon.headers"),
        ("containerd-lease", "the router sets it"),
        ("containerd-a-bin", "only text values"),
        (":path", "not a valid name"),
        ("containerd-a b", "not a valid name"),
    ] {
        let refusal = checked_metadata(METHOD, name, "x").unwrap_err();
        assert!(refusal.contains(why), "{name}: {refusal}");
    }
    assert!(checked_metadata(METHOD, "containerd-namespace", "a\nb").is_err());
    assert!(checked_metadata("/grpc.health.v1.Health/Check", "grpc-timeout", "1n").is_err());
}

#[tokio::test]
async fn calls_to_ungranted_endpoints_are_refused_with_the_line_to_add() {
    let grants = Grants::new(Arc::new(ProviderContext::without_grants("box")), &[]);
    let mut state = HostState::new(Arc::new(grants), "start", None);
    let call = || wit::Call {
        endpoint: "daemon".into(),
        method: METHOD.into(),
        metadata: Vec::new(),
        message: Vec::new(),
        timeout_ms: None,
    };
    assert!(
        state.unary(call()).await.is_err(),
        "imports are refused before configure has returned"
    );
    state.initializing = false;
    for refused in [
        state.unary(call()).await.unwrap().unwrap_err(),
        state.server_stream(call()).await.unwrap().unwrap_err(),
    ] {
        assert!(matches!(refused.code, types::ErrorCode::Denied));
        assert!(refused.message.contains("add to [provider.box]: endpoint.daemon"), "{refused:?}");
    }
}

#[test]
fn the_grpc_status_code_is_passed_as_an_attribute() {
    let error = status(Code::NotFound, "no such task".into());
    assert!(matches!(error.code, types::ErrorCode::NotFound));
    assert_eq!(
        (error.attributes[0].name.as_str(), error.attributes[0].value.as_str()),
        ("grpc-status", "5")
    );
}
