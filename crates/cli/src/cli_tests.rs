use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("agentkernel").chain(line.split_whitespace()))
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_rule_that_may_be_made_no_more_can_be_taken_away() {
    assert!(
        Cli::try_parse_from(["agentkernel", "sandbox", "network", "b", "--remove", "deny PSOT a.test"])
            .is_ok()
    );
    assert!(
        Cli::try_parse_from(["agentkernel", "sandbox", "network", "b", "--deny", "PSOT a.test"]).is_err()
    );
    assert!(Cli::try_parse_from(["agentkernel", "sandbox", "network", "b", "--remove", "deny"]).is_err());
}

#[test]
fn everything_of_the_issue_parses() {
    for line in [
        "run true",
        "run -i host -k -p moderate --no-network -c f.toml -B native -e A=b -w /srv -u 1:2 --timeout 5s -t -v /a:/b -P 80 \
         --memory 1g --cpus 2 --isolation any --no-workspace --dry-run -- sh -c x",
        "run -n --json -- true",
        "run -p permissive --allow-write .envrc --allow-write .git/hooks true",
        "sandbox create box -d . --allow-write .vscode",
        "run python3 -c print(1)",
        "run npm test --profile x --unknown",
        "exec box -- npm test",
        "exec box npm --version",
        "exec -e A=b -w / -u 1 -t box sh",
        "exec box -n sh",
        "attach box",
        "attach -e A=b box -- bash -l",
        "sandbox create box -l a=b --ttl 1h -d .:ro -i host -B native -p restrictive --no-network -e A=b -w / -u 1 -v /a:/b -P 80 \
         --memory 1g --cpus 1 --json",
        "sandbox create",
        "sb start box",
        "sandbox stop box --grace 0",
        "sandbox remove box",
        "sandbox list --project app -l a=b --json",
        "sandbox info box --json",
        "sandbox gc --dry-run --stopped -l a=b",
        "setup --check",
        "doctor --json",
        "keeper 01890a5d-ac96-774b-bcce-b302099a8057",
        "create box --backend native",
        "start box",
        "stop box",
        "remove box",
        "list",
        "info box",
        "gc",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn mistakes_are_refused() {
    for line in [
        "",
        "run",
        "run --",
        "run --profil x true",
        "rnu true",
        "exec box",
        "exec",
        "run -n -t true",
        "run -t --json true",
        "sandbox start",
        "sandbox start a b",
        "keeper x",
        "sandbox create a/b",
        "run --allow-write src true",
    ] {
        assert!(parse(line).is_err(), "{line} was accepted");
    }
}

#[test]
fn typos_get_suggestions() {
    for (line, meant) in [
        ("rnu true", "'run'"),
        ("exce box ls", "'exec'"),
        ("sandbox creat x", "'create'"),
        ("sb lits", "'list'"),
        ("run --profil x true", "'--profile'"),
    ] {
        let told = suggesting(parse(line).unwrap_err()).to_string();
        assert!(told.contains(meant), "{line}: {told}");
    }
}

#[test]
fn every_verb_teaches_by_example() {
    fn walk(command: &clap::Command, path: &str) {
        for verb in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let path = format!("{path} {}", verb.get_name());
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let hidden = verb.get_name() == "keeper";
            assert!(hidden || help.starts_with("Examples:\n  agentkernel "), "{path} has no examples");
            walk(verb, &path);
        }
    }
    walk(&Cli::command(), "agentkernel");
}

#[test]
fn older_spellings_work_and_stay_hidden() {
    let help = Cli::command().render_long_help().to_string();
    for verb in ["create", "start", "stop", "remove", "list", "info", "gc", "keeper"] {
        assert!(!help.contains(&format!("\n  {verb} ")), "{verb} is shown:\n{help}");
    }
    assert!(help.contains("\n  run "));
}

#[test]
fn no_word_of_the_caller_drives_the_terminal() {
    const EVIL: &str = "a\rb\u{1b}[2J\nerror: c\u{202e}";
    let flag = format!("--{EVIL}");
    let joined = format!("--timeout={EVIL}");
    for words in [
        &[EVIL][..],
        &["sandbox", EVIL],
        &["run", &flag, "true"],
        &["run", "--no-network=x\r\ny", "true"],
        &["run", &joined, "true"],
        &["sandbox", "start", "a", EVIL],
        &["sandbox", "start", &flag],
        &["doctor", EVIL],
        &["setup", &flag],
    ] {
        let error = Cli::try_parse_from(std::iter::once(&"agentkernel").chain(words)).unwrap_err();
        if error::Error::source(&error).is_some_and(|source| source.is::<Error>()) {
            continue;
        }
        let told = shown(suggesting(error)).render().to_string();
        let wild = told.chars().find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}');
        assert_eq!(wild, None, "{words:?}: {told:?}");
        assert!(!told.contains("\nerror: c"), "a line of the caller's own: {told}");
        assert!(told.contains("\\u{d}"), "{words:?}: {told:?}");
    }
}
