//! Files of a running sandbox, by its own `cat` and `tar`: they see what a command would see.

use super::{
    entries,
    inside::Inside,
    program::{self, MAX_SAID, SLOW},
    renamed,
    scripts::{self, FORBIDDEN, MISSING, MOUNTED, OTHER_KIND},
};
use agentkernel_backend::{FileKind, FileList, Files, OpenFile};
use agentkernel_model::{Error, Kind, Result, path::GuestPath};
use async_trait::async_trait;
use std::{
    io,
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
};

/// What the scripts end with where the image has no program for it.
const NO_PROGRAM: i32 = 127;

impl Inside {
    /// A call of `script`, killed when nobody waits for it, that says on stderr what is the matter.
    pub(super) fn call(&self, script: &str, flags: &[&str], arguments: &[&str]) -> Command {
        let mut call = self.program.call(self.script(script, flags, arguments));
        call.stderr(Stdio::piped()).kill_on_drop(true);
        call
    }

    fn export(&self) -> Command {
        let mut call = self.program.call(["export", &self.name]);
        call.stderr(Stdio::piped()).kill_on_drop(true);
        call
    }

    /// Waits for the end of `child`, which works on `path`.
    pub(super) async fn done(&self, child: &mut Child, path: &GuestPath) -> Result<()> {
        let said = child.stderr.take();
        let ended = async { tokio::join!(child.wait(), program::tail(said, MAX_SAID)) };
        let (status, said) = ended.await;
        let status = status.map_err(|e| Error::io("cannot wait for 'container exec'", e))?;
        if status.success() { Ok(()) } else { Err(self.why(status, &program::readable(&said), path).await) }
    }

    async fn why(&self, status: ExitStatus, said: &str, path: &GuestPath) -> Error {
        match status.code() {
            Some(MISSING) => Error::new(Kind::NotFound, format!("there is no '{path}' in the sandbox")),
            Some(OTHER_KIND) => Error::invalid(format!("'{path}' in the sandbox is of another kind")),
            Some(FORBIDDEN) => Error::new(Kind::Denied, format!("'{path}' in the sandbox cannot be written")),
            Some(MOUNTED) => {
                let what =
                    format!("something is mounted below '{path}', which the image's tar cannot leave out");
                Error::new(Kind::Unsupported, what)
                    .with_hint("name a directory without mounts, or use an image with GNU tar")
            }
            Some(NO_PROGRAM) => {
                Error::new(Kind::Unsupported, "the image of the sandbox has no program for this")
                    .with_hint("use an image with 'sh', 'cat' and 'tar'")
            }
            _ => match super::answers::one(&self.program, &self.name).await {
                Ok(Some(container)) if container.is_running() => {
                    Error::internal(format!("cannot work on '{path}' in the sandbox: {said}"))
                }
                Ok(_) => Error::new(Kind::Conflict, "the sandbox is not running"),
                Err(error) => error,
            },
        }
    }

    pub(super) fn spawn(&self, mut call: Command) -> Result<Child> {
        call.spawn().map_err(|e| self.program.not_started(e))
    }

    /// Unpacks `from` below `path`, with `options` for the sandbox's tar.
    pub(crate) async fn unpack_with(&self, path: &GuestPath, options: &str, from: OwnedFd) -> Result<()> {
        let mut call = self.call(scripts::UNPACK, &["--interactive"], &[path.as_str(), options]);
        call.stdin(Stdio::from(from));
        let mut child = self.spawn(call)?;
        self.done(&mut child, path).await
    }
}

impl Inside {
    async fn read_all(&self, path: &GuestPath, limit: u64) -> Result<Vec<u8>> {
        let mut call = self.call(scripts::READ, &[], &[path.as_str()]);
        call.stdout(Stdio::piped());
        let mut child = self.spawn(call)?;
        let mut content = Vec::new();
        if let Some(out) = child.stdout.take() {
            let read = out.take(limit.saturating_add(1)).read_to_end(&mut content).await;
            read.map_err(|e| Error::io(format!("cannot read '{path}' in the sandbox"), e))?;
        }
        if content.len() as u64 > limit {
            return Err(Error::new(Kind::Exhausted, format!("'{path}' is longer than {limit} bytes")));
        }
        self.done(&mut child, path).await?;
        Ok(content)
    }

    async fn write_all(&self, path: &GuestPath, mode: u32, content: &[u8]) -> Result<()> {
        let mode = format!("{:o}", mode & 0o7777);
        let mut call = self.call(scripts::WRITE, &["--interactive"], &[path.as_str(), &mode]);
        call.stdin(Stdio::piped());
        let mut child = self.spawn(call)?;
        if let Some(mut input) = child.stdin.take() {
            // One that does not read says why when it ends.
            let _ = async { input.write_all(content).await.and(input.shutdown().await) }.await;
        }
        self.done(&mut child, path).await
    }
}

#[async_trait]
impl Files for Inside {
    async fn read(&self, path: &GuestPath, limit: u64) -> Result<Vec<u8>> {
        let reading = tokio::time::timeout(SLOW, self.read_all(path, limit)).await;
        reading.unwrap_or_else(|_| Err(program::late("container exec", SLOW)))
    }

    async fn write(&self, path: &GuestPath, mode: u32, content: &[u8]) -> Result<()> {
        let writing = tokio::time::timeout(SLOW, self.write_all(path, mode, content)).await;
        writing.unwrap_or_else(|_| Err(program::late("container exec", SLOW)))
    }

    async fn open(&self, path: &GuestPath) -> Result<OpenFile> {
        entries::open(self, path).await
    }

    async fn store(
        &self,
        path: &GuestPath,
        mode: u32,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64> {
        entries::store(self, path, mode, content).await
    }

    async fn remove(&self, path: &GuestPath) -> Result<()> {
        let mut child = self.spawn(self.call(scripts::REMOVE, &[], &[path.as_str()]))?;
        self.done(&mut child, path).await
    }

    async fn list(&self, path: &GuestPath) -> Result<FileList> {
        entries::list(self, path).await
    }

    async fn kind(&self, path: &GuestPath) -> Result<Option<FileKind>> {
        let words = self.script(scripts::KIND, &[], &[path.as_str()]);
        let out = match self.program.demand(&words, program::QUICK).await {
            Ok(out) => out,
            Err(error) => return Err(self.not_running().await.unwrap_or(error)),
        };
        match out.trim_ascii() {
            b"file" => Ok(Some(FileKind::File)),
            b"directory" => Ok(Some(FileKind::Directory)),
            b"other" => Ok(Some(FileKind::Other)),
            b"none" => Ok(None),
            _ => Err(Error::internal("the sandbox answered nonsense about a file")),
        }
    }

    async fn pack(&self, path: &GuestPath, name: &str, into: OwnedFd) -> Result<()> {
        let (read, write) = io::pipe().map_err(|e| Error::io("cannot make a pipe", e))?;
        let (mut call, base) = match path.as_str().rsplit_once('/') {
            // Of the whole, it has an archive itself, without what is mounted.
            Some(("", "")) | None => (self.export(), "."),
            Some(("", base)) => (self.call(scripts::PACK, &[], &["/", base]), base),
            Some((directory, base)) => (self.call(scripts::PACK, &[], &[directory, base]), base),
        };
        call.stdout(Stdio::from(write));
        let mut child = call.spawn().map_err(|e| self.program.not_started(e))?;
        drop(call);
        let (base, name) = (base.to_owned(), name.to_owned());
        let copying = tokio::task::spawn_blocking(move || {
            renamed::copy(io::BufReader::new(read), std::fs::File::from(into), &base, &name)
        });
        let done = self.done(&mut child, path).await;
        let copied = copying.await.map_err(|e| Error::internal("the copy was interrupted").with_source(e))?;
        // What the sandbox's tar says of a failure explains an archive that ends early.
        done.and(copied)
    }

    async fn unpack(&self, path: &GuestPath, from: OwnedFd) -> Result<()> {
        self.unpack_with(path, "-xpf", from).await
    }
}
