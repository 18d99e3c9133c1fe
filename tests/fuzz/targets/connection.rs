//! Whatever bytes a connection brings: it ends, nothing breaks, and what they mean doesn't depend on how they arrive.
//!
//! The real loop on Unix sockets: once with the whole program behind it, where `{token}`, `{user}` and `{team}` in the
//! bytes stand for what is there, and twice with a handler that repeats what it was given.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use rollcall::http::App;
use rollcall::http::bind::{Given, Listener, Place};
use rollcall::http::limits::Limits;
use rollcall::http::listen::{Stop, Terms, serve};
use rollcall::http::rate::Rate;
use rollcall::http::request::{Handler, Head, Request, Response};
use rollcall::scim::schema::Kind;
use rollcall::seal::KeyFile;
use rollcall::sso::fetch::Providers;
use rollcall::store::tokens::{self, New, Secret, TokenKind};
use rollcall::store::{Store, resources, tenants};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How many inputs a database serves: what they leave in it makes each slower than the one before.
const MOST: u32 = 2000;
/// The longest body that is accepted, short enough to be exceeded.
const BODY_BYTES: u64 = 16 * 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The program and the one that repeats.
pub struct Servers {
    program: Server,
    repeater: Server,
    /// What stands for what in the bytes.
    names: Vec<(&'static str, String)>,
    served: u32,
    _folder: TempDir,
}

impl Servers {
    pub fn start() -> Servers {
        let folder = tempfile::tempdir().unwrap();
        let (app, names) = program(folder.path());
        Servers {
            program: Server::start(folder.path().join("program"), Arc::new(app)),
            repeater: Server::start(folder.path().join("repeater"), Arc::new(Repeater)),
            names,
            served: 0,
            _folder: folder,
        }
    }

    pub fn run(&mut self, data: &[u8]) {
        self.served += 1;
        if self.served > MOST {
            *self = Servers::start();
        }
        let whole = self.repeater.answers([data]);
        let size = data.len() / 16 + 1 + usize::from(data.first().is_some_and(|it| it % 2 == 0));
        let pieces = self.repeater.answers(data.chunks(size));
        assert_eq!(served(&whole), served(&pieces));
        // Half a line may be refused before it is complete, if it arrives at once.
        if data.ends_with(b"\n") {
            assert_eq!(whole.len(), pieces.len(), "{whole:?} {pieces:?}");
        }
        let mut text = data.to_vec();
        for (name, value) in &self.names {
            text = replaced(&text, name.as_bytes(), value.as_bytes());
        }
        for (status, body) in self.program.answers([text.as_slice()]) {
            let body = String::from_utf8_lossy(&body);
            // 501: what the RFC names and this program doesn't do.
            assert!(status < 500 || status == 501, "{status} {body}");
        }
    }
}

fn program(folder: &Path) -> (App, Vec<(&'static str, String)>) {
    let store = Store::open(&folder.join("data")).unwrap();
    let secret = Secret::generate(TokenKind::Scim).unwrap();
    let token = secret.reveal().to_owned();
    let made = store.write(Timestamp::UNIX_EPOCH, move |tx| {
        let tenant = tenants::create(tx, "acme")?.unwrap().id;
        let new = New {
            kind: TokenKind::Scim,
            label: "fuzz".to_owned(),
            expires: None,
            scopes: vec![],
            person: None,
        };
        tokens::create(tx, tenant, &secret, &new)?;
        let insert = |kind, document: Value| {
            let document = serde_json::from_value(document).unwrap();
            resources::insert(tx, tenant, kind, document).map(|stored| stored.id)
        };
        let user = insert(Kind::User, json!({"userName": "ada", "active": true}))?;
        Ok((user, insert(Kind::Group, json!({"displayName": "SRE"}))?))
    });
    let (user, team) = made.unwrap();
    let app = App {
        store,
        public_url: None,
        body_max_bytes: BODY_BYTES,
        keep_bodies: false,
        backups: None,
        key_file: KeyFile::at(folder.join("key")),
        providers: Providers::new(false),
        entra: None,
        throttle: Default::default(),
        metrics: Default::default(),
        rate: Rate::new(u32::MAX, u32::MAX),
        departures: Rate::new(u32::MAX, u32::MAX),
        stopping: Default::default(),
    };
    (
        app,
        vec![("{token}", token), ("{user}", user), ("{team}", team)],
    )
}

/// Answers with the request.
struct Repeater;

impl Handler for Repeater {
    fn body_limit(&self, _: &Head) -> u64 {
        BODY_BYTES
    }

    fn answer(&self, request: Request) -> Response {
        let Head {
            method,
            path,
            query,
            headers,
            address,
            origin,
            ..
        } = &*request.head;
        let head = format!("{method} {path} {query} {headers:?} {address} {origin} ");
        answer(200, &[head.as_bytes(), &request.body].concat())
    }

    fn refusal(&self, _: Option<&Head>, status: u16, detail: &str) -> Response {
        answer(status, detail.as_bytes())
    }
}

fn answer(status: u16, body: &[u8]) -> Response {
    Response {
        status,
        headers: Vec::new(),
        body: body.to_vec().into(),
    }
}

/// A running loop.
struct Server {
    socket: PathBuf,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(socket: PathBuf, handler: Arc<dyn Handler>) -> Server {
        let listener = Listener::open(&Place::Unix(socket.clone()), &mut Given::nothing()).unwrap();
        let stop = Stop::new([&listener]).unwrap();
        let theirs = stop.clone();
        let terms = Terms::of(Limits::default());
        let thread = thread::spawn(move || serve(listener, handler, terms, theirs));
        Server {
            socket,
            stop,
            thread: Some(thread),
        }
    }

    /// What a client is answered that sends these pieces and then nothing more: status and body of each answer.
    fn answers<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(u16, Vec<u8>)> {
        let mut client = UnixStream::connect(&self.socket).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heads = 0;
        for piece in pieces {
            heads += piece.iter().filter(|byte| **byte == b'\n').count();
            // The server has closed where it can't know where the next request begins.
            if client.write_all(piece).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Write);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).expect("an end");
        let answers = parsed(&bytes);
        assert!(answers.len() <= heads + 1, "more answers than requests");
        answers
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.ask();
        self.thread.take().map(JoinHandle::join);
    }
}

/// Answers one after the other, without those that say 100 Continue: whether one is sent depends on what has arrived.
fn parsed(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let (head, rest) = bytes.split_at(end.expect("the end of a head") + 4);
        let head = str::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        let status = status.get(..3).unwrap().parse().unwrap();
        let length = lines.find_map(|line| line.strip_prefix("Content-Length: "));
        // An answer to HEAD has the length and not the body, and no body of ours begins like an answer.
        let has_body = !rest.is_empty() && !rest.starts_with(b"HTTP/1.1 ");
        let length = match length {
            Some(length) if has_body => length.parse().unwrap(),
            _ => 0,
        };
        let (body, rest) = rest.split_at(length);
        if status != 100 {
            answers.push((status, body.to_vec()));
        }
        bytes = rest;
    }
    answers
}

/// The answers to requests that were accepted. Which of several faults a refusal names may depend on what is there.
fn served(answers: &[(u16, Vec<u8>)]) -> Vec<&(u16, Vec<u8>)> {
    let accepted = answers.iter().filter(|(status, _)| *status == 200);
    accepted.collect()
}

fn replaced(text: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut result = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(name.len()).position(|window| window == name) {
        result.extend([&rest[..at], value].concat());
        rest = &rest[at + name.len()..];
    }
    result.extend(rest);
    result
}
