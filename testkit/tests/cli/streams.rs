//! Bytes, signals and terminals between the caller and the command.

use agentkernel_testkit::TestEnv;
use rustix::process::Signal;
use std::{
    fs::File,
    io::{Read, Write as _, pipe},
    time::Duration,
};

fn read_until(reader: &mut impl Read, text: &str) -> String {
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains(text) {
        let mut byte = [0];
        match reader.read(&mut byte) {
            Ok(1) => got.push(byte[0]),
            other => panic!("{other:?} before '{text}': {}", String::from_utf8_lossy(&got)),
        }
    }
    String::from_utf8_lossy(&got).into_owned()
}

#[test]
fn the_streams_are_apart_and_exact() {
    let env = TestEnv::new();
    let all: Vec<u8> = (0..=255).collect();
    let octal: String = all.iter().map(|b| format!("\\{b:03o}")).collect();
    let script = format!("printf '{octal}'; printf 'err' >&2");
    let finished = env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", &script]).run().ok().prints(&all);
    // A note may stand above, such as on limits that this machine cannot enforce.
    let ours: String = finished.err().split_inclusive('\n').filter(|l| !l.starts_with("note: ")).collect();
    assert_eq!(ours, "err", "{finished}");
}

#[test]
fn stdin_passes_through_to_its_end() {
    let env = TestEnv::new();
    let sent: Vec<u8> = (0..5_000_000_u32).map(|n| u8::try_from(n % 253).unwrap()).collect();
    let back = env.agentkernel(&["run", "-i", "host", "--", "cat"]).input(sent.clone()).run().ok();
    assert!(back.stdout == sent, "{} of {} bytes came back, or others", back.stdout.len(), sent.len());
}

#[test]
fn dash_n_closes_stdin() {
    let env = TestEnv::new();
    let run = env.agentkernel(&["run", "-i", "host", "-n", "--", "sh", "-c", "cat; echo end"]);
    run.input("not for the command").run().ok().prints("end\n");
    // And an input that never ends does not hold it.
    let (reader, writer) = pipe().unwrap();
    env.agentkernel(&["run", "-i", "host", "-n", "--", "cat"]).stdin(reader).run().ok().prints("");
    drop(writer);
}

#[test]
fn a_command_that_ends_does_not_wait_for_input() {
    let env = TestEnv::new();
    let (reader, writer) = pipe().unwrap();
    env.agentkernel(&["run", "-i", "host", "--", "echo", "done"]).stdin(reader).run().ok().prints("done\n");
    drop(writer);
}

#[test]
fn stdout_may_be_a_file_and_keeps_its_flags() {
    let env = TestEnv::new();
    let path = env.file("out", "before\n");
    let file = File::options().append(true).open(&path).unwrap();
    let run =
        env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", "head -c 3000000 /dev/zero; echo end"]);
    run.stdout(file).run().ok();
    let content = std::fs::read(&path).unwrap();
    assert!(content.starts_with(b"before\n\0") && content.ends_with(b"\0end\n"), "{} bytes", content.len());
    assert_eq!(content.len(), 7 + 3_000_000 + 4);

    let (reader, writer) = pipe().unwrap();
    let shared = writer.try_clone().unwrap();
    let run = env.agentkernel(&["run", "-i", "host", "--", "echo", "x"]).stdout(writer);
    run.run().ok();
    let flags = rustix::fs::fcntl_getfl(&shared).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "the caller's pipe is left non-blocking");
    drop((reader, shared));
}

#[test]
fn output_streams_while_the_command_runs() {
    let env = TestEnv::new();
    let (mut from, to) = pipe().unwrap();
    let (input, mut feed) = pipe().unwrap();
    let script = "echo first; read line; echo \"got $line\"";
    let live =
        env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", script]).stdin(input).stdout(to).start();
    assert_eq!(read_until(&mut from, "\n"), "first\n");
    feed.write_all(b"answer\n").unwrap();
    assert_eq!(read_until(&mut from, "\n"), "got answer\n");
    live.finish().ok();
}

#[test]
fn a_reader_that_leaves_ends_the_command() {
    let env = TestEnv::new();
    let (mut from, to) = pipe().unwrap();
    let live = env.agentkernel(&["run", "-i", "host", "--", "yes"]).stdout(to).start();
    read_until(&mut from, "y\n");
    drop(from);
    assert!(live.ends_within(Duration::from_secs(10)), "'yes' goes on without a reader");
    live.finish();
    env.assert_nothing_left();
}

#[test]
fn signals_are_forwarded() {
    let env = TestEnv::new();
    for (signal, name) in
        [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")]
    {
        let script =
            format!("trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done");
        let (mut from, to) = pipe().unwrap();
        let live = env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", &script]).stdout(to).start();
        read_until(&mut from, "ready\n");
        live.signal(signal);
        assert_eq!(read_until(&mut from, "\n"), format!("got {name}\n"));
        live.finish().code(7);
    }
    env.assert_nothing_left();
}

#[test]
fn a_terminal_inside_is_one_of_the_sandboxs_own() {
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    let env = TestEnv::new();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let outer = openpt(flags).unwrap();
    unlockpt(&outer).unwrap();
    tcsetwinsize(&outer, Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let end = || ioctl_tiocgptpeer(&outer, flags).unwrap();
    let host_name = rustix::termios::ttyname(end(), Vec::new()).unwrap().into_string().unwrap();
    let script = "test -t 0 && test -t 1 && stty size; tty; exit 4";
    let live = env
        .agentkernel(&["run", "-i", "host", "-t", "--", "sh", "-c", script])
        .stdin(end())
        .stdout(end())
        .start();
    let mut screen = File::from(outer.try_clone().unwrap());
    let shown = read_until(&mut screen, "/dev/");
    assert!(shown.contains("33 99"), "{shown:?}");
    live.finish().code(4);
    // Not the same device under the same number: the sandbox has its own devpts.
    let outside = std::fs::metadata(host_name).unwrap();
    assert!(outside.len() == 0);
    env.assert_nothing_left();
}

#[test]
fn a_terminal_inside_ends_well_when_stdout_is_a_pipe() {
    let env = TestEnv::new();
    env.agentkernel(&["run", "-i", "host", "-t", "--", "echo", "hi"]).run().ok().prints("hi\r\n");
    env.assert_nothing_left();
}
