use super::*;
use agentkernel_model::{
    image::ImageRef,
    mount::{VolumeArg, Workspace},
    policy::{EffectivePolicy, Profile},
    spec::{Isolation, Lifetime},
};
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// A directory with `files`; those that end in '/' are directories.
fn project(files: &[&str]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for name in files {
        let path = dir.path().join(name);
        fs::create_dir_all(if name.ends_with('/') { path.as_path() } else { path.parent().unwrap() })
            .unwrap();
        if !name.ends_with('/') {
            fs::write(path, "x").unwrap();
        }
    }
    dir
}

fn mount(text: &str) -> Mount {
    match VolumeArg::parse(text, Path::new("/")).unwrap() {
        VolumeArg::Host(mount) => mount,
        VolumeArg::Managed { .. } => panic!("{text} is no path"),
    }
}

fn spec(workspace: Workspace, mounts: &[&str]) -> SandboxSpec {
    let mut policy = EffectivePolicy::of_profile(Profile::Moderate);
    policy.mounts = mounts.iter().copied().map(mount).collect();
    SandboxSpec {
        image: ImageRef::Host,
        workspace,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy,
        isolation: Isolation::Any,
        lifetime: Lifetime::Named,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    }
}

fn direct(dir: &TempDir) -> SandboxSpec {
    spec(Workspace::Direct { source: dir.path().to_owned(), access: Access::ReadWrite }, &[])
}

fn allow(names: &[&str]) -> Vec<GuardedName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// `target access` of every mount.
fn kept(spec: &SandboxSpec) -> Vec<String> {
    let access = |mount: &Mount| if mount.access == Access::ReadOnly { "ro" } else { "rw" };
    spec.policy.mounts.iter().map(|m| format!("{} {}", m.target, access(m))).collect()
}

fn guarded(mut spec: SandboxSpec, allowed: &[&str]) -> Vec<String> {
    keep_read_only(&mut spec, &allow(allowed)).unwrap();
    kept(&spec)
}

#[test]
fn what_is_there_is_kept_and_the_repository_cannot_be_moved_away() {
    let dir = project(&[
        "src/main.rs",
        ".git/hooks/",
        ".git/config",
        ".git/HEAD",
        ".envrc",
        ".vscode/settings.json",
    ]);
    let all = [
        "/workspace/.git rw",
        "/workspace/.git/config ro",
        "/workspace/.git/hooks ro",
        "/workspace/.envrc ro",
        "/workspace/.vscode ro",
    ];
    assert_eq!(guarded(direct(&dir), &[]), all);
    assert_eq!(guarded(direct(&dir), &[".git/hooks", ".envrc"]), [all[0], all[1], all[4]]);
    assert_eq!(guarded(direct(&dir), &[".git"]), [all[3], all[4]]);
    assert!(
        guarded(direct(&project(&["src/.envrc"])), &[]).is_empty(),
        "the top of the directory is looked at"
    );
}

#[test]
fn a_view_and_a_read_only_directory_need_no_keeping() {
    let dir = project(&[".envrc"]);
    let source = || dir.path().to_owned();
    let read_only = Workspace::Direct { source: source(), access: Access::ReadOnly };
    for workspace in [Workspace::None, Workspace::View(source()), read_only] {
        assert!(guarded(spec(workspace.clone(), &[]), &[]).is_empty());
        let error = keep_read_only(&mut spec(workspace, &[]), &allow(&[".envrc"])).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.message().contains(".envrc") && error.hint().is_some(), "{error}");
    }
}

#[test]
fn volumes_are_kept_too_and_what_is_mounted_on_top_stays_on_top() {
    let dir = project(&[".envrc", ".profile"]);
    let path = dir.path().display();
    let volumes = [
        format!("{path}:/data"),
        format!("{path}:/shown:ro"),
        format!("{path}/.profile:/data/.envrc"),
        "/dev/null:/null".to_owned(),
    ];
    let volumes: Vec<&str> = volumes.iter().map(String::as_str).collect();
    assert_eq!(
        guarded(spec(Workspace::None, &volumes), &[]),
        ["/data rw", "/data/.profile ro", "/data/.envrc ro", "/shown ro", "/data/.envrc rw", "/null rw"]
    );
}

#[test]
fn links_are_refused_unless_they_may_be_written() {
    let dir = project(&["secret", ".git/HEAD"]);
    symlink("/etc", dir.path().join(".git/hooks")).unwrap();
    symlink("secret", dir.path().join(".mcp.json")).unwrap();
    symlink("nowhere", dir.path().join(".claude")).unwrap();
    fs::hard_link(dir.path().join("secret"), dir.path().join(".envrc")).unwrap();
    let mut allowed = Vec::new();
    for (name, why) in [
        (".git/hooks", "is a symbolic link"),
        (".envrc", "has a second name"),
        (".claude", "is a symbolic link"),
        (".mcp.json", "is a symbolic link"),
    ] {
        let error = keep_read_only(&mut direct(&dir), &allow(&allowed)).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.message().contains(name) && error.message().contains(why), "{error}");
        assert!(error.hint().unwrap().contains(&format!("--allow-write {name}")), "{error:?}");
        allowed.push(name);
    }
    assert_eq!(guarded(direct(&dir), &allowed), ["/workspace/.git rw"], "nothing is mounted through a link");
    fs::remove_dir_all(dir.path().join(".git")).unwrap();
    symlink("/", dir.path().join(".git")).unwrap();
    assert!(keep_read_only(&mut direct(&dir), &allow(&allowed)).unwrap_err().message().contains(".git"));
}

#[test]
fn a_worktree_is_kept_and_a_repository_beside_it_is_refused() {
    let dir = project(&["main/.git/worktrees/tree/HEAD", "tree/file"]);
    let tree = dir.path().join("tree");
    let direct =
        |source: &Path| spec(Workspace::Direct { source: source.to_owned(), access: Access::ReadWrite }, &[]);
    fs::write(tree.join(".git"), "gitdir: ../main/.git/worktrees/tree\n").unwrap();
    assert_eq!(guarded(direct(&tree), &[]), ["/workspace/.git ro"]);
    fs::create_dir(tree.join("inside")).unwrap();
    fs::write(tree.join(".git"), "gitdir: inside\n").unwrap();
    let error = keep_read_only(&mut direct(&tree), &[]).unwrap_err();
    assert!(error.hint().unwrap().contains("--allow-write .git"), "{error}");
    assert!(guarded(direct(&tree), &[".git"]).is_empty());
    fs::write(tree.join(".git"), [0xff; 10_000]).unwrap();
    assert_eq!(guarded(direct(&tree), &[]), ["/workspace/.git ro"]);
    assert_eq!(
        guarded(direct(&dir.path().join("main")), &[]),
        ["/workspace/.git rw", "/workspace/.git/worktrees ro"]
    );
}

#[test]
fn a_later_start_looks_again() {
    let dir = project(&[".git/hooks/", ".envrc", ".profile"]);
    let volume = format!("{}:/own:ro", dir.path().join(".profile").display());
    let workspace = Workspace::Direct { source: dir.path().to_owned(), access: Access::ReadWrite };
    let mut made = spec(workspace, &[&volume]);
    keep_read_only(&mut made, &[]).unwrap();
    let mut again = made.clone();
    look_again(&mut again).unwrap();
    assert_eq!(again, made);
    // Gone is nothing to keep; a volume that is gone is for the backend to tell.
    fs::remove_file(dir.path().join(".profile")).unwrap();
    look_again(&mut again).unwrap();
    assert_eq!(
        kept(&again),
        ["/workspace/.git rw", "/workspace/.git/hooks ro", "/workspace/.envrc ro", "/own ro"]
    );
    fs::remove_dir(dir.path().join(".git/hooks")).unwrap();
    symlink("/etc", dir.path().join(".git/hooks")).unwrap();
    let error = look_again(&mut made).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(
        error.to_string().contains("/workspace/.git/hooks") && error.to_string().contains("symbolic link")
    );
}
