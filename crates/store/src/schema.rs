//! The tables, and the steps that lead from any older database to the newest one.

use crate::failure;
use agentkernel_model::{Error, Kind, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;

/// One step per version, oldest first. Steps only add: an older binary that meets a newer database refuses it, and a
/// newer one never has to guess what an older one left.
const STEPS: [&str; 1] = ["
    CREATE TABLE sandboxes (
        id          TEXT PRIMARY KEY,
        name        TEXT NOT NULL UNIQUE,
        backend     TEXT NOT NULL,
        -- JSON of model::SandboxSpec.
        spec        TEXT NOT NULL,
        -- Opaque text of the engine: what it needs beside the spec to start the sandbox again.
        context     TEXT,
        -- Opaque text of the backend; NULL until it has created the sandbox.
        state       TEXT,
        -- JSON object.
        labels      TEXT NOT NULL,
        description TEXT,
        -- JSON array: default limits that are not enforced.
        unenforced  TEXT NOT NULL,
        -- Milliseconds since 1970-01-01 UTC.
        created_at  INTEGER NOT NULL,
        ttl_seconds INTEGER,
        expires_at  INTEGER,
        -- 'create' or 'remove' while that is under way or was interrupted, and who began it.
        intent      TEXT CHECK (intent IN ('create', 'remove')),
        intent_by   TEXT,
        -- A cache: the keeper's lock is the truth.
        status      TEXT NOT NULL CHECK (status IN ('running', 'stopped')),
        reason      TEXT,
        -- The boot in which it was last started.
        boot_id     TEXT,
        -- JSON array of the ports that are really listened on.
        ports       TEXT NOT NULL
    ) STRICT;
"];

/// The version that this binary writes, as SQLite's `user_version`.
pub(crate) const CURRENT: usize = STEPS.len();

/// The version of an open database; 0 for an empty one.
///
/// # Errors
/// [`Kind::Conflict`] when it was written by a newer binary.
pub(crate) fn check(conn: &Connection, path: &Path) -> Result<usize> {
    let found: i64 = conn
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|e| failure::database("read the version", path, e))?;
    match usize::try_from(found) {
        Ok(version) if version <= CURRENT => Ok(version),
        _ => Err(Error::new(
            Kind::Conflict,
            format!(
                "the database '{}' was written by a newer agentkernel (version {found}, known {CURRENT})",
                path.display()
            ),
        )
        .with_hint("update agentkernel, or point it at another data directory")),
    }
}

/// Brings the database up to [`CURRENT`]. Processes that do this at once wait for each other.
pub(crate) fn migrate(conn: &mut Connection, path: &Path) -> Result<()> {
    if check(conn, path)? == CURRENT {
        return Ok(());
    }
    let failed = |e| failure::database("update the tables", path, e);
    // A property of the file: set once, before the first transaction.
    conn.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    let tx = Transaction::new(conn, TransactionBehavior::Immediate).map_err(failed)?;
    for step in &STEPS[check(&tx, path)?..] {
        tx.execute_batch(step).map_err(failed)?;
    }
    tx.pragma_update(None, "user_version", CURRENT).map_err(failed)?;
    tx.commit().map_err(failed)
}
