//! What lies on the disk: permissions, the database, room, backups, tokens.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};

use super::{Examined, Finding};
use crate::cli::{existing, now};
use crate::error::Result;
use crate::store::tokens::{self, State, TokenKind};
use crate::store::{Snapshot, backup, health, passwords, removals, tenants};

/// A token or certificate that ends sooner wants attention.
pub(super) const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

const MIB: u64 = 1024 * 1024;

/// Less is a failure: SQLite can't grow its WAL.
const ROOM_NEEDED: u64 = 100 * MIB;

/// How far the clock may stand behind what was written already.
const BACKWARDS: SignedDuration = SignedDuration::from_secs(60);

/// Who can read the data folder and the keys.
pub(super) fn permissions(data: &Path, examined: &Examined) -> Vec<Finding> {
    let Ok(folder) = fs::metadata(data) else {
        let found = format!("there is no data folder {}", data.display());
        return vec![Finding::fail("data folder", found, "name it with --data")];
    };
    let key_file = match &examined.key_file {
        Some(file) => file.clone(),
        None => data.join("rollcall.key"),
    };
    let database = data.join("rollcall.db");
    let mut findings = Vec::new();
    for (path, name) in [
        (Some(data), "data folder"),
        (Some(database.as_path()), "database"),
        (Some(key_file.as_path()), "key file"),
        (examined.tls_key.as_deref(), "TLS key"),
    ] {
        let Some((path, file)) = path.and_then(|path| Some((path, fs::metadata(path).ok()?)))
        else {
            continue;
        };
        let (mode, path) = (file.permissions().mode() & 0o777, path.display());
        let closed = match name {
            // The group may list the folder, as with the Debian package's 0750: what is in there is closed by itself.
            "data folder" => 0o027,
            "TLS key" => 0o007,
            _ => 0o077,
        };
        if mode & closed != 0 {
            let right = if file.is_dir() { "700" } else { "600" };
            findings.push(Finding::fail(
                "permissions",
                format!(
                    "other accounts of the machine can use the {name}: mode {mode:03o} of {path}"
                ),
                format!("chmod {right} {path}"),
            ));
        }
        if name != "TLS key" && file.uid() != folder.uid() {
            findings.push(Finding::fail(
                "permissions",
                format!("the {name} belongs to another account than the data folder: {path}"),
                format!(
                    "chown it to the account that runs rollcall (number {})",
                    folder.uid()
                ),
            ));
        }
    }
    if findings.is_empty() {
        let found = "data and keys are closed to other accounts";
        findings.push(Finding::ok("permissions", found));
    }
    findings
}

/// The file itself, then what its tenants need to know.
pub(super) fn database(data: &Path) -> Vec<Finding> {
    let restore =
        "stop the server, keep the folder as it is, and restore a backup: rollcall restore FILE";
    if !data.join("rollcall.db").is_file() {
        let found = "there is no rollcall.db in the data folder";
        return vec![Finding::fail(
            "database",
            found,
            "name the data folder with --data",
        )];
    }
    // Else all that follows would be told of as damage.
    if let Err(error) = fs::OpenOptions::new()
        .append(true)
        .open(data.join("rollcall.db"))
    {
        let fix = "mend permissions or attributes (lsattr), or mount the disk for writing again; the kernel's log says why it no longer is";
        let found = format!("rollcall.db can't be written: {error}");
        return vec![Finding::fail("database", found, fix)];
    }
    let found = match health::check(data) {
        Ok(found) => found,
        Err(error) => return vec![Finding::fail("database", error, restore)],
    };
    let mut findings = vec![match found.faults.first() {
        Some(fault) => Finding::fail("integrity", fault, restore),
        None => Finding::ok(
            "integrity",
            format!("{} MiB, whole", found.bytes.div_ceil(MIB)),
        ),
    }];
    findings.push(match found.orphans.first() {
        Some(table) => {
            let words = format!("rows of {table} refer to something that isn't there");
            Finding::fail("foreign keys", words, restore)
        }
        None => Finding::ok(
            "foreign keys",
            "every row refers to something that is there",
        ),
    });
    findings.push(clock(found.newest, now()));
    if found.faults.is_empty() {
        let tenants = existing(data).map_err(|_| ()).and_then(|store| {
            store
                .read(|snapshot| {
                    let mut findings = vec![hashes(snapshot)?];
                    findings.extend(of_tenants(snapshot, now())?);
                    Ok(findings)
                })
                .map_err(|_| ())
        });
        findings.extend(tenants.unwrap_or_default());
    }
    findings
}

/// How passwords are kept.
fn hashes(snapshot: &Snapshot<'_>) -> Result<Finding> {
    let (accounts, people, others) = passwords::kinds(snapshot)?;
    let found = format!("{accounts} of local accounts, {people} of people");
    Ok(match others {
        0 => Finding::ok("passwords", format!("{found}, all as argon2id hashes")),
        _ => Finding::fail(
            "passwords",
            format!("{found}; {others} of them are no argon2id hashes"),
            "something else wrote into the database: set these passwords anew",
        ),
    })
}

fn clock(newest: Option<Timestamp>, now: Timestamp) -> Finding {
    match newest {
        Some(newest) if newest - BACKWARDS > now => Finding::fail(
            "clock",
            format!("it is {now:.0} here, but something was written at {newest:.0}"),
            "set the clock, and keep it right with NTP: tokens and retention go by it",
        ),
        _ => Finding::ok("clock", format!("{now:.0}, and nothing was written later")),
    }
}

/// Tokens that end, removals that wait for somebody.
fn of_tenants(snapshot: &Snapshot<'_>, now: Timestamp) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for tenant in tenants::list(snapshot)? {
        let name = &tenant.name;
        for token in tokens::list(snapshot, tenant.id)? {
            let Some(expires) = token.expires.filter(|expires| *expires < now + SOON) else {
                continue;
            };
            if token.kind != TokenKind::Scim || token.state(now) == State::Revoked {
                continue;
            }
            let found = format!(
                "the SCIM token {:?} of {name:?} ends at {expires:.0}",
                token.label
            );
            let fix = format!(
                "rollcall token create --tenant {name:?}, and put the new one into the provider"
            );
            // An old one that ended may have been replaced long ago.
            findings.push(if expires > now {
                Finding::warn("tokens", found, fix)
            } else {
                let fix = format!(
                    "if nothing uses it: rollcall token revoke --tenant {name:?} {}",
                    token.id
                );
                Finding::warn("tokens", found.replace(" ends at ", " ended at "), fix)
            });
        }
        if let Some(since) = removals::unusual_since(snapshot, tenant.id)? {
            findings.push(Finding::warn(
                "removals",
                format!("unusually many users or teams of {name:?} were removed since {since:.0}; nothing is purged"),
                format!("look with rollcall undo --tenant {name:?} --since {since:.0}"),
            ));
        }
    }
    if findings.iter().all(|one| one.check != "tokens") {
        findings.push(Finding::ok("tokens", "none ends within 14 days"));
    }
    Ok(findings)
}

/// Room on the disk, by `df`: the standard library can't tell.
pub(super) fn disk(data: &Path) -> Finding {
    let output = Command::new("df").arg("-Pk").arg(data).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let free = text.ok().and_then(|text| {
        let fields = text.lines().nth(1)?.split_whitespace();
        fields.rev().nth(2)?.parse::<u64>().ok()
    });
    let Some(free) = free.map(|kib| kib * 1024) else {
        let fix = "look by yourself: df, run on the data folder, has no answer here";
        return Finding::warn("disk", "how much is free is not known", fix);
    };
    let used = fs::metadata(data.join("rollcall.db")).map_or(0, |file| file.len());
    let found = format!("{} MiB are free", free / MIB);
    if free < ROOM_NEEDED {
        let fix = "make room: without it writes are refused with 503 until there is some";
        Finding::fail("disk", found, fix)
    } else if free < 2 * used + 1024 * MIB {
        let fix = "make room: a backup or restore takes as much again as the database";
        Finding::warn("disk", found, fix)
    } else {
        Finding::ok("disk", found)
    }
}

/// The newest one's age.
pub(super) fn backups(examined: &Examined) -> Finding {
    let Some(dir) = &examined.backup_dir else {
        let fix =
            "serve with --backup-dir DIR on another disk, or run rollcall backup FILE every day";
        return Finding::warn("backups", "no folder for them is named", fix);
    };
    let fix = "see the server's log: it says why none was made";
    let newest = match backup::list(dir) {
        Ok(all) => all.into_iter().next(),
        Err(error) => {
            return Finding::fail("backups", error, format!("make {} usable", dir.display()));
        }
    };
    let Some(newest) = newest else {
        return Finding::warn(
            "backups",
            format!("there is none in {} yet", dir.display()),
            fix,
        );
    };
    let age = now().duration_since(newest.at);
    let hours = age.as_hours();
    let found = format!("the newest is {hours} hours old: {}", newest.name);
    if age.unsigned_abs() > 2 * examined.backup_every {
        Finding::fail("backups", found, fix)
    } else {
        Finding::ok("backups", found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::State as Is;
    use super::*;

    #[test]
    fn a_clock_that_stands_behind_what_was_written_is_wrong() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let second = SignedDuration::from_secs(1);
        for (newest, state) in [
            (None, Is::Ok),
            (Some(now - second), Is::Ok),
            (Some(now + second * 59), Is::Ok),
            (Some(now + second * 61), Is::Fail),
        ] {
            assert_eq!(clock(newest, now).state, state, "{newest:?}");
        }
    }
}
