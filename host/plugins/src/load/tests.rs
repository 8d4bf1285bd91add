use super::*;

fn house() -> (tempfile::TempDir, Arc<House>) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir.path().join("compiled"));
    let house = House { runtime: Runtime::new().unwrap(), cache };
    (dir, Arc::new(house))
}

async fn refusal(bytes: impl Into<Cow<'static, [u8]>>) -> String {
    let (_dir, house) = house();
    let source = Source::new("plugins/test.wasm", bytes);
    load(&house, source).await.err().expect("it is refused")
}

async fn refusal_of_text(text: &str) -> String {
    refusal(wat::parse_str(text).unwrap()).await
}

#[tokio::test]
async fn what_is_not_wasm_is_named_so() {
    let cause = refusal(&b"#!/bin/sh"[..]).await;
    assert!(cause.starts_with("plugin plugins/test.wasm: it is not WASM; build it"), "{cause}");
    assert!(refusal(&b""[..]).await.contains("it is not WASM"));
}

#[tokio::test]
async fn half_a_file_is_refused() {
    let whole = wat::parse_str("(module (memory 1) (func (export \"f\")))").unwrap();
    let half = whole[..whole.len() - 3].to_vec();
    assert!(refusal(half).await.contains("not a complete WASM file"));
    let whole = wat::parse_str("(component (core module (memory 1)))").unwrap();
    let half = whole[..whole.len() - 3].to_vec();
    assert!(refusal(half).await.contains("not a valid component"));
}

#[tokio::test]
async fn a_wasip1_module_gets_advice() {
    let cause = refusal_of_text(
        "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i32 i32 i32) (result i32))))",
    )
    .await;
    assert!(
        cause.contains("built for wasm32-wasip1") && cause.contains("wasm32-wasip2"),
        "{cause}"
    );
}

#[tokio::test]
async fn a_module_without_a_component_type_gets_advice() {
    let cause = refusal_of_text("(module (func (export \"start\")))").await;
    assert!(
        cause.contains("without a component type; build it with drowse-provider-sdk"),
        "{cause}"
    );
}

#[tokio::test]
async fn a_component_that_is_no_provider_is_refused() {
    let cause = refusal_of_text("(component)").await;
    assert!(cause.contains("does not export drowse:provider/provider@0.1.0"), "{cause}");
}

#[tokio::test]
async fn another_contract_is_named_with_both_versions() {
    let cause = refusal_of_text(
        "(component (instance $p) (export \"drowse:provider/provider@0.2.0\" (instance $p)))",
    )
    .await;
    assert!(cause.contains("contract 0.2.0, and this router speaks 0.1.0"), "{cause}");
}

#[tokio::test]
async fn interfaces_that_are_not_offered_are_named() {
    for interface in ["grpc", "network", "udp"] {
        let cause = refusal_of_text(&format!(
            "(component
                (import \"drowse:provider/{interface}@0.1.0\" (instance (export \"f\" (func))))
                (instance $p) (export \"drowse:provider/provider@0.1.0\" (instance $p)))"
        ))
        .await;
        let wanted = format!(
            "imports drowse:provider/{interface}@0.1.0, and this version of the router does not offer"
        );
        assert!(cause.contains(&wanted), "{cause}");
    }
}

#[tokio::test]
async fn imports_of_elsewhere_are_named() {
    let cause = refusal_of_text(
        "(component
            (import \"wasi:http/outgoing-handler@0.2.0\" (instance (export \"handle\" (func))))
            (instance $p) (export \"drowse:provider/provider@0.1.0\" (instance $p)))",
    )
    .await;
    assert!(cause.contains("wasi:http/outgoing-handler@0.2.0"), "{cause}");
}

#[tokio::test]
async fn a_provider_without_the_functions_of_the_contract_is_refused() {
    let cause = refusal_of_text(
        "(component (instance $p) (export \"drowse:provider/provider@0.1.0\" (instance $p)))",
    )
    .await;
    assert!(cause.contains("does not fit contract 0.1.0"), "{cause}");
}
