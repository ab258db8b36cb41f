use crate::{Config, trust};
use agentkernel_model::{Kind, secret::SecretGrant};

fn grants(text: &str) -> Vec<SecretGrant> {
    Config::parse("a.toml", text).unwrap().secrets
}

#[test]
fn a_host_or_a_table() {
    let text = "[secrets]\nB = \"api.b.example\"\nA = { host = \"*.a.example\", header = \"X-Key\" }\nC = {}\nD = { header = \"x-d\" }\n";
    let grants = grants(text);
    let shown: Vec<String> = grants
        .iter()
        .map(|g| {
            format!(
                "{} {:?} {:?}",
                g.name,
                g.host.as_ref().map(ToString::to_string),
                g.header.as_ref().map(ToString::to_string)
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "B Some(\"api.b.example\") None",
            "A Some(\"*.a.example\") Some(\"x-key\")",
            "C None None",
            "D None Some(\"x-d\")",
        ]
    );
}

#[test]
fn mistakes_have_a_place_and_show_no_value() {
    for (text, message, hint) in [
        (
            "[secrets]\nKEY = \"sk-hunter2 x\"",
            "a.toml:2:7: 'secrets.KEY' has a host that is none",
            "secret set KEY",
        ),
        ("[secrets]\nghp_hunter2 = \"a.example\"", "a.toml:2:1: 'secrets': a value stands", "GITHUB_TOKEN"),
        ("[secrets]\nKEY = 1", "a.toml:2:7: 'secrets.KEY' is neither", "KEY = \""),
        (
            "[secrets]\nKEY = { hots = \"a.example\" }",
            "a.toml:2:9: unknown key 'hots' in 'secrets.KEY'",
            "'host'",
        ),
        ("[secrets]\nKEY = { header = \"Host\" }", "'secrets.KEY' has a header that is none", ""),
        ("secrets = 1", "a.toml:1:11: 'secrets' is of type integer", ""),
    ] {
        let error = Config::parse("a.toml", text).unwrap_err();
        assert_eq!(error.kind(), Kind::Config, "{text}");
        let shown = format!("{error} {}", error.hint().unwrap_or_default());
        assert!(
            error.to_string().starts_with(message) || error.to_string().contains(message),
            "{text}: {error}"
        );
        assert!(shown.contains(hint), "{text}: {shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_file_that_was_only_found_binds_nothing() {
    let text = "[security]\nsecret_files = [\"F\"]\n[secrets]\nA = \"a.example\"\n";
    let restricted = trust::restrict(Config::parse("a.toml", text).unwrap(), None);
    assert!(restricted.config.secrets.is_empty() && restricted.config.secret_files.is_empty());
    assert_eq!(restricted.ignored, ["secrets.A", "security.secret_files"]);
}
