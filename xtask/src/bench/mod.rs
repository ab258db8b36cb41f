//! `cargo xtask bench`: agentkernel beside bwrap, runc and Docker, interleaved in one run, as root and as an ordinary user.
//!
//! The timed rows of a half run in a worker process that *is* that person: changing the user for each row would put the
//! cost of doing so into every sample.

mod command;
mod crowd;
mod egress;
mod engines;
mod images;
mod numbers;
mod pipe;
mod proc;
mod report;
mod rounds;
mod rows;
mod server;
mod stats;
mod tools;

use crate::{
    Outcome, cargo,
    deadline::{self, Ended},
    person::{Half, Person, Stage},
    workspace::Workspace,
};
use numbers::Number;
use serde_json::{Value, json};
use std::{
    fs::File,
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

struct HalfResult {
    timings: rows::Timings,
    pipe: Result<pipe::Throughput, String>,
    density: Result<crowd::Density, String>,
    storm: Result<crowd::Storm, String>,
}

struct Report {
    setting: report::Setting,
    quick: bool,
    numbers: Vec<Number>,
    halves: Vec<(Half, HalfResult)>,
    notes: Vec<String>,
}

/// How much of everything.
struct Amount {
    rounds: usize,
    pipes: usize,
    sandboxes: usize,
    runs: usize,
}

const FULL: Amount = Amount { rounds: 400, pipes: 7, sandboxes: 200, runs: 500 };
const QUICK: Amount = Amount { rounds: 40, pipes: 2, sandboxes: 20, runs: 64 };
const CALLERS: usize = 16;
/// The timed rows take a minute or two.
const WORKER_LIMIT: Duration = Duration::from_secs(30 * 60);

pub(crate) fn run(words: &[&str]) -> Outcome<ExitCode> {
    match words.split_first() {
        Some((&"images", rest)) => return images::run(rest),
        Some((&"engines", rest)) => return engines::run(rest),
        Some((&"egress", rest)) => return egress::run(rest),
        Some((&"server", rest)) => return server::run(rest),
        _ => {}
    }
    if let Some(word) = words.iter().find(|w| !["--quick", "--json", "--build", "--no-write"].contains(w)) {
        return Err(format!(
            "'{word}' is not an option of bench: images, engines, egress, server, --quick, --json, --build, --no-write"
        )
        .into());
    }
    let has = |word| words.contains(&word);
    let workspace = Workspace::load()?;
    let stage = Stage::new("bench")?;
    eprintln!("bench: building the release binary");
    let binary = cargo::build(&["build", "--release", "-p", "agentkernel"], "agentkernel")?;
    let binary_mb = binary.metadata()?.len() as f64 / 1e6;
    let agentkernel = stage.program(&binary, "agentkernel")?;
    let worker = stage.program(&std::env::current_exe()?, "xtask")?;
    proc::adopt_orphans()?;
    let amount = if has("--quick") { QUICK } else { FULL };
    let mut report = Report {
        setting: report::Setting::read(),
        quick: has("--quick"),
        numbers: Vec::new(),
        halves: Vec::new(),
        notes: Vec::new(),
    };
    for half in [Half::Root, Half::User] {
        match Person::of(half)? {
            Ok(person) => {
                let result = measure(&person, &stage, &agentkernel, &worker, &amount)?;
                report.numbers.extend(numbers::of_half(half, &result));
                report.halves.push((half, result));
            }
            Err(why) => {
                eprintln!("bench: SKIPPED the half as {}: {why}", half.as_str());
                report.notes.push(format!("Not measured as {}: {why}.", half.as_str()));
            }
        }
    }
    let build = if has("--build") {
        report::cold_build(&workspace, stage.path())
    } else {
        Err("only with --build".to_owned())
    };
    report.numbers.extend(numbers::of_build(binary_mb, build));
    let tables = report::markdown(&report);
    if has("--json") {
        println!("{}", report::json(&report));
    } else {
        println!("{tables}");
    }
    // A quick look never replaces a measurement.
    if !has("--no-write") && !report.quick {
        report::write_page(&workspace, report::PROCESSES, &tables)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(
    person: &Person,
    stage: &Stage,
    agentkernel: &Path,
    worker: &Path,
    amount: &Amount,
) -> Outcome<HalfResult> {
    let who = person.half.as_str();
    let home = person.home_under(stage.path(), who)?;
    eprintln!(
        "bench: as {who}: {} interleaved rounds, then {} GB through a pipe",
        amount.rounds,
        amount.pipes * 2
    );
    let words = [
        agentkernel.display().to_string(),
        home.display().to_string(),
        amount.rounds.to_string(),
        amount.pipes.to_string(),
    ];
    let value = Worker { program: worker, person, home: &home, dir: stage.path() }.ask(&words)?;
    let timings = rows::Timings::from_json(&value["timings"]).ok_or("the worker said something else")?;
    let pipe = pipe::Throughput::from_json(&value["pipe"])
        .ok_or_else(|| value["pipe"].as_str().unwrap_or("the worker said nothing").to_owned());
    let site = crowd::Site { agentkernel, person, home: &home, dir: stage.path() };
    eprintln!("bench: as {who}: {} named sandboxes", amount.sandboxes);
    let density = crowd::density(&site, amount.sandboxes)?;
    eprintln!("bench: as {who}: {} runs from {CALLERS} callers", amount.runs);
    let storm = crowd::storm(&site, amount.runs, CALLERS)?;
    Ok(HalfResult { timings, pipe, density, storm: Ok(storm) })
}

/// Where a half's worker is and lives.
struct Worker<'a> {
    program: &'a Path,
    person: &'a Person,
    home: &'a Path,
    /// For its results.
    dir: &'a Path,
}

impl Worker<'_> {
    /// What it says when it is started with `words`.
    fn ask(&self, words: &[String]) -> Outcome<Value> {
        let who = self.person.half.as_str();
        let mut command = Command::new(self.program);
        self.person.become_in(&mut command, self.home);
        command.arg("bench-worker").args(words);
        let results = self.dir.join(format!("results-{who}.json"));
        command.current_dir(self.home).stdin(Stdio::null()).stdout(File::create(&results)?);
        match deadline::run(&mut command, WORKER_LIMIT)? {
            Ended::Exited(status) if status.success() => {}
            Ended::Exited(status) => return Err(format!("the worker as {who} failed: {status}").into()),
            Ended::TimedOut => {
                return Err(format!("the worker as {who} hangs: a command it times does not end").into());
            }
        }
        Ok(serde_json::from_reader(File::open(&results)?)?)
    }
}

/// The worker: `AGENTKERNEL HOME ROUNDS PIPES`, or `images` or `egress` and its plan; its results as one JSON object on stdout.
pub(crate) fn worker(words: &[&str]) -> Outcome<ExitCode> {
    match words.split_first() {
        Some((&"images", rest)) => return images::worker(rest),
        Some((&"egress", rest)) => return egress::worker(rest),
        _ => {}
    }
    let [agentkernel, home, rounds, pipes] = words else {
        return Err("bench-worker is started by bench, not by hand".into());
    };
    let (agentkernel, home) = (Path::new(agentkernel), Path::new(home));
    let timings = rows::measure(agentkernel, home, rounds.parse()?);
    let pipe = pipe::measure(agentkernel, pipes.parse()?);
    let pipe = pipe.map_or_else(Value::String, |p| p.to_json());
    println!("{}", json!({"timings": timings.to_json(), "pipe": pipe}));
    Ok(ExitCode::SUCCESS)
}
