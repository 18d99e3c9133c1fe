//! A data folder with so many users, filled over the API once; each run works on a copy.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tempfile::TempDir;

use crate::Result;
use crate::driver::{Budget, Connection, Target, drive};
use crate::options::{MOST_CONNECTIONS, Options};
use crate::server::{Server, run};
use crate::{people, report};

/// The tenant that has everything.
pub const TENANT: &str = "bench";

/// Members in one PATCH while filling.
const MEMBERS_AT_ONCE: usize = 1000;

/// A filled folder and what is known of it.
pub struct Directory {
    folder: TempDir,
    pub token: String,
    pub api_token: String,
    /// Ids of all users, the n-th one's at n.
    pub ids: Arc<Vec<String>>,
    /// Size and id of each group.
    pub groups: Vec<(usize, String)>,
    /// Bytes of the answer to a GET of a user.
    pub answer_bytes: usize,
    /// The number of the next user that isn't there yet.
    next: AtomicU64,
    /// Of the last full page of all users, once a run has walked there: the copies of one directory have the same.
    pub cursor: Arc<OnceLock<String>>,
}

impl Directory {
    /// An empty one.
    pub fn empty() -> Result<Directory> {
        let folder = scratch()?;
        run(folder.path(), &["tenant", "create", TENANT])?;
        let token = ["token", "create", "--tenant", TENANT];
        Ok(Directory {
            token: run(folder.path(), &token)?,
            api_token: run(folder.path(), &[&token[..], &["--api"]].concat())?,
            folder,
            ids: Arc::default(),
            groups: Vec::new(),
            answer_bytes: 0,
            next: AtomicU64::new(0),
            cursor: Arc::default(),
        })
    }

    /// Fills one.
    pub fn fill(users: usize) -> Result<Directory> {
        eprintln!("filling: {} users", report::grouped(users as f64));
        let mut directory = Directory::empty()?;
        let (server, _) = directory.serve()?;
        let target = Target::new(server.address, &directory.token);
        let created: Vec<OnceLock<String>> = (0..users).map(|_| OnceLock::new()).collect();
        let sample = drive(
            &target,
            MOST_CONNECTIONS,
            Budget::steps(users),
            |connection, number| {
                let body = connection.send("POST", "/scim/v2/Users", &people::user(number))?;
                // Each number is given out once.
                let _ = created[number as usize].set(people::id_of(body)?);
                Ok(())
            },
        )?;
        let ids: Vec<String> = created
            .into_iter()
            .map(|id| id.into_inner().ok_or("a user was not created"))
            .collect::<std::result::Result<_, _>>()?;
        let mut connection = Connection::open(&target)?;
        for size in Options::groups(users) {
            directory
                .groups
                .push((size, fill_group(&mut connection, &ids[..size])?));
        }
        let first = ids.first().ok_or("--users must be at least 1")?;
        directory.answer_bytes = connection.get(&format!("/scim/v2/Users/{first}"))?.len();
        drop(connection);
        server.stop()?;
        directory.next = AtomicU64::new(users as u64);
        directory.ids = Arc::new(ids);
        eprintln!(
            "filled: {} users a second",
            report::grouped(sample.per_second())
        );
        Ok(directory)
    }

    /// Another folder with the same content, on disk: else the first checkpoint of the server would wait until the system
    /// has written all of the copy.
    pub fn copied(&self) -> Result<Directory> {
        let folder = scratch()?;
        for entry in fs::read_dir(self.folder.path())? {
            let entry = entry?;
            let copy = folder.path().join(entry.file_name());
            fs::copy(entry.path(), &copy)?;
            File::open(copy)?.sync_all()?;
        }
        Ok(Directory {
            folder,
            token: self.token.clone(),
            api_token: self.api_token.clone(),
            ids: Arc::clone(&self.ids),
            groups: self.groups.clone(),
            answer_bytes: self.answer_bytes,
            next: AtomicU64::new(self.next.load(Ordering::Relaxed)),
            cursor: Arc::clone(&self.cursor),
        })
    }

    /// Starts a server on it; also how long it took to listen.
    pub fn serve(&self) -> Result<(Server, Duration)> {
        Server::start(self.folder.path())
    }

    /// The database's file.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("rollcall.db")
    }

    /// Its size.
    pub fn database_mib(&self) -> Result<f64> {
        Ok(fs::metadata(self.database())?.len() as f64 / 1024.0 / 1024.0)
    }

    /// The number of a user that isn't there yet.
    pub fn newcomer(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The id of some user: another one for each number, and never its neighbour.
    pub fn somebody(&self, number: u64) -> &str {
        &self.ids[self.someone(number) as usize]
    }

    /// The number of that user.
    pub fn someone(&self, number: u64) -> u64 {
        people::scrambled(number) % self.ids.len() as u64
    }
}

/// Beside the program, and not in a folder for temporary files, which often is memory: there a commit costs nothing.
pub fn scratch() -> Result<TempDir> {
    Ok(TempDir::with_prefix_in(
        "bench-",
        env!("CARGO_TARGET_TMPDIR"),
    )?)
}

fn fill_group(connection: &mut Connection<'_>, members: &[String]) -> Result<String> {
    let group = people::group(&format!("group of {}", members.len()));
    let id = people::id_of(connection.send("POST", "/scim/v2/Groups", &group)?)?;
    for some in members.chunks(MEMBERS_AT_ONCE) {
        let patch = people::add_members(some.iter().map(String::as_str));
        connection.send("PATCH", &format!("/scim/v2/Groups/{id}"), &patch)?;
    }
    Ok(id)
}
