//! The world outside, as the program reaches it in earnest: by HTTPS, each provider under its own name.
//!
//! The program is started with what an operator would set in a closed network: a proxy (`HTTPS_PROXY`) and a certificate
//! authority (`SSL_CERT_FILE`). Behind that proxy there is nothing but this process, which answers as
//! `login.microsoftonline.com` and others do. So nothing in the program knows that it is tested.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread;

use base64ct::{Base64, Encoding};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::authority::{Authority, EC};
use crate::provider::{Provider, decoded, fields, sha256};
use crate::support::{PATIENCE, Server};

/// The hosts that are played.
const HOSTS: &str = "subjectAltName=DNS:login.microsoftonline.com,DNS:accounts.google.com,DNS:acme.okta.com,\
                     DNS:login.example.org,DNS:login.example.net";

/// What every client is given where a test says nothing else.
pub const SECRET: &str = "kE8~client-secret/+%";

/// The world outside, which ends with the test's process.
#[derive(Clone)]
pub struct Internet {
    state: Arc<Mutex<State>>,
    proxy: SocketAddr,
}

#[derive(Default)]
struct State {
    /// By `HOST/PATH`.
    documents: HashMap<String, Reply>,
    /// What a code was given for; it works once.
    codes: HashMap<String, Grant>,
    /// Client secrets that the token endpoints accept.
    secrets: HashSet<String>,
    /// `METHOD HOST/PATH` of each request.
    asked: Vec<String>,
    count: u64,
}

/// What the token endpoint checks and gives.
pub struct Grant {
    pub token: String,
    pub challenge: String,
    pub redirect_uri: String,
    pub client_id: String,
}

/// An answer, right or wrong.
#[derive(Clone)]
pub enum Reply {
    /// JSON.
    Json(Value),
    /// Status, content type, more header lines, body.
    Raw(u16, &'static str, String, Vec<u8>),
    /// The connection is closed without one.
    Nothing,
    /// None comes.
    Silence,
}

struct Certificates {
    /// Keeps the folder.
    authority: Authority,
    config: Arc<ServerConfig>,
}

fn certificates() -> &'static Certificates {
    static MADE: OnceLock<Certificates> = OnceLock::new();
    MADE.get_or_init(|| {
        let authority = Authority::new();
        let (chain, key) = authority.issue_for("providers", "Providers", EC, HOSTS);
        let chain = CertificateDer::pem_file_iter(chain).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Certificates {
            authority,
            config: Arc::new(config),
        }
    })
}

impl Internet {
    /// One in which nobody answers yet.
    pub fn start() -> Internet {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let internet = Internet {
            state: Arc::default(),
            proxy: listener.local_addr().unwrap(),
        };
        internet.lock().secrets.insert(SECRET.to_owned());
        let own = internet.clone();
        // Ends with the process; each test has its own.
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let own = own.clone();
                thread::spawn(move || own.serve(socket));
            }
        });
        internet
    }

    /// A server that reaches providers through it.
    #[track_caller]
    pub fn server(&self, options: &[&str]) -> Server {
        self.server_with(&[], options)
    }

    /// The same with more of its environment.
    #[track_caller]
    pub fn server_with(&self, more: &[(&str, &str)], options: &[&str]) -> Server {
        let root: PathBuf = certificates().authority.path("root.pem");
        let proxy = format!("http://{}", self.proxy);
        let own = [
            ("HTTPS_PROXY", proxy.as_str()),
            ("SSL_CERT_FILE", root.to_str().unwrap()),
        ];
        Server::start_with_env(&[&own, more].concat(), options)
    }

    /// A provider with a document and keys, as [`Provider`] makes them.
    pub fn provider(&self, issuer: &str) -> Provider {
        let provider = Provider::new(self, issuer);
        provider.publish(json!({}));
        provider
    }

    /// An issuer on loopback, by plain HTTP and without the proxy.
    pub fn plain_issuer(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// Puts an answer at an address.
    pub fn put(&self, url: &str, reply: Reply) {
        let place = place(url);
        self.lock().documents.insert(place, reply);
    }

    /// From now on the token endpoints accept these client secrets alone.
    pub fn accept(&self, secrets: &[&str]) {
        self.lock().secrets = secrets.iter().map(|&secret| secret.to_owned()).collect();
    }

    /// How often this was asked for, as `GET login.example.org/keys`.
    pub fn asked(&self, what: &str) -> usize {
        let state = self.lock();
        state.asked.iter().filter(|asked| *asked == what).count()
    }

    /// A code for what is granted; it works once.
    pub fn code(&self, grant: Grant) -> String {
        let mut state = self.lock();
        state.count += 1;
        let code = format!("code-{}", state.count);
        state.codes.insert(code.clone(), grant);
        code
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// One connection with one request: CONNECT and then HTTPS, or plain HTTP.
    fn serve(&self, socket: TcpStream) {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut plain = BufReader::new(socket.try_clone().unwrap());
        let Some((head, _)) = read(&mut plain) else {
            return;
        };
        if let Some((_, host)) = head
            .split_once("\nhost: ")
            .filter(|_| !head.starts_with("CONNECT "))
        {
            let host = host.lines().next().unwrap_or_default();
            let mut socket = socket;
            let _ = socket.write_all(&self.answer(host, &head, ""));
            return;
        }
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let Some(host) = target.strip_suffix(":443") else {
            return;
        };
        assert!(head.starts_with("CONNECT "), "{head}");
        let mut socket = socket;
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let tls = ServerConnection::new(certificates().config.clone()).unwrap();
        let mut tls = BufReader::new(StreamOwned::new(tls, socket));
        let Some((head, body)) = read(&mut tls) else {
            return;
        };
        let answer = self.answer(host, &head, &body);
        if self.is_silent(host, &head) {
            // Until the other side gives up.
            let _ = tls.fill_buf();
        }
        let stream = tls.get_mut();
        let _ = stream.write_all(&answer);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    fn is_silent(&self, host: &str, head: &str) -> bool {
        let path = head.split([' ', '?']).nth(1).unwrap_or_default();
        let state = self.lock();
        let reply = state.documents.get(&format!("{host}{path}"));
        matches!(reply, Some(Reply::Silence))
    }

    fn answer(&self, host: &str, head: &str, body: &str) -> Vec<u8> {
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let asked = format!("{host}{}", path.split('?').next().unwrap());
        let mut state = self.lock();
        state.asked.push(format!("{method} {asked}"));
        let reply = match state.documents.get(&asked).cloned() {
            Some(reply) => reply,
            None if method == "POST" => redeem(&mut state, head, body),
            None => Reply::Raw(404, "text/html", String::new(), b"<h1>No".to_vec()),
        };
        drop(state);
        let (status, kind, more, body) = match reply {
            Reply::Json(value) => {
                let body = value.to_string().into_bytes();
                let status = if value.get("error").is_some() {
                    400
                } else {
                    200
                };
                (
                    status,
                    "application/json; charset=utf-8",
                    String::new(),
                    body,
                )
            }
            Reply::Raw(status, kind, more, body) => (status, kind, more, body),
            Reply::Nothing | Reply::Silence => return vec![],
        };
        let head = format!(
            "HTTP/1.1 {status} .\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }
}

/// The token for a code (RFC 6749 §4.1.3, RFC 7636 §4.6): all that a provider checks is checked.
fn redeem(state: &mut State, head: &str, body: &str) -> Reply {
    let fields = fields(body);
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let basic = head.lines().find_map(|line| {
        let credentials = line.strip_prefix("authorization: Basic ")?;
        let pair = String::from_utf8(Base64::decode_vec(credentials).unwrap()).unwrap();
        let (id, secret) = pair.split_once(':')?;
        Some((decoded(id), decoded(secret)))
    });
    let posted = || {
        (
            field("client_id").to_owned(),
            field("client_secret").to_owned(),
        )
    };
    let (client_id, secret) = basic.unwrap_or_else(posted);
    if !state.secrets.contains(&secret) {
        let words = "AADSTS7000215: Invalid client secret provided.";
        return Reply::Json(json!({"error": "invalid_client", "error_description": words}));
    }
    let bad =
        json!({"error": "invalid_grant", "error_description": "AADSTS54005: already redeemed."});
    let Some(grant) = state.codes.remove(field("code")) else {
        return Reply::Json(bad);
    };
    let right = grant.challenge == sha256(field("code_verifier"))
        && grant.redirect_uri == field("redirect_uri")
        && grant.client_id == client_id
        && field("grant_type") == "authorization_code";
    match right {
        true => Reply::Json(
            json!({"token_type": "Bearer", "id_token": grant.token, "access_token": "x"}),
        ),
        false => Reply::Json(bad),
    }
}

/// Reads a request: its head with names in lower case, its body by Content-Length.
pub fn read(stream: &mut impl BufRead) -> Option<(String, String)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .ok()
            .filter(|count| *count > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some((name, value)) if !head.is_empty() => {
                let name = name.to_lowercase();
                if name == "content-length" {
                    length = value.parse().ok()?;
                }
                head += &format!("{name}: {value}\n");
            }
            _ => head += &format!("{line}\n"),
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

/// `HOST/PATH` of an address.
fn place(url: &str) -> String {
    url.split_once("://").expect("a scheme").1.to_owned()
}
