//! Where a command runs, and as whom.

use crate::conformance::{
    bench::{Bench, shown},
    case::{Verdict, check, same},
    subject::{at, plain_spec, sh},
};
use agentkernel_model::{Kind, command::User, spec::SandboxSpec};

pub(super) async fn workdir_of_the_command(b: Bench) -> Verdict {
    let mut spec = plain_spec();
    spec.workdir = Some("/".parse()?);
    let output = b.run(&spec, &at("/tmp", sh("pwd -P"))).await?;
    check!(output.stdout.ends_with(b"/tmp\n"), "{}", shown(&output));
    Ok(())
}

pub(super) async fn workdir_of_the_spec(b: Bench) -> Verdict {
    let mut spec = plain_spec();
    spec.workdir = Some("/tmp".parse()?);
    let output = b.run(&spec, &sh("pwd -P")).await?;
    check!(output.stdout.ends_with(b"/tmp\n"), "{}", shown(&output));
    Ok(())
}

pub(super) async fn workdir_is_the_guests(b: Bench) -> Verdict {
    for place in ["/", "/tmp", "/usr/bin"] {
        let output = b.run(&plain_spec(), &at(place, sh("pwd -P"))).await?;
        same!(String::from_utf8_lossy(&output.stdout), format!("{place}\n"), "pwd");
    }
    let default = b.run(&plain_spec(), &sh("pwd -P")).await?;
    same!(default.stdout, b"/\n", "the default without a project");
    Ok(())
}

pub(super) async fn a_missing_workdir_is_named(b: Bench) -> Verdict {
    for place in ["/no/such/directory", "/etc/passwd"] {
        let error = b.refusal(&plain_spec(), &at(place, sh("echo ran"))).await?;
        check!(
            matches!(error.kind(), Kind::NotFound | Kind::Invalid),
            "kind {:?} of '{error}'",
            error.kind()
        );
        check!(error.to_string().contains(place), "the message does not name '{place}': {error}");
        check!(error.hint().is_some(), "there is no hint: {error}");
    }
    Ok(())
}

pub(super) async fn root_by_default(b: Bench) -> Verdict {
    let output = b.run(&plain_spec(), &sh("id -u; id -g")).await?;
    same!(output.stdout, b"0\n0\n", "the ids inside");
    Ok(())
}

pub(super) async fn another_user(b: Bench) -> Verdict {
    let user = User { uid: 1000, gid: 1001 };
    let script = "id -u; id -g; id -G; touch /tmp/mine && stat -c %u:%g /tmp/mine; touch /etc/mine 2>/dev/null || echo refused";
    let want = "1000\n1001\n1001\n1000:1001\nrefused\n";
    let mut of_command = sh(script);
    of_command.user = Some(user);
    let output = b.run(&plain_spec(), &of_command).await?;
    same!(String::from_utf8_lossy(&output.stdout), want, "as the command's user");
    let mut spec = plain_spec();
    spec.user = Some(user);
    let output = b.run(&spec, &sh(script)).await?;
    same!(String::from_utf8_lossy(&output.stdout), want, "as the spec's user");
    Ok(())
}

/// Opening a pipe again by its name asks for the right to it, and the pipe was made by somebody else.
pub(super) async fn another_user_opens_its_streams_again(b: Bench) -> Verdict {
    let spec = SandboxSpec { user: Some(User { uid: 1000, gid: 1001 }), ..plain_spec() };
    let output = b.run(&spec, &sh("echo out >/dev/stdout; echo err >/dev/stderr")).await?;
    check!(output.stdout == b"out\n" && output.stderr == b"err\n", "{}", shown(&output));
    Ok(())
}
