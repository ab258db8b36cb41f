//! `cargo xtask bench egress`: connections of a sandbox through its gateway beside the same without one.
//!
//! All of it is in a network namespace of its own, whose loopback device has the addresses of the servers: those of loopback
//! are a sandbox's own. The namespace goes with the worker.

mod client;
mod page;
mod worker;

use super::report;
use crate::{
    Outcome, cargo,
    deadline::{self, Ended},
    person::{Half, Person, Stage},
    workspace::Workspace,
};
use serde_json::Value;
use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

pub(super) use worker::worker;

/// What `agentkernel-testkit-traffic` expects of its network, see the test kit's `Site::in_own_network`.
const NETWORK: &str = "set -e
ip link set lo up
for block in 10.77.0.1/16 10.88.0.1/16; do ip address add $block dev lo; done
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
exec setpriv --inh-caps=-all --ambient-caps=-all -- \"$@\"";

/// A slow machine, with all the others who build on it.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// How much of everything.
struct Amount {
    rounds: usize,
    /// Connections that are set up in each round.
    setups: usize,
    /// Of one body.
    bytes: u64,
    /// Open at once.
    connections: usize,
    /// Of the body that must not need more memory than a tenth of it did; 0: none is sent.
    long: u64,
}

const FULL: Amount =
    Amount { rounds: 15, setups: 100, bytes: 1_000_000_000, connections: 2000, long: 10_000_000_000 };
const QUICK: Amount = Amount { rounds: 3, setups: 50, bytes: 250_000_000, connections: 200, long: 0 };

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
                    return Err(format!("'{other}' is not an option of bench egress: {known}").into());
                }
            }
        }
        Ok(request)
    }
}

pub(super) fn run(words: &[&str]) -> Outcome<ExitCode> {
    let request = Request::of_words(words)?;
    let half = if rustix::process::geteuid().is_root() { Half::Root } else { Half::User };
    let person = Person::of(half)??;
    let workspace = Workspace::load()?;
    let stage = Stage::new("bench-egress")?;
    eprintln!("bench: building the release binary, and the client and the servers");
    let agentkernel = match &request.binary {
        Some(binary) => binary.clone(),
        None => cargo::build(&["build", "--release", "-p", "agentkernel"], "agentkernel")?,
    };
    let traffic = "agentkernel-testkit-traffic";
    let traffic =
        cargo::build(&["build", "--release", "-p", "agentkernel-testkit", "--bin", traffic], traffic)?;
    let home = person.home_under(stage.path(), "home")?;
    let amount = if request.quick { QUICK } else { FULL };
    let mut command = Command::new("unshare");
    person.become_in(&mut command, &home);
    command.arg("--net");
    if half == Half::User {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    command
        .args(["--", "/bin/sh", "-c", NETWORK, "sh"])
        .arg(stage.program(&std::env::current_exe()?, "xtask")?);
    command.args(["bench-worker", "egress"]);
    command
        .arg(stage.program(&agentkernel, "agentkernel")?)
        .arg(stage.program(&traffic, "traffic")?)
        .arg(&home);
    command.args([amount.rounds.to_string(), amount.setups.to_string(), amount.bytes.to_string()]);
    command.args([amount.connections.to_string(), amount.long.to_string()]);
    let mut setting = report::Setting::read();
    if let Some(binary) = &request.binary {
        setting.add("binary", format!("{}, of whatever commit", binary.display()));
    }
    setting.add("as", half.as_str().to_owned());
    setting.add("congestion control", congestion_control());
    setting.add("load before", load());
    let results = stage.path().join("results.json");
    command.current_dir(&home).stdin(Stdio::null()).stdout(File::create(&results)?);
    match deadline::run(&mut command, LIMIT)? {
        Ended::Exited(status) if status.success() => {}
        Ended::Exited(status) => return Err(format!("the worker failed: {status}").into()),
        Ended::TimedOut => return Err("the worker hangs: a connection does not go on".into()),
    }
    setting.add("load after", load());
    let results: Value = serde_json::from_reader(File::open(&results)?)?;
    let measured = worker::Measured::from_json(&results).ok_or("the worker said something else")?;
    let tables = page::markdown(&setting, request.quick, amount.bytes, &measured);
    println!("{tables}");
    // A quick look never replaces a measurement.
    if request.write && !request.quick {
        report::write_page(&workspace, report::EGRESS, &tables)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Of whoever does not choose one, as the servers and the clients do not: it can be what slows them down most.
fn congestion_control() -> String {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    text.trim().to_owned()
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
        let request = Request::of_words(&["--quick", "--no-write", "--binary", "/b"]).unwrap();
        assert_eq!(request, Request { quick: true, write: false, binary: Some("/b".into()) });
        assert!(Request::of_words(&["--binary"]).is_err());
        assert!(Request::of_words(&["--fast"]).is_err());
    }
}
