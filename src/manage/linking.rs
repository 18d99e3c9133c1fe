//! Which user of a tenant somebody is who signed in through its provider.
//!
//! Only what the provider never gives to anybody else finds a person by itself: its subject, as linked before or as the
//! `externalId` that provisioning sent. A sign-in name finds one only where the tenant wants that, and once. An e-mail
//! address never does: who runs a directory can write anybody's address into it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::archive::ROLLCALL;
use super::{roles, sessions as endings};
use crate::error::Result;
use crate::id;
use crate::scim::dialect;
use crate::scim::resource::Document;
use crate::scim::schema::Kind;
use crate::sso::claims::{Claims, Logout};
use crate::store::events::{self, Event};
use crate::store::identities::{self, Identity};
use crate::store::resources::{self, New, Stored};
use crate::store::sessions::{self, Holder};
use crate::store::sso::{self, Connection, Provider};
use crate::store::{TenantId, Tx, archive as stored_archive, roles as stored_roles};

/// Why somebody whom the provider knows gets no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// There is no user of theirs.
    NotProvisioned,
    /// The provider has deactivated the user.
    Inactive,
    /// The user is deleted.
    Deleted,
    /// A user of this name is another's.
    NameTaken,
    /// A user of this name may open the settings, which a name alone is not enough for.
    NameOfMight,
    /// Their address is of none of the domains for which users are created.
    Domain,
}

impl Denied {
    /// What it means, and what to ask whom.
    pub fn words(self) -> &'static str {
        match self {
            Denied::NotProvisioned => {
                "You are not provisioned yet: the provider knows you, but has not sent you here. Ask an administrator to \
                 assign you to the provisioning application. If you are assigned, the provider’s mapping has to send your ID \
                 there (Entra ID: object ID) as externalId."
            }
            Denied::Inactive => {
                "Your user is deactivated. Ask an administrator to let the provider activate it again."
            }
            Denied::Deleted => {
                "Your user was removed. Ask an administrator to assign you to the provisioning application again, or to \
                 restore you from the archive."
            }
            Denied::NameTaken => {
                "There is a user with your name that is not linked to this sign-in. Ask an administrator: the provider’s \
                 mapping has to send your ID there (Entra ID: object ID) as externalId."
            }
            Denied::NameOfMight => {
                "The user with your name may open the settings, and such a user is not found by name alone. Ask an \
                 administrator: the provider’s mapping has to send your ID there (Entra ID: object ID) as externalId."
            }
            Denied::Domain => {
                "Nobody with an address of your domain is let in here by signing in alone. Ask an administrator to \
                 provision you, or to add the domain in Single Sign-On Settings."
            }
        }
    }

    /// In a few words, for events and the log.
    pub fn reason(self) -> &'static str {
        match self {
            Denied::NotProvisioned => "not provisioned",
            Denied::Inactive => "deactivated",
            Denied::Deleted => "deleted",
            Denied::NameTaken => "a user of this name is another's",
            Denied::NameOfMight => "a user of this name may open the settings",
            Denied::Domain => "of another domain",
        }
    }
}

/// The user, linked from now on. A refusal is an event.
///
/// Whatever the claims say of names, roles or groups beyond that is left alone: a user is as provisioning says.
pub fn person(
    tx: &Tx<'_>,
    tenant: TenantId,
    connection: &Connection,
    claims: &Claims,
) -> Result<std::result::Result<Stored, Denied>> {
    let found = find(tx, tenant, connection, claims)?;
    let found = found.and_then(|user| match user.document.get("active") {
        Some(Value::Bool(false)) => Err(Denied::Inactive),
        _ => Ok(user),
    });
    match &found {
        Ok(_) => identities::signed_in(tx, tenant, &connection.issuer, &claims.subject)?,
        Err(denied) => refused(tx, tenant, denied.reason(), Some(claims))?,
    }
    Ok(found)
}

/// Ends the sessions of whom the provider signs out: those of its session, else all of the person's. Tells how many people
/// that were.
pub fn sign_out(tx: &Tx<'_>, tenant: TenantId, issuer: &str, logout: &Logout) -> Result<usize> {
    let mut people = match &logout.sid {
        Some(sid) => sessions::end_from(tx, tenant, sid)?,
        None => vec![],
    };
    if let (None, Some(subject)) = (&logout.sid, &logout.subject)
        && let Some(identity) = identities::find(tx, tenant, issuer, subject)?
        && sessions::end_all(tx, tenant, &Holder::Person(identity.person), None)? > 0
    {
        people.push(identity.person);
    }
    people.sort_unstable();
    people.dedup();
    for row in &people {
        if let Some(user) = resources::by_row(tx, tenant, *row)? {
            tell(tx, tenant, "user.signed_out", &user, (None, None))?;
        }
    }
    Ok(people.len())
}

/// Takes away what provisioning has given to somebody else by another `externalId`: links of a user to whoever they were
/// before, with the sessions and tokens.
pub fn moved(tx: &Tx<'_>, tenant: TenantId, user: &Stored) -> Result<()> {
    let Some(connection) = sso::read(tx, tenant)? else {
        return Ok(());
    };
    let issuer = connection.issuer.as_str();
    let mut somebody_else = false;
    for subject in identities::subjects_of(tx, tenant, issuer, user.row)? {
        let identity = identities::find(tx, tenant, issuer, &subject)?;
        if identity.is_some_and(|identity| !is_still(user, &identity, &connection, &subject)) {
            unlink(tx, tenant, user, issuer, &subject)?;
            somebody_else = true;
        }
    }
    match somebody_else {
        true => endings::end_with(tx, tenant, ROLLCALL, user),
        false => Ok(()),
    }
}

/// The event of a refused sign-in.
pub fn refused(tx: &Tx<'_>, tenant: TenantId, why: &str, claims: Option<&Claims>) -> Result<()> {
    let user_name = claims.and_then(|claims| claims.user_name.as_deref());
    let after = json!({ "why": why, "user_name": user_name });
    let event = Event {
        actor: ROLLCALL,
        kind: "sign_in.refused",
        subject: claims.map_or("", |claims| claims.subject.as_str()),
        object: None,
        before: None,
        after: Some(&after),
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}

fn find(
    tx: &Tx<'_>,
    tenant: TenantId,
    connection: &Connection,
    claims: &Claims,
) -> Result<std::result::Result<Stored, Denied>> {
    let (issuer, subject) = (connection.issuer.as_str(), claims.subject.as_str());
    let mut deleted = false;
    if let Some(identity) = identities::find(tx, tenant, issuer, subject)? {
        match resources::by_row(tx, tenant, identity.person)? {
            Some(user) if is_still(&user, &identity, connection, subject) => return Ok(Ok(user)),
            Some(user) => unlink(tx, tenant, &user, issuer, subject)?,
            None => deleted = true,
        }
    }
    if let Some(user) = by_external_id(tx, tenant, connection, subject)? {
        // Who had this user before has another externalId by now.
        for other in identities::subjects_of(tx, tenant, issuer, user.row)? {
            unlink(tx, tenant, &user, issuer, &other)?;
        }
        link(tx, tenant, &user, (issuer, subject), "externalId")?;
        return Ok(Ok(user));
    }
    if deleted {
        return Ok(Err(Denied::Deleted));
    }
    if connection.matches_user_name
        && let Some(name) = &claims.user_name
        && let Some(user) = resources::by_name(tx, tenant, Kind::User, name)?
    {
        if !may_be_taken(tx, tenant, connection, &user)? {
            return Ok(Err(Denied::NameTaken));
        }
        if opens_settings(tx, tenant, &user)? {
            return Ok(Err(Denied::NameOfMight));
        }
        if user.document.get("active") != Some(&Value::Bool(false)) {
            link(tx, tenant, &user, (issuer, subject), "userName")?;
        }
        return Ok(Ok(user));
    }
    if !connection.creates_people {
        return Ok(Err(Denied::NotProvisioned));
    }
    create(tx, tenant, connection, claims)
}

/// Whether provisioning has not given the user to somebody else since it was linked.
fn is_still(user: &Stored, identity: &Identity, connection: &Connection, subject: &str) -> bool {
    match resources::external_id(&user.document) {
        None => true,
        Some(told) if is_same(told, subject, connection) => true,
        Some(told) => match connection.provider {
            // Else it is a mail nickname, as Entra ID's mapping has it at first.
            Provider::Entra => !names_another(told, connection),
            _ => identity.linked_by != "externalId",
        },
    }
}

/// Whether an `externalId` is the object ID of somebody: one made of a mail nickname says nothing.
fn names_another(external_id: &str, connection: &Connection) -> bool {
    connection.provider == Provider::Entra && Uuid::try_parse(external_id).is_ok()
}

fn is_same(external_id: &str, subject: &str, connection: &Connection) -> bool {
    match connection.provider {
        Provider::Entra => external_id.eq_ignore_ascii_case(subject),
        _ => external_id == subject,
    }
}

/// Whether who signs in under a user's name may be linked to it: nobody is yet, and it is nobody else's object.
fn may_be_taken(
    tx: &Tx<'_>,
    tenant: TenantId,
    connection: &Connection,
    user: &Stored,
) -> Result<bool> {
    let linked = identities::subjects_of(tx, tenant, &connection.issuer, user.row)?;
    let external_id = resources::external_id(&user.document);
    let another = external_id.is_some_and(|told| names_another(told, connection));
    Ok(linked.is_empty() && !another)
}

/// Whether a user's role opens the settings.
fn opens_settings(tx: &Tx<'_>, tenant: TenantId, user: &Stored) -> Result<bool> {
    let role = stored_roles::role_of(tx, tenant, user)?;
    let roles = stored_roles::list(tx, tenant)?;
    Ok(roles
        .iter()
        .any(|known| Some(known.id) == role && known.opens_settings))
}

/// Entra ID writes object IDs in lower case, but a mapping may not.
fn by_external_id(
    tx: &Tx<'_>,
    tenant: TenantId,
    connection: &Connection,
    subject: &str,
) -> Result<Option<Stored>> {
    let found = resources::by_external_id(tx, tenant, Kind::User, subject)?;
    if found.is_some() || connection.provider != Provider::Entra {
        return Ok(found);
    }
    resources::by_external_id(tx, tenant, Kind::User, &subject.to_ascii_uppercase())
}

/// Creates the user whom the provider knows, with the default role.
fn create(
    tx: &Tx<'_>,
    tenant: TenantId,
    connection: &Connection,
    claims: &Claims,
) -> Result<std::result::Result<Stored, Denied>> {
    if !is_of_domain(connection, claims) {
        return Ok(Err(Denied::Domain));
    }
    let document = document(claims)?;
    if stored_archive::returning(tx, tenant, Kind::User, &document)?.is_some() {
        return Ok(Err(Denied::Deleted));
    }
    if resources::taken(tx, tenant, Kind::User, &document, None)?.is_some() {
        return Ok(Err(Denied::NameTaken));
    }
    let id = id::fresh(tx.now)?;
    let user = roles::insert_user(tx, tenant, ROLLCALL, id, New::of(document)?)?;
    let who = (connection.issuer.as_str(), claims.subject.as_str());
    link(tx, tenant, &user, who, "created")?;
    Ok(Ok(user))
}

/// Whether the domain of the sign-in name, or of a verified address, is one of the connection's.
fn is_of_domain(connection: &Connection, claims: &Claims) -> bool {
    if connection.domains.is_empty() {
        return true;
    }
    let address = |text: &Option<String>| text.clone().filter(|text| text.contains('@'));
    let verified = address(&claims.email).filter(|_| claims.email_verified);
    let domain = address(&claims.user_name).or(verified).unwrap_or_default();
    let domain = domain.rsplit('@').next().unwrap_or_default().to_lowercase();
    connection.domains().any(|known| known == domain)
}

/// A user's document, made of claims as if a client had sent it.
fn document(claims: &Claims) -> Result<Document> {
    let name = [&claims.user_name, &claims.email];
    let name = name.into_iter().flatten().next();
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name.unwrap_or(&claims.subject),
        "externalId": claims.subject,
        "active": true,
    });
    if let Some(shown) = &claims.name {
        body["displayName"] = json!(shown);
    }
    for (attribute, value) in [
        ("givenName", &claims.given_name),
        ("familyName", &claims.family_name),
    ] {
        if let Some(value) = value {
            body["name"][attribute] = json!(value);
        }
    }
    if let Some(email) = &claims.email {
        body["emails"] = json!([{ "value": email, "type": "work", "primary": true }]);
    }
    let read = dialect::read_resource(body, Kind::User.resource_type())?;
    Ok(read.document)
}

fn link(
    tx: &Tx<'_>,
    tenant: TenantId,
    user: &Stored,
    (issuer, subject): (&str, &str),
    by: &str,
) -> Result<()> {
    identities::link(tx, tenant, (issuer, subject), user.row, by)?;
    let after = json!({ "issuer": issuer, "subject": subject, "by": by });
    tell(tx, tenant, "identity.linked", user, (None, Some(&after)))
}

fn unlink(tx: &Tx<'_>, tenant: TenantId, user: &Stored, issuer: &str, subject: &str) -> Result<()> {
    identities::unlink(tx, tenant, issuer, subject)?;
    let before = json!({ "issuer": issuer, "subject": subject });
    tell(tx, tenant, "identity.unlinked", user, (Some(&before), None))
}

fn tell(
    tx: &Tx<'_>,
    tenant: TenantId,
    kind: &'static str,
    user: &Stored,
    (before, after): (Option<&Value>, Option<&Value>),
) -> Result<()> {
    let event = Event {
        actor: ROLLCALL,
        kind,
        subject: &user.id,
        object: None,
        before,
        after,
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}
