//! rollcall: single sign-on and SCIM provisioning in one executable with one SQLite file.
//!
//! An identity provider (the *client*) pushes users and groups over SCIM 2.0; rollcall (the *service
//! provider*) keeps them for a *tenant* as people, teams and roles. A request is one straight line:
//! `http → provision → (scim, store) → http`. `scim` is pure, `store` holds all SQL, `http` alone knows
//! sockets, `cli` alone reads arguments and prints. `ARCHITECTURE.md` has the map and the invariants.

pub mod access;
pub mod check;
pub mod cli;
pub mod error;
pub mod http;
pub mod id;
pub mod manage;
pub mod outgoing;
pub mod provision;
pub mod scim;
pub mod scim_client;
pub mod seal;
pub mod settings;
pub mod simulate;
pub mod sso;
pub mod store;
