//! The table of keys for others: a JSON schema for editors, and the reference of the documentation.

use crate::key::{self, Form, Found, KEYS, Key, Shape, TABLES, Table};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Where the schema can be fetched.
pub(crate) const URL: &str =
    "https://raw.githubusercontent.com/thrashr888/agentkernel/main/docs/agentkernel.schema.json";

/// The JSON schema (2020-12) of `agentkernel.toml`, with a line feed at its end: `docs/agentkernel.schema.json`.
#[must_use]
pub fn schema() -> String {
    let mut properties = Map::new();
    for key in key::of_table("") {
        properties.insert(key.name.to_owned(), of_key(key));
    }
    for table in TABLES.iter().filter(|table| table.shape != Shape::Nested) {
        properties.insert(table.name.to_owned(), of_table(table));
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": URL,
        "title": "agentkernel.toml",
        "description": "The sandbox of a project: https://github.com/thrashr888/agentkernel",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    format!("{schema:#}\n")
}

fn of_table(table: &Table) -> Value {
    let Table { name, shape, doc } = table;
    match shape {
        Shape::Unused => json!({ "type": "object", "description": unused(doc) }),
        Shape::UnusedList => {
            json!({ "type": "array", "items": { "type": "object" }, "description": unused(doc) })
        }
        Shape::Keys | Shape::Nested => with_description(keys_of(name), doc),
        Shape::List => json!({ "type": "array", "items": keys_of(name), "description": doc }),
    }
}

fn unused(doc: &str) -> String {
    format!("{doc}. Accepted, and without effect in this version")
}

fn with_description(mut schema: Value, doc: &str) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".to_owned(), doc.into());
    }
    schema
}

fn keys_of(table: &str) -> Value {
    let properties: Map<String, Value> =
        key::of_table(table).map(|key| (key.name.to_owned(), of_key(key))).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let required = match table {
        "mounts" => json!(["source", "target"]),
        "files" => json!(["dest"]),
        _ => return schema,
    };
    if let Some(object) = schema.as_object_mut() {
        object.insert("required".to_owned(), required);
    }
    schema
}

fn of_key(key: &Key) -> Value {
    let described = match key.form {
        Form::Refused(needs) => format!("{}. Refused: needs {needs}", key.doc),
        _ => key.doc.to_owned(),
    };
    let schema = match key.form {
        Form::Text(examples) if key.table == "sandbox" && key.name == "user" => {
            json!({ "type": ["string", "integer"], "examples": examples })
        }
        Form::Text(examples) => json!({ "type": "string", "examples": examples }),
        Form::Choice(words) => json!({ "type": "string", "enum": words }),
        Form::Boolean => json!({ "type": "boolean" }),
        Form::Whole { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Form::Cpus => json!({ "type": "number", "minimum": 0.01, "maximum": 1024, "examples": [2, 0.5] }),
        Form::Duration => {
            json!({ "type": ["string", "integer"], "examples": ["1h", "2h30m", "3d"], "minimum": 0 })
        }
        Form::Ports => json!({
            "type": "array",
            "items": { "type": ["string", "integer"], "minimum": 1, "maximum": 65535 },
            "examples": [["8080:80", 3000]],
        }),
        Form::Texts(examples) => {
            json!({ "type": "array", "items": { "type": "string" }, "examples": [examples] })
        }
        Form::Map => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Form::Secrets => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$" },
            "additionalProperties": { "anyOf": [
                { "type": "string", "examples": ["api.example.com"] },
                {
                    "type": "object",
                    "properties": { "host": { "type": "string" }, "header": { "type": "string" } },
                    "additionalProperties": false,
                },
            ] },
        }),
        Form::Table => keys_of(&key.to_string()),
        // Nothing is valid: editors underline it and show why.
        Form::Refused(_) => json!({ "not": {} }),
    };
    with_description(schema, &described)
}

/// Every key as a table in Markdown, for the page of the documentation about the configuration.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from("| key | value | when the file was only found | |\n|---|---|---|---|\n");
    for key in KEYS.iter().filter(|key| !key.is_refused() && key.form != Form::Table) {
        let _ = writeln!(out, "| `{key}` | {} | {} | {} |", values(key.form), found(key.found), key.doc);
    }
    out.push_str("\nRefused, because this version cannot do what they say:\n\n| key | needs |\n|---|---|\n");
    for key in &KEYS {
        if let Form::Refused(needs) = key.form {
            let _ = writeln!(out, "| `{key}` | {needs} |");
        }
    }
    out.push_str("\nAccepted, and without effect in this version:\n\n| table | configures |\n|---|---|\n");
    for table in TABLES.iter().filter(|t| matches!(t.shape, Shape::Unused | Shape::UnusedList)) {
        let _ = writeln!(out, "| `{}` | {} |", table.name, table.doc);
    }
    out
}

fn values(form: Form) -> String {
    match form {
        Form::Text(examples) => format!("text, such as `\"{}\"`", examples.first().unwrap_or(&"")),
        Form::Choice(words) => {
            words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
        }
        Form::Boolean => "`true`, `false`".to_owned(),
        Form::Whole { least, most } => format!("{least} to {most}"),
        Form::Cpus => "0.01 to 1024".to_owned(),
        Form::Duration => "duration, such as `\"1h\"`".to_owned(),
        Form::Ports => "list, such as `[\"8080:80\", 3000]`".to_owned(),
        Form::Texts(examples) => format!("list, such as `[\"{}\"]`", examples.first().unwrap_or(&"")),
        Form::Map => "table of texts".to_owned(),
        Form::Secrets => "table of hosts, or of `{ host, header }`".to_owned(),
        Form::Table | Form::Refused(_) => String::new(),
    }
}

const fn found(found: Found) -> &'static str {
    match found {
        Found::Free => "applied",
        Found::Tighter => "applied when it is tighter",
        Found::Project => "applied for places that are not `/workspace`, with sources inside the project",
        Found::Asked => "applied with `--build`, for paths inside the project",
        Found::Never => "not applied",
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
