//! One target, run for some seconds.

use super::{Places, Target};
use crate::{Outcome, deadline};
use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// An input that takes longer than this many seconds is a finding, and so is one that takes more memory.
const SLOWEST: u32 = 10;
const MEGABYTES: u32 = 1024;
/// Beyond its seconds: for starting and for reading the corpus.
const GRACE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Clean,
    /// With the input that crashed it.
    Finding(Option<PathBuf>),
    Stuck,
}

#[derive(Debug)]
pub(super) struct Round {
    pub(super) target: Target,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
    pub(super) numbers: Numbers,
    /// The end of what it wrote, when there is something to say.
    pub(super) said: String,
}

/// What libFuzzer says at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) executions: u64,
    pub(super) edges: u64,
    pub(super) inputs: u64,
}

/// Where new inputs of a target go, beside the committed ones.
pub(super) fn found(places: &Places, target: Target) -> PathBuf {
    places.scratch.join("found").join(target.name)
}

pub(super) fn run(target: Target, seconds: u64, places: &Places, programs: &Path) -> Outcome<Round> {
    let (found, committed) = (found(places, target), places.fuzz.join("corpus").join(target.name));
    let artifacts = places.fuzz.join("artifacts").join(target.name);
    for directory in [&found, &committed, &artifacts] {
        fs::create_dir_all(directory)?;
    }
    let before = newest(&artifacts)?;
    let log = places.scratch.join(format!("{}.log", target.name));
    let mut command = Command::new(programs.join(target.name));
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={}", target.longest));
    command.arg(format!("-timeout={SLOWEST}")).arg(format!("-rss_limit_mb={MEGABYTES}"));
    command.args(["-print_final_stats=1", "-verbosity=1"]);
    // libFuzzer appends the name of the input.
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    let dictionary = places.fuzz.join(format!("dictionaries/{}.dict", target.name));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    // The first directory is the one that it writes to.
    command.arg(&found).arg(&committed);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
    let begun = Instant::now();
    let ended = deadline::run(&mut command, Duration::from_secs(seconds) + GRACE)?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let verdict = match ended {
        deadline::Ended::Exited(status) if status.success() => Verdict::Clean,
        deadline::Ended::Exited(_) => {
            Verdict::Finding(newest(&artifacts)?.filter(|n| Some(n) != before.as_ref()))
        }
        deadline::Ended::TimedOut => Verdict::Stuck,
    };
    let said = if verdict == Verdict::Clean { String::new() } else { tail(&text) };
    Ok(Round { target, verdict, took: begun.elapsed(), numbers: numbers(&text), said })
}

/// The file of a directory that was written last.
fn newest(directory: &Path) -> Outcome<Option<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    Ok(files.into_iter().max().map(|(_, path)| path))
}

/// The lines that explain an end: from the panic on, or the last ones.
fn tail(text: &str) -> String {
    const LINES: usize = 30;
    let lines: Vec<&str> = text.lines().collect();
    let panicked = lines.iter().rposition(|line| line.contains("panicked at"));
    let from = panicked.unwrap_or(lines.len().saturating_sub(LINES));
    lines[from..].iter().take(LINES).copied().collect::<Vec<_>>().join("\n")
}

/// From lines such as `#52 DONE cov: 119 ft: 165 corp: 30/80b` and `stat::number_of_executed_units: 52`.
pub(super) fn numbers(text: &str) -> Numbers {
    let mut numbers = Numbers::default();
    for line in text.lines() {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            numbers.executions = count.trim().parse().unwrap_or(0);
        }
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "cov:" => numbers.edges = words.next().and_then(|n| n.parse().ok()).unwrap_or(numbers.edges),
                "corp:" => {
                    let count = words.next().and_then(|n| n.split('/').next()).and_then(|n| n.parse().ok());
                    numbers.inputs = count.unwrap_or(numbers.inputs);
                }
                _ => {}
            }
        }
    }
    numbers
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Numbers { executions, edges, inputs } = self.numbers;
        let took = self.took.as_secs();
        write!(f, "{:<18} {executions:>12} {took:>9} {edges:>9} {inputs:>8}", self.target.name)?;
        if self.verdict == Verdict::Clean { Ok(()) } else { f.write_str("  FAILED") }
    }
}
