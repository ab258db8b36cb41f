//! Measuring the life of a sandbox on each backend, step by step and as a person would run it.
//!
//! Backends take turns, so that a machine that is busy for a moment is busy for all of them. Nothing stays: a sandbox of a
//! benchmark is removed whatever happens, and carries a time to live for the case that this process is killed.

use crate::{
    clock,
    engine::Engine,
    probe::{self, Memory},
    request::{CreateRequest, Pool, RunRequest, SandboxInfo},
    values::{Source, Values},
};
use agentkernel_backend::{Health, Process};
use agentkernel_model::{
    Error, Kind, Result,
    command::{Argv, ExecSpec, Stdio},
    id::SandboxId,
    image::ImageRef,
    name::SandboxName,
    spec::{Lifetime, SandboxSpec},
    text::printable,
};
use serde::Serialize;
use std::{
    fmt,
    process::Stdio as Stream,
    time::{Duration, Instant},
};
use tokio::{process::Command, sync::watch};

/// What sandboxes of a killed benchmark are given.
const TIME_TO_LIVE: Duration = Duration::from_secs(600);
/// How long the command may take, and a whole run of the command line.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the command may write.
const OUTPUT: usize = 64 * 1024;
/// The number that backends are compared by.
const PRIMARY: &str = "lifecycle_p50_ms";

/// What to measure, and how often.
pub struct BenchmarkRequest<'a> {
    /// Ids or aliases; none means every backend of this build.
    pub backends: Vec<String>,
    pub iterations: u32,
    /// Rounds before those that count.
    pub warmup: u32,
    pub spec: SandboxSpec,
    pub whole_run: WholeRun<'a>,
    /// Whoever wants it to end early drops the sender.
    pub stop: watch::Receiver<()>,
}

/// How one command runs in a sandbox of its own.
#[derive(Clone, Copy)]
pub enum WholeRun<'a> {
    /// By the command line for the backend of that id, which is another process.
    Line(&'a (dyn Fn(&str) -> Command + Sync)),
    /// As [`Engine::run`] does it.
    Engine,
}

impl fmt::Debug for WholeRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line(_) => "Line(..)",
            Self::Engine => "Engine",
        })
    }
}

impl fmt::Debug for BenchmarkRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BenchmarkRequest").field("backends", &self.backends).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchmarkReport {
    /// RFC 3339, UTC.
    pub generated_at: String,
    pub image: ImageRef,
    pub measured_iterations: u32,
    pub warmup_iterations: u32,
    /// Which number backends are compared by; less is better.
    pub primary_metric: &'static str,
    /// The mean of it over all backends that were measured; absent when none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_score: Option<f64>,
    pub backends: Vec<BackendBenchmark>,
}

/// One backend: what was measured, or why nothing was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackendBenchmark {
    pub backend: String,
    pub available: bool,
    /// Why it was not measured, or not to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps<Summary>>,
}

/// One value per step of a sandbox's life.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Steps<T> {
    pub create: T,
    pub start: T,
    pub exec: T,
    pub stop: T,
    pub remove: T,
    /// `create` and `start` together.
    pub startup: T,
    /// From `create` to `remove`.
    pub lifecycle: T,
    /// One command in a sandbox of its own, see [`WholeRun`].
    pub run: T,
}

/// Milliseconds. The percentiles are by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    pub min_ms: f64,
    pub avg_ms: f64,
    pub p50_ms: f64,
    pub p95_ms: f64,
}

impl Summary {
    /// `None` for nothing.
    fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let milliseconds = |d: Duration| (d.as_secs_f64() * 1_000_000.0).round() / 1_000.0;
        let rank = |percent: usize| milliseconds(samples[(samples.len() * percent).div_ceil(100).max(1) - 1]);
        let count = u32::try_from(samples.len()).ok().filter(|count| *count > 0)?;
        Some(Self {
            min_ms: rank(0),
            avg_ms: milliseconds(samples.iter().sum::<Duration>() / count),
            p50_ms: rank(50),
            p95_ms: rank(95),
        })
    }
}

impl Steps<Summary> {
    fn of(rounds: &[Steps<Duration>]) -> Option<Self> {
        let of = |step: fn(&Steps<Duration>) -> Duration| Summary::of(rounds.iter().map(step).collect());
        Some(Self {
            create: of(|s| s.create)?,
            start: of(|s| s.start)?,
            exec: of(|s| s.exec)?,
            stop: of(|s| s.stop)?,
            remove: of(|s| s.remove)?,
            startup: of(|s| s.startup)?,
            lifecycle: of(|s| s.lifecycle)?,
            run: of(|s| s.run)?,
        })
    }
}

/// A backend that takes its turns, or the reason why it does not any more.
struct Lane {
    backend: String,
    available: bool,
    trouble: Option<String>,
    rounds: Vec<Steps<Duration>>,
}

pub(crate) async fn benchmark(engine: &Engine, request: &BenchmarkRequest<'_>) -> Result<BenchmarkReport> {
    let mut lanes = lanes(engine, request).await?;
    for round in 0..request.warmup.saturating_add(request.iterations) {
        let count = lanes.len().max(1);
        // Nobody is always the first of a round.
        lanes.rotate_left(usize::from(round > 0) % count);
        for lane in lanes.iter_mut().filter(|lane| lane.trouble.is_none()) {
            if request.stop.has_changed().is_err() {
                return Err(interrupted());
            }
            match turn(engine, request, &lane.backend).await {
                Ok(steps) if round >= request.warmup => lane.rounds.push(steps),
                Ok(_) => {}
                Err(error) if error.kind() == Kind::Cancelled => return Err(error),
                Err(error) => lane.trouble = Some(printable(&error.to_string())),
            }
        }
    }
    lanes.sort_by(|a, b| a.backend.cmp(&b.backend));
    let backends: Vec<BackendBenchmark> = lanes
        .into_iter()
        .map(|lane| BackendBenchmark {
            steps: Steps::of(&lane.rounds),
            backend: lane.backend,
            available: lane.available,
            reason: lane.trouble,
        })
        .collect();
    let scores: Vec<f64> = backends.iter().filter_map(|b| Some(b.steps?.lifecycle.p50_ms)).collect();
    let count = u32::try_from(scores.len()).unwrap_or(u32::MAX);
    Ok(BenchmarkReport {
        generated_at: clock::rfc3339(clock::now()),
        image: request.spec.image.clone(),
        measured_iterations: request.iterations,
        warmup_iterations: request.warmup,
        primary_metric: PRIMARY,
        total_score: (count > 0).then(|| scores.iter().sum::<f64>() / f64::from(count)),
        backends,
    })
}

/// The backends that were asked for, each once, and whether they work here.
async fn lanes(engine: &Engine, request: &BenchmarkRequest<'_>) -> Result<Vec<Lane>> {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut asked = request.backends.clone();
    // Whoever is at the command line wants to know how it is now. A caller of a server decides for nobody else.
    let memory = match request.whole_run {
        WholeRun::Line(_) => Memory::default(),
        WholeRun::Engine => Memory::load(&engine.host),
    };
    if asked.is_empty() {
        asked.extend(engine.registry.iter().map(|driver| driver.id.to_owned()));
    }
    for name in asked {
        let found = engine.registry.find(&name);
        let backend = found.as_ref().map_or_else(|_| printable(&name), |driver| driver.id.to_owned());
        if lanes.iter().any(|lane| lane.backend == backend) {
            continue;
        }
        let trouble = match found.and_then(|driver| engine.backend(driver)) {
            Err(error) => Some(explained(&error.to_string(), error.hint())),
            Ok(backend) => match probe::known(engine, &memory, &backend).await? {
                Health::Healthy { .. } => None,
                Health::Undetected { reason } => Some(explained(&reason, None)),
                Health::Unhealthy { reason, hint } => Some(explained(&reason, Some(&hint))),
            },
        };
        lanes.push(Lane { backend, available: trouble.is_none(), trouble, rounds: Vec::new() });
    }
    Ok(lanes)
}

fn explained(reason: &str, hint: Option<&str>) -> String {
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    printable(&format!("{reason}{hint}"))
}

/// One life on `backend`, and one whole run.
async fn turn(engine: &Engine, request: &BenchmarkRequest<'_>, backend: &str) -> Result<Steps<Duration>> {
    let name: SandboxName = format!("benchmark-{:08x}", SandboxId::new().as_u128() & 0xffff_ffff).parse()?;
    let creation = CreateRequest {
        name,
        spec: request.spec.clone(),
        backend: Some(backend.to_owned()),
        labels: Vec::new(),
        ttl: Some(TIME_TO_LIVE),
        description: Some("a benchmark".to_owned()),
    };
    let begun = Instant::now();
    // One that failed leaves nothing: what has the name then is another's.
    let made = engine.create(creation).await?;
    let life = match life(engine, request, &made, begun).await {
        Ok(life) => life,
        Err(error) => {
            // The failure is the news. What is left of it is removed now, or by gc when its time is over.
            let _gone_already = engine.remove_made(&made).await;
            return Err(error);
        }
    };
    let run = match request.whole_run {
        WholeRun::Line(line) => whole_line(line(backend)).await,
        WholeRun::Engine => run(engine, request, backend).await,
    }?;
    Ok(Steps { run, ..life })
}

/// The life of what was `made` just now, since its creation was `begun`.
async fn life(
    engine: &Engine,
    request: &BenchmarkRequest<'_>,
    made: &SandboxInfo,
    begun: Instant,
) -> Result<Steps<Duration>> {
    let created = Instant::now();
    engine.start_made(made, &Values::default()).await?;
    let started = Instant::now();
    ended(engine.exec_made(made, &command()?).await?, &request.stop).await?;
    let executed = Instant::now();
    engine.stop_made(made, Duration::ZERO).await?;
    let stopped = Instant::now();
    engine.remove_made(made).await?;
    let removed = Instant::now();
    Ok(Steps {
        create: created - begun,
        start: started - created,
        exec: executed - started,
        stop: stopped - executed,
        remove: removed - stopped,
        startup: started - begun,
        lifecycle: removed - begun,
        run: Duration::ZERO,
    })
}

fn command() -> Result<ExecSpec> {
    let argv = Argv::new(vec!["true".to_owned()])?;
    Ok(ExecSpec { argv, env: Vec::new(), workdir: None, user: None, stdio: Stdio::NoInput })
}

/// Waits for the command. It is one of the image, which may do anything: it does not outlast who waits for it.
async fn ended(process: Process, stop: &watch::Receiver<()>) -> Result<()> {
    match process.output_unless(OUTPUT, given_up(stop.clone())).await?.exit.code() {
        0 => Ok(()),
        code => Err(Error::internal(format!("'true' ended with exit code {code} in the sandbox"))),
    }
}

/// Why the command is waited for no longer, as soon as that is so.
async fn given_up(mut stop: watch::Receiver<()>) -> Error {
    let left = async { while stop.changed().await.is_ok() {} };
    match tokio::time::timeout(PATIENCE, left).await {
        Ok(()) => interrupted(),
        Err(_) => Error::new(
            Kind::Timeout,
            format!("'true' did not end in the sandbox within {} seconds", PATIENCE.as_secs()),
        ),
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Cancelled, "the benchmark was interrupted")
}

async fn run(engine: &Engine, request: &BenchmarkRequest<'_>, backend: &str) -> Result<Duration> {
    let run = RunRequest {
        spec: SandboxSpec { lifetime: Lifetime::Ephemeral, ..request.spec.clone() },
        command: command()?,
        backend: Some(backend.to_owned()),
        values: Source::default(),
        pool: Pool::Avoid,
    };
    let begun = Instant::now();
    ended(engine.run(run).await?.process, &request.stop).await?;
    Ok(begun.elapsed())
}

async fn whole_line(mut command: Command) -> Result<Duration> {
    let fail = |e| Error::io("cannot run the command line", e);
    command.stdin(Stream::null()).stdout(Stream::null()).stderr(Stream::null()).kill_on_drop(true);
    let begun = Instant::now();
    let mut child = command.spawn().map_err(fail)?;
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    let took = begun.elapsed();
    match ended {
        Ok(status) => match status.map_err(fail)? {
            status if status.success() => Ok(took),
            status => Err(Error::internal(format!("a whole run of the command line failed ({status})"))),
        },
        Err(_) => Err(Error::new(Kind::Timeout, "a whole run of the command line took too long")),
    }
}

#[cfg(test)]
#[path = "benchmark_tests.rs"]
mod tests;
