//! Which backend takes a spec.

use crate::{
    engine::Engine,
    probe::{self, Memory},
    request::Choice,
};
use agentkernel_backend::{Admitted, Backend, Driver, Health, Refusal, admit::refused};
use agentkernel_model::{Error, Kind, Result, id::BackendId, spec::SandboxSpec};
use std::sync::Arc;

/// A backend that admits the spec.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) admitted: Admitted,
    pub(crate) choice: Choice,
    how: How,
}

/// What is known of a selected backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Somebody named it: it works or it is the error.
    Named,
    /// The best-ranked one, taken at its word: probing it would cost more than trying it.
    Trusted,
    /// It was probed, now or earlier.
    Healthy,
}

/// Why a backend was not taken.
#[derive(Debug)]
enum PassedOver {
    Unusable(Error),
    Refused(Vec<Refusal>),
    Sick { reason: String, hint: Option<String> },
}

/// Chooses for `spec`: the backend that is named, or the best-ranked one that admits it and works.
///
/// # Errors
/// [`Kind::Invalid`] for an unknown name; [`Kind::Unsupported`] with every refusal; [`Kind::Unavailable`].
pub(crate) async fn select(engine: &Engine, spec: &SandboxSpec, named: Option<&str>) -> Result<Selected> {
    if let Some(name) = named {
        let driver = engine.registry.find(name)?;
        let backend = engine.backend(driver)?;
        let admitted = backend.admit(spec).map_err(|refusals| refused(&backend.id(), &refusals))?;
        return Ok(selected(backend, admitted, How::Named, Vec::new()));
    }
    let ranked = engine.registry.ranked();
    let Some(best) = ranked.first() else {
        return Err(Error::new(
            Kind::Unavailable,
            "this build has no backend that can be chosen automatically",
        )
        .with_hint("name one with --backend"));
    };
    // With a second choice, known bad news about the first are worth the look at a file.
    let known_sick = ranked.len() > 1
        && Memory::load(&engine.host).health(best.id).is_some_and(|health| !health.is_healthy());
    if !known_sick
        && let Ok(backend) = engine.backend(best)
        && let Ok(admitted) = backend.admit(spec)
    {
        return Ok(selected(backend, admitted, How::Trusted, Vec::new()));
    }
    by_health(engine, spec, &ranked).await
}

fn selected(backend: Arc<dyn Backend>, admitted: Admitted, how: How, notes: Vec<String>) -> Selected {
    let choice = Choice { backend: backend.id(), notes, unenforced: admitted.unenforced().to_vec() };
    Selected { backend, admitted, choice, how }
}

/// A ranked backend that can be built here, and what it says to the spec.
struct Candidate {
    id: BackendId,
    backend: Arc<dyn Backend>,
    admission: Result<Admitted, Vec<Refusal>>,
}

/// The first of `ranked` that admits `spec` and is healthy.
async fn by_health(engine: &Engine, spec: &SandboxSpec, ranked: &[&Driver]) -> Result<Selected> {
    let mut passed: Vec<(BackendId, PassedOver)> = Vec::new();
    let memory = Memory::load(&engine.host);
    let candidates = candidates(engine, spec, ranked, &memory, &mut passed);
    if candidates.iter().all(|candidate| candidate.admission.is_err()) {
        // Whether they work makes no difference then.
        let refused = |it: Candidate| Some((it.id, PassedOver::Refused(it.admission.err()?)));
        passed.extend(candidates.into_iter().filter_map(refused));
        return Err(none_of(ranked, passed));
    }
    let backends: Vec<_> = candidates.iter().map(|candidate| Arc::clone(&candidate.backend)).collect();
    let healths = probe::health(engine, &memory, &backends).await?;
    let mut notes = Vec::new();
    for (Candidate { id, backend, admission }, health) in candidates.into_iter().zip(healths) {
        match (admission, health) {
            (Ok(admitted), Health::Healthy { .. }) => {
                return Ok(selected(backend, admitted, How::Healthy, notes));
            }
            (Err(refusals), health) => {
                if health.is_healthy() {
                    notes.push(format!("backend '{id}' was passed over: {}", refused(&id, &refusals)));
                }
                passed.push((id, PassedOver::Refused(refusals)));
            }
            (Ok(_), Health::Unhealthy { reason, hint }) => {
                passed.push((id, PassedOver::Sick { reason, hint: Some(hint) }));
            }
            (Ok(_), Health::Undetected { reason }) => {
                passed.push((id, PassedOver::Sick { reason, hint: None }));
            }
        }
    }
    Err(none_of(ranked, passed))
}

/// One error of all the reasons, in the order of `ranked`.
fn none_of(ranked: &[&Driver], mut passed: Vec<(BackendId, PassedOver)>) -> Error {
    passed.sort_by_key(|(id, _)| ranked.iter().position(|driver| id.as_str() == driver.id));
    nobody(passed)
}

/// Those that may be taken, best first, up to the first that is known to be healthy and admits `spec`: the health of none
/// behind it matters. Those that cannot be built go to `passed`.
fn candidates(
    engine: &Engine,
    spec: &SandboxSpec,
    ranked: &[&Driver],
    memory: &Memory,
    passed: &mut Vec<(BackendId, PassedOver)>,
) -> Vec<Candidate> {
    let mut candidates = Vec::with_capacity(ranked.len());
    for driver in ranked {
        let id = BackendId::new(driver.id);
        let backend = match engine.backend(driver) {
            Ok(backend) => backend,
            Err(error) => {
                passed.push((id, PassedOver::Unusable(error)));
                continue;
            }
        };
        let admission = backend.admit(spec);
        let certain = admission.is_ok() && memory.health(driver.id).is_some_and(Health::is_healthy);
        candidates.push(Candidate { id, backend, admission });
        if certain {
            break;
        }
    }
    candidates
}

/// One error of all the reasons.
fn nobody(mut passed: Vec<(BackendId, PassedOver)>) -> Error {
    if passed.len() == 1
        && let Some((id, reason)) = passed.pop()
    {
        return match reason {
            PassedOver::Unusable(error) => error,
            PassedOver::Refused(refusals) => refused(&id, &refusals),
            PassedOver::Sick { reason, hint } => sick(&id, &reason, hint.as_deref()),
        };
    }
    let refusal = passed.iter().any(|(_, why)| matches!(why, PassedOver::Refused(_)));
    let (mut reasons, mut hints): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for (id, why) in passed {
        match why {
            PassedOver::Unusable(error) => {
                reasons.push(format!("{id}: {error}"));
                hints.extend(error.hint().map(str::to_owned));
            }
            PassedOver::Refused(refusals) => {
                reasons.push(refused(&id, &refusals).message().to_owned());
                hints.extend(refusals.into_iter().map(|r| r.hint));
            }
            PassedOver::Sick { reason, hint } => {
                reasons.push(format!("{id}: {reason}"));
                hints.extend(hint);
            }
        }
    }
    hints.dedup();
    let kind = if refusal { Kind::Unsupported } else { Kind::Unavailable };
    let error = Error::new(kind, format!("no backend of this machine can run this: {}", reasons.join("; ")));
    if hints.is_empty() { error.with_hint("agentkernel doctor") } else { error.with_hint(hints.join("; ")) }
}

fn sick(id: &BackendId, reason: &str, hint: Option<&str>) -> Error {
    Error::new(Kind::Unavailable, format!("backend '{id}' does not work here: {reason}"))
        .with_hint(hint.unwrap_or("agentkernel doctor"))
}

impl Selected {
    /// After it failed with `error`: the next backend to try where there is a choice, else the error, with what is
    /// wrong with the backend when that is what is wrong. Only now is it worth a probe.
    ///
    /// # Errors
    /// `error`, explained.
    pub(crate) async fn after_failure(
        self,
        engine: &Engine,
        spec: &SandboxSpec,
        error: Error,
    ) -> Result<Self> {
        if self.how == How::Healthy
            || !matches!(error.kind(), Kind::Unavailable | Kind::Internal | Kind::Denied)
        {
            return Err(error);
        }
        let id = self.backend.id();
        let explained = match probe::fresh(engine, &self.backend).await? {
            Health::Healthy { .. } => return Err(error),
            Health::Unhealthy { reason, hint } => sick(&id, &reason, Some(&hint)),
            Health::Undetected { reason } => sick(&id, &reason, None),
        };
        if self.how == How::Trusted {
            let ranked = engine.registry.ranked();
            if ranked.len() > 1 {
                return by_health(engine, spec, &ranked).await;
            }
        }
        Err(explained)
    }
}
