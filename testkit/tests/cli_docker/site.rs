//! A world with an engine of its own in it.

use crate::ENGINE;
use agentkernel_model::Result;
use agentkernel_testkit::{
    TestEnv,
    engines::{Api, Engine, Tls},
    env::{Finished, Invocation},
    oci::{Image, ImageConfig, LayerWriter, Layout},
};
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::Value;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long anything here may take; no test comes near it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// An image of busybox alone.
pub(crate) const IMAGE: &str = "busy:1";
/// On everything that agentkernel makes in an engine.
pub(crate) const LABEL: &str = "sh.agentkernel.sandbox";
/// Where engines live: a short name, as sockets have them, and a disk that overlay file systems can be on.
const ROOT: &str = "/var/tmp";

const NOWHERE: &str = "unix:///nonexistent/engine.sock";

/// A user and a group that no machine has.
pub(crate) const STRANGER: u32 = 54_321;
/// A user with subordinate ids.
const REMAPPED: &str = "agentkernel-test";

/// The engine that the tests of a program are about.
#[derive(Debug)]
pub(crate) struct Sort {
    /// As a backend.
    pub(crate) name: &'static str,
    /// By which agentkernel is told where it is.
    pub(crate) variable: &'static str,
    /// By which it is told where the other sort is.
    pub(crate) other: &'static str,
    pub(crate) start: fn(&Path) -> Result<Engine>,
    /// Whether it removes the name of an image by force, and leaves the containers of it.
    pub(crate) forces_names_only: bool,
}

/// A small disk of an engine's own. Dropping it unmounts it.
#[derive(Debug)]
pub(crate) struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, bytes: u64) -> Self {
        let size = std::ffi::CString::new(format!("size={bytes},mode=755")).unwrap();
        rustix::mount::mount("none", at, "tmpfs", MountFlags::empty(), size.as_c_str()).unwrap();
        Self(at.to_owned())
    }

    /// Leaves no room on it.
    pub(crate) fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        let full = io::copy(&mut io::repeat(0), &mut filler).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    /// Undoes [`Self::fill`].
    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _tried = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Dropping it ends the engine.
#[derive(Debug)]
pub(crate) struct Site {
    // In this order: what commands left is gone before the engine's directory.
    pub(crate) env: TestEnv,
    pub(crate) engine: Engine,
    disk: Option<Disk>,
    place: tempfile::TempDir,
    /// What its variable says.
    address: String,
    /// For an engine that is treated as one of another machine.
    pub(crate) tls: Option<Tls>,
}

impl Site {
    /// `None`, which is told, for an ordinary user: here engines are root's.
    pub(crate) fn start() -> Option<Self> {
        Self::of(None, None, |dir| Ok(((ENGINE.start)(dir)?, None)))
    }

    /// As [`Self::start`], with commands of the user [`STRANGER`], who gets as far as the engine's socket.
    pub(crate) fn for_stranger() -> Option<Self> {
        let site = Self::of(Some(STRANGER), None, |dir| Ok(((ENGINE.start)(dir)?, None)))?;
        for directory in [site.place().to_owned(), site.place().join("e")] {
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o711)).unwrap();
        }
        Some(site)
    }

    /// As [`Self::start`], with an engine that is reached over TCP, as one of another machine is.
    pub(crate) fn over_tls() -> Option<Self> {
        Self::of(None, None, |dir| {
            let tls = Tls::make(&dir.with_file_name("tls"))?;
            Ok((Engine::docker_with_tls(dir, &tls)?, Some(tls)))
        })
    }

    /// As [`Self::start`], with an engine whose containers have ids of their own: those of the user of the tests.
    pub(crate) fn remapped() -> Option<Self> {
        let is_theirs = |line: &str| line.split(':').next() == Some(REMAPPED);
        if !fs::read_to_string("/etc/subuid").is_ok_and(|ids| ids.lines().any(is_theirs)) {
            println!("skipped: '{REMAPPED}' has no subordinate ids: 'cargo xtask test' makes that user");
            return None;
        }
        Self::of(None, None, |dir| {
            // Root inside has to get as far as its files.
            fs::set_permissions(dir.parent().unwrap(), fs::Permissions::from_mode(0o711)).unwrap();
            Ok((Engine::docker_remapped(dir, REMAPPED)?, None))
        })
    }

    /// As [`Self::start`], with an engine whose disk has `bytes`.
    pub(crate) fn on_disk_of(bytes: u64) -> Option<Self> {
        Self::of(None, Some(bytes), |dir| Ok(((ENGINE.start)(dir)?, None)))
    }

    fn of(
        uid: Option<u32>,
        disk: Option<u64>,
        engine: impl FnOnce(&Path) -> Result<(Engine, Option<Tls>)>,
    ) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: here an engine of its own takes root");
            return None;
        }
        let place = tempfile::Builder::new().prefix("ake-").tempdir_in(ROOT).unwrap();
        let disk = disk.map(|bytes| Disk::mount(place.path(), bytes));
        let (engine, tls) = engine(&place.path().join("e")).unwrap();
        let env = uid.map_or_else(TestEnv::new, TestEnv::of_user);
        let address = tls.as_ref().map_or_else(|| engine.api().address(), Tls::address);
        let site = Self { env, engine, disk, place, address, tls };
        site.import(IMAGE);
        Some(site)
    }

    pub(crate) fn api(&self) -> &Api {
        self.engine.api()
    }

    pub(crate) fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    /// The directory that the engine's is in.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.api().socket().to_owned()
    }

    /// Has commands speak to the engine at `address`, without certificates.
    pub(crate) fn speak_to(&mut self, address: String) {
        self.address = address;
        self.tls = None;
    }

    /// Has commands speak to the engine at another socket.
    pub(crate) fn speak_through(&mut self, socket: &Path) {
        self.address = format!("unix://{}", socket.display());
    }

    /// `agentkernel`, for which this engine is that of the machine.
    pub(crate) fn agentkernel(&self, words: &[&str]) -> Invocation {
        let command = self.env.agentkernel(words).env(ENGINE.variable, &self.address).deadline(DEADLINE);
        // That of the machine has no part in this: a service of Podman would have to be waited for at the end.
        let command = command.env(ENGINE.other, NOWHERE);
        match &self.tls {
            Some(tls) => command.env("DOCKER_CERT_PATH", tls.client()),
            None => command,
        }
    }

    /// `run` in the engine without a project.
    pub(crate) fn run(&self, words: &[&str]) -> Invocation {
        self.agentkernel(&[&["run", "-B", ENGINE.name, "-i", IMAGE, "--no-workspace"], words].concat())
    }

    /// A named sandbox in the engine, which is started.
    pub(crate) fn sandbox(&self, name: &str) {
        self.agentkernel(&["sandbox", "create", name, "-B", ENGINE.name, "-i", IMAGE]).run().ok();
        self.agentkernel(&["sandbox", "start", name]).run().ok();
    }

    pub(crate) fn list(&self) -> Finished {
        self.agentkernel(&["sandbox", "list", "--json"]).run().ok()
    }

    /// Status and reason of `name` as the list has them.
    pub(crate) fn status(&self, name: &str) -> (String, String) {
        let listed = self.list().json();
        let found = listed.as_array().unwrap().iter().find(|info| info["name"] == name);
        let text = |key: &str| found.unwrap()[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }

    /// Waits until `name` has that status; its reason.
    pub(crate) fn await_status(&self, name: &str, wanted: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let (status, reason) = self.status(name);
            if status == wanted {
                return reason;
            }
            assert!(Instant::now() < deadline, "{name} stays {status} ({reason})");
        }
    }

    /// The ids of the engine's containers that are of a sandbox of agentkernel.
    pub(crate) fn containers(&self) -> Vec<String> {
        let all = self.api().containers().unwrap();
        all.into_iter().filter(|c| c.labels.contains_key(LABEL)).map(|c| c.id).collect()
    }

    /// Has `gc` remove what is nobody's until there is nothing.
    pub(crate) fn await_cleaned(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.api().containers().unwrap().is_empty() {
            assert!(Instant::now() < deadline, "left in the engine: {:?}", self.api().containers());
            self.agentkernel(&["gc"]).run().ok();
        }
    }

    /// Waits until the engine has no container: the removal of one that nobody waits for takes a moment.
    pub(crate) fn await_no_containers(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.api().containers().unwrap().is_empty() {
            assert!(Instant::now() < deadline, "left in the engine: {:?}", self.api().containers());
        }
    }

    /// The names of the engine's images; one without is its id.
    pub(crate) fn images(&self) -> Vec<String> {
        let listed = self.api().json("GET", "/images/json", None).unwrap();
        let names = |image: &Value| {
            let tags = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
            tags.map(str::to_owned).collect::<Vec<_>>()
        };
        let mut names: Vec<String> = listed.as_array().unwrap().iter().flat_map(names).collect();
        names.sort();
        names
    }

    /// An image of busybox in the store of this world.
    fn import(&self, name: &str) {
        let place = self.env.directory("busybox");
        let mut layer = LayerWriter::create(place.join("base")).unwrap();
        layer.busybox().unwrap();
        layer.directory("root", 0o755).unwrap();
        let path = vec![("PATH".to_owned(), "/bin".to_owned())];
        let config = ImageConfig { env: path, ..ImageConfig::default() };
        let image = Image::new(name.parse().unwrap(), &config, &[layer.finish().unwrap()]);
        let layout = Layout::write(place.join("layout"), &[image]).unwrap();
        self.env.own_all(&place);
        self.agentkernel(&["images", "import", layout.directory().to_str().unwrap()]).run().ok();
    }

    /// That nothing is left, in the engine and on the machine. Ends the engine.
    pub(crate) fn end(mut self) {
        self.await_no_containers();
        assert_eq!(self.api().volumes().unwrap(), Vec::<String>::new());
        self.engine.stop().unwrap();
        self.env.assert_nothing_left();
    }
}
