use super::*;

#[test]
fn everything_is_roots_and_the_policies_are_beside_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let build = dir.path().join("build");
    fs::create_dir(&build).unwrap();
    fs::write(build.join("agentkernel"), "program").unwrap();
    let (file, size) = pack(&build, &dir.path().join("current")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), size);
    let mut names = Vec::new();
    for entry in tar::Archive::new(file).entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        names.push(entry.path().unwrap().display().to_string());
    }
    names.sort();
    assert_eq!(names, ["agentkernel", "seccomp-moderate.json", "seccomp-restrictive.json"]);
}
