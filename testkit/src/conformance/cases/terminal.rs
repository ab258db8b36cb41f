//! Terminals of the sandbox's own.

use super::streams::{read_until, stdin_of, stdout_of};
use crate::conformance::{
    bench::Bench,
    case::{Verdict, check, same},
    subject::{plain_spec, sh, with_input},
};
use agentkernel_backend::ByteSource;
use agentkernel_model::command::{ExecSpec, Stdio, TerminalSize};
use tokio::io::AsyncWriteExt as _;

fn on_terminal(script: &str, rows: u16, columns: u16) -> ExecSpec {
    let mut spec = sh(script);
    spec.stdio = Stdio::Terminal(TerminalSize { rows, columns });
    spec
}

pub(super) async fn is_a_terminal_of_the_given_size(b: Bench) -> Verdict {
    let script = "test -t 0 && test -t 1 && test -t 2 && echo terminal; stty size; tty >/dev/null && echo named; exit 6";
    let mut process = b.open(&plain_spec(), &on_terminal(script, 43, 117)).await??;
    check!(matches!(process.stderr, ByteSource::Empty), "stderr is apart although there is a terminal");
    let mut output = stdout_of(&mut process)?;
    let got = read_until(&mut output, "named").await?;
    let text = String::from_utf8_lossy(&got).replace('\r', "");
    check!(text.starts_with("terminal\n43 117\nnamed"), "got {text:?}");
    same!(process.exit.await?.code(), 6, "the exit");
    Ok(())
}

pub(super) async fn resizes(b: Bench) -> Verdict {
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut process = b.open(&plain_spec(), &on_terminal(script, 24, 80)).await??;
    let mut output = stdout_of(&mut process)?;
    read_until(&mut output, "ready").await?;
    process.control.resize(TerminalSize { rows: 50, columns: 132 })?;
    read_until(&mut output, "50 132").await?;
    same!(process.exit.await?.code(), 0, "the exit");
    Ok(())
}

pub(super) async fn a_control_character_interrupts(b: Bench) -> Verdict {
    let script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let mut process = b.open(&plain_spec(), &on_terminal(script, 24, 80)).await??;
    let (mut input, mut output) = (stdin_of(&mut process)?, stdout_of(&mut process)?);
    read_until(&mut output, "ready").await?;
    input.write_all(b"\x03").await?;
    input.flush().await?;
    read_until(&mut output, "interrupted").await?;
    same!(process.exit.await?.code(), 9, "the exit");
    Ok(())
}

pub(super) async fn none_where_none_was_asked_for(b: Bench) -> Verdict {
    let script = "for n in 0 1 2; do test -t $n && echo terminal; done; (: </dev/tty) 2>/dev/null && echo controlling; echo end";
    for command in [sh(script), with_input(sh(script))] {
        let output = b.run(&plain_spec(), &command).await?;
        same!(String::from_utf8_lossy(&output.stdout), "end\n", "terminals found");
    }
    Ok(())
}
