//! Conversations with a server, as files: `tests/data/transcripts/*/*.http`.
//!
//! ```text
//! == Each conversation has a title and a tenant of its own
//! # a comment
//! > POST /scim/v2/Users                     sent: spaces, quotes and the like are percent-encoded
//! > Content-Type: application/json          optional; `Authorization: none` leaves the token out
//! > {"schemas": ["…"], "userName": "ana"}   JSON, over any number of lines
//! < 201                                     expected
//! < as {ana}                                keeps the answer's id; `{id}` is the id of the last 201
//! < Location: *Users/{ana}                  a header; `*` in a pattern is any text, `!` is absent
//! < {"userName": "ana", "title": "!", "meta": {"version": "{=v}"}}
//! ```
//!
//! In an expected body an unnamed field doesn't matter, `"*"` is any value, `"!"` is an absent one, other strings are
//! patterns (`*` any text, `?` a character), `"{=v}"` keeps a value (in headers too). A list must match item by item; `["~", …]` in any order;
//! `["...", …]` holds at least these. A body line `>| ` is sent as it stands, with `\xNN` for a byte.
//! `> 11 x POST …` sends it eleven times with `{n}` counting from 01. `> GET {ref}` follows a URL that was kept.
//! `$ tenant pause {tenant}` runs the CLI; `< as {word}` after it keeps what it printed, a token for example.
//!
//! Every answer is held against the house rules too: a SCIM Error for each refusal, exactly
//! `application/scim+json` on every body, no body with 204 and 304.

mod expectation;
mod file;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::expectation::{Names, compare, compare_text, filled};
use self::file::{Command, Conversation, Exchange, Step, parse};
use crate::support::{Answer, Client, Server};
use crate::tenant::{Tenant, encode, refusal_fault};

#[test]
fn entra_conversations() {
    play_folder("entra");
}

#[test]
fn okta_conversations() {
    play_folder("okta");
}

#[test]
fn authentik_conversations() {
    play_folder("authentik");
}

#[test]
fn rfc_conversations() {
    play_folder("rfc");
}
/// Plays all files of a folder.
fn play_folder(folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/transcripts")
        .join(folder);
    play_files(&files_in(&folder));
}

/// The files of a folder, in order.
pub fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// Plays all conversations of `files` on one server, and reports each that went another way.
pub fn play_files(files: &[PathBuf]) {
    let read = files.iter().map(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let conversations = parse(&std::fs::read_to_string(file).unwrap());
        (
            conversations.unwrap_or_else(|error| panic!("{name}:{error}")),
            name,
        )
    });
    let read: Vec<(Vec<Conversation>, String)> = read.collect();
    let server = Server::start();
    let (mut failures, mut count) = (String::new(), 0);
    for (conversations, name) in read {
        assert!(!conversations.is_empty(), "no conversation in {name}");
        for conversation in conversations {
            count += 1;
            if let Err(failure) = play(&conversation, &server, &format!("tenant {count}")) {
                writeln!(
                    failures,
                    "{name}:{failure}\n    in \"{}\"",
                    conversation.title
                )
                .unwrap();
            }
        }
    }
    assert!(count > 0, "no conversation");
    assert!(
        failures.is_empty(),
        "{} of {count} conversations:\n{failures}",
        failures.matches("\n    in \"").count()
    );
}

/// Plays one conversation up to its first failure: what follows depends on it.
fn play(conversation: &Conversation, server: &Server, tenant_name: &str) -> Result<(), String> {
    let tenant = Tenant::create(server, tenant_name);
    let authorization = format!("Bearer {}", tenant.token);
    let mut names = Names::from([("tenant".to_owned(), tenant.name.clone())]);
    let mut connection = server.anyone();
    for step in &conversation.steps {
        match step {
            Step::Command(command) => run_command(command, server, &mut names)?,
            Step::Exchange(exchange) => {
                for n in 1..=exchange.times {
                    names.insert("n".to_owned(), format!("{n:02}"));
                    converse(exchange, &mut connection, &authorization, &mut names).map_err(
                        |fault| {
                            format!(
                                "{}: {} {}\n    {fault}",
                                exchange.line, exchange.method, exchange.path
                            )
                        },
                    )?;
                }
            }
        }
    }
    Ok(())
}

fn run_command(command: &Command, server: &Server, names: &mut Names) -> Result<(), String> {
    let Command {
        line,
        arguments,
        name,
    } = command;
    let words: Vec<String> = arguments
        .split(' ')
        .map(|word| filled(word, names))
        .collect::<Result<_, _>>()?;
    let output = server.rollcall(&words.iter().map(String::as_str).collect::<Vec<_>>());
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{line}: $ {arguments}: {said}"));
    }
    if let Some(name) = name {
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        names.insert(name.clone(), said);
    }
    Ok(())
}

fn converse(
    exchange: &Exchange,
    connection: &mut Client,
    authorization: &str,
    names: &mut Names,
) -> Result<(), String> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in &exchange.headers {
        headers.push((name.clone(), filled(value, names)?));
    }
    let sets = |name: &str| {
        exchange
            .headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    if !sets("Authorization") {
        headers.push(("Authorization".to_owned(), authorization.to_owned()));
    }
    if exchange.body.is_some() && !sets("Content-Type") {
        headers.push((
            "Content-Type".to_owned(),
            "application/scim+json".to_owned(),
        ));
    }
    headers.retain(|(_, value)| value != "none");
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let body = exchange
        .body
        .as_ref()
        .map(|body| match std::str::from_utf8(body) {
            Ok(text) => filled(text, names).map(String::into_bytes),
            Err(_) => Ok(body.clone()),
        });
    let path = encode(&path_of(&filled(&exchange.path, names)?));
    let answer = connection.request(
        &exchange.method,
        &path,
        &headers,
        body.transpose()?.as_deref().unwrap_or_default(),
    );

    let shown = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status != exchange.status {
        return Err(format!(
            "expected {}, found {} {shown}",
            exchange.status, answer.status
        ));
    }
    check(exchange, &answer, names)
        .map_err(|fault| format!("{fault}\n    in {} {shown}", answer.status))
}

/// What a request line has of a URL.
fn path_of(url: &str) -> String {
    let path = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'));
    path.map_or_else(|| url.to_owned(), |(_, path)| format!("/{path}"))
}

fn check(exchange: &Exchange, answer: &Answer, names: &mut Names) -> Result<(), String> {
    house_rules(answer)?;
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    if let Some(id) = body.as_ref().and_then(|body| body["id"].as_str()) {
        if answer.status == 201 {
            names.insert("id".to_owned(), id.to_owned());
        }
        if let Some(name) = &exchange.name {
            names.insert(name.clone(), id.to_owned());
        }
    } else if let Some(name) = &exchange.name {
        return Err(format!("no id to keep as {{{name}}}"));
    }
    for (name, pattern) in &exchange.expected_headers {
        let found = answer.header(name);
        compare_text(pattern, found, names)
            .map_err(|wanted| format!("{name}: expected {wanted}, found {found:?}"))?;
    }
    match &exchange.expected_body {
        Some(expected) => compare(expected, body.as_ref(), "", names),
        None => Ok(()),
    }
}

fn house_rules(answer: &Answer) -> Result<(), String> {
    if answer.status >= 400 {
        return refusal_fault(answer).map_or(Ok(()), Err);
    }
    if matches!(answer.status, 204 | 304) {
        return answer
            .body
            .is_empty()
            .then_some(())
            .ok_or_else(|| "a body with 204 or 304".to_owned());
    }
    match answer.header("Content-Type") {
        Some("application/scim+json") => Ok(()),
        other => Err(format!("Content-Type is {other:?}")),
    }
}
