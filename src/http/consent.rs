//! Connecting through the operator's application at Entra ID: to its administrator's agreement, back, and to sign in.
//!
//! What comes back from the agreement names a directory, but anybody could have written that name there: Microsoft warns
//! of it. So it only decides where the same administrator of ours is sent next, to sign in. An ID token of that directory,
//! come back to the same session, connects it; nothing is stored before.

use super::request::Response;
use super::sign_in;
use super::sso::{CHANGED, leave, redirect_uri, refuse};
use super::visitor::Visitor;
use crate::error::Result;
use crate::manage::operator_app;
use crate::sso::{entra, oidc, words};
use crate::store::TenantId;
use crate::store::attempts::{self, Attempt};
use crate::store::sso::Connection;
use crate::store::tokens::TokenHash;

/// Sends the browser to where an administrator of a directory agrees; `None` where the operator has no application.
pub(super) fn begin(
    visitor: &Visitor<'_>,
    tenant: TenantId,
    session: i64,
) -> Result<Option<Response>> {
    let Some(own) = &visitor.app.entra else {
        return Ok(None);
    };
    let made = oidc::Attempt::random()?;
    let attempt = Attempt {
        tenant,
        issuer: entra::ORGANIZATIONS.to_owned(),
        client_id: own.client_id.clone(),
        nonce: made.nonce,
        verifier: made.verifier,
        session: Some(session),
        next: None,
    };
    let (state, browser) = (TokenHash::of(&made.state), visitor.browser());
    visitor.app.store.write(visitor.head.now, move |tx| {
        attempts::keep(tx, &state, &browser, &attempt)
    })?;
    let url = entra::consent_url(&own.client_id, &redirect_uri(visitor), &made.state);
    Ok(Some(visitor.go(&url, None)))
}

/// Whether this attempt was to come back with an agreement.
pub(super) fn is_of(attempt: &Attempt) -> bool {
    attempt.issuer == entra::ORGANIZATIONS
}

/// Back from the agreement: on to sign in at the directory that it names.
pub(super) fn agreed(visitor: &Visitor<'_>, attempt: &Attempt) -> Result<Response> {
    let own = visitor.app.entra.as_ref();
    let own = own.filter(|own| own.client_id == attempt.client_id);
    let session = visitor.session.as_ref();
    let session = session.filter(|own| Some(own.id) == attempt.session && own.opens_settings);
    let (Some(own), Some(session)) = (own, session) else {
        return refuse(
            visitor,
            attempt,
            "the session or the application is another one",
            CHANGED,
        );
    };
    // admin_consent=True stands there in errors, too.
    let error = sign_in::query(visitor, "error");
    if !error.is_empty() {
        let told = words::meaning(&error, &sign_in::query(visitor, "error_description"));
        return refuse(
            visitor,
            attempt,
            &format!("the provider said: {told}"),
            &told,
        );
    }
    let Some(directory) = entra::directory(&sign_in::query(visitor, "tenant")) else {
        let words = "Microsoft’s answer names no directory of an organisation. Connect again.";
        return refuse(visitor, attempt, "the agreement names no directory", words);
    };
    let wanted = operator_app::connection(&directory, &own.client_id, visitor.head.now);
    leave(visitor, attempt.tenant, &wanted, Some(session.id), None)
}

/// The connection that an administrator proves who came from [`agreed`].
pub(super) fn wanted(visitor: &Visitor<'_>, attempt: &Attempt) -> Option<Connection> {
    attempt.session?;
    let own = visitor
        .app
        .entra
        .as_ref()
        .filter(|own| own.client_id == attempt.client_id)?;
    let directory = entra::directory_of(&attempt.issuer)?;
    Some(operator_app::connection(
        directory,
        &own.client_id,
        visitor.head.now,
    ))
}
