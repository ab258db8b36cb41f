//! Signals, and many commands at once.

use super::streams::{read_until, stdout_of};
use crate::conformance::{
    bench::{Bench, OUTPUT_LIMIT},
    case::{Failure, Road, Verdict, check, same},
    subject::{plain_spec, sh},
};
use agentkernel_backend::Exit;
use agentkernel_model::command::Signal;
use tokio::{signal::unix::SignalKind, task::JoinSet};

pub(super) async fn terminate_reaches_a_handler(b: Bench) -> Verdict {
    let script = "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut process = b.open(&plain_spec(), &sh(script)).await??;
    let mut output = stdout_of(&mut process)?;
    read_until(&mut output, "ready\n").await?;
    process.control.signal(Signal::Terminate)?;
    same!(read_until(&mut output, "\n").await?, b"got\n", "what the handler printed");
    same!(process.exit.await?, Exit::Code(7), "the exit");
    Ok(())
}

/// A command's number is known before it has become what it runs. Until then it has the handlers of whoever started it, and
/// this process has one for the signal, as the keeper has for its own.
pub(super) async fn a_signal_right_after_the_start_is_not_lost(b: Bench) -> Verdict {
    let _handler = tokio::signal::unix::signal(SignalKind::user_defined1())?;
    let running = b.start(&plain_spec()).await?;
    for _ in 0..20 {
        let process = running.sandbox.exec(&sh("exec sleep 600")).await?;
        process.control.signal(Signal::User1)?;
        let exit = process.exit.await?;
        check!(matches!(exit, Exit::Signal { number: 10, .. }), "got {exit:?}");
    }
    Ok(())
}

pub(super) async fn each_signal_arrives_as_itself(b: Bench) -> Verdict {
    let signals = [
        (Signal::Hangup, "HUP"),
        (Signal::Interrupt, "INT"),
        (Signal::Quit, "QUIT"),
        (Signal::User1, "USR1"),
        (Signal::User2, "USR2"),
    ];
    let traps: String = signals.iter().map(|(_, name)| format!("trap 'echo got {name}' {name};")).collect();
    let script = format!("{traps} trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    let mut process = b.open(&plain_spec(), &sh(&script)).await??;
    let mut output = stdout_of(&mut process)?;
    read_until(&mut output, "ready\n").await?;
    for (signal, name) in signals {
        process.control.signal(signal)?;
        let got = read_until(&mut output, "\n").await?;
        same!(String::from_utf8_lossy(&got), format!("got {name}\n"), "what the handler printed");
    }
    process.control.signal(Signal::Terminate)?;
    same!(process.exit.await?, Exit::Code(0), "the exit");
    Ok(())
}

pub(super) async fn kill_cannot_be_caught(b: Bench) -> Verdict {
    let script = "trap '' HUP INT TERM QUIT; echo ready; while :; do sleep 0.05; done";
    let mut process = b.open(&plain_spec(), &sh(script)).await??;
    let mut output = stdout_of(&mut process)?;
    read_until(&mut output, "ready\n").await?;
    process.control.signal(Signal::Kill)?;
    let exit = process.exit.await?;
    check!(matches!(exit, Exit::Signal { number: 9, out_of_memory: false }), "got {exit:?}");
    Ok(())
}

pub(super) async fn a_signal_to_the_group_reaches_children(b: Bench) -> Verdict {
    // The shell ends by itself on the first signal; the child holds the output open until it gets one too.
    let script = "sleep 600 & trap 'wait; exit 7' TERM; echo ready; wait; exit 8";
    let mut process = b.open(&plain_spec(), &sh(script)).await??;
    let mut output = stdout_of(&mut process)?;
    read_until(&mut output, "ready\n").await?;
    process.control.signal_group(Signal::Terminate)?;
    same!(process.exit.await?, Exit::Code(7), "the exit of a shell that waits for its child");
    Ok(())
}

pub(super) async fn after_the_end_a_signal_does_nothing(b: Bench) -> Verdict {
    let process = b.open(&plain_spec(), &sh("exit 0")).await??;
    let control = process.control;
    same!(process.exit.await?, Exit::Code(0), "the exit");
    control.signal(Signal::Terminate)?;
    control.signal(Signal::Kill)?;
    Ok(())
}

pub(super) async fn sixteen_commands_at_once(b: Bench) -> Verdict {
    let named = match b.road() {
        Road::Named => Some(b.start(&plain_spec()).await?),
        Road::Once => None,
    };
    let mut begun = Vec::new();
    for n in 0..16_u8 {
        let command =
            sh(&format!("read line </dev/null; sleep 0.2; echo out {n}; echo err {n} >&2; exit {n}"));
        begun.push(match &named {
            Some(running) => running.sandbox.exec(&command).await?,
            None => b.open(&plain_spec(), &command).await??,
        });
    }
    let mut all = JoinSet::new();
    for (n, process) in begun.into_iter().enumerate() {
        all.spawn(async move { (n, process.output(OUTPUT_LIMIT).await) });
    }
    while let Some(joined) = all.join_next().await {
        let (n, output) = joined.map_err(|e| Failure(e.to_string()))?;
        let output = output?;
        same!(usize::from(output.exit.code()), n, "the exit");
        same!(String::from_utf8_lossy(&output.stdout), format!("out {n}\n"), "stdout");
        same!(String::from_utf8_lossy(&output.stderr), format!("err {n}\n"), "stderr");
    }
    Ok(())
}
