use super::*;
use std::collections::BTreeSet;

#[test]
fn both_sets_of_names_are_there_and_none_twice() {
    let names: Vec<&str> = all().iter().map(|tool| tool.name.as_ref()).collect();
    for pair in [
        ["sandbox_run", "run_command"],
        ["sandbox_create", "create_sandbox"],
        ["sandbox_exec", "exec_in_sandbox"],
    ] {
        let [first, second] = pair.map(|name| all().iter().find(|tool| tool.name == name).unwrap());
        assert_eq!(first.input_schema, second.input_schema);
        assert_eq!(first.output_schema, second.output_schema);
        assert!(std::ptr::eq(find(pair[0]).unwrap(), find(pair[1]).unwrap()));
    }
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
}

#[test]
fn every_tool_says_what_it_takes_gives_and_does() {
    for tool in all() {
        let name = &tool.name;
        assert!(
            tool.title.is_some() && tool.description.as_ref().is_some_and(|text| text.len() > 40),
            "{name}"
        );
        let hints = tool.annotations.as_ref().unwrap();
        let all_said =
            [hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint];
        assert!(all_said.iter().all(Option::is_some), "{name}");
        assert_eq!(tool.input_schema["type"], "object", "{name}");
        assert_eq!(tool.input_schema["additionalProperties"], false, "{name} lets unknown arguments pass");
        assert_eq!(tool.output_schema.as_ref().unwrap()["type"], "object", "{name}");
    }
}

#[test]
fn what_cannot_be_done_is_not_listed() {
    for name in ["snapshot_take", "sandbox_fork", "sandbox_pause", "browser_create", "permission_grant"] {
        assert!(find(name).is_none(), "{name}");
    }
}

#[test]
fn an_argument_that_may_be_left_out_is_of_one_type() {
    for tool in all() {
        let text = serde_json::to_string(&tool.input_schema).unwrap();
        for word in ["null", "\"format\"", "$schema", "\\n"] {
            assert!(!text.contains(word), "{}: {word} in {text}", tool.name);
        }
    }
}
