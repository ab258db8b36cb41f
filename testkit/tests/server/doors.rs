//! Keys, addresses, sockets and TLS.

use super::{
    http::{Address, Call, Wire},
    world::{KEY, Server, eventually, keys},
};
use agentkernel_testkit::TestEnv;
use rustix::process::Signal;
use serde_json::json;
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

#[test]
fn whoever_has_no_key_is_told_why() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let list = || server.call("GET", "/sandboxes");
    let missing = list().without("authorization").send();
    missing.fails(401, &["missing"]);
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    list().header("Authorization", &format!("Basic {KEY}")).send().fails(401, &["scheme"]);
    list().header("Authorization", KEY).send().fails(401, &["scheme"]);
    for wrong in ["sk-wrong", "", &format!("{KEY}x"), &KEY[1..], &"x".repeat(5000)] {
        list().header("Authorization", &format!("Bearer {wrong}")).send().fails(401, &[]);
    }
    list().header("Authorization", &format!("bearer {KEY}")).send().data(200);
    // Nothing but /health answers without it, not even what there is not.
    for path in
        ["/status", "/stats", "/nothing", "/sandboxes/x", "/run", "/openapi.json", "/metrics", "/events"]
    {
        server.call("GET", path).without("authorization").send().fails(401, &[]);
    }
    let body = json!({"command": ["true"], "image": "host"});
    server.call("POST", "/run").without("authorization").json(&body).send().fails(401, &[]);
    server.call("DELETE", "/health").without("authorization").send().fails(405, &[]);
    server.end(&env);
}

#[test]
fn the_file_of_keys_is_read_again() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let status = |key: &str| server.call("GET", "/status").key(key).send().status;
    keys(&env, "sk-second\nsk-third");
    assert_eq!((status(KEY), status("sk-second")), (200, 401));
    server.signal(Signal::HUP);
    eventually("the new key is taken", || status("sk-second") == 200);
    assert_eq!((status(KEY), status("sk-third")), (401, 200));
    // One that cannot be read changes nothing.
    let file = keys(&env, "");
    server.signal(Signal::HUP);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    server.signal(Signal::HUP);
    assert_eq!(status("sk-second"), 200);
    server.signal(Signal::TERM);
    let ended = server.finish().ok();
    assert!(ended.err().contains("read again"), "{ended}");
    assert!(!ended.err().contains("sk-"), "{ended}");
}

#[test]
fn a_key_of_the_environment_or_of_the_command_line() {
    let env = TestEnv::new();
    let server = Server::launch(&env, &["--api-key", "sk-typed"], &[("AGENTKERNEL_API_KEY", KEY)]);
    for key in [KEY, "sk-typed"] {
        server.call("GET", "/status").key(key).send().data(200);
    }
    server.call("GET", "/status").send().fails(401, &[]);
    server.signal(Signal::TERM);
    assert!(server.finish().ok().err().contains("process lists"));
}

#[test]
fn keys_that_are_none_or_that_others_can_write() {
    let env = TestEnv::new();
    let serve = |file: &Path| {
        let file = file.to_str().unwrap();
        env.agentkernel(&["serve", "--port", "0", "--api-key-file", file]).run().our_failure()
    };
    let file = keys(&env, "");
    serve(&file).error_with_hint(&["no key"]);
    let file = keys(&env, "two words");
    assert!(!serve(&file).err().contains("two words"));
    let file = keys(&env, KEY);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o622)).unwrap();
    serve(&file).error_with_hint(&["others can read or write"]);
    serve(Path::new("/no/such/file"));
}

#[test]
fn without_a_key_only_ones_own() {
    let env = TestEnv::new();
    let root = env.is_root();
    for address in ["0.0.0.0", "::"] {
        let refused = env.agentkernel(&["serve", "--port", "0", "--host", address]).run().our_failure();
        refused.error_with_hint(&[if root { "root" } else { address }, "key"]);
    }
    if root {
        env.agentkernel(&["serve", "--port", "0"]).run().our_failure().error_with_hint(&["root", "key"]);
        let insecure = env.agentkernel(&["serve", "--port", "0", "--insecure"]).run().our_failure();
        insecure.error_with_hint(&["root", "key"]);
        return;
    }
    let server = Server::bare(&env, &[]);
    assert_eq!(server.get("/status").data(200)["api_key_configured"], false);
    server.run(&["true"]).data(200);
    server.end(&env);
}

#[test]
fn a_port_that_somebody_has() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let port = server.port.to_string();
    let file = keys(&env, KEY);
    let words = ["serve", "--port", &port, "--api-key-file", file.to_str().unwrap()];
    env.agentkernel(&words).run().our_failure().error_with_hint(&["cannot listen"]);
    server.end(&env);
}

#[test]
fn a_socket_of_the_file_system() {
    let env = TestEnv::new();
    // Paths of sockets are short, and those of test directories may be long.
    env.directory("socket");
    let place = tempfile::Builder::new().prefix("ake-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(env.home().with_file_name("socket"), place.path().join("d")).unwrap();
    let path = place.path().join("d/control");
    let words = ["--control-socket", path.to_str().unwrap()];
    let server = Server::start(&env, &words);
    assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let socket = Address::Socket(path.clone());
    server.call_at(&socket, "GET", "/status").header("Host", "whatever").send().data(200);
    Call::new(&socket, "GET", "/status").send().fails(401, &[]);
    let body = json!({"command": ["echo", "hi"], "image": "host"});
    let ran = server.call_at(&socket, "POST", "/run").json(&body).send();
    assert_eq!(ran.data(200)["output"], "hi\n");
    // Another server does not take it away.
    let file = keys(&env, KEY);
    let again =
        [&["serve", "--port", "0", "--api-key-file", file.to_str().unwrap()], words.as_slice()].concat();
    env.agentkernel(&again).run().our_failure().error_with_hint(&["already"]);
    server.call_at(&socket, "GET", "/health").send().data(200);
    server.end(&env);
    assert!(!path.exists());
    // What a killed one left is in nobody's way.
    let server = Server::start(&env, &words);
    server.signal(Signal::KILL);
    drop(server.finish());
    assert!(path.exists());
    let server = Server::start(&env, &words);
    server.call_at(&socket, "GET", "/health").send().data(200);
    // What has become somebody else's is not taken away at the end.
    fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    server.end(&env);
    assert!(path.exists());
    drop(other);
}

/// Whoever says nothing makes way for whoever comes after, and no crowd of them keeps anybody out.
#[test]
fn a_crowd_of_strangers() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let mut known = server.address.connect().unwrap();
    let request = format!("GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n");
    let ask = |wire: &mut Box<dyn Wire>| {
        wire.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        wire.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    };
    ask(&mut known);
    let mut first = server.address.connect().unwrap();
    let crowd: Vec<_> = (0..300).map(|_| server.address.connect().unwrap()).collect();
    // Long before its time is over.
    assert_eq!(first.read(&mut [0]).unwrap_or(0), 0);
    server.get("/status").data(200);
    // Who is known stays.
    let mut late = server.address.connect().unwrap();
    ask(&mut late);
    drop(crowd);
    drop((known, late));
    server.end(&env);
}

#[test]
fn tls_with_a_certificate_of_ones_own() {
    let env = TestEnv::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = env.file("cert.pem", made.cert.pem());
    let key = env.file("key.pem", made.signing_key.serialize_pem());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let server = Server::start(&env, &["--tls-cert", certificate, "--tls-key", key]);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let url = format!("https://localhost:{}/status", server.port);
    let authorization = format!("Authorization: Bearer {KEY}");
    let words = ["-sS", "--ipv4", "--cacert", certificate, "-H", &authorization, &url];
    let told = env.program(Path::new("/usr/bin/curl"), &words).run().ok();
    assert_eq!(told.json()["success"], true);
    // Whoever speaks plain HTTP gets nothing.
    assert!(server.call("GET", "/health").try_open().is_err());
    server.end(&env);
    let words = ["serve", "--port", "0", "--tls-cert", key, "--tls-key", certificate];
    env.agentkernel(&words).env("AGENTKERNEL_API_KEY", KEY).run().our_failure();
    let words = ["serve", "--port", "0", "--tls-cert", certificate];
    env.agentkernel(&words).env("AGENTKERNEL_API_KEY", KEY).run().our_failure();
}
