//! Guides.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/guides`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("guides.html", "Guides", context! {})
}
