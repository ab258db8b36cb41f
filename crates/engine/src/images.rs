//! Images: having the one that a sandbox needs, and the verbs about those that are here.

use crate::{clock, directories, engine::Engine, query, record, request::Effect};
use agentkernel_image::{
    Effect as Removal, Image, ImageInfo, NamedBy, Patience, Prune as Extent, PruneReport, PublicOnly,
    PullOptions, PullPolicy, Pulled, Registries, host_user,
};
use agentkernel_model::{
    Error, Kind, Result,
    command::User,
    image::{Digest, ImageRef, Reference},
    text::printable,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

pub use agentkernel_image::{LayerState, Names, Progress, Proxies, Silent};

/// How long a registry may take to begin an answer, for an image that was only detected: the built-in one takes its place.
const DETECTED_PATIENCE: Duration = Duration::from_secs(2);
/// For how long a registry that could not be reached is not asked again for a detected image.
const UNREACHABLE_FOR: Duration = Duration::from_secs(300);

/// Where a user's settings and credentials of registries are, and what leads to registries.
#[derive(Debug, Clone, Default)]
pub struct ImagePlaces {
    /// `registries.toml` of agentkernel's own configuration.
    pub registries: Option<PathBuf>,
    /// Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// Podman's `auth.json`.
    pub containers_auth: Option<PathBuf>,
    pub proxies: Proxies,
}

/// Who chose an image.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A person: it is never replaced.
    Named,
    /// A file that was only found: it is never replaced, nobody's credentials are used for it, and a repository that somebody
    /// cloned does not make us talk to this machine or its network.
    Found,
    /// Detection: the built-in image takes its place when it cannot be had. `why` is what it was detected from.
    Detected { why: String },
}

/// An image that is on this machine.
#[derive(Debug, Clone)]
pub struct Obtained {
    pub image: ImageRef,
    /// For people: that it is not the one that was detected, and why.
    pub note: Option<String>,
}

pub(crate) fn obtain(
    engine: &Engine,
    wanted: &ImageRef,
    origin: &Origin,
    pull: Option<PullPolicy>,
    progress: &dyn Progress,
) -> Result<Obtained> {
    let as_wanted = || Obtained { image: wanted.clone(), note: None };
    let ImageRef::Oci(reference) = wanted else { return Ok(as_wanted()) };
    let here = engine.images().find(reference)?.is_some();
    // The settings are only read where they could decide something.
    if here && matches!(pull, Some(PullPolicy::Missing | PullPolicy::Never)) {
        return Ok(as_wanted());
    }
    let registries = settings(engine)?;
    let had = match pull.unwrap_or_else(|| registries.pull_policy()) {
        PullPolicy::Missing | PullPolicy::Never if here => Ok(()),
        PullPolicy::Never => Err(Error::new(
            Kind::NotFound,
            format!("image '{reference}' is not on this machine, and pulling is off"),
        )
        .with_hint(format!("agentkernel images pull {reference}"))),
        PullPolicy::Missing | PullPolicy::Always => fetch(engine, reference, registries, origin, progress),
    };
    match (had, origin) {
        (Ok(()), _) => Ok(as_wanted()),
        (Err(error), Origin::Named | Origin::Found) => Err(error),
        (Err(error), Origin::Detected { why }) => instead(reference, why, error),
    }
}

/// The built-in image in place of `reference`, unless `error` says that somebody forged or broke what came.
fn instead(reference: &Reference, why: &str, error: Error) -> Result<Obtained> {
    match error.kind() {
        Kind::Unavailable | Kind::NotFound | Kind::Denied | Kind::Timeout => {
            let note = format!("using image host instead of {reference} (from {}): {error}", printable(why));
            Ok(Obtained { image: ImageRef::Host, note: Some(note) })
        }
        _ => Err(error),
    }
}

fn fetch(
    engine: &Engine,
    reference: &Reference,
    registries: Registries,
    origin: &Origin,
    progress: &dyn Progress,
) -> Result<()> {
    let patience = match origin {
        Origin::Named | Origin::Found => Patience::default(),
        Origin::Detected { .. } => {
            Patience { connect: DETECTED_PATIENCE, answer: DETECTED_PATIENCE, ..Patience::default() }
        }
    };
    let mark = Unreachable::of(engine, reference.registry());
    if matches!(origin, Origin::Detected { .. }) && mark.is_fresh() {
        return Err(Error::new(
            Kind::Unavailable,
            format!("{} could not be reached a moment ago", reference.registry()),
        ));
    }
    directories::ensure(&engine.host)?;
    let mut options = options(engine, registries, patience);
    if matches!(origin, Origin::Found) {
        options.public_only.get_or_insert(public_only(NamedBy::FoundFile));
        (options.docker_config, options.containers_auth) = (None, None);
    }
    let pulled = engine.images().pull(reference, &options, progress);
    match &pulled {
        Err(error) if error.kind() == Kind::Unavailable => mark.set(),
        _ => mark.clear(),
    }
    pulled.map(drop).map_err(|error| about(reference, error))
}

/// `error` of a registry, as one about the image that somebody wants.
fn about(reference: &Reference, error: Error) -> Error {
    if error.message().contains(&format!("'{reference}'")) {
        return error;
    }
    let told = Error::new(error.kind(), format!("image '{reference}' cannot be had: {error}"));
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

pub(crate) fn user(engine: &Engine, image: &ImageRef, name: &str) -> Result<User> {
    match image {
        ImageRef::Host => host_user(name),
        ImageRef::Oci(reference) => {
            let images = engine.images();
            let image = images.find(reference)?.ok_or_else(|| {
                Error::new(Kind::NotFound, format!("image '{reference}' is not on this machine"))
                    .with_hint(format!("agentkernel images pull {reference}"))
            })?;
            images.user(&image, name)
        }
    }
}

pub(crate) fn pull(engine: &Engine, reference: &Reference, progress: &dyn Progress) -> Result<Pulled> {
    directories::ensure(&engine.host)?;
    let options = options(engine, settings(engine)?, Patience::default());
    let pulled = engine.images().pull(reference, &options, progress)?;
    Unreachable::of(engine, reference.registry()).clear();
    Ok(pulled)
}

fn options(engine: &Engine, registries: Registries, patience: Patience) -> PullOptions {
    PullOptions {
        registries,
        docker_config: engine.places.docker_config.clone(),
        containers_auth: engine.places.containers_auth.clone(),
        helper_path: engine.facts.path.clone(),
        proxies: engine.places.proxies.clone(),
        patience,
        public_only: engine.is_for_callers.then(|| public_only(NamedBy::Caller)),
        ..PullOptions::default()
    }
}

fn public_only(named_by: NamedBy) -> PublicOnly {
    PublicOnly { is_public: agentkernel_egress::is_public, named_by }
}

/// What the user wrote about registries; nothing is fine.
fn settings(engine: &Engine) -> Result<Registries> {
    let Some(path) = &engine.places.registries else { return Ok(Registries::default()) };
    match fs::read_to_string(path) {
        Ok(text) => Registries::parse(&path.to_string_lossy(), &text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Registries::default()),
        Err(e) => {
            Err(Error::new(Kind::Config, format!("cannot read '{}'", printable(&path.to_string_lossy())))
                .with_source(e))
        }
    }
}

/// That a registry could not be reached, and when: an empty file whose time of change says it. Only a hint, so that a
/// machine without a network does not wait at every run.
struct Unreachable(PathBuf);

impl Unreachable {
    fn of(engine: &Engine, registry: &str) -> Self {
        Self(engine.host.data.join("images/unreachable").join(registry))
    }

    fn is_fresh(&self) -> bool {
        let changed = fs::metadata(&self.0).and_then(|meta| meta.modified());
        changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < UNREACHABLE_FOR))
    }

    /// Failing to remember costs two seconds at the next run.
    fn set(&self) {
        if let Some(parent) = self.0.parent() {
            let _ = fs::create_dir_all(parent);
        }
        let _ = fs::write(&self.0, "");
    }

    fn clear(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// An image and the sandboxes that were made from it.
#[derive(Debug, Clone, Serialize)]
pub struct ImageRow {
    /// The digest of its configuration.
    pub id: Digest,
    pub names: Vec<Reference>,
    /// `linux/amd64` and the like.
    pub platform: String,
    /// Of its files, unpacked; layers that it shares count for each.
    pub size_bytes: u64,
    pub layers: usize,
    /// When its maker says it was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// When a name of it was last pulled or imported, RFC 3339.
    pub pulled_at: String,
    /// Names of sandboxes.
    pub used_by: Vec<String>,
}

impl ImageRow {
    pub(crate) fn new(image: ImageInfo, used_by: Vec<String>) -> Self {
        Self {
            id: image.id,
            names: image.names,
            platform: image.platform.to_string(),
            size_bytes: image.bytes,
            layers: image.layers,
            created: image.created,
            pulled_at: clock::rfc3339(image.pulled_at),
            used_by,
        }
    }
}

/// What a removal of images freed, or would free.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Freed {
    pub images: Vec<ImageRow>,
    /// Unpacked layers that nothing needs.
    pub layers: usize,
    /// Broken downloads and other beginnings.
    pub leftovers: usize,
    pub bytes: u64,
    /// Images that stay because something runs on them.
    pub in_use: usize,
}

impl From<PruneReport> for Freed {
    fn from(report: PruneReport) -> Self {
        Self {
            images: report.images.into_iter().map(|image| ImageRow::new(image, Vec::new())).collect(),
            layers: report.layers,
            leftovers: report.leftovers,
            bytes: report.bytes,
            in_use: report.in_use,
        }
    }
}

/// What a check of the store mended.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// Names that meant nothing any more.
    pub names: Vec<String>,
    /// Images that were not whole.
    pub images: Vec<Digest>,
    pub freed: Freed,
}

/// What `prune` may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Every image that nothing uses.
    Unused,
    /// Of those, only what agentkernel built itself, and leftovers.
    Built,
}

/// Repositories of images that agentkernel built.
pub const BUILT: &str = "agentkernel-";

pub(crate) fn list(engine: &Engine) -> Result<Vec<ImageRow>> {
    let users = users(engine)?;
    let row = |image: ImageInfo| {
        let used_by = users.get(&image.id).cloned().unwrap_or_default();
        ImageRow::new(image, used_by)
    };
    Ok(engine.images().list()?.into_iter().map(row).collect())
}

pub(crate) fn import(
    engine: &Engine,
    source: &Path,
    name: Option<&Reference>,
    names: Names,
    progress: &dyn Progress,
) -> Result<Vec<ImageRow>> {
    directories::ensure(&engine.host)?;
    let images = engine.images().import(source, name, names, progress)?;
    let all = engine.images().list()?;
    let imported = all.into_iter().filter(|info| images.iter().any(|image| *image.id() == info.id));
    Ok(imported.map(|info| ImageRow::new(info, Vec::new())).collect())
}

pub(crate) fn check(engine: &Engine) -> Result<Checked> {
    let report = engine.images().check()?;
    Ok(Checked { names: report.names, images: report.images, freed: report.swept.into() })
}

/// By image, the names of the sandboxes that were made from it.
fn users(engine: &Engine) -> Result<BTreeMap<Digest, Vec<String>>> {
    let mut users: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for record in query::records(engine)? {
        if let Some(id) = record::origins(&record, &engine.facts)?.image {
            users.entry(id).or_default().push(record.name.to_string());
        }
    }
    Ok(users)
}

pub(crate) fn prune(engine: &Engine, which: Prune, effect: Effect) -> Result<Freed> {
    let images = engine.images();
    let keep = || {
        let mut keep: BTreeSet<Digest> = users(engine)?.into_keys().collect();
        if which == Prune::Built {
            let built = |name: &Reference| name.familiar_name().starts_with(BUILT);
            keep.extend(images.list()?.into_iter().filter(|i| !i.names.iter().any(built)).map(|i| i.id));
        }
        Ok(keep)
    };
    let effect = match effect {
        Effect::Apply => Removal::Remove,
        Effect::DryRun => Removal::Report,
    };
    images.prune_keeping(keep, Extent::Unused, effect).map(Freed::from)
}

pub(crate) fn remove(engine: &Engine, reference: &Reference) -> Result<()> {
    let images = engine.images();
    let image: Option<Image> = images.find(reference)?;
    let Some(image) = image else {
        return Err(Error::new(Kind::NotFound, format!("image '{reference}' is not on this machine"))
            .with_hint("agentkernel images list"));
    };
    if let Some([first, ..]) = users(engine)?.get(image.id()).map(Vec::as_slice) {
        return Err(Error::new(
            Kind::Conflict,
            format!("the sandbox '{first}' was made from image '{reference}'"),
        )
        .with_hint(format!("agentkernel sandbox remove {first}")));
    }
    images.remove(reference).map(drop)
}
