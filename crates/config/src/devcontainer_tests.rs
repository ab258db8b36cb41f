//! devcontainer.json: what is taken over, what is reported, what is refused.

use super::*;
use crate::{Config, trust::restrict};
use agentkernel_model::{mount::Access, policy::NetworkSwitch};
use proptest::prelude::*;

const PLACE: Project<'_> = Project { name: "shop", folder: ".devcontainer" };

fn read(text: &str) -> DevContainer {
    parse("d.json", text, PLACE).unwrap()
}

fn config(text: &str) -> Config {
    let found = read(text);
    assert_eq!(found.notes, [""; 0], "{text}");
    found.config
}

fn refusal(text: &str) -> (Kind, String) {
    let error = parse("d.json", text, PLACE).unwrap_err();
    assert!(error.hint().is_some() && !error.to_string().contains('\n'), "{error}");
    (error.kind(), error.to_string())
}

fn same_as(text: &str) -> Config {
    Config::parse("f", text).unwrap()
}

#[test]
fn a_usual_file_is_taken_over() {
    let found = config(
        r#"// Development of the shop
        {
            "name": "Shop", /* a name */
            "image": "mcr.microsoft.com/devcontainers/python:3.12",
            "containerEnv": { "A": "${localWorkspaceFolderBasename}", "B": "${containerWorkspaceFolder}/b" },
            "remoteEnv": { "B": "later", "C": "a $HOME ${HOME}", "D": null },
            "remoteUser": "1000:1000",
            "forwardPorts": [3000, "8080:80"],
            "appPort": 3000,
            "customizations": { "vscode": { "extensions": ["x"] } },
            "postCreateCommand": "pip install -r 'requirements.txt'",
        }"#,
    );
    let expected = same_as(
        r#"
        sandbox.description = "Shop"
        sandbox.base_image = "mcr.microsoft.com/devcontainers/python:3.12"
        sandbox.user = "1000:1000"
        sandbox.init_script = "set -e\n# postCreateCommand\nsh -c 'pip install -r '\\''requirements.txt'\\'''\n"
        environment = { A = "shop", B = "later", C = "a $HOME ${HOME}" }
        network.ports = [3000, "8080:80"]
        "#,
    );
    assert_eq!(found, expected);
}

#[test]
fn paths_of_a_build_are_seen_from_the_project() {
    let build = |text: &str| config(text).build;
    let found = build(r#"{"build": {"dockerfile": "Dockerfile", "args": {"V": "1"}, "target": "dev"}}"#);
    assert_eq!(found.dockerfile.as_deref(), Some(".devcontainer/Dockerfile"));
    assert_eq!(found.context.as_deref(), Some(".devcontainer"));
    assert_eq!((found.args, found.target.as_deref()), (vec![("V".to_owned(), "1".to_owned())], Some("dev")));
    let old = build(r#"{"dockerFile": "../Dockerfile.dev", "context": ".."}"#);
    assert_eq!((old.dockerfile.as_deref(), old.context.as_deref()), (Some("Dockerfile.dev"), Some(".")));
    let out = build(r#"{"build": {"dockerfile": "../../x/../D", "context": "/"}}"#);
    assert_eq!((out.dockerfile.as_deref(), out.context.as_deref()), (Some("../D"), Some("/")));
    let kept = restrict(Config { build: out, ..Config::default() }, None);
    assert!(kept.build.is_empty());
    assert_eq!(kept.ignored, ["build.dockerfile = \"../D\"", "build.context = \"/\""]);
}

#[test]
fn commands_run_inside_in_their_order_and_each_as_it_is() {
    let script = config(
        r#"{"postCreateCommand": {"b": "npm ci", "a": ["printf", "%s", "it's $x"]},
            "onCreateCommand": ["true"], "updateContentCommand": ""}"#,
    )
    .init_script
    .unwrap();
    assert_eq!(
        script,
        "set -e\n# onCreateCommand\n'true'\n# postCreateCommand\nsh -c 'npm ci'\n'printf' '%s' 'it'\\''s $x'\n"
    );
}

#[test]
fn mounts_in_both_forms() {
    let mounts = config(
        r#"{"mounts": ["source=${localWorkspaceFolder}/data,target=/data,type=bind,consistency=cached",
                       "type=bind,src=cache,dst=/c,readonly",
                       {"source": "${localWorkspaceFolderBasename}-modules", "target": "${containerWorkspaceFolder}/node_modules", "type": "volume"}]}"#,
    )
    .mounts;
    let shown: Vec<(&str, &str, Access)> =
        mounts.iter().map(|mount| (mount.source(), mount.target().as_str(), mount.access())).collect();
    assert_eq!(
        shown,
        [
            ("./data", "/data", Access::ReadWrite),
            ("./cache", "/c", Access::ReadOnly),
            ("shop-modules", "/workspace/node_modules", Access::ReadWrite),
        ]
    );
}

#[test]
fn the_project_is_at_workspace_whatever_the_file_calls_it() {
    let workdir = |text: &str| config(text).workdir.map(|path| path.to_string());
    assert_eq!(workdir(r#"{"workspaceFolder": "/workspaces/shop"}"#), None);
    assert_eq!(
        workdir(r#"{"workspaceFolder": "/workspaces/${localWorkspaceFolderBasename}/api"}"#).as_deref(),
        Some("/workspace/api")
    );
    assert_eq!(workdir(r#"{"workspaceFolder": "/workspace/api"}"#).as_deref(), Some("/workspace/api"));
    let other = read(r#"{"workspaceFolder": "/srv"}"#);
    assert_eq!(other.config, Config::default());
    assert_eq!(other.notes, ["d.json:1:21: 'workspaceFolder' is left out: the project is at /workspace"]);
}

#[test]
fn what_is_left_out_is_reported_with_its_place() {
    for (text, note) in [
        (r#"{"initializeCommand": "touch /tmp/x"}"#, "1:23: 'initializeCommand' is never run"),
        (r#"{"postStartCommand": "x"}"#, "1:22: 'postStartCommand' is not run"),
        (r#"{"features": {"ghcr.io/x/y:1": {}}}"#, "1:14: 'features' are not installed"),
        (r#"{"privileged": true}"#, "1:16: 'privileged' is left out"),
        (r#"{"capAdd": ["SYS_ADMIN"]}"#, "1:12: 'capAdd' is left out"),
        (r#"{"securityOpt": ["seccomp=unconfined"]}"#, "1:18: 'securityOpt' is left out"),
        (r#"{"runArgs": ["--gpus", "all"]}"#, "1:14: the argument --gpus in 'runArgs' is not applied"),
        (r#"{"runArgs": ["--network=host"]}"#, "1:14: the argument --network=host"),
        (
            r#"{"containerEnv": {"A": "${localEnv:HOME}"}}"#,
            "1:24: 'A' is left out: ${localEnv:HOME} is not known here",
        ),
        (
            r#"{"remoteEnv": {"PATH": "${containerEnv:PATH}:/x"}}"#,
            "1:24: 'PATH' is left out: ${containerEnv:PATH}",
        ),
        (r#"{"containerEnv": {"A": "${localWorkspaceFolder}"}}"#, "1:24: 'A' is left out"),
        (
            r#"{"postCreateCommand": "echo ${localEnv:USER}"}"#,
            "1:23: a command of 'postCreateCommand' is left out",
        ),
        (
            r#"{"mounts": ["source=${localEnv:HOME}/.ssh,target=/x,type=bind"]}"#,
            "1:13: a mount is left out: ${localEnv:HOME}",
        ),
        (r#"{"mounts": [{"type": "tmpfs", "target": "/x"}]}"#, "1:13: a mount of type tmpfs is left out"),
        (r#"{"forwardPorts": ["db:5432"]}"#, "1:19: port db:5432 is left out"),
        (r#"{"hostRequirements": {"cpus": 4}}"#, "1:22: 'hostRequirements' is not checked"),
        (r#"{"build": {"cacheFrom": "x"}}"#, "1:25: 'build.cacheFrom' is not applied"),
        ("{\n \"colour\": 1}", "2:12: 'colour' is not known"),
    ] {
        let found = read(text);
        assert_eq!(found.notes.len(), 1, "{text}: {:?}", found.notes);
        assert!(found.notes[0].starts_with(&format!("d.json:{note}")), "{text}: {:?}", found.notes);
        assert_eq!(found.config, Config::default(), "{text}");
    }
    assert_eq!(
        config(r#"{"privileged": false, "features": {}, "initializeCommand": []}"#),
        Config::default()
    );
}

#[test]
fn what_must_not_be_ignored_is_refused() {
    for (text, kind, message) in [
        (
            r#"{"dockerComposeFile": "c.yml"}"#,
            Kind::Unsupported,
            "1:23: 'dockerComposeFile' names several containers",
        ),
        (
            r#"{"runArgs": ["--cap-drop=ALL"]}"#,
            Kind::Unsupported,
            "1:14: --cap-drop=ALL in 'runArgs' cannot be applied",
        ),
        (r#"{"runArgs": ["--security-opt", "seccomp=p.json"]}"#, Kind::Unsupported, "1:14: --security-opt"),
        (r#"{"runArgs": ["--read-only"]}"#, Kind::Unsupported, "1:14: --read-only"),
        (
            r#"{"securityOpt": ["seccomp=p.json"]}"#,
            Kind::Unsupported,
            "1:18: seccomp=p.json in 'securityOpt'",
        ),
        (r#"{"image": 1}"#, Kind::Config, "1:11: 'image' is of type number"),
        (r#"{"image": "A B"}"#, Kind::Config, "1:11: 'image': 'A B' is not an image reference"),
        (r#"{"image": "a", "image": "b"}"#, Kind::Config, "1:16: 'image' is written twice"),
        (r#"{"containerEnv": {"A": 1}}"#, Kind::Config, "1:24: 'A' is of type number"),
        (r#"{"containerEnv": []}"#, Kind::Config, "1:18: 'containerEnv' is of type array"),
        (r#"{"remoteUser": "A B"}"#, Kind::Config, "1:16: 'remoteUser': 'A B' is not a user"),
        (r#"{"forwardPorts": [70000]}"#, Kind::Config, "1:19: 'forwardPorts': port '70000' is not a port"),
        (r#"{"forwardPorts": 80}"#, Kind::Config, "1:18: 'forwardPorts' is of type number"),
        (r#"{"mounts": ["type=bind,source=/a"]}"#, Kind::Config, "1:13: 'mounts': a mount has no target"),
        (
            r#"{"mounts": ["type=bind,source=/a,target=/proc"]}"#,
            Kind::Config,
            "1:13: 'mounts': nothing can be mounted",
        ),
        (
            r#"{"mounts": ["type=bind,source=/a,target=/b,x=1"]}"#,
            Kind::Config,
            "1:13: 'mounts': the option 'x'",
        ),
        (r#"{"build": {"target": "--x"}}"#, Kind::Config, "1:22: 'target': '--x' is not the name of a stage"),
        (r#"{"postCreateCommand": {"a": {"b": "c"}}}"#, Kind::Config, "1:29: 'a' is of type object"),
        (r#"{"postCreateCommand": "a\u0000b"}"#, Kind::Config, "1:23: 'postCreateCommand'"),
        ("[]", Kind::Config, "1:1: it is of type array"),
        ("", Kind::Config, "1:1: it is empty"),
        ("{'a': 1}", Kind::Config, "1:2: single-quoted strings are not allowed"),
        ("{\"a\": 1 \"b\": 2}", Kind::Config, "1:8: expected comma"),
        ("{\n\"a\": }", Kind::Config, "2:"),
    ] {
        let (found, error) = refusal(text);
        assert_eq!(found, kind, "{text}: {error}");
        assert!(error.starts_with(&format!("d.json:{message}")), "{text}: {error}");
    }
}

#[test]
fn a_network_that_is_taken_away_is_away() {
    for text in [r#"{"runArgs": ["--network=none"]}"#, r#"{"runArgs": ["--init", "--net", "none"]}"#] {
        assert_eq!(read(text).config.network, Some(NetworkSwitch::Off));
    }
}

#[test]
fn a_found_file_gets_no_mounts_and_no_ports() {
    let found = read(
        r#"{"mounts": ["type=bind,source=/,target=/host"], "forwardPorts": [22], "build": {"dockerfile": "D", "context": "../.."},
            "postCreateCommand": "id", "privileged": true}"#,
    );
    let kept = restrict(found.config, None);
    assert_eq!(kept.ignored, ["network.ports", "mounts", "build.context = \"..\""]);
    assert!(
        kept.config.mounts.is_empty() && kept.config.ports.is_empty() && kept.config.init_script.is_some()
    );
}

#[test]
fn notes_are_bounded_and_drive_no_terminal() {
    let many: String = (0..1000).map(|n| format!("\"\\u001b[2J{n}\": 1,")).collect();
    let notes = read(&format!("\u{feff}{{{many}}}")).notes;
    assert_eq!(notes.len(), 101);
    assert!(notes.iter().all(|note| !note.contains(char::is_control)));
    assert!(parse("d", &" ".repeat(file::MAX_LEN + 1), PLACE).is_err());
}

/// Values for properties, right and wrong.
fn values() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,6}",
        "\"[a-z0-9=,:./$ {}-]{0,20}\"",
        Just("\"${localEnv:X}\"".to_owned()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(("[a-z]{1,6}|source|target|type|dockerfile|args", inner), 0..4).prop_map(
                |all| format!(
                    "{{{}}}",
                    all.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(",")
                )
            ),
        ]
    })
}

const NAMES: [&str; 14] = [
    "image",
    "build",
    "dockerFile",
    "containerEnv",
    "remoteEnv",
    "remoteUser",
    "mounts",
    "forwardPorts",
    "appPort",
    "workspaceFolder",
    "runArgs",
    "postCreateCommand",
    "features",
    "other",
];

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = parse("f", &text, PLACE);
    }

    #[test]
    fn near_json_is_read_or_refused(text in "[\\[\\]{}\",:/*\\\\ \n\ra0\\-.eEtu'ü🦀\u{feff}]{0,60}") {
        let _ = parse("f", &text, PLACE);
    }

    #[test]
    fn near_files_are_read_or_refused(all in prop::collection::vec((prop::sample::select(&NAMES[..]), values()), 0..5)) {
        let text = format!("{{{}}}", all.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(","));
        match parse("f", &text, PLACE) {
            Ok(found) => {
                let kept = restrict(found.config, None).config;
                prop_assert!(kept.mounts.is_empty() && kept.ports.is_empty());
            }
            Err(error) => {
                prop_assert!(matches!(error.kind(), Kind::Config | Kind::Unsupported));
                prop_assert!(error.to_string().starts_with("f:"), "{}", error);
            }
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_a_crash(depth in 1_usize..20_000, open in prop::sample::select(vec!["[", "{\"a\":"])) {
        let _ = parse("f", &format!("{{\"postCreateCommand\": {}", open.repeat(depth)), PLACE);
    }
}
