//! A disk that is full, and has room again.

use super::world::Server;
use agentkernel_testkit::TestEnv;
use serde_json::json;
use std::{fs::File, io::Write as _};

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let env = TestEnv::new();
    if !env.is_root() {
        eprintln!("skipped: only root can mount a file system of a size");
        return;
    }
    let server = Server::on_small_disk(&env, 24);
    server.create("box");
    let exec = |words: &[&str]| server.post("/sandboxes/box/exec", &json!({"command": words}));
    let note = |text: &str| {
        server.call("PUT", "/sandboxes/box/files/tmp/note").json(&json!({"content": text})).send()
    };
    exec(&["sh", "-c", "echo before >/root/kept"]).data(200);
    server.post("/secrets", &json!({"name": "TOKEN", "value": "sk-1", "hosts": ["a.example"]})).data(201);

    let filler = server.sees(&env.data()).with_file_name("filler");
    let mut file = File::create(&filler).unwrap();
    let piece = vec![0; 1 << 12];
    let mut fill = || while file.write_all(&piece).is_ok() {};
    fill();

    // What is there is there, and can be looked at and worked in.
    assert_eq!(server.get("/health").data(200), "ok");
    assert_eq!(server.get("/sandboxes/box").data(200)["status"], "running");
    assert_eq!(server.get("/sandboxes").data(200).as_array().unwrap().len(), 1);
    assert_eq!(exec(&["cat", "/root/kept"]).data(200)["stdout"], "before\n");
    // What needs room says that there is none.
    exec(&["sh", "-c", "head -c 100000 /dev/zero >/root/more"]).fails(409, &[]);
    for (path, body) in [
        ("/sandboxes", json!({"name": "another", "image": "host"})),
        ("/secrets", json!({"name": "OTHER", "value": "sk-2", "hosts": ["a.example"]})),
    ] {
        // What failed before gave back what it had.
        fill();
        let told = server.post(path, &body).fails(507, &[]);
        assert!(told["hint"].is_string(), "{told}");
    }
    fill();
    // It may need none.
    let ran = server.run(&["echo", "ran"]);
    assert!(matches!(ran.status, 200 | 507), "{ran:?}");

    drop(file);
    std::fs::remove_file(&filler).unwrap();
    // Nothing is lost, nothing is half made, and everything works again.
    assert_eq!(exec(&["cat", "/root/kept"]).data(200)["stdout"], "before\n");
    note("after").data(200);
    assert_eq!(server.run(&["echo", "ran"]).data(200)["stdout"], "ran\n");
    server.create("another");
    let names = server.get("/secrets").data(200);
    assert_eq!(names.as_array().unwrap().len(), 1, "{names}");
    server.post("/secrets", &json!({"name": "OTHER", "value": "sk-2", "hosts": ["a.example"]})).data(201);
    for name in ["box", "another"] {
        server.delete(&format!("/sandboxes/{name}")).data(200);
    }
    let left: Vec<_> = std::fs::read_dir(server.sees(&env.data()).join("sandboxes")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    server.end(&env);
}
