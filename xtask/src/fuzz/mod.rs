//! `cargo xtask fuzz`: builds the targets of `fuzz/` on this toolchain and runs them with the committed corpus.

mod build;
mod corpus;
mod round;

use crate::{Outcome, workspace::Workspace};
use round::{Round, Verdict};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Mutex, PoisonError},
    thread,
};

/// One target: a file of `fuzz/fuzz_targets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    name: &'static str,
    /// Bytes of the longest input. Short ones are many; what is longer finds nothing more in these grammars.
    longest: usize,
}

const fn target(name: &'static str, longest: usize) -> Target {
    Target { name, longest }
}

const TARGETS: [Target; 16] = [
    target("devcontainer", 2048),
    target("duration", 48),
    target("gateway", 2048),
    target("image_config", 2048),
    target("image_reference", 300),
    target("manifest", 2048),
    target("mcp_line", 1024),
    target("mount", 300),
    target("network_rule", 300),
    target("plugin_merge", 2048),
    target("port", 32),
    target("procfile", 512),
    target("registries_toml", 1024),
    target("tar", 16 * 1024),
    target("template", 1024),
    target("toml_config", 2048),
];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    targets: Vec<Target>,
    seconds: u64,
    jobs: usize,
    keep: bool,
    input: Option<PathBuf>,
}

/// The directories of one round of targets.
#[derive(Debug)]
struct Places {
    /// `fuzz/` of the project.
    fuzz: PathBuf,
    /// Where everything goes that is not committed.
    scratch: PathBuf,
}

pub(crate) fn run(words: &[&str]) -> Outcome<ExitCode> {
    if words == ["--list"] {
        for target in TARGETS {
            println!("{}", target.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let request = parse(words)?;
    let root = Workspace::load()?.root;
    let places = Places { fuzz: root.join("fuzz"), scratch: root.join("target/fuzz") };
    let programs = build::build(&places)?;
    if let Some(input) = &request.input {
        let status = Command::new(programs.join(request.targets[0].name)).arg(input).status()?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let rounds = all(&request, &places, &programs)?;
    let failed = rounds.iter().any(|round| round.verdict != Verdict::Clean);
    if request.keep && !failed {
        for round in &rounds {
            corpus::keep(round, &places, &programs)?;
        }
    }
    println!("\n{:<18} {:>12} {:>9} {:>9} {:>8}", "target", "executions", "seconds", "edges", "inputs");
    for round in &rounds {
        println!("{round}");
    }
    for round in rounds.iter().filter(|round| round.verdict != Verdict::Clean) {
        report(round);
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn parse(words: &[&str]) -> Outcome<Request> {
    let mut request = Request { targets: Vec::new(), seconds: 30, jobs: 1, keep: false, input: None };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match *word {
            "--seconds" => request.seconds = value()?.parse()?,
            "--jobs" => request.jobs = value()?.parse()?,
            "--keep" => request.keep = true,
            "--input" => request.input = Some(fs::canonicalize(value()?)?),
            name => {
                let found = TARGETS.iter().find(|target| target.name == name);
                let unknown = || format!("'{name}' is not a target: cargo xtask fuzz --list shows them");
                request.targets.push(*found.ok_or_else(unknown)?);
            }
        }
    }
    if request.seconds == 0 || request.jobs == 0 {
        return Err("--seconds and --jobs are numbers from 1".into());
    }
    if request.input.is_some() && request.targets.len() != 1 {
        return Err("--input is for one target: cargo xtask fuzz TARGET --input FILE".into());
    }
    if request.targets.is_empty() {
        request.targets = TARGETS.to_vec();
    }
    Ok(request)
}

/// Runs the targets, `jobs` at a time, in the order of the request.
fn all(request: &Request, places: &Places, programs: &Path) -> Outcome<Vec<Round>> {
    let waiting = Mutex::new(request.targets.iter());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..request.jobs {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next().copied();
                    let Some(target) = next else { return };
                    println!("=== {}, {} s", target.name, request.seconds);
                    let round = round::run(target, request.seconds, places, programs);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(round);
                }
            });
        }
    });
    let rounds = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut rounds = rounds.into_iter().collect::<Outcome<Vec<Round>>>()?;
    rounds.sort_by_key(|round| round.target.name);
    Ok(rounds)
}

fn report(round: &Round) {
    let name = round.target.name;
    println!("\n{name}: {}", round.said);
    match &round.verdict {
        Verdict::Clean => {}
        Verdict::Finding(Some(input)) => {
            println!("{name} FAILED; the input again: cargo xtask fuzz {name} --input {}", input.display());
        }
        Verdict::Finding(None) => println!("{name} FAILED without an input"),
        Verdict::Stuck => println!("{name} FAILED: it did not end in time"),
    }
}

#[cfg(test)]
#[path = "fuzz_tests.rs"]
mod tests;
