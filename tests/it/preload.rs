//! Libraries in C that stand between the program and its system: `preload/*.c`. Each says atop what it does.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `preload/NAME.c` into `folder`; what it answers is a value for `LD_PRELOAD`.
#[track_caller]
pub fn library(name: &str, folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/preload/{name}.c"));
    let library = folder.join(format!("{name}.so"));
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-pthread", "-o"])
        .args([&library, &source])
        .status();
    assert!(compiled.expect("a C compiler").success());
    library
}
