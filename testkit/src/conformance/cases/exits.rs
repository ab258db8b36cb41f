//! How commands end, and that they do.

use crate::conformance::{
    bench::{Bench, OUTPUT_LIMIT, shown},
    case::{Failure, Verdict, check, same},
    subject::{at, command, plain_spec, sh, with_input},
};
use agentkernel_backend::{ByteSink, ByteSource, Exit};
use agentkernel_model::Kind;
use tokio::io::AsyncReadExt as _;

pub(super) async fn exit_codes(b: Bench) -> Verdict {
    for code in [0_u8, 1, 42, 255] {
        let output = b.run(&plain_spec(), &sh(&format!("exit {code}"))).await?;
        same!(output.exit, Exit::Code(code), format!("exit {code}"));
    }
    Ok(())
}

pub(super) async fn signal_deaths(b: Bench) -> Verdict {
    for (name, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11)] {
        let output = b.run(&plain_spec(), &sh(&format!("kill -{name} $$; exit 3"))).await?;
        check!(
            matches!(output.exit, Exit::Signal { number: n, out_of_memory: false } if n == number),
            "kill -{name} $$: {}",
            shown(&output)
        );
        same!(i32::from(output.exit.code()), 128 + number, "the code of a signal death");
    }
    Ok(())
}

pub(super) async fn a_background_child_does_not_hold_the_exit(b: Bench) -> Verdict {
    let output = b.run(&plain_spec(), &sh("sleep 600 >/dev/null 2>&1 </dev/null & exit 3")).await?;
    same!(output.exit, Exit::Code(3), "the exit");
    Ok(())
}

pub(super) async fn command_not_found(b: Bench) -> Verdict {
    for words in
        [["agentkernel-no-such-program"], ["/agentkernel/no/such/program"], ["./agentkernel-no-such-program"]]
    {
        let error = b.refusal(&plain_spec(), &command(&words)).await?;
        same!(error.kind(), Kind::CommandNotFound, format!("the kind of '{error}'"));
        check!(error.message().contains("agentkernel"), "the message does not name the command: {error}");
    }
    Ok(())
}

pub(super) async fn not_executable(b: Bench) -> Verdict {
    for words in [["/etc/passwd"], ["/etc"]] {
        let error = b.refusal(&plain_spec(), &command(&words)).await?;
        same!(error.kind(), Kind::NotRunnable, format!("the kind of '{error}'"));
    }
    Ok(())
}

pub(super) async fn an_unfit_command_leaves_nothing(b: Bench) -> Verdict {
    b.refusal(&plain_spec(), &command(&["agentkernel-no-such-program"])).await?;
    b.refusal(&plain_spec(), &at("/no/such/directory", sh("true"))).await?;
    same!(b.leftovers()?, Vec::<String>::new(), "leftovers");
    Ok(())
}

/// The end of stdout is the proof: it comes when the last process that held it is dead.
pub(super) async fn dropping_the_process_ends_everything(b: Bench) -> Verdict {
    let script =
        "trap '' HUP INT TERM; (trap '' HUP INT TERM; echo child; sleep 600) & echo ready; wait; sleep 600";
    let mut process = b.open(&plain_spec(), &with_input(sh(script))).await??;
    let stdout = std::mem::replace(&mut process.stdout, ByteSource::Empty);
    let mut reader = stdout.into_reader()?.ok_or_else(|| Failure("there is no stdout".to_owned()))?;
    let mut begun = [0; 12];
    reader.read_exact(&mut begun).await?;
    drop(process);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await?;
    same!(rest, Vec::<u8>::new(), "output after the end");
    drop(reader);
    // Whatever is cleared away by a task of the backend's own has its turn when the backend is asked again.
    b.backend().list_owned().await?;
    same!(b.leftovers()?, Vec::<String>::new(), "leftovers");
    Ok(())
}

pub(super) async fn dropping_the_process_leaves_the_command(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    // Its input ends as the process is dropped; only then does it write.
    let script = "echo ready; cat >/dev/null; echo done >written; exec sleep 600";
    let mut process = running.sandbox.exec(&at("/", with_input(sh(script)))).await?;
    let stdout = std::mem::replace(&mut process.stdout, ByteSource::Empty);
    let mut reader = stdout.into_reader()?.ok_or_else(|| Failure("there is no stdout".to_owned()))?;
    let mut begun = [0; 6];
    reader.read_exact(&mut begun).await?;
    drop(process);
    let wait = sh("until test -s written; do sleep 0.02; done; cat written");
    same!(running.run(&at("/", wait)).await?.stdout, b"done\n", "what the command wrote");
    // And one that waits for input of its own accord is not ended by a full output either.
    let mut other = running.sandbox.exec(&sh("echo hello")).await?;
    other.stdin = ByteSink::Closed;
    same!(other.output(OUTPUT_LIMIT).await?.exit, Exit::Code(0), "another command");
    Ok(())
}

pub(super) async fn a_beginning_is_told_or_refused(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    for (unfit, kind) in
        [("agentkernel-no-such-program", Kind::CommandNotFound), ("/etc/passwd", Kind::NotRunnable)]
    {
        match running.sandbox.begin(&command(&[unfit])).await {
            Err(error) => same!(error.kind(), kind, format!("the kind of '{error}'")),
            // A backend that cannot tell earlier.
            Ok((process, pid)) => {
                same!(pid, None, "the number of a command that never began");
                let error = process.exit.await.err().ok_or_else(|| Failure(format!("{unfit} ran")))?;
                same!(error.kind(), kind, format!("the kind of '{error}'"));
            }
        }
    }
    // At once over, and over after a while; both may come before anybody asks.
    for script in ["echo $$; exit 4", "echo $$; sleep 0.2; exit 4"] {
        let (process, pid) = running.sandbox.begin(&sh(script)).await?;
        let output = process.output(OUTPUT_LIMIT).await?;
        same!(output.exit, Exit::Code(4), "the exit");
        if let Some(pid) = pid {
            same!(String::from_utf8_lossy(&output.stdout), format!("{pid}\n"), "its number inside");
        }
    }
    Ok(())
}
