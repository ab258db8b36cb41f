//! A blob on its way to the disk: hashed while it comes, resumed after a break, and thrown away when it is not what it
//! should be.

use super::{
    client::too_slow,
    failure::{Asked, Failure},
    retry::{Retries, WhenUnreachable},
    session::Session,
};
use crate::{
    digest,
    disk::{self, failed},
    halt::Halt,
    lock::Lock,
    manifest::Descriptor,
};
use agentkernel_model::{Error, Kind, Result, image::Digest};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, HeaderMap},
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// So much of a blob makes up for the breaks before it.
const PROGRESS: u64 = 16 << 20;

/// What is here of a blob: a file that is locked by who writes it.
#[derive(Debug)]
pub(crate) struct Partial {
    lock: Lock,
    path: PathBuf,
    hash: Sha256,
    have: u64,
    /// Whether some of it came with an earlier answer: if it is bad, that may be why.
    resumed: Resumed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resumed {
    Yes,
    No,
}

impl Partial {
    /// What an earlier download left at `path`, or nothing yet. Waits for who else downloads it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let lock = Lock::exclusive(&path)?;
        let mut partial = Self { lock, path, hash: Sha256::new(), have: 0, resumed: Resumed::No };
        let read = digest::read(&mut partial.hash, partial.lock.file());
        partial.have = read.map_err(|e| failed("read", &partial.path, e))?;
        if partial.have > 0 {
            partial.resumed = Resumed::Yes;
        }
        Ok(partial)
    }

    /// The file itself.
    pub(crate) const fn file(&mut self) -> &File {
        self.lock.file()
    }

    /// Removes it: it is unpacked, or it is bad.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn discard(self) -> Result<()> {
        self.lock.discard(&self.path)
    }

    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.lock.file().write_all(chunk).map_err(|e| failed("write", &self.path, e))?;
        self.hash.update(chunk);
        self.have += chunk.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        let file = self.lock.file();
        file.set_len(0).and_then(|()| file.rewind()).map_err(|e| failed("write", &self.path, e))?;
        self.hash = Sha256::new();
        self.have = 0;
        self.resumed = Resumed::No;
        Ok(())
    }

    fn digest(&self) -> Digest {
        digest::finished(&self.hash)
    }

    /// Bytes that are here.
    pub(crate) const fn have(&self) -> u64 {
        self.have
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Session<'_> {
    /// Completes `partial`, so that it is `blob`. After an error it holds what may be good, for a later try.
    pub(crate) async fn download(&self, blob: &Descriptor, partial: &mut Partial) -> Result<(), Failure> {
        let result = self.complete(blob, partial).await;
        match result {
            // Somebody lied: whatever came of it is not kept.
            Err(failure) if failure.error.kind() == Kind::Invalid => {
                partial.restart().map_err(Failure::last)?;
                Err(failure)
            }
            result => result,
        }
    }

    async fn complete(&self, blob: &Descriptor, partial: &mut Partial) -> Result<(), Failure> {
        let mut retries = Retries::new(self.around.client.patience().backoff, WhenUnreachable::Wait);
        let mut counted = partial.have;
        let mut second_chance = true;
        let mut short = 0;
        loop {
            match self.attempt(blob, partial).await {
                Ok(End::Complete) => {}
                Ok(End::Short) => {
                    short += 1;
                    if short == 2 {
                        let what =
                            format!("ends {} after {} of {} bytes", blob.digest, partial.have, blob.size);
                        return Err(Failure::lie(self.peer(), &what));
                    }
                    continue;
                }
                Err(failure) => {
                    if partial.have >= counted.saturating_add(PROGRESS) {
                        retries.progress();
                        counted = partial.have;
                    }
                    retries.wait(failure, self.around.halt).await?;
                    continue;
                }
            }
            let digest = partial.digest();
            if digest == blob.digest {
                return Ok(());
            }
            if !second_chance || partial.resumed == Resumed::No {
                return Err(Failure::lie(self.peer(), &format!("sends {digest} for {}", blob.digest)));
            }
            second_chance = false;
            partial.restart().map_err(Failure::last)?;
        }
    }

    /// One request, for what is missing.
    async fn attempt(&self, blob: &Descriptor, partial: &mut Partial) -> Result<End, Failure> {
        if partial.have > blob.size {
            partial.restart().map_err(Failure::last)?;
        }
        if partial.have == blob.size {
            return Ok(End::Complete);
        }
        let asked = Asked::Blob(blob.digest.as_str());
        let mut response = self.get(&self.path(blob), None, partial.have, asked).await?;
        self.place(blob, partial, &response)?;
        let mut pace = Pace::new(partial.have);
        loop {
            if pace.is_too_slow(partial.have) {
                return Err(too_slow(self.peer(), &asked));
            }
            let chunk = tokio::select! {
                chunk = response.chunk() => chunk.map_err(|e| Failure::transport(self.peer(), &e))?,
                () = self.around.halt.called() => return Err(Failure::last(Halt::error())),
            };
            let Some(chunk) = chunk else { break };
            if partial.have + chunk.len() as u64 > blob.size {
                let what = format!("sends more than the {} bytes of {}", blob.size, blob.digest);
                return Err(Failure::lie(self.peer(), &what));
            }
            partial.write(&chunk).map_err(Failure::last)?;
            self.around.progress.bytes(&blob.digest, partial.have);
        }
        Ok(if partial.have == blob.size { End::Complete } else { End::Short })
    }

    /// Makes `partial` end where the answer begins.
    fn place(&self, blob: &Descriptor, partial: &mut Partial, response: &Response) -> Result<(), Failure> {
        let lie = |what: String| Err(Failure::lie(self.peer(), &what));
        let length = response.content_length();
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = Range::of(response.headers());
                let fits =
                    range.is_some_and(|r| r.start == partial.have && r.total.is_none_or(|t| t == blob.size));
                if !fits || length.is_some_and(|l| l > blob.size - partial.have) {
                    return lie(format!("sends another part of {} than was asked for", blob.digest));
                }
                partial.resumed = Resumed::Yes;
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.restart().map_err(Failure::last)?;
                let message = format!("registry '{}' sends no parts of {}", self.registry, blob.digest);
                return Err(Failure::again(Error::new(Kind::Unavailable, message).retry_later()));
            }
            // A server that knows no ranges sends all.
            _ => {
                if let Some(length) = length.filter(|l| *l != blob.size) {
                    return lie(format!(
                        "says that {} has {length} bytes, and its manifest says {}",
                        blob.digest, blob.size
                    ));
                }
                if partial.have > 0 {
                    partial.restart().map_err(Failure::last)?;
                }
            }
        }
        self.around.progress.bytes(&blob.digest, partial.have);
        Ok(())
    }
}

/// How an answer ended that did not break off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    /// With less than the blob has.
    Short,
}

/// `Content-Range: bytes START-END/TOTAL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    start: u64,
    total: Option<u64>,
}

impl Range {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let start = range.split_once('-')?.0.trim().parse().ok()?;
        Some(Self { start, total: total.trim().parse().ok() })
    }
}

/// Removes what is left of a download at `path`, unless somebody is busy with it; its bytes.
///
/// # Errors
/// When it cannot be removed.
pub(crate) fn remove_leftover(path: &Path) -> Result<Option<u64>> {
    let Some(lock) = Lock::attempt(path)? else { return Ok(None) };
    let bytes = disk::remove(path)?;
    drop(lock);
    Ok(bytes)
}

/// Whether a download gets on at all: a server that sends a byte now and then is never idle.
struct Pace {
    since: Instant,
    have: u64,
}

impl Pace {
    const WINDOW: Duration = Duration::from_secs(60);
    /// In a window: slower than any modem.
    const LEAST: u64 = 60 * 1024;

    fn new(have: u64) -> Self {
        Self { since: Instant::now(), have }
    }

    fn is_too_slow(&mut self, have: u64) -> bool {
        if self.since.elapsed() < Self::WINDOW {
            return false;
        }
        let slow = have - self.have < Self::LEAST;
        *self = Self::new(have);
        slow
    }
}
