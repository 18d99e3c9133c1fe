//! Provisioning log.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/log`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("log.html", "Provisioning log", context! {})
}
