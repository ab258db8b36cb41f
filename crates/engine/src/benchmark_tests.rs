use super::*;
use agentkernel_backend::{ByteSink, ByteSource, Control, Exit};
use agentkernel_model::command::{Signal, TerminalSize};
use std::sync::Mutex;
use tokio::sync::oneshot;

fn of(milliseconds: &[u64]) -> Option<Summary> {
    Summary::of(milliseconds.iter().copied().map(Duration::from_millis).collect())
}

#[test]
fn percentiles_are_values_that_were_measured() {
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[7]), Some(Summary { min_ms: 7.0, avg_ms: 7.0, p50_ms: 7.0, p95_ms: 7.0 }));
    assert_eq!(of(&[4, 1, 3, 2]), Some(Summary { min_ms: 1.0, avg_ms: 2.5, p50_ms: 2.0, p95_ms: 4.0 }));
    let hundred: Vec<u64> = (1..=100).rev().collect();
    assert_eq!(of(&hundred), Some(Summary { min_ms: 1.0, avg_ms: 50.5, p50_ms: 50.0, p95_ms: 95.0 }));
}

#[test]
fn milliseconds_keep_three_digits() {
    let summary = Summary::of(vec![Duration::from_nanos(1_234_567)]).unwrap();
    assert_eq!(summary.p50_ms.to_string(), "1.235");
}

/// A command that ends when it is killed.
struct Hanging(Mutex<Option<oneshot::Sender<()>>>);

impl Control for Hanging {
    fn signal(&self, signal: Signal) -> Result<()> {
        assert_eq!(signal, Signal::Kill);
        drop(self.0.lock().unwrap().take());
        Ok(())
    }

    fn resize(&self, _size: TerminalSize) -> Result<()> {
        unreachable!("it has no terminal")
    }
}

fn hanging() -> Process {
    let (life, end) = oneshot::channel::<()>();
    Process {
        stdin: ByteSink::Closed,
        stdout: ByteSource::Empty,
        stderr: ByteSource::Empty,
        control: Box::new(Hanging(Mutex::new(Some(life)))),
        exit: Box::pin(async move {
            let _killed = end.await;
            Ok(Exit::Code(137))
        }),
    }
}

/// Time passes when everybody waits.
#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_is_killed_when_its_time_is_over() {
    let (_caller, stop) = watch::channel(());
    let begun = tokio::time::Instant::now();
    let error = ended(hanging(), &stop).await.unwrap_err();
    assert_eq!((error.kind(), begun.elapsed().as_secs()), (Kind::Timeout, 300), "{error}");
    assert!(error.to_string().contains("within 300 seconds"), "{error}");
}
