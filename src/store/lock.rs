//! Who uses a data folder: one server at most, and nobody at all while its database is exchanged.
//!
//! Advisory locks on files beside the database, which the system releases however a process ends. SQLite's own locks
//! can't tell a server from a command, and say nothing of who is just about to open the file.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{connection, faults};
use crate::error::{Doing, Result};

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Held by `serve`.
const SERVING: &str = "serve.lock";

/// Held together by every open store.
const IN_USE: &str = "store.lock";

/// For a server: the only one of the folder, which is made where it is missing.
///
/// # Errors
///
/// Where another server has it.
pub fn serve(dir: &Path) -> Result<Lock> {
    connection::create_folder(dir)?;
    let holder = "a rollcall server uses this data folder already: stop that one first";
    exclusive(dir, SERVING, holder)
}

/// For who opens the store. Waits while the database is exchanged.
pub(super) fn share(dir: &Path) -> Result<Lock> {
    let file = open(dir, IN_USE)?;
    file.lock_shared().doing("locking the data folder")?;
    Ok(Lock { _file: file })
}

/// For who exchanges the database.
///
/// # Errors
///
/// Where anybody has the store open.
pub(super) fn alone(dir: &Path) -> Result<Lock> {
    let holder = "another rollcall command uses the database: try again once it has ended";
    exclusive(dir, IN_USE, holder)
}

fn exclusive(dir: &Path, name: &str, holder: &'static str) -> Result<Lock> {
    let file = open(dir, name)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(holder).doing("locking the data folder"),
        Err(TryLockError::Error(error)) => Err(error).doing("locking the data folder"),
    }
}

fn open(dir: &Path, name: &str) -> Result<File> {
    let path = dir.join(name);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| faults::of_file(&path, &error))
        .doing("opening a lock of the data folder")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn one_server_many_stores_and_nobody_else_during_an_exchange() {
        let dir = tempfile::tempdir().unwrap();
        let serving = serve(dir.path()).unwrap();
        assert!(serve(dir.path()).is_err());
        let (first, second) = (Store::open(dir.path()), Store::open(dir.path()));
        assert!(alone(dir.path()).is_err());
        drop((first, second, serving));
        alone(dir.path()).unwrap();
        serve(dir.path()).unwrap();
    }
}
