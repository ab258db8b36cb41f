use super::*;
use serde_json::Value;

fn parsed(event: &Event<'_>) -> Value {
    let line = line("2026-11-24T09:12:55.042Z", "someone", event).unwrap();
    assert!(line.len() <= MAX_LINE, "{} bytes", line.len());
    assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
    serde_json::from_slice(&line).unwrap()
}

fn executed(words: &[String]) -> Value {
    let (command, command_cut) = super::words(words);
    parsed(&Event::CommandExecuted {
        sandbox: Some("box"),
        command: &command,
        command_cut,
        exit_code: Some(3),
        backend: None,
        image: Some("i".repeat(256)),
        duration_ms: u64::MAX,
    })
}

#[test]
fn an_event_has_the_fields_that_were_promised() {
    let event = executed(&["npm".to_owned(), "test".to_owned()]);
    assert_eq!(event["timestamp"], "2026-11-24T09:12:55.042Z");
    assert_eq!(event["pid"], std::process::id());
    assert_eq!(event["user"], "someone");
    assert_eq!(event["type"], "command_executed");
    assert_eq!(event["sandbox"], "box");
    assert_eq!(event["command"], serde_json::json!(["npm", "test"]));
    assert_eq!(event["exit_code"], 3);
    assert_eq!(event.get("command_cut"), None);
    assert_eq!(event.get("backend"), None);
}

#[test]
fn a_long_command_is_cut_and_marked() {
    let long = ["\u{1}".repeat(100_000), "é".repeat(100_000), "\"\\".repeat(50_000), "x".repeat(100_000)];
    for word in long {
        let event = executed(&["echo".to_owned(), word.clone(), "last".to_owned()]);
        assert_eq!(event["command_cut"], true);
        let words = event["command"].as_array().unwrap();
        assert_eq!(words.len(), 2);
        let kept = words[1].as_str().unwrap();
        assert!(kept.ends_with('…') && word.starts_with(kept.trim_end_matches('…')), "{kept}");
    }
    let many = vec!["w".to_owned(); 100_000];
    let event = executed(&many);
    assert_eq!(event["command_cut"], true);
    assert!(event["command"].as_array().unwrap().len() > 100);
}

#[test]
fn what_fits_is_whole() {
    let (words, is_cut) = words(&["a".repeat(1000), String::new(), "b".repeat(1000)]);
    assert!(!is_cut);
    assert_eq!(words.iter().map(String::len).collect::<Vec<_>>(), [1000, 0, 1000]);
    assert_eq!(cut("abc…", 6), "abc…");
    assert_eq!(cut("abc…", 5), "ab…");
}

#[test]
fn the_longest_of_everything_fits() {
    let many: BTreeMap<String, String> = (0..1000).map(|n| (format!("{n:063}"), "v".repeat(255))).collect();
    let event = parsed(&Event::SandboxCreated {
        name: &"n".repeat(63),
        image: &"i".repeat(256),
        backend: "backend",
        labels: labels(&many),
    });
    assert_eq!(event["labels"].as_object().unwrap().len(), 3);
    parsed(&Event::PolicyViolation {
        sandbox: Some(&"n".repeat(63)),
        policy: "unsupported",
        details: cut(&"\u{2}".repeat(9000), 1024),
    });
}
