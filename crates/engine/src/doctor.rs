//! Saying what works here and what does not.

use crate::{
    clock, directories,
    engine::Engine,
    gc, probe, query, record,
    request::{BackendReport, Check, CheckStatus, Status},
};
use agentkernel_backend::Health;
use agentkernel_model::{Error, Result};
use std::{collections::BTreeMap, fs};

/// Less free space than this on the data directory's disk is worth a word, in bytes.
const LITTLE_SPACE: u64 = 1 << 30;

pub(crate) async fn backends(engine: &Engine) -> Result<Vec<BackendReport>> {
    let mut reports = Vec::new();
    for driver in engine.registry.iter() {
        let report = |healthy, reason: String, hint, attributes| BackendReport {
            id: driver.id.to_owned(),
            healthy,
            selected: false,
            reason,
            hint,
            attributes,
        };
        let none = BTreeMap::new;
        let backend = match engine.backend(driver) {
            Ok(backend) => backend,
            Err(error) => {
                reports.push(report(false, error.to_string(), error.hint().map(str::to_owned), none()));
                continue;
            }
        };
        reports.push(match probe::fresh(&engine.host, backend.as_ref()).await? {
            Health::Healthy { attributes } => report(true, "works".to_owned(), None, attributes),
            Health::Unhealthy { reason, hint } => report(false, reason, Some(hint), none()),
            Health::Undetected { reason } => report(false, reason, None, none()),
        });
    }
    let ranked = engine.registry.ranked();
    let best = ranked.iter().find(|driver| reports.iter().any(|r| r.id == driver.id && r.healthy));
    if let Some(best) = best {
        for report in &mut reports {
            report.selected = report.id == best.id;
        }
    }
    Ok(reports)
}

pub(crate) async fn doctor(engine: &Engine) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    // First: backends are probed in the data directory.
    storage(engine, &mut checks);
    match backends(engine).await {
        Ok(reports) => checks.extend(reports.into_iter().map(backend_check)),
        Err(error) => checks.push(failed("backends", "probe", &error)),
    }
    if let Err(error) = sandboxes(engine, &mut checks) {
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

fn backend_check(report: BackendReport) -> Check {
    let status = match (report.healthy, &report.hint) {
        (true, _) => CheckStatus::Ok,
        (false, Some(_)) => CheckStatus::Warning,
        (false, None) => CheckStatus::Info,
    };
    let chosen = if report.selected { " (used when none is named)" } else { "" };
    let message = format!("{}{chosen}", report.reason);
    Check { hint: report.hint, ..check("backends", &report.id, status, message) }
}

fn sandboxes(engine: &Engine, checks: &mut Vec<Check>) -> Result<()> {
    let (mut running, mut stopped, mut interrupted) = (0_usize, 0_usize, 0_usize);
    for record in query::records(engine)? {
        if gc::is_interrupted(engine, &record)? {
            interrupted += 1;
            continue;
        }
        if !record::is_shown(&record) {
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
    checks.push(check(
        "sandboxes",
        "records",
        CheckStatus::Ok,
        format!("{running} running, {stopped} stopped"),
    ));
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
