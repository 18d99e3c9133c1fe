//! What a page's form sent.

use super::request::{self, Request};

/// The fields of a form, in order (`application/x-www-form-urlencoded`).
#[derive(Clone, Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// The fields of a request's body; `None` where that is no form.
    pub(super) fn of(request: &Request) -> Option<Form> {
        if request.body.is_empty() {
            return Some(Form::default());
        }
        let text = std::str::from_utf8(&request.body).ok()?;
        request::pairs(text).map(Form)
    }

    /// The first field of this name, without white space around it; empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The same as sent: a password may begin with a space.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.fields()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }

    /// All fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
