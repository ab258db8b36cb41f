//! `sandbox clean`, and `benchmark`, which must leave nothing that would have to be cleaned.

use agentkernel_testkit::{
    TestEnv,
    env::{Finished, product_binary},
    oci::{Image, ImageConfig, LayerWriter, Layout},
};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn create(env: &TestEnv, name: &str) {
    env.agentkernel(&["sandbox", "create", name, "--image", "host"]).run().ok();
}

fn names(env: &TestEnv) -> Vec<String> {
    let listed = env.agentkernel(&["sandbox", "list", "--json"]).run().ok().json();
    let name = |info: &Value| info["name"].as_str().unwrap_or_default().to_owned();
    listed.as_array().unwrap().iter().map(name).collect()
}

/// One stopped sandbox and one that runs.
fn two(env: &TestEnv) {
    create(env, "idle");
    create(env, "busy");
    env.agentkernel(&["sandbox", "start", "busy"]).run().ok();
}

#[test]
fn without_a_terminal_it_says_what_would_go_and_refuses() {
    let env = TestEnv::new();
    two(&env);
    let refused = env.agentkernel(&["sandbox", "clean"]).input("y\n").run().code(125);
    let text = refused.err();
    assert!(text.contains("would remove sandbox idle") && text.contains("--yes"), "{refused}");
    assert!(!text.contains("would remove sandbox busy"), "{refused}");
    assert_eq!(names(&env), ["busy", "idle"]);
    let dry = env.agentkernel(&["sandbox", "clean", "--dry-run", "--force", "--all", "--json"]).run().ok();
    assert_eq!(dry.json()["sandboxes"], json!(["busy", "idle"]), "{dry}");
    assert_eq!(names(&env), ["busy", "idle"]);
}

#[test]
fn stopped_ones_go_and_running_ones_only_by_force() {
    let env = TestEnv::new();
    two(&env);
    let done = env.agentkernel(&["sandbox", "clean", "--yes", "--json"]).run().ok().json();
    assert_eq!(done["sandboxes"], json!(["idle"]), "{done}");
    assert_eq!(done["kept"], json!(["busy"]), "{done}");
    assert_eq!(names(&env), ["busy"]);
    env.agentkernel(&["clean", "--force"]).run().ok();
    assert_eq!(names(&env), [""; 0]);
    env.agentkernel(&["sandbox", "clean"]).run().ok().prints("nothing to remove\n");
    assert_eq!(fs::read_dir(env.data().join("sandboxes")).map_or(0, Iterator::count), 0);
    env.assert_nothing_left();
}

#[test]
fn only_what_is_ours_goes() {
    let env = TestEnv::new();
    create(&env, "ours");
    let elsewhere = env.directory("elsewhere");
    let theirs = ["sandbox", "create", "theirs", "--image", "host"];
    env.agentkernel(&theirs).env("XDG_DATA_HOME", &elsewhere).run().ok();
    env.agentkernel(&["sandbox", "clean", "--all", "--force"]).run().ok();
    assert_eq!(names(&env), [""; 0]);
    let left = env.agentkernel(&["sandbox", "info", "theirs"]).env("XDG_DATA_HOME", &elsewhere).run();
    left.ok();
}

/// An image in the store, made by hand.
fn import(env: &TestEnv, name: &str) {
    let place = env.directory(&format!("image-{}", name.replace(':', "-")));
    let mut layer = LayerWriter::create(place.join("layer")).unwrap();
    layer.file("name", 0o644, name.as_bytes()).unwrap();
    let image = Image::new(name.parse().unwrap(), &ImageConfig::default(), &[layer.finish().unwrap()]);
    let layout = Layout::write(place.join("layout"), &[image]).unwrap();
    env.agentkernel(&["images", "import", layout.directory().to_str().unwrap()]).run().ok();
}

fn images(report: &Value) -> Vec<String> {
    let name = |image: &Value| image["names"][0].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<String> = report.as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn all_takes_images_too_once_no_sandbox_needs_them() {
    let env = TestEnv::new();
    import(&env, "used:1");
    import(&env, "spare:1");
    env.agentkernel(&["sandbox", "create", "box", "--image", "used:1", "--pull", "never"]).run().ok();
    let listed = || images(&env.agentkernel(&["images", "list", "--all", "--json"]).run().ok().json());
    assert_eq!(listed(), ["spare:1", "used:1"]);
    let dry = env.agentkernel(&["sandbox", "clean", "--all", "--dry-run", "--json"]).run().ok().json();
    assert_eq!(images(&dry["images"]["images"]), ["spare:1", "used:1"], "{dry}");
    assert_eq!(dry["sandboxes"], json!(["box"]));
    env.agentkernel(&["sandbox", "clean", "--yes"]).run().ok();
    assert_eq!(listed(), ["spare:1", "used:1"], "images go only with --all");
    let done = env.agentkernel(&["sandbox", "clean", "--all", "--yes"]).run().ok();
    assert!(done.out().contains("image spare:1") && done.out().contains("image used:1"), "{done}");
    assert_eq!(listed(), [""; 0]);
    env.agentkernel(&["sandbox", "clean", "--all"]).run().ok().prints("nothing to remove\n");
}

/// The same on a terminal, where `answer` is typed.
fn typed(env: &TestEnv, answer: &str) -> Option<Finished> {
    let script = Path::new("/usr/bin/script");
    if !script.exists() {
        println!("skipped: there is no script(1) to make a terminal");
        return None;
    }
    let agentkernel = product_binary();
    let command = format!("{} sandbox clean", agentkernel.display());
    Some(env.program(script, &["-qec", &command, "/dev/null"]).input(answer).run())
}

#[test]
fn on_a_terminal_it_asks() {
    let env = TestEnv::new();
    create(&env, "idle");
    for no in ["n\n", "\n", "yellow\n"] {
        let Some(asked) = typed(&env, no) else { return };
        let asked = asked.ok();
        assert!(asked.out().contains("will remove sandbox idle"), "{asked}");
        assert!(asked.out().contains("nothing was removed"), "{asked}");
    }
    assert_eq!(names(&env), ["idle"]);
    typed(&env, "y\n").map(Finished::ok);
    assert_eq!(names(&env), [""; 0]);
}

#[test]
fn a_benchmark_measures_every_step_and_leaves_nothing() {
    let env = TestEnv::new();
    let report = env.directory("reports").join("report.json");
    let arguments = ["benchmark", "-i", "2", "--warmup", "0", "--json", "--output", report.to_str().unwrap()];
    let answer = env.agentkernel(&arguments).run().ok().silent_stderr().json();
    assert_eq!(answer, serde_json::from_slice::<Value>(&fs::read(&report).unwrap()).unwrap());
    assert_eq!((&answer["measured_iterations"], &answer["warmup_iterations"]), (&json!(2), &json!(0)));
    assert_eq!(answer["image"], "host");
    let measured = answer["backends"].as_array().unwrap().iter().find(|b| b["available"] == true).unwrap();
    for step in ["create", "start", "exec", "stop", "remove", "startup", "lifecycle", "run"] {
        for number in ["min_ms", "avg_ms", "p50_ms", "p95_ms"] {
            assert!(
                measured[step][number].as_f64().is_some_and(|ms| ms > 0.0),
                "{step} {number}: {measured}"
            );
        }
    }
    assert!(answer["total_score"].as_f64().is_some_and(|score| score > 0.0), "{answer}");
    assert_eq!(names(&env), [""; 0]);
    assert!(!env.data().join("audit.jsonl").exists(), "a benchmark is no use of anything");
    env.assert_nothing_left();
}

#[test]
fn a_backend_that_cannot_be_measured_is_told_with_its_reason() {
    let env = TestEnv::new();
    let none = env.agentkernel(&["benchmark", "--backends", "nosuch,nosuch", "--json"]).run().code(125);
    let backends = none.json()["backends"].clone();
    assert_eq!(backends.as_array().map(Vec::len), Some(1), "{none}");
    assert_eq!(backends[0]["available"], false);
    assert!(backends[0]["reason"].as_str().is_some_and(|reason| reason.contains("nosuch")), "{none}");
    // A sandbox that cannot be made is removed, and the reason said.
    let failed = env.agentkernel(&["benchmark", "--image", "no.such.example/image:1"]).run().code(125);
    assert!(failed.err().contains("no.such.example/image:1"), "{failed}");
    assert_eq!(names(&env), [""; 0]);
    env.assert_nothing_left();
}
