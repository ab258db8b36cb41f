//! The types that the plugin of OpenCode is written against, as a dependency. OpenCode installs its own version of them.

use super::{
    Merge, State,
    json::{self, Dialect},
    unmarked,
};
use crate::source::Source;
use agentkernel_model::Result;

const NAMES: [&str; 2] = ["dependencies", "@opencode-ai/plugin"];
const NEW: &str = "{\n  \"private\": true\n}\n";

/// # Errors
/// As [`json::find`].
pub(super) fn merge(name: &str, existing: Option<&str>) -> Result<Merge> {
    let there = existing.filter(|text| !unmarked(text).1.trim().is_empty());
    if let Some(text) = there {
        let found = json::find(Source { name, text: unmarked(text).1 }, NAMES, Dialect::Strict)?;
        if matches!(found, json::Found::Value(_)) {
            return Ok(Merge { state: State::Same, text: text.to_owned() });
        }
    }
    let text = json::put(there.unwrap_or(NEW), NAMES, "^1.0.0".into(), Dialect::Strict)?;
    Ok(Merge { state: State::Absent, text })
}
