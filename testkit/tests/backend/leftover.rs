//! What may stay in an engine after a sandbox: nothing, whoever was killed.

use super::{
    bench::{Bench, LABEL, expect},
    sample::Sample,
};
use crate::Test;
use agentkernel_testkit::{
    engines::{Api, Proxy},
    proc,
};
use rustix::process::{Signal, pidfd_send_signal};
use serde_json::json;
use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    time::{Duration, Instant},
};

const IMAGE: &str = "volumes:1";
const OWNER: &str = "sh.agentkernel.owner";
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const fn tests() -> [Test; 5] {
    [
        ("volumes/of-an-image", of_an_image),
        ("volumes/of-a-killed-run", of_a_killed_run),
        ("volumes/of-a-named-sandbox", of_a_named_sandbox),
        ("volumes/left-by-an-engine", left_by_an_engine),
        ("images/cleaned-up-before-they-are-used", cleaned_up),
    ]
}

/// An image that wants volumes, also in the engine itself, whose containers of it get some.
fn import(bench: &Bench) -> Result<(), String> {
    let mut sample = Sample::new(bench, "volumes")?;
    sample.file("data/file", 0o644, b"of the image\n")?;
    sample.config.volumes = vec!["/data".to_owned(), "/more".to_owned()];
    sample.import(bench, IMAGE)
}

/// Volumes of this test: those of its containers, and those with the label of its sandboxes.
fn volumes(bench: &Bench) -> Result<BTreeSet<String>, String> {
    let volumes = bench.api()?.volumes().map_err(|e| e.to_string())?;
    let mut own = BTreeSet::new();
    for name in volumes {
        let about = bench.api()?.call("GET", &format!("/volumes/{name}"), None).map_err(|e| e.to_string())?;
        // 404: of another test, and gone.
        let about: serde_json::Value = serde_json::from_slice(about.body()).unwrap_or_default();
        if about["Labels"][OWNER] == owner(bench).as_str() {
            own.insert(name);
        }
    }
    Ok(own)
}

/// The mark of this test's data directory, as the driver makes it.
fn owner(bench: &Bench) -> String {
    use sha2::{Digest as _, Sha256};
    use std::os::unix::ffi::OsStrExt as _;
    let digest = Sha256::digest(bench.env.data().as_os_str().as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn nothing_left(bench: &Bench, after: &str) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = (volumes(bench)?, bench.containers()?.len());
        if left.0.is_empty() && left.1 == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("after {after}: volumes {:?}, {} containers", left.0, left.1));
        }
        // Nothing tells of an engine's end of its work.
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn of_an_image(bench: &Bench) -> Result<(), String> {
    import(bench)?;
    let before = bench.api()?.volumes().map_err(|e| e.to_string())?;
    let script =
        "cat /data/file; echo mine >/data/file && cat /data/file; grep -c ' /data ' /proc/self/mountinfo";
    let ran = bench.run(IMAGE, &["--no-workspace"], &["/bin/sh", "-c", script]).run();
    // Its volumes are directories of the root: what is written goes with the sandbox, as everything.
    expect(ran.out() == "of the image\nmine\n0\n", || ran.to_string())?;
    let read_only = ["--no-workspace", "--profile", "restrictive"];
    let closed = bench.run(IMAGE, &read_only, &["/bin/sh", "-c", "echo x >/data/file"]).run();
    expect(closed.code == Some(1), || format!("a volume opens a read-only root: {closed}"))?;
    nothing_left(bench, "a run")?;
    let after = bench.api()?.volumes().map_err(|e| e.to_string())?;
    let new: Vec<_> = after.iter().filter(|name| !before.contains(name)).collect();
    // Another test may have made one meanwhile; those have labels.
    let unlabelled = new.iter().filter(|name| !labelled(bench, name));
    let unlabelled: Vec<_> = unlabelled.collect();
    expect(unlabelled.is_empty(), || format!("volumes without an owner: {unlabelled:?}"))
}

pub(super) fn labelled(bench: &Bench, name: &str) -> bool {
    let Ok(api) = bench.api() else { return false };
    let about = api.call("GET", &format!("/volumes/{name}"), None);
    about.is_ok_and(|about| about.status() == 404 || String::from_utf8_lossy(about.body()).contains(OWNER))
}

/// With a view of the project, which is a volume where the engine has no other way.
fn of_a_killed_run(bench: &Bench) -> Result<(), String> {
    import(bench)?;
    bench.env.file("project/file", "project\n");
    let command = ["/bin/sh", "-c", "echo new >/workspace/new; cat /workspace/file; sleep 1000"];
    let (output, written) = std::io::pipe().map_err(|e| e.to_string())?;
    let run = bench.run(IMAGE, &[], &command).stdout(written).start();
    let mut lines = BufReader::new(output).lines();
    let first = lines.next().transpose().map_err(|e| e.to_string())?;
    if first.is_none() && bench.backend() == "docker" {
        return Err(run.finish().to_string());
    }
    expect(first.as_deref() == Some("project"), || format!("set-up: {first:?}"))?;
    let handle = proc::handle(run.pid()).ok_or("set-up: the run is gone")?;
    pidfd_send_signal(&handle, Signal::KILL).map_err(|e| e.to_string())?;
    run.finish();
    // The agent ends with its keeper, the engine removes what ended, and gc the rest.
    bench.must(&["sandbox", "gc"])?;
    nothing_left(bench, "a killed run and gc")
}

fn of_a_named_sandbox(bench: &Bench) -> Result<(), String> {
    import(bench)?;
    bench.env.file("project/file", "project\n");
    bench.with_named(IMAGE, &["--dir", ".:view"], |bench| {
        let script = "echo new >/workspace/new; cat /workspace/file";
        let said = bench.must(&["exec", "box", "--", "/bin/sh", "-c", script])?;
        expect(said.out() == "project\n", || said.to_string())?;
        bench.must(&["sandbox", "stop", "box"])?;
        bench.must(&["sandbox", "start", "box"])?;
        let said = bench.must(&["exec", "box", "--", "cat", "/workspace/new"])?;
        expect(said.out() == "new\n", || said.to_string())
    })?;
    nothing_left(bench, "a removal")
}

/// What an engine forgot with a container has our labels, and goes with what is cached; what others have stays.
fn left_by_an_engine(bench: &Bench) -> Result<(), String> {
    import(bench)?;
    bench.run(IMAGE, &["--no-workspace"], &["true"]).run();
    let api = bench.api()?;
    let make = |name: &str, labels: serde_json::Value| {
        let body = json!({"Name": name, "Labels": labels});
        api.json("POST", "/volumes/create", Some(&body)).map(drop).map_err(|e| e.to_string())
    };
    let id = uuid::Uuid::now_v7().to_string();
    let (left, theirs) = (format!("left-{id}"), format!("theirs-{id}"));
    make(&left, json!({OWNER: owner(bench), LABEL: id}))?;
    make(&theirs, json!({OWNER: "another", LABEL: id}))?;
    expect(volumes(bench)?.contains(&left), || "set-up: the volume has no label".to_owned())?;
    bench.must(&["clean", "--all", "--force"])?;
    let there = api.volumes().map_err(|e| e.to_string())?;
    api.call("DELETE", &format!("/volumes/{theirs}"), None).map_err(|e| e.to_string())?;
    expect(there.contains(&theirs), || "another's volume was removed".to_owned())?;
    expect(!there.contains(&left), || format!("it is there still: {there:?}"))
}

/// Nothing holds an image between the look for it and the container, and somebody may clean up just then.
fn cleaned_up(bench: &Bench) -> Result<(), String> {
    import(bench)?;
    let run = || bench.run(IMAGE, &["--no-workspace"], &["echo", "end"]);
    let well = run().run();
    expect(well.out() == "end\n", || format!("set-up: {well}"))?;
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (variable, address) = bench.address()?;
    let engine = PathBuf::from(address.trim_start_matches("unix://"));
    let of = address.to_owned();
    let act = move || remove_images(&of);
    let proxy = Proxy::before(place.path(), engine, "/containers/create", act).map_err(|e| e.to_string())?;
    let done = run().env(variable, format!("unix://{}", proxy.path().display())).run();
    expect(proxy.has_struck() && done.out() == "end\n", || format!("it was not loaded again: {done}"))
}

/// Those of ours that nothing uses.
fn remove_images(address: &str) {
    // A panic breaks the conversation, which the test sees.
    let api = Api::at(address).expect("the engine's address");
    let images = api.json("GET", "/images/json", None).expect("the engine's images");
    let names = images.as_array().into_iter().flatten().filter_map(|image| image["RepoTags"][0].as_str());
    for name in names.filter(|name| name.contains("agentkernel.local/rootfs:")) {
        // What is used is refused.
        let _answer = api.call("DELETE", &format!("/images/{name}"), None);
    }
}
