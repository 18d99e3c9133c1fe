//! Events.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/events`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("events.html", "Events", context! {})
}
