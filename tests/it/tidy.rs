//! The shape of the tree: the cheapest reviewer.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Words that must not stand in a folder's code, outside its tests. ARCHITECTURE.md says why.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "src/scim",
        &[
            "rusqlite",
            "tiny_http",
            "httparse",
            "std::fs",
            "std::net",
            "std::thread",
            "Timestamp::now",
            "crate::store",
            "crate::provision",
            "crate::http",
            "crate::cli",
            "crate::config",
        ],
    ),
    (
        "src/store",
        &[
            "tiny_http",
            "httparse",
            "std::net::Tcp",
            "crate::http",
            "crate::provision",
            "crate::cli",
        ],
    ),
    (
        "src/provision",
        &[
            "tiny_http",
            "httparse",
            "rusqlite",
            "std::net::Tcp",
            "socket2",
            "crate::http",
            "crate::cli",
            "SELECT ",
        ],
    ),
    (
        "src/manage",
        &[
            "tiny_http",
            "rusqlite",
            "Timestamp::now",
            "crate::provision",
            "crate::http",
            "crate::cli",
            "SELECT ",
        ],
    ),
    (
        "src/check",
        &[
            "tiny_http",
            "rusqlite",
            "std::fs",
            "Timestamp::now",
            "crate::scim::",
            "crate::store",
            "crate::manage",
            "crate::provision",
            "crate::http",
            "crate::cli",
        ],
    ),
    (
        "src/sso",
        &[
            "tiny_http",
            "rusqlite",
            "Timestamp::now",
            "crate::store",
            "crate::manage",
            "crate::provision",
            "crate::http",
            "crate::cli",
        ],
    ),
    // Plays a stranger: what the server knows must not help it.
    (
        "src/simulate",
        &[
            "tiny_http",
            "rusqlite",
            "std::fs",
            "Timestamp::now",
            "crate::scim::",
            "crate::store",
            "crate::manage",
            "crate::provision",
            "crate::http",
            "crate::cli",
        ],
    ),
    (
        "src/http",
        &["rusqlite", "crate::cli", "SELECT ", "INSERT INTO"],
    ),
    (
        "src/cli",
        &[
            "rusqlite",
            "SELECT ",
            "INSERT INTO",
            "tiny_http",
            "httparse",
        ],
    ),
];

/// Words that only these files and folders may use.
const ONLY_IN: &[(&[&str], &str)] = &[
    (&["src/cli"], "println!"),
    (&["src/cli"], "std::env::"),
    (&["src/store"], "rusqlite"),
    (&["src/http"], "tiny_http"),
    (
        &["src/sso", "src/outgoing.rs", "src/scim_client.rs"],
        "ureq",
    ),
    (&["src/sso"], "jsonwebtoken"),
];

/// What stands nowhere.
const NOWHERE: &[&str] = &[
    "TODO",
    "FIXME",
    "XXX",
    "todo!(",
    "unimplemented!(",
    "dbg!(",
    "#[ignore",
    "/work/",
    "/root/",
    "/home/",
];

#[test]
fn arrows_point_down() {
    let mut faults = String::new();
    for (folder, words) in FORBIDDEN {
        for file in sources(folder) {
            report(&mut faults, &file, words);
        }
    }
    for (places, word) in ONLY_IN {
        for file in sources("src")
            .iter()
            .filter(|file| !places.iter().any(|place| relative(file).starts_with(place)))
        {
            report(&mut faults, file, &[word]);
        }
    }
    assert!(
        faults.is_empty(),
        "words that must not stand there:\n{faults}"
    );
}

#[test]
fn nothing_is_left_unfinished_or_tied_to_a_machine() {
    let mut faults = String::new();
    let files = tracked_files();
    // This file has to name them.
    for file in files
        .iter()
        .filter(|file| relative(file) != "tests/it/tidy.rs")
    {
        let Ok(text) = std::fs::read_to_string(file) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            for word in NOWHERE.iter().filter(|word| line.contains(**word)) {
                writeln!(faults, "{}:{}: {word}", relative(file), number + 1).unwrap();
            }
        }
    }
    assert!(files.len() > 20, "hardly any file was looked at");
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn no_file_of_code_is_longer_than_600_lines() {
    let files = [sources("src"), sources("tests")].concat();
    let long: Vec<String> = files
        .iter()
        .map(|file| (relative(file), read(file).lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(file, lines)| format!("{file}: {lines}"))
        .collect();
    assert!(long.is_empty(), "split by noun: {long:?}");
}

#[test]
fn the_changelog_knows_this_version() {
    let heading = format!("## {}", env!("CARGO_PKG_VERSION"));
    let changelog = read(&root().join("CHANGELOG.md"));
    assert!(
        changelog.lines().any(|line| line.starts_with(&heading)),
        "CHANGELOG.md has no \"{heading}\""
    );
}

/// Named as a path (`scim/patch.rs`), a folder as `scim/patch/`, what is in that as `patch/list.rs`. Files of tests
/// belong to what they test.
#[test]
fn architecture_names_every_module() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let missing: Vec<String> = sources("src")
        .iter()
        .map(|file| relative(file).trim_start_matches("src/").to_owned())
        .filter(|path| !path.contains("/tests") && !path.ends_with("/fixture.rs"))
        .filter(|path| {
            let named = path.strip_suffix("mod.rs").unwrap_or(path);
            let inner = match named.split('/').count() {
                3 => named.split_once('/').map_or(named, |(_, inner)| inner),
                _ => named,
            };
            !page.contains(inner)
        })
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md doesn't name {missing:?}"
    );
}

#[test]
fn every_test_module_is_explained() {
    let text = read(&root().join("tests/it/main.rs"));
    let bare: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("mod ") && !line.contains("// "))
        .collect();
    assert!(bare.is_empty(), "a few words for {bare:?}");
    for file in sources("tests/it")
        .iter()
        .map(|file| relative(file))
        .filter(|file| file.matches('/').count() == 2)
    {
        let name = file.trim_start_matches("tests/it/").trim_end_matches(".rs");
        assert!(
            name == "main" || text.contains(&format!("mod {name};")),
            "{file} is no module of tests/it/main.rs"
        );
    }
}

/// Adds a line for each of `words` that stands in the file's code: comments and unit tests may say what they like.
fn report(faults: &mut String, file: &Path, words: &[&str]) {
    let text = read(file);
    let code = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .enumerate();
    for (number, line) in code.filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for word in words.iter().filter(|word| line.contains(**word)) {
            writeln!(faults, "{}:{}: {word}", relative(file), number + 1).unwrap();
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root())
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

#[track_caller]
fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", relative(file)))
}

/// The Rust files below a folder, tools of the tests left out.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    assert!(!files.is_empty(), "no code in {folder}");
    files
}

/// All files but those that are made: `.git`, `target` and the like.
fn tracked_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let made =
            [".git", "target", "rollcall-data", ".tools", ".screenshots"].contains(&name.as_str());
        if path.is_dir() && !made {
            collect(&path, files);
        } else if path.is_file() && !made {
            files.push(path);
        }
    }
    files.sort();
}
