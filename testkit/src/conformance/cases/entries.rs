//! Single files: opened, replaced, removed and listed.

use crate::conformance::{
    bench::{Bench, Running},
    case::{Failure, Verdict, check, same},
    subject::{at, plain_spec, sh},
};
use agentkernel_backend::{EntryKind, FileEntry, Files};
use agentkernel_model::{Error, Kind, path::GuestPath};
use std::{
    fmt::Debug,
    fs, io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

fn path(text: &str) -> Result<GuestPath, Failure> {
    Ok(text.parse()?)
}

fn kind_of<T: Debug>(result: Result<T, Error>) -> Result<Kind, Failure> {
    match result {
        Err(error) => Ok(error.kind()),
        Ok(value) => Err(Failure(format!("it worked: {value:?}"))),
    }
}

async fn store(files: &dyn Files, to: &str, content: &[u8]) -> Result<u64, Error> {
    let mut content = content;
    files.store(&to.parse()?, 0o644, &mut content).await
}

async fn content(files: &dyn Files, of: &str) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    if let Some(mut reader) = files.open(&path(of)?).await?.content.into_reader()? {
        reader.read_to_end(&mut content).await?;
    }
    Ok(content)
}

async fn said(running: &Running, script: &str) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&running.run(&at("/", sh(script))).await?.stdout).into_owned())
}

/// Some bytes, and then no end but an error.
struct Broken(usize);

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0 == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = self.0.min(buf.remaining());
        buf.put_slice(&vec![b'x'; count]);
        self.0 -= count;
        Poll::Ready(Ok(()))
    }
}

pub(super) async fn a_file_is_stored_and_opened(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let files = running.sandbox.files();
    let long: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap_or(0)).collect();
    same!(store(files, "/made/for it/long", &long).await?, 3_000_000, "how many bytes were stored");
    same!(content(files, "/made/for it/long").await? == long, true, "the content");
    let seen = said(&running, "stat -c '%s %a' 'made/for it/long'; stat -c '%a' 'made/for it'").await?;
    same!(seen, "3000000 644\n755\n", "size and mode inside");
    store(files, "/empty", b"").await?;
    same!(content(files, "/empty").await?, b"", "an empty file");
    if let Some(size) = files.open(&path("/made/for it/long")?).await?.size {
        same!(size, 3_000_000, "the size");
    }
    Ok(())
}

pub(super) async fn a_file_keeps_its_mode_and_its_links(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let files = running.sandbox.files();
    said(&running, "echo old >file; chmod 750 file; mkdir d; ln -s ../file d/link").await?;
    store(files, "/d/link", b"new\n").await?;
    same!(
        said(&running, "cat file; stat -c %a file; readlink d/link; ls -A d | wc -l").await?,
        "new\n750\n../file\n1\n",
        "after"
    );
    Ok(())
}

pub(super) async fn content_that_breaks_off_changes_nothing(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let files = running.sandbox.files();
    said(&running, "mkdir d; echo old >d/file").await?;
    check!(files.store(&path("/d/file")?, 0o644, &mut Broken(200_000)).await.is_err(), "it is an error");
    check!(files.store(&path("/d/new")?, 0o644, &mut Broken(10)).await.is_err(), "it is an error");
    same!(said(&running, "cd d; cat file; echo * .a*").await?, "old\nfile .a*\n", "what is there");
    Ok(())
}

pub(super) async fn entries_are_listed(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let files = running.sandbox.files();
    let script = "mkdir -p 'l/a b'; cd l; printf 12345 >.file; chmod 640 .file; ln -s /nowhere link; mkfifo fifo; \
                  touch -d @1000000000 .file; printf x >'<b>\"'";
    said(&running, script).await?;
    let list = files.list(&path("/l")?).await?;
    let names: Vec<&str> = list.entries.iter().map(|e| e.name.as_str()).collect();
    same!(names, [".file", "<b>\"", "a b", "fifo", "link"], "the names");
    same!(list.truncated, false, "whether something is missing");
    let file = FileEntry {
        name: ".file".to_owned(),
        kind: EntryKind::File,
        size: 5,
        mode: 0o640,
        mtime: 1_000_000_000,
        target: None,
    };
    same!(&list.entries[0], &file, "the file");
    same!(list.entries[2].kind, EntryKind::Directory, "the directory");
    same!(list.entries[3].kind, EntryKind::Other, "the FIFO");
    same!(
        (list.entries[4].kind, list.entries[4].target.as_deref()),
        (EntryKind::Link, Some("/nowhere")),
        "the link"
    );
    same!(files.list(&path("/l/a b")?).await?.entries, [], "an empty directory");
    Ok(())
}

pub(super) async fn a_long_listing_is_cut(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    said(&running, "mkdir l; cd l; i=0; while [ $i -le 10000 ]; do : >$i; i=$((i+1)); done").await?;
    let list = running.sandbox.files().list(&path("/l")?).await?;
    same!((list.entries.len(), list.truncated), (10_000, true), "what comes of 10,001");
    Ok(())
}

pub(super) async fn faults_of_entries_have_their_kinds(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let files = running.sandbox.files();
    said(&running, "mkdir -p d; echo x >file; ln -s file link; ln -s nowhere dangling; mkfifo fifo").await?;
    same!(kind_of(files.open(&path("/none")?).await)?, Kind::NotFound, "opening nothing");
    same!(kind_of(files.open(&path("/d")?).await)?, Kind::Invalid, "opening a directory");
    same!(kind_of(files.open(&path("/fifo")?).await)?, Kind::Invalid, "opening a FIFO");
    check!(files.open(&path("/dev/null")?).await.is_err(), "opening a device");
    same!(kind_of(files.open(&path("/proc/self/environ")?).await)?, Kind::Denied, "opening in /proc");
    same!(kind_of(store(files, "/d", b"x").await)?, Kind::Invalid, "storing to a directory");
    same!(kind_of(store(files, "/fifo", b"x").await)?, Kind::Invalid, "storing to a FIFO");
    same!(kind_of(files.list(&path("/none")?).await)?, Kind::NotFound, "listing nothing");
    same!(kind_of(files.list(&path("/file")?).await)?, Kind::Invalid, "listing a file");
    same!(kind_of(files.list(&path("/proc")?).await)?, Kind::Denied, "listing /proc");
    same!(kind_of(files.remove(&path("/none")?).await)?, Kind::NotFound, "removing nothing");
    same!(kind_of(files.remove(&path("/d")?).await)?, Kind::Invalid, "removing a directory");
    for gone in ["/link", "/dangling", "/fifo"] {
        files.remove(&path(gone)?).await?;
    }
    same!(
        said(
            &running,
            "for f in link dangling fifo file d; do if [ -e $f ] || [ -h $f ]; then echo $f; fi; done"
        )
        .await?,
        "file\nd\n",
        "what is left"
    );
    Ok(())
}

pub(super) async fn entries_behind_links_stay_inside(b: Bench) -> Verdict {
    let secret = b.scratch().join("secret");
    fs::write(&secret, "host secret")?;
    let target = secret.display().to_string();
    let running = b.start(&plain_spec()).await?;
    let script = format!(
        "ln -s '{target}' absolute; ln -s '../../../../../../../..{target}' relative; ln -s / root; ln -s ../../../../.. up; \
         ln -s /proc/self/root magic; ln -s /proc/1/root first; ln -s /proc/self/environ process"
    );
    said(&running, &script).await?;
    let below = ["/root", "/up", "/magic", "/first"].map(|d| format!("{d}{target}"));
    let files = running.sandbox.files();
    for place in
        ["/absolute", "/relative", target.as_str()].into_iter().chain(below.iter().map(String::as_str))
    {
        if let Ok(read) = content(files, place).await {
            check!(read != b"host secret", "{place} leads to a file of the host");
        }
        let _worked_inside = store(files, place, b"changed").await;
        same!(fs::read(&secret)?, b"host secret", format!("the host's file after a write to {place}"));
        let _worked_inside = files.remove(&path(place)?).await;
        same!(fs::read(&secret)?, b"host secret", format!("the host's file after {place} was removed"));
        let directory = place.trim_end_matches("/secret");
        if let Ok(list) = files.list(&path(directory)?).await {
            let seen = list.entries.iter().any(|e| e.name == "secret" && e.size == 11);
            check!(!seen, "{directory} lists files of the host");
        }
    }
    check!(files.open(&path("/process")?).await.is_err(), "a link shows the process that opens it");
    Ok(())
}
