//! Limits that a backend says it enforces.

use crate::conformance::{
    bench::{Bench, shown},
    case::{Verdict, check, same},
    subject::{command, plain_spec, sh},
};
use agentkernel_backend::Exit;
use agentkernel_model::{limits::Limit, size::ByteSize, spec::SandboxSpec};

fn with_memory(mib: u32) -> SandboxSpec {
    let mut spec = plain_spec();
    spec.policy.limits.memory = Some(Limit::Required(ByteSize::from_mib(mib)));
    spec
}

fn with_pids(pids: u32) -> SandboxSpec {
    let mut spec = plain_spec();
    spec.policy.limits.pids = Some(Limit::Required(pids));
    spec
}

/// dd's buffer is the memory; it is touched in full by reading zeros into it.
pub(super) async fn memory_is_enforced(b: Bench) -> Verdict {
    let hog = |mib| command(&["dd", "if=/dev/zero", "of=/dev/null", mib, "count=1"]);
    let output = b.run(&with_memory(64), &hog("bs=16M")).await?;
    check!(output.exit == Exit::Code(0), "16 MB within 64 MB: {}", shown(&output));
    let output = b.run(&with_memory(64), &hog("bs=300M")).await?;
    same!(output.exit, Exit::Signal { number: 9, out_of_memory: true }, "300 MB within 64 MB");
    // In-memory file systems count as well.
    let fill = sh("head -c 200000000 /dev/zero >/tmp/fill; s=$?; stat -c %s /tmp/fill; exit $s");
    let output = b.run(&with_memory(64), &fill).await?;
    check!(output.exit != Exit::Code(0), "200 MB in /tmp within 64 MB: {}", shown(&output));
    Ok(())
}

pub(super) async fn processes_are_enforced(b: Bench) -> Verdict {
    let script =
        "n=0; while [ $n -lt 60 ]; do sleep 30 >/dev/null 2>&1 </dev/null & n=$((n+1)); done; echo all";
    let output = b.run(&with_pids(20), &sh(script)).await?;
    check!(output.stdout != b"all\n", "60 processes within 20: {}", shown(&output));
    let output = b.run(&with_pids(100), &sh(script)).await?;
    check!(output.stdout == b"all\n", "60 processes within 100: {}", shown(&output));
    Ok(())
}

/// The limit is the sandbox's, not the command's: what one command started counts against the next.
pub(super) async fn a_limit_outlives_one_command(b: Bench) -> Verdict {
    let spawn = |count: u32| {
        sh(&format!(
            "n=0; while [ $n -lt {count} ]; do sleep 30 >/dev/null 2>&1 </dev/null & n=$((n+1)); done; echo all"
        ))
    };
    let running = b.start(&with_pids(32)).await?;
    let output = running.run(&spawn(18)).await?;
    same!(output.stdout, b"all\n", "the first 18");
    let output = running.run(&spawn(18)).await?;
    check!(output.stdout != b"all\n", "36 processes within 32: {}", shown(&output));
    Ok(())
}
