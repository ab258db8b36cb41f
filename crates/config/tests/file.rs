//! agentkernel.toml: what is read, and what each mistake says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use agentkernel_config::{Agent, Config};
use agentkernel_model::{
    Kind,
    image::ImageRef,
    policy::{NetworkSwitch, Profile},
    port::PublishedPort,
    size::{ByteSize, Cpus},
};
use proptest::prelude::*;

fn parse(text: &str) -> Config {
    Config::parse("agentkernel.toml", text).unwrap()
}

/// The message and the hint of a refused text, as a person sees them.
fn refusal(text: &str) -> String {
    let error = Config::parse("agentkernel.toml", text).unwrap_err();
    assert_eq!(error.kind(), Kind::Config, "{error}");
    assert!(!error.to_string().contains('\n'), "one line: {error}");
    format!("{error} | {}", error.hint().unwrap())
}

#[test]
fn the_seed_example_is_read() {
    let config = parse(
        r#"
        [sandbox]
        name = "my-project"
        base_image = "python:3.12-alpine"    # Explicit Docker image
        [agent]
        preferred = "claude"
        [resources]
        vcpus = 2
        memory_mb = 1024
        [network]
        ports = ["8080:80", 3000]
        [security]
        profile = "restrictive"
        network = false
        mount_cwd = true
        "#,
    );
    assert_eq!(config.name.unwrap().as_str(), "my-project");
    assert_eq!(config.image, Some(ImageRef::Oci("python:3.12-alpine".to_owned())));
    assert_eq!(config.agent, Some(Agent::Claude));
    assert_eq!(config.cpus, Some(Cpus::from_whole(2)));
    assert_eq!(config.memory, Some(ByteSize::from_mib(1024)));
    let ports = [PublishedPort { host: 8080, guest: 80 }, PublishedPort { host: 3000, guest: 3000 }];
    assert_eq!(config.ports, ports);
    assert_eq!(config.profile, Some(Profile::Restrictive));
    assert_eq!(config.network, Some(NetworkSwitch::Off));
    assert_eq!(config.mount_cwd, Some(true));
}

#[test]
fn nothing_is_required() {
    assert_eq!(parse(""), Config::default());
    assert_eq!(parse("[sandbox]\n[security]\n"), Config::default());
}

#[test]
fn base_image_wins_over_runtime() {
    let image = |text| parse(text).image.unwrap().to_string();
    assert_eq!(image("sandbox.runtime = 'node'"), "node:22-alpine");
    assert_eq!(image("sandbox.runtime = 'node'\nsandbox.base_image = 'host'"), "host");
}

#[test]
fn every_mistake_names_its_place_and_the_way_out() {
    let cases = [
        (
            "[resources]\nmemroy_mb = 1\n",
            "agentkernel.toml:2:1: unknown key 'memroy_mb' in [resources] | did you mean 'memory_mb'?",
        ),
        (
            "[sandbox]\nprofile = 'moderate'",
            "agentkernel.toml:2:1: unknown key 'profile' in [sandbox] | did you mean 'security.profile'?",
        ),
        (
            "[agent]\n  colour = 1",
            "agentkernel.toml:2:3: unknown key 'colour' in [agent] | one of: preferred",
        ),
        (
            "[secruity]\nprofile = 'moderate'",
            "agentkernel.toml:1:2: unknown table 'secruity' | did you mean 'security'?",
        ),
        (
            "memory_mb = 512",
            "agentkernel.toml:1:1: unknown key 'memory_mb' | did you mean 'resources.memory_mb'?",
        ),
        (
            "sandbox = 'x'",
            "agentkernel.toml:1:11: 'sandbox' must be a table, not string | write [sandbox] on a line of its own, its keys below",
        ),
        (
            "[resources]\nvcpus = \"2\"",
            "agentkernel.toml:2:9: 'resources.vcpus' is of type string | write a whole number",
        ),
        (
            "[resources]\nvcpus = 0",
            "agentkernel.toml:2:9: 'resources.vcpus' is 0 | write a number from 1 to 1024",
        ),
        (
            "[resources]\nmemory_mb = 99999999999999999999",
            "agentkernel.toml:2:13: 'resources.memory_mb' is 99999999999999999999 | write a number from 4 to 16777216",
        ),
        (
            "[resources]\nmemory_mb = -1",
            "agentkernel.toml:2:13: 'resources.memory_mb' is -1 | write a number from 4 to 16777216",
        ),
        (
            "[security]\nnetwork = 'no'",
            "agentkernel.toml:2:11: 'security.network' is of type string | write true or false",
        ),
        (
            "[security]\nprofile = 'permisive'",
            "agentkernel.toml:2:11: 'security.profile': 'permisive' is not a profile | did you mean 'permissive'?",
        ),
        (
            "[security]\nprofile = 3",
            "agentkernel.toml:2:11: 'security.profile' is of type integer | write a text in quotes",
        ),
        (
            "[sandbox]\nruntime = 'pyton'",
            "agentkernel.toml:2:11: 'sandbox.runtime': 'pyton' is not a runtime | did you mean 'python'?",
        ),
        (
            "[agent]\npreferred = 'cloude'",
            "agentkernel.toml:2:13: 'agent.preferred': 'cloude' is not an agent | did you mean 'claude'?",
        ),
        (
            "[network]\nports = '80'",
            "agentkernel.toml:2:9: 'network.ports' is of type string | write a list in [ ]",
        ),
        (
            "[network]\nports = ['80', true]",
            "agentkernel.toml:2:16: 'network.ports' is of type boolean | write a list of texts in quotes",
        ),
        (
            "[network]\nports = ['70000']",
            "agentkernel.toml:2:10: 'network.ports': port '70000' is not a port | write HOST:SANDBOX or SANDBOX, such as 8080:80 or 3000",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), expected, "for {text:?}");
    }
}

#[test]
fn columns_count_characters_and_control_characters_are_spelled_out() {
    assert!(refusal("sandbox = { name = 'ü' }").starts_with("agentkernel.toml:1:20: "));
    let shown = refusal("\"\\u001b[31m\" = 1");
    assert!(shown.contains("\\u{1b}") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn broken_toml_has_its_place() {
    assert!(refusal("[sandbox]\nname = \n").starts_with("agentkernel.toml:2:"));
    assert!(refusal("[sandbox]\nname = 'a'\nname = 'b'\n").starts_with("agentkernel.toml:3:"));
    assert!(refusal("[sandbox").starts_with("agentkernel.toml:1:"));
}

#[test]
fn a_text_too_long_is_refused_unread() {
    let error = Config::parse("x", &" ".repeat(1024 * 1024 + 1)).unwrap_err();
    assert_eq!(error.to_string(), "x is longer than 1 MiB");
}

#[test]
fn every_key_is_read() {
    // A value of a type that no key has: a key that is known and not read would pass.
    let keys = "sandbox.name sandbox.base_image sandbox.runtime agent.preferred resources.vcpus resources.memory_mb \
                network.ports security.profile security.network security.mount_cwd";
    for key in keys.split_whitespace() {
        assert!(refusal(&format!("{key} = 1979-05-27")).contains(&format!("'{key}'")), "{key}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = Config::parse("f", &text);
    }

    #[test]
    fn near_toml_is_read_or_refused(
        lines in prop::collection::vec(
            ("(\\[(sandbox|security|network|resources)\\])?", "[a-z_.]{1,12}", "(-?[0-9]{1,30}|'[^']{0,9}'|true|\\[.{0,9}\\]?)"), 0..8),
    ) {
        let text: String = lines.iter().map(|(head, key, value)| format!("{head}\n{key} = {value}\n")).collect();
        if let Err(error) = Config::parse("f", &text) {
            prop_assert_eq!(error.kind(), Kind::Config);
            prop_assert!(error.to_string().starts_with("f:"));
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_a_crash(depth in 1_usize..20_000) {
        let _ = Config::parse("f", &format!("a = {}", "[".repeat(depth)));
    }
}
