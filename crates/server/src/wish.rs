//! What callers say about a new sandbox, for one command or named, on its way to a spec. The HTTP API and the MCP server
//! share it.

use crate::{
    agent,
    app::App,
    options::Options,
    secrets::{SecretBroker, Wanted},
};
use agentkernel_config::{
    Account, Ingredients,
    detect::{self, ProjectFiles},
    ingredients::Surroundings,
    trust,
};
use agentkernel_engine::{
    Engine, guard,
    images::{Origin, Progress},
};
use agentkernel_model::{
    Error, Kind, Result,
    agent::Agent,
    image::ImageRef,
    mount::{Mount, VolumeArg, Workspace},
    spec::{Lifetime, SandboxSpec},
    text::printable,
};
use std::{path::PathBuf, sync::Arc};

/// Everything about a new sandbox that a caller may choose. What is left out is the profile's and the image's.
#[derive(Debug)]
pub(crate) struct Wish {
    /// The first word of the command, from which an image is detected where none is named.
    pub(crate) program: Option<String>,
    /// Whether the built-in image may take the place of a detected one that cannot be had.
    pub(crate) host_fallback: bool,
    /// The coding agent that it is to suit.
    pub(crate) agent: Option<Agent>,
    /// Host paths of volumes only below the directories that the server was told of.
    pub(crate) ingredients: Ingredients,
    /// What `/workspace` is; a directory of this machine only where the server was told of it.
    pub(crate) workspace: Workspace,
}

/// A spec, and what was decided on the way to it.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) spec: SandboxSpec,
    pub(crate) secrets: Wanted,
    /// For people: where the image came from, when it was not named, and what an agent has to do without.
    pub(crate) notes: Vec<String>,
}

/// A caller has no directory.
struct NoProject;

impl ProjectFiles for NoProject {
    fn has(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    fn names(&self) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    fn procfile(&self) -> Result<Option<String>> {
        Ok(None)
    }
}

impl App {
    /// The spec of `wish`, whose image is on this machine afterwards. `progress` hears of a pull.
    ///
    /// # Errors
    /// What the caller wrote that cannot be or that the server does not allow, and an image that cannot be had.
    pub(crate) async fn grant(
        &self,
        wish: Wish,
        lifetime: Lifetime,
        progress: impl Progress + Send + 'static,
    ) -> Result<Granted> {
        let (engine, broker) = (Arc::clone(&self.engine), Arc::clone(&self.secrets));
        let bounds = Bounds::of(&self.options);
        bounds.check(&wish.ingredients)?;
        // Pulling blocks for as long as it takes.
        let granting = move || grant(&engine, &*broker, &bounds, wish, lifetime, &progress);
        tokio::task::spawn_blocking(granting)
            .await
            .map_err(|e| Error::internal("the preparation of a sandbox was cut off").with_source(e))?
    }
}

/// What the owner of the server lets callers have.
struct Bounds {
    paths: Vec<PathBuf>,
    secret_files: bool,
    private_network: bool,
}

impl Bounds {
    fn of(options: &Options) -> Self {
        Self {
            paths: options.allow_paths.clone(),
            secret_files: options.allow_secret_files,
            private_network: options.allow_private_network,
        }
    }

    /// # Errors
    /// [`Kind::Denied`] for what is the owner's to say.
    fn check(&self, asked: &Ingredients) -> Result<()> {
        let denied = |what: &str, hint: &str| Err(Error::new(Kind::Denied, what.to_owned()).with_hint(hint));
        if !asked.secret_files.is_empty() && !self.secret_files {
            return denied(
                "this server shows no secrets of the vault inside sandboxes",
                "bind it to a host with secrets, or start the server with --allow-secret-files",
            );
        }
        // The gateway connects as the owner: to this server, to other services of the machine, to its networks.
        if let Some(rule) = asked.rules.iter().find(|rule| trust::leads_inside(rule))
            && !self.private_network
        {
            return denied(
                &format!("the rule '{rule}' leads to more than public addresses"),
                "name a host instead, or start the server with --allow-private-network",
            );
        }
        if !asked.allow_write.is_empty() {
            return denied(
                "callers cannot make guarded files of a mounted directory writable",
                "leave security.allow_write out; 'agentkernel sandbox create --allow-write' is the owner's own word",
            );
        }
        if asked.runtime.is_some() {
            return denied(
                "callers cannot choose another OCI runtime",
                "leave sandbox.oci_runtime out; 'agentkernel sandbox create --runtime' is the owner's own word",
            );
        }
        Ok(())
    }
}

fn grant(
    engine: &Engine,
    broker: &dyn SecretBroker,
    bounds: &Bounds,
    wish: Wish,
    lifetime: Lifetime,
    progress: &dyn Progress,
) -> Result<Granted> {
    let (image, note) = image(engine, &wish, progress)?;
    let mut notes: Vec<String> = note.into_iter().collect();
    let (workspace, mut ingredients) = (wish.workspace, wish.ingredients);
    if let Some(agent) = wish.agent {
        notes.extend(agent::furnish(agent, broker, &mut ingredients)?);
    }
    if let Some(Account::Named(name)) = &ingredients.user {
        ingredients.user = Some(Account::Numbered(engine.user_of(&image, name)?));
    }
    ingredients.read_sources(|path| Err(not_here(path)))?;
    let volumes = std::mem::take(&mut ingredients.volumes);
    let mounts = volumes.iter().map(|volume| mount(engine, &bounds.paths, volume)).collect::<Result<_>>()?;
    let secrets = Wanted { bindings: ingredients.secrets.clone(), files: ingredients.secret_files.clone() };
    let mut spec = ingredients.into_spec(Surroundings {
        image,
        workspace,
        mounts,
        // What the profile permissive grants is of whoever runs the server, and no caller's.
        home: None,
        locale: Vec::new(),
        lifetime,
    })?;
    if wish.agent.is_some() {
        agent::lay_memory_under(&mut spec);
    }
    guard::keep_read_only(&mut spec, &[])?;
    Ok(Granted { spec, secrets, notes })
}

fn not_here(path: &str) -> Error {
    Error::new(Kind::Denied, format!("the file '{}' is of another machine", printable(path))).with_hint(
        "give its content in the configuration, or put it inside with PUT /sandboxes/NAME/files/PATH",
    )
}

/// The image, which is on this machine then, and what led to it where nobody named it.
fn image(engine: &Engine, wish: &Wish, progress: &dyn Progress) -> Result<(ImageRef, Option<String>)> {
    if let Some(image) = &wish.ingredients.image {
        let obtained = engine.obtain_image(image, &Origin::Named, None, progress)?;
        return Ok((obtained.image, obtained.note));
    }
    let found = match &wish.program {
        Some(program) => detect::for_command(program, &NoProject, None)?,
        None => detect::for_project(&NoProject, None)?,
    };
    let why = found.why.to_string();
    if wish.host_fallback {
        let obtained = engine.obtain_image(&found.image, &Origin::Detected { why }, None, progress)?;
        return Ok((obtained.image, obtained.note));
    }
    let obtained = engine.obtain_image(&found.image, &Origin::Named, None, progress).map_err(|e| {
        let kind = e.kind();
        Error::new(kind, format!("the image {} (from {why}) cannot be had: {e}", found.image)).with_hint(
            "name another image; \"image\": \"host\" is this machine's own programs, and \"host_fallback\": true takes it \
             where a detected one cannot be had",
        )
    })?;
    Ok((obtained.image, obtained.note))
}

/// What `volume` mounts, where a caller may.
fn mount(engine: &Engine, allow_paths: &[PathBuf], volume: &VolumeArg) -> Result<Mount> {
    let mount = match volume {
        VolumeArg::Managed { name, target, access } => engine.volume_mount(name, target, *access)?,
        VolumeArg::Host(mount) => {
            let refused = || {
                Error::new(Kind::Denied, "this server does not let callers mount that path").with_hint(
                    "name a volume, as in cache:/data, or start the server with --allow-path DIRECTORY",
                )
            };
            // Without links, so that none leads out; the same answer for what is not there.
            let source = mount.source.canonicalize().map_err(|_| refused())?;
            if !allow_paths.iter().any(|root| source.starts_with(root)) {
                return Err(refused());
            }
            Mount { source, ..mount.clone() }
        }
    };
    Ok(mount)
}
