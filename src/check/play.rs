//! Plays a check with a server, and takes away again what it has made there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::pattern::{Names, Unlike, compare, compare_header, filled, filled_in, filled_path, get};
use super::script::{Body, Check, Exchange, Expected, Given, Level, Step};
use super::server::Server;
use super::{ENTERPRISE, GROUP, Halt, Profile, Refused, Report, Said, State, USER};
use crate::scim_client::{Answer, Client, Request, Trouble};

/// How often something is asked for that is answered 429.
const PATIENCE: u32 = 6;

/// How long it is waited at most before asking again, whatever `Retry-After` says.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Of a body in a conversation.
const SHOWN_MAX_CHARS: usize = 4000;

/// A server while it is checked.
#[derive(Debug)]
pub struct Run<'a> {
    client: &'a Client,
    server: Server,
    /// What everything that is made begins with.
    mark: String,
    /// Set when somebody wants it to end.
    stop: &'a AtomicBool,
    count: usize,
    /// Paths of what was made by the check that is played.
    made: Vec<String>,
    left: Vec<Left>,
}

/// What is still there, and shouldn't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// As in `/Users/17`.
    pub path: String,
    /// What came of deleting it.
    pub why: String,
}

/// How a check that isn't passed ends before its last step.
enum End {
    Fail(String),
    Skip(String),
    Halt(Halt),
}

impl<'a> Run<'a> {
    /// Looks whether there is a SCIM server at all that takes the token, and what it has. What is made begins with `mark`.
    ///
    /// # Errors
    ///
    /// There is none, or it doesn't.
    pub fn begin(
        client: &'a Client,
        has_token: bool,
        mark: String,
        stop: &'a AtomicBool,
    ) -> Result<Run<'a>, Refused> {
        let server = Server::discover(client, has_token).map_err(Refused::Trouble)?;
        let users = client.send("GET", "/Users?startIndex=1&count=1", None);
        let users = users.map_err(Refused::Trouble)?;
        match (users.status, users.header("Location")) {
            (status @ (401 | 403), _) if has_token => return Err(Refused::Token(status)),
            (status @ (401 | 403), _) => return Err(Refused::NoToken(status)),
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                return Err(Refused::Moved(location.to_owned()));
            }
            _ => {}
        }
        let list = users.json.as_ref().and_then(Value::as_object);
        let is_list =
            users.status == 200 && list.is_some_and(|list| get(list, "totalResults").is_some());
        if server.is_silent() && !is_list {
            let content_type = users.header("Content-Type").map(str::to_owned);
            return Err(Refused::NotScim(users.status, content_type));
        }
        Ok(Run {
            client,
            server,
            mark,
            stop,
            count: 0,
            made: Vec::new(),
            left: Vec::new(),
        })
    }

    /// Plays one check up to its first fault, since what follows depends on it, and cleans up.
    ///
    /// # Errors
    ///
    /// The server is gone, or somebody wants it to end. What was made is taken away also then.
    pub fn play(&mut self, profile: Profile, check: &Check) -> Result<Report, Halt> {
        self.count += 1;
        let mut report = Report {
            profile,
            name: check.name.clone(),
            source: check.source.clone(),
            title: check.title.clone(),
            state: State::Ok,
            notes: Vec::new(),
            conversation: Vec::new(),
        };
        if let Some(lacks) = self.server.lacks(profile, check) {
            report.state = State::Skip;
            report.notes.push(lacks);
            return Ok(report);
        }
        let run = format!("{}-{:02}", self.mark, self.count);
        let mut names = Names::from([("run".to_owned(), run)]);
        let mut ended = Ok(());
        for step in &check.steps {
            ended = match step {
                Step::Given(given) => self.give(given, &mut names, &mut report),
                Step::Exchange(exchange) => self.converse(exchange, &mut names, &mut report),
            };
            if ended.is_err() {
                break;
            }
        }
        self.clean_up();
        match ended {
            Ok(()) if report.notes.is_empty() => {}
            Ok(()) => report.state = State::Warn,
            Err(End::Fail(note)) => {
                report.state = State::Fail;
                report.notes.push(note);
            }
            Err(End::Skip(note)) => {
                report.state = State::Skip;
                report.notes = vec![note];
            }
            Err(End::Halt(halt)) => return Err(halt),
        }
        Ok(report)
    }

    /// Makes what a check needs. What the server does without, or keeps another way, is nothing to be checked here.
    fn give(&mut self, given: &Given, names: &mut Names, report: &mut Report) -> Result<(), End> {
        let is_group = given.resource_type == "Group";
        let attributes = filled_in(&given.attributes, names);
        let called = filled(&format!("{{run}}-{}", given.name), names);
        let mut resource = match is_group {
            true => json!({ "schemas": [GROUP], "displayName": called }),
            false => json!({ "schemas": [USER], "userName": format!("{called}@example.com") }),
        };
        if attributes.get(ENTERPRISE).is_some() {
            resource["schemas"] = json!([USER, ENTERPRISE]);
        }
        if let (Some(resource), Some(attributes)) =
            (resource.as_object_mut(), attributes.as_object())
        {
            resource.extend(attributes.clone());
            self.server
                .complete(resource, &given.resource_type, &called);
        }
        let endpoint = if is_group { "/Groups" } else { "/Users" };
        let why = |what: String| End::Skip(format!("it needs a {}: {what}", given.resource_type));
        let body = Body::Json(resource);
        let answer = self.ask("POST", endpoint, &[], Some(&body), report)?;
        let id = answer.json.as_ref().and_then(|json| json["id"].as_str());
        let Some(id) = id.filter(|_| answer.status == 201) else {
            return Err(why(format!(
                "POST {endpoint}: expected 201, {}",
                found(&answer)
            )));
        };
        names.insert(given.name.clone(), id.to_owned());
        let path = filled_path(&format!("{endpoint}/{{{}}}", given.name), names);
        let answer = self.ask("GET", &path, &[], None, report)?;
        if answer.status != 200 {
            return Err(why(format!("GET {path}: expected 200, {}", found(&answer))));
        }
        compare(
            &as_kept(&attributes),
            answer.json.as_ref(),
            &mut names.clone(),
        )
        .map_err(|unlike| why(format!("what was sent is kept another way, {unlike}")))
    }

    fn converse(
        &mut self,
        exchange: &Exchange,
        names: &mut Names,
        report: &mut Report,
    ) -> Result<(), End> {
        let path = match exchange.path.starts_with('{') {
            true => self.followed(&filled(&exchange.path, names)),
            false => filled_path(&exchange.path, names),
        };
        let headers = exchange.headers.iter();
        let headers: Vec<(String, String)> = headers
            .map(|(name, value)| (name.clone(), filled(value, names)))
            .collect();
        let body = exchange
            .body
            .as_ref()
            .map(|body| self.completed(body, exchange, names));
        let method = &exchange.method;
        let answer = self.ask(method, &path, &headers, body.as_ref(), report)?;
        for (level, expected) in &exchange.expected {
            let Err(fault) = holds(expected, &answer, names) else {
                continue;
            };
            let note = format!("{method} {path}: {fault}");
            // Only in this way does a server say that it can't filter so.
            let is_told = || answer.status == 501 || scim_type(&answer) == Some("invalidFilter");
            match level {
                Level::Offered if *expected == Expected::Filtered && !is_told() => {
                    return Err(End::Fail(note));
                }
                Level::Must => return Err(End::Fail(note)),
                Level::Should => report.notes.push(note),
                Level::Offered => return Err(End::Skip(format!("it does without this: {note}"))),
            }
        }
        Ok(())
    }

    /// A reference as a whole URL (RFC 7643 §2.3.7): relative ones are below the base URL.
    fn followed(&self, reference: &str) -> String {
        match reference {
            whole if whole.contains("://") => whole.to_owned(),
            path if path.starts_with('/') => format!("{}{path}", self.client.origin()),
            relative => format!("/{relative}"),
        }
    }

    /// The body, with what the server's own schema requires beside.
    fn completed(&self, body: &Body, exchange: &Exchange, names: &Names) -> Body {
        let mut json = match body {
            Body::Raw(text) => return Body::Raw(filled(text, names)),
            Body::Json(json) => filled_in(json, names),
        };
        let kind = match exchange.path.split(['/', '?']).nth(1) {
            Some("Users") => "User",
            Some("Groups") => "Group",
            _ => "",
        };
        let is_whole =
            json.get("userName").is_some() || kind == "Group" && json.get("displayName").is_some();
        let replaces = matches!(exchange.method.as_str(), "POST" | "PUT");
        let text = filled("{run}", names);
        if let Some(resource) = json
            .as_object_mut()
            .filter(|_| is_whole && replaces && !kind.is_empty())
        {
            self.server.complete(resource, kind, &text);
        }
        Body::Json(json)
    }

    /// Sends one request, again where the server says that it is asked too often.
    fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Option<&Body>,
        report: &mut Report,
    ) -> Result<Answer, End> {
        let text = body.map(|body| match body {
            Body::Json(json) => json.to_string(),
            Body::Raw(text) => text.clone(),
        });
        let given = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let anonymous = given
            .clone()
            .any(|(name, value)| name == "Authorization" && value == "none");
        let sent: Vec<(&str, &str)> = given.filter(|(_, value)| *value != "none").collect();
        let request = Request {
            method,
            path,
            headers: &sent,
            anonymous,
            body: text.as_deref().map(str::as_bytes),
        };
        if self.stop.load(Ordering::Relaxed) {
            return Err(End::Halt(Halt::Interrupted));
        }
        let answer = match self.patiently(&request) {
            Ok(answer) => answer,
            Err(Trouble::Elsewhere) => {
                return Err(End::Skip(format!(
                    "{path} is at another server, to which the token isn’t sent"
                )));
            }
            Err(trouble) => {
                let probe = self.client.send("GET", "/ServiceProviderConfig", None);
                let fault = End::Fail(format!("{method} {path}: {trouble}"));
                return Err(probe
                    .err()
                    .map_or(fault, |trouble| End::Halt(Halt::Gone(trouble))));
            }
        };
        if answer.status == 429 {
            return Err(End::Skip(format!(
                "{method} {path}: again and again, it says that it is asked too often (429)"
            )));
        }
        self.remember(method, path, &answer);
        report.conversation.push(Said {
            request: format!("{method} {path}"),
            sent: headers
                .iter()
                .filter(|(name, _)| name != "Authorization")
                .cloned()
                .collect(),
            body: text.map(|text| shortened(&text)),
            status: answer.status,
            headers: answer.headers.clone(),
            answer: shortened(&String::from_utf8_lossy(&answer.body)),
        });
        Ok(answer)
    }

    fn patiently(&self, request: &Request<'_>) -> Result<Answer, Trouble> {
        for _ in 1..PATIENCE {
            let answer = self.client.request(request)?;
            if answer.status != 429 || self.stop.load(Ordering::Relaxed) {
                return Ok(answer);
            }
            let told = answer
                .header("Retry-After")
                .and_then(|told| told.parse().ok());
            let wait = Duration::from_secs(told.unwrap_or(1).max(1)).min(LONGEST_WAIT);
            let started = Instant::now();
            while started.elapsed() < wait && !self.stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(50));
            }
        }
        self.client.request(request)
    }

    /// Remembers what was made, so that it is taken away again.
    fn remember(&mut self, method: &str, path: &str, answer: &Answer) {
        let endpoint = path
            .split('?')
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        if !(200..300).contains(&answer.status) || endpoint.ends_with("/.search") {
            return;
        }
        let id = answer.json.as_ref().and_then(|json| json["id"].as_str());
        let made = match (method, id) {
            ("POST", _) if endpoint == "/Bulk" => {
                let operations = answer
                    .json
                    .as_ref()
                    .and_then(|json| json["Operations"].as_array());
                let operations = operations.into_iter().flatten();
                let posts = operations.filter(|one| {
                    one["method"]
                        .as_str()
                        .is_some_and(|it| it.eq_ignore_ascii_case("POST"))
                });
                let paths = posts.filter_map(|one| last_two(one["location"].as_str()?));
                self.made.extend(paths);
                None
            }
            ("POST", Some(id)) => {
                let names = Names::from([("id".to_owned(), id.to_owned())]);
                Some(filled_path(&format!("{endpoint}/{{id}}"), &names))
            }
            ("POST", None) => answer.header("Location").and_then(last_two),
            ("PUT", _) if answer.status == 201 => Some(endpoint.to_owned()),
            _ => None,
        };
        self.made.extend(made);
    }

    /// Deletes what this check has made, the newest first. What can't be deleted is tried once more at the end.
    fn clean_up(&mut self) {
        for path in std::mem::take(&mut self.made).into_iter().rev() {
            self.delete(path);
        }
    }

    fn delete(&mut self, path: String) {
        let request = Request {
            method: "DELETE",
            path: &path,
            headers: &[],
            anonymous: false,
            body: None,
        };
        let why = match self.patiently(&request) {
            Ok(answer) if (200..300).contains(&answer.status) || answer.status == 404 => return,
            Ok(answer) => format!("DELETE is answered {}", answer.status),
            Err(trouble) => trouble.to_string(),
        };
        self.left.push(Left { path, why });
    }

    /// Ends, and tells what is still there.
    pub fn end(mut self) -> Vec<Left> {
        self.clean_up();
        for left in std::mem::take(&mut self.left) {
            self.delete(left.path);
        }
        self.left
    }
}

/// Holds an answer against what is expected; the error is a sentence.
fn holds(expected: &Expected, answer: &Answer, names: &mut Names) -> Result<(), String> {
    match expected {
        Expected::Status { codes, not } => {
            if codes.contains(&answer.status) != *not {
                return Ok(());
            }
            let codes: Vec<String> = codes.iter().map(u16::to_string).collect();
            let codes = codes.join(" or ");
            let wanted = if *not {
                format!("anything but {codes}")
            } else {
                codes
            };
            Err(format!("expected {wanted}, {}", found(answer)))
        }
        Expected::Filtered if ![400, 501].contains(&answer.status) => Ok(()),
        Expected::Filtered => Err(format!(
            "expected 200, or 400 with invalidFilter, {}",
            found(answer)
        )),
        Expected::Header(name, pattern) => {
            let value = answer.header(name);
            compare_header(pattern, value, names).map_err(|wanted| {
                let value = value.map_or_else(|| "none".to_owned(), |value| format!("{value:?}"));
                format!("the header {name}: expected {wanted}, found {value}")
            })
        }
        Expected::Json(_) if answer.status == 204 => Ok(()),
        Expected::Json(pattern) => match &answer.json {
            Some(json) => compare(pattern, Some(json), names).map_err(|unlike| unlike.to_string()),
            None => Err(format!("expected JSON, {}", found(answer))),
        },
        Expected::Id(name) => {
            let id = answer.json.as_ref().and_then(|json| json["id"].as_str());
            let id = id.ok_or_else(|| {
                let unlike = Unlike {
                    place: ".id".to_owned(),
                    expected: "a text".to_owned(),
                    found: "none".to_owned(),
                };
                unlike.to_string()
            })?;
            names.insert(name.clone(), id.to_owned());
            Ok(())
        }
    }
}

fn scim_type(answer: &Answer) -> Option<&str> {
    answer
        .json
        .as_ref()?
        .as_object()
        .and_then(|json| get(json, "scimType")?.as_str())
}

/// The answer in some words.
fn found(answer: &Answer) -> String {
    let member = |name: &str| {
        let json = answer.json.as_ref().and_then(Value::as_object);
        json.and_then(|json| get(json, name)?.as_str())
    };
    let words = [member("scimType"), member("detail")];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    let words: Vec<String> = words
        .iter()
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let words: String = words.join(": ").chars().take(200).collect();
    match words.is_empty() {
        true => format!("found {}", answer.status),
        false => format!("found {} ({words})", answer.status),
    }
}

/// The pattern for what was sent: lists in any order, and no password.
fn as_kept(sent: &Value) -> Value {
    match sent {
        Value::Array(items) if items.is_empty() => sent.clone(),
        Value::Array(items) => {
            let items = items.iter().map(as_kept);
            Value::Array([json!("~")].into_iter().chain(items).collect())
        }
        Value::Object(map) => {
            let pairs = map.iter().filter(|(name, _)| *name != "password");
            let pairs: Map<String, Value> = pairs
                .map(|(name, value)| (name.clone(), as_kept(value)))
                .collect();
            Value::Object(pairs)
        }
        other => other.clone(),
    }
}

/// `/Users/17` of a location.
fn last_two(location: &str) -> Option<String> {
    let mut parts = location.trim_end_matches('/').rsplit('/');
    let (id, endpoint) = (parts.next()?, parts.next()?);
    matches!(endpoint, "Users" | "Groups").then(|| format!("/{endpoint}/{id}"))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
