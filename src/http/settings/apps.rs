//! Tokens for apps.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/apps`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("apps.html", "Tokens for apps", context! {})
}
