//! Pulls that something happens to: a disk that is full, a process that is killed, another pull, a registry that dawdles.

use super::images::bench;
use agentkernel_testkit::{
    TestEnv,
    env::Invocation,
    oci::{Image, ImageConfig, LayerWriter},
    registry::{self, Registry, Valve},
};
use rustix::{fd::OwnedFd, fs::inotify, process::Signal};
use std::{fs, mem::MaybeUninit, path::Path, time::Duration};

/// Longer than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
const IMAGE: &str = "large:1";
/// Bytes of the large layer, packed and unpacked: nothing makes noise smaller.
const SIZE: u64 = 8 << 20;
const FILES: usize = 256;

/// Bytes in which no packer finds anything.
fn noise(size: usize, seed: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed as u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// A registry with a large image of many files beside the small one.
fn world() -> (TestEnv, Registry) {
    let (env, registry) = bench("tools:1");
    let place = env.directory("large");
    let mut layer = LayerWriter::create(place.join("layer")).unwrap();
    for number in 0..FILES {
        let content = noise(usize::try_from(SIZE).unwrap() / FILES, number);
        layer.file(&format!("data/{number}"), 0o644, &content).unwrap();
    }
    let mut small = LayerWriter::create(place.join("small")).unwrap();
    small.file("small", 0o644, b"small\n").unwrap();
    let layers = [small.finish().unwrap(), layer.finish().unwrap()];
    registry.push(&Image::new(IMAGE.parse().unwrap(), &ImageConfig::default(), &layers)).unwrap();
    (env, registry)
}

fn pull(env: &TestEnv) -> Invocation {
    env.agentkernel(&["images", "pull", IMAGE]).deadline(PATIENCE)
}

/// Has pulls go through a new valve.
fn through(env: &TestEnv, registry: &Registry, bytes: u64) -> Valve {
    let valve = registry.valve(bytes).unwrap();
    env.registries(&registry::settings(&format!("http://{}", valve.address())));
    valve
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The image is here, whole, and beside it nothing.
fn is_whole(env: &TestEnv) {
    let images = env.data().join("images");
    assert_eq!(names(&images.join("partial")), Vec::<String>::new());
    let layers = names(&images.join("layers"));
    assert_eq!(layers.len(), 2, "{layers:?}");
    assert!(layers.iter().all(|name| !name.starts_with('.')), "{layers:?}");
    for layer in &layers {
        for number in 0..FILES {
            let file = images.join("layers").join(layer).join("tree/data").join(number.to_string());
            if let Ok(content) = fs::read(&file) {
                assert!(content == noise(content.len(), number), "{} is broken", file.display());
            }
        }
    }
    let check = env.agentkernel(&["images", "local-sync", "--json"]).run().ok().json();
    assert_eq!((&check["names"], &check["images"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(check["freed"]["leftovers"], 0, "{check}");
    let list = env.agentkernel(&["images", "list", "--json"]).run().ok().json();
    assert_eq!(list[0]["names"][0], IMAGE, "{list}");
    assert!(list[0]["size_bytes"].as_u64().unwrap() >= SIZE, "{list}");
}

fn was_resumed(registry: &Registry) -> bool {
    registry.log().iter().any(|line| line.contains("/blobs/sha256:") && line.contains("status=206"))
}

#[test]
fn a_pull_that_is_killed_is_gone_on_with() {
    let (env, registry) = world();
    let mut kept = 0;
    // Before the manifest, in it, before the large layer, in its midst, and near its end.
    for bytes in [0, 200, 3_000, SIZE / 3, SIZE / 2] {
        let valve = through(&env, &registry, bytes);
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        let partial = env.directory("home/.local/share/agentkernel/images/partial");
        inotify::add_watch(&watch, &partial, inotify::WatchFlags::MODIFY).unwrap();
        let pulling = pull(&env).start();
        assert!(valve.runs_dry(PATIENCE), "nothing came after {bytes} bytes");
        // What has passed is not yet written: each write is an event.
        while bytes > 100_000 && largest(&partial) < bytes / 2 {
            changes(&watch);
        }
        pulling.signal(Signal::KILL);
        assert_eq!(pulling.finish().signal, Some(9));
        kept = largest(&partial);
        env.agentkernel(&["images", "list", "--json"]).run().ok().prints("[]\n");
    }
    let valve = through(&env, &registry, u64::MAX);
    pull(&env).run().ok();
    assert!(was_resumed(&registry), "nobody asked for the rest of a layer");
    assert!(kept >= SIZE / 4, "{kept} bytes were kept");
    // Beside the rest of the files came what an archive says of each, the small layer, and manifests.
    let rest = SIZE - kept + (1 << 20);
    assert!(valve.passed() < rest, "it was fetched again: {} bytes beside {kept}", valve.passed());
    is_whole(&env);
    env.assert_nothing_left();
}

#[test]
fn a_pull_that_is_killed_while_it_unpacks_is_done_over() {
    let (env, registry) = world();
    let valve = through(&env, &registry, 0);
    let first = pull(&env).start();
    assert!(valve.runs_dry(PATIENCE));
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    let layers = env.data().join("images/layers");
    inotify::add_watch(&watch, layers, inotify::WatchFlags::CREATE).unwrap();
    valve.open(u64::MAX);
    // The small layer and the large one begin in any order.
    let mut begun = 0;
    while begun < 2 {
        begun += changes(&watch);
    }
    first.signal(Signal::KILL);
    let killed = first.finish();
    // It may have been faster than we are.
    assert!(killed.signal == Some(9) || killed.code == Some(0), "{killed}");
    pull(&env).run().ok();
    is_whole(&env);
    env.assert_nothing_left();
}

/// Waits for changes of what is watched; how many there were.
fn changes(watch: &OwnedFd) -> usize {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    events.next().unwrap();
    let mut count = 1;
    while !events.is_buffer_empty() {
        events.next().unwrap();
        count += 1;
    }
    count
}

/// Bytes of the largest file of a directory.
fn largest(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().filter_map(|entry| entry.ok()?.metadata().ok());
    entries.map(|meta| meta.len()).max().unwrap_or(0)
}

#[test]
fn two_pulls_of_one_image_fetch_it_once() {
    let (env, registry) = world();
    let valve = through(&env, &registry, SIZE / 2);
    let first = pull(&env).start();
    assert!(valve.runs_dry(PATIENCE));
    let second = pull(&env).start();
    valve.open(u64::MAX);
    second.finish().ok();
    first.finish().ok();
    assert!(valve.passed() < SIZE + SIZE / 2, "it was fetched twice: {} bytes", valve.passed());
    is_whole(&env);
    env.assert_nothing_left();
}

#[test]
fn a_full_disk_is_told_and_a_pull_goes_on_when_there_is_room() {
    let (env, registry) = world();
    // In a mount namespace of its own, so that the small disk is gone with the shell.
    let spaces = if env.is_root() { "-m" } else { "-Urm" };
    let place = env.directory("home/.local/share");
    let (place, binary) = (place.display(), env.binary().display());
    // Too small for the download, then for it and what is in it. What is kept of it is large; whether the small layer came
    // before that, nobody knows.
    let script = format!(
        "set -e; mount -t tmpfs -o size=64m,mode=700 small {place}
        for taken in 59m 52m; do
            head -c $taken /dev/zero >{place}/taken
            {binary} images pull {IMAGE} && exit 9 || echo \"$?\"
            {binary} images list --json
            find {place}/agentkernel/images/partial -size +1024k | wc -l
        done
        rm {place}/taken
        {binary} images pull {IMAGE} >/dev/null; echo \"$?\"
        ls -A {place}/agentkernel/images/partial {place}/agentkernel/images/layers | grep -c '^[.]' || true
        sha256sum {place}/agentkernel/images/layers/*/tree/data/0 | cut -d' ' -f1"
    );
    let ran = env.program(Path::new("/usr/bin/unshare"), &[spaces, "--", "sh", "-c", &script]);
    let ran = ran.deadline(PATIENCE).run().ok();
    let sum = env.file("sum", noise(usize::try_from(SIZE).unwrap() / FILES, 0));
    let sum = env.program(Path::new("/usr/bin/sha256sum"), &[&sum.to_string_lossy()]).run().ok().out();
    let sum = sum.split(' ').next().unwrap().to_owned();
    let ran = ran.prints(format!("125\n[]\n1\n125\n[]\n1\n0\n0\n{sum}\n"));
    let told =
        ran.err().lines().filter(|line| line.starts_with("error: ")).map(str::to_owned).collect::<Vec<_>>();
    assert!(told.len() == 2 && told.iter().all(|line| line.contains("No space left on device")), "{told:?}");
    assert!(was_resumed(&registry), "nobody asked for the rest of a layer");
    env.assert_nothing_left();
}

#[test]
fn a_registry_that_dawdles_is_waited_for() {
    let (env, registry) = world();
    let valve = through(&env, &registry, 0);
    let pulling = pull(&env).start();
    let mut steps = 0;
    while valve.passed() < SIZE && valve.runs_dry(PATIENCE) {
        valve.open(if steps < 20 { 50 } else { SIZE / 20 });
        steps += 1;
    }
    valve.open(u64::MAX);
    pulling.finish().ok();
    assert!(steps > 30, "{steps}");
    is_whole(&env);
}

#[test]
fn a_registry_that_says_nothing_holds_nobody_up_for_an_image_that_was_only_detected() {
    let (env, registry) = world();
    let valve = through(&env, &registry, 0);
    let detected = env.agentkernel(&["run", "--", "python3", "-c", "print(1)"]).run().ok().prints("1\n");
    assert!(detected.err().contains("using image host instead of python:3.12-alpine"), "{detected}");
    assert!(detected.err().contains("does not answer"), "{detected}");
    // Remembered: it is not asked again.
    valve.open(u64::MAX);
    let passed = valve.passed();
    let again = env.agentkernel(&["run", "--", "python3", "-c", "print(1)"]).run().ok().prints("1\n");
    assert!(again.err().contains("a moment ago"), "{again}");
    assert!(valve.passed() <= passed + 4096, "{passed} {}", valve.passed());
    env.assert_nothing_left();
}
