//! Labels of guests.

use proptest::prelude::*;

use super::*;
use crate::config::{labels_of, tags};

#[test]
fn tags_and_lines_of_the_description_are_labels() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    let written = json!({
        "tags": "web;prod",
        "description": "# Blog\r\n drowse.host = blog.example.org\ndrowse.idle=10m\ndrowse.idle=1h\n\
                        drowse.=x\ndrowse.a b=c\nother=1\n",
    });
    test.expect("api", &format!("GET {LXC}/config?current=1"), data(written));
    let labels = test.status("100").unwrap().labels;
    let labels: Vec<_> = labels.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
    let expected = [
        ("tag.web", ""),
        ("tag.prod", ""),
        ("drowse.host", "blog.example.org"),
        ("drowse.idle", "10m"),
    ];
    assert_eq!(labels, expected);
}

proptest! {
    #[test]
    fn any_text_yields_only_written_labels(text in "(\\PC|\n|=){0,120}") {
        for label in labels_of(&text) {
            prop_assert!(label.name.starts_with("drowse."));
            prop_assert!(text.contains(&label.name) && text.contains(&label.value));
        }
        for label in tags(&text) {
            prop_assert!(label.name.strip_prefix("tag.").is_some_and(|tag| text.contains(tag)));
        }
    }

    #[test]
    fn a_label_is_parsed_unchanged(key in "[a-z][a-z0-9._-]{0,20}", value in "[!-~][ -~]{0,40}") {
        let value = value.trim_end();
        let labels = labels_of(&format!("text\ndrowse.{key}={value}\nmore"));
        prop_assert_eq!(labels.len(), 1);
        prop_assert_eq!(&labels[0].name, &format!("drowse.{key}"));
        prop_assert_eq!(&labels[0].value, value);
    }
}
