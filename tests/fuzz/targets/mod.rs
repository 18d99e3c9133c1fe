//! What must be true of any bytes. `bins/` hands these functions what libFuzzer invents, `tests/it/fuzz.rs` the seeds.

#![allow(clippy::unwrap_used)] // a target that cannot go on has found something

pub mod bulk;
pub mod connection;
pub mod filter;
pub mod head;
pub mod patch;
pub mod path;
pub mod resource;

use std::sync::LazyLock;

use rollcall::scim::declare::Schemas;
use rollcall::scim::schema::{Kind, ResourceType};

/// A tenant's that has declared an attribute of every sort.
static DECLARED: LazyLock<Schemas> =
    LazyLock::new(|| Schemas::parse(include_str!("../../data/declared/attributes.json")).unwrap());

/// Users and groups as every tenant has them, and with attributes of every sort.
fn resource_types() -> [&'static ResourceType; 4] {
    let [user, group] = Kind::ALL;
    [
        user.resource_type(),
        group.resource_type(),
        DECLARED.of(user),
        DECLARED.of(group),
    ]
}
