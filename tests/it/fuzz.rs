//! Each fuzz target over its seeds, so that no target is wrong about the program of today.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use targets::{bulk, connection::Servers, filter, head, patch, path, resource};

#[track_caller]
fn over_seeds(target: &str, mut run: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
    let files = fs::read_dir(folder.join(target)).unwrap();
    let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 5, "hardly any seeds of {target}");
    for file in files {
        // Where it fails, this is the file.
        println!("{}", file.display());
        run(&fs::read(file).unwrap());
    }
}

#[test]
fn nothing_is_found_in_the_seeds_of_scim() {
    over_seeds("patch", patch::run);
    over_seeds("filter", filter::run);
    over_seeds("bulk", bulk::run);
    over_seeds("resource", resource::run);
    over_seeds("path", path::run);
}

#[test]
fn nothing_is_found_in_the_seeds_of_http() {
    over_seeds("head", head::run);
    let mut servers = Servers::start();
    over_seeds("connection", |data| servers.run(data));
}
