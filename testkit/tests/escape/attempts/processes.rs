//! Privileges, and other processes: init, those of other commands, and those of the host.

use crate::escape::{
    arena::{ALONE, Arena, NAME, RESTRICTIVE},
    attempt::{Attempt, Observation},
};
use agentkernel_testkit::proc;
use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
    time::Duration,
};

pub(super) fn attempts() -> Vec<Attempt> {
    const NO_CAPABILITIES: &str = "0000000000000000";
    // Everything that kernels since 5.9 know, and since 4.8.
    const ALL: &[&str] = &["000001ffffffffff", "000000ffffffffff", "000000007fffffff"];
    let restrictive = |key: &'static str| move |a: &Arena| a.inside(RESTRICTIVE, &["status", key]);
    vec![
        Attempt::new("privilege/set-user-id", "1", &["0"], |a| a.inside(ALONE, &["status", "NoNewPrivs"])),
        Attempt::new("privilege/bounding-set", NO_CAPABILITIES, ALL, restrictive("CapBnd")),
        Attempt::new("privilege/effective-set", NO_CAPABILITIES, ALL, restrictive("CapEff")),
        Attempt::new("privilege/set-user-id-of-exec", "1", &["0"], |a| {
            a.inside_named(&["status", "NoNewPrivs"])
        }),
        Attempt::new("device/make-a-disk", "EPERM", &["ok"], |a| a.inside(ALONE, &["call", "make-a-disk"]))
            .for_root(),
        Attempt::new("privilege/host-root", "nobody", &["root"], host_root).for_root(),
        Attempt::new("CVE-2019-5736/init-exe", "ENOENT", &["ok"], |a| {
            a.inside(ALONE, &["exists", "/proc/1/exe"])
        }),
        Attempt::new("CVE-2016-9962/init-memory", "closed", &["open"], init_memory),
        Attempt::new("CVE-2016-9962/descriptors", "none", &["leaked"], |a| a.inside(ALONE, &["descriptors"])),
        Attempt::new("CVE-2016-9962/descriptors-of-exec", "none", &["leaked"], |a| {
            a.inside_named(&["descriptors"])
        }),
        Attempt::new("CVE-2024-21626/descriptors-of-the-caller", "none", &["leaked"], caller_descriptors)
            .for_root(),
        Attempt::new("CVE-2019-5736/own-binary", "refused", &["ran"], own_binary),
        Attempt::new("signal/outside", "ESRCH", &["EPERM", "ok"], signal_outside),
        Attempt::new("lifeline/keeper-killed", "ended", &["alive"], lifeline),
    ]
}

/// Who root inside is to the host, by the map of its user namespace.
fn host_root(arena: &Arena) -> Observation {
    let finished = arena.run(ALONE, &["cat", "/proc/self/uid_map"]).run();
    let text = finished.out();
    let fields: Vec<&str> = text.split_whitespace().collect();
    match fields[..] {
        ["0", "0", _] => Ok("root".to_owned()),
        ["0", base, "65536"] if base.len() > 8 => Ok("nobody".to_owned()),
        _ => Err(format!("unexpected map: {finished}")),
    }
}

/// A sandbox whose command has said a line and then waits for the end of its input.
fn with_waiting<T>(
    arena: &Arena,
    flags: &[&str],
    look: impl FnOnce(i32) -> Result<T, String>,
) -> Result<T, String> {
    let (from, to) = std::io::pipe().map_err(|e| e.to_string())?;
    let (held, hold) = std::io::pipe().map_err(|e| e.to_string())?;
    let run = arena.run(flags, &["sh", "-c", "echo ready; read line"]).stdin(held).stdout(to);
    let live = run.start();
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line).map_err(|e| e.to_string())?;
    let seen = if line == "ready\n" { look(live.pid()) } else { Err("set-up: it did not start".to_owned()) };
    live.signal(Signal::TERM);
    drop(hold);
    let _ended = live.finish();
    seen
}

/// The kernel gives the files in /proc of a process that nobody of its own user may look into to root, whoever runs it.
fn init_memory(arena: &Arena) -> Observation {
    with_waiting(arena, ALONE, |pid| {
        let init = arena.init_of(pid)?;
        let memory = fs::metadata(format!("/proc/{init}/mem")).map_err(|e| format!("set-up: {e}"))?;
        Ok(if memory.uid() == 0 { "closed" } else { "open" }.to_owned())
    })
}

/// A directory of the host that the caller has open, and does not close when it executes agentkernel.
fn caller_descriptors(arena: &Arena) -> Observation {
    let directory = arena.env.directory("secret");
    let file = fs::File::open(&directory).map_err(|e| format!("set-up: {e}"))?;
    // As the caller's stderr it is inherited: the one road by which the harness hands a descriptor over. A shell then
    // moves it to where a careless caller would have it.
    let script = "exec 9<&0 </dev/null; exec \"$@\"";
    let binary = arena.binary();
    let command = "sh -c 'echo ready; exec sleep 10'";
    let arguments = ["-c", script, "sh", &binary.to_string_lossy(), "run", "-i", "host", "--no-workspace"]
        .map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (from, to) = std::io::pipe().map_err(|e| e.to_string())?;
    let run = arena.program(std::path::Path::new("/bin/sh"), &arguments);
    let live = run.args(["--no-network", "--", "sh", "-c", command]).stdin(file).stdout(to).start();
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line).map_err(|e| e.to_string())?;
    let seen = look_for(arena, live.pid(), &directory);
    live.signal(Signal::TERM);
    let _ended = live.finish();
    seen
}

fn look_for(arena: &Arena, keeper: i32, directory: &std::path::Path) -> Observation {
    let links = |pid: i32| -> Result<Vec<std::path::PathBuf>, String> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).map_err(|e| format!("set-up: {e}"))?;
        Ok(entries.filter_map(|e| fs::read_link(e.ok()?.path()).ok()).collect())
    };
    if !links(keeper)?.iter().any(|to| to == directory) {
        return Err("set-up: the caller does not hold the directory".to_owned());
    }
    // Init has left the host's mounts, so the path may read differently there: it is still no path of the sandbox.
    let name = directory.file_name().unwrap_or_default();
    let leaked = links(arena.init_of(keeper)?)?.iter().any(|to| to.file_name() == Some(name));
    Ok(if leaked { "leaked" } else { "none" }.to_owned())
}

/// A command that is a link to the binary that is about to execute it: agentkernel's own, on the host.
fn own_binary(arena: &Arena) -> Observation {
    arena.with_named(|arena| {
        arena.must(&["exec", NAME, "--", "ln", "-s", "/proc/self/exe", "/tmp/own"])?;
        let finished = arena.agentkernel(&["exec", NAME, "--", "/tmp/own", "--version"]).run();
        match finished.code {
            Some(126) => Ok("refused".to_owned()),
            Some(0) if finished.out().starts_with("agentkernel ") => Ok("ran".to_owned()),
            _ => Err(format!("neither refused nor executed: {finished}")),
        }
    })
}

/// A process of this test, which is certainly there.
fn signal_outside(arena: &Arena) -> Observation {
    let mut victim = Command::new("sleep")
        .arg("30")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| format!("set-up: {e}"))?;
    let seen = arena.inside(ALONE, &["signal", &victim.id().to_string()]);
    let survived = victim.try_wait().is_ok_and(|ended| ended.is_none());
    let _ended = victim.kill().and_then(|()| victim.wait());
    if survived { seen } else { Err("set-up: the process outside has ended".to_owned()) }
}

/// The caller is killed the hard way; what it started must not outlive it.
fn lifeline(arena: &Arena) -> Observation {
    let (from, to) = std::io::pipe().map_err(|e| e.to_string())?;
    let live =
        arena.run(ALONE, &["sh", "-c", "echo ready; exec sleep 15 >/dev/null 2>&1"]).stdout(to).start();
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line).map_err(|e| e.to_string())?;
    let init = arena.init_of(live.pid())?;
    let handle = proc::handle(init).ok_or("set-up: init is gone")?;
    live.signal(Signal::KILL);
    let _killed = live.ends_within(Duration::from_secs(5));
    let ended = Arena::has_ended(init, Duration::from_secs(2))?;
    if !ended {
        rustix::process::pidfd_send_signal(&handle, Signal::KILL)
            .map_err(|e| format!("cannot clean up: {e}"))?;
        Arena::has_ended(init, Duration::from_secs(5))?;
    }
    let _finished = live.finish();
    // The next command cleans up behind a caller that was killed.
    let next = arena.run(ALONE, &["true"]).run();
    if next.code != Some(0) {
        return Err(format!("the next command fails: {next}"));
    }
    Ok(if ended { "ended" } else { "alive" }.to_owned())
}
