//! Traces, as a collector gets them that decodes them with the official messages.

use super::{driver, http::Call, workspace, world::Server};
use agentkernel_testkit::{
    TestEnv,
    env::{Invocation, Live},
    inside::{beside, is_first, memory},
    origin::{Authority, Certificate},
};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, PipeReader},
    net::TcpListener,
    process::Stdio,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// In every place where a caller says something that is no collector's to know.
const PRIVATE: &str = "sk-nobody-elses";
/// For the collector alone.
const KEY: &str = "sk-of-the-collector";

/// A collector that runs. What it was sent comes line by line.
struct Collector {
    /// Not that of what is traced: it outlives that.
    _env: TestEnv,
    live: Option<Live>,
    lines: BufReader<PipeReader>,
    endpoint: String,
}

impl Collector {
    fn start(arguments: &[&str]) -> Self {
        let env = TestEnv::new();
        let script = driver(&env, "collector.py");
        let (reader, writer) = std::io::pipe().unwrap();
        let words = [&["-I", script.to_str().unwrap()], arguments].concat();
        let program = workspace().join("target/python/bin/python");
        let live = env.program(&program, &words).stdout(writer).start();
        let mut collector =
            Self { _env: env, live: Some(live), lines: BufReader::new(reader), endpoint: String::new() };
        collector.endpoint = format!("http://127.0.0.1:{}", collector.line());
        collector
    }

    /// One that speaks TLS, as 127.0.0.1.
    fn secured(authority: &Authority, certificate: Certificate) -> Self {
        let env = TestEnv::new();
        let (chain, key) = authority.pair(&["127.0.0.1"], certificate).unwrap();
        let (chain, key) = (env.file("chain.pem", chain), env.file("key.pem", key));
        let mut collector = Self::start(&["tls", chain.to_str().unwrap(), key.to_str().unwrap()]);
        collector.endpoint = collector.endpoint.replacen("http:", "https:", 1);
        collector
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the collector ended");
        line.trim_end().to_owned()
    }

    /// Everything up to the span of that name that has no parent here, in the order of its ends.
    fn until(&mut self, root: &str) -> Spans {
        let mut spans = Vec::new();
        loop {
            let line = self.line();
            assert!(!line.contains(PRIVATE), "{line}");
            let span: Value = serde_json::from_str(&line).unwrap();
            let is_last = span["name"] == root;
            spans.push(span);
            if is_last {
                return Spans(spans);
            }
        }
    }

    fn variables(&self) -> [(&str, &str); 4] {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=sk-of%2Dthe-collector"),
            ("OTEL_SERVICE_NAME", "of the test"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb,service.name=another"),
        ]
    }

    fn end(mut self) {
        let live = self.live.take().unwrap();
        live.signal(rustix::process::Signal::KILL);
        live.finish();
    }
}

struct Spans(Vec<Value>);

impl Spans {
    #[track_caller]
    fn one(&self, name: &str) -> &Value {
        let found: Vec<_> = self.0.iter().filter(|span| span["name"] == name).collect();
        assert_eq!(found.len(), 1, "{name} in {:#?}", self.names());
        found[0]
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|span| span["name"].as_str().unwrap()).collect()
    }

    /// Each of `names` is one, right below `parent`.
    #[track_caller]
    fn below(&self, parent: &str, names: &[&str]) {
        let parent = &self.one(parent)["span"];
        names.iter().for_each(|name| assert_eq!(&self.one(name)["parent"], parent, "{name}"));
    }

    /// All are of the trace, have ids of their own, and lie within the span above them as far as that is here.
    #[track_caller]
    fn are_whole(&self, trace: &str) {
        let ids: HashSet<&str> = self.0.iter().map(|span| span["span"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), self.0.len());
        for span in &self.0 {
            assert_eq!(span["trace"], trace, "{span}");
            let parent = span["parent"].as_str().unwrap();
            assert!(["", CALLER].contains(&parent) || ids.contains(parent), "nobody's: {span}");
            assert!(
                span["start"].as_u64() > Some(0) && span["end"].as_u64() >= span["start"].as_u64(),
                "{span}"
            );
        }
    }
}

fn with(mut invocation: Invocation, variables: &[(&str, &str)]) -> Invocation {
    for (key, value) in variables {
        invocation = invocation.env(key, value);
    }
    invocation
}

/// A run that says private things in every place there is, and fails with 3.
fn run(env: &TestEnv) -> Invocation {
    let script = format!("echo $TRACEPARENT; : {PRIVATE}; exit 3");
    let variable = format!("PRIVATE={PRIVATE}");
    env.agentkernel(&["run", "--image", "host", "--env", &variable, "--", "sh", "-c", &script])
}

#[test]
fn a_run_is_a_span_for_each_of_its_steps() {
    let env = TestEnv::new();
    let mut collector = Collector::start(&[]);
    let ran = with(run(&env), &collector.variables()).env("TRACEPARENT", PARENT).run().code(3);
    // An ordinary user is told which limits do not hold here, and nobody anything about traces.
    assert!(ran.err().lines().all(|line| line.starts_with("note: not enforced")), "{}", ran.err());
    let spans = collector.until("agentkernel run");
    spans.are_whole(TRACE);
    assert_eq!(spans.one("agentkernel run")["parent"], CALLER);
    spans.below("agentkernel run", &["prepare", "run"]);
    spans.below("prepare", &["configuration", "image"]);
    spans.below("run", &["select", "rootfs", "pool", "start", "command"]);
    spans.below("start", &["isolate"]);
    spans.below("command", &["clean up"]);
    let span = spans.one("run");
    // The command is a part of the run.
    assert_eq!(ran.out(), format!("00-{TRACE}-{}-01\n", span["span"].as_str().unwrap()));
    assert_eq!(span["attributes"], json!({"agentkernel.backend": "native", "process.exit.code": 3}));
    assert_eq!((&span["kind"], &span["status"]), (&json!(1), &json!(0)));
    assert_eq!(span["path"], "/v1/traces");
    assert_eq!(span["type"], "application/x-protobuf");
    assert_eq!(span["key"], KEY);
    assert_eq!(span["scope"], "agentkernel");
    assert_eq!(span["resource"]["service.name"], "of the test");
    assert_eq!(span["resource"]["team"], "a,b");
    collector.end();
    env.assert_nothing_left();
}

#[test]
fn a_run_that_fails_says_of_which_kind_that_is() {
    let env = TestEnv::new();
    let mut collector = Collector::start(&[]);
    let failing = env.agentkernel(&["run", "--image", "host", "--", "/no/such/program"]);
    with(failing, &collector.variables()).run().code(127);
    let spans = collector.until("agentkernel run");
    let root = spans.one("agentkernel run");
    spans.are_whole(root["trace"].as_str().unwrap());
    assert_eq!((&root["parent"], &root["status"]), (&json!(""), &json!(2)));
    assert_eq!(root["attributes"], json!({"error.type": "command_not_found"}));
    spans.below("start", &["isolate"]);
    collector.end();
}

#[test]
fn what_is_not_sampled_is_not_sent_and_the_command_hears_of_it() {
    let env = TestEnv::new();
    let mut collector = Collector::start(&[]);
    let variables = collector.variables().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let variables: Vec<_> = variables.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let never = with(run(&env), &variables).env("OTEL_TRACES_SAMPLER", "always_off").run().code(3);
    assert!(never.out().ends_with("-00\n"), "{}", never.out());
    let off = with(run(&env), &variables).env("OTEL_SDK_DISABLED", "true").run().code(3);
    assert_eq!(off.out(), "\n");
    // Had one of those been sent, it would come before this.
    let root = "agentkernel exec";
    with(env.agentkernel(&["exec", "nobody", "--", "true"]), &variables).run().our_failure();
    let spans = collector.until(root);
    assert!(!spans.names().contains(&"agentkernel run"), "{:?}", spans.names());
    let root = spans.one(root);
    assert_eq!((&root["status"], &root["attributes"]["error.type"]), (&json!(2), &json!("not_found")));
    collector.end();
}

#[test]
fn a_request_is_the_parent_of_what_runners_and_keepers_do() {
    let env = TestEnv::new();
    let mut collector = Collector::start(&[]);
    let server = Server::with_variables(&env, &[], &collector.variables());
    let asked = |method: &str, path: &str, body: &Value| {
        server.call(method, path).header("traceparent", PARENT).json(body).send()
    };
    let script = format!("echo $TRACEPARENT; : {PRIVATE}");
    let body = json!({"command": ["sh", "-c", script], "image": "host", "env": [format!("P={PRIVATE}")]});
    let ran = asked("POST", "/run", &body).data(200);
    let spans = collector.until("POST /run");
    spans.are_whole(TRACE);
    let request = spans.one("POST /run");
    assert_eq!((&request["parent"], &request["kind"]), (&json!(CALLER), &json!(2)));
    assert_eq!(request["attributes"]["http.response.status_code"], 200);
    assert_eq!(request["key"], KEY);
    spans.below("POST /run", &["prepare", "run"]);
    // Of another process.
    spans.below("run", &["runner"]);
    spans.below("runner", &["select", "rootfs", "start", "command"]);
    let inside = format!("00-{TRACE}-{}-01\n", spans.one("run")["span"].as_str().unwrap());
    assert_eq!(ran["stdout"], inside);

    asked("POST", "/sandboxes", &json!({"name": "box", "image": "host"})).data(201);
    let spans = collector.until("POST /sandboxes");
    spans.are_whole(TRACE);
    spans.below("start", &["keeper"]);
    spans.below("keeper", &["rootfs", "isolate", "furnish"]);
    let ran = asked("POST", "/sandboxes/box/exec", &json!({"command": ["sh", "-c", "echo $TRACEPARENT"]}));
    let spans = collector.until("POST /sandboxes/{name}/exec");
    spans.are_whole(TRACE);
    spans.below("exec", &["find", "connect", "start", "command"]);
    let inside = format!("00-{TRACE}-{}-01\n", spans.one("exec")["span"].as_str().unwrap());
    assert_eq!(ran.data(200)["stdout"], inside);
    // A run that a runner could not begin says so, and where.
    asked("POST", "/run", &json!({"command": ["/no/such"], "image": "host"}));
    let spans = collector.until("POST /run");
    spans.are_whole(TRACE);
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
    collector.end();
}

#[test]
fn the_last_spans_of_a_server_are_sent_when_it_ends() {
    let env = TestEnv::new();
    let mut collector = Collector::start(&[]);
    let server = Server::with_variables(&env, &[], &collector.variables());
    server.get("/status").data(200);
    server.end(&env);
    collector.until("GET /status");
    collector.end();
}

#[test]
fn whom_a_server_does_not_let_in_makes_no_spans() {
    let env = TestEnv::new();
    let mut collector = Collector::start(&[]);
    let server = Server::with_variables(&env, &[], &collector.variables());
    let stranger = |path| Call::new(&server.address, "GET", path).header("traceparent", PARENT);
    stranger("/status").send().fails(401, &["Authorization"]);
    stranger("/status").key("sk-wrong").send().fails(401, &["wrong"]);
    stranger("/health").send().data(200);
    stranger("/").send();
    let rebound = server.call("GET", "/status").without("Host").header("Host", "evil.test");
    rebound.header("traceparent", PARENT).send().fails(403, &["Host"]);
    // Had one of those been sent, it would come before this.
    server.get("/status").data(200);
    let spans = collector.until("GET /status");
    assert_eq!(spans.names(), ["GET /status"]);
    let span = spans.one("GET /status");
    assert_eq!(
        (&span["parent"], &span["attributes"]["http.response.status_code"]),
        (&json!(""), &json!(200))
    );
    assert_ne!(span["trace"], TRACE);
    server.end(&env);
    collector.end();
}

/// Process 1 is a fork of what was started with them.
#[test]
fn the_headers_of_the_collector_are_not_in_the_sandbox() {
    const MARKER: &str = "of-the-headers-of-a-collector";
    let env = TestEnv::new();
    let mut collector = Collector::start(&[]);
    let look = "for of in environ cmdline mem maps; do head -c 1 /proc/1/$of && echo /proc/1/$of; done; cat /proc/*/environ; echo; echo there; cat";
    let run = env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", look, MARKER]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut live = with(run, &collector.variables()).stdin(Stdio::piped()).stdout(writer).start();
    let mut said = String::new();
    let mut lines = BufReader::new(reader);
    while !said.ends_with("there\n") {
        assert_ne!(lines.read_line(&mut said).unwrap(), 0, "{said}");
    }
    assert!(!said.contains("/proc/1/") && !said.contains("the-collector"), "{said}");
    assert!(said.contains("TRACEPARENT="), "its own can be read: {said}");
    // Only root of the machine can look into its memory.
    if env.is_root() {
        let first = beside(MARKER).unwrap().into_iter().find(|pid| is_first(*pid)).unwrap();
        let needles = ["sk-of%2Dthe-collector", KEY].map(|text| text.as_bytes().to_vec());
        let found = memory(first, &needles, MARKER.as_bytes()).unwrap();
        assert!(found.known && !found.needle, "{found:?}");
        assert!(memory(live.pid(), &needles, b"").unwrap().needle, "the search is blind");
    }
    drop(live.stdin.take());
    live.finish().ok();
    collector.until("agentkernel run");
    collector.end();
}

#[test]
fn a_collector_with_tls_has_to_be_believed() {
    let (env, authority) = (TestEnv::new(), Authority::new("of the collector").unwrap());
    let believed = env.file("authority.pem", authority.pem());
    let believed = ("SSL_CERT_FILE", believed.to_str().unwrap());
    let mut collector = Collector::secured(&authority, Certificate::Right);
    // This machine does not know the authority.
    not_sent(with(run(&env), &collector.variables()));
    with(run(&env), &collector.variables())
        .env(believed.0, believed.1)
        .env("TRACEPARENT", PARENT)
        .run()
        .code(3);
    // Of what was not sent, nothing came before.
    let spans = collector.until("agentkernel run");
    spans.are_whole(TRACE);
    assert_eq!(spans.one("run")["key"], KEY);
    let server = Server::with_variables(&env, &[], &[&collector.variables()[..], &[believed]].concat());
    server.get("/status").data(200);
    server.end(&env);
    assert_eq!(collector.until("GET /status").one("GET /status")["key"], KEY);
    collector.end();
    for certificate in [Certificate::Expired, Certificate::OtherName, Certificate::Stranger] {
        let collector = Collector::secured(&authority, certificate);
        not_sent(with(run(&env), &collector.variables()).env(believed.0, believed.1));
        collector.end();
    }
    env.assert_nothing_left();
}

/// The run is as it is without traces, and why they are not sent is said.
#[track_caller]
fn not_sent(run: Invocation) {
    let ran = run.run().code(3);
    assert!(ran.err().contains("traces were not sent: https://127.0.0.1:"), "{}", ran.err());
    assert!(ran.err().contains("no connection") && !ran.err().contains("sk-"), "{}", ran.err());
}

#[test]
fn a_collector_that_is_not_there_or_hangs_changes_no_run() {
    let env = TestEnv::new();
    let mut hanging = Collector::start(&["hang"]);
    // A port on which nobody listens.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for endpoint in [hanging.endpoint.clone(), format!("http://{nobody}")] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=sk-of-the-collector"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
        ];
        let ran = with(run(&env), &variables).run().code(3);
        assert!(ran.out().starts_with("00-"), "{}", ran.out());
        assert!(ran.err().contains("traces were not sent") && !ran.err().contains("sk-"), "{}", ran.err());
        let server = Server::with_variables(&env, &[], &variables);
        assert_eq!(server.run(&["echo", "served"]).data(200)["stdout"], "served\n");
        server.end(&env);
    }
    assert_eq!(serde_json::from_str::<Value>(&hanging.line()).unwrap(), json!({"hangs": "/v1/traces"}));
    hanging.end();
    env.assert_nothing_left();
}

#[test]
fn what_is_wrong_with_the_variables_is_said_and_fails_no_run() {
    let env = TestEnv::new();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let wrong = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "sk-1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "sk-1"),
    ];
    for (name, value) in wrong {
        let ran = with(run(&env), &[endpoint, (name, value)]).run().code(3);
        assert!(ran.err().contains(name) && !ran.err().contains("sk-1"), "{}", ran.err());
    }
}
