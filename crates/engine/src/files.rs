//! Single files of a sandbox, for programs: read, written, removed, listed.

use crate::{copy, engine::Engine, query, request::Status};
use agentkernel_backend::OpenFile;
pub use agentkernel_backend::{EntryKind, FileEntry, FileList, Stats as Usage};
use agentkernel_model::{Error, Kind, Result, name::SandboxName, path::GuestPath};
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// The mode of a new file.
const MODE: u32 = 0o644;
/// The longest file of a stopped sandbox: it is in memory when the sandbox has been stopped again.
const MAX_OF_STOPPED: u64 = 16 << 20;

/// The content of a file, as whoever is inside has it.
pub struct FileContent {
    /// How long it was when it was opened, where that can be told; `body` may have more or less.
    pub size: Option<u64>,
    /// Without end where somebody inside goes on writing: whoever reads bounds it.
    pub body: Pin<Box<dyn AsyncRead + Send>>,
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent").field("size", &self.size).finish_non_exhaustive()
    }
}

impl FileContent {
    fn of(file: OpenFile) -> Result<Self> {
        let body = file.content.into_reader()?.unwrap_or_else(|| Box::pin(tokio::io::empty()));
        Ok(Self { size: file.size, body })
    }
}

pub(crate) async fn read(engine: &Engine, name: &SandboxName, path: &GuestPath) -> Result<FileContent> {
    if query::info(engine, name)?.status != Status::Stopped {
        let sandbox = copy::attach(engine, name).await?;
        return FileContent::of(sandbox.files().open(path).await?);
    }
    copy::with_sandbox(engine, name, |sandbox| async move {
        let body = FileContent::of(sandbox.files().open(path).await?)?.body;
        let mut content = Vec::new();
        let read = body.take(MAX_OF_STOPPED + 1).read_to_end(&mut content).await;
        let length = read.map_err(|e| Error::io(format!("cannot read {path} in the sandbox"), e))? as u64;
        if length > MAX_OF_STOPPED {
            let what = format!("{path} is longer than {MAX_OF_STOPPED} bytes, and the sandbox is stopped");
            return Err(
                Error::new(Kind::Exhausted, what).with_hint(format!("agentkernel sandbox start {name}"))
            );
        }
        Ok(FileContent { size: Some(length), body: Box::pin(io::Cursor::new(content)) })
    })
    .await
}

pub(crate) async fn write(
    engine: &Engine,
    name: &SandboxName,
    path: &GuestPath,
    body: impl AsyncRead + Send,
    size: Option<u64>,
) -> Result<u64> {
    let body = std::pin::pin!(body);
    let mut body = Measured { body, size, seen: 0, verdict: None };
    let content = &mut body;
    let written = copy::with_sandbox(engine, name, |sandbox| async move {
        sandbox.files().store(path, MODE, content).await
    })
    .await;
    match body.verdict {
        Some(verdict) => Err(verdict.into_error(path)),
        None => written,
    }
}

pub(crate) async fn remove(engine: &Engine, name: &SandboxName, path: &GuestPath) -> Result<()> {
    copy::with_sandbox(engine, name, |sandbox| async move { sandbox.files().remove(path).await }).await
}

pub(crate) async fn list(engine: &Engine, name: &SandboxName, path: &GuestPath) -> Result<FileList> {
    copy::with_sandbox(engine, name, |sandbox| async move { sandbox.files().list(path).await }).await
}

pub(crate) async fn usage(engine: &Engine, name: &SandboxName) -> Result<Usage> {
    copy::attach(engine, name).await?.stats().await
}

/// A body that has as many bytes as it was said to have, or fails before its end is taken for one.
struct Measured<'a, B> {
    body: Pin<&'a mut B>,
    size: Option<u64>,
    seen: u64,
    /// Why it failed.
    verdict: Option<Verdict>,
}

#[derive(Debug)]
enum Verdict {
    Failed(io::ErrorKind, String),
    Length { said: u64, seen: u64 },
}

impl Verdict {
    fn into_error(self, path: &GuestPath) -> Error {
        match self {
            Self::Failed(kind, why) => {
                Error::io(format!("cannot read what is to be written to {path}"), io::Error::new(kind, why))
            }
            Self::Length { said, seen } => {
                let seen = if seen > said { "more".to_owned() } else { format!("{seen}") };
                Error::invalid(format!("{path} was to be {said} bytes long, and {seen} came"))
                    .with_hint("nothing was written; send it again")
            }
        }
    }
}

impl<B: AsyncRead> AsyncRead for Measured<'_, B> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if let Err(error) = ready!(this.body.as_mut().poll_read(cx, buf)) {
            this.verdict = Some(Verdict::Failed(error.kind(), error.to_string()));
            return Poll::Ready(Err(error));
        }
        let came = buf.filled().len() - before;
        this.seen += u64::try_from(came).unwrap_or(0);
        let wrong = this.size.filter(|said| this.seen > *said || (came == 0 && this.seen < *said));
        if let Some(said) = wrong {
            this.verdict = Some(Verdict::Length { said, seen: this.seen });
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}
