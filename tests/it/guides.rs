//! The guides: this tenant's values, nothing from elsewhere, pictures that are well-formed and small.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{Tenant, run};

const GUIDES: [&str; 4] = ["entra-id", "okta", "authentik", "generic"];

/// Longest picture, in bytes.
const PICTURE_MAX_BYTES: usize = 6 * 1024;

/// Every value of `attribute` on a page.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    page.split(&format!(" {attribute}=\""))
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

#[test]
fn guides_have_this_tenants_values_and_nothing_from_elsewhere() {
    let server = Server::start();
    Tenant::create(&server, "acme");
    run(
        &server,
        &["role", "--tenant", "acme", "map", "Boss", "Admin"],
    );
    run(
        &server,
        &["tenant", "set", "acme", "--retention-days", "41"],
    );
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get("/settings/guides");
    let list = browser.page.clone();
    for name in GUIDES {
        let path = format!("/settings/guides/{name}");
        assert!(list.contains(&format!("href=\"{path}\"")), "{name}");
        assert_eq!(browser.get(&path).status, 200, "{name}");
        let url = format!("http://{}/scim/v2", server.address).replace('/', "&#x2f;");
        browser.must_show(&url);
        browser.must_show("<code>Boss</code>");
        browser.must_show("41 days");
        browser.must_show("20 people or teams");
        browser.must_show("/settings/provisioning");
        browser.must_show("/settings/log");
        for link in [values(&browser.page, "src"), values(&browser.page, "href")].concat() {
            let link = link.replace("&#x2f;", "/");
            let ours = link.starts_with('/') || ["#main", "data:,"].contains(&link.as_str());
            assert!(ours, "{name}: {link}");
        }
        let (steps, ends) = (
            browser.page.matches("<h2>").count(),
            browser.page.matches("It worked when").count(),
        );
        assert_eq!(ends + 1, steps, "{name}: each step ends with what one sees");
        let alts = values(&browser.page, "alt");
        let pictures = values(&browser.page, "src");
        let pictures = pictures.iter().filter(|src| src.ends_with(".svg"));
        assert_eq!(alts.len(), pictures.count(), "{name}");
        assert!(alts.iter().all(|alt| alt.len() > 40), "{name}: {alts:?}");
    }
    assert_eq!(browser.get("/settings/guides/nowhere").status, 404);
}

#[test]
fn the_entra_guide_has_every_step_by_the_names_of_its_forms() {
    let server = Server::start();
    Tenant::create(&server, "acme");
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get("/settings/guides/entra-id");
    for words in [
        "Create your own application",
        "(Non-gallery)",
        "<em>Automatic</em>",
        "Tenant URL",
        "Secret Token",
        "Test Connection",
        "Microsoft_AAD_Connect_Provisioning_forceSchemaEditorEnabled=true",
        "Edit attribute list",
        "Exact case?",
        "AssertiveAppRoleAssignmentsComplex([appRoleAssignments])",
        "objectId",
        "Provision on demand",
        "Prevent accidental deletion",
        "unassigned",
    ] {
        browser.must_show(words);
    }
}

#[test]
fn pictures_are_small_well_formed_served_and_each_is_shown() {
    let server = Server::start();
    Tenant::create(&server, "acme");
    let mut browser = Browser::sign_in(&server, "acme");
    let mut shown = BTreeSet::new();
    for name in GUIDES {
        browser.get(&format!("/settings/guides/{name}"));
        let pictures = values(&browser.page, "src");
        let pictures = pictures.iter().filter(|src| src.ends_with(".svg"));
        shown.extend(pictures.map(|src| (*src).to_owned()));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("static/guides");
    let files: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| format!("/static/guides/{name}"))
        .collect();
    assert_eq!(shown, files);
    let mut client = server.anyone();
    for path in files {
        let answer = client.get(&path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("image/svg+xml")),
            "{path}"
        );
        let text = answer.text();
        assert!(answer.body.len() < PICTURE_MAX_BYTES, "{path}");
        well_formed(text).unwrap_or_else(|fault| panic!("{path}: {fault}"));
        for word in [
            "href",
            "<script",
            "<style",
            "url(",
            "<image",
            "<foreignObject",
        ] {
            assert!(!text.contains(word), "{path} has {word}");
        }
    }
    assert_eq!(client.get("/static/guides/nowhere.svg").status, 404);
    assert_eq!(client.get("/static/guides/..%2fstyle.css").status, 404);
}

/// Whether a text is XML of elements, attributes in double quotes and text alone: what the pictures are made of.
fn well_formed(text: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text.trim_end();
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at(at);
        check_text(before)?;
        if open.is_empty() && (!before.is_empty() || from.len() != text.trim_end().len()) {
            return Err(format!("more than one root: {from:.40}"));
        }
        let end = from.find('>').ok_or("a tag that does not end")?;
        let (tag, after) = (&from[1..end], &from[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes something else"));
            }
            continue;
        }
        let (tag, empty) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        check_attributes(attributes)?;
        if !empty {
            open.push(name);
        }
    }
    match (open.is_empty(), rest.is_empty()) {
        (true, true) => Ok(()),
        _ => Err(format!("not closed: {open:?} {rest:?}")),
    }
}

fn check_text(text: &str) -> Result<(), String> {
    let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#x27;"];
    match text
        .match_indices('&')
        .find(|(at, _)| !known.iter().any(|entity| text[*at..].starts_with(entity)))
    {
        Some((at, _)) => Err(format!("a bare & in {:?}", &text[at..])),
        None => Ok(()),
    }
}

fn check_attributes(mut rest: &str) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    while !rest.trim_start().is_empty() {
        let (name, after) = rest
            .trim_start()
            .split_once("=\"")
            .ok_or_else(|| format!("no attribute: {rest}"))?;
        let (value, after) = after.split_once('"').ok_or("a quote that does not end")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || !name.chars().all(plain) || !seen.insert(name) {
            return Err(format!("attribute {name:?}"));
        }
        check_text(value)?;
        rest = after;
    }
    Ok(())
}

#[test]
fn the_check_of_pictures_finds_what_is_wrong() {
    assert_eq!(well_formed("<a b=\"c\"><d/>e &amp; f</a>\n"), Ok(()));
    for wrong in [
        "<a>",
        "<a></b>",
        "</a>",
        "<a/><b/>",
        "<a/>b",
        "b<a/>",
        "<a b=c/>",
        "<a b=\"c\" b=\"d\"/>",
        "<a>&b</a>",
        "<a",
    ] {
        assert!(well_formed(wrong).is_err(), "{wrong}");
    }
}
