//! Files of a running sandbox.

use super::site::{Site, spec};
use agentkernel_backend::FileKind;
use agentkernel_model::{Kind, mount::Workspace, path::GuestPath, policy::RootAccess, spec::Lifetime};
use std::{
    fs,
    io::{Read as _, Write as _, pipe},
    thread,
};
use tokio::io::AsyncReadExt as _;

fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

#[tokio::test]
async fn files_are_read_and_written_whole() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let files = up.sandbox.files();
    let content: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    files.write(&path("/tmp/$x y"), 0o640, &content).await.unwrap();
    assert_eq!(files.read(&path("/tmp/$x y"), 200_000).await.unwrap(), content);
    assert_eq!(files.read(&path("/tmp/$x y"), 199_999).await.unwrap_err().kind(), Kind::Exhausted);
    assert_eq!(up.prints("stat -c %a '/tmp/$x y'").await, "640\n");
    files.write(&path("/tmp/$x y"), 0o777, b"short").await.unwrap();
    assert_eq!(up.prints("stat -c %a '/tmp/$x y'; cat '/tmp/$x y'").await, "640\nshort");
    assert_eq!(files.read(&path("/nothing"), 1).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(files.read(&path("/tmp"), 1).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(files.write(&path("/no/where"), 0o600, b"").await.unwrap_err().kind(), Kind::NotFound);
    for (at, kind) in [
        ("/bin/busybox", Some(FileKind::File)),
        ("/bin/sh", Some(FileKind::File)),
        ("/bin", Some(FileKind::Directory)),
        ("/dev/null", Some(FileKind::Other)),
        ("/nothing", None),
    ] {
        assert_eq!(files.kind(&path(at)).await.unwrap(), kind, "{at}");
    }
    site.destroy(up).await;
}

#[tokio::test]
async fn a_tree_goes_out_under_another_name_and_in_again() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let files = up.sandbox.files();
    up.prints("mkdir -p /srv/a/b; echo 1 >/srv/a/b/f; ln -s ../x /srv/a/l").await;
    let (mut read, write) = pipe().unwrap();
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes).unwrap();
        bytes
    });
    files.pack(&path("/srv/a"), "other", write.into()).await.unwrap();
    let archive = reading.join().unwrap();
    let (read, mut write) = pipe().unwrap();
    let writing = thread::spawn(move || write.write_all(&archive).unwrap());
    files.unpack(&path("/tmp"), read.into()).await.unwrap();
    writing.join().unwrap();
    assert_eq!(up.prints("cat /tmp/other/b/f; readlink /tmp/other/l").await, "1\n../x\n");
    let (_read, write) = pipe().unwrap();
    assert_eq!(files.pack(&path("/nothing"), "x", write.into()).await.unwrap_err().kind(), Kind::NotFound);
    let (read, write) = pipe().unwrap();
    drop(write);
    assert_eq!(files.unpack(&path("/nothing"), read.into()).await.unwrap_err().kind(), Kind::NotFound);
    site.destroy(up).await;
}

#[tokio::test]
async fn the_whole_root_goes_out_without_what_is_mounted() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    up.prints("echo 1 >/own; echo 2 >/tmp/mounted").await;
    let (read, write) = pipe().unwrap();
    let reading = thread::spawn(move || {
        let mut archive = tar::Archive::new(read);
        let entries = archive.entries().unwrap();
        let names = entries.map(|entry| entry.unwrap().path().unwrap().display().to_string());
        names.collect::<Vec<_>>()
    });
    up.sandbox.files().pack(&path("/"), ".", write.into()).await.unwrap();
    let names = reading.join().unwrap();
    assert!(names.iter().any(|name| name.ends_with("own")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("mounted") || name.contains("proc/1")), "{names:?}");
    site.destroy(up).await;
}

#[tokio::test]
async fn a_view_of_the_project_is_a_copy_that_stays() {
    let site = Site::new();
    let project = site.path("project");
    fs::create_dir(&project).unwrap();
    fs::write(project.join("file"), "mine").unwrap();
    let mut wanted = spec(Lifetime::Named);
    wanted.workspace = Workspace::View(project.canonicalize().unwrap());
    let up = site.up(&wanted).await;
    assert_eq!(up.prints("pwd; cat file; echo theirs >file").await, "/workspace\nmine");
    assert_eq!(fs::read_to_string(project.join("file")).unwrap(), "mine");
    let state = site.backend.stop(up.id, &up.state, std::time::Duration::ZERO).await.unwrap();
    let inputs = agentkernel_backend::CreateInputs { id: up.id, ..site.inputs(&wanted) };
    drop(up.sandbox);
    let (state, sandbox) = site.backend.start(inputs, &state, None).await.unwrap();
    let up = super::site::Up { id: up.id, state, sandbox };
    assert_eq!(up.prints("cat file").await, "theirs\n");
    site.destroy(up).await;
}

#[tokio::test]
async fn a_read_only_root_is_one_and_mounts_are_as_they_were_asked_for() {
    let site = Site::new();
    let (writable, fixed) = (site.path("writable"), site.path("fixed"));
    fs::create_dir(&writable).unwrap();
    fs::create_dir(&fixed).unwrap();
    let mut wanted = spec(Lifetime::Named);
    wanted.policy.root = RootAccess::ReadOnly;
    wanted.policy.mounts = [(&writable, "/w", "rw"), (&fixed, "/f", "ro")]
        .map(|(source, target, access)| {
            let text = format!("{}:{target}:{access}", source.canonicalize().unwrap().display());
            match agentkernel_model::mount::VolumeArg::parse(&text, &writable).unwrap() {
                agentkernel_model::mount::VolumeArg::Host(mount) => mount,
                other => panic!("{other:?}"),
            }
        })
        .to_vec();
    let up = site.up(&wanted).await;
    let script = "for d in / /bin /f /tmp /run /w; do touch $d/x 2>/dev/null && echo $d; done; true";
    assert_eq!(up.prints(script).await, "/tmp\n/run\n/w\n");
    assert!(writable.join("x").exists());
    let denied = up.sandbox.files().write(&path("/bin/new"), 0o600, b"").await.unwrap_err();
    assert_eq!(denied.kind(), Kind::Denied, "{denied}");
    site.destroy(up).await;
}

#[tokio::test]
async fn single_files_are_stored_opened_listed_and_removed() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let files = up.sandbox.files();
    let long: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    assert_eq!(files.store(&path("/srv/a b/$x"), 0o644, &mut long.as_slice()).await.unwrap(), 200_000);
    let mut content = Vec::new();
    let opened = files.open(&path("/srv/a b/$x")).await.unwrap();
    opened.content.into_reader().unwrap().unwrap().read_to_end(&mut content).await.unwrap();
    assert!(content == long);
    up.prints("cd '/srv/a b'; chmod 750 '$x'; ln -s '$x' link; ln -s /none dangling; mkdir d").await;
    files.store(&path("/srv/a b/link"), 0o644, &mut b"short".as_slice()).await.unwrap();
    assert_eq!(
        up.prints("cd '/srv/a b'; cat '$x'; stat -c %a '$x'; ls -A").await,
        "short750\n$x\nd\ndangling\nlink\n"
    );
    let list = files.list(&path("/srv/a b")).await.unwrap();
    let names: Vec<&str> = list.entries.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["$x", "d", "dangling", "link"]);
    assert_eq!((list.entries[0].size, list.entries[0].mode), (5, 0o750));
    assert_eq!(list.entries[2].target.as_deref(), Some("/none"));
    files.remove(&path("/srv/a b/dangling")).await.unwrap();
    let kind = |result: agentkernel_model::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(files.remove(&path("/srv/a b/dangling")).await), Kind::NotFound);
    assert_eq!(kind(files.remove(&path("/srv/a b/d")).await), Kind::Invalid);
    assert_eq!(files.open(&path("/srv")).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(files.list(&path("/none")).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(files.list(&path("/proc")).await.unwrap_err().kind(), Kind::Denied);
    assert_eq!(
        files.store(&path("/srv"), 0o644, &mut b"".as_slice()).await.unwrap_err().kind(),
        Kind::Invalid
    );
    site.destroy(up).await;
}
