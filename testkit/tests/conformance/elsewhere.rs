//! What an engine of another machine needs of a suite: an image of its own, as none of this machine's files can be shown
//! there, and a small binary, as it is sent there by every case.

use crate::engine;
use agentkernel_backend::{ImageDefaults, Lease, Owners, Rootfs};
use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Names the unpacked layer to the processes of cases.
pub(crate) const ROOT: &str = "AGENTKERNEL_CONFORMANCE_ROOT";
const BINARY: &str = "AGENTKERNEL_BIN";
const SLIM: &str = "AGENTKERNEL_ENGINE_SLIM";
/// Programs as people have them: what cases say to them, busybox's would not all understand.
const PROGRAMS: [&str; 36] = [
    "bash", "cat", "chmod", "cp", "cut", "date", "dd", "echo", "env", "false", "grep", "head", "id", "ln",
    "ls", "mkdir", "mkfifo", "mv", "printf", "pwd", "readlink", "rm", "sed", "sleep", "sort", "stat", "stty",
    "tail", "test", "touch", "tr", "true", "tty", "uname", "wc", "yes",
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nuser:x:1000:\n";

/// The suite once more with a binary without what debuggers read; `None` when that is so already, or need not be.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn with_small_binary() -> Result<Option<ExitCode>, String> {
    if !engine::is_elsewhere() || env::var_os(SLIM).is_some() {
        return Ok(None);
    }
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let small = place.path().join("agentkernel");
    let binary = agentkernel_testkit::env::product_binary();
    let stripped = Command::new("strip").arg("-o").arg(&small).arg(&binary).status();
    if !stripped.map_err(|e| format!("strip: {e}"))?.success() {
        return Err(format!("strip refuses {}", binary.display()));
    }
    let mut again = Command::new(env::current_exe().map_err(|e| e.to_string())?);
    let ran = again.args(env::args_os().skip(1)).env(BINARY, &small).env(SLIM, "yes").status();
    let code = ran.map_err(|e| e.to_string())?.code().and_then(|code| u8::try_from(code).ok());
    Ok(Some(code.map_or(ExitCode::FAILURE, ExitCode::from)))
}

/// Makes the layer in `place`, below a name as the store's: an engine that has it is not sent it again.
///
/// # Errors
/// When this machine has not what goes into it.
pub(crate) fn make(place: &Path) -> Result<PathBuf, String> {
    let tree = place.join(format!("{:064x}", std::process::id())).join("tree");
    let failed = |what: &Path, e: std::io::Error| format!("set-up: {}: {e}", what.display());
    let directories =
        ["usr/bin", "dev", "etc", "home/user", "mnt", "opt", "proc", "root", "run", "srv", "tmp", "var/tmp"];
    for directory in directories {
        fs::create_dir_all(tree.join(directory)).map_err(|e| failed(&tree, e))?;
    }
    for name in ["bin", "sbin"] {
        symlink("usr/bin", tree.join(name)).map_err(|e| failed(&tree, e))?;
    }
    for name in ["lib", "lib64"] {
        fs::create_dir_all(tree.join("usr").join(name)).map_err(|e| failed(&tree, e))?;
        symlink(Path::new("usr").join(name), tree.join(name)).map_err(|e| failed(&tree, e))?;
    }
    copy(Path::new("/bin/busybox"), &tree.join("usr/bin/busybox"))?;
    let applets = Command::new("/bin/busybox").arg("--list").output().map_err(|e| e.to_string())?;
    let own = ["busybox", "sh"].iter().chain(&PROGRAMS).copied().collect::<BTreeSet<_>>();
    for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|name| !own.contains(name)) {
        symlink("busybox", tree.join("usr/bin").join(applet)).map_err(|e| failed(&tree, e))?;
    }
    for name in ["sh"].iter().chain(&PROGRAMS) {
        program(&Path::new("/usr/bin").join(name), &tree)?;
    }
    program(Path::new(env!("CARGO_BIN_EXE_agentkernel-testkit-guest")), &tree)?;
    for open in ["tmp", "var/tmp"] {
        // Its mode is that of what an engine mounts there.
        let mode = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(tree.join(open), mode).map_err(|e| failed(&tree, e))?;
    }
    for (file, text) in [("passwd", PASSWD), ("group", GROUP)] {
        fs::write(tree.join("etc").join(file), text).map_err(|e| failed(&tree, e))?;
    }
    Ok(tree)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let parent = to.parent().unwrap_or(to);
    let copied = fs::create_dir_all(parent).and_then(|()| fs::copy(from, to));
    copied.map(drop).map_err(|e| format!("set-up: {}: {e}", from.display()))
}

/// A program of this machine with the C library that it wants; one that is not in /usr/bin is brought without itself.
fn program(path: &Path, tree: &Path) -> Result<(), String> {
    if path.starts_with("/usr/bin") {
        copy(path, &tree.join(path.strip_prefix("/").unwrap_or(path)))?;
    }
    let said = Command::new("ldd").arg(path).output().map_err(|e| format!("set-up: ldd: {e}"))?;
    for line in String::from_utf8_lossy(&said.stdout).lines() {
        let library = line.rsplit_once(" (").and_then(|(before, _)| before.rsplit(' ').next()).map(str::trim);
        let Some(library) = library.filter(|library| library.starts_with('/')) else { continue };
        let inside = tree.join(library.trim_start_matches('/'));
        if !inside.exists() {
            copy(Path::new(library), &inside)?;
        }
    }
    Ok(())
}

/// The root of sandboxes, from the layer that the suite made.
pub(crate) fn rootfs() -> Option<Lease> {
    let tree = PathBuf::from(env::var_os(ROOT)?);
    Some(Lease::unguarded(Rootfs {
        identity: "elsewhere".to_owned(),
        layers: vec![tree],
        grafts: Vec::new(),
        links: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        env: [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/root")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        defaults: ImageDefaults::default(),
        owners: Owners::Single,
    }))
}
