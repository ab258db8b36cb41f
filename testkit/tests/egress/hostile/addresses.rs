//! Addresses: written down in the program, spelled strangely, of this machine, of the cloud.

use super::{Scene, World, empty};
use crate::{Test, bench::expect};
use agentkernel_testkit::origin::Net;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Where the forbidden servers are for all who take an address for public by its number: `network` leads from there.
const PUBLIC: &str = "93.184.216.";

pub(super) const fn tests() -> [Test; 10] {
    [
        ("hostile/proxy-variables-unset", unset),
        ("hostile/hard-coded-addresses", hard_coded),
        ("hostile/public-address-under-an-allowed-name", public),
        ("hostile/raw-tcp-to-any-port", any_port),
        ("hostile/udp", udp),
        ("hostile/addresses-spelled-strangely", spelled),
        ("hostile/addresses-that-are-not-public", ranges),
        ("hostile/metadata", metadata),
        ("hostile/loopback-of-the-host", loopback),
        ("hostile/abstract-sockets-of-the-host", sockets),
    ]
}

fn unset(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let url = scene.evil.url(super::EVIL, "/");
    let script = format!(
        "for v in $(env | cut -d= -f1 | grep -i proxy); do unset $v; done
        env | grep -i _proxy; curl -sS {url} && echo reached
        curl -s --write-out '%{{http_code}}' http://{}/ | tail -c 3; echo",
        super::EVIL
    );
    let ran = scene.guest.sh(&script);
    expect(ran.out() == "403\n", || ran.to_string())?;
    scene.attack("for k in list(os.environ): 'proxy' in k.lower() and os.environ.pop(k)\nassert b'hello' not in tls(EVIL, EVIL_PORT, EVIL, get(EVIL), verify=False)")?;
    scene.guest.refused(&[super::EVIL])
}

fn hard_coded(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    scene.attack(
        "for sni in (EVIL, API, 'x.test'):
    answer = tls(EVIL_IP, EVIL_PORT, sni, get(sni), verify=False)
    assert b'hello' not in answer, answer
assert status(say(EVIL_IP, 80, get(EVIL_IP))) == '403'
assert status(say(EVIL_IP, 80, get(API))) == '403'
assert say(EVIL_IP, EVIL_PORT, b'\\x00\\x01raw') == b''
assert status(say(*PROXY, f'CONNECT {EVIL_IP}:{EVIL_PORT} HTTP/1.1\\r\\nHost: {EVIL_IP}\\r\\n\\r\\n'.encode())) == '403'",
    )?;
    scene.guest.refused(&[&scene.evil.address().ip().to_string()])
}

/// A rule lets a name out, and whoever says it at any address of the world has not asked for it.
fn public(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &["--allow", "listed.test"])?;
    let plain = world.site.http(Net::Forbidden, &["plain.test"]).map_err(|e| e.to_string())?;
    world.site.dns().set("listed.test", &[scene.api.address().ip()]);
    let at = |address: std::net::SocketAddr| {
        format!(
            "'{PUBLIC}{}', {}",
            address.ip().to_string().rsplit('.').next().unwrap_or_default(),
            address.port()
        )
    };
    let script = format!(
        "socket.getaddrinfo('listed.test', 443)
for name in ('listed.test', API):
    answer = tls({evil}, name, get(name), verify=False)
    assert answer.startswith(b'ERROR'), (name, answer)
    answer = say({plain}, get(name))
    assert status(answer) == '403', (name, answer)",
        evil = at(scene.evil.address()),
        plain = at(plain.address()),
    );
    scene.attack(&script)?;
    expect(plain.record().is_empty(), || format!("{:?}", plain.record()))?;
    scene.guest.refused(&[PUBLIC])
}

fn any_port(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let trap = world.site.trap(Net::Forbidden, 8022).map_err(|e| e.to_string())?;
    let script = format!(
        "def one(port):
    # The resolver's own port is answered by the gateway itself.
    answer = say('{ip}', port, b'\\x00\\x05EHLO raw\\r\\n')
    assert answer == b'', (port, answer)
each(one, [(p,) for p in (1, 22, 25, 53, 80, 443, 853, 3128, {port}, 8443, 65535)])",
        ip = trap.address().ip(),
        port = trap.address().port(),
    );
    scene.attack(&script)?;
    empty(&trap)?;
    scene.guest.refused(&[&trap.address().ip().to_string(), &trap.address().port().to_string()])
}

fn udp(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let trap = world.site.trap(Net::Allowed, 8443).map_err(|e| e.to_string())?;
    let script = format!(
        "def one(ip, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
    for _ in range(3):
        try:
            s.sendto(b'quic', (ip, port))
            raise SystemExit(s.recv(100))
        except OSError: pass
each(one, (('{ip}', {port}), (EVIL_IP, 443), (API_IP, 443)))",
        ip = trap.address().ip(),
        port = trap.address().port(),
    );
    scene.attack(&script)?;
    // Not even an allowed address: nothing but DNS goes over UDP. No line of a log says so: without a rule about UDP it is the
    // sandbox's own kernel that refuses it, and the gateway never hears of it (`udp/refused-at-once` has such a rule).
    empty(&trap)
}

fn spelled(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let trap = world.site.trap_at(([127, 0, 0, 1], 0).into()).map_err(|e| e.to_string())?;
    let evil = world.site.trap(Net::Forbidden, 8080).map_err(|e| e.to_string())?;
    let script = format!(
        "loop, port = {loopback}, {port}
octets = [int(o) for o in '{ip}'.split('.')]
number = sum(o << 8 * (3 - i) for i, o in enumerate(octets))
evil = [str(number), hex(number), '.'.join('0%o' % o for o in octets), '.'.join(map(hex, octets)), '{ip}',
        '%d.%d.%d' % (octets[0], octets[1], octets[2] << 8 | octets[3]), '[::ffff:{ip}]', '[::ffff:%x:%x]' % (number >> 16, number & 0xffff),
        '[64:ff9b::{ip}]', '[2002:%x:%x::]' % (number >> 16, number & 0xffff), '[::{ip}]']
mine = ['2130706433', '0x7f000001', '0177.0.0.1', '0x7f.1', '127.1', '0', '0.0.0.0', '[::1]', '[::]', 'localhost',
        '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '127.0.0.1', 'LOCALHOST.', '①②⑦.0.0.1']
def by_proxy(host, port):
    for message in (f'CONNECT {{host}}:{{port}} HTTP/1.1\\r\\nHost: {{host}}:{{port}}\\r\\n\\r\\nhello',
                    f'GET http://{{host}}:{{port}}/ HTTP/1.1\\r\\nHost: {{host}}:{{port}}\\r\\nConnection: close\\r\\n\\r\\n'):
        answer = say(*PROXY, message.encode())
        assert status(answer) in ('403', '400', '502', 'none'), (host, answer)
each(by_proxy, [(h, {evil_port}) for h in evil] + [(h, loop) for h in mine])
def direct(text):
    answer = say(text.strip('[]'), {evil_port}, b'GET / HTTP/1.0\\r\\n\\r\\n')
    assert status(answer) in ('403', 'none'), (text, answer)
each(direct, [(text,) for text in evil])
for ip in ('::ffff:{ip}', '64:ff9b::{ip}', '::{ip}'):
    assert say(ip, {evil_port}, b'raw', socket.AF_INET6) == b'', ip",
        loopback = trap.address().port(),
        port = trap.address().port(),
        ip = evil.address().ip(),
        evil_port = evil.address().port(),
    );
    scene.attack(&script)?;
    empty(&trap)?;
    empty(&evil)?;
    scene.guest.refused(&[&evil.address().ip().to_string()])
}

/// Where whatever is public may be reached, each of these is refused for what it is. Nobody listens at most of them: that nothing
/// answers says nothing, and the log has to.
fn ranges(world: &World) -> Result<(), String> {
    const FOUR: [(&str, &str); 10] = [
        ("10.88.77.66", "an address of this machine"),
        ("10.1.1.1", "a private address"),
        ("192.168.1.1", "a private address"),
        ("100.64.0.1", "an address shared behind a provider's NAT"),
        ("169.254.1.1", "a link-local address"),
        ("169.254.170.2", "a metadata service of a cloud platform"),
        ("168.63.129.16", "a metadata service of a cloud platform"),
        ("93.184.217.9", "on a network of this machine"),
        ("198.18.0.1", "an address for benchmarks"),
        ("203.0.113.1", "an address for documentation"),
    ];
    // A sandbox's own kernel connects to no multicast address and to no link-local one that is of no device.
    const SIX: [(&str, &str); 8] = [
        // To the machine one of no device, which nobody can ask about: it counts as its own.
        ("fe80::1", "an address of this machine"),
        ("fd00::1", "a private address"),
        ("fd00:ec2::254", "a metadata service of a cloud platform"),
        ("64:ff9b::a01:101", "a private address"),
        ("::10.1.1.1", "a tunnel or translation address"),
        ("2002:a01:101::", "a tunnel or translation address"),
        ("2001:db8::99", "an address for documentation"),
        ("100::1", "a reserved address"),
    ];
    let guest = world.sandbox("box", &[])?;
    let names = |rows: &[(&str, &str)]| rows.iter().map(|(ip, _)| format!("'{ip}',")).collect::<String>();
    let script = format!(
        "def four(ip): assert say(ip, 4321, b'\\x00raw') == b'', ip
def six(ip):
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    s.connect((ip, 4321, 0, socket.if_nametoindex('lo') if ip.startswith('fe80') else 0))
    s.sendall(b'\\x00raw')
    assert drain(s) == b'', ip
each(four, [(ip,) for ip in ({})])
try: six('fd00::1'); has_six = True
except OSError: has_six = False  # engines give containers none
if has_six: each(six, [(ip,) for ip in ({})])
print(has_six)",
        names(&FOUR),
        names(&SIX),
    );
    let rows = match guest.python(&script, &[])?.as_str() {
        "True\n" => [&FOUR[..], &SIX].concat(),
        "False\n" => FOUR.to_vec(),
        other => return Err(other.to_owned()),
    };
    let addresses: Vec<String> = rows
        .iter()
        .map(|(ip, _)| ip.parse::<IpAddr>().map_or_else(|e| e.to_string(), |ip| ip.to_string()))
        .collect();
    let lines: Vec<_> = addresses
        .iter()
        .zip(&rows)
        .map(|(ip, (_, why))| [("verdict", "blocked"), ("address", ip.as_str()), ("reason", *why)])
        .collect();
    guest.told(&lines.iter().map(|line| &line[..]).collect::<Vec<_>>())
}

fn metadata(world: &World) -> Result<(), String> {
    // Public is more than the list allows, and still not this.
    let scene = Scene::new(world, &["--allow", "public", "--allow", "metadata.test"])?;
    let trap = world.site.trap_at(([169, 254, 169, 254], 80).into()).map_err(|e| e.to_string())?;
    world.site.dns().set("metadata.test", &["169.254.169.254".parse().map_err(|e| format!("{e}"))?]);
    scene.attack(
        "for host in ('169.254.169.254', '169.254.170.2', '2852039166', '0251.0376.0251.0376', 'metadata.test'):
    assert status(say(host, 80, get(host, '/latest/meta-data/'))) == '403', host
    request = f'GET http://{host}/latest/ HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n'
    assert status(say(*PROXY, request.encode())) in ('403', '400'), host
    request = f'CONNECT {host}:80 HTTP/1.1\\r\\nHost: {host}:80\\r\\n\\r\\n'
    assert status(say(*PROXY, request.encode())) in ('403', '400'), host
assert status(say('fd00:ec2::254', 80, get('x'), socket.AF_INET6)) in ('403', 'none')",
    )?;
    empty(&trap)?;
    scene.guest.refused(&["169.254.169.254"])
}

/// The loopback of a sandbox is its own, and no other road leads to the host's.
fn loopback(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &["--allow", "loopback.test"])?;
    let trap = world.site.trap_at(([127, 0, 0, 1], 0).into()).map_err(|e| e.to_string())?;
    world.site.dns().set("loopback.test", &[trap.address().ip()]);
    let script = format!(
        "port = {port}
for host in ('127.0.0.1', 'localhost', '0.0.0.0', 'loopback.test', '192.0.2.53', '192.0.2.54'):
    assert status(say(host, port, get(host))) in ('none', '403'), host
    request = f'GET http://{{host}}:{{port}}/ HTTP/1.1\\r\\nHost: {{host}}:{{port}}\\r\\nConnection: close\\r\\n\\r\\n'
    assert status(say(*PROXY, request.encode())) in ('403', '400', '502'), host",
        port = trap.address().port()
    );
    scene.attack(&script)?;
    empty(&trap)?;
    scene.guest.refused(&["127.0.0.1"])
}

/// They are the kernel's own affair: a gateway hears nothing of them, so that no line of a log can say that one was tried.
fn sockets(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let name = format!("agentkernel-egress-{}-{}", std::process::id(), scene.api.address());
    let address = SocketAddr::from_abstract_name(&name).map_err(|e| e.to_string())?;
    let listener = UnixListener::bind_addr(&address).map_err(|e| e.to_string())?;
    listener.set_nonblocking(true).map_err(|e| e.to_string())?;
    let script = format!(
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try:
    s.connect('\\0{name}')
    raise SystemExit('connected')
except OSError: pass"
    );
    scene.attack(&script)?;
    expect(listener.accept().is_err(), || "the abstract socket was reached".to_owned())?;
    // It is there for who may see it.
    let _here = UnixStream::connect_addr(&address).map_err(|e| format!("nobody reaches it: {e}"))?;
    listener.accept().map(drop).map_err(|e| format!("nobody reaches it: {e}"))
}
