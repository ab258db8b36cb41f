//! Single files of a sandbox, running or not.

use crate::{
    Test,
    bench::{Bench, DEADLINE, name},
};
use agentkernel_engine::request::Status;
use agentkernel_model::{Kind, Result, path::GuestPath};
use agentkernel_testkit::fake::Step;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, ReadBuf},
    sync::oneshot,
};

pub(crate) const TESTS: &[Test] = &[
    ("a_file_goes_in_and_comes_out", a_file_goes_in_and_comes_out),
    ("a_body_of_another_length_changes_nothing", a_body_of_another_length_changes_nothing),
    ("a_stopped_sandbox_is_started_for_a_file_and_stopped_again", a_stopped_sandbox_is_started_and_stopped),
    ("a_long_file_of_a_stopped_sandbox_is_refused", a_long_file_of_a_stopped_sandbox_is_refused),
    ("files_of_nothing_are_not_found", files_of_nothing_are_not_found),
    ("a_write_that_is_dropped_half_way_stops_what_it_started", a_dropped_write_stops_what_it_started),
    ("a_start_for_a_file_that_is_dropped_is_stopped_again", a_dropped_start_is_stopped_again),
    ("a_dropped_write_leaves_a_running_sandbox_alone", a_dropped_write_leaves_a_running_sandbox_alone),
];

fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

fn write(bench: &Bench, to: &str, content: &[u8], size: Option<u64>) -> Result<u64> {
    bench.runtime.block_on(bench.engine.write_file(&name("one"), &path(to), content, size))
}

fn read(bench: &Bench, from: &str) -> Result<Vec<u8>> {
    bench.runtime.block_on(async {
        let mut content = Vec::new();
        let file = bench.engine.read_file(&name("one"), &path(from)).await?;
        file.body.take(64 << 20).read_to_end(&mut content).await.unwrap();
        if let Some(size) = file.size {
            assert_eq!(size, content.len() as u64);
        }
        Ok(content)
    })
}

fn a_file_goes_in_and_comes_out() {
    let bench = Bench::new();
    bench.create("one");
    bench.start("one").unwrap();
    let long = vec![7; 1 << 20];
    assert_eq!(write(&bench, "/new/directory/file", &long, Some(1 << 20)).unwrap(), 1 << 20);
    assert!(read(&bench, "/new/directory/file").unwrap() == long);
    assert_eq!(write(&bench, "/new/directory/file", b"short", None).unwrap(), 5);
    assert_eq!(bench.exec("one", "cat new/directory/file").unwrap(), "short");
    let list =
        bench.runtime.block_on(bench.engine.list_files(&name("one"), &path("/new/directory"))).unwrap();
    assert_eq!(list.entries.iter().map(|e| (e.name.as_str(), e.size)).collect::<Vec<_>>(), [("file", 5)]);
    let remove = |at| bench.runtime.block_on(bench.engine.remove_file(&name("one"), &path(at)));
    remove("/new/directory/file").unwrap();
    assert_eq!(remove("/new/directory/file").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(remove("/new/directory").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(read(&bench, "/new/directory/file").unwrap_err().kind(), Kind::NotFound);
}

fn a_body_of_another_length_changes_nothing() {
    let bench = Bench::new();
    bench.create("one");
    bench.start("one").unwrap();
    write(&bench, "/file", b"old", Some(3)).unwrap();
    for said in [0, 4, 6] {
        let error = write(&bench, "/file", b"fresh", Some(said)).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
    assert_eq!(bench.exec("one", "cat file; ls -A | grep -v tmp").unwrap(), "oldfile\n");
}

fn a_stopped_sandbox_is_started_and_stopped() {
    let bench = Bench::new();
    bench.create("one");
    write(&bench, "/file", b"kept", None).unwrap();
    assert_eq!(bench.info("one").status, Status::Stopped);
    assert_eq!(read(&bench, "/file").unwrap(), b"kept");
    assert_eq!(bench.info("one").status, Status::Stopped);
}

fn a_long_file_of_a_stopped_sandbox_is_refused() {
    let bench = Bench::new();
    bench.create("one");
    bench.start("one").unwrap();
    bench.exec("one", "truncate -s 16777217 file").unwrap();
    assert_eq!(read(&bench, "/file").unwrap().len(), 16_777_217);
    bench.stop("one").unwrap();
    let refused = read(&bench, "/file").unwrap_err();
    assert_eq!((refused.kind(), refused.hint()), (Kind::Exhausted, Some("agentkernel sandbox start one")));
    assert_eq!(bench.info("one").status, Status::Stopped);
}

fn files_of_nothing_are_not_found() {
    let bench = Bench::new();
    assert_eq!(read(&bench, "/file").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(write(&bench, "/file", b"", None).unwrap_err().kind(), Kind::NotFound);
}

/// A body without end, which tells when it is first read.
struct Endless(Option<oneshot::Sender<()>>);

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(read) = self.0.take() {
            let _nobody_waits = read.send(());
        }
        Poll::Pending
    }
}

/// Begins to write a file, and leaves when some of its body is asked for.
async fn leave_a_write(bench: &Bench) {
    let (read, is_read) = oneshot::channel();
    let (sandbox, to) = (name("one"), path("/file"));
    tokio::select! {
        written = bench.engine.write_file(&sandbox, &to, Endless(Some(read)), None) => panic!("{written:?}"),
        is_read = is_read => is_read.unwrap(),
    }
}

/// Until `over`, which nothing tells.
async fn until(what: &str, mut over: impl FnMut() -> bool) {
    let waiting = async {
        while !over() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "{what}");
}

async fn until_stopped(bench: &Bench) {
    let sandbox = name("one");
    let waiting = async {
        while bench.engine.info(&sandbox).await.unwrap().status != Status::Stopped {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "it is never stopped");
}

fn a_dropped_write_stops_what_it_started() {
    let bench = Bench::new();
    bench.create("one");
    bench.runtime.block_on(async {
        leave_a_write(&bench).await;
        until_stopped(&bench).await;
    });
    assert_eq!(read(&bench, "/file").unwrap_err().kind(), Kind::NotFound, "nothing was written");
}

fn a_dropped_start_is_stopped_again() {
    let bench = Bench::new();
    bench.create("one");
    bench.runtime.block_on(async {
        let (sandbox, from) = (name("one"), path("/file"));
        tokio::select! {
            biased;
            read = bench.engine.read_file(&sandbox, &from) => panic!("{:?}", read.map(|file| file.size)),
            // Its keeper has begun, and nobody can work in it yet.
            () = until("it is started", || bench.control.count(Step::Start) > 0) => {}
        }
        until("it is told to stop", || bench.control.count(Step::Stop) > 0).await;
        until_stopped(&bench).await;
    });
}

fn a_dropped_write_leaves_a_running_sandbox_alone() {
    let bench = Bench::new();
    bench.create("one");
    bench.start("one").unwrap();
    bench.runtime.block_on(leave_a_write(&bench));
    assert_eq!(bench.exec("one", "echo here").unwrap(), "here\n");
}
