use super::*;
use std::fs;

const TABLE: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\n\napp:x:1000:1001:App:/srv/app:/bin/sh\n\
                     2000:x:7:8::/seven:/bin/sh\nhuge:x:4000000:1::/h:/bin/sh\nnohome:x:9:9\n";

fn resolve_in(passwd: Option<&str>, written: Option<&str>) -> Result<ImageUser> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    if let Some(passwd) = passwd {
        fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
    }
    fs::write(dir.path().join("etc/group"), "root:x:0:\nstaff:x:50:app\n").unwrap();
    resolve(&Merged::open(std::iter::once(dir.path())).unwrap(), written)
}

fn found(written: &str) -> (String, String) {
    let found = resolve_in(Some(TABLE), Some(written)).unwrap();
    (found.user.to_string(), found.home.to_string())
}

#[test]
fn users_are_found_as_docker_finds_them() {
    for (written, user, home) in [
        ("app", "1000:1001", "/srv/app"),
        ("1000", "1000:1001", "/srv/app"),
        ("app:staff", "1000:50", "/srv/app"),
        ("app:7", "1000:7", "/srv/app"),
        ("app:", "1000:1001", "/srv/app"),
        ("1234", "1234:0", "/"),
        ("1234:staff", "1234:50", "/"),
        ("2000", "7:8", "/seven"),
        ("root", "0:0", "/root"),
        (":staff", "0:50", "/root"),
        ("nohome", "9:9", "/"),
    ] {
        assert_eq!(found(written), (user.to_owned(), home.to_owned()), "{written}");
    }
}

#[test]
fn an_image_without_tables_runs_as_root() {
    let found = resolve_in(None, None).unwrap();
    assert_eq!((found.user, found.home.as_str()), (User::ROOT, "/root"));
    assert_eq!(resolve_in(None, Some("app")).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn what_is_not_there_is_refused() {
    for (written, kind) in [
        ("nobody-here", Kind::Invalid),
        ("app:nobody-here", Kind::Invalid),
        ("broken", Kind::Invalid),
        ("huge", Kind::Unsupported),
        ("70000", Kind::Unsupported),
        ("0:4294967296", Kind::Invalid),
    ] {
        assert_eq!(resolve_in(Some(TABLE), Some(written)).unwrap_err().kind(), kind, "{written}");
    }
}
