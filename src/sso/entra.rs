//! What Entra ID has beyond OpenID Connect: directories, and an application that several of them can agree to.

use std::fmt;

use uuid::Uuid;

use super::claims::PERSONAL;
use super::oidc;

/// In the place of an issuer, until it is known of which directory somebody is. No token is of it.
pub const ORGANIZATIONS: &str = "https://login.microsoftonline.com/organizations/v2.0";

const BEFORE: &str = "https://login.microsoftonline.com/";
const BEHIND: &str = "/v2.0";

/// An application of the operator's, registered for all directories, that administrators of tenants agree to.
#[derive(Clone)]
pub struct Application {
    /// Its application (client) ID.
    pub client_id: String,
    /// Its client secret.
    pub secret: String,
}

/// Without the secret.
impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Application({})", self.client_id)
    }
}

/// The issuer of a directory's tokens.
pub fn issuer(directory: &str) -> String {
    format!("{BEFORE}{directory}{BEHIND}")
}

/// The directory whose issuer this is.
pub fn directory_of(issuer: &str) -> Option<&str> {
    let directory = issuer.strip_prefix(BEFORE)?.strip_suffix(BEHIND)?;
    is_id(directory).then_some(directory)
}

/// Whether this is an ID as Entra ID shows them. Not the other ways to write one: with braces, or without hyphens.
pub fn is_id(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

/// A directory of an organisation's, in lower case. Personal accounts have none.
pub fn directory(text: &str) -> Option<String> {
    let id = text.to_ascii_lowercase();
    (is_id(&id) && id != PERSONAL).then_some(id)
}

/// Where an administrator of any directory agrees to an application for all its people.
pub fn consent_url(client_id: &str, redirect_uri: &str, state: &str) -> String {
    let fields = [
        ("client_id", client_id),
        ("scope", "openid profile email"),
        ("redirect_uri", redirect_uri),
        ("state", state),
    ];
    oidc::with_query(&format!("{ORGANIZATIONS}/adminconsent"), &fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b";

    #[test]
    fn a_directory_has_an_issuer_and_an_issuer_its_directory() {
        assert_eq!(directory_of(&issuer(ID)), Some(ID));
        for bad in [
            ORGANIZATIONS,
            "https://login.microsoftonline.com/common/v2.0",
            "https://login.microsoftonline.com/{tenantid}/v2.0",
            "https://login.microsoftonline.com/1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b",
            "https://evil.example/1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b/v2.0",
            "",
        ] {
            assert_eq!(directory_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_directory_is_an_id_and_not_that_of_personal_accounts() {
        assert_eq!(directory(&ID.to_uppercase()).as_deref(), Some(ID));
        for bad in [
            "",
            "common",
            "contoso.example",
            PERSONAL,
            "1f6b2a345c7d4e8f9a0b1c2d3e4f5a6b",
            "{}",
        ] {
            assert_eq!(directory(bad), None, "{bad}");
        }
    }
}
