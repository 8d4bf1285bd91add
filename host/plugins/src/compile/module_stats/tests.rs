use std::fmt::Write as _;

use drowse_tests::bombs;

use super::*;

fn refusal(bytes: &[u8]) -> String {
    measure(bytes).expect_err("it exceeds a limit")
}

fn fits(bytes: &[u8]) {
    measure(bytes).unwrap();
    wasmparser::Validator::new().validate_all(bytes).expect("the test's module is valid");
}

#[test]
fn functions_are_counted() {
    fits(&bombs::functions(1000));
    let cause = refusal(&bombs::functions(999_999));
    assert!(cause.starts_with("it has more than 200000 functions, which"), "{cause}");
}

#[test]
fn the_functions_of_all_modules_are_counted_together() {
    let mut text = String::from("(component");
    for _ in 0..4 {
        let functions = "(func)".repeat(60_000);
        write!(text, "(core module {functions})").unwrap();
    }
    text.push(')');
    assert!(refusal(&wat::parse_str(text).unwrap()).contains("functions"));
}

#[test]
fn the_branches_of_a_function_are_counted() {
    // A block and the branch out of it count as two.
    fits(&bombs::branches(40_000));
    let cause = refusal(&bombs::branches(150_000));
    assert!(cause.contains("more than 100000 branches in one function"), "{cause}");
    fits(&bombs::table(50_000));
    let cause = refusal(&bombs::table(200_000));
    assert!(cause.contains("branches in one function"), "{cause}");
}

#[test]
fn nested_blocks_are_counted() {
    fits(&bombs::blocks(5_000));
    let cause = refusal(&bombs::blocks(20_000));
    assert!(cause.contains("more than 10000 levels of nested blocks"), "{cause}");
}

#[test]
fn a_function_that_is_too_long_is_refused() {
    fits(&bombs::long(1 << 20));
    assert!(refusal(&bombs::long(3 << 20)).contains("bytes in one function"));
}

#[test]
fn local_variables_are_counted_without_their_names() {
    fits(&bombs::locals(10));
    assert!(refusal(&bombs::locals(201)).contains("local variables"));
}

#[test]
fn types_and_segments_are_counted() {
    fits(&bombs::types(1000));
    assert!(refusal(&bombs::types(300_000)).contains("types"));
    fits(&bombs::segments(1000));
    assert!(refusal(&bombs::segments(100_001)).contains("segments"));
}

#[test]
fn nested_components_are_counted() {
    fits(&bombs::nested(20));
    assert!(refusal(&bombs::nested(40)).contains("levels of nested components"));
    let many = format!("(component {})", "(core module)".repeat(1001));
    assert!(refusal(&wat::parse_str(many).unwrap()).contains("modules and components"));
}

#[test]
fn only_the_export_of_the_file_itself_counts() {
    let export = "(instance $p) (export \"drowse:provider/provider@0.1.7\" (instance $p))";
    let outer = wat::parse_str(format!("(component {export})")).unwrap();
    assert_eq!(provider(&outer).unwrap().as_deref(), Some("0.1.7"));
    let inner = wat::parse_str(format!("(component (component {export}))")).unwrap();
    assert_eq!(provider(&inner).unwrap(), None);
}
