//! A gateway that runs out of something: it says so, and goes on when there is some again.

use super::network::own_address;
use agentkernel_testkit::{TestEnv, env::Live};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Lines, PipeReader, PipeWriter, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    thread,
};

/// A server that says "hello" and goes when its visitor does. It ends with this process.
fn host(address: Ipv4Addr) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _gone = stream.write_all(b"hello\n").and_then(|()| stream.read_to_end(&mut Vec::new()));
            });
        }
    });
    port
}

/// Lines of the log that say what there was none of.
fn shortages(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["type"] == "shortage").collect()
}

#[test]
fn one_connection_more_than_a_sandbox_may_have_waits_for_one_to_end() {
    let Some(address) = own_address() else { return };
    let env = TestEnv::new();
    let (port, binary) = (host(address), env.binary().display().to_string());
    // With so few descriptors it has five places.
    let script = format!(
        "for n in 10 11 12 13 14; do eval \"exec $n<>/dev/tcp/{address}/{port}\"; read -u $n line; echo $line; done
         exec 15<>/dev/tcp/{address}/{port}; exec 10>&-; read -u 15 line; echo last $line"
    );
    let start = ["-c", "ulimit -n 80 && exec \"$0\" run -i host --allow \"$@\"", &binary];
    let allowed = format!("{address}:{port}");
    let run = env.program(Path::new("/bin/sh"), &start).args([&allowed, "--", "bash", "-c", &script]).run();
    run.ok().prints(format!("{}last hello\n", "hello\n".repeat(5)));
    let log = fs::read_to_string(env.data().join("connections.jsonl")).unwrap();
    let told = shortages(&log);
    assert!(told.len() == 1 && told[0].to_string().contains("all 5 connections"), "{log}");
    let table = env.agentkernel(&["policy", "log"]).run().ok().out();
    assert!(table.contains("all 5 connections that this sandbox may have are open"), "{table}");
}

/// A command in the sandbox that connects whenever it gets a line, and says what it hears.
struct Caller {
    live: Live,
    ask: PipeWriter,
    heard: Lines<BufReader<PipeReader>>,
}

impl Caller {
    fn new(env: &TestEnv, address: Ipv4Addr, port: u16) -> Self {
        let script = format!(
            "echo ready; while read word; do (exec 3<>/dev/tcp/{address}/{port}
             printf 'GET / HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n' >&3; head -n 1 <&3); done"
        );
        let (stdin, ask) = std::io::pipe().unwrap();
        let (heard, stdout) = std::io::pipe().unwrap();
        let command = env.agentkernel(&["exec", "box", "--", "bash", "-c", &script]);
        let live = command.stdin(stdin).stdout(stdout).start();
        let mut caller = Self { live, ask, heard: BufReader::new(heard).lines() };
        assert_eq!(caller.hear(), "ready");
        caller
    }

    fn hear(&mut self) -> String {
        self.heard.next().unwrap().unwrap().trim_end().to_owned()
    }

    fn ask(&mut self) -> String {
        self.ask.write_all(b"go\n").unwrap();
        self.hear()
    }
}

/// The process that keeps the only sandbox.
fn keeper(env: &TestEnv) -> Pid {
    let mut all = fs::read_dir(env.data().join("sandboxes")).unwrap();
    let lock = all.next().unwrap().unwrap().path().join("keeper.lock");
    Pid::from_raw(fs::read_to_string(lock).unwrap().trim().parse().unwrap()).unwrap()
}

/// The limit at which process `pid` can open one more file and no second one.
fn one_left(pid: Pid) -> u64 {
    let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
    let open: BTreeSet<u64> =
        open.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    (0..).filter(|number| !open.contains(number)).nth(1).unwrap()
}

#[test]
fn without_descriptors_connections_are_refused_with_the_reason_until_there_are_some() {
    let Some(address) = own_address() else { return };
    let env = TestEnv::new();
    let port = host(address);
    let allowed = format!("{address}:{port}");
    env.agentkernel(&["sandbox", "create", "box", "-i", "host", "--allow", &allowed]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    let mut caller = Caller::new(&env, address, port);
    assert_eq!(caller.ask(), "hello");
    let keeper = keeper(&env);
    let limit = |new: Rlimit| prlimit(Some(keeper), Resource::Nofile, new).unwrap();
    let most =
        prlimit(Some(keeper), Resource::Nofile, Rlimit { current: Some(1024), maximum: Some(1024) }).unwrap();
    assert_eq!(most.current, most.maximum);
    // The one is for the connection itself: nothing is left for the other side, or to write down why.
    // Those of the connection before may still be open when they are counted, and free for the next then.
    // Nothing tells when they are closed: it is tried again after a while.
    let answers = (1..20_u64).map(|n| {
        thread::sleep(std::time::Duration::from_millis(20 * n));
        limit(Rlimit { current: Some(one_left(keeper)), maximum: Some(1024) });
        caller.ask()
    });
    let refused = answers.into_iter().find(|answer| answer != "hello");
    assert_eq!(refused.as_deref(), Some("HTTP/1.1 403 Forbidden"));
    limit(Rlimit { current: Some(1024), maximum: Some(1024) });
    assert_eq!(caller.ask(), "hello");
    drop(caller.ask);
    caller.live.finish().ok();
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    let log = env.agentkernel(&["policy", "log", "box", "--json"]).run().ok().out();
    let told = shortages(&log);
    assert!(told.len() == 1 && told[0].to_string().contains("the gateway has no descriptor left"), "{log}");
    env.agentkernel(&["audit", "verify", "-s", "box"]).run().ok();
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}
