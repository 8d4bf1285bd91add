use super::*;
use crate::{ErrorCode, testing::Silent};

#[test]
fn a_call_before_configure_is_an_invalid_request() {
    let error = Glue::<Silent>::status("x".into()).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidRequest);
    assert!(error.message.contains("call configure first"), "{}", error.message);
}

#[test]
fn a_refused_configuration_leaves_no_provider() {
    Glue::<Silent>::configure("{}".to_owned()).unwrap();
    Glue::<Silent>::status("x".into()).unwrap();
    Glue::<Silent>::configure(r#"{"odd": 1}"#.to_owned()).unwrap_err();
    assert_eq!(Glue::<Silent>::status("x".into()).unwrap_err().code, ErrorCode::InvalidRequest);
}

#[test]
fn an_error_in_target_settings_names_target_and_key() {
    Glue::<Silent>::configure(String::new()).unwrap();
    let target = ("web", serde_json::json!({"odd": 1})).into();
    let error = Glue::<Silent>::start(target).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidRequest);
    assert!(
        error.message.starts_with(r#"settings of target "web": key "odd": unknown field"#),
        "{}",
        error.message
    );
}

#[test]
fn an_unimplemented_function_is_unsupported() {
    Glue::<Silent>::configure(String::new()).unwrap();
    let error = Glue::<Silent>::pause("web".into()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unsupported);
    assert_eq!(error.message, r#"pause "web": this provider cannot do that"#);
    assert_eq!(Glue::<Silent>::watch().unwrap_err().code, ErrorCode::Unsupported);
    let error = Glue::<Silent>::exec("web".into(), vec!["true".into()]).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unsupported);
    assert_eq!(error.message, r#"run a command in "web": this provider cannot do that"#);
    assert_eq!(Glue::<Silent>::usage("web".into()).unwrap_err().code, ErrorCode::Unsupported);
}

#[test]
fn an_empty_command_never_reaches_a_provider() {
    Glue::<Silent>::configure(String::new()).unwrap();
    let error = Glue::<Silent>::exec("web".into(), Vec::new()).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidRequest);
}
