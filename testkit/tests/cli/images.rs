//! Images from a real registry (Debian's docker-registry) on loopback, as a person uses them.

use agentkernel_testkit::{
    TestEnv,
    oci::{Image, ImageConfig, LayerWriter, Layout},
    registry::Registry,
};
use std::io::{BufRead as _, BufReader};

/// busybox with its applets under the name of the image that detection wants for `sh`, and a second layer that hides a
/// file of the first.
fn busybox(env: &TestEnv, reference: &str) -> Image {
    let place = env.directory("layers");
    let mut base = LayerWriter::create(place.join("base")).unwrap();
    base.busybox().unwrap();
    base.file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/srv:/bin/sh\n").unwrap();
    base.file("etc/hidden", 0o644, b"x").unwrap();
    let base = base.finish().unwrap();
    let mut top = LayerWriter::create(place.join("top")).unwrap();
    top.whiteout("etc/hidden").unwrap();
    top.file("etc/shown", 0o644, b"shown\n").unwrap();
    let config = ImageConfig {
        env: [("PATH", "/bin"), ("WHO", "image")].map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
        ..ImageConfig::default()
    };
    Image::new(reference.parse().unwrap(), &config, &[base, top.finish().unwrap()]).indexed()
}

pub(super) fn bench(reference: &str) -> (TestEnv, Registry) {
    let env = TestEnv::new();
    let registry = Registry::start().unwrap();
    registry.push(&busybox(&env, reference)).unwrap();
    env.registries(&registry.settings());
    (env, registry)
}

#[test]
fn a_detected_image_is_pulled_once_and_runs() {
    let (env, registry) = bench("alpine:3.20");
    let script = "echo $WHO; cat /etc/shown; test ! -e /etc/hidden; echo new >/etc/shown";
    let first = env.agentkernel(&["run", "--", "sh", "-c", script]).run().ok().prints("image\nshown\n");
    assert!(first.err().contains("pulling alpine:3.20"), "{first}");
    // From the store from now on, and what the last run wrote is not in it.
    drop(registry);
    env.agentkernel(&["run", "--", "sh", "-c", script]).run().ok().prints("image\nshown\n");
    let again = env.agentkernel(&["run", "--", "sh", "-c", script]).run().ok();
    assert!(!again.err().contains("pulling"), "{again}");
    let json = env.agentkernel(&["run", "--json", "--", "sh", "-c", "true"]).run().ok().json();
    assert_eq!(json["image"], "alpine:3.20");
    let list = env.agentkernel(&["images", "list", "--json"]).run().ok().json();
    assert_eq!(list[0]["names"][0], "alpine:3.20");
    env.assert_nothing_left();
}

#[test]
fn a_named_sandbox_keeps_its_very_image() {
    let (env, registry) = bench("tools:1");
    env.agentkernel(&["sandbox", "create", "box", "--image", "tools:1"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["exec", "box", "--", "sh", "-c", "echo mine >/etc/own"]).run().ok();
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    // The name comes to mean another image.
    let place = env.directory("other");
    let mut layer = LayerWriter::create(place.join("layer")).unwrap();
    layer.file("nothing", 0o644, b"").unwrap();
    let other = Image::new("tools:1".parse().unwrap(), &ImageConfig::default(), &[layer.finish().unwrap()]);
    registry.push(&other).unwrap();
    env.agentkernel(&["images", "pull", "tools:1"]).run().ok();
    env.agentkernel(&["images", "prune"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["exec", "box", "--", "cat", "/etc/own", "/etc/shown"])
        .run()
        .ok()
        .prints("mine\nshown\n");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    let pruned = env.agentkernel(&["images", "prune", "--json"]).run().ok().json();
    assert_eq!(pruned["layers"].as_u64(), Some(2), "{pruned}");
    env.agentkernel(&["images", "list", "--all", "--json"]).run().ok().prints("[]\n");
    env.assert_nothing_left();
}

#[test]
fn an_image_that_something_runs_on_is_not_removed() {
    let (env, _registry) = bench("tools:1");
    env.agentkernel(&["images", "pull", "tools:1"]).run().ok();
    let run =
        env.agentkernel(&["run", "-i", "tools:1", "--", "sh", "-c", "echo up; read line; cat /etc/shown"]);
    let (input, holding) = std::io::pipe().unwrap();
    let (output, written) = std::io::pipe().unwrap();
    let running = run.stdin(input).stdout(written).start();
    let mut lines = BufReader::new(output).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    let pruned = env.agentkernel(&["images", "prune", "--json"]).run().ok().json();
    assert_eq!(pruned["in_use"].as_u64(), Some(1), "{pruned}");
    drop(holding);
    assert_eq!(lines.next().unwrap().unwrap(), "shown");
    running.finish().ok();
}

#[test]
fn users_and_names_are_those_of_the_image() {
    let (env, _registry) = bench("tools:1");
    env.file("project/c.toml", "[sandbox]\nbase_image = \"tools:1\"\nuser = \"app\"\n");
    let run = env.agentkernel(&["run", "--config", "c.toml", "--", "id", "-u"]).run();
    match run.code {
        Some(0) => drop(run.prints("1000\n")),
        // An ordinary user without subordinate ids has one user inside.
        _ => drop(run.code(125).error_with_hint(&["1000:1000"])),
    }
    env.file("project/c.toml", "[sandbox]\nbase_image = \"tools:1\"\nuser = \"nobodyhere\"\n");
    let unknown = env.agentkernel(&["run", "--config", "c.toml", "--", "true"]).run();
    unknown.code(125).error_with_hint(&["nobodyhere"]);
}

#[test]
fn what_cannot_be_had_says_why() {
    let (env, _registry) = bench("tools:1");
    let missing = env.agentkernel(&["run", "-i", "none:1", "--", "true"]).run().code(125);
    missing.error_with_hint(&["none:1"]);
    // A detected one gives way, and says so.
    let detected = env.agentkernel(&["run", "--", "python3", "-c", "print(1)"]).run().ok().prints("1\n");
    assert!(detected.err().contains("using image host instead of python:3.12-alpine"), "{detected}");
    // One that a found file names does not.
    env.file("project/agentkernel.toml", "[sandbox]\nbase_image = \"none:1\"\n");
    env.agentkernel(&["run", "--", "./x"]).run().code(125).error_with_hint(&["none:1"]);
}

#[test]
fn pulling_can_be_forbidden_and_forced() {
    let (env, _registry) = bench("tools:1");
    env.agentkernel(&["run", "--pull", "never", "-i", "tools:1", "--", "true"]).run().code(125);
    env.agentkernel(&["run", "--pull", "always", "-i", "tools:1", "--", "true"]).run().ok();
    env.agentkernel(&["run", "--pull", "never", "-i", "tools:1", "--", "true"]).run().ok();
    env.agentkernel(&["run", "--pull", "sometimes", "--", "true"])
        .run()
        .our_failure()
        .error_with_hint(&["sometimes"]);
    env.agentkernel(&["images", "delete", "tools:1"]).run().ok();
    env.agentkernel(&["images", "delete", "tools:1"]).run().code(125).error_with_hint(&["tools:1"]);
}

#[test]
fn a_file_takes_no_name_from_another_image_unasked() {
    let env = TestEnv::new();
    let layout = |directory: &str, text: &str| {
        let place = env.directory(directory);
        let mut layer = LayerWriter::create(place.join("layer")).unwrap();
        layer.file("said", 0o644, text.as_bytes()).unwrap();
        let image =
            Image::new("tools:1".parse().unwrap(), &ImageConfig::default(), &[layer.finish().unwrap()]);
        Layout::write(place.join("layout"), &[image]).unwrap().directory().display().to_string()
    };
    let id = || env.agentkernel(&["images", "list", "--json"]).run().ok().json()[0]["id"].clone();
    let (mine, theirs) = (layout("mine", "mine"), layout("theirs", "theirs"));
    env.agentkernel(&["images", "import", &mine]).run().ok();
    let mine_is = id();
    env.agentkernel(&["images", "import", &theirs]).run().code(125).error_with_hint(&["tools:1", "already"]);
    assert_eq!(id(), mine_is);
    env.agentkernel(&["images", "import", &theirs, "--name", "other:1"]).run().ok();
    env.agentkernel(&["images", "import", &mine]).run().ok();
    env.agentkernel(&["images", "import", &theirs, "--force"]).run().ok();
    let list = env.agentkernel(&["images", "list", "--json"]).run().ok().json();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    assert_ne!(id(), mine_is);
}
