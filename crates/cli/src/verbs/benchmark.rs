//! `agentkernel benchmark`.

use crate::context::Context;
use agentkernel_engine::{
    audit::Audit,
    benchmark::{BackendBenchmark, BenchmarkReport, BenchmarkRequest, Steps, Summary, WholeRun},
};
use agentkernel_model::{
    Error, Kind, Result,
    image::ImageRef,
    mount::Workspace,
    policy::{EffectivePolicy, PolicyRequest},
    spec::{Isolation, Lifetime, SandboxSpec},
    text::printable,
};
use clap::Args;
use std::{
    fs, future,
    path::{Path, PathBuf},
};
use tokio::{process::Command, sync::watch};

const EXAMPLES: &str = "\
Examples:
  agentkernel benchmark
  agentkernel benchmark --backends docker,podman
  agentkernel benchmark -i 20 --warmup 3 --json | jq '.backends[].lifecycle.p50_ms'
  agentkernel benchmark -i 50 --output report.json

Each iteration creates, starts, uses, stops and removes a sandbox on every backend in turn, and then runs 'true' with
'agentkernel run'. The table shows medians in milliseconds. Nothing of it stays, nor is it in the audit log.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Benchmark {
    /// The backends to measure, separated by commas; without it, all of this build
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    backends: Vec<String>,

    /// How often each step is measured
    #[arg(short, long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    iterations: u32,

    /// Iterations before those that count
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    warmup: u32,

    /// The image, which must be on this machine: 'host' for this machine's own tools
    #[arg(long, value_name = "REF", default_value = "host")]
    image: ImageRef,

    /// Write the report as JSON to this file too
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Answer with one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

const HEAD: [&str; 9] =
    ["BACKEND", "CREATE", "START", "EXEC", "STOP", "REMOVE", "STARTUP", "LIFECYCLE", "RUN"];

impl Benchmark {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let report = self.measure(context)?;
        if let Some(path) = &self.output {
            write(&report, path)?;
        }
        if self.json {
            context.printer.json(&report)?;
        } else {
            let rows: Vec<Vec<String>> = report.backends.iter().filter_map(row).collect();
            if !rows.is_empty() {
                context.printer.table(&HEAD, &rows)?;
            }
            for backend in &report.backends {
                if let Some(reason) = &backend.reason {
                    context.printer.note(format_args!("{}: {reason}", backend.backend));
                }
            }
        }
        if report.total_score.is_none() {
            return Err(Error::new(Kind::Unavailable, "no backend could be measured")
                .with_hint("agentkernel setup --check"));
        }
        Ok(0)
    }

    fn measure(&self, context: &Context) -> Result<BenchmarkReport> {
        let exe = context.settings.host.exe.clone();
        let image = self.image.to_string();
        let whole_run = move |backend: &str| {
            let mut command = Command::new(&exe);
            command.args(["run", "--backend", backend, "--image", &image, "--no-workspace", "--", "true"]);
            // No project, and no events: it is no use of anything.
            command.current_dir("/").env("AGENTKERNEL_AUDIT", "0");
            command
        };
        let (going_on, stop) = watch::channel(());
        let request = BenchmarkRequest {
            backends: self.backends.clone(),
            iterations: self.iterations,
            warmup: self.warmup,
            spec: spec(self.image.clone()),
            whole_run: WholeRun::Line(&whole_run),
            stop,
        };
        let engine = context.engine().with_audit(Audit::off());
        context.block_on(async {
            let watch = tokio::spawn(async move {
                if tokio::signal::ctrl_c().await.is_err() {
                    // Nobody can interrupt it.
                    future::pending::<()>().await;
                }
                drop(going_on);
            });
            let report = engine.benchmark(&request).await;
            watch.abort();
            report
        })
    }
}

/// A sandbox as `sandbox create` makes one by itself.
fn spec(image: ImageRef) -> SandboxSpec {
    SandboxSpec {
        image,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy: EffectivePolicy::resolve(PolicyRequest::default()),
        isolation: Isolation::Any,
        lifetime: Lifetime::Named,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    }
}

fn write(report: &BenchmarkReport, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(report)
        .map_err(|e| Error::internal("cannot write the report as JSON").with_source(e))?;
    text.push('\n');
    fs::write(path, text).map_err(|e| {
        Error::io(format!("cannot write the report to '{}'", printable(&path.to_string_lossy())), e)
            .with_hint("name a file that you may write to with --output")
    })
}

fn row(measured: &BackendBenchmark) -> Option<Vec<String>> {
    let Steps { create, start, exec, stop, remove, startup, lifecycle, run } = measured.steps?;
    let median = |summary: Summary| format!("{:.2}", summary.p50_ms);
    let numbers = [create, start, exec, stop, remove, startup, lifecycle, run].map(median);
    Some(std::iter::once(measured.backend.clone()).chain(numbers).collect())
}
