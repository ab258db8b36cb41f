//! OpenCode: as a client of MCP, and with our plugin in it.

use super::packages::{modules, program};
use crate::{
    Test,
    http::{Address, Call, Event},
    world::{KEY, Server},
};
use agentkernel_testkit::{
    TestEnv,
    env::{Invocation, Live},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, PipeReader},
    os::unix::fs::symlink,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

pub(crate) const TESTS: &[Test] = &[
    ("opencode_lists_it_beside_the_plugin", lists_it),
    ("each_session_of_opencode_has_a_sandbox", each_session_has_a_sandbox),
];

/// What is not told for so long will not be.
const TOLD: Duration = Duration::from_secs(180);

fn opencode(env: &TestEnv, words: &[&str]) -> Invocation {
    program(env, "opencode-linux-x64/bin/opencode", words).env("OPENCODE_DISABLE_MODELS_FETCH", "1")
}

/// Our plugin in the project. OpenCode would fetch what plugins import, for the project and for the home: it is given what
/// that comes to, since nothing here leads to npm.
fn install(env: &TestEnv) {
    env.agentkernel(&["plugin", "install", "opencode"]).run().ok();
    env.directory("home/.config/opencode");
    let needs = json!({"dependencies": {"@opencode-ai/plugin": "^1.0.0"}});
    env.file("home/.config/opencode/package.json", needs.to_string());
    for place in ["project/.opencode", "home/.config/opencode"] {
        let lock = json!({"lockfileVersion": 3, "packages": {"": needs}});
        env.file(&format!("{place}/package-lock.json"), lock.to_string());
        symlink(modules(), env.directory(place).join("node_modules")).unwrap();
    }
}

fn lists_it() {
    let env = TestEnv::new();
    install(&env);
    // As docs/plugins.md has it.
    let settings =
        json!({"mcp": {"agentkernel": {"type": "local", "command": ["agentkernel", "mcp-server"]}}});
    env.file("project/opencode.json", settings.to_string());
    let list = opencode(&env, &["mcp", "list"]).run().ok();
    let said = list.out() + &list.err();
    let line = said.lines().find(|line| line.contains("✓ agentkernel"));
    assert!(line.is_some_and(|line| line.contains("connected")), "{list}");
    env.assert_nothing_left();
}

/// A server of OpenCode, which is what its window talks to.
struct OpenCode {
    live: Live,
    address: Address,
    _stdout: BufReader<PipeReader>,
}

impl OpenCode {
    fn start(env: &TestEnv, server: &Server) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let serve = opencode(env, &["serve", "--port", "0"]).env("AGENTKERNEL_BASE_URL", &server.url);
        let serve = serve.env("AGENTKERNEL_API_KEY", KEY).env("AGENTKERNEL_IMAGE", "host");
        let live = serve.stdout(writer).start();
        let mut stdout = BufReader::new(reader);
        let mut line = String::new();
        // It says where it listens on a line of its own.
        while !line.contains("listening on") {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it does not listen: {}", live.finish());
        }
        let port = line.trim_end().rsplit(':').next().unwrap().parse().unwrap();
        Self { live, address: Address::Port(port), _stdout: stdout }
    }

    fn ask(&self, method: &str, path: &str) -> Value {
        let call = Call::new(&self.address, method, path);
        let answer = if method == "POST" { call.json(&json!({})) } else { call }.send();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.value()
    }
}

/// The server's events from now on, as they come.
fn events(server: &Server) -> Receiver<Event> {
    let call = server.call("GET", "/events");
    let (send, receive) = channel();
    let (opened, open) = channel();
    std::thread::spawn(move || {
        let mut stream = call.open();
        let _unheard = opened.send(());
        while let Some(event) = stream.event() {
            let _unheard = send.send(event);
        }
    });
    open.recv().unwrap();
    receive
}

/// The sandbox that the next event `name` is about.
#[track_caller]
fn told(events: &Receiver<Event>, name: &str) -> String {
    let deadline = Instant::now() + TOLD;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left).unwrap_or_else(|e| panic!("no '{name}' was told: {e}"));
        if event.name == name {
            return event.data["sandbox"].as_str().unwrap().to_owned();
        }
    }
}

fn each_session_has_a_sandbox() {
    let env = TestEnv::new();
    install(&env);
    let server = Server::start(&env, &[]);
    let events = events(&server);
    let opencode = OpenCode::start(&env, &server);
    let session = opencode.ask("POST", "/session");
    let id = session["id"].as_str().unwrap();
    let sandbox = format!("opencode-{}", &id[id.len() - 8..]);
    assert_eq!(told(&events, "sandbox.started"), sandbox);
    let tools = opencode.ask("GET", "/experimental/tool/ids");
    for tool in ["sandbox_run", "sandbox_exec", "sandbox_list"] {
        assert!(tools.as_array().unwrap().contains(&json!(tool)), "{tools}");
    }
    assert_eq!(opencode.ask("DELETE", &format!("/session/{id}")), true);
    assert_eq!(told(&events, "sandbox.deleted"), sandbox);
    opencode.live.signal(Signal::TERM);
    drop(opencode.live.finish());
    server.end(&env);
}
