//! The page of roles, as a browser without JavaScript sees it.

use serde_json::{Value, json};

use crate::browser::{Browser, encoded};
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, run};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const HERE: &str = "/settings/roles";
const MARKUP: &str = "<b>\"x\"&'</b>";
const ESCAPED: &str = "&lt;b&gt;&quot;x&quot;&amp;&#x27;&lt;&#x2f;b&gt;";

#[track_caller]
fn user(client: &mut ScimClient, name: &str, role_name: Option<&str>) -> String {
    let body = json!({ "schemas": [USER], "userName": name, "roleName": role_name });
    client.create("/Users", &body)
}

/// The tenant's users with the roles that they have.
#[track_caller]
fn roles_of(server: &Server, tenant: &str) -> Vec<(String, String)> {
    let listed = run(server, &["user", "list", "--tenant", tenant, "-o", "json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    listed
        .iter()
        .map(|row| (text(&row["userName"]), text(&row["role"])))
        .collect()
}

/// The number by which forms name a role of the tenant.
#[track_caller]
fn number_of(browser: &Browser, role: &str) -> String {
    let (before, _) = browser
        .page
        .split_once(&format!(">{role}</option>"))
        .unwrap_or_else(|| panic!("no option {role}: {}", browser.page));
    let (_, value) = before.rsplit_once("value=\"").unwrap();
    value.split('"').next().unwrap().to_owned()
}

/// Asks for the preview of a change, from the page of roles.
#[track_caller]
fn preview(browser: &mut Browser, fields: &[(&str, &str)]) {
    browser.get(&format!("{HERE}?{}", encoded(fields)));
    browser.must_show("Save this change?");
}

/// Saves what the preview shows, with the fields of its form.
#[track_caller]
fn save(browser: &mut Browser) {
    let fields = ["do", "change", "from", "role", "to"].map(|name| {
        let value = browser.value_of(name).expect("the form has it");
        (name, value.replace("&quot;", "\"").replace("&#x27;", "'"))
    });
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    browser.post(HERE, &fields);
}

#[test]
fn what_gives_roles_is_shown_before_it_is_saved_and_then_is_what_was_shown() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    for (name, role_name) in [
        ("ana", Some("Chef")),
        ("bob", Some("Chef")),
        ("cy", Some("chef")),
        ("di", None),
    ] {
        user(&mut client, name, role_name);
    }
    let mut browser = Browser::sign_in(&server, "contoso");
    browser.get(HERE);
    browser.must_show("Values that give no role");
    browser.must_show("<td><code>Chef</code></td><td>2</td>");
    let lead = number_of(&browser, "Team lead");

    preview(
        &mut browser,
        &[("change", "value"), ("from", "Chef"), ("role", &lead)],
    );
    browser.must_show("This would change the role of 2 people");
    browser.must_show("ana</a></td><td>Member</td><td>Team lead</td>");
    assert!(!browser.shows("cy</a>"), "exact case");
    assert!(
        roles_of(&server, "contoso")
            .iter()
            .all(|(_, role)| role == "Member")
    );
    save(&mut browser);
    browser.must_show("Saved. 2 people have another role now.");
    browser.must_show("<td><code>chef</code></td><td>1</td>");
    let expected = [
        ("ana", "Team lead"),
        ("bob", "Team lead"),
        ("cy", "Member"),
        ("di", "Member"),
    ];
    let expected = expected.map(|(name, role)| (name.to_owned(), role.to_owned()));
    assert_eq!(roles_of(&server, "contoso"), expected);

    // The default is for those whom nothing else gives a role.
    let responder = number_of(&browser, "Responder");
    preview(&mut browser, &[("change", "default"), ("role", &responder)]);
    browser.must_show("This would change the role of 2 people");
    save(&mut browser);
    browser.must_show("Saved. 2 people have another role now.");

    // A row may name a group that is not there yet, and is offered once it is.
    preview(
        &mut browser,
        &[("change", "group"), ("from", "SRE"), ("role", &lead)],
    );
    browser.must_show("This would change nobody’s role");
    save(&mut browser);
    browser.must_show("not there yet");
    let group =
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "sre" });
    client.create("/Groups", &group);
    browser.get(HERE);
    assert!(!browser.shows("not there yet"));
    browser.must_show("<option value=\"sre\">");

    // Taking a value away takes the role away.
    preview(
        &mut browser,
        &[("change", "value"), ("from", "Chef"), ("to", "none")],
    );
    browser.must_show("This would change the role of 2 people");
    save(&mut browser);
    assert!(
        roles_of(&server, "contoso")
            .iter()
            .all(|(_, role)| role == "Responder")
    );
}

#[test]
fn roles_are_added_ranked_renamed_and_removed_when_nothing_uses_them() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    user(&mut client, "ana", Some("Admin"));
    let mut browser = Browser::sign_in(&server, "contoso");
    browser.get(HERE);
    browser.must_show("It can’t be removed: 1 person has it; roleName &quot;Admin&quot; gives it.");
    browser.post(HERE, &[("do", "add"), ("name", "Auditor")]);
    browser.must_show("The role Auditor is added.");
    browser.post(HERE, &[("do", "add"), ("name", "Auditor")]);
    browser.must_show("is there already");
    browser.post(HERE, &[("do", "add"), ("name", " ")]);
    browser.must_show("1 to 100 characters");

    let (admin, auditor) = (number_of(&browser, "Admin"), number_of(&browser, "Auditor"));
    browser.post(HERE, &[("do", "remove"), ("role", &admin)]);
    browser.must_show("Admin can&#x27;t be removed: 1 person has it");
    preview(
        &mut browser,
        &[("change", "rank"), ("role", &auditor), ("to", "2")],
    );
    save(&mut browser);
    browser.must_show("Saved. Everybody has the role they had.");
    browser.post(
        HERE,
        &[("do", "rename"), ("role", &auditor), ("name", "Controller")],
    );
    browser.must_show("The role Auditor is called Controller now.");
    let listed = run(
        &server,
        &["role", "list", "--tenant", "contoso", "-o", "json"],
    );
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[1]["name"], json!("Controller"));
    browser.post(HERE, &[("do", "remove"), ("role", &auditor)]);
    browser.must_show("The role Controller is removed.");
    browser.post(HERE, &[("do", "remove"), ("role", &auditor)]);
    browser.must_show("is not there");
}

#[test]
fn who_would_lock_themselves_out_is_told_before() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    user(&mut client, "ana", Some("Admin"));
    let mut browser = Browser::sign_in_as(&server, "contoso", "ana");
    browser.get(HERE);
    let admin = number_of(&browser, "Admin");
    let lead = number_of(&browser, "Team lead");
    let member = number_of(&browser, "Member");
    let alone = "You are among those who could open the settings no longer.";
    preview(
        &mut browser,
        &[("change", "opens"), ("role", &lead), ("to", "yes")],
    );
    assert!(!browser.shows(alone));
    preview(
        &mut browser,
        &[("change", "value"), ("from", "Admin"), ("role", &member)],
    );
    browser.must_show(alone);
    browser.must_show("1 of the directory now, 0 then, besides 0 local accounts.");
    preview(
        &mut browser,
        &[("change", "opens"), ("role", &admin), ("to", "no")],
    );
    browser.must_show(alone);
    save(&mut browser);
    assert!(
        browser.shows("Your role does not open the settings."),
        "{}",
        browser.page
    );

    let mut account = Browser::sign_in(&server, "contoso");
    preview(
        &mut account,
        &[("change", "opens"), ("role", &admin), ("to", "yes")],
    );
    account.must_show("0 of the directory now, 1 then, besides 1 local account.");
    save(&mut account);
    preview(
        &mut account,
        &[("change", "opens"), ("role", &admin), ("to", "no")],
    );
    account.must_show("Nobody of the directory could open the settings any more.");
}

#[test]
fn a_role_is_explained_and_unmapped_values_may_be_refused() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let ana = user(&mut client, "ana", None);
    let mut browser = Browser::sign_in(&server, "contoso");
    browser.get(&format!("{HERE}?why=ANA"));
    let why = run(&server, &["role", "--tenant", "contoso", "why", "ana"]);
    assert_eq!(why.lines().count(), 4);
    for step in why.lines() {
        browser.must_show(&format!("<li>{step}</li>"));
    }
    browser.get(&format!("{HERE}?why={ana}"));
    browser.must_show("the default role is Member");
    browser.get(&format!("{HERE}?why=nobody"));
    browser.must_show("There is no user nobody here.");

    browser.post(HERE, &[("do", "policy"), ("policy", "reject")]);
    browser.must_show("A roleName that gives no role is refused.");
    let body = json!({ "schemas": [USER], "userName": "bob", "roleName": "x" });
    client.expect(400, "POST", "/Users", Some(&body));
    browser.post(HERE, &[("do", "policy"), ("policy", "accept")]);
    client.expect(201, "POST", "/Users", Some(&body));
}

#[test]
fn another_tenants_roles_and_people_are_out_of_reach() {
    let server = Server::start();
    let mut theirs = Tenant::create(&server, "theirs").client();
    let mut ours = Tenant::create(&server, "ours").client();
    let eve = user(&mut theirs, "eve", Some("Chef"));
    user(&mut ours, "ana", Some("Chef"));
    let mut browser = Browser::sign_in(&server, "theirs");
    browser.get(HERE);
    let number = number_of(&browser, "Admin");
    let before = run(
        &server,
        &["role", "list", "--tenant", "theirs", "-o", "json"],
    );

    let mut browser = Browser::sign_in(&server, "ours");
    browser.get(HERE);
    let own = number_of(&browser, "Admin");
    assert_ne!(own, number);
    for fields in [
        &[
            ("do", "rename"),
            ("role", number.as_str()),
            ("name", "Mine"),
        ][..],
        &[("do", "remove"), ("role", &number)],
        &[
            ("do", "save"),
            ("change", "opens"),
            ("role", &number),
            ("to", "no"),
        ],
        &[
            ("do", "save"),
            ("change", "rank"),
            ("role", &number),
            ("to", "1"),
        ],
        &[("do", "save"), ("change", "default"), ("role", &number)],
        &[
            ("do", "save"),
            ("change", "value"),
            ("from", "Chef"),
            ("role", &number),
        ],
    ] {
        browser.post(HERE, fields);
        browser.must_show("is not there, or not any more");
    }
    // Our own change concerns our own people alone.
    preview(
        &mut browser,
        &[("change", "value"), ("from", "Chef"), ("role", &own)],
    );
    browser.must_show("This would change the role of 1 person");
    save(&mut browser);
    browser.get(&format!("{HERE}?why={eve}"));
    browser.must_show("There is no user");
    let after = run(
        &server,
        &["role", "list", "--tenant", "theirs", "-o", "json"],
    );
    assert_eq!(before, after);
    assert_eq!(
        roles_of(&server, "theirs"),
        [("eve".to_owned(), "Member".to_owned())]
    );
}

#[test]
fn markup_in_what_providers_send_is_text() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    user(&mut client, MARKUP, Some(MARKUP));
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": MARKUP });
    client.create("/Groups", &group);
    let mut browser = Browser::sign_in(&server, "contoso");
    browser.get(HERE);
    let lead = number_of(&browser, "Team lead");
    let seen = |browser: &Browser| {
        assert!(!browser.page.contains("<b>"), "{}", browser.page);
        browser.must_show(ESCAPED);
    };
    seen(&browser);
    browser.post(HERE, &[("do", "add"), ("name", MARKUP)]);
    seen(&browser);
    for change in ["value", "group"] {
        preview(
            &mut browser,
            &[("change", change), ("from", MARKUP), ("role", &lead)],
        );
        seen(&browser);
        browser.post(
            HERE,
            &[
                ("do", "save"),
                ("change", change),
                ("from", MARKUP),
                ("role", &lead),
            ],
        );
        seen(&browser);
    }
    browser.get(&format!("{HERE}?{}", encoded(&[("why", MARKUP)])));
    browser.must_show("which is mapped to Team lead");
    seen(&browser);
}
