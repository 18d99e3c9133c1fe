//! Settings pages with the whole directory and its log behind them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::Result;
use crate::directory::TENANT;
use crate::driver::{Budget, Sample, Target, drive};
use crate::figure::Run;
use crate::histogram::Histogram;
use crate::options::Options;
use crate::server::{self, Server};

/// Name and path of each page.
const PAGES: [(&str, &str); 9] = [
    ("overview", "/settings"),
    ("people", "/settings/people"),
    ("people, search", "/settings/people?q=user-1"),
    ("people, of a role", "/settings/people?role=Member"),
    ("teams", "/settings/teams"),
    ("roles", "/settings/roles"),
    ("log", "/settings/log"),
    ("log, refused", "/settings/log?outcome=refused"),
    ("events", "/settings/events"),
];

/// Signing in by a password, over a connection of its own each time, as browsers do it who come back after a day.
pub fn sign_ins(options: &Options, server: &Server, run: &mut Run<'_>) -> Result<()> {
    let name = "sign-in by password, 1 connection";
    if !run.wants(name) {
        return Ok(());
    }
    let (address, password) = ("sign-in@example.org", "correct horse battery staple");
    let file = server.folder().join("bench-password");
    std::fs::write(&file, password)?;
    let file = file.to_str().ok_or("a folder that is no text")?;
    let make = [
        "account",
        "create",
        address,
        "--tenant",
        TENANT,
        "--password-file",
        file,
    ];
    server::run(server.folder(), &make)?;
    let page = exchange(server.address, "GET /sign-in HTTP/1.1", "", "")?;
    let cookie = between(&page, "Set-Cookie: ", ";")?;
    let token = between(&page, "name=\"csrf\" value=\"", "\"")?;
    let form = format!(
        "csrf={token}&email={address}&password={}",
        password.replace(' ', "+")
    );
    run.rate(name, None, || {
        one_by_one(options, || {
            let answer = exchange(server.address, "POST /sign-in HTTP/1.1", cookie, &form)?;
            match answer.starts_with("HTTP/1.1 303") {
                true => Ok(()),
                false => Err(format!("no sign-in: {answer}").into()),
            }
        })
    })
}

/// As often as there is time for, one after the other.
fn one_by_one(options: &Options, mut step: impl FnMut() -> Result<()>) -> Result<Sample> {
    let started = Instant::now();
    let mut latencies = Histogram::default();
    while latencies.count() == 0 || started.elapsed() < options.time() {
        let begun = Instant::now();
        step()?;
        latencies.add(begun.elapsed());
    }
    Ok(Sample {
        elapsed: started.elapsed(),
        latencies,
    })
}

/// How long pages take, one after the other, for somebody who is signed in.
pub fn settings(options: &Options, server: &Server, run: &mut Run<'_>) -> Result<()> {
    let name = |page: &str| format!("settings page: {page}");
    if !PAGES.iter().any(|(page, _)| run.wants(&name(page))) {
        return Ok(());
    }
    let target = Target::signed_in(server.address, &sign_in(server)?);
    for (page, path) in PAGES {
        run.rate(&name(page), None, || {
            drive(&target, 1, Budget::time(options.time()), |connection, _| {
                connection.get(path).map(|_| ())
            })
        })?;
    }
    Ok(())
}

/// Signs in by a link of the operator's; the cookie.
fn sign_in(server: &Server) -> Result<String> {
    let make = ["account", "create", "bench@example.org", "--tenant", TENANT];
    let link = server::run(server.folder(), &make)?;
    let path = &link[link.find("/sign-in/").ok_or("no link")?..];
    let page = exchange(server.address, &format!("GET {path} HTTP/1.1"), "", "")?;
    let cookie = between(&page, "Set-Cookie: ", ";")?;
    let token = between(&page, "name=\"csrf\" value=\"", "\"")?;
    let line = format!("POST {path} HTTP/1.1");
    let answer = exchange(server.address, &line, cookie, &format!("csrf={token}"))?;
    Ok(between(&answer, "Set-Cookie: ", ";")?.to_owned())
}

fn exchange(address: SocketAddr, line: &str, cookie: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "{line}\r\nHost: {address}\r\nConnection: close\r\nCookie: {cookie}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Result<&'a str> {
    let found = text
        .split_once(before)
        .and_then(|(_, rest)| rest.split_once(after));
    Ok(found.ok_or_else(|| format!("no {before:?} in {text}"))?.0)
}
