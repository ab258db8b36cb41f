use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn place(data: &Path) -> Place {
    let place = Place::of(&SandboxDir { path: data.to_owned() });
    place.make().unwrap();
    place.make().unwrap();
    place
}

fn stored(id: &str, started_at: i64) -> Stored {
    Stored {
        id: id.parse().unwrap(),
        command: vec!["sh".to_owned()],
        command_cut: false,
        pid: None,
        started_at,
        ended: None,
        stdout_dropped: 0,
        stderr_dropped: 0,
        stdout_start: None,
        stderr_start: None,
    }
}

#[test]
fn what_is_written_is_read_and_forgotten() {
    let data = tempfile::tempdir().unwrap();
    let place = place(data.path());
    let (young, old) = (stored("00000001", 20), stored("00000002", 10));
    for one in [&young, &old] {
        place.write(one).unwrap();
        log::Log::create(place.log(one.id, DetachedStream::Stdout)).unwrap();
    }
    assert_eq!(place.all().unwrap(), [old.clone(), young.clone()]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.0), mode(&place.record(old.id))), (0o700, 0o600));
    place.forget(old.id).unwrap();
    place.forget(old.id).unwrap();
    assert_eq!((place.read(old.id).unwrap(), place.all().unwrap().len()), (None, 1));
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 2);
}

#[test]
fn nothing_is_there_before_the_first() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::of(&SandboxDir { path: data.path().to_owned() });
    assert_eq!(place.all().unwrap(), []);
    place.settle("why").unwrap();
}

#[test]
fn a_damaged_record_hides_no_other() {
    let data = tempfile::tempdir().unwrap();
    let place = place(data.path());
    place.write(&stored("00000001", 10)).unwrap();
    for (id, content) in [("00000002", &b""[..]), ("00000003", b"{}"), ("00000004", &[b'x'; 300 * 1024])] {
        fs::write(place.0.join(format!("{id}.json")), content).unwrap();
    }
    // The record of another one in its place.
    fs::copy(place.0.join("00000001.json"), place.0.join("00000005.json")).unwrap();
    let all = place.all().unwrap();
    assert_eq!(all.len(), 5);
    let damaged = all.iter().filter(|one| {
        one.ended.as_ref().and_then(|ended| ended.reason.as_deref()) == Some("its record is damaged")
    });
    assert_eq!(damaged.count(), 4);
}

#[test]
fn what_runs_no_more_is_settled() {
    let data = tempfile::tempdir().unwrap();
    let place = place(data.path());
    let ended = Ended { at: Some(30), exit_code: Some(0), reason: None };
    place.write(&stored("00000001", 10)).unwrap();
    place.write(&Stored { ended: Some(ended.clone()), ..stored("00000002", 20) }).unwrap();
    fs::write(place.0.join("00000001.json.new"), b"{").unwrap();
    place.settle("why").unwrap();
    let all = place.all().unwrap();
    assert_eq!(all[0].ended.as_ref().unwrap().reason.as_deref(), Some("why"));
    assert_eq!(all[1].ended, Some(ended));
    assert!(!place.0.join("00000001.json.new").exists());
}
