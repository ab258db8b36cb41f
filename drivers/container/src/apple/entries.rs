//! Single files by the sandbox's own programs: read as a stream, replaced when the new content is whole, and listed.

use super::{inside::Inside, program, scripts};
use agentkernel_backend::{ByteSource, EntryKind, FileEntry, FileKind, FileList, Files as _, OpenFile};
use agentkernel_model::{Error, Kind, Result, id::SandboxId, path::GuestPath};
use std::{
    io,
    pin::Pin,
    process::Stdio,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    process::{Child, ChildStdout},
};

/// Bytes of a listing, at most.
const MAX_LISTING: u64 = 16 << 20;
/// Bytes of the path that a file turns out to have.
const MAX_PATH: u64 = 8192;
const CHUNK: usize = 64 * 1024;

/// What a script writes, which is killed when nobody reads it any more.
struct Output {
    from: ChildStdout,
    _child: Child,
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.from).poll_read(cx, buf)
    }
}

pub(super) async fn open(inside: &Inside, path: &GuestPath) -> Result<OpenFile> {
    check_no_process(path)?;
    match inside.kind(path).await? {
        Some(FileKind::File) => {}
        Some(_) => return Err(Error::invalid(format!("'{path}' in the sandbox is not a regular file"))),
        None => return Err(Error::new(Kind::NotFound, format!("there is no '{path}' in the sandbox"))),
    }
    let mut call = inside.call(scripts::READ, &[], &[path.as_str()]);
    call.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = inside.spawn(call)?;
    let from = child.stdout.take().ok_or_else(|| Error::internal("a file has no content"))?;
    let content = ByteSource::Stream(Box::pin(Output { from, _child: child }));
    Ok(OpenFile { size: None, content })
}

pub(super) async fn store(
    inside: &Inside,
    path: &GuestPath,
    mode: u32,
    content: &mut (dyn AsyncRead + Send + Unpin),
) -> Result<u64> {
    check_no_process(path)?;
    let new = format!(".agentkernel-{}", SandboxId::new());
    let mut call = inside.call(scripts::STORE, &["--interactive"], &[path.as_str(), &new]);
    call.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = inside.spawn(call)?;
    let fed = feed(&mut child, content, path).await;
    let mut found = String::new();
    if let Some(out) = child.stdout.take() {
        let read = out.take(MAX_PATH).read_to_string(&mut found).await;
        read.map_err(|e| Error::io("cannot read what 'container exec' says", e))?;
    }
    inside.done(&mut child, path).await?;
    let mode = format!("{:o}", mode & 0o777);
    let (script, bytes) = match &fed {
        Ok(bytes) => (inside.call(scripts::KEEP, &[], &[&found, &new, &mode]), *bytes),
        Err(_) => (inside.call(scripts::FORGET, &[], &[&found, &new]), 0),
    };
    let mut child = inside.spawn(script)?;
    inside.done(&mut child, path).await?;
    fed.map(|_| bytes)
}

/// One that does not read says why when it ends.
async fn feed(
    child: &mut Child,
    content: &mut (dyn AsyncRead + Send + Unpin),
    path: &GuestPath,
) -> Result<u64> {
    let Some(mut input) = child.stdin.take() else { return Ok(0) };
    let (mut total, mut buffer) = (0, vec![0; CHUNK]);
    loop {
        let read = content.read(&mut buffer).await;
        let count =
            read.map_err(|e| Error::io(format!("cannot read what is to be written to '{path}'"), e))?;
        if count == 0 || input.write_all(&buffer[..count]).await.is_err() {
            return Ok(total);
        }
        total += u64::try_from(count).unwrap_or(0);
    }
}

pub(super) async fn list(inside: &Inside, path: &GuestPath) -> Result<FileList> {
    check_no_process(path)?;
    let limit = (FileList::MAX + 1).to_string();
    let mut call = inside.call(scripts::LIST, &[], &[path.as_str(), &limit]);
    call.stdout(Stdio::piped());
    let mut child = inside.spawn(call)?;
    let mut said = Vec::new();
    if let Some(out) = child.stdout.take() {
        let read = out.take(MAX_LISTING + 1).read_to_end(&mut said).await;
        read.map_err(|e| Error::io(format!("cannot list '{path}' in the sandbox"), e))?;
    }
    if said.len() as u64 <= MAX_LISTING {
        tokio::time::timeout(program::SLOW, inside.done(&mut child, path))
            .await
            .unwrap_or_else(|_| Err(program::late("container exec", program::SLOW)))?;
    }
    Ok(parse(&said))
}

/// What [`scripts::LIST`] wrote. An entry that is not whole, or makes no sense, is none.
pub(super) fn parse(said: &[u8]) -> FileList {
    let texts: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
    let mut entries: Vec<FileEntry> = texts.chunks_exact(3).filter_map(entry).collect();
    let truncated = entries.len() > FileList::MAX || said.len() as u64 > MAX_LISTING;
    entries.truncate(FileList::MAX);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    FileList { entries, truncated }
}

fn entry(texts: &[&[u8]]) -> Option<FileEntry> {
    let [name, facts, target] = texts else { return None };
    let facts = std::str::from_utf8(facts).ok()?;
    let mut facts = facts.split(' ');
    let mode = u32::from_str_radix(facts.next()?, 16).ok()?;
    let kind = match mode & 0o170_000 {
        0o100_000 => EntryKind::File,
        0o040_000 => EntryKind::Directory,
        0o120_000 => EntryKind::Link,
        _ => EntryKind::Other,
    };
    let readable = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    Some(FileEntry {
        name: readable(name),
        kind,
        size: facts.next()?.parse().ok()?,
        mode: mode & 0o7777,
        mtime: facts.next()?.parse().ok()?,
        target: (kind == EntryKind::Link).then(|| readable(target)),
    })
}

fn check_no_process(path: &GuestPath) -> Result<()> {
    if path.as_str() == "/proc" || path.as_str().starts_with("/proc/") {
        return Err(Error::new(Kind::Denied, format!("{path} is not a file of the sandbox"))
            .with_hint("look at it with a command inside: cat, ls"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "entries_tests.rs"]
mod tests;
