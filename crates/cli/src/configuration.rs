//! Which configuration takes effect: the file, template and devcontainer.json that a person named, and below them what
//! was only found in the project.

use crate::{
    agent,
    args::SandboxArgs,
    project::{self, FOUND, Reach},
    templates::Library,
};
use agentkernel_config::{
    Build, Config, FileBody, FileEntry, MountRequest, Restricted, devcontainer,
    file::MAX_LEN,
    template::{self, Origin, Specifier},
    trust,
};
use agentkernel_engine::Engine;
use agentkernel_model::{
    Error, Result,
    agent::Agent,
    image::ImageRef,
    limits::{Limit, Limits},
    policy::Profile,
    text::printable,
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Everything that files say, together. Sources of files are read, and every path in it is absolute: each layer has a
/// directory of its own that its relative paths start from, and its own reach.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What of it takes effect; the image stands apart.
    pub(crate) config: Config,
    /// The image that a person's own word leads to, and which word that was.
    pub(crate) named: Option<(ImageRef, String)>,
    /// The image of a file that was only found, and how far that file is trusted: detection asks it last.
    pub(crate) found: Option<(ImageRef, Reach)>,
    /// Sizes of a built-in template, where nothing else says any: nobody asked for them, so they are as good as a profile's.
    pub(crate) sizes: Limits,
    /// The coding agent that the sandbox is to suit: a person's own word.
    pub(crate) agent: Option<Agent>,
    /// What `--build` builds, and how far its paths may lead.
    pub(crate) build: (Build, Reach),
    /// For stderr and `--json`.
    pub(crate) notes: Vec<String>,
}

/// A configuration, and where it came from.
#[derive(Debug)]
struct Layer {
    config: Config,
    /// Of a configuration that may not build by itself.
    build: Build,
    reach: Reach,
    /// How its image is explained; `None` when it was only found.
    word: Option<String>,
    /// Relative paths start here.
    base: PathBuf,
    sizes: Limits,
    notes: Vec<String>,
}

/// `program` is what is to be run.
///
/// # Errors
/// For files that are not there or malformed; nothing was started.
pub(crate) fn load(
    engine: &Engine,
    flags: &SandboxArgs,
    cwd: &Path,
    program: Option<&str>,
) -> Result<Loaded> {
    let mut layers = Vec::new();
    layers.extend(flags.config.as_deref().map(|path| named_file(path, cwd)).transpose()?);
    layers.extend(flags.template.as_ref().map(|name| from_template(engine, flags, name, cwd)).transpose()?);
    layers.extend(devcontainer_file(engine, flags, cwd)?);
    let named = layers.iter().find_map(|layer| {
        let image = layer.config.image.clone()?;
        Some((image, layer.word.clone().unwrap_or_default()))
    });
    let mut found = None;
    if flags.config.is_none() {
        let profile = flags.profile.or_else(|| layers.iter().find_map(|layer| layer.config.profile));
        let listed = lists_only(flags, &layers) || agent_of(flags, &layers, program).is_some();
        let chosen = Chosen { profile, listed };
        if let Some(layer) = found_file(engine, chosen, cwd)? {
            found = layer.config.image.clone().map(|image| (image, layer.reach));
            layers.push(layer);
        }
    }
    let agent = agent_of(flags, &layers, program);
    let build = layers.iter().map(|layer| (layer.build(), layer.reach)).find(|(build, _)| !build.is_empty());
    let build = build.unwrap_or((Build::default(), Reach::Project));
    let mut notes: Vec<String> = Vec::new();
    let mut config = Config::default();
    let mut sizes = Limits { memory: None, cpus: None, pids: None };
    for layer in layers {
        sizes = Limits {
            memory: sizes.memory.or(layer.sizes.memory),
            cpus: sizes.cpus.or(layer.sizes.cpus),
            pids: sizes.pids.or(layer.sizes.pids),
        };
        notes.extend(layer.notes);
        config = config.over(layer.config);
    }
    notes.extend(config.validate().iter().map(ToString::to_string));
    if !config.unused.is_empty() {
        notes.push(format!("no effect in this version: {}", printable(&config.unused.join(", "))));
    }
    Ok(Loaded { config, named, found, sizes, agent, build, notes })
}

impl Layer {
    fn new(config: Config, base: &Path) -> Self {
        let base = base.to_owned();
        let sizes = Limits { memory: None, cpus: None, pids: None };
        let (build, reach) = (Build::default(), Reach::Anywhere);
        Self { config, build, reach, word: None, base, sizes, notes: Vec::new() }
    }

    /// Only what a file may decide that nobody trusts, beside what was `chosen`; `shown` is how it is named.
    fn restricted(mut self, chosen: Chosen, shown: &str) -> Self {
        let restricted = chosen.restrict(self.config);
        self.notes.extend(restricted.note(shown));
        (self.config, self.build, self.reach) = (restricted.config, restricted.build, Reach::Project);
        self
    }

    /// Reads the sources of files and makes paths absolute, from this layer's own directory.
    fn anchored(mut self) -> Result<Self> {
        for file in &mut self.config.files {
            if let FileBody::Source(path) = file.body() {
                let content = FileBody::Content(project::read_source(&self.base, path, self.reach)?);
                *file = FileEntry::new(file.dest().clone(), file.mode(), content)?;
            }
        }
        for mount in &mut self.config.mounts {
            let is_path = mount.source().contains('/') || matches!(mount.source(), "." | "..");
            if is_path {
                let source = absolute(&self.base, mount.source())?;
                *mount = MountRequest::new(&source, mount.target().clone(), mount.access())?;
            }
        }
        let paths = [
            &mut self.config.workspace.path,
            &mut self.config.build.context,
            &mut self.config.build.dockerfile,
            &mut self.build.context,
            &mut self.build.dockerfile,
        ];
        for path in paths.into_iter().flatten() {
            *path = absolute(&self.base, path)?;
        }
        Ok(self)
    }

    fn build(&self) -> Build {
        if self.config.build.is_empty() { self.build.clone() } else { self.config.build.clone() }
    }
}

/// What a person chose, which a file that was only found can only tighten.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    profile: Option<Profile>,
    /// Nothing is let out but what a person listed.
    listed: bool,
}

impl Chosen {
    /// By flags alone.
    fn by(flags: &SandboxArgs) -> Self {
        let listed = lists_only(flags, &[]) || flags.agent.is_some();
        Self { profile: flags.profile, listed }
    }

    fn restrict(self, config: Config) -> Restricted {
        let restricted = trust::restrict(config, self.profile);
        if self.listed { restricted.beside_a_list() } else { restricted }
    }
}

/// Whether a person said, by a flag or in a file that they named, that only what is listed is let out; secrets that are
/// sent to hosts say so too.
fn lists_only(flags: &SandboxArgs, named: &[Layer]) -> bool {
    let lists = |config: &Config| config.domains.allowlist_only == Some(true) || !config.secrets.is_empty();
    flags.only_listed || flags.secrets.binds() || named.iter().any(|layer| lists(&layer.config))
}

/// The agent that flags, or files that somebody named or trusts, ask for.
fn agent_of(flags: &SandboxArgs, layers: &[Layer], program: Option<&str>) -> Option<Agent> {
    let trusted = layers.iter().filter(|layer| layer.reach != Reach::Project).map(|layer| &layer.config);
    agent::asked(flags.agent, trusted, program)
}

fn absolute(base: &Path, path: &str) -> Result<String> {
    base.join(path).into_os_string().into_string().map_err(|path| {
        Error::invalid(format!("the path {} is not UTF-8", printable(&path.to_string_lossy())))
            .with_hint("rename the directory")
    })
}

fn named_file(path: &Path, cwd: &Path) -> Result<Layer> {
    let shown = printable(&path.to_string_lossy());
    let whole = cwd.join(path);
    let text = project::into_text(&shown, project::read_named(&whole, &shown)?)?;
    let mut layer = Layer::new(Config::parse(&shown, &text)?, whole.parent().unwrap_or(cwd));
    layer.word = Some(format!("--config {shown}"));
    layer.anchored()
}

/// What a template says. One that others wrote is restricted as a found file is.
fn from_template(engine: &Engine, flags: &SandboxArgs, specifier: &Specifier, cwd: &Path) -> Result<Layer> {
    let found = template::resolve(specifier, &Library { engine, cwd })?;
    let base = match specifier {
        Specifier::Path(path) => cwd.join(path).parent().unwrap_or(cwd).to_owned(),
        Specifier::Name(_) | Specifier::Github(_) => cwd.to_owned(),
    };
    let mut layer = Layer::new(found.config, &base);
    layer.word = Some(format!("template {}", printable(&found.name)));
    if found.origin == Origin::BuiltIn {
        layer.sizes = Limits {
            memory: layer.config.memory.take().map(Limit::Default),
            cpus: layer.config.cpus.take().map(Limit::Default),
            pids: layer.config.pids.take().map(Limit::Default),
        };
    }
    if found.origin == Origin::Fetched {
        let restricted = Chosen::by(flags).restrict(layer.config);
        if !restricted.ignored.is_empty() {
            layer.notes.push(format!(
                "template {} was written by others, so {} is not applied; to allow it: download it, read it, and name \
                 the file",
                printable(&found.name),
                restricted.ignored.join(", ")
            ));
        }
        (layer.config, layer.build, layer.reach) = (restricted.config, restricted.build, Reach::Project);
    }
    layer.anchored()
}

/// Where `--auto-devcontainer` looks, in this order (containers.dev, "devcontainer.json").
const DEVCONTAINERS: [&str; 2] = [".devcontainer/devcontainer.json", ".devcontainer.json"];

fn devcontainer_file(engine: &Engine, flags: &SandboxArgs, cwd: &Path) -> Result<Option<Layer>> {
    let named = flags.devcontainer.clone();
    let there = || DEVCONTAINERS.iter().find(|path| cwd.join(path).exists()).map(PathBuf::from);
    let Some(path) = named.clone().or_else(|| flags.auto_devcontainer.then(there).flatten()) else {
        return Ok(None);
    };
    let shown = printable(&path.to_string_lossy());
    let whole = cwd.join(&path);
    let content = project::read_named(&whole, &shown)?;
    let trusted = named.is_none() && engine.is_trusted(&whole, &content)?;
    let (root, folder) = devcontainer_project(&whole);
    let name = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let place = devcontainer::Project { name: &name, folder: &folder };
    let read = devcontainer::parse(&shown, &project::into_text(&shown, content)?, place)?;
    let mut layer = Layer::new(read.config, root);
    layer.word = Some(shown.clone());
    layer.notes = read.notes;
    if trusted {
        layer.reach = Reach::Trusted;
    } else if named.is_none() {
        layer = layer.restricted(Chosen::by(flags), &shown);
    }
    layer.anchored().map(Some)
}

/// The directory of the project that a devcontainer.json belongs to, and where the file is in it.
fn devcontainer_project(file: &Path) -> (&Path, String) {
    const FOLDER: &str = ".devcontainer";
    let parent = file.parent().unwrap_or(file);
    let is_folder = |dir: &Path| dir.file_name().is_some_and(|name| name == FOLDER);
    match parent.parent() {
        Some(root) if is_folder(parent) => (root, FOLDER.to_owned()),
        Some(folder) if is_folder(folder) => {
            let name = parent.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            (folder.parent().unwrap_or(folder), format!("{FOLDER}/{name}"))
        }
        _ => (parent, String::new()),
    }
}

/// The configuration in `cwd`, as far as it may decide.
fn found_file(engine: &Engine, chosen: Chosen, cwd: &Path) -> Result<Option<Layer>> {
    let path = cwd.join(FOUND);
    let content = match project::read_bounded(&path, MAX_LEN + 1) {
        Ok(content) => content,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(project::unreadable(FOUND, e)),
    };
    let trusted = engine.is_trusted(&path, &content)?;
    let mut layer = Layer::new(Config::parse(FOUND, &project::into_text(FOUND, content)?)?, cwd);
    if trusted {
        layer.reach = Reach::Trusted;
    } else {
        layer = layer.restricted(chosen, &format!("./{FOUND}"));
    }
    layer.anchored().map(Some)
}
