//! Which warnings which file gives.

use crate::Config;

fn keys(text: &str) -> Vec<String> {
    Config::parse("f", text).unwrap().validate().into_iter().map(|warning| warning.key).collect()
}

#[test]
fn what_makes_no_sense_is_said() {
    for (text, key) in [
        ("network.ports = [80]\nsecurity.network = false", "network.ports"),
        ("network.ports = [80]\nsecurity.profile = 'restrictive'", "network.ports"),
        ("network.ports = ['80:1', '80:2']", "network.ports"),
        ("security.mount_cwd = false\nworkspace.mode = 'rw'", "security.mount_cwd"),
        ("security.allow_write = ['.envrc']", "security.allow_write"),
        (
            "security.allow_write = ['.envrc']\nworkspace = { path = '.', mode = 'view' }",
            "security.allow_write",
        ),
        ("[remote.daytona]\napi_key = 'k'", "remote.daytona.api_key"),
        ("[[schedule]]\ntarget = { api_key = 'k' }", "schedule.target.api_key"),
    ] {
        assert_eq!(keys(text), [key], "{text}");
    }
}

#[test]
fn what_makes_sense_is_not() {
    for text in [
        "",
        "network.ports = [80, 81, '0:5', '0:6', 80]",
        "network.ports = [80]\nsecurity = { profile = 'restrictive', network = true }",
        "security = { allow_write = ['.envrc'], mount_cwd = true }",
        "security = { allow_write = ['.envrc'], profile = 'permissive' }",
        "security.allow_write = ['.envrc']\nworkspace.path = '.'",
        "security.allow_write = ['.envrc']\n[[mounts]]\nsource = '.'\ntarget = '/a'",
        "[remote.daytona]\napi_key_env = 'K'\napi_key = 1",
    ] {
        assert_eq!(keys(text), [""; 0], "{text}");
    }
}

#[test]
fn a_name_in_a_warning_drives_no_terminal() {
    let config = Config::parse("f", "[remote.\"\\u001b[2J\"]\napi_key = 'k'").unwrap();
    let warning = config.validate().remove(0).to_string();
    assert!(warning.starts_with("remote.\\u{1b}[2J.api_key: "), "{warning}");
}
