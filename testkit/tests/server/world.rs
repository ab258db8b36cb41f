//! A server of a test, and what it runs.

use super::http::{Address, Answer, Call};
use agentkernel_testkit::{
    TestEnv,
    env::{Invocation, Live},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, PipeReader},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The key of servers that have one.
pub(super) const KEY: &str = "sk-test-0123456789";
/// How long something that was told to happen may take.
pub(super) const SOON: Duration = Duration::from_secs(120);

/// Less than a server that is told to end waits for what is under way: nothing was waited for.
pub(super) const DRAIN: Duration = Duration::from_secs(25);

/// How long one may live: as long as the longest test of those that use it.
const LIFE: Duration = Duration::from_secs(600);

/// A server that runs.
pub(super) struct Server {
    live: Option<Live>,
    pub(super) address: Address,
    pub(super) port: u16,
    pub(super) url: String,
    key: Option<String>,
    // Its end is the server's end of output.
    _stdout: BufReader<PipeReader>,
}

impl Server {
    /// With a file of keys, as whoever the test runs as.
    pub(super) fn start(env: &TestEnv, arguments: &[&str]) -> Self {
        Self::with_variables(env, arguments, &[])
    }

    /// With a file of keys, and more in its environment.
    pub(super) fn with_variables(env: &TestEnv, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let keys = keys(env, KEY);
        let keys = keys.to_str().unwrap();
        let mut server = Self::launch(env, &[&["--api-key-file", keys], arguments].concat(), variables);
        server.key = Some(KEY.to_owned());
        server
    }

    /// Without a key.
    pub(super) fn bare(env: &TestEnv, arguments: &[&str]) -> Self {
        Self::launch(env, arguments, &[])
    }

    /// Without a key but what the variables say.
    pub(super) fn launch(env: &TestEnv, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let words = [&["serve", "--port", "0", "--json"], arguments].concat();
        Self::of(env.agentkernel(&words), variables)
    }

    /// With a file of keys, and data on a file system of its own that holds so many MiB. Only for root.
    pub(super) fn on_small_disk(env: &TestEnv, mebibytes: u32) -> Self {
        let (keys, data) = (keys(env, KEY), env.data().parent().unwrap().to_owned());
        let script = format!("mount -t tmpfs -o size={mebibytes}m,mode=755 tmpfs \"$0\" && exec \"$@\"");
        let [keys, data, binary] = [&keys, &data, env.binary()].map(|path| path.to_str().unwrap());
        // Its mounts are its own, and go with it and what it starts.
        let wrapper = ["--mount", "--propagation", "private", "sh", "-c", &script, data, binary];
        let words = ["serve", "--port", "0", "--json", "--api-key-file", keys];
        let mut server =
            Self::of(env.program(Path::new("/usr/bin/unshare"), &[&wrapper[..], &words].concat()), &[]);
        server.key = Some(KEY.to_owned());
        server
    }

    fn of(invocation: Invocation, variables: &[(&str, &str)]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut invocation = invocation.stdout(writer).deadline(LIFE);
        for (key, value) in variables {
            invocation = invocation.env(key, value);
        }
        let live = invocation.start();
        let mut stdout = BufReader::new(reader);
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        if line.is_empty() {
            panic!("the server does not serve: {}", live.finish());
        }
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(told["pid"], live.pid(), "{told}");
        let url = told["url"].as_str().unwrap().to_owned();
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        Self { live: Some(live), address: Address::Port(port), port, url, key: None, _stdout: stdout }
    }

    /// A request, with the key where there is one.
    pub(super) fn call(&self, method: &str, path: &str) -> Call {
        self.call_at(&self.address, method, path)
    }

    pub(super) fn call_at(&self, address: &Address, method: &str, path: &str) -> Call {
        let call = Call::new(address, method, path);
        match &self.key {
            Some(key) => call.key(key),
            None => call,
        }
    }

    #[track_caller]
    pub(super) fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send()
    }

    #[track_caller]
    pub(super) fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path).json(body).send()
    }

    #[track_caller]
    pub(super) fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).send()
    }

    /// A command in the built-in image.
    #[track_caller]
    pub(super) fn run(&self, command: &[&str]) -> Answer {
        self.post("/run", &json!({"command": command, "image": "host"}))
    }

    /// A named sandbox of the built-in image, which runs.
    #[track_caller]
    pub(super) fn create(&self, name: &str) -> Value {
        self.post("/sandboxes", &json!({"name": name, "image": "host"})).data(201)
    }

    /// Where it sees `path`.
    pub(super) fn sees(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.live.as_ref().unwrap().pid());
        Path::new(&root).join(path.strip_prefix("/").unwrap())
    }

    pub(super) fn pid(&self) -> i32 {
        self.live.as_ref().unwrap().pid()
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.live.as_ref().unwrap().signal(signal);
    }

    /// Waits for the end of one that was told to, and its exit code and words.
    pub(super) fn finish(mut self) -> agentkernel_testkit::env::Finished {
        self.live.take().unwrap().finish()
    }

    /// Ends it, and sees that it ends well and leaves nothing.
    #[track_caller]
    pub(super) fn end(self, env: &TestEnv) {
        self.signal(Signal::TERM);
        self.finish().ok();
        env.assert_nothing_left();
    }
}

/// A file with `text` that only the test's user can read.
pub(super) fn keys(env: &TestEnv, text: &str) -> PathBuf {
    let path = env.file("keys", format!("# of a test\n\n{text}\n"));
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}

/// Asks until `wanted` is so: of what is asked for, nothing tells.
#[track_caller]
pub(super) fn eventually(what: &str, mut wanted: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !wanted() {
        assert!(Instant::now() < deadline, "not so in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process of this machine has `word` for an argument.
pub(super) fn is_running(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| line.split(|b| *b == 0).any(|argument| argument == word.as_bytes()))
}

/// An argument of sleep(1) that no other process of this machine has.
pub(super) fn long() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("300.{}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
