//! What is in the network namespace: the servers, a client beside them, and clients in sandboxes.

use super::client::Client;
use crate::Outcome;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

/// Enough for 4096 connections of two descriptors each, and the rest.
const DESCRIPTORS: u64 = 10_000;
/// No secret of anybody; long enough to be looked for in answers.
const SECRET: &str = "TRAFFIC_KEY=0123456789abcdef0123456789abcdef";

/// The same without and with a gateway between.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pair {
    pub(super) direct: Vec<Duration>,
    pub(super) gateway: Vec<Duration>,
}

/// MB of a gateway's process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Memory {
    pub(super) connections: usize,
    pub(super) idle: f64,
    pub(super) held: f64,
}

/// The most that a gateway's process ever held, in MB: after a tenth of a long body, and after all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Peaks {
    pub(super) tenth: f64,
    pub(super) whole: f64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Measured {
    pub(super) setup: Pair,
    pub(super) clear: Pair,
    pub(super) opened: Pair,
    pub(super) secret: Pair,
    pub(super) memory_clear: Memory,
    pub(super) memory_opened: Memory,
    /// `None`: no long body was sent; here and below.
    pub(super) long_clear: Option<Peaks>,
    pub(super) long_secret: Option<Peaks>,
}

/// Where the programs are, and the servers.
struct Site<'a> {
    agentkernel: &'a str,
    traffic: &'a str,
    home: &'a Path,
    servers: Servers,
}

/// As `agentkernel-testkit-traffic serve` tells it.
struct Servers {
    echo: String,
    clear: String,
    tls: String,
    name: String,
    block: String,
}

/// `AGENTKERNEL TRAFFIC HOME ROUNDS SETUPS BYTES CONNECTIONS LONG`; what was measured as one JSON object on stdout.
pub(in crate::bench) fn worker(words: &[&str]) -> Outcome<ExitCode> {
    let [agentkernel, traffic, home, rounds, setups, bytes, connections, long] = words else {
        return Err("bench-worker is started by bench, not by hand".into());
    };
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: now.maximum })?;
    let home = Path::new(home);
    let settings = home.join(".config/agentkernel");
    fs::create_dir_all(&settings)?;
    // Every sandbox has a view of it.
    let project = home.join("project");
    fs::create_dir_all(&project)?;
    fs::copy(traffic, project.join("traffic"))?;
    let mut server = Client::start(Command::new(traffic).arg("serve").arg(&settings))?;
    let line = server.line()?;
    let [echo, clear, tls, name, block] = line
        .split(' ')
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| format!("the servers say something else: {line}"))?;
    let servers = Servers { echo, clear, tls, name, block };
    let site = Site { agentkernel, traffic, home, servers };
    let mut measured = Measured::default();
    site.times(rounds.parse()?, setups.parse()?, bytes.parse()?, &mut measured)?;
    let connections = connections.parse()?;
    eprintln!("bench: {connections} connections at once, copied and opened");
    let hold = format!("hold-echo {} {connections}", site.servers.echo);
    measured.memory_clear = memory(site.copied()?, &hold, connections)?;
    let hold = format!("hold-tls {} {connections}", site.servers.tls);
    measured.memory_opened = memory(site.opened()?, &hold, connections)?;
    let long: u64 = long.parse()?;
    if long > 0 {
        eprintln!("bench: one body of {} GB, copied and with a secret", long / 1_000_000_000);
        measured.long_clear = Some(peaks(site.copied()?, &format!("clear {}", site.servers.clear), long)?);
        measured.long_secret = Some(peaks(site.keyed()?, &format!("tls {}", site.servers.tls), long)?);
    }
    println!("{}", measured.to_json());
    Ok(ExitCode::SUCCESS)
}

impl Site<'_> {
    fn direct(&self) -> Outcome<Client> {
        let authority = self.home.join(".config/agentkernel/authority.pem");
        Client::start(Command::new(self.traffic).arg("ask").env("SSL_CERT_FILE", authority))
    }

    /// A client in a sandbox that may reach the servers by their addresses, and what else `flags` say.
    fn sandboxed(&self, flags: &[&str]) -> Outcome<Client> {
        let mut command = Command::new(self.agentkernel);
        command.args(["run", "--image", "host"]).args(flags).args([
            "--only-listed",
            "--allow",
            &self.servers.block,
        ]);
        command.args(["--", "./traffic", "ask"]).current_dir(self.home.join("project"));
        let mut client = Client::start(&mut command)?;
        // It is up; and rules about the name count for the address from here on.
        if !flags.is_empty() {
            client.ask(&format!("resolve {}", self.servers.name))?;
        }
        Ok(client)
    }

    /// What it sends is copied, unseen.
    fn copied(&self) -> Outcome<Client> {
        self.sandboxed(&[])
    }

    /// Its TLS is opened, because a rule is about its requests.
    fn opened(&self) -> Outcome<Client> {
        self.sandboxed(&["--allow", &format!("GET {}", self.servers.name)])
    }

    /// Its TLS is opened, a secret is added to its requests and looked for in the answers.
    fn keyed(&self) -> Outcome<Client> {
        self.sandboxed(&["--secret", &format!("{SECRET}:{}", self.servers.name)])
    }

    fn times(&self, rounds: usize, setups: usize, bytes: u64, measured: &mut Measured) -> Outcome<()> {
        let Servers { echo, clear, tls, .. } = &self.servers;
        let (mut direct, mut copied) = (self.direct()?, self.copied()?);
        let (mut opened, mut keyed) = (self.opened()?, self.keyed()?);
        eprintln!(
            "bench: {rounds} interleaved rounds of {setups} connections and bodies of {} MB",
            bytes / 1_000_000
        );
        // The first round is no sample: programs, keys and certificates are loaded in it.
        for round in 0..=rounds {
            let mut now = Measured::default();
            let setup = format!("echo {echo} {setups}");
            now.setup = Pair { direct: direct.times(&setup)?, gateway: copied.times(&setup)? };
            let body = format!("clear {clear} {bytes}");
            now.clear = Pair { direct: direct.times(&body)?, gateway: copied.times(&body)? };
            let body = format!("tls {tls} {bytes}");
            now.opened = Pair { direct: direct.times(&body)?, gateway: opened.times(&body)? };
            now.secret = Pair { direct: now.opened.direct.clone(), gateway: keyed.times(&body)? };
            if round > 0 {
                measured.add(now);
            }
        }
        Ok(())
    }
}

/// Before the first connection, and with all of them.
fn memory(mut client: Client, hold: &str, connections: usize) -> Outcome<Memory> {
    client.ask("drop")?;
    let idle = client.resident_mb()?;
    let held = client.ask(hold)?;
    if held != connections.to_string() {
        return Err(format!("{held} of {connections} connections are there").into());
    }
    Ok(Memory { connections, idle, held: client.resident_mb()? })
}

/// Asks for a tenth of `long` bytes and for all of them.
fn peaks(mut client: Client, fetch: &str, long: u64) -> Outcome<Peaks> {
    client.times(&format!("{fetch} {}", long / 10))?;
    let tenth = client.peak_mb()?;
    client.times(&format!("{fetch} {long}"))?;
    Ok(Peaks { tenth, whole: client.peak_mb()? })
}

impl Pair {
    fn add(&mut self, other: Self) {
        self.direct.extend(other.direct);
        self.gateway.extend(other.gateway);
    }

    fn to_json(&self) -> Value {
        let nanos = |times: &[Duration]| -> Vec<u64> {
            times.iter().map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).collect()
        };
        json!({"direct": nanos(&self.direct), "gateway": nanos(&self.gateway)})
    }

    fn from_json(value: &Value) -> Option<Self> {
        let times = |name: &str| -> Option<Vec<Duration>> {
            value[name].as_array()?.iter().map(|nanos| nanos.as_u64().map(Duration::from_nanos)).collect()
        };
        Some(Self { direct: times("direct")?, gateway: times("gateway")? })
    }
}

impl Memory {
    fn to_json(self) -> Value {
        json!({"connections": self.connections, "idle": self.idle, "held": self.held})
    }

    fn from_json(value: &Value) -> Option<Self> {
        let connections = value["connections"].as_u64()?.try_into().ok()?;
        Some(Self { connections, idle: value["idle"].as_f64()?, held: value["held"].as_f64()? })
    }
}

impl Peaks {
    fn to_json(self) -> Value {
        json!({"tenth": self.tenth, "whole": self.whole})
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self { tenth: value["tenth"].as_f64()?, whole: value["whole"].as_f64()? })
    }
}

impl Measured {
    fn add(&mut self, round: Self) {
        self.setup.add(round.setup);
        self.clear.add(round.clear);
        self.opened.add(round.opened);
        self.secret.add(round.secret);
    }

    fn to_json(&self) -> Value {
        json!({
            "setup": self.setup.to_json(), "clear": self.clear.to_json(),
            "opened": self.opened.to_json(), "secret": self.secret.to_json(),
            "memory_clear": self.memory_clear.to_json(), "memory_opened": self.memory_opened.to_json(),
            "long_clear": self.long_clear.map(Peaks::to_json),
            "long_secret": self.long_secret.map(Peaks::to_json),
        })
    }

    /// `None` when `value` is not what [`Self::to_json`] made.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            setup: Pair::from_json(&value["setup"])?,
            clear: Pair::from_json(&value["clear"])?,
            opened: Pair::from_json(&value["opened"])?,
            secret: Pair::from_json(&value["secret"])?,
            memory_clear: Memory::from_json(&value["memory_clear"])?,
            memory_opened: Memory::from_json(&value["memory_opened"])?,
            long_clear: Peaks::from_json(&value["long_clear"]),
            long_secret: Peaks::from_json(&value["long_secret"]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_survives_the_pipe() {
        let nanos = |count| vec![Duration::from_nanos(count)];
        let pair = |count| Pair { direct: nanos(count), gateway: nanos(count + 1) };
        let memory = |held| Memory { connections: 2, idle: 0.5, held };
        let measured = Measured {
            setup: pair(1),
            clear: pair(3),
            opened: pair(5),
            secret: pair(7),
            memory_clear: memory(1.5),
            memory_opened: memory(2.5),
            long_clear: Some(Peaks { tenth: 20.5, whole: 21.5 }),
            long_secret: None,
        };
        assert_eq!(Measured::from_json(&measured.to_json()), Some(measured));
        assert_eq!(Measured::from_json(&json!({"setup": {}})), None);
    }
}
