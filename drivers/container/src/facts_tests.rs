use super::*;
use std::{os::unix::net::UnixListener, thread};

fn way(socket: &Path) -> Way {
    Way::Socket(socket.to_owned())
}

/// Answers one request after the other with `answers`, as an HTTP/1.0 server.
fn serve(dir: &Path, answers: &[&str]) -> (std::path::PathBuf, thread::JoinHandle<()>) {
    let socket = dir.join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let answers: Vec<String> = answers.iter().map(|a| (*a).to_owned()).collect();
    let served = thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            if answer.starts_with("HTTP/1.0 ") {
                stream.write_all(answer.as_bytes()).unwrap();
                continue;
            }
            // An answer may bring fields of its own head.
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or(("X: y", &answer));
            write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n{head}\r\n\r\n{body}")
                .unwrap();
        }
    });
    (socket, served)
}

#[test]
fn facts_are_asked_once_and_limits_of_rootless_v1_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let info = r#"{"MemoryLimit":true,"PidsLimit":true,"CpuCfsQuota":true,"CgroupVersion":"1",
        "SecurityOptions":["name=seccomp,profile=default","name=rootless"],"Runtimes":{"runc":{},"runsc":{}},
        "KernelVersion":"another","Name":"there"}"#;
    let (socket, served) = serve(dir.path(), &[r#"{"Version":"4.3.1","ApiVersion":"1.41"}"#, info]);
    let memory = dir.path().join("memory/docker.json");
    let facts = of(&way(&socket), &memory).unwrap();
    served.join().unwrap();
    assert_eq!(facts.api, (1, 41));
    assert!(facts.rootless && !facts.remapped && !facts.local);
    assert!(!facts.limits_memory && !facts.limits_pids && !facts.limits_cpus);
    assert_eq!(facts.runtimes, ["runc", "runsc"]);
    // Nobody answers any more.
    assert_eq!(of(&way(&socket), &memory).unwrap(), facts);
    fs::remove_file(&socket).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    fs::remove_file(&socket).unwrap();
    assert_eq!(of(&way(&socket), &memory).unwrap_err().kind(), Kind::Unavailable);
}

/// Answers of an engine of that version.
fn engine(version: &str) -> [String; 2] {
    let head = format!("Server: Docker/{version} (linux)\r\nApi-Version: 1.41\r\nDate: now");
    [
        format!("{head}\r\n\r\n{{\"Version\":\"{version}\",\"ApiVersion\":\"1.41\"}}"),
        format!("{head}\r\n\r\n{{}}"),
    ]
}

#[test]
fn another_engine_behind_the_same_socket_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("memory/docker.json");
    let ([old_version, old], [new_version, new]) = (engine("20.10.1"), engine("28.0.0"));
    let later = old.replace("Date: now", "Date: later").replace("Server:", "server:");
    let answers = [&old_version, &old, &later, &new, &new_version, &new, &new];
    let (socket, served) = serve(dir.path(), &answers.map(String::as_str));
    assert_eq!(of(&way(&socket), &memory).unwrap().version, "20.10.1");
    assert_eq!(of(&way(&socket), &memory).unwrap().version, "20.10.1", "the same program");
    assert_eq!(remembered(&way(&socket), &memory).unwrap().version, "20.10.1");
    assert_eq!(
        of(&way(&socket), &memory).unwrap().version,
        "28.0.0",
        "the socket is the same, the program is not"
    );
    assert_eq!(of(&way(&socket), &memory).unwrap().version, "28.0.0");
    served.join().unwrap();
    assert_eq!(of(&way(&socket), &memory).unwrap().version, "28.0.0", "it does not answer");
}

#[test]
fn an_engine_that_was_started_again_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("memory/docker.json");
    let [version, info] = engine("20.10.1");
    let answers = [&version, &info, &version, &info];
    let (socket, served) = serve(dir.path(), &answers.map(String::as_str));
    of(&way(&socket), &memory).unwrap();
    assert!(remembered(&way(&socket), &memory).is_some());
    fs::write(socket.with_extension("pid"), "1").unwrap();
    assert!(remembered(&way(&socket), &memory).is_none(), "another process");
    of(&way(&socket), &memory).unwrap();
    assert!(remembered(&way(&socket), &memory).is_some());
    served.join().unwrap();
}

#[test]
fn what_is_no_engine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, served) = serve(dir.path(), &["<html>"]);
    let error = of(&way(&socket), &dir.path().join("memory")).unwrap_err();
    served.join().unwrap();
    assert!(error.message().contains("no container engine"), "{error}");
}

#[test]
fn only_the_engine_says_that_it_has_no_such_container() {
    let dir = tempfile::tempdir().unwrap();
    let error = |status: &str, said: &str| format!("HTTP/1.0 {status}\r\n\r\n{{\"message\":\"{said}\"}}");
    let labelled = r#"{"State":{"Status":"strange"},"Config":{"Labels":{"a":"b"}}}"#;
    let missing = error("404 Not Found", "said");
    let [going, broken] = ["container 01 does not exist in database: no such container", "said"]
        .map(|said| error("500 Internal Server Error", said));
    let answers = [labelled, "{}", &missing, &going, &broken, "<html>"];
    let (socket, served) = serve(dir.path(), &answers);
    let asked = || labels(&way(&socket), "one");
    assert_eq!(asked().unwrap(), Some(HashMap::from([("a".to_owned(), "b".to_owned())])));
    assert_eq!(asked().unwrap(), Some(HashMap::new()));
    assert_eq!(asked().unwrap(), None);
    assert_eq!(asked().unwrap(), None, "it went while it was looked at");
    assert!(asked().is_err() && asked().is_err(), "nobody knows whose it is");
    served.join().unwrap();
    assert!(asked().is_err(), "nobody answers");
}
