//! Every live setting of a tenant, its default and its check. Pure: the rows are `store::settings`' business.

use crate::access::brake::{self, Limits};

/// What to do with a `roleName` that no row maps to a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnmappedRole {
    /// Keep and echo it; the user has the default role, and the value is listed as unmapped.
    #[default]
    Accept,
    /// Refuse the request: 400 `invalidValue` that names the values that are mapped.
    Reject,
}

/// What a created group is that has the `externalId` or the name of an archived team.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturningTeam {
    /// That team again: the same id, members and resources.
    #[default]
    Revive,
    /// Another team; the archived one stays where it is.
    Fresh,
}

/// A tenant's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What to do with a `roleName` that no row maps.
    pub unmapped_role: UnmappedRole,
    /// Whether archived teams come back with their group.
    pub returning_team: ReturningTeam,
    /// Days after which what was removed is purged; 0: at once.
    pub retention_days: u32,
    /// From when on removals are unusual.
    pub removals: Limits,
    /// Days after which a line of the provisioning log is removed; at least 1.
    pub log_days: u32,
    /// Whether the log keeps the bodies of what succeeded too: whole users, for who may see the settings.
    pub keep_bodies: bool,
    /// Whether people may sign in by userName and the password that a client has set, while single sign-on isn't enforced.
    pub password_sign_in: bool,
}

/// Longest retention, in days, of what was removed and of the provisioning log: ten years.
pub const RETENTION_MAX_DAYS: u32 = 3650;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            unmapped_role: UnmappedRole::default(),
            returning_team: ReturningTeam::default(),
            retention_days: 30,
            removals: brake::DEFAULT_LIMITS,
            log_days: 90,
            keep_bodies: false,
            password_sign_in: false,
        }
    }
}

impl Settings {
    /// What is wrong with them, if anything, in a sentence.
    pub fn objection(&self) -> Option<String> {
        if self.retention_days > RETENTION_MAX_DAYS {
            return Some(format!(
                "What was removed can be kept for 0 to {RETENTION_MAX_DAYS} days."
            ));
        }
        (self.removals.percent > 100)
            .then(|| "The share of removals is a percentage from 0 to 100.".to_owned())
    }
}
