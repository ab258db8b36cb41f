//! What callers say about a new sandbox, for one command or named, on its way to a spec. The HTTP API and the MCP server
//! share it.

use crate::{app::App, secrets::Wanted};
use agentkernel_config::{
    Ingredients,
    detect::{self, ProjectFiles},
    ingredients::Surroundings,
};
use agentkernel_engine::{
    Engine, guard,
    images::{Origin, Silent},
};
use agentkernel_model::{
    Error, Kind, Result,
    command::EnvVar,
    egress::{EgressRule, Otherwise},
    image::ImageRef,
    mount::{Mount, VolumeArg, Workspace},
    path::GuestPath,
    policy::{NetworkSwitch, Profile},
    port::PublishedPort,
    size::{ByteSize, Cpus},
    spec::{Lifetime, SandboxSpec},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Everything about a new sandbox that a caller may choose. What is left out is the profile's and the image's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) image: Option<ImageRef>,
    /// The first word of the command, from which an image is detected where none is named.
    pub(crate) program: Option<String>,
    /// Whether the built-in image may take the place of a detected one that cannot be had.
    pub(crate) host_fallback: bool,
    pub(crate) profile: Option<Profile>,
    pub(crate) network: Option<bool>,
    pub(crate) rules: Vec<EgressRule>,
    pub(crate) only_listed: bool,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) workdir: Option<GuestPath>,
    pub(crate) vcpus: Option<u16>,
    pub(crate) memory_mb: Option<u32>,
    pub(crate) ports: Vec<PublishedPort>,
    /// As `--volume`; host paths only below the directories that the server was told of.
    pub(crate) volumes: Vec<String>,
    pub(crate) secrets: Wanted,
    pub(crate) init_script: Option<String>,
}

/// A spec, and what was decided on the way to it.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) spec: SandboxSpec,
    pub(crate) secrets: Wanted,
    /// For people: where the image came from, when it was not named.
    pub(crate) notes: Vec<String>,
}

/// A caller has no directory.
struct NoProject;

impl ProjectFiles for NoProject {
    fn names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn procfile(&self) -> Result<Option<String>> {
        Ok(None)
    }
}

impl App {
    /// The spec of `wish`, whose image is on this machine afterwards.
    ///
    /// # Errors
    /// What the caller wrote that cannot be or that the server does not allow, and an image that cannot be had.
    pub(crate) async fn grant(&self, wish: Wish, lifetime: Lifetime) -> Result<Granted> {
        let engine = Arc::clone(&self.engine);
        let (allow_paths, allow_files) = (self.options.allow_paths.clone(), self.options.allow_secret_files);
        // Pulling blocks for as long as it takes.
        let granting = move || grant(&engine, &allow_paths, allow_files, wish, lifetime);
        tokio::task::spawn_blocking(granting)
            .await
            .map_err(|e| Error::internal("the preparation of a sandbox was cut off").with_source(e))?
    }
}

fn grant(
    engine: &Engine,
    allow_paths: &[PathBuf],
    allow_files: bool,
    wish: Wish,
    lifetime: Lifetime,
) -> Result<Granted> {
    if !wish.secrets.files.is_empty() && !allow_files {
        return Err(Error::new(Kind::Denied, "this server shows no secrets of the vault inside sandboxes")
            .with_hint("bind it to a host with secrets, or start the server with --allow-secret-files"));
    }
    let mounts =
        wish.volumes.iter().map(|text| mount(engine, allow_paths, text)).collect::<Result<Vec<_>>>()?;
    let (image, note) = image(engine, &wish)?;
    let ingredients = Ingredients {
        init_script: wish.init_script,
        workdir: wish.workdir,
        env: wish.env,
        cpus: wish.vcpus.map(Cpus::from_whole),
        memory: wish.memory_mb.map(ByteSize::from_mib),
        ports: wish.ports,
        profile: wish.profile,
        network: wish.network.map(|on| if on { NetworkSwitch::On } else { NetworkSwitch::Off }),
        rules: wish.rules,
        otherwise: wish.only_listed.then_some(Otherwise::Deny),
        secrets: wish.secrets.bindings.clone(),
        secret_files: wish.secrets.files.clone(),
        ..Ingredients::default()
    };
    let mut spec = ingredients.into_spec(Surroundings {
        image,
        workspace: Workspace::None,
        mounts,
        // What the profile permissive grants is of whoever runs the server, and no caller's.
        home: None,
        locale: Vec::new(),
        lifetime,
    })?;
    guard::keep_read_only(&mut spec, &[])?;
    Ok(Granted { spec, secrets: wish.secrets, notes: note.into_iter().collect() })
}

/// The image, which is on this machine then, and what led to it where nobody named it.
fn image(engine: &Engine, wish: &Wish) -> Result<(ImageRef, Option<String>)> {
    if let Some(image) = &wish.image {
        let obtained = engine.obtain_image(image, &Origin::Named, None, &Silent)?;
        return Ok((obtained.image, obtained.note));
    }
    let found = match &wish.program {
        Some(program) => detect::for_command(program, &NoProject, None)?,
        None => detect::for_project(&NoProject, None)?,
    };
    let why = found.why.to_string();
    if wish.host_fallback {
        let obtained = engine.obtain_image(&found.image, &Origin::Detected { why }, None, &Silent)?;
        return Ok((obtained.image, obtained.note));
    }
    let obtained = engine.obtain_image(&found.image, &Origin::Named, None, &Silent).map_err(|e| {
        let kind = e.kind();
        Error::new(kind, format!("the image {} (from {why}) cannot be had: {e}", found.image)).with_hint(
            "name another image; \"image\": \"host\" is this machine's own programs, and \"host_fallback\": true takes it \
             where a detected one cannot be had",
        )
    })?;
    Ok((obtained.image, obtained.note))
}

/// What `text` mounts, where a caller may.
fn mount(engine: &Engine, allow_paths: &[PathBuf], text: &str) -> Result<Mount> {
    let mount = match VolumeArg::parse(text, Path::new("/"))? {
        VolumeArg::Managed { name, target, access } => engine.volume_mount(&name, &target, access)?,
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
            Mount { source, ..mount }
        }
    };
    Ok(mount)
}
