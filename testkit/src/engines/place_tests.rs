use super::*;

#[test]
fn names_of_mounts_are_read_as_they_are() {
    assert_eq!(unescaped(br"/a\040b\134c"), OsString::from(r"/a b\c"));
    assert_eq!(unescaped(br"/a\04"), OsString::from(r"/a\04"));
    assert_eq!(unescaped(br"\999"), OsString::from(r"\999"));
}

#[test]
fn a_place_is_new_and_has_a_short_name() {
    let dir = tempfile::tempdir().unwrap();
    let make = |path: &Path| Place::make(path, "TESTKIT_PLACE=none".to_owned(), &[]);
    assert!(make(dir.path()).is_err());
    assert!(dir.path().exists());
    let long = dir.path().join("x".repeat(LONGEST));
    assert_eq!(make(&long).unwrap_err().kind(), Kind::Invalid);
    assert!(!long.exists());
    assert_eq!(make(Path::new("relative")).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn what_was_outside_before_stays_and_what_is_new_goes_unless_it_is_used() {
    // A suite's own temporary directory may have too long a name for an engine.
    let dir = tempfile::Builder::new().prefix("ake-").tempdir_in("/var/tmp").unwrap();
    let (old, new, used) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("used"));
    fs::create_dir(&old).unwrap();
    let outside = [&old, &new, &used].map(|p| p.to_str().unwrap());
    let place = Place::make(&dir.path().join("e"), "TESTKIT_PLACE=outside".to_owned(), &outside).unwrap();
    fs::create_dir_all(new.join("deep")).unwrap();
    fs::create_dir_all(used.join("deep")).unwrap();
    fs::write(used.join("deep/file"), "").unwrap();
    place.remove().unwrap();
    assert!(old.exists() && !new.exists() && used.join("deep/file").exists() && !place.path.exists());
    place.remove().unwrap();
}
