//! Behind nginx and Caddy by the files of `packaging/proxy/`, which are those of the guide: SCIM, pages, signing in by a
//! provider, forward auth, and what a client claims of itself.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::authority::{Authority, EC};
use crate::browser::encoded;
use crate::support::Server;
use crate::tenant::{group, patch_op, run, text, user};
use crate::tls::await_that;

const ROLLCALL: &str = "https://rollcall.example.org";
const WIKI: &str = "https://wiki.example.org";

/// Where the files expect rollcall and the app.
pub const PLACES: [&str; 2] = ["127.0.0.1:8080", "127.0.0.1:3000"];

/// The client's address, which is no proxy's.
const CLIENT: &str = "127.0.0.2";

/// What a client may claim that wants to be somebody else.
const CLAIMS: [&str; 5] = [
    "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: http",
    "Forwarded: for=203.0.113.9;host=evil.example;proto=http",
    "Remote-User: root",
];

/// Which program stands in front.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Program {
    Nginx,
    Caddy,
}

/// A proxy that runs, with the certificates that its clients trust.
struct Proxy {
    folder: tempfile::TempDir,
    child: Child,
    root: PathBuf,
    ports: [u16; 2],
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // By SIGTERM, so that nginx ends its workers, too.
        let number = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &number]).status();
        let _ = self.child.wait();
    }
}

/// A file of `packaging/proxy/`.
pub fn file(name: &str) -> String {
    let path = format!("{}/packaging/proxy/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Puts `new` in the place of `old`, which has to be there.
#[track_caller]
fn replace(text: &mut String, old: &str, new: &str) {
    assert!(text.contains(old), "no {old:?} in {text}");
    *text = text.replace(old, new);
}

impl Proxy {
    /// Starts it by its file, with other ports and certificates. `rollcall` is where that listens, in the program's words.
    fn start(program: Program, rollcall: &str, app: &str) -> Proxy {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap().to_owned();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let ports = [free(), free()].map(|free| free.local_addr().unwrap().port());
        let [https, http] = ports;
        let (config, words, mut text, around);
        let mut command = match program {
            Program::Nginx => {
                text = file("nginx.conf");
                for name in ["rollcall.example.org", "wiki.example.org"] {
                    let names = format!("subjectAltName=DNS:{name}");
                    let (pem, key) = authority.issue_for(name, name, EC, &names);
                    let files = [("fullchain.pem", &pem), ("privkey.pem", &key)];
                    for (end, file) in files {
                        let own = folder.path().join(format!("{name}-{end}"));
                        fs::copy(file, &own).unwrap();
                        let usual = format!("/etc/ssl/{name}/{end}");
                        replace(&mut text, &usual, own.to_str().unwrap());
                    }
                }
                replace(&mut text, "    listen [::]:443 ssl;\n", "");
                replace(&mut text, "    listen [::]:80;\n", "");
                replace(
                    &mut text,
                    "listen 443 ssl",
                    &format!("listen 127.0.0.1:{https} ssl"),
                );
                replace(&mut text, "listen 80", &format!("listen 127.0.0.1:{http}"));
                around = format!(
                    "daemon off; user root; pid {place}/pid; error_log stderr warn; events {{}}
                     http {{ access_log off; port_in_redirect off; client_body_temp_path {place}/a; proxy_temp_path {place}/b;
                     fastcgi_temp_path {place}/c; uwsgi_temp_path {place}/d; scgi_temp_path {place}/e; include rollcall.conf; }}"
                );
                (config, words) = ("rollcall.conf", ["-c", "around", "-e", "stderr"]);
                Command::new(std::env::var("NGINX").unwrap_or("/usr/sbin/nginx".to_owned()))
            }
            Program::Caddy => {
                text = file("Caddyfile");
                around = format!(
                    "{{\n local_certs\n skip_install_trust\n admin off\n https_port {https}\n http_port {http}\n default_bind 127.0.0.1\n
                     storage file_system {place}/storage\n}}\nimport Caddyfile\n"
                );
                (config, words) = (
                    "Caddyfile",
                    ["run", "--config", "around", "--adapter=caddyfile"],
                );
                Command::new(std::env::var("CADDY").unwrap_or("/usr/bin/caddy".to_owned()))
            }
        };
        replace(&mut text, PLACES[0], rollcall);
        replace(&mut text, PLACES[1], app);
        fs::write(folder.path().join(config), text).unwrap();
        fs::write(folder.path().join("around"), around).unwrap();
        if program == Program::Nginx {
            command.args(["-p", &place]);
        }
        let said = folder.path().join("said");
        let words = words.map(|word| match word {
            "around" => format!("{place}/around"),
            other => other.to_owned(),
        });
        // nginx takes one option before the other, Caddy its command first.
        let child = command
            .args(words)
            .env("HOME", &place)
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?} ({error}): tests/run installs it"));
        let root = match program {
            Program::Nginx => {
                let root = folder.path().join("root.pem");
                fs::copy(authority.path("root.pem"), &root).unwrap();
                root
            }
            Program::Caddy => folder.path().join("storage/pki/authorities/local/root.crt"),
        };
        let proxy = Proxy {
            folder,
            child,
            root,
            ports,
        };
        await_that(|| {
            let is_up =
                proxy.root.exists() && proxy.try_ask(&[], &format!("{ROLLCALL}/healthz")).is_some();
            if !is_up && fs::read_to_string(&said).unwrap().contains("[emerg]") {
                panic!("{}", fs::read_to_string(&said).unwrap());
            }
            is_up
        });
        proxy
    }

    /// Asks as a browser does, by curl, which keeps cookies. `None` where there is no answer.
    fn try_ask(&self, more: &[&str], url: &str) -> Option<Reply> {
        let [https, http] = self.ports;
        let jar = self.folder.path().join("cookies");
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--interface", CLIENT, "--cacert"]);
        command
            .arg(&self.root)
            .arg("-b")
            .arg(&jar)
            .arg("-c")
            .arg(&jar);
        for host in ["rollcall.example.org", "wiki.example.org"] {
            for (usual, port) in [(443, https), (80, http)] {
                command.args(["--connect-to", &format!("{host}:{usual}:127.0.0.1:{port}")]);
            }
        }
        let output = command
            .args(["-w", "\n%{http_code}\t%header{location}\t%{url_effective}\t%header{strict-transport-security}"])
            .args(more)
            .arg(url)
            .output()
            .expect("curl");
        let said = String::from_utf8(output.stdout).unwrap();
        let (body, facts) = said.rsplit_once('\n')?;
        let facts: Vec<&str> = facts.split('\t').collect();
        let status = facts[0].parse().unwrap();
        (output.status.success() && status != 502).then(|| Reply {
            status,
            location: facts[1].to_owned(),
            url: facts[2].to_owned(),
            stays: facts[3].to_owned(),
            body: body.to_owned(),
        })
    }

    #[track_caller]
    fn ask(&self, more: &[&str], url: &str) -> Reply {
        self.try_ask(more, url)
            .unwrap_or_else(|| panic!("no answer from {url}: {}", self.said()))
    }

    /// Sends the form of a page at `path`, with that page's token, as browsers do, and follows.
    #[track_caller]
    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let url = format!("{ROLLCALL}{path}");
        let page = self.ask(&[], &url).body;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect(&page);
        let token = rest.split('"').next().unwrap();
        let body = encoded(&[fields, &[("csrf", token)]].concat());
        let origin = format!("Origin: {ROLLCALL}");
        self.ask(&["-L", "-H", &origin, "--data-raw", &body], &url)
    }

    /// SCIM, by a client that claims what it is not.
    #[track_caller]
    fn scim(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let token = format!("Authorization: Bearer {token}");
        let mut more = vec![
            "-X",
            method,
            "-H",
            &token,
            "-H",
            "Content-Type: application/scim+json",
        ];
        more.extend(CLAIMS.iter().flat_map(|claim| ["-H", claim]));
        let sent = self.folder.path().join("body");
        let by_file = format!("@{}", sent.display());
        if let Some(body) = body {
            fs::write(&sent, body.to_string()).unwrap();
            more.extend(["--data-binary", &by_file]);
        }
        self.ask(&more, &format!("{ROLLCALL}/scim/v2{path}"))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap()
    }
}

/// What came back, at the end of the way.
#[derive(Debug)]
struct Reply {
    status: u16,
    location: String,
    url: String,
    /// Strict-Transport-Security
    stays: String,
    body: String,
}

impl Reply {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// An app that says what it was asked, and as whom.
fn app() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut lines = BufReader::new(socket.try_clone().unwrap())
                .lines()
                .map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let named: Vec<String> = lines
                .take_while(|line| !line.is_empty())
                .filter_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("remote-")
                        .map(str::to_owned)
                })
                .collect();
            let body = format!("{first} for {}", named.join(", "));
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = socket.write_all((head + &body).as_bytes());
        }
    });
    address
}

/// What every client gets, whether rollcall knows its own name or learns it from the proxy.
fn works(proxy: &Proxy, server: &Server) {
    let scim =
        |method, path: &str, body: Option<&Value>| proxy.scim(&server.token, method, path, body);
    let made = scim(
        "POST",
        "/Users",
        Some(&user("ana@example.org", json!({"externalId": "ana"}))),
    );
    assert_eq!(made.status, 201, "{made:?}");
    let id = text(&made.json()["id"]);
    let location = format!("{ROLLCALL}/scim/v2/Users/{id}");
    assert_eq!(
        (&made.location, text(&made.json()["meta"]["location"])),
        (&location, location.clone())
    );
    let found = scim(
        "GET",
        "/Users?filter=userName%20eq%20%22ana%40example.org%22",
        None,
    )
    .json();
    assert_eq!(found["Resources"][0]["meta"]["location"], location);
    assert_eq!(scim("GET", "/Users/a%2Fb", None).status, 404);
    let title = patch_op(json!([{"op": "replace", "path": "title", "value": "Boss"}]));
    let path = format!("/Users/{id}");
    assert_eq!(scim("PATCH", &path, Some(&title)).status, 200);
    // Refusals come through in rollcall's own words.
    let refused = scim("POST", "/Users", Some(&user("ana@example.org", json!({}))));
    assert_eq!(
        (refused.status, refused.json()["scimType"].clone()),
        (409, json!("uniqueness"))
    );
    let stranger = proxy.scim("rcs_wrong", "GET", "/Users", None);
    assert_eq!(
        (stranger.status, stranger.json()["status"].clone()),
        (401, json!("401"))
    );
    // A bulk request of 2 MB.
    let operations: Vec<Value> = (0..100)
        .map(|number| {
            let more = json!({"title": "t".repeat(20_000)});
            json!({"method": "POST", "path": "/Users", "bulkId": format!("b{number}"), "data": user(&format!("u{number}"), more)})
        })
        .collect();
    let bulk = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations});
    let answer = scim("POST", "/Bulk", Some(&bulk));
    assert_eq!(answer.status, 200, "{answer:?}");
    let done = answer.json();
    assert!(
        done["Operations"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["status"] == "201")
    );
    assert!(
        text(&done["Operations"][99]["location"])
            .starts_with(&format!("{ROLLCALL}/scim/v2/Users/"))
    );
    let log: Vec<Value> = run(server, &["log", "--tenant", "dev", "-o", "json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        log.len() > 4 && log.iter().all(|line| line["address"] == CLIENT),
        "{log:#?}"
    );

    let plain = proxy.ask(&[], "http://rollcall.example.org/sign-in?a=b%20c");
    assert_eq!(
        (plain.status, plain.location),
        (308, format!("{ROLLCALL}/sign-in?a=b%20c"))
    );
    let page = proxy.ask(&[], &format!("{ROLLCALL}/settings"));
    assert_eq!(page.status, 303, "{page:?}");
    assert!(page.location.starts_with("/sign-in"), "{page:?}");
    let page = proxy.ask(&[], &format!("{ROLLCALL}/sign-in"));
    assert!(page.stays.starts_with("max-age="), "{page:?}");
    let link = &server.settings[server.settings.find("/sign-in/link/").unwrap()..];
    let inside = proxy.post(link, &[]);
    assert_eq!(
        (inside.status, inside.url),
        (200, format!("{ROLLCALL}/settings"))
    );
    let jar = fs::read_to_string(proxy.folder.path().join("cookies")).unwrap();
    let is_bound =
        |line: &&str| line.contains("__Host-") && line.split('\t').nth(3) == Some("TRUE");
    assert!(jar.lines().any(|line| is_bound(&line)), "{jar}");
    let page = proxy
        .ask(&[], &format!("{ROLLCALL}/settings/provisioning"))
        .body;
    let url = format!("{ROLLCALL}/scim/v2").replace('/', "&#x2f;");
    assert!(page.contains(&url), "{page}");
}

/// Ana signs in by a provider on the way to an app, and is let in as long as she may.
fn lets_in(proxy: &Proxy, server: &Server) {
    let fields = [
        ("do", "save"),
        ("host", "wiki.example.org"),
        ("role", ""),
        ("teams", ""),
    ];
    let saved = proxy.post("/settings/hosts", &fields);
    assert!(saved.body.contains("Saved: who may open it."), "{saved:?}");
    let found = proxy.scim(
        &server.token,
        "GET",
        "/Users?filter=userName%20eq%20%22ana%40example.org%22",
        None,
    );
    let ana = text(&found.json()["Resources"][0]["id"]);
    let team = group("SRE", json!({"members": [{"value": ana}]}));
    assert_eq!(
        proxy
            .scim(&server.token, "POST", "/Groups", Some(&team))
            .status,
        201
    );

    fs::remove_file(proxy.folder.path().join("cookies")).unwrap();
    let html = ["-H", "Accept: text/html"];
    let claims: Vec<&str> = CLAIMS.iter().flat_map(|claim| ["-H", claim]).collect();
    let app = format!("{WIKI}/page?a=b&c=d");
    let away = proxy.ask(&[&html[..], &claims, &["-L"]].concat(), &app);
    assert!(
        away.url.starts_with(&format!("{ROLLCALL}/sign-in?next=")),
        "{away:?}"
    );
    let script = proxy.ask(&["-H", "Accept: application/json", "-X", "POST"], &app);
    assert!([302, 401].contains(&script.status), "{script:?}");

    let sent = proxy.ask(&[], &format!("{ROLLCALL}/sso/start/dev"));
    let callback = "redirect_uri=https%3A%2F%2Frollcall.example.org%2Fsso%2Fcallback";
    assert!(sent.location.contains(callback), "{sent:?}");
    let there = proxy.ask(&[], &sent.location);
    let (before, _) = there
        .body
        .split_once(">ana@example.org</a>")
        .expect(&there.body);
    let link = before
        .rsplit("href=\"")
        .next()
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let link = link.replace("&amp;", "&").replace("&#x2f;", "/");
    let (issuer, _) = sent.location.split_once("/authorize").unwrap();
    let back = proxy.ask(&["-L"], &format!("{issuer}{link}"));
    assert_eq!(
        (back.status, back.url),
        (200, format!("{ROLLCALL}/me")),
        "{}",
        back.body
    );

    let seen = proxy.ask(&[&html[..], &claims, &["-L"]].concat(), &app);
    assert_eq!((seen.status, &seen.url), (200, &app), "{seen:?}");
    assert!(
        seen.body.starts_with("GET /page?a=b&c=d HTTP/1."),
        "{seen:?}"
    );
    for named in ["user: ana@example.org", "groups: sre", "role: member"] {
        assert!(seen.body.contains(named), "{seen:?}");
    }
    assert!(!seen.body.contains("root"), "{seen:?}");
    let gone = patch_op(json!([{"op": "replace", "path": "active", "value": false}]));
    assert_eq!(
        proxy
            .scim(
                &server.token,
                "PATCH",
                &format!("/Users/{ana}"),
                Some(&gone)
            )
            .status,
        200
    );
    let out = proxy.ask(&[&html[..], &["-L"]].concat(), &app);
    assert!(
        out.url.starts_with(&format!("{ROLLCALL}/sign-in?next=")),
        "{out:?}"
    );
}

/// By an address and by its own name, then by a Unix socket and the name that the proxy says.
fn behind(program: Program) {
    let app = app();
    let server =
        Server::start_dev_with(&["--trusted-proxy", "127.0.0.1", "--public-url", ROLLCALL]);
    let proxy = Proxy::start(program, &server.address.to_string(), &app);
    works(&proxy, &server);
    lets_in(&proxy, &server);
    drop(proxy);

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock").to_str().unwrap().to_owned();
    let server = Server::start_dev_with(&["--listen", &format!("unix:{socket}")]);
    let place = match program {
        Program::Nginx => format!("unix:{socket}"),
        Program::Caddy => format!("unix/{socket}"),
    };
    works(&Proxy::start(program, &place, &app), &server);
}

#[test]
fn behind_nginx_all_is_as_without() {
    behind(Program::Nginx);
}

#[test]
fn behind_caddy_all_is_as_without() {
    behind(Program::Caddy);
}
