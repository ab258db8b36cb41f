use super::*;
use crate::{link::keeper::Link, wire};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    pipe::pipe,
};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    thread::JoinHandle,
};

/// Both ends of a stream; `serve` is process 1 and has the inner end of the keeper's conversation.
fn linked(serve: impl FnOnce(Relay, OwnedFd) + Send + 'static) -> (Link, JoinHandle<()>) {
    let link = Link::start(None).unwrap();
    let inner = link.wire.try_clone().unwrap();
    let thread = std::thread::spawn(move || {
        let (relay, control) = Relay::inside(inner.try_clone().unwrap(), inner).unwrap();
        serve(relay, control);
    });
    (link, thread)
}

fn turn_while(relay: &mut Relay, goes_on: impl Fn() -> bool) {
    while goes_on() {
        relay.step(Some(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 })).unwrap();
    }
}

/// Carries on until a whole message is there.
fn hear(relay: &mut Relay, inbox: &mut wire::Inbox, socket: &OwnedFd) -> String {
    rustix::io::ioctl_fionbio(socket, true).unwrap();
    loop {
        if let Some(message) = inbox.pop().unwrap() {
            return message;
        }
        assert_eq!(relay.turn().unwrap(), State::Live);
        match inbox.fill(socket) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(errno) => panic!("{errno}"),
        }
    }
}

#[tokio::test]
async fn descriptors_of_one_side_are_descriptors_of_the_other() {
    let (link, thread) = linked(|mut relay, control| {
        let mut inbox = wire::Inbox::default();
        assert_eq!(hear(&mut relay, &mut inbox, &control), "streams");
        let mut input = File::from(inbox.take_fd().unwrap());
        let mut output = File::from(inbox.take_fd().unwrap());
        // A command that copies its input, as another process would.
        let command = std::thread::spawn(move || std::io::copy(&mut input, &mut output).unwrap());
        turn_while(&mut relay, || !command.is_finished());
        relay.finish(None);
        wire::send(control.as_fd(), &"exited", &[]).unwrap();
        drop(control);
        relay.finish(None);
    });
    let (input, feed) = pipe().unwrap();
    let (drain, output) = pipe().unwrap();
    wire::send(link.control.as_fd(), &"streams", &[input.as_fd(), output.as_fd()]).unwrap();
    drop((input, output));
    let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let copy = sent.clone();
    std::thread::spawn(move || File::from(feed).write_all(&copy).unwrap());
    let mut got = Vec::new();
    File::from(drain).read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), sent.len());
    assert!(got == sent);
    let mut inbox = wire::Inbox::default();
    assert_eq!(inbox.recv::<String>(&link.control).unwrap().as_deref(), Some("exited"));
    assert_eq!(inbox.recv::<String>(&link.control).unwrap(), None);
    thread.join().unwrap();
}

#[tokio::test]
async fn whoever_writes_to_a_reader_that_left_is_told() {
    let (link, thread) = linked(|mut relay, control| {
        let mut inbox = wire::Inbox::default();
        hear(&mut relay, &mut inbox, &control);
        let mut output = File::from(inbox.take_fd().unwrap());
        let command = std::thread::spawn(move || {
            loop {
                if let Err(e) = output.write_all(&[b'y'; 4096]) {
                    return e.kind();
                }
            }
        });
        turn_while(&mut relay, || !command.is_finished());
        assert_eq!(command.join().unwrap(), std::io::ErrorKind::BrokenPipe);
    });
    let (drain, output) = pipe().unwrap();
    wire::send(link.control.as_fd(), &"yes", &[output.as_fd()]).unwrap();
    drop(output);
    let mut first = [0; 10];
    let mut drain = File::from(drain);
    drain.read_exact(&mut first).unwrap();
    drop(drain);
    thread.join().unwrap();
}

#[tokio::test]
async fn the_sandbox_ends_with_its_keeper() {
    let (link, thread) = linked(|mut relay, _control| while relay.turn().unwrap() == State::Live {});
    let Link { control, wire, .. } = link;
    // Process 1 has a copy of the wire in this test; the keeper's relay ends it for both.
    drop((control, wire));
    thread.join().unwrap();
}

/// What a keeper does with bytes of a hostile sandbox.
fn after(frames: &[(Number, Frame<'_>)]) -> (State, usize) {
    let (wire, inner) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let (flows, _kept) = tokio::sync::mpsc::channel(8);
    let (datagrams, _other) =
        socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    let ports = Ports::Keeper(super::super::ports::KeeperPorts { callers: None, flows, datagrams });
    let (mut relay, _control) = Relay::new(inner.try_clone().unwrap(), inner, ports).unwrap();
    let mut bytes = Vec::new();
    frames.iter().for_each(|(number, frame)| frame.write(*number, &mut bytes));
    let mut stream = UnixStream::from(wire);
    let writer = std::thread::spawn(move || {
        let _ = stream.write_all(&bytes);
        stream
    });
    let mut state = State::Live;
    while state == State::Live && !(writer.is_finished() && relay.interest().len() <= 1) {
        state = relay.advance(&[Token::Input]);
        if writer.is_finished() && rustix::io::ioctl_fionread(&relay.input).unwrap() == 0 {
            break;
        }
    }
    drop(writer);
    (state, relay.channels.len())
}

#[test]
fn a_side_that_breaks_the_rules_loses_the_connection() {
    let address = "192.0.2.1:80".parse().unwrap();
    let full = vec![0; MAX_CONTENT];
    assert_eq!(after(&[(1, Frame::Flow(address))]), (State::Live, 2));
    for frames in [
        // Only the keeper opens conversations.
        vec![(1, Frame::Open)],
        // A number of the keeper's, or one that was used.
        vec![(2, Frame::Flow(address))],
        vec![(3, Frame::Flow(address)), (3, Frame::Flow(address))],
        vec![(3, Frame::Flow(address)), (1, Frame::Flow(address))],
        // More than was allowed, in bytes and in allowance.
        vec![(1, Frame::Flow(address)), (1, Frame::Credit(1))],
        // Descriptors beside what is no conversation.
        vec![(1, Frame::Flow(address)), (1, Frame::Descriptors(vec![(3, Use::Both)]))],
        vec![(0, Frame::Descriptors((0..20).map(|n| (2 * n + 1, Use::Both)).collect()))],
        vec![(0, Frame::End), (0, Frame::Data(b"after the end"))],
    ] {
        let seen = after(&frames);
        let ended_before = matches!(frames.as_slice(), [(0, Frame::End), ..]);
        assert!(seen.0 == State::Over || ended_before, "{frames:?}: {seen:?}");
    }
    // Nobody reads the flow: its window fills, and one byte more is too much.
    let mut flood = vec![(1, Frame::Flow(address))];
    flood.extend((0..64).map(|_| (1, Frame::Data(&full))));
    assert_eq!(after(&flood).0, State::Over);
}

#[test]
fn the_number_of_channels_is_bounded() {
    let address = "192.0.2.1:80".parse().unwrap();
    let many: Vec<_> = (0..5000).map(|n| (2 * n + 1, Frame::Flow(address))).collect();
    let (state, channels) = after(&many);
    assert_eq!(state, State::Live);
    // As many as wait for the gateway, and the keeper's own.
    assert_eq!(channels, 9);
}

/// What the keeper owes a sandbox that floods it and reads nothing.
fn owed_after(frames: &[(Number, Frame<'_>)], times: usize) -> (State, usize) {
    let (wire, inner) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let (flows, waiting) = tokio::sync::mpsc::channel(1);
    drop(waiting);
    let (datagrams, _other) =
        socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    let ports = Ports::Keeper(super::super::ports::KeeperPorts { callers: None, flows, datagrams });
    let (mut relay, _control) = Relay::new(inner.try_clone().unwrap(), inner, ports).unwrap();
    let mut bytes = Vec::new();
    for turn in 0..times {
        for (number, frame) in frames {
            frame.write(number + 2 * u32::try_from(turn).unwrap(), &mut bytes);
        }
    }
    let mut stream = UnixStream::from(wire);
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let writer = std::thread::spawn(move || {
        let _ = stream.write_all(&bytes);
        stream
    });
    while relay.state == State::Live && !writer.is_finished() {
        relay.advance(&[Token::Input]);
    }
    let seen = (relay.state, relay.outgoing.len());
    drop(relay);
    writer.join().unwrap();
    seen
}

#[test]
fn whoever_floods_and_does_not_read_is_left() {
    let address = "192.0.2.1:80".parse().unwrap();
    let (state, owed) = owed_after(&[(1, Frame::Flow(address))], 500_000);
    assert_eq!(state, State::Over);
    assert!(owed < 2 * MAX_OWED, "{owed} bytes");
}

#[tokio::test]
async fn the_end_is_known_when_everything_was_passed_on() {
    let (link, thread) = linked(|mut relay, control| {
        let mut inbox = wire::Inbox::default();
        hear(&mut relay, &mut inbox, &control);
        let output = inbox.take_fd().unwrap();
        let mut writer = File::from(output.try_clone().unwrap());
        // As much as the pipe holds, and then no more, while somebody else keeps it open.
        writer.write_all(&[b'x'; 60_000]).unwrap();
        let rest = relay.rest(CONTROL);
        assert!(!relay.is_passed_on(&rest));
        while !relay.is_passed_on(&rest) {
            assert_eq!(relay.turn().unwrap(), State::Live);
        }
        drop((output, writer));
    });
    let (drain, output) = pipe().unwrap();
    // Room for a part of it: the rest is passed on when it is read.
    rustix::pipe::fcntl_setpipe_size(&output, 4096).unwrap();
    wire::send(link.control.as_fd(), &"write", &[output.as_fd()]).unwrap();
    drop(output);
    let mut got = vec![0; 60_000];
    File::from(drain).read_exact(&mut got).unwrap();
    assert!(got.iter().all(|byte| *byte == b'x'));
    thread.join().unwrap();
}

#[tokio::test]
async fn a_sandbox_that_ended_is_not_found_while_somebody_still_reads() {
    let place = tempfile::tempdir().unwrap();
    let callers = crate::client::listener(place.path(), crate::client::SOCKET).unwrap();
    let link = Link::start(Some(callers)).unwrap();
    let inner = link.wire.try_clone().unwrap();
    let (drain, output) = pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&output, 4096).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut relay, control) = Relay::inside(inner.try_clone().unwrap(), inner).unwrap();
        let mut inbox = wire::Inbox::default();
        hear(&mut relay, &mut inbox, &control);
        let writer = File::from(inbox.take_fd().unwrap());
        (&writer).write_all(&[b'x'; 30_000]).unwrap();
        let until = Instant::now() + Duration::from_millis(300);
        relay.finish(Some(until));
    });
    wire::send(link.control.as_fd(), &"write", &[output.as_fd()]).unwrap();
    drop(output);
    thread.join().unwrap();
    drop((link.control, link.wire));
    // The keeper's end has more for a reader that does not read.
    let deadline = Instant::now() + Duration::from_secs(20);
    while crate::client::connect(place.path()).unwrap().is_some() {
        assert!(Instant::now() < deadline, "it is still found");
        std::thread::yield_now();
    }
    let mut got = Vec::new();
    File::from(drain).read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 30_000);
}
