//! UDP, which nothing but a rule of its own lets out.

use super::world::{Guest, World};
use crate::{Test, bench::expect};
use agentkernel_testkit::origin::Net;
use serde_json::Value;
use std::{
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

pub(crate) const fn tests() -> [Test; 8] {
    [
        ("udp/there-and-back", there_and_back),
        ("udp/refused-at-once", refused),
        ("udp/names-are-pinned", names),
        ("udp/never-to-the-host-of-a-secret", secret),
        ("udp/pairs-are-bounded", bounded),
        ("udp/other-rules-hold-at-once", changed),
        ("udp/other-rules-hold-for-answers", changed_answers),
        ("udp/the-port-of-dns-is-the-gateway's", resolver),
    ]
}

/// Sends back whatever comes.
struct Echo {
    address: SocketAddr,
    socket: Arc<UdpSocket>,
    heard: Arc<(Mutex<usize>, Condvar)>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn at(ip: IpAddr) -> Result<Self, String> {
        Self::on(ip, 0)
    }

    fn on(ip: IpAddr, port: u16) -> Result<Self, String> {
        let start = || {
            let socket = UdpSocket::bind((ip, port))?;
            Ok::<_, std::io::Error>((socket.local_addr()?, Arc::new(socket)))
        };
        let (address, socket) = start().map_err(|e| format!("set-up: {e}"))?;
        let (heard, ends) = (Arc::new((Mutex::new(0), Condvar::new())), Arc::new(AtomicBool::new(false)));
        let (own, count, end) = (Arc::clone(&socket), Arc::clone(&heard), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            loop {
                let received = own.recv_from(&mut buffer);
                if end.load(Ordering::SeqCst) {
                    return;
                }
                // What an earlier answer met is no end.
                let Ok((length, from)) = received else { continue };
                *count.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                count.1.notify_all();
                let _ = own.send_to(&buffer[..length], from);
            }
        });
        Ok(Self { address, socket, heard, ends, thread: Some(thread) })
    }

    fn heard(&self) -> usize {
        *self.heard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the first datagram.
    fn hears(&self) -> Result<(), String> {
        let count = self.heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.1.wait_timeout_while(count, Duration::from_secs(60), |count| *count == 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        expect(*count > 0, || "nothing came".to_owned())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = self.socket.send_to(b"", self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `udp(address)`: a socket. `asked(s, bytes)`: what came back, or the word `refused` or `silence`.
const CLIENT: &str = "
def udp(to=None):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
    if to: s.connect(to)
    return s
def asked(s, message, to=None):
    try:
        s.sendto(message, to) if to else s.send(message)
        return s.recv(70000)
    except ConnectionRefusedError: return 'refused'
    except OSError as e: return 'silence ' + repr(e)
";

/// Runs `script` with the address of `echo` as `ECHO`; it must say `held`.
fn client(guest: &Guest<'_>, echo: &Echo, script: &str) -> Result<(), String> {
    let at = format!("ECHO = ('{}', {})\n", echo.address.ip(), echo.address.port());
    let said = guest.python(&format!("{CLIENT}{at}{script}\nprint('held')"), &[])?;
    expect(said == "held\n", || said.clone())
}

fn udp_lines(log: &[Value]) -> Vec<&Value> {
    log.iter().filter(|line| line["protocol"] == "udp").collect()
}

/// An address that is this test's alone among those that `net` stands for.
fn place(world: &World, net: Net) -> Result<IpAddr, String> {
    world.site.trap(net, 9).map(|trap| trap.address().ip()).map_err(|e| e.to_string())
}

fn there_and_back(world: &World) -> Result<(), String> {
    let echo = Echo::at(place(world, Net::Allowed)?)?;
    let rule = format!("udp:{}", world.site.block(Net::Allowed));
    let guest = world.sandbox("box", &["--only-listed", "--allow", &rule])?;
    client(
        &guest,
        &echo,
        "connected, loose, other = udp(ECHO), udp(), udp()
for size in (0, 1, 1472, 60000):
    for s, to in ((connected, None), (loose, ECHO), (other, ECHO)):
        message = os.urandom(size)
        assert asked(s, message, to) == message, size
loose.sendto(b'from', ECHO)
assert loose.recvfrom(10) == (b'from', ECHO)
# Not over TCP, and not by the resolver's own port.
assert say(*ECHO, b'x') == b''
# What answers needs NET_RAW and what redirects NET_ADMIN, and no command can come by them.
for line in open('/proc/self/status'):
    if line.startswith('Cap'): assert not int(line.split()[1], 16) & (1 << 12 | 1 << 13), line",
    )?;
    let log = guest.log()?;
    let lines = udp_lines(&log);
    expect(lines.len() == 3, || format!("{log:?}"))?;
    let wanted = format!("allow {rule}");
    for line in lines {
        let full = line["verdict"] == "allowed" && line["rule"] == wanted.as_str();
        let count = line["sent"].as_u64().filter(|sent| line["received"].as_u64() == Some(*sent));
        expect(full && count.is_some_and(|sent| sent >= 61_473), || line.to_string())?;
    }
    Ok(())
}

fn refused(world: &World) -> Result<(), String> {
    let (echo, evil) = (Echo::at(place(world, Net::Allowed)?)?, Echo::at(place(world, Net::Forbidden)?)?);
    let rule = format!("udp:{}:{}", echo.address.ip(), echo.address.port());
    let deny = format!("udp:{}:1-8", echo.address.ip());
    let all = world.site.block(Net::Forbidden);
    // Rules about TCP, and what is public, let no UDP out.
    let guest = world.sandbox("box", &["--deny", &deny, "--allow", &rule, "--allow", &all])?;
    client(
        &guest,
        &echo,
        &format!(
            "for to in (({evil:?}, {port}), ({evil:?}, 443), (ECHO[0], 443), (ECHO[0], 7), ('93.184.215.14', 443), ('192.0.2.54', 443),
           ('169.254.169.254', 123), ('127.0.0.1', 9)):
    for attempt in range(3):
        got = asked(udp(to), b'quic')
        assert got == 'refused', (to, got)
try:
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); six.settimeout(10); six.connect(('2606:4700::1111', 443))
except OSError: six = None  # engines give containers none
assert not six or asked(six, b'quic') == 'refused'
# A hole in one place is none in another.
assert asked(udp(ECHO), b'mine') == b'mine'",
            evil = evil.address.ip().to_string(),
            port = evil.address.port(),
        ),
    )?;
    expect(evil.heard() == 0, || "a datagram got out".to_owned())?;
    let log = guest.log()?;
    let blocked = |address: &str, port: u64| {
        let same = |line: &&&Value| {
            line["address"] == address && line["port"] == port && line["verdict"] == "blocked"
        };
        udp_lines(&log).iter().filter(same).count()
    };
    // Each place once, however often it is tried.
    for (address, port) in [(evil.address.ip().to_string(), 443), ("93.184.215.14".to_owned(), 443)] {
        expect(blocked(&address, port) == 1, || format!("{address}: {log:?}"))?;
    }
    let shown = format!("udp:{}/32:1-8", echo.address.ip());
    let denied = udp_lines(&log).into_iter().any(|line| line["rule"] == format!("deny {shown}").as_str());
    expect(denied, || format!("{log:?}"))
}

fn names(world: &World) -> Result<(), String> {
    let (echo, evil) = (Echo::at(place(world, Net::Allowed)?)?, Echo::at(place(world, Net::Forbidden)?)?);
    let second = Echo::at(place(world, Net::Allowed)?)?;
    for (name, ip) in [("echo.test", &echo), ("second.test", &second), ("moved.test", &evil)] {
        world.site.dns().set(name, &[ip.address.ip()]);
    }
    let (port, block) = (echo.address.port(), world.site.block(Net::Allowed));
    let (named, block) = (format!("udp:echo.test:{port}"), format!("udp:{block}"));
    let flags = [
        "--only-listed",
        "--deny",
        "udp:second.test",
        "--allow",
        "second.test:443",
        "--allow",
        "udp:moved.test",
        "--allow",
        &named,
        "--allow",
        &block,
    ];
    let guest = world.sandbox("box", &flags)?;
    client(
        &guest,
        &echo,
        &format!(
            "assert asked(udp(ECHO), b'by address') == b'by address'
assert socket.gethostbyname('echo.test') == ECHO[0]
assert asked(udp(ECHO), b'by name') == b'by name'
# A name that may be asked about leads nowhere that its address may not be reached as.
assert socket.gethostbyname('moved.test') == '{}'
assert asked(udp(('moved.test', {})), b'rebound') == 'refused'
# Nor is an address open of which a name is denied.
assert socket.gethostbyname('second.test') == '{}'
assert asked(udp(('second.test', {})), b'denied') == 'refused'",
            evil.address.ip(),
            evil.address.port(),
            second.address.ip(),
            second.address.port(),
        ),
    )?;
    expect(evil.heard() + second.heard() == 0, || "a datagram got out".to_owned())?;
    let log = guest.log()?;
    let rules: Vec<&str> = udp_lines(&log).iter().filter_map(|line| line["rule"].as_str()).collect();
    // Which rule it was shows that the name was none before it was asked for.
    let wanted = [format!("allow {block}"), format!("allow {named}")];
    expect(wanted.iter().all(|rule| rules.contains(&rule.as_str())), || format!("{log:?}"))
}

fn secret(world: &World) -> Result<(), String> {
    let echo = Echo::at(place(world, Net::Allowed)?)?;
    world.site.dns().set("bound.test", &[echo.address.ip()]);
    for number in 0..40 {
        world.site.dns().set(&format!("n{number}.many.test"), &[echo.address.ip()]);
    }
    world.keep("KEY", "hidden-in-no-datagram")?;
    let rule = format!("udp:{}", world.site.block(Net::Allowed));
    let allowed = ["--allow", "*.many.test", "--allow", "udp:bound.test", "--allow", &rule];
    let flags = [&["--secret", "KEY:bound.test:X-Key"], &allowed[..]].concat();
    let guest = world.sandbox("box", &flags)?;
    client(
        &guest,
        &echo,
        "assert socket.gethostbyname('bound.test') == ECHO[0]
for attempt in range(3): assert asked(udp(ECHO), b'quic') == 'refused'
# As many other names as the gateway remembers of an address, and some.
for number in range(40): assert socket.gethostbyname(f'n{number}.many.test') == ECHO[0]
assert asked(udp(ECHO), b'quic') == 'refused'",
    )?;
    expect(echo.heard() == 0, || "a datagram got out".to_owned())?;
    guest.refused(&["bound.test"])
}

fn bounded(world: &World) -> Result<(), String> {
    let echo = Echo::at(place(world, Net::Allowed)?)?;
    let rule = format!("udp:{}", world.site.block(Net::Allowed));
    let guest = world.sandbox("box", &["--only-listed", "--allow", &rule])?;
    client(
        &guest,
        &echo,
        "import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
many = [udp(ECHO) for _ in range(900)]
for s in many: assert asked(s, b'one') == b'one'
# The oldest had to go, and come again.
assert asked(many[0], b'two') == b'two'",
    )?;
    // The suite has the network of the keeper.
    let table = fs::read_to_string("/proc/net/udp").map_err(|e| e.to_string())?;
    let peer = format!(":{:04X} 01", echo.address.port());
    let open = table.lines().filter(|line| line.contains(&peer)).count();
    expect((1..=512).contains(&open), || format!("{open} sockets outside:\n{table}"))?;
    expect(echo.heard() == 901, || format!("{} datagrams", echo.heard()))
}

fn changed(world: &World) -> Result<(), String> {
    let echo = Echo::at(place(world, Net::Allowed)?)?;
    let rule = format!("udp:{}", world.site.block(Net::Allowed));
    let guest = world.sandbox("box", &["--only-listed", "--allow", &rule])?;
    let script = "s = udp(ECHO)
assert asked(s, b'one') == b'one'
print('ready', flush=True)
sys.stdin.readline()
assert asked(s, b'two') == 'refused'
assert asked(udp(ECHO), b'two') == 'refused'";
    let at = format!("ECHO = ('{}', {})\n", echo.address.ip(), echo.address.port());
    let whole = format!("{}\n{CLIENT}{at}{script}\nprint('held')", include_str!("attack.py"));
    let (ready, wait) = std::io::pipe().map_err(|e| e.to_string())?;
    let mut running = guest.command(&["/usr/bin/python3", "-c", &whole]).stdin(ready).start();
    let reached = echo.hears();
    let denied = world.bench.must(&["sandbox", "network", "box", "--deny", &rule]);
    drop((running.stdin.take(), wait));
    let ended = running.finish();
    reached.map_err(|why| format!("{why}\n{ended}"))?;
    denied?;
    expect(ended.code == Some(0) && ended.out().ends_with("held\n"), || ended.to_string())?;
    expect(echo.heard() == 1, || format!("{} datagrams", echo.heard()))?;
    drop(guest);
    // What a sandbox's kernel rejects, no rule that comes later brings to the gateway.
    let _closed = world.sandbox("shut", &["--only-listed"])?;
    let late = world.bench.agentkernel(&["sandbox", "network", "shut", "--allow", &rule]).run();
    let told =
        late.code == Some(125) && late.err().contains("UDP") && late.err().contains("sandbox stop shut");
    expect(told, || late.to_string())?;
    let shown = world.bench.must(&["sandbox", "network", "shut"])?;
    expect(!shown.out().contains("udp:"), || shown.to_string())
}

/// A server that goes on talking is not heard by a sandbox that only listens.
fn changed_answers(world: &World) -> Result<(), String> {
    let server = UdpSocket::bind((place(world, Net::Allowed)?, 0)).map_err(|e| e.to_string())?;
    let limit = Some(Duration::from_secs(60));
    let at = server.set_read_timeout(limit).and_then(|()| server.local_addr()).map_err(|e| e.to_string())?;
    let rule = format!("udp:{}", world.site.block(Net::Allowed));
    let guest = world.sandbox("box", &["--only-listed", "--allow", &rule])?;
    let script = format!(
        "{}\n{CLIENT}\ns = udp(('{}', {}))
s.send(b'hello')
assert s.recv(99) == b'before'
s.send(b'heard')
sys.stdin.readline()
s.settimeout(2)
try: print('got', s.recv(99))
except TimeoutError: print('held')",
        include_str!("attack.py"),
        at.ip(),
        at.port(),
    );
    let (ready, wait) = std::io::pipe().map_err(|e| e.to_string())?;
    let mut running = guest.command(&["/usr/bin/python3", "-c", &script]).stdin(ready).start();
    let served = (|| {
        let (_, from) = server.recv_from(&mut [0; 99])?;
        server.send_to(b"before", from)?;
        server.recv_from(&mut [0; 99])?;
        Ok::<_, std::io::Error>(from)
    })();
    let denied = world.bench.must(&["sandbox", "network", "box", "--deny", &rule]);
    let sent = served.and_then(|from| server.send_to(b"after", from));
    drop((running.stdin.take(), wait));
    let ended = running.finish();
    sent.map_err(|e| format!("{e}\n{ended}"))?;
    denied?;
    expect(ended.code == Some(0) && ended.out() == "held\n", || ended.to_string())
}

/// What the kernel takes for an answer is not redirected: a sandbox that has such a question come first from the outside's
/// place would reach a server of DNS past the gateway.
fn resolver(world: &World) -> Result<(), String> {
    let ip = place(world, Net::Allowed)?;
    let (dns, echo) = (Echo::on(ip, 53)?, Echo::at(ip)?);
    let rule = format!("udp:{}", world.site.block(Net::Allowed));
    let guest = world.sandbox("box", &["--only-listed", "--allow", &rule])?;
    client(
        &guest,
        &echo,
        "assert asked(udp(ECHO), b'mine') == b'mine'
SERVER = (ECHO[0], 53)
for own in ('127.0.0.1', '192.0.2.2', '10.1.2.3'):
    posing, s = udp(), udp()
    try: posing.bind(SERVER)
    except PermissionError: print('cannot pose'); break
    s.bind((own, 0))
    posing.sendto(b'question', s.getsockname())
    posing.close()
    # Only within the loopback it came.
    if own == '127.0.0.1': assert s.recv(99) == b'question'
    s.connect(SERVER)
    got = asked(s, b'escaped')
    assert got == 'refused', (own, got)",
    )?;
    expect(dns.heard() == 0, || "a server of DNS was reached".to_owned())?;
    let log = guest.log()?;
    let blocked = |line: &&Value| line["port"] == 53 && line["verdict"] == "blocked";
    expect(udp_lines(&log).into_iter().filter(blocked).count() == 1, || format!("{log:?}"))
}
