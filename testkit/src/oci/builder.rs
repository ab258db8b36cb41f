//! Recipes into images, through a cache of packages and of finished layers.

use super::{
    apt::{Apt, Package},
    catalogue::{Base, Extra, Recipe, User},
    config::ImageConfig,
    failed,
    image::{Image, digest_of},
    layer::{Attributes, Layer, LayerWriter},
    packages, skeleton,
};
use agentkernel_model::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// Part of the key of every cached layer: another number when the code that makes layers makes other ones.
const FORMAT: u32 = 2;

/// Makes images. Holds a lock on its cache: another process waits until this value is dropped.
#[derive(Debug)]
pub struct Builder {
    cache: PathBuf,
    apt: Apt,
    _lock: File,
}

/// A finished image and what it took.
#[derive(Debug, Clone)]
pub struct Built {
    pub image: Image,
    pub packages: usize,
    /// Bytes of all layers as they are transferred, and unpacked.
    pub compressed: u64,
    pub unpacked: u64,
    /// How many layers were made; the others were in the cache.
    pub made: usize,
}

const LAYER: &str = "layer.tar.gz";
const LABEL: &str = "layer.json";

/// Which packages go into which layer.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    busybox: Option<Package>,
    layers: Vec<Vec<Package>>,
}

impl Plan {
    /// All layers of an image, lowest first.
    fn contents<'a>(&'a self, recipe: &'a Recipe) -> Vec<Content<'a>> {
        let mut contents = vec![Content::Skeleton { busybox: self.busybox.as_ref() }];
        contents.extend(self.layers.iter().map(|packages| Content::Packages(packages)));
        contents.push(Content::Top(recipe));
        contents
    }
}

/// What a layer is made from, as the key of the cache sees it.
#[derive(Debug)]
enum Content<'a> {
    Skeleton { busybox: Option<&'a Package> },
    Packages(&'a [Package]),
    Top(&'a Recipe),
}

/// A layer's file in the cache has this beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Label {
    digest: agentkernel_model::image::Digest,
    size: u64,
    diff_id: agentkernel_model::image::Digest,
    unpacked: u64,
}

impl Builder {
    /// A builder whose cache is the directory `cache`. Waits for another one that has it.
    ///
    /// # Errors
    /// When the directory cannot be made, and those of apt.
    pub fn open(cache: &Path) -> Result<Self> {
        for name in ["layers", "plans"] {
            let path = cache.join(name);
            fs::create_dir_all(&path).map_err(|e| failed("make", &path, e))?;
        }
        let path = cache.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|e| failed("open", &path, e))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|e| failed("lock", &path, e.into()))?;
        Ok(Self { cache: cache.to_owned(), apt: Apt::open(cache.join("apt"))?, _lock: lock })
    }

    /// Makes the next images from the newest packages.
    ///
    /// # Errors
    /// [`Unavailable`](agentkernel_model::Kind::Unavailable) when the archive does not answer.
    pub fn refresh(&self) -> Result<()> {
        self.apt.update()
    }

    /// The image of `recipe`. Packages that the archive no longer has are looked up anew, once.
    ///
    /// # Errors
    /// Those of apt, and when the disk is full.
    pub fn build(&self, recipe: &Recipe) -> Result<Built> {
        let mut plan = self.plan(recipe)?;
        if !plan.contents(recipe).iter().all(|content| self.find(content).is_some()) {
            let all = words(recipe, recipe.layers.len());
            if self.apt.download(&all).is_err() {
                self.apt.update()?;
                self.apt.download(&all)?;
                plan = self.plan(recipe)?;
            }
        }
        let mut layers = Vec::new();
        let mut made = 0;
        for content in plan.contents(recipe) {
            layers.push(match self.find(&content) {
                Some(layer) => layer,
                None => {
                    made += 1;
                    self.make(&content)?
                }
            });
        }
        Ok(Built {
            image: Image::new(recipe.name.parse()?, &config(recipe), &layers).indexed(),
            packages: plan.busybox.iter().count() + plan.layers.iter().map(Vec::len).sum::<usize>(),
            compressed: layers.iter().map(Layer::size).sum(),
            unpacked: layers.iter().map(Layer::unpacked).sum(),
            made,
        })
    }

    /// Which packages go where. Asking apt takes longer than all else when the layers are there already, so its answer is
    /// kept for as long as the index of packages is the same.
    fn plan(&self, recipe: &Recipe) -> Result<Plan> {
        let question = format!("{FORMAT} {:?} {:?} {}", recipe.base, recipe.layers, self.apt.generation()?);
        let path = self.cache.join("plans").join(digest_of(question.as_bytes()).hex());
        if let Some(plan) = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(plan);
        }
        let busybox = match recipe.base {
            Base::Busybox => self.apt.closure(&["busybox-static"])?.into_iter().next(),
            Base::Plain => None,
        };
        let mut below: Vec<Package> = busybox.iter().cloned().collect();
        let mut layers = Vec::new();
        for depth in 1..=recipe.layers.len() {
            let mut packages = self.apt.closure(&words(recipe, depth))?;
            packages.retain(|package| !below.contains(package));
            below.extend(packages.iter().cloned());
            layers.push(packages);
        }
        let plan = Plan { busybox, layers };
        write_json(&path, &plan)?;
        Ok(plan)
    }

    fn place(&self, content: &Content<'_>) -> PathBuf {
        let key = digest_of(format!("{FORMAT} {content:?} {}", skeleton::PASSWD).as_bytes());
        self.cache.join("layers").join(key.hex())
    }

    /// The finished layer in the cache; `None` when it is not there in full.
    fn find(&self, content: &Content<'_>) -> Option<Layer> {
        let place = self.place(content);
        let path = place.join(LAYER);
        let label: Label = serde_json::from_slice(&fs::read(place.join(LABEL)).ok()?).ok()?;
        let whole = path.metadata().ok()?.len() == label.size;
        let Label { digest, size, diff_id, unpacked } = label;
        whole.then_some(Layer { path, digest, size, diff_id, unpacked })
    }

    fn make(&self, content: &Content<'_>) -> Result<Layer> {
        let (place, new) = (self.place(content), self.cache.join("layers/new"));
        remove(&new)?;
        remove(&place)?;
        fs::create_dir_all(&new).map_err(|e| failed("make", &new, e))?;
        let mut writer = LayerWriter::create(new.join(LAYER))?;
        self.fill(&mut writer, content)?;
        let layer = writer.finish()?;
        let Layer { digest, size, diff_id, unpacked, .. } = layer.clone();
        write_json(&new.join(LABEL), &Label { digest, size, diff_id, unpacked })?;
        fs::rename(&new, &place).map_err(|e| failed("make", &place, e))?;
        Ok(Layer { path: place.join(LAYER), ..layer })
    }

    fn fill(&self, layer: &mut LayerWriter, content: &Content<'_>) -> Result<()> {
        match content {
            Content::Skeleton { busybox } => {
                skeleton::add(layer)?;
                if let Some(package) = busybox {
                    let path = self.apt.path(package);
                    packages::add(layer, &path, &package.digest)?;
                    skeleton::add_applets(layer, &path, &self.cache)?;
                }
                Ok(())
            }
            Content::Packages(list) => list
                .iter()
                .try_for_each(|package| packages::add(layer, &self.apt.path(package), &package.digest)),
            Content::Top(recipe) => top(layer, recipe),
        }
    }
}

/// The packages of the lowest `depth` layers.
fn words(recipe: &Recipe, depth: usize) -> Vec<&'static str> {
    let busybox: &[&str] = if recipe.base == Base::Busybox { &["busybox-static"] } else { &[] };
    let named = recipe.layers.iter().take(depth).flat_map(|layer| layer.iter().copied());
    busybox.iter().copied().chain(named).collect()
}

/// What makes the image this one: accounts, links, scripts, and a plain word about what it is.
fn top(layer: &mut LayerWriter, recipe: &Recipe) -> Result<()> {
    let account = |user: &User| format!("{0}:x:{1}:{1}:{0}:{2}:/bin/sh\n", user.name, user.id, user.home);
    let group = |user: &User| format!("{}:x:{}:\n", user.name, user.id);
    if !recipe.users.is_empty() {
        let passwd: String = recipe.users.iter().map(account).collect();
        let groups: String = recipe.users.iter().map(group).collect();
        layer.file("etc/passwd", 0o644, format!("{}{passwd}", skeleton::PASSWD).as_bytes())?;
        layer.file("etc/group", 0o644, format!("{}{groups}", skeleton::GROUP).as_bytes())?;
    }
    let name = recipe.name;
    let note = format!(
        "This image is a stand-in for {name}, made by agentkernel's tests from packages of Debian.\n\
         It has nothing of the real image but the name, the usual programs and a similar configuration.\n"
    );
    layer.file("etc/agentkernel-fixture", 0o644, note.as_bytes())?;
    let release = format!(
        "NAME=\"agentkernel fixture\"\nPRETTY_NAME=\"agentkernel fixture for {name}, made from Debian packages\"\n\
         ID=agentkernel-fixture\nID_LIKE=debian\n"
    );
    layer.file("etc/os-release", 0o644, release.as_bytes())?;
    for extra in recipe.extras {
        match *extra {
            Extra::Link { path, target } => layer.symlink(path, target)?,
            Extra::File { path, mode, text } => layer.file(path, mode, text.as_bytes())?,
            Extra::Directory { path, mode, owner } => {
                layer.directory_as(path, Attributes { mode, uid: owner, gid: owner })?;
            }
        }
    }
    Ok(())
}

fn config(recipe: &Recipe) -> ImageConfig {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let labels = [
        ("org.opencontainers.image.title", recipe.name),
        (
            "org.opencontainers.image.description",
            "a stand-in made from packages of Debian, for agentkernel's tests",
        ),
    ];
    ImageConfig {
        entrypoint: owned(recipe.entrypoint),
        command: owned(recipe.command),
        env: recipe.env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        user: String::new(),
        workdir: recipe.workdir.to_owned(),
        labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect::<BTreeMap<_, _>>(),
        volumes: Vec::new(),
    }
}

/// Whoever is killed while writing leaves no half of a file under its name.
fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value)
        .map_err(|e| Error::internal(format!("cannot write '{}'", path.display())).with_source(e))?;
    let new = path.with_extension("new");
    fs::write(&new, text).and_then(|()| fs::rename(&new, path)).map_err(|e| failed("write", path, e))
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", directory, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "builder_tests.rs"]
mod tests;
