//! Files of the host: through what is shown, through /proc, through devices, and past the root.

use crate::escape::{
    arena::{ALONE, Arena, RESTRICTIVE},
    attempt::{Attempt, Observation},
};
use std::{fs, io::BufRead as _, io::BufReader, io::Write as _, path::Path};

pub(super) fn attempts() -> Vec<Attempt> {
    let mut attempts = shown();
    attempts.extend(kernel());
    attempts
}

fn shown() -> Vec<Attempt> {
    vec![
        Attempt::new("volume/read-only", "EROFS, unchanged", &["ok, changed"], |a| volume(a, "append")),
        Attempt::new("proc-self-fd/reopen", "EROFS, unchanged", &["ok, changed"], |a| volume(a, "reopen")),
        Attempt::new("CVE-2019-5736/overwrite-self", "refused, unchanged", &["written, changed"], overwrite),
        Attempt::new("volume/set-user-id", "set", &["missing"], |a| mount_flag(a, "nosuid")),
        Attempt::new("volume/make-set-user-id", "EPERM, plain", &["ok, set-user-id"], |a| set_id(a, "chmod")),
        Attempt::new("volume/create-set-user-id", "EPERM, absent", &["ok, set-user-id"], |a| {
            set_id(a, "create")
        }),
        Attempt::new("volume/create-set-user-id-unseen", "ENOSYS, absent", &["ok, set-user-id"], |a| {
            set_id(a, "create-unseen")
        }),
        Attempt::new("volume/file-capabilities", "EPERM, plain", &["ok, capable"], file_capabilities),
        Attempt::new("volume/device", "EACCES", &["ok"], |a| {
            a.inside(&["--no-network", "-v", "/dev:/hostdev:ro"], &["read", "/hostdev/zero"])
        }),
        Attempt::new("volume/later-mount", "ENOENT", &["ok"], later_mount).for_root(),
        Attempt::new("workspace/view", "unchanged", &["changed"], view),
        Attempt::new("root/read-only", "EROFS", &["EACCES"], |a| {
            a.inside(RESTRICTIVE, &["make-directory", "/taken"])
        }),
        Attempt::new("root/walk-out", "ENOENT", &["ok"], |a| a.inside(ALONE, &["breakout", "/etc/shadow"])),
        Attempt::new("root/symlink-in-volume", "ENOENT", &["ok", "EACCES"], symlink),
        Attempt::new("root/not-listed", "none", &["some"], not_listed),
    ]
}

fn kernel() -> Vec<Attempt> {
    let frozen = |path: &'static str| move |a: &Arena| a.inside(ALONE, &["mount-flag", path, "ro"]);
    vec![
        Attempt::new(
            "CVE-2022-0492/core-pattern",
            "set",
            &["missing"],
            frozen("/proc/sys/kernel/core_pattern"),
        ),
        Attempt::new("kernel/settings", "set", &["missing"], frozen("/proc/sys/kernel")),
        // Its rules of access let root of the ipc namespace in, which root inside is.
        Attempt::new("kernel/namespaced-setting", "EROFS", &["ok"], |a| {
            a.inside(ALONE, &["may-write", "/proc/sys/kernel/msgmax"])
        })
        .unless(older_than_6_10),
        Attempt::new("kernel/masked", "device", &["file"], masked),
        Attempt::new("device/new-name", "EROFS", &["ok"], |a| a.inside(ALONE, &["make-file", "/dev/taken"])),
        Attempt::new("device/terminals-of-the-host", "none", &["some"], terminals),
    ]
}

/// Older kernels let nobody but the machine's root in.
fn older_than_6_10() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    (version < (6, 10))
        .then(|| format!("settings of an ipc namespace belong to the machine in {}", release.trim()))
}

const CONTENT: &str = "original\n";

/// A file of the host below a read-only volume, and whether `verb` changed it.
fn volume(arena: &Arena, verb: &str) -> Observation {
    arena.env.directory("shown");
    let file = arena.env.file("shown/file", CONTENT);
    let shown = file.parent().unwrap_or(Path::new("/")).display().to_string() + ":/shown:ro";
    let word = arena.inside(&["--no-network", "-v", &shown], &[verb, "/shown/file"])?;
    let changed = fs::read_to_string(&file).map_err(|e| e.to_string())? != CONTENT;
    Ok(format!("{word}, {}", if changed { "changed" } else { "unchanged" }))
}

/// The program that runs inside is a copy in a read-only volume.
fn overwrite(arena: &Arena) -> Observation {
    arena.env.directory("shown");
    let copy = arena.env.file("shown/program", "");
    let before = fs::copy(&arena.probe, &copy).map_err(|e| format!("set-up: {e}"))?;
    let shown = copy.parent().unwrap_or(Path::new("/")).display().to_string() + ":/shown:ro";
    let command = ["/shown/program", "probe", "overwrite-self"];
    let finished = arena.run(&["--no-network", "-v", &shown], &command).run();
    let word = crate::escape::arena::word(&finished)?;
    let changed = fs::metadata(&copy).map_err(|e| e.to_string())?.len() != before;
    Ok(format!("{word}, {}", if changed { "changed" } else { "unchanged" }))
}

fn mount_flag(arena: &Arena, flag: &str) -> Observation {
    arena.env.directory("shown");
    let shown = arena.env.file("shown/file", CONTENT);
    let shown = shown.parent().unwrap_or(Path::new("/")).display().to_string() + ":/shown";
    arena.inside(&["--no-network", "-v", &shown], &["mount-flag", "/shown", flag])
}

/// A file that the host would run with the rights of its owner, made in a directory that is the host's too.
fn set_id(arena: &Arena, how: &str) -> Observation {
    use std::os::unix::fs::PermissionsExt as _;
    let shown = arena.env.directory("shown");
    let volume = format!("{}:/shown", shown.display());
    let word = arena.inside(&["--no-network", "-v", &volume], &["set-user-id", how, "/shown/program"])?;
    let found = fs::metadata(shown.join("program")).map(|meta| meta.permissions().mode() & 0o4000 != 0);
    let found = found.map_or("absent", |set| if set { "set-user-id" } else { "plain" });
    Ok(format!("{word}, {found}"))
}

/// The same by capabilities of a file, which the widest profile may otherwise set on its own files.
fn file_capabilities(arena: &Arena) -> Observation {
    let (directory, file) = (arena.env.directory("shown"), arena.env.file("shown/program", "program"));
    let volume = format!("{}:/shown", directory.display());
    let flags = ["--no-network", "--profile", "permissive", "-v", &volume];
    let word = arena.inside(&flags, &["file-capability", "/shown/program"])?;
    let mut value = [0_u8; 64];
    let found = rustix::fs::getxattr(&file, "security.capability", &mut value[..]);
    Ok(format!("{word}, {}", if found.is_ok() { "capable" } else { "plain" }))
}

/// What the host mounts below a volume while the sandbox runs.
fn later_mount(arena: &Arena) -> Observation {
    use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _gone = unmount(self.0, UnmountFlags::DETACH);
        }
    }
    let set_up = |e: rustix::io::Errno| format!("set-up: {e}");
    let (outer, inner) = (arena.env.directory("outer"), arena.env.directory("outer/inner"));
    mount("none", &outer, "tmpfs", MountFlags::empty(), None).map_err(set_up)?;
    let _outer = Mounted(&outer);
    mount_change(&outer, MountPropagationFlags::SHARED).map_err(set_up)?;
    fs::create_dir(&inner).map_err(|e| format!("set-up: {e}"))?;
    let (from, to) = std::io::pipe().map_err(|e| e.to_string())?;
    let (held, mut hold) = std::io::pipe().map_err(|e| e.to_string())?;
    let shown = format!("{}:/outer:ro", outer.display());
    let script = "echo ready; read go; exec /probe probe exists /outer/inner/later";
    let run = arena.run(&["--no-network", "-v", &shown], &["sh", "-c", script]);
    let live = run.stdin(held).stdout(to).start();
    let mut from = BufReader::new(from);
    let mut line = String::new();
    from.read_line(&mut line).map_err(|e| e.to_string())?;
    mount("none", &inner, "tmpfs", MountFlags::empty(), None).map_err(set_up)?;
    let _inner = Mounted(&inner);
    fs::write(inner.join("later"), CONTENT).map_err(|e| format!("set-up: {e}"))?;
    hold.write_all(b"go\n").map_err(|e| e.to_string())?;
    line.clear();
    from.read_line(&mut line).map_err(|e| e.to_string())?;
    let _ended = live.finish();
    Ok(line.trim().to_owned())
}

/// The project, which the sandbox sees as a view.
fn view(arena: &Arena) -> Observation {
    let file = arena.env.file("project/file", CONTENT);
    let script = "echo taken >/workspace/file && cat /workspace/file";
    let run = ["run", "--image", "host", "--no-network", "--", "sh", "-c", script];
    let finished = arena.agentkernel(&run).run();
    if finished.out() != "taken\n" {
        return Err(format!("set-up: the view is not writable: {finished}"));
    }
    let now = fs::read_to_string(&file).map_err(|e| e.to_string())?;
    Ok(if now == CONTENT { "unchanged" } else { "changed" }.to_owned())
}

/// A link in a volume whose text is a path of the host.
fn symlink(arena: &Arena) -> Observation {
    let directory = arena.env.directory("shown");
    std::os::unix::fs::symlink("/etc/shadow", directory.join("link")).map_err(|e| format!("set-up: {e}"))?;
    let shown = format!("{}:/shown:ro", directory.display());
    arena.inside(&["--no-network", "-v", &shown], &["read", "/shown/link"])
}

/// What the machine has and the image does not.
fn not_listed(arena: &Arena) -> Observation {
    const SECRETS: [&str; 9] = [
        "/etc/shadow",
        "/etc/ssh",
        "/etc/sudoers",
        "/etc/cron.d",
        "/etc/ssl/private",
        "/var/lib/dpkg",
        "/var/log",
        "/run/systemd",
        "/run/lock",
    ];
    let there: Vec<&str> = SECRETS.into_iter().filter(|path| Path::new(path).exists()).collect();
    if there.len() < 3 {
        return Err(format!("set-up: this machine has only {there:?}"));
    }
    let home = arena.env.home().display().to_string();
    let words: Vec<&str> = ["exists-any", &home].into_iter().chain(there).collect();
    arena.inside(ALONE, &words)
}

/// Shown by some kernels and not by others: the first that this one has.
fn masked(arena: &Arena) -> Observation {
    let files = ["/proc/keys", "/proc/timer_list", "/proc/kallsyms", "/proc/kcore", "/proc/sched_debug"];
    let file = files.into_iter().find(|path| Path::new(path).exists());
    arena.inside(ALONE, &["kind", file.ok_or("set-up: this kernel has none of them")?])
}

/// Somebody on this machine has a terminal open.
fn terminals(arena: &Arena) -> Observation {
    let binary = arena.binary();
    let volume = format!("{}:/probe:ro", arena.probe.display());
    let words = ["probe", "with-terminal", &binary.to_string_lossy()].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let run = ["run", "-i", "host", "--no-workspace", "--no-network", "-v", &volume, "--"];
    let probe = ["/probe", "probe", "terminals"];
    crate::escape::arena::word(&arena.program(&arena.probe, &words).args(run).args(probe).run())
}
