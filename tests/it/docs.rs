//! The documents of `static/docs/`: as files and as pages every link, anchor and picture leads somewhere; a tenant's own
//! values for who may see them; nothing from elsewhere; pictures that are well-formed and small.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{Tenant, run};

/// Longest picture, in bytes.
const PICTURE_MAX_BYTES: usize = 6 * 1024;

/// Where the examples are; links to it lead to the server itself.
const EXAMPLE: &str = "https://rollcall.example.org";

/// What may be marked to give way to a tenant's own value.
const MARKS: [&str; 5] = ["roles", "default-role", "retention", "removals", "share"];

/// The guides of providers, and what else is said of each step in them.
const PROVIDERS: [&str; 5] = ["entra", "okta", "authentik", "keycloak", "generic"];

/// Every value of `attribute` on a page.
fn values(page: &str, attribute: &str) -> Vec<String> {
    page.split(&format!(" {attribute}=\""))
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(|value| value.replace("&#x2f;", "/").replace("&amp;", "&"))
        .collect()
}

/// The files with this ending, by name, with their text.
fn files(ending: &str) -> BTreeMap<String, String> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("static/docs");
    fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The text without its blocks of code.
fn prose(text: &str) -> String {
    let mut in_code = false;
    let keep = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    };
    text.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

/// Where the links and pictures of a text lead.
fn targets(text: &str) -> Vec<String> {
    let prose = prose(text);
    let links = prose.split("](").skip(1);
    links
        .filter_map(|rest| rest.split(')').next())
        .map(str::to_owned)
        .collect()
}

/// The anchors that GitHub gives a text's headings: small letters, digits and hyphens.
fn anchors(text: &str) -> Vec<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with("##"));
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| {
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn links_anchors_and_pictures_of_the_files_lead_somewhere() {
    let (texts, pictures) = (files("md"), files("svg"));
    let mut shown = BTreeSet::new();
    let mut links = 0;
    for (name, text) in &texts {
        assert!(text.starts_with("# "), "{name} begins with its title");
        let own = anchors(text);
        for line in text.lines().filter(|line| line.trim().starts_with("<!--")) {
            let alone = line.matches("-->").count() == 1 && line.ends_with("-->");
            assert!(alone, "{name}: this would end the paragraph: {line}");
        }
        let begun = text.split("<!--=").skip(1);
        let names: Vec<&str> = begun.filter_map(|rest| rest.split("-->").next()).collect();
        assert!(
            names.iter().all(|name| MARKS.contains(name)),
            "{name}: {names:?}"
        );
        assert_eq!(names.len(), text.matches("<!--/-->").count(), "{name}");
        let unique: BTreeSet<&String> = own.iter().collect();
        assert_eq!(unique.len(), own.len(), "{name} has a heading twice");
        for target in targets(text) {
            links += 1;
            if let Some(picture) = target.strip_suffix(".svg") {
                assert!(pictures.contains_key(&target), "{name}: {picture}");
                shown.insert(target);
                continue;
            }
            if target.starts_with(EXAMPLE) {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let other = match file {
                "" => text,
                file => texts
                    .get(file)
                    .unwrap_or_else(|| panic!("{name}: no {file}")),
            };
            let found = anchor.is_empty() || anchors(other).contains(&anchor.to_owned());
            assert!(found, "{name}: {target}");
        }
    }
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for target in targets(&readme) {
        if let Some(file) = target.strip_prefix("static/docs/") {
            let (file, anchor) = file.split_once('#').unwrap_or((file, ""));
            let found = texts.get(file).is_some_and(|text| {
                anchor.is_empty() || anchors(text).contains(&anchor.to_owned())
            });
            assert!(found, "README.md: {target}");
        }
    }
    assert!(links > 50, "hardly any link was looked at: {links}");
    assert_eq!(shown, pictures.into_keys().collect());
}

#[test]
fn every_file_is_a_page_of_the_index_and_its_links_lead_somewhere() {
    let server = Server::start();
    Tenant::create(&server, "acme");
    let texts = files("md");
    let strangers = Browser::new(&server);
    for mut browser in [strangers, Browser::sign_in(&server, "acme")] {
        browser.get("/docs");
        let index = browser.page.clone();
        let mut pages = BTreeMap::new();
        for (file, text) in &texts {
            let path = format!("/docs/{}", file.trim_end_matches(".md"));
            let listed = index.matches(&format!("href=\"{path}\"")).count();
            assert!(listed > 0, "{file} is not in the index");
            assert_eq!(browser.get(&path).status, 200, "{path}");
            let title = text.lines().next().unwrap().trim_start_matches("# ");
            browser.must_show(&format!("<h1>{title}</h1>"));
            pages.insert(path, browser.page.clone());
        }
        pages.insert("/docs".to_owned(), index);
        for (path, page) in &pages {
            for link in [values(page, "src"), values(page, "href")].concat() {
                let (to, anchor) = link.split_once('#').unwrap_or((&link, ""));
                let to = if to.is_empty() { path } else { to };
                let ours = to.starts_with('/') && !to.starts_with("//");
                assert!(ours, "{path} leads away: {link}");
                let there = match pages.get(to) {
                    Some(page) => page.clone(),
                    None => {
                        let answer = browser.request("GET", to, "");
                        assert!([200, 303].contains(&answer.status), "{path}: {link}");
                        answer.text().to_owned()
                    }
                };
                let found = anchor.is_empty() || there.contains(&format!(" id=\"{anchor}\""));
                assert!(found, "{path}: {link}");
            }
        }
    }
}

#[test]
fn who_opens_the_settings_sees_their_own_values_and_others_the_examples() {
    let server = Server::start();
    Tenant::create(&server, "acme");
    for words in [
        &["role", "--tenant", "acme", "map", "Boss", "Admin"][..],
        &["tenant", "set", "acme", "--retention-days", "41"],
        &["tenant", "set", "acme", "--removal-count", "17"],
        &["role", "--tenant", "acme", "default", "Responder"],
    ] {
        run(&server, words);
    }
    let origin = format!("http://{}", server.address);
    let mut browser = Browser::sign_in(&server, "acme");
    let mut stranger = Browser::new(&server);
    for name in PROVIDERS {
        let path = format!("/docs/{name}");
        browser.get(&path);
        let own = browser.page.replace("&#x2f;", "/");
        for words in [
            &format!("{origin}/scim/v2"),
            &format!("{origin}/sso/callback"),
            &format!("{origin}/sso/start/acme"),
            "<code>Boss</code>",
            "41 days",
            "17 people or teams",
            "You opened this page by",
        ] {
            assert!(own.contains(words), "{path} has no {words}");
        }
        // Also where the page explains by which steps a role is decided.
        assert!(own.contains("Responder"), "{path}");
        assert!(!own.contains("rollcall.example.org"), "{path}");
        assert!(!own.contains("contoso"), "{path}");
        stranger.get(&path);
        let page = stranger.page.replace("&#x2f;", "/");
        assert!(page.contains(&format!("{EXAMPLE}/scim/v2")), "{path}");
        for secret in ["acme", "Boss", "41 days", &origin] {
            assert!(!page.contains(secret), "{path} tells strangers {secret}");
        }
        assert!(!page.contains("&lt;!--"), "{path} shows a marker");
    }
    // A person whose role doesn't open the settings is a stranger here.
    let id = crate::tenant::user("ana", serde_json::json!({}));
    Tenant::create(&server, "beta")
        .client()
        .create("/Users", &id);
    let mut person = Browser::sign_in_as(&server, "beta", "ana");
    person.get("/docs/entra");
    person.must_show(&format!("{EXAMPLE}/scim/v2"));
    assert_eq!(person.get("/docs/nowhere").status, 404);
}

#[test]
fn each_step_of_a_provider_ends_with_what_one_sees() {
    for name in PROVIDERS {
        let text = &files("md")[&format!("{name}.md")];
        let is_step = |section: &&str| section.starts_with(|c: char| c.is_ascii_digit());
        let steps: Vec<&str> = text.split("\n## ").filter(is_step).collect();
        assert!(steps.len() >= 5, "{name}");
        for step in steps {
            assert!(step.contains("> **It worked when**"), "{name}: {step:.40}");
        }
    }
}

#[test]
fn the_entra_guide_has_every_step_by_the_names_of_its_forms() {
    let text = &files("md")["entra.md"].replace('\n', " ");
    for words in [
        "Create your own application",
        "(Non-gallery)",
        "*Automatic*",
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
        "Application (client) ID",
        "/sso/callback",
        "--entra-client-secret-file",
    ] {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
fn pictures_are_small_well_formed_and_served() {
    let server = Server::start();
    let mut client = server.anyone();
    for (name, text) in files("svg") {
        let path = format!("/docs/{name}");
        let answer = client.get(&path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("image/svg+xml")),
            "{path}"
        );
        assert_eq!(answer.text(), text, "{path}");
        assert!(answer.body.len() < PICTURE_MAX_BYTES, "{path}");
        well_formed(&text).unwrap_or_else(|fault| panic!("{path}: {fault}"));
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
    for (file, text) in files("md") {
        let pictures = text.split("![").skip(1);
        for alt in pictures.filter_map(|rest| rest.split("](").next()) {
            assert!(alt.len() > 40, "{file}: {alt}");
        }
    }
    assert_eq!(client.get("/docs/nowhere.svg").status, 404);
    assert_eq!(client.get("/docs/..%2fstyle.css").status, 404);
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
