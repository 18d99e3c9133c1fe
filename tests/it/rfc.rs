//! The conformance matrix: a file for each MUST, SHALL and SHOULD of RFC 7643 §2-8, RFC 7644 §3-4 and RFC 9865 in
//! `tests/data/rfc/`, and one for each figure in `figures/` there.
//!
//! A file is a conversation (`transcripts.rs`) under a head of comments:
//!
//! ```text
//! # RFC 7644 §3.5.2.1 (88 SHOULD, 89 SHALL NOT); RFC 7643 §2.5 (22 SHALL)
//! # Adding what is there already is a success that changes nothing.
//! # Differs: why the server does something else, which the conversation then shows
//! ```
//!
//! The numbers count the sentences with such a word, in the order of the RFC's text. A file is named after the first one it
//! has. Where there is nothing to converse about, the last line is `# Doesn't apply: why` or `# Shown by: module::test`.
//! `README.md` is the table of all of it: `REGENERATE=1 cargo test --test it rfc::` writes it anew.

mod sheet;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use self::sheet::{Outcome, Sheet};
use crate::transcripts::{files_in, play_files};

/// How many sentences with MUST, SHALL, SHOULD, REQUIRED or RECOMMENDED each RFC has in the sections of the matrix.
const SENTENCES: [(&str, u16); 3] = [("7643", 150), ("7644", 153), ("9865", 17)];

#[test]
fn rfc_7643_is_kept() {
    play("", "7643-");
}

#[test]
fn rfc_7644_is_kept() {
    play("", "7644-");
}

#[test]
fn rfc_9865_is_kept() {
    play("", "9865-");
}

#[test]
fn the_figures_are_kept() {
    play("figures", "");
}

/// Plays the conversations of a folder whose files' names begin so.
fn play(folder: &str, prefix: &str) {
    let mut files = files_in(&folder_of_the_matrix().join(folder));
    files.retain(|file| {
        name_of(file).starts_with(prefix)
            && matches!(
                Sheet::read(file).outcome,
                Outcome::Run | Outcome::Differs(_)
            )
    });
    play_files(&files);
}

#[test]
fn no_sentence_is_left_out() {
    let (requirements, _) = sheets();
    for (rfc, count) in SENTENCES {
        let told: BTreeSet<u16> = requirements
            .iter()
            .flat_map(|sheet| &sheet.places)
            .filter(|place| place.rfc == rfc)
            .flat_map(|place| place.sentences.iter().map(|(number, _)| *number))
            .collect();
        let left: Vec<u16> = (1..=count)
            .filter(|number| !told.contains(number))
            .collect();
        assert!(
            left.is_empty(),
            "RFC {rfc}: no file for the sentences {left:?}"
        );
        assert!(
            told.iter().all(|number| *number <= count),
            "RFC {rfc} has {count} sentences"
        );
    }
}

#[test]
fn a_file_is_named_after_its_first_sentence() {
    for sheet in sheets().0 {
        let first = &sheet.places[0];
        let (number, _) = first
            .sentences
            .first()
            .unwrap_or_else(|| panic!("{}", sheet.file));
        let (start, section) = (
            format!("{}-{number:03}", first.rfc),
            format!("-{}-", first.section),
        );
        assert!(
            sheet.file.starts_with(&start) && sheet.file.contains(&section),
            "{} should begin with {start}{section}",
            sheet.file
        );
    }
}

#[test]
fn what_another_test_shows_is_there() {
    let (requirements, figures) = sheets();
    for sheet in requirements.iter().chain(&figures) {
        let Outcome::ShownBy(path) = &sheet.outcome else {
            continue;
        };
        let (module, name) = path.split_once("::").unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/{module}.rs"));
        let code = std::fs::read_to_string(file).unwrap();
        assert!(
            code.contains(&format!("fn {name}()")),
            "{}: no test {path}",
            sheet.file
        );
    }
}

#[test]
fn the_readme_is_what_the_files_say() {
    let (requirements, figures) = sheets();
    let page = table::page(&requirements, &figures);
    let file = folder_of_the_matrix().join("README.md");
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == page,
        "tests/data/rfc/README.md is older than its files: REGENERATE=1 cargo test --test it rfc::"
    );
}

/// All requirements and all figures, in the order of the RFCs.
fn sheets() -> (Vec<Sheet>, Vec<Sheet>) {
    let read = |folder: &Path| {
        let mut sheets: Vec<Sheet> = files_in(folder)
            .iter()
            .filter(|file| name_of(file) != "README.md")
            .map(|file| Sheet::read(file))
            .collect();
        sheets.sort_by_key(Sheet::order);
        sheets
    };
    let folder = folder_of_the_matrix();
    (read(&folder), read(&folder.join("figures")))
}

fn folder_of_the_matrix() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rfc")
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}
