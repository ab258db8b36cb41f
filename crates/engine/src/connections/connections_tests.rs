use super::*;
use crate::audit::{
    AuditEntry,
    log::{LIMIT, old},
};
use agentkernel_egress::{Outcome, Reason, Shortage};
use agentkernel_model::{egress::Protocol, secret::SecretName};
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};
use tempfile::tempdir;

fn host(data: &Path) -> Host {
    Host {
        data: data.to_owned(),
        exe: "/nowhere".into(),
        uid: rustix::process::geteuid().as_raw(),
        gid: 0,
        login: "tester".to_owned(),
        surroundings: agentkernel_backend::Surroundings::default(),
    }
}

fn connection(name: &str, outcome: Outcome) -> Connection {
    Connection {
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(951_782_399_042),
        lasted: Duration::from_millis(7),
        protocol: Protocol::Tcp,
        destination: "93.184.215.14:443".parse().unwrap(),
        name: Some(name.to_owned()),
        rule: Some(format!("allow {name}:443")),
        outcome,
        sent: 3,
        received: 4,
    }
}

fn journal(data: &Path, sandbox: &str, start: Start) -> Journal {
    Journal::new(host(data), data.join(NAME), sandbox.to_owned(), start)
}

fn entry(name: &str) -> Entry {
    Entry::of_connection(&connection(name, Outcome::Closed))
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn all() -> Wanted {
    Wanted { only_blocked: false, limit: 1000 }
}

/// A log with an `audit` that writes, as an engine makes it.
fn log(data: &Path) -> Arc<Log> {
    let engine = Engine::new(
        host(data),
        agentkernel_backend::Registry::new(&[]),
        agentkernel_image::HostFacts::default(),
    )
    .with_audit(Audit::of(&host(data)));
    Log::of(&engine, SandboxId::new(), "box".to_owned(), data.join(NAME), Start::WhereItEnds).unwrap()
}

#[test]
fn a_line_says_everything_and_follows_the_one_before() {
    let data = tempdir().unwrap();
    let mut journal = journal(data.path(), "box", Start::WhereItEnds);
    journal.append(&entry("a.example.com")).unwrap();
    let request = Request {
        at: SystemTime::UNIX_EPOCH,
        host: "b.example.com".to_owned(),
        address: "[2606::1]:443".parse().unwrap(),
        method: "POST".to_owned(),
        path: "/v1".to_owned(),
        status: Some(201),
        rule: None,
        refused: None,
        secrets: vec!["KEY".parse::<SecretName>().unwrap()],
    };
    journal.append(&Entry::of_request(&request)).unwrap();
    let lines = lines(&data.path().join(NAME));
    let zeros = "0".repeat(64);
    assert_eq!(
        lines[0],
        format!(
            r#"{{"timestamp":"2000-02-28T23:59:59.042Z","type":"connection","verdict":"allowed","name":"a.example.com","address":"93.184.215.14","port":443,"rule":"allow a.example.com:443","sent":3,"received":4,"duration_ms":7,"sandbox":"box","seq":0,"prev":"{zeros}"}}"#
        )
    );
    let second = AuditEntry::parse(lines[1].as_bytes()).unwrap();
    // sha256sum of the first line.
    assert_eq!(second.text("prev"), Some(entry::hash(lines[0].as_bytes()).as_str()));
    assert_eq!(second.fields()["secrets"], serde_json::json!(["KEY"]));
    assert_eq!(second.fields()["status"], 201);
    assert_eq!(entry::hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

fn request(status: Option<u16>, refused: Option<&str>, secrets: &[&str]) -> Entry {
    Entry::of_request(&Request {
        at: SystemTime::UNIX_EPOCH,
        host: "b.example.com".to_owned(),
        address: "93.184.215.14:443".parse().unwrap(),
        method: "GET".to_owned(),
        path: "/".to_owned(),
        status,
        rule: Some("allow b.example.com".to_owned()),
        refused: refused.map(str::to_owned),
        secrets: secrets.iter().map(|name| name.parse().unwrap()).collect(),
    })
}

#[test]
fn a_request_that_went_out_is_none_that_was_blocked_whatever_became_of_its_answer() {
    let why = Some("it answers in an encoding that was not asked for");
    for (entry, verdict, weight) in [
        (request(Some(200), why, &["KEY"]), "allowed", entry::Weight::Heavy),
        (request(Some(101), why, &[]), "allowed", entry::Weight::Heavy),
        (request(None, why, &["KEY"]), "allowed", entry::Weight::Heavy),
        (request(None, None, &[]), "allowed", entry::Weight::Heavy),
        (request(None, why, &[]), "blocked", entry::Weight::Light),
    ] {
        assert_eq!((entry.weight(), entry.blocked().is_some()), (weight, verdict == "blocked"), "{entry:?}");
        let line = entry::line(&entry, "box", &entry::Link::first()).unwrap();
        let line = AuditEntry::parse(&line).unwrap();
        assert_eq!(line.text("verdict"), Some(verdict), "{entry:?}");
        assert_eq!(line.text("rule"), Some("allow b.example.com"), "{entry:?}");
    }
    let line = entry::line(&request(Some(200), why, &["KEY"]), "box", &entry::Link::first()).unwrap();
    assert_eq!(AuditEntry::parse(&line).unwrap().text("reason"), why, "and the reason beside it");
}

#[test]
fn what_a_sandbox_chose_is_bounded() {
    let data = tempdir().unwrap();
    let nasty = "\u{1}\"".repeat(10_000);
    let mut connection = connection(&nasty, Outcome::Refused(Reason::Private));
    connection.rule = Some(nasty.clone());
    let request = Request {
        at: SystemTime::now(),
        host: nasty.clone(),
        address: connection.destination,
        method: nasty.clone(),
        path: nasty.clone(),
        status: None,
        rule: Some(nasty.clone()),
        refused: Some(nasty.clone()),
        secrets: (0..500).map(|n| format!("KEY_{n}").parse().unwrap()).collect(),
    };
    let mut journal = journal(data.path(), "box", Start::Anew);
    for entry in
        [Entry::of_connection(&connection), Entry::of_request(&request), Entry::of_name(&nasty, Some(&nasty))]
    {
        journal.append(&entry).unwrap();
    }
    assert!(lines(&data.path().join(NAME)).iter().all(|line| line.len() < 4096));
    assert_eq!(verify(&data.path().join(NAME), &Ends::default()).unwrap().broken, None);
}

#[test]
fn a_later_keeper_goes_on_where_the_last_one_ended() {
    let data = tempdir().unwrap();
    for name in ["a.example.com", "b.example.com"] {
        journal(data.path(), "box", Start::WhereItEnds).append(&entry(name)).unwrap();
    }
    let found = verify(&data.path().join(NAME), &Ends::default()).unwrap();
    assert_eq!((found.lines, found.rotated, found.broken), (2, false, None));
    assert_eq!(found.last, Some(entry::hash(lines(&data.path().join(NAME))[1].as_bytes())));
}

#[test]
fn chains_of_one_file_do_not_disturb_each_other() {
    let data = tempdir().unwrap();
    let mut one = journal(data.path(), "one", Start::Anew);
    let mut two = journal(data.path(), "two", Start::Anew);
    for _ in 0..3 {
        one.append(&entry("a.example.com")).unwrap();
        two.append(&entry("b.example.com")).unwrap();
    }
    assert_eq!(verify(&data.path().join(NAME), &Ends::default()).unwrap().broken, None);
}

/// The first broken line of five after `change`.
fn broken(change: impl Fn(&mut Vec<String>)) -> Option<(u64, &'static str)> {
    let data = tempdir().unwrap();
    let path = data.path().join(NAME);
    let mut journal = journal(data.path(), "box", Start::WhereItEnds);
    for n in 0..5 {
        journal.append(&entry(&format!("h{n}.example.com"))).unwrap();
    }
    let mut text = lines(&path);
    change(&mut text);
    fs::write(&path, text.join("\n") + "\n").unwrap();
    verify(&path, &Ends::default()).unwrap().broken.map(|broken| (broken.line, broken.what))
}

#[test]
fn what_was_changed_or_taken_out_is_seen() {
    assert_eq!(broken(|_| {}), None);
    let changed = |lines: &mut Vec<String>| lines[2] = lines[2].replace("h2.example", "h9.example");
    assert_eq!(broken(changed), Some((4, "the line before it was changed")));
    let missing = Some((3, "lines before it are missing"));
    assert_eq!(broken(|lines| drop(lines.remove(2))), missing);
    assert_eq!(broken(|lines| lines.swap(2, 3)), missing);
    assert_eq!(broken(|lines| drop(lines.drain(..2))), Some((1, "lines before it are missing")));
    assert_eq!(broken(|lines| lines.insert(1, lines[0].clone())), Some((2, "lines before it are missing")));
    assert_eq!(broken(|lines| lines.insert(1, "{}".to_owned())), Some((2, "it is no line of this log")));
    assert_eq!(broken(|lines| lines[4].truncate(50)), Some((5, "it is cut off")));
    assert_eq!(broken(|lines| lines[1] = "x".repeat(100_000)), Some((2, "it is too long")));
    // A chain has no end: the last lines are missed only by who knows the last hash.
    assert_eq!(broken(|lines| lines.truncate(3)), None);
}

#[test]
fn a_chain_goes_on_through_files_that_are_moved_away() {
    let data = tempdir().unwrap();
    let path = data.path().join(NAME);
    let limit = 8192;
    let mut journal = journal(data.path(), "box", Start::WhereItEnds).with_limit(limit);
    let mut fill = |times: usize| {
        (0..times).for_each(|_| assert_eq!(journal.append(&entry("a.example.com")).unwrap(), Fate::Written));
    };
    fill(40);
    let once = verify::check(&path, &Ends::default(), limit).unwrap();
    assert!(old(&path).exists() && !once.rotated, "{once:?}");
    assert_eq!((once.lines, once.broken), (40, None));
    fill(100);
    let often = verify::check(&path, &Ends::default(), limit).unwrap();
    assert!(often.rotated && often.lines < 140, "{often:?}");
    assert_eq!(often.broken, None);
    // The newest file begins behind the last line of the one before it.
    let whole = fs::read_to_string(old(&path)).unwrap();
    let (rest, last) = whole.trim_end().rsplit_once('\n').unwrap();
    fs::write(old(&path), format!("{rest}\n{}\n", last.replace("a.example.com", "b.example.com"))).unwrap();
    let changed = verify::check(&path, &Ends::default(), limit).unwrap().broken.unwrap();
    assert_eq!(
        (changed.path, changed.line, changed.what),
        (path.clone(), 1, "the line before it was changed")
    );
    fs::write(old(&path), format!("{rest}\n")).unwrap();
    let shorter = verify::check(&path, &Ends::default(), limit).unwrap().broken.unwrap();
    assert_eq!((shorter.path, shorter.line, shorter.what), (path.clone(), 1, "lines before it are missing"));
    fs::write(old(&path), &whole).unwrap();
    // A file that was moved away was full.
    let text = lines(&old(&path));
    fs::write(old(&path), text[text.len() / 2..].join("\n") + "\n").unwrap();
    let cut = verify::check(&path, &Ends::default(), limit).unwrap().broken.unwrap();
    assert_eq!((cut.line, cut.what), (1, "lines before it are missing"));
    fs::remove_file(old(&path)).unwrap();
    assert!(verify::check(&path, &Ends::default(), LIMIT).unwrap().broken.is_some());
}

#[tokio::test]
async fn what_is_told_is_written_at_the_latest_when_the_gateway_has_finished() {
    let data = tempdir().unwrap();
    let log = log(data.path());
    log.connection(&connection("a.example.com", Outcome::Closed));
    log.refused_name("b.example.com", None);
    log.finished();
    assert_eq!(lines(&data.path().join(NAME)).len(), 2);
    log.refused_name("c.example.com", None);
    drop(log);
    let page = read(&data.path().join(NAME), all()).unwrap();
    assert_eq!(
        page.entries.iter().map(AuditEntry::event).collect::<Vec<_>>(),
        ["connection", "refused_name", "refused_name"]
    );
    let blocked = Wanted { only_blocked: true, limit: 1 };
    let page = read(&data.path().join(NAME), blocked).unwrap();
    assert_eq!(page.entries[0].text("name"), Some("c.example.com"));
}

#[tokio::test]
async fn a_flood_of_questions_pushes_nothing_out_and_does_not_fill_the_log_of_events() {
    let data = tempdir().unwrap();
    let log = log(data.path());
    log.connection(&connection("a.example.com", Outcome::Closed));
    for n in 0..60_000 {
        log.refused_name(&format!("h{n}.example.com"), None);
    }
    log.connection(&connection("b.example.com", Outcome::Closed));
    log.finished();
    let written = lines(&data.path().join(NAME));
    // On a slow machine it takes some seconds.
    assert!(written.len() < 10_000, "{}", written.len());
    let is_there = |name: &str| written.iter().any(|line| line.contains(&format!("\"{name}\"")));
    assert!(is_there("a.example.com") && is_there("b.example.com"));
    assert!(written.last().unwrap().contains(r#""type":"lost","verdict":"blocked","lost":"#), "{written:?}");
    assert_eq!(verify(&data.path().join(NAME), &Ends::default()).unwrap().broken, None);
    let told = lines(&data.path().join("audit.jsonl"));
    let blocked = told.iter().filter(|line| line.contains(r#""type":"network_blocked""#)).count();
    assert_eq!((blocked, told.len()), (MOST_BLOCKED, MOST_BLOCKED + 1), "and the end of the chain");
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_until_it_can() {
    let data = tempdir().unwrap();
    let path = data.path().join(NAME);
    fs::create_dir(&path).unwrap();
    let log = log(data.path());
    for n in 0..3 {
        log.connection(&connection(&format!("h{n}.example.com"), Outcome::Closed));
    }
    // Each tries once: the last time it is the count that cannot be written.
    (0..4).for_each(|_| log.finished());
    assert!(log.audit.take_trouble().is_some());
    fs::remove_dir(&path).unwrap();
    log.finished();
    let written = lines(&path);
    assert!(written.len() == 1 && written[0].contains(r#""lost":3"#), "{written:?}");
}

/// The runtime of a keeper has one thread, as this one.
#[tokio::test]
async fn what_the_gateway_is_short_of_is_written_when_it_can_be() {
    let data = tempdir().unwrap();
    let path = data.path().join(NAME);
    fs::create_dir(&path).unwrap();
    let log = log(data.path());
    log.shortage(Shortage::Descriptors);
    // Without a descriptor no file is opened, so it is the first that fails, and it is no less true later.
    (0..3).for_each(|_| log.finished());
    fs::remove_dir(&path).unwrap();
    log.finished();
    let written = lines(&path);
    assert!(written.len() == 1 && written[0].contains(r#""type":"shortage""#), "{written:?}");
    assert!(written[0].contains("no descriptor left"), "{written:?}");
}

#[tokio::test]
async fn a_disk_that_stands_still_holds_up_no_connection() {
    let data = tempdir().unwrap();
    let log = log(data.path());
    let (held, holds) = std::sync::mpsc::channel();
    let (go, released) = std::sync::mpsc::channel();
    let disk = std::thread::spawn({
        let log = Arc::clone(&log);
        move || {
            let _pen = log.pen.lock().unwrap();
            held.send(()).unwrap();
            released.recv_timeout(Duration::from_secs(10)).is_ok()
        }
    });
    holds.recv().unwrap();
    log.connection(&connection("a.example.com", Outcome::Closed));
    // As often as it takes for the task that writes to have had its turn.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    assert!(disk.join().unwrap(), "this thread waited for the disk");
    log.finished();
    assert_eq!(lines(&data.path().join(NAME)).len(), 1);
}

#[test]
fn a_sandbox_has_its_share_of_a_file_and_no_more() {
    let limit = 100_000;
    let write = |journal: &mut Journal, entry: &Entry| {
        (0..2000).filter(|_| journal.append(entry).unwrap() == Fate::Written).count()
    };
    let (light, heavy) = (Entry::of_name("a.example.com", None), entry("a.example.com"));
    let data = tempdir().unwrap();
    let path = data.path().join(NAME);
    let mut other = journal(data.path(), "other", Start::Anew).with_limit(limit);
    other.append(&heavy).unwrap();
    let mut flood = journal(data.path(), "flood", Start::Anew).with_limit(limit);
    let (blocked, went_out) = (write(&mut flood, &light), write(&mut flood, &heavy));
    assert!(blocked > 5 && went_out > 40, "{blocked} {went_out}");
    assert!(fs::metadata(&path).unwrap().len() < limit / 4, "and nothing of others was pushed out");
    assert!(lines(&path)[0].contains(r#""sandbox":"other""#));
    assert_eq!(flood.append(&Entry::lost(7, entry::Weight::Light)).unwrap(), Fate::Written);
    // Another file has another share.
    fs::rename(&path, old(&path)).unwrap();
    assert_eq!(flood.append(&light).unwrap(), Fate::Written);
    assert_eq!(verify(&path, &Ends::default()).unwrap().broken.map(|broken| broken.what), None);

    assert_eq!(flood.append(&Entry::of_asked_name("a.example.com")).unwrap(), Fate::Written);

    let own = tempdir().unwrap();
    let mut own = journal(own.path(), "box", Start::WhereItEnds).with_limit(limit);
    let blocked = write(&mut own, &light);
    assert!((40..200).contains(&blocked), "{blocked}");
    let names = write(&mut own, &Entry::of_asked_name("a.example.com"));
    assert!((40..200).contains(&names), "a share of its own: {names}");
    assert_eq!(write(&mut own, &heavy), 2000, "a file of its own is for what went out");
}

#[tokio::test]
async fn a_follower_sees_what_comes_through_a_rotation_until_the_sandbox_ends() {
    let data = tempdir().unwrap();
    let dir = SandboxDir { path: data.path().to_owned() };
    let keeper = crate::lock::Lock::block(&dir.keeping()).unwrap();
    let path = of_sandbox(&dir);
    let mut journal = journal(data.path(), "box", Start::WhereItEnds).with_limit(4096);
    journal.append(&entry("before.example.com")).unwrap();
    let (page, mut following) = follow(path.clone(), Some(dir), all()).unwrap();
    assert_eq!(page.entries.len(), 1);
    let mut seen = 0;
    for n in 0..40_usize {
        journal.append(&entry(&format!("h{n}.example.com"))).unwrap();
        if n % 10 == 9 {
            let entries = following.next().await.unwrap().unwrap();
            assert_eq!(entries[0].text("name"), Some(format!("h{seen}.example.com").as_str()));
            seen += entries.len();
            assert_eq!(seen, n + 1);
        }
    }
    // What waits for a line hears of the end.
    let (next, ()) = tokio::join!(following.next(), async { drop(keeper) });
    assert!(next.unwrap().is_none());
}

#[test]
fn a_log_that_is_turned_off_is_none() {
    let data = tempdir().unwrap();
    let engine = Engine::new(
        host(data.path()),
        agentkernel_backend::Registry::new(&[]),
        agentkernel_image::HostFacts::default(),
    );
    assert!(observe_unnamed(&engine, SandboxId::new()).is_none());
}

#[test]
fn a_line_says_what_was_wrong_with_what_came() {
    let outcome = Outcome::Broken(std::io::ErrorKind::InvalidData);
    let entry = Entry::of_connection(&connection("a.example.com", outcome));
    assert_eq!(entry.why(), "allow a.example.com:443");
    let line = entry::line(&entry, "box", &entry::Link::first()).unwrap();
    assert!(String::from_utf8(line).unwrap().contains("no HTTP or TLS that can be read"));
}

fn head_of(path: &Path) -> PathBuf {
    path.with_extension("jsonl.head")
}

/// A log whose gateway has not ended.
fn of_a_running_one(data: &Path) -> (PathBuf, SandboxId, Arc<Log>) {
    let engine = Engine::new(
        host(data),
        agentkernel_backend::Registry::new(&[]),
        agentkernel_image::HostFacts::default(),
    )
    .with_audit(Audit::of(&host(data)));
    let (path, id) = (data.join(NAME), SandboxId::new());
    let log = Log::of(&engine, id, "box".to_owned(), path.clone(), Start::WhereItEnds).unwrap();
    for name in ["a.example.com", "b.example.com"] {
        log.connection(&connection(name, Outcome::Closed));
    }
    log.write(Until::TheEnd);
    (path, id, log)
}

#[tokio::test]
async fn lines_at_the_end_are_missed_while_the_sandbox_runs() {
    for (change, found) in [
        ("nothing", None),
        ("the last line", Some("the last lines of a sandbox are missing")),
        ("the newest file", Some("the last lines of a sandbox are missing")),
        ("all", Some("all lines of a sandbox are missing")),
    ] {
        let data = tempdir().unwrap();
        let (path, id, _log) = of_a_running_one(data.path());
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap().to_owned() + "\n";
        match change {
            "the last line" => fs::write(&path, first).unwrap(),
            "the newest file" => {
                fs::write(old(&path), first).unwrap();
                fs::remove_file(&path).unwrap();
            }
            "all" => fs::remove_file(&path).unwrap(),
            _ => {}
        }
        let ends = Ends::read(&host(data.path())).unwrap().of_named(id, &path).unwrap();
        assert_eq!(verify(&path, &ends).unwrap().broken.map(|broken| broken.what), found, "{change}");
    }
}

#[tokio::test]
async fn a_note_of_the_end_that_is_none_is_no_log_without_one() {
    let data = tempdir().unwrap();
    let (path, id, _log) = of_a_running_one(data.path());
    for text in ["", "{}", "{\"sandbox\":\"box\",\"lines\":-1,\"last\":\"\"}"] {
        fs::write(head_of(&path), text).unwrap();
        assert!(Ends::default().of_named(id, &path).is_err(), "{text}");
    }
}

#[test]
fn a_note_of_the_end_that_was_damaged_stops_no_log_and_is_told() {
    let data = tempdir().unwrap();
    let (path, id) = (data.path().join(NAME), SandboxId::new());
    let write = |name: &str| {
        let mut journal = journal(data.path(), "box", Start::WhereItEnds);
        assert_eq!(journal.append(&entry(name)).unwrap(), Fate::Written);
        journal.note_end(&mut 0).unwrap();
    };
    write("a.example.com");
    fs::write(head_of(&path), "").unwrap();
    write("b.example.com");
    assert_eq!(lines(&path).len(), 2);
    let damaged = path.with_extension("jsonl.head.damaged");
    let broken = || verify(&path, &Ends::default().of_named(id, &path).unwrap()).unwrap().broken;
    assert_eq!(broken().map(|broken| broken.path), Some(damaged.clone()));
    fs::remove_file(damaged).unwrap();
    assert_eq!(broken(), None);
}

#[test]
fn a_part_of_a_line_that_stayed_is_no_line_and_a_line_that_became_one_is_missed() {
    let data = tempdir().unwrap();
    let path = data.path().join(NAME);
    let mut journal = journal(data.path(), "box", Start::WhereItEnds);
    for _ in 0..2 {
        assert_eq!(journal.append(&entry("a.example.com")).unwrap(), Fate::Written);
    }
    let whole = fs::read_to_string(&path).unwrap();
    let part = &whole[..whole.len() / 4];
    fs::write(&path, format!("{whole}{part}")).unwrap();
    let cut = verify(&path, &Ends::default()).unwrap();
    assert_eq!(cut.broken.map(|broken| (broken.line, broken.what)), Some((3, "it is cut off")));
    journal.append(&entry("b.example.com")).unwrap();
    let found = verify(&path, &Ends::default()).unwrap();
    assert_eq!((found.broken, found.parts, found.lines), (None, 1, 3));
    // The second line as its beginning.
    let lines = lines(&path);
    fs::write(&path, [&lines[0], &lines[1][..60], &lines[3]].map(|line| format!("{line}\n")).concat())
        .unwrap();
    let broken = verify(&path, &Ends::default()).unwrap().broken.unwrap();
    assert_eq!((broken.line, broken.what), (3, "lines before it are missing"));
}

#[test]
fn what_a_crash_left_of_a_line_breaks_no_chain() {
    for (head, part) in
        [(None, "{\"timestamp\":\"2026-"), (Some(1), "{\"timestamp\":\"2026-"), (Some(2), "{")]
    {
        let data = tempdir().unwrap();
        let path = data.path().join(NAME);
        let mut before = journal(data.path(), "box", Start::WhereItEnds);
        for n in 1..=2 {
            before.append(&entry("a.example.com")).unwrap();
            if head == Some(n) {
                before.note_end(&mut 0).unwrap();
            }
        }
        fs::write(&path, fs::read_to_string(&path).unwrap() + part).unwrap();
        let mut later = journal(data.path(), "box", Start::WhereItEnds);
        later.append(&entry("b.example.com")).unwrap();
        later.note_end(&mut 0).unwrap();
        let ends = Ends::default().of_named(SandboxId::new(), &path).unwrap();
        let found = verify(&path, &ends).unwrap();
        assert_eq!((found.broken, found.parts, found.lines), (None, 1, 3), "{head:?} {part}");
    }
}

/// What a check finds after `change` to a log of two lines, whose end is an event.
fn found_by_end(change: impl Fn(&Path, &str)) -> Option<&'static str> {
    let data = tempdir().unwrap();
    let path = data.path().join(NAME);
    let log = log(data.path());
    for name in ["a.example.com", "b.example.com"] {
        log.connection(&connection(name, Outcome::Closed));
    }
    log.finished();
    change(&path, &fs::read_to_string(&path).unwrap());
    // A later keeper goes on.
    let engine = Engine::new(
        host(data.path()),
        agentkernel_backend::Registry::new(&[]),
        agentkernel_image::HostFacts::default(),
    )
    .with_audit(Audit::of(&host(data.path())));
    if path.exists() {
        let later = Log::of(&engine, log.id, "box".to_owned(), path.clone(), Start::WhereItEnds).unwrap();
        later.connection(&connection("c.example.com", Outcome::Closed));
        later.finished();
    }
    let ends = Ends::read(&host(data.path())).unwrap().of_named(log.id, &path).unwrap();
    verify(&path, &ends).unwrap().broken.map(|broken| broken.what)
}

#[test]
fn what_is_missing_at_the_end_is_seen_by_the_log_of_events() {
    assert_eq!(found_by_end(|_, _| {}), None);
    let first = |text: &str| text.lines().next().unwrap().to_owned() + "\n";
    let cut = |path: &Path, text: &str| fs::write(path, first(text)).unwrap();
    assert_eq!(found_by_end(cut), Some("lines before it are missing"));
    assert_eq!(found_by_end(|path, _| fs::write(path, "").unwrap()), Some("lines before it are missing"));
    // Without what stands beside it as well, a later keeper does not know better.
    let alone = |change: &dyn Fn(&Path, &str)| {
        found_by_end(|path, text| {
            fs::remove_file(head_of(path)).unwrap();
            change(path, text);
        })
    };
    assert_eq!(alone(&cut), Some("the log of events knows another line here"));
    assert_eq!(
        alone(&|path, _| fs::write(path, "").unwrap()),
        Some("the last lines of a sandbox are missing")
    );
    assert_eq!(
        found_by_end(|path, _| fs::remove_file(path).unwrap()),
        Some("all lines of a sandbox are missing")
    );
}

#[test]
fn a_name_of_any_bytes_is_whole() {
    let label = |byte: &str| byte.repeat(63);
    // As long as a question can be, of bytes that take most.
    let name =
        [label("\\255"), label("\\255"), label("\\255"), format!("{}data", "\\255".repeat(57))].join(".");
    for entry in [Entry::of_asked_name(&name), Entry::of_name(&name, None)] {
        assert_eq!(entry.asked_name(), Some(name.as_str()));
    }
}
