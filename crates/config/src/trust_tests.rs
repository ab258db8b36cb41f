//! For every row of the table: a file that was only found makes nothing wider.

use super::*;
use crate::key::{KEYS, Key};
use agentkernel_model::{mount::Workspace, policy::RootAccess};
use proptest::prelude::*;
use std::{collections::BTreeSet, path::Path};

/// The boldest values of a key, each as lines of its own. Lines before the first `[[` come first in the text.
fn samples(key: &Key) -> &'static [&'static str] {
    match key.to_string().as_str() {
        "sandbox.name" => &["sandbox.name = 'x'"],
        "sandbox.description" => &["sandbox.description = 'x'"],
        "sandbox.runtime" => &["sandbox.runtime = 'node'"],
        "sandbox.base_image" => &["sandbox.base_image = 'host'"],
        "sandbox.init_script" => &["sandbox.init_script = 'id'"],
        "sandbox.user" => &["sandbox.user = 'root'"],
        "sandbox.workdir" => &["sandbox.workdir = '/'"],
        "sandbox.backend" => &["sandbox.backend = 'weak'"],
        "sandbox.isolation" => &["sandbox.isolation = 'any'", "sandbox.isolation = 'vm'"],
        "sandbox.oci_runtime" => &["sandbox.oci_runtime = 'runsc'"],
        "sandbox.ttl" => &["sandbox.ttl = 0"],
        "sandbox.labels" => &["sandbox.labels = { a = 'b' }"],
        "environment" => &["environment.LD_PRELOAD = '/workspace/x.so'"],
        "agent.preferred" => &["agent.preferred = 'codex'"],
        "agent.compatibility_mode" => &[
            "agent.compatibility_mode = 'claude'",
            "agent = { compatibility_mode = 'native', preferred = 'codex' }",
        ],
        "agent.git_name" | "agent.git_email" => &["agent = { git_name = 'a', git_email = 'b' }"],
        "resources.vcpus" => &["resources.vcpus = 1024"],
        "resources.memory_mb" => &["resources.memory_mb = 16777216"],
        "resources.memory" => &["resources.memory = '16TB'"],
        "resources.pids" => &["resources.pids = 4194304"],
        "network.ports" => &["network.ports = ['0.0.0.0:80']", "network.ports = [22]"],
        "network.rules" => &[
            "network.rules = ['allow 0.0.0.0/0', 'allow host', 'deny example.com']",
            "network.rules = ['allow private:22', 'allow metadata', 'allow [::1]:80', 'allow 93.184.215.14']",
            "network.rules = ['deny public', 'allow GET api.example.com/v1']",
        ],
        "security.domains" | "security.domains.allow" => &[
            "security.domains.allow = ['127.0.0.1', 'a.example.com']",
            "security.domains.allow = ['*.example.com']",
        ],
        "security.domains.block" => &["security.domains.block = ['*.example.com', 'private']"],
        "security.domains.allowlist_only" => {
            &["security.domains.allowlist_only = true", "security.domains.allowlist_only = false"]
        }
        "security.profile" => &[
            "security.profile = 'permissive'",
            "security.profile = 'moderate'",
            "security.profile = 'restrictive'",
        ],
        "security.network" => &["security.network = true", "security.network = false"],
        "security.mount_cwd" => &["security.mount_cwd = true", "security.mount_cwd = false"],
        "security.seccomp" => &["security.seccomp = 'moderate'", "security.seccomp = 'restrictive'"],
        "security.allow_write" => &["security.allow_write = ['.git/hooks']"],
        "security.secret_files" => &["security.secret_files = ['KEY']"],
        "secrets" => &["secrets.KEY = 'evil.example'", "secrets.OTHER = { header = 'x-key' }"],
        "workspace.path" => &["workspace.path = '/'", "workspace.path = '.'"],
        "workspace.mode" => &["workspace.mode = 'rw'", "workspace.mode = 'ro'", "workspace.mode = 'view'"],
        "mounts.source" | "mounts.target" => &["[[mounts]]\nsource = '/'\ntarget = '/host'"],
        "mounts.read_only" => &["[[mounts]]\nsource = '/etc'\ntarget = '/host'\nread_only = true"],
        "files.source" => &[
            "[[files]]\ndest = '/a'\nsource = '/etc/shadow'",
            "[[files]]\ndest = '/b'\nsource = 'x/../../y'",
            "[[files]]\ndest = '/c'\nsource = './inside'",
        ],
        "files.dest" | "files.content" => &[
            "[[files]]\ndest = '/workspace/.envrc'\ncontent = 'x'",
            "[[files]]\ndest = '/workspace'\ncontent = 'x'",
            "[[files]]\ndest = '/workspaces'\ncontent = 'x'",
        ],
        "files.content_base64" | "files.mode" => {
            &["[[files]]\ndest = '/d'\ncontent_base64 = ''\nmode = '0777'"]
        }
        "build.dockerfile" => &["build.dockerfile = '../D'", "build.dockerfile = 'D'"],
        "build.context" => &["build.context = '/'", "build.context = 'a/..'", "build.context = '.'"],
        "build.target" => &["build.target = 'x'"],
        "build.args" => &["build.args = { a = 'b' }"],
        "build.no_cache" => &["build.no_cache = true"],
        "template.description" => &["template.description = 'x'"],
        "template.category" => &["template.category = 'x'"],
        "template.help_text" => &["template.help_text = 'x'"],
        "template.extends" => &["template.extends = 'python'"],
        other => panic!("{other} has no sample here: what may a found file do with it?"),
    }
}

fn all_samples() -> Vec<&'static str> {
    KEYS.iter().filter(|key| !key.is_refused()).flat_map(samples).copied().collect()
}

/// A text of the chosen samples; `None` when two say the same key.
fn parsed(chosen: &[&'static str]) -> Option<Config> {
    let chosen: BTreeSet<&str> = chosen.iter().copied().collect();
    let (tables, keys): (Vec<&str>, Vec<&str>) = chosen.iter().partition(|text| text.starts_with("[["));
    Config::parse("f", &[keys, tables].concat().join("\n")).ok()
}

fn without(flag: Option<Profile>) -> EffectivePolicy {
    EffectivePolicy::of_profile(flag.unwrap_or_default())
}

fn check(config: Config, flag: Option<Profile>) {
    let plain = without(flag);
    let kept = restrict(config, flag);
    assert!(kept.config.build.is_empty());
    assert_eq!(restrict(kept.config.clone(), flag).config, kept.config, "a second time changes nothing");
    for path in [&kept.build.dockerfile, &kept.build.context].into_iter().flatten() {
        assert!(!path.starts_with('/') && !path.contains(".."), "{path}");
    }
    let mut ingredients = kept.config.ingredients(Path::new("/project")).unwrap();
    assert_eq!(kept.config.backend, None);
    assert_eq!(ingredients.runtime, None);
    assert!(ingredients.ports.is_empty() && ingredients.volumes.is_empty());
    assert!(ingredients.allow_write.is_empty());
    assert_eq!(kept.config.mode, None);
    assert!(ingredients.secrets.is_empty() && ingredients.secret_files.is_empty());
    assert_ne!(ingredients.mount_cwd, Some(true));
    assert!(ingredients.pids.is_none_or(|pids| pids <= 4096));
    for profile in [Profile::Restrictive, Profile::Moderate, Profile::Permissive] {
        let named = ingredients.workspace.named(Path::new("/project"), profile);
        assert_eq!(named, None);
    }
    // Nor does it wish for anything to be shown where nothing is.
    assert_eq!(ingredients.workspace.share, None);
    assert_ne!(ingredients.mounts_cwd(), Some(true));
    for file in &ingredients.files {
        assert!(file.dest().as_str() != "/workspace" && !file.dest().as_str().starts_with("/workspace/"));
        if let FileBody::Source(path) = file.body() {
            assert!(!path.starts_with('/') && !path.contains(".."), "{path}");
        }
    }
    ingredients.profile = flag.or(ingredients.profile);
    let policy = ingredients.policy(Vec::new(), None);
    assert!(policy.profile <= plain.profile);
    // Of rules, only what the public and names have is left; a profile gives no more than the public.
    let allowed = |rule: &&EgressRule| rule.verdict() == Verdict::Allow;
    for rule in ingredients.rules.iter().filter(allowed) {
        assert!(matches!(rule.target(), Target::Name(_) | Target::Group(Group::Public)), "{rule}");
        assert!(!rule.is_only_udp(), "{rule}");
    }
    if let Network::Rules(_) = policy.network {
        assert!(matches!(plain.network, Network::Rules(_)));
    }
    assert!(kept.clone().beside_a_list().config.egress().iter().all(|rule| rule.verdict() == Verdict::Deny));
    assert!(policy.root <= plain.root && policy.root >= RootAccess::ReadOnly);
    assert!(policy.env <= plain.env);
    assert!(policy.caps.is_subset(plain.caps));
    assert!(policy.seccomp <= plain.seccomp);
    assert!(policy.mounts.is_empty());
}

const FLAGS: [Option<Profile>; 4] =
    [None, Some(Profile::Restrictive), Some(Profile::Moderate), Some(Profile::Permissive)];

#[test]
fn no_key_alone_widens() {
    let mut read = 0;
    for sample in all_samples() {
        for flag in FLAGS {
            if let Some(config) = parsed(&[sample]) {
                check(config, flag);
                read += 1;
            }
        }
    }
    // Only the port with an address is refused.
    assert_eq!(read, 4 * (all_samples().len() - 1));
}

#[test]
fn what_is_left_out_is_listed_and_nothing_else() {
    use crate::key::Found;
    for key in KEYS.iter().filter(|key| !key.is_refused()) {
        for sample in samples(key) {
            let Some(config) = parsed(&[sample]) else { continue };
            let kept = restrict(config.clone(), None);
            let same = Config { build: Default::default(), ..config.clone() } == kept.config
                && kept.build == config.build;
            let silent =
                config.isolation.is_some() || config.workspace.share.is_some_and(|s| s != Share::ReadWrite);
            assert_eq!(same || silent, kept.ignored.is_empty(), "{sample}: {:?}", kept.ignored);
            match key.found {
                Found::Never => assert!(!kept.ignored.is_empty(), "{sample}"),
                Found::Free if key.name != "pids" => assert_eq!(kept.config, config, "{sample}"),
                _ => {}
            }
        }
    }
}

#[test]
fn a_note_of_thousands_is_short_and_drives_no_terminal() {
    let text: String =
        (0..1000).map(|n| format!("[[files]]\ndest='/f{n}'\nsource=\"/\\u001b[2J{n}\"\n")).collect();
    let note = restrict(Config::parse("f", &text).unwrap(), None).note("f").unwrap();
    assert!(note.len() < 2000 && note.contains("and 988 more"), "{note}");
    assert!(!note.contains(char::is_control), "{note}");
}

#[test]
fn a_workspace_is_only_narrowed() {
    use crate::workspace::WorkspaceRequest;
    use agentkernel_model::mount::Access::{ReadOnly, ReadWrite};
    let direct = |access| Workspace::Direct { source: "/p".into(), access };
    let view = || Workspace::View("/p".into());
    let narrow = |share, shown: Workspace| {
        let by_share = WorkspaceRequest { share, ..Default::default() }.narrow(shown.clone());
        let by_limit = WorkspaceRequest { limit: share, ..Default::default() }.narrow(shown);
        assert_eq!(by_share, by_limit);
        by_share
    };
    for share in [None, Some(Share::ReadWrite), Some(Share::ReadOnly), Some(Share::View), Some(Share::None)] {
        assert_eq!(narrow(share, Workspace::None), Workspace::None, "{share:?}");
        assert_ne!(narrow(share, view()), direct(ReadWrite), "{share:?}");
        assert_ne!(narrow(share, direct(ReadOnly)), direct(ReadWrite), "{share:?}");
    }
    assert_eq!(narrow(Some(Share::ReadOnly), view()), direct(ReadOnly));
    assert_eq!(narrow(Some(Share::View), direct(ReadWrite)), view());
    assert_eq!(narrow(Some(Share::View), direct(ReadOnly)), direct(ReadOnly));
    assert_eq!(narrow(Some(Share::None), direct(ReadWrite)), Workspace::None);
    assert_eq!(narrow(Some(Share::ReadWrite), view()), view());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_file_widens(chosen in prop::sample::subsequence(all_samples(), 0..12), flag in prop::sample::select(&FLAGS[..])) {
        if let Some(config) = parsed(&chosen) {
            check(config, flag);
        }
    }
}
