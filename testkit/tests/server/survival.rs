//! Ends, good and bad, and two servers at once.

use super::world::{DRAIN, Server, eventually, is_running, long};
use agentkernel_testkit::TestEnv;
use rustix::process::Signal;
use serde_json::json;
use std::thread;

#[test]
fn what_runs_is_let_finish() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let body = json!({"command": ["sh", "-c", "echo begun; sleep 3; echo done"], "image": "host"});
    let mut answer = server.call("POST", "/run/stream").json(&body).open();
    answer.expect("started");
    answer.expect("output");
    server.signal(Signal::TERM);
    eventually("nobody listens", || server.address.connect().is_err());
    assert_eq!(answer.expect("output")["data"], "done\n");
    assert_eq!(answer.expect("done")["exit_code"], 0);
    drop(answer);
    server.finish().ok();
    env.assert_nothing_left();
}

#[test]
fn killed_under_load() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    let written = json!({"command": ["sh", "-c", "echo kept >/tmp/kept"]});
    server.post("/sandboxes/box/exec", &written).data(200);
    let words: Vec<String> = (0..4).map(|_| long()).collect();
    let streams: Vec<_> = words
        .iter()
        .map(|word| {
            let body = json!({"command": ["sleep", word], "image": "host"});
            let mut answer = server.call("POST", "/run/stream").json(&body).open();
            answer.expect("started");
            answer
        })
        .collect();
    let call = server.call("POST", "/run").json(&json!({"command": ["true"], "image": "host"}));
    let load: Vec<_> = (0..3)
        .map(|_| {
            let call = call.clone();
            // Until the server is gone.
            thread::spawn(move || while call.try_open().and_then(super::http::Answering::finish).is_ok() {})
        })
        .collect();
    for word in &words {
        eventually("it sleeps", || is_running(word));
    }
    server.signal(Signal::KILL);
    assert_eq!(server.finish().signal, Some(9));
    for thread in load {
        thread.join().unwrap();
    }
    drop(streams);
    for word in &words {
        eventually("a run ends with its server", || !is_running(word));
    }
    let server = Server::start(&env, &[]);
    assert_eq!(server.get("/sandboxes/box").data(200)["status"], "running");
    let kept = server.post("/sandboxes/box/exec", &json!({"command": ["cat", "/tmp/kept"]})).data(200);
    assert_eq!(kept["output"], "kept\n");
    server.run(&["true"]).data(200);
    server.delete("/sandboxes/box").data(200);
    server.post("/gc", &json!({})).data(200);
    server.end(&env);
}

#[test]
fn two_on_one_data_directory() {
    let env = TestEnv::new();
    let (first, second) = (Server::start(&env, &[]), Server::start(&env, &[]));
    first.create("of-first");
    second.create("of-second");
    for server in [&first, &second] {
        assert_eq!(server.get("/sandboxes").data(200).as_array().unwrap().len(), 2);
        for name in ["of-first", "of-second"] {
            let ran = server.post(&format!("/sandboxes/{name}/exec"), &json!({"command": ["echo", name]}));
            assert_eq!(ran.data(200)["output"], format!("{name}\n"));
        }
    }
    // Both make the same one at the same moment: one does, and the other is told.
    let body = json!({"name": "same", "image": "host"});
    let statuses: Vec<u16> = thread::scope(|scope| {
        let calls = [&first, &second]
            .map(|server| server.call("POST", "/sandboxes").json(&body))
            .map(|call| scope.spawn(move || call.send().status));
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(statuses == [201, 409] || statuses == [409, 201], "{statuses:?}");
    for name in ["of-first", "of-second", "same"] {
        second.delete(&format!("/sandboxes/{name}")).data(200);
        first.get(&format!("/sandboxes/{name}")).fails(404, &[name]);
    }
    first.signal(Signal::TERM);
    first.finish().ok();
    second.end(&env);
}

#[test]
fn a_server_that_is_told_twice_and_a_client_that_stays() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    // A connection that asks for nothing holds no server up.
    let idle = server.address.connect().unwrap();
    server.signal(Signal::TERM);
    let began = std::time::Instant::now();
    server.finish().ok();
    assert!(began.elapsed() < DRAIN, "it took {:?}", began.elapsed());
    drop(idle);
    env.assert_nothing_left();
}

#[test]
fn the_kernel_asks_after_a_client_that_is_silent() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let idle = server.address.connect().unwrap();
    // Fields of proc_pid_net(5): local address, remote address, state (01: established), queues, timer (02: keepalive).
    let ours = format!(":{:04X}", server.port);
    eventually("it has a timer", || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.any(|row| row[1].ends_with(&ours) && row[3] == "01" && row[5].starts_with("02:"))
    });
    drop(idle);
    server.end(&env);
}
