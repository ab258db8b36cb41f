use super::*;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, duplex},
    runtime::Builder,
};

fn in_runtime(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let test = async { tokio::time::timeout(Duration::from_secs(20), test).await };
    runtime.block_on(test).expect("it ends");
}

#[test]
fn a_descriptor_is_passed_as_it_is_and_nothing_is_moved() {
    in_runtime(async {
        let (read, write) = std::io::pipe().unwrap();
        let streams = Streams::of(ByteSink::Fd(write.into()), ByteSource::Fd(read.into()), ByteSource::Empty);
        let Streams { stdin, stdout, stderr, pumps } = streams.unwrap();
        assert!(stdin.is_some() && stdout.is_some() && stderr.is_none());
        assert!(pumps.input.is_empty() && pumps.output.is_empty());
    });
}

#[test]
fn bytes_of_a_stream_come_through_a_pipe_to_their_end() {
    in_runtime(async {
        let (mut theirs, ours) = duplex(16);
        let (input, mut typed) = duplex(16);
        let streams = Streams::of(
            ByteSink::Stream(Box::pin(input)),
            ByteSource::Stream(Box::pin(ours)),
            ByteSource::Empty,
        );
        let Streams { stdin, stdout, pumps, .. } = streams.unwrap();
        let mut stdin = pipe::Sender::from_owned_fd(stdin.unwrap()).unwrap();
        let mut stdout = pipe::Receiver::from_owned_fd(stdout.unwrap()).unwrap();
        stdin.write_all(b"typed").await.unwrap();
        drop(stdin);
        let mut heard = String::new();
        typed.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "typed");
        // More than the pipe holds, so that its end comes while some of it waits.
        let much = vec![b'x'; 1 << 20];
        let writing = async {
            theirs.write_all(&much).await.unwrap();
            drop(theirs);
        };
        let mut all = Vec::new();
        let (_, read, ()) = tokio::join!(writing, stdout.read_to_end(&mut all), pumps.finish());
        read.unwrap();
        assert_eq!(all.len(), much.len());
    });
}

#[test]
fn output_that_nobody_wants_any_more_is_not_waited_for() {
    in_runtime(async {
        let (mut theirs, ours) = duplex(16);
        let streams = Streams::of(ByteSink::Closed, ByteSource::Stream(Box::pin(ours)), ByteSource::Empty);
        let Streams { stdout, pumps, .. } = streams.unwrap();
        drop(stdout);
        let (_, ()) = tokio::join!(theirs.write_all(b"unheard"), pumps.finish());
    });
}
