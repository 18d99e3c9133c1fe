//! What the files of `packaging/proxy/` say: the same as the guide and the page of apps, and for Traefik, which isn't run here,
//! what Traefik asks for.

use std::fs;
use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

use crate::proxies::{PLACES, file};

#[test]
fn the_guide_shows_the_files_as_they_are() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("static/docs/behind-a-proxy.md");
    let guide = fs::read_to_string(guide).unwrap();
    for (name, language) in [
        ("nginx.conf", "nginx"),
        ("Caddyfile", "caddyfile"),
        ("traefik.yml", "yaml"),
    ] {
        let block = format!("```{language}\n{}```\n", file(name));
        assert!(guide.contains(&block), "the guide has another {name}");
    }
}

/// What the page *Apps behind a proxy* shows under a heading.
fn recipe(name: &str) -> String {
    let page = include_str!("../../static/pages/hosts.html");
    let (_, under) = page.split_once(&format!("<h3>{name}</h3>")).unwrap();
    let (_, recipe) = under.split_once("<pre>").unwrap();
    let (recipe, _) = recipe.split_once("</pre>").unwrap();
    recipe.replace("&amp;", "&")
}

#[test]
fn the_page_of_apps_shows_what_the_files_have() {
    for (name, file_name, rollcall, [app, place]) in [
        (
            "nginx",
            "nginx.conf",
            "http://rollcall",
            ["http://app", "http://127.0.0.1:3000"],
        ),
        ("Caddy", "Caddyfile", PLACES[0], ["app:8080", PLACES[1]]),
    ] {
        let shown = recipe(name)
            .replace("{{ origin }}", rollcall)
            .replace(app, place);
        let bare = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let file = bare(&file(file_name));
        assert!(file.contains(&bare(&shown)), "{name}:\n{}", bare(&shown));
    }
    let yaml = |text: &str| YamlLoader::load_from_str(text).unwrap()[0]["http"].clone();
    let shown = yaml(&recipe("Traefik").replace("{{ origin }}", "http://127.0.0.1:8080"));
    let file = yaml(&file("traefik.yml"));
    assert_eq!(shown["middlewares"], file["middlewares"]);
    for (name, router) in shown["routers"].as_hash().unwrap() {
        let name = name.as_str().unwrap();
        for key in ["rule", "service", "middlewares"] {
            assert_eq!(router[key], file["routers"][name][key], "{name}: {key}");
        }
    }
}

/// Traefik is in no package archive, so it can't be run here. `forward` asks what Traefik would ask.
#[test]
fn the_file_for_traefik_names_what_traefik_and_rollcall_know() {
    let found = &YamlLoader::load_from_str(&file("traefik.yml")).unwrap()[0]["http"];
    let keys = |value: &Yaml| -> Vec<String> {
        let hash = value.as_hash().expect("a mapping");
        hash.keys()
            .map(|key| key.as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(keys(found), ["routers", "middlewares", "services"]);
    for router in found["routers"].as_hash().unwrap().values() {
        let known = ["rule", "entryPoints", "middlewares", "service", "tls"];
        assert!(
            keys(router).iter().all(|key| known.contains(&key.as_str())),
            "{router:?}"
        );
        assert_eq!(router["entryPoints"][0].as_str(), Some("websecure"));
        assert!(router["tls"].as_hash().is_some(), "by HTTPS alone");
        let service = router["service"].as_str().unwrap();
        let url = found["services"][service]["loadBalancer"]["servers"][0]["url"].as_str();
        let expected = PLACES[usize::from(service == "wiki")];
        assert_eq!(url, Some(format!("http://{expected}").as_str()));
    }
    let rule = |name: &str| found["routers"][name]["rule"].as_str().unwrap();
    assert_eq!(rule("rollcall"), "Host(`rollcall.example.org`)");
    assert_eq!(rule("wiki"), "Host(`wiki.example.org`)");
    // The longer rule comes first: nobody is asked who they are on the way to where they say it.
    assert_eq!(
        rule("wiki-sign-in"),
        "Host(`wiki.example.org`) && PathPrefix(`/.rollcall/`)"
    );
    assert!(found["routers"]["wiki-sign-in"]["middlewares"].is_badvalue());
    let asked = &found["middlewares"][found["routers"]["wiki"]["middlewares"][0].as_str().unwrap()]
        ["forwardAuth"];
    assert_eq!(keys(asked), ["address", "authResponseHeaders"]);
    let address = asked["address"].as_str().unwrap();
    assert_eq!(address, format!("http://{}/auth/forward", PLACES[0]));
    let copied: Vec<_> = asked["authResponseHeaders"]
        .as_vec()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert_eq!(
        copied,
        [
            "Remote-User",
            "Remote-Name",
            "Remote-Email",
            "Remote-Groups",
            "Remote-Role"
        ]
    );
}
