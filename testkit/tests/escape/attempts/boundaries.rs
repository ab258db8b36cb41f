//! Namespaces and what comes along with a caller: its network, its System V objects, its groups, its environment and its
//! terminal.

use crate::escape::{
    arena::{ALONE, Arena, word},
    attempt::{Attempt, Observation},
};
use std::{
    io::Write as _,
    net::TcpListener,
    os::{linux::net::SocketAddrExt as _, unix::net},
};

pub(super) fn attempts() -> Vec<Attempt> {
    vec![
        Attempt::new("host/loopback", "ECONNREFUSED", &["reached"], loopback),
        // Landlock is the next wall.
        Attempt::new("host/abstract-socket", "ECONNREFUSED", &["EPERM", "ok"], abstract_socket),
        Attempt::new("host/shared-memory", "ENOENT", &["EACCES", "ok"], shared_memory),
        Attempt::new("host/socket-of-init", "closed", &["open"], socket_of_init),
        Attempt::new("host/control-group", "hidden", &["shown"], control_group).for_root(),
        Attempt::new("caller/environment", "absent", &["present"], environment),
        Attempt::new("caller/environment-of-the-keeper", "absent", &["present"], |a| {
            a.inside_named(&["variable", "AGENTKERNEL_TEST_MARKER"])
        }),
        Attempt::new("caller/terminal", "ENXIO", &["ok"], terminal),
    ]
}

/// A service of the host that listens on its loopback.
fn loopback(arena: &Arena) -> Observation {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("set-up: {e}"))?;
    let address = listener.local_addr().map_err(|e| format!("set-up: {e}"))?.to_string();
    serve(listener);
    if arena.outside(&["connect", &address])? != "reached" {
        return Err("set-up: the service cannot be reached from outside".to_owned());
    }
    arena.inside(ALONE, &["connect", &address])
}

/// Greets whoever connects, for as long as this process lives.
pub(super) fn serve(listener: TcpListener) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _gone = stream.write_all(b"reached");
        }
    });
}

fn abstract_socket(arena: &Arena) -> Observation {
    let name = format!("agentkernel-escape-{}-{}", std::process::id(), address_of(arena));
    let address = net::SocketAddr::from_abstract_name(&name).map_err(|e| format!("set-up: {e}"))?;
    let _listener = net::UnixListener::bind_addr(&address).map_err(|e| format!("set-up: {e}"))?;
    if arena.outside(&["connect-abstract", &name])? != "ok" {
        return Err("set-up: the socket cannot be reached from outside".to_owned());
    }
    arena.inside(ALONE, &["connect-abstract", &name])
}

fn shared_memory(arena: &Arena) -> Observation {
    // Two trials run at once, each with a segment of its own; 0 would be nobody's.
    let key = (std::process::id().wrapping_mul(16) ^ address_of(arena)).max(1).to_string();
    arena.outside(&["shared-memory", "make", &key])?;
    let seen = arena.inside(ALONE, &["shared-memory", "find", &key]);
    arena.outside(&["shared-memory", "remove", &key])?;
    seen
}

/// A number that differs between arenas that live at once.
fn address_of(arena: &Arena) -> u32 {
    u32::try_from((std::ptr::from_ref(arena) as usize >> 4) & 0x0fff_ffff).unwrap_or(1)
}

/// The socket by which the host asks init for commands. The data directory is never shown, so the host gives the socket a
/// second name in a directory that is.
fn socket_of_init(arena: &Arena) -> Observation {
    use std::os::unix::fs::FileTypeExt as _;
    let shown = arena.env.directory("shown");
    let sandboxes = arena.env.data().join("sandboxes");
    let (probe, data) =
        (format!("{}:/probe:ro", arena.probe.display()), format!("{}:/data", shown.display()));
    arena.must(&["sandbox", "create", "wide", "-i", "host", "--no-network", "-v", &probe, "-v", &data])?;
    arena.must(&["sandbox", "start", "wide"])?;
    let id = std::fs::read_dir(&sandboxes).map_err(|e| format!("set-up: {e}"))?;
    let id = id.filter_map(Result::ok).next().ok_or("set-up: there is no sandbox")?.file_name();
    let native = sandboxes.join(&id).join("native");
    let sockets = std::fs::read_dir(&native).map_err(|e| format!("set-up: {e}"))?.filter_map(Result::ok);
    let socket = sockets.into_iter().find(|e| e.file_type().is_ok_and(|t| t.is_socket()));
    let socket = socket.ok_or("set-up: init has no socket")?.file_name();
    std::fs::hard_link(native.join(&socket), shown.join("socket")).map_err(|e| format!("set-up: {e}"))?;
    let seen = word(
        &arena.agentkernel(&["exec", "wide", "--", "/probe", "probe", "connect-path", "/data/socket"]).run(),
    );
    arena.must(&["sandbox", "stop", "wide"])?;
    arena.must(&["sandbox", "remove", "wide"])?;
    seen
}

/// Where in the host's groups the sandbox is.
fn control_group(arena: &Arena) -> Observation {
    let finished = arena.run(ALONE, &["cat", "/proc/self/cgroup"]).run();
    let text = finished.out();
    if finished.code != Some(0) || text.is_empty() {
        return Err(format!("set-up: {finished}"));
    }
    Ok(if text.contains("agentkernel-") { "shown" } else { "hidden" }.to_owned())
}

fn environment(arena: &Arena) -> Observation {
    let command = ["/probe", "probe", "variable", "AGENTKERNEL_TEST_SECRET"];
    word(&arena.run(ALONE, &command).env("AGENTKERNEL_TEST_SECRET", "secret").run())
}

/// The caller sits at a terminal; the command has pipes, and asks for its controlling terminal by name.
fn terminal(arena: &Arena) -> Observation {
    let binary = arena.binary().display().to_string();
    let volume = format!("{}:/probe:ro", arena.probe.display());
    let run = ["run", "-i", "host", "--no-workspace", "--no-network", "-v", &volume, "--"];
    let with = |words: &[&str]| {
        arena.program(&arena.probe, &["probe", "with-terminal"]).args(words).args(run_or_none(words, &run))
    };
    let probe = arena.probe.display().to_string();
    if word(&with(&[&probe, "probe", "may-write", "/dev/tty"]).run())? != "ok" {
        return Err("set-up: the caller has no terminal".to_owned());
    }
    word(&with(&[&binary]).args(["/probe", "probe", "may-write", "/dev/tty"]).run())
}

/// The words of `run` belong behind agentkernel only.
fn run_or_none<'a>(words: &[&str], run: &'a [&'a str]) -> &'a [&'a str] {
    if words.len() == 1 { run } else { &[] }
}
