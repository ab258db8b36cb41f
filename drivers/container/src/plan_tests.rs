use super::*;

#[test]
fn an_engine_elsewhere_is_not_given_this_machines_limits() {
    let names = |flavor, files| -> Vec<String> {
        ulimits(flavor, files).into_iter().filter_map(|limit| limit.name).collect()
    };
    let (here, elsewhere) = (AgentFiles::Directory(Path::new("/agent")), AgentFiles::Volume("agent"));
    assert_eq!(names(Flavor::Podman, here), ["core", "nofile", "nproc"]);
    assert_eq!(names(Flavor::Podman, elsewhere), ["core"]);
    assert_eq!(names(Flavor::Docker, here), ["core"]);
}
