//! One gigabyte through a pipe, sandboxed against not, and whether the caller's memory stays where it was.

use serde_json::{Value, json};
use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const BYTES: u64 = 1 << 30;

#[derive(Debug, Clone)]
pub(super) struct Throughput {
    /// `sandboxed / plain` speed, by medians.
    pub(super) ratio: f64,
    /// GB (10^9) per second.
    pub(super) plain: f64,
    pub(super) sandboxed: f64,
    /// KiB that the peak memory of `agentkernel run` grew by between 64 MiB and 960 MiB of output.
    pub(super) growth_kib: i64,
}

pub(super) fn measure(agentkernel: &Path, rounds: usize) -> Result<Throughput, String> {
    let source = ["head", "-c", &BYTES.to_string(), "/dev/zero"].map(str::to_owned).to_vec();
    let mut sandboxed: Vec<String> =
        ["run", "--image", "host", "--no-network", "--"].map(str::to_owned).to_vec();
    sandboxed.insert(0, agentkernel.display().to_string());
    sandboxed.extend(source.iter().cloned());
    let (mut plain_times, mut sandboxed_times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        plain_times.push(through_pipe(&source)?);
        sandboxed_times.push(through_pipe(&sandboxed)?);
    }
    let (plain, sandboxed_time) = (median(&mut plain_times), median(&mut sandboxed_times));
    let speed = |time: Duration| 1.073_741_824 / time.as_secs_f64();
    Ok(Throughput {
        ratio: plain.as_secs_f64() / sandboxed_time.as_secs_f64(),
        plain: speed(plain),
        sandboxed: speed(sandboxed_time),
        growth_kib: growth(&sandboxed)?,
    })
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// `words | wc -c`, timed until both have ended.
fn through_pipe(words: &[String]) -> Result<Duration, String> {
    let fail = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let started = Instant::now();
    let mut source = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| fail(&words[0], e))?;
    let pipe = source.stdout.take().ok_or("the source has no pipe")?;
    let counted = Command::new("wc").arg("-c").stdin(pipe).output().map_err(|e| fail("wc", e))?;
    let status = source.wait().map_err(|e| fail(&words[0], e))?;
    let took = started.elapsed();
    let count = String::from_utf8_lossy(&counted.stdout).trim().to_owned();
    if !status.success() || count != BYTES.to_string() {
        return Err(format!("{} ended with {status} after {count} of {BYTES} bytes", words.join(" ")));
    }
    Ok(took)
}

/// Reads the output here, and the peak memory of the process that hands it over near its start and near its end.
fn growth(words: &[String]) -> Result<i64, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(text)?;
    let mut pipe = child.stdout.take().ok_or("the source has no pipe")?;
    let mut buffer = vec![0; 256 * 1024];
    let mut advance = |limit: u64, total: &mut u64| -> Result<(), String> {
        while *total < limit {
            let count = pipe.read(&mut buffer).map_err(text)?;
            if count == 0 {
                return Err(format!("the output ended after {total} bytes"));
            }
            *total += count as u64;
        }
        Ok(())
    };
    let mut total = 0;
    advance(64 << 20, &mut total)?;
    let early = peak_kib(child.id())?;
    advance(960 << 20, &mut total)?;
    let late = peak_kib(child.id())?;
    advance(BYTES, &mut total)?;
    child.wait().map_err(text)?;
    Ok(late - early)
}

fn peak_kib(pid: u32) -> Result<i64, String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| e.to_string())?;
    super::proc::kib_field(&status, "VmHWM:").ok_or_else(|| format!("process {pid} tells no VmHWM"))
}

impl Throughput {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "ratio": self.ratio, "plain_gb_s": self.plain, "sandboxed_gb_s": self.sandboxed,
            "growth_kib": self.growth_kib,
        })
    }

    pub(super) fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            ratio: value["ratio"].as_f64()?,
            plain: value["plain_gb_s"].as_f64()?,
            sandboxed: value["sandboxed_gb_s"].as_f64()?,
            growth_kib: value["growth_kib"].as_i64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_output_is_an_error() {
        let why = through_pipe(&["echo".to_owned(), "x".to_owned()]).unwrap_err();
        assert!(why.contains("after 2 of"), "{why}");
    }
}
