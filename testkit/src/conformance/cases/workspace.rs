//! The project and mounted directories.

use crate::conformance::{
    bench::{Bench, shown},
    case::{Failure, Verdict, check, same},
    subject::{plain_spec, sh},
};
use agentkernel_backend::Exit;
use agentkernel_model::{
    mount::{Access, Mount, Workspace},
    spec::SandboxSpec,
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// A small project; its path and its content.
fn project(b: &Bench) -> Result<PathBuf, Failure> {
    let root = b.scratch().join("project");
    fs::create_dir_all(root.join("sub/deep"))?;
    fs::write(root.join("file"), "original\n")?;
    fs::write(root.join("sub/deep/file"), "deep\n")?;
    fs::write(root.join("doomed"), "doomed\n")?;
    Ok(root)
}

/// Every file below `root` with its content, and every directory.
fn tree(root: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, Failure> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let content = if kind.is_file() { fs::read(entry.path())? } else { Vec::new() };
            if kind.is_dir() {
                open.push(entry.path());
            }
            found.insert(entry.path(), content);
        }
    }
    Ok(found)
}

fn with_mount(source: &Path, access: Access) -> Result<SandboxSpec, Failure> {
    let mut spec = plain_spec();
    spec.policy.mounts.push(Mount { source: source.to_owned(), target: "/data".parse()?, access });
    Ok(spec)
}

pub(super) async fn a_view_reads_and_never_writes_the_project(b: Bench) -> Verdict {
    let root = project(&b)?;
    let before = tree(&root)?;
    let spec = SandboxSpec { workspace: Workspace::View(root.clone()), ..plain_spec() };
    let script = "set -e; pwd -P; cat file sub/deep/file; echo changed >file; mkdir made; echo new >made/new; rm doomed; \
                  mv sub moved; cat file made/new moved/deep/file; ! test -e doomed; ! test -e sub";
    let output = b.run(&spec, &sh(script)).await?;
    let want = "/workspace\noriginal\ndeep\nchanged\nnew\ndeep\n";
    check!(output.exit == Exit::Code(0) && output.stdout == want.as_bytes(), "{}", shown(&output));
    check!(tree(&root)? == before, "the project on the host is another: {:?}", tree(&root)?.keys());
    Ok(())
}

pub(super) async fn links_of_a_project_stay_inside(b: Bench) -> Verdict {
    let root = project(&b)?;
    let secret = b.scratch().join("secret");
    fs::write(&secret, "host secret")?;
    std::os::unix::fs::symlink(&secret, root.join("absolute"))?;
    std::os::unix::fs::symlink("../secret", root.join("relative"))?;
    std::os::unix::fs::symlink("/", root.join("root"))?;
    let spec = SandboxSpec { workspace: Workspace::View(root), ..plain_spec() };
    let script = format!(
        "cat absolute relative root{0} 2>/dev/null; echo x >absolute; echo x >relative; echo x >root{0}; echo end",
        secret.display()
    );
    let output = b.run(&spec, &sh(&script)).await?;
    same!(String::from_utf8_lossy(&output.stdout), "end\n", "what the links show");
    same!(fs::read(&secret)?, b"host secret", "the file of the host");
    Ok(())
}

pub(super) async fn a_writable_mount_reaches_the_host(b: Bench) -> Verdict {
    let root = project(&b)?;
    let spec = with_mount(&root, Access::ReadWrite)?;
    let output =
        b.run(&spec, &sh("cat /data/file && echo changed >/data/file && echo new >/data/new")).await?;
    check!(output.exit == Exit::Code(0) && output.stdout == b"original\n", "{}", shown(&output));
    same!(fs::read(root.join("file"))?, b"changed\n", "the changed file");
    same!(fs::read(root.join("new"))?, b"new\n", "the new file");
    same!(fs::metadata(root.join("new"))?.uid(), b.subject().host.uid, "the owner of the new file");
    Ok(())
}

pub(super) async fn a_read_only_mount_refuses_writes(b: Bench) -> Verdict {
    let root = project(&b)?;
    let before = tree(&root)?;
    let spec = with_mount(&root, Access::ReadOnly)?;
    for write in [
        "echo x >/data/file",
        "echo x >/data/new",
        "rm /data/doomed",
        "mkdir /data/made",
        "chmod 777 /data/file",
    ] {
        let output = b.run(&spec, &sh(&format!("cat /data/file; {write}"))).await?;
        check!(output.exit != Exit::Code(0) && output.stdout == b"original\n", "{write}: {}", shown(&output));
    }
    check!(tree(&root)? == before, "the directory on the host is another");
    Ok(())
}

pub(super) async fn a_direct_workspace_reaches_the_host(b: Bench) -> Verdict {
    let root = project(&b)?;
    let direct = |access| SandboxSpec {
        workspace: Workspace::Direct { source: root.clone(), access },
        ..plain_spec()
    };
    let output = b.run(&direct(Access::ReadOnly), &sh("cat file; echo x >file")).await?;
    check!(output.exit != Exit::Code(0) && output.stdout == b"original\n", "read-only: {}", shown(&output));
    let output = b.run(&direct(Access::ReadWrite), &sh("pwd -P; echo changed >file")).await?;
    check!(output.exit == Exit::Code(0) && output.stdout == b"/workspace\n", "{}", shown(&output));
    same!(fs::read(root.join("file"))?, b"changed\n", "the changed file");
    Ok(())
}
