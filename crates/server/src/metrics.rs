//! What the server counts, in the text form that Prometheus reads (OpenMetrics 1.0).

use agentkernel_model::{Error, Result};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    fs,
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

/// Bounds of the buckets of durations, in seconds: from a look at a record to a build.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0];

/// Which requests. Every value is one of a few: paths are those of the table of routes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Route, Histogram>,
    commands: Counter,
    running: Gauge,
    sandboxes: Gauge,
    uptime: Gauge<f64, AtomicU64>,
    resident: Gauge,
    descriptors: Gauge,
    started: Instant,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("agentkernel");
        let requests = Family::<Request, Counter>::default();
        let durations = Family::<Route, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let commands = Counter::default();
        let (running, sandboxes, resident, descriptors) =
            (Gauge::default(), Gauge::default(), Gauge::default(), Gauge::default());
        let uptime = Gauge::<f64, AtomicU64>::default();
        registry.register("http_requests", "Requests that were answered", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "From a request's headers to those of its answer",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register("commands", "Commands of callers that were begun", commands.clone());
        registry.register("commands_running", "Commands of callers that run now", running.clone());
        registry.register("sandboxes", "Named sandboxes that there are", sandboxes.clone());
        registry.register_with_unit("uptime", "Since the server started", Unit::Seconds, uptime.clone());
        registry.register_with_unit(
            "resident_memory",
            "Of the server, without the sandboxes",
            Unit::Bytes,
            resident.clone(),
        );
        registry.register("open_descriptors", "Of the server", descriptors.clone());
        let started = Instant::now();
        Self {
            registry,
            requests,
            durations,
            commands,
            running,
            sandboxes,
            uptime,
            resident,
            descriptors,
            started,
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        self.durations.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Request { method, route, status }).inc();
    }

    /// Counts commands of callers.
    pub(crate) fn commands(&self) -> Counter {
        self.commands.clone()
    }

    /// Everything as text.
    ///
    /// # Errors
    /// When it cannot be written, which memory alone prevents.
    pub(crate) fn text(&self, sandboxes: usize, running: usize) -> Result<String> {
        let small = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.sandboxes.set(small(sandboxes));
        self.running.set(small(running));
        self.uptime.set(self.started.elapsed().as_secs_f64());
        self.resident.set(resident());
        self.descriptors.set(small(fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)));
        let mut text = String::new();
        text::encode(&mut text, &self.registry)
            .map_err(|e| Error::internal("cannot write the metrics").with_source(e))?;
        Ok(text)
    }
}

/// Bytes of `VmRSS` (proc_pid_status(5)); 0 where there is no proc.
fn resident() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<i64> = line.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    kib.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_written() {
        let metrics = Metrics::new();
        metrics.answered("POST", "/run", 200, Duration::from_millis(3));
        metrics.answered("POST", "/run", 409, Duration::from_millis(3));
        metrics.commands().inc();
        let text = metrics.text(2, 1).unwrap();
        for line in [
            "agentkernel_http_requests_total{method=\"POST\",route=\"/run\",status=\"200\"} 1",
            "agentkernel_http_request_duration_seconds_bucket{le=\"0.005\",route=\"/run\"} 2",
            "agentkernel_commands_total 1",
            "agentkernel_sandboxes 2",
            "agentkernel_commands_running 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
    }
}
