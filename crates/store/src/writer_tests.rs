use super::*;
use crate::record::Intent;
use agentkernel_model::{
    id::BackendId,
    image::ImageRef,
    mount::Workspace,
    policy::{EffectivePolicy, PolicyRequest},
    spec::{Isolation, Lifetime, SandboxSpec},
};

#[test]
fn a_full_disk_is_exhausted_and_loses_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("state.db");
    let mut writer = Writer::open(&path).unwrap();
    let id = SandboxId::new();
    let spec = SandboxSpec {
        image: ImageRef::Host,
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
    };
    let new = NewRecord {
        id,
        name: &"one".parse().unwrap(),
        backend: &BackendId::new("fake"),
        spec: &spec,
        context: None,
        labels: &[],
        description: None,
        unenforced: &[],
        created_at: 0,
        ttl: None,
        by: "a test",
    };
    writer.insert_intent(&new).unwrap();
    // SQLite's own way to run out of room; it answers with the same SQLITE_FULL as on a full disk.
    let pages: i64 = writer.reader.conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    writer.reader.conn.pragma_update(None, "max_page_count", pages).unwrap();

    let error = writer.complete(id, &"x".repeat(1 << 20)).unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted, "{error}");
    assert!(error.hint().is_some());
    drop(writer);
    let kept = Reader::open(&path).unwrap().unwrap().by_id(id).unwrap().unwrap();
    assert_eq!((kept.intent, kept.state), (Some(Intent::Create), None));
}
