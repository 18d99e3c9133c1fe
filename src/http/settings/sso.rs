//! Single Sign-On Settings.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/sso`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("sso.html", "Single Sign-On Settings", context! {})
}
