//! agentkernel.toml: what is read, and what each mistake says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use agentkernel_config::{Account, Config, FileBody, GitIdentity, Share};
use agentkernel_model::{
    Kind,
    agent::Agent,
    command::{EnvVar, User},
    image::ImageRef,
    mount::Access,
    name::Label,
    policy::{NetworkSwitch, Profile},
    port::PublishedPort,
    seccomp::SeccompLevel,
    size::{ByteSize, Cpus},
    spec::Isolation,
};
use proptest::prelude::*;
use std::time::Duration;

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
    assert_eq!(config.image, Some(ImageRef::Oci("python:3.12-alpine".parse().unwrap())));
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
            "agentkernel.toml:2:3: unknown key 'colour' in [agent] | one of: preferred, compatibility_mode, git_name, git_email",
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
            "agentkernel.toml:2:9: 'resources.vcpus' is of type string | write a number",
        ),
        (
            "[resources]\nvcpus = 0",
            "agentkernel.toml:2:9: 'resources.vcpus': '0' is not a number of processors | write a number from 0.01 to 1024, such as 0.5 or 2",
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
    let error = Config::parse("x", &" ".repeat(4 * 1024 * 1024 + 1)).unwrap_err();
    assert_eq!(error.to_string(), "x is longer than 4 MiB");
}

#[test]
fn every_key_that_has_an_effect_is_read() {
    let config = parse(
        r#"
        [sandbox]
        name = "all"
        description = "a line"
        runtime = "node"
        init_script = "apk add git"
        user = "1000:1001"
        workdir = "/workspace/sub/"
        backend = "native"
        isolation = "vm"
        ttl = "2h30m"
        labels = { team = "x", "a.b" = "c/d" }
        [environment]
        B = "2"
        "A B" = ""
        [agent]
        git_name = "Ada"
        git_email = "ada@example.org"
        [resources]
        vcpus = 0.5
        memory = "1.5GB"
        pids = 100
        [security]
        seccomp = "restrictive"
        allow_write = [".envrc", "./.vscode/"]
        [workspace]
        path = ".."
        mode = "ro"
        [[mounts]]
        source = "./data"
        target = "/data"
        read_only = true
        [[mounts]]
        source = "cache"
        target = "/cache"
        [[files]]
        dest = "/etc/motd"
        content = "hi"
        [[files]]
        dest = "/x"
        source = "x"
        mode = "0755"
        [build]
        dockerfile = "Dockerfile"
        context = "."
        target = "dev"
        args = { B = "1", A = "2" }
        no_cache = true
        [template]
        description = "d"
        category = "c"
        help_text = "h"
        extends = "python"
        "#,
    );
    assert_eq!(config.description.as_deref(), Some("a line"));
    assert_eq!(config.image.unwrap().to_string(), "node:22-alpine");
    assert_eq!(config.init_script.as_deref(), Some("apk add git"));
    assert_eq!(config.user, Some(Account::Numbered(User { uid: 1000, gid: 1001 })));
    assert_eq!(config.workdir.unwrap().as_str(), "/workspace/sub");
    assert_eq!((config.backend.as_deref(), config.isolation), (Some("native"), Some(Isolation::Vm)));
    assert_eq!(config.ttl, Some(Duration::from_secs(9000)));
    assert_eq!(config.labels, [Label::new("team", "x").unwrap(), Label::new("a.b", "c/d").unwrap()]);
    assert_eq!(config.env, [EnvVar::new("B", "2").unwrap(), EnvVar::new("A B", "").unwrap()]);
    assert_eq!(config.git, Some(GitIdentity::new("Ada", "ada@example.org").unwrap()));
    assert_eq!((config.cpus, config.pids), (Some(Cpus::from_milli(500)), Some(100)));
    assert_eq!(config.memory, Some(ByteSize::from_mib(1536)));
    assert_eq!(config.seccomp, Some(SeccompLevel::Restrictive));
    assert_eq!(config.allow_write, [".envrc".parse().unwrap(), ".vscode".parse().unwrap()]);
    assert_eq!(
        (config.workspace.path.as_deref(), config.workspace.share),
        (Some(".."), Some(Share::ReadOnly))
    );
    let mounts: Vec<_> =
        config.mounts.iter().map(|m| (m.source(), m.target().as_str(), m.access())).collect();
    assert_eq!(mounts, [("./data", "/data", Access::ReadOnly), ("cache", "/cache", Access::ReadWrite)]);
    let files: Vec<_> =
        config.files.iter().map(|f| (f.dest().as_str(), f.mode(), f.body().clone())).collect();
    let content = FileBody::Content(b"hi".to_vec());
    assert_eq!(files, [("/etc/motd", 0o644, content), ("/x", 0o755, FileBody::Source("x".to_owned()))]);
    let build = config.build;
    assert_eq!((build.dockerfile.as_deref(), build.context.as_deref()), (Some("Dockerfile"), Some(".")));
    assert_eq!((build.target.as_deref(), build.no_cache), (Some("dev"), Some(true)));
    assert_eq!(build.args, [("B".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())]);
    let info = config.template;
    assert_eq!((info.description.as_deref(), info.category.as_deref()), (Some("d"), Some("c")));
    assert_eq!((info.help_text.as_deref(), info.extends), (Some("h"), Some("python".parse().unwrap())));
    assert!(config.unused.is_empty() && config.emptied.is_empty());
}

#[test]
fn mistakes_of_the_newer_keys() {
    let cases = [
        (
            "[[files]]\ndest = '/a'",
            "1:1: this [[files]] must have one of 'source', 'content' and 'content_base64'",
        ),
        ("[[files]]\ndest = '/a'\nsource = 'a'\ncontent = ''", "1:1: this [[files]] must have one of"),
        ("[[files]]\ncontent = ''", "1:1: this [[files]] has no 'dest'"),
        ("[[files]]\ncontent = ''\ndest = 'a'", "3:8: 'files.dest': path 'a' is not absolute"),
        ("[[files]]\ncontent = ''\ndest = '/proc/x'", "3:8: 'files.dest': no file can be put at '/proc/x'"),
        (
            "[[files]]\ncontent = ''\ndest = '/a'\nmode = '4755'",
            "4:8: 'files.mode': '4755' are no permissions",
        ),
        ("[[files]]\ncontent = ''\ndest = '/a'\nmode = 644", "4:8: 'files.mode' is of type integer"),
        ("[[files]]\ncontent_base64 = '?'\ndest = '/a'", "2:18: 'files.content_base64': it is not base64"),
        (
            "[[files]]\ncontent = ''\ndest = '/a'\n[[files]]\ncontent = ''\ndest = '/a/'",
            "6:8: 'files.dest': there are two for '/a'",
        ),
        ("[files]\ndest = '/a'", "1:1: 'files' must be a list of tables, not table"),
        ("files = [1]", "1:10: 'files' must be a list of tables, not integer"),
        ("[[mounts]]\nsource = './a'", "1:1: this [[mounts]] has no 'target'"),
        (
            "[[mounts]]\nsource = 'a b'\ntarget = '/a'",
            "2:10: 'mounts.source': 'a b' is no path and no name of a volume",
        ),
        ("[[mounts]]\nsource = ''\ntarget = '/a'", "2:10: 'mounts.source': '' is not a path"),
        ("[[mounts]]\nsource = '/a'\ntarget = '/'", "3:10: 'mounts.target': nothing can be mounted on '/'"),
        ("[[sandbox]]\nname = 'a'", "1:1: 'sandbox' must be a table, not array"),
        ("[agent]\ngit_name = 'a'", "2:12: 'agent.git_name' is there without 'agent.git_email'"),
        ("[agent]\ngit_email = 'a'", "2:13: 'agent.git_email' is there without 'agent.git_name'"),
        (
            "[agent]\ngit_name = \"a\\nb\"\ngit_email = 'c'",
            "2:12: 'agent.git_name': 'a\\u{a}b' is not a name of an author",
        ),
        (
            "[resources]\nmemory_mb = 4\nmemory = '1GB'",
            "3:10: 'resources.memory' and 'resources.memory_mb' say the same thing",
        ),
        ("[resources]\nmemory = '1MB'", "2:10: 'resources.memory': a memory limit of 1MB is too small"),
        ("[resources]\npids = 0", "2:8: 'resources.pids' is 0"),
        ("[resources]\nvcpus = inf", "2:9: 'resources.vcpus': 'inf' is not a number of processors"),
        ("[sandbox]\nttl = 'soon'", "2:7: 'sandbox.ttl': 'soon' is not a duration"),
        ("[sandbox]\nttl = -1", "2:7: 'sandbox.ttl': '-1' is not a duration"),
        ("[sandbox]\nuser = 'A'", "2:8: 'sandbox.user': 'A' is not a user"),
        ("[sandbox]\nuser = 70000", "2:8: 'sandbox.user': '70000' is not a user"),
        ("[sandbox]\nlabels = { a = 'b c' }", "2:16: 'sandbox.labels.a': 'a=b c' is not a valid label"),
        ("[sandbox]\nlabels = 1", "2:10: 'sandbox.labels' is of type integer"),
        ("[environment]\nA = 1", "2:5: 'environment.A' is of type integer"),
        ("[environment]\n'A=B' = ''", "2:9: 'environment.A=B': 'A=B' is not an environment variable"),
        ("environment = []", "1:15: 'environment' is of type array"),
        (
            "[workspace]\nmode = 'none'\npath = '.'",
            "2:8: 'workspace.mode' is none, and 'workspace.path' names a directory",
        ),
        (
            "[security]\nallow_write = ['src']",
            "2:16: 'security.allow_write': 'src' is nothing that is kept read-only",
        ),
        (
            "[network]\nrules = ['api.example.com']",
            "2:10: 'network.rules': the network rule 'api.example.com' does not",
        ),
        (
            "[network]\nrules = ['deny a_b!']",
            "2:10: 'network.rules': 'a_b!' is nothing that a network rule can",
        ),
        ("[security.domains]\nallow = ['a.b', '*']", "2:17: 'security.domains.allow': '*' is nothing that"),
        ("[security.domains]\nblock = 'a.b'", "2:9: 'security.domains.block' is of type string"),
        ("[security.domains]\nalow = []", "2:1: unknown key 'alow' in [security.domains]"),
        ("[security]\ndomains = 1", "2:11: 'security.domains' is of type integer"),
        ("['security.domains']\nallow = []", "1:2: unknown table 'security.domains'"),
        ("[build]\ntarget = '-x'", "2:10: 'build.target': '-x' is not the name of a stage"),
        ("[build]\nargs = { '1' = '' }", "2:16: 'build.args.1': '1' is not an argument of a build"),
        ("[template]\nextends = '../x'", "2:11: 'template.extends': '../x' is not a valid template name"),
        ("[git]\nx = 1", "2:1: unknown key 'x' in [git]"),
        ("remote = 1", "1:10: 'remote' must be a table, not integer"),
        ("[schedule]\nid = 'x'", "1:1: 'schedule' must be a list of tables, not table"),
        ("[[colour]]\nx = 1", "1:3: unknown table 'colour'"),
    ];
    for (text, expected) in cases {
        let shown = refusal(text);
        assert!(shown.starts_with(&format!("agentkernel.toml:{expected}")), "for {text:?}: {shown}");
    }
}

#[test]
fn what_cannot_be_enforced_is_refused() {
    for (text, expected) in [
        ("\n[llm_keys]\nA = 'b'", "f:2:2: 'llm_keys' needs the vault"),
        ("network.subnet = '10.0.0.0/8'", "f:1:9: 'network.subnet' needs networks that agentkernel manages"),
        ("[git]\nworktree = true", "f:2:1: 'git.worktree' needs worktrees"),
        (
            "[security]\nseccomp = './p.json'",
            "f:2:11: 'security.seccomp': './p.json' is a file, and lists of system calls are built in",
        ),
        (
            "[network]\nports = ['53/udp']",
            "f:2:10: 'network.ports': port '53/udp': UDP cannot be published yet",
        ),
    ] {
        let error = Config::parse("f", text).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{text}");
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn sections_for_other_parts_are_accepted_and_named() {
    let text = "[remote]\nbridge = './x'\n[remote.e2b]\nx = 1\n[orchestrator]\n[api.tls]\n[scheduling]\n[[schedule]]\n\
                [[proxy.hooks]]\nname = 'x'\n[enterprise]\n[llm_governance]\n[sandbox]\nname = 'a'";
    let config = parse(text);
    let expected =
        ["remote", "orchestrator", "api", "scheduling", "schedule", "proxy", "enterprise", "llm_governance"];
    assert_eq!(config.unused, expected);
    assert_eq!(config.name.unwrap().as_str(), "a");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = Config::parse("f", &text);
    }

    #[test]
    fn near_toml_is_read_or_refused(
        lines in prop::collection::vec(
            ("(\\[\\[?(sandbox|security|network|resources|files|mounts|environment|build|proxy)\\]?\\])?",
             "[a-z_.]{1,12}|source|target|dest|mode|content|args", "(-?[0-9]{1,30}|'[^']{0,9}'|true|\\[.{0,9}\\]?|\\{.{0,9}\\}?)"), 0..8),
    ) {
        let text: String = lines.iter().map(|(head, key, value)| format!("{head}\n{key} = {value}\n")).collect();
        if let Err(error) = Config::parse("f", &text) {
            prop_assert!(matches!(error.kind(), Kind::Config | Kind::Unsupported));
            prop_assert!(error.to_string().starts_with("f:"));
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_a_crash(depth in 1_usize..20_000) {
        let _ = Config::parse("f", &format!("a = {}", "[".repeat(depth)));
    }
}

#[test]
fn a_hostile_file_is_refused_in_short() {
    let long = "x".repeat(3_000_000);
    let many = |entry: &dyn Fn(usize) -> String| (0..1025).map(entry).collect::<String>();
    let cases = [
        format!("{long} = 1"),
        format!("[{long}]"),
        format!("[sandbox]\n{long} = 1"),
        format!("security.profile = '{long}'"),
        format!("security.seccomp = '{long}'"),
        format!("sandbox.isolation = '{long}'"),
        format!("sandbox.base_image = '{long}'"),
        format!("sandbox.init_script = '{long}'"),
        format!("resources.pids = 1{}", "0".repeat(1_000_000)),
        format!("network.ports = ['{long}']"),
        format!("environment = {{ {long} = '' }}"),
        format!("environment = {{ A = '{long}' }}"),
        format!("workspace.path = '{long}'"),
        format!("[[files]]\ndest = '/a'\ncontent = '{long}'"),
        format!("[environment]\n{}", many(&|n| format!("A{n} = ''\n"))),
        format!("network.ports = [{}]", many(&|n| format!("{},", n + 1))),
        many(&|n| format!("[[mounts]]\nsource = '/'\ntarget = '/a{n}'\n")),
    ];
    for text in cases {
        let shown = refusal(&text);
        assert!(shown.len() < 400, "{} bytes for {:.60}", shown.len(), text);
    }
}

#[test]
fn what_blocks_is_asked_first_and_what_allows_last() {
    let text = "[network]\nrules = ['allow b.example.com:443', 'deny POST c.example.com/v1']\n\
                [security.domains]\nallow = ['c.example.com']\nblock = ['*.example.org']\nallowlist_only = true";
    let config = Config::parse("f", text).unwrap();
    let shown: Vec<String> = config.egress().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "deny *.example.org",
            "allow b.example.com:443",
            "deny POST c.example.com/v1",
            "allow c.example.com"
        ]
    );
    assert_eq!(config.domains.allowlist_only, Some(true));
}
