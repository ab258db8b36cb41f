//! Commands: streams, ends, signals, terminals, variables.

use super::site::{Site, command, sh, spec};
use agentkernel_backend::Exit;
use agentkernel_model::{
    Kind,
    command::{EnvVar, Signal, Stdio, TerminalSize, User},
    spec::Lifetime,
};
use std::{fs, time::Duration};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

/// Output that takes longer does not come.
const HANGS: Duration = Duration::from_secs(60);

#[tokio::test]
async fn streams_are_apart_and_the_code_is_the_commands() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let output = up.output("echo out; echo err >&2; exit 5").await;
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(output.exit, Exit::Code(5));
    // The code with which the command line itself fails is one that commands have as well.
    assert_eq!(up.output("exit 1").await.exit, Exit::Code(1));
    assert_eq!(up.output("kill -KILL $$").await.exit.code(), 137);
    site.destroy(up).await;
}

#[tokio::test]
async fn input_goes_in_and_ends() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let mut process = up.sandbox.exec(&command(&["cat"], Stdio::Pipes)).await.unwrap();
    let stdin = std::mem::replace(&mut process.stdin, agentkernel_backend::ByteSink::Closed);
    let mut stdin = stdin.into_writer().unwrap().unwrap();
    let sent = "x".repeat(300_000);
    let writing = async {
        stdin.write_all(sent.as_bytes()).await.unwrap();
        drop(stdin);
    };
    let ((), output) = tokio::join!(writing, process.output(1 << 20));
    assert_eq!(output.unwrap().stdout.len(), sent.len());
    site.destroy(up).await;
}

#[tokio::test]
async fn what_cannot_be_run_says_so_before_it_begins() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    for (word, kind) in [
        ("nosuch", Kind::CommandNotFound),
        ("/bin/nosuch", Kind::CommandNotFound),
        ("/bin", Kind::NotRunnable),
    ] {
        let error = up.sandbox.exec(&command(&[word], Stdio::NoInput)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{word}: {error}");
    }
    // Words are words, whatever a shell would make of them.
    let words = ["printf", "%s|", "a b", "$(id)", "'", "-n", "--tty"];
    let output = up.sandbox.exec(&command(&words, Stdio::NoInput)).await.unwrap().output(1000).await.unwrap();
    assert_eq!(output.stdout, b"a b|$(id)|'|-n|--tty|");
    site.destroy(up).await;
}

#[tokio::test]
async fn user_directory_and_variables_are_the_commands_own() {
    let site = Site::new();
    let mut wanted = spec(Lifetime::Named);
    wanted.env = vec![EnvVar::new("SHARED", "of the sandbox").unwrap()];
    let up = site.up(&wanted).await;
    let mut command = sh("id -u; id -g; pwd; echo $SHARED; echo $OWN; echo $HOME");
    command.env = vec![EnvVar::new("OWN", "  #value=1 ").unwrap()];
    command.user = Some(User { uid: 1000, gid: 1001 });
    command.workdir = Some("/tmp".parse().unwrap());
    if rustix::process::geteuid().is_root() {
        let output = up.sandbox.exec(&command).await.unwrap().output(1000).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text, "1000\n1001\n/tmp\nof the sandbox\n#value=1\n/home/user\n");
    }
    command.env = vec![EnvVar::new("OWN", "one\nPATH=/evil").unwrap()];
    let error = up.sandbox.exec(&command).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(!error.to_string().contains("evil"), "{error}");
    site.destroy(up).await;
}

#[tokio::test]
async fn values_are_on_no_command_line_and_in_no_file_that_stays() {
    let site = Site::new();
    let mut wanted = spec(Lifetime::Named);
    wanted.env = vec![EnvVar::new("ONE", "first-secret").unwrap()];
    let up = site.up(&wanted).await;
    let mut command = sh("echo $ONE $TWO");
    command.env = vec![EnvVar::new("TWO", "second-secret").unwrap()];
    let output = up.sandbox.exec(&command).await.unwrap().output(1000).await.unwrap();
    assert_eq!(output.stdout, b"first-secret second-secret\n");
    assert!(!site.said().contains("-secret"), "{}", site.said());
    let place = site.path("data/sandboxes").join(up.id.to_string()).join("container");
    let left: Vec<_> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("env-")), "{left:?}");
    site.destroy(up).await;
}

#[tokio::test]
async fn every_signal_reaches_the_command_itself() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let script = "for s in HUP INT QUIT USR1 USR2 TERM; do trap \"echo $s\" $s; done; echo up; while :; do sleep 0.05; done";
    let mut process = up.sandbox.exec(&sh(script)).await.unwrap();
    let stdout = std::mem::replace(&mut process.stdout, agentkernel_backend::ByteSource::Empty);
    let mut lines = BufReader::new(stdout.into_reader().unwrap().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("up"));
    for (signal, name) in [
        (Signal::Hangup, "HUP"),
        (Signal::Interrupt, "INT"),
        (Signal::Quit, "QUIT"),
        (Signal::User1, "USR1"),
        (Signal::User2, "USR2"),
        (Signal::Terminate, "TERM"),
    ] {
        process.control.signal(signal).unwrap();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(name));
    }
    process.control.signal(Signal::Kill).unwrap();
    assert_eq!(process.exit.await.unwrap().code(), 137);
    // A signal to what has ended is none.
    process.control.signal(Signal::Terminate).unwrap();
    site.destroy(up).await;
}

#[tokio::test]
async fn a_terminal_has_a_size_that_changes_and_an_interrupt_that_is_typed() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let script = "tty >/dev/null && echo yes; stty size; trap 'stty size' WINCH; trap 'echo typed; exit 7' INT; echo up; while :; do sleep 0.05; done";
    let size = TerminalSize { rows: 31, columns: 97 };
    let terminal = command(&["sh", "-c", script], Stdio::Terminal(size));
    let mut process = up.sandbox.exec(&terminal).await.unwrap();
    assert!(matches!(process.stderr, agentkernel_backend::ByteSource::Empty));
    let stdout = std::mem::replace(&mut process.stdout, agentkernel_backend::ByteSource::Empty);
    let mut output = stdout.into_reader().unwrap().unwrap();
    let mut seen = String::new();
    read_until(&mut output, &mut seen, "up\r\n").await;
    assert_eq!(seen, "yes\r\n31 97\r\nup\r\n");
    process.control.resize(TerminalSize { rows: 12, columns: 34 }).unwrap();
    read_until(&mut output, &mut seen, "12 34\r\n").await;
    let stdin = std::mem::replace(&mut process.stdin, agentkernel_backend::ByteSink::Closed);
    let mut stdin = stdin.into_writer().unwrap().unwrap();
    stdin.write_all(b"\x03").await.unwrap();
    stdin.flush().await.unwrap();
    read_until(&mut output, &mut seen, "typed\r\n").await;
    assert_eq!(process.exit.await.unwrap(), Exit::Code(7));
    site.destroy(up).await;
}

async fn read_until(from: &mut (impl tokio::io::AsyncRead + Unpin), seen: &mut String, end: &str) {
    while !seen.ends_with(end) {
        let mut buffer = [0; 256];
        let read = tokio::time::timeout(HANGS, from.read(&mut buffer)).await;
        let count = read.unwrap_or_else(|_| panic!("nothing came after {seen:?}")).unwrap();
        assert!(count > 0, "the terminal ended after {seen:?}");
        seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

#[tokio::test]
async fn a_signal_to_a_terminal_reaches_its_foreground() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    // Both the shell and what it waits for.
    let script = "trap 'echo outer; exit 3' TERM; sh -c 'trap \"echo inner; exit 0\" TERM; echo up; while :; do sleep 0.05; done'";
    let size = TerminalSize { rows: 24, columns: 80 };
    let mut process = up.sandbox.exec(&command(&["sh", "-c", script], Stdio::Terminal(size))).await.unwrap();
    let stdout = std::mem::replace(&mut process.stdout, agentkernel_backend::ByteSource::Empty);
    let mut output = stdout.into_reader().unwrap().unwrap();
    let mut seen = String::new();
    read_until(&mut output, &mut seen, "up\r\n").await;
    process.control.signal(Signal::Terminate).unwrap();
    read_until(&mut output, &mut seen, "outer\r\n").await;
    assert!(seen.contains("inner\r\n"), "{seen}");
    assert_eq!(process.exit.await.unwrap(), Exit::Code(3));
    site.destroy(up).await;
}

#[tokio::test]
async fn a_command_that_the_sandbox_takes_with_it_was_killed() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let process = up.sandbox.exec(&sh("trap '' TERM; while :; do sleep 0.05; done")).await.unwrap();
    site.backend.stop(up.id, &up.state, Duration::ZERO).await.unwrap();
    assert_eq!(process.exit.await.unwrap().code(), 137);
    let error = up.sandbox.exec(&sh("true")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    site.destroy(up).await;
}
