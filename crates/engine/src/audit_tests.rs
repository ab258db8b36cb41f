use super::*;
use agentkernel_backend::{ByteSink, ByteSource, Control, Exit};
use agentkernel_model::{
    command::{Argv, EnvVar, Signal, Stdio, TerminalSize},
    name::SandboxName,
};
use serde_json::Value;
use std::{fs, future::pending, path::Path};
use tempfile::tempdir;

struct NoControl;

impl Control for NoControl {
    fn signal(&self, _: Signal) -> Result<()> {
        Ok(())
    }

    fn resize(&self, _: TerminalSize) -> Result<()> {
        Ok(())
    }
}

fn process(exit: agentkernel_backend::process::ExitFuture) -> Process {
    let control = Box::new(NoControl);
    Process { stdin: ByteSink::Closed, stdout: ByteSource::Empty, stderr: ByteSource::Empty, control, exit }
}

fn host(data: &Path) -> Host {
    let uid = rustix::process::geteuid().as_raw();
    Host {
        data: data.to_owned(),
        exe: "/nowhere".into(),
        uid,
        gid: 0,
        login: "tester".to_owned(),
        surroundings: agentkernel_backend::Surroundings::default(),
    }
}

fn events(data: &Path) -> Vec<Value> {
    let text = fs::read_to_string(data.join("audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn command() -> ExecSpec {
    ExecSpec {
        argv: Argv::new(vec!["make".to_owned(), "test".to_owned()]).unwrap(),
        env: vec![EnvVar::new("TOKEN", "s3cr3t").unwrap()],
        workdir: None,
        user: None,
        stdio: Stdio::NoInput,
    }
}

fn place() -> Place {
    Place::Known { backend: Some("fake".to_owned()), image: "host".to_owned() }
}

#[tokio::test]
async fn a_command_is_written_down_when_it_has_ended_and_not_before() {
    let dir = tempdir().unwrap();
    // Not there yet: it is made by the first event.
    let data = dir.path().join("data");
    let audit = Audit::of(&host(&data));
    let process = process(Box::pin(async { Ok(Exit::Code(3)) }));
    let process = audit.command(None, &command()).follow(process, place());
    assert_eq!(events(&data), Vec::<Value>::new());
    assert_eq!(process.exit.await.unwrap(), Exit::Code(3));
    let events = events(&data);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "command_executed");
    assert_eq!(events[0]["exit_code"], 3);
    assert_eq!(events[0]["command"], serde_json::json!(["make", "test"]));
    assert_eq!((&events[0]["backend"], &events[0]["image"]), (&"fake".into(), &"host".into()));
    let text = fs::read_to_string(data.join("audit.jsonl")).unwrap();
    assert!(!text.contains("s3cr3t") && !text.contains("TOKEN"), "{text}");
    assert!(audit.take_trouble().is_none());
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_is_written_down_without_an_end() {
    let dir = tempdir().unwrap();
    let audit = Audit::of(&host(dir.path()));
    let name: SandboxName = "box".parse().unwrap();
    let running = process(Box::pin(pending()));
    drop(audit.command(Some(&name), &command()).follow(running, place()));
    let events = events(dir.path());
    assert_eq!(events[0]["sandbox"], "box");
    assert_eq!(events[0]["exit_code"], Value::Null);
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn failures_are_told_apart() {
    let dir = tempdir().unwrap();
    let audit = Audit::of(&host(dir.path()));
    for kind in Kind::ALL {
        let ends = process(Box::pin(async move { Err(Error::new(kind, "m\u{1b}")) }));
        audit.command(None, &command()).follow(ends, place()).exit.await.unwrap_err();
    }
    let events = events(dir.path());
    let told: Vec<&str> = events.iter().filter_map(|e| e["type"].as_str()).collect();
    let expected = [
        "policy_violation", // unsupported
        "sandbox_error",    // unavailable
        "policy_violation", // denied
        "command_executed", // not runnable
        "command_executed", // not found
        "sandbox_error",    // timeout
        "sandbox_error",    // exhausted
        "sandbox_error",    // internal
    ];
    assert_eq!(told, expected);
    assert_eq!(events[3]["exit_code"], 126);
    assert_eq!(events[0]["details"], "m\\u{1b}");
    assert_eq!(events[0]["policy"], "unsupported");
}

#[tokio::test]
async fn what_cannot_be_written_is_told_once_and_fails_nothing() {
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("audit.jsonl")).unwrap();
    let audit = Audit::of(&host(dir.path()));
    for _ in 0..2 {
        audit.removed("box");
    }
    let told = audit.clone().take_trouble().map(|error| error.to_string()).unwrap_or_default();
    assert!(told.contains("audit.jsonl"), "{told}");
    audit.removed("box");
    assert!(audit.take_trouble().is_none());
}

#[tokio::test]
async fn switched_off_it_touches_nothing() {
    let dir = tempdir().unwrap();
    let audit = Audit::off();
    audit.removed("box");
    let done = process(Box::pin(async { Ok(Exit::Code(0)) }));
    audit.command(None, &command()).follow(done, place()).exit.await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(audit.take_trouble().is_none());
}

#[tokio::test]
async fn whoever_follows_hears_of_what_comes() {
    let dir = tempdir().unwrap();
    let host = host(dir.path());
    let audit = Audit::of(&host);
    let (mine, other): (SandboxName, SandboxName) = ("mine".parse().unwrap(), "other".parse().unwrap());
    audit.stopped(&mine, None);
    let query = AuditQuery { sandbox: Some(mine.clone()), limit: 10 };
    let (page, mut following) = follow_events(&host, &query).unwrap();
    assert_eq!(page.entries.iter().map(AuditEntry::lifecycle).collect::<Vec<_>>(), [Some("sandbox.stopped")]);
    let heard = async {
        let mut heard = Vec::new();
        while heard.len() < 2 {
            heard.extend(following.next().await.unwrap().unwrap());
        }
        heard
    };
    let happens = async {
        audit.removed("other");
        audit.session(&mine);
        audit.stopped(&other, None);
        tokio::task::yield_now().await;
        audit.removed("mine");
    };
    let (heard, ()) = tokio::join!(heard, happens);
    let heard: Vec<_> = heard.iter().map(|entry| (entry.lifecycle(), entry.sandbox())).collect();
    assert_eq!(heard, [(Some("sandbox.attached"), Some("mine")), (Some("sandbox.deleted"), Some("mine"))]);
    // One that is there before the first event of all.
    let empty = tempdir().unwrap();
    let host = Host { data: empty.path().join("data"), ..host };
    assert!(follow_events(&host, &AuditQuery { limit: 0, ..query }).unwrap().0.entries.is_empty());
}
