use super::*;
use agentkernel_config::detect::for_project;
use rustix::fs::{CWD, FileType, mknodat};

#[test]
fn what_only_looks_like_a_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FOUND);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(read_named(&path, FOUND).unwrap_err().kind(), Kind::Config);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert_eq!(read_named(&path, FOUND).unwrap_err().kind(), Kind::Config);
    assert_eq!(read_named(&dir.path().join("x.toml"), "x.toml").unwrap_err().kind(), Kind::NotFound);
    fs::write(dir.path().join("bytes"), b"ab\xff").unwrap();
    let text = read_named(&dir.path().join("bytes"), "bytes").and_then(|bytes| into_text("bytes", bytes));
    assert_eq!(text.unwrap_err().to_string(), "bytes is not UTF-8 from byte 2 on");
}

#[test]
fn sources_of_a_found_file_stay_in_the_project() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("project");
    fs::create_dir_all(project.join("sub")).unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    fs::write(project.join("sub/file"), "mine").unwrap();
    std::os::unix::fs::symlink("../secret", project.join("link")).unwrap();
    std::os::unix::fs::symlink("sub/file", project.join("harmless")).unwrap();
    let read = |path: &str, reach| read_source(&project, path, reach);
    assert_eq!(read("sub/file", Reach::Project).unwrap(), b"mine");
    for path in ["link", "../secret", "harmless", "/etc/passwd", "sub"] {
        assert_eq!(read(path, Reach::Project).unwrap_err().kind(), Kind::Denied, "{path}");
    }
    assert_eq!(read("../secret", Reach::Anywhere).unwrap(), b"secret");
    // Trust is in the text: it says "../secret", and nowhere that "link" is one.
    assert_eq!(read("../secret", Reach::Trusted).unwrap(), b"secret");
    assert_eq!(read("link", Reach::Trusted).unwrap_err().kind(), Kind::Denied);
    assert_eq!(read("none", Reach::Anywhere).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn directories_do_not_speak_for_a_language() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("package.json")).unwrap();
    fs::write(dir.path().join("Procfile"), "web: python app.py\n").unwrap();
    let found = for_project(&Directory(dir.path().to_owned()), None).unwrap();
    assert_eq!(found.image.to_string(), "python:3.12-alpine");
}
