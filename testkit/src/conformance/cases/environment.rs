//! Environment and arguments: exactly what was asked for.

use crate::conformance::{
    bench::{Bench, shown},
    case::{Failure, Verdict, check, same},
    subject::{command, plain_spec, sh},
};
use agentkernel_backend::Exit;
use agentkernel_model::{command::EnvVar, spec::SandboxSpec};
use std::collections::BTreeMap;

/// What a backend may add: who one is and where, as every login does.
const COMMON: [&str; 7] = ["HOME", "HOSTNAME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"];

fn with_env(pairs: &[(&str, &str)]) -> Result<SandboxSpec, Failure> {
    let mut spec = plain_spec();
    for (key, value) in pairs {
        spec.env.push(EnvVar::new(key, value)?);
    }
    Ok(spec)
}

async fn env_of(
    b: &Bench,
    spec: &SandboxSpec,
    extra: &[(&str, &str)],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut env = command(&["env", "-0"]);
    for (key, value) in extra {
        env.env.push(EnvVar::new(key, value)?);
    }
    let output = b.run(spec, &env).await?;
    check!(output.exit == Exit::Code(0), "env failed: {}", shown(&output));
    let text = String::from_utf8(output.stdout).map_err(|e| Failure(e.to_string()))?;
    let pairs = text.split_terminator('\0').filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
}

pub(super) async fn env_is_exact(b: Bench) -> Verdict {
    let spec = with_env(&[("OF_SPEC", "a b\n'c'=\"d\"")])?;
    let inside = env_of(&b, &spec, &[("OF_COMMAND", ""), ("UMLAUT", "ä")]).await?;
    for (key, value) in [("OF_SPEC", "a b\n'c'=\"d\""), ("OF_COMMAND", ""), ("UMLAUT", "ä")] {
        same!(inside.get(key).map(String::as_str), Some(value), key);
    }
    let image: BTreeMap<_, _> = b.subject().rootfs.rootfs.env.iter().cloned().collect();
    for (key, value) in &image {
        same!(inside.get(key), Some(value), format!("{key} of the image"));
    }
    let ours = ["OF_SPEC", "OF_COMMAND", "UMLAUT"];
    let strange: Vec<_> = inside
        .keys()
        .filter(|k| !ours.contains(&k.as_str()) && !COMMON.contains(&k.as_str()) && !image.contains_key(*k))
        .collect();
    check!(strange.is_empty(), "variables that nobody gave: {strange:?}");
    let leaked: Vec<_> =
        std::env::vars().filter(|(k, v)| !image.contains_key(k) && inside.get(k) == Some(v)).collect();
    check!(leaked.is_empty(), "the caller's own: {leaked:?}");
    Ok(())
}

pub(super) async fn later_entries_win(b: Bench) -> Verdict {
    let spec =
        with_env(&[("A", "spec-1"), ("A", "spec-2"), ("B", "spec"), ("PATH", "/usr/bin:/bin:/of-spec")])?;
    let inside = env_of(&b, &spec, &[("B", "command-1"), ("B", "command-2")]).await?;
    same!(inside.get("A").map(String::as_str), Some("spec-2"), "the last of the spec");
    same!(inside.get("B").map(String::as_str), Some("command-2"), "the command over the spec");
    same!(inside.get("PATH").map(String::as_str), Some("/usr/bin:/bin:/of-spec"), "the spec over the image");
    Ok(())
}

pub(super) async fn many_variables(b: Bench) -> Verdict {
    let value = "v".repeat(100);
    let names: Vec<String> = (0..1000).map(|n| format!("VARIABLE_{n}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), value.as_str())).collect();
    let inside = env_of(&b, &plain_spec(), &pairs).await?;
    let whole = names.iter().filter(|n| inside.get(*n) == Some(&value)).count();
    same!(whole, 1000, "variables that arrived whole");
    Ok(())
}

pub(super) async fn arguments_are_exact(b: Bench) -> Verdict {
    let words = [
        "",
        " ",
        "a b",
        "'",
        "\"",
        "\\",
        "$HOME",
        "`id`",
        "*",
        "--",
        "-x",
        "new\nline",
        "ä€😀",
        "\u{1b}[31m",
    ];
    let mut argv = vec!["/bin/sh", "-c", "printf '%s\\0' \"$@\"", "sh"];
    argv.extend(words);
    let output = b.run(&plain_spec(), &command(&argv)).await?;
    let want: Vec<u8> = words.iter().flat_map(|w| w.bytes().chain([0])).collect();
    same!(String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&want), "the arguments");
    Ok(())
}

pub(super) async fn an_argument_of_100_kb(b: Bench) -> Verdict {
    let long = "x".repeat(100_000);
    let output = b.run(&plain_spec(), &command(&["/bin/sh", "-c", "printf %s \"$1\"", "sh", &long])).await?;
    check!(output.stdout == long.as_bytes(), "{} bytes came back, or others", output.stdout.len());
    let none = b.run(&plain_spec(), &sh("echo $#")).await?;
    same!(none.stdout, b"0\n", "the number of arguments");
    Ok(())
}
