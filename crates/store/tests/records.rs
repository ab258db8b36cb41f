//! Records as the engine uses them: through two connections, over crashes and upgrades.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use agentkernel_model::{
    Kind,
    id::{BackendId, SandboxId},
    image::ImageRef,
    mount::Workspace,
    name::{Label, SandboxName},
    policy::PolicyRequest,
    port::PublishedPort,
    spec::{Isolation, Lifetime, SandboxSpec},
};
use agentkernel_store::{Cached, Intent, NewRecord, Reader, Started, Stopped, Writer};
use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};
use tempfile::TempDir;

struct Bench {
    _dir: TempDir,
    db: PathBuf,
    spec: SandboxSpec,
}

fn bench() -> Bench {
    let dir = TempDir::new().unwrap();
    let db = dir.path().join("state.db");
    let policy = agentkernel_model::policy::EffectivePolicy::resolve(PolicyRequest::default());
    let spec = SandboxSpec {
        image: ImageRef::Host,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: vec![PublishedPort { host: 0, guest: 80 }],
        policy,
        isolation: Isolation::Any,
        lifetime: Lifetime::Named,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    };
    Bench { _dir: dir, db, spec }
}

impl Bench {
    fn insert(&self, writer: &mut Writer, name: &str) -> agentkernel_model::Result<SandboxId> {
        let id = SandboxId::new();
        let name: SandboxName = name.parse().unwrap();
        writer.insert_intent(&NewRecord {
            id,
            name: &name,
            backend: &BackendId::new("fake"),
            spec: &self.spec,
            context: Some("context"),
            labels: &[Label::new("team", "a/b").unwrap()],
            description: Some("said \u{1b}[31m"),
            unenforced: &["memory 512MB".to_owned()],
            created_at: 1_000,
            ttl: Some(Duration::from_secs(60)),
            by: "process 1",
        })?;
        Ok(id)
    }
}

fn name(text: &str) -> SandboxName {
    text.parse().unwrap()
}

#[test]
fn a_record_goes_through_its_life() {
    let bench = bench();
    let mut writer = Writer::open(&bench.db).unwrap();
    let id = bench.insert(&mut writer, "one").unwrap();
    let reader = Reader::open(&bench.db).unwrap().unwrap();

    let begun = reader.by_name(&name("one")).unwrap().unwrap();
    assert_eq!((begun.id, begun.intent, begun.state.as_deref()), (id, Some(Intent::Create), None));
    assert_eq!(begun.spec().unwrap(), bench.spec);
    assert_eq!(begun.expires_at, Some(61_000));
    assert!(!begun.is_expired(60_999) && begun.is_expired(61_000));
    assert_eq!(begun.labels.get("team").map(String::as_str), Some("a/b"));
    assert_eq!(begun.description.as_deref(), Some("said \u{1b}[31m"));

    assert!(reader.names().unwrap().is_empty(), "it is only being created");
    writer.complete(id, "{1}").unwrap();
    assert_eq!(reader.names().unwrap(), [name("one")]);
    let handle = reader.handle(&name("one")).unwrap().unwrap();
    assert_eq!((handle.state.as_deref(), handle.intent), (Some("{1}"), None));

    let port = PublishedPort { host: 4000, guest: 80 };
    writer.set_running(id, Started { state: "{2}", boot_id: Some("boot"), ports: &[port] }).unwrap();
    let running = reader.by_id(id).unwrap().unwrap();
    assert_eq!(
        (running.cached, running.ports, running.boot_id.as_deref()),
        (Cached::Running, vec![port], Some("boot"))
    );

    writer.set_stopped(id, Stopped { state: "{3}", reason: Some("expired") }).unwrap();
    let stopped = reader.by_id(id).unwrap().unwrap();
    assert_eq!((stopped.cached, stopped.reason.as_deref()), (Cached::Stopped, Some("expired")));
    assert!(stopped.ports.is_empty());

    writer.set_removing(id, "process 2").unwrap();
    assert_eq!(reader.by_id(id).unwrap().unwrap().intent, Some(Intent::Remove));
    writer.delete(id).unwrap();
    writer.delete(id).unwrap();
    assert!(reader.all().unwrap().is_empty());
    let gone = writer.set_running(id, Started { state: "", boot_id: None, ports: &[] }).unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound);
}

#[test]
fn what_people_say_of_it_and_its_end_change() {
    let bench = bench();
    let mut writer = Writer::open(&bench.db).unwrap();
    let id = bench.insert(&mut writer, "one").unwrap();
    let other = bench.insert(&mut writer, "two").unwrap();
    let before = writer.by_id(other).unwrap().unwrap();
    writer.set_labels(id, &[Label::new("a", "1").unwrap(), Label::new("b", "2").unwrap()]).unwrap();
    writer.set_description(id, Some("new")).unwrap();
    writer.set_expiry(id, 90_000, Duration::from_secs(89)).unwrap();
    let record = writer.by_id(id).unwrap().unwrap();
    assert_eq!(
        record.labels.into_iter().collect::<Vec<_>>(),
        [("a".into(), "1".into()), ("b".into(), "2".into())]
    );
    assert_eq!((record.description.as_deref(), record.expires_at), (Some("new"), Some(90_000)));
    assert_eq!(record.ttl, Some(Duration::from_secs(89)));
    writer.set_labels(id, &[]).unwrap();
    writer.set_description(id, None).unwrap();
    let record = writer.by_id(id).unwrap().unwrap();
    assert!(record.labels.is_empty() && record.description.is_none());
    assert_eq!(format!("{:?}", writer.by_id(other).unwrap().unwrap()), format!("{before:?}"));
    assert_eq!(writer.set_expiry(SandboxId::new(), 0, Duration::ZERO).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_taken_name_is_refused_and_changes_nothing() {
    let bench = bench();
    let mut writer = Writer::open(&bench.db).unwrap();
    let id = bench.insert(&mut writer, "one").unwrap();
    let error = bench.insert(&mut writer, "one").unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(error.hint().unwrap().contains("agentkernel sandbox remove one"));
    let all = writer.reader().all().unwrap();
    assert_eq!(all.iter().map(|r| r.id).collect::<Vec<_>>(), [id]);
}

#[test]
fn no_database_means_no_sandboxes_and_reading_makes_none() {
    let bench = bench();
    assert!(Reader::open(&bench.db).unwrap().is_none());
    assert!(!bench.db.exists());
}

#[test]
fn the_files_are_private() {
    let bench = bench();
    let mut writer = Writer::open(&bench.db).unwrap();
    bench.insert(&mut writer, "one").unwrap();
    for file in std::fs::read_dir(bench.db.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let bench = bench();
    drop(Writer::open(&bench.db).unwrap());
    let raw = rusqlite::Connection::open(&bench.db).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let write = Writer::open(&bench.db).unwrap_err();
    let read = Reader::open(&bench.db).unwrap_err();
    for error in [write, read] {
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.message().contains("version 99"), "{error}");
        assert!(error.hint().unwrap().contains("update agentkernel"));
    }
}

#[test]
fn an_interrupted_first_start_is_finished_by_the_next() {
    let bench = bench();
    // An empty file is what is left when a process dies between making the file and its tables.
    std::fs::write(&bench.db, b"").unwrap();
    assert!(Reader::open(&bench.db).unwrap().is_none());
    let mut writer = Writer::open(&bench.db).unwrap();
    bench.insert(&mut writer, "one").unwrap();
}

#[test]
fn a_damaged_database_says_so() {
    let bench = bench();
    std::fs::write(&bench.db, vec![b'x'; 8192]).unwrap();
    let error = Reader::open(&bench.db).unwrap_err();
    assert!(error.message().contains("damaged"), "{error}");
    assert!(error.hint().unwrap().starts_with("move it away"));
}

#[test]
fn a_record_that_cannot_be_read_hides_no_other() {
    let bench = bench();
    let mut writer = Writer::open(&bench.db).unwrap();
    bench.insert(&mut writer, "one").unwrap();
    bench.insert(&mut writer, "two").unwrap();
    drop(writer);
    let raw = rusqlite::Connection::open(&bench.db).unwrap();
    raw.execute("UPDATE sandboxes SET spec = '{\"future\":1}' WHERE name = 'one'", []).unwrap();
    let all = Reader::open(&bench.db).unwrap().unwrap().all().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].spec().unwrap_err().kind(), Kind::Internal);
    assert_eq!(all[1].spec().unwrap(), bench.spec);
}

#[test]
fn writers_that_open_and_write_at_once_wait_for_each_other() {
    let bench = bench();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let bench = &bench;
            scope.spawn(move || {
                let mut writer = Writer::open(&bench.db).unwrap();
                bench.insert(&mut writer, &format!("box{n}")).unwrap();
            });
        }
    });
    let reader = Reader::open(&bench.db).unwrap().unwrap();
    assert_eq!(reader.all().unwrap().len(), 8);
}
