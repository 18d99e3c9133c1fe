//! The provisioning log in a browser: what a line says, what finds it, and what a request would come to now.

use std::process::Command;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, run};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const LOG: &str = "/settings/log";

fn user(name: &str) -> Value {
    json!({ "schemas": [USER], "userName": name })
}

/// A server with a tenant, its client and somebody at its settings.
fn contoso() -> (Server, ScimClient, Browser) {
    let server = Server::start();
    let client = Tenant::create(&server, "contoso").client();
    let browser = Browser::sign_in(&server, "contoso");
    (server, client, browser)
}

/// The page's text with its entities decoded.
fn plain(page: &str) -> String {
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#x2f;", "/"),
        ("&amp;", "&"),
    ];
    entities
        .iter()
        .fold(page.to_owned(), |text, (entity, c)| text.replace(entity, c))
}

/// What the lines of the list say was done, newest first; once there are `count`, since reads reach the log a moment
/// after their answers.
#[track_caller]
fn lines(browser: &mut Browser, path: &str, count: usize) -> Vec<String> {
    for _ in 0..200 {
        let answer = browser.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let found: Vec<String> = browser
            .page
            .split("<li><a href=\"/settings/log/")
            .skip(1)
            .map(|rest| {
                let (_, rest) = rest.split_once("\">").unwrap();
                plain(rest.split_once("</a>").unwrap().0)
            })
            .collect();
        if found.len() >= count {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{path} has no {count} lines: {}", browser.page);
}

/// Opens the newest line of the list at `path`.
#[track_caller]
fn open(browser: &mut Browser, path: &str) -> String {
    lines(browser, path, 1);
    let (_, rest) = browser
        .page
        .split_once("<li><a href=\"/settings/log/")
        .unwrap();
    let line = format!("{LOG}/{}", rest.split('"').next().unwrap());
    assert_eq!(browser.get(&line).status, 200);
    line
}

#[test]
fn each_kind_of_request_is_said_in_words_and_found_by_every_filter() {
    let (server, mut client, mut browser) = contoso();
    assert!(browser.get(LOG).text().contains("No request has come yet"));
    let ana = client.create("/Users", &user("ana@contoso.example"));
    let team = client.create(
        "/Groups",
        &json!({ "schemas": [GROUP], "displayName": "SRE" }),
    );
    let add = json!([{ "op": "Add", "path": "members", "value": [{ "value": ana }] }]);
    client.patch(&format!("/Groups/{team}"), add);
    client.find("/Users", "userName eq \"nobody\"");
    client.expect(409, "POST", "/Users", Some(&user("ANA@contoso.example")));
    client.expect(204, "DELETE", &format!("/Groups/{team}"), None);
    client.expect(404, "DELETE", &format!("/Groups/{team}"), None);

    let all = [
        "refused to delete a team",
        "deleted team SRE",
        "refused to create a user",
        "looked for users with userName eq \"nobody\": 0 found",
        "added 1 member to team SRE",
        "created team SRE",
        "created user ana@contoso.example",
    ];
    assert_eq!(lines(&mut browser, LOG, 7), all);
    assert!(
        plain(&browser.page)
            .contains("userName \"ANA@contoso.example\" belongs to another User already")
    );
    let request =
        serde_json::from_str::<Value>(&run(&server, &["log", "-o", "json", "-n", "1"])).unwrap();
    let request = request["requestId"].as_str().unwrap();
    for (query, wanted) in [
        ("outcome=refused", vec![0, 2]),
        ("outcome=done", vec![1, 3, 4, 5, 6]),
        ("deed=create", vec![2, 5, 6]),
        ("deed=change", vec![4]),
        ("deed=delete", vec![0, 1]),
        ("deed=read", vec![3]),
        ("deed=create&outcome=refused", vec![2]),
        ("subject=ANA%40contoso.example", vec![6]),
        (&format!("subject={ana}"), vec![6]),
        ("subject=SRE", vec![1, 4, 5]),
        ("subject=SRE&deed=delete&outcome=done", vec![1]),
        ("words=ana%40CONTOSO", vec![2, 6]),
        ("words=ana&outcome=refused", vec![2]),
        (&format!("request={request}"), vec![0]),
        (&format!("request=+{}", request.to_uppercase()), vec![0]),
        ("request=f47ac10b-58cc-4372-a567-0e02b2c3d479", vec![]),
        ("from=2020-01-01&to=2999-01-01", vec![0, 1, 2, 3, 4, 5, 6]),
        ("to=2020-01-01T08%3A00", vec![]),
        ("from=2999-01-01", vec![]),
        ("before=5&outcome=done", vec![3, 4, 5, 6]),
        ("after=4", vec![0, 1, 2]),
    ] {
        let wanted: Vec<&str> = wanted.into_iter().map(|at: usize| all[at]).collect();
        let found = lines(&mut browser, &format!("{LOG}?{query}"), wanted.len());
        assert_eq!(found, wanted, "{query}");
        let download = browser.get(&format!("{LOG}/download?{query}"));
        let downloaded: Vec<String> = download
            .text()
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["action"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        if !query.starts_with("before") && !query.starts_with("after") {
            assert_eq!(downloaded, wanted, "{query}");
        }
    }
    for (query, words) in [
        ("subject=zoe", "Nobody and no team is called “zoe”"),
        ("from=yesterday", "“yesterday” is no time"),
        ("subject=SRE", "Lines about team SRE (in the archive)."),
    ] {
        browser.get(&format!("{LOG}?{query}"));
        assert!(browser.page.contains(words), "{query}");
    }
}

#[test]
fn long_logs_are_paged_back_and_forth() {
    let (_server, mut client, mut browser) = contoso();
    for n in 0..120 {
        client.create("/Users", &user(&format!("u{n}")));
    }
    let mut seen = lines(&mut browser, LOG, 50);
    let first = seen.clone();
    let link = |page: &str, words: &str| {
        let (before, _) = page.split_once(&format!("\">{words}</a>"))?;
        Some(plain(before.rsplit_once("href=\"").unwrap().1))
    };
    for count in [50, 20] {
        let older = link(&browser.page, "Older lines").unwrap();
        seen.extend(lines(&mut browser, &older, count));
    }
    let wanted: Vec<String> = (0..120)
        .rev()
        .map(|n| format!("created user u{n}"))
        .collect();
    assert_eq!(seen, wanted);
    assert_eq!(link(&browser.page, "Older lines"), None);
    for _ in 0..2 {
        let newer = link(&browser.page, "Newer lines").unwrap();
        seen = lines(&mut browser, &newer, 50);
    }
    assert_eq!(seen, first);
}

#[test]
fn a_refusal_explains_itself_and_a_change_shows_before_and_after() {
    let (_server, mut client, mut browser) = contoso();
    let ana = client.create(
        "/Users",
        &json!({ "schemas": [USER], "userName": "ana", "title": "Chief", "shoeSize": 43 }),
    );
    let body = json!({ "schemas": [USER], "userName": 7, "password": "Tr0ub4dor" });
    client.expect(400, "POST", "/Users", Some(&body));
    client.patch(
        &format!("/Users/{ana}"),
        json!([{ "op": "replace", "path": "title", "value": "Boss" }]),
    );

    open(&mut browser, &format!("{LOG}?outcome=refused"));
    let page = plain(&browser.page);
    for words in [
        "refused to create a user",
        "userName",
        "What to do",
        "Correct the value at the provider",
        "invalidValue",
        "\"userName\": 7",
        "\"password\": \"***\"",
    ] {
        assert!(page.contains(words), "{words} in {page}");
    }
    assert!(!page.contains("Tr0ub4dor"));

    open(&mut browser, &format!("{LOG}?deed=change"));
    let page = plain(&browser.page);
    assert!(
        page.contains("<td>title</td><td>\"Chief\"</td><td>\"Boss\"</td>"),
        "{page}"
    );
    assert!(page.contains(&format!("href=\"/settings/people/{ana}\"")));
    assert!(
        page.contains("None is kept.")
            && page.contains("can’t be sent again from here: its body is not kept")
    );

    open(&mut browser, &format!("{LOG}?deed=create&outcome=done"));
    let page = plain(&browser.page);
    assert!(
        page.contains("<code>shoeSize</code>")
            && page.contains("<td>userName</td><td>–</td><td>\"ana\"</td>"),
        "{page}"
    );
    assert!(
        !page.contains("<td>\"Boss\"</td>"),
        "another request's changes"
    );
}

#[test]
fn nothing_that_a_client_sends_is_markup_and_another_tenants_lines_are_not_here() {
    let (server, mut client, mut browser) = contoso();
    let evil = "<script>alert(1)</script>\"'&";
    client.create(
        "/Users",
        &json!({ "schemas": [USER], "userName": evil, "title": evil }),
    );
    client.expect(409, "POST", "/Users", Some(&user(evil)));
    client.expect(
        400,
        "POST",
        "/Users",
        Some(&json!({ "schemas": [evil], "userName": evil })),
    );
    client.bytes(
        "POST",
        "/Users?x=<script>alert(1)</script>",
        Some(b"<script>alert(1)</script>"),
    );
    client.get("/Users?filter=userName%20eq%20%22%3Cscript%3Ealert(1)%3C/script%3E%22");
    lines(&mut browser, LOG, 5);
    let mut pages = vec![browser.page.clone()];
    for seq in 1..=5 {
        let answer = browser.get(&format!("{LOG}/{seq}"));
        assert_eq!(answer.status, 200);
        pages.push(browser.page.clone());
        if browser.page.contains(">Dry run<") {
            browser.post(&format!("{LOG}/{seq}"), &[("do", "rehearse")]);
            pages.push(browser.page.clone());
        }
    }
    browser.get(&format!(
        "{LOG}?words=<script>alert(1)</script>&subject=\"><script>alert(1)</script>"
    ));
    pages.push(browser.page.clone());
    assert_eq!(pages.len(), 11, "the list twice, five lines, four dry runs");
    for page in &pages {
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
    }

    Tenant::create(&server, "fabrikam")
        .client()
        .create("/Users", &user("bob"));
    assert_eq!(browser.get(&format!("{LOG}/6")).status, 404);
    let answer = browser.post(&format!("{LOG}/6"), &[("do", "rehearse")]);
    assert_eq!(answer.status, 403, "no page before it had a form");
    browser.get(LOG);
    let answer = browser.post(&format!("{LOG}/6"), &[("do", "rehearse")]);
    assert_eq!(answer.status, 404);
    assert!(
        !browser
            .get(&format!("{LOG}/download"))
            .text()
            .contains("bob")
    );
    for seq in ["0", "-1", "x", "99999999999999999999", "6%20"] {
        assert_eq!(browser.get(&format!("{LOG}/{seq}")).status, 404, "{seq}");
    }
}

#[test]
fn the_command_of_a_line_is_one_word_for_each_thing_whatever_is_in_it() {
    let (_server, mut client, mut browser) = contoso();
    let name = "o'neill'; touch /tmp/x; echo $(id) `id` \"$HOME\" \\ ü \u{7f}";
    client.expect(
        400,
        "POST",
        "/Users?a='$(id)'&b[]={1,2}",
        Some(&json!({ "userName": name })),
    );
    client.bytes("POST", "/Users", Some(b"@/etc/passwd"));
    client.bytes("POST", "/Users", Some(b"{\x03\ntouch x\n"));
    lines(&mut browser, LOG, 3);
    let words = |browser: &Browser| -> Vec<String> {
        let (_, rest) = browser.page.split_once("<textarea id=\"curl\"").unwrap();
        let text = plain(
            rest.split_once('>')
                .unwrap()
                .1
                .split_once("</textarea>")
                .unwrap()
                .0,
        );
        let script = format!(
            "TOKEN=secret; curl() {{ for word; do printf '%s\\0' \"$word\"; done; }}; {text}"
        );
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        let said = String::from_utf8(output.stdout).unwrap();
        said.trim_end_matches('\0')
            .split('\0')
            .map(str::to_owned)
            .collect()
    };
    browser.get(&format!("{LOG}/1"));
    let said = words(&browser);
    let (body, said) = said.split_last().unwrap();
    let target = said[4].split_once("/scim/v2").unwrap().1;
    assert_eq!(
        (target, said.len()),
        ("/Users?a='$(id)'&b%5B%5D=%7B1,2%7D", 10),
        "{said:?}"
    );
    assert_eq!(&said[..4], ["--globoff", "--include", "--request", "POST"]);
    assert_eq!(
        &said[5..],
        [
            "--header",
            "Authorization: Bearer secret",
            "--header",
            "Content-Type: application/scim+json",
            "--data-raw"
        ]
    );
    assert_eq!(
        serde_json::from_str::<Value>(body).unwrap(),
        json!({ "userName": name })
    );
    assert!(!body.contains('\u{7f}'));
    browser.get(&format!("{LOG}/2"));
    assert_eq!(words(&browser).last().unwrap(), "@/etc/passwd");
    browser.get(&format!("{LOG}/3"));
    assert!(
        browser.page.contains("There is no command for it")
            && !browser.page.contains("id=\"curl\"")
    );
}

#[test]
fn a_dry_run_of_a_removal_raises_no_alarm() {
    let (server, mut client, mut browser) = contoso();
    let ana = client.create("/Users", &user("ana"));
    let path = format!("/Users/{ana}");
    client.expect(204, "DELETE", &path, None);
    assert_eq!(client.create("/Users", &user("ana")), ana);
    run(
        &server,
        &["tenant", "set", "contoso", "--removal-count", "0"],
    );
    let line = open(&mut browser, &format!("{LOG}?outcome=done&deed=delete"));
    browser.post(&line, &[("do", "rehearse")]);
    assert!(browser.page.contains("Done 204</span>"), "{}", browser.page);
    let alarm = "within an hour";
    assert!(!server.stderr().contains(alarm), "{}", server.stderr());
    client.expect(204, "DELETE", &path, None);
    assert!(server.stderr().contains(alarm), "{}", server.stderr());
}

#[test]
fn a_dry_run_says_what_would_be_now_and_changes_nothing() {
    let (server, mut client, mut browser) = contoso();
    let ana = client.create("/Users", &user("ana"));
    client.expect(409, "POST", "/Users", Some(&user("ana")));
    client.expect(204, "DELETE", &format!("/Users/{ana}"), None);
    client.expect(404, "GET", &format!("/Users/{ana}"), None);
    let state = |client: &mut ScimClient| {
        let events = run(&server, &["events", "--tenant", "contoso", "-o", "json"]);
        (events, client.all("/Users"))
    };
    run(
        &server,
        &["tenant", "set", "contoso", "--retention-days", "0"],
    );
    lines(&mut browser, LOG, 4);
    let before = state(&mut client);
    let count = lines(&mut browser, LOG, 5).len();
    for round in 0..2 {
        let line = open(&mut browser, &format!("{LOG}?outcome=refused&deed=create"));
        assert!(!browser.page.contains("Now the answer would be"));
        browser.post(&line, &[("do", "rehearse")]);
        let page = plain(&browser.page);
        for words in [
            "Done 201</span>; it was 409 then. Nothing was changed.",
            "brought back user ana",
            "<td>detail</td>",
        ] {
            assert!(page.contains(words), "{round}: {words} in {page}");
        }
    }
    let line = open(&mut browser, &format!("{LOG}?outcome=refused&deed=read"));
    browser.post(&line, &[("do", "rehearse")]);
    let page = plain(&browser.page);
    assert!(
        page.contains("Refused 404</span>, as it was then. Nothing was changed."),
        "{page}"
    );
    assert!(page.contains("The two answers are the same."), "{page}");
    let line = open(&mut browser, &format!("{LOG}?outcome=done&deed=delete"));
    browser.post(&line, &[("do", "rehearse")]);
    assert!(
        browser
            .page
            .contains("Refused 404</span>; it was 204 then."),
        "{}",
        browser.page
    );

    assert_eq!(
        lines(&mut browser, LOG, count).len(),
        count,
        "a dry run has no line"
    );
    assert_eq!(state(&mut client), before);
    run(&server, &["tenant", "pause", "contoso"]);
    browser.post(&line, &[("do", "rehearse")]);
    assert!(
        browser.page.contains("Refused 503</span>"),
        "{}",
        browser.page
    );
}

#[test]
fn bodies_of_what_succeeds_are_kept_where_the_tenant_is_set_to() {
    let (server, mut client, mut browser) = contoso();
    client.create("/Users", &user("ana"));
    browser.get(LOG);
    assert_eq!(browser.value_of("log_days").as_deref(), None);
    assert!(browser.page.contains("value=\"90\""));
    for days in ["0", "3651", "many", ""] {
        browser.post(LOG, &[("log_days", days)]);
        assert!(
            browser
                .page
                .contains("Write a number of days from 1 to 3650."),
            "{days}"
        );
    }
    browser.post(LOG, &[("log_days", "7"), ("keep_bodies", "on")]);
    assert!(
        browser.page.contains("Saved. Lines are kept for 7 days")
            && browser.page.contains(" checked")
    );
    let set: Value =
        serde_json::from_str(&run(&server, &["tenant", "show", "contoso", "-o", "json"])).unwrap();
    assert_eq!(
        (&set["log_days"], &set["keep_bodies"]),
        (&json!(7), &json!(true))
    );
    client.create("/Users", &user("bob"));
    let line = open(&mut browser, LOG);
    assert!(plain(&browser.page).contains("\"userName\": \"bob\""));
    browser.post(&line, &[("do", "rehearse")]);
    let page = plain(&browser.page);
    assert!(
        page.contains("Refused 409</span>; it was 201 then."),
        "{page}"
    );
    run(
        &server,
        &[
            "tenant",
            "set",
            "contoso",
            "--keep-bodies",
            "off",
            "--log-days",
            "30",
        ],
    );
    client.create("/Users", &user("cy"));
    open(&mut browser, LOG);
    assert!(browser.page.contains("None is kept."));
    browser.get(LOG);
    assert!(browser.page.contains("value=\"30\""));
}

#[test]
fn a_bulk_request_is_tried_again_as_a_whole_and_each_operation_has_its_own_changes() {
    let (server, mut client, mut browser) = contoso();
    run(
        &server,
        &["tenant", "set", "contoso", "--keep-bodies", "on"],
    );
    let create = |name: &str| json!({ "method": "POST", "path": "/Users", "bulkId": name, "data": user(name) });
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [create("ana"), create("ANA"), create("bob")],
    });
    client.expect(200, "POST", "/Bulk", Some(&body));
    let all = lines(&mut browser, LOG, 4);
    assert_eq!(
        all[1..],
        [
            "created user bob",
            "refused to create a user",
            "created user ana"
        ]
    );
    let last = run(&server, &["log", "-o", "json", "-n", "1"]);
    let last = serde_json::from_str::<Value>(&last).unwrap();
    let of_it = format!("{LOG}?request={}", last["requestId"].as_str().unwrap());
    assert_eq!(lines(&mut browser, &of_it, 4), all);
    assert_eq!(
        lines(&mut browser, &format!("{of_it}&outcome=refused"), 1),
        all[2..3]
    );
    for (seq, theirs, others) in [
        (1, "<td>&quot;ana&quot;</td>", "<td>&quot;bob&quot;</td>"),
        (3, "<td>&quot;bob&quot;</td>", "<td>&quot;ana&quot;</td>"),
    ] {
        browser.get(&format!("{LOG}/{seq}"));
        assert!(
            browser.page.contains(theirs) && !browser.page.contains(others),
            "{}",
            browser.page
        );
    }
    browser.get(&format!("{LOG}/2"));
    assert!(
        !browser.page.contains("What it changed"),
        "{}",
        browser.page
    );
    browser.get(&format!("{LOG}/4"));
    let line = browser.path.clone();
    browser.post(&line, &[("do", "rehearse")]);
    assert!(
        browser.page.contains("0 done, 3 refused") || browser.page.contains("3 refused"),
        "{}",
        browser.page
    );
    assert_eq!(lines(&mut browser, LOG, 4), all);
}
