//! Backup.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;

/// `/settings/backup`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    visit.show("backup.html", "Backup", context! {})
}
