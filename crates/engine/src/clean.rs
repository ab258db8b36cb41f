//! Removing what is kept on purpose: stopped sandboxes and, on request, running ones too. What nobody needs any more goes
//! with them. Only what has our record or carries our marks is ever touched.

use crate::{
    clock,
    engine::Engine,
    gc,
    images::{self, Freed, Prune},
    lifecycle, query,
    reach::Answers,
    record,
    request::{Effect, Filter, Status, Stopped},
};
use agentkernel_model::{Kind, Result};
use serde::Serialize;

/// What `clean` does to sandboxes that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    Keep,
    Remove,
}

/// What `clean` does to images that no sandbox uses any more, and to what was cached for building them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Keep,
    Remove,
}

/// What was removed or, on a dry run, would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CleanReport {
    /// Names of sandboxes.
    pub sandboxes: Vec<String>,
    /// What belonged to no record.
    pub leftovers: Vec<String>,
    /// Sandboxes that run and are kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// Images and their layers; only with [`Stored::Remove`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Freed>,
    /// Bytes of what backends kept only to be faster, such as copies of images; only with [`Stored::Remove`], and not
    /// known on a dry run.
    #[serde(skip_serializing_if = "is_zero")]
    pub cached_bytes: u64,
    /// What was left as it is because its backend does not answer, and why: one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// What could not be removed, and why: one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

pub(crate) async fn clean(
    engine: &Engine,
    live: Live,
    stored: Stored,
    effect: Effect,
) -> Result<CleanReport> {
    let mut report = CleanReport::default();
    running(engine, live, effect, &mut report).await?;
    let swept = gc::gc(engine, &Filter::default(), Stopped::Remove, effect).await?;
    if effect == Effect::Apply {
        engine.audit.collected(&swept);
    }
    report.sandboxes.extend(swept.removed);
    report.sandboxes.sort();
    report.sandboxes.dedup();
    report.leftovers = swept.orphans;
    report.skipped.extend(swept.skipped);
    report.skipped.sort();
    report.skipped.dedup();
    report.failures.extend(swept.failures);
    if stored == Stored::Remove {
        report.images = Some(unused_images(engine, &report.sandboxes, effect)?);
        if effect == Effect::Apply {
            report.cached_bytes = prune_backends(engine, &mut report).await;
        }
    }
    Ok(report)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// Has every backend remove what it keeps only to be faster; the bytes that were freed.
async fn prune_backends(engine: &Engine, report: &mut CleanReport) -> u64 {
    let mut bytes = 0_u64;
    for driver in engine.registry.iter() {
        let pruned = match engine.backend(driver) {
            Ok(backend) => backend.prune().await,
            Err(error) => Err(error),
        };
        match pruned {
            Ok(freed) => bytes = bytes.saturating_add(freed),
            // One that is not there or does not answer keeps what it has.
            Err(error) => report.skipped.push(format!("{}: {error}", driver.id)),
        }
    }
    bytes
}

/// What runs, and what may run and cannot be asked. What is stopped is left to gc.
async fn running(engine: &Engine, live: Live, effect: Effect, report: &mut CleanReport) -> Result<()> {
    let mut records = query::records(engine)?;
    records.retain(record::is_shown);
    let mut answers = Answers::default();
    answers.ask(engine, records.iter().map(|record| &record.backend)).await;
    for record in records {
        let name = record.name.to_string();
        if let Some(silence) = answers.silence(&record.backend) {
            // In the words of gc, which comes across some of them as well.
            report.skipped.push(format!("{name}: {silence}"));
            continue;
        }
        let (status, _) = record::status(&record, &engine.host, clock::now())?;
        match (status, live, effect) {
            (Status::Stopped | Status::Unknown, ..) => {}
            (Status::Running, Live::Keep, _) => report.kept.push(name),
            (Status::Running, Live::Remove, Effect::DryRun) => report.sandboxes.push(name),
            (Status::Running, Live::Remove, Effect::Apply) => {
                match lifecycle::remove(engine, &record.name).await {
                    Ok(()) => {
                        engine.audit.removed(&name);
                        report.sandboxes.push(name);
                    }
                    // Somebody else was faster.
                    Err(error) if error.kind() == Kind::NotFound => {}
                    Err(error) => report.failures.push(format!("{name}: {error}")),
                }
            }
        }
    }
    Ok(())
}

/// Images that nothing uses once the sandboxes `gone` are gone, which on a dry run they are not.
fn unused_images(engine: &Engine, gone: &[String], effect: Effect) -> Result<Freed> {
    let mut freed = images::prune(engine, Prune::Unused, effect)?;
    if effect == Effect::DryRun {
        let soon = images::list(engine)?.into_iter().filter(|image| {
            !image.used_by.is_empty() && image.used_by.iter().all(|user| gone.contains(user))
        });
        for image in soon {
            freed.bytes = freed.bytes.saturating_add(image.size_bytes);
            freed.images.push(image);
        }
    }
    Ok(freed)
}
