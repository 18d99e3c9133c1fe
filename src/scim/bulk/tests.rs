use serde_json::json;

use super::*;

fn request(operations: Value) -> BulkRequest {
    let body = json!({"schemas": [BULK_REQUEST_URN], "Operations": operations});
    BulkRequest::read(body.to_string().as_bytes()).unwrap()
}

fn refusal(body: Value) -> String {
    let read = BulkRequest::read(body.to_string().as_bytes());
    read.unwrap_err().to_string()
}

/// Why the first operation can't be done.
fn fault(operation: Value) -> String {
    let request = request(json!([operation]));
    request.operations[0]
        .action
        .clone()
        .unwrap_err()
        .to_string()
}

fn post(bulk_id: &str, refers_to: &[&str]) -> Value {
    let members: Vec<Value> = refers_to
        .iter()
        .map(|id| json!({"value": reference(id)}))
        .collect();
    json!({"method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": {"members": members}})
}

/// The steps, by the operations' places.
fn steps(operations: Value) -> Vec<Vec<usize>> {
    let steps = request(operations).steps();
    steps.into_iter().map(|step| step.operations).collect()
}

#[test]
fn reads_what_operations_ask_for() {
    let request = request(json!([
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": {}},
        {"METHOD": "PUT", "Path": "Users/1", "data": {}, "version": "W/\"1\""},
        {"method": "PATCH", "path": "/Groups/bulkId:a/b/", "data": {}},
        {"method": "DELETE", "path": "//Groups/2", "data": null, "bulkId": null},
    ]));
    let actions: Vec<Action> = request
        .operations
        .iter()
        .map(|operation| operation.action.clone().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            Action::Create(Kind::User),
            Action::Replace(Kind::User, "1".to_owned()),
            Action::Patch(Kind::Group, "bulkId:a/b".to_owned()),
            Action::Delete(Kind::Group, "2".to_owned()),
        ]
    );
    assert_eq!(request.operations[1].version.as_deref(), Some("W/\"1\""));
    assert_eq!(
        request.operations[2].references,
        BTreeSet::from(["a/b".to_owned()])
    );
}

#[test]
fn says_what_is_wrong_with_an_operation() {
    let user = |more: Value| {
        let mut operation = json!({"method": "POST", "path": "/Users", "bulkId": "a", "data": {}});
        let more = more.as_object().unwrap().clone();
        operation.as_object_mut().unwrap().extend(more);
        fault(operation)
    };
    for (more, expected) in [
        (
            json!({"method": null}),
            "400 invalidSyntax: method is missing",
        ),
        (json!({"path": null}), "400 invalidSyntax: path is missing"),
        (
            json!({"bulkId": null}),
            "400 invalidSyntax: bulkId, which a POST needs, is missing",
        ),
        (
            json!({"bulkId": ""}),
            "400 invalidSyntax: bulkId, which a POST needs, is missing",
        ),
        (
            json!({"bulkId": 7}),
            "400 invalidValue: bulkId is 7 where a string",
        ),
        (json!({"data": null}), "400 invalidSyntax: data is missing"),
        (
            json!({"method": "GET"}),
            "400 invalidValue: method is \"GET\"",
        ),
        (
            json!({"path": "/Devices"}),
            "404: there is nothing at \"/Devices\"",
        ),
        (json!({"path": "/Users/1"}), "405: POST is not allowed"),
        (
            json!({"method": "PUT"}),
            "405: PUT is not allowed at \"/Users\", but at /Users/ and an id",
        ),
        (
            json!({"method": "DELETE", "path": ""}),
            "404: there is nothing",
        ),
        (json!({"Method": "POST"}), "400 invalidSyntax: "),
    ] {
        let found = user(more.clone());
        assert!(found.starts_with(expected), "{more}: {found}");
    }
    assert!(fault(json!(["POST"])).contains("not an object"));
}

#[test]
fn refuses_what_is_no_bulk_request() {
    let with = |more: Value| {
        let mut body = json!({"schemas": [BULK_REQUEST_URN], "Operations": [{}]});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        body
    };
    let two = with(json!({"failOnErrors": 2})).to_string();
    assert!(BulkRequest::read(two.as_bytes()).is_ok());
    for (more, expected) in [
        (
            json!({"schemas": ["x"]}),
            "schemas does not contain urn:ietf",
        ),
        (json!({"Operations": null}), "Operations is missing"),
        (json!({"Operations": []}), "Operations is empty"),
        (json!({"Operations": {}}), "Operations is not a list"),
        (json!({"failOnErrors": 0}), "a whole number above 0"),
        (json!({"failOnErrors": "1"}), "a whole number above 0"),
        (json!({"operations": []}), "twice"),
        (
            json!({"Operations": vec![json!({}); 1001]}),
            "413: the bulk request has 1001 operations, which exceeds maxOperations (1000)",
        ),
    ] {
        let found = refusal(with(more.clone()));
        assert!(found.contains(expected), "{more}: {found}");
    }
    assert!(refusal(json!([])).contains("not an object"));
}

#[test]
fn what_is_referred_to_comes_first_and_the_rest_in_order() {
    let plain = steps(json!([post("a", &[]), post("b", &["a"]), post("c", &[])]));
    assert_eq!(plain, [[0], [1], [2]]);
    let forward = steps(json!([
        post("x", &[]),
        post("a", &["c", "b"]),
        post("b", &[]),
        post("c", &["b"])
    ]));
    assert_eq!(forward, [[0], [2], [3], [1]]);
    let by_path = steps(json!([
        {"method": "DELETE", "path": "/Groups/bulkId:a", "data": "bulkId:a is not read"},
        post("a", &[]),
    ]));
    assert_eq!(by_path, [[1], [0]]);
}

#[test]
fn circles_are_one_step_with_users_first() {
    let user = json!({"method": "POST", "path": "/Users", "bulkId": "u", "data": {"x": [{"y": "bulkId:b"}]}});
    let operations = json!([
        post("first", &[]),
        post("a", &["b"]),
        post("b", &["u", "first"]),
        user,
        post("out", &["a"])
    ]);
    assert_eq!(steps(operations), [vec![0], vec![3, 2], vec![1], vec![4]]);
    let ring = request(json!([
        post("a", &["b"]),
        post("b", &["c"]),
        post("c", &["a"]),
        post("d", &["d"]),
        post("e", &[])
    ]));
    let found: Vec<(Vec<usize>, bool)> = ring
        .steps()
        .into_iter()
        .map(|step| (step.operations, step.circular))
        .collect();
    assert_eq!(
        found,
        [(vec![0, 1, 2], true), (vec![3], true), (vec![4], false)]
    );
}

/// Each refers to the next: as deep as it gets.
#[test]
fn a_chain_of_a_thousand_is_put_in_order() {
    let chain: Vec<Value> = (0..MAX_OPERATIONS)
        .map(|n| post(&n.to_string(), &[&(n + 1).to_string()]))
        .collect();
    let order: Vec<usize> = steps(json!(chain)).into_iter().flatten().collect();
    assert!(order.iter().rev().copied().eq(0..MAX_OPERATIONS));
}

#[test]
fn a_repeated_bulk_id_is_refused_and_means_nobody() {
    let request = request(json!([post("a", &[]), post("a", &[]), post("b", &["a"])]));
    assert!(request.operations[0].action.is_ok());
    let repeated = request.operations[1].action.clone().unwrap_err();
    assert!(
        repeated
            .to_string()
            .contains("has the bulkId \"a\" already")
    );
    assert!(
        request
            .creator("a")
            .unwrap_err()
            .to_string()
            .contains("more than one operation")
    );
    assert!(
        request
            .creator("x")
            .unwrap_err()
            .to_string()
            .contains("no operation")
    );
    assert_eq!(request.creator("b"), Ok(2));
}

#[test]
fn references_are_whole_strings_at_any_depth() {
    let mut data = json!({
        "bulkId:a": "bulkId:a",
        "members": [{"value": "bulkId:b"}, "bulkId:a"],
        "title": "see bulkId:a",
        "n": 1,
    });
    let id_of = |bulk_id: &str| Ok::<_, ()>(bulk_id.to_uppercase());
    resolve(&mut data, &id_of).unwrap();
    assert_eq!(
        data,
        json!({"bulkId:a": "A", "members": [{"value": "B"}, "A"], "title": "see bulkId:a", "n": 1})
    );
    assert_eq!(resolve(&mut json!(["bulkId:z"]), &|_: &str| Err(7)), Err(7));
}

#[test]
fn an_answer_repeats_the_operation_and_its_refusal() {
    let request = request(json!([post("a", &[])]));
    let operation = &request.operations[0];
    let made = operation.answer(201, Some("https://x/1".to_owned()), Some("W/\"1\""), None);
    assert_eq!(
        json!(made),
        json!({"method": "POST", "bulkId": "a", "location": "https://x/1", "version": "W/\"1\"", "status": "201"})
    );
    let refused = operation.answer(404, None, None, Some(&ScimError::not_found("no")));
    assert_eq!(
        json!(refused),
        json!({"method": "POST", "bulkId": "a", "status": "404", "response": ScimError::not_found("no").to_json()})
    );
}

#[test]
fn references_stand_in_paths_and_urls_too() {
    let operation = |path: &str| json!({"op": "remove", "path": path});
    let body = json!({
        "Operations": [
            operation(r#"members[value eq "bulkId:a" or display eq "\"bulkId:no\"" or value eq "bulkId:\u0062"]"#),
            {"op": "add", "path": "members", "value": [{"value": "u", "$ref": "https://h/scim/v2/Groups/bulkId:c"}]},
        ],
        "path": "\"bulkId:no\"",
        "displayName": "not /bulkId:no",
        "$ref": "../Users/bulkId:d",
    });
    let mut found = BTreeSet::new();
    collect(&body, &mut found);
    assert_eq!(found, ["a", "b", "c", "d"].map(str::to_owned).into());
    let mut resolved = body;
    resolve(&mut resolved, &|id: &str| Ok::<_, ()>(format!("ID-{id}"))).unwrap();
    assert_eq!(
        resolved["Operations"][0]["path"],
        r#"members[value eq "ID-a" or display eq "\"bulkId:no\"" or value eq "ID-b"]"#
    );
    let url = &resolved["Operations"][1]["value"][0]["$ref"];
    assert_eq!(*url, "https://h/scim/v2/Groups/ID-c");
    assert_eq!(resolved["$ref"], "../Users/ID-d");
}

/// A group comes after those that are its members, in a circle that other attributes close, too.
#[test]
fn groups_that_refer_to_each_other_come_after_their_members() {
    let group = |bulk_id: &str, members: &[&str], custom: &[&str]| {
        let refer = |ids: &[&str]| -> Vec<_> {
            ids.iter()
                .map(|id| json!({"value": format!("bulkId:{id}")}))
                .collect()
        };
        let data = json!({"members": refer(members), "urn:x": {"near": refer(custom)}});
        json!({"method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": data})
    };
    let steps = |operations: Value| -> Vec<_> {
        let body = json!({"schemas": [BULK_REQUEST_URN], "Operations": operations});
        let request = BulkRequest::read(body.to_string().as_bytes()).unwrap();
        let steps = request.steps().into_iter();
        steps
            .map(|step| (step.operations, step.nests_itself))
            .collect()
    };
    let outer_first = json!([
        group("a", &["b"], &[]),
        group("b", &["c"], &[]),
        group("c", &[], &["a"])
    ]);
    assert_eq!(steps(outer_first), [(vec![2, 1, 0], false)]);
    let circle = json!([group("a", &["b"], &[]), group("b", &["a"], &[])]);
    assert_eq!(steps(circle), [(vec![0, 1], true)]);
    assert_eq!(steps(json!([group("a", &["a"], &[])])), [(vec![0], true)]);
}
