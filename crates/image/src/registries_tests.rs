use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Registries> {
    Registries::parse("registries.toml", text)
}

#[test]
fn everything_is_read() {
    let read = parse(
        "pull = \"always\"\n[\"docker.io\"]\nmirrors = [\"http://127.0.0.1:5000\", \"https://m.test\"]\n\
         [\"evil.test\"]\nblocked = true\n[\"localhost:5000\"]\nblocked = false\n",
    )
    .unwrap();
    assert_eq!(read.pull_policy(), PullPolicy::Always);
    let mirrors: Vec<String> = read.mirrors("docker.io").iter().map(ToString::to_string).collect();
    assert_eq!(mirrors, ["http://127.0.0.1:5000", "https://m.test"]);
    assert!(read.mirrors("ghcr.io").is_empty());
    assert_eq!(read.admit("evil.test").unwrap_err().kind(), Kind::Denied);
    read.admit("docker.io").unwrap();
    read.admit("localhost:5000").unwrap();
    assert_eq!(parse("").unwrap(), Registries::default());
}

#[test]
fn errors_name_the_place_and_what_was_meant() {
    for (text, message, hint) in [
        ("pul = \"always\"", "registries.toml:1:1: unknown key 'pul'", "did you mean 'pull'?"),
        ("pull = \"alway\"", "registries.toml:1:8: 'alway' is not a pull policy", "did you mean 'always'?"),
        ("pull = true", "registries.toml:1:8: 'pull' is of type boolean", "write a text in quotes"),
        (
            "[\"x.io\"]\nmirors = []",
            "registries.toml:2:1: unknown key 'mirors' in [\"x.io\"]",
            "did you mean 'mirrors'?",
        ),
        (
            "[\"x.io\"]\nblocked = 1",
            "registries.toml:2:11: 'blocked' is of type integer",
            "write true or false",
        ),
        ("[nohost]\n", "registries.toml:1:2: 'nohost' is not a registry", ""),
        ("[\"x.io\"]\nmirrors = \"x\"", "registries.toml:2:11: 'mirrors' is of type string", ""),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert_eq!(error.message(), message, "{text}");
        assert!(error.hint().unwrap().starts_with(hint), "{text}: {:?}", error.hint());
    }
}

#[test]
fn mirrors_are_origins_and_plain_only_on_this_machine() {
    for bad in [
        "http://m.test",
        "m.test",
        "ftp://m.test",
        "https://u:p@m.test",
        "https://m.test/path",
        "https://m.test?q",
        "",
    ] {
        let text = format!("[\"x.io\"]\nmirrors = [\"{bad}\"]");
        let error = parse(&text).unwrap_err();
        assert!(error.message().starts_with("registries.toml:2:12: "), "{bad}: {error}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,100}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_toml_like_text_panics(text in "(\\[?\"?[a-z.]{0,8}\"?\\]?( = )?[\\[\"a-z:/0-9\\]]{0,12}\n?){0,5}") {
        let _ = parse(&text);
    }
}

#[test]
fn a_registry_may_be_left_to_its_mirrors() {
    let text = "[\"docker.io\"]\nmirrors = [\"https://m.example\"]\nmirrors_only = true\n[\"quay.io\"]\nmirrors_only = true\n\
                [\"a.example\"]\nmirrors_only = true\nblocked = true\n";
    let read = Registries::parse("f", text).unwrap();
    assert!(read.admit("docker.io").is_ok() && !read.asks_itself("docker.io"));
    assert!(read.asks_itself("ghcr.io"));
    assert!(read.admit("quay.io").unwrap_err().to_string().contains("mirrors only"));
    assert!(read.admit("a.example").unwrap_err().to_string().contains("blocked"));
}
