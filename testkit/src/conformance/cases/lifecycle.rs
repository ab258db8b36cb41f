//! Named sandboxes: create, start, attach, stop, destroy, and how often each may be said.

use super::streams::{read_until, stdout_of};
use crate::conformance::{
    bench::{Bench, GRACE},
    case::{Failure, Verdict, check, same},
    subject::{at, plain_spec, sh},
};
use agentkernel_backend::Exit;
use agentkernel_model::Kind;
use std::time::{Duration, Instant};

pub(super) async fn stop_keeps_the_disk(b: Bench) -> Verdict {
    let spec = plain_spec();
    let first = b.start(&spec).await?;
    same!(
        first.run(&at("/", sh("echo kept >kept; mkdir d; echo x >d/f; chmod 640 kept"))).await?.exit.code(),
        0,
        "writing"
    );
    let stopped = b.backend().stop(first.id, &first.state, GRACE).await?;
    let again = b.start_again(&spec, first.id, &stopped).await?;
    let output = again.run(&at("/", sh("cat kept d/f; stat -c %a kept"))).await?;
    same!(String::from_utf8_lossy(&output.stdout), "kept\nx\n640\n", "what the second start sees");
    Ok(())
}

pub(super) async fn create_does_not_start(b: Bench) -> Verdict {
    let (id, state) = b.create(&plain_spec()).await?;
    check!(b.backend().attach(id, &state).await?.is_none(), "it runs before it was started");
    let left = b.leftovers()?;
    let running: Vec<_> = left.iter().filter(|l| l.starts_with("process")).collect();
    check!(running.is_empty(), "processes before the start: {running:?}");
    Ok(())
}

pub(super) async fn start_is_idempotent(b: Bench) -> Verdict {
    let spec = plain_spec();
    let first = b.start(&spec).await?;
    let command = first.sandbox.exec(&sh("sleep 600")).await?;
    let second = b.start_again(&spec, first.id, &first.state).await?;
    same!(second.run(&sh("echo second")).await?.stdout, b"second\n", "a command after the second start");
    let early = tokio::time::timeout(Duration::from_millis(100), command.exit).await;
    check!(early.is_err(), "the second start ended a command of the first: {early:?}");
    same!(first.run(&sh("echo first")).await?.stdout, b"first\n", "a command of the first handle");
    Ok(())
}

pub(super) async fn stop_is_idempotent(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let once = b.backend().stop(running.id, &running.state, GRACE).await?;
    let twice = b.backend().stop(running.id, &once, GRACE).await?;
    check!(b.backend().attach(running.id, &twice).await?.is_none(), "it still runs");
    let (id, state) = b.create(&plain_spec()).await?;
    b.backend().stop(id, &state, GRACE).await?;
    Ok(())
}

pub(super) async fn stop_ends_commands_and_says_so(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let command = running.sandbox.exec(&sh("exec sleep 600")).await?;
    b.backend().stop(running.id, &running.state, GRACE).await?;
    let exit = command.exit.await?;
    check!(matches!(exit, Exit::Signal { number: 9 | 15, .. }), "the command's exit: {exit:?}");
    running.sandbox.gone().await;
    let after = running.sandbox.exec(&sh("true")).await;
    match after {
        Err(error) => same!(error.kind(), Kind::Conflict, "exec in a stopped sandbox"),
        Ok(_) => return Err(Failure("a command runs in a stopped sandbox".to_owned())),
    }
    let stats = running.sandbox.stats().await;
    check!(
        stats.as_ref().is_err_and(|e| e.kind() == Kind::Conflict),
        "stats of a stopped sandbox: {stats:?}"
    );
    Ok(())
}

pub(super) async fn stop_gives_its_grace(b: Bench) -> Verdict {
    let spec = plain_spec();
    let running = b.start(&spec).await?;
    let script = "trap 'echo orderly >farewell; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = running.sandbox.exec(&at("/", sh(script))).await?;
    read_until(&mut stdout_of(&mut command)?, "ready").await?;
    let begun = Instant::now();
    let state = b.backend().stop(running.id, &running.state, Duration::from_secs(20)).await?;
    check!(begun.elapsed() < Duration::from_secs(15), "stop waited though everything had ended");
    let again = b.start_again(&spec, running.id, &state).await?;
    same!(again.run(&at("/", sh("cat farewell"))).await?.stdout, b"orderly\n", "what the handler wrote");
    Ok(())
}

pub(super) async fn stop_kills_what_ignores_it(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = running.sandbox.exec(&sh(script)).await?;
    read_until(&mut stdout_of(&mut command)?, "ready").await?;
    b.backend().stop(running.id, &running.state, Duration::from_millis(200)).await?;
    let exit = command.exit.await?;
    check!(matches!(exit, Exit::Signal { number: 9, .. }), "the command's exit: {exit:?}");
    Ok(())
}

pub(super) async fn destroy_is_idempotent(b: Bench) -> Verdict {
    let (id, state) = b.create(&plain_spec()).await?;
    b.backend().destroy(id, Some(&state)).await?;
    b.backend().destroy(id, Some(&state)).await?;
    b.backend().destroy(agentkernel_model::id::SandboxId::new(), None).await?;
    check!(b.backend().list_owned().await?.is_empty(), "it is still listed");
    Ok(())
}

pub(super) async fn destroy_takes_a_running_sandbox(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let command = running.sandbox.exec(&sh("trap '' TERM; sleep 600 & wait")).await?;
    running.run(&at("/", sh("mkdir -p d/d; echo x >d/d/f; chmod 0 d/d"))).await?;
    b.backend().destroy(running.id, Some(&running.state)).await?;
    running.sandbox.gone().await;
    let exit = command.exit.await?;
    check!(matches!(exit, Exit::Signal { .. }), "the command's exit: {exit:?}");
    same!(b.leftovers()?, Vec::<String>::new(), "leftovers");
    Ok(())
}

/// As after a crash between `create` and the engine's note of its answer.
pub(super) async fn destroy_works_without_a_state(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let other = b.subject().build()?;
    other.destroy(running.id, None).await?;
    check!(other.list_owned().await?.is_empty(), "it is still listed");
    same!(b.leftovers()?, Vec::<String>::new(), "leftovers");
    Ok(())
}

pub(super) async fn owned_sandboxes_are_listed(b: Bench) -> Verdict {
    same!(b.backend().list_owned().await?.len(), 0, "owned in a fresh directory");
    let stopped = b.create(&plain_spec()).await?.0;
    let running = b.start(&plain_spec()).await?;
    let other = b.subject().build()?;
    let mut listed: Vec<_> = other.list_owned().await?.into_iter().map(|o| o.id).collect();
    listed.sort();
    let mut want = vec![stopped, running.id];
    want.sort();
    same!(listed, want, "owned sandboxes");
    same!(running.run(&sh("echo alive")).await?.stdout, b"alive\n", "a running sandbox after the listing");
    Ok(())
}

pub(super) async fn another_instance_attaches(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let other = b.subject().build()?;
    let attached = other.attach(running.id, &running.state).await?;
    let attached = attached.ok_or_else(|| Failure("it is not found running".to_owned()))?;
    let output = attached.exec(&at("/", sh("echo shared >shared"))).await?.output(1 << 20).await?;
    same!(output.exit.code(), 0, "a command through the other instance");
    same!(running.run(&at("/", sh("cat shared"))).await?.stdout, b"shared\n", "what the first sees");
    same!(
        attached.files().read(&"/shared".parse()?, 100).await?,
        b"shared\n",
        "files through the other instance"
    );
    Ok(())
}

pub(super) async fn another_instance_stops(b: Bench) -> Verdict {
    let spec = plain_spec();
    let running = b.start(&spec).await?;
    let other = b.subject().build()?;
    let state = other.stop(running.id, &running.state, GRACE).await?;
    running.sandbox.gone().await;
    check!(b.backend().attach(running.id, &state).await?.is_none(), "it still runs for the first instance");
    let again = b.start_again(&spec, running.id, &state).await?;
    same!(again.run(&sh("echo back")).await?.stdout, b"back\n", "a command after the next start");
    Ok(())
}

pub(super) async fn two_sandboxes_are_apart(b: Bench) -> Verdict {
    let (one, two) = (b.start(&plain_spec()).await?, b.start(&plain_spec()).await?);
    one.run(&at("/", sh("echo one >mine"))).await?;
    let seen = two.run(&at("/", sh("cat mine 2>/dev/null; echo two >mine; cat mine"))).await?;
    same!(String::from_utf8_lossy(&seen.stdout), "two\n", "what the second sees");
    b.backend().stop(one.id, &one.state, GRACE).await?;
    same!(
        two.run(&at("/", sh("cat mine"))).await?.stdout,
        b"two\n",
        "the second after the first was stopped"
    );
    Ok(())
}

/// Commands of one sandbox are processes of one machine: `exec NAME -- kill` has to work.
pub(super) async fn one_command_ends_another(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let script = "echo $$ >pid; echo ready; exec sleep 600";
    let mut command = running.sandbox.exec(&at("/", sh(script))).await?;
    read_until(&mut stdout_of(&mut command)?, "ready").await?;
    let seen = running.run(&at("/", sh("test -d /proc/$(cat pid) && kill $(cat pid) && echo ended"))).await?;
    same!(String::from_utf8_lossy(&seen.stdout), "ended\n", "what the second command says");
    let exit = command.exit.await?;
    check!(matches!(exit, Exit::Signal { number: 15, .. }), "the first command's exit: {exit:?}");
    Ok(())
}

pub(super) async fn stats_count_what_runs(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let idle = running.sandbox.stats().await?;
    let mut command = running.sandbox.exec(&sh("sleep 600 & sleep 600 & echo ready; wait")).await?;
    read_until(&mut stdout_of(&mut command)?, "ready").await?;
    let busy = running.sandbox.stats().await?;
    if let (Some(idle), Some(busy)) = (idle.pids, busy.pids) {
        check!(busy >= idle + 3, "three processes more: {idle} before, {busy} after");
    }
    if let Some(memory) = busy.memory_bytes {
        check!(memory > 0 && memory < 1 << 30, "three idle processes use {memory} bytes");
    }
    Ok(())
}
