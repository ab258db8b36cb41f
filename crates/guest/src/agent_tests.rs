use super::*;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

fn new(path: &Path) -> NewFile {
    NewFile { path: path.display().to_string(), mode: 0o640, content: b"ours".to_vec() }
}

/// Unmounts when it is dropped.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _tried = unmount(self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn what_stands_at_the_path_itself_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (path, far) = (dir.path().join("a/b/file"), dir.path().join("far"));
    fs::write(&far, "theirs").unwrap();
    put(&path, &new(&path), false).unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&far, &path).unwrap();
    put(&path, &new(&path), true).unwrap();
    assert_eq!((fs::read(&path).unwrap(), fs::read(&far).unwrap()), (b"ours".to_vec(), b"theirs".to_vec()));
}

#[test]
fn only_what_an_engine_mounts_is_written_through() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a mount takes root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (host, path) = (dir.path().join("host"), dir.path().join("mounted"));
    fs::write(&host, "theirs").unwrap();
    fs::write(&path, "").unwrap();
    mount_bind(&host, &path).unwrap();
    let _mounted = Mounted(&path);
    let error = place(&new(&path)).unwrap_err();
    assert!(format!("{error:?}").contains("mounted"), "{error:?}");
    assert_eq!(fs::read(&host).unwrap(), b"theirs");
    put(&path, &new(&path), true).unwrap();
    assert_eq!(fs::read(&host).unwrap(), b"ours");
}
