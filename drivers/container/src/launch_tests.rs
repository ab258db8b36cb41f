use super::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

/// An engine that gives `answers`, one to each request, and how many it was asked for.
async fn asked(answers: &[(&str, &str)]) -> (usize, bool) {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let docker = Docker::connect_with_unix(&socket.display().to_string(), 10, bollard::API_DEFAULT_VERSION);
    let docker = docker.unwrap();
    let mut count = 0;
    let serve = async {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            count += 1;
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let seen = tokio::select! {
        seen = look(&docker, "box") => seen.is_ok(),
        () = serve => unreachable!(),
    };
    (count, seen)
}

#[tokio::test]
async fn a_container_that_ends_while_it_is_looked_at_is_looked_at_once_more() {
    // Podman 4.3.1, which says so with status 500.
    let ended = ("500 Internal Server Error", r#"{"message":"read /proc/71/cgroup: no such process"}"#);
    let other = ("500 Internal Server Error", r#"{"message":"database is locked"}"#);
    assert_eq!(asked(&[ended, ("200 OK", "{}")]).await, (2, true));
    assert_eq!(asked(&[ended, ended, ("200 OK", "{}")]).await, (2, false));
    assert_eq!(asked(&[other, ("200 OK", "{}")]).await, (1, false));
}
