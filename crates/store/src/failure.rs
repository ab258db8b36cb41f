//! The one place where failures of SQLite become errors of the model.

use agentkernel_model::{Error, Kind};
use rusqlite::ErrorCode;
use std::path::Path;

/// What `error` means for a caller who was doing `what` with the database at `path`.
pub(crate) fn database(what: &str, path: &Path, error: rusqlite::Error) -> Error {
    let at = path.display();
    let said = |kind, message: String, hint: String| Error::new(kind, message).with_hint(hint);
    let mapped = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => said(
            Kind::Exhausted,
            format!("cannot {what}: the disk of '{at}' is full"),
            "free some space, for example with 'agentkernel gc --stopped'".to_owned(),
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => said(
            Kind::Conflict,
            format!("cannot {what}: another process is writing to the database '{at}'"),
            "try again in a moment".to_owned(),
        )
        .retry_later(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => said(
            Kind::Internal,
            format!("cannot {what}: the database '{at}' is damaged"),
            format!(
                "move it away with 'mv {at} {at}.damaged', then remove what is left over with 'agentkernel gc'"
            ),
        ),
        Some(
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied,
        ) => said(
            Kind::Denied,
            format!("cannot {what}: the database '{at}' cannot be written"),
            format!("see who owns it with 'ls -l {at}'"),
        ),
        _ => Error::internal(format!("cannot {what} in the database '{at}'")),
    };
    mapped.with_source(error)
}
