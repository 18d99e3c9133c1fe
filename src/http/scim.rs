//! The addresses under `/scim/v2`: queries and bodies in, SCIM JSON out (RFC 7644).

use std::slice;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::App;
use super::auth;
use super::request::{self, Head, Request, Response};
use super::route::{self, Route, Scim};
use crate::error::{Error, Result};
use crate::provision::{self, Answer, Body, Call, Me, Target};
use crate::scim::declare::Schemas;
use crate::scim::message::{self, ListResponse, Projection, SearchRequest};
use crate::scim::schema::Kind;
use crate::scim::{ScimError, discovery};
use crate::store::exchanges::Exchange;
use crate::store::tenants::Tenant;
use crate::store::tokens::{Bearer, Scope, TokenKind};
use crate::store::{Reading, Snapshot, attributes, resources};

/// The media type of every answer, without parameters: Entra compares it as a string.
const SCIM_JSON: &str = "application/scim+json";

/// Media types that a body may have; the last is Okta's.
const BODY_TYPES: [&str; 3] = [SCIM_JSON, "application/json", "text/json"];

/// Seconds after which a client may ask again while its tenant is paused.
const PAUSE_RETRY_SECS: u64 = 300;

/// The same where the server has no room for it.
const BUSY_RETRY_SECS: u64 = 5;

/// Answers one request.
pub(super) fn answer(app: &App, request: Request, resource: Scim) -> Response {
    let Request { head, body } = request;
    let head = &head;
    let outcome = match &resource {
        Scim::ServiceProviderConfig | Scim::ResourceTypes(_) | Scim::Schemas(_) => {
            discover(app, head, &resource)
        }
        _ => serve(app, head, body, &resource),
    };
    match outcome {
        Ok(answer) => reply(answer),
        Err(error) => refuse(provision::refusal(error, &head.request_id), head, &resource),
    }
}

/// What the connection loop refused by itself, in SCIM's form; in the log too where the client is known.
pub(super) fn loop_refusal(
    app: &App,
    head: &Head,
    resource: &Scim,
    status: u16,
    detail: &str,
) -> Response {
    let refusal = match status {
        // RFC 7644 §3.7.4: the answer names the limit.
        413 if *resource == Scim::Bulk => ScimError::payload_too_large(format!(
            "{detail}; maxPayloadSize is {}",
            app.body_max_bytes
        )),
        408 => ScimError::request_timeout(detail),
        413 => ScimError::payload_too_large(detail),
        503 => ScimError::unavailable(detail, BUSY_RETRY_SECS),
        500.. => ScimError::internal(format!("{detail} (request id {})", head.request_id)),
        _ => ScimError::invalid_syntax(detail),
    };
    if let Ok(client) = auth::holder(app, head, &auth::CLIENT) {
        let call = described(app, head, vec![], &client);
        provision::record_refusal(&app.store, &call, &refusal);
    }
    scim_json(status, refusal.to_json().to_string().into_bytes().into())
}

/// ServiceProviderConfig, ResourceTypes and Schemas (RFC 7644 §4): with a token the tenant's, without one those that every
/// tenant has. A wrong one is refused, for a client that tests its token here must not be told that it works.
fn discover(app: &App, head: &Head, resource: &Scim) -> Result<Answer> {
    let schemas = if auth::shows_credentials(head) {
        auth::holder(app, head, &auth::CLIENT)?.schemas.clone()
    } else {
        Schemas::built_in().clone()
    };
    allowed(head, resource, &["GET"])?;
    if query(head)?
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("filter"))
    {
        return Err(
            ScimError::forbidden("discovery answers cannot be filtered (RFC 7644 §4)").into(),
        );
    }
    let base = base(app, head);
    let body = match resource {
        Scim::ResourceTypes(id) => {
            listed(discovery::resource_types(&base, &schemas), id.as_deref())?
        }
        Scim::Schemas(id) => listed(discovery::schemas(&base, &schemas), id.as_deref())?,
        _ => discovery::service_provider_config(&base, app.body_max_bytes),
    };
    Ok(Answer {
        status: 200,
        body: Some(Body::Json(body)),
        ..Answer::default()
    })
}

/// One of `all` by its id, or all of them as a ListResponse.
fn listed(all: Vec<Value>, id: Option<&str>) -> Result<Value> {
    let Some(id) = id else {
        let list = ListResponse::at(1, all.len() as u64, all);
        return Ok(json!(list));
    };
    all.into_iter()
        .find(|value| {
            value["id"]
                .as_str()
                .is_some_and(|known| known.eq_ignore_ascii_case(id))
        })
        .ok_or_else(|| {
            ScimError::not_found(format!("nothing of this kind has the id {id:?}")).into()
        })
}

/// Everything that needs a token.
fn serve(app: &App, head: &Head, body: Vec<u8>, resource: &Scim) -> Result<Answer> {
    let token = auth::token(head, &auth::CLIENT)?;
    let reading = app.store.reading()?;
    let call = reading.read(|snapshot| call(app, snapshot, head, token, body))?;
    let Some(call) = call else {
        drop(reading);
        return Err(auth::guessed(app, head).into());
    };
    logged(app, reading, head, resource, &Arc::new(call))
}

/// Does what the request asks, and sees to it that the log tells of it.
fn logged(
    app: &App,
    reading: Reading<'_>,
    head: &Head,
    resource: &Scim,
    call: &Arc<Call>,
) -> Result<Answer> {
    perform(app, reading, head, resource, call).map_err(|unrecorded| match unrecorded {
        Refused::Here(refusal) => {
            provision::record_refusal(&app.store, call, &refusal);
            refusal.into()
        }
        Refused::Recorded(error) => error,
    })
}

/// Why `perform` has no answer, and whether the log knows already.
enum Refused {
    /// Refused before `provision` was asked.
    Here(ScimError),
    /// By `provision`, which logged it.
    Recorded(Error),
}

impl From<ScimError> for Refused {
    fn from(refusal: ScimError) -> Refused {
        Refused::Here(refusal)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Recorded(error)
    }
}

fn perform(
    app: &App,
    reading: Reading<'_>,
    head: &Head,
    resource: &Scim,
    call: &Arc<Call>,
) -> std::result::Result<Answer, Refused> {
    if call.paused {
        return Err(ScimError::unavailable(
            "provisioning is paused for this tenant: try again later",
            PAUSE_RETRY_SECS,
        )
        .into());
    }
    let own = own(resource, call.me.as_ref())?;
    let resource = own.as_ref().unwrap_or(resource);
    let query = query(head)?;
    let call = call.clone();
    let changes = ["POST", "PUT", "PATCH", "DELETE"].contains(&head.method.as_str());
    if !changes || matches!(resource, Scim::Search(_)) {
        return look(app, reading, head, resource, &query, &call);
    }
    // A change waits for the writer, and is not to keep a snapshot meanwhile.
    drop(reading);
    change(app, head, resource, &query, call)
}

/// The answer to who asks what there is, of the snapshot that knew the token.
fn look(
    app: &App,
    reading: Reading<'_>,
    head: &Head,
    resource: &Scim,
    query: &[(String, String)],
    call: &Call,
) -> std::result::Result<Answer, Refused> {
    let (kinds, request): (&[Kind], _) = match (resource, head.method.as_str()) {
        (Scim::Root, "GET") => (&Kind::ALL, SearchRequest::from_query(query)?),
        (Scim::Collection(kind), "GET") => {
            (slice::from_ref(kind), SearchRequest::from_query(query)?)
        }
        (Scim::Search(kind), "POST") => {
            check_media_type(head)?;
            let request = SearchRequest::from_json(&message::parse_json(&call.body)?)?;
            (kind.as_ref().map_or(&Kind::ALL, slice::from_ref), request)
        }
        (Scim::Resource(kind, id), "GET") => {
            let target = Target::of(*kind, id);
            let projection = Projection::from_query(query)?;
            let if_none_match = head.header("if-none-match");
            let found =
                provision::get(&app.store, reading, call, target, projection, if_none_match);
            return Ok(found?);
        }
        _ => return Err(nowhere(head, resource).into()),
    };
    Ok(provision::search(
        &app.store, reading, call, kinds, &request,
    )?)
}

/// The answer to who wants something changed.
fn change(
    app: &App,
    head: &Head,
    resource: &Scim,
    query: &[(String, String)],
    call: Arc<Call>,
) -> std::result::Result<Answer, Refused> {
    let store = &app.store;
    let if_match = || head.header("if-match").map(str::to_owned);
    let answer = match (resource, head.method.as_str()) {
        (Scim::Collection(kind), "POST") => {
            let projection = Projection::from_query(query)?;
            check_media_type(head)?;
            provision::create(store, call, *kind, projection)?
        }
        (Scim::Bulk, "POST") => {
            check_media_type(head)?;
            provision::bulk(store, call)?
        }
        (Scim::Resource(kind, id), method) => {
            let target = Target::of(*kind, id);
            let projection = Projection::from_query(query)?;
            match method {
                "PUT" => {
                    check_media_type(head)?;
                    provision::replace(store, call, target, projection, if_match())?
                }
                "PATCH" => {
                    check_media_type(head)?;
                    provision::patch(store, call, target, projection, if_match())?
                }
                "DELETE" => provision::delete(store, call, target, if_match())?,
                _ => return Err(not_allowed(head, resource).into()),
            }
        }
        _ => return Err(nowhere(head, resource).into()),
    };
    Ok(answer)
}

/// The refusal of a method at an address that hasn't got it.
fn nowhere(head: &Head, resource: &Scim) -> ScimError {
    match resource {
        Scim::UnknownVersion(version) => {
            ScimError::invalid_version(format!("SCIM {version} is not spoken here: use /scim/v2"))
        }
        Scim::Nothing => ScimError::not_found(format!(
            "there is nothing at {}: resources are at /scim/v2/Users and /scim/v2/Groups",
            head.path
        )),
        _ => not_allowed(head, resource),
    }
}

/// The user behind `/Me` (RFC 7644 §3.11), where that is asked for.
///
/// Errors: 501 for a provider's token, which is no user's; 403 for a user's own at any other address.
fn own(resource: &Scim, me: Option<&Me>) -> std::result::Result<Option<Scim>, ScimError> {
    match (resource, me) {
        (Scim::Me, Some(me)) => Ok(Some(Scim::Resource(Kind::User, me.id.clone()))),
        (Scim::Me, None) => Err(ScimError::not_implemented(
            "this token is the tenant's and no user's, so nobody is at /Me; resources are at /scim/v2/Users and \
             /scim/v2/Groups, and a user's own token is made by rollcall token create --for USER",
        )),
        (_, Some(_)) => Err(ScimError::forbidden(
            "this token is a user's own and opens /scim/v2/Me alone",
        )),
        (_, None) => Ok(None),
    }
}

/// Who asks, and what the log is to say about it; none for a token that there never was.
///
/// Errors: 401 for a token that isn't valid. If it was a tenant's once, or is its token for apps, the tenant's log says so.
/// 429 for who asks too often.
fn call(
    app: &App,
    snapshot: &Snapshot<'_>,
    head: &Head,
    token: &str,
    body: Vec<u8>,
) -> Result<Option<Call>> {
    let Some(bearer) = auth::bearer(snapshot, token)? else {
        return Ok(None);
    };
    if let Err(refusal) = auth::valid(&bearer.token, head, &auth::CLIENT) {
        let call = described(app, head, vec![], &bearer);
        provision::record_refusal(&app.store, &call, &refusal);
        return Err(refusal.into());
    }
    let mut call = described(app, head, body, &bearer);
    if bearer.token.kind == TokenKind::Me {
        call.me = Some(me(snapshot, &bearer)?);
    }
    within_rate(app, head, &call)?;
    Ok(Some(call))
}

/// Whose own token it is.
fn me(snapshot: &Snapshot<'_>, client: &Bearer) -> Result<Me> {
    let (tenant, row) = (client.tenant.id, client.token.person.unwrap_or_default());
    let user = resources::by_row(snapshot, tenant, row)?.ok_or_else(|| {
        ScimError::unauthorized("this token is the own one of a user who is not here any more")
    })?;
    let whole = client.token.scopes.contains(&Scope::Whole);
    Ok(Me { id: user.id, whole })
}

fn within_rate(app: &App, head: &Head, call: &Call) -> Result<()> {
    app.rate.take(call.token, head.started).map_err(|refused| {
        let detail = format!(
            "this token asks more often than {} times a second: wait a second, then go on",
            app.rate.per_second()
        );
        let refusal = ScimError::too_many_requests(detail, 1);
        if refused.is_worth_a_line {
            provision::record_refusal(&app.store, call, &refusal);
        }
        refusal.into()
    })
}

fn described(app: &App, head: &Head, body: Vec<u8>, bearer: &Bearer) -> Call {
    let target = if head.query.is_empty() {
        head.path.clone()
    } else {
        format!("{}?{}", head.path, head.query)
    };
    Call {
        tenant: bearer.tenant.id,
        schemas: bearer.schemas.clone(),
        paused: bearer.tenant.paused.is_some(),
        token: bearer.token.id,
        me: None,
        now: head.now,
        started: head.started,
        address: head.address.to_string(),
        request_id: head.request_id.clone(),
        method: head.method.clone(),
        target,
        base: base(app, head),
        body,
        keep_bodies: app.keep_bodies || bearer.tenant.keep_bodies,
        rehearsal: None,
    }
}

/// The line that the log would have if the request of `past` came now, by who looks at it `here`; nothing of it lasts.
/// Headers are not kept with a line, so If-Match and If-None-Match count as not sent.
///
/// `None` where the line's target is none of SCIM's, or `/Me`: whose that was depends on the token.
pub(super) fn rehearse(
    app: &App,
    here: &Head,
    tenant: &Tenant,
    past: &Exchange,
) -> Option<Exchange> {
    let (path, query) = past.target.split_once('?').unwrap_or((&past.target, ""));
    let head = Head {
        method: past.method.clone(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: vec![],
        ..here.clone()
    };
    let Route::Scim(resource) = route::route(&head) else {
        return None;
    };
    if resource == Scim::Me {
        return None;
    }
    let of_snapshot = || {
        let reading = app.store.reading()?;
        let schemas = reading.read(|snapshot| attributes::schemas(snapshot, tenant.id))?;
        Ok((reading, schemas))
    };
    let (reading, schemas) = of_snapshot()
        .map_err(|error| provision::refusal(error, &here.request_id))
        .ok()?;
    let line = Arc::new(OnceLock::new());
    let call = Call {
        tenant: tenant.id,
        schemas,
        paused: tenant.paused.is_some(),
        token: past.token,
        me: None,
        now: here.now,
        started: here.started,
        address: past.address.clone(),
        request_id: here.request_id.clone(),
        method: past.method.clone(),
        target: past.target.clone(),
        base: base(app, here),
        body: past.request_body.clone().unwrap_or_default().into_bytes(),
        keep_bodies: true,
        rehearsal: Some(Arc::clone(&line)),
    };
    // What came of it is in the line; an error of ours is in the server's log.
    if let Err(error) = logged(app, reading, &head, &resource, &Arc::new(call)) {
        provision::refusal(error, &here.request_id);
    }
    line.get().cloned()
}

fn base(app: &App, head: &Head) -> String {
    format!("{}/scim/v2", app.origin(head))
}

fn query(head: &Head) -> std::result::Result<Vec<(String, String)>, ScimError> {
    head.query_pairs().ok_or_else(|| {
        ScimError::invalid_syntax(
            "the query has a % that no two hexadecimal digits follow, or is not UTF-8",
        )
    })
}

fn allowed(head: &Head, resource: &Scim, methods: &[&str]) -> std::result::Result<(), ScimError> {
    if methods.contains(&head.method.as_str()) {
        Ok(())
    } else {
        Err(not_allowed(head, resource))
    }
}

fn not_allowed(head: &Head, resource: &Scim) -> ScimError {
    ScimError::method_not_allowed(format!(
        "{} is not allowed at {}; allowed are {}",
        head.method,
        head.path,
        resource.methods()
    ))
}

/// Refuses (415) a body of another media type than RFC 7644 §3.1 allows; a body without one is taken for JSON.
fn check_media_type(head: &Head) -> std::result::Result<(), ScimError> {
    let Some(content_type) = head.header("content-type") else {
        return Ok(());
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if BODY_TYPES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(essence))
    {
        return Ok(());
    }
    Err(ScimError::unsupported_media_type(format!(
        "the body is {essence:?}; it must be {SCIM_JSON} or application/json"
    )))
}

fn reply(answer: Answer) -> Response {
    let mut response = match answer.body {
        Some(body) => scim_json(
            answer.status,
            request::Body::Bytes(body.text().into_pieces()),
        ),
        None => Response {
            status: answer.status,
            headers: vec![],
            body: vec![].into(),
        },
    };
    if let Some(etag) = answer.etag {
        response.headers.push(("ETag", etag));
    }
    if let Some(location) = answer.location {
        // RFC 7643 §3.1 wants the second wherever the resource is shown; RFC 7644 has the first in all its figures.
        if answer.status != 204 {
            response
                .headers
                .push(("Content-Location", location.clone()));
        }
        response.headers.push(("Location", location));
    }
    response
}

fn refuse(refusal: ScimError, head: &Head, resource: &Scim) -> Response {
    let mut response = scim_json(
        refusal.status(),
        refusal.to_json().to_string().into_bytes().into(),
    );
    match refusal.status() {
        // RFC 6750 §3.1: the error code only where a token was shown, and not for `Basic`.
        401 if auth::shown(head).is_some() => response.headers.push((
            "WWW-Authenticate",
            "Bearer realm=\"rollcall\", error=\"invalid_token\"".to_owned(),
        )),
        401 => response
            .headers
            .push(("WWW-Authenticate", "Bearer realm=\"rollcall\"".to_owned())),
        405 => response
            .headers
            .push(("Allow", resource.methods().to_owned())),
        _ => {}
    }
    if let Some(seconds) = refusal.retry_after() {
        response.headers.push(("Retry-After", seconds.to_string()));
    }
    response
}

fn scim_json(status: u16, body: request::Body) -> Response {
    Response {
        status,
        headers: vec![("Content-Type", SCIM_JSON.to_owned())],
        body,
    }
}
