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

#[test]
fn docker_is_spared_a_network_of_nothing_where_names_are_files_of_ours() {
    let (here, elsewhere) = (AgentFiles::Directory(Path::new("/agent")), AgentFiles::Volume("agent"));
    assert_eq!(network_disabled(Flavor::Docker, here, true), Some(true));
    // gVisor takes its loopback from what the network made.
    assert_eq!(network_disabled(Flavor::Docker, here, false), None);
    // Its network makes the file that says whom to ask for names.
    assert_eq!(network_disabled(Flavor::Docker, elsewhere, true), None);
    assert_eq!(network_disabled(Flavor::Podman, here, true), None);
}
