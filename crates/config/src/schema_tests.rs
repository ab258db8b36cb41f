//! The schema and the documentation say what the table says, and the table is what is read.

use super::*;
use crate::Config;
use agentkernel_model::Kind;

const SCHEMA: &str = include_str!("../../../docs/agentkernel.schema.json");

#[test]
fn the_schema_in_docs_is_this_one() {
    // To write it anew: cargo run -p agentkernel-config --example schema > docs/agentkernel.schema.json
    assert!(SCHEMA == schema(), "docs/agentkernel.schema.json is not what schema() makes");
}

/// A text in which `key` has a value of a type that no key has, and all else is right.
fn wrong(key: &Key) -> String {
    let date = "1979-05-27";
    match (key.table, key.name) {
        ("files", "dest") => format!("[[files]]\ncontent = ''\ndest = {date}"),
        ("mounts", "source") => format!("[[mounts]]\ntarget = '/a'\nsource = {date}"),
        ("files" | "mounts", name) => format!("[[{}]]\n{name} = {date}", key.table),
        _ => format!("{key} = {date}"),
    }
}

#[test]
fn every_key_of_the_table_is_read() {
    for key in KEYS.iter().filter(|key| !key.is_refused()) {
        let error = Config::parse("f", &wrong(key)).unwrap_err();
        assert!(error.to_string().contains(&format!("'{key}' is of type")), "{key}: {error}");
        assert_eq!(error.kind(), Kind::Config);
    }
}

#[test]
fn every_refused_key_is_refused_with_its_place_and_its_need() {
    let mut seen = 0;
    for key in KEYS.iter().filter(|key| key.is_refused()) {
        for text in [format!("\n {key} = 1"), format!("\n {key} = {{}}"), format!("\n {key}.x = []")] {
            let error = Config::parse("f", &text).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            assert!(error.to_string().contains(&format!("'{key}' needs ")), "{error}");
            assert!(error.to_string().starts_with("f:2:"), "{error}");
            seen += 1;
        }
    }
    assert_eq!(seen, 3 * 10);
}

#[test]
fn every_choice_of_the_table_is_taken() {
    for key in &KEYS {
        if let Form::Choice(words) = key.form {
            for word in words {
                Config::parse("f", &format!("{key} = '{word}'")).unwrap();
            }
            assert!(Config::parse("f", &format!("{key} = 'nonsense'")).is_err(), "{key}");
        }
    }
}

#[test]
fn every_example_of_the_table_is_taken() {
    for key in KEYS.iter().filter(|key| !matches!(key.table, "files" | "mounts")) {
        let values: Vec<String> = match key.form {
            Form::Text(examples) => examples.iter().map(|example| format!("'{example}'")).collect(),
            Form::Texts(examples) => vec![format!("{examples:?}")],
            Form::Whole { least, most } => vec![least.to_string(), most.to_string()],
            _ => continue,
        };
        for value in values {
            let other = match key.name {
                "git_name" => "agent.git_email = 'a'\n",
                "git_email" => "agent.git_name = 'a'\n",
                _ => "",
            };
            Config::parse("f", &format!("{other}{key} = {value}")).unwrap();
        }
    }
}

#[test]
fn names_are_unique_and_tables_known() {
    for (index, key) in KEYS.iter().enumerate() {
        assert!(
            !KEYS[index + 1..].iter().any(|other| other.to_string() == key.to_string()),
            "{key} is there twice"
        );
        assert!(key.table.is_empty() || TABLES.iter().any(|table| table.name == key.table), "{key}");
        assert!(!key.doc.ends_with('.') && !key.doc.contains('|'), "{key}: {}", key.doc);
    }
}

#[test]
fn the_schema_knows_each_key_once() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for key in &KEYS {
        let at = match key.table {
            "" => format!("/properties/{}", key.name),
            "security.domains" => format!("/properties/security/properties/domains/properties/{}", key.name),
            "files" | "mounts" => format!("/properties/{}/items/properties/{}", key.table, key.name),
            table => format!("/properties/{table}/properties/{}", key.name),
        };
        let found = schema.pointer(&at).unwrap_or_else(|| panic!("{at} is not there"));
        assert_eq!(found.get("not").is_some(), key.is_refused(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["sandbox"]["additionalProperties"], false);
}

#[test]
fn the_reference_names_each_key() {
    let text = reference();
    for key in KEYS.iter().filter(|key| key.form != Form::Table) {
        assert!(text.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn the_page_of_the_configuration_has_the_reference() {
    let page = include_str!("../../../docs/configuration.md");
    assert!(
        page.contains(reference().trim()),
        "paste what 'cargo run -p agentkernel-config --example schema reference' prints"
    );
}
