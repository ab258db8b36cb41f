//! Programs that people use, in a sandbox with a secret: the header reaches the other side, and the value is nowhere inside.
//! They are this machine's, on every backend.

use super::{
    search,
    world::{Guest, World},
};
use crate::{Test, bench::expect};
use agentkernel_testkit::origin::{Files, Origin, packages};
use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
};

const TESTS: [Test; 13] = [
    ("client/search-finds-what-is-planted", planted),
    ("client/curl", curl),
    ("client/wget", wget),
    ("client/openssl", openssl),
    ("client/python-urllib", urllib),
    ("client/python-requests", requests),
    ("client/python-httpx", httpx),
    ("client/git", git),
    ("client/pip", pip),
    ("client/npm", npm),
    ("client/cargo", cargo),
    ("client/node", node),
    ("client/java", java),
];

/// Those that can be had here: the cargo that built this program may be its builder's alone.
pub(crate) fn tests() -> impl Iterator<Item = Test> {
    let has_cargo = fs::File::open(env!("CARGO")).is_ok();
    TESTS.into_iter().filter(move |(title, _)| has_cargo || *title != "client/cargo")
}

const HOST: &str = "registry.test";
const VALUE: &str = "Hidden-b51d0a6e4f92c873";
const PLACEHOLDER: &str = "ak-proxy-managed";
/// What every client is run without, the second time: it then meets the gateway on its way instead of asking it.
const UNSET: &str = "unset HTTP_PROXY HTTPS_PROXY http_proxy https_proxy ALL_PROXY all_proxy";

/// Runs `script` with `$URL` and `$HOST` twice, as a client of a proxy and as one that knows of none. Every request must
/// have had the header, and at least one have come each time; while it waits for its answer, the value is looked for.
fn client(world: &World, files: Files, flags: &[&str], script: &str) -> Result<(), String> {
    let origin = world.site.https_of(&[HOST], files).map_err(|e| e.to_string())?;
    world.keep("TOKEN", VALUE)?;
    let guest = guest(world, flags)?;
    for unset in ["true", UNSET] {
        asked(&origin, &guest, unset, script)?;
    }
    search::nowhere_inside(&guest, VALUE)
}

/// A sandbox with the secret.
fn guest<'a>(world: &'a World, flags: &[&str]) -> Result<Guest<'a>, String> {
    let bound = format!("TOKEN:{HOST}:Authorization");
    let mut all = vec!["--secret", &bound];
    all.extend(flags);
    world.strict("box", &all)
}

fn asked(origin: &Origin, guest: &Guest<'_>, unset: &str, script: &str) -> Result<(), String> {
    let before = origin.record().requests().len();
    let (url, port) = (origin.url(HOST, ""), origin.address().port());
    // The shell stays until the end, because it is what the search knows the sandbox by.
    let whole = format!(
        "set -e; {unset}; export URL={url} HOST={HOST} PORT={port} HOME=/tmp/home; rm -rf /tmp/home; mkdir /tmp/home
        cd /tmp/home; {script}
        exit 0"
    );
    let marker = format!("marker={}", origin.address());
    let searches = searched_before_answers(origin, &marker);
    let ran = guest.command(&["/bin/sh", "-c", &whole, &marker]).run();
    let searches = std::mem::take(&mut *searches.lock().unwrap_or_else(PoisonError::into_inner));
    let count = searches.len();
    searches.into_iter().collect::<Result<(), String>>()?;
    expect(ran.code == Some(0), || format!("{ran}\n{:?}", origin.record().faults()))?;
    let came = origin.record().requests().len() - before;
    expect(count == came, || format!("searched {count} times in {came} requests: {:?}", origin.record()))?;
    injected(origin, before)
}

/// What came of looking for the value in the sandbox of `marker`, once for each request from now on.
fn searched_before_answers(origin: &Origin, marker: &str) -> Arc<Mutex<Vec<Result<(), String>>>> {
    let searches = Arc::<Mutex<Vec<_>>>::default();
    let (marker, kept) = (marker.to_owned(), Arc::clone(&searches));
    origin.before_answers(move || {
        let found = search::nowhere(&marker, VALUE, PLACEHOLDER);
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(found);
    });
    searches
}

/// The search of the above finds what is there.
fn planted(world: &World) -> Result<(), String> {
    let origin = world.https(&[HOST])?;
    world.keep("TOKEN", VALUE)?;
    let guest = guest(world, &[])?;
    let (start, rest) = VALUE.split_at(8);
    // The script is an argument itself: what it plants elsewhere must not stand there in one piece.
    for (plant, place) in [
        (format!("PLANTED={start}''{rest} curl -sSf $URL/"), "environ of"),
        (format!("curl -sSf -H 'X-Mine: {start}{rest}' $URL/"), "cmdline of"),
        (format!("a={start} b={rest}; c=$a$b; curl -sSf $URL/"), "the memory of"),
        (format!("a={start} b={rest}; c=$(printf %s $a$b | base64); curl -sSf $URL/"), "the memory of"),
    ] {
        let found = asked(&origin, &guest, UNSET, &plant).err().unwrap_or_default();
        expect(found.starts_with(place) && found.ends_with("has the value"), || format!("{plant}: {found}"))?;
    }
    Ok(())
}

fn injected(origin: &Origin, before: usize) -> Result<(), String> {
    let seen = origin.record().requests();
    expect(seen.len() > before, || format!("nothing arrived: {:?}", origin.record().faults()))?;
    let without = seen.iter().skip(before).find(|seen| seen.header("authorization") != [VALUE]);
    without.map_or(Ok(()), |seen| Err(format!("without the secret, or with more than it: {seen:?}")))
}

/// The same of a client that stays, while its memory is searched: `script` says `ready` and waits for a line.
fn searched(world: &World, program: &[&str], script: &str) -> Result<(), String> {
    let origin = world.https(&[HOST])?;
    world.keep("TOKEN", VALUE)?;
    let guest = guest(world, &[])?;
    let (url, marker) = (origin.url(HOST, "/echo"), format!("marker={}", origin.address()));
    for unset in [false, true] {
        let before = origin.record().requests().len();
        let start = if unset { format!("{UNSET}; exec \"$@\"") } else { "exec \"$@\"".to_owned() };
        let mut words = vec!["/bin/sh", "-c", &start, "sh"];
        words.extend(program);
        words.extend([script, &url, &marker]);
        let (done, is_done) = std::io::pipe().map_err(|e| e.to_string())?;
        let mut client = guest.command(&words).stdin(done).start();
        let looked = if origin.record().has_requests(before + 1, std::time::Duration::from_secs(60)) {
            injected(&origin, before).and_then(|()| search::nowhere(&marker, VALUE, PLACEHOLDER))
        } else {
            Err("no request came".to_owned())
        };
        drop((client.stdin.take(), is_done));
        let ended = client.finish();
        looked.map_err(|why| format!("{why}\n{ended}"))?;
        expect(ended.code == Some(0), || ended.to_string())?;
        let said = ended.out();
        expect(said.contains("[redacted]") && !said.contains(VALUE), || format!("echoed: {said}"))?;
    }
    search::nowhere_inside(&guest, VALUE)
}

fn curl(world: &World) -> Result<(), String> {
    let script = "curl -sSf $URL/ && curl -sSf --http1.1 -H \"Authorization: Bearer $TOKEN\" $URL/ &&
        curl -sSf -H 'authorization: mine' -H 'AUTHORIZATION: other' $URL/ && curl -sSf -d @/etc/hosts $URL/upload";
    client(world, Files::default(), &[], script)
}

fn wget(world: &World) -> Result<(), String> {
    // GnuTLS knows no variable that names authorities; busybox has no such option.
    let script = "/usr/bin/wget --quiet --output-document=- --ca-certificate=$SSL_CERT_FILE $URL/";
    client(world, Files::default(), &[], script)
}

fn openssl(world: &World) -> Result<(), String> {
    // `-quiet` goes on reading when there is nothing more to say.
    let script = "printf 'GET /echo HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n' $HOST:$PORT |
        openssl s_client -quiet -verify_return_error -CAfile $SSL_CERT_FILE -servername $HOST -connect $HOST:$PORT |
        grep -q 200";
    client(world, Files::default(), &[], script)
}

const URLLIB: &str = "
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1]).read().decode(), flush=True)
sys.stdin.read()
";

fn urllib(world: &World) -> Result<(), String> {
    searched(world, &["/usr/bin/python3", "-c"], URLLIB)
}

const REQUESTS: &str = "
import os, sys, requests
key = os.environ['TOKEN']
print(requests.get(sys.argv[1], headers={'Authorization': 'Bearer ' + key}).text, flush=True)
sys.stdin.read()
";

fn requests(world: &World) -> Result<(), String> {
    searched(world, &["/usr/bin/python3", "-c"], REQUESTS)
}

const HTTPX: &str = "
import os, sys, httpx
key = os.environ['TOKEN']
print(httpx.get(sys.argv[1], headers={'Authorization': 'Bearer ' + key}).text, flush=True)
sys.stdin.read()
";

fn httpx(world: &World) -> Result<(), String> {
    searched(world, &["/usr/bin/python3", "-c"], HTTPX)
}

const NODE: &str = "
const url = process.argv[1];
fetch(url, {headers: {authorization: 'Bearer ' + process.env.TOKEN}}).then(async answer => {
  console.log(await answer.text());
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
});
";

fn node(world: &World) -> Result<(), String> {
    searched(world, &["/usr/bin/node", "-e"], NODE)
}

const JAVA: &str = r#"
import java.net.URI;
import java.net.http.*;
public class Main {
    public static void main(String[] words) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(words[1]))
            .header("Authorization", "Bearer " + System.getenv("TOKEN")).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.body());
        System.in.read();
    }
}
"#;

fn java(world: &World) -> Result<(), String> {
    // A source file is a program: `java Main.java`.
    let script = "printf %s \"$1\" > /tmp/Main.java; shift; exec java /tmp/Main.java main \"$@\"";
    searched(world, &["/bin/sh", "-c", script, "sh"], JAVA)
}

fn git(world: &World) -> Result<(), String> {
    let place = world.bench.env.directory("repository");
    let files = packages::repository(&place).map_err(|e| e.to_string())?;
    client(world, files, &[], "git clone --quiet $URL/repo.git clone && grep -q hello clone/README")
}

fn pip(world: &World) -> Result<(), String> {
    let files = packages::python_index().map_err(|e| e.to_string())?;
    let script = "/usr/bin/python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir \
        --index-url $URL/simple demo-pkg && ls demo_pkg-1.0-py3-none-any.whl";
    client(world, files, &[], script)
}

fn npm(world: &World) -> Result<(), String> {
    let files = packages::npm_registry().map_err(|e| e.to_string())?;
    // Whether there is a newer npm is a question whose answer is not waited for.
    let script = "npm install --no-audit --no-fund --no-update-notifier --registry=$URL/ demo-pkg &&
        ls node_modules/demo-pkg/index.js && npm view --no-update-notifier --registry=$URL/ demo-pkg version";
    client(world, files, &[], script)
}

/// The project's own cargo: `vendor` fetches as `build` does and needs no compiler.
fn cargo(world: &World) -> Result<(), String> {
    // The one that built this program.
    let program = env!("CARGO");
    let bytes = fs::read(program).map_err(|e| format!("set-up: {program}: {e}"))?;
    let tools = world.bench.env.directory("tools");
    let copy = world.bench.env.file("tools/cargo", bytes);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&copy, mode).map_err(|e| e.to_string())?;
    let files = packages::cargo_registry().map_err(|e| e.to_string())?;
    let mount = format!("{}:/tools:ro", tools.display());
    let script = "mkdir -p src .cargo; echo 'fn main() {}' > src/main.rs
        printf '[package]\\nname = \"mine\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n[dependencies]\\ndemo-crate = \"1\"\\n' \
          > Cargo.toml
        printf '[source.crates-io]\\nreplace-with = \"mine\"\\n[source.mine]\\nregistry = \"sparse+%s/\"\\n' $URL \
          > .cargo/config.toml
        /tools/cargo vendor --quiet --respect-source-config > /dev/null && ls vendor/demo-crate/src/lib.rs";
    client(world, files, &["--volume", &mount], script)
}
