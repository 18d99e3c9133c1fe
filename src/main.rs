//! The `rollcall` executable; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    rollcall::cli::run()
}
