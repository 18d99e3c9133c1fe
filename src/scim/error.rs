//! Refusals, in the words of RFC 7644 §3.12.

use std::fmt;

use serde_json::{Value, json};

/// The URN of an error body (RFC 7644 §3.12).
const ERROR_URN: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The detail error keywords of RFC 7644 §3.12, table 9, and of RFC 9865 §2.1, table 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimType {
    /// The filter's syntax, an attribute in it or its operator is wrong.
    InvalidFilter,
    /// The filter yields more results than the server is willing to calculate.
    TooMany,
    /// A value is taken already.
    Uniqueness,
    /// A readOnly or immutable attribute would change.
    Mutability,
    /// The body's structure is wrong.
    InvalidSyntax,
    /// A PATCH path is wrong.
    InvalidPath,
    /// A PATCH path selects nothing.
    NoTarget,
    /// A value is missing or doesn't fit its attribute.
    InvalidValue,
    /// The protocol version isn't supported.
    InvalidVers,
    /// A request carries sensitive information in its URI.
    Sensitive,
    /// A cursor isn't one that this search gave.
    InvalidCursor,
    /// A cursor was kept for too long.
    ExpiredCursor,
    /// A page's size is no number, too big or another than that of the page before.
    InvalidCount,
}

impl ScimType {
    /// The keyword as it stands in the body.
    pub fn as_str(self) -> &'static str {
        match self {
            ScimType::InvalidFilter => "invalidFilter",
            ScimType::TooMany => "tooMany",
            ScimType::Uniqueness => "uniqueness",
            ScimType::Mutability => "mutability",
            ScimType::InvalidSyntax => "invalidSyntax",
            ScimType::InvalidPath => "invalidPath",
            ScimType::NoTarget => "noTarget",
            ScimType::InvalidValue => "invalidValue",
            ScimType::InvalidVers => "invalidVers",
            ScimType::Sensitive => "sensitive",
            ScimType::InvalidCursor => "invalidCursor",
            ScimType::ExpiredCursor => "expiredCursor",
            ScimType::InvalidCount => "invalidCount",
        }
    }
}

/// A refusal the client can act on, in the words of RFC 7644 §3.12.
///
/// The fields are private so that a status and a `scimType` can only be paired
/// the way the RFC pairs them: build one with the constructors below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimError {
    status: u16,
    scim_type: Option<ScimType>,
    detail: String,
    retry_after: Option<u64>,
}

impl ScimError {
    fn new(status: u16, scim_type: Option<ScimType>, detail: impl Into<String>) -> ScimError {
        ScimError {
            status,
            scim_type,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// 400 `invalidFilter`.
    pub fn invalid_filter(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::InvalidFilter), detail)
    }

    /// 400 `tooMany`.
    pub fn too_many(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::TooMany), detail)
    }

    /// 409 `uniqueness`.
    pub fn uniqueness(detail: impl Into<String>) -> ScimError {
        ScimError::new(409, Some(ScimType::Uniqueness), detail)
    }

    /// 400 `mutability`.
    pub fn mutability(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::Mutability), detail)
    }

    /// 400 `invalidSyntax`.
    pub fn invalid_syntax(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::InvalidSyntax), detail)
    }

    /// 400 `invalidPath`.
    pub fn invalid_path(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::InvalidPath), detail)
    }

    /// 400 `noTarget`.
    pub fn no_target(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::NoTarget), detail)
    }

    /// 400 `invalidVers` (RFC 7644 §3.13).
    pub fn invalid_version(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::InvalidVers), detail)
    }

    /// 400 `invalidCursor` (RFC 9865 §2.1).
    pub fn invalid_cursor(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::InvalidCursor), detail)
    }

    /// 400 `expiredCursor` (RFC 9865 §2.1).
    pub fn expired_cursor(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::ExpiredCursor), detail)
    }

    /// 400 `invalidCount` (RFC 9865 §2.1).
    pub fn invalid_count(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::InvalidCount), detail)
    }

    /// 400 `invalidValue`.
    pub fn invalid_value(detail: impl Into<String>) -> ScimError {
        ScimError::new(400, Some(ScimType::InvalidValue), detail)
    }

    /// 401, for a missing, unknown, expired or revoked token (RFC 7644 §2).
    pub fn unauthorized(detail: impl Into<String>) -> ScimError {
        ScimError::new(401, None, detail)
    }

    /// 403, for what is never permitted, as a filter on a discovery endpoint (RFC 7644 §4).
    pub fn forbidden(detail: impl Into<String>) -> ScimError {
        ScimError::new(403, None, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> ScimError {
        ScimError::new(404, None, detail)
    }

    /// 405; the caller adds `Allow`.
    pub fn method_not_allowed(detail: impl Into<String>) -> ScimError {
        ScimError::new(405, None, detail)
    }

    /// 408, for a body that came too slowly.
    pub fn request_timeout(detail: impl Into<String>) -> ScimError {
        ScimError::new(408, None, detail)
    }

    /// 409 without a keyword, for a bulk operation that refers to what isn't there (RFC 7644 §3.7.1).
    pub fn conflict(detail: impl Into<String>) -> ScimError {
        ScimError::new(409, None, detail)
    }

    /// 412, for an `If-Match` that names another version (RFC 7644 §3.14).
    pub fn precondition_failed(detail: impl Into<String>) -> ScimError {
        ScimError::new(412, None, detail)
    }

    /// 413, for a body over the limit.
    pub fn payload_too_large(detail: impl Into<String>) -> ScimError {
        ScimError::new(413, None, detail)
    }

    /// 415, for a body of another media type than RFC 7644 §3.1 allows.
    pub fn unsupported_media_type(detail: impl Into<String>) -> ScimError {
        ScimError::new(415, None, detail)
    }

    /// 429, for who asks too often; in so many seconds it may ask again.
    pub fn too_many_requests(detail: impl Into<String>, seconds: u64) -> ScimError {
        ScimError {
            retry_after: Some(seconds.max(1)),
            ..ScimError::new(429, None, detail)
        }
    }

    /// 500; the detail names the request id and nothing of what went wrong.
    pub fn internal(detail: impl Into<String>) -> ScimError {
        ScimError::new(500, None, detail)
    }

    /// 501, for what the ServiceProviderConfig says is not supported.
    pub fn not_implemented(detail: impl Into<String>) -> ScimError {
        ScimError::new(501, None, detail)
    }

    /// 503, for what can't be done at the moment; in so many seconds it is worth another try.
    pub fn unavailable(detail: impl Into<String>, seconds: u64) -> ScimError {
        ScimError {
            retry_after: Some(seconds.max(1)),
            ..ScimError::new(503, None, detail)
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The keyword, where RFC 7644 has one.
    pub fn scim_type(&self) -> Option<ScimType> {
        self.scim_type
    }

    /// One sentence: what was found, where, what was expected.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// After how many seconds to try again, where that helps.
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// The same refusal with `place` in front of its detail, as in "operation 3: …".
    pub fn at(self, place: impl fmt::Display) -> ScimError {
        ScimError {
            detail: format!("{place}: {}", self.detail),
            ..self
        }
    }

    /// The error body (RFC 7644 §3.12); `status` is a string there.
    pub fn to_json(&self) -> Value {
        let mut body = json!({
            "schemas": [ERROR_URN],
            "status": self.status.to_string(),
            "detail": self.detail,
        });
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = scim_type.as_str().into();
        }
        body
    }
}

impl fmt::Display for ScimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scim_type {
            Some(scim_type) => write!(f, "{} {}: {}", self.status, scim_type.as_str(), self.detail),
            None => write!(f, "{}: {}", self.status, self.detail),
        }
    }
}

impl std::error::Error for ScimError {}
