use super::*;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io::Write;

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

#[test]
fn frames_and_descriptors_arrive_in_order() {
    let (a, b) = pair();
    let (read, _write) = rustix::pipe::pipe().unwrap();
    send(a.as_fd(), &Request::Hello { version: 1 }, &[]).unwrap();
    send(a.as_fd(), &Request::Signal(15), &[read.as_fd(), a.as_fd()]).unwrap();
    let mut inbox = Inbox::default();
    assert!(matches!(inbox.recv(&b).unwrap(), Some(Request::Hello { version: 1 })));
    assert!(matches!(inbox.recv(&b).unwrap(), Some(Request::Signal(15))));
    assert!(inbox.take_fd().is_some() && inbox.take_fd().is_some() && inbox.take_fd().is_none());
    drop(a);
    assert!(inbox.recv::<Request>(&b).unwrap().is_none());
}

#[test]
fn long_frames_pass_and_longer_ones_are_refused() {
    let (a, b) = pair();
    let exec = Exec {
        argv: vec!["x".repeat(300_000)],
        env: vec![],
        workdir: "/".into(),
        uid: 0,
        gid: 0,
        terminal: None,
    };
    let writer = std::thread::spawn(move || send(a.as_fd(), &Request::Exec(exec), &[]));
    let mut inbox = Inbox::default();
    let Some(Request::Exec(got)) = inbox.recv(&b).unwrap() else { panic!("no exec") };
    assert_eq!(got.argv[0].len(), 300_000);
    writer.join().unwrap().unwrap();

    let (a, b) = pair();
    std::fs::File::from(a).write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert_eq!(Inbox::default().recv::<Request>(&b).unwrap_err(), Errno::MSGSIZE);
}

#[test]
fn garbage_is_an_error_and_not_a_message() {
    let (a, b) = pair();
    std::fs::File::from(a).write_all(b"\x03\0\0\0{x}").unwrap();
    assert_eq!(Inbox::default().recv::<Request>(&b).unwrap_err(), Errno::PROTO);
}

#[test]
fn failures_keep_their_kind_and_not_their_length() {
    let (a, b) = pair();
    let error = Error::new(Kind::Denied, "a".repeat(3000) + "\x1b[2J");
    send(a.as_fd(), &Reply::NotTransferred(Failure::of(&error)), &[]).unwrap();
    let Some(Reply::NotTransferred(failure)) = Inbox::default().recv(&b).unwrap() else {
        panic!("no failure")
    };
    let error = failure.into_error("cannot unpack");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.message().starts_with("cannot unpack: aa") && error.message().len() < 2100);
    let hostile = Failure { kind: "everything".to_owned(), message: "\x1b[2J".repeat(10_000) };
    let error = hostile.into_error("x");
    assert_eq!(error.kind(), Kind::Internal);
    assert!(!error.message().contains('\x1b') && error.message().len() < 2100);
}

#[test]
fn transfers_take_their_pipe_along() {
    let (a, b) = pair();
    let (read, _write) = rustix::pipe::pipe().unwrap();
    send(a.as_fd(), &Request::Look { path: "/a".into() }, &[]).unwrap();
    send(a.as_fd(), &Request::Pack { path: "/a".into(), name: "b".into() }, &[read.as_fd()]).unwrap();
    let mut inbox = Inbox::default();
    assert!(matches!(inbox.recv(&b).unwrap(), Some(Request::Look { path }) if path == "/a"));
    assert!(
        matches!(inbox.recv(&b).unwrap(), Some(Request::Pack { path, name }) if path == "/a" && name == "b")
    );
    assert!(inbox.take_fd().is_some() && inbox.take_fd().is_none());
    send(b.as_fd(), &Reply::Looked { kind: Some(FileKind::Directory) }, &[]).unwrap();
    let reply = Inbox::default().recv(&a).unwrap();
    assert!(matches!(reply, Some(Reply::Looked { kind: Some(FileKind::Directory) })));
}
