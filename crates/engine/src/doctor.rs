//! Saying what works here and what does not.

use crate::{
    clock, directories,
    engine::Engine,
    gc,
    probe::{self, Memory},
    query,
    reach::Answers,
    record,
    request::{BackendReport, Check, CheckStatus, Status},
};
use agentkernel_backend::{Driver, Health};
use agentkernel_model::{Error, Result, capabilities::Capabilities, id::BackendId};
use std::{collections::BTreeMap, fs};

/// Less free space than this on the data directory's disk is worth a word, in bytes.
const LITTLE_SPACE: u64 = 1 << 30;

/// Tries out every backend, all at the same time; those that are chosen automatically come first, best first.
pub(crate) async fn backends(engine: &Engine) -> Result<Vec<BackendReport>> {
    let mut drivers: Vec<&Driver> = engine.registry.iter().collect();
    drivers.sort_by_key(|driver| (driver.auto_rank.is_none(), driver.auto_rank));
    let built: Vec<_> = drivers.iter().map(|driver| engine.backend(driver)).collect();
    let there: Vec<_> = built.iter().filter_map(|backend| backend.as_ref().ok()).cloned().collect();
    let mut healths = probe::health(engine, &Memory::default(), &there).await?.into_iter();
    let mut reports = Vec::with_capacity(drivers.len());
    for (driver, built) in drivers.into_iter().zip(built) {
        // One health for each that could be built, in this order.
        let health = match &built {
            Ok(_) => healths.next(),
            Err(error) => Some(of_error(error)),
        };
        let able = built.ok().map(|backend| backend.capabilities());
        reports.extend(health.map(|health| report(driver, health, able)));
    }
    if let Some(best) = reports.iter_mut().find(|report| report.healthy && report.rank.is_some()) {
        best.selected = true;
    }
    Ok(reports)
}

/// What a backend that cannot be built has instead of a health.
fn of_error(error: &Error) -> Health {
    let reason = error.to_string();
    match error.hint() {
        Some(hint) => Health::Unhealthy { reason, hint: hint.to_owned() },
        None => Health::Undetected { reason },
    }
}

fn report(driver: &Driver, health: Health, able: Option<Capabilities>) -> BackendReport {
    let (healthy, reason, hint, attributes) = match health {
        Health::Healthy { attributes } => (true, "works".to_owned(), None, attributes),
        Health::Unhealthy { reason, hint } => (false, reason, Some(hint), BTreeMap::new()),
        Health::Undetected { reason } => (false, reason, None, BTreeMap::new()),
    };
    let (id, rank) = (driver.id.to_owned(), driver.auto_rank);
    let capabilities = able.filter(|_| healthy);
    BackendReport { id, healthy, selected: false, rank, reason, hint, attributes, capabilities }
}

pub(crate) async fn doctor(engine: &Engine) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    // First: backends are probed in the data directory.
    storage(engine, &mut checks);
    match backends(engine).await {
        Ok(reports) => checks.extend(backend_checks(reports)),
        Err(error) => checks.push(failed("backends", "probe", &error)),
    }
    if let Err(error) = sandboxes(engine, &mut checks).await {
        checks.push(failed("sandboxes", "records", &error));
    }
    Ok(checks)
}

fn check(section: &'static str, name: &str, status: CheckStatus, message: impl Into<String>) -> Check {
    Check { section, name: name.to_owned(), status, message: message.into(), hint: None }
}

fn failed(section: &'static str, name: &str, error: &Error) -> Check {
    let failed = check(section, name, CheckStatus::Error, error.to_string());
    Check { hint: error.hint().map(str::to_owned), ..failed }
}

/// What does not work is a warning where nothing else does, and else news for who wants this one.
fn backend_checks(reports: Vec<BackendReport>) -> impl Iterator<Item = Check> {
    let covered = reports.iter().any(|report| report.selected);
    reports.into_iter().map(move |report| {
        let status = match (report.healthy, &report.hint) {
            (true, _) => CheckStatus::Ok,
            (false, Some(_)) if !covered => CheckStatus::Warning,
            (false, _) => CheckStatus::Info,
        };
        let message = match report.role() {
            "" => report.reason,
            role => format!("{} ({role})", report.reason),
        };
        Check { hint: report.hint, ..check("backends", &report.id, status, message) }
    })
}

async fn sandboxes(engine: &Engine, checks: &mut Vec<Check>) -> Result<()> {
    let (mut running, mut stopped, mut interrupted) = (0_usize, 0_usize, 0_usize);
    let mut unknown: BTreeMap<BackendId, usize> = BTreeMap::new();
    let records = query::records(engine)?;
    let mut answers = Answers::default();
    answers.ask(engine, records.iter().map(|record| &record.backend)).await;
    for record in records {
        if gc::is_interrupted(engine, &record)? {
            interrupted += 1;
            continue;
        }
        if !record::is_shown(&record) {
            continue;
        }
        if answers.silence(&record.backend).is_some() {
            *unknown.entry(record.backend).or_default() += 1;
            continue;
        }
        let (status, reason) = record::status(&record, &engine.host, clock::now())?;
        match status {
            Status::Running => running += 1,
            Status::Stopped | Status::Unknown => stopped += 1,
        }
        if reason.as_deref() == Some(record::reason::KEEPER_ENDED) {
            let message = format!("stopped: {}", record::reason::KEEPER_ENDED);
            let ended = check("sandboxes", record.name.as_str(), CheckStatus::Warning, message);
            checks.push(Check { hint: Some(format!("agentkernel sandbox start {}", record.name)), ..ended });
        }
    }
    let mut counted = format!("{running} running, {stopped} stopped");
    if let all @ 1.. = unknown.values().sum::<usize>() {
        counted += &format!(", {all} unknown");
    }
    checks.push(check("sandboxes", "records", CheckStatus::Ok, counted));
    for (backend, count) in unknown {
        let Some(silence) = answers.silence(&backend) else { continue };
        let message = format!("{count} unknown: {silence}");
        let silent = check("sandboxes", backend.as_str(), CheckStatus::Warning, message);
        checks.push(Check { hint: silence.hint().map(str::to_owned), ..silent });
    }
    if interrupted > 0 {
        let message = format!("{interrupted} that were never finished");
        let left = check("sandboxes", "leftovers", CheckStatus::Warning, message);
        checks.push(Check { hint: Some("agentkernel gc".to_owned()), ..left });
    }
    Ok(())
}

fn storage(engine: &Engine, checks: &mut Vec<Check>) {
    let data = engine.host.data.display();
    if let Err(error) = directories::ensure(&engine.host) {
        checks.push(failed("storage", "data directory", &error));
        return;
    }
    checks.push(check("storage", "data directory", CheckStatus::Ok, data.to_string()));
    match rustix::fs::statvfs(&engine.host.data) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let status = if free < LITTLE_SPACE { CheckStatus::Warning } else { CheckStatus::Ok };
            let space = check("storage", "free space", status, format!("{} MB", free >> 20));
            let hint = (status == CheckStatus::Warning).then(|| "agentkernel gc --stopped".to_owned());
            checks.push(Check { hint, ..space });
        }
        Err(errno) => {
            checks.push(failed("storage", "free space", &Error::io("cannot ask for it", errno.into())))
        }
    }
    let database = directories::database(&engine.host);
    match agentkernel_store::Reader::open(&database) {
        Ok(Some(_)) => {
            let size = fs::metadata(&database).map_or(0, |m| m.len());
            checks.push(check("storage", "records", CheckStatus::Ok, format!("{} KB", size >> 10)));
        }
        Ok(None) => checks.push(check("storage", "records", CheckStatus::Info, "none yet")),
        Err(error) => checks.push(failed("storage", "records", &error)),
    }
}
