//! What a sandbox left in its own root before a stop, to be followed by the next start (CVE-2025-31133, CVE-2025-52565,
//! CVE-2025-52881).

use crate::escape::{
    arena::Arena,
    attempt::{Attempt, Observation},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) fn attempts() -> Vec<Attempt> {
    let swapped = |name: &str, target: &'static str| {
        Attempt::new(name, "refused", &["followed"], move |a| swapped_root(a, target))
    };
    vec![
        swapped("CVE-2025-31133/proc", "proc"),
        swapped("CVE-2025-52565/dev", "dev"),
        swapped("CVE-2025-52881/tmp", "tmp"),
        Attempt::new("CVE-2025-52881/parent-of-a-volume", "refused", &["followed"], swapped_parent),
        Attempt::new("volume/source-swapped", "refused", &["followed"], swapped_source),
    ]
}

/// The root directory of the only sandbox, on the host.
fn root_of_sandbox(arena: &Arena) -> Result<PathBuf, String> {
    let sandboxes = arena.env.data().join("sandboxes");
    let entries = fs::read_dir(&sandboxes).map_err(|e| format!("set-up: {}: {e}", sandboxes.display()))?;
    let mut roots = entries.filter_map(|e| Some(e.ok()?.path().join("native/root"))).filter(|p| p.is_dir());
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root),
        other => Err(format!("set-up: not one root directory: {other:?}")),
    }
}

/// ELOOP, a symbolic link on the way; EINVAL, one at its end, which nothing can be mounted on.
const REFUSALS: [&str; 2] = ["symbolic link", "(os error 22)"];

/// Starts the sandbox again and says whether that was refused for the reason that the attempt is about.
fn start_again(arena: &Arena, name: &str) -> Observation {
    let started = arena.agentkernel(&["sandbox", "start", name]).run();
    match started.code {
        Some(0) => Ok("followed".to_owned()),
        Some(125) if REFUSALS.iter().any(|r| started.err().contains(r)) => Ok("refused".to_owned()),
        _ => Err(format!("neither started nor refused for the link: {started}")),
    }
}

/// The worst case: an earlier start got to write into the root itself.
fn swapped_root(arena: &Arena, target: &str) -> Observation {
    arena.must(&["sandbox", "create", "again", "--image", "host", "--no-network"])?;
    arena.must(&["sandbox", "start", "again"])?;
    arena.must(&["exec", "again", "--", "mkdir", "/elsewhere"])?;
    arena.must(&["sandbox", "stop", "again"])?;
    let place = root_of_sandbox(arena)?.join(target);
    swap(&place, "/elsewhere")?;
    let seen = start_again(arena, "again");
    let _not_running = arena.agentkernel(&["sandbox", "stop", "again"]).run();
    arena.must(&["sandbox", "remove", "again"])?;
    seen
}

fn swap(place: &Path, to: &str) -> Result<(), String> {
    fs::remove_dir(place).map_err(|e| format!("set-up: {}: {e}", place.display()))?;
    std::os::unix::fs::symlink(to, place).map_err(|e| format!("set-up: {}: {e}", place.display()))
}

/// What a guest can do itself: rename the parent of a place where something is mounted, and put a link there.
fn swapped_parent(arena: &Arena) -> Observation {
    let shown = arena.env.directory("shown");
    let volume = format!("{}:/data/inner", shown.display());
    let create = ["sandbox", "create", "again", "--image", "host", "--no-network", "-v", &volume];
    arena.must(&create)?;
    arena.must(&["sandbox", "start", "again"])?;
    let script = "mv /data /moved && mkdir -p /etc/taken/inner && ln -s /etc/taken /data";
    arena.must(&["exec", "again", "--", "sh", "-c", script])?;
    arena.must(&["sandbox", "stop", "again"])?;
    let seen = start_again(arena, "again");
    let _not_running = arena.agentkernel(&["sandbox", "stop", "again"]).run();
    arena.must(&["sandbox", "remove", "again"])?;
    seen
}

/// A volume whose source lies in another volume that the guest may write: the guest puts a link to a directory of the host
/// in its place, which the next start must not follow.
fn swapped_source(arena: &Arena) -> Observation {
    let (shown, secret) = (arena.env.directory("shown"), arena.env.directory("secret"));
    arena.env.file("secret/file", "secret\n");
    let inner = arena.env.directory("shown/inner");
    let outer = format!("{}:/outer", shown.display());
    let inner = format!("{}:/inner:ro", inner.display());
    arena.must(&[
        "sandbox",
        "create",
        "again",
        "--image",
        "host",
        "--no-network",
        "-v",
        &outer,
        "-v",
        &inner,
    ])?;
    arena.must(&["sandbox", "start", "again"])?;
    let script = format!("mv /outer/inner /outer/moved && ln -s {} /outer/inner", secret.display());
    arena.must(&["exec", "again", "--", "sh", "-c", &script])?;
    arena.must(&["sandbox", "stop", "again"])?;
    let started = start_again(arena, "again");
    let read = arena.agentkernel(&["exec", "again", "--", "cat", "/inner/file"]).run();
    let _not_running = arena.agentkernel(&["sandbox", "stop", "again"]).run();
    arena.must(&["sandbox", "remove", "again"])?;
    match started?.as_str() {
        "followed" if read.out() != "secret\n" => {
            Err(format!("it started and does not show the secret: {read}"))
        }
        seen => Ok(seen.to_owned()),
    }
}
