use drowse_provider_sdk::{ErrorCode, Health, Status};

use super::*;

const FIRST: &str = "GET /v1.41/containers/json?all=1&limit=100";

fn item(id: usize) -> Value {
    json!({ "Id": format!("{id:064x}"), "Names": [format!("/c{id}")], "State": "exited",
        "Status": "Exited (137) 4 seconds ago", "Labels": null, "Ports": null,
        "NetworkSettings": { "Networks": null } })
}

#[test]
fn recorded_containers_are_listed_with_state_and_addresses() {
    let test = docker();
    test.expect("engine", FIRST, recorded(include_str!("../../fixtures/list.json")));
    let page = test.list(None).unwrap();
    assert_eq!(page.next, None);
    let names: Vec<&str> = page.observations.iter().map(|it| it.handle.as_str()).collect();
    assert_eq!(names, ["host", "c3", "web"]);
    assert_eq!(page.observations[0].addresses[0].host, "127.0.0.1");
    let web = &page.observations[2];
    assert_eq!((&web.status, web.native_id.as_deref()), (&Status::Running, Some(WEB_ID)));
    let hosts: Vec<&str> = web.addresses.iter().map(|it| it.host.as_str()).collect();
    assert_eq!(hosts, ["172.31.77.3", "172.31.78.2", "127.0.0.1", "::1", "127.0.0.1"]);
    assert_eq!(web.label("drowse.enable"), Some("true"));
}

#[test]
fn a_full_page_has_a_next_page_and_a_short_one_is_the_last() {
    let test = docker();
    let full: Vec<Value> = (0..100).map(item).collect();
    test.expect("engine", FIRST, Reply::json(json!(full)));
    let page = test.list(None).unwrap();
    assert_eq!(page.observations.len(), 100);
    let cursor = page.next.unwrap();
    assert_eq!(cursor, format!("{:064x}", 99));
    let next = format!("{FIRST}&filters=%7B%22before%22%3A%5B%22{cursor}%22%5D%7D");
    test.expect("engine", &next, Reply::json(json!([item(100)])));
    let page = test.list(Some(&cursor)).unwrap();
    assert_eq!((page.observations.len(), page.next), (1, None));
    let seen = &page.observations[0];
    assert_eq!(
        (seen.status.clone(), seen.attribute("exit-status")),
        (Status::Stopped, Some("137"))
    );
}

#[test]
fn a_cursor_whose_container_is_gone_is_a_conflict() {
    let test = docker();
    let next = format!("{FIRST}&filters=%7B%22before%22%3A%5B%22abc%22%5D%7D");
    test.expect("engine", &next, refused(500, "no such container abc"));
    let error = test.list(Some("abc")).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert!(error.message().ends_with("start again from the first page"), "{}", error.message());
}

#[test]
fn health_and_name_are_parsed_from_list_items() {
    let test = docker();
    let mut items = Vec::new();
    for (id, status) in
        ["Up 2 minutes (healthy)", "Up 3 s (unhealthy)", "Up 1 s (health: starting)", "Up 5 s"]
            .iter()
            .enumerate()
    {
        let mut item = item(id);
        item["State"] = json!("running");
        item["Status"] = json!(status);
        item["Names"] = json!(["/other/alias", format!("/c{id}")]);
        items.push(item);
    }
    test.expect("engine", FIRST, Reply::json(json!(items)));
    let page = test.list(None).unwrap();
    let seen: Vec<(&str, &Health)> =
        page.observations.iter().map(|it| (it.handle.as_str(), &it.health)).collect();
    assert_eq!(
        seen,
        [
            ("c0", &Health::Healthy),
            ("c1", &Health::Unhealthy),
            ("c2", &Health::Starting),
            ("c3", &Health::None)
        ]
    );
}
