//! One line of stdin: a message of the protocol, or what its sender is told instead.

use rmcp::{
    ErrorData, RoleServer,
    model::RequestId,
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
};
use serde_json::Value;

/// What a line is.
#[derive(Debug)]
pub enum Line {
    Message(Box<RxJsonRpcMessage<RoleServer>>),
    /// What is no message gets an answer, so that nobody waits for one.
    Wrong(Box<TxJsonRpcMessage<RoleServer>>),
    /// Nothing is said to what asks for no answer.
    Nothing,
}

/// Reads one line, without its end.
#[must_use]
pub fn parse(line: &[u8]) -> Line {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    if line.is_empty() {
        return Line::Nothing;
    }
    if let Ok(message) = serde_json::from_slice(line) {
        return Line::Message(Box::new(message));
    }
    let value: Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        Err(e) => return wrong(ErrorData::parse_error(format!("this is no JSON: {e}"), None), None),
    };
    let Value::Object(message) = &value else {
        let what = "a message is one JSON object, and one a line";
        return wrong(ErrorData::invalid_request(what, None), None);
    };
    // A notification, whatever is wrong with it, asks for no answer (JSON-RPC 2.0, section 4.1).
    if message.get("method").is_some_and(Value::is_string) && !message.contains_key("id") {
        return Line::Nothing;
    }
    let id = message.get("id").and_then(|id| serde_json::from_value::<RequestId>(id.clone()).ok());
    wrong(ErrorData::invalid_request("this is no message of JSON-RPC 2.0", None), id)
}

fn wrong(error: ErrorData, id: Option<RequestId>) -> Line {
    Line::Wrong(Box::new(TxJsonRpcMessage::<RoleServer>::error(error, id)))
}

/// What is said to a line that is longer than is read.
pub(super) fn too_long(limit: usize) -> TxJsonRpcMessage<RoleServer> {
    let what = format!("a message has at most {limit} bytes");
    TxJsonRpcMessage::<RoleServer>::error(ErrorData::invalid_request(what, None), None)
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
