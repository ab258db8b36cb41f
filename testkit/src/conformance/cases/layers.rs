//! Images of layers: what is seen of them, that nothing is written to them, and that none of their files leads outside.

use crate::conformance::{
    bench::{Bench, shown},
    case::{Failure, Verdict, check, same},
    image::{Layer, base, busybox, image, lease},
    subject::{plain_spec, sh},
};
use agentkernel_backend::{Exit, GeneratedFile, Rootfs};
use agentkernel_model::{
    Kind,
    command::User,
    mount::{Access, Mount, Workspace},
    policy::{EffectivePolicy, Profile},
    spec::SandboxSpec,
};
use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// Two layers: the upper one removes, hides and replaces.
fn two_layers(b: &Bench) -> Result<Rootfs, Failure> {
    let lower = base()?
        .directory("data")
        .file("data/lower", "lower")
        .file("data/replaced", "old")
        .file("data/removed", "x")
        .directory("data/hidden")
        .file("data/hidden/old", "x")
        .directory("data/gone")
        .file("data/gone/deep", "x");
    let upper = Layer::new()
        .directory("data")
        .file("data/replaced", "new")
        .whiteout("data/removed")
        .opaque("data/hidden")
        .file("data/hidden/new", "new")
        .whiteout("data/gone");
    image(b.scratch(), vec![lower, upper])
}

/// Every file of the layers, with what it says and when it changed.
fn state(root: &Path) -> Result<Vec<String>, Failure> {
    let mut state = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let meta = path.symlink_metadata()?;
            let content = if meta.is_file() { fs::read(&path)?.len() } else { 0 };
            state.push(format!("{} {:o} {} {content}", path.display(), meta.mode(), meta.mtime()));
            if meta.is_dir() {
                left.push(path);
            }
        }
    }
    state.sort();
    Ok(state)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const LOOK: &str = "cd /data; find . | sort 2>/dev/null || find .; cat lower replaced hidden/new";

pub(super) async fn layers_are_seen_as_one(b: Bench) -> Verdict {
    let bench = b.of(lease(two_layers(&b)?));
    let output =
        bench.run(&plain_spec(), &sh("cd /data; ls -A . hidden; cat lower replaced hidden/new")).await?;
    let expected = ".:\nhidden\nlower\nreplaced\n\nhidden:\nnew\nlowernewnew";
    check!(output.stdout == expected.as_bytes(), "{}", shown(&output));
    // The kernel's own places are there as in every root.
    let script = "test -e /proc/self/status && test -c /dev/null && touch /tmp/x && cat /proc/kcore | wc -c; id -u; \
                  stat -c %a /";
    let output = bench.run(&plain_spec(), &sh(script)).await?;
    let seen = text(&output.stdout);
    // No layer says anything of the root itself.
    check!(
        ["0\n0\n755\n", "0\n0\n555\n"].contains(&seen.as_str()),
        "kernel files, user and the root's mode: {seen}"
    );
    Ok(())
}

pub(super) async fn writes_stay_in_the_sandbox(b: Bench) -> Verdict {
    let bench = b.of(lease(two_layers(&b)?));
    let before = state(b.scratch())?;
    let script = "set -e; cd /data; echo changed >lower; rm replaced; rm -r hidden; mkdir hidden removed; echo x >hidden/x; \
                  chmod 700 /bin/busybox; mv lower renamed; ln -s / link; cat renamed; ls -A . hidden";
    let output = bench.run(&plain_spec(), &sh(script)).await?;
    let expected = "changed\n.:\nhidden\nlink\nremoved\nrenamed\n\nhidden:\nx\n";
    check!(output.stdout == expected.as_bytes(), "{}", shown(&output));
    same!(state(b.scratch())?, before, "the layers");
    let output = bench.run(&plain_spec(), &sh("cd /data; ls -A . hidden; cat lower")).await?;
    same!(text(&output.stdout), ".:\nhidden\nlower\nreplaced\n\nhidden:\nnew\nlower", "another sandbox");
    Ok(())
}

pub(super) async fn what_is_written_lasts(b: Bench) -> Verdict {
    let mut rootfs = two_layers(&b)?;
    rootfs.files.push(generated("/etc/hosts", "of the first start\n"));
    let bench = b.of(lease(rootfs));
    let running = bench.start(&plain_spec()).await?;
    let script = "set -e; cd /data; echo kept >new; rm lower; echo mine >>/etc/hosts; ln -s /etc hidden/link";
    let output = running.run(&sh(script)).await?;
    check!(output.exit == Exit::Code(0), "{}", shown(&output));
    let state = b.backend().stop(running.id, &running.state, std::time::Duration::ZERO).await?;
    let again = bench.start_again(&plain_spec(), running.id, &state).await?;
    let output = again.run(&sh("cd /data; cat new /etc/hosts; ls -A . hidden")).await?;
    let expected = "kept\nof the first start\nmine\n.:\nhidden\nnew\nreplaced\n\nhidden:\nlink\nnew\n";
    same!(text(&output.stdout), expected, "after a stop and a start");
    let other = bench.start(&plain_spec()).await?;
    let output = other.run(&sh(LOOK)).await?;
    check!(output.stdout.ends_with(b"lowernewnew"), "another sandbox: {}", shown(&output));
    Ok(())
}

pub(super) async fn layers_of_a_read_only_root_refuse_writes(b: Bench) -> Verdict {
    let mut rootfs = two_layers(&b)?;
    rootfs.files.push(generated("/etc/hosts", "generated\n"));
    let bench = b.of(lease(rootfs));
    let mut spec = plain_spec();
    let limits = spec.policy.limits.clone();
    spec.policy = EffectivePolicy { limits, ..EffectivePolicy::of_profile(Profile::Restrictive) };
    for place in ["/file", "/data/file", "/data/lower", "/etc/hosts", "/bin/busybox"] {
        let output = bench.run(&spec, &sh(&format!("echo x >{place}"))).await?;
        check!(output.exit != Exit::Code(0), "{place} could be written");
    }
    let output = bench.run(&spec, &sh("rm /data/lower || mv /data /x || chmod 777 /data")).await?;
    check!(output.exit != Exit::Code(0), "the root could be changed: {}", shown(&output));
    let output = bench.run(&spec, &sh("cat /etc/hosts; echo x >/tmp/file && cat /tmp/file")).await?;
    same!(text(&output.stdout), "generated\nx\n", "what was generated, and /tmp");
    Ok(())
}

pub(super) async fn the_image_decides_where_nobody_else_does(b: Bench) -> Verdict {
    let mut rootfs = two_layers(&b)?;
    rootfs.env.push(("OF_IMAGE".to_owned(), "yes".to_owned()));
    rootfs.defaults.workdir = Some("/data/hidden".parse()?);
    let bench = b.of(lease(rootfs));
    let output = bench.run(&plain_spec(), &sh("pwd; echo $OF_IMAGE $HOME")).await?;
    same!(text(&output.stdout), "/data/hidden\nyes /root\n", "as the image says");
    let mut spec = plain_spec();
    spec.workdir = Some("/data".parse()?);
    let output = bench.run(&spec, &sh("pwd")).await?;
    same!(text(&output.stdout), "/data\n", "as the spec says");
    let project = b.scratch().join("project");
    fs::create_dir(&project)?;
    let spec = SandboxSpec {
        workspace: Workspace::Direct { source: project, access: Access::ReadOnly },
        ..plain_spec()
    };
    let output = bench.run(&spec, &sh("pwd")).await?;
    same!(text(&output.stdout), "/workspace\n", "with a project");
    Ok(())
}

pub(super) async fn the_user_of_the_image(b: Bench) -> Verdict {
    let node = User { uid: 1000, gid: 1001 };
    let mut rootfs = two_layers(&b)?;
    rootfs.env.retain(|(key, _)| key != "HOME");
    rootfs.env.push(("HOME".to_owned(), "/home/node".to_owned()));
    rootfs.defaults.user = Some(node);
    let bench = b.of(lease(rootfs));
    let script = "id -u; id -g; echo $HOME; echo x 2>/dev/null >/etc/passwd || echo refused";
    let output = bench.run(&plain_spec(), &sh(script)).await?;
    same!(text(&output.stdout), "1000\n1001\n/home/node\nrefused\n", "as the image says");
    let spec = SandboxSpec { user: Some(User::ROOT), ..plain_spec() };
    let output = bench.run(&spec, &sh("id -u; echo $HOME")).await?;
    same!(text(&output.stdout), "0\n/root\n", "as the spec says");
    Ok(())
}

pub(super) async fn a_missing_workdir_is_made(b: Bench) -> Verdict {
    let mut rootfs = two_layers(&b)?;
    rootfs.defaults.workdir = Some("/made/by the/driver".parse()?);
    let bench = b.of(lease(rootfs));
    let output = bench.run(&plain_spec(), &sh("pwd; stat -c '%a %u' /made .")).await?;
    same!(text(&output.stdout), "/made/by the/driver\n755 0\n755 0\n", "a directory that no layer has");
    let mut rootfs = two_layers_at(&b, "other")?;
    rootfs.defaults.workdir = Some("/etc/passwd/below".parse()?);
    let error = b.of(lease(rootfs)).refusal(&plain_spec(), &sh("pwd")).await?;
    check!(matches!(error.kind(), Kind::Invalid | Kind::NotFound), "kind {:?} of '{error}'", error.kind());
    Ok(())
}

fn two_layers_at(b: &Bench, name: &str) -> Result<Rootfs, Failure> {
    let place = b.scratch().join(name);
    fs::create_dir(&place)?;
    image(&place, vec![base()?, Layer::new().file("top", "")])
}

pub(super) async fn a_missing_program_is_not_found(b: Bench) -> Verdict {
    let rootfs = image(b.scratch(), vec![Layer::new().file("file", "nothing else")])?;
    let error = b.of(lease(rootfs)).refusal(&plain_spec(), &sh("true")).await?;
    same!(error.kind(), Kind::CommandNotFound, "without a shell");
    Ok(())
}

fn generated(target: &str, content: &str) -> GeneratedFile {
    let target = target.parse().unwrap_or_else(|e| panic!("a case has a path that is none: {e}"));
    GeneratedFile { target, mode: 0o644, content: content.as_bytes().to_vec() }
}

pub(super) async fn generated_files_replace_what_is_there(b: Bench) -> Verdict {
    let layer = base()?
        .symlink("etc/resolv.conf", "../run/somewhere/resolv.conf")
        .symlink("etc/services", "/etc/passwd")
        .symlink("linked", "etc")
        .directory("etc/networks")
        .file("etc/nsswitch.conf", "of the image");
    let mut rootfs = image(b.scratch(), vec![layer])?;
    for name in [
        "etc/resolv.conf",
        "etc/services",
        "etc/networks",
        "etc/nsswitch.conf",
        "linked/via",
        "new/deep/file",
    ] {
        rootfs.files.push(generated(&format!("/{name}"), &format!("{name}\n")));
    }
    // The first of them is an engine's own affair, and may be what a link leads to.
    let script = "cd /; cat etc/resolv.conf; for f in etc/services etc/networks etc/nsswitch.conf etc/via new/deep/file; do \
                  test -h $f && echo a link; cat $f; done; cat etc/passwd";
    let output = b.of(lease(rootfs)).run(&plain_spec(), &sh(script)).await?;
    let expected = "etc/resolv.conf\netc/services\netc/networks\netc/nsswitch.conf\nlinked/via\nnew/deep/file\n\
                    root:x:0:0::/root:/bin/sh\n";
    check!(text(&output.stdout) == expected, "{}", shown(&output));
    Ok(())
}

/// Refused, or harmless: no file of the host is seen or changed, and what /proc hides stays hidden.
pub(super) async fn links_at_mount_targets_lead_nowhere(b: Bench) -> Verdict {
    let (project, mounted) = (b.scratch().join("project"), b.scratch().join("mounted"));
    for directory in [&project, &mounted] {
        fs::create_dir(directory)?;
        fs::write(directory.join("mine"), "host")?;
    }
    let up = format!("../../../../../../../..{}", b.scratch().display());
    let targets = ["/etc", "/proc", "nowhere", "/proc/self/root", up.as_str(), "/data"];
    for (round, place) in ["proc", "dev", "tmp", "workspace", "etc", "mnt", "mnt/below"].iter().enumerate() {
        for (turn, target) in targets.iter().enumerate() {
            let lower = base()?.directory("data").file("data/file", "").directory("mnt");
            let hostile = Layer::new().whiteout(place).symlink(place, target);
            let at = b.scratch().join(format!("image{round}-{turn}"));
            fs::create_dir(&at)?;
            let mut rootfs = image(&at, vec![lower, hostile])?;
            rootfs.files.push(generated("/etc/hosts", "generated\n"));
            rootfs.env.push(("WHERE".to_owned(), (*place).to_owned()));
            let mut spec = SandboxSpec { workspace: Workspace::View(project.clone()), ..plain_spec() };
            let target_inside = if *place == "mnt/below" { "/mnt/below/deep" } else { "/mnt/inside" };
            spec.policy.mounts.push(Mount {
                source: mounted.clone(),
                target: target_inside.parse()?,
                access: Access::ReadOnly,
            });
            let script = "test \"$(cat /proc/self/comm)\" = cat || echo no proc; cat /proc/kcore | wc -c; \
                          echo x 2>/dev/null >/proc/sys/kernel/hostname && echo proc is writable; test -c /dev/null || echo no dev; \
                          cat /workspace/mine; touch /tmp/x; echo; echo end";
            match b.of(lease(rootfs)).open(&spec, &sh(script)).await {
                Ok(Ok(process)) => match process.output(1 << 16).await {
                    Ok(output) => {
                        same!(
                            text(&output.stdout),
                            "0\nhost\nend\n",
                            format!("/{place} -> {target}: {}", shown(&output))
                        );
                    }
                    Err(error) => refused(&error, place, target)?,
                },
                Ok(Err(error)) => refused(&error, place, target)?,
                // The named road fails at its start.
                Err(Failure(why)) => {
                    check!(why.starts_with("Conflict") || why.starts_with("Internal"), "{why}")
                }
            }
            same!(fs::read(project.join("mine"))?, b"host", "the project");
            same!(fs::read_dir(&mounted)?.count(), 1, "files in the mounted directory");
            fs::remove_dir_all(&at)?;
        }
    }
    Ok(())
}

fn refused(error: &agentkernel_model::Error, place: &str, target: &str) -> Verdict {
    // Invalid: the working directory is where the link leads, and hidden there.
    let right =
        matches!(error.kind(), Kind::Conflict | Kind::Internal | Kind::CommandNotFound | Kind::Invalid);
    check!(right, "/{place} -> {target}: kind {:?} of '{error}'", error.kind());
    Ok(())
}

pub(super) async fn set_user_id_files_are_nothing(b: Bench) -> Verdict {
    let layer = base()?
        .owned("bin/busybox-become", &busybox()?, 0o6755, 0)
        .owned("etc/shadow", b"secret\n", 0o600, 0)
        .owned("etc/of-33", b"", 0o644, 33);
    let rootfs = image(b.scratch(), vec![layer])?;
    let spec = SandboxSpec { user: Some(User { uid: 1000, gid: 1000 }), ..plain_spec() };
    let script = "/bin/busybox-become id -u; /bin/busybox-become cat /etc/shadow 2>/dev/null || echo refused";
    let output = b.of(lease(rootfs.clone())).run(&spec, &sh(script)).await?;
    same!(text(&output.stdout), "1000\nrefused\n", "a set-user-ID program of root");
    // That one gives its rights up by itself; one that does not gets none, for nothing here gains privileges.
    let output = b.of(lease(rootfs)).run(&plain_spec(), &sh("grep NoNewPrivs /proc/self/status")).await?;
    same!(text(&output.stdout), "NoNewPrivs:\t1\n", "new privileges of a command");
    Ok(())
}

/// Docker makes images of 127 and runs those of 125 or fewer, with what it adds on top itself.
const MOST_LAYERS: u32 = 124;

pub(super) async fn as_many_layers_as_an_image_has(b: Bench) -> Verdict {
    let mut layers = vec![base()?.file("counter", "0")];
    for index in 1..MOST_LAYERS {
        let layer = Layer::new().file("counter", &index.to_string()).file(&format!("of-{index}"), "");
        layers.push(layer.whiteout(&format!("of-{}", index - 1)));
    }
    let bench = b.of(lease(image(b.scratch(), layers)?));
    let output = bench
        .run(&plain_spec(), &sh("cat /counter; echo; ls -d /of-*; echo x >/of-123 && echo written"))
        .await?;
    same!(text(&output.stdout), "123\n/of-123\nwritten\n", "124 layers");
    Ok(())
}
