//! A browser without JavaScript: it keeps cookies, sends a page's token with its forms, and follows where it is sent.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::support::{Answer, Client, Server};
use crate::tenant::run;

/// A browser.
pub struct Browser {
    client: Client,
    /// Cookies by name.
    pub cookies: BTreeMap<String, String>,
    /// The page that it shows.
    pub page: String,
    /// The path of that page.
    pub path: String,
}

impl Browser {
    /// One that has never been here.
    pub fn new(server: &Server) -> Browser {
        Browser::of(server.anyone())
    }

    /// One for something else that listens.
    pub fn of(client: Client) -> Browser {
        Browser {
            client,
            cookies: BTreeMap::new(),
            page: String::new(),
            path: String::new(),
        }
    }

    /// The same browser, for a server that has come back at another address.
    pub fn move_to(&mut self, server: &Server) -> &mut Browser {
        self.client = server.anyone();
        self
    }

    /// One that is signed in to tenant `name` with a new local account.
    #[track_caller]
    pub fn sign_in(server: &Server, name: &str) -> Browser {
        let email = format!("admin-{}@example.org", server_side_count(server));
        let link = run(server, &["account", "create", &email, "--tenant", name]);
        Browser::by_link(server, &link)
    }

    /// One that is signed in as a person of the directory.
    #[track_caller]
    pub fn sign_in_as(server: &Server, tenant: &str, user: &str) -> Browser {
        let link = run(server, &["user", "sign-in-link", "--tenant", tenant, user]);
        Browser::by_link(server, &link)
    }

    #[track_caller]
    fn by_link(server: &Server, link: &str) -> Browser {
        let mut browser = Browser::new(server);
        let path = &link[link.find("/sign-in/link/").expect("a link")..];
        browser.get(path);
        let answer = browser.post(path, &[]);
        assert!([200, 403].contains(&answer.status), "{answer:?}");
        browser
    }

    /// Goes to a page, and on to where that sends it.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        let answer = self.request("GET", path, "");
        self.follow(path, answer)
    }

    /// Sends a form of the page that it shows, with that page's token, and follows where it is sent.
    #[track_caller]
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token();
        let fields = [fields, &[("csrf", token.as_str())]].concat();
        self.post_bare(path, &fields)
    }

    /// Sends these fields alone.
    #[track_caller]
    pub fn post_bare(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.request("POST", path, &encoded(fields));
        self.follow(path, answer)
    }

    /// Sends a request and keeps the cookies that come back; goes nowhere.
    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let headers = [
            ("Cookie", cookies.join("; ")),
            (
                "Content-Type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
        ];
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = self.client.request(method, path, &headers, body.as_bytes());
        let set = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "Set-Cookie");
        for (_, cookie) in set {
            let (pair, attributes) = cookie.split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("name and value");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    #[track_caller]
    fn follow(&mut self, path: &str, answer: Answer) -> Answer {
        let (mut path, mut answer) = (path.to_owned(), answer);
        for _ in 0..5 {
            if answer.status != 303 {
                break;
            }
            path = answer.header("location").expect("a location").to_owned();
            assert!(path.starts_with('/'), "sent elsewhere: {path}");
            answer = self.request("GET", &path, "");
        }
        self.page = String::from_utf8_lossy(&answer.body).into_owned();
        self.path = path;
        answer
    }

    /// The token of the forms on the page that it shows; empty where there are none.
    pub fn token(&self) -> String {
        self.value_of("csrf").unwrap_or_default()
    }

    /// The value of the page's first field of this name.
    pub fn value_of(&self, name: &str) -> Option<String> {
        let (_, rest) = self.page.split_once(&format!("name=\"{name}\" value=\""))?;
        Some(rest.split('"').next().unwrap_or_default().to_owned())
    }

    /// The value of the page's field of this id.
    pub fn value_by_id(&self, id: &str) -> Option<String> {
        let (_, rest) = self.page.split_once(&format!("<input id=\"{id}\""))?;
        let (_, rest) = rest.split_once("value=\"")?;
        let value = rest.split('"').next().unwrap_or_default();
        Some(value.replace("&#x2f;", "/"))
    }

    /// Whether the page shows these words (as HTML has them).
    pub fn shows(&self, words: &str) -> bool {
        self.page.contains(words)
    }

    #[track_caller]
    pub fn must_show(&self, words: &str) {
        assert!(
            self.shows(words),
            "{} shows no {words:?}:\n{}",
            self.path,
            self.page
        );
    }
}

/// A form's body.
pub fn encoded(fields: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        write!(body, "{name}=").unwrap();
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() {
                body.push(byte as char);
            } else {
                write!(body, "%{byte:02X}").unwrap();
            }
        }
    }
    body
}

/// How many accounts there are, so that each new one has another address.
#[track_caller]
fn server_side_count(server: &Server) -> usize {
    let listed = run(server, &["account", "list", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    listed.as_array().map_or(0, Vec::len)
}
