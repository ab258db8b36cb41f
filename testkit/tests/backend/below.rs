//! What the machine has mounted below a directory that a sandbox is shown read-only.

use super::{
    bench::{Bench, expect},
    sample::Sample,
};
use crate::Test;

const IMAGE: &str = "below:1";

pub(crate) const TEST: Test = ("below/of-a-read-only-directory", read_only);

/// Left out, as it could be written; a rootless engine may not leave it out, and says so.
fn read_only(bench: &Bench) -> Result<(), String> {
    Sample::new(bench, "below")?.import(bench, IMAGE)?;
    // Every Linux has control groups there.
    let flags = ["--no-workspace", "--volume", "/sys/fs:/data:ro"];
    let ran = bench.run(IMAGE, &flags, &["/bin/sh", "-c", "cat /proc/mounts"]).run();
    if rustix::process::geteuid().is_root() {
        let below = ran.out().lines().filter(|line| line.contains(" /data/")).count();
        return expect(ran.code == Some(0) && below == 0, || ran.to_string());
    }
    let said = ran.err();
    expect(ran.code == Some(125) && said.contains("hint: a rootless engine shows nothing read-only"), || {
        ran.to_string()
    })
}
