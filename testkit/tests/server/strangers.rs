//! Web pages of others, and other users of the machine.

use super::world::Server;
use agentkernel_testkit::TestEnv;
use serde_json::json;
use std::path::Path;

#[test]
fn no_web_page_drives_it() {
    let env = TestEnv::new();
    let server = Server::start(&env, &["--allow-host", "agents.example"]);
    let status = || server.call("GET", "/status");
    // A name that somebody's DNS leads here.
    for host in ["evil.example", "localhost.evil.example", "evil.example:18888", "", "local host", "[::1"] {
        status().header("Host", host).send().fails(403, &["Host"]);
        server.call("GET", "/health").header("Host", host).send().fails(403, &["Host"]);
    }
    status().without("host").send().fails(400, &["Host"]);
    for host in
        ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:18888", "[::1]:18888", "agents.example:1"]
    {
        status().header("Host", host).send().data(200);
    }
    for origin in ["https://evil.example", "null", "http://localhost:1", "file://", "http://127.0.0.1"] {
        status().header("Origin", origin).send().fails(403, &["page"]);
    }
    status().header("Origin", "http://localhost").send().data(200);
    for site in ["cross-site", "same-site", "x"] {
        status().header("Sec-Fetch-Site", site).send().fails(403, &["page"]);
    }
    for site in ["same-origin", "none"] {
        status().header("Sec-Fetch-Site", site).send().data(200);
    }
    // What a form can send without asking first: text that looks like JSON.
    let body = json!({"command": ["true"], "image": "host"});
    let form = server.call("POST", "/run").json(&body).header("Content-Type", "text/plain");
    form.send().fails(415, &[]);
    let preflight =
        server.call("OPTIONS", "/run").without("authorization").header("Origin", "https://evil.example");
    let preflight = preflight.header("Access-Control-Request-Method", "POST").send();
    assert!(
        preflight.status >= 400 && preflight.header("access-control-allow-origin").is_none(),
        "{preflight:?}"
    );
    server.end(&env);
}

/// Without a key, a server is its own user's: everybody on the machine can connect to the loopback.
#[test]
fn another_user_of_this_machine() {
    const OWNER: u32 = 60_127;
    if !rustix::process::geteuid().is_root() {
        // Only root can be two others.
        return;
    }
    let env = TestEnv::of_user(OWNER);
    let server = Server::bare(&env, &[]);
    let url = format!("{}/status", server.url);
    let curl = |uid: &str| {
        let words = ["--reuid", uid, "--regid", uid, "--clear-groups", "/usr/bin/curl", "-sS", &url];
        TestEnv::new().program(Path::new("/usr/bin/setpriv"), &words).run().ok().json()
    };
    let stranger = curl("65534");
    assert_eq!((&stranger["success"], &stranger["kind"]), (&json!(false), &json!("denied")), "{stranger}");
    assert_eq!(curl(&OWNER.to_string())["success"], true);
    // Root too: a container that shares the host's network is often root's.
    server.get("/status").fails(403, &[]);
    server.signal(rustix::process::Signal::TERM);
    server.finish().ok();
}
