//! A hermetic environment for tests of the command line: a home of its own, a clean environment, a deadline for every
//! command, and a check that nothing is left behind.
//!
//! As root with `AGENTKERNEL_TEST_UID` set, everything runs as that user, so that one suite covers both.

mod activity;
mod invocation;

pub use invocation::{Finished, Invocation, Live};

use crate::{
    leftovers::{Scope, cgroups, empty_cgroups, members},
    proc,
};
use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long something that has been told to end may take to be gone.
const SETTLE: Duration = Duration::from_secs(5);

/// One test's own world. Dropping it kills what the test left running.
#[derive(Debug)]
pub struct TestEnv {
    place: tempfile::TempDir,
    binary: PathBuf,
    marker: String,
    user: Option<u32>,
    /// Cgroups that were there before the test: somebody else's.
    cgroups_before: Vec<PathBuf>,
}

impl TestEnv {
    /// A fresh world.
    ///
    /// # Panics
    /// When it cannot be made, or `AGENTKERNEL_TEST_UID` is no user id.
    #[must_use]
    pub fn new() -> Self {
        let wanted = std::env::var("AGENTKERNEL_TEST_UID").ok().map(|uid| match uid.parse() {
            Ok(uid) => uid,
            Err(_) => panic!("AGENTKERNEL_TEST_UID is '{uid}', which is no user id"),
        });
        Self::of(wanted.filter(|_| rustix::process::geteuid().is_root()))
    }

    /// A fresh world of the user `uid`, for root. The user gets a copy of the binary: the built one may lie where it
    /// cannot go.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn of_user(uid: u32) -> Self {
        let mut env = Self::of(Some(uid));
        env.open_the_way();
        let copy = env.directory("bin").join("agentkernel");
        let copied = fs::copy(&env.binary, &copy);
        copied.unwrap_or_else(|e| panic!("cannot copy '{}': {e}", env.binary.display()));
        env.own(&copy);
        env.binary = copy;
        env
    }

    /// Lets that user as far as its directory: those above it that tests made may be closed to others.
    fn open_the_way(&self) {
        for above in self.place.path().ancestors().skip(1) {
            let mode = fs::metadata(above).map_or(0o777, |meta| meta.permissions().mode());
            if mode & 0o001 != 0 {
                return;
            }
            let opened = fs::set_permissions(above, fs::Permissions::from_mode(mode & 0o7777 | 0o111));
            opened.unwrap_or_else(|e| panic!("cannot open '{}' to the test's user: {e}", above.display()));
        }
    }

    fn of(user: Option<u32>) -> Self {
        let place = tempfile::Builder::new().prefix(PLACE).tempdir();
        let place = place.unwrap_or_else(|e| panic!("cannot make a directory for the test: {e}"));
        let marker = format!("AGENTKERNEL_TEST_MARKER={}", uuid::Uuid::now_v7());
        let env = Self { place, binary: product_binary(), marker, user, cgroups_before: cgroups() };
        for directory in ["home", "home/.config", "home/.local/share", "home/.cache", "run", "project"] {
            env.directory(directory);
        }
        // As people have their projects: others may look into them, as they may not into a home.
        let open = fs::set_permissions(env.project(), fs::Permissions::from_mode(0o755));
        open.unwrap_or_else(|e| panic!("cannot open the project to others: {e}"));
        env.own(env.place.path());
        // No test asks a registry that it has not started itself.
        env.registries("pull = \"never\"\n");
        env
    }

    /// What this user's `registries.toml` says.
    pub fn registries(&self, text: &str) {
        self.directory("home/.config/agentkernel");
        self.file("home/.config/agentkernel/registries.toml", text);
    }

    /// The home directory of the test's user.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.place.path().join("home")
    }

    /// An empty project, the working directory of commands unless they say otherwise.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.place.path().join("project")
    }

    /// Where agentkernel keeps its state.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.home().join(".local/share/agentkernel")
    }

    /// Whether commands run as root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.user.is_none() && rustix::process::geteuid().is_root()
    }

    /// Makes a directory below the test's place; it belongs to the test's user.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn directory(&self, relative: &str) -> PathBuf {
        let mut path = self.place.path().to_owned();
        for part in Path::new(relative).components() {
            path.push(part);
            if !path.exists() {
                let made = fs::DirBuilder::new().mode(0o700).create(&path);
                made.unwrap_or_else(|e| panic!("cannot make '{}': {e}", path.display()));
                self.own(&path);
            }
        }
        path
    }

    /// Writes a file below the test's place; it belongs to the test's user.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.place.path().join(relative);
        fs::write(&path, content).unwrap_or_else(|e| panic!("cannot write '{}': {e}", path.display()));
        self.own(&path);
        path
    }

    /// Gives a directory that the test has filled, and what is in it, to the test's user.
    ///
    /// # Panics
    /// When it cannot be given away.
    pub fn own_all(&self, directory: &Path) {
        self.own(directory);
        for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.own_all(&entry.path()),
                _ => self.own(&entry.path()),
            }
        }
    }

    fn own(&self, path: &Path) {
        if let Some(uid) = self.user {
            chown(path, Some(uid), Some(uid))
                .unwrap_or_else(|e| panic!("cannot give '{}' away: {e}", path.display()));
        }
    }

    /// `agentkernel` with `arguments`, ready to be run.
    #[must_use]
    pub fn agentkernel(&self, arguments: &[&str]) -> Invocation {
        self.program(&self.binary, arguments)
    }

    /// The program that [`TestEnv::agentkernel`] runs, which the user of this world can reach.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Any program in the same world.
    #[must_use]
    pub fn program(&self, program: &Path, arguments: &[&str]) -> Invocation {
        let home = self.home();
        let (key, value) = self.marker.split_once('=').unwrap_or((&self.marker, ""));
        let login = self.user.map_or("root".to_owned(), |uid| uid.to_string());
        let env = [
            ("HOME", home.clone()),
            ("XDG_CONFIG_HOME", home.join(".config")),
            ("XDG_DATA_HOME", home.join(".local/share")),
            ("XDG_CACHE_HOME", home.join(".cache")),
            ("XDG_STATE_HOME", home.join(".local/state")),
            ("XDG_RUNTIME_DIR", self.place.path().join("run")),
            ("TMPDIR", "/tmp".into()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin".into()),
            ("LANG", "C.UTF-8".into()),
            ("USER", login.clone().into()),
            ("LOGNAME", login.into()),
            (key, value.into()),
        ];
        Invocation::new(program, arguments, &env, &self.project(), self.user)
    }

    /// Whether a cgroup belongs to a sandbox or a run that another test's data directory still knows: a test that kills
    /// on purpose has such cgroups until its next command.
    fn is_of_another_test(&self, cgroup: &Path) -> bool {
        let name = cgroup.file_name().unwrap_or_default().to_string_lossy();
        let Some(id) = name.strip_prefix("agentkernel-") else { return false };
        if ABANDONED.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|a| a == id) {
            return true;
        }
        let places =
            fs::read_dir(std::env::temp_dir()).into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
        let others = places.filter(|p| {
            p != self.place.path() && p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(PLACE))
        });
        let data = others.map(|p| p.join("home/.local/share/agentkernel"));
        data.into_iter().any(|d| d.join("sandboxes").join(id).exists() || d.join("runs").join(id).exists())
    }

    fn scope(&self) -> Scope {
        Scope {
            directories: vec![self.place.path().to_owned()],
            marker: Some(self.marker.clone()),
            cgroup_marks: Vec::new(),
        }
    }

    /// Fails when a process, a mount, a cgroup or a run's directory of this test is left. Waits for what is ending.
    ///
    /// # Panics
    /// With the list of what is left.
    pub fn assert_nothing_left(&self) {
        let left = self.leftovers();
        assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    }

    /// What [`Self::assert_nothing_left`] would complain about.
    ///
    /// # Panics
    /// When /proc cannot be read.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let scope = self.scope();
        let deadline = Instant::now() + SETTLE;
        // A process that has been told to end is no leftover; its end is an event.
        for pid in scope.processes().unwrap_or_else(|e| panic!("cannot list processes: {e}")) {
            if let Some(handle) = proc::handle(pid) {
                let _still_there_is_found_below = proc::wait_until(&handle, deadline);
            }
        }
        let mut left = scope.find().unwrap_or_else(|e| panic!("cannot list processes: {e}"));
        let runs = fs::read_dir(self.data().join("runs")).into_iter().flatten().filter_map(Result::ok);
        left.extend(runs.map(|e| format!("run {}", e.path().display())));
        let new = |c: &PathBuf| !self.cgroups_before.contains(c) && !self.is_of_another_test(c);
        left.extend(lasting_cgroups(new).into_iter().map(|c| format!("cgroup {}", c.display())));
        left
    }
}

/// The prefix of every test's place.
const PLACE: &str = "agentkernel-test-";

/// Empty cgroups that stay. They carry no mark of a test, so where there are any they are looked at once more while no test
/// of this process runs a command; and other processes of this machine may be at work too, whose cgroups are empty for
/// moments only. Nothing tells of the end of those, hence the repeated look.
fn lasting_cgroups(ours: impl Fn(&PathBuf) -> bool) -> Vec<PathBuf> {
    let deadline = Instant::now() + SETTLE;
    let mut lasting = empty_cgroups();
    lasting.retain(&ours);
    // What stays is there at each look: nobody has to wait for the commands of others to see that nothing does.
    if lasting.is_empty() {
        return lasting;
    }
    lasting = activity::while_quiet(empty_cgroups);
    lasting.retain(ours);
    while !lasting.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
        let now = empty_cgroups();
        lasting.retain(|c| now.contains(c));
    }
    lasting
}

impl Default for TestEnv {
    fn default() -> Self {
        Self::new()
    }
}

/// Sandboxes and runs that were still known to a test as it ended, which a failed one leaves: not another test's fault.
static ABANDONED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Drop for TestEnv {
    fn drop(&mut self) {
        let directories = ["sandboxes", "runs"].map(|d| self.data().join(d));
        let entries =
            directories.iter().flat_map(|d| fs::read_dir(d).into_iter().flatten()).filter_map(Result::ok);
        let known: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        ABANDONED.lock().unwrap_or_else(PoisonError::into_inner).extend(known.iter().cloned());
        let deadline = Instant::now() + SETTLE;
        for pid in self.scope().processes().unwrap_or_default() {
            if let Some(handle) = proc::handle(pid)
                && rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL).is_ok()
            {
                let _best_effort = proc::wait_until(&handle, deadline);
            }
        }
        // A keeper that is killed leaves its cgroups to the next command about its sandbox, and there is none.
        for cgroup in cgroups_of(&known) {
            // What lived in it ends with its keeper, a moment later.
            for handle in members(&cgroup).filter_map(proc::handle) {
                let _best_effort = proc::wait_until(&handle, deadline);
            }
            let _best_effort = fs::remove_dir(cgroup);
        }
    }
}

/// The cgroups of the sandboxes and runs with these ids.
#[must_use]
pub fn cgroups_of(ids: &[String]) -> Vec<PathBuf> {
    if ids.is_empty() {
        return Vec::new();
    }
    let names: Vec<String> = ids.iter().map(|id| format!("agentkernel-{id}")).collect();
    let mut found = cgroups();
    found.retain(|cgroup| names.iter().any(|name| cgroup.ends_with(name)));
    found
}

/// The built `agentkernel`: `AGENTKERNEL_BIN`, or the one beside the running test.
///
/// # Panics
/// When the running test has no path.
#[must_use]
pub fn product_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("AGENTKERNEL_BIN") {
        return named.into();
    }
    let test = std::env::current_exe().unwrap_or_else(|e| panic!("cannot find the running test: {e}"));
    // target/debug/deps/cli-0123 or target/debug/program
    let here = test.ancestors().skip(1).find(|d| d.file_name().is_none_or(|n| n != "deps"));
    here.unwrap_or(Path::new("/")).join("agentkernel")
}
