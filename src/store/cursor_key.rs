//! The key that cursors are sealed with.

use aws_lc_rs::rand;
use rusqlite::Connection;

use super::Snapshot;
use crate::error::{Doing, Result};

/// Bytes of the key.
pub const LEN: usize = 32;

/// Draws the key of a new file.
pub(super) fn make(conn: &Connection) -> Result<()> {
    let mut bits = [0; LEN];
    rand::fill(&mut bits).doing("drawing random bits")?;
    conn.execute("INSERT INTO cursor_key (id, key) VALUES (1, ?)", [bits])
        .doing("keeping the key of cursors")?;
    Ok(())
}

/// The key of this file.
pub fn get(snapshot: &Snapshot<'_>) -> Result<[u8; LEN]> {
    snapshot
        .conn
        .prepare_cached("SELECT key FROM cursor_key")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .doing("reading the key of cursors")
}
