use serde_json::json;

use super::*;
use crate::scim::error::ScimType;

fn refusal(body: &str) -> String {
    parse_json(body.as_bytes()).unwrap_err().to_string()
}

#[test]
fn reads_json_as_it_is() {
    let text = r#"{"a":[1,-2,2.5,true,null,"ü😀"],"b":{"a":{}}}"#;
    assert_eq!(
        parse_json(text.as_bytes()).unwrap(),
        serde_json::from_str::<Value>(text).unwrap()
    );
}

/// What is stored is printed and read again and again, and must not drift.
#[test]
fn reads_a_number_as_the_one_that_was_printed() {
    let number =
        parse_json(b"166666666666666666666666666666666666666666666666666666666666666666e2")
            .unwrap();
    assert_eq!(parse_json(number.to_string().as_bytes()), Ok(number));
}

#[test]
fn refuses_what_two_readers_could_read_differently() {
    assert!(
        refusal(r#"{"a":1,"b":{"c":1,"c":2}}"#).contains("\"c\" is there twice at line 1 column 2")
    );
    assert!(refusal("{\"a\":\n\"\\u0000\"}").contains("U+0000 at line 2"));
    assert!(refusal("{\"a\\u0000\":1}").contains("a key contains"));
    assert!(refusal("{} {}").contains("trailing characters"));
    assert!(refusal("").contains("EOF"));
    assert!(parse_json(b"\"\xff\"").is_err());
}

#[test]
fn refuses_to_go_deeper_than_64_levels() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse_json(nested(64).as_bytes()).is_ok());
    assert!(refusal(&nested(65)).contains("more than 64 levels"));
    assert!(parse_json("[".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn the_elements_of_one_list_come_apart() {
    let apart = |body: &str| {
        let elements = std::cell::RefCell::new(vec![]);
        let with = |element| elements.borrow_mut().push(element);
        let rest = parse_json_but(body.as_bytes(), "list", &with);
        (rest, elements.into_inner())
    };
    assert_eq!(
        apart(r#"{"List":[1,[2],{"list":[3]}],"other":[4]}"#),
        (
            Ok(json!({"List": [], "other": [4]})),
            vec![json!(1), json!([2]), json!({"list": [3]})]
        )
    );
    for body in [
        r#"[{"list":[1]}]"#,
        r#"{"list":{"list":[1]}}"#,
        r#"{"a":{"list":[1]}}"#,
    ] {
        assert_eq!(apart(body), (parse_json(body.as_bytes()), vec![]), "{body}");
    }
    for body in [r#"{"list":[1,{"a":1,"a":2}]}"#, r#"{"list":[1]"#] {
        assert_eq!(
            apart(body),
            (parse_json(body.as_bytes()), vec![json!(1)]),
            "{body}"
        );
    }
}

fn query(pairs: &[(&str, &str)]) -> Result<SearchRequest, ScimError> {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    SearchRequest::from_query(&pairs)
}

#[test]
fn numbers_out_of_range_are_brought_into_it() {
    let request = query(&[("startIndex", "-5"), ("count", "-1")]).unwrap();
    assert_eq!((request.start_index, request.count), (Some(1), Some(0)));
    assert_eq!(query(&[("STARTINDEX", "0")]).unwrap().start_index, Some(1));
    for (name, value) in [
        ("count", "ten"),
        ("startIndex", "1.5"),
        ("count", "99999999999999999999"),
        ("count", "-"),
        ("sortOrder", "up"),
    ] {
        assert!(query(&[(name, value)]).is_err(), "{name}={value}");
    }
}

#[test]
fn unknown_and_empty_parameters_are_ignored() {
    let request = query(&[
        ("aadOptscim062020", ""),
        ("filter", ""),
        ("count", " "),
        ("x", "y"),
    ])
    .unwrap();
    assert_eq!(request, SearchRequest::default());
}

#[test]
fn pages_are_asked_for_by_a_cursor_or_by_an_index() {
    assert_eq!(
        query(&[("Cursor", "")]).unwrap().cursor.as_deref(),
        Some("")
    );
    assert_eq!(query(&[("count", "3")]).unwrap().cursor, None);
    let body = json!({"schemas": [SEARCH_REQUEST_URN], "cursor": "", "count": 3});
    let request = SearchRequest::from_json(&body).unwrap();
    assert_eq!(
        (request.cursor.as_deref(), request.count),
        (Some(""), Some(3))
    );
    let refused = |pairs| query(pairs).unwrap_err().scim_type();
    assert_eq!(
        refused(&[("cursor", ""), ("startIndex", "1")]),
        Some(ScimType::InvalidValue)
    );
    assert_eq!(
        refused(&[("cursor", ""), ("cursor", "a")]),
        Some(ScimType::InvalidCursor)
    );
    assert_eq!(refused(&[("count", "x")]), Some(ScimType::InvalidCount));
}

#[test]
fn a_search_request_says_the_same_as_a_query() {
    let by_url = query(&[
        ("attributes", "userName, name.givenName"),
        ("sortBy", "userName"),
        ("sortOrder", "Descending"),
        ("startIndex", "3"),
        ("count", "7"),
        ("filter", "userName eq \"ada\""),
    ]);
    let by_body = SearchRequest::from_json(&json!({
        "schemas": [SEARCH_REQUEST_URN],
        "attributes": ["userName", "name.givenName"],
        "sortBy": "userName",
        "sortOrder": "descending",
        "startIndex": 3,
        "count": 7,
        "filter": "userName eq \"ada\"",
    }));
    let by_url = by_url.unwrap();
    assert_eq!(by_body.unwrap(), by_url);
    assert!(by_url.descending);
    assert_eq!(by_url.projection.attributes.len(), 2);
    assert!(SearchRequest::from_json(&json!({"schemas": ["x"]})).is_err());
}

#[test]
fn a_list_counts_what_it_holds() {
    let list = json!(ListResponse::at(3, 5, vec![json!({}), json!({})]));
    assert_eq!(
        (
            &list["totalResults"],
            &list["startIndex"],
            &list["itemsPerPage"]
        ),
        (&json!(5), &json!(3), &json!(2))
    );
}
