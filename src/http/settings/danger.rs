//! Danger zone.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/danger`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("danger.html", "Danger zone", context! {})
}
