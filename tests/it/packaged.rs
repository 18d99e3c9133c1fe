//! What packages carry beside the program: `packaging/rollcall.conf`, and what `man` and `completions` print.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn rollcall(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn prints(arguments: &[&str]) -> String {
    let output = rollcall(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What stands before the first `end` in each piece that follows a `begin`.
fn between<'a>(text: &'a str, begin: &str, end: char) -> BTreeSet<&'a str> {
    let pieces = text.split(begin).skip(1);
    pieces
        .filter_map(|piece| Some(piece.split_once(end)?.0))
        .collect()
}

fn packaging(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    fs::read_to_string(folder.join(file)).unwrap()
}

#[test]
fn the_settings_file_has_every_setting_and_no_other_and_none_is_on() {
    let help = prints(&["serve", "--help"]);
    let conf = packaging("rollcall.conf");
    let known = between(&help, "[env: ", '=');
    let written = between(&conf, "\n#", '=');
    assert!(known.len() > 15, "{known:?}");
    let missing: Vec<_> = known.difference(&written).collect();
    assert!(missing.is_empty(), "rollcall.conf lacks {missing:?}");
    // These are no options: of the libraries, and a secret that no command line may show.
    let others = [
        "HTTPS_PROXY",
        "SSL_CERT_FILE",
        "RUST_LOG",
        "ROLLCALL_ENTRA_CLIENT_SECRET",
    ];
    for name in written.difference(&known) {
        assert!(
            name.starts_with(' ') || others.contains(name),
            "{name} is no setting"
        );
    }
    for line in conf.lines() {
        assert!(
            line.is_empty() || line.starts_with('#'),
            "this one is on: {line}"
        );
    }
}

#[test]
fn a_default_that_the_settings_file_shows_is_the_default() {
    let help = prints(&["serve", "--help"]);
    let conf = packaging("rollcall.conf");
    let mut compared = 0;
    for option in help.split("[env: ").skip(1) {
        let (name, rest) = option.split_once('=').unwrap();
        let Some(default) = rest
            .split("[env: ")
            .next()
            .and_then(|own| own.split_once("]\n          [default: "))
            .filter(|(before, _)| before.is_empty())
            .and_then(|(_, default)| Some(default.split_once(']')?.0))
        else {
            continue;
        };
        // The unit says where the data is.
        if name == "ROLLCALL_DATA" || name == "ROLLCALL_OUTPUT" {
            continue;
        }
        assert!(
            conf.contains(&format!("\n#{name}={default}\n")),
            "{name} is {default} by default"
        );
        compared += 1;
    }
    assert!(compared >= 6, "{compared}");
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    prints(&["man", folder.path().to_str().unwrap()]);
    let page = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(page("rollcall.1"), prints(&["man"]));
    assert!(page("rollcall-serve.1").contains("ROLLCALL_LISTEN"));
    assert!(page("rollcall-tenant-create.1").contains("tenant"));
    let commands = page("rollcall.1").matches("rollcall\\-").count();
    assert!(commands > 20, "{commands}");
    let output = rollcall(&["man", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/at/all"));
}

#[test]
fn shells_can_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = prints(&["completions", shell]);
        for word in ["tenant", "sign-in-link", "backup-every", "healthcheck"] {
            assert!(script.contains(word), "{shell} doesn't know {word}");
        }
    }
    // As a shell does it.
    let script = prints(&["completions", "bash"]);
    let ask = "COMP_WORDS=(rollcall serve --back); COMP_CWORD=2; _rollcall rollcall --back serve; echo \"${COMPREPLY[*]}\"";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("completions");
    fs::write(&file, format!("{script}\n{ask}\n")).unwrap();
    let output = Command::new("bash").arg(&file).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "--backup-dir --backup-every --backup-keep"
    );
    assert_eq!(rollcall(&["completions", "sh"]).status.code(), Some(2));
}
