//! README.md of the matrix.

use std::fmt::Write;

use super::sheet::{Outcome, Place, Sheet};

/// What stands above the tables.
const PREAMBLE: &str = "\
# What SCIM's RFCs ask of a service provider, and what rollcall does

Each MUST, SHALL and SHOULD (also REQUIRED, RECOMMENDED and their NOTs) of RFC 7643 §2 to §8, RFC 7644 §3 and §4 and RFC 9865
is a file here. A file is a conversation that `cargo test --test it rfc::` holds with the built program, or it says why there
is none. How a conversation reads is explained atop `tests/it/transcripts.rs`, a file's head atop `tests/it/rfc.rs`.

The numbers count the sentences with such a word in an RFC's text from its section 2 (RFC 7644: 3) on. They are as stable as
the RFCs. What a schema's descriptions in RFC 7643 §8.7 say again shares the file of what they repeat. The words are ours: the
RFC's text is the one that counts.

This page is made of the files: `REGENERATE=1 cargo test --test it rfc::`.
";

/// The whole page.
pub fn page(requirements: &[Sheet], figures: &[Sheet]) -> String {
    let mut page = PREAMBLE.to_owned();
    writeln!(page, "\n{}", summary(requirements)).unwrap();
    let rfcs = [
        ("7643", "RFC 7643: schemas and values"),
        ("7644", "RFC 7644: the protocol"),
        ("9865", "RFC 9865: cursors"),
    ];
    for (rfc, title) in rfcs {
        writeln!(page, "\n## {title}\n").unwrap();
        writeln!(page, "| no. | section | | what is asked | |").unwrap();
        writeln!(page, "| --- | --- | --- | --- | --- |").unwrap();
        for sheet in requirements
            .iter()
            .filter(|sheet| sheet.places[0].rfc == rfc)
        {
            requirement(&mut page, sheet);
        }
    }
    writeln!(page, "\n## The RFCs' own examples\n").unwrap();
    writeln!(page, "With the values that are printed there. What a server chooses (ids, times, entity tags, hosts) is its own.\n").unwrap();
    writeln!(
        page,
        "| RFC | section | what is shown | different from the print |"
    )
    .unwrap();
    writeln!(page, "| --- | --- | --- | --- |").unwrap();
    for sheet in figures {
        figure(&mut page, sheet);
    }
    page
}

fn summary(requirements: &[Sheet]) -> String {
    let count = |is: fn(&Outcome) -> bool| {
        requirements
            .iter()
            .filter(|sheet| is(&sheet.outcome))
            .count()
    };
    format!(
        "Of {} requirements {} are kept and shown by a conversation, {} by a test in Rust; {} are known and not followed, with the\nreason; {} don't apply, most of them since they are a client's.",
        requirements.len(),
        count(|outcome| matches!(outcome, Outcome::Run)),
        count(|outcome| matches!(outcome, Outcome::ShownBy(_))),
        count(|outcome| matches!(outcome, Outcome::Differs(_))),
        count(|outcome| matches!(outcome, Outcome::NotApplicable(_))),
    )
}

fn requirement(page: &mut String, sheet: &Sheet) {
    let first = &sheet.places[0];
    let number = sheet.file.split('-').nth(1).unwrap_or_default();
    let outcome = match &sheet.outcome {
        Outcome::Run => "run".to_owned(),
        Outcome::Differs(why) => format!("run; **differs**: {why}"),
        Outcome::ShownBy(test) => format!("`{test}`"),
        Outcome::NotApplicable(why) => format!("doesn't apply: {why}"),
    };
    writeln!(
        page,
        "| [{number}]({}) | {} | {} | {} | {} |",
        sheet.file,
        sections(&sheet.places),
        levels(first),
        cell(&sheet.words),
        cell(&outcome)
    )
    .unwrap();
}

fn figure(page: &mut String, sheet: &Sheet) {
    let differs = match &sheet.outcome {
        Outcome::Differs(why) | Outcome::NotApplicable(why) => why.clone(),
        Outcome::ShownBy(test) => format!("`{test}`"),
        Outcome::Run => String::new(),
    };
    writeln!(
        page,
        "| {} | [§{}](figures/{}) | {} | {} |",
        sheet.places[0].rfc,
        sheet.places[0].section,
        sheet.file,
        cell(&sheet.words),
        cell(&differs)
    )
    .unwrap();
}

/// Each section once, with its RFC where that is another one than the table's.
fn sections(places: &[Place]) -> String {
    let own = &places[0].rfc;
    let named = places.iter().map(|place| match &place.rfc {
        rfc if rfc == own => format!("§{}", place.section),
        rfc => format!("{rfc} §{}", place.section),
    });
    named.collect::<Vec<_>>().join(", ")
}

/// The words of a place's sentences, each once.
fn levels(place: &Place) -> String {
    let mut levels: Vec<&str> = Vec::new();
    for (_, word) in &place.sentences {
        if !levels.contains(&word.as_str()) {
            levels.push(word);
        }
    }
    levels.join(", ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
