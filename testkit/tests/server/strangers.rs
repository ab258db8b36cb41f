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

/// The gateway connects as the server's owner: a rule that leads to this machine leads to the server itself.
#[test]
fn what_callers_cannot_have() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    for rule in ["allow host", "allow metadata", "allow private", "allow 10.0.0.0/8", "allow 127.0.0.1:18888"]
    {
        let body = json!({"command": ["true"], "image": "host", "rules": [rule]});
        server.post("/run", &body).fails(403, &["public addresses"]);
        let body = json!({"name": "box", "image": "host", "rules": [rule]});
        server.post("/sandboxes", &body).fails(403, &["public addresses"]);
    }
    let import = |security: &str| {
        let config = format!("[sandbox]\nname = \"box\"\nbase_image = \"host\"\n{security}");
        server.post("/sandboxes/import-config", &json!({"config": config}))
    };
    import("[security]\nallow_write = [\".git\"]\n").fails(403, &["guarded"]);
    import("oci_runtime = \"runc\"\n").fails(403, &["runtime"]);
    import("[network]\nrules = [\"allow host\"]\n").fails(403, &["public addresses"]);
    // Names lead to public addresses alone, whatever their DNS says.
    let body =
        json!({"command": ["true"], "image": "host", "rules": ["allow example.com:443", "deny private"]});
    server.post("/run", &body).data(200);
    server.end(&env);

    let server = Server::start(&env, &["--allow-private-network"]);
    let body = json!({"command": ["true"], "image": "host", "rules": ["allow host"]});
    server.post("/run", &body).data(200);
    server.end(&env);
}

/// What anybody can make up is not remembered.
#[test]
fn made_up_methods_are_counted_together() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.call("MADEUP", "/health").without("authorization").send();
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(metrics.contains("method=\"other\"") && !metrics.contains("MADEUP"), "{metrics}");
    server.end(&env);
}
