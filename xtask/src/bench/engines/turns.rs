//! What is timed on one engine.

use super::{engine::Engine, world::World};
use crate::bench::{
    command::{quiet, time},
    rounds::{Rounds, Subject, interleave},
    rows::{Row, SPAWN, Timings},
};
use std::{path::Path, process::Command};

/// With the place that Podman gives to what has none, so that both engines call it the same.
pub(super) const IMAGE: &str = "localhost/agentkernel-bench:busybox";
/// Names of a sandbox of ours and of a container of the engine's.
const NAMED: &str = "bench";
const THEIRS: &str = "agentkernel-bench";
/// How many follow each other at once: several times what the daemon keeps.
const BACK_TO_BACK: usize = 30;

pub(super) const RUN: &str = "agentkernel run --no-network --no-workspace -- true";
pub(super) const POOLED: &str = "the same, with a warm sandbox";
pub(super) const EXEC: &str = "agentkernel exec NAME -- true";
pub(super) const COLD_STORM: &str = "agentkernel run, 30 of them back to back, each";
pub(super) const STORM: &str = "the same beside the daemon, each";

/// The engine's own `run` and `exec`.
pub(super) fn their_run(engine: &Engine) -> String {
    format!("{} run --rm --network none IMAGE true", engine.sort.name())
}

pub(super) fn their_exec(engine: &Engine) -> String {
    format!("{} exec NAME true", engine.sort.name())
}

/// All rows of one engine. The daemon's data is apart from the others'.
pub(super) fn measure(
    world: &World,
    engine: &Engine,
    rootfs: &Path,
    rounds: usize,
) -> Result<Timings, String> {
    let (plain, pooled) = (format!("{}-data", engine.sort.name()), format!("{}-pool", engine.sort.name()));
    let archive = engine.import(IMAGE, rootfs, &world.home)?;
    let archive = archive.display().to_string();
    for data in [&plain, &pooled] {
        world.call(data, &["images", "import", &archive])?;
    }
    let backend = engine.sort.name();
    let create = ["sandbox", "create", NAMED, "--backend", backend, "--image", IMAGE, "--no-network"];
    world.call(&plain, &create)?;
    world.call(&plain, &["sandbox", "start", NAMED])?;
    let log = world.home.join("engine.log");
    let up = ["run", "--detach", "--name", THEIRS, "--network", "none", IMAGE, "/bin/sleep", "1000000"];
    quiet(&mut engine.command(&up), &log)?;
    world.call(&pooled, &["daemon", "start"])?;
    // What the daemon keeps is what was asked for.
    world.call(&pooled, &run_words(backend))?;
    let mut timings = by_turns(world, engine, (&plain, &pooled), rounds);
    let storms = storms(world, backend, (&plain, &pooled), rounds.div_ceil(10));
    // What was measured counts all the same; whoever looks at the machine's engines wants to know.
    if let Err(why) = world.call(&pooled, &["daemon", "stop"]) {
        eprintln!("bench: {why}");
        world.call(&pooled, &["gc"])?;
    }
    world.call(&plain, &["sandbox", "remove", NAMED])?;
    quiet(&mut engine.command(&["rm", "--force", THEIRS]), &log)?;
    timings.rows.extend(storms?);
    Ok(timings)
}

fn run_words(backend: &str) -> [&str; 9] {
    ["run", "--backend", backend, "--image", IMAGE, "--no-network", "--no-workspace", "--", "true"]
}

fn by_turns(world: &World, engine: &Engine, (plain, pooled): (&str, &str), rounds: usize) -> Timings {
    let words = run_words(engine.sort.name());
    // What fills the pool again would disturb whoever is next.
    let quiet_pool = || world.fill_pool(pooled);
    let subjects = vec![
        Subject::new(SPAWN, || Command::new("true")).prepared_by(quiet_pool),
        Subject::new(RUN, || world.agentkernel(plain, &words)).prepared_by(quiet_pool),
        Subject::new(their_run(engine), || {
            engine.command(&["run", "--rm", "--network", "none", IMAGE, "/bin/true"])
        })
        .prepared_by(quiet_pool),
        Subject::new(POOLED, || world.agentkernel(pooled, &words)).prepared_by(quiet_pool),
        Subject::new(EXEC, || world.agentkernel(plain, &["exec", NAMED, "--", "true"]))
            .prepared_by(quiet_pool),
        Subject::new(their_exec(engine), || engine.command(&["exec", THEIRS, "/bin/true"]))
            .prepared_by(quiet_pool),
    ];
    interleave(subjects, Rounds { timed: rounds, warm_up: 2 }, &world.home.join("try.log"))
}

/// Many runs one after the other, without and with the daemon by turns.
fn storms(
    world: &World,
    backend: &str,
    (plain, pooled): (&str, &str),
    turns: usize,
) -> Result<[Row; 2], String> {
    let words = run_words(backend);
    let mut rows = [COLD_STORM, STORM].map(|name| Row { name: name.to_owned(), ..Row::default() });
    for _ in 0..turns {
        for (row, data) in rows.iter_mut().zip([plain, pooled]) {
            world.fill_pool(pooled)?;
            for _ in 0..BACK_TO_BACK {
                match time(&mut world.agentkernel(data, &words)) {
                    Ok(took) => row.samples.push(took),
                    Err(_) => row.failures += 1,
                }
            }
        }
    }
    Ok(rows)
}
