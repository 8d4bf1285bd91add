use drowse_tests::bombs;

use super::*;
use crate::{info::PluginKind, runtime::compiling_engine};

async fn refusal(bytes: Vec<u8>) -> String {
    let compiler = Compiler::new(None, CompileLimits::default());
    let source = Arc::new(PluginSource::new(PluginKind::Component, "bomb.wasm", bytes));
    let compiled = compiler.compile(&compiling_engine().unwrap(), &source).await;
    compiled.err().expect("it is refused")
}

#[tokio::test]
async fn a_file_is_measured_before_it_is_compiled() {
    assert!(refusal(bombs::functions(999_999)).await.contains("more than 200000 functions"));
    assert!(refusal(bombs::branches(150_000)).await.contains("branches in one function"));
}

#[tokio::test]
async fn a_component_without_the_provider_export_is_not_compiled() {
    let text = format!("(component (core module {}))", "(func)".repeat(1000));
    let cause = refusal(wat::parse_str(text).unwrap()).await;
    assert!(cause.contains("does not export drowse:provider/provider@0.1.0"), "{cause}");
}
