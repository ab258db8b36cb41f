use super::*;
use agentkernel_archive::{Crossing, PackOptions, pack};
use agentkernel_backend::{FileKind, FileList, OpenFile};
use async_trait::async_trait;
use rustix::fs::{Mode, OFlags};
use std::{fs, fs::File, os::fd::AsFd as _, os::unix::fs::symlink};

/// A directory, of which nothing is asked but archives.
struct Shown(tempfile::TempDir);

#[async_trait]
impl Files for Shown {
    async fn read(&self, _: &GuestPath, _: u64) -> Result<Vec<u8>> {
        Err(Error::internal("not asked for"))
    }

    async fn write(&self, _: &GuestPath, _: u32, _: &[u8]) -> Result<()> {
        Err(Error::internal("not asked for"))
    }

    async fn open(&self, _: &GuestPath) -> Result<OpenFile> {
        Err(Error::internal("not asked for"))
    }

    async fn store(
        &self,
        _: &GuestPath,
        _: u32,
        _: &mut (dyn tokio::io::AsyncRead + Send + Unpin),
    ) -> Result<u64> {
        Err(Error::internal("not asked for"))
    }

    async fn remove(&self, _: &GuestPath) -> Result<()> {
        Err(Error::internal("not asked for"))
    }

    async fn list(&self, _: &GuestPath) -> Result<FileList> {
        Err(Error::internal("not asked for"))
    }

    async fn kind(&self, _: &GuestPath) -> Result<Option<FileKind>> {
        Err(Error::internal("not asked for"))
    }

    async fn pack(&self, path: &GuestPath, name: &str, into: OwnedFd) -> Result<()> {
        let at = self.0.path().join(path.relative());
        let found = rustix::fs::open(&at, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty());
        let found = match File::open(&at).ok().filter(|_| at.symlink_metadata().is_ok_and(|m| m.is_file())) {
            Some(file) => file.into(),
            None => found.map_err(|e| Error::io("cannot open it", e.into()))?,
        };
        pack(found.as_fd(), name, File::from(into), &PackOptions { crossing: Crossing::Stay }).map(drop)
    }

    async fn unpack(&self, _: &GuestPath, _: OwnedFd) -> Result<()> {
        Err(Error::internal("not asked for"))
    }
}

fn shown() -> Shown {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    for directory in ["etc/ssl/certs", "etc/pki/tls", "data"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for file in ["etc/ssl/certs/plain", "etc/pki/tls/file", "data/file"] {
        fs::write(root.join(file), "x").unwrap();
    }
    for (target, link) in [
        ("/data/file", "etc/ssl/absolute"),
        ("../pki/./tls", "etc/ssl/relative"),
        ("../../../../data", "etc/ssl/above"),
        ("nothing", "etc/ssl/dangling"),
        ("circle", "etc/ssl/circle"),
        (&"x/".repeat(100), "etc/ssl/long"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    Shown(place)
}

#[tokio::test]
async fn links_are_followed_as_inside() {
    let shown = shown();
    for (path, expected) in [
        ("/etc/ssl/certs/plain", Some("/etc/ssl/certs/plain")),
        ("/etc/ssl/absolute", Some("/data/file")),
        ("/etc/ssl/relative/file", Some("/etc/pki/tls/file")),
        ("/etc/ssl/above/file", Some("/data/file")),
        ("/etc/ssl/dangling", None),
        ("/etc/ssl/circle", None),
        ("/etc/ssl/long", None),
        ("/etc/none/file", None),
    ] {
        let found = real(&shown, &path.parse().unwrap()).await.unwrap();
        assert_eq!(found.as_ref().map(GuestPath::as_str), expected, "{path}");
    }
}
