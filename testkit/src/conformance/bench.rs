//! Where a case runs: the backend, the road, and the cleaning up.

use super::{
    case::{Failure, Road, Verdict},
    subject::{Subject, inputs},
};
use crate::leftovers::Scope;
use agentkernel_backend::{Backend, CreateInputs, DriverState, Lease, Process, Sandbox, process::Output};
use agentkernel_model::{
    Error,
    command::ExecSpec,
    id::SandboxId,
    spec::{Lifetime, SandboxSpec},
};
use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How much a case reads of one stream.
pub const OUTPUT_LIMIT: usize = 16 << 20;
/// The grace of a stop where a case does not care.
pub const GRACE: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Inner {
    subject: Subject,
    backend: Arc<dyn Backend>,
    road: Road,
    made: Mutex<Vec<SandboxId>>,
    ids: Mutex<Vec<SandboxId>>,
    /// The handles of what was started, kept to the end of the case as a keeper keeps its own.
    kept: Mutex<Vec<Arc<dyn Sandbox>>>,
}

/// The place of one case; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bench(Arc<Inner>, Lease);

/// A named sandbox that runs.
#[derive(Debug, Clone)]
pub struct Running {
    pub id: SandboxId,
    pub spec: SandboxSpec,
    pub state: DriverState,
    pub sandbox: Arc<dyn Sandbox>,
}

impl Bench {
    /// # Errors
    /// As the driver's constructor.
    pub fn new(subject: Subject, road: Road) -> Result<Self, Error> {
        let (backend, rootfs) = (subject.build()?, subject.rootfs.clone());
        let inner = Inner {
            subject,
            backend,
            road,
            made: Mutex::default(),
            ids: Mutex::default(),
            kept: Mutex::default(),
        };
        Ok(Self(Arc::new(inner), rootfs))
    }

    /// The same bench with another root file system.
    #[must_use]
    pub fn of(&self, rootfs: Lease) -> Self {
        Self(Arc::clone(&self.0), rootfs)
    }

    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.0.backend
    }

    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.0.subject
    }

    /// A directory of the host for this case.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.0.subject.scratch
    }

    /// Whether this case goes over `run_once`.
    #[must_use]
    pub fn road(&self) -> Road {
        self.0.road
    }

    /// `spec` admitted for sandbox `id`.
    ///
    /// # Errors
    /// The refusals, as text.
    pub fn inputs(&self, spec: &SandboxSpec, id: SandboxId) -> Result<CreateInputs, Failure> {
        let runtime = spec.runtime.clone().or_else(|| self.0.subject.runtime.clone());
        inputs(&**self.backend(), &SandboxSpec { runtime, ..spec.clone() }, id, &self.1)
            .map_err(|refusals| Failure(format!("not admitted: {refusals:?}")))
    }

    /// Starts a command on this case's road.
    ///
    /// # Errors
    /// As the backend; [`Error::kind`] is kept for cases about errors.
    pub async fn open(
        &self,
        spec: &SandboxSpec,
        command: &ExecSpec,
    ) -> Result<Result<Process, Error>, Failure> {
        match self.0.road {
            Road::Once => {
                let spec = SandboxSpec { lifetime: Lifetime::Ephemeral, ..spec.clone() };
                let id = SandboxId::new();
                note(&self.0.ids, id);
                Ok(self.backend().run_once(self.inputs(&spec, id)?, command, None).await)
            }
            Road::Named => Ok(self.start(spec).await?.sandbox.exec(command).await),
        }
    }

    /// Runs a command on this case's road to its end.
    ///
    /// # Errors
    /// As the backend.
    pub async fn run(&self, spec: &SandboxSpec, command: &ExecSpec) -> Result<Output, Failure> {
        Ok(self.open(spec, command).await??.output(OUTPUT_LIMIT).await?)
    }

    /// The error with which a command does not begin, whichever of the two places it comes from.
    ///
    /// # Errors
    /// When the command begins after all.
    pub async fn refusal(&self, spec: &SandboxSpec, command: &ExecSpec) -> Result<Error, Failure> {
        let ended = match self.open(spec, command).await? {
            Ok(process) => process.output(OUTPUT_LIMIT).await,
            Err(error) => Err(error),
        };
        match ended {
            Err(error) => Ok(error),
            Ok(output) => Err(Failure(format!("the command ran: {}", shown(&output)))),
        }
    }

    /// Makes a sandbox with the directory that the engine would give it.
    ///
    /// # Errors
    /// As the backend.
    pub async fn create(&self, spec: &SandboxSpec) -> Result<(SandboxId, DriverState), Failure> {
        let id = SandboxId::new();
        note(&self.0.ids, id);
        let directory = self.0.subject.host.sandbox_dir(id);
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        note(&self.0.made, id);
        Ok((id, self.backend().create(self.inputs(spec, id)?).await?))
    }

    /// A named sandbox that runs.
    ///
    /// # Errors
    /// As the backend.
    pub async fn start(&self, spec: &SandboxSpec) -> Result<Running, Failure> {
        let (id, state) = self.create(spec).await?;
        self.start_again(spec, id, &state).await
    }

    /// Starts a sandbox that was made before.
    ///
    /// # Errors
    /// As the backend.
    pub async fn start_again(
        &self,
        spec: &SandboxSpec,
        id: SandboxId,
        state: &DriverState,
    ) -> Result<Running, Failure> {
        let (state, sandbox) = self.backend().start(self.inputs(spec, id)?, state, None).await?;
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&sandbox));
        Ok(Running { id, spec: spec.clone(), state, sandbox })
    }

    /// Destroys what the case made and says what is left of it.
    ///
    /// # Errors
    /// One text of all leftovers.
    pub async fn finish(&self) -> Verdict {
        let made = std::mem::take(&mut *self.0.made.lock().unwrap_or_else(PoisonError::into_inner));
        for id in made {
            self.backend().destroy(id, None).await?;
            let directory = self.0.subject.host.sandbox_dir(id);
            let rest: Vec<_> = fs::read_dir(&directory)?.filter_map(Result::ok).map(|e| e.path()).collect();
            fs::remove_dir_all(directory)?;
            if !rest.is_empty() {
                return Err(Failure(format!("after destroy: {rest:?}")));
            }
        }
        drop(std::mem::take(&mut *self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)));
        let mut left = self.leftovers()?;
        left.extend(
            self.backend().list_owned().await?.into_iter().map(|o| format!("owned sandbox {}", o.id)),
        );
        if left.is_empty() { Ok(()) } else { Err(Failure(left.join("; "))) }
    }

    /// Traces of this case on the machine, other than sandboxes that were not destroyed yet.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn leftovers(&self) -> Result<Vec<String>, Failure> {
        let ids = self.0.ids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let marks = ids.iter().flat_map(|id| [id.to_string(), id.to_string().replace('-', "")]).collect();
        let data = self.0.subject.host.data.clone();
        let scope = Scope { directories: vec![data], marker: None, cgroup_marks: marks };
        let mut left = scope.find()?;
        let runs = fs::read_dir(self.0.subject.host.runs_dir()).into_iter().flatten().filter_map(Result::ok);
        left.extend(runs.map(|e| format!("run {}", e.path().display())));
        Ok(left)
    }
}

fn note(list: &Mutex<Vec<SandboxId>>, id: SandboxId) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(id);
}

impl Running {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// As the backend.
    pub async fn run(&self, command: &ExecSpec) -> Result<Output, Failure> {
        Ok(self.sandbox.exec(command).await?.output(OUTPUT_LIMIT).await?)
    }
}

/// An output for people: the streams as text, cut short.
#[must_use]
pub fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
    format!("{:?}, stdout {:?}, stderr {:?}", output.exit, text(&output.stdout), text(&output.stderr))
}
