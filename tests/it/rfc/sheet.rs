//! The head of a file of the matrix.

use std::path::Path;

/// What a file says about itself.
pub struct Sheet {
    pub file: String,
    pub places: Vec<Place>,
    /// The requirement, or what a figure shows, in our words.
    pub words: String,
    pub outcome: Outcome,
}

/// A section, and the sentences of it that are meant.
pub struct Place {
    pub rfc: String,
    pub section: String,
    /// Which sentence of the RFC, and the word in it. Figures have none.
    pub sentences: Vec<(u16, String)>,
}

/// What comes of a requirement.
pub enum Outcome {
    /// Its conversation is run.
    Run,
    /// The same, and it shows something else than the RFC wants, or than it printed; why.
    Differs(String),
    /// A test in Rust shows it.
    ShownBy(String),
    /// Nobody asks it of a server like this one; why.
    NotApplicable(String),
}

impl Sheet {
    pub fn read(file: &Path) -> Sheet {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).unwrap();
        let mut head = text
            .lines()
            .map_while(|line| line.strip_prefix("# "))
            .map(str::to_owned);
        let places = head.next().unwrap_or_default();
        let places = places
            .split("; RFC ")
            .flat_map(|part| places_of(part.trim_start_matches("RFC "), &name))
            .collect();
        let (mut words, mut outcome) = (String::new(), Outcome::Run);
        for line in head {
            match line.split_once(": ") {
                Some(("Differs", why)) => outcome = Outcome::Differs(why.to_owned()),
                Some(("Doesn't apply", why)) => outcome = Outcome::NotApplicable(why.to_owned()),
                Some(("Shown by", test)) => outcome = Outcome::ShownBy(test.to_owned()),
                _ => match &mut outcome {
                    Outcome::Run => append(&mut words, &line),
                    Outcome::Differs(text)
                    | Outcome::NotApplicable(text)
                    | Outcome::ShownBy(text) => append(text, &line),
                },
            }
        }
        let is_conversation = text.lines().any(|line| line.starts_with("== "));
        let is_run = matches!(outcome, Outcome::Run | Outcome::Differs(_));
        assert!(
            is_conversation == is_run,
            "{name}: either a conversation or a reason"
        );
        assert!(
            words.ends_with('.'),
            "{name}: no sentence says what is required"
        );
        Sheet {
            file: name,
            places,
            words,
            outcome,
        }
    }

    /// By RFC, then by sentence; figures by section.
    pub fn order(&self) -> (String, u16, Vec<u16>, String) {
        let place = &self.places[0];
        let number = place.sentences.first().map_or(0, |(number, _)| *number);
        let section = place.section.split('.').map(|part| part.parse().unwrap());
        (
            place.rfc.clone(),
            number,
            section.collect(),
            self.file.clone(),
        )
    }
}

fn append(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(line);
}

/// `7644 §3.5.2 (77 SHALL), §3.5.2.1 (88 SHOULD, 89 SHALL NOT)`
fn places_of(text: &str, name: &str) -> Vec<Place> {
    let (rfc, sections) = text
        .split_once(" §")
        .unwrap_or_else(|| panic!("{name}: no section in {text:?}"));
    let read = |part: &str| {
        let (section, sentences) = part
            .trim_end_matches(')')
            .split_once(" (")
            .unwrap_or((part, ""));
        let sentences = sentences
            .split(", ")
            .filter(|sentence| !sentence.is_empty());
        Place {
            rfc: rfc.to_owned(),
            section: section.to_owned(),
            sentences: sentences
                .map(|sentence| {
                    let (number, word) = sentence.split_once(' ').unwrap_or((sentence, ""));
                    let number = number
                        .parse()
                        .unwrap_or_else(|_| panic!("{name}: {sentence:?}"));
                    (number, word.to_owned())
                })
                .collect(),
        }
    };
    sections.split(", §").map(read).collect()
}
