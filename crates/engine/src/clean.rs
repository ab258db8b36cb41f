//! Removing what is kept on purpose: stopped sandboxes and, on request, running ones too. What nobody needs any more goes
//! with them. Only what has our record or carries our marks is ever touched.

use crate::{
    engine::Engine,
    gc,
    images::{self, Freed, Prune},
    lifecycle, query,
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
    for info in query::list(engine, &Filter::default())? {
        let name = info.name;
        // One that cannot be asked may run.
        if info.status == Status::Stopped {
            continue;
        }
        if live == Live::Keep {
            report.kept.push(name.to_string());
            continue;
        }
        let removed = match effect {
            Effect::DryRun => Ok(()),
            Effect::Apply => lifecycle::remove(engine, &name).await,
        };
        match removed {
            Ok(()) => {
                if effect == Effect::Apply {
                    engine.audit.removed(name.as_str());
                }
                report.sandboxes.push(name.to_string());
            }
            // Somebody else was faster.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => report.failures.push(format!("{name}: {error}")),
        }
    }
    let swept = gc::gc(engine, &Filter::default(), Stopped::Remove, effect).await?;
    if effect == Effect::Apply {
        engine.audit.collected(&swept);
    }
    report.sandboxes.extend(swept.removed);
    report.sandboxes.sort();
    report.sandboxes.dedup();
    report.leftovers = swept.orphans;
    report.failures.extend(swept.failures);
    if stored == Stored::Remove {
        report.images = Some(unused_images(engine, &report.sandboxes, effect)?);
    }
    Ok(report)
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
