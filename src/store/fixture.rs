use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::exchanges::Exchange;
use super::resources::{self, Stored};
use super::tokens::{self, New, Secret, Token, TokenKind};
use super::{Store, TenantId, tenants};
use crate::scim::resource::Document;
use crate::scim::schema::Kind;

/// A store in a folder of its own, with a tenant in it.
pub struct Fixture {
    pub store: Store,
    pub tenant: TenantId,
    /// Removed with the last of it.
    pub dir: TempDir,
}

pub fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let tenant = tenant(&store, "acme");
    Fixture { store, tenant, dir }
}

/// A time, `seconds` after the tests' beginning of time.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

#[track_caller]
pub fn tenant(store: &Store, name: &'static str) -> TenantId {
    store
        .write(at(0), move |tx| tenants::create(tx, name))
        .unwrap()
        .unwrap()
        .id
}

pub fn document(value: Value) -> Document {
    match value {
        Value::Object(document) => document,
        other => panic!("{other} is not an object"),
    }
}

impl Fixture {
    #[track_caller]
    pub fn insert(&self, kind: Kind, value: Value) -> Stored {
        let tenant = self.tenant;
        self.store
            .write(at(0), move |tx| {
                resources::insert(tx, tenant, kind, document(value))
            })
            .unwrap()
    }

    #[track_caller]
    pub fn token(&self) -> Token {
        let tenant = self.tenant;
        let secret = Secret::generate(TokenKind::Scim).unwrap();
        self.store
            .write(at(0), move |tx| {
                tokens::create(tx, tenant, &secret, &for_scim())
            })
            .unwrap()
    }
}

/// A provider's token.
pub fn for_scim() -> New {
    New {
        kind: TokenKind::Scim,
        label: "entra".to_owned(),
        expires: None,
        scopes: vec![],
        person: None,
    }
}

/// An exchange of `tenant` that says little.
pub fn exchange(tenant: TenantId, token: i64) -> Exchange {
    Exchange {
        tenant,
        token,
        at: at(0),
        address: "192.0.2.1".to_owned(),
        request_id: "r1".to_owned(),
        method: "GET".to_owned(),
        target: "/scim/v2/Users".to_owned(),
        action: "listed users".to_owned(),
        subject: None,
        status: 200,
        scim_type: None,
        detail: None,
        duration_us: 120,
        ignored: vec![],
        request_body: None,
        response_body: None,
    }
}

/// Counts the live resources that a test has put into their table by itself.
pub(super) const COUNT: &str = "INSERT INTO tally (tenant, kind, block, live)
    SELECT tenant, kind, row >> 10, count(*) FROM resource WHERE deleted_at IS NULL GROUP BY tenant, kind, row >> 10";
