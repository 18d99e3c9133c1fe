//! The two ways in which a request can fail, and the one `Result` of the crate.

use std::fmt;

use crate::scim::ScimError;

/// Why a request could not be served.
#[derive(Debug)]
pub enum Error {
    /// The client's fault: sent to the client word for word.
    Scim(ScimError),
    /// Our fault: logged in full; the client sees a bare 500 and the request id.
    Internal {
        /// What was being done, as in "opening the database".
        doing: &'static str,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What every fallible function outside `scim` returns.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Scim(error) => write!(f, "{error}"),
            Error::Internal { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ScimError> for Error {
    fn from(error: ScimError) -> Error {
        Error::Scim(error)
    }
}

/// Turns a foreign error into [`Error::Internal`] by naming what was being done.
pub trait Doing<T> {
    /// `doing` completes the sentence "failed while …", as in "reading a token".
    fn doing(self, doing: &'static str) -> Result<T>;
}

impl<T, E> Doing<T> for std::result::Result<T, E>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn doing(self, doing: &'static str) -> Result<T> {
        self.map_err(|source| Error::Internal {
            doing,
            source: source.into(),
        })
    }
}
