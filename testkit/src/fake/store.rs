//! What a fake sandbox keeps on disk: its root, its spec, and the sessions of its commands.

use crate::proc;
use agentkernel_backend::CreateInputs;
use agentkernel_model::{
    Error, Kind, Result, id::SandboxId, mount::Workspace, policy::EffectivePolicy, spec::SandboxSpec,
};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The directory of one fake sandbox, named or ephemeral.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) id: SandboxId,
    pub(super) path: PathBuf,
}

/// What every command of a sandbox needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) image_env: Vec<(String, String)>,
    pub(super) spec: SandboxSpec,
}

impl Plan {
    pub(super) fn of(inputs: &CreateInputs) -> Self {
        Self { image_env: inputs.rootfs.rootfs.env.clone(), spec: inputs.admitted.spec().clone() }
    }
}

/// Makes every directory below `path` readable to its owner, as far as that goes; no link is followed.
fn open_directories(path: &Path) {
    if !path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
        return;
    }
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        open_directories(&entry.path());
    }
}

impl Home {
    pub(super) fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    pub(super) fn exists(&self) -> bool {
        self.path.join("plan.json").exists()
    }

    /// Makes the directory with all that is in it; after an error nothing of it is left.
    pub(super) fn make(&self, plan: &Plan) -> Result<()> {
        let made = self.fill(plan);
        if made.is_err() {
            self.remove()?;
        }
        made
    }

    fn fill(&self, plan: &Plan) -> Result<()> {
        let fail = |e| Error::io(format!("cannot make the fake sandbox {}", self.id), e);
        let root = self.root();
        let mut directories =
            vec![self.path.clone(), self.path.join("sessions"), root.clone(), root.join("tmp")];
        if plan.spec.workspace != Workspace::None {
            directories.push(root.join("workspace"));
        }
        if plan.spec.policy.has_own_files() {
            directories.push(root.join(EffectivePolicy::OWN_FILES.trim_start_matches('/')));
        }
        for directory in directories {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
        }
        let text = serde_json::to_vec(plan)
            .map_err(|e| Error::internal("a plan has no JSON form").with_source(e))?;
        // Last, and by a rename: a home with a plan is complete.
        let fresh = self.path.join("plan.new");
        fs::write(&fresh, text).and_then(|()| fs::rename(fresh, self.path.join("plan.json"))).map_err(fail)
    }

    pub(super) fn plan(&self) -> Result<Plan> {
        let text = match fs::read(self.path.join("plan.json")) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::NotFound, format!("there is no fake sandbox {}", self.id)));
            }
            read => read.map_err(|e| Error::io(format!("cannot read the fake sandbox {}", self.id), e))?,
        };
        serde_json::from_slice(&text)
            .map_err(|e| Error::internal("the plan of a fake sandbox is damaged").with_source(e))
    }

    pub(super) fn remove(&self) -> Result<()> {
        // A command may have left directories that not even their owner may read.
        open_directories(&self.path);
        match fs::remove_dir_all(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("cannot remove the fake sandbox {}", self.id), e))
            }
            _ => Ok(()),
        }
    }

    /// The lock that the keeper of this sandbox holds; `None` while another holds it.
    pub(super) fn try_lock(&self) -> Result<Option<File>> {
        let fail = |e| Error::io(format!("cannot lock the fake sandbox {}", self.id), e);
        let path = self.path.join("keeper.lock");
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(fail(e.into())),
        }
    }

    /// Notes that the process `session` and its session belong to this sandbox.
    pub(super) fn note_session(&self, session: i32) -> Result<()> {
        let started = proc::stat(session).map_or(0, |s| s.start_time);
        fs::write(self.path.join("sessions").join(session.to_string()), started.to_string())
            .map_err(|e| Error::io("cannot note a command of a fake sandbox", e))
    }

    /// The sessions of this sandbox that may still have processes.
    pub(super) fn sessions(&self) -> Result<Vec<i32>> {
        let entries = match fs::read_dir(self.path.join("sessions")) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(|e| Error::io("cannot list the commands of a fake sandbox", e))?,
        };
        let mut sessions = Vec::new();
        for entry in entries.filter_map(Result::ok) {
            let Some(session) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else {
                continue;
            };
            let noted = fs::read_to_string(entry.path()).unwrap_or_default();
            // A leader with another start time is a stranger that got the number later.
            let stranger = proc::stat(session).is_some_and(|s| s.start_time.to_string() != noted);
            if stranger {
                forget(&entry.path())?;
            } else {
                sessions.push(session);
            }
        }
        Ok(sessions)
    }

    /// Drops the note of `session` when nothing of it runs any more.
    pub(super) fn forget_if_over(&self, session: i32) -> Result<()> {
        let alive = proc::of_session(session).map_err(|e| Error::io("cannot list processes", e))?;
        if alive.is_empty() { forget(&self.path.join("sessions").join(session.to_string())) } else { Ok(()) }
    }

    /// Kills what is left of every command.
    pub(super) fn kill_all(&self) -> Result<()> {
        for session in self.sessions()? {
            proc::kill_session(session)
                .map_err(|e| Error::io("cannot end a command of a fake sandbox", e))?;
            self.forget_if_over(session)?;
        }
        Ok(())
    }
}

fn forget(note: &Path) -> Result<()> {
    match fs::remove_file(note) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("cannot drop a note of a command", e))
        }
        _ => Ok(()),
    }
}
