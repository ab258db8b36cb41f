use super::*;
use agentkernel_backend::{Host, Registry};
use agentkernel_image::HostFacts;
use std::fs;
use tempfile::tempdir;

#[test]
fn events_of_the_log_are_counted() {
    let dir = tempdir().unwrap();
    let host = Host {
        data: dir.path().to_owned(),
        exe: "/nowhere".into(),
        uid: 0,
        gid: 0,
        login: "tester".to_owned(),
        surroundings: agentkernel_backend::Surroundings::default(),
    };
    let facts = HostFacts { path: Vec::new(), home: None };
    let engine = Engine::new(host, Registry::default(), facts);
    assert_eq!(engine.stats().unwrap(), Stats::default());
    let event = |days: i64, rest: &str| {
        let at = clock::rfc3339_millis(clock::now() - days * 24 * 60 * 60 * 1000);
        format!("{{\"timestamp\":\"{at}\",{rest}}}\n")
    };
    let ran = |days, image: &str| {
        event(days, &format!("\"type\":\"command_executed\",\"image\":\"{image}\",\"backend\":\"one\""))
    };
    let older = ran(50, "old") + &event(40, "\"type\":\"sandbox_created\"");
    let newer =
        ran(29, "b") + "nonsense\n" + &ran(3, "a") + &ran(2, "b") + &event(1, "\"type\":\"sandbox_removed\"");
    fs::write(dir.path().join("audit.jsonl.1"), &older).unwrap();
    fs::write(dir.path().join("audit.jsonl"), &newer).unwrap();
    let stats = engine.stats().unwrap();
    assert_eq!((stats.executions_total, stats.executions_30d), (4, 3));
    assert_eq!((stats.sandboxes_created, stats.sandboxes_removed, stats.broken_lines), (1, 1, 1));
    let top: Vec<(&str, u64)> = stats.top_images.iter().map(|c| (c.name.as_str(), c.count)).collect();
    assert_eq!(top, [("b", 2), ("a", 1), ("old", 1)]);
    assert_eq!(stats.top_backends, [Count { name: "one".to_owned(), count: 4 }]);
    assert!(stats.first_event < stats.last_event, "{stats:?}");
    assert!(older.contains(stats.first_event.as_deref().unwrap()));
    assert!(newer.contains(stats.last_event.as_deref().unwrap()));
}
