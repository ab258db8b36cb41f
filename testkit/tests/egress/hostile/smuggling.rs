//! Requests that two readers count differently. Whatever the gateway makes of one, the server must never see a request that
//! was hidden in another, and the secret only with requests that the gateway has read.

use super::{API, EVIL, Scene, VALUE, World};
use crate::{Test, bench::expect};

pub(super) const fn tests() -> [Test; 3] {
    [
        ("hostile/smuggling-to-the-secret", over_tls),
        ("hostile/smuggling-by-the-proxy", by_proxy),
        ("hostile/ambiguous-paths", paths),
    ]
}

/// Each with a hidden request for `/smuggled` of another host.
const MESSAGES: &str = r"
HIDDEN = b'GET /smuggled HTTP/1.1\r\nHost: HOST\r\nX-Hidden: yes\r\n\r\n'
HEAD = b'POST /outer HTTP/1.1\r\nHost: HOST\r\n'
def messages(host):
    hidden, head = HIDDEN.replace(b'HOST', host), HEAD.replace(b'HOST', host)
    size = b'%d' % len(hidden)
    chunked = b'%x\r\n' % len(hidden) + hidden + b'\r\n0\r\n\r\n'
    return {
        'cl.te': head + b'Content-Length: ' + size + b'\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + hidden,
        'te.cl': head + b'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n' + chunked,
        'te.te': head + b'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n' + hidden,
        'te.odd': head + b'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n' + hidden,
        'te.space': head + b'Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n' + hidden,
        'te.tab': head + b'Transfer-Encoding:\tchunked, identity\r\n\r\n0\r\n\r\n' + hidden,
        'te.vt': head + b'Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n' + hidden,
        'cl.cl': head + b'Content-Length: 0\r\nContent-Length: ' + size + b'\r\n\r\n' + hidden,
        'cl.list': head + b'Content-Length: 0, ' + size + b'\r\n\r\n' + hidden,
        'cl.plus': head + b'Content-Length: +0\r\n\r\n' + hidden,
        'cl.hex': head + b'Content-Length: 0x0\r\n\r\n' + hidden,
        'cl.minus': head + b'Content-Length: -1\r\n\r\n' + hidden,
        'obs-fold': head + b'X-A: b\r\n Content-Length: 0\r\nContent-Length: ' + size + b'\r\n\r\n' + hidden,
        'obs-fold.te': head + b'Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n' + hidden,
        'bare-lf': head.replace(b'\r\n', b'\n') + b'Content-Length: 0\n\n' + hidden,
        'bare-lf.value': head + b'X-A: b\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n' + hidden,
        'bare-cr': head + b'X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n' + hidden,
        'nul': head + b'X-A: b\0c\r\nContent-Length: 0\r\n\r\n' + hidden,
        'chunk-ext': head + b'Transfer-Encoding: chunked\r\n\r\n0;a=\n\r\n\r\n' + hidden,
        'chunk-size': head + b'Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n' + hidden,
        'chunk-long': head + b'Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n' + hidden,
        'trailer': head + b'Transfer-Encoding: chunked\r\n\r\n0\r\nHost: evil.test\r\nContent-Length: 9\r\n\r\n' + hidden,
        'get-body': b'GET /outer HTTP/1.1\r\nHost: ' + host + b'\r\nContent-Length: ' + size + b'\r\n\r\n' + hidden,
        'http1.0': head.replace(b'1.1', b'1.0') + b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + hidden,
        'upgrade': head + b'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n' +
                   b'Content-Length: 0\r\n\r\n' + hidden,
        'line': b'GET /outer HTTP/1.1\r\nHost: ' + host + b'\r\nX: a\r\n\r\n\r\n' + hidden,
    }
";

/// What hides behind a good end is a request of its own, which the gateway reads: the name in it is not this server's.
fn over_tls(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let script = format!(
        "{MESSAGES}
def one(name, message):
    message = message.replace(b'smuggled HTTP/1.1\\r\\nHost: ' + API.encode(), b'smuggled HTTP/1.1\\r\\nHost: ' + EVIL.encode())
    answer = tls(API_IP, API_PORT, API, message)
    assert b'hello' not in answer.partition(b'hello')[2], (name, answer)
each(one, messages(API.encode()).items())"
    );
    scene.attack(&script)?;
    arrived_whole(&scene)?;
    // What hides behind a good end, and heads that cannot be read, of which the connection tells.
    let other = format!("this connection is for {API}");
    scene.guest.told(&[
        &[("type", "request"), ("verdict", "blocked"), ("path", "/smuggled"), ("reason", &other)],
        &[("type", "connection"), ("reason", "broken off: what came is no HTTP or TLS that can be read")],
    ])
}

fn arrived_whole(scene: &Scene<'_>) -> Result<(), String> {
    let record = scene.api.record();
    let all = record.requests();
    // Some are good as they are, up to what hides in them.
    expect(!all.is_empty(), || "nothing arrived at all".to_owned())?;
    for seen in all {
        let whole =
            seen.path == "/outer" && seen.header("x-hidden").is_empty() && seen.header("host").len() <= 1;
        expect(whole, || format!("smuggled: {seen:?}"))?;
        expect(seen.header("x-key") == [VALUE], || format!("without the secret: {seen:?}"))?;
        let both = !seen.header("content-length").is_empty() && !seen.header("transfer-encoding").is_empty();
        expect(!both, || format!("two lengths: {seen:?}"))?;
    }
    let strange: Vec<String> = record.faults().into_iter().filter(|fault| fault.contains("pars")).collect();
    expect(strange.is_empty(), || format!("the server was sent what is no request: {strange:?}"))
}

fn by_proxy(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let plain = world.site.http(agentkernel_testkit::origin::Net::Allowed, &["plain.test"]);
    let plain = plain.map_err(|e| e.to_string())?;
    let script = format!(
        "{MESSAGES}
host = b'{ip}:{port}'
def one(name, message):
    message = message.replace(b' /outer', b' http://' + host + b'/outer', 1)
    message = message.replace(b' /smuggled', b' http://' + EVIL.encode() + b'/smuggled').replace(
        b'smuggled HTTP/1.1\\r\\nHost: ' + host, b'smuggled HTTP/1.1\\r\\nHost: ' + EVIL.encode())
    say(*PROXY, message)
each(one, messages(host).items())",
        ip = plain.address().ip(),
        port = plain.address().port(),
    );
    scene.attack(&script)?;
    let seen = plain.record().requests();
    let smuggled = seen.iter().find(|seen| seen.path != "/outer");
    expect(smuggled.is_none() && !seen.is_empty(), || format!("{smuggled:?} of {}", seen.len()))?;
    // What cannot be read is written down nowhere here: it goes to nobody, and the way to the proxy is no connection to the
    // outside. What hides behind a good end is a request of its own.
    scene.guest.told(&[&[("type", "request"), ("verdict", "blocked"), ("name", EVIL), ("path", "/smuggled")]])
}

/// A rule about a path is about what the server understands.
fn paths(world: &World) -> Result<(), String> {
    let api = world.https(&["paths.test"])?;
    let guest = world.strict("box", &["--allow", "GET paths.test/public", "--deny", "paths.test"])?;
    let script = format!(
        "ip, port = '{ip}', {port}
socket.getaddrinfo('paths.test', port)
ok = tls(ip, port, 'paths.test', get('paths.test', '/public/x'))
assert status(ok) == '200', ok
for path in ('/private', '/public/../private', '/public/%2e%2e/private', '/public/%2E./private', '/public%2f..%2fprivate',
             '/public/..%2fprivate', '/public/..%5cprivate', '/public/..\\\\private', '//private', '/public//../private',
             '/publicprivate', '/PUBLIC/../private', '/public/./../private', '/public/%252e%252e/private', '/public;/../private'):
    answer = tls(ip, port, 'paths.test', get('paths.test', path))
    assert status(answer) in ('400', '403'), (path, answer)
answer = tls(ip, port, 'paths.test', get('paths.test', '/public').replace(b'GET', b'POST'))
assert status(answer) == '403', answer
print('held')",
        ip = api.address().ip(),
        port = api.address().port(),
    );
    let said = guest.python(&script, &[])?;
    expect(said == "held\n", || said.clone())?;
    let seen = api.record().requests();
    expect(seen.len() == 1, || format!("{seen:?}"))?;
    guest.refused(&["paths.test", "/private"])
}
