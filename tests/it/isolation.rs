//! One tenant's token with another tenant's ids: nothing is there, nothing is told, nothing changes.

use serde_json::{Value, json};

use crate::directory::ENTERPRISE;
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, patch_op, text, user};

/// A tenant's user and group, for another tenant to reach for.
struct Foreign {
    user: String,
    group: String,
}

/// Two tenants; the first has a user in a group. The check is run as the second, then the first must be as before.
fn as_a_stranger(check: impl FnOnce(&mut ScimClient, &Foreign)) {
    let server = Server::start();
    let (ours, theirs) = (
        Tenant::create(&server, "ours"),
        Tenant::create(&server, "theirs"),
    );
    let mut owner = ours.client();
    let user = owner.create(
        "/Users",
        &user(
            "ana@contoso.example",
            json!({"externalId": "x-1", "title": "Engineer"}),
        ),
    );
    let group = owner.create(
        "/Groups",
        &group(
            "SRE",
            json!({"externalId": "g-1", "members": [{"value": user}]}),
        ),
    );
    let before = state(&mut owner);
    check(&mut theirs.client(), &Foreign { user, group });
    assert_eq!(state(&mut owner), before, "the owner's data changed");
}

fn state(client: &mut ScimClient) -> Value {
    json!([
        client.get("/Users?sortBy=id"),
        client.get("/Groups?sortBy=id")
    ])
}

#[test]
fn every_method_on_a_foreign_id_answers_404() {
    as_a_stranger(|stranger, foreign| {
        let paths = [
            (
                format!("/Users/{}", foreign.user),
                user("ana@contoso.example", json!({})),
            ),
            (
                format!("/Groups/{}", foreign.group),
                group("SRE", json!({})),
            ),
        ];
        for (path, body) in paths {
            let attribute = if path.starts_with("/Users") {
                "title"
            } else {
                "displayName"
            };
            let patch =
                patch_op(json!([{"op": "replace", "path": attribute, "value": "Taken over"}]));
            stranger.expect(404, "GET", &path, None);
            stranger.expect(404, "GET", &format!("{path}?attributes=id"), None);
            stranger.expect(404, "PUT", &path, Some(&body));
            stranger.expect(404, "PATCH", &path, Some(&patch));
            stranger.expect(404, "PATCH", &format!("{path}?attributes=id"), Some(&patch));
            stranger.expect(404, "DELETE", &path, None);
        }
        let members = format!("/Groups/{}", foreign.group);
        for operation in [
            json!({"op": "remove", "path": "members"}),
            json!({"op": "remove", "path": format!("members[value eq \"{}\"]", foreign.user)}),
            json!({"op": "Remove", "path": "members", "value": [{"value": foreign.user}]}),
            json!({"op": "add", "path": "members", "value": []}),
        ] {
            stranger.expect(404, "PATCH", &members, Some(&patch_op(json!([operation]))));
        }
    });
}

#[test]
fn a_bulk_request_reaches_nothing_foreign_either() {
    as_a_stranger(|stranger, foreign| {
        let (user_path, group_path) = (
            format!("/Users/{}", foreign.user),
            format!("/Groups/{}", foreign.group),
        );
        let title = patch_op(json!([{"op": "replace", "path": "title", "value": "Taken over"}]));
        let team = group("New", json!({"members": [{"value": foreign.user}]}));
        let answer = stranger.expect(
            200,
            "POST",
            "/Bulk",
            Some(&json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
                "Operations": [
                    {"method": "PUT", "path": user_path, "data": user("ana@contoso.example", json!({}))},
                    {"method": "PATCH", "path": user_path, "data": title},
                    {"method": "DELETE", "path": user_path},
                    {"method": "DELETE", "path": group_path},
                    {"method": "POST", "path": "/Groups", "bulkId": "g", "data": team},
                ],
            })),
        );
        let statuses: Vec<&Value> = answer["Operations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|operation| &operation["status"])
            .collect();
        assert_eq!(statuses, ["404", "404", "404", "404", "400"]);
        assert!(stranger.all("/Groups").is_empty());
    });
}

#[test]
fn a_version_does_not_tell_a_foreign_id_from_an_unknown_one() {
    as_a_stranger(|stranger, foreign| {
        let known = stranger.expect(404, "GET", &format!("/Users/{}", foreign.user), None);
        let unknown = stranger.expect(
            404,
            "GET",
            "/Users/0193a000-0000-7000-8000-000000000000",
            None,
        );
        let without_ids = |error: &Value| {
            text(&error["detail"])
                .replace(&foreign.user, "ID")
                .replace("0193a000-0000-7000-8000-000000000000", "ID")
        };
        assert_eq!(without_ids(&known), without_ids(&unknown));
    });
}

#[test]
fn lists_searches_and_filters_find_nothing_foreign() {
    as_a_stranger(|stranger, foreign| {
        let (user, group) = (&foreign.user, &foreign.group);
        let filters = [
            ("/Users", format!("id eq \"{user}\"")),
            ("/Users", "userName eq \"ana@contoso.example\"".to_owned()),
            ("/Users", "userName pr".to_owned()),
            ("/Users", "not (userName eq \"x\")".to_owned()),
            ("/Users", "externalId eq \"x-1\"".to_owned()),
            ("/Users", format!("groups eq \"{group}\"")),
            ("/Users", format!("groups[value eq \"{group}\"]")),
            ("/Users", format!("id eq \"x\" or id eq \"{user}\"")),
            ("/Groups", format!("id eq \"{group}\"")),
            ("/Groups", "displayName eq \"SRE\"".to_owned()),
            ("/Groups", "externalId eq \"g-1\"".to_owned()),
            ("/Groups", format!("members eq \"{user}\"")),
            ("/Groups", format!("members[value eq \"{user}\"]")),
            (
                "/Groups",
                format!("id eq \"{group}\" and members eq \"{user}\""),
            ),
            ("/Groups", "members pr".to_owned()),
        ];
        for (endpoint, filter) in &filters {
            assert_eq!(
                stranger.find(endpoint, filter),
                Vec::<String>::new(),
                "{endpoint} {filter}"
            );
            let search = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": filter});
            let found = stranger.expect(200, "POST", &format!("{endpoint}/.search"), Some(&search));
            assert_eq!(
                found["totalResults"],
                json!(0),
                "{endpoint}/.search {filter}"
            );
        }
        let search = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]});
        for path in ["/.search", "/Users/.search", "/Groups/.search"] {
            assert_eq!(
                stranger.expect(200, "POST", path, Some(&search))["totalResults"],
                json!(0),
                "{path}"
            );
        }
        assert!(stranger.all("/Users").is_empty());
        assert!(stranger.all("/Groups").is_empty());
    });
}

#[test]
fn foreign_users_and_groups_cannot_become_members() {
    as_a_stranger(|stranger, foreign| {
        let own = stranger.create("/Groups", &group("Own", json!({})));
        let path = format!("/Groups/{own}");
        for id in [&foreign.user, &foreign.group] {
            let members = json!([{"value": id}]);
            let requests = [
                ("POST", "/Groups", group("New", json!({"members": members}))),
                (
                    "PUT",
                    path.as_str(),
                    group("Own", json!({"members": members})),
                ),
                (
                    "PATCH",
                    path.as_str(),
                    patch_op(json!([{"op": "add", "path": "members", "value": members}])),
                ),
                (
                    "PATCH",
                    path.as_str(),
                    patch_op(json!([{"op": "replace", "path": "members", "value": members}])),
                ),
                (
                    "PATCH",
                    path.as_str(),
                    patch_op(json!([{"op": "add", "value": {"members": members}}])),
                ),
            ];
            for (method, path, body) in requests {
                let refusal = stranger.expect(400, method, path, Some(&body));
                assert_eq!(refusal["scimType"], "invalidValue", "{refusal}");
                assert!(text(&refusal["detail"]).contains(id.as_str()), "{refusal}");
            }
        }
        // Removing who isn't in is a success, here as everywhere, and touches nobody else's group.
        stranger.patch(
            &path,
            json!([{"op": "Remove", "path": "members", "value": [{"value": foreign.user}]}]),
        );
        stranger.patch(
            &path,
            json!([{"op": "remove", "path": format!("members[value eq \"{}\"]", foreign.user)}]),
        );
        let groups = stranger.all("/Groups");
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[&own]["members"], json!([]));
    });
}

#[test]
fn a_foreign_manager_is_only_a_string() {
    as_a_stranger(|stranger, foreign| {
        let extension = json!({ENTERPRISE: {"manager": {"value": foreign.user}}});
        let id = stranger.create("/Users", &user("ben", extension));
        let manager = &stranger.get(&format!("/Users/{id}"))[ENTERPRISE]["manager"];
        assert_eq!(manager["value"], foreign.user.as_str());
        assert_eq!(manager.get("displayName"), None);
    });
}

#[test]
fn names_are_unique_within_a_tenant_only() {
    as_a_stranger(|stranger, foreign| {
        let user = stranger.create(
            "/Users",
            &user("ana@contoso.example", json!({"externalId": "x-1"})),
        );
        let group = stranger.create("/Groups", &group("SRE", json!({"externalId": "g-1"})));
        assert_ne!(user, foreign.user);
        assert_ne!(group, foreign.group);
        assert_eq!(
            stranger.find("/Users", "userName eq \"ana@contoso.example\""),
            [user]
        );
    });
}

#[test]
fn an_id_in_a_body_does_not_reach_a_foreign_resource() {
    as_a_stranger(|stranger, foreign| {
        let id = stranger.create("/Users", &user("ben", json!({"id": foreign.user})));
        assert_ne!(id, foreign.user);
        let renamed = user("ben.gil", json!({"id": foreign.user}));
        assert_eq!(
            stranger.expect(200, "PUT", &format!("/Users/{id}"), Some(&renamed))["id"],
            id.as_str()
        );
        let patch =
            patch_op(json!([{"op": "replace", "value": {"id": foreign.user, "title": "Boss"}}]));
        stranger.expect(400, "PATCH", &format!("/Users/{id}"), Some(&patch));
    });
}
