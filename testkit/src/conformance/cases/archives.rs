//! Trees in and out as archives, and that neither the archive nor what is inside leads anywhere else.

use crate::conformance::{
    bench::{Bench, Running, shown},
    case::{Failure, Verdict, check, same},
    subject::{at, plain_spec, sh},
};
use agentkernel_backend::FileKind;
use agentkernel_model::{
    Error, Kind,
    mount::{Access, Mount, Workspace},
    path::GuestPath,
    policy::{EffectivePolicy, Profile},
    spec::SandboxSpec,
};
use rustix::pipe::{PipeFlags, pipe_with};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
};
use tar::{EntryType, Header};

fn path(text: &str) -> Result<GuestPath, Failure> {
    Ok(text.parse()?)
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|e| Failure(format!("no pipe: {e}")))
}

/// What comes out, read while it is written.
async fn packed(running: &Running, from: &str, name: &str) -> Result<Result<Vec<u8>, Error>, Failure> {
    let (read, write) = pipe()?;
    let reader = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        File::from(read).read_to_end(&mut bytes).map(|_| bytes)
    });
    let done = running.sandbox.files().pack(&path(from)?, name, write).await;
    // Without holding up the event loop: behind a relay it is what closes the pipe.
    let bytes = reader.await.map_err(|_| Failure("the reader panicked".to_owned()))??;
    Ok(done.map(|()| bytes))
}

/// `archive` into `to`, written while it is read.
async fn unpacked(running: &Running, archive: Vec<u8>, to: &str) -> Result<Result<(), Error>, Failure> {
    let (read, write) = pipe()?;
    let writer = tokio::task::spawn_blocking(move || {
        // Who unpacks may refuse in the middle.
        let _broken_pipe = File::from(write).write_all(&archive);
    });
    let done = running.sandbox.files().unpack(&path(to)?, read).await;
    writer.await.map_err(|_| Failure("the writer panicked".to_owned()))?;
    Ok(done)
}

struct Archive(Vec<u8>);

impl Archive {
    fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8], mode: u32) -> Self {
        let link = if link.len() > 100 {
            self = self.entry(
                EntryType::GNULongLink,
                "././@LongLink",
                "",
                format!("{link}\0").as_bytes(),
                0o644,
            );
            ""
        } else {
            link
        };
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(33);
        header.set_gid(44);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn new() -> Self {
        Self(Vec::new())
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, "", content.as_bytes(), 0o644)
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"", 0o777)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn kind_of(result: Result<Result<impl std::fmt::Debug, Error>, Failure>) -> Result<Kind, Failure> {
    match result? {
        Err(error) => Ok(error.kind()),
        Ok(value) => Err(Failure(format!("it worked: {value:?}"))),
    }
}

pub(super) async fn kinds_are_told(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let script = "mkdir d; echo x >d/f; mkfifo p; ln -s d to-d; ln -s d/f to-f; ln -s nowhere dangling; ln -s loop loop";
    running.run(&at("/", sh(script))).await?;
    let files = running.sandbox.files();
    let expected = [
        ("/d", Some(FileKind::Directory)),
        ("/", Some(FileKind::Directory)),
        ("/d/f", Some(FileKind::File)),
        ("/to-d", Some(FileKind::Directory)),
        ("/to-f", Some(FileKind::File)),
        ("/to-d/f", Some(FileKind::File)),
        ("/p", Some(FileKind::Other)),
        ("/dangling", Some(FileKind::Other)),
        ("/loop", Some(FileKind::Other)),
        ("/none", None),
        ("/none/below", None),
        ("/d/f/below", None),
    ];
    for (place, kind) in expected {
        same!(files.kind(&path(place)?).await?, kind, place);
    }
    b.backend().stop(running.id, &running.state, std::time::Duration::ZERO).await?;
    let stopped = files.kind(&path("/d")?).await;
    check!(
        stopped.is_err_and(|e| e.kind() == Kind::Conflict) || b.subject().driver.id == "fake",
        "after a stop"
    );
    Ok(())
}

pub(super) async fn a_tree_comes_out_and_goes_in(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let script = "set -e; mkdir -p from/sub into/top/sub into/top/replaced; cd from; echo one >one; chmod 600 one; \
                  echo two >sub/two; ln one sub/again; ln -s ../one sub/link; ln -s /nowhere dangling; mkfifo fifo; \
                  echo file >replaced; head -c 3000000 /dev/zero >big; chmod 500 sub; cd ../into/top; echo kept >kept; \
                  echo old >sub/two; echo x >replaced/below; ln -s kept one";
    let made = running.run(&at("/", sh(script))).await?;
    check!(made.stderr.is_empty(), "{}", shown(&made));
    let archive = packed(&running, "/from", "top").await??;
    unpacked(&running, archive, "/into").await??;
    let script = "cd top; cat one kept sub/two replaced; readlink sub/link dangling; stat -c '%a %F' one sub fifo; \
                  stat -c %h one; test one -ef sub/again && echo linked; wc -c <big; ls -A";
    let seen = running.run(&at("/into", sh(script))).await?;
    let expected = "one\nkept\ntwo\nfile\n../one\n/nowhere\n600 regular file\n500 directory\n644 fifo\n2\nlinked\n3000000\n\
                    big\ndangling\nfifo\nkept\none\nreplaced\nsub\n";
    same!(String::from_utf8_lossy(&seen.stdout), expected, "what was unpacked");
    // A file and a link by themselves.
    for (from, script, expected) in
        [("/from/one", "cat name", "one\n"), ("/from/sub/link", "readlink name", "../one\n")]
    {
        let archive = packed(&running, from, "name").await??;
        unpacked(&running, archive, "/tmp").await??;
        let seen = running.run(&at("/tmp", sh(script))).await?;
        same!(String::from_utf8_lossy(&seen.stdout), expected, from);
    }
    Ok(())
}

pub(super) async fn a_hostile_archive_stays_inside(b: Bench) -> Verdict {
    let secret = b.scratch().join("secret");
    fs::write(&secret, "host secret")?;
    let outside = b.scratch().display().to_string();
    let running = b.start(&plain_spec()).await?;
    running.run(&at("/", sh("mkdir into; echo theirs >beside"))).await?;
    let archives = [
        Archive::new().file("../beside", "changed").end(),
        Archive::new().file("../secret", "changed").end(),
        Archive::new().symlink("l", "/").file("l/beside", "changed").end(),
        Archive::new().symlink("l", "..").file("l/beside", "changed").end(),
        Archive::new().symlink("l", &outside).file("l/secret", "changed").end(),
        Archive::new().symlink("l", "/proc/self/root").file("l/beside", "changed").end(),
        Archive::new().entry(EntryType::Link, "l", "../beside", b"", 0o644).file("l", "changed").end(),
    ];
    for (index, archive) in archives.into_iter().enumerate() {
        // It may work, with everything inside, or fail.
        let _either = unpacked(&running, archive, "/into").await?;
        let beside = running.run(&at("/", sh("cat beside"))).await?;
        same!(String::from_utf8_lossy(&beside.stdout), "theirs\n", format!("beside, after archive {index}"));
        same!(fs::read(&secret)?, b"host secret", format!("the host's file, after archive {index}"));
    }
    Ok(())
}

pub(super) async fn archives_of_links_stay_inside(b: Bench) -> Verdict {
    let secret = b.scratch().join("secret");
    fs::write(&secret, "host secret")?;
    let (target, outside) = (secret.display().to_string(), b.scratch().display().to_string());
    let running = b.start(&plain_spec()).await?;
    let script = format!(
        "ln -s '{target}' link; ln -s '{outside}' outside; ln -s /proc/1/root magic; ln -s /proc/self/exe exe; ln -s / root"
    );
    running.run(&at("/", sh(&script))).await?;
    for place in [
        "/link",
        "/outside",
        "/outside/secret",
        "/magic",
        &format!("/magic{target}"),
        "/exe",
        &format!("/root{target}"),
    ] {
        if let Ok(archive) = packed(&running, place, "x").await? {
            let text = String::from_utf8_lossy(&archive).into_owned();
            check!(!text.contains("host secret") && archive.len() < 64 * 1024, "{place} leads outside");
        }
        let archive = Archive::new().file("secret", "changed").end();
        let _either = unpacked(&running, archive, place).await?;
        same!(fs::read(&secret)?, b"host secret", format!("the host's file after unpacking into {place}"));
    }
    Ok(())
}

pub(super) async fn faults_of_archives_have_their_kinds(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    running.run(&at("/", sh("mkdir d; echo x >d/f"))).await?;
    let small = || Archive::new().file("f", "content").end();
    same!(kind_of(packed(&running, "/none", "x").await)?, Kind::NotFound, "packing what does not exist");
    same!(kind_of(packed(&running, "/d/f/below", "x").await)?, Kind::NotFound, "packing below a file");
    same!(kind_of(unpacked(&running, small(), "/none").await)?, Kind::NotFound, "unpacking into nothing");
    same!(kind_of(unpacked(&running, small(), "/d/f").await)?, Kind::NotFound, "unpacking into a file");
    let mut cut = small();
    cut.truncate(700);
    same!(kind_of(unpacked(&running, cut, "/d").await)?, Kind::Invalid, "a truncated archive");
    same!(kind_of(unpacked(&running, vec![b'x'; 4096], "/d").await)?, Kind::Invalid, "what is no archive");
    let error = unpacked(&running, Archive::new().file("../\x1b[2J", "").end(), "/d").await?;
    check!(error.is_err_and(|e| !e.to_string().contains('\x1b')), "a name reaches the terminal");
    Ok(())
}

pub(super) async fn a_read_only_root_takes_no_archive(b: Bench) -> Verdict {
    let mut spec = plain_spec();
    let limits = spec.policy.limits.clone();
    spec.policy = EffectivePolicy { limits, ..EffectivePolicy::of_profile(Profile::Restrictive) };
    let running = b.start(&spec).await?;
    let small = || Archive::new().file("made", "content").end();
    for place in ["/", "/etc", "/usr"] {
        same!(kind_of(unpacked(&running, small(), place).await)?, Kind::Denied, place);
    }
    unpacked(&running, small(), "/tmp").await??;
    let seen = running.run(&at("/tmp", sh("cat made"))).await?;
    same!(String::from_utf8_lossy(&seen.stdout), "content", "in /tmp");
    Ok(())
}

pub(super) async fn owners_are_kept_where_they_exist(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let archive = Archive::new().entry(EntryType::Regular, "f", "", b"x", 0o6755).end();
    unpacked(&running, archive, "/tmp").await??;
    let seen = running.run(&at("/tmp", sh("stat -c '%u %g %a' f"))).await?;
    same!(String::from_utf8_lossy(&seen.stdout), "33 44 6755\n", "owner and mode");
    let archive = packed(&running, "/tmp/f", "g").await??;
    unpacked(&running, archive, "/tmp").await??;
    let seen = running.run(&at("/tmp", sh("stat -c '%u %g' g"))).await?;
    same!(String::from_utf8_lossy(&seen.stdout), "33 44\n", "after a way out and in");
    Ok(())
}

pub(super) async fn a_stop_ends_a_transfer(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    // Nobody writes, so it would wait for ever.
    let (read, write) = pipe()?;
    let place = path("/")?;
    let waiting = running.sandbox.files().unpack(&place, read);
    if b.subject().driver.id == "fake" {
        drop(write);
        same!(waiting.await.map_err(|e| e.kind()), Err(Kind::Invalid), "an archive that never came");
        return Ok(());
    }
    let stopping = b.backend().stop(running.id, &running.state, std::time::Duration::from_millis(200));
    let (unpacked, stopped) = tokio::join!(waiting, stopping);
    stopped?;
    check!(unpacked.is_err(), "it unpacked what nobody sent");
    drop(write);
    Ok(())
}

pub(super) async fn killing_the_transfer_is_told(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let (read, write) = pipe()?;
    let place = path("/tmp")?;
    let waiting = running.sandbox.files().unpack(&place, read);
    // Whatever root inside can reach of the sandbox's own, this ends; the shell itself is spared by its number.
    let kill = sh(
        "n=0; while [ $n -lt 200 ]; do n=$((n+1)); [ $n = $$ ] || [ $n = 1 ] || kill -9 $n 2>/dev/null; done; true",
    );
    let killing = running.sandbox.exec(&kill);
    let (unpacked, killed) = tokio::join!(waiting, async { killing.await?.output(1 << 16).await });
    killed?;
    drop(write);
    check!(unpacked.is_err(), "it unpacked what nobody sent");
    // And the sandbox goes on.
    let archive = Archive::new().file("f", "content").end();
    self::unpacked(&running, archive, "/tmp").await??;
    Ok(())
}

pub(super) async fn what_the_host_sees_has_no_set_id_files(b: Bench) -> Verdict {
    let shared = b.scratch().join("shared");
    fs::create_dir(&shared)?;
    let mut spec = SandboxSpec { workspace: Workspace::None, ..plain_spec() };
    spec.policy.mounts.push(Mount {
        source: shared.clone(),
        target: path("/shared")?,
        access: Access::ReadWrite,
    });
    let running = b.start(&spec).await?;
    let mut archive = Archive::new();
    // Owned by root, which is the host's root where root runs this.
    archive = archive.entry(EntryType::Regular, "f", "", b"x", 0o6755);
    unpacked(&running, archive.end(), "/shared").await??;
    let mode = fs::metadata(shared.join("f"))?.mode() & 0o7777;
    same!(format!("{mode:o}"), "755", "the mode that the host sees");
    Ok(())
}
