//! Signing in by OpenID Connect, as the relying party (OpenID Connect Core 1.0), and the pretend provider of `serve --dev`.
//!
//! What is sent, and whether what comes back may be believed, are functions of their arguments; [`fetch`] alone talks to
//! providers. Nothing here knows tenants, people, pages or the database: who a subject is, is decided in `manage`.

pub mod claims;
pub mod entra;
pub mod fetch;
pub mod oidc;
pub mod pretend;
pub mod words;
