//! Network rules on the command line and in configuration, changed while a sandbox runs, and the log of connections.

use agentkernel_testkit::TestEnv;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

/// Connects to a private address, which nobody lets out without a rule, and waits for the end.
const PRIVATE: &str = "exec 3<>/dev/tcp/10.1.1.1/80; cat <&3";

fn rules(run: &Value) -> Vec<String> {
    let rules = run["spec"]["policy"]["network"]["rules"]["rules"].as_array().cloned().unwrap_or_default();
    rules.iter().map(|rule| rule.as_str().unwrap_or_default().to_owned()).collect()
}

fn dry_run(env: &TestEnv, flags: &[&str]) -> Value {
    let run = env.agentkernel(&["run", "--dry-run", "--json", "-i", "host"]).args(flags);
    run.args(["--", "true"]).run().ok().json()
}

/// Every line of the log of connections of the only sandbox, or of those without a name.
fn lines(path: PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(&path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn directory(env: &TestEnv) -> PathBuf {
    let mut all = fs::read_dir(env.data().join("sandboxes")).unwrap();
    all.next().unwrap().unwrap().path()
}

fn make(env: &TestEnv, flags: &[&str]) {
    env.agentkernel(&["sandbox", "create", "box", "--image", "host"]).args(flags).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
}

#[test]
fn flags_come_in_their_order_before_the_configuration() {
    let env = TestEnv::new();
    env.file(
        "project/agentkernel.toml",
        "[network]\nrules = ['deny c.example.com']\n[security.domains]\nallow = ['*.example.com']\nblock = ['d.example.com']",
    );
    let flags = ["--deny", "a.example.com", "--allow", "*.example.com:443", "--deny", "public"];
    let run = dry_run(&env, &flags);
    assert_eq!(
        rules(&run),
        [
            "deny a.example.com",
            "allow *.example.com:443",
            "deny public",
            "deny d.example.com",
            "deny c.example.com",
            "allow *.example.com"
        ]
    );
    assert_eq!(run["notes"], json!([]));
    // Where the person takes the network away, the file's rules are about nothing.
    for flags in [&["--no-network"][..], &["--profile", "restrictive"]] {
        assert_eq!(dry_run(&env, flags)["spec"]["policy"]["network"], "off");
    }
}

#[test]
fn a_found_file_opens_nothing_that_a_person_keeps_closed() {
    let env = TestEnv::new();
    let inside = ["10.0.0.0/8", "127.0.0.1", "93.184.215.14", "private", "host:22", "metadata"];
    for target in inside {
        for text in
            [format!("network.rules = ['allow {target}']"), format!("security.domains.allow = ['{target}']")]
        {
            env.file("project/agentkernel.toml", &text);
            let run = dry_run(&env, &[]);
            assert_eq!(rules(&run), [""; 0], "{text}");
            assert!(run["notes"].to_string().contains("agentkernel trust"), "{text}: {}", run["notes"]);
        }
    }
    env.file("project/agentkernel.toml", "[network]\nrules = ['allow a.example.com', 'deny b.example.com']");
    assert_eq!(rules(&dry_run(&env, &[])), ["allow a.example.com", "deny b.example.com"]);
    let listed = dry_run(&env, &["--only-listed", "--allow", "c.example.com"]);
    assert_eq!(rules(&listed), ["allow c.example.com", "deny b.example.com"]);
    env.file("named.toml", "[security.domains]\nallowlist_only = true\nallow = ['c.example.com']");
    let template = dry_run(&env, &["--template", "../named.toml"]);
    assert_eq!(
        rules(&template),
        ["deny b.example.com", "c.example.com"].map(|text| match text {
            "c.example.com" => "allow c.example.com".to_owned(),
            other => other.to_owned(),
        })
    );
    env.file("project/agentkernel.toml", "[security.domains]\nallowlist_only = true");
    let tighter = dry_run(&env, &[]);
    assert_eq!(tighter["spec"]["policy"]["network"]["rules"]["otherwise"], "deny");
}

#[test]
fn rules_without_a_network_and_rules_that_are_none_are_refused() {
    let env = TestEnv::new();
    let refused = |flags: &[&str], words: &[&str]| {
        let run = env.agentkernel(&["run", "-i", "host"]).args(flags).args(["--", "true"]).run();
        run.code(125).error_with_hint(words);
    };
    refused(&["--no-network", "--allow", "a.example.com"], &["network rules", "has none"]);
    refused(&["--profile", "restrictive", "--allow", "a.example.com"], &["network rules"]);
    refused(&["--allow", "GET 10.0.0.0/8"], &["names no host"]);
    refused(&["--deny", "a.example.com:0"], &["not a port"]);
    refused(&["--allow", "pubic"], &["'pubic' is nothing"]);
    // What takes away is fine where there is nothing.
    env.agentkernel(&["run", "-i", "host", "--no-network", "--deny", "a.example.com", "true"]).run().ok();
}

#[test]
fn rules_are_changed_and_stay_changed() {
    let env = TestEnv::new();
    let network = |flags: &[&str]| env.agentkernel(&["sandbox", "network", "box"]).args(flags).run();
    let shown = |flags: &[&str]| network(flags).ok().json();
    env.agentkernel(&["sandbox", "create", "box", "--image", "host", "--deny", "a.example.com"]).run().ok();
    let stopped = shown(&["--deny", "POST b.example.com/v1", "--json"]);
    assert_eq!(stopped["status"], "stopped");
    assert_eq!(stopped["rules"], json!(["deny POST b.example.com/v1", "deny a.example.com"]));
    shown(&["--remove", "deny POST b.example.com/v1", "--json"]);
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    let both = ["--allow", "10.0.0.0/8:80", "--deny", "10.0.0.0/8", "--only-listed", "--json"];
    let running = shown(&both);
    assert_eq!(running["status"], "running");
    assert_eq!(running["otherwise"], "deny");
    assert_eq!(running["rules"], json!(["allow 10.0.0.0/8:80", "deny 10.0.0.0/8", "deny a.example.com"]));
    // What is refused changes nothing: the record says what is enforced.
    let requests = network(&["--deny", "GET c.example.com/"]).code(125);
    requests.error_with_hint(&["about requests"]);
    network(&["--remove", "deny x.example.com"]).code(125).error_with_hint(&["no rule 'deny x.example.com'"]);
    network(&["--show", "--public"]).code(2);
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    assert_eq!(shown(&["--json"])["rules"], running["rules"]);
    let text = network(&["--show"]).ok().out();
    assert!(text.contains("nothing else is let out") && text.contains("  2  deny 10.0.0.0/8\n"), "{text}");
    let info = env.agentkernel(&["sandbox", "info", "box"]).run().ok().out();
    assert!(info.contains("Rule:         allow 10.0.0.0/8:80\n"), "{info}");
    let events = lines(env.data().join("audit.jsonl"));
    let changed: Vec<&Value> = events.iter().filter(|event| event["type"] == "network_changed").collect();
    assert_eq!(changed.len(), 3, "{events:?}");
    assert_eq!(changed[2]["added"], json!(["allow 10.0.0.0/8:80", "deny 10.0.0.0/8"]));

    let exported = env.agentkernel(&["sandbox", "export-config", "box"]).run().ok().out();
    env.file("project/again.toml", exported);
    env.agentkernel(&["sandbox", "import-config", "again.toml", "--as", "again"]).run().ok();
    let again = env.agentkernel(&["sandbox", "network", "again", "--json"]).run().ok().json();
    assert_eq!((&again["rules"], &again["otherwise"]), (&running["rules"], &running["otherwise"]));
}

#[test]
fn a_sandbox_without_a_network_gets_no_rules() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "box", "--image", "host", "--no-network"]).run().ok();
    let run = env.agentkernel(&["sandbox", "network", "box", "--allow", "a.example.com"]).run();
    run.code(125).error_with_hint(&["has no network"]);
    assert_eq!(env.agentkernel(&["sandbox", "network", "box", "--json"]).run().ok().json()["network"], "off");
    env.agentkernel(&["sandbox", "network", "none"]).run().code(125).error_with_hint(&["none"]);
}

#[test]
fn what_a_run_did_outside_is_written_down_before_it_ends() {
    let env = TestEnv::new();
    env.agentkernel(&["run", "-i", "host", "--no-network", "--", "bash", "-c", PRIVATE]).run();
    let log = env.data().join("connections.jsonl");
    assert!(!log.exists(), "without a network there is nothing to write");
    for _ in 0..2 {
        env.agentkernel(&["run", "-i", "host", "--", "bash", "-c", PRIVATE]).run();
    }
    let lines = lines(log.clone());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_ne!(lines[0]["sandbox"], lines[1]["sandbox"]);
    for line in &lines {
        assert_eq!(
            (&line["verdict"], &line["address"], &line["port"]),
            (&json!("blocked"), &json!("10.1.1.1"), &json!(80))
        );
        assert_eq!(line["seq"], 0);
    }
    let blocked = env.agentkernel(&["audit", "--json", "-l", "100"]).run().ok().out();
    assert_eq!(blocked.matches("network_blocked").count(), 2, "{blocked}");
    let table = env.agentkernel(&["policy", "log"]).run().ok().out();
    assert!(
        table.contains("10.1.1.1:80") && table.contains(lines[1]["sandbox"].as_str().unwrap()),
        "{table}"
    );
    let quiet = ["run", "-i", "host", "--", "bash", "-c", PRIVATE];
    env.agentkernel(&quiet).env("AGENTKERNEL_AUDIT", "0").run();
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2, "it can be turned off");
    env.assert_nothing_left();
}

#[test]
fn a_log_is_followed_until_its_sandbox_ends() {
    let env = TestEnv::new();
    make(&env, &[]);
    let follow = env.agentkernel(&["policy", "log", "box", "--follow", "--json", "--blocked"]).start();
    env.agentkernel(&["exec", "box", "--", "bash", "-c", PRIVATE]).run();
    assert!(!follow.ends_within(Duration::ZERO), "it ends with the sandbox");
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    let seen = follow.finish().ok().out();
    assert_eq!(seen.lines().count(), 1, "{seen}");
    assert!(seen.contains(r#""address":"10.1.1.1""#), "{seen}");
    // Of one that is stopped there is what there is.
    let all = env.agentkernel(&["policy", "log", "box", "-f"]).run().ok().out();
    assert_eq!(all.lines().count(), 2, "a head and a line: {all}");
}

#[test]
fn a_keeper_that_is_killed_ends_what_follows_and_breaks_no_chain() {
    let env = TestEnv::new();
    make(&env, &[]);
    env.agentkernel(&["exec", "box", "--", "bash", "-c", PRIVATE]).run();
    let (from, to) = std::io::pipe().unwrap();
    let follow = env.agentkernel(&["policy", "log", "box", "-f"]).stdout(to).start();
    // Its head and the line: what a keeper has not written yet goes with it.
    let seen: Vec<String> = BufReader::new(from).lines().take(2).map(Result::unwrap).collect();
    assert!(seen[1].contains("10.1.1.1:80"), "{seen:?}");
    let pid: i32 = fs::read_to_string(directory(&env).join("keeper.lock")).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    follow.finish().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["exec", "box", "--", "bash", "-c", PRIVATE]).run();
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    let places: Vec<Value> =
        lines(directory(&env).join("connections.jsonl")).iter().map(|line| line["seq"].clone()).collect();
    assert_eq!(places, [0, 1]);
    env.agentkernel(&["audit", "verify", "--sandbox", "box"]).run().ok();
}

#[test]
fn a_line_that_was_changed_is_found() {
    let env = TestEnv::new();
    make(&env, &[]);
    let thrice = format!("for n in 1 2 3; do ({PRIVATE}); done");
    env.agentkernel(&["exec", "box", "--", "bash", "-c", &thrice]).run();
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    let whole = env.agentkernel(&["audit", "verify"]).run().ok().out();
    assert!(whole.contains("3 lines are whole"), "{whole}");
    let log = directory(&env).join("connections.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("10.1.1.1", "10.1.1.2", 1)).unwrap();
    let broken = env.agentkernel(&["audit", "verify", "-s", "box"]).run().code(1).out();
    assert!(broken.contains("connections.jsonl:2: broken"), "{broken}");
    let found = env.agentkernel(&["audit", "verify", "--json"]).run().code(1).json();
    assert!(found.to_string().contains(r#""line":2"#), "{found}");
    // Lines at the end, and the whole file, are missed by what the log of events says.
    let cut: String = text.split_inclusive('\n').take(2).collect();
    fs::write(&log, cut).unwrap();
    let broken = env.agentkernel(&["audit", "verify", "-s", "box"]).run().code(1).out();
    assert!(broken.contains("the last lines of a sandbox are missing"), "{broken}");
    fs::remove_file(&log).unwrap();
    let broken = env.agentkernel(&["audit", "verify"]).run().code(1).out();
    assert!(broken.contains("all lines of a sandbox are missing"), "{broken}");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    assert!(!log.exists(), "the log goes with its sandbox");
}

/// An address of this machine that is not loopback's, which would be the sandbox's own; `None` where there is none.
pub(super) fn own_address() -> Option<Ipv4Addr> {
    // Sends nothing: the kernel only says from where it would.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let from = socket.connect("198.51.100.1:9").and_then(|()| socket.local_addr()).map(|from| from.ip());
    let found = match from {
        Ok(IpAddr::V4(ip)) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    };
    if found.is_none() {
        println!("skipped: this machine has no address but loopback's");
    }
    found
}

/// A server of this machine that says "hello", once to each of `visitors`.
fn greet(address: Ipv4Addr, visitors: usize) -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        for _ in 0..visitors {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"hello").unwrap();
        }
    });
    (port, server)
}

#[test]
fn a_service_of_this_machine_is_reached_by_a_rule_and_by_nothing_else() {
    let Some(address) = own_address() else { return };
    let env = TestEnv::new();
    let (port, server) = greet(address, 3);
    let script = format!("exec 3<>/dev/tcp/{address}/{port}; cat <&3");
    let reach = |flags: &[&str]| {
        env.agentkernel(&["run", "-i", "host"]).args(flags).args(["--", "bash", "-c", &script]).run().out()
    };
    let exact = format!("{address}:{port}");
    let other = format!("{address}:{}", port ^ 1);
    for flags in [
        &["--allow", &exact][..],
        &["--deny", "public", "--allow", &exact, "--only-listed"],
        &["--allow", "host", "--deny", &exact],
    ] {
        assert_eq!(reach(flags), "hello", "{flags:?}");
    }
    server.join().unwrap();
    for flags in [
        &[][..],
        &["--allow", &other],
        &["--allow", "public"],
        &["--deny", &exact, "--allow", "host"],
        &["--only-listed"],
    ] {
        assert_eq!(reach(flags), "", "{flags:?}");
    }
    let lines = lines(env.data().join("connections.jsonl"));
    let of = |verdict: &str| lines.iter().filter(|line| line["verdict"] == verdict).collect::<Vec<_>>();
    let (allowed, blocked) = (of("allowed"), of("blocked"));
    assert_eq!((allowed.len(), blocked.len()), (3, 5), "{lines:?}");
    assert_eq!(allowed[0]["rule"], format!("allow {address}/32:{port}"));
    assert_eq!((&allowed[0]["received"], &allowed[0]["sent"]), (&json!(5), &json!(0)));
    assert_eq!(blocked[3]["rule"], format!("deny {address}/32:{port}"));
    env.assert_nothing_left();
}

#[test]
fn new_rules_hold_at_once_for_what_begins_from_then_on() {
    let Some(address) = own_address() else { return };
    let env = TestEnv::new();
    make(&env, &[]);
    let (port, server) = greet(address, 2);
    let script = format!("exec 3<>/dev/tcp/{address}/{port}; cat <&3");
    let reach = || env.agentkernel(&["exec", "box", "--", "bash", "-c", &script]).run().out();
    let rule = format!("{address}:{port}");
    let network = |flags: &[&str]| env.agentkernel(&["sandbox", "network", "box"]).args(flags).run().ok();
    assert_eq!(reach(), "");
    network(&["--allow", &rule]);
    assert_eq!(reach(), "hello");
    network(&["--deny", "host"]);
    assert_eq!(reach(), "", "the newest rule comes first");
    network(&["--remove", "deny host"]);
    assert_eq!(reach(), "hello");
    server.join().unwrap();
    network(&["--remove", &format!("allow {rule}"), "--only-listed"]);
    assert_eq!(reach(), "");
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    let verdicts: Vec<Value> =
        lines(directory(&env).join("connections.jsonl")).iter().map(|line| line["verdict"].clone()).collect();
    assert_eq!(verdicts, ["blocked", "allowed", "blocked", "allowed", "blocked"]);
}

#[test]
fn a_name_that_no_rule_lets_out_is_told_which_rule_it_was() {
    let env = TestEnv::new();
    let script = "exec 3<>/dev/tcp/blocked.example.com/80; printf 'GET / HTTP/1.1\\r\\nHost: blocked.example.com\\r\\n\\r\\n' >&3; \
                  head -n 1 <&3";
    let run =
        env.agentkernel(&["run", "-i", "host", "--deny", "*.example.com", "--", "bash", "-c", script]).run();
    assert!(run.out().starts_with("HTTP/1.1 403 "), "{run}");
    let lines = lines(env.data().join("connections.jsonl"));
    let blocked = |kind: &str| {
        lines.iter().find(|line| {
            line["type"] == kind && line["verdict"] == "blocked" && line["name"] == "blocked.example.com"
        })
    };
    let name = blocked("refused_name").unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!((&name["rule"], &name["reason"]), (&"deny *.example.com".into(), &"denied by a rule".into()));
    assert!(blocked("connection").or(blocked("request")).is_some(), "{lines:?}");
}

#[test]
fn a_name_that_leaves_this_machine_stands_in_the_log() {
    let env = TestEnv::new();
    // Whether anybody answers does not matter.
    let ask = ["timeout", "5", "getent", "ahostsv4", "data.example.com."];
    env.agentkernel(&["run", "-i", "host", "--"]).args(ask).run();
    let lines = lines(env.data().join("connections.jsonl"));
    let first = lines.iter().find(|line| line["type"] == "name").unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!((&first["name"], &first["verdict"]), (&json!("data.example.com"), &json!("allowed")));
    assert!(lines.iter().filter(|line| **line != *first).all(|line| line["more"].is_u64()), "{lines:?}");
    let table = env.agentkernel(&["policy", "log"]).run().ok().out();
    assert!(table.contains("data.example.com") && table.contains("asked about outside"), "{table}");
    env.assert_nothing_left();
}

#[test]
fn a_proxy_tells_the_rule_as_the_gateway_on_the_way_does() {
    let env = TestEnv::new();
    let ask = |proxy: bool, url: &str| {
        let way = if proxy { "192.0.2.53:3128" } else { "" };
        let curl = ["curl", "-sS", "-i", "--proxy", way, url];
        env.agentkernel(&["run", "-i", "host", "--deny", "*.example.com", "--"]).args(curl).run().out()
    };
    for (proxy, url) in [(false, "http://a.example.com/"), (true, "http://a.example.com/")] {
        let told = ask(proxy, url);
        assert!(told.starts_with("HTTP/1.1 403 "), "{proxy}: {told}");
        assert!(told.contains("the rule 'deny *.example.com' says so"), "{proxy}: {told}");
    }
    // curl does not show the answer to CONNECT; the log has what it said.
    ask(true, "https://a.example.com/");
    let lines = lines(env.data().join("connections.jsonl"));
    let connect = lines.iter().find(|line| line["method"] == "CONNECT").unwrap();
    assert!(connect["reason"].to_string().contains("the rule 'deny *.example.com' says so"), "{connect}");
    assert_eq!(connect.get("address"), None, "nobody looked for it");
    assert_eq!(connect["rule"], "deny *.example.com");
    env.assert_nothing_left();
}

#[test]
fn a_request_in_clear_through_the_proxy_is_a_connection_with_its_bytes() {
    let Some(address) = own_address() else { return };
    let env = TestEnv::new();
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while !lines.next().unwrap().unwrap().is_empty() {}
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").unwrap();
    });
    let (rule, url) = (format!("{address}:{port}"), format!("http://{address}:{port}/x"));
    let curl = ["curl", "-sS", "--proxy", "192.0.2.53:3128", &url];
    let run = env.agentkernel(&["run", "-i", "host", "--allow", &rule, "--"]).args(curl).run();
    assert_eq!(run.out(), "hello", "{run}");
    server.join().unwrap();
    let lines = lines(env.data().join("connections.jsonl"));
    let rule = format!("allow {address}/32:{port}");
    for kind in ["connection", "request"] {
        let line = lines.iter().find(|line| line["type"] == kind).unwrap_or_else(|| panic!("{lines:?}"));
        let told = (&line["verdict"], &line["address"], &line["rule"]);
        assert_eq!(told, (&json!("allowed"), &json!(address), &json!(rule)), "{line}");
        let moved = ["sent", "received"].map(|key| line[key].as_u64().unwrap_or_default() > 30);
        assert_eq!(moved, [kind == "connection"; 2], "{line}");
    }
    env.assert_nothing_left();
}

#[test]
fn a_run_cannot_flood_the_log_that_it_shares() {
    let env = TestEnv::new();
    env.agentkernel(&["run", "-i", "host", "--", "bash", "-c", PRIVATE]).run();
    let log = env.data().join("connections.jsonl");
    // What a full disk left.
    let before = fs::read_to_string(&log).unwrap();
    fs::write(&log, format!("{before}{{\"timestamp")).unwrap();
    let flood = "for n in {1..400}; do exec 3<>/dev/tcp/10.1.1.1/80; done 2>/dev/null; getent hosts a.example.com; getent hosts a.example.com";
    let run = ["run", "-i", "host", "--only-listed", "--", "bash", "-c", flood];
    env.agentkernel(&run).run();
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(text.lines().count(), lines.len() + 1, "half a line hides none");
    let (connections, rest): (Vec<&Value>, Vec<&Value>) =
        lines[1..].iter().partition(|line| line["type"] == "connection");
    let lost: u64 = rest.iter().filter_map(|line| line["lost"].as_u64()).sum();
    let names: u64 = rest
        .iter()
        .filter(|line| line["type"] == "refused_name")
        .map(|line| line["more"].as_u64().unwrap_or(1))
        .sum();
    assert!(lost > 0 && connections.len() < 400, "{} {lost}", connections.len());
    assert!(connections.len() as u64 + lost + names >= 400, "{} {lost} {names}", connections.len());
    env.assert_nothing_left();
}

/// How many files process `pid` may have open before it asks for more, and at most.
fn open_files(pid: i32) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    [words[0].to_owned(), words[1].to_owned()]
}

#[test]
fn a_gateway_may_open_what_it_can_and_a_command_what_its_caller_may() {
    let env = TestEnv::new();
    let binary = env.binary().display().to_string();
    for (flags, has_gateway) in [(&[] as &[&str], true), (&["--no-network"], false)] {
        let (from, to) = std::io::pipe().unwrap();
        let start = ["-c", "ulimit -S -n 256 && exec \"$0\" run -i host \"$@\"", &binary];
        let live = env
            .program(Path::new("/bin/sh"), &start)
            .args(flags)
            .args(["--", "sh", "-c", "ulimit -S -n; read line"])
            .stdin(Stdio::piped())
            .stdout(to)
            .start();
        let mut inside = String::new();
        BufReader::new(from).read_line(&mut inside).unwrap();
        assert_eq!(inside, "256\n", "{flags:?}");
        let [now, most] = open_files(live.pid());
        assert_eq!(now == most, has_gateway, "{flags:?}: {now} of {most}");
        assert_eq!(now == "256", !has_gateway, "{flags:?}: {now} of {most}");
        live.finish();
    }
}
