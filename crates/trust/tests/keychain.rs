//! The keychain against a real Secret Service: GNOME Keyring on a message bus of the test's own, with a keychain in a
//! directory of its own. Nothing of the user's session is touched.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test] functions")]

use agentkernel_model::{
    Kind, Result,
    secret::{Secret, SecretName},
};
use agentkernel_trust::{
    Ask, Asking, Change, FileVault, Keychain, KeychainVault, OsKeychain, Protection, Vault,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A bus that starts nothing by itself: what is on it, the test has put there.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=PLACE/bus</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#;

/// One session at a time: a test looks at the threads of this program.
static SESSION: Mutex<()> = Mutex::new(());

struct Session {
    place: tempfile::TempDir,
    bus: Child,
    _only: MutexGuard<'static, ()>,
}

impl Session {
    /// A bus, and nothing on it.
    fn bare() -> Self {
        let only = SESSION.lock().unwrap_or_else(PoisonError::into_inner);
        let place = tempfile::tempdir().unwrap();
        let config = place.path().join("bus.conf");
        fs::write(&config, BUS.replace("PLACE", &place.path().to_string_lossy())).unwrap();
        let mut bus = Command::new("dbus-daemon")
            .args(["--nofork", "--nosyslog", "--print-address=1", "--config-file"])
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon: scripts/setup installs it");
        // It says its address when it listens.
        let mut line = String::new();
        BufReader::new(bus.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:"), "the bus says '{line}'");
        Self { place, bus, _only: only }
    }

    /// A bus with a keychain on it, unlocked.
    fn new() -> Self {
        let session = Self::bare();
        session.begin(Some("pass of the login"));
        // It is on the bus before it has unlocked anything.
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(e) = session.keychain().ready() {
            assert!(Instant::now() < deadline, "{e}");
        }
        session
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.place.path().join("bus").display())
    }

    fn keychain(&self) -> OsKeychain {
        OsKeychain::new(Some(self.address()))
    }

    fn begin(&self, passphrase: Option<&str>) {
        let place = self.place.path();
        for directory in ["home", "data", "run"] {
            fs::create_dir_all(place.join(directory)).unwrap();
        }
        let mut keyring = Command::new("gnome-keyring-daemon");
        keyring.arg("--components=secrets");
        if passphrase.is_some() {
            keyring.arg("--unlock");
        }
        let mut keyring = keyring
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", place.join("home"))
            .env("XDG_DATA_HOME", place.join("data"))
            .env("XDG_RUNTIME_DIR", place.join("run"))
            .env("DBUS_SESSION_BUS_ADDRESS", self.address())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gnome-keyring-daemon: scripts/setup installs it");
        keyring.stdin.take().unwrap().write_all(passphrase.unwrap_or_default().as_bytes()).unwrap();
        // It goes to the background when it is on the bus, and ends with the bus.
        assert!(keyring.wait().unwrap().success(), "the keyring did not start");
    }

    /// Ends the keychain's daemon, which the bus knows by its number.
    fn end_keyring(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let number = runtime.block_on(async {
            let address = self.address();
            let bus = zbus::connection::Builder::address(address.as_str()).unwrap().build().await.unwrap();
            let proxy = zbus::fdo::DBusProxy::new(&bus).await.unwrap();
            proxy.get_connection_unix_process_id("org.freedesktop.secrets".try_into().unwrap()).await.unwrap()
        });
        let pid = Pid::from_raw(i32::try_from(number).unwrap()).unwrap();
        let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        pidfd_send_signal(&handle, Signal::KILL).unwrap();
        poll(&mut [PollFd::new(&handle, PollFlags::IN)], None).unwrap();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _gone = self.bus.kill();
        let _gone = self.bus.wait();
    }
}

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn change(text: &str, value: &[u8]) -> Change {
    let value = Secret::new(value.to_vec()).unwrap();
    Change { name: name(text), value, hosts: None, header: None, set_at: 5, by_caller: false }
}

#[derive(Debug)]
struct Nobody;

impl Ask for Nobody {
    fn passphrase(&self, _: Asking) -> Result<Secret> {
        panic!("nobody is to be asked")
    }
}

fn file_vault(place: &Path, keychain: OsKeychain) -> FileVault {
    FileVault::new(place.join("secrets"), Box::new(keychain), Box::new(Nobody), None)
}

#[test]
fn secrets_are_kept_in_a_real_keychain() {
    let session = Session::new();
    let vault = || KeychainVault::new(Box::new(session.keychain()));
    session.keychain().ready().unwrap();
    assert!(vault().list().unwrap().is_empty());
    assert!(vault().get(&name("A")).unwrap().is_none());
    assert!(!vault().delete(&name("A")).unwrap());
    let large = vec![b'x'; 32 * 1024];
    assert!(!vault().put(change("A", b"one\n\0\xff")).unwrap().replaced);
    assert!(!vault().put(change("ANTHROPIC_API_KEY", &large)).unwrap().replaced);
    assert_eq!(vault().get(&name("A")).unwrap().unwrap().value().reveal(), b"one\n\0\xff");
    assert!(vault().put(change("A", b"two")).unwrap().replaced);
    assert_eq!(vault().get(&name("A")).unwrap().unwrap().value().reveal(), b"two");
    assert_eq!(vault().get(&name("ANTHROPIC_API_KEY")).unwrap().unwrap().value().reveal(), large);
    let listed: Vec<String> = vault()
        .list()
        .unwrap()
        .iter()
        .map(|meta| {
            format!("{} {:?}", meta.name(), meta.hosts().iter().map(ToString::to_string).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(listed, ["A []", r#"ANTHROPIC_API_KEY ["api.anthropic.com"]"#]);
    assert!(vault().delete(&name("A")).unwrap());
    assert!(!vault().delete(&name("A")).unwrap());
    assert_eq!(vault().list().unwrap().len(), 1);
}

#[test]
fn the_key_of_a_file_vault_is_in_the_keychain_and_outlives_its_daemon() {
    let session = Session::new();
    let place = tempfile::tempdir().unwrap();
    file_vault(place.path(), session.keychain()).put(change("A", b"one")).unwrap();
    assert_eq!(
        file_vault(place.path(), session.keychain()).protection().unwrap(),
        Some(Protection::Keychain)
    );
    assert!(!place.path().join("secrets/vault.key").exists());
    session.end_keyring();
    assert_eq!(
        file_vault(place.path(), session.keychain()).list().unwrap_err().kind(),
        Kind::Unavailable,
        "without a service"
    );
    session.begin(Some("pass of the login"));
    let entry = file_vault(place.path(), session.keychain()).get(&name("A")).unwrap().unwrap();
    assert_eq!(entry.value().reveal(), b"one");
}

#[test]
fn a_missing_keychain_gives_a_new_vault_a_key_file_and_a_locked_one_is_said() {
    let session = Session::new();
    KeychainVault::new(Box::new(session.keychain())).put(change("A", b"one")).unwrap();
    session.end_keyring();
    let missing = session.keychain().ready().unwrap_err();
    assert!(missing.kind() == Kind::Unavailable && missing.hint().is_some(), "{missing}");
    let place = tempfile::tempdir().unwrap();
    let vault = file_vault(place.path(), session.keychain());
    vault.put(change("B", b"two")).unwrap();
    assert_eq!(vault.protection().unwrap(), Some(Protection::KeyFile));
    session.begin(None);
    let locked = session.keychain().ready().unwrap_err();
    assert!(locked.kind() == Kind::Denied && locked.message().contains("locked"), "{locked}");
    let place = tempfile::tempdir().unwrap();
    let vault = file_vault(place.path(), session.keychain());
    // Nobody asked for a weaker vault.
    let refused = vault.put(change("B", b"two")).unwrap_err();
    assert!(
        refused.kind() == Kind::Denied && refused.hint().is_some_and(|hint| hint.contains("--key")),
        "{refused}"
    );
    assert_eq!(vault.protection().unwrap(), None);
}

#[test]
fn it_works_inside_an_event_loop() {
    let session = Session::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let vault = KeychainVault::new(Box::new(session.keychain()));
    runtime.block_on(async {
        vault.put(change("A", b"one")).unwrap();
        assert_eq!(vault.get(&name("A")).unwrap().unwrap().value().reveal(), b"one");
    });
    // And leaves no thread: a sandbox may be cloned from this process.
    let ours = fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        let comm = fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
        (comm.contains("zbus") || comm.contains("tokio")).then_some(comm)
    });
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<String>::new());
}
