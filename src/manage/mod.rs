//! What operators, apps and people with access to the settings do to a tenant.
//!
//! The counterpart of `provision`, which does what a SCIM client asks. Each function here runs inside a write that its
//! caller began, writes the events of what it does, and names the one who did it: the `actor`. What it can't do it
//! refuses as a [`ScimError`](crate::scim::ScimError), whose status and sentence serve any caller.

pub mod accounts;
pub mod advice;
pub mod app_hosts;
pub mod archive;
pub mod attributes;
pub mod backups;
pub mod event_words;
pub mod linking;
pub mod log;
pub mod operator_app;
pub mod passwords;
pub mod role_rules;
pub mod roles;
pub mod sessions;
pub mod settings;
pub mod sso;
pub mod team_copies;
pub mod team_resources;
pub mod tenant_copies;
pub mod tenants;
pub mod tokens;
pub mod undo;

/// The actor of what is done by the command line.
pub const OPERATOR: &str = "operator";
