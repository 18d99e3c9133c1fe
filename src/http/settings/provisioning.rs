//! Provisioning.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/provisioning`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("provisioning.html", "Provisioning", context! {})
}
