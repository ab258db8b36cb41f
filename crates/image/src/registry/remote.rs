//! All places where an image may be, in the order in which they are asked: mirrors, then the registry itself.

use super::{
    download::Partial,
    failure::{Failure, Peer, Remedy},
    session::{self, Place, Session},
};
use crate::{
    manifest::{self, Descriptor, ImageManifest, Manifest},
    platform::Platform,
    registries::Registries,
};
use agentkernel_model::{
    Result,
    image::{Digest, Reference},
};

pub(crate) use super::session::Surroundings;

pub(crate) struct Remote<'a> {
    sessions: Vec<Session<'a>>,
    /// Which of them had the manifest.
    first: usize,
}

/// A manifest as the registry has it, with what led to it.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) manifest: ImageManifest,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    /// What the name leads to: an index, or the manifest itself.
    pub(crate) named: Digest,
    /// Who had it.
    pub(crate) source: String,
}

impl<'a> Remote<'a> {
    /// # Errors
    /// [`Kind::Denied`](agentkernel_model::Kind::Denied) for a blocked registry.
    pub(crate) fn new(
        around: Surroundings<'a>,
        reference: &'a Reference,
        registries: &Registries,
    ) -> Result<Self> {
        let registry = reference.registry();
        registries.admit(registry)?;
        let repository = reference.repository();
        let mut sessions = Vec::new();
        for mirror in registries.mirrors(registry) {
            let place = Place::Known(mirror.clone());
            sessions.push(Session::new(around, mirror.authority(), repository, place));
        }
        if registries.asks_itself(registry) {
            let place = session::place_of(registry)?;
            sessions.push(Session::new(around, registry.to_owned(), repository, place));
        }
        Ok(Self { sessions, first: 0 })
    }

    /// The manifest of `reference` for `platform`.
    ///
    /// # Errors
    /// Of the registry itself, when no place has it.
    pub(crate) async fn manifest(&mut self, reference: &Reference, platform: &Platform) -> Result<Fetched> {
        let image = reference.to_string();
        let named = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.as_str(),
            (None, tag) => tag.unwrap_or("latest"),
        };
        let ask = async |session: &Session<'_>| session.manifest(&image, named, reference.digest()).await;
        let (place, (bytes, digest)) = self.each(ask).await?;
        self.first = place;
        let source = self.sessions[place].registry.clone();
        let about = |e| crate::store::about(&image, e);
        let index = match manifest::parse_manifest(&bytes).map_err(about)? {
            Manifest::Image(manifest) => {
                return Ok(Fetched { manifest, bytes, named: digest.clone(), digest, source });
            }
            Manifest::Index(index) => index,
        };
        let entry = index.choose(&image, platform)?.descriptor.clone();
        let ask = async |session: &Session<'_>| {
            session.manifest(&image, entry.digest.as_str(), Some(&entry.digest)).await
        };
        let (_, (bytes, _)) = self.each(ask).await?;
        match manifest::parse_manifest(&bytes).map_err(about)? {
            Manifest::Image(manifest) => {
                Ok(Fetched { manifest, bytes, digest: entry.digest, named: digest, source })
            }
            Manifest::Index(_) => Err(Failure::lie(
                Peer::Registry(&source),
                &format!("has an index in the index of image '{image}'"),
            )
            .error),
        }
    }

    /// A small blob, whole.
    ///
    /// # Errors
    /// As [`Remote::manifest`].
    pub(crate) async fn blob(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        self.each(async |session: &Session<'_>| session.blob(blob, limit).await).await.map(|(_, body)| body)
    }

    /// Completes `partial`, so that it is `blob`.
    ///
    /// # Errors
    /// As [`Remote::manifest`]. What may be good stays in `partial`.
    pub(crate) async fn download(&self, blob: &Descriptor, partial: &mut Partial) -> Result<()> {
        let ask = async |session: &Session<'_>| session.download(blob, partial).await;
        self.each(ask).await.map(drop)
    }

    /// Asks one place after the other, the one that had the manifest first.
    async fn each<T>(
        &self,
        mut ask: impl AsyncFnMut(&Session<'_>) -> Result<T, Failure>,
    ) -> Result<(usize, T)> {
        let count = self.sessions.len();
        let mut refused = None;
        for place in (self.first..count).chain(0..self.first) {
            let session = &self.sessions[place];
            let failure = match ask(session).await {
                Ok(answer) => return Ok((place, answer)),
                Err(failure) => failure,
            };
            if failure.remedy == Remedy::None {
                return Err(failure.error);
            }
            // People ask for the registry's own image: its own word is what they hear when nobody has it.
            if place + 1 == count {
                refused = Some(failure.error);
            } else {
                session.around.progress.note(&format!("mirror passed over: {}", failure.error));
            }
        }
        Err(refused.unwrap_or_else(|| agentkernel_model::Error::internal("no registry was asked")))
    }
}
