//! What a provider's own error means to the person in front of it, and what to do.

/// Entra ID's error numbers that people meet, and what to say.
const AADSTS: &[(u32, &str)] = &[
    (
        65004,
        "You did not agree to the permissions. Sign in again and accept them.",
    ),
    (
        65001,
        "An administrator of the directory has to agree to the permissions first: in the application, API permissions, Grant admin consent.",
    ),
    (
        90094,
        "An administrator of the directory has to agree to the permissions first: in the application, API permissions, Grant admin consent.",
    ),
    (
        50105,
        "You are not assigned to the application. Ask an administrator to add you to it in Entra ID: Enterprise applications, Users and groups.",
    ),
    (
        50020,
        "This account is of another directory. Sign in with the one of your organisation, or ask to be invited as a guest.",
    ),
    (
        16000,
        "This account is of another directory. Sign in with the one of your organisation, or ask to be invited as a guest.",
    ),
    (
        50034,
        "There is no such account in the directory. Sign in with the one of your organisation.",
    ),
    (
        50011,
        "The redirect URI is not registered. An administrator has to add it to the application exactly as Single Sign-On Settings shows it.",
    ),
    (
        700016,
        "There is no such application in the directory. An administrator has to check the directory ID and the client ID.",
    ),
    (
        500011,
        "There is no such application in the directory. An administrator has to check the directory ID and the client ID.",
    ),
    (
        7000215,
        "The client secret is wrong. An administrator has to enter its Value, which is not the Secret ID.",
    ),
    (
        7000222,
        "The client secret has expired. An administrator has to make a new one and enter it in Single Sign-On Settings.",
    ),
    (54005, "This sign-in was used already. Sign in again."),
    (70008, "This sign-in has expired. Sign in again."),
    (
        53003,
        "A Conditional Access policy of your organisation forbids this sign-in. Ask its administrators which one.",
    ),
    (50057, "This account is disabled in the directory."),
    (
        500208,
        "This is a personal account. Sign in with the one of your organisation.",
    ),
    (
        50058,
        "Your session at the provider has ended. Sign in again.",
    ),
    (
        50074,
        "The provider wants another factor. Sign in again and confirm it.",
    ),
    (
        50076,
        "The provider wants another factor. Sign in again and confirm it.",
    ),
    (
        50079,
        "The provider wants another factor to be set up. Sign in again and follow it.",
    ),
    (
        50072,
        "The provider wants another factor to be set up. Sign in again and follow it.",
    ),
];

/// What OAuth's and OpenID Connect's own codes mean (RFC 6749 §4.1.2.1 and §5.2, OpenID Connect Core 1.0 §3.1.2.6).
const CODES: &[(&str, &str)] = &[
    (
        "access_denied",
        "The provider did not let you in, or you stopped. Sign in again, or ask an administrator for access to the application.",
    ),
    (
        "consent_required",
        "An administrator has to agree to the permissions at the provider first.",
    ),
    (
        "interaction_required",
        "The provider has a question to you. Sign in again.",
    ),
    (
        "login_required",
        "Your session at the provider has ended. Sign in again.",
    ),
    (
        "temporarily_unavailable",
        "The provider is busy. Try again in a minute.",
    ),
    (
        "server_error",
        "The provider has a fault. Try again in a minute.",
    ),
    (
        "invalid_client",
        "The provider does not accept the client ID and secret. An administrator has to enter them anew in Single Sign-On Settings.",
    ),
    (
        "unauthorized_client",
        "The provider does not let this application sign people in. An administrator has to allow the authorization code flow there.",
    ),
    (
        "invalid_grant",
        "This sign-in has expired or was used already. Sign in again.",
    ),
    (
        "invalid_scope",
        "The provider does not know what was asked for. An administrator has to allow openid, profile and email there.",
    ),
];

/// A sentence or two about a provider's error.
pub fn meaning(code: &str, description: &str) -> String {
    let number = aadsts(description);
    let known = AADSTS.iter().find(|(known, _)| Some(*known) == number);
    if let Some((number, words)) = known {
        return format!("{words} (AADSTS{number})");
    }
    if let Some(number) = number.filter(|number| (53000..54000).contains(number)) {
        return format!(
            "A policy of your organisation forbids this sign-in. Ask its administrators. (AADSTS{number})"
        );
    }
    let words = CODES.iter().find(|(known, _)| *known == code);
    let words = words.map_or(
        "The provider refused. Sign in again; if that stays so, an administrator finds more in the provider’s own log.",
        |(_, words)| words,
    );
    match number {
        Some(number) => format!("{words} (AADSTS{number})"),
        None => words.to_owned(),
    }
}

/// The number behind AADSTS.
fn aadsts(description: &str) -> Option<u32> {
    let (_, rest) = description.split_once("AADSTS")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::meaning;

    #[test]
    fn errors_are_told_by_number_else_by_code() {
        let told = meaning("access_denied", "AADSTS65004: User declined to consent");
        assert!(told.starts_with("You did not agree") && told.ends_with("(AADSTS65004)"));
        assert!(meaning("invalid_client", "AADSTS7000222: expired").contains("has expired"));
        assert!(meaning("access_denied", "AADSTS530004: x").starts_with("The provider did not"));
        assert!(meaning("x", "AADSTS53001: x").starts_with("A policy of your organisation"));
        assert!(meaning("server_error", "").starts_with("The provider has a fault"));
        assert!(meaning("x", "AADSTS").starts_with("The provider refused"));
        assert!(!meaning("x", "<b>AADSTS1").contains('<'));
    }
}
