//! A client that says exactly what a test wants, and remembers everything that it hears.

use agentkernel_testkit::{
    TestEnv,
    env::{Finished, Live},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

/// How long an answer may take.
pub(super) const SOON: Duration = Duration::from_secs(120);

/// A server that runs, and its one client.
pub(super) struct Client {
    live: Live,
    heard: Receiver<Value>,
    /// What was heard and not asked for yet.
    waiting: Vec<Value>,
    next: i64,
}

impl Client {
    /// One that has said hello.
    pub(super) fn start(env: &TestEnv, arguments: &[&str]) -> Self {
        let mut client = Self::silent(env, arguments);
        let hello = client.hello("2025-06-18");
        assert_eq!(hello["protocolVersion"], "2025-06-18", "{hello}");
        client
    }

    /// One that has said nothing yet.
    pub(super) fn silent(env: &TestEnv, arguments: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let invocation = env.agentkernel(&[&["mcp-server"], arguments].concat());
        let live = invocation.stdin(std::process::Stdio::piped()).stdout(writer).deadline(4 * SOON).start();
        let (send, heard) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines() {
                // Whatever else is on stdout would end a real client.
                let line = line.unwrap();
                let message = serde_json::from_str(&line).unwrap_or_else(|e| panic!("no JSON ({e}): {line}"));
                let _unheard = send.send(message);
            }
        });
        Self { live, heard, waiting: Vec::new(), next: 1 }
    }

    pub(super) fn hello(&mut self, version: &str) -> Value {
        let about = json!({"name": "test", "version": "1"});
        let hello = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": about});
        let hello = self.ask("initialize", &hello);
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        hello["result"].clone()
    }

    /// One line as it is.
    pub(super) fn raw(&mut self, line: &[u8]) {
        let stdin = self.live.stdin.as_mut().unwrap();
        stdin.write_all(line).unwrap();
        stdin.write_all(b"\n").unwrap();
    }

    pub(super) fn send(&mut self, message: &Value) {
        self.raw(message.to_string().as_bytes());
    }

    /// Asks, and gives the request's number.
    pub(super) fn begin(&mut self, method: &str, params: &Value) -> i64 {
        let id = self.next;
        self.next += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Asks, and waits for the answer.
    #[track_caller]
    pub(super) fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.begin(method, params);
        self.answer(id)
    }

    /// The answer to the request `id`.
    #[track_caller]
    pub(super) fn answer(&mut self, id: i64) -> Value {
        self.wait("an answer", |message| message["id"] == id && message.get("method").is_none())
    }

    /// The first message of those that were not given yet that is `wanted`.
    #[track_caller]
    pub(super) fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(index) = self.waiting.iter().position(&wanted) {
                return self.waiting.remove(index);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(message) => self.waiting.push(message),
                Err(_) => panic!("{what} did not come; what came: {:?}", self.waiting),
            }
        }
    }

    /// What was heard and not asked for, once everything that was sent is answered.
    #[track_caller]
    pub(super) fn unasked(&mut self) -> Vec<Value> {
        let pong = self.ask("ping", &json!({}));
        assert_eq!(pong["result"], json!({}), "{pong}");
        std::mem::take(&mut self.waiting)
    }

    /// Calls a tool, and gives its result.
    #[track_caller]
    pub(super) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}));
        assert!(answer["result"].is_object(), "{tool}: {answer}");
        answer["result"].clone()
    }

    /// Calls a tool that succeeds: its text, and its structured result.
    #[track_caller]
    pub(super) fn ok(&mut self, tool: &str, arguments: &Value) -> (String, Value) {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], false, "{tool}: {result}");
        (text(&result), result["structuredContent"].clone())
    }

    /// Calls a tool that fails: its text.
    #[track_caller]
    pub(super) fn error(&mut self, tool: &str, arguments: &Value) -> String {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{tool}: {result}");
        text(&result)
    }

    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// Ends its input, and waits for its end.
    pub(super) fn finish(self) -> Finished {
        self.live.finish()
    }

    /// As [`Self::finish`], and sees that it ended well and left nothing.
    #[track_caller]
    pub(super) fn end(self, env: &TestEnv) {
        let finished = self.finish().ok();
        for line in finished.err().lines() {
            assert!(line.starts_with("note: "), "{finished}");
        }
        env.assert_nothing_left();
    }
}

/// The text of a result.
#[track_caller]
pub(super) fn text(result: &Value) -> String {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {result}")).to_owned()
}
