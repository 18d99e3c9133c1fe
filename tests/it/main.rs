//! The one integration-test binary: everything that needs the running program or the whole tree.
//!
//! A new case is a line in a file under `tests/data/` before it is a function here.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod filters; // what filters mean: data/filters.txt over data/people.json
mod patches; // what PATCH does: data/patch/*.json
mod rfc; // the RFC's own figures: data/rfc/*.json
mod tidy; // the shape of the tree: arrows, sizes, names
