//! The one integration-test binary: everything that needs the running program or the whole tree.
//!
//! A new case is a line in a file under `tests/data/` before it is a function here.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod support; // the running binary, and a raw HTTP client

mod connections; // the connection loop in this process: short deadlines, and what a test must cause by itself
mod filters; // what filters mean: data/filters.txt over data/people.json
mod hazards; // what brought down the server that we do without, row by row (ARCHITECTURE.md)
mod patches; // what PATCH does: data/patch/*.json
mod rfc; // the RFC's own figures: data/rfc/*.json
mod tidy; // the shape of the tree: arrows, sizes, names
