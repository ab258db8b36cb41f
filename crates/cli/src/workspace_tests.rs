use super::*;

fn auto(cwd: &str, writable: bool) -> Automatic {
    automatic(Path::new(cwd), Some(Path::new("/home/ada")), writable)
}

#[test]
fn a_project_is_shown_as_a_view_or_directly() {
    let project = PathBuf::from("/home/ada/app");
    assert_eq!(auto("/home/ada/app", false).workspace, Workspace::View(project.clone()));
    let direct = Workspace::Direct { source: project, access: Access::ReadWrite };
    assert_eq!(auto("/home/ada/app", true), Automatic { workspace: direct, note: None });
}

#[test]
fn the_root_and_the_home_are_never_shown() {
    for (cwd, what) in
        [("/", "the root directory"), ("/home/ada", "the home directory"), ("/home", "/home, which holds")]
    {
        for writable in [true, false] {
            let got = auto(cwd, writable);
            assert_eq!(got.workspace, Workspace::None, "{cwd}");
            assert!(got.note.unwrap().starts_with(what), "{cwd}");
        }
    }
    // A neighbour whose name only starts like the home's.
    assert!(matches!(auto("/home/ad", false).workspace, Workspace::View(_)));
}

#[test]
fn the_profile_decides_unless_a_file_did() {
    assert!(mounts_cwd(Profile::Permissive, None));
    assert!(!mounts_cwd(Profile::Permissive, Some(false)));
    assert!(!mounts_cwd(Profile::Moderate, None));
    assert!(mounts_cwd(Profile::Moderate, Some(true)));
}

#[test]
fn a_named_directory_asks_for_as_much_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("p")).unwrap();
    let ask = |text: &str, profile| named(text, &root, Some(Path::new("/home/ada")), profile);
    let direct = |access| Workspace::Direct { source: root.join("p"), access };
    let view = Workspace::View(root.join("p"));
    for (text, profile, wanted) in [
        ("p", Profile::Moderate, direct(Access::ReadWrite)),
        ("./p:rw", Profile::Restrictive, direct(Access::ReadWrite)),
        ("p:ro", Profile::Moderate, direct(Access::ReadOnly)),
        ("p:view", Profile::Permissive, view.clone()),
        ("p", Profile::Restrictive, view),
    ] {
        assert_eq!(ask(text, profile).unwrap(), wanted, "{text}");
    }
    assert_eq!(ask("gone", Profile::Moderate).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(ask(":ro", Profile::Moderate).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(ask("/", Profile::Moderate).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(
        named("/tmp", &root, Some(Path::new("/tmp")), Profile::Moderate).unwrap_err().kind(),
        Kind::Invalid
    );
}
