use super::*;
use crate::held::Kept;

fn config(text: &str) -> Config {
    Config::parse("f", text).unwrap()
}

fn which(flag: Option<Agent>, files: &[&str], program: Option<&str>) -> Option<Agent> {
    let files: Vec<Config> = files.iter().map(|text| config(text)).collect();
    asked(flag, files.iter(), program)
}

#[test]
fn a_flag_wins_over_a_mode_and_a_mode_over_a_preference() {
    let (codex, prefers) = ("agent.compatibility_mode = 'codex'", "agent.preferred = 'claude'");
    assert_eq!(which(Some(Agent::Gemini), &[codex], None), Some(Agent::Gemini));
    assert_eq!(which(None, &[prefers, codex], Some("claude")), Some(Agent::Codex));
    assert_eq!(which(None, &["agent.compatibility_mode = 'native'", codex], Some("claude")), None);
    let native = "agent = { compatibility_mode = 'native', preferred = 'claude' }";
    assert_eq!(which(None, &[native], Some("claude")), None);
}

#[test]
fn a_preference_counts_only_for_the_agent_itself() {
    let prefers = ["agent.preferred = 'claude'"];
    assert_eq!(which(None, &prefers, Some("/usr/bin/claude")), Some(Agent::Claude));
    for program in [Some("npm"), Some("codex"), Some("claude2"), Some("/"), None] {
        assert_eq!(which(None, &prefers, program), None, "{program:?}");
    }
    assert_eq!(which(None, &[], Some("claude")), None);
}

#[test]
fn a_key_goes_where_its_vault_lets_it_go() {
    let kept = |name: &str, hosts: &[&str]| Kept {
        name: name.parse().unwrap(),
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
    };
    let shown = |kept: Kept| {
        let holdings = Holdings { kept: vec![kept], closed: false };
        let found = keys(Agent::Claude, &holdings, &VaultArgs::default());
        let [key] = found.as_slice() else { panic!("{found:?}") };
        assert!(!key.of_environment);
        key.binding.host().map(ToString::to_string)
    };
    let api = Some("api.anthropic.com".to_owned());
    assert_eq!(shown(kept("ANTHROPIC_API_KEY", &[])), api);
    assert_eq!(shown(kept("ANTHROPIC_API_KEY", &["*.anthropic.com"])), api);
    assert_eq!(shown(kept("ANTHROPIC_API_KEY", &["proxy.example.com"])), None);
}

#[test]
fn instructions_are_shown_to_root_where_nothing_else_is() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join(".claude/skills")).unwrap();
    fs::write(home.path().join(".claude/CLAUDE.md"), "Be short.").unwrap();
    fs::write(home.path().join(".claude/.credentials.json"), "secret").unwrap();
    let shown = |flags: &SandboxArgs, ingredients: &Ingredients| -> Vec<String> {
        let mounts = instructions(Agent::Claude, Some(home.path()), flags, ingredients);
        assert!(mounts.iter().all(|mount| mount.access == Access::ReadOnly));
        mounts.iter().map(|mount| mount.target.to_string()).collect()
    };
    let (none, plain) = (SandboxArgs::default(), Ingredients::default());
    assert_eq!(shown(&none, &plain), ["/root/.claude/CLAUDE.md", "/root/.claude/skills"]);
    let another = Ingredients { user: Some("1000:1000".parse().unwrap()), ..Ingredients::default() };
    assert_eq!(shown(&none, &another), [""; 0]);
    let volume = |text: &str| SandboxArgs { volume: vec![text.to_owned()], ..SandboxArgs::default() };
    assert_eq!(shown(&volume("/a:/root"), &plain), [""; 0]);
    assert_eq!(shown(&volume("/a:/root/.claude/skills/x"), &plain), ["/root/.claude/CLAUDE.md"]);
}
