//! Images of callers: from the public, and from where the owner says. Whoever names an image does not make the server talk to this
//! machine or its network.

use super::{image::python, world::Server};
use agentkernel_testkit::{
    TestEnv,
    registry::Registry,
    service::{Untouched, answering},
};
use serde_json::json;
use std::net::SocketAddr;

fn mirror(address: SocketAddr) -> String {
    format!("[\"docker.io\"]\nmirrors = [\"http://{address}\"]\nmirrors_only = true\n")
}

#[test]
fn a_registry_of_this_machine_is_not_asked_for_a_caller() {
    let env = TestEnv::new();
    // Every pull is tried.
    env.registries("");
    let service = Untouched::listen().unwrap();
    let port = service.address().unwrap().port();
    let server = Server::start(&env, &[]);
    for host in ["127.0.0.1", "localhost", "127.1", "2130706433", "0.0.0.0"] {
        let image = format!("{host}:{port}/some/image:1");
        let told = server.post("/images/pull", &json!({"image": image}));
        assert!(matches!(told.status, 400 | 403), "{image}: {told:?}");
        let run = server.post("/run", &json!({"image": image, "command": ["true"]}));
        assert!(matches!(run.status, 400 | 403), "{image}: {run:?}");
    }
    let image = format!("127.0.0.1:{port}/some/image:1");
    let told =
        server.post("/images/pull", &json!({"image": image})).fails(403, &["this machine or its network"]);
    assert!(told["hint"].as_str().unwrap().contains("registries.toml"), "{told}");
    service.is_untouched();
    server.end(&env);
}

#[test]
fn what_the_owner_trusts_leads_nowhere_else() {
    let env = TestEnv::new();
    let service = Untouched::listen().unwrap();
    let there = format!("http://{}", service.address().unwrap());
    let answers = [
        format!(
            "HTTP/1.1 307 Elsewhere\r\nLocation: {there}/v2/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
        format!(
            "HTTP/1.1 401 Who\r\nWWW-Authenticate: Bearer realm=\"{there}/token\",service=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
    ];
    for answer in answers {
        env.registries(&mirror(answering(answer).unwrap()));
        let server = Server::start(&env, &[]);
        server
            .post("/images/pull", &json!({"image": "alpine:3.20"}))
            .fails(403, &["this machine or its network"]);
        service.is_untouched();
        server.end(&env);
    }
}

#[test]
fn what_the_owner_lists_or_allows_is_asked() {
    let env = TestEnv::new();
    let registry = Registry::start().unwrap();
    let host = registry.url().strip_prefix("http://").unwrap().to_owned();
    let image = format!("{host}/library/python:mine");
    registry.push(&python(&env, &image)).unwrap();
    let pull = |server: &Server| server.post("/images/pull", &json!({"image": image}));
    env.registries("");
    let server = Server::start(&env, &[]);
    pull(&server).fails(403, &[]);
    server.end(&env);
    env.registries(&format!("[\"{host}\"]\n"));
    let server = Server::start(&env, &[]);
    pull(&server).data(200);
    // Nothing is made from it: all of it could be had back.
    let usage = server.get("/images/usage").data(200);
    assert_eq!((&usage["images"], &usage["in_use"]), (&json!(1), &json!(0)));
    assert!(
        usage["size_bytes"].as_u64().unwrap() > 0 && usage["reclaimable_bytes"].as_u64().unwrap() > 0,
        "{usage}"
    );
    server.post("/images/prune", &json!({})).data(200);
    let usage = server.get("/images/usage").data(200);
    assert_eq!(
        (&usage["images"], &usage["size_bytes"], &usage["reclaimable_bytes"]),
        (&json!(0), &json!(0), &json!(0))
    );
    server.end(&env);
    env.registries("");
    let server = Server::start(&env, &["--allow-private-network"]);
    pull(&server).data(200);
    server.end(&env);
}
