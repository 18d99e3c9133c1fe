//! ServiceProviderConfig, ResourceTypes and Schemas (RFC 7643 §5-§7, RFC 7644 §4, RFC 9865 §4).
//!
//! What is said here is what is enforced: the schemas and the limits are the ones the rest of the crate goes by.

use serde_json::{Value, json};

use super::bulk;
use super::declare::Schemas;
use super::schema::{Kind, ResourceType, Schema};

/// Most resources that one list answer holds.
pub const MAX_RESULTS: u64 = 1000;
/// A list answer's size where the client names none.
pub const DEFAULT_COUNT: u64 = 100;
/// How long a cursor stays valid, in seconds (RFC 9865 §4).
pub const CURSOR_TIMEOUT_SECS: i64 = 3600;

/// What the server can do (RFC 7643 §5). `base` is the URL of the SCIM root without a slash at its end,
/// `max_payload_size` what a body may have, in bytes.
pub fn service_provider_config(base: &str, max_payload_size: u64) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": {
            "supported": true,
            "maxOperations": bulk::MAX_OPERATIONS,
            "maxPayloadSize": max_payload_size,
        },
        "filter": { "supported": true, "maxResults": MAX_RESULTS },
        "changePassword": { "supported": true },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "pagination": {
            "cursor": true,
            "index": true,
            "defaultPaginationMethod": "index",
            "defaultPageSize": DEFAULT_COUNT,
            "maxPageSize": MAX_RESULTS,
            "cursorTimeout": CURSOR_TIMEOUT_SECS,
        },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The tenant's secret token in the Authorization header",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    })
}

/// All resource types (RFC 7643 §6) of a tenant. `base` is the URL of the SCIM root without a slash at its end.
pub fn resource_types(base: &str, schemas: &Schemas) -> Vec<Value> {
    Kind::ALL
        .into_iter()
        .map(|kind| resource_type(base, schemas.of(kind)))
        .collect()
}

fn resource_type(base: &str, definition: &ResourceType) -> Value {
    let kind = definition.kind;
    let name = kind.as_str();
    let extensions: Vec<Value> = definition
        .extensions
        .iter()
        .map(|schema| {
            let required = schema.attributes.iter().any(|attribute| attribute.required);
            json!({ "schema": schema.id, "required": required })
        })
        .collect();
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": name,
        "name": name,
        "description": definition.description,
        "endpoint": format!("/{}", kind.endpoint()),
        "schema": definition.core.id,
        "schemaExtensions": extensions,
        "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{name}") },
    })
}

/// All schemas (RFC 7643 §7) of a tenant. `base` is the URL of the SCIM root without a slash at its end.
pub fn schemas(base: &str, schemas: &Schemas) -> Vec<Value> {
    let of_kind = |kind: Kind| {
        let resource_type = schemas.of(kind);
        std::iter::once(&resource_type.core).chain(&resource_type.extensions)
    };
    Kind::ALL
        .into_iter()
        .flat_map(of_kind)
        .map(|schema| described(base, schema))
        .collect()
}

fn described(base: &str, schema: &Schema) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": schema.attributes,
        "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{}", schema.id) },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::{Schemas, resource_types, schemas, service_provider_config};

    const BASE: &str = "https://example.com/scim/v2";

    #[test]
    fn the_configuration_says_what_is_supported() {
        let config = service_provider_config(BASE, 8 << 20);
        let supported = ["patch", "bulk", "filter", "changePassword", "sort", "etag"]
            .map(|name| config[name]["supported"].as_bool().expect(name));
        assert_eq!(supported, [true; 6]);
        assert_eq!(
            config["bulk"],
            json!({"supported": true, "maxOperations": 1000, "maxPayloadSize": 8_388_608})
        );
        assert_eq!(config["filter"]["maxResults"], 1000);
        assert_eq!(
            config["pagination"],
            json!({"cursor": true, "index": true, "defaultPaginationMethod": "index",
                   "defaultPageSize": 100, "maxPageSize": 1000, "cursorTimeout": 3600})
        );
        assert_eq!(
            config["authenticationSchemes"]
                .as_array()
                .expect("a list")
                .len(),
            1
        );
        assert_eq!(
            config["meta"]["location"],
            "https://example.com/scim/v2/ServiceProviderConfig"
        );
    }

    #[test]
    fn users_may_have_the_enterprise_extension() {
        let types = resource_types(BASE, Schemas::built_in());
        let user = &types[0];
        assert_eq!(user["endpoint"], "/Users");
        assert_eq!(
            user["schemaExtensions"][0]["schema"],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
        );
        assert_eq!(user["schemaExtensions"][0]["required"], false);
        assert_eq!(
            user["meta"]["location"],
            "https://example.com/scim/v2/ResourceTypes/User"
        );
        assert_eq!(types[1]["endpoint"], "/Groups");
        assert_eq!(
            types[1]["schemaExtensions"].as_array().map(Vec::len),
            Some(0)
        );
    }

    #[test]
    fn every_schema_of_a_resource_type_is_listed() {
        let listed: BTreeSet<_> = schemas(BASE, Schemas::built_in())
            .iter()
            .map(|schema| schema["id"].as_str().expect("an id").to_owned())
            .collect();
        for resource_type in resource_types(BASE, Schemas::built_in()) {
            assert!(listed.contains(resource_type["schema"].as_str().expect("a URN")));
            for extension in resource_type["schemaExtensions"]
                .as_array()
                .expect("a list")
            {
                assert!(listed.contains(extension["schema"].as_str().expect("a URN")));
            }
        }
        assert_eq!(listed.len(), 3);
    }

    #[test]
    fn a_schema_is_served_with_all_characteristics() {
        let user = &schemas(BASE, Schemas::built_in())[0];
        assert_eq!(
            user["meta"]["location"],
            "https://example.com/scim/v2/Schemas/urn:ietf:params:scim:schemas:core:2.0:User"
        );
        let attributes = user["attributes"].as_array().expect("a list");
        let user_name = attributes
            .iter()
            .find(|it| it["name"] == "userName")
            .expect("userName");
        for (characteristic, value) in [
            ("type", "string"),
            ("mutability", "readWrite"),
            ("returned", "default"),
            ("uniqueness", "server"),
        ] {
            assert_eq!(user_name[characteristic], value, "{characteristic}");
        }
        assert_eq!(user_name["required"], true);
        assert_eq!(user_name["caseExact"], false);
        let password = attributes.iter().find(|it| it["name"] == "password");
        let password = password.expect("password");
        assert_eq!(
            (&password["mutability"], &password["returned"]),
            (&json!("writeOnly"), &json!("never"))
        );
    }
}
