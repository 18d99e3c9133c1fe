//! Signing in through Entra ID, Okta, Google Workspace and others, from the connection to the person's own page.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::internet::{Internet, SECRET};
use crate::provider::Provider;
use crate::support::{Answer, Server};
use crate::tenant::{Tenant, group, run, user};

const PAGE: &str = "/settings/sso";
pub const TID: &str = "1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b";
pub const OID: &str = "7d1c9e02-5c7d-4e8f-9a0b-1c2d3e4f5a6b";
pub const CLIENT: &str = "2a6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b";

/// Entra ID's issuer of a directory.
pub fn issuer(directory: &str) -> String {
    format!("https://login.microsoftonline.com/{directory}/v2.0")
}

/// What Entra ID says of one of its people, but for `more`.
pub fn entra_person(oid: &str, name: &str, more: Value) -> Value {
    let mut claims = json!({
        "ver": "2.0", "tid": TID, "oid": oid, "sub": format!("pairwise-{oid}"), "name": name,
        "preferred_username": format!("{name}@contoso.example"), "rh": "0.AAAA", "uti": "x", "sid": format!("sid-{oid}"),
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// What is entered for a provider, but for `provider` and the secret.
fn entered(provider: &str) -> Vec<(&'static str, &'static str)> {
    match provider {
        "entra" => vec![("directory", TID), ("client_id", CLIENT)],
        "okta" => vec![("issuer", "acme.okta.com"), ("client_id", "0oa1b2c3d4")],
        "google" => vec![
            ("client_id", "1-a.apps.googleusercontent.com"),
            ("directory", "contoso.example"),
        ],
        _ => vec![
            ("name", "Example ID"),
            ("issuer", "https://login.example.org/realms/a"),
            ("client_id", "rollcall"),
        ],
    }
}

/// Saves a connection with the usual secret.
#[track_caller]
pub fn save(admin: &mut Browser, provider: &'static str) {
    let fields = [
        ("do", "save"),
        ("provider", provider),
        ("client_secret", SECRET),
    ];
    admin.get(PAGE);
    admin.post(PAGE, &[&fields[..], &entered(provider)].concat());
    admin.must_show("Saved. Now connect it");
}

/// Where a browser is sent by this address.
#[track_caller]
pub fn sent_to(browser: &mut Browser, path: &str) -> String {
    let answer = browser.request("GET", path, "");
    assert_eq!(answer.status, 303, "{path}: {answer:?}");
    answer.header("location").expect("a location").to_owned()
}

/// Somebody goes to the provider and comes back.
#[track_caller]
pub fn comes_back(browser: &mut Browser, from: &str, provider: &Provider, claims: Value) -> Answer {
    let sent_to = sent_to(browser, from);
    let back = provider.sign_in(&sent_to, claims);
    browser.get(&back)
}

/// A server whose tenant `acme` is connected to Entra ID, with its administrator.
pub struct Acme {
    pub internet: Internet,
    pub provider: Provider,
    pub server: Server,
    pub admin: Browser,
}

impl Acme {
    #[track_caller]
    pub fn connected() -> Acme {
        let internet = Internet::start();
        let provider = internet.provider(&issuer(TID));
        let server = internet.server(&[]);
        run(&server, &["tenant", "create", "acme"]);
        let mut admin = Browser::sign_in(&server, "acme");
        save(&mut admin, "entra");
        let claims = entra_person("0a0a0a0a-5c7d-4e8f-9a0b-1c2d3e4f5a6b", "boss", json!({}));
        comes_back(&mut admin, "/settings/sso/connect", &provider, claims);
        admin.must_show("Azure Single Sign-On was successfully connected.");
        Acme {
            internet,
            provider,
            server,
            admin,
        }
    }

    /// Saves who may sign in, too.
    #[track_caller]
    pub fn admits(&mut self, fields: &[(&str, &str)]) {
        self.admin.get(PAGE);
        self.admin
            .post(PAGE, &[&[("do", "admit")], fields].concat());
        self.admin.must_show("Saved: who may sign in.");
    }

    /// The tenant and its token.
    #[track_caller]
    pub fn tenant(&self) -> Tenant<'_> {
        let token = run(&self.server, &["token", "create", "--tenant", "acme"]);
        Tenant::known(&self.server, "acme", token)
    }

    /// A new browser that comes back with these claims; it and the page it sees.
    #[track_caller]
    pub fn visitor(&self, claims: Value) -> Browser {
        let mut browser = Browser::new(&self.server);
        comes_back(&mut browser, "/sso/start/acme", &self.provider, claims);
        browser
    }

    /// Rows of a table.
    #[track_caller]
    pub fn count(&self, of: &str) -> i64 {
        self.server.number(&format!("SELECT count(*) FROM {of}"))
    }
}

#[test]
fn each_provider_is_connected_by_signing_in_there_and_says_so_in_the_product_s_words() {
    let internet = Internet::start();
    let server = internet.server(&[]);
    run(&server, &["tenant", "create", "acme"]);
    let mut admin = Browser::sign_in(&server, "acme");
    let plain = json!({"sub": "boss", "preferred_username": "boss@contoso.example"});
    let entra = entra_person(OID, "boss", json!({}));
    let google = json!({"sub": "1", "hd": "contoso.example", "email": "boss@contoso.example"});
    for (provider, at, claims, words) in [
        (
            "entra",
            issuer(TID).as_str(),
            entra,
            "Azure Single Sign-On was successfully connected.",
        ),
        (
            "okta",
            "https://acme.okta.com",
            plain.clone(),
            "Okta Single Sign-On was successfully connected.",
        ),
        (
            "google",
            "https://accounts.google.com",
            google,
            "Google Workspace Single Sign-On was successfully connected.",
        ),
        (
            "oidc",
            "https://login.example.org/realms/a",
            plain,
            "Example ID Single Sign-On was successfully connected.",
        ),
    ] {
        let at = internet.provider(at);
        save(&mut admin, provider);
        admin.must_show("Set up, not connected yet");
        let early = Browser::new(&server).get("/sso/start/acme");
        assert_eq!(early.status, 404, "{provider}: nobody signs in before");
        let answer = comes_back(&mut admin, "/settings/sso/connect", &at, claims.clone());
        assert_eq!((answer.status, admin.path.as_str()), (200, PAGE));
        admin.must_show(&format!(">{words}<"));
        admin.must_show("Connected</span> since");
        comes_back(&mut admin, "/settings/sso/connect", &at, claims);
        admin.must_show("Signing in works: you came back as boss@contoso.example.");
        admin.post(PAGE, &[("do", "remove")]);
    }
}

#[test]
fn entra_s_document_for_all_directories_serves_the_one_that_was_entered_and_no_other() {
    let acme = Acme::connected();
    let other = "https://login.microsoftonline.com/0f0f0f0f-5c7d-4e8f-9a0b-1c2d3e4f5a6b/v2.0";
    for (told, works) in [
        ("https://login.microsoftonline.com/{tenantid}/v2.0", true),
        (other, false),
        ("https://login.microsoftonline.com/common/v2.0", false),
        ("https://sts.windows.net/{tenantid}/", false),
    ] {
        acme.provider.publish(json!({"issuer": told}));
        // Another server remembers nothing of it.
        let server = acme.internet.server(&[]);
        run(&server, &["tenant", "create", "acme"]);
        let mut admin = Browser::sign_in(&server, "acme");
        save(&mut admin, "entra");
        if works {
            let claims = entra_person(OID, "boss", json!({}));
            comes_back(&mut admin, "/settings/sso/connect", &acme.provider, claims);
            admin.must_show("Azure Single Sign-On was successfully connected.");
        } else {
            admin.get("/settings/sso/connect");
            admin.must_show("Not connected: the provider answers strangely: it calls itself");
        }
    }
}

#[test]
fn a_member_and_a_guest_sign_in_as_whom_entra_provisioned_whatever_else_their_tokens_say() {
    let acme = Acme::connected();
    let mut scim = acme.tenant().client();
    let ana = json!({"externalId": OID, "displayName": "Ana", "roleName": "Responder"});
    let ana = scim.create("/Users", &user("ana@contoso.example", ana));
    // Provisioned with the object ID of the guest object here, in capitals, as a mapping may make it.
    let guest_oid = "9e1c9e02-5c7d-4e8f-9a0b-1c2d3e4f5a6b";
    let gus = json!({"externalId": guest_oid.to_uppercase(), "displayName": "Gus"});
    scim.create(
        "/Users",
        &user("gus_fabrikam.example#EXT#@contoso.example", gus),
    );
    scim.create(
        "/Groups",
        &group("SRE", json!({"members": [{"value": ana}]})),
    );
    let overage = json!({
        "_claim_names": {"groups": "src1"},
        "_claim_sources": {"src1": {"endpoint": format!("https://graph.microsoft.com/v1.0/users/{OID}/getMemberObjects")}},
        "roles": ["Admin", "Billing admin"], "wids": ["62e90394-69f5-4237-9190-012177145e10"],
    });
    let mut member = acme.visitor(entra_person(OID, "ana", overage));
    assert_eq!(member.path, "/me", "her role does not open the settings");
    member.must_show("Ana");
    member.must_show("Responder");
    member.must_show("SRE");
    assert_eq!(member.get("/settings").status, 403);
    let home = "https://sts.windows.net/0f0f0f0f-5c7d-4e8f-9a0b-1c2d3e4f5a6b/";
    let guest = json!({
        "idp": home, "acct": 1, "email": "gus@fabrikam.example", "preferred_username": "gus@fabrikam.example",
        "groups": ["0b0b0b0b-5c7d-4e8f-9a0b-1c2d3e4f5a6b"], "hasgroups": true,
    });
    let mut guest = acme.visitor(entra_person(guest_oid, "gus", guest));
    guest.must_show("Gus");
    assert_eq!(guest.get("/settings").status, 403);
    let stored = scim.get(&format!("/Users/{ana}"));
    assert_eq!(stored["roleName"], "Responder", "a token changes nobody");
    assert_eq!(acme.count("identity WHERE linked_by = 'externalId'"), 2);
}

#[test]
fn whom_a_sign_in_creates_has_the_default_role_and_no_team_whatever_roles_and_groups_the_token_has()
{
    let mut acme = Acme::connected();
    let eve = entra_person(
        OID,
        "eve",
        json!({"roles": ["Admin"], "groups": ["SRE"], "given_name": "Eve"}),
    );
    acme.visitor(eve.clone())
        .must_show("You are not provisioned yet");
    acme.admits(&[("creates_people", "yes"), ("domains", "contoso.example")]);
    let mut browser = acme.visitor(eve);
    assert_eq!(browser.path, "/me");
    browser.must_show("Member");
    assert_eq!(browser.get("/settings").status, 403);
    let stray = json!({"preferred_username": "mal@evil.example", "email": "mal@contoso.example", "email_verified": false});
    let stray = acme.visitor(entra_person(
        "0c0c0c0c-5c7d-4e8f-9a0b-1c2d3e4f5a6b",
        "mal",
        stray,
    ));
    stray.must_show("Nobody with an address of your domain is let in");
    assert_eq!(
        acme.count("resource WHERE kind = 'User'"),
        1,
        "no ghost row"
    );
}

#[test]
fn people_of_elsewhere_and_old_tokens_are_told_what_is_wrong() {
    let acme = Acme::connected();
    let personal = "9188040d-6c67-4c5b-b112-36a304b66dad";
    for (more, words) in [
        (json!({"tid": personal}), "this is a personal account"),
        (
            json!({"tid": OID}),
            "this account is of another organisation",
        ),
        (json!({"ver": "1.0"}), "is not of version 2.0"),
        (
            json!({"iss": format!("https://sts.windows.net/{TID}/")}),
            "from another issuer",
        ),
        (json!({"oid": null}), "has no oid"),
        (
            json!({"nonce": "of another sign-in"}),
            "belongs to another sign-in",
        ),
    ] {
        let browser = acme.visitor(entra_person(OID, "ana", more));
        browser.must_show(words);
        browser.must_show("Request");
    }
    assert_eq!(acme.count("identity"), 0);
    let events = run(&acme.server, &["events", "--tenant", "acme", "-o", "json"]);
    assert_eq!(events.matches("sign_in.refused").count(), 6);
}
