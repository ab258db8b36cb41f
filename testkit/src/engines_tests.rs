use super::*;
use crate::leftovers::Scope;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};

/// Sockets have short names, and an engine's storage is no place for a memory disk.
fn outer() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("ake-").tempdir_in("/var/tmp").unwrap()
}

/// A root file system of busybox alone, whose programs are called through it.
fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let busybox = find("busybox", "busybox-static").unwrap();
    archive.append_path_with_name(busybox, "bin/busybox").unwrap();
    archive.into_inner().unwrap()
}

fn create(api: &Api, image: &str, runtime: &str, script: &str) -> String {
    let words = ["/bin/busybox", "sh", "-c", script];
    let host = json!({"NetworkMode": "none", "Runtime": runtime});
    let spec = json!({"Image": image, "Cmd": words, "Labels": {"testkit": "x"}, "HostConfig": host});
    let made = api.json("POST", "/containers/create", Some(&spec)).unwrap();
    let id = made["Id"].as_str().unwrap().to_owned();
    api.json("POST", &format!("/containers/{id}/start"), None).unwrap();
    id
}

/// The exit code of a container, which has ended then.
fn code(api: &Api, id: &str) -> Value {
    api.json("POST", &format!("/containers/{id}/wait"), None).unwrap()["StatusCode"].clone()
}

/// One sort of engine, and what the machine could keep of it.
struct Sort {
    start: fn(&Path) -> Result<Engine>,
    /// In the environment of its helpers; `DIR` is its directory.
    marker: &'static str,
    runtimes: &'static [&'static str],
    /// How its cgroups begin.
    cgroups: fn(&Path) -> String,
    /// Directories, and how the names in them begin that would be its.
    places: &'static [(&'static str, &'static [&'static str])],
}

const DOCKER: Sort = Sort {
    start: Engine::docker,
    marker: "AGENTKERNEL_TEST_ENGINE=DIR",
    runtimes: &["runc", "runsc"],
    cgroups: docker::cgroup,
    places: &[
        ("/sys/class/net", &["docker", "br-", "veth"]),
        ("/run", &["docker", "containerd", "runc"]),
        ("/var/lib", &["docker", "containerd"]),
        ("/etc", &["docker", "containerd"]),
        ("/etc/docker", &["key.json"]),
        ("/opt", &["containerd"]),
    ],
};
const PODMAN: Sort = Sort {
    start: Engine::podman,
    marker: "CONTAINERS_CONF=DIR/containers.conf",
    runtimes: &["runc"],
    cgroups: |_| "libpod".to_owned(),
    places: &[
        ("/sys/class/net", &["podman", "cni", "veth"]),
        ("/run", &["containers", "libpod", "podman", "runc", "crun", "cni", "netns"]),
        ("/var/lib", &["containers", "cni"]),
        ("/var/lib/containers", &[""]),
        ("/etc", &["cni"]),
        ("/dev/shm", &["libpod"]),
    ],
};

impl Sort {
    /// What is on the machine that could be left by an engine in `dir`.
    fn traces(&self, dir: &Path) -> BTreeSet<String> {
        let begin = |directory: &Path, beginning: &str| -> Vec<String> {
            let entries = fs::read_dir(directory).into_iter().flatten().filter_map(std::result::Result::ok);
            let paths = entries.filter(|e| e.file_name().to_string_lossy().starts_with(beginning));
            paths.map(|e| e.path().display().to_string()).collect()
        };
        let mut found = BTreeSet::new();
        for (directory, beginnings) in self.places {
            found.extend(beginnings.iter().flat_map(|b| begin(Path::new(directory), b)));
        }
        let hierarchies = Path::new("/sys/fs/cgroup");
        let cgroups = (self.cgroups)(dir);
        found.extend(begin(hierarchies, &cgroups));
        for hierarchy in begin(hierarchies, "") {
            found.extend(begin(Path::new(&hierarchy), &cgroups));
        }
        found
    }

    /// One life of an engine with containers that ended and one that has to be killed: nothing is left of it.
    fn live(&self) {
        let outer = outer();
        let dir = outer.path().join("e");
        let before = self.traces(&dir);
        let engine = (self.start)(&dir).unwrap();
        let api = engine.api().clone();
        api.ping().unwrap();
        assert_eq!(Api::at(&api.address()).unwrap().socket(), dir.join("api.sock"));
        let image = api.import(&archive()).unwrap();
        for runtime in self.runtimes {
            let id = create(&api, &image, runtime, "/bin/busybox test $(/bin/busybox id -u) = 0 && exit 7");
            assert_eq!(code(&api, &id), json!(7), "{runtime}");
        }
        // Process 1 ignores signals that nobody handles.
        let stubborn = create(&api, &image, "runc", "exec /bin/busybox sleep 1000");
        let found = api.containers().unwrap();
        assert_eq!(found.len(), self.runtimes.len() + 1);
        let found = found.iter().find(|c| c.id == stubborn).unwrap();
        assert_eq!(found.labels.get("testkit").map(String::as_str), Some("x"));
        let marker = Some(self.marker.replace("DIR", dir.to_str().unwrap()));
        let scope = Scope { directories: vec![dir.clone()], marker, cgroup_marks: Vec::new() };
        // What must be gone afterwards can be seen now.
        assert!(!scope.find().unwrap().is_empty());
        drop(engine);
        assert_eq!(scope.find().unwrap(), Vec::<String>::new());
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 0);
        let new: Vec<String> = self.traces(&dir).difference(&before).cloned().collect();
        assert_eq!(new, Vec::<String>::new());
        assert!(api.ping().is_err());
    }
}

#[test]
fn docker_runs_containers_and_leaves_nothing() {
    // gVisor is root's.
    let runtimes = if rustix::process::geteuid().is_root() { DOCKER.runtimes } else { &["runc"] };
    Sort { runtimes, ..DOCKER }.live();
}

#[test]
fn docker_with_other_ids_is_roots() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: root has one, which the tests of the command line use");
        return;
    }
    let outer = outer();
    let error = Engine::docker_remapped(&outer.path().join("e"), "nobody").unwrap_err();
    assert_eq!((error.kind(), fs::read_dir(outer.path()).unwrap().count()), (Kind::Unavailable, 0));
}

#[test]
fn podman_runs_containers_and_leaves_nothing() {
    PODMAN.live();
}

#[test]
fn an_engine_that_does_not_start_leaves_nothing_either() {
    let outer = outer();
    let dir = outer.path().join("e");
    let place = Place::make(&dir, "TESTKIT_PLACE=broken".to_owned(), &[]).unwrap();
    let mut engine = Engine::new(Api::new(dir.join("api.sock")), place);
    // A helper that has the directory open, and one that hides there and only has the mark.
    let script = "/bin/busybox sleep 1000 & cd / && TESTKIT_PLACE=broken /bin/busybox sleep 1000 & exit 1";
    let begun = Daemon::start("broken", Path::new("/bin/sh"), &dir, |command| {
        command.env("PATH", "/usr/bin:/bin").args(["-c", script]);
    });
    let error = begun.unwrap_err();
    assert!(error.message().starts_with("broken ended before it was ready"), "{}", error.message());
    let scope = Scope {
        directories: vec![dir.clone()],
        marker: Some("TESTKIT_PLACE=broken".to_owned()),
        cgroup_marks: Vec::new(),
    };
    assert_eq!(scope.processes().unwrap().len(), 2);
    engine.stop().unwrap();
    assert_eq!(scope.processes().unwrap(), Vec::<i32>::new());
    assert!(!dir.exists());
    engine.stop().unwrap();
}

#[test]
fn an_address_is_that_of_a_unix_socket() {
    let api = Api::at("unix:///run/x.sock").unwrap();
    assert_eq!((api.socket(), api.address().as_str()), (Path::new("/run/x.sock"), "unix:///run/x.sock"));
    for bad in ["", "/run/x.sock", "unix://run/x.sock", "tcp://127.0.0.1:1", "unix://"] {
        assert_eq!(Api::at(bad).unwrap_err().kind(), Kind::Invalid, "{bad}");
    }
}
