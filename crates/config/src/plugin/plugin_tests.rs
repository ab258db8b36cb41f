//! What becomes of files that are there, and that nothing of others is lost.

use super::*;
use agentkernel_model::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};

fn piece(path: &str) -> Piece {
    let all = Target::ALL.into_iter().flat_map(|target| {
        [Scope::Project, Scope::Global].into_iter().flat_map(move |scope| target.pieces(scope))
    });
    *all.into_iter().find(|piece| piece.path == path).unwrap()
}

fn merged(path: &str, existing: &str) -> (State, String) {
    let merge = piece(path).merge(path, Some(existing)).unwrap();
    (merge.state, merge.text)
}

/// Every file, in the state in which it is written where there was none.
fn fresh(piece: &Piece) -> String {
    let merge = piece.merge(piece.path, None).unwrap();
    assert_eq!(merge.state, State::Absent, "{}", piece.path);
    merge.text
}

#[test]
fn every_target_is_spelled_and_described_within_its_column() {
    for (target, name) in Target::ALL.into_iter().zip(Target::NAMES) {
        assert_eq!((target.to_string().as_str(), name.parse::<Target>().unwrap()), (name, target));
        assert!(target.description().len() < 35 && name.len() < 12, "{target}");
        for scope in [Scope::Project, Scope::Global] {
            let pieces = target.pieces(scope);
            assert!(pieces.iter().any(|piece| piece.whose == Whose::Own), "{target}");
            assert!(!target.next(scope).is_empty());
            for piece in pieces {
                assert!(!piece.path.starts_with('/') && !piece.path.contains(".."), "{}", piece.path);
            }
        }
    }
    assert_eq!("cladue".parse::<Target>().unwrap_err().hint(), Some("did you mean 'claude'?"));
}

#[test]
fn what_was_written_is_the_same_the_next_time() {
    for target in Target::ALL {
        for piece in target.pieces(Scope::Project).iter().chain(target.pieces(Scope::Global)) {
            let text = fresh(piece);
            assert!(text.ends_with('\n'), "{}: {text}", piece.path);
            for text in [text.clone(), text.replace('\n', "\r\n")] {
                let again = piece.merge(piece.path, Some(&text)).unwrap();
                assert_eq!(again.state, State::Same, "{}", piece.path);
            }
            let marked = format!("\u{feff}{text}");
            if !matches!(piece.body, Body::Whole { .. }) {
                assert_eq!(
                    piece.merge(piece.path, Some(&marked)).unwrap().state,
                    State::Same,
                    "{}",
                    piece.path
                );
            }
        }
    }
}

#[test]
fn a_new_entry_is_the_one_of_the_documentation() {
    let text = fresh(&piece(".mcp.json"));
    let expected = json!({ "mcpServers": { "agentkernel": { "command": "agentkernel", "args": ["mcp-server"], "env": {} } } });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    assert!(text.starts_with("{\n  \"mcpServers\": {\n    \"agentkernel\": {\n"), "{text}");
    let codex = fresh(&piece(".codex/config.toml"));
    assert_eq!(codex, "[mcp_servers.agentkernel]\ncommand = \"agentkernel\"\nargs = [\"mcp-server\"]\n");
    for blank in ["", " \n"] {
        assert_eq!(merged(".mcp.json", blank), (State::Absent, text.clone()));
    }
}

#[test]
fn servers_and_keys_of_others_stay_as_they_are_written() {
    let before = "{\n    // Mine.\n    \"theme\": \"dark\", /* as it is */\n    \"mcpServers\": {\n        \"z\": { \"command\": \"z\",  \"env\": {\"TOKEN\":\"t\"} },\n        \"a\": { \"url\": \"https://a.example.com\" }\n    },\n    \"b\": [1,2,\n 3]\n}\n";
    let (state, after) = merged(".gemini/settings.json", before);
    assert_eq!(state, State::Absent);
    let ours = "        \"a\": { \"url\": \"https://a.example.com\" },\n        \"agentkernel\": {\n            \"command\": \"agentkernel\",\n            \"args\": [\"mcp-server\"],\n            \"env\": {}\n        }\n";
    let expected = before.replace("        \"a\": { \"url\": \"https://a.example.com\" }\n", ours);
    assert_eq!(after, expected);
}

#[test]
fn tables_and_comments_of_others_stay_as_they_are_written() {
    let before = "# mine\nmodel = \"gpt-5\"   # as it is\n\n[mcp_servers.docs]\ncommand = 'npx'\nargs = [ 'a' ]\n\n[projects.\"/x\"]\ntrust_level = \"trusted\"\n# the end\n";
    let (state, after) = merged(".codex/config.toml", before);
    assert_eq!(state, State::Absent);
    let added = "[mcp_servers.agentkernel]\ncommand = \"agentkernel\"\nargs = [\"mcp-server\"]\n";
    assert!(after.contains(added), "{after}");
    assert_eq!(after.replacen(&format!("\n{added}"), "", 1), before, "only that was added:\n{after}");
    // Without a line end, and where all servers are in one line.
    let (_, after) = merged(".codex/config.toml", "model = \"x\"");
    assert_eq!(after, format!("model = \"x\"\n\n{added}"));
    let (_, after) = merged(".codex/config.toml", "mcp_servers = { docs = { command = \"npx\" } }\n");
    let read: toml::Table = after.parse().unwrap();
    assert_eq!(read["mcp_servers"]["docs"]["command"].as_str(), Some("npx"));
    assert_eq!(read["mcp_servers"]["agentkernel"]["command"].as_str(), Some("agentkernel"));
}

#[test]
fn settings_of_a_persons_own_beside_our_server_are_left_alone() {
    for (path, text) in [
        (
            ".mcp.json",
            r#"{"mcpServers":{"agentkernel":{"args":["mcp-server"],"type":"stdio","command":"agentkernel","env":{"X":"1"},"timeout":5}}}"#,
        ),
        (
            ".gemini/settings.json",
            r#"{"mcpServers":{"agentkernel":{"command":"agentkernel","args":["mcp-server"],"trust":true}}} // mine"#,
        ),
        (
            ".codex/config.toml",
            "mcp_servers.agentkernel = { args = ['mcp-server'], command = 'agentkernel', startup_timeout_sec = 9 }",
        ),
        (".opencode/package.json", r#"{"dependencies":{"@opencode-ai/plugin":"1.18.33"}}"#),
    ] {
        assert_eq!(merged(path, text), (State::Same, text.to_owned()), "{path}");
    }
}

#[test]
fn another_server_of_our_name_is_different_and_replaced_alone() {
    for entry in [
        r#"{"command":"other","args":["mcp-server"]}"#,
        r#"{"command":"agentkernel","args":["mcp-server","--x"]}"#,
        r#"{"command":"agentkernel","args":["mcp-server"],"type":"http","url":"http://x"}"#,
        r#""text""#,
        "null",
    ] {
        let text = format!("{{\"mcpServers\": {{\"agentkernel\": {entry}, \"z\": 1}}, \"y\": 2}}");
        let (state, after) = merged(".mcp.json", &text);
        assert_eq!(state, State::Different, "{entry}");
        let read: Value = serde_json::from_str(&after).unwrap();
        assert_eq!(read["mcpServers"]["agentkernel"]["env"], json!({}));
        assert_eq!((&read["mcpServers"]["z"], &read["y"]), (&json!(1), &json!(2)));
    }
    let (state, after) =
        merged(".codex/config.toml", "[mcp_servers.agentkernel]\ncommand = 'x'\nurl = 'y'\n[z]\na = 1\n");
    assert_eq!(state, State::Different);
    let read: toml::Table = after.parse().unwrap();
    assert_eq!(read["mcp_servers"]["agentkernel"]["args"][0].as_str(), Some("mcp-server"));
    assert!(
        read["mcp_servers"]["agentkernel"].get("url").is_none() && read["z"]["a"].as_integer() == Some(1)
    );
}

#[test]
fn broken_files_are_told_with_their_place() {
    for (path, text, told) in [
        (".mcp.json", "{\n  \"mcpServers\": {\n    \"a\" 1\n  }\n}", ".mcp.json:3:9: "),
        (".mcp.json", "{\n  // no\n}", ".mcp.json:2:3: "),
        (".mcp.json", "{\"a\": 1,}", ".mcp.json:1:8: "),
        (".mcp.json", "[]", ".mcp.json:1:1: it is no object"),
        (".mcp.json", "{\"mcpServers\": []}", ".mcp.json:1:16: 'mcpServers' is no object"),
        (
            ".mcp.json",
            "{\"mcpServers\": {},\n \"mcpServers\": {}}",
            ".mcp.json:2:2: 'mcpServers' is written twice",
        ),
        (".mcp.json", "{\"mcpServers\": {\"agentkernel\":1, \"agentkernel\":2}}", ".mcp.json:1:34: "),
        (".gemini/settings.json", "{\"a\": \u{1b}[2J", ".gemini/settings.json:1:7: "),
        (".codex/config.toml", "a = 1\nb = = 2\n", ".codex/config.toml:2:5: "),
        (".codex/config.toml", "mcp_servers = 1", ".codex/config.toml:1:15: 'mcp_servers' is no table"),
        (".codex/config.toml", "[[mcp_servers]]\na = 1", ".codex/config.toml:1:"),
    ] {
        let error = piece(path).merge(path, Some(text)).unwrap_err();
        assert_eq!(error.kind(), Kind::Config, "{text}: {error}");
        assert!(error.message().starts_with(told) && error.hint().is_some(), "{text}: {error}");
        assert!(!error.message().contains(char::is_control), "{text}: {error}");
    }
    let deep = format!("{{\"mcpServers\": {}", "[".repeat(100_000));
    assert_eq!(piece(".mcp.json").merge("x", Some(&deep)).unwrap_err().kind(), Kind::Config);
    let deep = format!("a = {}", "[".repeat(100_000));
    assert_eq!(piece(".codex/config.toml").merge("x", Some(&deep)).unwrap_err().kind(), Kind::Config);
}

#[test]
fn a_file_of_ours_is_outdated_until_somebody_changes_it() {
    let skill = piece(".claude/skills/agentkernel/SKILL.md");
    let old = whole::merge("An older text.", whole::Comment::Markdown, None).text;
    assert_eq!(skill.merge("x", Some(&old)).unwrap().state, State::Outdated);
    assert_eq!(skill.merge("x", Some(&old.replace('\n', "\r\n"))).unwrap().state, State::Outdated);
    let new = fresh(&skill);
    for changed in [
        old.replace("older", "other"),
        format!("{old}More.\n"),
        old.replace("sum ", "sum 0"),
        new.replacen("sandbox", "Sandbox", 1),
        "Mine.".to_owned(),
        String::new(),
    ] {
        assert_eq!(skill.merge("x", Some(&changed)).unwrap().state, State::Different, "{changed}");
    }
}

#[test]
fn a_target_is_judged_by_files_that_are_its_own() {
    let claude = Target::Claude.pieces(Scope::Project);
    for (states, status) in [
        ([State::Absent, State::Absent, State::Same], Status::NotInstalled),
        ([State::Same, State::Same, State::Same], Status::Installed),
        ([State::Same, State::Same, State::Absent], Status::Outdated),
        ([State::Same, State::Outdated, State::Same], Status::Outdated),
        ([State::Same, State::Absent, State::Different], Status::Different),
    ] {
        assert_eq!(Status::of(claude, &states), status, "{states:?}");
    }
    assert_eq!(Status::of(Target::Mcp.pieces(Scope::Project), &[State::Same]), Status::Installed);
}

#[test]
fn the_skill_and_the_command_begin_with_front_matter() {
    for (text, keys) in [
        (SKILL, &["name: agentkernel", "description: "][..]),
        (COMMAND, &["description: ", "argument-hint: "]),
    ] {
        let (front, body) = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
        for key in keys {
            assert!(front.lines().any(|line| line.starts_with(key)), "{key}");
        }
        assert!(!body.trim().is_empty());
    }
    // Claude Code lets a description have so many characters.
    let description = SKILL.lines().find_map(|line| line.strip_prefix("description: ")).unwrap();
    assert!(description.len() <= 1024, "{}", description.len());
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let names = prop_oneof![Just("mcpServers".to_owned()), Just("agentkernel".to_owned()), "[a-z]{1,4}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn all_that_is_not_ours_survives(top in prop::collection::btree_map("[a-z]{1,4}|mcpServers", json_value(), 0..5), pretty: bool) {
        let before = Value::Object(top.into_iter().collect());
        let text = if pretty { serde_json::to_string_pretty(&before) } else { serde_json::to_string(&before) }.unwrap();
        if let Ok(merge) = piece(".mcp.json").merge("x", Some(&text)) {
            let mut after: Value = serde_json::from_str(&merge.text).unwrap();
            let servers = after["mcpServers"].as_object_mut().unwrap();
            servers.remove("agentkernel");
            let mut before = before;
            if let Some(servers) = before.as_object_mut().unwrap().entry("mcpServers").or_insert_with(|| json!({})).as_object_mut() {
                servers.remove("agentkernel");
            }
            prop_assert_eq!(after, before);
        } else {
            prop_assert!(!before["mcpServers"].is_object() && before.get("mcpServers").is_some());
        }
    }

    #[test]
    fn no_text_makes_it_fall(text in ".{0,64}") {
        for target in Target::ALL {
            for piece in target.pieces(Scope::Project) {
                let _answered = piece.merge("x", Some(&text));
            }
        }
    }
}
