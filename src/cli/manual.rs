//! `rollcall completions` and `rollcall man`: what shells and `man` know of the commands, made of their definition.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Outcome, failure};

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell; the README says where each one looks for it
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Manual {
    /// Folder to write a page for each command into, as rollcall-serve.1; without it, rollcall(1) alone is printed
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(Completions { shell }: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(
        *shell,
        &mut super::Arguments::command(),
        "rollcall",
        &mut script,
    );
    print(&script)
}

pub(super) fn man(Manual { dir }: &Manual) -> Outcome {
    // As generate_to does: help on help is no page.
    let command = super::Arguments::command().disable_help_subcommand(true);
    match dir {
        Some(dir) => clap_mangen::generate_to(command, dir)
            .map_err(|error| failure(format!("{}: {error}", dir.display()))),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            print(&page)
        }
    }
}

/// In one piece: whoever reads only the beginning, as `head` does, is no failure.
fn print(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}
