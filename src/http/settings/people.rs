//! People.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/people`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("people.html", "People", context! {})
}
