//! What the machine can't do at the moment, in words for who asks and for who can mend it.
//!
//! A full disk is neither the client's fault nor ours: the client hears that nothing was changed and when to try again
//! (503), and everything goes on by itself once there is room.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::backup;
use crate::error::{Error, Result};
use crate::scim::ScimError;

/// When another try is worth it.
const RETRY_SECS: u64 = 60;

/// The same error, or a refusal in words where the machine is at fault; the error itself is then logged.
pub(super) fn in_words(error: Error) -> Error {
    match of_sqlite(&error)
        .and_then(rusqlite::Error::sqlite_error_code)
        .and_then(words)
    {
        Some(words) => {
            log::error!("{error}");
            ScimError::unavailable(words, RETRY_SECS).into()
        }
        None => error,
    }
}

/// What SQLite or its crate failed with, where that is behind an error.
pub(super) fn of_sqlite(error: &Error) -> Option<&rusqlite::Error> {
    match error {
        Error::Internal { source, .. } => source.downcast_ref(),
        Error::Scim(_) => None,
    }
}

/// What has to be mended where opening fails.
const WRITABLE: &str =
    "the data folder and all that is in it have to be writable for the account that runs rollcall";

/// What the system says of a file of the data folder, with its path, and with what to do where that is known.
pub(super) fn of_file(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            format!("{path}: {error}: {WRITABLE}")
        }
        _ => format!("{path}: {error}"),
    }
}

/// The same error, with what to do where SQLite could not make the files that it needs beside a database.
pub(super) fn at_start(error: Error, dir: &Path) -> Error {
    match error {
        Error::Internal { doing, source } if is_about_writing(source.as_ref()) => Error::Internal {
            doing,
            source: format!("{}: {source}: {WRITABLE}", dir.display()).into(),
        },
        other => other,
    }
}

fn is_about_writing(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let code = source
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    matches!(
        code,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied)
    )
}

fn words(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::DiskFull => {
            "the disk of the server is full, so nothing was changed: its operator has to make room"
        }
        ErrorCode::SystemIoFailure => {
            "the disk of the server can't be read or written, so nothing was changed: its log has the reason"
        }
        ErrorCode::ReadOnly => {
            "the database can't be written, so nothing was changed: its operator has to mend the permissions or the disk"
        }
        ErrorCode::CannotOpen => {
            "the server can't open its database at the moment: its log has the reason"
        }
        ErrorCode::DatabaseBusy => {
            "another program holds the database, so nothing was changed: try again"
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            "the database is damaged: its operator has to stop the server and restore a backup; `rollcall doctor` says more"
        }
        _ => return None,
    })
}

/// Which file a path led to. Who removes or replaces a database under a server makes it write where nobody will ever look.
#[derive(Debug)]
pub(super) struct Anchor {
    path: PathBuf,
    number: Option<(u64, u64)>,
}

impl Anchor {
    /// The file that is there now.
    pub(super) fn of(path: &Path) -> Anchor {
        Anchor {
            path: path.to_owned(),
            number: number(path),
        }
    }

    /// What the system says to writing beside it, if it refuses; SQLite knows no more than that it failed. The WAL is
    /// opened and not the file itself: to close that one releases the locks that SQLite has on it (fcntl(2)).
    pub(super) fn refusal(&self) -> Option<String> {
        let wal = backup::companion(&self.path, "-wal");
        let refused = OpenOptions::new().append(true).open(&wal).err()?;
        (refused.kind() != ErrorKind::NotFound).then(|| of_file(&wal, &refused))
    }

    /// Whether it still is that one.
    ///
    /// # Errors
    ///
    /// 503 where it isn't.
    pub(super) fn holds(&self) -> Result<()> {
        if self.number.is_none() || number(&self.path) == self.number {
            return Ok(());
        }
        let words = "the database was removed or replaced under the server, so nothing was changed: \
                     its operator has to stop the server, put the right file in place and start it again";
        log::error!("{}: {words}", self.path.display());
        Err(ScimError::unavailable(words, RETRY_SECS).into())
    }
}

fn number(path: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}
