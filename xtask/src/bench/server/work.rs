//! What is measured on a server.

use super::site::Site;
use crate::bench::{
    command::{quiet, time},
    rows::Row,
};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub(super) const RUN: &str = "POST /run, true";
pub(super) const CLI_RUN: &str = "agentkernel run --no-network -- true";
pub(super) const EXEC: &str = "POST /sandboxes/NAME/exec, true";
pub(super) const CLI_EXEC: &str = "agentkernel exec NAME -- true";
pub(super) const FIRST_BYTE: &str = "from write(2) inside to the client, POST /run/stream";
/// The named sandbox of all that need one.
pub(super) const NAME: &str = "bench";

fn run_of(script: &[&str]) -> Value {
    json!({"command": script, "image": "host", "network": false, "profile": "moderate"})
}

/// Rows by turns: the first word of each answer comes over a connection that is there.
pub(super) fn latencies(site: &Site<'_>, rounds: usize) -> Result<Vec<Row>, String> {
    const WARM_UP: usize = 3;
    let mut client = site.client()?;
    let run = run_of(&["true"]);
    let exec = json!({"command": ["true"]});
    let exec_path = format!("/sandboxes/{NAME}/exec");
    let words = ["run", "--image", "host", "--no-network", "--no-workspace", "--", "true"];
    let names = [RUN, CLI_RUN, EXEC, CLI_EXEC, FIRST_BYTE];
    let mut rows = names.map(|name| Row { name: name.to_owned(), ..Row::default() });
    for round in 0..rounds + WARM_UP {
        for turn in 0..names.len() {
            let index = (turn + round) % names.len();
            let took = match names[index] {
                RUN => timed(|| succeeded(&client.call("POST", "/run", Some(&run))?)),
                EXEC => timed(|| succeeded(&client.call("POST", &exec_path, Some(&exec))?)),
                CLI_RUN => time(&mut site.command(&words)),
                CLI_EXEC => time(&mut site.command(&["exec", NAME, "--", "true"])),
                _ => first_byte(site),
            };
            match took {
                Ok(_) if round < WARM_UP => {}
                Ok(took) => rows[index].samples.push(took),
                Err(why) => {
                    if rows[index].failures == 0 {
                        eprintln!("bench: {}: {why}", names[index]);
                    }
                    rows[index].failures += 1;
                }
            }
        }
    }
    Ok(rows.into())
}

fn timed(work: impl FnOnce() -> Result<(), String>) -> Result<Duration, String> {
    let begun = Instant::now();
    work().map(|()| begun.elapsed())
}

/// Whether a command ended with 0.
fn succeeded(answer: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    match answer["data"]["exit_code"].as_i64() {
        Some(0) => Ok(()),
        _ => Err(answer.to_string()),
    }
}

/// The command says what time it is. Its own fork for that is in the number.
fn first_byte(site: &Site<'_>) -> Result<Duration, String> {
    // A connection that a stream was on is not used again.
    let mut client = site.client()?;
    client.open("POST", "/run/stream", Some(&run_of(&["/bin/sh", "-c", "date +%s%N"])))?;
    while let Some(piece) = client.piece()? {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
        if let Some(written) = nanoseconds(&piece) {
            return Ok(now.saturating_sub(Duration::from_nanos(written)));
        }
    }
    Err("the command said nothing".to_owned())
}

/// The first number of 19 digits: a time of this century in nanoseconds.
fn nanoseconds(text: &str) -> Option<u64> {
    text.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 19)?.parse().ok()
}

/// Runs a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throughput {
    pub(super) server: f64,
    pub(super) bwrap: f64,
    pub(super) failures: usize,
}

/// `runs` of `true` from `callers`, and as many of bwrap from xargs.
pub(super) fn throughput(
    site: &Site<'_>,
    runs: usize,
    callers: usize,
    log: &Path,
) -> Result<Throughput, String> {
    let begun = Instant::now();
    let all = vec!["x\n"; runs].concat();
    let input = log.with_extension("input");
    std::fs::write(&input, all).map_err(|error| error.to_string())?;
    let mut bwrap = Command::new("xargs");
    bwrap.arg("-a").arg(&input).args(["-P", &callers.to_string(), "-n", "1", "sh", "-c"]);
    bwrap.arg("exec bwrap --unshare-all --ro-bind / / true");
    let prepared = begun.elapsed();
    quiet(&mut bwrap, log)?;
    let bwrap = runs as f64 / (begun.elapsed() - prepared).as_secs_f64();
    let begun = Instant::now();
    let failures = crowd(site, runs, callers, |client, _| {
        succeeded(&client.call("POST", "/run", Some(&run_of(&["true"])))?)
    });
    let server = runs as f64 / begun.elapsed().as_secs_f64();
    Ok(Throughput { server, bwrap, failures: told(failures) })
}

/// Does `work` `count` times from `callers` connections; why it failed, each time.
fn crowd(
    site: &Site<'_>,
    count: usize,
    callers: usize,
    work: impl Fn(&mut super::http::Client, usize) -> Result<(), String> + Sync,
) -> Vec<String> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let failed = |why: String| failures.lock().unwrap_or_else(PoisonError::into_inner).push(why);
    std::thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                let mut client = match site.client() {
                    Ok(client) => client,
                    Err(why) => return failed(why),
                };
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    if let Err(why) = work(&mut client, number) {
                        failed(why);
                        // What an error leaves on a connection is nobody's to read.
                        match site.client() {
                            Ok(fresh) => client = fresh,
                            Err(why) => return failed(why),
                        }
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// How many, and the first one to whoever watches.
fn told(failures: Vec<String>) -> usize {
    if let Some(first) = failures.first() {
        eprintln!("bench: {} failed, the first: {first}", failures.len());
    }
    failures.len()
}

/// The server's memory with `count` clients that wait for events, in MB.
pub(super) fn idle_clients(site: &Site<'_>, count: usize) -> Result<f64, String> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = site.client()?;
        client.open("GET", "/events", None)?;
        clients.push(client);
    }
    site.resident_mb()
}

/// A server over many requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endurance {
    pub(super) requests: usize,
    pub(super) failures: usize,
    pub(super) per_second: f64,
    /// MB in the middle, and at the end.
    pub(super) middle: f64,
    pub(super) end: f64,
    /// More than before the first request.
    pub(super) descriptors: i64,
}

/// How long the server may take to close what callers have left.
const SETTLE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn endurance(site: &Site<'_>, requests: usize, callers: usize) -> Result<Endurance, String> {
    let before = site.descriptors()?;
    let begun = Instant::now();
    let half = |count| told(crowd(site, count, callers, mixed));
    let mut failures = half(requests / 2);
    let middle = site.resident_mb()?;
    failures += half(requests - requests / 2);
    let (end, per_second) = (site.resident_mb()?, requests as f64 / begun.elapsed().as_secs_f64());
    let deadline = Instant::now() + SETTLE;
    // Descriptors say nothing when they are closed.
    let mut after = site.descriptors()?;
    while after > before && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
        after = site.descriptors()?;
    }
    let descriptors = i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(0);
    Ok(Endurance { requests, failures, per_second, middle, end, descriptors })
}

/// Of a hundred requests one is a run, four are commands in a sandbox, ten write or read a file, the others ask.
fn mixed(client: &mut super::http::Client, number: usize) -> Result<(), String> {
    let exec = format!("/sandboxes/{NAME}/exec");
    let file = format!("/sandboxes/{NAME}/files/tmp/file-{}", number % 7);
    match number % 100 {
        0 => succeeded(&client.call("POST", "/run", Some(&run_of(&["true"])))?),
        1..5 => succeeded(&client.call("POST", &exec, Some(&json!({"command": ["true"]})))?),
        5..10 => client.call("PUT", &file, Some(&json!({"content": "some text\n"}))).map(drop),
        10..15 => client.call("GET", &format!("/sandboxes/{NAME}/files/etc/passwd"), None).map(drop),
        15..40 => client.call("GET", "/sandboxes", None).map(drop),
        40..60 => client.call("GET", &format!("/sandboxes/{NAME}"), None).map(drop),
        60..80 => client.call("GET", "/status", None).map(drop),
        _ => client.call("GET", "/health", None).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_found_in_an_event() {
        let event =
            "id: 3\nevent: output\ndata: {\"data\":\"1764468000123456789\\n\",\"stream\":\"stdout\"}\n\n";
        assert_eq!(nanoseconds(event), Some(1_764_468_000_123_456_789));
        assert_eq!(nanoseconds("data: {\"data\":\"123\"}"), None);
    }

    #[test]
    fn only_a_command_that_ended_with_0_succeeded() {
        assert!(succeeded(br#"{"success":true,"data":{"exit_code":0}}"#).is_ok());
        assert!(succeeded(br#"{"success":true,"data":{"exit_code":1}}"#).is_err());
        assert!(succeeded(br#"{"success":true}"#).is_err());
    }
}
