//! Undo.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/undo`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("undo.html", "Undo", context! {})
}
