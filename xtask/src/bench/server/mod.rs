//! `cargo xtask bench server`: `agentkernel serve` beside the command line and bwrap, by whoever starts it.

mod http;
mod page;
mod site;
mod work;

use super::{Half, numbers::Number, report, rows::Row};
use crate::{
    Outcome, cargo,
    person::{Person, Stage},
    suite::on_path,
    workspace::Workspace,
};
use site::Site;
use std::{path::PathBuf, process::ExitCode};

/// Callers at a time.
const CALLERS: usize = 16;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Amount {
    rounds: usize,
    runs: usize,
    clients: usize,
    requests: usize,
}

const FULL: Amount = Amount { rounds: 300, runs: 500, clients: 1000, requests: 200_000 };
const QUICK: Amount = Amount { rounds: 30, runs: 64, clients: 200, requests: 5_000 };

/// What was typed.
#[derive(Debug, PartialEq)]
struct Request {
    quick: bool,
    write: bool,
    /// Measured in place of a release build.
    binary: Option<PathBuf>,
}

impl Request {
    fn of_words(words: &[&str]) -> Outcome<Self> {
        let mut request = Self { quick: false, write: true, binary: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => request.quick = true,
                "--no-write" => request.write = false,
                "--binary" => request.binary = Some(words.next().ok_or("--binary needs a path")?.into()),
                other => {
                    let known = "--quick, --no-write, --binary PATH";
                    return Err(format!("'{other}' is not an option of bench server: {known}").into());
                }
            }
        }
        Ok(request)
    }
}

struct Report {
    setting: report::Setting,
    quick: bool,
    amount: Amount,
    rows: Vec<Row>,
    throughput: Result<work::Throughput, String>,
    /// MB.
    idle: Result<f64, String>,
    endurance: Result<work::Endurance, String>,
}

pub(super) fn run(words: &[&str]) -> Outcome<ExitCode> {
    let request = Request::of_words(words)?;
    let half = if rustix::process::geteuid().is_root() { Half::Root } else { Half::User };
    let person = Person::of(half)??;
    let workspace = Workspace::load()?;
    let stage = Stage::new("bench-server")?;
    let binary = match &request.binary {
        Some(binary) => binary.clone(),
        None => cargo::build(&["build", "--release", "-p", "agentkernel"], "agentkernel")?,
    };
    let agentkernel = stage.program(&binary, "agentkernel")?;
    let home = person.home_under(stage.path(), "home")?;
    let log = home.join("bwrap.log");
    let site = Site::start(&agentkernel, &person, home)?;
    site.call(&["sandbox", "create", work::NAME, "--image", "host", "--no-network"])?;
    site.call(&["sandbox", "start", work::NAME])?;
    let amount = if request.quick { QUICK } else { FULL };
    let mut setting = report::Setting::read();
    if let Some(binary) = &request.binary {
        setting.add("binary", format!("{}, of whatever commit", binary.display()));
    }
    eprintln!("bench: {} interleaved rounds", amount.rounds);
    let rows = work::latencies(&site, amount.rounds)?;
    eprintln!("bench: {} runs from {CALLERS} callers", amount.runs);
    let throughput = match on_path("bwrap") {
        true => work::throughput(&site, amount.runs, CALLERS, &log),
        false => Err("bwrap is not installed: apt-get install bubblewrap".to_owned()),
    };
    eprintln!("bench: {} mixed requests", amount.requests);
    let endurance = work::endurance(&site, amount.requests, CALLERS);
    eprintln!("bench: {} clients that wait for events", amount.clients);
    let idle = work::idle_clients(&site, amount.clients);
    let removed = site.call(&["sandbox", "remove", work::NAME]);
    drop(site);
    removed?;
    let report = Report { setting, quick: request.quick, amount, rows, throughput, idle, endurance };
    let numbers: Vec<Number> = page::numbers(half, &report);
    let tables = page::markdown(&numbers, &report);
    println!("{tables}");
    // A quick look never replaces a measurement.
    if request.write && !report.quick {
        report::write_page(&workspace, report::SERVER, &tables)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_was_typed() {
        let request = Request::of_words(&["--quick", "--no-write", "--binary", "/b"]).unwrap();
        assert_eq!(request, Request { quick: true, write: false, binary: Some("/b".into()) });
        assert!(Request::of_words(&["--binary"]).is_err());
        assert!(Request::of_words(&["--fast"]).is_err());
    }
}
