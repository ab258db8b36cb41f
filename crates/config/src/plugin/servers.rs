//! The entry in `mcpServers`, as Claude Code, Gemini CLI and most others read it.

pub(super) use super::json::Dialect;
use super::{ARGUMENTS, Merge, PROGRAM, SERVER, State, json, unmarked};
use crate::source::Source;
use agentkernel_model::Result;
use jsonc_parser::cst::CstInputValue;
use serde_json::Value;

const NAMES: [&str; 2] = ["mcpServers", SERVER];

/// # Errors
/// As [`json::find`].
pub(super) fn merge(name: &str, existing: Option<&str>, dialect: Dialect) -> Result<Merge> {
    let Some(existing) = existing.filter(|text| !unmarked(text).1.trim().is_empty()) else {
        return Ok(Merge { state: State::Absent, text: json::put("", NAMES, entry(), dialect)? });
    };
    let state = match json::find(Source { name, text: unmarked(existing).1 }, NAMES, dialect)? {
        json::Found::Nothing => State::Absent,
        json::Found::Value(value) if is_ours(&value) => State::Same,
        json::Found::Value(_) => State::Different,
    };
    let text = match state {
        State::Same => existing.to_owned(),
        _ => json::put(existing, NAMES, entry(), dialect)?,
    };
    Ok(Merge { state, text })
}

fn entry() -> CstInputValue {
    let arguments = ARGUMENTS.iter().map(|word| CstInputValue::from(*word)).collect();
    json::object([
        ("command", PROGRAM.into()),
        ("args", CstInputValue::Array(arguments)),
        ("env", json::object([])),
    ])
}

/// Whether an entry starts our server: what else stands in it, such as a variable or a time limit, is for whoever wrote it.
fn is_ours(entry: &Value) -> bool {
    let starts = entry["command"] == PROGRAM && entry["args"] == serde_json::json!(ARGUMENTS);
    let local = matches!(entry.get("type").map(Value::as_str), None | Some(Some("stdio")));
    let remote = ["url", "httpUrl"].iter().any(|key| entry.get(key).is_some());
    starts && local && !remote
}
