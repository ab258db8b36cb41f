//! The page at `/`, in Debian's Chromium, driven by Playwright: `testkit/tests/page/page.py` has what is done and asked. As
//! root with `AGENTKERNEL_TEST_UID` set, the server runs as that user. Screenshots are left in `target/page`, or where `AGENTKERNEL_PAGE_PICTURES` says.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test] functions")]

use agentkernel_testkit::TestEnv;
use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const KEY: &str = "sk-test-0123456789";
/// How long one scenario may take on a busy machine; each step of it has a limit of its own.
const LIMIT: &str = "450";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The interpreter that has what `testkit/python/requirements.txt` lists.
fn python() -> PathBuf {
    let python = std::env::var_os("AGENTKERNEL_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or_else(|| workspace().join("target/python/bin/python"));
    assert!(python.is_file(), "there is no {}: scripts/packages python makes it", python.display());
    python
}

/// Where screenshots go; a path that is relative is of the workspace.
fn pictures() -> PathBuf {
    let named = std::env::var_os("AGENTKERNEL_PAGE_PICTURES");
    workspace().join(named.map_or_else(|| PathBuf::from("target/page"), PathBuf::from))
}

/// One scenario of `page.py`, with a server of its own.
fn scenario(name: &str) {
    let (python, shots) = (python(), pictures());
    fs::create_dir_all(&shots).unwrap();
    let env = TestEnv::new();
    let keys = env.file("keys", format!("{KEY}\n"));
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let words = ["serve", "--port", "0", "--json", "--api-key-file", keys.to_str().unwrap()];
    let server = env.agentkernel(&words).stdout(writer).deadline(Duration::from_secs(480)).start();
    let mut stdout = BufReader::new(reader);
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    // The browser's own socket is in it, and a path of a socket is 107 bytes at most (unix(7)).
    let short = tempfile::tempdir_in("/tmp").unwrap();
    // The browser that Playwright brings is not wanted, nor is anything of the caller's.
    let output = Command::new("timeout")
        .arg(LIMIT)
        .arg(python)
        .arg(workspace().join("testkit/tests/page/page.py"))
        .arg(name)
        .env("PAGE_URL", told["url"].as_str().unwrap())
        .env("PAGE_KEY", KEY)
        .env("PAGE_SHOTS", shots)
        .env("TMPDIR", short.path())
        .output()
        .unwrap();
    for sandbox in env.agentkernel(&["sandbox", "list", "--json"]).run().ok().json().as_array().unwrap() {
        env.agentkernel(&["sandbox", "remove", sandbox["name"].as_str().unwrap()]).run().ok();
    }
    server.signal(Signal::TERM);
    server.finish().ok();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{said}", output.status);
    env.assert_nothing_left();
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            scenario(stringify!($name));
        })*

        /// A scenario that nobody runs is none.
        #[test]
        fn every_scenario_is_run() {
            let script = fs::read_to_string(workspace().join("testkit/tests/page/page.py")).unwrap();
            let there = script.lines().filter_map(|line| line.strip_prefix("def ")?.strip_suffix("(browser):"));
            assert_eq!(there.collect::<Vec<_>>(), [$(stringify!($name)),*]);
        }
    };
}

scenarios! {
    a_sandbox_is_made_stopped_started_and_removed
    a_terminal_works
    files_go_in_and_out
    what_is_hostile_stays_text
    decisions_of_the_network_are_seen_as_they_are_made
    the_keyboard_is_enough
    it_fits_a_phone_in_the_dark_and_in_the_light
    everything_has_a_name
    it_reads_as_the_documentation_says
    programs_can_use_the_socket
}
