//! The three lines of the promise, as they stand there, and what goes with them.

use super::{search, world::World};
use crate::{Test, bench::expect};
use agentkernel_testkit::{
    env::Invocation,
    origin::{Certificate, Files, Net, Origin},
};
use std::time::Duration;

pub(crate) const fn tests() -> [Test; 9] {
    [
        ("seed/three-lines", three_lines),
        ("seed/value-given-on-the-spot", on_the_spot),
        ("seed/value-in-no-file", in_no_file),
        ("seed/value-not-in-process-1", first_process),
        ("seed/value-not-in-process-1-of-run", first_process_of_run),
        ("seed/stream-is-not-held-back", stream),
        ("seed/a-new-authority-at-each-start", restart),
        ("seed/run", run),
        ("seed/secret-that-is-a-file", file),
    ]
}

const VALUE: &str = "sk-hidden-5f2a77c1d09b4e";
const BOUND: &str = "OPENAI_API_KEY:api.openai.com";

fn three_lines(world: &World) -> Result<(), String> {
    let api = world.https(&["api.openai.com"])?;
    let evil = world.site.tls(Net::Forbidden, &["evil.com"], Certificate::Right, Files::default());
    let evil = evil.map_err(|e| e.to_string())?;
    world.keep("OPENAI_API_KEY", VALUE)?;
    let guest =
        world.sandbox("my-agent", &["--secret", BOUND, "--allow", &world.site.block(Net::Allowed)])?;
    let url = api.url("api.openai.com", "/v1/models");
    let said = guest.says(&format!("curl --silent --show-error {url}"))?;
    expect(said == "hello\n", || format!("the server said hello, curl says: {said}"))?;
    let seen = api.record().requests();
    let header = format!("Bearer {VALUE}");
    expect(seen.len() == 1 && seen[0].header("authorization") == [header.as_str()], || format!("{seen:?}"))?;
    expect(seen[0].sni.as_deref() == Some("api.openai.com"), || format!("{seen:?}"))?;

    let url = evil.url("evil.com", "/");
    let blocked = guest.sh(&format!("curl --silent --show-error {url}"));
    expect(blocked.code != Some(0) && blocked.err().contains("403"), || format!("{blocked}"))?;
    let direct = guest.sh(&format!("curl --silent --show-error --noproxy '*' {url}"));
    expect(direct.code != Some(0), || format!("{direct}"))?;
    let plain = guest.says("curl --silent --noproxy '*' --write-out '%{http_code}' http://evil.com/")?;
    expect(plain.ends_with("403"), || plain.clone())?;
    expect(evil.record().is_empty(), || "evil.com was reached".to_owned())?;

    let said = guest.says("echo $OPENAI_API_KEY")?;
    expect(said == "ak-proxy-managed\n", || said.clone())?;
    guest.refused(&["evil.com"])
}

fn on_the_spot(world: &World) -> Result<(), String> {
    let api = world.https(&["api.openai.com"])?;
    let bound = format!("OPENAI_API_KEY={VALUE}:api.openai.com");
    let block = world.site.block(Net::Allowed);
    // A value from the command line is not kept.
    let guest = world.started_with("box", &["--secret", &bound, "--allow", &block], &["--secret", &bound])?;
    guest.says(&format!("curl -sS {}", api.url("api.openai.com", "/v1/models")))?;
    let seen = api.record().requests();
    expect(seen[0].header("authorization") == [format!("Bearer {VALUE}").as_str()], || format!("{seen:?}"))?;
    no_file_with(world, VALUE)
}

/// No file of this user has the value, whatever was done with it.
fn in_no_file(world: &World) -> Result<(), String> {
    let api = world.https(&["api.openai.com"])?;
    world.keep("OPENAI_API_KEY", VALUE)?;
    let guest = world.sandbox("box", &["--secret", BOUND, "--allow", &world.site.block(Net::Allowed)])?;
    guest.says(&format!("curl -sS {}", api.url("api.openai.com", "/echo")))?;
    no_file_with(world, VALUE)?;
    guest.log()?;
    no_file_with(world, VALUE)
}

fn no_file_with(world: &World, value: &str) -> Result<(), String> {
    let mut directories = vec![world.bench.env.home()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    let bytes = std::fs::read(entry.path()).unwrap_or_default();
                    let found = bytes.windows(value.len()).any(|window| window == value.as_bytes());
                    expect(!found, || format!("the value is in {}", entry.path().display()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Process 1 comes from a program that gets to know the value, and must not know it. The caller has it in the
/// environment as well, which that program inherits.
fn first_process(world: &World) -> Result<(), String> {
    let api = world.https(&["api.openai.com"])?;
    world.keep("OPENAI_API_KEY", VALUE)?;
    let allowed = world.site.block(Net::Allowed);
    let guest = world.created("box", &["--secret", BOUND, "--allow", &allowed])?;
    let start = world.bench.agentkernel(&["sandbox", "start", "box"]).env("OPENAI_API_KEY", VALUE).run();
    expect(start.code == Some(0), || start.to_string())?;
    let (marker, script) = waiting(&api);
    first_does_not_know(&api, &marker, guest.command(&["/bin/sh", "-c", &script, &marker]))
}

/// The same of a sandbox for one command, whose process 1 comes from the program that was called.
fn first_process_of_run(world: &World) -> Result<(), String> {
    let api = world.https(&["api.openai.com"])?;
    world.keep("OPENAI_API_KEY", VALUE)?;
    let allowed = world.site.block(Net::Allowed);
    let (marker, script) = waiting(&api);
    let flags = ["--secret", BOUND, "--allow", &allowed];
    first_does_not_know(&api, &marker, world.running(&flags, &["/bin/sh", "-c", &script, &marker]))
}

/// The word by which a process is found, and a script that asks `api` and then waits for its input to end.
fn waiting(api: &Origin) -> (String, String) {
    let script = format!("curl -sS {}; read line", api.url("api.openai.com", "/"));
    (format!("marker={}", api.address()), script)
}

fn first_does_not_know(api: &Origin, marker: &str, command: Invocation) -> Result<(), String> {
    let (done, hold) = std::io::pipe().map_err(|e| e.to_string())?;
    let client = command.stdin(done).start();
    let came = api.record().has_requests(1, Duration::from_secs(30));
    let looked = search::not_in_first(marker, VALUE);
    drop(hold);
    let ended = client.finish();
    expect(came, || ended.to_string())?;
    looked
}

/// What the server sends reaches the client before the server sends more.
fn stream(world: &World) -> Result<(), String> {
    let api = world.https(&["api.openai.com"])?;
    world.keep("OPENAI_API_KEY", VALUE)?;
    let guest = world.sandbox("box", &["--secret", BOUND, "--allow", &world.site.block(Net::Allowed)])?;
    let url = api.url("api.openai.com", "/stream");
    // Each line that arrives asks for the next one: were one held back, neither side would ever go on.
    let next = api.url("api.openai.com", "/upload");
    let script = format!("curl -sSN {url} | while read line; do echo got $line; curl -sS {next} >&2; done");
    let client = guest.command(&["/bin/sh", "-c", &script]).start();
    let waited = Duration::from_secs(30);
    for count in 1..=3 {
        expect(api.record().has_requests(count, waited), || format!("request {count} did not come"))?;
        expect(api.release("data\n") == 1, || "nobody reads the stream".to_owned())?;
    }
    expect(api.record().has_requests(4, waited), || "the last line was held back".to_owned())?;
    api.end_streams();
    let ended = client.finish();
    expect(ended.out() == "got data\n".repeat(3), || ended.to_string())
}

fn restart(world: &World) -> Result<(), String> {
    let api = world.https(&["api.openai.com"])?;
    world.keep("OPENAI_API_KEY", VALUE)?;
    let guest = world.sandbox("box", &["--secret", BOUND, "--allow", &world.site.block(Net::Allowed)])?;
    let script = format!("curl -sS {}; cat $NODE_EXTRA_CA_CERTS", api.url("api.openai.com", "/"));
    let first = guest.says(&script)?;
    world.bench.must(&["sandbox", "stop", "box"])?;
    world.bench.must(&["sandbox", "start", "box"])?;
    let second = guest.says(&script)?;
    for said in [&first, &second] {
        expect(said.starts_with("hello\n-----BEGIN CERTIFICATE"), || said.clone())?;
    }
    expect(first != second, || "both starts have one authority".to_owned())?;
    expect(api.record().requests().len() == 2, || format!("{:?}", api.record()))
}

fn run(world: &World) -> Result<(), String> {
    let api = world.https(&["api.openai.com"])?;
    world.keep("OPENAI_API_KEY", VALUE)?;
    let script = format!("curl -sS {}; echo $OPENAI_API_KEY", api.url("api.openai.com", "/"));
    let ran = world
        .run(&["--secret", BOUND, "--allow", &world.site.block(Net::Allowed)], &["/bin/sh", "-c", &script]);
    expect(ran.code == Some(0) && ran.out() == "hello\nak-proxy-managed\n", || ran.to_string())?;
    let seen = api.record().requests();
    expect(seen[0].header("authorization") == [format!("Bearer {VALUE}").as_str()], || format!("{seen:?}"))
}

/// What is no header: in memory while the sandbox runs, and each start has the value of that moment.
fn file(world: &World) -> Result<(), String> {
    const LATER: &str = "later-8c20e6b7f14d93aa";
    let look = "cd $AGENTKERNEL_SECRETS_PATH && stat -c %a DEPLOY && stat -f -c %T . && cat DEPLOY";
    world.keep("DEPLOY", VALUE)?;
    let guest = world.sandbox("box", &["--secret-file", "DEPLOY"])?;
    for (value, next) in [(VALUE, LATER), (LATER, VALUE)] {
        let said = guest.says(look)?;
        expect(said == format!("400\ntmpfs\n{value}"), || said.clone())?;
        no_file_with(world, value)?;
        world.bench.must(&["sandbox", "stop", "box"])?;
        no_file_with(world, value)?;
        world.keep("DEPLOY", next)?;
        world.bench.must(&["sandbox", "start", "box"])?;
    }
    world.bench.must(&["sandbox", "stop", "box"])?;
    Ok(())
}
