//! Building the targets with the compiler's own coverage instrumentation, which needs no nightly toolchain.

use super::Places;
use crate::{Outcome, cargo::cargo};
use std::{path::PathBuf, process::Stdio};

/// What `-Zsanitizer` would switch on, without a sanitizer: libFuzzer is told about edges, and about the operands of
/// comparisons, by which it finds magic words.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// The directory of the built programs.
pub(super) fn build(places: &Places) -> Outcome<PathBuf> {
    let triple = host()?;
    let mut command = cargo();
    command.args(["build", "--release", "--bins", "--manifest-path"]).arg(places.fuzz.join("Cargo.toml"));
    // With a target named, build scripts and macros are built without these flags.
    command.args(["--target", &triple, "--target-dir"]).arg(&places.scratch);
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")).stdin(Stdio::null());
    if !command.status()?.success() {
        return Err(
            "the targets of fuzz/ cannot be built; libFuzzer needs a C++ compiler (package g++)".into()
        );
    }
    Ok(places.scratch.join(triple).join("release"))
}

/// The triple of this machine, as cargo knows it.
fn host() -> Outcome<String> {
    let output = cargo().arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.ok_or("cargo -vV names no host")?.trim().to_owned())
}
