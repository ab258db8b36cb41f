//! `cargo xtask bench engines`: agentkernel on Docker and Podman beside their own command lines. For root: Docker is root's.

mod engine;
mod page;
mod turns;
mod world;

use super::{
    numbers::Number,
    report,
    rounds::{Rounds, Subject, interleave},
    rows::Timings,
    tools::busybox_rootfs,
};
use crate::{
    Outcome, cargo,
    person::{Half, Person, Stage},
    workspace::Workspace,
};
use engine::{Engine, Sort};
use std::{fs, path::PathBuf, process::ExitCode};
use world::World;

const FULL: usize = 20;
const QUICK: usize = 5;
/// Records on each of three backends.
const RECORDS: [(&str, usize); 3] = [("native", 34), ("docker", 33), ("podman", 33)];

/// What was typed.
#[derive(Debug, PartialEq)]
struct Request {
    quick: bool,
    write: bool,
    rounds: Option<usize>,
    /// Measured in place of a release build.
    binary: Option<PathBuf>,
    /// Engines that are there, in place of new ones.
    docker: Option<String>,
    podman: Option<String>,
}

impl Request {
    fn of_words(words: &[&str]) -> Outcome<Self> {
        let mut request =
            Self { quick: false, write: true, rounds: None, binary: None, docker: None, podman: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().map(|text| (*text).to_owned()).ok_or(format!("{word} needs a value"));
            match *word {
                "--quick" => request.quick = true,
                "--no-write" => request.write = false,
                "--rounds" => request.rounds = Some(value()?.parse()?),
                "--binary" => request.binary = Some(value()?.into()),
                "--docker" => request.docker = Some(value()?),
                "--podman" => request.podman = Some(value()?),
                other => {
                    let known =
                        "--quick, --no-write, --rounds N, --binary PATH, --docker ADDRESS, --podman ADDRESS";
                    return Err(format!("'{other}' is not an option of bench engines: {known}").into());
                }
            }
        }
        Ok(request)
    }
}

struct Report {
    setting: report::Setting,
    quick: bool,
    numbers: Vec<Number>,
    /// What it is about, and its rows.
    tables: Vec<(&'static str, Timings)>,
}

pub(super) fn run(words: &[&str]) -> Outcome<ExitCode> {
    let request = Request::of_words(words)?;
    let person = Person::of(Half::Root)?.map_err(|why| format!("engines are measured as root: {why}"))?;
    let workspace = Workspace::load()?;
    let stage = Stage::new("bench-engines")?;
    let binary = match &request.binary {
        Some(binary) => binary.clone(),
        None => cargo::build(&["build", "--release", "-p", "agentkernel"], "agentkernel")?,
    };
    let agentkernel = stage.program(&binary, "agentkernel")?;
    let home = person.home_under(stage.path(), "home")?;
    let rootfs = busybox_rootfs(stage.path())?;
    let mut report = Report {
        setting: report::Setting::read(),
        quick: request.quick,
        numbers: Vec::new(),
        tables: Vec::new(),
    };
    if let Some(binary) = &request.binary {
        report.setting.add("binary", format!("{}, of whatever commit", binary.display()));
    }
    report.setting.add("load before", load());
    let rounds = request.rounds.unwrap_or(if request.quick { QUICK } else { FULL });
    let mut engines = Vec::new();
    for (sort, address) in [(Sort::Docker, &request.docker), (Sort::Podman, &request.podman)] {
        let engine = Engine::get(sort, address.as_deref())?;
        eprintln!("bench: {} {}, {rounds} interleaved rounds", sort.name(), engine.version());
        report.setting.add(sort.name(), engine.version());
        let world = World::new(agentkernel.clone(), home.clone(), &[&engine]);
        let timings = turns::measure(&world, &engine, &rootfs, rounds)?;
        report.numbers.extend(page::of_engine(&engine, &timings));
        report.tables.push((sort.name(), timings));
        engines.push(engine);
    }
    eprintln!("bench: sandbox list with records on three backends");
    let world = World::new(agentkernel, home, &engines.iter().collect::<Vec<_>>());
    let timings = records(&world, rounds)?;
    report.numbers.push(page::of_records(&timings));
    report.tables.push(("all backends together", timings));
    report.setting.add("load after", load());
    let tables = page::markdown(&report);
    println!("{tables}");
    if request.write && !report.quick {
        report::write_page(&workspace, report::ENGINES, &tables)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `sandbox list` with sandboxes of three backends, none of which runs.
fn records(world: &World, rounds: usize) -> Outcome<Timings> {
    let (data, image) = ("records", turns::IMAGE);
    // Any engine's archive of it is in the home by now.
    let archive = world.home.join("docker.tar").display().to_string();
    world.call(data, &["images", "import", &archive])?;
    for (backend, count) in RECORDS {
        for number in 0..count {
            let name = format!("{backend}-{number}");
            world.call(data, &["sandbox", "create", &name, "-B", backend, "-i", image, "--no-network"])?;
        }
    }
    let list = Subject::new(page::LIST, || world.agentkernel(data, &["sandbox", "list"]));
    let timings = interleave(vec![list], Rounds { timed: rounds, warm_up: 2 }, &world.home.join("try.log"));
    world.call(data, &["clean", "--force"])?;
    Ok(timings)
}

/// The load of the machine, in the kernel's words.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_was_typed() {
        let request = Request::of_words(&["--quick", "--docker", "unix:///s", "--binary", "/b"]).unwrap();
        assert_eq!((request.quick, request.write), (true, true));
        assert_eq!((request.docker.as_deref(), request.podman), (Some("unix:///s"), None));
        assert_eq!(request.binary, Some(PathBuf::from("/b")));
        assert!(Request::of_words(&["--podman"]).is_err());
        assert!(Request::of_words(&["--fast"]).is_err());
    }
}
