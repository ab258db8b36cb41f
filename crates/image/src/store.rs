//! The store of images: found by name or id, leased, listed.

use crate::{
    config::ImageConfig,
    disk,
    layers::Held,
    layout::{Layout, digest_of},
    lock::Lock,
    merged::Merged,
    platform::Platform,
    records::{self, Name, Record},
    rootfs, users,
};
use agentkernel_backend::Lease;
use agentkernel_model::{
    Error, Kind, Result,
    command::User,
    image::{Digest, Reference},
    text::printable,
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// The images of one user, below one directory. Any number of processes may use it at once, and any may be killed at any
/// moment. Making this value touches nothing.
#[derive(Debug, Clone)]
pub struct Images {
    pub(crate) layout: Layout,
    pub(crate) uid: u32,
}

/// An image that is here: its configuration, and layers in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    id: Digest,
    record: Record,
}

/// An image of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    pub id: Digest,
    /// All its names, sorted; none when its last one means another image now.
    pub names: Vec<Reference>,
    pub platform: Platform,
    /// Of its files, unpacked. Layers that it shares with others count for each.
    pub bytes: u64,
    pub layers: usize,
    /// When its maker says it was made, RFC 3339.
    pub created: Option<String>,
    /// When a name of it was last pulled or imported: milliseconds since 1970.
    pub pulled_at: i64,
}

impl Image {
    /// The digest of its configuration: what an image is known by everywhere.
    #[must_use]
    pub const fn id(&self) -> &Digest {
        &self.id
    }

    #[must_use]
    pub const fn platform(&self) -> &Platform {
        &self.record.platform
    }

    /// Bytes of its files.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.record.bytes
    }

    /// Words before those of a run's command.
    #[must_use]
    pub fn entrypoint(&self) -> &[String] {
        &self.record.entrypoint
    }

    /// What it runs when nobody names a command.
    #[must_use]
    pub fn command(&self) -> &[String] {
        &self.record.command
    }

    pub(crate) const fn record(&self) -> &Record {
        &self.record
    }
}

impl Images {
    /// The store below `dir`, for a process of `uid`: as root, layers keep the owners that they have inside; as a user,
    /// all is the user's.
    #[must_use]
    pub const fn new(dir: PathBuf, uid: u32) -> Self {
        Self { layout: Layout::new(dir), uid }
    }

    /// The image that `reference` means here; `None` when it has to be pulled. Reads two small files, and waits for
    /// nobody.
    ///
    /// # Errors
    /// When the store is broken or cannot be read.
    pub fn find(&self, reference: &Reference) -> Result<Option<Image>> {
        match Name::read(&self.layout, reference)? {
            Some(name) => self.find_id(&name.image),
            None => Ok(None),
        }
    }

    /// The image with this id (config digest), whatever it is called.
    ///
    /// # Errors
    /// As [`Images::find`].
    pub fn find_id(&self, id: &Digest) -> Result<Option<Image>> {
        Ok(Record::read(&self.layout, id)?.map(|record| Image { id: id.clone(), record }))
    }

    /// The root of `image`, which stays while the lease lives, in this process and those that it starts.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when it was removed since it was found, or a part of it is missing.
    pub fn lease(&self, image: &Image) -> Result<Lease> {
        let gone = || {
            Error::new(Kind::NotFound, format!("image {} is no longer whole", image.id))
                .with_hint("pull it again; 'agentkernel images local-sync' mends the list of images")
        };
        if !self.layout.exists() {
            return Err(gone());
        }
        let lock = Lock::shared(&self.layout.in_use(&image.id))?;
        // Whoever removes it takes the record first, and holds the lock alone.
        let parts = [self.layout.image(&image.id)].into_iter();
        let trees = image.record.layers.iter().map(|layer| self.layout.layer_tree(layer));
        if !parts.chain(trees).all(|path| path.exists()) {
            return Err(gone());
        }
        let rootfs = rootfs::of_image(&self.layout, self.uid, image)?;
        Ok(Lease::guarded(rootfs, Arc::new(lock)))
    }

    /// The number of the user that `name` (or `name:group`) is in `image`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the image has none of that name.
    pub fn user(&self, image: &Image, name: &str) -> Result<User> {
        let trees: Vec<PathBuf> =
            rootfs::stack(&image.record.layers).map(|layer| self.layout.layer_tree(layer)).collect();
        let root = Merged::open(trees.iter().map(PathBuf::as_path))
            .map_err(|e| Error::io("cannot open the layers of the image", e))?;
        users::resolve(&root, Some(name)).map(|found| found.user)
    }

    /// Every image, sorted by name, those without one last.
    ///
    /// # Errors
    /// When the store cannot be read. What is broken in it is left out: [`Images::check`] tells.
    pub fn list(&self) -> Result<Vec<ImageInfo>> {
        let (names, _) = Name::all(&self.layout)?;
        let mut by_image: BTreeMap<Digest, Vec<Name>> = BTreeMap::new();
        for name in names {
            by_image.entry(name.image.clone()).or_default().push(name);
        }
        let mut list = Vec::new();
        for id in self.ids()? {
            let Ok(Some(record)) = Record::read(&self.layout, &id) else { continue };
            list.push(info(&id, record, by_image.remove(&id).unwrap_or_default()));
        }
        list.sort_by(|a, b| {
            (a.names.is_empty(), &a.names, &a.id).cmp(&(b.names.is_empty(), &b.names, &b.id))
        });
        Ok(list)
    }

    /// The ids of all records.
    pub(crate) fn ids(&self) -> Result<Vec<Digest>> {
        Ok(disk::names(&self.layout.images())?.iter().filter_map(|hex| digest_of(hex)).collect())
    }

    /// Writes an image whose layers are here and held, lowest first, and its names.
    pub(crate) fn commit(&self, new: &NewImage<'_>, held: &[(Digest, Held)]) -> Result<Image> {
        let tree = |layer: &Digest| self.layout.layer_tree(layer);
        let trees: Vec<PathBuf> = rootfs::stack(&new.config.diff_ids).map(tree).collect();
        let root = Merged::open(trees.iter().map(PathBuf::as_path))
            .map_err(|e| Error::io("cannot open the layers of the image", e))?;
        let user = users::resolve(&root, new.config.user.as_deref())?;
        let record = Record {
            version: Record::VERSION,
            platform: new.config.platform.clone(),
            manifest: new.manifest.map(|(digest, _)| digest.clone()),
            layers: new.config.diff_ids.clone(),
            bytes: held.iter().map(|(_, held)| held.facts.bytes).sum(),
            env: new.config.env.clone(),
            workdir: new.config.workdir.clone(),
            user: new.config.user.is_some().then_some(user.user),
            home: user.home,
            entrypoint: new.config.entrypoint.clone(),
            command: new.config.command.clone(),
            created: new.config.created.clone(),
            stored_at: now(),
        };
        let lock = records::lock(&self.layout)?;
        if let Some((digest, bytes)) = new.manifest {
            disk::replace(&self.layout.manifest(digest), bytes)?;
        }
        disk::replace(&self.layout.config(new.id), new.config_bytes)?;
        records::write(&lock, &self.layout.image(new.id), &record)?;
        for reference in new.names {
            let name = Name::new(reference.clone(), new.id.clone(), new.named.cloned(), now());
            records::write(&lock, &self.layout.name(reference), &name)?;
        }
        Ok(Image { id: new.id.clone(), record })
    }
}

/// An image that is about to be written.
pub(crate) struct NewImage<'a> {
    pub(crate) id: &'a Digest,
    pub(crate) config: &'a ImageConfig,
    pub(crate) config_bytes: &'a [u8],
    pub(crate) manifest: Option<(&'a Digest, &'a [u8])>,
    /// What its names lead to where it came from.
    pub(crate) named: Option<&'a Digest>,
    pub(crate) names: &'a [Reference],
}

fn info(id: &Digest, record: Record, names: Vec<Name>) -> ImageInfo {
    let pulled_at = names.iter().map(|name| name.pulled_at).max().unwrap_or(record.stored_at);
    let mut references: Vec<Reference> = names.into_iter().map(|name| name.reference).collect();
    references.sort();
    ImageInfo {
        id: id.clone(),
        names: references,
        platform: record.platform,
        bytes: record.bytes,
        layers: record.layers.len(),
        created: record.created,
        pulled_at,
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// An error about `image`, which its own message does not name.
pub(crate) fn about(image: &str, error: Error) -> Error {
    let told = Error::new(error.kind(), format!("image '{}': {}", printable(image), error.message()));
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}
