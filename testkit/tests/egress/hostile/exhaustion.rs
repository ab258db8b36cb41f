//! Sandboxes that take what they can: connections without end, and clients that never finish a sentence.

use super::{API, Scene, World};
use crate::{Test, bench::expect};
use agentkernel_testkit::proc;
use rustix::process::{Resource, getrlimit};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};

pub(super) const fn tests() -> [Test; 2] {
    [("hostile/ten-thousand-idle-connections", idle), ("hostile/slow-loris", slow)]
}

/// Connections that the gateway makes at once for one sandbox, and a few of the neighbour's.
const MOST_AT_ONCE: usize = 4096 + 8;
/// What the sandbox tries to have.
const IDLE: u64 = 10_000;
/// Processes that hold connections: each its share of them within the 1,024 descriptors that any process may have.
const HOLDERS: usize = 16;
/// What a keeper may need for as many connections as it takes, in bytes.
const MOST: u64 = 200 << 20;

/// The sandbox harms itself, for as long as it does; the keeper stays small, and a neighbour feels nothing.
fn idle(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let neighbour = world.strict("other", &["--secret", &format!("KEY:{API}:X-Key")])?;
    // Those that are made are told apart from those that wait to be: once the gateway has all that it takes and its backlog is
    // full, a further connect() stays under way for as long as the others are held.
    let hold = "held = []
for _ in range(IDLE // HOLDERS):
    s = socket.socket(); s.setblocking(False)
    try: s.connect((API_IP, API_PORT))
    except BlockingIOError: pass
    held.append(s)
def made():
    count = 0
    for s in held:
        try: s.getpeername(); count += 1
        except OSError: pass
    return count
# Until there are no more of them.
before, deadline = -1, time.monotonic() + 20
while before < made() and time.monotonic() < deadline:
    before = made(); time.sleep(2)
print(len(held), made(), flush=True)
sys.stdin.read()";
    let (ip, port) = (scene.api.address().ip(), scene.api.address().port());
    let script = format!(
        "{}\nAPI_IP, API_PORT = '{ip}', {port}\nHOLDERS, IDLE = {HOLDERS}, {IDLE}\nimport resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
for _ in range(HOLDERS - 1):
    if os.fork() == 0: break
{hold}",
        include_str!("../attack.py")
    );
    let (done, hold) = std::io::pipe().map_err(|e| e.to_string())?;
    let (counts, said) = std::io::pipe().map_err(|e| e.to_string())?;
    let crowd = scene.guest.command(&["/usr/bin/python3", "-c", &script]).stdin(done).stdout(said).start();
    // Each says how many it has begun, and how many of them are made.
    let (mut begun, mut made) = (0, 0);
    for line in BufReader::new(counts).lines().map_while(Result::ok).take(HOLDERS) {
        let mut numbers = line.split(' ').filter_map(|number| number.parse::<u64>().ok());
        begun += numbers.next().unwrap_or(0);
        made += numbers.next().unwrap_or(0);
    }
    let url = scene.api.url(API, "/");
    let beside = neighbour.says(&format!("curl -sS --max-time 30 {url}"));
    // The keeper has something left for its own work.
    let inside = scene.guest.sh("echo here");
    let (sizes, outside) = (keepers(world)?, scene.api.record().connections());
    drop(hold);
    let ended = crowd.finish();
    expect(ended.code == Some(0) && begun == IDLE, || format!("only {begun} were begun: {ended}"))?;
    expect(made >= most_served(), || format!("{made} of {IDLE} were made"))?;
    expect(beside? == "hello\n", || "the neighbour was not served".to_owned())?;
    expect(inside.out() == "here\n", || format!("no command beside the crowd: {inside}"))?;
    expect(outside <= MOST_AT_ONCE, || format!("{outside} connections went out at once"))?;
    let largest = sizes.iter().max().copied().unwrap_or_default();
    expect((1..MOST).contains(&largest), || format!("keepers of {sizes:?} bytes"))?;
    let after = scene.guest.says(&format!("curl -sS --max-time 60 {url}"))?;
    expect(after == "hello\n", || format!("not served afterwards: {after}"))
}

/// So many the gateway serves at once for a sandbox, in the keeper, which may have as many descriptors as we may: 4,096, or as
/// many as there are descriptors for, two for each. Beyond them a backlog has some more, and no sandbox has them all.
fn most_served() -> u64 {
    let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    (descriptors.saturating_sub(1024) / 2).min(4096)
}

/// The resident memory of the keepers of this test.
fn keepers(world: &World) -> Result<Vec<u64>, String> {
    let sandboxes = world.bench.env.home().join(".local/share/agentkernel/sandboxes");
    // `agentkernel keeper ID`: nothing else of a keeper is shown to an ordinary user.
    let mine = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = words.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        matches!(words.as_slice(), [_, verb, id, ..] if verb == "keeper" && sandboxes.join(&**id).exists())
    };
    let all = proc::all().map_err(|e| e.to_string())?;
    Ok(all.into_iter().filter(mine).map(proc::resident_bytes).collect())
}

/// Half a handshake, half a request, and a request of one byte a second: all are ended, and others are served meanwhile.
fn slow(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    scene.attack(
        "began = time.monotonic()
half = socket.create_connection((API_IP, API_PORT)); half.sendall(b'\\x16\\x03\\x01\\x02\\x00\\x01')
def opened():
    return trusted().wrap_socket(socket.create_connection((API_IP, API_PORT)), server_hostname=API)
part = opened(); part.sendall(b'GET / HTTP/1.1\\r\\nHost: ' + API.encode() + b'\\r\\nX-A: ')
drip = opened()
ends = {}
def watch(name, s):
    s.settimeout(90)
    drain(s)
    ends[name] = time.monotonic() - began
def feed():
    drip.settimeout(90)
    try:
        for byte in b'GET / HTTP/1.1\\r\\nX-Slow: ' + b'a' * 200:
            drip.sendall(bytes([byte])); time.sleep(0.5)
    except OSError: pass
    ends['drip'] = time.monotonic() - began
threads = [threading.Thread(target=watch, args=('half', half)), threading.Thread(target=watch, args=('part', part)),
           threading.Thread(target=feed)]
for t in threads: t.start()
assert status(tls(API_IP, API_PORT, API, get(API))) == '200'
for t in threads: t.join()
assert max(ends.values()) < 60, ends",
    )?;
    // The one good request; of the others nothing went further.
    scene.api_saw(1)?;
    // Who says no name is refused in the end; the two who began a request are waited for and broken off.
    let log = scene.guest.log()?;
    let ended = |verdict: &str, why: &str| {
        let same = |line: &&Value| line["type"] == "connection" && line["verdict"] == verdict;
        log.iter().filter(same).filter(|line| line["reason"].to_string().contains(why)).count()
    };
    let counts = (
        ended("blocked", "open for HTTP and TLS with a name only"),
        ended("allowed", "broken off: timed out"),
    );
    expect(counts == (1, 2), || format!("{counts:?}: {log:?}"))
}
