//! The troubleshooting guide quotes what the program says when something is wrong: all of that, and nothing that it
//! doesn't say any more. What it says is read from the texts in the sources.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::Tenant;

/// Where messages for people are: files, and folders with all in them.
const SOURCES: &[&str] = &[
    "src/http/auth.rs",
    "src/http/bind.rs",
    "src/http/consent.rs",
    "src/http/docs.rs",
    "src/http/forward.rs",
    "src/http/pages.rs",
    "src/http/password.rs",
    "src/http/settings",
    "src/http/sign_in.rs",
    "src/http/sso.rs",
    "src/http/tls.rs",
    "src/http/visitor.rs",
    "src/manage/accounts.rs",
    "src/manage/app_hosts.rs",
    "src/manage/archive.rs",
    "src/manage/attributes.rs",
    "src/manage/backups.rs",
    "src/manage/linking.rs",
    "src/manage/operator_app.rs",
    "src/manage/passwords.rs",
    "src/manage/role_rules.rs",
    "src/manage/sso.rs",
    "src/manage/team_copies.rs",
    "src/manage/tokens.rs",
    "src/manage/undo.rs",
    "src/seal.rs",
    "src/settings.rs",
    "src/sso/claims.rs",
    "src/sso/fetch.rs",
    "src/sso/words.rs",
    "src/store/faults.rs",
    "src/store/lock.rs",
    "src/store/upgrade.rs",
    "src/cli/account.rs",
    "src/cli/archive.rs",
    "src/cli/attribute.rs",
    "src/cli/directory.rs",
    "src/cli/door.rs",
    "src/cli/history.rs",
    "src/cli/mod.rs",
    "src/cli/role.rs",
    "src/cli/serve.rs",
    "src/cli/tenant.rs",
    "src/cli/tenant_copies.rs",
    "src/cli/token.rs",
    "src/cli/undo.rs",
];

/// Words from which on a text is taken for a message.
const WORDS_MIN: usize = 4;

/// How texts begin that need no remedy: they tell what was done, hint at what to write, or are for the log.
const FINE: &[&str] = &[
    // What was done.
    "1 session is ended",
    "All other sessions are",
    "All sessions of",
    "Noted:",
    "Nobody signs in through it until",
    "One resource moved",
    "One session is ended",
    "People may sign in",
    "People sign in through",
    "Provisioning goes on",
    "Provisioning is disabled",
    "Provisioning is paused",
    "Removals are as they should be",
    "Saved",
    "Signing in works",
    "Thank you.",
    "The account …",
    "The archive is empty",
    "The attribute …",
    "The connection and its secret",
    "The host is removed",
    "The organisation is called",
    "The password is changed",
    "The password of …",
    "The role …",
    "The session is ended",
    "The team …",
    "The token …",
    "The token is revoked",
    "You are signed out",
    "You signed in past",
    "imported tenant",
    "made …: back it up",
    "made account",
    "made tenant",
    "or by commands:",
    "rollcall is set up",
    "set up: …",
    "… Single Sign-On was successfully",
    "… and everything in it",
    "… has no index any more",
    "… is back, as before",
    "… is found by an index",
    "… is gone for good",
    "… is made and checked",
    "… of … …",
    "… of …; --limit",
    "… resources moved",
    "… sessions are ended",
    "a new certificate is in use",
    "not: …, for …",
    "would be brought back",
    // Titles, hints, and names of what there is.
    "0 days",
    "1 person has it",
    "A resource came from",
    "Apps behind a proxy",
    "As acme.okta.com",
    "As people shall",
    "Confirm that it is you",
    "Exactly as the provider writes it",
    "Google accounts of",
    "It ends in",
    "Microsoft Entra ID, which",
    "No value gives a role yet",
    "Okta, by an",
    "On the application’s Overview",
    "Only accounts of this domain",
    "Removed, into the archive",
    "Restored from the archive",
    "Role changed from",
    "Signed in by",
    "That did not work",
    "The number of removals",
    "The share of removals",
    "The time that what",
    "a name, as people",
    "add … … to team",
    "address of something",
    "authentik, Keycloak, or",
    "give the role",
    "it is the default role",
    "let the group",
    "let the role",
    "put the role",
    "read, change",
    "several parts",
    "the client ID that",
    "the client secret as",
    "the issuer, as in",
    "the last ",
    "… in the archive had it",
    "… people have it",
    "… … gives it",
    "…, who is gone",
    // For the log and the events, beside a message that is shown.
    "a guest of the directory",
    "a listener's thread panicked",
    "a user of this name",
    "connection … …",
    "stopped with requests",
    "tenant …: …",
    "the agreement names no",
    "the answer names",
    "the connection was changed",
    "the directory is connected",
    "the provider said: …",
    "the session or the application",
    "…: refused a sign",
    "…: refused an unknown token",
    "…: … begins too many",
    "…: … deleted tenant",
    "…: local account … signs in past",
    "…: …; its keys of before",
    // What was being done when the machine failed, which the log says.
    "locking the",
    "opening a lock",
    "reading ",
    "reckoning the",
    "writing the",
    // Other languages.
    "<input ",
    "SELECT ",
    "\\",
    "… \\",
    "…=…; Path",
    "clap lets",
];

/// The texts in double quotes of a source, without its unit tests, with what is filled in as `…`.
fn texts(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = vec![];
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => {
                chars.by_ref().find(|c| *c == '\n');
            }
            // A character, which may be a quote; lifetimes have no second apostrophe.
            '\'' if matches!(chars.peek(), Some('"' | '\\')) => {
                chars.by_ref().nth(1);
            }
            '"' => found.push(text(&mut chars)),
            _ => {}
        }
    }
    found
}

/// The rest of a text that has begun.
fn text(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                Some('n' | 'r') => text.push(' '),
                Some(other) => text.push(other),
                None => break,
            },
            '{' if chars.next_if_eq(&'{').is_some() => text.push('{'),
            '{' => {
                chars.by_ref().find(|c| *c == '}');
                text.push('…');
            }
            _ => text.push(c),
        }
    }
    text
}

/// A text as it is compared: without what stands around it in a sentence.
fn bare(text: &str) -> String {
    let text = text.replace('`', "");
    text.trim_matches(['…', '.', ' ', ':']).to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files at a path.
fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_file() {
        found.push(path.to_owned());
        return;
    }
    for entry in fs::read_dir(path).unwrap() {
        sources(&entry.unwrap().path(), found);
    }
    found.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
}

/// What the guides quote, a paragraph each.
fn quotes() -> BTreeSet<String> {
    let guides = ["troubleshooting.md", "messages.md"];
    let guides =
        guides.map(|name| fs::read_to_string(root().join("static/docs").join(name)).unwrap());
    let lines = guides.iter().flat_map(|guide| guide.lines());
    let quoted = lines.filter_map(|line| line.strip_prefix("> "));
    quoted.map(bare).collect()
}

#[test]
fn every_message_of_trouble_is_explained() {
    let quotes = quotes();
    let mut files = vec![];
    for path in SOURCES {
        sources(&root().join(path), &mut files);
    }
    let mut missing = String::new();
    let mut explained = 0;
    for file in &files {
        for text in texts(&fs::read_to_string(file).unwrap()) {
            let text = text.trim();
            if text.split_whitespace().count() < WORDS_MIN {
                continue;
            }
            if quotes.contains(&bare(text)) {
                explained += 1;
            } else if !FINE.iter().any(|fine| text.starts_with(fine)) {
                writeln!(missing, "{}: {text}", file.display()).unwrap();
            }
        }
    }
    assert!(explained > 200, "hardly any message was found: {explained}");
    assert!(
        missing.is_empty(),
        "quote and explain in troubleshooting.md or messages.md, or name in FINE:\n{missing}"
    );
}

#[test]
fn nothing_is_explained_that_is_not_said() {
    let mut files = vec![];
    sources(&root().join("src"), &mut files);
    let texts: Vec<String> = files
        .iter()
        .flat_map(|file| texts(&fs::read_to_string(file).unwrap()))
        .map(|text| text.trim().to_owned())
        .collect();
    let said: BTreeSet<String> = texts.iter().map(|text| bare(text)).collect();
    let stale: Vec<String> = quotes()
        .into_iter()
        .filter(|quote| !said.contains(quote))
        .collect();
    assert!(stale.is_empty(), "no source says {stale:#?}");
    let idle = |fine: &&&str| !texts.iter().any(|text| text.starts_with(**fine));
    let idle: Vec<&&str> = FINE.iter().filter(idle).collect();
    assert!(idle.is_empty(), "in FINE, and no source says {idle:?}");
}

/// The remedies of the provisioning log are by status and scimType, and so is the guide's table.
#[test]
fn every_answer_to_a_provider_has_its_line() {
    let guide = fs::read_to_string(root().join("static/docs/troubleshooting.md")).unwrap();
    let (_, part) = guide.split_once("## What a provider is answered").unwrap();
    let advice = fs::read_to_string(root().join("src/manage/advice.rs")).unwrap();
    let mut looked_at = 0;
    let arms = advice.lines().filter_map(|line| line.split_once(" =>"));
    for (arm, _) in arms {
        let Some((status, types)) = arm.trim().trim_start_matches('(').split_once(", ") else {
            continue;
        };
        let types: Vec<&str> = types.split('"').skip(1).step_by(2).collect();
        for status in status.split(" | ").filter(|status| status.len() == 3) {
            let names = match &types[..] {
                [] => vec![status.to_owned()],
                types => types
                    .iter()
                    .map(|name| format!("{status} {name}"))
                    .collect(),
            };
            for name in names {
                looked_at += 1;
                assert!(part.contains(&name), "no line for {name}");
            }
        }
    }
    assert!(looked_at > 15, "{looked_at}");
}

#[test]
fn every_number_of_microsofts_that_is_known_has_its_line() {
    let guide = fs::read_to_string(root().join("static/docs/troubleshooting.md")).unwrap();
    let headings: Vec<&str> = guide
        .lines()
        .filter(|line| line.starts_with("### "))
        .collect();
    let words = fs::read_to_string(root().join("src/sso/words.rs")).unwrap();
    let (_, table) = words.split_once("const AADSTS").unwrap();
    let (table, _) = table.split_once("];").unwrap();
    let numbers = table.split(|c: char| !c.is_ascii_digit());
    let numbers: Vec<&str> = numbers.filter(|digits| digits.len() > 4).collect();
    assert!(numbers.len() > 20, "{numbers:?}");
    for number in numbers {
        let name = format!("AADSTS{number}");
        let named = |line: &&str| line.split([' ', ',']).any(|word| word == name);
        assert!(headings.iter().any(named), "{name}");
    }
}

#[test]
fn pages_with_a_message_lead_to_its_explanation() {
    let server = Server::start();
    Tenant::create(&server, "acme");
    let mut browser = Browser::new(&server);
    let explained = |browser: &Browser, anchor: &str| {
        let link = format!("href=\"/docs/{anchor}\"").replace('/', "&#x2f;");
        assert!(browser.page.contains(&link), "{anchor}: {}", browser.page);
    };
    browser.get("/sign-in/link/0");
    explained(&browser, "troubleshooting#a-link-does-not-work");
    browser.get("/sso/callback?state=x");
    explained(&browser, "troubleshooting#not-begun-here-or-too-late");
    browser.get("/sign-in");
    browser.post(
        "/sign-in",
        &[("email", "ana@example.org"), ("password", "no")],
    );
    explained(
        &browser,
        "troubleshooting#no-account-with-this-name-and-password",
    );
    // In what survives a redirect, too; what was done needs no help.
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get("/settings/danger");
    browser.post("/settings/danger", &[("do", "purge"), ("name", "other")]);
    explained(&browser, "messages#backup-and-danger-zone");
    browser.get("/settings");
    assert!(
        !browser.page.contains("#x2f;docs&#x2f;messages"),
        "{}",
        browser.page
    );
}

#[test]
fn texts_of_sources_are_read_as_they_are_said() {
    let source = r#"// "no"
        let a = "one \
                 {x:?} \"two\"" ; '"' ; &'static str; "{{}}"
        #[cfg(test)] "tests""#;
    assert_eq!(texts(source), ["one … \"two\"", "{}}"]);
    assert_eq!(bare("…`a` … b: …."), "a … b");
}
