//! Pulling: from a reference to an image in the store.

use crate::{
    config::{self, ImageConfig},
    credentials::Keyring,
    halt::Halt,
    layers::{Held, Maker, Packed, Wanted},
    manifest::Descriptor,
    platform::{self, Platform},
    progress::{LayerState, Progress},
    proxies::Proxies,
    registries::Registries,
    registry::{
        Bounds, Client, Fetched, Partial, Patience as Strangers, Remote, Surroundings, remove_leftover,
    },
    store::{Image, Images, NewImage, about},
};
use agentkernel_model::{
    Error, Result,
    image::{Digest, Reference},
};
use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::runtime::{Builder, Handle, Runtime};

/// Layers that are fetched and unpacked at the same time.
const WORKERS: usize = 3;

/// How to pull.
#[derive(Debug, Clone)]
pub struct PullOptions {
    pub platform: Platform,
    pub registries: Registries,
    /// Docker's configuration with credentials, `~/.docker/config.json`. `None`: not looked at.
    pub docker_config: Option<PathBuf>,
    /// That of Podman and Skopeo, `$XDG_RUNTIME_DIR/containers/auth.json`. `None`: not looked at.
    pub containers_auth: Option<PathBuf>,
    /// Where credential helpers may be: the caller's PATH, split.
    pub helper_path: Vec<PathBuf>,
    pub proxies: Proxies,
    pub patience: Patience,
    /// Where the image was named by somebody who is not this machine's owner.
    pub public_only: Option<PublicOnly>,
}

/// Nobody is talked to but public addresses and what [`PullOptions::registries`] lists.
#[derive(Debug, Clone, Copy)]
pub struct PublicOnly {
    pub is_public: fn(IpAddr) -> bool,
    pub named_by: NamedBy,
}

/// Who named an image and does not own this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// Of a server.
    Caller,
    /// A configuration that nobody named or trusts.
    FoundFile,
}

/// How long strangers are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection, the look-up of its name and TLS included. An image that nobody named deserves 2 s.
    pub connect: Duration,
    /// For an answer to begin, the connection included.
    pub answer: Duration,
    /// Without a byte.
    pub idle: Duration,
    /// Before the first repetition; each next one waits twice as long, up to 10 s, and all together 3 minutes.
    pub backoff: Duration,
    /// For a credential helper, which may ask its owner.
    pub helper: Duration,
}

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub image: Image,
    /// Whether the name means another image than before the pull.
    pub change: Change,
    /// Who had it: the registry or a mirror.
    pub source: String,
    /// What the name leads to there: an index or a manifest.
    pub digest: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The name was not here.
    New,
    /// The name meant another image.
    Moved,
    UpToDate,
}

impl Default for PullOptions {
    /// For this machine, from everywhere, with no credentials.
    fn default() -> Self {
        Self {
            platform: Platform::of_this_machine(),
            registries: Registries::default(),
            docker_config: None,
            containers_auth: None,
            helper_path: Vec::new(),
            proxies: Proxies::default(),
            patience: Patience::default(),
            public_only: None,
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            backoff: Duration::from_millis(300),
            helper: Duration::from_secs(60),
        }
    }
}

impl Images {
    /// Brings the image that `reference` means at its registry. What is here already is not fetched again, and what an
    /// interrupted pull left is used. All threads have ended when it returns.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound) when there is no such image, or it needs credentials that
    /// nobody gave; `Denied` when the registry or its owner's rules refuse; `Unsupported` when it is for other machines;
    /// `Unavailable`, to be tried later, when a registry cannot be reached or has enough of us; `Invalid` when somebody
    /// lies about digests or lengths, or sends what is no image: nothing of that is kept; `Exhausted` when the disk is
    /// full: what came so far is.
    pub fn pull(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<Pulled> {
        self.layout.prepare()?;
        // A record that is broken is written anew.
        let before = self.find(reference).unwrap_or_default();
        let Patience { connect, answer, idle, backoff, helper } = options.patience;
        let strangers = Strangers { connect, answer, idle, backoff };
        let within = |only| Bounds::public(only, &options.registries);
        let bounds = options.public_only.map(within).unwrap_or_default();
        let client = Client::new(strangers, &options.proxies, bounds)?;
        let keyring = Keyring {
            docker_config: options.docker_config.as_deref(),
            containers_auth: options.containers_auth.as_deref(),
            helper_path: &options.helper_path,
            helper_timeout: helper,
        };
        let halt = Halt::new();
        // One thread, which is joined with the value: nothing goes on behind the caller's back.
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Error::io("cannot start a runtime", e))?;
        let around = Surroundings { client: &client, keyring: &keyring, halt: &halt, progress };
        let mut remote = Remote::new(around, reference, &options.registries)?;
        let (fetched, config, config_bytes) =
            runtime.block_on(describe(&mut remote, reference, &options.platform))?;
        let maker =
            Maker { layout: &self.layout, uid: self.uid, halt: &halt, progress, swollen: Default::default() };
        let held = fetch(&runtime, &remote, &maker, &layers(&fetched, &config))?;
        let new = NewImage {
            id: &fetched.manifest.config.digest,
            config: &config,
            config_bytes: &config_bytes,
            manifest: Some((&fetched.digest, &fetched.bytes)),
            named: Some(&fetched.named),
            names: std::slice::from_ref(reference),
        };
        let image = self.commit(&new, &held).map_err(|e| about(&reference.to_string(), e))?;
        let change = match before {
            None => Change::New,
            Some(before) if before.id() == image.id() => Change::UpToDate,
            Some(_) => Change::Moved,
        };
        Ok(Pulled { image, change, source: fetched.source, digest: fetched.named })
    }
}

/// Manifest and configuration, which fit together and are for this machine.
async fn describe(
    remote: &mut Remote<'_>,
    reference: &Reference,
    platform: &Platform,
) -> Result<(Fetched, ImageConfig, Vec<u8>)> {
    let fetched = remote.manifest(reference, platform).await?;
    let bytes = remote.blob(&fetched.manifest.config, config::MAX_CONFIG).await?;
    let image = reference.to_string();
    let config = config::parse_config(&bytes).map_err(|e| about(&image, e))?;
    if platform.fit(&config.platform).is_none() {
        return Err(platform::missing(&image, platform, std::iter::once(&config.platform)));
    }
    let (layers, diff_ids) = (fetched.manifest.layers.len(), config.diff_ids.len());
    if layers != diff_ids {
        let message = format!("its manifest has {layers} layers, and its configuration {diff_ids}");
        return Err(about(&image, Error::invalid(message)));
    }
    Ok((fetched, config, bytes))
}

/// A layer to be had: what it is, and what to fetch for it.
#[derive(Debug, Clone, Copy)]
struct Layer<'a> {
    diff_id: &'a Digest,
    blob: &'a Descriptor,
}

/// Every layer once: some come twice, above all the empty one.
fn layers<'a>(fetched: &'a Fetched, config: &'a ImageConfig) -> Vec<Layer<'a>> {
    let mut layers: Vec<Layer<'a>> = Vec::new();
    for (blob, diff_id) in fetched.manifest.layers.iter().zip(&config.diff_ids) {
        if !layers.iter().any(|known| known.diff_id == diff_id) {
            layers.push(Layer { diff_id, blob });
        }
    }
    layers
}

/// Has all layers made, some at a time. Each worker drives its own download and then unpacks; this thread drives what
/// they share: sockets and timers.
fn fetch(
    runtime: &Runtime,
    remote: &Remote<'_>,
    maker: &Maker<'_>,
    layers: &[Layer<'_>],
) -> Result<Vec<(Digest, Held)>> {
    for layer in layers {
        maker.progress.layer(&layer.blob.digest, Some(layer.blob.size));
    }
    let queue = Mutex::new(layers.iter());
    let outcome: Outcome = Mutex::new(Ok(Vec::with_capacity(layers.len())));
    let (working, mut ended) = tokio::sync::mpsc::channel::<()>(1);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for number in 0..WORKERS.min(layers.len()) {
            let (queue, outcome, working) = (&queue, &outcome, working.clone());
            let work = move || {
                let _working = working;
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some(layer) = next().filter(|_| !maker.halt.is_called()) {
                    let made = one(runtime.handle(), remote, maker, layer);
                    record(outcome, maker.halt, layer, made);
                }
            };
            let spawned =
                std::thread::Builder::new().name(format!("layer-{number}")).spawn_scoped(scope, work);
            match spawned {
                Ok(worker) => workers.push(worker),
                Err(e) => fail(outcome, maker.halt, Error::io("cannot start a thread", e)),
            }
        }
        drop(working);
        // Nobody sends: it ends when the last worker has let go.
        runtime.block_on(ended.recv());
        // A scope waits for its threads' work and not for their end; callers that fork need that too.
        for worker in workers {
            if worker.join().is_err() {
                fail(&outcome, maker.halt, Error::internal("a thread that made a layer failed"));
            }
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

type Outcome = Mutex<Result<Vec<(Digest, Held)>>>;

fn record(outcome: &Outcome, halt: &Halt, layer: &Layer<'_>, made: Result<Held>) {
    match made {
        Ok(held) => {
            if let Ok(all) = outcome.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                all.push((layer.diff_id.clone(), held));
            }
        }
        Err(error) => fail(outcome, halt, error),
    }
}

/// The first failure is the one that is told; it stops the others.
fn fail(outcome: &Outcome, halt: &Halt, error: Error) {
    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
    if outcome.is_ok() {
        *outcome = Err(error);
    }
    halt.call();
}

fn one(handle: &Handle, remote: &Remote<'_>, maker: &Maker<'_>, layer: &Layer<'_>) -> Result<Held> {
    let wanted = Wanted { diff_id: layer.diff_id, known_as: &layer.blob.digest };
    let path = maker.layout.partial(&layer.blob.digest);
    let mut is_here = true;
    let held = maker.hold(&wanted, |pass_on| {
        is_here = false;
        let mut partial = Partial::open(path.clone())?;
        maker.progress.state(&layer.blob.digest, LayerState::Downloading);
        handle.block_on(remote.download(layer.blob, &mut partial)).inspect_err(|_| {
            // An empty one is of no use to anybody.
            if partial.have() == 0 {
                drop(std::fs::remove_file(partial.path()));
            }
        })?;
        let size = partial.have();
        let passed = pass_on(Packed { source: partial.file(), size });
        match passed {
            // Unpacked, or not what it should be; after other failures it is good for another try.
            Ok(()) => partial.discard(),
            Err(error) if error.kind() == agentkernel_model::Kind::Invalid => {
                partial.discard()?;
                Err(about_layer(layer, error))
            }
            Err(error) => Err(error),
        }
    })?;
    // Of a pull that was killed when it had just unpacked the layer.
    if is_here && path.exists() {
        remove_leftover(&path)?;
    }
    Ok(held)
}

fn about_layer(layer: &Layer<'_>, error: Error) -> Error {
    let told = Error::new(error.kind(), format!("layer {}: {}", layer.blob.digest, error.message()));
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}
