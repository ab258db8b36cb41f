use super::*;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::Duration,
};

/// curl of this machine, with the names of the test.
fn curl(site: &Site, origin: &Origin, arguments: &[&str]) -> std::process::Output {
    let place = tempfile::tempdir().unwrap();
    let authority = place.path().join("ca.pem");
    std::fs::write(&authority, site.authority().pem()).unwrap();
    let at = format!("api.test:{}:{}", origin.address().port(), origin.address().ip());
    Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", "--cacert"])
        .arg(authority)
        .args(["--resolve", &at])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_server_records_exactly_what_came_over_both_versions() {
    let site = Site::new().unwrap();
    let origin = site.https(&["api.test"]).unwrap();
    for (flag, version) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")] {
        let url = origin.url("api.test", "/upload?a=b");
        let ran = curl(&site, &origin, &[flag, "--data", "hello", "-H", "X-Mine: one", &url]);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "5\n", "{ran:?}");
        let seen = origin.record().requests().pop().unwrap();
        assert_eq!((seen.version.as_str(), seen.method.as_str()), (version, "POST"));
        assert_eq!((seen.path.as_str(), seen.sni.as_deref()), ("/upload?a=b", Some("api.test")));
        assert_eq!((seen.header("x-mine"), seen.body_bytes), (vec!["one"], 5));
        assert!(seen.body_sha256.starts_with("2cf24dba5fb0a30e"), "{}", seen.body_sha256);
    }
}

#[test]
fn wrong_certificates_are_not_believed() {
    let site = Site::new().unwrap();
    for certificate in [Certificate::Expired, Certificate::OtherName, Certificate::Stranger] {
        let origin = site.tls(Net::Allowed, &["api.test"], certificate, Files::default()).unwrap();
        let ran = curl(&site, &origin, &[&origin.url("api.test", "/")]);
        assert_eq!(ran.status.code(), Some(60), "{certificate:?}: {ran:?}");
        assert!(origin.record().requests().is_empty());
    }
}

#[test]
fn answers_wait_for_what_is_done_before_them() {
    let site = Site::new().unwrap();
    let origin = site.http(Net::Allowed, &["api.test"]).unwrap();
    let (called, calls) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    origin.before_answers(move || {
        called.send(()).unwrap();
        gone.lock().unwrap().recv().unwrap();
    });
    let mut stream = TcpStream::connect(origin.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n").unwrap();
    calls.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(origin.record().requests().len(), 1);
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.peek(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    go.send(()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("hello\n"), "{text}");
}

#[test]
fn streams_are_released_by_the_test() {
    let site = Site::new().unwrap();
    let origin = site.http(Net::Allowed, &["api.test"]).unwrap();
    let mut stream = TcpStream::connect(origin.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: api.test\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("\r\n\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert_eq!(origin.release("data: one\n\n"), 1);
    while !text.contains("data: one") {
        let count = stream.read(&mut buffer).unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    origin.end_streams();
}

#[test]
fn a_name_moves_as_the_script_has_it() {
    let site = Site::new().unwrap();
    let [first, second]: [IpAddr; 2] = ["127.0.77.1".parse().unwrap(), "10.0.0.1".parse().unwrap()];
    site.dns().script("moves.test", &[&[first], &[second]]);
    let ask = |name: &str| {
        let script = "import socket,struct,sys;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(10);\
            q=b''.join(bytes([len(l)])+l.encode() for l in sys.argv[2].split('.'))+b'\\0\\0\\1\\0\\1';\
            s.sendto(b'\\1\\2\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0'+q,('127.0.77.53',int(sys.argv[1])));\
            r=s.recv(512);print('.'.join(map(str,r[-4:])) if r[7] else r[3]&15)";
        let port = site.dns().address().port().to_string();
        let ran = Command::new("/usr/bin/python3").args(["-c", script, &port, name]).output().unwrap();
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    };
    assert_eq!(ask("moves.test"), "127.0.77.1");
    assert_eq!(ask("MOVES.test"), "10.0.0.1");
    assert_eq!(ask("moves.test"), "10.0.0.1");
    assert_eq!(ask("none.test"), "3");
    assert_eq!(site.dns().asked().len(), 4);
}

#[test]
fn a_trap_has_what_was_said_to_it() {
    let site = Site::new().unwrap();
    let trap = site.trap(Net::Forbidden, 8443).unwrap();
    assert!(trap.is_empty());
    let mut stream = TcpStream::connect(trap.address()).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // Its end comes when it has read ours.
    let _closed = stream.read(&mut [0; 1]);
    assert_eq!(trap.caught(), [b"hello".to_vec()]);
}

#[test]
fn what_package_clients_fetch_is_there_and_nothing_else() {
    let site = Site::new().unwrap();
    let place = tempfile::tempdir().unwrap();
    let git = packages::repository(place.path()).unwrap();
    let files = [
        (packages::python_index().unwrap(), "/simple/demo-pkg/", "sha256="),
        (packages::npm_registry().unwrap(), "/demo-pkg", "https://api.test"),
        (packages::cargo_registry().unwrap(), "/config.json", "/dl/{crate}-{version}.crate"),
        (git, "/repo.git/info/refs", "refs/heads/main"),
    ];
    for (files, path, word) in files {
        let origin = site.https_of(&["api.test"], files).unwrap();
        let ran = curl(&site, &origin, &["--http1.1", &origin.url("api.test", path)]);
        assert!(String::from_utf8_lossy(&ran.stdout).contains(word), "{path}: {ran:?}");
        let ran = curl(&site, &origin, &["--fail", &origin.url("api.test", "/none")]);
        assert_eq!(ran.status.code(), Some(22));
    }
}
