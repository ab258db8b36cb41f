//! What flags make of the policy, seen from inside.

use agentkernel_testkit::TestEnv;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
};

#[test]
fn without_a_network_there_is_only_loopback() {
    let env = TestEnv::new();
    let script = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '";
    for flags in [&["--no-network"][..], &["--profile", "restrictive"]] {
        let run = env.agentkernel(&["run", "-i", "host"]).args(flags).args(["--", "sh", "-c", script]).run();
        run.ok().prints("lo\n");
    }
}

#[test]
fn restrictive_is_read_only_and_without_capabilities() {
    let env = TestEnv::new();
    let script = "echo x >/file; echo x >/usr/file; echo x >/tmp/file && cat /tmp/file; grep -E 'Cap(Eff|Bnd|Prm)' /proc/self/status | cut -f2; \
                  grep NoNewPrivs /proc/self/status | cut -f2";
    let run =
        env.agentkernel(&["run", "-i", "host", "-p", "restrictive", "--", "sh", "-c", script]).run().ok();
    let zero = "0000000000000000\n";
    run.prints(format!("x\n{zero}{zero}{zero}1\n"));
}

#[test]
fn a_volume_is_shown_as_it_was_asked_for() {
    let env = TestEnv::new();
    env.directory("project/data");
    env.file("project/data/file", "original\n");
    let read_only = [
        "run",
        "-i",
        "host",
        "-v",
        "./data:/data:ro",
        "--",
        "sh",
        "-c",
        "cat /data/file; echo x >/data/file",
    ];
    let run = env.agentkernel(&read_only).run().prints("original\n");
    assert_ne!(run.code, Some(0), "{run}");
    env.agentkernel(&["run", "-i", "host", "-v", "./data:/data", "--", "sh", "-c", "echo new >/data/file"])
        .run()
        .ok();
    assert_eq!(fs::read_to_string(env.project().join("data/file")).unwrap(), "new\n");
    let missing = env.agentkernel(&["run", "-i", "host", "-v", "./none:/data", "--", "true"]).run();
    missing.code(125).error_with_hint(&["none"]);
}

#[test]
fn a_memory_limit_holds_or_is_refused() {
    let env = TestEnv::new();
    let hog = [
        "run",
        "-i",
        "host",
        "--memory",
        "64MB",
        "--",
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        "bs=300M",
        "count=1",
    ];
    let run = env.agentkernel(&hog).run();
    if run.code == Some(125) {
        run.error_with_hint(&["memory"]);
    } else {
        run.code(137);
    }
    env.assert_nothing_left();
}

#[test]
fn another_user_is_that_user_or_refused() {
    let env = TestEnv::new();
    let run =
        env.agentkernel(&["run", "-i", "host", "-u", "1000:1000", "--", "sh", "-c", "id -u; id -g"]).run();
    if run.code == Some(125) && !env.is_root() {
        run.error_with_hint(&["user"]);
    } else {
        run.ok().prints("1000\n1000\n");
    }
}

#[test]
fn isolation_vm_is_not_stepped_down_from() {
    let env = TestEnv::new();
    let run = env.agentkernel(&["run", "-i", "host", "--isolation", "vm", "--", "echo", "ran"]).run();
    run.code(125).error_with_hint(&["kernel"]);
}

/// The keeper of an ephemeral run is the calling process: it listens, and stops listening as it ends.
#[test]
fn a_published_port_leads_inside() {
    let env = TestEnv::new();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let guest = Path::new(env!("CARGO_BIN_EXE_agentkernel-testkit-guest"));
    fs::copy(guest, env.file("project/echo-server", "")).unwrap();
    let (from, to) = std::io::pipe().unwrap();
    let (publish, port) = (format!("{free}:4711"), "4711");
    let run = env.agentkernel(&["run", "-i", "host", "-P", &publish, "--", "./echo-server", "serve", port]);
    let live = run.stdout(to).start();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(from), &mut line).unwrap();
    assert_eq!(line, "4711\n");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, free)).unwrap();
    stream.write_all(b"through").unwrap();
    let mut back = [0; 7];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"through");
    live.signal(rustix::process::Signal::TERM);
    live.finish().code(143);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, free)).is_err(), "the port is still open");
    env.assert_nothing_left();
}
