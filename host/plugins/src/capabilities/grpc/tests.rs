use std::sync::Arc;

use super::*;
use crate::{
    bindings::grpc::Host as _,
    scope::{Scope, Tenant},
    settings::{EndpointGrant, Secret, Transport},
};

const METHOD: &str = "/containerd.services.tasks.v1.Tasks/Get";

fn told(method: &str, name: &str, value: &str) -> Result<HeaderMap, String> {
    let grant = EndpointGrant {
        transport: Transport::Unix("/run/daemon.sock".into()),
        base: String::new(),
        headers: vec![("containerd-lease".into(), Secret::Literal("ours".into()))],
        rules: None,
        token: None,
        timeout: Duration::from_secs(30),
    };
    let called = Called { provider: "box", endpoint: "daemon", method };
    metadata(&called, &Endpoint::new("daemon", &grant), &[attribute(name, value)])
}

#[test]
fn a_plugin_sets_what_is_the_service_s_own_and_nothing_else() {
    let set = told(METHOD, "Containerd-Namespace", "default").unwrap();
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
        ("containerd-a-bin", "only text"),
        (":path", "not a name"),
        ("containerd-a b", "not a name"),
    ] {
        let refusal = told(METHOD, name, "x").unwrap_err();
        assert!(refusal.contains(why), "{name}: {refusal}");
    }
    assert!(told(METHOD, "containerd-namespace", "a\nb").is_err());
    assert!(told("/grpc.health.v1.Health/Check", "grpc-timeout", "1n").is_err());
}

#[tokio::test]
async fn what_nobody_granted_is_refused_with_the_line_to_add() {
    let scope = Scope::new(Arc::new(Tenant::nobody("box")), &[]);
    let mut state = HostState::new(Arc::new(scope), "start", None);
    let call = || wit::Call {
        endpoint: "daemon".into(),
        method: METHOD.into(),
        metadata: Vec::new(),
        message: Vec::new(),
        timeout_ms: None,
    };
    assert!(state.unary(call()).await.is_err(), "not while it is configured");
    state.inside = false;
    for refused in [
        state.unary(call()).await.unwrap().unwrap_err(),
        state.server_stream(call()).await.unwrap().unwrap_err(),
    ] {
        assert!(matches!(refused.code, types::ErrorCode::Denied));
        assert!(refused.message.contains("add to [provider.box]: endpoint.daemon"), "{refused:?}");
    }
}

#[test]
fn a_status_keeps_its_number() {
    let told = status(Code::NotFound, "no such task".into());
    assert!(matches!(told.code, types::ErrorCode::NotFound));
    assert_eq!(
        (told.attributes[0].name.as_str(), told.attributes[0].value.as_str()),
        ("grpc-status", "5")
    );
}
