//! The n-th user and what is sent of one: unique, about as long as what Entra ID posts, and the same in each run.

use std::fmt::Write;

use serde::Deserialize;

use crate::Result;

const GIVEN: [&str; 16] = [
    "ada", "bruno", "chen", "dalia", "emeka", "farah", "goran", "hana", "ines", "jonas", "keiko",
    "lucia", "maren", "nadia", "omar", "pilar",
];
const FAMILY: [&str; 16] = [
    "abara", "berg", "costa", "dvorak", "eriksen", "fischer", "gupta", "haddad", "ito", "jansen",
    "kowalski", "lopez", "moreau", "nguyen", "okafor", "ruiz",
];

/// Scrambles a number (splitmix64), so that neighbours are far apart in every index, as people are.
pub fn scrambled(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn names(number: u64) -> (&'static str, &'static str) {
    let mixed = scrambled(number) as usize;
    (GIVEN[mixed % 16], FAMILY[mixed / 16 % 16])
}

/// Also the address of the work e-mail.
pub fn user_name(number: u64) -> String {
    let (given, family) = names(number);
    format!("{given}.{family}.{number}@contoso.example")
}

pub fn external_id(number: u64) -> String {
    let mixed = scrambled(number);
    format!(
        "{:08x}-6f57-4f0b-9d0c-{number:012x}",
        mixed & u64::from(u32::MAX)
    )
}

/// A user as Entra ID posts it.
pub fn user(number: u64) -> String {
    let ((given, family), name, external) = (names(number), user_name(number), external_id(number));
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"externalId":"{external}","userName":"{name}","active":true,"displayName":"{given} {family}","title":"Engineer","emails":[{{"primary":true,"type":"work","value":"{name}"}}],"meta":{{"resourceType":"User"}},"name":{{"formatted":"{given} {family}","familyName":"{family}","givenName":"{given}"}},"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{{"employeeNumber":"{number}","department":"Operations"}}}}"#
    )
}

/// A BulkRequest that creates these.
pub fn bulk(users: impl Iterator<Item = String>) -> String {
    let operations: Vec<String> = users
        .enumerate()
        .map(|(n, user)| {
            format!(r#"{{"method":"POST","path":"/Users","bulkId":"{n}","data":{user}}}"#)
        })
        .collect();
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[{}]}}"#,
        operations.join(",")
    )
}

/// A group as Entra ID posts it: its members come later.
pub fn group(name: &str) -> String {
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"externalId":"{name}","displayName":"{name}"}}"#
    )
}

/// A PatchOp that gives a user another title.
pub fn retitle(number: u64) -> String {
    patch(&format!(
        r#"{{"op":"Replace","path":"title","value":"Engineer {number}"}}"#
    ))
}

/// A PatchOp that adds members.
pub fn add_members<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    member_patch("Add", ids)
}

/// A PatchOp that removes a member.
pub fn remove_member(id: &str) -> String {
    member_patch("Remove", [id])
}

fn member_patch<'a>(op: &str, ids: impl IntoIterator<Item = &'a str>) -> String {
    let mut values = String::new();
    for id in ids {
        let comma = if values.is_empty() { "" } else { "," };
        // Writing into a string can't fail.
        let _ = write!(values, r#"{comma}{{"value":"{id}"}}"#);
    }
    patch(&format!(
        r#"{{"op":"{op}","path":"members","value":[{values}]}}"#
    ))
}

fn patch(operation: &str) -> String {
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{operation}]}}"#
    )
}

/// `?filter=` with ATTRIBUTE eq "VALUE", escaped as Entra ID does it.
pub fn equals(attribute: &str, value: &str) -> String {
    let filter = format!("{attribute} eq \"{value}\"");
    let escaped = filter
        .replace(' ', "%20")
        .replace('"', "%22")
        .replace('[', "%5B")
        .replace(']', "%5D");
    format!("?filter={escaped}")
}

/// The id of a resource that was answered.
pub fn id_of(resource: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    struct Identified {
        id: String,
    }
    Ok(serde_json::from_slice::<Identified>(resource)?.id)
}
