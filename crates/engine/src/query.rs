//! Looking at sandboxes: list and info.

use crate::{
    directories,
    engine::Engine,
    record,
    request::{Filter, SandboxInfo},
};
use agentkernel_model::{Result, id::SandboxId, name::SandboxName};
use agentkernel_store::{Reader, Record};

/// Every record; none when nothing was ever created.
pub(crate) fn records(engine: &Engine) -> Result<Vec<Record>> {
    let reader = Reader::open(&directories::database(&engine.host))?;
    reader.map_or_else(|| Ok(Vec::new()), |reader| reader.all())
}

/// The record of that name.
///
/// # Errors
/// [`agentkernel_model::Kind::NotFound`].
pub(crate) fn by_name(engine: &Engine, name: &SandboxName) -> Result<Record> {
    let reader = Reader::open(&directories::database(&engine.host))?;
    let found = reader.map(|reader| reader.by_name(name)).transpose()?.flatten();
    found.ok_or_else(|| record::no_such(name))
}

/// The record of that id, if there is one.
pub(crate) fn by_id(engine: &Engine, id: SandboxId) -> Result<Option<Record>> {
    let reader = Reader::open(&directories::database(&engine.host))?;
    Ok(reader.map(|reader| reader.by_id(id)).transpose()?.flatten())
}

pub(crate) fn matches(record: &Record, filter: &Filter) -> bool {
    let labelled = filter.labels.iter().all(|label| record.labels.get(&label.key) == Some(&label.value));
    let name = record.name.as_str();
    let of_project = filter.project.as_ref().is_none_or(|project| {
        name.strip_prefix(project.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    });
    labelled && of_project
}

pub(crate) fn list(engine: &Engine, filter: &Filter) -> Result<Vec<SandboxInfo>> {
    let records = records(engine)?;
    let wanted = records.iter().filter(|record| record::is_shown(record) && matches(record, filter));
    wanted.map(|record| record::info(record, &engine.host, &engine.registry)).collect()
}

pub(crate) fn names(engine: &Engine) -> Result<Vec<SandboxName>> {
    let reader = Reader::open(&directories::database(&engine.host))?;
    reader.map_or_else(|| Ok(Vec::new()), |reader| reader.names())
}

pub(crate) fn info(engine: &Engine, name: &SandboxName) -> Result<SandboxInfo> {
    let record = by_name(engine, name)?;
    if !record::is_shown(&record) {
        return Err(record::no_such(name));
    }
    let mut info = record::info(&record, &engine.host, &engine.registry)?;
    info.spec = record.spec().ok();
    Ok(info)
}
