//! Overview: what is connected, and what wants attention.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("overview.html", "Overview", context! {})
}
