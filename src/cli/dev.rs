//! `serve --dev`: what is there at once, with no setup.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::account::make_link;
use super::door::Door;
use super::{Failure, failure, now, table};
use crate::error::Doing;
use crate::http::bind::{Given, Listener, Place};
use crate::http::certificate;
use crate::http::tls::{Files, Tls};
use crate::manage::{self, OPERATOR};
use crate::seal::KeyFile;
use crate::sso::pretend::{CLIENT_ID, Provider};
use crate::store::sessions::{Holder, Link};
use crate::store::tenants::Tenant;
use crate::store::tokens::{self, New, Secret, TokenHash, TokenKind};
use crate::store::{Store, TenantId, Tx, accounts, sso, tenants};

/// The tenant.
const TENANT: &str = "dev";

/// Its local account.
const ACCOUNT: &str = "dev@localhost";

/// The file in the data folder that keeps the token, so that a client stays connected over restarts.
const TOKEN_FILE: &str = "dev-token";

/// Where the pretend provider listens if nobody else does.
const PRETEND_PORT: u16 = 8079;

/// How long before its end a certificate is replaced.
const RENEW: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Makes what is missing, and prints how to get in; gives the pretend provider, if the tenant signs in by it. `named` is
/// `--public-url`.
pub(super) fn begin(
    data: &Path,
    store: &Store,
    key_file: &KeyFile,
    door: &Door,
    named: Option<&str>,
) -> Result<Option<(TenantId, Provider)>, Failure> {
    let (token, link) = (token(data, store)?, link(store)?);
    let origins = named.map_or_else(|| door.origins(), |named| vec![named.to_owned()]);
    let public = origins[0].clone();
    let pretend = match door.pretend_address() {
        Some(address) => pretend(store, key_file, address, origins)?,
        None => None,
    };
    let link = link.reveal();
    table::line(&format!("settings: {public}/sign-in/link/{link}"))?;
    if pretend.is_some() {
        table::line(&format!("sign-in: {public}/sso/start/{TENANT}"))?;
    }
    table::line(&format!("SCIM base URL: {public}/scim/v2"))?;
    table::line(&format!("SCIM token: {token}"))?;
    Ok(pretend)
}

/// A certificate for this machine and its key, signed by itself: those of the last start, so that a browser asks only
/// once, or new ones.
pub(super) fn certificate(data: &Path) -> Result<Files, Failure> {
    let files = Files {
        certificate: data.join("dev-cert.pem"),
        key: data.join("dev-key.pem"),
    };
    let now = now();
    let is_good = Tls::load(files.clone())
        .ok()
        .and_then(|tls| tls.until())
        .is_some_and(|until| until - RENEW > now);
    if !is_good {
        let (certificate, key) = certificate::self_signed(now)?;
        write_private(&files.certificate, &certificate)?;
        write_private(&files.key, &key)?;
    }
    Ok(files)
}

/// Writes a file that other accounts of the machine can't read.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// The token of the tenant "dev": the one of the last start if it still opens the tenant, else a new one.
fn token(data: &Path, store: &Store) -> Result<String, Failure> {
    let path = data.join(TOKEN_FILE);
    let now = now();
    if let Ok(kept) = fs::read_to_string(&path)
        && opens(store, kept.trim(), now)?
    {
        return Ok(kept.trim().to_owned());
    }
    let secret = Secret::generate(TokenKind::Scim)?;
    let new = New {
        kind: TokenKind::Scim,
        label: "serve --dev".to_owned(),
        expires: None,
        scopes: vec![],
        person: None,
    };
    let secret = store.write(now, move |tx| {
        let dev = tenant(tx)?;
        tokens::create(tx, dev.id, &secret, &new)?;
        Ok(secret)
    })?;
    write_private(&path, secret.reveal())?;
    Ok(secret.reveal().to_owned())
}

/// The tenant "dev", made where it is missing.
fn tenant(tx: &Tx<'_>) -> crate::error::Result<Tenant> {
    if let Some(tenant) = tenants::by_name(tx, TENANT)? {
        return Ok(tenant);
    }
    let made = manage::tenants::create(tx, OPERATOR, TENANT)?;
    made.ok_or(())
        .map_err(|()| "its name is taken")
        .doing("making the tenant \"dev\"")
}

/// A link that signs in as the local account of the tenant "dev", which is made where it is missing.
fn link(store: &Store) -> Result<Secret, Failure> {
    let link = store.write(now(), |tx| {
        let dev = tenant(tx)?;
        let account = match accounts::by_email(tx, ACCOUNT)? {
            Some(account) => account,
            None => manage::accounts::create(tx, dev.id, OPERATOR, ACCOUNT, None)?,
        };
        Ok(Link::SignIn(account.tenant, Holder::Account(account.id)))
    })?;
    Ok(make_link(store, link)?)
}

/// Where the pretend provider listens: at its usual port, so that its issuer stays the same over restarts, else at any.
pub(super) fn pretend_listener() -> Result<Listener, Failure> {
    let at = |port| {
        Listener::open(
            &Place::Tcp((Ipv4Addr::LOCALHOST, port).into()),
            &mut Given::nothing(),
        )
    };
    Ok(at(PRETEND_PORT).or_else(|_| at(0))?)
}

/// The pretend provider, and the tenant "dev" connected to it. `None` where another provider took its place there.
fn pretend(
    store: &Store,
    key_file: &KeyFile,
    address: SocketAddr,
    origins: Vec<String>,
) -> Result<Option<(TenantId, Provider)>, Failure> {
    let issuer = format!("http://{address}");
    let (dev, stored) = store.write(now(), |tx| {
        let dev = tenant(tx)?;
        Ok((dev.id, sso::read(tx, dev.id)?))
    })?;
    if stored
        .as_ref()
        .is_some_and(|stored| stored.client_id != CLIENT_ID)
    {
        return Ok(None);
    }
    let kept = stored.filter(|stored| stored.issuer == issuer && stored.connected.is_some());
    let kept = kept.map(|stored| manage::sso::secrets_of(dev, &stored, key_file, None));
    // The last one is in use; what was typed since would have to be accepted first.
    if let Some(secret) = kept.transpose()?.and_then(|mut secrets| secrets.pop()) {
        return Ok(Some((dev, Provider::new(issuer, origins, &secret)?)));
    }
    let secret = Secret::random()?;
    let wanted = manage::sso::checked(sso::Provider::Oidc, true, |field| match field {
        "name" => "Pretend provider",
        "issuer" => &issuer,
        "client_id" => CLIENT_ID,
        _ => secret.reveal(),
    });
    let wanted = wanted.map_err(|mistakes| failure(format!("{mistakes:?}")))?;
    let key_file = key_file.clone();
    store.write(now(), move |tx| {
        manage::sso::save(tx, dev, OPERATOR, &wanted, &key_file)?;
        if let Some(saved) = sso::read(tx, dev)? {
            manage::sso::connect(tx, dev, OPERATOR, &saved, None)?;
        }
        Ok(())
    })?;
    Ok(Some((
        dev,
        Provider::new(issuer, origins, secret.reveal())?,
    )))
}

fn opens(store: &Store, token: &str, now: Timestamp) -> Result<bool, Failure> {
    Ok(store.read(|snapshot| {
        let Some(token) = tokens::by_hash(snapshot, &TokenHash::of(token))? else {
            return Ok(false);
        };
        let dev = tenants::by_name(snapshot, TENANT)?;
        Ok(token.revoked.is_none()
            && token.expires.is_none_or(|expires| expires > now)
            && dev.is_some_and(|dev| dev.id == token.tenant))
    })?)
}
