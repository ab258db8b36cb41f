//! What a call of a tool is answered with.

use super::clip;
use agentkernel_model::Error;
use rmcp::model::{CallToolResult, ContentBlock};
use serde::Serialize;
use serde_json::Value;

/// Text for the agent, and the same for programs.
#[derive(Debug)]
pub(super) struct Answer {
    text: String,
    structured: Value,
    is_error: bool,
    is_cut: bool,
}

impl Answer {
    /// `structured` is as the tool's output schema has it.
    pub(super) fn new(text: impl Into<String>, structured: &impl Serialize) -> Self {
        // Only maps with keys that are no text fail, and we have none.
        let structured = serde_json::to_value(structured).unwrap_or_default();
        Self { text: text.into(), structured, is_error: false, is_cut: false }
    }

    /// As [`Answer::new`], with a text that was cut already, where it had to be.
    pub(super) fn of_command(text: String, structured: &impl Serialize) -> Self {
        Self { is_cut: true, ..Self::new(text, structured) }
    }

    /// The tool did its work, and what it worked on failed.
    pub(super) fn of_failure(self) -> Self {
        Self { is_error: true, ..self }
    }
}

impl From<Answer> for CallToolResult {
    fn from(answer: Answer) -> Self {
        let text = if answer.is_cut { answer.text.into() } else { clip::clipped(&answer.text) };
        let content = vec![ContentBlock::text(text)];
        let mut result = if answer.is_error { Self::error(content) } else { Self::success(content) };
        result.structured_content = Some(answer.structured);
        result
    }
}

/// `error` as the result that an agent reads: it can mend its call.
pub(super) fn of_error(error: &Error) -> CallToolResult {
    let mut text = format!("Error: {error}");
    if let Some(hint) = error.hint() {
        text.push_str("\nHint: ");
        text.push_str(hint);
    }
    CallToolResult::error(vec![ContentBlock::text(clip::clipped(&text))])
}
