//! The pump between real pipes.

use super::*;
use agentkernel_backend::{ByteSink, ByteSource, process::Control};
use agentkernel_model::command::TerminalSize;
use rustix::pipe::{PipeFlags, pipe_with};
use std::{
    fs::File,
    io::{Read, Write},
    sync::{Arc, Mutex},
    thread,
};
use tokio::runtime::Builder;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

/// Bytes with no period that a chunk size divides.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

fn writer(fd: OwnedFd, bytes: Vec<u8>) -> thread::JoinHandle<std::io::Result<()>> {
    thread::spawn(move || File::from(fd).write_all(&bytes))
}

fn reader(fd: OwnedFd) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        File::from(fd).read_to_end(&mut all).unwrap();
        all
    })
}

const LONG: usize = 5_000_001;

#[test]
fn every_kind_of_sink_gets_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    let append = dir.path().join("append");
    std::fs::write(&append, b"before").unwrap();
    let appending = std::fs::OpenOptions::new().append(true).open(&append).unwrap();
    for (file, path, before) in
        [(File::create(&plain).unwrap(), &plain, &b""[..]), (appending, &append, b"before")]
    {
        let (read, write) = pipe();
        let feeding = writer(write, noise(LONG));
        let (_trigger, stop) = stop::pair().unwrap();
        block_on(outlet::pass_on(ByteSource::Fd(read), Sink::Fd(file.into()), stop)).unwrap();
        feeding.join().unwrap().unwrap();
        let got = std::fs::read(path).unwrap();
        assert!(got == [before, &noise(LONG)].concat(), "{}", path.display());
    }
    let (read, write) = pipe();
    let (sink_read, sink_write) = pipe();
    let (feeding, taking) = (writer(write, noise(LONG)), reader(sink_read));
    let (_trigger, stop) = stop::pair().unwrap();
    block_on(outlet::pass_on(ByteSource::Fd(read), Sink::Fd(sink_write), stop)).unwrap();
    feeding.join().unwrap().unwrap();
    assert!(taking.join().unwrap() == noise(LONG));
}

#[test]
fn a_sink_that_must_not_be_waited_for_is_waited_for() {
    let (read, write) = pipe();
    let (sink_read, sink_write) = pipe();
    rustix::io::ioctl_fionbio(&sink_write, true).unwrap();
    let (feeding, taking) = (writer(write, noise(LONG)), reader(sink_read));
    let (_trigger, stop) = stop::pair().unwrap();
    block_on(outlet::pass_on(ByteSource::Fd(read), Sink::Fd(sink_write), stop)).unwrap();
    feeding.join().unwrap().unwrap();
    assert!(taking.join().unwrap() == noise(LONG));
}

#[test]
fn a_reader_that_goes_away_closes_the_source() {
    let (read, write) = pipe();
    let (sink_read, sink_write) = pipe();
    drop(sink_read);
    let feeding = writer(write, noise(LONG));
    let (_trigger, stop) = stop::pair().unwrap();
    block_on(outlet::pass_on(ByteSource::Fd(read), Sink::Fd(sink_write), stop)).unwrap();
    assert_eq!(feeding.join().unwrap().unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_full_disk_is_reported() {
    let (read, write) = pipe();
    let feeding = writer(write, noise(LONG));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (_trigger, stop) = stop::pair().unwrap();
    let error = block_on(outlet::pass_on(ByteSource::Fd(read), Sink::Fd(full.into()), stop)).unwrap_err();
    assert_eq!(error.kind(), agentkernel_model::Kind::Exhausted);
    assert!(feeding.join().unwrap().is_err());
}

#[test]
fn small_pieces_are_told_from_a_full_stream_and_from_a_few_lines() {
    use channel::{Channel, Step};
    let ((read, write), (sink_read, sink_write)) = (pipe(), pipe());
    let mut write = File::from(write);
    let mut channel = Channel::new(read.as_fd(), sink_write.as_fd());
    let mut sink = File::from(sink_read);
    let mut taken = vec![0; 40_000];
    let mut step = |length: usize| {
        write.write_all(&noise(length)).unwrap();
        let step = channel.step().unwrap();
        sink.read_exact(&mut taken[..length]).unwrap();
        step
    };
    assert_eq!(step(10), Step::Moved);
    assert_eq!(step(40_000), Step::Moved);
    assert_eq!(step(40_000), Step::Trickled);
    assert_eq!(step(10), Step::Trickled);
}

#[test]
fn what_was_written_before_the_end_arrives_and_what_holds_the_pipe_is_not_waited_for() {
    for written in [&b"last words"[..], b""] {
        let (read, write) = pipe();
        File::from(write.try_clone().unwrap()).write_all(written).unwrap();
        let (trigger, stop) = stop::pair().unwrap();
        drop(trigger);
        let kept = block_on(outlet::pass_on(ByteSource::Fd(read), Sink::memory(1 << 20), stop)).unwrap();
        assert_eq!(kept, written);
        drop(write);
    }
}

#[test]
fn memory_is_bounded() {
    let (read, write) = pipe();
    let feeding = writer(write, noise(LONG));
    let (_trigger, stop) = stop::pair().unwrap();
    let error = block_on(outlet::pass_on(ByteSource::Fd(read), Sink::memory(1 << 20), stop)).unwrap_err();
    assert_eq!(error.to_string(), "the command wrote more than 1 MiB to one stream");
    assert!(feeding.join().unwrap().is_err());
}

#[test]
fn a_stream_of_the_backend_arrives_too() {
    let (sink_read, sink_write) = pipe();
    let taking = reader(sink_read);
    let (_trigger, stop) = stop::pair().unwrap();
    let source = ByteSource::Stream(Box::pin(std::io::Cursor::new(noise(LONG))));
    block_on(outlet::pass_on(source, Sink::Fd(sink_write), stop)).unwrap();
    assert!(taking.join().unwrap() == noise(LONG));
}

#[test]
fn input_arrives_and_its_end_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in");
    std::fs::write(&path, noise(LONG)).unwrap();
    let (piped, write) = pipe();
    let feeding = writer(write, noise(LONG));
    for stdin in [OwnedFd::from(File::open(&path).unwrap()), piped] {
        let (sink_read, sink_write) = pipe();
        let taking = reader(sink_read);
        let (_trigger, stop) = stop::pair().unwrap();
        let end = block_on(inlet::feed(stdin, ByteSink::Fd(sink_write), InputFrom::Stdin, stop));
        assert_eq!(end, InputEnd::Over);
        assert!(taking.join().unwrap() == noise(LONG));
    }
    feeding.join().unwrap().unwrap();
}

#[test]
fn input_for_a_stream_of_the_backend_arrives() {
    let (stdin, write) = pipe();
    let feeding = writer(write, noise(300_000));
    let (mut far, near) = tokio::io::duplex(1000);
    let (_trigger, stop) = stop::pair().unwrap();
    block_on(async {
        let mut got = Vec::new();
        let sink = ByteSink::Stream(Box::pin(near));
        let read = tokio::io::AsyncReadExt::read_to_end(&mut far, &mut got);
        let (end, read) = tokio::join!(inlet::feed(stdin, sink, InputFrom::Stdin, stop), read);
        read.unwrap();
        assert_eq!(end, InputEnd::Over);
        assert!(got == noise(300_000));
    });
    feeding.join().unwrap().unwrap();
}

#[test]
fn input_that_nobody_reads_is_left_to_the_caller() {
    for from in [InputFrom::Stdin, InputFrom::Terminal(Detach::Never)] {
        let (stdin, write) = pipe();
        let (sink_read, sink_write) = pipe();
        drop(sink_read);
        File::from(write).write_all(b"mine").unwrap();
        let (_trigger, stop) = stop::pair().unwrap();
        let kept = stdin.try_clone().unwrap();
        block_on(inlet::feed(stdin, ByteSink::Fd(sink_write), from, stop));
        assert_eq!(reader(kept).join().unwrap(), b"mine", "{from:?}");
    }
}

#[test]
fn a_terminal_gets_its_end_of_input_and_the_keys_leave() {
    for (typed, detach, end, passed) in [
        (&b"exit"[..], Detach::OnKeys, InputEnd::Over, &b"exit\x04"[..]),
        (b"ls\x10\x11", Detach::OnKeys, InputEnd::Detached, b"ls"),
        (b"ls\x10\x11", Detach::Never, InputEnd::Over, b"ls\x10\x11\x04"),
    ] {
        let (stdin, write) = pipe();
        File::from(write).write_all(typed).unwrap();
        let (sink_read, sink_write) = pipe();
        let (_trigger, stop) = stop::pair().unwrap();
        let got = block_on(inlet::feed(stdin, ByteSink::Fd(sink_write), InputFrom::Terminal(detach), stop));
        assert_eq!(got, end);
        assert_eq!(reader(sink_read).join().unwrap(), passed);
    }
}

/// Remembers the signals; SIGKILL ends the command.
#[derive(Clone, Default)]
struct Recorder {
    signals: Arc<Mutex<Vec<Signal>>>,
    killed: Arc<tokio::sync::Notify>,
}

impl Control for Recorder {
    fn signal(&self, signal: Signal) -> Result<()> {
        self.signals.lock().unwrap().push(signal);
        if signal == Signal::Kill {
            self.killed.notify_one();
        }
        Ok(())
    }

    fn resize(&self, _size: TerminalSize) -> Result<()> {
        Ok(())
    }
}

fn process(stdout: ByteSource, control: Recorder, exit: ExitFuture) -> Process {
    Process { stdin: ByteSink::Closed, stdout, stderr: ByteSource::Empty, control: Box::new(control), exit }
}

const QUIET: Plan = Plan { output: OutputTo::Memory, input: InputFrom::Nothing, timeout: None };

#[test]
fn output_and_code_come_back() {
    let (read, write) = pipe();
    writer(write, b"hello".to_vec()).join().unwrap().unwrap();
    let exit: ExitFuture = Box::pin(async { Ok(Exit::Code(7)) });
    let ended = block_on(drive(process(ByteSource::Fd(read), Recorder::default(), exit), QUIET)).unwrap();
    let expected = Ended { how: How::Exit(Exit::Code(7)), stdout: b"hello".to_vec(), stderr: Vec::new() };
    assert_eq!(ended, expected);
}

#[test]
fn a_command_that_never_began_is_an_error() {
    let exit: ExitFuture = Box::pin(async { Err(Error::new(agentkernel_model::Kind::CommandNotFound, "x")) });
    let error = block_on(drive(process(ByteSource::Empty, Recorder::default(), exit), QUIET)).unwrap_err();
    assert_eq!(error.kind().exit_code(), 127);
}

#[test]
fn time_over_is_sigterm_and_then_sigkill() {
    // Paused time: the two seconds of grace pass at once.
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let recorder = Recorder::default();
    let killed = recorder.killed.clone();
    let exit: ExitFuture = Box::pin(async move {
        killed.notified().await;
        Ok(Exit::Signal { number: 9, out_of_memory: false })
    });
    let limit = Duration::from_secs(3600);
    let plan = Plan { timeout: Some(limit), ..QUIET };
    let ended = runtime.block_on(drive(process(ByteSource::Empty, recorder.clone(), exit), plan)).unwrap();
    assert_eq!(ended.how, How::TimedOut(limit));
    assert_eq!(*recorder.signals.lock().unwrap(), [Signal::Terminate, Signal::Kill]);
}

#[test]
fn a_signal_reaches_the_command() {
    let recorder = Recorder::default();
    let seen = recorder.clone();
    let exit: ExitFuture = Box::pin(async move {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR2).unwrap();
        // Until the pump has passed it on.
        std::future::poll_fn(|cx| {
            if seen.signals.lock().unwrap().is_empty() {
                cx.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        })
        .await;
        Ok(Exit::Code(0))
    });
    block_on(drive(process(ByteSource::Empty, recorder.clone(), exit), QUIET)).unwrap();
    assert_eq!(*recorder.signals.lock().unwrap(), [Signal::User2]);
}
