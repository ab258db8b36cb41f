//! Changing records: every change is one immediate transaction.

use crate::{
    failure,
    reader::Reader,
    record::{NewRecord, Record, Stopped},
    schema,
};
use agentkernel_model::{
    Error, Kind, Result,
    id::SandboxId,
    name::{Label, SandboxName},
    port::PublishedPort,
    spec::SandboxSpec,
};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};
use serde::Serialize;
use std::{collections::BTreeMap, fs, io, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(10);

/// A connection that reads and writes.
#[derive(Debug)]
pub struct Writer {
    reader: Reader,
}

/// What a keeper writes down when its sandbox is up.
#[derive(Debug, Clone, Copy)]
pub struct Started<'a> {
    pub state: &'a str,
    pub boot_id: Option<&'a str>,
    pub ports: &'a [PublishedPort],
}

impl Writer {
    /// The database at `path`, made (0600) and brought up to date when it has to be. Its directory must exist.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for a database of a newer version, [`Kind::Exhausted`] when the disk is full.
    pub fn open(path: &Path) -> Result<Self> {
        // SQLite would make it with the caller's umask; its companions take over the mode of the database itself.
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io(format!("cannot create the database '{}'", path.display()), e)),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let conn = Connection::open_with_flags(path, flags)?;
            conn.busy_timeout(BUSY)?;
            conn.pragma_update(None, "foreign_keys", true)?;
            // In WAL mode this survives the death of any process, and the power going costs at most the last changes.
            conn.pragma_update(None, "synchronous", "normal")?;
            Ok(conn)
        };
        let mut conn = open().map_err(|e| failure::database("open the records", path, e))?;
        schema::migrate(&mut conn, path)?;
        Ok(Self { reader: Reader { conn, path: path.to_owned() } })
    }

    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Writes down that `new` is about to be created.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] when the name is taken.
    pub fn insert_intent(&mut self, new: &NewRecord<'_>) -> Result<()> {
        let ttl = new.ttl.map(|ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
        let expires_at = new
            .ttl
            .map(|ttl| new.created_at.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)));
        let sql = "INSERT INTO sandboxes (id, name, backend, spec, context, labels, description, unenforced, created_at, \
                   ttl_seconds, expires_at, intent, intent_by, status, ports) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'create', ?12, 'stopped', '[]')";
        let spec = encode(new.spec)?;
        let labels = encode(&by_key(new.labels))?;
        let unenforced = encode(&new.unenforced)?;
        let inserted = self.write(|tx| {
            tx.execute(
                sql,
                params![
                    new.id.to_string(),
                    new.name.as_str(),
                    new.backend.as_str(),
                    spec,
                    new.context,
                    labels,
                    new.description,
                    unenforced,
                    new.created_at,
                    ttl,
                    expires_at,
                    new.by,
                ],
            )
        });
        match inserted {
            Ok(_) => Ok(()),
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Err(taken(new.name)),
            Err(e) => Err(failure::database("write a record", &self.reader.path, e)),
        }
    }

    /// The backend has created it: the intent is done.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the record is gone.
    pub fn complete(&mut self, id: SandboxId, state: &str) -> Result<()> {
        let sql = "UPDATE sandboxes SET state = ?2, intent = NULL, intent_by = NULL WHERE id = ?1";
        self.update(sql, params![id.to_string(), state])
    }

    /// It runs.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the record is gone.
    pub fn set_running(&mut self, id: SandboxId, started: Started<'_>) -> Result<()> {
        let sql = "UPDATE sandboxes SET status = 'running', reason = NULL, state = ?2, boot_id = ?3, ports = ?4 \
                   WHERE id = ?1";
        let ports = encode(&started.ports)?;
        self.update(sql, params![id.to_string(), started.state, started.boot_id, ports])
    }

    /// From now on it is made from `spec`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the record is gone.
    pub fn set_spec(&mut self, id: SandboxId, spec: &SandboxSpec) -> Result<()> {
        let spec = encode(spec)?;
        self.update("UPDATE sandboxes SET spec = ?2 WHERE id = ?1", params![id.to_string(), spec])
    }

    /// From now on it has these labels and no others.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the record is gone.
    pub fn set_labels(&mut self, id: SandboxId, labels: &[Label]) -> Result<()> {
        let labels = encode(&by_key(labels))?;
        self.update("UPDATE sandboxes SET labels = ?2 WHERE id = ?1", params![id.to_string(), labels])
    }

    /// From now on this is said of it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the record is gone.
    pub fn set_description(&mut self, id: SandboxId, description: Option<&str>) -> Result<()> {
        self.update(
            "UPDATE sandboxes SET description = ?2 WHERE id = ?1",
            params![id.to_string(), description],
        )
    }

    /// From now on it expires at `at`, in milliseconds since 1970-01-01 UTC, which is `ttl` after it was created.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the record is gone.
    pub fn set_expiry(&mut self, id: SandboxId, at: i64, ttl: Duration) -> Result<()> {
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let sql = "UPDATE sandboxes SET expires_at = ?2, ttl_seconds = ?3 WHERE id = ?1";
        self.update(sql, params![id.to_string(), at, ttl])
    }

    /// It no longer runs.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the record is gone.
    pub fn set_stopped(&mut self, id: SandboxId, stopped: Stopped<'_>) -> Result<()> {
        let sql =
            "UPDATE sandboxes SET status = 'stopped', reason = ?3, state = ?2, ports = '[]' WHERE id = ?1";
        self.update(sql, params![id.to_string(), stopped.state, stopped.reason])
    }

    /// Writes down that it is about to be removed: from here on there is no way back.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the record is gone.
    pub fn set_removing(&mut self, id: SandboxId, by: &str) -> Result<()> {
        let sql = "UPDATE sandboxes SET intent = 'remove', intent_by = ?2 WHERE id = ?1";
        self.update(sql, params![id.to_string(), by])
    }

    /// Forgets it. Forgetting what is not there succeeds.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn delete(&mut self, id: SandboxId) -> Result<()> {
        let deleted = self.write(|tx| tx.execute("DELETE FROM sandboxes WHERE id = ?1", [id.to_string()]));
        deleted.map(|_| ()).map_err(|e| failure::database("remove a record", &self.reader.path, e))
    }

    /// # Errors
    /// When the database cannot be read.
    pub fn by_id(&self, id: SandboxId) -> Result<Option<Record>> {
        self.reader.by_id(id)
    }

    fn update(&mut self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<()> {
        match self.write(|tx| tx.execute(sql, values)) {
            Ok(0) => Err(Error::new(Kind::NotFound, "the sandbox was removed meanwhile")),
            Ok(_) => Ok(()),
            Err(e) => Err(failure::database("change a record", &self.reader.path, e)),
        }
    }

    fn write<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let tx = Transaction::new(&mut self.reader.conn, TransactionBehavior::Immediate)?;
        let done = change(&tx)?;
        tx.commit()?;
        Ok(done)
    }
}

fn by_key(labels: &[Label]) -> BTreeMap<&str, &str> {
    labels.iter().map(|label| (label.key.as_str(), label.value.as_str())).collect()
}

fn taken(name: &SandboxName) -> Error {
    Error::new(Kind::AlreadyExists, format!("there is already a sandbox '{name}'"))
        .with_hint(format!("choose another name, or remove it with 'agentkernel sandbox remove {name}'"))
}

fn encode(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal("cannot encode a record").with_source(e))
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
