//! Processes that are killed in the middle of something.

use crate::{
    Test,
    bench::{Bench, DEADLINE, name, request, shell},
};
use agentkernel_engine::request::{CheckStatus, Effect, Filter, Status, Stopped};
use agentkernel_model::{Kind, id::SandboxId};
use agentkernel_testkit::{
    fake::{Action, Step},
    proc,
};
use rustix::{
    fs::{FlockOperation, flock},
    process::Signal,
};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_killed_keeper_is_reported_and_start_works", a_killed_keeper_is_reported_and_start_works),
    ("a_killed_keeper_can_be_stopped_and_removed", a_killed_keeper_can_be_stopped_and_removed),
    ("a_keeper_that_is_told_to_end_stops_in_order", a_keeper_that_is_told_to_end_stops_in_order),
    ("a_sandbox_that_ends_by_itself_says_so", a_sandbox_that_ends_by_itself_says_so),
    ("a_keeper_that_dies_while_it_starts_is_an_error", a_keeper_that_dies_while_it_starts_is_an_error),
    ("a_killed_starter_leaves_the_sandbox_to_its_keeper", a_killed_starter_leaves_the_sandbox_to_its_keeper),
    ("a_killed_create_is_undone_by_gc", a_killed_create_is_undone_by_gc),
    ("a_killed_create_does_not_block_its_name", a_killed_create_does_not_block_its_name),
    ("a_cancelled_create_is_undone_by_gc", a_cancelled_create_is_undone_by_gc),
    ("a_create_under_way_is_nobodys_garbage", a_create_under_way_is_nobodys_garbage),
    ("a_killed_remove_is_finished_by_gc", a_killed_remove_is_finished_by_gc),
    ("what_has_no_record_is_an_orphan", what_has_no_record_is_an_orphan),
    (
        "a_directory_that_nobody_holds_is_an_orphan_at_once",
        a_directory_that_nobody_holds_is_an_orphan_at_once,
    ),
    (
        "a_killed_remove_leaves_no_directory_to_the_next_verb",
        a_killed_remove_leaves_no_directory_to_the_next_verb,
    ),
    ("a_lost_directory_is_no_obstacle", a_lost_directory_is_no_obstacle),
    ("start_waits_for_the_stop_of_a_killed_command", start_waits_for_the_stop_of_a_killed_command),
    ("stop_waits_for_the_stop_of_a_killed_command", stop_waits_for_the_stop_of_a_killed_command),
    (
        "a_stop_that_comes_after_its_command_died_does_not_count",
        a_stop_that_comes_after_its_command_died_does_not_count,
    ),
    ("a_restarted_machine_is_the_reason", a_restarted_machine_is_the_reason),
];

fn a_killed_keeper_is_reported_and_start_works() {
    let bench = Bench::new();
    let made = bench.create("one");
    bench.start("one").unwrap();
    bench.exec("one", "echo kept > file").unwrap();
    bench.end(bench.keeper(made.uuid), Signal::KILL);
    let info = bench.info("one");
    assert_eq!(
        (info.status, info.reason.as_deref()),
        (Status::Stopped, Some("its keeper ended unexpectedly"))
    );
    let error = bench.exec("one", "true").unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.message().contains("its keeper ended unexpectedly"), "{error}");
    let stops = bench.control.count(Step::Stop);
    assert_eq!(bench.start("one").unwrap().status, Status::Running);
    assert_eq!(bench.control.count(Step::Stop), stops + 1, "what the dead keeper held is cleared away first");
    assert_eq!(bench.exec("one", "cat file").unwrap(), "kept\n");
    bench.remove("one").unwrap();
}

fn a_killed_keeper_can_be_stopped_and_removed() {
    let bench = Bench::new();
    let made = bench.create("one");
    bench.start("one").unwrap();
    bench.end(bench.keeper(made.uuid), Signal::KILL);
    let stopped = bench.stop("one").unwrap();
    assert_eq!(
        (stopped.status, stopped.reason.as_deref()),
        (Status::Stopped, Some("its keeper ended unexpectedly"))
    );
    bench.start("one").unwrap();
    bench.end(bench.keeper(made.uuid), Signal::KILL);
    bench.remove("one").unwrap();
    assert_eq!(bench.dirs(), 0);
}

fn a_keeper_that_is_told_to_end_stops_in_order() {
    let bench = Bench::new();
    let made = bench.create("one");
    bench.start("one").unwrap();
    let stops = bench.control.count(Step::Stop);
    bench.end(bench.keeper(made.uuid), Signal::TERM);
    let info = bench.info("one");
    assert_eq!((info.status, info.reason.as_deref()), (Status::Stopped, Some("its keeper was told to end")));
    assert_eq!(bench.control.count(Step::Stop), stops + 1);
    assert!(!bench.sandbox_dir(made.uuid).join("keeper.sock").exists());
}

fn a_sandbox_that_ends_by_itself_says_so() {
    let bench = Bench::new();
    let made = bench.create("one");
    bench.start("one").unwrap();
    let keeper = proc::handle(bench.keeper(made.uuid)).unwrap();
    // The fake's own way to end.
    let mut inside = UnixStream::connect(bench.sandbox_dir(made.uuid).join("fake/keeper.sock")).unwrap();
    inside.write_all(b"S").unwrap();
    bench.await_end(&keeper);
    let info = bench.info("one");
    assert_eq!((info.status, info.reason.as_deref()), (Status::Stopped, Some("it ended by itself")));
}

fn a_keeper_that_dies_while_it_starts_is_an_error() {
    let bench = Bench::new();
    bench.create("one");
    bench.fail(Step::StartUp, Action::Die);
    let error = bench.start("one").unwrap_err();
    assert!(error.message().contains("ended before the sandbox was up"), "{error}");
    assert!(error.message().contains("signal: 9"), "{error}");
    assert_eq!(bench.info("one").status, Status::Stopped);
    bench.start("one").unwrap();
    bench.remove("one").unwrap();
}

fn is_free(bench: &Bench, id: SandboxId) -> bool {
    let lock = File::open(bench.sandbox_dir(id).join("op.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Waits until nobody holds it. A lock lives as long as any copy of its descriptor, and a test beside this one that starts a
/// process has copies of all that this process has open, until the new one is what it is to be.
fn await_free(bench: &Bench, id: SandboxId, why: &str) {
    let deadline = Instant::now() + DEADLINE;
    while !is_free(bench, id) {
        assert!(Instant::now() < deadline, "{why}");
        std::thread::yield_now();
    }
}

fn a_killed_starter_leaves_the_sandbox_to_its_keeper() {
    let bench = Bench::new();
    let made = bench.create("one");
    bench.fail(Step::Start, Action::Hang);
    let mut starter = bench.play(&["start", "one"]);
    bench.await_step(Step::Start);
    starter.kill();
    assert!(!is_free(&bench, made.uuid), "nobody else works on it while its keeper brings it up");
    bench.end(bench.keeper(made.uuid), Signal::KILL);
    await_free(&bench, made.uuid, "its starter and its keeper are gone");
    bench.start("one").unwrap();
    await_free(&bench, made.uuid, "a keeper lets go of it when it is up");
    bench.remove("one").unwrap();
}

fn killed_create(bench: &Bench) {
    bench.fail(Step::CreateMade, Action::Die);
    assert!(!bench.play(&["create", "one"]).succeeds());
    assert_eq!(bench.dirs(), 1, "something was made");
    assert!(bench.names().is_empty(), "what was never finished is no sandbox");
}

fn a_killed_create_is_undone_by_gc() {
    let bench = Bench::new();
    killed_create(&bench);
    let checks = bench.runtime.block_on(bench.engine.doctor()).unwrap();
    let left = checks.iter().find(|check| check.name == "leftovers").expect("doctor sees it");
    assert_eq!((left.status, left.hint.as_deref()), (CheckStatus::Warning, Some("agentkernel gc")));
    assert_eq!(bench.gc(Stopped::Keep, Effect::DryRun).orphans, ["one"]);
    assert_eq!(bench.dirs(), 1);
    let report = bench.gc(Stopped::Keep, Effect::Apply);
    assert_eq!((report.orphans, report.count), (vec!["one".to_owned()], 1));
    assert_eq!(bench.dirs(), 0);
    assert_eq!(bench.gc(Stopped::Keep, Effect::Apply).count, 0);
}

fn a_killed_create_does_not_block_its_name() {
    let bench = Bench::new();
    killed_create(&bench);
    bench.create("one");
    assert_eq!((bench.names(), bench.dirs()), (vec!["one".to_owned()], 1));
}

fn a_cancelled_create_is_undone_by_gc() {
    let bench = Bench::new();
    bench.fail(Step::CreateMade, Action::Hang);
    bench.runtime.block_on(async {
        let cut = tokio::time::timeout(Duration::from_millis(300), bench.engine.create(request("one"))).await;
        assert!(cut.is_err());
    });
    assert_eq!(bench.gc(Stopped::Keep, Effect::Apply).orphans, ["one"]);
    assert_eq!(bench.dirs(), 0);
}

fn a_create_under_way_is_nobodys_garbage() {
    let bench = Bench::new();
    bench.fail(Step::CreateMade, Action::Hang);
    let mut creator = bench.play(&["create", "one"]);
    bench.await_step(Step::CreateMade);
    assert_eq!(bench.gc(Stopped::Remove, Effect::Apply).count, 0);
    assert_eq!(bench.dirs(), 1);
    let error = bench.runtime.block_on(bench.engine.create(request("one"))).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(error.message().contains(&format!("being created by process {}", creator.0.id())), "{error}");
    assert_eq!(bench.dirs(), 1, "the refused one left no directory");
    creator.kill();
    assert_eq!(bench.gc(Stopped::Keep, Effect::Apply).orphans, ["one"]);
}

fn a_killed_remove_is_finished_by_gc() {
    let bench = Bench::new();
    bench.create("one");
    bench.fail(Step::Destroy, Action::Die);
    assert!(!bench.play(&["remove", "one"]).succeeds());
    assert_eq!(bench.info("one").reason.as_deref(), Some("its removal was interrupted"));
    assert_eq!(bench.start("one").unwrap_err().kind(), Kind::Conflict);
    assert_eq!(bench.gc(Stopped::Keep, Effect::Apply).orphans, ["one"]);
    assert!(bench.names().is_empty());
    assert_eq!(bench.dirs(), 0);
}

fn what_has_no_record_is_an_orphan() {
    let bench = Bench::new();
    let made = bench.create("lost");
    bench.create("kept");
    let database = rusqlite::Connection::open(bench.data().join("state.db")).unwrap();
    database.execute("DELETE FROM sandboxes WHERE name = 'lost'", []).unwrap();
    drop(database);
    let filtered = Filter { project: Some("lost".to_owned()), ..Filter::default() };
    let report = bench.runtime.block_on(bench.engine.gc(&filtered, Stopped::Keep, Effect::Apply)).unwrap();
    assert_eq!(report.count, 0, "an orphan has no name that a filter could match");
    assert_eq!(bench.gc(Stopped::Keep, Effect::Apply).orphans, [made.uuid.to_string()]);
    assert_eq!((bench.names(), bench.dirs()), (vec!["kept".to_owned()], 1));
}

/// What is left by a crash of `create` before the record, and of `remove` after it.
fn a_directory_that_nobody_holds_is_an_orphan_at_once() {
    let bench = Bench::new();
    bench.create("kept");
    let [bare, unlocked, held] = [(); 3].map(|()| SandboxId::new());
    for id in [bare, unlocked, held] {
        fs::create_dir(bench.sandbox_dir(id)).unwrap();
    }
    drop(File::create(bench.sandbox_dir(unlocked).join("op.lock")).unwrap());
    let lock = File::create(bench.sandbox_dir(held).join("op.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut orphans = [bare, unlocked].map(|id| id.to_string());
    orphans.sort();
    for (effect, dirs) in [(Effect::DryRun, 4), (Effect::Apply, 2)] {
        let mut found = bench.gc(Stopped::Keep, effect).orphans;
        found.sort();
        assert_eq!(found, orphans);
        assert_eq!(bench.dirs(), dirs);
    }
    drop(lock);
    // A child that another test is starting may have a copy of it until it executes something.
    let again = File::open(bench.sandbox_dir(held).join("op.lock")).unwrap();
    flock(&again, FlockOperation::LockExclusive).unwrap();
    drop(again);
    assert_eq!(bench.gc(Stopped::Keep, Effect::Apply).orphans, [held.to_string()]);
    assert_eq!((bench.names(), bench.dirs()), (vec!["kept".to_owned()], 1));
}

/// One that waited for the lock of a sandbox while it was removed makes nothing of it again.
fn a_killed_remove_leaves_no_directory_to_the_next_verb() {
    let bench = Bench::new();
    let made = bench.create("one");
    let lock = File::open(bench.sandbox_dir(made.uuid).join("op.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut waiting = bench.play(&["start", "one"]);
    // It has read the record and waits for the lock.
    let deadline = Instant::now() + DEADLINE;
    let waits = || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&format!(" {} ", waiting.0.id())))
    };
    while !waits() {
        assert!(Instant::now() < deadline, "it does not wait");
        std::thread::yield_now();
    }
    let database = rusqlite::Connection::open(bench.data().join("state.db")).unwrap();
    database.execute("DELETE FROM sandboxes", []).unwrap();
    drop((database, lock));
    assert!(!waiting.succeeds());
    assert_eq!(bench.dirs(), 0, "the directory of a sandbox without a record is cleared away");
}

fn a_lost_directory_is_no_obstacle() {
    let bench = Bench::new();
    let made = bench.create("one");
    fs::remove_dir_all(bench.sandbox_dir(made.uuid)).unwrap();
    bench.remove("one").unwrap();
    assert_eq!((bench.names().len(), bench.dirs()), (0, 0));
}

/// A keeper that is in the middle of a stop whose command was killed.
fn killed_stop(bench: &Bench) {
    bench.create("one");
    bench.start("one").unwrap();
    let (told, tell) = std::io::pipe().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&tell));
    let stubborn =
        format!("trap '' TERM; exec 3>{path}; echo up >&3; exec 3>&-; while :; do sleep 0.1; done");
    let process = bench.runtime.block_on(bench.engine.exec(&name("one"), &shell(&stubborn))).unwrap();
    let mut line = String::new();
    BufReader::new(told).read_line(&mut line).unwrap();
    let mut stopper = bench.play(&["stop", "one"]);
    bench.await_step(Step::Stop);
    stopper.kill();
    drop(process);
}

fn start_waits_for_the_stop_of_a_killed_command() {
    let bench = Bench::new();
    killed_stop(&bench);
    assert_eq!(bench.start("one").unwrap().status, Status::Running);
    assert_eq!(bench.control.count(Step::Start), 2, "it was started again after the stop");
    assert_eq!(bench.exec("one", "echo here").unwrap(), "here\n");
    bench.remove("one").unwrap();
}

fn stop_waits_for_the_stop_of_a_killed_command() {
    let bench = Bench::new();
    killed_stop(&bench);
    assert_eq!(bench.stop("one").unwrap().status, Status::Stopped);
    assert_eq!(bench.control.count(Step::Stop), 1, "one stop is enough");
    bench.remove("one").unwrap();
}

fn a_stop_that_comes_after_its_command_died_does_not_count() {
    let bench = Bench::new();
    let made = bench.create("one");
    bench.start("one").unwrap();
    // A connection of a command that is no longer there, whose bytes are still to be read.
    let mut late = UnixStream::connect(bench.sandbox_dir(made.uuid).join("keeper.sock")).unwrap();
    late.set_read_timeout(Some(DEADLINE)).unwrap();
    late.write_all(b"{\"hello\":{\"version\":1,\"pid\":1}}\n").unwrap();
    let mut answers = BufReader::new(late.try_clone().unwrap()).lines();
    answers.next().unwrap().unwrap();
    assert_eq!(bench.start("one").unwrap().status, Status::Running);
    late.write_all(b"\"shutdown\"\n").unwrap();
    let refused = answers.next().unwrap().unwrap();
    assert!(refused.contains("started again since"), "{refused}");
    assert_eq!(bench.exec("one", "echo here").unwrap(), "here\n");
    assert_eq!(bench.stop("one").unwrap().status, Status::Stopped, "a later one counts");
}

fn a_restarted_machine_is_the_reason() {
    let bench = Bench::new();
    let made = bench.create("one");
    bench.start("one").unwrap();
    bench.end(bench.keeper(made.uuid), Signal::KILL);
    let database = rusqlite::Connection::open(bench.data().join("state.db")).unwrap();
    database.execute("UPDATE sandboxes SET boot_id = 'another'", []).unwrap();
    drop(database);
    assert_eq!(bench.info("one").reason.as_deref(), Some("the machine was restarted"));
}
