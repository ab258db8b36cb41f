//! The table in `mcp_servers` of Codex's `config.toml`.

use super::{ARGUMENTS, Merge, PROGRAM, SERVER, State};
use crate::source::Source;
use agentkernel_model::{Result, text::printable};
use toml_edit::{Array, Document, Item, Table, TableLike, value};

const SERVERS: &str = "mcp_servers";

/// # Errors
/// [`Kind::Config`](agentkernel_model::Kind::Config) for broken TOML, and where something else stands in place of a table.
pub(super) fn merge(name: &str, existing: Option<&str>) -> Result<Merge> {
    let text = existing.unwrap_or_default();
    let source = Source { name, text };
    let document = Document::parse(text).map_err(|error| {
        let what = printable(error.message().lines().next().unwrap_or("not TOML"));
        source.error(error.span().unwrap_or(0..0), what).with_hint("mend the file, or move it away")
    })?;
    let servers = document.get(SERVERS);
    if let Some(item) = servers.filter(|item| !item.is_table_like()) {
        return Err(source
            .error(item.span().unwrap_or(0..0), format!("'{SERVERS}' is no table"))
            .with_hint("mend the file, or move it away"));
    }
    let state = match servers.and_then(|servers| servers.get(SERVER)) {
        None => State::Absent,
        Some(item) if item.as_table_like().is_some_and(is_ours) => State::Same,
        Some(_) => State::Different,
    };
    if state == State::Same {
        return Ok(Merge { state, text: text.to_owned() });
    }
    let mut document = document.into_mut();
    let fresh = document.iter().next().is_none();
    let servers = document.entry(SERVERS).or_insert_with(|| {
        let mut table = Table::new();
        // Its own heading would say nothing.
        table.set_implicit(true);
        Item::Table(table)
    });
    if let Some(servers) = servers.as_table_like_mut() {
        servers.insert(SERVER, Item::Table(entry(fresh)));
    }
    Ok(Merge { state, text: document.to_string() })
}

fn entry(fresh: bool) -> Table {
    let mut table = Table::new();
    table.insert("command", value(PROGRAM));
    table.insert("args", value(Array::from_iter(ARGUMENTS)));
    if !fresh {
        table.decor_mut().set_prefix("\n");
    }
    table
}

/// Whether a table starts our server: what else stands in it, such as a time limit, is for whoever wrote it.
fn is_ours(table: &dyn TableLike) -> bool {
    let command = table.get("command").and_then(Item::as_str);
    let arguments = table.get("args").and_then(Item::as_array);
    let same =
        arguments.is_some_and(|words| words.iter().map(toml_edit::Value::as_str).eq(ARGUMENTS.map(Some)));
    command == Some(PROGRAM) && same && table.get("url").is_none()
}
