//! RFC 7643 and RFC 7644 as functions of their arguments.
//!
//! Nothing here opens a file or a socket, reads a clock or knows a tenant: JSON and schema go in, JSON or a
//! [`ScimError`] comes out. What is read from a client passes through [`dialect`] first, which forgives what
//! Entra, Okta and others are known to send; everything behind it is strict.

pub mod bulk;
pub mod date_time;
pub mod declare;
pub mod dialect;
pub mod discovery;
mod error;
pub mod filter;
pub mod member;
pub mod message;
pub mod password;
pub mod patch;
pub mod path;
pub mod project;
pub mod representation;
pub mod resource;
pub mod schema;
pub mod stored;
pub mod validate;

pub use error::{ScimError, ScimType};
