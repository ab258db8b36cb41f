use super::*;
use std::{os::unix::net::UnixListener, thread};

#[test]
fn an_answer_has_a_status_and_a_body() {
    let answer =
        Answer::parse(b"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\n{\"message\":\"no\"}\r\n\r\n").unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (404, "{\"message\":\"no\"}"));
    assert_eq!(Answer::parse(b"HTTP/1.1 204 \r\n\r\n").unwrap().body(), b"");
    for bad in
        ["", "HTTP/1.0 200 OK\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.0 \r\n\r\n", "HTTP/1.0 2x0 OK\r\n\r\n"]
    {
        assert_eq!(Answer::parse(bad.as_bytes()), None, "{bad:?}");
    }
}

#[test]
fn a_request_says_what_it_brings_and_silence_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let mut heard = vec![0; 4096];
        let (mut stream, _) = listener.accept().unwrap();
        let length = stream.read(&mut heard).unwrap();
        heard.truncate(length);
        // The head and the body may come apart.
        while !heard.ends_with(b"tar") {
            let mut more = [0; 16];
            let length = stream.read(&mut more).unwrap();
            heard.extend_from_slice(&more[..length]);
        }
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nyes").unwrap();
        drop(stream);
        // The second is sent away.
        drop(listener.accept().unwrap());
        String::from_utf8(heard).unwrap()
    });
    let body = Body { kind: "application/x-tar", bytes: b"tar" };
    let answer = request(&socket, "POST", "/images/create", Some(body)).unwrap();
    assert_eq!((answer.status(), answer.body()), (200, b"yes".as_slice()));
    assert!(request(&socket, "GET", "/_ping", None).is_err());
    let heard = server.join().unwrap();
    assert!(heard.starts_with("POST /images/create HTTP/1.0\r\n"), "{heard}");
    assert!(heard.contains("Content-Type: application/x-tar\r\nContent-Length: 3\r\n\r\ntar"), "{heard}");
}
