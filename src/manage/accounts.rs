//! Local accounts: making them, their passwords, their end.

use serde_json::json;

use super::passwords;
use crate::error::Result;
use crate::scim::ScimError;
use crate::store::accounts::{self, Account};
use crate::store::events::{self, Event};
use crate::store::sessions::{self, Holder, Link};
use crate::store::tokens::TokenHash;
use crate::store::{TenantId, Tx};

/// `text` without white space around it, if it can be an e-mail address; else a refusal that says so.
pub fn email(text: &str) -> std::result::Result<String, ScimError> {
    let text = text.trim();
    let good = text.len() <= 254
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && text.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && !host.is_empty() && !host.contains('@')
        });
    if good {
        Ok(text.to_owned())
    } else {
        Err(ScimError::invalid_value(format!(
            "{text:?} is no e-mail address; write one such as ana@example.org"
        )))
    }
}

/// The hash of a password that is good enough for this account. Slow by design, so not for inside a write.
///
/// # Errors
///
/// 400 that says what is wrong with it.
pub fn hashed(password: &str, email: &str) -> Result<String> {
    match passwords::objection(password, email, passwords::MIN_CHARS) {
        Some(objection) => Err(ScimError::invalid_value(objection).into()),
        None => passwords::hash(password),
    }
}

/// Makes one. Errors: 409 where the address has an account already.
pub fn create(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    email: &str,
    password: Option<&str>,
) -> Result<Account> {
    let account = accounts::create(tx, tenant, email, password)?
        .ok_or_else(|| ScimError::uniqueness(format!("{email} has an account already")))?;
    told(tx, actor, "account.created", &account)?;
    Ok(account)
}

/// Gives it another password, or none, and ends its sessions but for `except`.
pub fn set_password(
    tx: &Tx<'_>,
    actor: &str,
    account: &Account,
    password: Option<&str>,
    except: Option<i64>,
) -> Result<()> {
    accounts::set_password(tx, account.tenant, account.id, password)?;
    sessions::end_all(tx, account.tenant, &Holder::Account(account.id), except)?;
    told(tx, actor, "account.password_changed", account)
}

/// Says whether its password works where single sign-on is enforced.
pub fn set_break_glass(
    tx: &Tx<'_>,
    actor: &str,
    account: &Account,
    break_glass: bool,
) -> Result<()> {
    accounts::set_break_glass(tx, account.tenant, account.id, break_glass)?;
    let kind = match break_glass {
        true => "account.exempted",
        false => "account.unexempted",
    };
    told(tx, actor, kind, account)
}

/// Makes a link that signs in as this account once; `hash` is that of its secret. Told, for who has it acts in another's name.
pub fn make_link(tx: &Tx<'_>, actor: &str, account: &Account, hash: &TokenHash) -> Result<()> {
    let link = Link::SignIn(account.tenant, Holder::Account(account.id));
    sessions::create_link(tx, &link, hash)?;
    told(tx, actor, "account.link_made", account)
}

/// Removes it, with its sessions.
pub fn remove(tx: &Tx<'_>, actor: &str, account: &Account) -> Result<()> {
    if accounts::remove(tx, account.tenant, account.id)? {
        told(tx, actor, "account.removed", account)?;
    }
    Ok(())
}

fn told(tx: &Tx<'_>, actor: &str, kind: &'static str, account: &Account) -> Result<()> {
    let about = json!({ "email": account.email });
    let gone = kind == "account.removed";
    let event = Event {
        actor,
        kind,
        subject: &account.id.to_string(),
        object: None,
        before: gone.then_some(&about),
        after: (!gone).then_some(&about),
    };
    events::append(tx, account.tenant, &event)?;
    Ok(())
}
