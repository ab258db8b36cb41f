//! Looking at sandboxes: list and info.

use crate::{
    directories,
    engine::Engine,
    reach::Answers,
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

/// Asks each backend that has one of them, once.
pub(crate) async fn list(engine: &Engine, filter: &Filter) -> Result<Vec<SandboxInfo>> {
    let mut records = records(engine)?;
    records.retain(|record| record::is_shown(record) && matches(record, filter));
    let mut answers = Answers::default();
    answers.ask(engine, records.iter().map(|record| &record.backend)).await;
    records.iter().map(|record| record::info(record, &engine.host, &answers)).collect()
}

pub(crate) fn names(engine: &Engine) -> Result<Vec<SandboxName>> {
    let reader = Reader::open(&directories::database(&engine.host))?;
    reader.map_or_else(|| Ok(Vec::new()), |reader| reader.names())
}

/// One sandbox as its backend has it.
pub(crate) async fn ask(engine: &Engine, name: &SandboxName) -> Result<SandboxInfo> {
    let record = shown(engine, name)?;
    let mut answers = Answers::default();
    answers.ask(engine, [&record.backend]).await;
    whole(engine, &record, &answers)
}

/// One sandbox as the record and the kernel have it: for who has just been at its backend.
pub(crate) fn info(engine: &Engine, name: &SandboxName) -> Result<SandboxInfo> {
    let record = shown(engine, name)?;
    whole(engine, &record, &Answers::of_build(engine, &record.backend))
}

fn shown(engine: &Engine, name: &SandboxName) -> Result<Record> {
    let record = by_name(engine, name)?;
    if record::is_shown(&record) { Ok(record) } else { Err(record::no_such(name)) }
}

fn whole(engine: &Engine, record: &Record, answers: &Answers) -> Result<SandboxInfo> {
    let mut info = record::info(record, &engine.host, answers)?;
    info.spec = record.spec().ok();
    Ok(info)
}
