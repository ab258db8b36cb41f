//! Who runs a half of the suite or of the benchmark: whoever we are, or an ordinary user when we are root.

use crate::Outcome;
use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

/// The account that root makes for the ordinary half. It stays: `userdel -r agentkernel-test` removes it.
const ACCOUNT: &str = "agentkernel-test";

/// What an ordinary user has; root's own PATH may lead into its home.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Root,
    User,
}

impl Half {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) half: Half,
    pub(crate) name: String,
    uid: u32,
    gid: u32,
    /// Whether we must change to it.
    foreign: bool,
}

impl Person {
    /// The person for `half`, or why there is none.
    pub(crate) fn of(half: Half) -> Outcome<Result<Self, String>> {
        let root = rustix::process::geteuid().is_root();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok(match (half, root) {
            (Half::Root, true) => Ok(Self { half, name: "root".to_owned(), uid, gid, foreign: false }),
            (Half::Root, false) => Err("not root: run it once more with sudo for this half".to_owned()),
            (Half::User, false) => Ok(Self {
                half,
                name: login(uid).unwrap_or_else(|| uid.to_string()),
                uid,
                gid,
                foreign: false,
            }),
            (Half::User, true) => account().map_err(|error| error.to_string()),
        })
    }

    /// Makes `command` run as this person with nothing of ours in its environment but what `home` needs.
    pub(crate) fn become_in(&self, command: &mut Command, home: &Path) {
        let runtime = home.join("run");
        command.env_clear().env("PATH", PATH).env("HOME", home).env("LANG", "C.UTF-8");
        command.env("USER", &self.name).env("LOGNAME", &self.name).env("XDG_RUNTIME_DIR", runtime);
        if self.foreign {
            // With root's uid, std drops the supplementary groups too.
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// A new private directory of this person's under `parent`, with a runtime directory in it.
    pub(crate) fn home_under(&self, parent: &Path, name: &str) -> Outcome<PathBuf> {
        let home = parent.join(name);
        for dir in [home.clone(), home.join("run"), home.join("tmp")] {
            fs::create_dir_all(&dir)?;
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
            self.give(&dir)?;
        }
        Ok(home)
    }

    pub(crate) fn can_read(&self, path: &Path, home: &Path) -> Outcome<bool> {
        let mut command = Command::new("test");
        self.become_in(&mut command, home);
        Ok(command.arg("-r").arg(path).status()?.success())
    }

    pub(crate) fn give(&self, path: &Path) -> Outcome<()> {
        if self.foreign {
            std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }
}

fn account() -> Outcome<Person> {
    if find(ACCOUNT)?.is_none() {
        eprintln!("xtask: making the ordinary user {ACCOUNT} (userdel -r {ACCOUNT} removes it)");
        let made = Command::new("useradd")
            .args(["--create-home", "--shell", "/bin/sh", ACCOUNT])
            .output()
            .map_err(|error| format!("useradd cannot be started: {error}"))?;
        if !made.status.success() {
            return Err(format!("useradd failed: {}", String::from_utf8_lossy(&made.stderr).trim()).into());
        }
    }
    let (uid, gid) = find(ACCOUNT)?.ok_or("useradd made no line in /etc/passwd")?;
    Ok(Person { half: Half::User, name: ACCOUNT.to_owned(), uid, gid, foreign: true })
}

fn find(name: &str) -> io::Result<Option<(u32, u32)>> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    Ok(passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| {
        let matches = fields.first() == Some(&name);
        matches.then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
    }))
}

fn login(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let uid = uid.to_string();
    let mut fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.find(|f| f.get(2) == Some(&uid.as_str())).and_then(|f| f.first().map(|name| (*name).to_owned()))
}

/// A directory for staged programs that everyone may enter; removed at the end.
#[derive(Debug)]
pub(crate) struct Stage {
    path: PathBuf,
}

impl Stage {
    pub(crate) fn new(purpose: &str) -> Outcome<Self> {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        // Not under the work tree: a clone may lie where an ordinary user cannot go.
        let path =
            Path::new("/var/tmp").join(format!("agentkernel-{purpose}-{}-{nanos}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{} cannot be made: {error}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies a program in, executable by everyone.
    pub(crate) fn program(&self, from: &Path, name: &str) -> Outcome<PathBuf> {
        let to = self.path.join(name);
        fs::copy(from, &to).map_err(|error| format!("{} cannot be copied: {error}", from.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        Ok(to)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("xtask: {} is left behind: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_ours_is_in_a_persons_environment() {
        let half = if rustix::process::geteuid().is_root() { Half::Root } else { Half::User };
        let person = Person::of(half).unwrap().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let home = person.home_under(dir.path(), "home").unwrap();
        let mut command = Command::new("env");
        person.become_in(&mut command, &home);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let mut keys: Vec<_> =
            said.lines().filter_map(|line| line.split_once('=').map(|(key, _)| key)).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["HOME", "LANG", "LOGNAME", "PATH", "USER", "XDG_RUNTIME_DIR"]);
        assert!(person.can_read(&home, &home).unwrap());
        assert!(!person.can_read(&home.join("missing"), &home).unwrap());
    }

    #[test]
    fn a_stage_is_gone_when_it_is_dropped() {
        let stage = Stage::new("unit").unwrap();
        let path = stage.path().to_owned();
        stage.program(Path::new("/bin/sh"), "sh").unwrap();
        drop(stage);
        assert!(!path.exists());
    }
}
