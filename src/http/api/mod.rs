//! The addresses under `/api/v1`: what apps read of a tenant, and the team resources that they register.
//!
//! The product's view: who is inactive isn't there. `static/openapi.json` says the same for programs, and a test holds
//! them against each other.

mod feed;
mod show;

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::request::{Body, Head, Request, Response};
use super::route::Api;
use super::{App, auth};
use crate::error::Result;
use crate::manage::team_resources;
use crate::provision;
use crate::scim::ScimError;
use crate::scim::filter::Filter;
use crate::scim::message;
use crate::scim::representation::Text;
use crate::scim::schema::Kind;
use crate::store::tokens::Scope;
use crate::store::{Snapshot, TenantId, attributes, people, team_resources as resources};

/// Items on a page, unless `limit` says otherwise.
const DEFAULT_LIMIT: u64 = 100;

/// Most items on a page.
const MAX_LIMIT: u64 = 1000;

/// Answers one request.
pub(super) fn answer(app: &App, request: &Request, api: &Api) -> Response {
    serve(app, request, api).unwrap_or_else(|error| {
        let refusal = provision::refusal(error, &request.head.request_id);
        let mut response = refused(&request.head, refusal.status(), refusal.detail());
        match refusal.status() {
            401 => response
                .headers
                .push(("WWW-Authenticate", "Bearer realm=\"rollcall\"".to_owned())),
            405 => response.headers.push(("Allow", api.methods().to_owned())),
            _ => {}
        }
        if let Some(seconds) = refusal.retry_after() {
            response.headers.push(("Retry-After", seconds.to_string()));
        }
        response
    })
}

/// A refusal in the API's form.
pub(super) fn refused(head: &Head, status: u16, message: &str) -> Response {
    let error = json!({ "status": status, "message": message, "requestId": head.request_id });
    reply(status, &json!({ "error": error }))
}

fn serve(app: &App, request: &Request, api: &Api) -> Result<Response> {
    let head = &request.head;
    if *api == Api::Document && head.method == "GET" {
        let document = include_bytes!("../../../static/openapi.json");
        return Ok(reply_with(200, document.to_vec().into()));
    }
    let caller = auth::app(app, head)?;
    if *api == Api::Nothing {
        return Err(ScimError::not_found(format!(
            "there is nothing at {}; /api/v1/openapi.json says what there is",
            head.path
        ))
        .into());
    }
    if !api
        .methods()
        .split(", ")
        .any(|method| method == head.method)
    {
        return Err(ScimError::method_not_allowed(format!(
            "{} is not allowed here; allowed are {}",
            head.method,
            api.methods()
        ))
        .into());
    }
    let scope = match head.method.as_str() {
        "GET" => Scope::Read,
        _ => Scope::Resources,
    };
    // Who may change a resource may look at it.
    let enough = caller.token.scopes.contains(&scope)
        || matches!(api, Api::Resource(_)) && caller.token.scopes.contains(&Scope::Resources);
    if !enough {
        return Err(ScimError::forbidden(format!(
            "this token lacks the scope {:?}: make one with rollcall token create --api --scope {}",
            scope.as_str(),
            scope.as_str()
        ))
        .into());
    }
    let tenant = caller.tenant.id;
    match head.method.as_str() {
        "GET" => read(app, head, api, tenant),
        _ => change(
            app,
            request,
            api,
            tenant,
            format!("app:{}", caller.token.id),
        ),
    }
}

fn read(app: &App, head: &Head, api: &Api, tenant: TenantId) -> Result<Response> {
    let query = Query::of(head)?;
    if *api == Api::Events {
        return feed::answer(app, tenant, &query);
    }
    app.store.read(|snapshot| {
        let team_there =
            |id: &str| people::team(snapshot, tenant, id)?.ok_or_else(|| missing("team", id));
        let person_there =
            |id: &str| people::person(snapshot, tenant, id)?.ok_or_else(|| missing("user", id));
        match api {
            Api::Users => users(snapshot, tenant, &query, None),
            Api::TeamPeople(id) => {
                team_there(id)?;
                users(snapshot, tenant, &query, Some(id))
            }
            Api::Teams => teams(snapshot, tenant, &query, None),
            Api::UserTeams(id) => {
                person_there(id)?;
                teams(snapshot, tenant, &query, Some(id))
            }
            Api::User(id) => Ok(single(head, show::person(&person_there(id)?), None)),
            Api::Team(id) => Ok(single(head, show::team(&team_there(id)?), None)),
            Api::Whois => {
                let name = query
                    .text("userName")
                    .ok_or_else(|| ScimError::invalid_value("say whom: ?userName="))?;
                let person =
                    people::named(snapshot, tenant, name)?.ok_or_else(|| missing("user", name))?;
                Ok(single(head, show::person(&person), None))
            }
            Api::TeamResources(id) => {
                let team = team_there(id)?;
                let (cursor, limit) = (query.text("cursor").unwrap_or_default(), query.limit()?);
                let found = resources::of_team(snapshot, tenant, team.row, (cursor, limit + 1))?;
                Ok(page(found, limit, show::resource, |one| one.id.clone()))
            }
            Api::Resource(id) => {
                let found =
                    resources::get(snapshot, tenant, id)?.ok_or_else(|| missing("resource", id))?;
                let tag = team_resources::etag(found.version);
                Ok(single(head, show::resource(&found), Some(tag)))
            }
            Api::Events | Api::Document | Api::Nothing => Err(missing("page", &head.path)),
        }
    })
}

fn missing(what: &str, id: &str) -> crate::error::Error {
    ScimError::not_found(format!("there is no {what} {id:?}")).into()
}

fn users(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    query: &Query,
    team: Option<&str>,
) -> Result<Response> {
    let (filter, after, limit) = (
        query.filter(snapshot, tenant, Kind::User)?,
        query.row()?,
        query.limit()?,
    );
    let found = people::list(snapshot, tenant, filter, team, (after, limit + 1))?;
    Ok(page(found, limit, show::person, |one| {
        format!("{:x}", one.row)
    }))
}

fn teams(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    query: &Query,
    person: Option<&str>,
) -> Result<Response> {
    let (filter, after, limit) = (
        query.filter(snapshot, tenant, Kind::Group)?,
        query.row()?,
        query.limit()?,
    );
    let found = people::teams(snapshot, tenant, filter, person, (after, limit + 1))?;
    Ok(page(found, limit, show::team, |one| {
        format!("{:x}", one.row)
    }))
}

/// POST, PUT and DELETE: team resources.
fn change(
    app: &App,
    request: &Request,
    api: &Api,
    tenant: TenantId,
    actor: String,
) -> Result<Response> {
    let now: Timestamp = request.head.now;
    let if_match = request.head.header("if-match").map(str::to_owned);
    let stored = |found: &resources::TeamResource, status| {
        let mut response = reply(status, &show::resource(found));
        response
            .headers
            .push(("ETag", team_resources::etag(found.version)));
        response
    };
    match (api, request.head.method.as_str()) {
        (Api::TeamResources(team), _) => {
            let (team, draft) = (
                team.clone(),
                team_resources::read(&message::parse_json(&request.body)?)?,
            );
            let made = app.store.write(now, move |tx| {
                team_resources::create(tx, tenant, &actor, &team, draft)
            })?;
            let mut response = stored(&made, 201);
            let origin = app.origin(&request.head);
            response
                .headers
                .push(("Location", format!("{origin}/api/v1/resources/{}", made.id)));
            Ok(response)
        }
        (Api::Resource(id), "PUT") => {
            let (id, draft) = (
                id.clone(),
                team_resources::read(&message::parse_json(&request.body)?)?,
            );
            let after = app.store.write(now, move |tx| {
                team_resources::replace(tx, tenant, &actor, (&id, if_match.as_deref()), draft)
            })?;
            Ok(stored(&after, 200))
        }
        (Api::Resource(id), _) => {
            let id = id.clone();
            app.store.write(now, move |tx| {
                team_resources::delete(tx, tenant, &actor, &id, if_match.as_deref())
            })?;
            Ok(Response {
                status: 204,
                headers: vec![],
                body: vec![].into(),
            })
        }
        _ => Err(missing("page", &request.head.path)),
    }
}

/// The query of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(head: &Head) -> Result<Query> {
        let pairs = head
            .query_pairs()
            .ok_or_else(|| ScimError::invalid_value("the query has a broken % or is not UTF-8"))?;
        Ok(Query(pairs))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn number(
        &self,
        name: &str,
        default: u64,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> Result<u64> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        text.parse()
            .ok()
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| {
                let (least, most) = bounds.into_inner();
                ScimError::invalid_value(format!(
                    "{name} is {text:?}; it must be a number from {least} to {most}"
                ))
                .into()
            })
    }

    fn limit(&self) -> Result<u64> {
        self.number("limit", DEFAULT_LIMIT, 1..=MAX_LIMIT)
    }

    /// The row number that `cursor` stands for.
    fn row(&self) -> Result<i64> {
        let Some(cursor) = self.text("cursor") else {
            return Ok(0);
        };
        i64::from_str_radix(cursor, 16).map_err(|_| {
            ScimError::invalid_value("cursor must be the nextCursor of the page before").into()
        })
    }

    fn filter(
        &self,
        snapshot: &Snapshot<'_>,
        tenant: TenantId,
        kind: Kind,
    ) -> Result<Option<Filter>> {
        let Some(text) = self.text("filter") else {
            return Ok(None);
        };
        let filter = Filter::parse(text)?;
        filter.check(&[attributes::schemas(snapshot, tenant)?.of(kind)])?;
        Ok(Some(filter))
    }
}

/// `found` has one item more than a page where there is another page.
fn page<T>(
    mut found: Vec<T>,
    limit: u64,
    show: impl Fn(&T) -> Value,
    cursor: impl Fn(&T) -> String,
) -> Response {
    let more = found.len() as u64 > limit;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(cursor);
    let items: Vec<Value> = found.iter().map(show).collect();
    reply(200, &json!({ "items": items, "nextCursor": next }))
}

/// One item with its entity tag, which is the hash of what is shown where the item has no version of its own: counts,
/// roles and teams' names are part of it. 304 where the client has it already.
fn single(head: &Head, body: Value, tag: Option<String>) -> Response {
    let bytes = body.to_string().into_bytes();
    let tag = tag.unwrap_or_else(|| {
        let hash = digest::digest(&digest::SHA256, &bytes);
        let digits: String = hash.as_ref()[..12]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("\"{digits}\"")
    });
    let known = head.header("if-none-match").is_some_and(|tags| {
        tags.split(',')
            .map(|one| one.trim().trim_start_matches("W/"))
            .any(|one| one == "*" || one == tag)
    });
    let mut response = if known {
        Response {
            status: 304,
            headers: vec![],
            body: vec![].into(),
        }
    } else {
        reply_with(200, bytes.into())
    };
    response.headers.push(("ETag", tag));
    response
}

fn reply(status: u16, body: &Value) -> Response {
    reply_with(status, Body::Bytes(Text::of(body).into_pieces()))
}

fn reply_with(status: u16, body: Body) -> Response {
    Response {
        status,
        headers: vec![
            ("Content-Type", "application/json".to_owned()),
            ("Cache-Control", "no-store".to_owned()),
        ],
        body,
    }
}
