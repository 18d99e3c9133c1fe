//! Who may come in, and what every answer carries: credentials, hosts, headers.

use crate::support::{Answer, Server};

/// A GET with these header lines beside Host.
#[track_caller]
fn get(server: &Server, path: &str, lines: &str) -> Answer {
    let mut wire = server.connect();
    wire.send(format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n"
    ));
    wire.answer()
}

#[test]
fn only_one_bearer_token_opens_the_door() {
    let server = Server::start_dev();
    let token = &server.token;
    let bare = "Bearer realm=\"rollcall\"";
    let invalid = "Bearer realm=\"rollcall\", error=\"invalid_token\"";
    for (lines, status, challenge) in [
        (format!("Authorization: Bearer {token}\r\n"), 200, None),
        (format!("authorization: BEARER   {token} \r\n"), 200, None),
        (String::new(), 401, Some(bare)),
        ("Authorization: Basic YTpi\r\n".to_owned(), 401, Some(bare)),
        ("Authorization: Bearer\r\n".to_owned(), 401, Some(bare)),
        (format!("Authorization: {token}\r\n"), 401, Some(bare)),
        (
            "Authorization: Bearer rcs_wrong\r\n".to_owned(),
            401,
            Some(invalid),
        ),
        (
            format!("Authorization: Bearer {token}, Bearer x\r\n"),
            401,
            Some(invalid),
        ),
        // Two readers could take either.
        (
            format!("Authorization: Bearer {token}\r\nAuthorization: Bearer x\r\n"),
            401,
            Some(bare),
        ),
        (
            format!("Authorization: Bearer x\r\nAuthorization: Bearer {token}\r\n"),
            401,
            Some(bare),
        ),
    ] {
        let answer = get(&server, "/scim/v2/Users", &lines);
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (status, challenge),
            "{lines}"
        );
    }
    let query = format!("/scim/v2/Users?access_token={token}");
    assert_eq!(get(&server, &query, "").status, 401);
}

#[test]
fn pages_are_read_only_and_tell_browsers_what_they_may_do() {
    let server = Server::start();
    let mut client = server.anyone();
    for method in ["DELETE", "OPTIONS", "TRACE", "get"] {
        let answer = client.request(method, "/settings", &[], b"");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD, POST")),
            "{method}"
        );
    }
    for path in ["/", "/static/style.css", "/healthz", "/readyz"] {
        for method in ["POST", "DELETE", "OPTIONS", "TRACE", "get"] {
            let answer = client.request(method, path, &[], b"");
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some("GET, HEAD")),
                "{method} {path}"
            );
        }
    }
    for path in ["/sign-in", "/static/style.css", "/healthz", "/nowhere"] {
        let answer = client.get(path);
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
    }
    let page = client.get("/sign-in");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let home = client.get("/");
    assert_eq!(
        (home.status, home.header("location")),
        (303, Some("/settings"))
    );
}
