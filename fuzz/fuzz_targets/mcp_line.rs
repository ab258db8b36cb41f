//! A line of a client of the MCP server: a message, an answer that is one line, or nothing where none is asked for.
#![no_main]

use agentkernel_server::mcp::{Line, parse};
use libfuzzer_sys::fuzz_target;

/// What an answer to what is no message may have besides its words: an id of the client's, and JSON around it.
const FRAME: usize = 1024;

fuzz_target!(|bytes: &[u8]| match parse(bytes) {
    Line::Message(_) | Line::Nothing => {}
    Line::Wrong(answer) => {
        let text = serde_json::to_string(&*answer).expect("an answer is JSON");
        assert!(!text.contains('\n'), "more than a line: {text}");
        // An escape makes six bytes of one.
        assert!(text.len() <= FRAME + 6 * bytes.len(), "{} bytes", text.len());
        assert!(text.contains("\"error\""), "{text}");
    }
});
