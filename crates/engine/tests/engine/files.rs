//! Single files of a sandbox, running or not.

use crate::{
    Test,
    bench::{Bench, name},
};
use agentkernel_engine::request::Status;
use agentkernel_model::{Kind, Result, path::GuestPath};
use tokio::io::AsyncReadExt as _;

pub(crate) const TESTS: &[Test] = &[
    ("a_file_goes_in_and_comes_out", a_file_goes_in_and_comes_out),
    ("a_body_of_another_length_changes_nothing", a_body_of_another_length_changes_nothing),
    ("a_stopped_sandbox_is_started_for_a_file_and_stopped_again", a_stopped_sandbox_is_started_and_stopped),
    ("a_long_file_of_a_stopped_sandbox_is_refused", a_long_file_of_a_stopped_sandbox_is_refused),
    ("files_of_nothing_are_not_found", files_of_nothing_are_not_found),
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
