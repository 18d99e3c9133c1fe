//! Roles.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/roles`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("roles.html", "Roles", context! {})
}
