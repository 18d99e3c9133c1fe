//! What to do about a refusal, said for an administrator: the provisioning log's detail says what was wrong.

/// The remedy for a refused SCIM request, by the status and `scimType` of its answer; one or two sentences.
pub fn remedy(status: u16, scim_type: Option<&str>) -> &'static str {
    match (status, scim_type) {
        (400, Some("invalidFilter")) => {
            "Check the matching attributes in the provider’s mapping: userName, externalId and \
             emails[type eq \"work\"].value for users, displayName and externalId for groups."
        }
        (400, Some("invalidPath" | "noTarget")) => {
            "Compare the target attributes in the provider’s mapping with the table under Provisioning, and correct the \
             one that is named here."
        }
        (400, Some("mutability")) => {
            "Take this attribute out of the provider’s mapping: rollcall sets it by itself."
        }
        (400, Some("invalidValue")) => {
            "Correct the value at the provider, or the mapping that makes it; then provision this one again (in Entra: \
             Provision on demand)."
        }
        (400, Some("expiredCursor")) => {
            "Let the client begin its search anew: it waited too long between two pages."
        }
        (400, Some("invalidCursor" | "invalidCount")) => {
            "Let the client repeat its search as it was for every page, with the cursor as it came."
        }
        (400, Some("tooMany")) => "Let the provider ask for less at once.",
        (400, Some("invalidSyntax")) => {
            "Check that the provider speaks SCIM 2.0 to the Tenant URL; if it does, the request in the log shows what \
             rollcall could not read."
        }
        (401, _) => {
            "Make a new token under Provisioning, put it into the provider as Secret Token, and test the connection \
             there."
        }
        (403, _) => "Let the provider leave this out: it may not be asked or changed.",
        (404, _) => {
            "If it was removed here and the provider still has it, let the provider look everybody up anew (in Entra: \
             Restart provisioning). Else check that the Tenant URL ends in /scim/v2."
        }
        (408, _) => {
            "Check the network and the proxies between the provider and rollcall: the request came too slowly."
        }
        (409, _) => {
            "Two at the provider share a name or an externalId, or it was created twice: make them differ at the \
             provider, or remove the other one, and provision it again."
        }
        (412, _) => "Nothing: it was changed meanwhile, and the provider reads it again by itself.",
        (413, _) => "Let the provider send less at once, or have the operator raise --max-body.",
        (415, _) => "Set the provider to send application/scim+json or application/json.",
        (405 | 501, _) => "Switch this feature off at the provider: rollcall does not offer it.",
        (503, _) => {
            "If provisioning is paused, resume it under Provisioning; the provider then asks again by itself."
        }
        (500.., _) => {
            "This is a fault of rollcall. The server’s own log has the reason under the same request id; the provider \
             tries again by itself."
        }
        _ => {
            "Look at the request in the provisioning log, and correct the mapping at the provider."
        }
    }
}
