//! The output of a detached command as it grows, with the place of each byte in it, so that whoever lost it can go on.

use super::{Place, Seen, log::Start, no_such};
use crate::{
    audit::reader,
    changes::Changes,
    directories::SandboxDir,
    keeper, record,
    request::{DetachedInfo, DetachedStatus, DetachedStream},
};
use agentkernel_model::{Error, Result, id::DetachedId, position::LogPosition};
use std::{
    fs::File,
    future::pending,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
    pin::Pin,
};

/// How much is handed out at once.
const PIECE: usize = 32 * 1024;

/// What is new of a command.
#[derive(Debug)]
pub enum CommandEvent {
    /// It wrote this.
    Output { stream: DetachedStream, bytes: Vec<u8> },
    /// So many bytes are not in the log any more.
    Gap { stream: DetachedStream, bytes: u64 },
    /// It has ended, and this is the last event.
    Ended(DetachedInfo),
}

/// What a detached command writes, until its end.
pub struct FollowingCommand {
    sandbox: Seen,
    id: DetachedId,
    changes: Changes,
    /// Resolves when nobody keeps the sandbox.
    ending: Pin<Box<dyn Future<Output = Result<()>> + Send>>,
    tails: Vec<Tail>,
    position: LogPosition,
    is_told: bool,
}

impl std::fmt::Debug for FollowingCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FollowingCommand").field("tails", &self.tails).finish_non_exhaustive()
    }
}

impl FollowingCommand {
    pub(super) fn new(
        sandbox: Seen,
        dir: SandboxDir,
        id: DetachedId,
        stream: Option<DetachedStream>,
        from: LogPosition,
    ) -> Result<Self> {
        // Before the first look, so that nothing falls between.
        let changes = Changes::of(sandbox.place.path())?;
        let tails = [DetachedStream::Stdout, DetachedStream::Stderr]
            .into_iter()
            .filter(|own| stream.is_none_or(|one| one == *own))
            .map(|stream| Tail::of(&sandbox.place, id, stream, at(from, stream)))
            .collect();
        let ending: Pin<Box<dyn Future<Output = Result<()>> + Send>> = match sandbox.over {
            None => Box::pin(async move { keeper::ended(&dir).await }),
            Some(_) => Box::pin(pending()),
        };
        Ok(Self { sandbox, id, changes, ending, tails, position: from, is_told: false })
    }

    /// Behind what was handed out: where another follower goes on.
    #[must_use]
    pub const fn position(&self) -> LogPosition {
        self.position
    }

    /// What comes next; `None` when its end was told.
    ///
    /// # Errors
    /// When the logs cannot be read; [`agentkernel_model::Kind::NotFound`] when the sandbox was removed.
    pub async fn next(&mut self) -> Result<Option<CommandEvent>> {
        while !self.is_told {
            // Before the logs: what has ended has written everything.
            let stored = self.sandbox.place.read(self.id)?;
            let stored = stored.ok_or_else(|| no_such(&self.sandbox.record.name, &self.id))?;
            let logs = [DetachedStream::Stdout, DetachedStream::Stderr].map(|stream| stored.log(stream));
            let info = self.sandbox.shown(stored);
            let is_over = info.status != DetachedStatus::Running;
            if let Some(event) = self.written(logs, is_over)? {
                return Ok(Some(event));
            }
            if is_over {
                self.is_told = true;
                return Ok(Some(CommandEvent::Ended(info)));
            }
            tokio::select! {
                changed = self.changes.wait() => changed?,
                // Whoever stopped it would have written down its end.
                ended = &mut self.ending => {
                    ended?;
                    self.sandbox.over = Some(record::reason::KEEPER_ENDED.to_owned());
                    self.ending = Box::pin(pending());
                }
            }
        }
        Ok(None)
    }

    /// What one of the logs has. The other one is asked first the next time.
    fn written(&mut self, logs: [(u64, Option<Start>); 2], is_over: bool) -> Result<Option<CommandEvent>> {
        for _ in 0..self.tails.len() {
            let Some(tail) = self.tails.first_mut() else { return Ok(None) };
            let (dropped, start) = match tail.stream {
                DetachedStream::Stdout => logs[0],
                DetachedStream::Stderr => logs[1],
            };
            let fail = |e| Error::io("cannot read the log of a command", e);
            let event = tail.more(dropped, start, is_over).map_err(fail)?;
            match tail.stream {
                DetachedStream::Stdout => self.position.stdout = tail.at,
                DetachedStream::Stderr => self.position.stderr = tail.at,
            }
            self.tails.rotate_left(1);
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }
}

const fn at(position: LogPosition, stream: DetachedStream) -> u64 {
    match stream {
        DetachedStream::Stdout => position.stdout,
        DetachedStream::Stderr => position.stderr,
    }
}

/// One log, and how much of it was handed out.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    stream: DetachedStream,
    /// In everything that was ever written to the log.
    at: u64,
    open: Option<Opened>,
}

/// The file that a log was at a time.
#[derive(Debug)]
struct Opened {
    file: File,
    inode: u64,
    /// What came before its first byte.
    offset: u64,
}

impl Tail {
    fn of(place: &Place, id: DetachedId, stream: DetachedStream, at: u64) -> Self {
        Self { path: place.log(id, stream), stream, at, open: None }
    }

    /// What comes next of it, if something is there. `dropped` and `start` are what its record says.
    fn more(
        &mut self,
        dropped: u64,
        start: Option<Start>,
        is_over: bool,
    ) -> io::Result<Option<CommandEvent>> {
        let stream = self.stream;
        loop {
            let open = match &self.open {
                Some(open) => open,
                None => {
                    let Some(open) = opened(&self.path, dropped, start, is_over)? else { return Ok(None) };
                    let gap = open.offset.saturating_sub(self.at);
                    self.at += gap;
                    let open = self.open.insert(open);
                    if gap > 0 {
                        return Ok(Some(CommandEvent::Gap { stream, bytes: gap }));
                    }
                    open
                }
            };
            // Before the look at it: what is read behind that is all of it.
            let newest = reader::open(&self.path)?;
            let is_moved = match &newest {
                Some(newest) => newest.metadata()?.ino() != open.inode,
                None => false,
            };
            let mut bytes = vec![0; PIECE];
            let length = open.file.read_at(&mut bytes, self.at.saturating_sub(open.offset))?;
            if length > 0 {
                bytes.truncate(length);
                self.at += length as u64;
                return Ok(Some(CommandEvent::Output { stream, bytes }));
            }
            if !is_moved {
                return Ok(None);
            }
            self.open = None;
        }
    }
}

/// The file at `path`; `None` when there is none, or it is newer than the record, which will change in a moment.
fn opened(
    path: &std::path::Path,
    dropped: u64,
    start: Option<Start>,
    is_over: bool,
) -> io::Result<Option<Opened>> {
    let Some(file) = reader::open(path)? else { return Ok(None) };
    let inode = file.metadata()?.ino();
    let offset = match start {
        Some(start) if start.inode == inode => start.offset,
        Some(_) if !is_over => return Ok(None),
        // Nobody says it: a keeper that is older, or was killed at that moment.
        _ => dropped,
    };
    Ok(Some(Opened { file, inode, offset }))
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
