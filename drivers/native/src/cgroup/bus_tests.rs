use super::*;
use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    thread,
};

const PATIENCE: Duration = Duration::from_millis(400);

/// What comes of connecting to, and listening on, a bus that does `serve` with the connection.
fn met_with(serve: impl FnOnce(UnixStream) + Send + 'static) -> Trouble {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bus");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || serve(listener.accept().unwrap().0));
    let me = rustix::process::geteuid().as_raw();
    let trouble = match Bus::connect(&path, me, PATIENCE) {
        Err(trouble) => trouble,
        Ok(mut bus) => loop {
            if let Err(trouble) = bus.receive() {
                break trouble;
            }
        },
    };
    server.join().unwrap();
    trouble
}

/// Reads up to the end of the client's line.
fn line(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap() == 0 {
            break;
        }
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Until the client is gone.
fn hold(mut stream: UnixStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn the_greeting_names_the_user_and_a_rejection_is_told() {
    let trouble = met_with(|mut stream| {
        let hex: String =
            rustix::process::geteuid().as_raw().to_string().bytes().map(|b| format!("{b:x}")).collect();
        assert_eq!(line(&mut stream), format!("\0AUTH EXTERNAL {hex}\r\n"));
        stream.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
        hold(stream);
    });
    assert!(matches!(trouble, Trouble::Rejected), "{trouble:?}");
}

#[test]
fn silence_ends_with_the_patience() {
    let begun = Instant::now();
    let trouble = met_with(hold);
    assert!(matches!(trouble, Trouble::TooLate(_)), "{trouble:?}");
    assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE * 10);
}

#[test]
fn chatter_ends_with_the_patience_too() {
    let trouble = met_with(|mut stream| {
        line(&mut stream);
        let _ = stream.write_all(b"OK 0\r\n");
        let mut byte = [0; 7];
        let _ = stream.read_exact(&mut byte);
        let mut signal = Message::call("a.b", "/a", "a.b", "C");
        signal.kind = super::super::dbus::Kind::Signal;
        let bytes = signal.encode(1).unwrap();
        while stream.write_all(&bytes).is_ok() {}
    });
    assert!(matches!(trouble, Trouble::TooLate(_)), "{trouble:?}");
}

#[test]
fn a_line_without_end_and_a_sudden_end_are_errors() {
    let endless = met_with(|mut stream| while stream.write_all(&[b'x'; 100]).is_ok() {});
    assert!(matches!(endless, Trouble::Malformed(_)), "{endless:?}");
    let ended = met_with(drop);
    assert!(matches!(ended, Trouble::Closed), "{ended:?}");
    let after_the_greeting = met_with(|mut stream| {
        line(&mut stream);
        let _ = stream.write_all(b"OK 0\r\n");
    });
    assert!(matches!(after_the_greeting, Trouble::Closed), "{after_the_greeting:?}");
}

#[test]
fn bytes_that_are_no_message_are_an_error() {
    let trouble = met_with(|mut stream| {
        line(&mut stream);
        let _ = stream.write_all(b"OK 0\r\nthis is no message at all, is it");
        hold(stream);
    });
    assert!(matches!(trouble, Trouble::Malformed(_)), "{trouble:?}");
}

#[test]
fn a_bus_of_somebody_else_is_not_spoken_to() {
    assert!(check_peer(7, 1000, 1000).is_ok());
    assert!(check_peer(7, 0, 1000).is_ok(), "root's");
    assert!(matches!(check_peer(7, 1001, 1000), Err(Trouble::Foreign(_))));
    assert!(matches!(check_peer(0, 1000, 1000), Err(Trouble::Foreign(_))), "of another pid namespace");
    let (pair, _other) = UnixStream::pair().unwrap();
    let (pid, uid) = sys::peer(&pair.into()).unwrap();
    assert_eq!(pid.cast_unsigned(), std::process::id());
    assert_eq!(uid, rustix::process::geteuid().as_raw());
}
