//! A proxy that breaks what passes through it, in one of the ways in which SCIM servers are broken.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::directory::ENTERPRISE;
use crate::internet::read;
use crate::support::Client;
use crate::tenant::{ROOT, patch_op};

/// A request on its way.
#[derive(Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub body: Value,
    pub authorization: String,
}

impl Asked {
    fn is(&self, method: &str, endpoint: &str) -> bool {
        self.method == method && self.path.starts_with(&format!("{ROOT}{endpoint}"))
    }

    /// The operations of a PATCH.
    fn operations(&mut self) -> &mut Vec<Value> {
        self.body["Operations"].as_array_mut().unwrap()
    }
}

/// What is answered.
pub struct Reply {
    pub status: u16,
    pub body: Value,
    pub retry_after: Option<u64>,
}

impl Reply {
    pub fn nothing() -> Reply {
        Reply {
            status: 204,
            body: Value::Null,
            retry_after: None,
        }
    }

    pub fn error(status: u16) -> Reply {
        let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": status.to_string()});
        Reply {
            status,
            body,
            retry_after: None,
        }
    }
}

/// What becomes of a request; the second argument passes it on.
pub type Fault = Box<dyn Fn(Asked, &mut dyn FnMut(Asked) -> Reply) -> Reply + Send + Sync>;

/// Stands in front of a server, with a fault; for the rest of the process.
pub fn in_front_of(server: SocketAddr, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fault = Arc::new(fault);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let fault = Arc::clone(&fault);
            thread::spawn(move || pass(&stream, server, &fault));
        }
    });
    address
}

fn pass(stream: &TcpStream, server: SocketAddr, fault: &Fault) {
    let mut reader = BufReader::new(stream);
    let mut behind = Client::to(server);
    while let Some((head, body)) = read(&mut reader) {
        let mut words = head.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let authorization = head
            .lines()
            .find_map(|line| line.strip_prefix("authorization: "));
        let asked = Asked {
            method: word(),
            path: word(),
            body: serde_json::from_str(&body).unwrap_or_default(),
            authorization: authorization.unwrap_or_default().to_owned(),
        };
        let mut next = |asked: Asked| {
            let headers = [
                ("Authorization", &*asked.authorization),
                ("Content-Type", "application/scim+json"),
            ];
            let body = match &asked.body {
                Value::Null => Vec::new(),
                body => body.to_string().into_bytes(),
            };
            let answer = behind.request(&asked.method, &asked.path, &headers, &body);
            Reply {
                status: answer.status,
                body: serde_json::from_slice(&answer.body).unwrap_or_default(),
                retry_after: None,
            }
        };
        let reply = fault(asked, &mut next);
        let body = match &reply.body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let wait = reply.retry_after.map_or(String::new(), |seconds| {
            format!("Retry-After: {seconds}\r\n")
        });
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {} .\r\nContent-Type: application/scim+json\r\nContent-Length: {length}\r\n{wait}\r\n",
            reply.status
        );
        let mut stream = stream;
        if stream
            .write_all(&[head.as_bytes(), body.as_bytes()].concat())
            .is_err()
        {
            return;
        }
    }
}

pub type Next<'a> = &'a mut dyn FnMut(Asked) -> Reply;

/// Of each five or more who join at once, one doesn't.
pub fn drops_a_member(mut asked: Asked, next: Next<'_>) -> Reply {
    if asked.is("PATCH", "/Groups") && asked.operations()[0]["op"] == "Add" {
        let list = asked.operations()[0]["value"].as_array_mut();
        list.filter(|list| list.len() > 4).map(Vec::pop);
    }
    next(asked)
}

/// As RFC 7644 reads: `remove` with the path `members` is all of them.
pub fn removes_all_members(mut asked: Asked, next: Next<'_>) -> Reply {
    if asked.is("PATCH", "/Groups") && asked.operations()[0]["op"] == "Remove" {
        asked.body = patch_op(json!([{"op": "remove", "path": "members"}]));
    }
    next(asked)
}

pub fn keeps_members(mut asked: Asked, next: Next<'_>) -> Reply {
    match asked.is("PATCH", "/Groups") && asked.operations()[0]["op"] == "Remove" {
        true => Reply::nothing(),
        false => next(asked),
    }
}

/// Says that it's done, and does nothing.
pub fn loses_titles(mut asked: Asked, next: Next<'_>) -> Reply {
    match asked.is("PATCH", "/Users") && asked.operations()[0]["path"] == "title" {
        true => Reply::nothing(),
        false => next(asked),
    }
}

pub fn knows_no_text_as_boolean(mut asked: Asked, next: Next<'_>) -> Reply {
    match asked.is("PATCH", "/Users") && asked.operations()[0]["value"] == "False" {
        true => Reply::nothing(),
        false => next(asked),
    }
}

pub fn needs_a_path(mut asked: Asked, next: Next<'_>) -> Reply {
    match asked.is("PATCH", "/Users") && asked.operations()[0]["path"].is_null() {
        true => Reply::nothing(),
        false => next(asked),
    }
}

pub fn lowers_user_names(mut asked: Asked, next: Next<'_>) -> Reply {
    if let Some(name) = asked.body["userName"].as_str() {
        asked.body["userName"] = name.to_lowercase().into();
    }
    next(asked)
}

pub fn flattens_managers(asked: Asked, next: Next<'_>) -> Reply {
    let mut reply = next(asked);
    let flat = |user: &mut Value| {
        if let Some(manager) = user.pointer_mut(&format!("/{ENTERPRISE}/manager")) {
            *manager = manager["value"].take();
        }
    };
    if let Some(users) = reply
        .body
        .get_mut("Resources")
        .and_then(Value::as_array_mut)
    {
        users.iter_mut().for_each(flat);
    } else {
        flat(&mut reply.body);
    }
    reply
}

pub fn answers_404_for_nobody(asked: Asked, next: Next<'_>) -> Reply {
    let is_search = asked.is("GET", "/Users?filter=userName+eq+%22sim-");
    let reply = next(asked);
    match is_search && reply.body["totalResults"] == 0 {
        true => Reply::error(404),
        false => reply,
    }
}

pub fn ignores_filters(mut asked: Asked, next: Next<'_>) -> Reply {
    if asked.is("GET", "/Users?filter=") {
        asked.path = asked.path.split("filter=").next().unwrap().to_owned();
    }
    next(asked)
}

/// Whatever page is asked for, the first one comes.
pub fn knows_one_page(mut asked: Asked, next: Next<'_>) -> Reply {
    if asked.is("GET", "/Users?startIndex=") {
        asked.path = format!("{ROOT}/Users?startIndex=1&count=100");
    }
    next(asked)
}

/// The first DELETE of a user does nothing.
pub fn deletes_late() -> impl Fn(Asked, Next<'_>) -> Reply + Send + Sync {
    let is_done = AtomicBool::new(false);
    move |asked, next| match asked.is("DELETE", "/Users") && !is_done.swap(true, Ordering::Relaxed)
    {
        true => Reply::nothing(),
        false => next(asked),
    }
}

pub fn loses_group_names(mut asked: Asked, next: Next<'_>) -> Reply {
    if asked.is("PATCH", "/Groups")
        && asked.operations().len() == 1
        && asked.operations()[0]["path"].is_null()
    {
        return Reply::nothing();
    }
    next(asked)
}

pub fn tells_no_id(asked: Asked, next: Next<'_>) -> Reply {
    let is_user = asked.is("POST", "/Users");
    let mut reply = next(asked);
    if is_user
        && reply.body["userName"]
            .as_str()
            .is_some_and(|name| name.ends_with("7@simulated.example"))
    {
        reply.body["id"] = Value::Null;
    }
    reply
}
