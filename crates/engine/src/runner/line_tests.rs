use super::*;
use crate::runner::protocol::{Order, Reply};
use std::{
    fs::File,
    io::{Read as _, Write as _},
};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn pair() -> (Line, net::UnixStream) {
    let (ours, theirs) = net::UnixStream::pair().unwrap();
    (Line::new(ours).unwrap(), theirs)
}

#[test]
fn a_message_and_its_descriptors_arrive_together() {
    runtime().block_on(async {
        let (ours, theirs) = pair();
        let mut theirs = Line::new(theirs).unwrap();
        let (read, write) = io::pipe().unwrap();
        let text = "x".repeat(3 * CHUNK);
        let fds = [read.as_fd(), write.as_fd()];
        let sent = ours.send(&text, &fds);
        let (sent, heard) = tokio::join!(sent, theirs.receive::<String>());
        sent.unwrap();
        assert_eq!(heard.unwrap().unwrap(), text);
        drop((read, write));
        let (read, write) = (theirs.take_fd().unwrap(), theirs.take_fd().unwrap());
        assert!(theirs.take_fd().is_err());
        for fd in [&read, &write] {
            assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
        File::from(write).write_all(b"through").unwrap();
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    });
}

#[test]
fn a_message_that_comes_in_pieces_is_whole_also_after_a_cancelled_wait() {
    runtime().block_on(async {
        let (mut ours, mut theirs) = pair();
        let frame = frame(&"whole").unwrap();
        for piece in frame.chunks(3) {
            let waited = tokio::time::timeout(std::time::Duration::ZERO, ours.receive::<String>()).await;
            assert!(waited.is_err(), "nothing is whole yet");
            theirs.write_all(piece).unwrap();
        }
        assert_eq!(ours.receive::<String>().await.unwrap().unwrap(), "whole");
    });
}

#[test]
fn an_end_is_told_from_a_message_that_is_cut_off() {
    runtime().block_on(async {
        let (mut ours, theirs) = pair();
        drop(theirs);
        assert!(ours.receive::<Reply>().await.unwrap().is_none());
        let (mut ours, mut theirs) = pair();
        theirs.write_all(&[0, 0, 0, 9, b'"']).unwrap();
        drop(theirs);
        assert!(ours.receive::<Reply>().await.is_err());
    });
}

#[test]
fn what_is_too_long_or_no_message_is_refused() {
    runtime().block_on(async {
        let too_long = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
        let unknown = [&[0, 0, 0, 6][..], br#""none""#].concat();
        for bytes in [too_long.to_vec(), unknown] {
            let (mut ours, mut theirs) = pair();
            theirs.write_all(&bytes).unwrap();
            assert!(ours.receive::<Order>().await.is_err(), "{bytes:?}");
        }
    });
    let error = frame(&"x".repeat(MAX_FRAME)).unwrap_err();
    assert_eq!(error.kind(), agentkernel_model::Kind::Invalid);
}

#[test]
fn a_line_that_is_dropped_ends_for_both_whoever_holds_the_socket() {
    runtime().block_on(async {
        let (ours, theirs) = pair();
        let mut theirs = Line::new(theirs).unwrap();
        let held = ours.socket();
        assert!(theirs.is_quiet());
        drop(ours);
        assert!(!theirs.is_quiet());
        assert!(theirs.receive::<Order>().await.unwrap().is_none());
        assert!(matches!(send_now(&held, &Reply::Values, &[]), Err(Failure::Gone)));
    });
}

#[test]
fn who_does_not_listen_is_not_waited_for() {
    runtime().block_on(async {
        let (ours, _theirs) = pair();
        let socket = ours.socket();
        let deaf = (0..100_000).find_map(|_| send_now(&socket, &"x".repeat(1 << 10), &[]).err());
        assert!(matches!(deaf, Some(Failure::Deaf(_))), "{deaf:?}");
    });
}
