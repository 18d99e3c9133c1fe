//! Teams.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/teams`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("teams.html", "Teams", context! {})
}
