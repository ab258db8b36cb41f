//! Reading records.

use crate::{
    failure,
    record::{Cached, Handle, Intent, Record},
    schema,
};
use agentkernel_model::{
    Error, Result,
    id::{BackendId, SandboxId},
    name::SandboxName,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, types::Type};
use serde::de::DeserializeOwned;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const COLUMNS: &str = "id, name, backend, context, state, labels, description, unenforced, created_at, ttl_seconds, \
                       expires_at, intent, intent_by, status, reason, boot_id, ports, spec";

/// A connection that only reads.
#[derive(Debug)]
pub struct Reader {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
}

impl Reader {
    /// The database at `path`; `None` when there is none, which means that there are no sandboxes. Makes no file, sets
    /// no pragma: this stands before every command in a running sandbox.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Conflict`] for a database of a newer version, and whatever keeps it from being read.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = match Connection::open_with_flags(path, flags) {
            Ok(conn) => conn,
            Err(_) if !path.exists() => return Ok(None),
            Err(e) => return Err(failure::database("open the records", path, e)),
        };
        // Version 0: whoever makes it has not finished, so it has no records yet.
        if schema::check(&conn, path)? == 0 {
            return Ok(None);
        }
        Ok(Some(Self { conn, path: path.to_owned() }))
    }

    /// What `exec` needs of the sandbox of that name: one SELECT.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn handle(&self, name: &SandboxName) -> Result<Option<Handle>> {
        let sql = "SELECT id, backend, state, expires_at, intent, status FROM sandboxes WHERE name = ?1";
        let found = self.conn.query_row(sql, [name.as_str()], |row| {
            Ok(Handle {
                id: id(row, 0)?,
                backend: BackendId::new(row.get_ref(1)?.as_str()?),
                state: row.get(2)?,
                expires_at: row.get(3)?,
                intent: intent(row, 4)?,
                cached: cached(row, 5)?,
            })
        });
        self.checked(found.optional())
    }

    /// # Errors
    /// When the database cannot be read.
    pub fn by_name(&self, name: &SandboxName) -> Result<Option<Record>> {
        let sql = format!("SELECT {COLUMNS} FROM sandboxes WHERE name = ?1");
        self.checked(self.conn.query_row(&sql, [name.as_str()], record).optional())
    }

    /// # Errors
    /// When the database cannot be read.
    pub fn by_id(&self, id: SandboxId) -> Result<Option<Record>> {
        let sql = format!("SELECT {COLUMNS} FROM sandboxes WHERE id = ?1");
        self.checked(self.conn.query_row(&sql, [id.to_string()], record).optional())
    }

    /// Every record, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn all(&self) -> Result<Vec<Record>> {
        let all = || {
            let mut statement =
                self.conn.prepare(&format!("SELECT {COLUMNS} FROM sandboxes ORDER BY name"))?;
            statement.query_map([], record)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        self.checked(all())
    }

    /// The names of all sandboxes that are not only being created, in order: a fraction of what whole records cost.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn names(&self) -> Result<Vec<SandboxName>> {
        let all = || {
            let sql = "SELECT name FROM sandboxes WHERE intent IS NOT 'create' ORDER BY name";
            let mut statement = self.conn.prepare(sql)?;
            let name = |row: &Row<'_>| row.get_ref(0)?.as_str()?.parse().map_err(|e| damaged(0, e));
            statement.query_map([], name)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        self.checked(all())
    }

    fn checked<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|e| failure::database("read a record", &self.path, e))
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let ttl: Option<i64> = row.get(9)?;
    Ok(Record {
        id: id(row, 0)?,
        name: row.get_ref(1)?.as_str()?.parse().map_err(|e| damaged(1, e))?,
        backend: BackendId::new(row.get_ref(2)?.as_str()?),
        context: row.get(3)?,
        state: row.get(4)?,
        labels: json(row, 5)?,
        description: row.get(6)?,
        unenforced: json(row, 7)?,
        created_at: row.get(8)?,
        ttl: ttl.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs),
        expires_at: row.get(10)?,
        intent: intent(row, 11)?,
        intent_by: row.get(12)?,
        cached: cached(row, 13)?,
        reason: row.get(14)?,
        boot_id: row.get(15)?,
        ports: json(row, 16)?,
        spec: row.get(17)?,
    })
}

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<SandboxId> {
    SandboxId::parse(row.get_ref(column)?.as_str()?).map_err(|e| damaged(column, e))
}

fn cached(row: &Row<'_>, at: usize) -> rusqlite::Result<Cached> {
    Ok(if row.get_ref(at)?.as_str()? == "running" { Cached::Running } else { Cached::Stopped })
}

fn intent(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Intent>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.map(|text| match text {
        "create" => Intent::Create,
        _ => Intent::Remove,
    }))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

fn damaged(column: usize, error: Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
