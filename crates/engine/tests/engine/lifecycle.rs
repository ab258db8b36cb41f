//! The life of a named sandbox when nothing goes wrong, and when it is told that something does.

use crate::{
    Test,
    bench::{Bench, DEADLINE, name, request, shell},
};
use agentkernel_engine::{
    request::{Effect, Filter, Status, Stopped},
    values::Values,
};
use agentkernel_model::{Kind, name::Label, port::PublishedPort};
use agentkernel_testkit::{
    fake::{Action, FaultKind, Step},
    proc,
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    time::Duration,
};

pub(crate) const TESTS: &[Test] = &[
    ("a_sandbox_lives_stops_keeps_its_disk_and_goes", a_sandbox_lives_stops_keeps_its_disk_and_goes),
    ("start_and_stop_are_idempotent", start_and_stop_are_idempotent),
    ("two_starts_at_once_start_once", two_starts_at_once_start_once),
    ("a_taken_name_is_refused", a_taken_name_is_refused),
    (
        "what_was_made_is_not_taken_for_another_of_its_name",
        what_was_made_is_not_taken_for_another_of_its_name,
    ),
    ("a_failed_start_says_why_and_leaves_it_stopped", a_failed_start_says_why_and_leaves_it_stopped),
    ("a_failed_create_leaves_nothing", a_failed_create_leaves_nothing),
    ("a_failed_stop_says_why_and_keeps_it_running", a_failed_stop_says_why_and_keeps_it_running),
    ("time_runs_out_for_a_running_sandbox", time_runs_out_for_a_running_sandbox),
    ("time_runs_out_for_a_stopped_sandbox", time_runs_out_for_a_stopped_sandbox),
    ("gc_takes_only_what_it_may", gc_takes_only_what_it_may),
    ("labels_and_projects_filter", labels_and_projects_filter),
    ("ports_are_published", ports_are_published),
    ("a_port_in_use_is_named", a_port_in_use_is_named),
    ("the_socket_speaks_its_version_only", the_socket_speaks_its_version_only),
    ("everything_is_private", everything_is_private),
    ("a_thousand_records_are_listed", a_thousand_records_are_listed),
];

fn a_sandbox_lives_stops_keeps_its_disk_and_goes() {
    let bench = Bench::new();
    let made = bench.create("one");
    assert_eq!((made.status, made.reason), (Status::Stopped, None));
    assert_eq!(bench.control.count(Step::Start), 0, "create does not start");
    let refused = bench.exec("one", "true").unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert_eq!(refused.hint(), Some("agentkernel sandbox start one"));

    assert_eq!(bench.start("one").unwrap().status, Status::Running);
    assert_eq!(bench.exec("one", "echo kept > file; cat file").unwrap(), "kept\n");
    let keeper = bench.keeper(made.uuid);
    let stat = proc::stat(keeper).unwrap();
    assert_eq!(stat.session, keeper, "a session of its own");
    for (fd, target) in [(0, "/dev/null"), (1, "/dev/null"), (2, "/dev/null")] {
        assert_eq!(fs::read_link(format!("/proc/{keeper}/fd/{fd}")).unwrap().to_str(), Some(target));
    }
    let open = fs::read_dir(format!("/proc/{keeper}/fd"))
        .unwrap()
        .filter_map(|e| fs::read_link(e.ok()?.path()).ok());
    let databases: Vec<_> = open.filter(|to| to.to_string_lossy().contains("state.db")).collect();
    assert!(databases.is_empty(), "a keeper holds no database open: {databases:?}");

    let stopped = bench.stop("one").unwrap();
    assert_eq!((stopped.status, stopped.reason), (Status::Stopped, None));
    bench.start("one").unwrap();
    assert_eq!(bench.exec("one", "cat file").unwrap(), "kept\n");

    bench.remove("one").unwrap();
    assert!(bench.names().is_empty());
    assert_eq!(bench.dirs(), 0);
    assert_eq!(bench.exec("one", "true").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(bench.remove("one").unwrap_err().kind(), Kind::NotFound);
}

fn start_and_stop_are_idempotent() {
    let bench = Bench::new();
    bench.create("one");
    assert_eq!(bench.stop("one").unwrap().status, Status::Stopped);
    bench.start("one").unwrap();
    assert_eq!(bench.start("one").unwrap().status, Status::Running);
    assert_eq!(bench.control.count(Step::Start), 1);
    bench.stop("one").unwrap();
    bench.stop("one").unwrap();
}

fn two_starts_at_once_start_once() {
    let bench = Bench::new();
    bench.create("one");
    let mut starts: Vec<_> = (0..6).map(|_| bench.play(&["start", "one"])).collect();
    for start in &mut starts {
        assert!(start.succeeds());
    }
    assert_eq!(bench.control.count(Step::Start), 1);
    assert_eq!(bench.info("one").status, Status::Running);
    bench.remove("one").unwrap();
}

fn a_taken_name_is_refused() {
    let bench = Bench::new();
    bench.create("one");
    let error = bench.runtime.block_on(bench.engine.create(request("one"))).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(error.hint().unwrap().contains("sandbox remove one"));
    assert_eq!((bench.names().len(), bench.dirs()), (1, 1));
}

fn what_was_made_is_not_taken_for_another_of_its_name() {
    let bench = Bench::new();
    let made = bench.create("one");
    let (engine, grace) = (&bench.engine, Duration::ZERO);
    let conflict = |refused: agentkernel_model::Result<()>| {
        assert_eq!(refused.unwrap_err().kind(), Kind::Conflict);
    };
    bench.runtime.block_on(engine.start_made(&made, &Values::default())).unwrap();
    bench.runtime.block_on(engine.exec_made(&made, &shell("true"))).unwrap();
    bench.runtime.block_on(engine.stop_made(&made, grace)).unwrap();
    bench.remove("one").unwrap();

    let other = bench.create("one");
    conflict(bench.runtime.block_on(engine.start_made(&made, &Values::default())).map(drop));
    bench.start("one").unwrap();
    conflict(bench.runtime.block_on(engine.exec_made(&made, &shell("true"))).map(drop));
    conflict(bench.runtime.block_on(engine.stop_made(&made, grace)).map(drop));
    conflict(bench.runtime.block_on(engine.remove_made(&made)));
    let there = bench.info("one");
    assert_eq!((there.uuid, there.status), (other.uuid, Status::Running));
    bench.remove("one").unwrap();
}

fn a_failed_start_says_why_and_leaves_it_stopped() {
    let bench = Bench::new();
    bench.create("one");
    bench.fail(Step::Start, Action::Fail(FaultKind::Exhausted));
    let error = bench.start("one").unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted, "the kind of the keeper's error arrives");
    assert!(error.message().contains("told to fail at 'start'"), "{error}");
    assert_eq!(bench.info("one").status, Status::Stopped);
    bench.start("one").unwrap();
    bench.remove("one").unwrap();
}

fn a_failed_create_leaves_nothing() {
    let bench = Bench::new();
    bench.fail(Step::Create, Action::Fail(FaultKind::Exhausted));
    let error = bench.runtime.block_on(bench.engine.create(request("one"))).unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted);
    assert!(bench.names().is_empty());
    assert_eq!(bench.dirs(), 0);
    bench.create("one");
}

fn a_failed_stop_says_why_and_keeps_it_running() {
    let bench = Bench::new();
    bench.create("one");
    bench.start("one").unwrap();
    bench.fail(Step::Stop, Action::Fail(FaultKind::Denied));
    assert_eq!(bench.stop("one").unwrap_err().kind(), Kind::Denied);
    assert_eq!(bench.info("one").status, Status::Running);
    assert_eq!(bench.exec("one", "echo here").unwrap(), "here\n");
    assert_eq!(bench.stop("one").unwrap().status, Status::Stopped);
}

fn time_runs_out_for_a_running_sandbox() {
    let bench = Bench::new();
    let ttl = Some(Duration::from_millis(1500));
    let made = bench
        .runtime
        .block_on(bench.engine.create(agentkernel_engine::request::CreateRequest { ttl, ..request("one") }));
    let made = made.unwrap();
    assert!(made.expires_at.is_some());
    bench.start("one").unwrap();
    let keeper = proc::handle(bench.keeper(made.uuid)).unwrap();
    bench.await_end(&keeper);
    let info = bench.info("one");
    assert_eq!((info.status, info.reason.as_deref()), (Status::Stopped, Some("expired")));
    for refused in [bench.exec("one", "true").map(drop), bench.start("one").map(drop)] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.message().contains("has expired"), "{error}");
    }
    let report = bench.gc(Stopped::Keep, Effect::Apply);
    assert_eq!((report.removed, report.count), (vec!["one".to_owned()], 1));
    assert_eq!(bench.dirs(), 0);
}

fn time_runs_out_for_a_stopped_sandbox() {
    let bench = Bench::new();
    let ttl = Some(Duration::from_millis(1));
    let expiring = agentkernel_engine::request::CreateRequest { ttl, ..request("one") };
    bench.runtime.block_on(bench.engine.create(expiring)).unwrap();
    // Its millisecond is over once the clock shows another one.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    assert_eq!(bench.info("one").reason.as_deref(), Some("expired"));
    assert!(bench.start("one").unwrap_err().message().contains("has expired"));
}

fn gc_takes_only_what_it_may() {
    let bench = Bench::new();
    bench.create("running");
    bench.start("running").unwrap();
    bench.create("stopped");
    assert_eq!(bench.gc(Stopped::Keep, Effect::Apply).count, 0);
    let dry = bench.gc(Stopped::Remove, Effect::DryRun);
    assert_eq!(dry.removed, ["stopped"]);
    assert_eq!(bench.names(), ["running", "stopped"]);
    assert_eq!(bench.gc(Stopped::Remove, Effect::Apply).removed, ["stopped"]);
    assert_eq!(bench.names(), ["running"]);
    assert_eq!(bench.info("running").status, Status::Running);
    bench.remove("running").unwrap();
}

fn labels_and_projects_filter() {
    let bench = Bench::new();
    for sandbox in ["app", "app-two", "application"] {
        bench.create(sandbox);
    }
    let list = |filter: &Filter| {
        let list = bench.runtime.block_on(bench.engine.list(filter)).unwrap();
        list.into_iter().map(|info| info.name.to_string()).collect::<Vec<_>>()
    };
    let project = Filter { project: Some("app".to_owned()), ..Filter::default() };
    assert_eq!(list(&project), ["app", "app-two"]);
    let blue = Filter { labels: vec![Label::new("team", "blue").unwrap()], ..Filter::default() };
    assert!(list(&blue).is_empty());
    let report = bench.runtime.block_on(bench.engine.gc(&project, Stopped::Remove, Effect::Apply)).unwrap();
    assert_eq!(report.removed, ["app", "app-two"]);
    assert_eq!(bench.names(), ["application"]);
}

fn ports_are_published() {
    let bench = Bench::new();
    // The fake's "inside" is this machine's loopback.
    let inside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let guest = inside.local_addr().unwrap().port();
    let mut create = request("one");
    create.spec.ports = vec![PublishedPort { host: 0, guest }];
    bench.runtime.block_on(bench.engine.create(create)).unwrap();
    let info = bench.start("one").unwrap();
    let published = info.ports[0];
    assert!(published.host != 0 && published.guest == guest);
    let mut outside = TcpStream::connect((Ipv4Addr::LOCALHOST, published.host)).unwrap();
    let (mut server, _) = inside.accept().unwrap();
    outside.write_all(b"ping").unwrap();
    outside.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "ping");
    server.write_all(b"pong").unwrap();
    drop(server);
    heard.clear();
    outside.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "pong");
    bench.stop("one").unwrap();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, published.host)).is_err(), "unpublished with the stop");
    bench.remove("one").unwrap();
}

fn a_port_in_use_is_named() {
    let bench = Bench::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let host = taken.local_addr().unwrap().port();
    let mut create = request("one");
    create.spec.ports = vec![PublishedPort { host, guest: 80 }];
    bench.runtime.block_on(bench.engine.create(create)).unwrap();
    let error = bench.start("one").unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.message().contains(&format!("port {host} of this machine is in use")), "{error}");
    assert!(error.hint().unwrap().contains("--publish"));
    assert_eq!(bench.control.count(Step::Start), 0, "refused before anything starts");
}

fn the_socket_speaks_its_version_only() {
    let bench = Bench::new();
    let made = bench.create("one");
    bench.start("one").unwrap();
    let socket = bench.sandbox_dir(made.uuid).join("keeper.sock");
    let talk = |line: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        // Half closed: whatever is wrong, the keeper has it all.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        BufReader::new(stream).lines().map_while(Result::ok).collect::<Vec<_>>()
    };
    let newer = talk("{\"hello\":{\"version\":99,\"pid\":1}}\n");
    assert!(newer[0].starts_with("{\"hello\":{\"version\":1,"), "{newer:?}");
    assert!(newer[1].contains("protocol 99") && newer[1].contains("conflict"), "{newer:?}");
    assert!(talk("\"shutdown\"\n")[0].contains("must be a hello"));
    assert!(talk("nonsense\n")[0].contains("cannot be understood"));
    assert!(talk(&"x".repeat(70_000))[0].contains("longer than 64 KiB"));
    let status = talk("{\"hello\":{\"version\":1,\"pid\":1}}\n\"status\"\n");
    assert_eq!(status[1], "{\"status\":{\"phase\":\"running\"}}");
    assert_eq!(bench.info("one").status, Status::Running, "no visitor ended it");
    bench.remove("one").unwrap();
}

fn everything_is_private() {
    let bench = Bench::new();
    fs::create_dir(bench.data()).unwrap();
    fs::set_permissions(bench.data(), fs::Permissions::from_mode(0o755)).unwrap();
    let made = bench.create("one");
    bench.start("one").unwrap();
    let mode = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    let dir = bench.sandbox_dir(made.uuid);
    for path in [bench.data(), bench.data().join("sandboxes"), dir.clone()] {
        assert_eq!(mode(&path), 0o700, "{}", path.display());
    }
    for path in
        [bench.data().join("state.db"), dir.join("keeper.lock"), dir.join("op.lock"), dir.join("keeper.sock")]
    {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    bench.remove("one").unwrap();
}

fn a_thousand_records_are_listed() {
    let bench = Bench::new();
    bench.create("seed");
    // Records without their sandboxes: a list asks no backend.
    let database = rusqlite::Connection::open(bench.data().join("state.db")).unwrap();
    database
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
             INSERT INTO sandboxes SELECT printf('00000000-0000-7000-8000-%012d', i), 'box' || i, backend, spec, context,
             state, labels, description, unenforced, created_at, ttl_seconds, expires_at, intent, intent_by,
             CASE WHEN i % 2 THEN 'running' ELSE 'stopped' END, reason, boot_id, ports FROM n, sandboxes
             WHERE name = 'seed'",
        )
        .unwrap();
    drop(database);
    let list = bench.runtime.block_on(bench.engine.list(&Filter::default())).unwrap();
    assert_eq!(list.len(), 1000);
    let ended = list.iter().filter(|info| info.reason.as_deref() == Some("its keeper ended unexpectedly"));
    assert_eq!(ended.count(), 500);
    assert!(list.iter().all(|info| info.status == Status::Stopped));
    let one = bench.runtime.block_on(bench.engine.info(&name("box7"))).unwrap();
    assert!(one.spec.is_some());
}
