use super::*;
use agentkernel_config::detect::for_project;
use rustix::fs::{CWD, FileType, mknodat};

fn project(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FOUND), text).unwrap();
    dir
}

#[test]
fn a_found_file_is_restricted_and_a_named_one_is_not() {
    let dir = project("[security]\nmount_cwd = true\n");
    let found = load(None, dir.path(), None).unwrap();
    assert_eq!((found.config.mount_cwd, found.trust), (None, Trust::Found));
    assert!(found.note.unwrap().ends_with("to allow it: --config ./agentkernel.toml"));

    let named = load(Some(Path::new("./agentkernel.toml")), dir.path(), None).unwrap();
    assert_eq!((named.config.mount_cwd, named.trust, named.note), (Some(true), Trust::Named, None));
}

#[test]
fn no_file_is_fine_unless_it_was_named() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(load(None, dir.path(), None).unwrap(), Loaded::default());
    let error = load(Some(Path::new("x.toml")), dir.path(), None).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().starts_with("cannot read the configuration x.toml: "), "{error}");
}

#[test]
fn mistakes_name_the_file() {
    let dir = project("[secruity]\n");
    let error = load(None, dir.path(), None).unwrap_err();
    assert_eq!(error.to_string(), "agentkernel.toml:1:2: unknown table 'secruity'");
    fs::write(dir.path().join(FOUND), b"\xff").unwrap();
    assert_eq!(
        load(None, dir.path(), None).unwrap_err().to_string(),
        "agentkernel.toml is not UTF-8 from byte 0 on"
    );
}

#[test]
fn what_only_looks_like_a_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FOUND);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(load(None, dir.path(), None).unwrap_err().kind(), Kind::Config);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert_eq!(load(None, dir.path(), None).unwrap_err().kind(), Kind::Config);
}

#[test]
fn directories_do_not_speak_for_a_language() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("package.json")).unwrap();
    fs::write(dir.path().join("Procfile"), "web: python app.py\n").unwrap();
    let found = for_project(&Directory(dir.path().to_owned()), None).unwrap();
    assert_eq!(found.image.to_string(), "python:3.12-alpine");
}
